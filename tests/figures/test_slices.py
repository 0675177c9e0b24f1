"""Figures, tested by what is drawn and what is said."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ipha_toolkit.figures.core import alt_text, show, to_html, to_png
from ipha_toolkit.figures.numbers import plot_histogram, plot_signature, plot_zones
from ipha_toolkit.figures.slices import plot_comparison, plot_mosaic, plot_nodules, plot_slice
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.volume import Mask, Volume


def block(**fields: Any) -> Volume:
    """Bright right, anterior and superior of the origin."""
    array = np.zeros((12, 10, 8))
    array[6:, 5:, 4:] = 1000
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -11, -13.5, -14
    return Volume(array, affine, **{"name": "block", "modality": "T1w"} | fields)


def texts(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def pixels(ax: Any) -> Any:
    return np.array(Image.open(BytesIO(to_png(ax, dpi=50))).convert("L"))


@pytest.mark.parametrize(
    ("plane", "sides", "labels"),
    [("axial", "RLAP", "xy"), ("coronal", "RLSI", "xz"), ("sagittal", "APSI", "yz")],
)
def test_slice_is_lettered_and_in_millimetres(plane: str, sides: str, labels: str) -> None:
    ax = plot_slice(block(), plane=plane, position_mm=(5, 4.5, 6))
    assert texts(ax)[:4] == list(sides)
    assert [ax.get_xlabel(), ax.get_ylabel()] == [f"{name} (mm)" for name in labels]
    assert ax.get_xlim()[0] > ax.get_xlim()[1]


def test_patients_right_is_on_the_left_of_the_picture() -> None:
    ax = plot_slice(block(), position_mm=(5, 4.5, 6))
    ax.figure.draw_without_rendering()
    box = ax.get_window_extent()
    picture = np.asarray(_rendered(ax))[::-1]
    at = lambda u, v: picture[int(box.y0 + v * box.height), int(box.x0 + u * box.width)].mean()  # noqa: E731
    assert at(0.25, 0.75) > 200
    assert max(at(0.75, 0.75), at(0.25, 0.25), at(0.75, 0.25)) < 60


def _rendered(ax: Any) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_slice_shows_the_voxels_of_its_place() -> None:
    ax = plot_slice(block(), plane="coronal", position_mm=(1, 1.5, 2))
    (shown,) = ax.images
    left, right, low, high = shown.get_extent()
    assert (left, right, low, high) == (12, -12, -16, 16)
    assert np.array_equal(np.asarray(shown.get_array())[:, ::-1], block().array[:, 5].T)


def test_ct_opens_in_the_lung_window_with_its_unit_on_the_bar() -> None:
    ax = plot_slice(block(modality="ct", unit="HU"))
    assert ax.images[0].get_clim() == (-1350, 150)
    assert ax.figure.axes[1].get_ylabel() == "attenuation (HU)"


def test_signed_map_diverges_about_zero_and_names_its_unit() -> None:
    values = np.where(block().array > 0, 3.0, -1.0)
    ax = plot_slice(block(), overlays={"change": block(unit="SD").replace(array=values)})
    low, high = ax.images[1].get_clim()
    assert (low, high) == (-3, 3)
    assert ax.images[1].get_cmap().name == "berlin"
    assert ax.figure.axes[1].get_ylabel() == "change (SD)"
    assert "in colour: change from \u22123 to 3 SD" in alt_text(ax)


def test_mask_is_outlined_along_its_border_even_at_the_edge_of_the_image() -> None:
    volume = block()
    ax = plot_slice(volume, position_mm=(5, 4.5, 6), overlays={"lung": Mask(volume.array > 0, volume.affine)})
    path = ax.collections[0].get_paths()[0].vertices
    assert [path[:, 0].min(), path[:, 0].max()] == pytest.approx([0, 12])
    assert [path[:, 1].min(), path[:, 1].max()] == pytest.approx([0, 15])
    assert "outlined: lung" in alt_text(ax)


def test_mosaic_shows_as_many_slices_as_asked_in_one_window() -> None:
    volume = block()
    lungs = Mask(volume.array > 0, volume.affine, name="lung")
    assert len(plot_mosaic(volume, n=6).images) == 6
    ax = plot_mosaic(volume, n=12, overlays=lungs)
    assert len(ax.images) == 4  # the mask has four slices, and each is shown once
    assert len({image.get_clim() for image in ax.images}) == 1
    assert texts(ax)[:4] == ["2 mm", "6 mm", "10 mm", "14 mm"]
    assert len({tuple(image.get_extent()) for image in ax.images}) == 4


def test_comparison_shares_window_colours_and_field_of_view() -> None:
    one = block()
    two = one.replace(array=2 * one.array, affine=one.affine @ np.diag([2, 2, 1, 1]))
    maps = [{"ratio": one.replace(array=one.array / 1000)}, {"ratio": two.replace(array=two.array / 1000)}]
    axes = plot_comparison(one, two, titles=["day 1", "day 90"], overlays=maps)
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim() == (0, 2000)
    assert axes[0].images[1].get_clim() == axes[1].images[1].get_clim() == (0, 2)
    assert np.ptp(axes[0].get_xlim()) == np.ptp(axes[1].get_xlim())
    assert "day 90, axial slice" in alt_text(axes[0])


def test_histogram_says_the_medians_and_the_share_it_draws() -> None:
    edges = [0, 1, 2, 3, 4]
    ax = plot_histogram([0, 10, 30, 0], controls=[[20, 20, 0, 0]] * 2, edges=edges, threshold=2, name="sub-01")
    drawn = next(patch for patch in ax.patches if patch.get_label() == "sub-01").get_data()
    assert drawn.values.tolist() == [0, 25, 75]
    assert drawn.edges.tolist() == [0, 1, 2, 3]
    assert alt_text(ax) == (
        "Histogram of lung-to-muscle ratio (1). sub-01: median 2.33; 2 controls: median 1 to 1; "
        "75.0 % of voxels at or above the threshold of 2."
    )
    assert ax.get_ylabel() == "lung voxels (% per 1)"


def test_histogram_draws_many_controls_as_their_range() -> None:
    controls = [[n, 10 - n, 0, 1] for n in range(6)]
    ax = plot_histogram([1, 1, 1, 1], controls=controls, edges=[0, 1, 2, 3, np.inf])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(100 * 10 / 11)


def zonal(values: dict[str, float], **keys: str) -> pd.DataFrame:
    rows = [row("signal_ratio_median", v, modality="T1w", region=z, n_voxels=9) for z, v in values.items()]
    return table(r | keys for r in rows)


def test_zonal_bars_are_the_rows_values_and_say_what_is_missing() -> None:
    rows = zonal({"upper": 0.2, "lower": np.nan, "lung": 9}, subject="sub-01")
    controls = pd.concat([zonal({"upper": v, "lower": 0.3}, subject=f"c{v}") for v in (0.1, 0.15)])
    ax = plot_zones(rows, "signal_ratio_median", controls=controls)
    assert [bar.get_height() for bar in ax.patches] == [0.2, 0]
    assert "no value" in texts(ax)
    assert sorted(ax.collections[0].get_offsets()[:, 1]) == [0.1, 0.15, 0.3, 0.3]
    assert ax.get_ylabel() == "signal ratio median (1)"
    assert alt_text(ax) == (
        "Bars of T1w signal ratio median (1) by zone. sub-01: upper 0.200, lower no value; "
        "2 controls: upper 0.100 to 0.150, lower 0.300 to 0.300."
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_slice(block(), plane="x"), "plane needs to be one of axial, coronal, sagittal, got 'x'"),
        (lambda: plot_slice(block(), window=(1, 0)), "window needs .* width > 0"),
        (lambda: plot_slice(block(), limits=(1, 1)), "limits need .* low < high"),
        (lambda: plot_mosaic(block(), n=0), "at least one slice"),
        (lambda: plot_comparison(block(), titles=["a", "b"]), "1 volumes needs as many titles, got 2"),
        (lambda: plot_histogram([0, 0], edges=[0, 1, 2]), "need voxels in 2 bins"),
        (lambda: plot_zones(zonal({"upper": 1}), "lung_volume"), "no row of regions"),
        (lambda: alt_text(Figure()), "no description: attach one with"),
    ],
)
def test_wrong_input_is_refused_with_the_remedy(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_zones_of_several_modalities_ask_which() -> None:
    rows = zonal({"upper": 1})
    with pytest.raises(ValueError, match=r"several modalities .*'T1w', 'T2w'.*: choose one"):
        plot_zones(pd.concat([rows, rows.assign(modality="T2w")]), "signal_ratio_median")


def test_words_travel_with_the_picture_and_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    name = '"><script>alert(1)</script> $x_'
    ax = plot_slice(block(name=name))
    assert alt_text(ax).startswith(name)
    assert Image.open(BytesIO(to_png(ax))).text["Description"] == alt_text(ax)
    assert "<script" not in to_html(ax)
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda data, **options: shown.append((data, options)))
    show(ax)
    data, options = shown[0]
    assert options["metadata"]["image/png"]["alt"] == alt_text(ax)
    assert data["text/html"].startswith("<img ")


def test_drawing_leaves_pyplot_alone() -> None:
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    plot_slice(block())
    assert plt.get_fignums() == before
    own = plt.figure().subplots()
    assert plot_slice(block(), ax=own) is own
    show(own)
    assert plt.get_fignums() == before


def test_figures_of_odd_volumes_warn_of_nothing() -> None:
    for array in (np.full((4, 4, 4), np.nan), np.ones((1, 1, 1)), np.zeros((8, 8, 1))):
        volume = Volume(array, np.eye(4), name="odd")
        lungs = Mask(np.zeros(array.shape, bool), np.eye(4))
        pixels(plot_slice(volume, overlays={"lung": lungs, "map": volume}))
        pixels(plot_mosaic(volume, overlays={"lung": lungs}))


def test_the_joint_histogram_names_its_quadrants_with_their_shares():
    from ipha_toolkit.measure.hemosiderin import SignatureReference

    # on the line, above it, below it, and where T1w predicts less than the floor
    histogram = pd.DataFrame({"t1w": [0.4, 0.2, 0.4, 0.01], "t2w": [0.4, 0.5, 0.05, 0.05], "lung": [4, 3, 2, 1]})
    ax = plot_signature(histogram, SignatureReference(1.0, 0.2, 5), floor=0.05, name="toy")
    words = alt_text(ax)
    for part in ("no evidence 10 %", "free water 30 %", "on the line: water 40 %", "T2w missing 20 %", "1.00 T1w"):
        assert part in words
    assert ax.get_xlabel() == "T1w ratio to muscle (1)"
    solid = ax.lines[0].get_xydata()
    assert np.allclose(solid[:, 0], solid[:, 1])
    with pytest.raises(ValueError, match="no voxel in the region lung"):
        plot_signature(histogram.assign(lung=0), SignatureReference(1.0, 0.2, 5), name="empty")


def test_sure_nodules_of_the_slab_are_ringed_where_they_are() -> None:
    array = np.full((30, 30, 20), -850.0)
    array[10, 20, 4] = array[22, 8, 12] = 100
    volume = Volume(array, np.diag([2.0, 2, 2, 1]), modality="ct", name="scan")
    columns = ["x_mm", "y_mm", "z_mm", "diameter_mm", "score"]
    nodules = pd.DataFrame([[20, 40, 8, 4, 20], [44, 16, 24, 4, 20], [2, 2, 8, 4, 2.1]], columns=columns, dtype=float)
    ax = plot_nodules(volume, nodules, slab_mm=8, z_mm=8)
    assert [patch.center for patch in ax.patches if hasattr(patch, "center")] == [(20, 40)]
    assert "1 of 2 nodules ringed" in alt_text(ax) and "8 mm" in ax.get_title()
    shown = np.asarray(ax.images[0].get_array())
    assert (shown != shown.flat[0]).any(axis=-1 if shown.ndim == 3 else 0).any()
    both = plot_nodules(volume, nodules, slab_mm=60)
    assert "2 of 2" in alt_text(both)
