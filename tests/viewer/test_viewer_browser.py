"""The viewer as a page shows it: pixels read from a headless Chromium without network or kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from browsing import VIEWER, becomes, hacked, opened, past, pixels, settle

import ipha_toolkit as ipha
from ipha_toolkit.viewer import payload, still
from ipha_toolkit.viewer.layers import bounds_mm
from ipha_toolkit.viewer.page import page_fragment
from ipha_toolkit.volume import Mask, Volume


def volume_of(shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int, **fields: Any) -> Volume:
    array = np.random.default_rng(seed).integers(0, 4000, shape)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) * s / 2 for n, s in zip(shape, spacing, strict=True)]
    return Volume(array, affine, **fields)


@pytest.fixture
def pair() -> tuple[Volume, Volume, dict[str, Any]]:
    one = volume_of((40, 32, 12), (5, 5, 10), 1, modality="T1w", name="T1w")
    two = volume_of((50, 40, 20), (4, 4, 6), 2, modality="T2w", name="T2w")
    inside = np.zeros(one.shape, bool)
    inside[8:30, 8:24, 2:10] = True
    lungs = Mask(inside, one.affine, name="lung")
    ratio = Volume(np.where(inside, one.array / 1000, np.nan), one.affine, name="ratio", unit="1")
    return one, two, {"lung": lungs, "ratio": ratio}


def test_right_is_left_and_lettered_so_in_all_48_orientations(offline_page: Any, page_of: Callable[..., str]) -> None:
    array = np.zeros((12, 12, 12))
    array[6:, 6:, 6:] = 1000
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = -11, -16.5, -22
    viewers = []
    for order in permutations(range(3)):
        for flips in product((1, -1), repeat=3):
            turned = array.transpose(order)[tuple(slice(None, None, f) for f in flips)]
            matrix = np.eye(4)
            matrix[:3, :3] = affine[:3, order] * flips
            matrix[:3, 3] = affine[:3, 3] + affine[:3, order] @ [11 if f < 0 else 0 for f in flips]
            volume = Volume(turned, matrix)
            viewers.append(
                ipha.view(
                    volume, plane="all", position_mm=(3, 4.5, 6), crosshair=False, height_px=120, embed_live=False
                )
            )
            viewers[-1].embed()
    page = opened(offline_page, page_of(*viewers))
    found = page.evaluate("""() => [...document.querySelectorAll('canvas.ipha-slice')].map((canvas) => {
        const x = canvas.width / 2, y = canvas.height / 2, ctx = canvas.getContext('2d');
        const at = (dx, dy) => ctx.getImageData(x + dx, y + dy, 1, 1).data[0] > 128;
        return [at(-14, -14), at(14, -14), at(-14, 14), at(14, 14), canvas.dataset.letters].join();
    })""")
    expected = [f"true,false,false,false,{letters}" for letters in ("R L A P", "R L S I", "A P S I")]
    assert found == expected * 48
    assert page.errors == []


@pytest.mark.parametrize("zoomed", [1, 0.7])
def test_value_under_the_pointer_is_the_voxels(
    offline_page: Any, page_of: Callable[..., str], pair: Any, zoomed: float
) -> None:
    one, two, _ = pair
    viewer = ipha.view(one, two, position_mm=(2.5, 2.5, 5))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    page.evaluate(f"document.body.style.transform = 'scale({zoomed})'")  # as slides do
    canvas = page.locator("canvas.ipha-slice").first
    box = canvas.bounding_box()
    scale = min(box["width"] / 200, box["height"] / 160)
    for i, j in ((3, 5), (20, 16), (38, 30), (11, 29)):
        x, y, _ = one.to_world([i, j, 6])
        page.mouse.move(box["x"] + box["width"] / 2 - x * scale, box["y"] + box["height"] / 2 - y * scale)
        settle(page)
        shown = [float(c.get_attribute("data-value")) for c in page.locator("canvas.ipha-slice").all()]
        near = np.floor(two.to_index([x, y, 5]) + 0.5).astype(int)
        assert shown == [one.array[i, j, 6], two.array[tuple(near)]]


@pytest.mark.parametrize("axis", [0, 1])
def test_grids_of_different_spacing_align_within_half_a_pixel(
    offline_page: Any, page_of: Callable[..., str], axis: int
) -> None:
    volumes = []
    for spacing, n in ((2.0, 60), (3.0, 40)):
        array = np.zeros((n, n, 5))
        array[(slice(None),) * axis + (slice(n // 2, None),)] = 1000
        affine = np.diag([spacing, spacing, 5, 1.0])
        affine[:2, 3] = -spacing * (n - 1) / 2
        volumes.append(Volume(array, affine))
    viewer = ipha.view(*volumes, crosshair=False, position_mm=(7, 11, 10), zoom=1.3)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    edges = []
    for panel in (0, 1):
        image = pixels(page, panel).astype(float)
        height, width = image.shape
        line = image[int(height * 0.6), :] if axis == 0 else image[:, int(width * 0.4)]
        middle = len(line) // 2
        part = line[middle - 40 : middle + 40]
        edges.append(np.interp(0.5, -part / 255 + 1, np.arange(len(part)) + middle - 40 + 0.5))
    assert edges[0] == pytest.approx(edges[1], abs=0.5)
    assert edges[0] == pytest.approx(len(line) / 2, abs=0.5)


def test_every_interaction_changes_the_pixels(offline_page: Any, page_of: Callable[..., str], pair: Any) -> None:
    one, two, overlays = pair
    viewer = ipha.view(one, two, overlays=overlays, slab_mm=30)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    canvas = page.locator("canvas.ipha-slice").first
    canvas.focus()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)

    def changes(act: Callable[[], Any], panels: tuple[int, ...] = (0, 1)) -> None:
        before = [pixels(page, panel) for panel in panels]
        act()
        for panel, old in zip(panels, before, strict=True):  # a wheel may turn later than it is told to
            other = lambda new, old=old: old.shape != new.shape or (old != new).mean() > 0.005  # noqa: E731
            becomes(page, lambda panel=panel: pixels(page, panel), other)

    def slide(selector: str, value: float) -> None:
        page.eval_on_selector(selector, f"(e) => {{ e.value = {value}; e.dispatchEvent(new Event('input')); }}")

    def drag(button: str) -> None:
        page.mouse.move(box["x"] + 200, box["y"] + 200)
        page.mouse.down(button=button)
        page.mouse.move(box["x"] + 260, box["y"] + 150, steps=3)
        page.mouse.up(button=button)

    changes(lambda: page.mouse.wheel(0, 100))
    changes(lambda: page.keyboard.press("ArrowUp"))
    changes(lambda: drag("right"), (0,))
    changes(lambda: drag("left"))
    changes(lambda: page.keyboard.press("2"), (0,))
    changes(lambda: slide(".ipha-bar input[type=range]:not(.ipha-threshold)", 0.9))
    changes(lambda: slide(".ipha-threshold", 2))
    changes(lambda: page.locator(".ipha-bar select").nth(2).select_option("max"))
    changes(lambda: canvas.focus() or page.keyboard.press("z"))
    changes(lambda: page.keyboard.press("o"))
    changes(lambda: page.keyboard.press("c"))
    assert page.locator("canvas.ipha-slice").count() == 2
    page.keyboard.press("m")
    settle(page)
    assert page.locator("canvas.ipha-slice").count() == 6
    assert page.requests == []
    assert page.errors == []


def test_threshold_shows_the_share_of_the_lung_above_it(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    one, _, overlays = pair
    viewer = ipha.view(one, overlays=overlays)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    edge = viewer._layers[2]["share"]["edges"][150]
    page.eval_on_selector(".ipha-threshold", f"(e) => {{ e.value = {edge}; e.dispatchEvent(new Event('input')); }}")
    share = np.mean(overlays["ratio"].array[overlays["lung"].array] >= edge)
    assert page.locator("output").inner_text().startswith(f"{100 * share:.1f} % of lung at or above")


def test_the_page_holds_the_volume_exactly(
    offline_page: Any, page_of: Callable[..., str], pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "_VOXELS_PER_CHUNK", 4000)
    one, _, overlays = pair
    viewer = ipha.view(one, overlays=overlays)
    viewer.embed()
    assert len(viewer._export[0]["chunks"]) == 4
    page = opened(offline_page, page_of(viewer))
    image, mask, _ = page.evaluate(f"() => {VIEWER}[0].source.layers.map((l) => Array.from(l.data))")
    assert np.array_equal(np.array(image) - 1, one.array.T.ravel())
    assert np.array_equal(mask, overlays["lung"].array.T.ravel() + 1 - 1)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("slab", ["off", "max", "min"])
def test_slices_and_slabs_are_those_of_python(
    offline_page: Any, page_of: Callable[..., str], pair: Any, plane: str, slab: str
) -> None:
    from ipha_toolkit.viewer import layers

    one, _, _ = pair
    viewer = ipha.view(one, plane=plane, slab=slab, slab_mm=27)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    codes = page.evaluate(f"() => Array.from({VIEWER}[0].panels[0].data)")
    layer = viewer._images[0]
    index = layer.to_index(viewer.position_mm)[layers.PLANES[plane][2]]
    expected = layers.thick_slab(layer, plane, index, mode=slab, slab_mm=27)
    assert np.array_equal(np.array(codes) - 1 + layer.offset, expected.ravel())


def test_region_drawn_by_key_is_measured_as_in_python(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    one, _, _ = pair
    viewer = ipha.view(one, position_mm=(2.5, 2.5, 5))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    page.locator("canvas.ipha-slice").focus()
    page.keyboard.press("r")
    found = page.evaluate(f"() => {{ const v = {VIEWER}[0]; return v.roiStatistics(v.panels[0], v.get('_rois')[0]); }}")
    viewer.add_roi((2.5, 2.5, 5), 10)
    row = viewer.rois.iloc[0]
    assert [found["n"], found["area"]] == [row["n"], row["area_mm2"]]
    assert [found["mean"], found["sd"]] == pytest.approx([row["mean"], row["sd"]])


def test_keys_zoom_centre_step_through_nodules_and_resize_regions(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    one, _, _ = pair
    nodules = pd.DataFrame({"x_mm": [20.0, -35], "y_mm": [10.0, 5], "z_mm": [15.0, -25], "diameter_mm": [6.0, 9]})
    viewer = ipha.view(one, nodules=nodules)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    page.locator("canvas.ipha-slice").focus()
    state = lambda key: page.evaluate(f"() => {VIEWER}[0].get('{key}')")  # noqa: E731
    visited = []
    for key in ("n", "n", "n", "N"):
        page.keyboard.press(key)
        visited.append(state("position_mm"))
    first, second = [20, 10, 15], [-35, 5, -25]
    assert visited == [first, second, first, second]
    for key in ("z", "z", "f"):
        page.keyboard.press(key)
    settle(page)
    place = page.evaluate(
        f"() => {{ const p = {VIEWER}[0].panels[0]; return [p.place.x0 * 2 - p.canvas.clientWidth]; }}"
    )
    assert place == pytest.approx([0], abs=1e-6)
    page.keyboard.press("0")
    assert state("zoom") == 1
    for key in ("r", ".", ".", ","):
        page.keyboard.press(key)
    assert state("_rois")[0]["radii_mm"] == pytest.approx([11, 11])
    button = page.get_by_role("button", name="Remove region")
    button.click()
    assert state("_rois") == []
    assert not button.is_visible()


def test_an_image_that_ends_before_the_crosshair_says_so(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    one, two, _ = pair
    viewer = ipha.view(one, two.replace(array=two.array[:, :, :8]), position_mm=(0, 0, 50))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    labels = [canvas.get_attribute("aria-label") for canvas in page.locator("canvas.ipha-slice").all()]
    assert "away" not in labels[0]
    assert labels[1].endswith("nearest slice, 65 mm away")
    assert viewer.description.split(". ")[1].endswith("nearest slice, 65 mm away.")


def test_four_images_stand_two_by_two_and_three_planes_share_one_scale(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    one, _, _ = pair
    four, planes = ipha.view(one, one, one, one), ipha.view(one, plane="all")
    for viewer in (four, planes):
        viewer.embed()
    page = opened(offline_page, page_of(four, planes))
    boxes = [canvas.bounding_box() for canvas in page.locator("canvas.ipha-slice").all()]
    assert len({box["y"] for box in boxes[:4]}) == len({box["x"] for box in boxes[:4]}) == 2
    assert len({box["y"] for box in boxes[4:]}) == 1
    scales = page.evaluate(f"() => {VIEWER}[1].panels.map((p) => {VIEWER}[1].view(p).scale)")
    assert len(set(scales)) == 1


def odd_volumes() -> dict[str, Volume]:
    noise = np.random.default_rng(0).normal(0, 1, (9, 8, 7))
    c, s = np.cos(0.4), np.sin(0.4)
    oblique = np.array([[2 * c, -2 * s, 0, 5], [2 * s, 2 * c, 0, 9], [0, 0, 3, -40], [0, 0, 0, 1]])
    return {
        "missing": Volume(np.full((5, 4, 3), np.nan), np.eye(4)),
        "partly missing": Volume(np.where(noise > 0, noise, np.nan), np.eye(4)),
        "infinite": Volume(np.where(noise > 2, np.inf, noise), np.eye(4)),
        "constant": Volume(np.full((5, 4, 3), 7), np.eye(4)),
        "one voxel": Volume(np.ones((1, 1, 1)), np.eye(4)),
        "one slice": Volume(noise[:, :, :1], np.eye(4)),
        "radiograph": Volume(noise[:, :, :1], np.eye(4)[:, [0, 2, 1, 3]], modality="dx"),
        "oblique": Volume(noise, oblique),
        "tiny values": Volume(noise * 1e-9, np.eye(4)),
        "huge values": Volume(noise * 1e9, np.eye(4)),
        "coarse": Volume(noise, np.diag([40.0, 30, 50, 1])),
    }


def test_odd_volumes_can_be_looked_at_alone_and_linked(offline_page: Any, page_of: Callable[..., str]) -> None:
    odd = odd_volumes()
    lungs = Mask(np.ones((6, 6, 6), bool), np.diag([3.0, 2, 2, 1]), name="lung")  # on a grid of its own
    viewers = [
        ipha.view(volume, overlays={"lung": lungs, "map": volume}, plane="all", height_px=120, slab=slab)
        for volume, slab in zip(odd.values(), 4 * ["off", "max", "min"], strict=False)
    ]
    viewers.append(ipha.view(*[odd[name] for name in ("oblique", "coarse", "one slice", "missing")], overlays=lungs))
    for viewer in viewers:
        viewer.embed()
    page = opened(offline_page, page_of(*viewers))
    page.locator("canvas.ipha-slice").last.focus()
    for key in ("ArrowUp", "End", "c", "s", "m", "z", "]", "2", "r", "o"):
        page.keyboard.press(key)
        settle(page)
    assert page.errors == []
    assert len(viewers) == page.locator(".ipha-viewer[data-ready]").count()


def test_page_without_saved_state_shows_the_picture_with_its_words(pair: Any) -> None:
    from nbconvert import HTMLExporter

    viewer = ipha.view(pair[0].replace(name="<b>T1w</b>"))
    data, metadata = viewer._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    html, _ = HTMLExporter().from_notebook_node(notebook)
    assert [unescape(words) for words in re.findall(r'<img [^>]*alt="([^"]*)"', html)] == [viewer.description]
    assert "widget-view+json" not in html


def test_names_from_data_stay_text(offline_page: Any, page_of: Callable[..., str], pair: Any) -> None:
    one, _, overlays = pair
    hostile = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    viewer = ipha.view(
        one.replace(name=hostile), overlays={hostile: overlays["lung"], hostile + "2": overlays["ratio"]}
    )
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    assert hacked(page) is None
    assert hostile in page.get_by_role("group", name="Overlays").inner_text()
    assert hostile in page.locator("[role=status]").inner_text()


def test_sliders_linked_in_the_browser_still_move_the_slice(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    import ipywidgets

    one, two, _ = pair
    first, second = ipha.view(one, position_mm=(0, 0, 5)), ipha.view(two, position_mm=(0, 0, 5))
    slider = ipywidgets.FloatSlider(value=5, min=-50, max=50, description="z (mm)")
    links = [ipywidgets.jslink((slider, "value"), (first, "z_mm"))]
    links.append(ipywidgets.jslink((first, "position_mm"), (second, "position_mm")))
    for viewer in (first, second):
        viewer.embed()
    page = opened(offline_page, page_of(ipywidgets.HBox([first, second]), slider))
    before = [pixels(page, panel) for panel in (0, 1)]
    page.locator(".ipha-control input").fill("-35")
    for panel, old in enumerate(before):
        assert (pixels(page, panel) != old).mean() > 0.05
    assert "at z -35.0 mm" in page.locator("canvas.ipha-slice").nth(1).get_attribute("aria-label")


def test_viewer_hidden_at_first_draws_when_shown(offline_page: Any, page_of: Callable[..., str], pair: Any) -> None:
    viewer = ipha.view(pair[0])
    viewer.embed()
    page = offline_page
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => document.body.insertAdjacentHTML('afterbegin',"
        " '<style id=hide>body > div { display: none; }</style>'))"
    )
    page.goto(page_of(viewer))
    page.wait_for_function(f"() => {VIEWER}[0]?.source.layers.every((layer) => layer.ready.every(Boolean))")
    settle(page)
    assert page.locator(".ipha-viewer").get_attribute("data-ready") is None
    page.evaluate("document.getElementById('hide').remove()")
    page.wait_for_selector(".ipha-viewer[data-ready]")
    assert pixels(page).max() > 200


def test_keyboard_reaches_everything_and_focus_shows(offline_page: Any, page_of: Callable[..., str], pair: Any) -> None:
    one, _, overlays = pair
    viewer = ipha.view(one, overlays=overlays)
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.tagName"))
        style = page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle; })()"
        )
        assert style != "none"
        if reached[-1] == "SUMMARY":
            break
    assert reached.count("CANVAS") == 1
    assert reached[-1] == "SUMMARY"
    controls = "[...document.querySelectorAll('.ipha-viewer :is(select, input)')]"
    unnamed = page.evaluate(f"{controls}.filter((e) => !e.labels.length && !e.ariaLabel).length")
    assert unnamed == 0


LISTENERS = """
    window.held = new Set();
    for (const target of [window, document]) {
        const add = target.addEventListener.bind(target);
        target.addEventListener = (name, call, options) => {
            const held = `${name} ${Math.random()}`, {signal} = options ?? {};
            if (new Error().stack.includes("blob:")) window.held.add(held);  // the viewer's module, nobody else's
            signal?.addEventListener("abort", () => window.held.delete(held));
            add(name, call, options);
        };
    }
"""


def test_a_closed_viewer_listens_to_nothing_any_more(
    offline_page: Any, page_of: Callable[..., str], pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, overlays = pair
    viewer = ipha.view(one, two, overlays=overlays, position_mm=(2.5, 2.5, 5))
    viewer.embed()
    offline_page.add_init_script(LISTENERS)
    page = opened(offline_page, page_of(viewer))
    page.evaluate(f"() => {{ window.closing = {VIEWER}[0]; }}")
    heard = "() => [window.held.size, window.closing.model.listeners.length]"
    before = page.evaluate(heard)
    page.locator("canvas.ipha-slice").first.focus()
    page.evaluate("""() => {
        window.saved = 0;
        window.closing.model.save_changes = () => { window.saved += 1; };
        addEventListener("keyup", () => window.closing.close(), {once: true});
    }""")
    page.keyboard.press("ArrowUp")  # the kernel would hear of it 60 ms later, the screen reader 500
    after = page.evaluate(heard)
    assert before[0] >= 6
    assert before[1] >= 10
    assert after == [0, 0]
    assert page.evaluate("window.saved") == 1
    frames, words = page.evaluate("[window.closing.frames, window.closing.live.textContent]")
    page.evaluate("() => { window.closing.model.set('plane', 'coronal'); window.closing.redraw(); }")
    page.keyboard.press("ArrowUp")
    past(page, 600)
    assert page.evaluate("[window.closing.frames, window.closing.live.textContent]") == [frames, words]
    assert page.errors == []


def test_two_names_of_one_thing_agree_in_the_browser(offline_page: Any, page_of: Callable[..., str], pair: Any) -> None:
    one, two, _ = pair
    viewer = ipha.view(one, two, position_mm=(2.5, 2.5, 5))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    state = "['position_mm', 'x_mm', 'y_mm', 'z_mm', 'window', 'active', 'level', 'width'].map((k) => v.model.get(k))"
    found = lambda act: page.evaluate(f"() => {{ const v = {VIEWER}[0]; {act}; return {state}; }}")  # noqa: E731
    position, x, y, z, *_ = found("v.model.set('position_mm', [7.5, -2.5, 15])")  # as a link to another viewer does
    assert position == [x, y, z] == [7.5, -2.5, 15]
    position, x, y, z, *_ = found("v.model.set('z_mm', -25)")  # as a slider does
    assert position == [x, y, z] == [7.5, -2.5, -25]
    *_, windows, _, level, width = found("v.model.set('active', 1)")
    assert [level, width] == windows[1]
    *_, windows, _, level, width = found("v.model.set('level', 123)")
    assert windows[1] == [123, width]


def test_where_the_picture_was_panned_to_is_part_of_the_state(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0], position_mm=(2.5, 2.5, 5), crosshair=False, pan_mm=(40, 20, 0), zoom=1.5, tool="pan")
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    there = page.evaluate(f"() => {VIEWER}[0].view({VIEWER}[0].panels[0]).center")
    low, high = bounds_mm(viewer._images)
    assert there == pytest.approx((low + high) / 2 + (40, 20, 0))
    panel = still._Panel(viewer._scene(), 0, "axial", 400)
    assert panel.center == pytest.approx(there)
    box = page.locator("canvas.ipha-slice").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 200, steps=3)
    page.mouse.up()
    moved = page.evaluate(f"() => {VIEWER}[0].get('pan_mm')")
    assert moved[0] > 40
    assert moved[1:] == [20, 0]
    page.locator("canvas.ipha-slice").focus()
    page.keyboard.press("0")
    assert page.evaluate(f"() => {VIEWER}[0].get('pan_mm')") == [0, 0, 0]


def test_a_viewer_without_kernel_or_copy_shows_its_picture_with_words(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0], position_mm=(2.5, 2.5, 5))
    viewer._repr_mimebundle_()
    offline_page.goto(page_of(viewer))
    offline_page.wait_for_selector(".ipha-saved img")  # at once: no kernel can answer in a page
    assert offline_page.locator(".ipha-saved img").get_attribute("alt") == viewer.description
    assert offline_page.locator(".ipha-saved p").inner_text().startswith(viewer.description)
    assert not offline_page.locator("canvas").is_visible()
    assert offline_page.errors == []


def test_a_page_without_a_notebook_hears_the_keys_that_the_viewer_does_not_use(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0], position_mm=(2.5, 2.5, 5))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    page.evaluate("() => { window.heard = []; document.addEventListener('keydown', (e) => window.heard.push(e.key)); }")
    page.locator("canvas.ipha-slice").focus()
    for key in ("ArrowUp", "t", "c", "Control+ArrowUp", " "):  # a presenter's space bar turns the slide
        page.keyboard.press(key)
    assert page.evaluate("window.heard") == ["t", "Control", "ArrowUp", " "]


POLICY = "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data:"


@pytest.mark.parametrize("policy", [POLICY, "default-src 'none'; img-src data:"])
def test_fragments_live_in_any_page_under_a_policy_without_network(
    offline_page: Any, tmp_path: Path, pair: Any, policy: str
) -> None:
    from ipywidgets import FloatSlider, HBox, jslink

    one, two, overlays = pair
    first, second = ipha.view(one, overlays=overlays, position_mm=(0, 0, 5)), ipha.view(two)
    third = ipha.view(one.replace(name="</script><script>window.hacked = 1</script>"))
    slider = FloatSlider(value=5, min=-50, max=50)
    links = [jslink((slider, "value"), (first, "z_mm")), jslink((first, "position_mm"), (second, "position_mm"))]
    body = page_fragment(slider, HBox([first, second])) + "<p>text</p>" + third.to_html()
    path = tmp_path / "report.html"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    path.write_text(f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>", encoding="utf-8")
    assert len(links) == 2
    if policy != POLICY:  # scripts forbidden: the pictures stand in
        offline_page.goto(path.as_uri())
        stills = offline_page.locator("img").all()
        assert [still.get_attribute("alt") for still in stills] == [v.description for v in (first, second, third)]
        return
    page = opened(offline_page, path.as_uri())
    assert page.locator("canvas.ipha-slice").count() == 3
    assert page.locator("img").count() == 0
    before = [pixels(page, panel) for panel in range(3)]
    page.locator(".ipha-control input").fill("-35")
    changed = [(pixels(page, panel) != old).mean() > 0.05 for panel, old in enumerate(before)]
    assert changed == [True, True, False]
    assert hacked(page) is None
    assert page.requests == page.errors == []


def test_page_from_plain_nbconvert_lives_without_network(offline_page: Any, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [
        nbformat.v4.new_code_cell("import numpy as np, ipha_toolkit as ipha"),
        nbformat.v4.new_code_cell(
            "noise = np.random.default_rng(0).normal(400, 40, (256, 256, 60)).round()\n"
            "one = ipha.Volume(noise, np.diag([1.4, 1.4, 5, 1]), modality='T1w', name='T1w')\n"
            "ipha.view(one, one.replace(modality='T2w', name='T2w'))"
        ),
    ]
    path = tmp_path / "pair.ipynb"
    nbformat.write(notebook, path)
    patience = [f"--ExecutePreprocessor.{name}_timeout=600" for name in ("startup", "iopub")]
    command = [sys.executable, "-m", "nbconvert", "--execute", *patience, "--to", "html", str(path)]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "pair.html"
    assert page.stat().st_size <= 12e6
    opened(offline_page, page.as_uri())
    assert offline_page.locator(".ipha-viewer").count() == 1
    before = pixels(offline_page, 1)
    offline_page.locator("canvas.ipha-slice").first.focus()
    offline_page.keyboard.press("ArrowUp")
    assert (pixels(offline_page, 1) != before).mean() > 0.1


def test_what_a_slow_kernel_repeats_does_not_undo_what_was_done_since(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0], position_mm=(2.5, 2.5, 5))
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    found = page.evaluate(
        f"""() => {{
          const {{state}} = {VIEWER}[0], at = () => [...state.get("position_mm"), state.get("x_mm")];
          state.setPosition([10, 10, 5]);
          state.saving.flush();
          state.setPosition([20, 20, 5]);
          state.model.set("position_mm", [10, 10, 5]);
          state.model.set("x_mm", 10);
          const repeated = at();
          state.model.set("position_mm", [30, 30, 5]);
          return [repeated, at()];
        }}"""
    )
    assert found == [[20, 20, 5, 20], [30, 30, 5, 30]]  # what Python itself sets counts


def test_all_panels_of_the_large_view_fit_into_the_window(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0], pair[1], plane="all")
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    page.locator("canvas.ipha-slice").first.focus()
    page.keyboard.press("M")
    settle(page)
    ends = "[...document.querySelectorAll('canvas.ipha-slice')].map((c) => c.getBoundingClientRect().bottom)"
    page.wait_for_function(f"() => Math.max(...{ends}) <= innerHeight")  # the browser may fill the screen later
    assert page.locator("canvas.ipha-slice").count() == 6


def test_a_full_screen_that_is_left_late_does_not_undo_what_was_done_since(
    offline_page: Any, page_of: Callable[..., str], pair: Any
) -> None:
    viewer = ipha.view(pair[0])
    viewer.embed()
    page = opened(offline_page, page_of(viewer))
    large = page.evaluate(
        f"""async () => {{
          const {{root, input: {{extras}}}} = {VIEWER}[0], settled = () => new Promise((r) => setTimeout(r));
          let full = null;
          const change = (to) => {{ full = to; document.dispatchEvent(new Event("fullscreenchange")); }};
          Object.defineProperty(document, "fullscreenElement", {{get: () => full}});
          root.requestFullscreen = document.exitFullscreen = async () => {{}};
          extras.maximise();
          change(root);
          extras.maximise();
          await settled();
          extras.maximise();
          change(null);
          const late = extras.large;
          change(root);
          change(null); // the browser's own Escape
          return [late, extras.large];
        }}"""
    )
    assert large == [True, False]
