"""Tools beside the slices, in one exported page: by button and by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import VIEWER, barriers, opened
from tools_round import made, try_all

import ipha_toolkit as ipha
from ipha_toolkit.viewer import still
from ipha_toolkit.viewer.layers import measure_roi
from ipha_toolkit.volume import Mask, Volume


@pytest.fixture
def viewer() -> Any:
    affine = np.diag([2.0, 2, 4, 1])
    array = np.random.default_rng(0).integers(1, 4000, (60, 50, 20))
    inside = np.zeros(array.shape, bool)
    inside[10:50, 10:40, 3:17] = True
    image = Volume(array, affine, modality="T1w", name="T1w")
    maps = {name: Volume(np.where(inside, array / scale, np.nan), affine, unit="1") for name, scale in _MAPS}
    nodules = pd.DataFrame({"x_mm": [40.0, 60], "y_mm": [40.0, 50], "z_mm": [20.0, 44], "diameter_mm": [6.0, 4]})
    shown = ipha.view(image, overlays={"lung": Mask(inside, affine)} | maps, nodules=nodules, position_mm=(60, 50, 40))
    yield shown
    shown.close()


_MAPS = (("ratio", 1000), ("other", 500))


def test_every_tool_answers_to_button_and_key(offline_page: Any, page_of: Callable[..., str]) -> None:
    shown = made()
    shown.embed()
    page = opened(offline_page, page_of(shown))
    try_all(page, shown)
    assert page.errors == page.requests == []


def test_nothing_keeps_a_reader_out(offline_page: Any, page_of: Callable[..., str]) -> None:
    shown = made()
    shown.embed()
    page = opened(offline_page, page_of(shown))
    assert barriers(page, ".ipha-viewer") == []
    page.evaluate(f"() => {VIEWER}[0].state.set({{plane: 'all', tool: 'distance'}})")
    page.locator("canvas.ipha-slice").first.focus()
    for key in ("Space", "Shift+ArrowLeft", "Space", "r", "?"):
        page.keyboard.press(key)
    assert barriers(page, ".ipha-viewer") == []


def test_mri_opens_in_the_window_of_its_lungs_and_key_one_is_for_lung(viewer: Any) -> None:
    layer = viewer._layers[0]
    assert layer["presets"][0][0] == "lung"
    assert viewer.window[0] == tuple(layer["presets"][0][1:])
    image, lung = viewer._shown[0], viewer._shown[1]
    volume, mask = Volume(image.array, image.affine, modality="T2w"), Mask(lung.array, lung.affine)
    both = ipha.view(volume, volume, overlays=[{"lung": mask}, {"lung": mask}])
    assert [layer["presets"][0][0] for layer in both._layers[:2]] == ["lung", "lung"]
    ct = ipha.view(viewer_volume("ct"))
    assert ct._layers[0]["presets"][0][0] == "lung"


def viewer_volume(modality: str) -> Volume:
    return Volume(np.linspace(-1000, 200, 60).reshape(5, 4, 3), np.eye(4), modality=modality, unit="HU")


def test_still_pictures_follow(viewer: Any) -> None:
    plain = np.asarray(still.draw(viewer._scene())).astype(int)
    viewer.invert = True
    inverted = np.asarray(still.draw(viewer._scene())).astype(int)
    assert abs(plain - inverted).mean() > 10
    viewer.colour_map = "gray"
    assert abs(np.asarray(still.draw(viewer._scene())).astype(int) - inverted).mean() > 1
    viewer.threshold_map, viewer.threshold = "other", 4.0
    assert 0 < viewer.fraction_above < 1
    with pytest.raises(ValueError, match="opacities needs one value an overlay"):
        viewer.opacities = [1.0]


def test_a_line_encloses_the_voxels_whose_centres_lie_inside(viewer: Any) -> None:
    corners = [[20.5, 20.5, 40], [41, 20.5, 40], [41, 31, 40], [20.5, 31, 40]]
    roi = {"image": 0, "plane": "axial", "center_mm": [30, 26, 40], "radii_mm": [10, 5], "points_mm": corners}
    found = measure_roi(viewer._images[0], roi)
    values = viewer._images[0].array[11:21, 11:16, 10]
    assert found["n"] == values.size
    assert found["mean"] == pytest.approx(values.mean())
