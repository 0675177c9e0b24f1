"""Tools beside the slices, in one exported page: by button and by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browsing import VIEWER, opened, pixels, settle

import ipha_toolkit as ipha
from ipha_toolkit.viewer import still
from ipha_toolkit.viewer.layers import measure_marks, measure_roi
from ipha_toolkit.volume import Mask, Volume

GET = f"(key) => {VIEWER}[0].get(key)"


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


def test_every_tool_answers_to_button_and_key(offline_page: Any, page_of: Callable[..., str], viewer: Any) -> None:
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    canvas = page.locator("canvas.ipha-slice").first
    box = canvas.bounding_box()

    def get(key: str) -> Any:
        return page.evaluate(GET, key)

    def at(x_mm: float, y_mm: float) -> tuple[float, float]:
        x, y = page.evaluate(
            f"([x, y]) => {{ const p = {VIEWER}[0].panels[0].place; return [p.x(x / 2), p.y(y / 2)]; }}", [x_mm, y_mm]
        )
        return box["x"] + x, box["y"] + y

    def drag(*points: tuple[float, float]) -> None:
        page.mouse.move(*at(*points[0]))
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*at(*point), steps=3)
        page.mouse.up()
        settle(page)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()
        settle(page)

    # distance by mouse, angle by keys
    press("Distance")
    assert page.get_by_role("button", name="Distance", exact=True).get_attribute("aria-pressed") == "true"
    drag((30, 30), (60, 70))
    (distance,) = get("_marks")
    found = measure_marks(viewer._images, get("_marks"))
    assert found["value"].iloc[0] == pytest.approx(50, abs=0.5)
    assert distance["plane"] == "axial"
    canvas.focus()
    page.keyboard.press("g")
    for x, y in ((60, 30), (30, 30), (30, 60)):
        page.evaluate(f"(p) => {VIEWER}[0].state.setPosition(p)", [x, y, 40])
        page.keyboard.press("Space")
    assert measure_marks(viewer._images, get("_marks"))["value"].iloc[1] == pytest.approx(90)
    page.keyboard.press("D")
    page.keyboard.press("Shift+D")
    assert get("_marks") == []

    # a freehand region with a name is measured as in Python
    page.keyboard.press("J")
    drag((30, 30), (70, 30), (70, 60), (30, 60))
    (roi,) = get("_rois")
    page.locator(".ipha-name").fill("left base")
    page.keyboard.press("Tab")
    (roi,) = get("_rois")
    assert roi["name"] == "left base"
    shown = page.evaluate(f"() => {{ const v = {VIEWER}[0]; return v.roiStatistics(v.panels[0], v.get('_rois')[0]); }}")
    expected = measure_roi(viewer._images[0], roi)
    assert shown["n"] == expected["n"]
    assert expected["n"] > 200
    assert shown["mean"] == pytest.approx(expected["mean"])
    canvas.focus()
    page.keyboard.press("Escape")
    assert get("tool") == "crosshair"

    # looks
    before = pixels(page).astype(int)
    page.keyboard.press("v")
    assert abs(pixels(page).astype(int) - before).mean() > 5
    press("Invert")
    assert get("invert") is False
    canvas.focus()
    page.keyboard.press("k")
    assert get("colour_map") == "viridis"
    page.get_by_label("Opacity of ratio").evaluate("(e) => { e.value = 0; e.dispatchEvent(new Event('input')); }")
    assert get("opacities") == [1, 0, 1]
    page.locator("label:has(> span:text-is('Map')) select").select_option("other")
    assert page.locator("label:has(.ipha-threshold)").inner_text().startswith("Threshold of other")
    page.keyboard.press("Tab")

    # going about
    page.locator(".ipha-nodules button").first.click()
    assert get("position_mm") == [40, 40, 20]
    canvas.focus()
    page.keyboard.press("u")
    page.wait_for_function(f"() => {VIEWER}[0].get('position_mm')[2] > 24")
    page.keyboard.press("u")
    page.keyboard.press("M")
    assert page.locator(".ipha-viewer.ipha-large").count() == 1
    page.keyboard.press("M")
    with page.expect_download() as saved:
        page.keyboard.press("S")
    assert saved.value.suggested_filename == "T1w.png"
    page.keyboard.press("R")
    assert get("position_mm") == [60, 50, 40]
    assert get("opacities") == [1, 1, 1]
    assert get("colour_map") == ""
    assert page.errors == page.requests == []


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
