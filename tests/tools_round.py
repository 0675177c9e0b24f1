"""Every tool beside the slices, tried by button and by key on a page with the viewer of :data:`VIEWER_CODE`."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import VIEWER, becomes, pixels, settle

from ipha_toolkit.viewer.layers import measure_marks, measure_roi

VIEWER_CODE = """
import numpy as np, pandas as pd, ipha_toolkit as ipha
affine = np.diag([2.0, 2, 4, 1])
array = np.random.default_rng(0).integers(1, 4000, (60, 50, 20))
inside = np.zeros(array.shape, bool)
inside[10:50, 10:40, 3:17] = True
image = ipha.Volume(array, affine, modality="T1w", name="T1w")
second = ipha.Volume(array[::-1], affine, modality="T2w", name="T2w")
maps = {name: ipha.Volume(np.where(inside, array / scale, np.nan), affine, unit="1")
        for name, scale in (("ratio", 1000), ("other", 500))}
nodules = pd.DataFrame({"x_mm": [40.0, 60], "y_mm": [40.0, 50], "z_mm": [20.0, 44], "diameter_mm": [6.0, 4]})
viewer = ipha.view(image, second, overlays={"lung": ipha.Mask(inside, affine)} | maps, nodules=nodules,
                   position_mm=(60, 50, 40))
"""


def made() -> Any:
    """The viewer of :data:`VIEWER_CODE`."""
    names: dict[str, Any] = {}
    exec(VIEWER_CODE, names)
    return names["viewer"]


class Hand:
    """Mouse and keys over the first viewer of a page."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.canvas = page.locator("canvas.ipha-slice").first

    def get(self, key: str) -> Any:
        settle(self.page)
        return self.page.evaluate(f"(key) => {VIEWER}[0].get(key)", key)

    def at(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        x, y = self.page.evaluate(
            f"([x, y]) => {{ const p = {VIEWER}[0].panels[0].place; return [p.x(x / 2), p.y(y / 2)]; }}", [x_mm, y_mm]
        )
        box = self.canvas.bounding_box()
        return box["x"] + x, box["y"] + y

    def drag(self, *points: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=3)
        self.page.mouse.up()
        settle(self.page)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        settle(self.page)

    def key(self, *keys: str) -> None:
        self.canvas.focus()
        for key in keys:
            self.page.keyboard.press(key)
        settle(self.page)

    def pressed(self, name: str) -> bool:
        button = self.page.get_by_role("button", name=name, exact=True)
        return bool(button.get_attribute("aria-pressed") == "true")

    def go(self, *position: float) -> None:
        self.page.evaluate(f"(p) => {VIEWER}[0].state.setPosition(p)", position)


def try_all(page: Any, viewer: Any) -> None:
    """All tools, one after another; ``viewer`` is the same viewer in Python, to measure with."""
    hand = Hand(page)
    for part in (choices, distances, regions, looks, places, links, large_view):
        part(hand, viewer)


def choices(hand: Hand, viewer: Any) -> None:
    tools = {"Look": "q", "Window": "w", "Pan": "P", "Region": "j", "Freehand": "J", "Distance": "d", "Angle": "g"}
    names = ("crosshair", "window", "pan", "roi", "free", "distance", "angle")
    for (button, key), tool in zip(tools.items(), names, strict=True):
        for act in (lambda b=button: hand.press(b), lambda k=key: hand.key(k)):
            hand.press("Look" if tool != "crosshair" else "Pan")
            act()
            assert hand.get("tool") == tool
            assert hand.pressed(button)


def distances(hand: Hand, viewer: Any) -> None:
    found = lambda: measure_marks(viewer._images, hand.get("_marks"))["value"].tolist()  # noqa: E731
    hand.press("Distance")
    hand.drag((30, 30), (60, 70))
    hand.key("d")
    for x, y in ((30, 30), (60, 70)):
        hand.go(x, y, 40)
        hand.key("Space")
    assert found() == pytest.approx([50, 50], abs=0.6)
    hand.press("Angle")
    for x, y in ((60, 30), (30, 30), (30, 60)):
        hand.page.mouse.click(*hand.at(x, y))
    hand.key("g")
    for x, y in ((60, 30), (30, 30), (30, 60)):
        hand.go(x, y, 40)
        hand.key("Space")
    assert found()[2:] == pytest.approx([90, 90], abs=1.5)
    hand.press("Remove distance")
    hand.key("D", "D", "D")
    assert hand.get("_marks") == []


def regions(hand: Hand, viewer: Any) -> None:
    """A freehand region with a name is measured as in Python."""
    hand.press("Freehand")
    hand.drag((30, 30), (70, 30), (70, 60), (30, 60))
    hand.page.locator(".ipha-name").fill("left base")
    hand.page.keyboard.press("Tab")
    hand.key("J")
    for x, y in ((30, 30), (70, 30), (70, 60), (30, 60)):
        hand.go(x, y, 40)
        hand.key("Space")
    hand.key("Enter")
    drawn, keyed = hand.get("_rois")
    assert drawn["name"] == "left base"
    first = "v.roiStatistics(v.panels[0], v.get('_rois')[0])"
    shown = hand.page.evaluate(f"() => {{ const v = {VIEWER}[0]; return {first}; }}")
    expected = measure_roi(viewer._images[0], drawn)
    assert shown["n"] == expected["n"] > 200
    assert shown["mean"] == pytest.approx(expected["mean"])
    assert measure_roi(viewer._images[0], keyed)["n"] == pytest.approx(expected["n"], rel=0.15)
    hand.press("Remove region")
    hand.key("Delete", "Escape")
    assert hand.get("_rois") == []
    assert hand.get("tool") == "crosshair"


def looks(hand: Hand, viewer: Any) -> None:
    before = pixels(hand.page).astype(int)
    hand.key("v")
    becomes(hand.page, lambda: abs(pixels(hand.page).astype(int) - before).mean(), lambda change: change > 5)
    hand.press("Invert")
    assert hand.get("invert") is False
    hand.key("k")
    assert hand.get("colour_map") == "viridis"
    colours = hand.page.get_by_label("Colours")
    colours.select_option("gray")
    assert hand.get("colour_map") == "gray"
    opacity = hand.page.get_by_label("Opacity of ratio")
    opacity.evaluate("(e) => { e.value = 0.5; e.dispatchEvent(new Event('input')); }")
    opacity.focus()
    hand.page.keyboard.press("ArrowLeft")
    hand.page.wait_for_function(f"() => Math.abs({VIEWER}[0].get('opacities')[1] - 0.45) < 1e-6")
    hand.page.locator("label:has(> span:text-is('Map')) select").select_option("other")
    threshold = hand.page.locator(".ipha-threshold")
    assert hand.page.locator("label:has(.ipha-threshold)").inner_text().startswith("Threshold of other")
    threshold.focus()
    hand.page.keyboard.press("ArrowRight")
    assert hand.get("threshold") is not None
    window = hand.get("window")[0]
    hand.key("2")
    assert hand.get("window")[0] != window
    hand.key("1")
    assert hand.get("window")[0] == window  # MRI opens in the window of its lungs


def places(hand: Hand, viewer: Any) -> None:
    page = hand.page
    page.locator(".ipha-nodules button").first.click()
    assert hand.get("position_mm") == [40, 40, 20]
    hand.key("n")
    assert hand.get("position_mm") == [60, 50, 44]
    hand.go(50, 30, 44)
    settle(page)
    page.mouse.click(*hand.at(61, 51))  # on the nodule's circle, beside its middle
    assert hand.get("position_mm") == [60, 50, 44]
    moved = "() => {0}[0].get('position_mm')[2] > {1}"
    for start in (lambda: hand.key("u"), lambda: hand.press("Cine")):
        hand.go(60, 50, 4)
        start()
        page.wait_for_function(moved.format(VIEWER, 9))
        start()
    for save in (lambda: page.keyboard.press("S"), lambda: page.get_by_role("button", name="Picture").click()):
        hand.canvas.focus()
        with page.expect_download() as saved:
            save()
        assert saved.value.suggested_filename == "T1w.png"
    for reset in (lambda: hand.key("R"), lambda: hand.press("Reset")):
        hand.go(10, 10, 8)
        hand.key("k", "z")
        reset()
        assert hand.get("position_mm") == [60, 50, 40]
        assert (hand.get("zoom"), hand.get("colour_map"), hand.get("opacities")) == (1, "", [1, 1, 1])


def links(hand: Hand, viewer: Any) -> None:
    page, second = hand.page, hand.page.locator("canvas.ipha-slice").nth(1)

    def slices() -> list[str]:
        settle(page)
        return [str(one.get_attribute("data-index")) for one in page.locator("canvas.ipha-slice").all()]

    def come(*numbers: str) -> None:  # a kernel may be asked for them
        becomes(page, slices, list(numbers))

    come("10", "10")
    for turn in (lambda: hand.press("Unlink"), lambda: hand.key("U")):
        turn()
        assert hand.pressed("Unlink")
        box = second.bounding_box()
        page.mouse.move(box["x"] + 50, box["y"] + 50)
        page.mouse.wheel(0, -100)
        page.mouse.wheel(0, -100)
        come("10", "12")
        hand.key("ArrowDown")
        come("9", "12")
        assert hand.get("active") == 0
        assert "slice 10 of 20" in hand.canvas.get_attribute("aria-label")
        assert "slice 13 of 20" in second.get_attribute("aria-label")
        hand.key("ArrowUp")
        turn()
        come("10", "10")


def large_view(hand: Hand, viewer: Any) -> None:
    large = hand.page.locator(".ipha-viewer.ipha-large")
    for turn in (lambda: hand.key("M"), lambda: hand.press("Maximise")):
        for leave in (turn, lambda: hand.page.keyboard.press("Escape")):
            turn()
            assert large.count() == 1
            leave()
            assert large.count() == 0
    hand.key("M", "d", "Escape")  # a tool is left first
    assert large.count() == 1
    hand.key("Escape")
    assert large.count() == 0
