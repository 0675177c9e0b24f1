"""Every notebook is committed without outputs, runs to its end, and becomes a page and slides that live offline.

Each is executed once for all of these tests, and converted twice.
"""

import ast
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from browsing import cut_slides, opened, settle

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
BOTH = pytest.mark.parametrize("kind", ["html", "slides"])
SCREEN_LINES = 40


@pytest.fixture(params=NOTEBOOKS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Gives a notebook's pages, made when first asked for, in a thread: the browser's loop runs in this one."""
    from jupyter_core.utils import ensure_event_loop

    from ipha_toolkit.report.render import render_all

    out = tmp_path_factory.mktemp("pages")

    def pages(name):
        try:
            return render_all([NOTEBOOKS[name]], out, to=["html", "slides"], progress=False)
        finally:
            ensure_event_loop().close()

    @cache
    def in_a_thread(name):
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(pages, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        yield in_a_thread


@pytest.fixture
def page_of(render, name):
    """Path of the notebook's page, ``html`` or ``slides``."""
    return dict(zip(("html", "slides"), render(name).result(), strict=True)).__getitem__


class _Pictures(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.alts = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.alts.append(dict(attrs).get("alt") or "")


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_it_is_committed_without_outputs(notebook):
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_its_first_code_cell_holds_the_settings(notebook):
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "parameters" in first.metadata.get("tags", [])


def test_no_cell_is_longer_than_a_screen_and_no_function_longer_than_five_lines(notebook):
    for cell in notebook.cells:
        assert sum(1 + len(line) // 150 for line in cell.source.splitlines()) <= SCREEN_LINES
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef):
                    assert node.end_lineno - node.lineno <= 5, node.name


def test_it_imports_at_most_four_things_and_nothing_private(notebook):
    code = ast.parse("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))
    imports = [node for node in ast.walk(code) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert sum(len(node.names) for node in imports) <= 4
    assert [node for node in imports if isinstance(node, ast.ImportFrom) and "ipha" in node.module] == []
    assert [node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute) and node.attr.startswith("_")] == []


def test_it_lets_the_reader_predict_and_turn_something_and_ends_with_three_folded_questions(notebook):
    code, text = ("\n".join(c.source for c in notebook.cells if c.cell_type == kind) for kind in ("code", "markdown"))
    assert "**Before you look.**" in text
    assert re.search(r"plots\.choose|widgets\.|ipha\.explore", code)
    last = notebook.cells[-1].source
    assert last.startswith("## Three questions") and len(re.findall(r"<details><summary>.+</summary>", last)) == 3


@BOTH
def test_it_runs_and_each_figure_says_with_numbers_what_it_shows(page_of, kind):
    text = page_of(kind).read_text("utf-8")
    alts = _Pictures(text).alts
    assert alts
    for alt in alts:
        assert len(alt) > 40 and re.search(r"\d", alt), alt


def test_its_page_opens_without_network_and_its_viewers_live(page_of, offline_page):
    page = offline_page
    complaints = []
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(page_of("html").as_uri())
    if page.locator(".ipha-viewer, .ipha-exported").count():
        opened(page, page_of("html").as_uri())
        canvas = page.locator("canvas.ipha-slice").first
        before = canvas.get_attribute("aria-label")
        canvas.focus()
        page.keyboard.press("]" if "slice 1 of 1 " in before else "ArrowUp")  # a film has no other slice, but a window
        settle(page)
        assert canvas.get_attribute("aria-label") != before
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 1200
    assert (page.requests, page.errors, complaints) == ([], [], [])


def test_nothing_of_its_slides_is_cut_or_scrolls(page_of, offline_page):
    assert cut_slides(offline_page, page_of("slides").as_uri()) == []
    alone = "(c) => !c.closest('section').querySelector('.ipha-control input, .ipha-control select')"
    assert offline_page.evaluate(f"() => [...document.querySelectorAll('.ipha-choice')].filter({alone}).length") == 0
    assert (offline_page.requests, offline_page.errors) == ([], [])


DAMAGE = {
    "stands in several rows that differ": "Keep one row",
    "folder name is not sub- and letters or digits": "no spaces, no dots",
    "not read, because its name does not end with": "Rename the file",
    "truncated or damaged": "Copy it again",
}


@pytest.mark.parametrize("name", ["07_your_own_data"])
def test_each_thing_done_to_the_folder_is_complained_of_in_the_words_of_check_and_explained(page_of):
    rows = re.findall(r"<tr>.*?</tr>", page_of("html").read_text("utf-8"), re.DOTALL)
    for said, meant in DAMAGE.items():
        assert [row for row in rows if said in row and meant in row], said
