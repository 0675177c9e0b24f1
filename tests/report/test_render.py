"""Notebook to page: executed once, whole or not at all, complaints that name notebook and cell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import RenderError
from ipha_toolkit.report._cells import Cells, mathml, offline, slides
from ipha_toolkit.report.render import render_all


def test_both_formats_come_from_one_execution(notebook: Any, tmp_path: Path) -> None:
    path = notebook([["count = 0"], ["import pathlib\nwith pathlib.Path('runs').open('a') as f: _ = f.write('x')"]])
    pages = render_all([path], tmp_path / "out", to=["html", "slides"], progress=False)
    assert [page.name for page in pages] == ["toy.html", "toy.slides.html"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["toy.html", "toy.slides.html"]
    assert (tmp_path / "runs").read_text() == "x"


def test_public_call_returns_the_page_and_leaves_the_notebook_alone(notebook: Any, tmp_path: Path) -> None:
    path = notebook(["# Title of it", ["2 + 2"]])
    before = path.read_bytes()
    page = ipha.render(path, tmp_path / "out", to="slides")
    assert page == tmp_path / "out" / "toy.slides.html"
    assert "<title>Title of it</title>" in page.read_text("utf-8")
    assert path.read_bytes() == before


def test_parameters_reach_the_notebook_and_paths_stay_right_from_its_folder(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook([["n = 1\nfile = None"], ["print('n is', n * 2, open(file).read())"]], name="deep/toy")
    (tmp_path / "scan.txt").write_text("scanned")
    monkeypatch.chdir(tmp_path)
    arguments = ["render", str(path), "--out", "out", "-p", "n", "21", "-p", "file", "scan.txt"]
    assert main(arguments) == 0
    assert "n is 42 scanned" in (tmp_path / "out" / "toy.html").read_text("utf-8")


def test_failing_cell_is_named_with_its_error_and_leaves_no_page(
    notebook: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook(["# T", ["x = 1"], ["# a comment\ny = [1][5]"]])
    assert main(["render", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "toy.ipynb: cell 3 (In [2]: y = [1][5]) failed: IndexError: list index out of range" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_kernel_that_dies_is_told_with_the_cell(notebook: Any, tmp_path: Path) -> None:
    path = notebook(["# T", ["x = 1"], ["import os\nos._exit(1)"], ["x"]])
    with pytest.raises(RenderError, match=r"toy\.ipynb: cell 3 stopped: DeadKernelError: Kernel died"):
        render_all([path], tmp_path / "out", progress=False)
    assert list((tmp_path / "out").iterdir()) == []


def test_several_notebooks_get_an_index_with_thumbnails(notebook: Any, tmp_path: Path) -> None:
    show = "from PIL import Image\ndisplay(Image.new('RGB', (900, 600), (0, 90, 140)))"
    one = notebook(["# First\n\nWhat it says.", [show]], name="one")
    two = notebook(["# Second <b>\n\nMore of it.", ["1"]], name="two")
    pages = render_all([one, two], tmp_path / "out", progress=False)
    assert [page.name for page in pages] == ["one.html", "two.html", "index.html"]
    text = pages[-1].read_text("utf-8")
    assert all(part in text for part in ("First", "What it says.", 'href="one.html"', 'href="two.html"'))
    assert text.count('src="data:image/jpeg') == 1
    assert not re.search(r"""<[^<>]*(?:src|href)=["'](?:https?:)?//""", text)


@pytest.mark.parametrize(
    "given, text",
    [
        ("absent.ipynb", "absent.ipynb: no such notebook"),
        ("words.ipynb", "words.ipynb: not a Jupyter notebook"),
        ("list.ipynb", "list.ipynb: not a Jupyter notebook"),
        ("folder.ipynb", "folder.ipynb: no such notebook"),
        ("index.ipynb", "would overwrite that of the index page"),
    ],
)
def test_what_is_no_notebook_is_refused_in_one_line(
    tmp_path: Path, notebook: Any, capsys: pytest.CaptureFixture[str], given: str, text: str
) -> None:
    notebook([["1"]], name="index")
    (tmp_path / "words.ipynb").write_text("not json")
    (tmp_path / "list.ipynb").write_text("[1, 2]")
    (tmp_path / "folder.ipynb").mkdir()
    assert main(["render", str(tmp_path / given), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_missing_kernel_says_which_there_are(notebook: Any, tmp_path: Path) -> None:
    kernel = {"name": "no-such-kernel", "display_name": "", "language": "python"}
    path = notebook([["1"]], kernelspec=kernel)
    with pytest.raises(
        RenderError, match=r"toy\.ipynb: its kernel 'no-such-kernel' is not installed; there are: .*python3"
    ):
        render_all([path], tmp_path / "out", progress=False)


def test_unknown_parameter_and_format_and_folder_are_refused_before_anything_runs(
    notebook: Any, tmp_path: Path
) -> None:
    path = notebook([["seed = 1\nphase: str = 'acute'"], ["raise SystemError"]])
    with pytest.raises(RenderError, match=r"no parameter sed; .* has: phase, seed"):
        render_all([path], tmp_path / "out", parameters={"sed": 2}, progress=False)
    with pytest.raises(RenderError, match="to needs one or more of html, slides, handout; got pdf"):
        render_all([path], tmp_path / "out", to=["pdf"], progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(RenderError, match="file: folder cannot be made"):
        render_all([path], tmp_path / "file", progress=False)
    with pytest.raises(RenderError, match="would overwrite that of"):
        render_all([path, path], tmp_path / "out", progress=False)


def test_page_that_cannot_be_written_leaves_nothing(notebook: Any, tmp_path: Path) -> None:
    (tmp_path / "out" / "toy.html").mkdir(parents=True)
    with pytest.raises(RenderError, match=r"toy\.html: is a folder; give the name of a file"):
        render_all([notebook([["1"]])], tmp_path / "out", progress=False)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["toy.html"]


def test_progress_is_shown_per_cell(notebook: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", str(notebook([["1"], ["2"]])), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "toy.ipynb: 100%" in shown.err and "3/3" in shown.err
    assert shown.out.strip() == str(tmp_path / "toy.html")


def test_pages_are_small_enough_and_name_no_address(rendered: dict[str, Path]) -> None:
    for page in rendered.values():
        text = page.read_text("utf-8")
        assert len(text) < 1e6
        assert not re.search(r"""<[^<>]*(?:src|href)=["'](?:https?:)?//""", text)
        assert "picture not included: far away" in text
        assert text.count("window.iphaExport = true") == 1


def _pieces(notebook: Any, *cells: Any, **kinds: Any) -> list[Any]:
    import nbformat

    read = nbformat.read(notebook(list(cells)), as_version=4)
    for number, kind in kinds.items():
        read.cells[int(number[1:])].metadata["slideshow"] = {"slide_type": kind}
    return list(Cells(read, Path()).pieces())


def test_each_heading_begins_a_slide_where_the_notebook_says_nothing(notebook: Any) -> None:
    pieces = _pieces(notebook, "# One\n\ntext\n\n## Two\n\n```\n# no heading\n```\n\n#### deep", ["1"], "### Three")
    found = slides(pieces)
    assert [len(column) for column in found] == [1, 1, 1]
    assert [re.findall(r"<h\d[^>]*>([^<]*)", column[0]) for column in found] == [["One"], ["Two", "deep"], ["Three"]]
    assert "<details" in found[1][0] and " open" not in found[1][0]


def test_what_announces_a_table_goes_with_it(notebook: Any) -> None:
    table = "| a |\n| --- |\n| 1 |"
    pieces = _pieces(notebook, "## One", table, "An end.", "It says:", table, "After.", table)
    assert [column[0].count("<table") for column in slides(pieces)] == [1, 1, 1]
    first, second, third = (column[0] for column in slides(pieces))
    assert "An end." in first and "It says:" in second and "After." in second and "After." not in third


def test_code_stays_off_slides_and_on_pages_unless_asked(notebook: Any, tmp_path: Path) -> None:
    path = notebook(["# Iron", ["x = 1"], ["print(x)"]])
    given = {"progress": False, "to": ["html", "slides"]}
    pages = render_all([path], tmp_path / "a", **given)
    shows = ['<details class="code"' in each.read_text("utf-8") for each in pages]
    assert shows == [True, False]
    said = {"author": "A. Reader", "place": "Room 2", "date": "1 May"}
    other = render_all([path], tmp_path / "b", code=False, parameters={"x": 2, **said}, **given)
    assert ['<details class="code"' in each.read_text("utf-8") for each in other] == [False, False]
    assert '<h1>Iron</h1><p class="byline">A. Reader, Room 2, 1 May</p>' in other[1].read_text("utf-8")


def test_notes_by_tag_are_for_the_speaker(notebook: Any) -> None:
    import nbformat

    from ipha_toolkit.report._cells import body

    read = nbformat.read(notebook(["# One", "## Say this", "## Two"]), as_version=4)
    read.cells[1].metadata["tags"] = ["notes"]
    pieces = list(Cells(read, Path()).pieces())
    assert '<details class="teaching"><summary>For the speaker</summary><h2' in body(pieces)
    found = slides(pieces)
    assert len(found) == 2 and '<aside class="notes"><h2' in found[0][0]


def test_slide_types_of_the_notebook_win(notebook: Any) -> None:
    pieces = _pieces(
        notebook, "# One", "## Two", "three", "four", "five", "six",
        c0="slide", c1="subslide", c2="fragment", c3="notes", c4="skip", c5="slide",
    )  # fmt: skip
    found = slides(pieces)
    assert [len(column) for column in found] == [2, 1]
    assert 'class="fragment"' in found[0][1] and 'class="notes"' in found[0][1]
    assert not any("five" in slide for column in found for slide in column)


def test_two_big_outputs_do_not_share_a_slide(notebook: Any) -> None:
    pieces = _pieces(notebook, "## Figures")
    picture = type(pieces[0])('<div class="output"><img src="data:,"></div>')
    found = slides([*pieces, picture, picture])
    assert len(found) == 2
    assert "Figures (continued)" in found[1][0]


def test_an_answer_stays_folded_in_its_details(notebook: Any) -> None:
    import nbformat

    path = notebook(["## Q\n\n<details><summary>Why?</summary>\n\nBecause.\n\n</details>"])
    html = "".join(piece.html for piece in Cells(nbformat.read(path, 4), path.parent).pieces())
    assert re.search(r"<details><summary>Why\?</summary>\s*<p>Because\.</p>\s*</details>", html)


def test_same_headings_get_different_anchors(notebook: Any) -> None:
    pieces = _pieces(notebook, "## Lung & <i>iron</i>\n\n## Lung & iron")
    assert [h.anchor for p in pieces for h in p.headings] == ["lung-iron", "lung-iron-2"]
    assert pieces[0].headings[0].text == "Lung & iron"


def test_math_becomes_mathml_and_what_is_not_understood_stays_text() -> None:
    assert "<mfrac>" in mathml(r"\frac{1}{2}", display=True)
    assert mathml(r"\left( <b>", display=False) == r"<code>\left( &lt;b&gt;</code>"


@pytest.mark.parametrize(
    "html, expected",
    [
        ('<img src="https://x.org/a.png" alt="lung">', '<span class="missing">picture not included: lung</span>'),
        ("<img src='a.png'>", '<span class="missing">picture not included: a.png</span>'),
        ('<img src="data:image/png;base64,AA" alt="x">', '<img src="data:image/png;base64,AA" alt="x">'),
        ('<script src="//x.org/a.js"></script>', ""),
        ('<link rel="stylesheet" href="https://x.org/a.css">', ""),
        ("<script>1</script>", "<script>1</script>"),
        ('<a href="https://x.org">x</a>', '<a href="https://x.org">x</a>'),
        ("<style>@import 'https://x.org/a.css'; p { background: url(https://x.org/b.png) }</style>",
         "<style> p { background:  }</style>"),
    ],
)  # fmt: skip
def test_whatever_would_be_fetched_is_taken_out(html: str, expected: str) -> None:
    assert offline(html) == expected


@pytest.mark.parametrize("address", ["javascript:x()", " JavaScript:x()", "java\nscript:x()", "data:text/html,x"])
def test_links_that_are_script_are_links_no_more(address: str) -> None:
    assert "script" not in offline(f'<p><a href="{address}">said</a></p>').lower()
    assert offline('<a href="#a">near</a> <a href="https://example.org">far</a>').count("href") == 2


HOSTILE_VALUES = [
    "../../escaped", "/tmp/escaped.html", "x'\nopen('escaped', 'w')\n'", "__import__('os').system('touch escaped')",
    "{n}/../../escaped", "\u0000", "$(touch escaped)", "file:///etc/passwd", "x" * 3000,
]  # fmt: skip


def test_no_parameter_leaves_the_folder_of_the_pages_or_runs(notebook: Any, tmp_path: Path) -> None:
    path = notebook([["a = ''\nb = None\nc = 1\nd = []"], ["print(a, b, c, d)"]], name="in/toy")
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    for values in (HOSTILE_VALUES[:6], HOSTILE_VALUES[-6:]):
        given = zip(("a", "b", "c", "author", "place", "date"), values, strict=True)
        words = [part for name, text in given for part in ("-p", name, text)]
        allowed = [part for text in ("/tmp", "/etc") for part in ("--allow", text)]
        where = ["--out", str(tmp_path / "pages"), "--to", "slides", "-q"]
        assert main(["render", str(path), *where, *words, *allowed]) == 0
    left = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    assert set(left) - set(before) == {tmp_path / "pages" / "toy.slides.html"}
    assert {each: left[each] for each in before} == before
    assert not Path("/tmp/escaped.html").exists() and not Path("escaped").exists()


@pytest.mark.parametrize("name", ["../x", "a=1;b", "__import__('os')", "a.b", ""])
def test_no_name_of_a_parameter_is_code(notebook: Any, tmp_path: Path, name: str) -> None:
    path = notebook([["a = 1"], ["a"]])
    with pytest.raises(RenderError, match="no parameter"):
        render_all([path], tmp_path / "out", parameters={name: "1"}, progress=False)


def test_a_page_replaces_a_link_and_does_not_follow_it(notebook: Any, tmp_path: Path) -> None:
    path, precious = notebook([["1"]]), tmp_path / "precious.txt"
    precious.write_text("years of work")
    (tmp_path / "out").mkdir()
    for name in ("toy.html", ".toy.html.draft"):
        (tmp_path / "out" / name).symlink_to(precious)
    render_all([path], tmp_path / "out", progress=False)
    assert precious.read_text() == "years of work"
    assert "<html" in (tmp_path / "out" / "toy.html").read_text() and not (tmp_path / "out" / "toy.html").is_symlink()
