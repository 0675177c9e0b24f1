"""The viewer in a real JupyterLab: what it does to the notebook around it, and what the saved notebook shows."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse
from urllib.request import Request, urlopen

import nbformat
import pytest
from browsing import becomes, past
from tools_round import VIEWER_CODE, made, try_all

_spec = importlib.util.spec_from_file_location("viewer_conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
lab = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lab)

VIEW = (
    "ramp = np.broadcast_to(np.arange(200.0), (64, 48, 200)) * 20\n"
    "image = ipha.Volume(ramp, np.diag([4, 4, 2, 1]), name='ramp')\n"
    "viewer = ipha.view(image, overlays={'lung': ipha.Mask(ramp > 2000, image.affine)}, position_mm=(126, 94, 20))\n"
    "viewer"
)
CELLS = ["import numpy as np, ipha_toolkit as ipha", VIEW, "print('z is', viewer.z_mm, 'n is', len(viewer.rois))"]
BOXED = "import ipywidgets\nipywidgets.VBox([ipywidgets.HBox([viewer]), ipha.view(image.replace(name='other'))])"
READY = ".ipha-viewer[data-ready]"
IMAGE = "canvas.ipha-slice"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of a JupyterLab that opens a file (%s) and nothing it had open before, and its folder."""
    folder = tmp_path_factory.mktemp("lab")
    with lab.jupyter_lab(folder) as (url, _):
        yield f"{url}&reset", folder


@pytest.fixture(scope="module")
def live(browser: Any, server: tuple[str, Path]) -> Iterator[Callable[[str], Any]]:
    """Open a notebook of :data:`CELLS` by a name of its own, with its viewer running."""
    url, folder = server
    pages = []

    def start(name: str, code: list[str] = CELLS) -> Any:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in code])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, folder / name)
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        pages.append(page)
        lab.open_notebook(page, url % name)
        lab.run_cell(page, 0)
        lab.run_cell(page, 1)
        page.wait_for_selector(READY)
        return page

    yield start
    for page in pages:
        page.close()


@pytest.fixture(scope="module")
def shared(live: Any) -> Any:
    """One notebook for tests that leave its cells as they were."""
    return live("shared.ipynb")


def end_kernel(url: str, name: str) -> None:
    """End the kernel of a notebook."""
    address, token = urlparse(url), parse_qs(urlparse(url).query)["token"][0]
    sessions, head = f"{address.scheme}://{address.netloc}/api/sessions", {"Authorization": f"token {token}"}
    with urlopen(Request(sessions, headers=head)) as answer:
        (found,) = [session["id"] for session in json.loads(answer.read()) if session["path"] == name]
    urlopen(Request(f"{sessions}/{found}", headers=head, method="DELETE")).close()


def cells(page: Any) -> list[str]:
    found: list[str] = page.locator(".jp-CodeCell .cm-content").all_inner_texts()
    return found


def save(page: Any) -> None:
    page.locator(".lm-MenuBar-item", has_text="File").click()
    page.locator(".lm-Menu-item", has_text="Save Notebook").first.click()
    page.wait_for_function("() => !document.querySelector('.lm-TabBar-tab.jp-mod-dirty')")


def test_viewer_lives_in_jupyterlab_and_in_what_it_saves(browser: Any, live: Any, server: tuple[str, Path]) -> None:
    page = live("live.ipynb")
    canvas = page.locator(IMAGE)
    assert canvas.count() == 1  # the export script beside it stays inert
    assert page.locator(".jp-OutputArea img").count() == 0  # and so does the still picture
    assert canvas.get_attribute("data-value") == "200"
    canvas.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("r")
    page.wait_for_function("() => document.querySelector('canvas.ipha-slice').dataset.value === '240'")
    lab.run_until(page, 2, r"z is 24\.0 n is 1")
    filled = "() => [...document.querySelectorAll('*')].some((e) => e.iphaViewer?.model.get('_export').length)"
    page.wait_for_function(filled)
    html = server[1] / "live.html"
    html.write_bytes(lab.save_and_export(page, server[0]))
    page = browser.new_context(offline=True).new_page()
    page.goto(html.as_uri())
    page.wait_for_selector(READY)
    assert page.locator(IMAGE).get_attribute("data-value") == "240"
    assert page.locator("img").count() == 0
    page.close()


# Of JupyterLab 4: delete, insert, cut, copy, paste, undo, merge, type of cell, run, restart, edit, lines, palette.
KEYS = "d d b a x c v z y m r 1 h l o p Enter Escape 0 0 i i j k ArrowUp ArrowDown Space Shift+M Shift+L Shift+Enter"
CHORDS = "Control+Enter Alt+Enter Control+Shift+Minus Control+b Control+Shift+c Control+a Control+c"


def test_no_key_pressed_in_the_viewer_reaches_the_notebook(shared: Any) -> None:
    page = shared
    page.evaluate("""() => {
        window.reached = [];
        for (const name of ["keydown", "keypress", "keyup"])
            for (const early of [true, false])
                document.addEventListener(name, (e) => window.reached.push(name + e.key), early);
    }""")
    before = cells(page)
    controls = [page.locator(IMAGE).first, page.locator(".ipha-help summary")]
    controls += page.locator(".ipha-bar :is(select, input):visible").all()
    assert len(controls) >= 9
    for control in controls:
        for key in (KEYS + " " + CHORDS).split():
            control.focus()
            page.keyboard.press(key)
    if page.locator(".ipha-large").count():  # one of the keys: the viewer lies over the notebook
        page.locator(IMAGE).first.focus()
        page.keyboard.press("Shift+M")
    past(page, 500)
    assert cells(page) == before
    assert page.evaluate("window.reached") == []
    assert page.locator(".jp-Dialog, .lm-CommandPalette:visible").count() == 0
    assert page.locator(READY).count() == 1
    page.locator(".jp-CodeCell .cm-content").first.click()  # the same keys do act where they are meant to
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.wait_for_function("() => document.querySelectorAll('.jp-CodeCell').length === 4")
    page.keyboard.press("z")
    page.wait_for_function("() => document.querySelectorAll('.jp-CodeCell').length === 3")


def test_controls_do_by_key_what_they_do_in_any_page(shared: Any) -> None:
    page = shared
    get = "(key) => [...document.querySelectorAll('*')].find((e) => e.iphaViewer).iphaViewer.get(key)"
    page.locator(IMAGE).first.focus()
    page.keyboard.press("a")
    page.locator(".ipha-bar select").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate(get, "plane") == "coronal"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('label').textContent").startswith("Window")
    opacity = page.evaluate(get, "opacity")
    page.locator(".ipha-bar input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(get, "opacity") == pytest.approx(opacity + 0.01)
    page.locator(".ipha-bar input[type=checkbox]").first.focus()
    visible = page.evaluate(get, "visible")
    page.keyboard.press("Space")
    assert page.evaluate(get, "visible") != visible
    unfolded = page.evaluate("document.querySelector('.ipha-help').open")
    page.locator(".ipha-help summary").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('.ipha-help').open") != unfolded


def test_every_tool_answers_to_button_and_key_with_a_kernel(live: Any) -> None:
    page = live("tools.ipynb", ["1", f"{VIEWER_CODE}\nviewer"])
    before = cells(page)
    try_all(page, made())
    assert cells(page) == before


def test_the_right_button_over_the_image_opens_no_menu(shared: Any) -> None:
    page = shared
    box = page.locator(IMAGE).first.bounding_box()
    width = "() => [...document.querySelectorAll('*')].find((e) => e.iphaViewer).iphaViewer.get('width')"
    before = page.evaluate(width)
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 260, box["y"] + 150, steps=3)
    page.mouse.up(button="right")
    past(page, 300)
    assert page.evaluate(width) > before
    assert page.locator(".lm-Menu").count() == 0
    # Windows sends the event when the button is let go, which may be outside the image.
    page.evaluate("""() => {
        const sent = () => document.querySelector('.jp-CodeCell').dispatchEvent(new MouseEvent('contextmenu', {bubbles: true, cancelable: true}));
        addEventListener('pointerup', () => { window.opened = sent(); }, {once: true});
    }""")  # noqa: E501
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 200, box["y"] - 100, steps=3)
    page.mouse.up(button="right")
    assert page.evaluate("window.opened") is False
    assert page.locator(".lm-Menu").count() == 0
    past(page, 700)  # half a second after, the menu is the user's again
    page.locator(".jp-CodeCell .cm-content").first.click(button="right")
    page.wait_for_selector(".lm-Menu")
    page.keyboard.press("Escape")


def test_every_notch_of_the_wheel_arrives_in_the_kernel(shared: Any) -> None:
    page = shared
    page.locator(IMAGE).first.focus()
    page.keyboard.press("a")
    page.keyboard.press("Home")
    page.wait_for_function("() => document.querySelector('canvas.ipha-slice').dataset.index === '0'")
    box = page.locator(IMAGE).bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.wait_for_function("() => document.querySelector('canvas.ipha-slice').matches(':hover')")
    for _ in range(60):
        page.mouse.wheel(0, -100)
    shown = "document.querySelector('canvas.ipha-slice').dataset.index"
    # Asked from here: a function that waits in the page holds up the wheel.
    becomes(page, lambda: page.evaluate(shown), "60")
    lab.run_until(page, 2, r"z is 120\.0")


def test_a_saved_notebook_shows_its_picture_with_words_until_it_is_run_again(
    browser: Any, live: Any, server: tuple[str, Path]
) -> None:
    url, folder = server
    settings = next((folder / ".jupyter").rglob("plugin.jupyterlab-settings"))
    kept = settings.read_text()
    settings.write_text('{"saveState": false}')  # as JupyterLab comes
    try:
        page = live("saved.ipynb")
        page.locator(".jp-CodeCell .cm-content").nth(2).click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(BOXED)
        lab.run_cell(page, 2)
        page.wait_for_function(f"() => document.querySelectorAll('{READY}').length === 3")
        save(page)
        page.close()
        end_kernel(url, "saved.ipynb")
        assert "widgets" not in nbformat.read(folder / "saved.ipynb", 4).metadata
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        lab.open_notebook(page, url % "saved.ipynb")
        page.wait_for_function("() => document.querySelectorAll('.ipha-saved img').length === 3")
        stills = page.locator(".ipha-saved").all()
        assert [still.locator("img").count() for still in stills] == [1, 2]  # a viewer; a box of two
        assert stills[1].locator("p").all_inner_texts()[1].startswith("other, axial slice")
        words = "ramp, axial slice 11 of 200 at z 20.0 mm, patient's R on the left of the picture"
        assert stills[0].locator("img").get_attribute("alt").startswith(words)
        assert stills[0].locator("p").first.inner_text().startswith(words)
        page.wait_for_function("() => document.querySelector('.ipha-saved img').complete")
        assert page.evaluate("document.querySelector('.ipha-saved img').naturalWidth") == 420
        assert not any(error.is_visible() for error in page.get_by_text("Error displaying widget").all())
        lab.run_cell(page, 0)
        lab.run_cell(page, 1)
        page.wait_for_selector(READY)
        assert page.locator(".ipha-saved").count() == 1
        page.close()
    finally:
        settings.write_text(kept)


SIGNALLED = """
    window.held = 0;
    const add = window.addEventListener.bind(window);
    window.addEventListener = (name, call, options) => {
        if (options?.signal) window.held += 1;
        options?.signal?.addEventListener("abort", () => { window.held -= 1; });
        add(name, call, options);
    };
"""


def test_a_cell_run_again_leaves_no_listener_of_the_view_before(shared: Any) -> None:
    page = shared
    page.evaluate(f"() => {{ {SIGNALLED} }}")
    held = 0
    for _ in range(3):
        page.evaluate("() => document.querySelector('.ipha-viewer').removeAttribute('data-ready')")
        lab.run_cell(page, 1)
        page.wait_for_selector(READY)
        held = held or page.evaluate("window.held")  # of the first, as the view before it came before the count
        becomes(page, lambda: page.evaluate("window.held"), held)
    assert held > 0
