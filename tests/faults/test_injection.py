"""Text that would run is planted wherever text can stand; no page, widget, table or terminal takes it for its own."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile

import numpy as np
import pytest
from browsing import hacked, settle
from hostile import ALL, COLOURS, PAYLOADS, hostile_cohort
from ipywidgets import Widget
from toys import toy_masks, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.report.page import gallery
from ipha_toolkit.report.page import page as whole_page

BAD = "img[src=x], svg[onload], [onerror], [onload], a[href^='javascript' i], form, iframe, object, embed, base"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The cohort and its results, in folders whose names are payloads too."""
    root = tmp_path_factory.mktemp("hostile") / PAYLOADS["attribute"].replace("/", ":")
    hostile_cohort(root / "cohort")
    main(["analyze", str(root / "cohort"), "--out", str(root / "out"), "--workers", "1", "-q"])
    return root


def report(root):
    assert main(["report", str(root / "out"), "--out", str(root / "report.html")]) == 0
    return (root / "report.html").read_text()


def explorer(root):
    results = ipha.open_results(root / "out")
    further = [name for name in results.visits.columns[3:] if name not in ("days", "phase", "group", "age")]
    made = ipha.explore(results, full=["sub-1_ses-1"], also=further)
    return whole_page(ALL, made.to_html())


def viewer(root):
    made = [
        ipha.view(toy_mr().replace(name=text, unit=text, meta={text: text}), overlays={text: toy_masks()[0]})
        for text in PAYLOADS.values()
    ]
    return whole_page(ALL, "".join(each.to_html() for each in made))


def review(root):
    queue = ipha.review(root / "out", ratings=root / "ratings", rater=ALL, reasons=list(PAYLOADS.values()))
    for text in PAYLOADS.values():
        queue.rate("unusable", reasons=[text, ALL], note=text)
    return whole_page(ALL, queue.to_html())


def checklist(root):
    shutil.copytree(root / "out", root / PAYLOADS["attribute"])
    assert main(["checklist", str(root / PAYLOADS["attribute"]), "--out", str(root / "checklist.html")]) == 0
    return (root / "checklist.html").read_text()


def words(root):
    assert main(["share", str(root / "out"), "--out", str(root / "a.zip")]) == 0
    with zipfile.ZipFile(root / "a.zip") as archive:
        return archive.read("words.html").decode()


def rendered(root, kind):
    """A notebook of all that a cohort's words may come into; the words of the title slide are payloads."""
    import nbformat

    new = nbformat.v4
    code = (
        "import ipha_toolkit as ipha\nresults = ipha.open_results('out')\nprint(words)\ndisplay(results.participants)\n"
        "display(results.visits)\ndisplay(results.failures)\nresults"
    )
    cells = [
        new.new_markdown_cell(f"# Title\n\n{PAYLOADS['markdown']}\n\n{PAYLOADS['template']}\n\n{PAYLOADS['math']}"),
        new.new_code_cell("words = ''", metadata={"tags": ["parameters"]}),
        new.new_code_cell(code),
        new.new_code_cell(
            "people = results.participants.rename(columns={'participant_id': 'subject'}).assign(session='ses-1')\n"
            "shown = {'measure': 'signal_ratio_median', 'modality': 'T1w'}\n"
            "ipha.plots.show(ipha.plots.plot_groups(results.rows, people, **shown))"
        ),
    ]  # fmt: skip
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new.new_notebook(cells=cells, metadata=about), root / "words.ipynb")
    given = [part for name in ("author", "place", "date", "words") for part in ("-p", name, ALL.replace("\x1b", ""))]
    allowed = [part for text in ("/home", "/tmp", "/img") for part in ("--allow", text)]
    where = ["--out", str(root / "rendered"), "--to", kind]
    assert main(["render", str(root / "words.ipynb"), *where, *given, *allowed, "-q"]) == 0
    return (root / "rendered" / {"html": "words.html", "slides": "words.slides.html"}[kind]).read_text()


def imported(root, name):
    """Of a film and a series whose headers are payloads."""
    pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")
    from ipha_toolkit.phantom.dicom import Study, film, slices
    from ipha_toolkit.run.disk import save

    if not (root / "imported").exists():
        study = Study(PAYLOADS["attribute"], f"{PAYLOADS['quote']}^x", "20150314", "F", "20240110")
        text = {"SeriesDescription": PAYLOADS["attribute"], "ProtocolName": PAYLOADS["quote"]}
        picture = ipha.Volume(
            np.random.default_rng(5).integers(100, 3000, (48, 60, 1)),
            np.diag([4.0, 4.0, 1.0, 1.0])[:, [0, 2, 1, 3]], modality="dx",
        )  # fmt: skip
        volume = toy_mr().replace(meta={"EchoTime": 0.0008, "RepetitionTime": 0.004, "FlipAngle": 12.0})
        parts = [
            film(picture, study, number=31, tags=text),
            *slices(volume, study, number=11, modality="MR", tags=text),
        ]
        save(root / "disk", parts)
        main(["import", str(root / "disk"), "--out", str(root / "imported"), "--yes", "-q"])
    return (root / "imported/import" / name).read_text()


MADE = {
    "report": report, "explorer": explorer, "viewer": viewer, "review": review, "checklist": checklist, "words": words,
    "slides": lambda root: rendered(root, "slides"), "page": lambda root: rendered(root, "html"),
    "gallery": lambda root: gallery(ALL, [{"title": ALL, "summary": ALL, "thumbnail": "", "links": [(ALL, ALL)]}]),
    "contact": lambda root: imported(root, "contact.html"), "privacy": lambda root: imported(root, "privacy.html"),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_nothing_runs_on_a_page(hostile, offline_page, tmp_path, name):
    text = MADE[name](hostile)
    Widget.close_all()
    (tmp_path / "page.html").write_text(text)
    offline_page.on("dialog", lambda dialog: offline_page.errors.append(dialog.message))
    offline_page.goto((tmp_path / "page.html").as_uri())
    offline_page.wait_for_function("() => !document.querySelector('.ipha-exported:empty')")
    assert hacked(offline_page) is None
    for node in offline_page.query_selector_all("summary:visible, button:visible, [data-session]:visible")[:25]:
        node.dispatch_event("pointermove")
        node.dispatch_event("click")
        settle(offline_page)
    assert hacked(offline_page) is None
    assert offline_page.evaluate("typeof window.__pwned") == "undefined"
    assert [node.evaluate("node => node.outerHTML") for node in offline_page.locator(BAD).all()] == []
    assert "1337" not in offline_page.inner_text("body")
    assert offline_page.requests == [] and offline_page.errors == []


def said_by_every_command(root, capsys):
    """What every command that reads a cohort or its results says, at its most talkative."""
    cohort, out, ratings = (str(root / name) for name in ("cohort", "out", "ratings"))
    ipha.review(root / "out", ratings=ratings, rater=ALL, images=["T1w"]).rate("usable", reasons=[ALL], note=ALL)
    imported(root, "series.tsv")
    for words in (
        ["check", cohort], ["analyze", cohort, "--out", out, "--workers", "1"], ["status", out, "-v"],
        ["report", out, "--out", f"{out}.html"], ["share", out, "--out", f"{out}.zip"],
        ["redcap", out, "--out", f"{out}.csv"], ["checklist", out, "--out", f"{out}.check.html"],
        ["ratings", "merge", f"{ratings}/ratings.tsv", "--out", f"{ratings}/all.tsv"],
        ["import", str(root / "disk"), "--out", str(root / "imported"), "--yes"],
        ["analyze", cohort, "--out", out, "--participant-label", PAYLOADS["ansi"]],
        ["check", f"{cohort}{PAYLOADS['ansi']}"], ["report", f"{out}{PAYLOADS['ansi']}", "--out", "x.html"],
        ["render", f"{PAYLOADS['ansi']}.ipynb"], ["pool", f"{PAYLOADS['ansi']}.zip", "--out", "x"],
    ):  # fmt: skip
        capsys.readouterr()
        status = main([*words, "-v", "-v"] if words[0] != "status" else words)
        yield words[0], status, "".join(capsys.readouterr())


def test_nothing_colours_the_terminal(hostile, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Widget.close_all()
    for command, status, said in said_by_every_command(hostile, capsys):
        assert [sign for sign in COLOURS if sign in said] == [], (command, said[-2000:])
        assert said and status in (0, 1, 2), (command, said[-2000:])


def cells(path):
    text = path.read_text("utf-8")
    rows = csv.reader(io.StringIO(text), delimiter="," if path.suffix == ".csv" else "\t")
    yield from (cell for row in rows for cell in row)


def is_number(cell):
    try:
        return float(cell) is not None
    except ValueError:
        return False


def test_spreadsheets_get_text(hostile, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert [each for each in said_by_every_command(hostile, capsys) if not each[2]] == []
    tables = [path for path in hostile.rglob("*.[tc]sv") if (hostile / "cohort") not in path.parents]
    assert len(tables) > 30
    wrong = {
        (path.name, cell[:60])
        for path in tables
        for cell in cells(path)
        if (cell[:1] in tuple("=+-@") and not is_number(cell)) or any(sign in cell for sign in COLOURS)
    }
    assert wrong == set()
