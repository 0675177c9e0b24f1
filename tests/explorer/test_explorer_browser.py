"""The explorer as an exported page shows it, offline and under the page's policy: picking, filters, pictures, keys."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import barriers, hacked, resting_box, settle

import ipha_toolkit as ipha
from ipha_toolkit.explorer.voxels import Parts, voxels_of
from ipha_toolkit.report.page import page as whole_page

_spec = importlib.util.spec_from_file_location("visits", Path(__file__).with_name("visits.py"))
assert _spec is not None and _spec.loader is not None
visits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(visits)

FIRST, SECOND, CONTROL = "sub-p1_ses-1", "sub-p1_ses-2", "sub-c1_ses-1"
HELD = "[...document.querySelectorAll('*')].find((node) => node.iphaExplorer).iphaExplorer"
START = {
    "session": "", "beside": "", "selection": [], "filters": {}, "against": "group", "colour": "group", "search": "",
    "sort": [], "region": "lung", "measure": "ground_glass_fraction", "modality": "ct", "log_y": False,
}  # fmt: skip
COUNTED = "document.querySelector('.ipha-slices .ipha-caption').textContent.includes('counted')"
ORANGE = """() => {
    const tile = document.querySelector('.ipha-tile'), pen = tile.getContext('2d');
    const all = pen.getImageData(0, 0, tile.width, tile.height).data;
    let n = 0;
    for (let p = 0; p < all.length; p += 4) n += all[p] > all[p + 2] + 60;
    return n;
}"""
UNNAMED = """() => [...document.querySelectorAll('.ipha-explorer :is(button, select, input, summary, [tabindex="0"])')]
    .filter((node) => ![node.getAttribute('aria-label'), node.textContent, node.closest('label')?.textContent].some((text) => text?.trim()))
    .map((node) => node.outerHTML)"""  # noqa: E501


@pytest.fixture(scope="module")
def results(toy_analysis: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("explored")
    shutil.copytree(toy_analysis, folder, dirs_exist_ok=True)
    return ipha.open_results(visits.add_visit(folder))


@pytest.fixture(scope="module")
def opened(browser: Any, results: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One page of the explorer, the images of the first visit with it."""
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    columns = ["subject", "session", "group", "days", "value", "flags", "clinic:remark"]
    explorer = ipha.explore(results, full=[FIRST], columns=columns, also=["remark"])
    path.write_text(whole_page("Explorer", explorer.to_html()), encoding="utf-8")
    explorer.close_all()
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 1000}, accept_downloads=True)
    page = context.new_page()
    page.requests, page.errors = [], []
    page.on("request", lambda r: page.requests.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    page.wait_for_selector(".ipha-explorer[data-ready]")
    yield page
    context.close()


@pytest.fixture
def page(opened: Any) -> Iterator[Any]:
    """The page as it was when opened; nothing may have gone wrong on it."""
    opened.evaluate(f"(start) => {HELD}.set(start)", START)
    settle(opened)
    yield opened
    assert opened.errors == [] and opened.requests == []


def get(page: Any, key: str) -> Any:
    return page.evaluate(f"{HELD}.get({key!r})")


def place(page: Any, label: str) -> tuple[float, float]:
    box = resting_box(page.locator(f".ipha-plot [data-session={label}]"))
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def rows(page: Any) -> list[str]:
    return page.locator(".ipha-rows tbody tr").evaluate_all("(all) => all.map((row) => row.dataset.session)")


def said(page: Any) -> str:
    return page.locator(".ipha-explorer > [aria-live]").inner_text()


def test_points_and_rows_carry_their_session_and_say_it(page: Any) -> None:
    points = page.locator(".ipha-plot [data-session]").evaluate_all("(all) => all.map((node) => node.dataset.session)")
    assert sorted(points) == [CONTROL, "sub-c2_ses-1", FIRST, SECOND]
    assert rows(page) == [CONTROL, "sub-c2_ses-1", FIRST, SECOND]
    page.mouse.move(*place(page, FIRST))
    tip = page.locator(".ipha-tip:not([hidden])").inner_text()
    assert tip.startswith("sub-p1, ses-1 (iph, acute, day 0)\nct ground glass fraction: ")
    assert " %\nflags: foreign mask" in tip
    caption = page.locator(".ipha-plot .ipha-caption").inner_text()
    assert "4 sessions of 3 subjects" in caption and "range of 2 controls" in caption


def test_a_click_opens_a_session_and_a_drawn_box_selects(page: Any) -> None:
    page.mouse.click(*place(page, CONTROL))
    assert get(page, "session") == CONTROL and get(page, "selection") == []
    (x, y), (x1, y1) = place(page, FIRST), place(page, SECOND)
    page.mouse.move(min(x, x1) - 15, min(y, y1) - 15)
    page.mouse.down()
    page.mouse.move(max(x, x1) + 15, max(y, y1) + 15, steps=3)
    page.mouse.up()
    assert sorted(get(page, "selection")) == [FIRST, SECOND]
    assert rows(page) == [FIRST, SECOND] and said(page).startswith("2 selected: ")
    page.keyboard.press("Escape")
    assert get(page, "selection") == []


def test_everything_of_the_plot_and_the_table_by_keys_alone(page: Any) -> None:
    page.locator(".ipha-drawing").focus()
    page.keyboard.press("Home")
    first = page.locator(".ipha-drawing").get_attribute("aria-activedescendant")
    page.keyboard.press("ArrowRight")
    assert page.locator(".ipha-drawing").get_attribute("aria-activedescendant") != first
    page.keyboard.press("End")
    words = said(page)
    assert words.startswith("sub-p1, ses-") and "ct ground glass fraction: " in words
    page.keyboard.press("Space")
    assert len(get(page, "selection")) == 1
    page.keyboard.press("Shift+ArrowLeft")
    assert len(get(page, "selection")) == 2
    page.keyboard.press("a")
    assert len(get(page, "selection")) == 4
    page.keyboard.press("Enter")
    assert get(page, "session")
    page.keyboard.press("Escape")
    page.locator(".ipha-scroll").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Space", "Enter"):
        page.keyboard.press(key)
    assert (get(page, "selection"), get(page, "session"), len(rows(page))) == ([FIRST], FIRST, 4)
    page.get_by_label("selected only").check()
    assert rows(page) == [FIRST]
    assert page.locator(".ipha-rows tr[data-session=sub-p1_ses-1]").get_attribute("aria-selected") == "true"
    assert page.evaluate(UNNAMED) == []


def test_nothing_keeps_a_reader_out(page: Any) -> None:
    assert barriers(page, ".ipha-explorer") == []
    page.locator(".ipha-filters summary").click()
    for against, session in (("days", FIRST), ("measure", SECOND), ("age", CONTROL)):
        page.evaluate(f"(state) => {HELD}.set(state)", {"against": against, "selection": [FIRST, SECOND]})
        page.evaluate(f"{HELD}.open('{session}')")
        page.wait_for_selector(".ipha-viewer[data-ready]" if session == FIRST else ".ipha-tile")
        assert barriers(page, ".ipha-explorer") == []
    page.locator(".ipha-filters summary").click()


def test_menus_axes_and_filters(page: Any) -> None:
    page.get_by_label("Against", exact=False).and_(page.locator("select")).select_option("days")
    assert page.locator(".ipha-plot [data-session]").count() == 2
    assert page.locator('.ipha-plot g[aria-description="visits of a subject"] path').count() == 1
    page.mouse.click(*place(page, SECOND))
    assert "smallest detectable change" in page.locator(".ipha-plot .ipha-caption").inner_text()
    assert page.locator('.ipha-plot g[aria-description="detectable change"] rect').count() == 1
    page.get_by_label("Against", exact=False).and_(page.locator("select")).select_option("measure")
    assert page.locator(".ipha-menus .ipha-bar:visible").count() == 3
    page.get_by_label("Against", exact=False).and_(page.locator("select")).select_option("group")
    page.get_by_label("Region").first.select_option("lower")
    page.get_by_label("Measure").first.select_option("attenuation_mean")
    assert "attenuation mean, lower (HU)" in page.locator(".ipha-plot .ipha-caption").inner_text()
    assert page.get_by_label("log scale").is_disabled()  # HU of lung are below 0
    page.locator(".ipha-filters summary").click()
    page.locator(".ipha-filters").get_by_label("control", exact=True).check()
    assert rows(page) == [CONTROL, "sub-c2_ses-1"]
    page.get_by_role("button", name="No filters").click()
    assert len(rows(page)) == 4
    page.locator(".ipha-filters").get_by_label("foreign mask").check()
    assert rows(page) == []
    page.locator(".ipha-filters summary").click()


def test_the_table_sorts_searches_and_saves_nothing_that_runs(page: Any) -> None:
    page.locator(".ipha-rows th button", has_text="day").click()
    assert rows(page)[:2] == [FIRST, SECOND]
    page.locator(".ipha-rows th button", has_text="day").click()
    assert rows(page)[:2] == [SECOND, FIRST]
    assert page.locator(".ipha-rows th").nth(3).get_attribute("aria-sort") == "descending"
    page.get_by_label("Search the table").fill("hyperlink")
    assert rows(page) == [FIRST]
    page.get_by_label("Search the table").fill("p1")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as TSV").click()
    lines = Path(saved.value.path()).read_text("utf-8").splitlines()
    assert lines[0].split("\t")[:4] == ["subject", "session", "group", "day"]
    cells = {line.split("\t")[1]: line.split("\t") for line in lines[1:]}
    assert list(cells) == ["ses-2", "ses-1"]
    assert cells["ses-1"][-1] == "'" + visits.FORMULA and cells["ses-2"][-1] == visits.MARKUP
    assert float(cells["ses-1"][4]) == pytest.approx(float(cells["ses-2"][4]))
    assert page.locator(".ipha-explorer td img").count() == 0
    assert hacked(page) is None
    page.locator(".ipha-rows details", has_text="What the flags mean").locator("summary").click()
    assert "measured in a lung mask made elsewhere" in page.locator(".ipha-meanings").inner_text()


def test_a_small_picture_with_the_voxels_of_the_number(page: Any) -> None:
    page.evaluate(f"{HELD}.set({{modality: 'T1w', measure: 'hyperintense_fraction'}})")
    page.evaluate(f"{HELD}.open('{SECOND}')")
    page.wait_for_function(f"() => {COUNTED}")
    words = page.locator(".ipha-slices .ipha-caption").inner_text()
    assert "ct coronal at y" in words and ": 100 % of the lung in this slice counted" in words
    assert page.locator(".ipha-tile").get_attribute("aria-label").startswith(f"{SECOND}: T1w coronal at ")
    counted = page.evaluate(ORANGE)
    page.evaluate(f"{HELD}.set({{measure: 'attenuation_mean'}})")
    page.wait_for_function(
        "() => !document.querySelector('.ipha-slices .ipha-caption').textContent.includes('counted')"
    )
    assert counted > page.evaluate(ORANGE)
    page.get_by_role("button", name="◀ previous").click()
    assert get(page, "session") == FIRST


def test_whole_images_show_the_voxels_that_python_finds(page: Any, results: Any) -> None:
    page.evaluate(f"{HELD}.open('{FIRST}')")
    page.wait_for_selector(".ipha-slices .ipha-viewer[data-ready]")
    parts = Parts(results[FIRST])
    viewer = "document.querySelector('.ipha-slices .ipha-exported').iphaViewer"
    for measure, region in (
        ("ground_glass_fraction", "lung"),
        ("high_attenuation_area", "left"),
        ("lung_density", "dorsal"),
    ):
        page.evaluate(f"{HELD}.set({{measure: '{measure}', region: '{region}'}})")
        mask = voxels_of(parts, "ct", measure, region).mask
        assert mask is not None
        layer = f"{HELD}.get('_codes')['{FIRST}'].find((one) => one.modality === 'ct').layer"
        shown = f"() => {viewer}.source.layers[{layer}].data.reduce((sum, code) => sum + (code > 1), 0)"
        page.wait_for_function(f"(n) => ({shown})() === n", arg=int(np.count_nonzero(mask.array)))
    page.locator(".ipha-slices").get_by_label("Beside").select_option(SECOND)
    page.wait_for_selector(".ipha-tile")
    assert page.locator(".ipha-slices .ipha-viewer").count() == 1


def test_a_patients_timeline_opens_dates(page: Any) -> None:
    page.evaluate(f"{HELD}.open('{FIRST}')")
    dates = page.locator(".ipha-timeline button")
    assert dates.all_inner_texts() == ["day 0 · acute · MRI CT", "day 40 · chronic · MRI CT"]
    assert page.locator(".ipha-lane > span").all_inner_texts() == [
        "hemoglobin (g/dL)", "prednisone (mg/day)", "ct ground glass fraction (%)"
    ]  # fmt: skip
    words = page.locator(".ipha-timeline .ipha-caption").inner_text()
    assert "Bleeds: day 0 (acute phase), day 0 (hemoptysis)." in words
    dates.nth(1).click()
    assert get(page, "session") == SECOND
    page.wait_for_selector(".ipha-tile")  # below it the dates move
    box = resting_box(page.locator(f".ipha-timeline [data-session={FIRST}]").first)
    page.mouse.click(box["x"] + 3, box["y"] + 3)
    assert get(page, "session") == FIRST


def test_python_and_the_browser_filter_alike(page: Any, results: Any) -> None:
    explorer = ipha.explore(results)
    shown = f"(filters) => {{ {HELD}.set({{filters}}); return {HELD}.shown().map((session) => session.label); }}"
    for filters in (
        {"group": ["iph"]}, {"phase": ["chronic", "not said"]}, {"modality": ["dx"]}, {"age": [31, None]},
        {"age": [None, 30]}, {"without_flags": ["few_controls"]}, {"without_flags": ["foreign_mask"]},
    ):  # fmt: skip
        explorer.filters = filters
        browsers = page.evaluate(shown, filters)
        assert browsers == explorer.table()["label"].tolist(), filters
    explorer.close_all()
