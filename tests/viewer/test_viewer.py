"""The viewer without a browser: what it computes, refuses, says, and draws as a still picture."""

from __future__ import annotations

import re
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.viewer import layers, payload, still
from ipha_toolkit.viewer.page import page_fragment
from ipha_toolkit.volume import Mask, Volume


@pytest.fixture(autouse=True)
def _close_widgets() -> Any:
    yield
    from ipywidgets import Widget

    Widget.close_all()


def ramp(shape: tuple[int, int, int] = (6, 5, 4), **fields: Any) -> Volume:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -10, -20, -30
    return Volume(np.arange(np.prod(shape)).reshape(shape), affine, **fields)


def octant() -> Volume:
    """Bright right, anterior and superior of the origin."""
    array = np.zeros((12, 12, 12))
    array[6:, 6:, 6:] = 1000
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -11, -16.5, -22
    return Volume(array, affine, name="octant")


def every_orientation(volume: Volume) -> list[Volume]:
    """The same volume stored in all 48 axis orders and directions."""
    found = []
    for order in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            array = volume.array.transpose(order)[tuple(slice(None, None, f) for f in flips)]
            affine = np.eye(4)
            affine[:3, :3] = volume.affine[:3, order] * flips
            start = [(n - 1) if f < 0 else 0 for n, f in zip(array.shape, flips, strict=True)]
            affine[:3, 3] = volume.affine[:3, 3] + volume.affine[:3, order] @ start
            found.append(volume.replace(array=array, affine=affine))
    return found


def test_axial_slice_runs_right_and_anterior() -> None:
    volume = ramp()
    shown = layers.image_layer(volume, 0).slice("axial", 2)
    assert shown.shape == (5, 6)
    assert shown[4, 1] == volume.array[1, 4, 2]


def test_whole_numbers_survive_the_codes_exactly() -> None:
    values = np.array([-1024, -600, 0, 3071], np.float32)
    assert layers.decode(layers.encode(values, -1024, 1), -1024, 1).tolist() == values.tolist()


def test_missing_values_have_a_code_of_their_own() -> None:
    codes = layers.encode(np.array([np.nan, 0], np.float32), 0, 1)
    assert codes.tolist() == [0, 1]
    assert np.isnan(layers.decode(codes, 0, 1)[0])


def test_fractions_keep_a_65000th_of_their_range() -> None:
    values = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    layer = layers.image_layer(Volume(values, np.eye(4)), 0)
    back = layers.decode(layer.codes("axial", 0, 7), layer.offset, layer.scale)
    assert np.abs(back - values.transpose(2, 1, 0)).max() <= layer.scale


def test_ct_opens_in_the_lung_window_and_mri_in_its_percentiles() -> None:
    assert ipha.view(ramp(modality="ct")).window == [(-600, 1500)]
    low, high = np.percentile(ramp().array, [1, 99])
    (window,) = ipha.view(ramp(modality="T1w")).window
    assert window == pytest.approx(((low + high) / 2, high - low))


def test_share_above_a_threshold_counts_lung_voxels() -> None:
    values = ramp(unit="1", name="ratio")
    lungs = Mask(values.array >= 60, values.affine, name="lung")
    viewer = ipha.view(ramp(), overlays={"lung": lungs, "ratio": values}, threshold=90)
    assert viewer.fraction_above == pytest.approx(30 / 60, abs=0.01)
    edge = viewer._layers[2]["share"]["edges"][300]
    viewer.threshold = edge
    assert viewer.fraction_above == np.mean(values.array[lungs.array] >= edge)


def test_region_of_interest_is_measured_voxel_by_voxel() -> None:
    volume = ramp(unit="HU")
    viewer = ipha.view(volume)
    center = volume.to_world([2, 2, 1])
    viewer.add_roi(center, (2.1, 3.1))
    row = viewer.rois.iloc[0]
    cross = [volume.array[i, j, 1] for i, j in ((2, 2), (1, 2), (3, 2), (2, 1), (2, 3))]
    assert row["n"] == 5
    assert row["mean"] == np.mean(cross)
    assert row["sd"] == pytest.approx(np.std(cross, ddof=1))
    assert row["area_mm2"] == 5 * 6
    assert row["unit"] == "HU"


def test_thick_slab_is_the_maximum_over_its_millimetres() -> None:
    volume = ramp((6, 5, 9))
    layer = layers.image_layer(volume, 0)
    slab = layers.thick_slab(layer, "axial", 4, mode="max", slab_mm=20)
    assert np.array_equal(slab, volume.array[:, :, 2:7].max(axis=2).T)
    thin = layers.thick_slab(layer, "axial", 4, mode="min", slab_mm=4)
    assert np.array_equal(thin, volume.array[:, :, 4].T)


@pytest.mark.parametrize("megabytes", [0.02, 0.05, 0.2])
def test_export_stays_within_its_budget_and_says_what_it_lost(megabytes: float) -> None:
    noise = np.random.default_rng(0).normal(0, 300, (64, 64, 12)).round()
    layer = layers.image_layer(Volume(noise, np.eye(4), unit="HU"), 0)
    packed = payload.pack(layer, budget_bytes=megabytes * 1e6, gray_step=8)
    assert sum(map(len, packed["chunks"])) <= megabytes * 1e6
    assert bool(packed["loss"]) == (megabytes < 0.1)


def test_export_is_exact_where_the_budget_allows() -> None:
    layer = layers.image_layer(ramp(), 0)
    packed = payload.pack(layer, budget_bytes=1e6)
    assert (packed["scale"], packed["shape"], packed["loss"]) == (1.0, [6, 5, 4], "")


def test_coarser_export_keeps_means_and_places() -> None:
    volume = ramp((7, 5, 4))
    layer = layers.image_layer(volume, 0)
    coarseness = payload.Coarseness(2, 1.0)
    grid = coarseness.apply(layer)
    assert grid.shape == (4, 3, 4)
    assert np.allclose(grid.affine @ [0, 0, 0, 1], np.append(volume.to_world([0.5, 0.5, 0]), 1))
    means = payload._coarser(layer.array, 2, (0, 1))
    assert means[0, 0, 0] == volume.array[:2, :2, 0].mean()
    assert means[3, 2, 1] == volume.array[6, 4, 1]


def test_export_of_a_coronal_scan_keeps_every_slice() -> None:
    noise = np.random.default_rng(0).integers(0, 4000, (40, 9, 30))
    packed = payload.pack(layers.image_layer(Volume(noise, np.eye(4)), 0), budget_bytes=6000)
    assert packed["shape"][1] == 9
    assert packed["shape"][0] < 40
    assert "coarser pixels" in packed["loss"]


def test_overlay_turned_against_the_image_is_resampled() -> None:
    image = Volume(np.zeros((20, 20, 5)), np.diag([1.0, 1, 1, 1]))
    turn = np.eye(4)
    c, s = np.cos(0.5), np.sin(0.5)
    turn[:2, :2] = [[c, -s], [s, c]]
    array = np.zeros((20, 20, 5), bool)
    array[9:12, 9:12] = True
    viewer = ipha.view(image, overlays={"spot": Mask(array, turn)})
    overlay = viewer._overlays[0]
    assert np.array_equal(overlay.affine, image.affine)
    center = np.argwhere(overlay.array).mean(axis=0)
    assert center[:2] == pytest.approx((turn[:2, :2] @ [10, 10]), abs=0.6)


def test_overlay_of_images_turned_against_each_other_lies_along_each() -> None:
    image = Volume(np.zeros((20, 20, 5)), np.eye(4))
    c, s = np.cos(0.5), np.sin(0.5)
    turn = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    viewer = ipha.view(image, image.replace(affine=turn), overlays={"all": Mask(np.ones(image.shape, bool), np.eye(4))})
    assert [overlay.image for overlay in viewer._overlays] == [0, 1]
    assert np.allclose(viewer._overlays[1].affine, turn)
    assert viewer.visible == [True, True]


def test_a_radiograph_opens_upright() -> None:
    film = np.zeros((6, 8, 1))
    film[:, 4:] = 100  # bright above
    affine = np.diag([2.0, 2.0, 2.0, 1.0])[:, [0, 2, 1, 3]]
    viewer = ipha.view(Volume(film, affine, modality="dx"))
    assert viewer.plane == "coronal"
    picture = np.asarray(still.draw(viewer._scene(), panel_px=120).convert("L"))
    assert picture[45, 40] > 200 > 60 > picture[75, 40]
    assert viewer.description.startswith("radiograph, coronal slice 1 of 1")


def test_mri_window_can_be_that_of_the_lung() -> None:
    volume = ramp(modality="T1w")
    inside = volume.array >= 60
    viewer = ipha.view(volume, overlays={"lung": Mask(inside, volume.affine)})
    level, width = viewer._presets[0]["lung"]
    assert (level - width / 2, level + width / 2) == pytest.approx(np.percentile(volume.array[inside], [1, 99]))


def test_a_place_beyond_an_image_is_said_to_be_so() -> None:
    near, far = ramp(name="near"), ramp((6, 5, 8), name="far")
    viewer = ipha.view(near, far, position_mm=(-5, -10, -6))
    first, second = viewer.description.split(". ")[:2]
    assert first.endswith("nearest slice, 12 mm away")
    assert "away" not in second


def test_one_threshold_cuts_maps_of_one_name() -> None:
    volume = ramp(name="ratio")
    viewer = ipha.view(volume, volume, overlays=[{"ratio": volume}, {"ratio": volume, "other": volume}], threshold=50)
    scene = viewer._scene()
    assert [scene.cut(overlay) for overlay in scene.overlays] == [50, 50, None]
    assert viewer.description.endswith("58.3 % of the map at or above 50.")


def test_sliders_and_positions_follow_each_other() -> None:
    viewer = ipha.view(ramp(modality="ct"))
    viewer.z_mm = -22
    assert viewer.position_mm == (viewer.x_mm, viewer.y_mm, -22)
    viewer.position_mm = (-8, -17, -26)
    assert (viewer.x_mm, viewer.y_mm, viewer.z_mm) == (-8, -17, -26)
    viewer.level = 40
    assert viewer.window == [(40, 1500)]
    viewer.window = (50, 350)
    assert (viewer.level, viewer.width) == (50, 350)


def test_description_says_what_is_shown() -> None:
    viewer = ipha.view(ramp(modality="ct", unit="HU", name="sub-01"), plane="coronal")
    viewer.position_mm = (-10, -17, -30)
    assert viewer.description == (
        "sub-01, coronal slice 2 of 5 at y -17.0 mm, patient's R on the left of the picture; "
        "window level \u2212600, width 1500 HU."
    )


def test_a_hostile_name_stays_text() -> None:
    viewer = ipha.view(ramp(name='"><script>alert(1)</script>'))
    data, metadata = viewer._repr_mimebundle_()
    assert "<script" not in data["text/html"]
    assert metadata["image/png"]["alt"] == viewer.description


def test_fragment_without_a_viewer_is_refused() -> None:
    from ipywidgets import IntSlider

    with pytest.raises(ValueError, match="needs at least one SliceViewer"):
        page_fragment(IntSlider())


def test_still_shows_the_right_on_the_left_in_every_orientation() -> None:
    for volume in every_orientation(octant()):
        viewer = ipha.view(volume, plane="all", position_mm=(3, 4.5, 6), crosshair=False)
        picture = np.asarray(still.draw(viewer._scene(), panel_px=120).convert("L"))
        for panel in range(3):
            x, y = 122 * panel + 60, 60
            assert picture[y - 10, x - 10] > 200
            assert max(picture[y - 10, x + 10], picture[y + 10, x - 10], picture[y + 10, x + 10]) < 60


def test_snapshot_writes_every_kind_of_layer(tmp_path: Path) -> None:
    from PIL import Image

    volume = octant()
    lungs = Mask(volume.array > 0, volume.affine)
    nodules = pd.DataFrame({"x_mm": [3.0], "y_mm": [4.5], "z_mm": [6.0], "diameter_mm": [4.0]})
    plain = ipha.view(volume, position_mm=(3, 4.5, 6))
    full = ipha.view(
        volume, overlays={"lung": lungs, "map": volume}, nodules=nodules, slab="max", position_mm=(3, 4.5, 6)
    )
    full.add_roi((3, 4.5, 6), 5)
    one, two = (np.asarray(Image.open(v.snapshot(tmp_path / f"{n}.png"))) for n, v in enumerate((plain, full)))
    assert one.shape == two.shape == (720, 720, 3)
    assert (one != two).any(axis=2).mean() > 0.02


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v, m: ipha.view(), ValueError, "one to four volumes, got 0"),
        (lambda v, m: ipha.view(m), TypeError, "needs Volumes, got Mask; give masks as overlays"),
        (lambda v, m: ipha.view(v, overlays={"a": 3}), TypeError, "overlay 'a': needs a Mask or a Volume, got int"),
        (lambda v, m: ipha.view(v, overlays=[m, m]), ValueError, "one entry a volume: 1, got 2"),
        (lambda v, m: ipha.view(v, window=(1, 0)), ValueError, "width > 0"),
        (lambda v, m: ipha.view(v, wndow=(1, 2)), ValueError, "no option wndow"),
        (lambda v, m: ipha.view(v, nodules=pd.DataFrame()), ValueError, "nodules lack the columns diameter_mm"),
        (lambda v, m: ipha.view(v, position_mm=(0, 0, np.nan)), ValueError, "three finite numbers"),
        (lambda v, m: ipha.view(v, visible=[True]), ValueError, "one value an overlay: 0, got [True]"),
        (lambda v, m: ipha.view(v, active=1), ValueError, "number of an image, 0 to 0, got 1"),
        (lambda v, m: ipha.view(v).add_roi((0, 0, 0), 0), ValueError, "radius_mm needs to be positive"),
        (lambda v, m: ipha.view(v).add_roi((0, 0, 0), 1, plane="x"), ValueError, "plane 'x'"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(call: Any, error: type[Exception], message: str) -> None:
    volume = ramp()
    with pytest.raises(error, match=re.escape(message)):
        call(volume, Mask(volume.array > 3, volume.affine))


def test_volume_without_finite_values_can_be_looked_at() -> None:
    viewer = ipha.view(Volume(np.full((4, 4, 4), np.nan), np.eye(4)))
    viewer._repr_mimebundle_()
    assert viewer.window == [(0.5, 1.0)]


def test_slices_are_answered_as_binary_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = ramp()
    viewer = ipha.view(volume)
    sent: list[Any] = []
    monkeypatch.setattr(type(viewer), "send", lambda self, content, buffers=None: sent.append((content, buffers)))
    viewer._answer(viewer, {"type": "slices", "layer": 0, "plane": "sagittal", "first": 1, "last": 3}, [])
    content, (codes,) = sent[0]
    assert (content["count"], content["rows"], content["columns"], content["bytes"]) == (2, 4, 5, 2)
    assert np.array_equal(codes - 1.0, volume.array[1:3].transpose(0, 2, 1))
