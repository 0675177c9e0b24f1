"""What is written is finished under a name nobody can guess, then takes its place: no link is written through."""

from __future__ import annotations

import ast
import os
import shutil

import pytest
from folders import put
from test_tree import MODULES, PACKAGE

from ipha_toolkit.cli import main
from ipha_toolkit.io import drafts, marks
from ipha_toolkit.io.strokes import Strokes

TO_ITSELF = {"write_text", "write_bytes", "touch", "extractall"}
"""Calls that write to what they are called on; the rest write to their first argument."""
TO_GIVEN = {"to_csv", "to_json", "savefig", "copyfile", "copy2", "ZipFile"}
KNOWN = {
    "cli.py": {"draft"},
    "figures/core.py": {"buffer"},
    "io/dicom_volume.py": {"target"},  # in a scratch folder
    "io/drafts.py": {"draft / _OWNER"},  # in the draft's folder
    "io/images.py": {"sidecar"},  # in a draft's folder
    "io/marks.py": {"draft"},
    "io/packaged.py": {"draft", "packed", "results / names.PROVENANCE"},  # into a folder that has to be new
    "io/shared.py": {"draft"},
    "io/terminal.py": {"os.devnull"},  # in place of a stream that is closed
    "io/writing.py": {"draft"},
    "report/checklist.py": {"draft"},
    "report/handout.py": {"source", "target"},  # in a scratch folder, and the draft of ``render``
    "report/pieces.py": {"draft"},
    "report/render.py": {"draft"},
    "run/import_.py": {"path", "meta"},  # in a scratch folder, in a draft's folder
    "run/import_tables.py": {"draft"},
    "run/segmenters.py": {"settings / 'config.json'"},  # in a scratch folder
    "run/simulate.py": {"root / 'README'", "root / '.bidsignore'"},  # in a draft's folder
}


def to_file(call):
    """What a call writes to, as it is spelled; empty where it writes nothing."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    words = [each.value for each in (*call.args, *(word.value for word in call.keywords)) if is_word(each)]
    writing = any(set(word) <= set("wxabt+") and set(word) & set("wxa") for word in words)
    if name in TO_ITSELF or (name == "open" and writing and isinstance(call.func, ast.Attribute)):
        return ast.unparse(call.func.value)
    given = name in TO_GIVEN - {"ZipFile"} or (name in ("open", "ZipFile") and writing)
    return ast.unparse(call.args[0]) if given and call.args else ""


def is_word(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value


def test_every_write_is_to_a_draft_or_a_scratch_folder():
    found = {
        (path.relative_to(PACKAGE).as_posix(), target)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and (target := to_file(node))
    }
    assert {each for each in found if each[1] not in KNOWN.get(each[0], set())} == set()


def test_every_file_made_by_its_own_call_follows_no_link():
    made = [
        ast.unparse(node)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "os.open"
        and ast.unparse(node.args[0]) != "os.devnull"
    ]
    assert len(made) == 3
    assert all("O_CREAT" in call and ("O_NOFOLLOW" in call or "O_EXCL" in call) for call in made)


@pytest.fixture
def victim(tmp_path):
    path = tmp_path / "victim"
    path.write_text("years of work")
    yield path
    assert path.read_text() == "years of work"


def link(path, victim):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)
    return path


@pytest.mark.parametrize("name", ["privacy.html", ".privacy.html.draft"])
def test_the_import_writes_through_no_link(victim, tmp_path, name):
    from ipha_toolkit.run.import_tables import write_privacy_list

    place = link(tmp_path / "cohort/import" / name, victim)
    write_privacy_list(tmp_path / "cohort")
    page = place.with_name("privacy.html")
    assert not page.is_symlink() and "Text left in this cohort" in page.read_text()


def test_the_import_leaves_a_users_folder_whatever_its_name(tmp_path):
    place = tmp_path / "import"
    (place / ".draft-notes").mkdir(parents=True)
    drafts.clear_leftovers(place)
    assert (place / ".draft-notes").is_dir()


def test_marks_are_written_through_no_link(victim, tmp_path):
    link(tmp_path / "out" / marks.FOLDER / "sub-1.failed.json", victim)
    marks.write_failed(tmp_path / "out", "sub-1", [{"error": "none"}])
    assert marks.read_failed(tmp_path / "out", "sub-1") == [{"error": "none"}]


def test_strokes_are_written_through_no_link(victim, tmp_path):
    place = link(tmp_path / "painted/strokes.jsonl", victim)
    Strokes(place, {}).add("undo")
    assert not place.is_symlink() and place.with_name("strokes.jsonl.old").is_symlink()
    loose = link(tmp_path / "loose.jsonl", tmp_path / "nowhere")
    with pytest.raises(OSError):
        Strokes(loose, {}).add("undo")
    assert not (tmp_path / "nowhere").exists()


def test_older_strokes_are_all_kept(tmp_path):
    place = tmp_path / "strokes.jsonl"
    for begun in range(3):
        Strokes(place, {"begun": begun}).add("undo")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("command", ["redcap", "report", "checklist", "share"])
def test_what_is_handed_on_is_written_through_no_link(victim, toy_analysis, tmp_path, command):
    place = link(tmp_path / "made" / "page.html", victim)
    assert main([command, str(toy_analysis / "out"), "--out", str(place)]) == 0
    assert not place.is_symlink() and [path.name for path in place.parent.iterdir()] == [place.name]


def test_what_a_killed_simulation_left_goes_with_the_next(tmp_path):
    from ipha_toolkit.run.simulate import write_population

    left = tmp_path / ".draft-cohort-a1b2c3d4"
    with drafts.draft_of(tmp_path / "cohort") as draft:
        shutil.copytree(draft, left)
    owner = left / ".owner.json"
    owner.write_text(owner.read_text().replace(str(os.getpid()), "999999999"))
    (left / "README").write_text("half")
    write_population([], tmp_path / "cohort", about={}, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]
    assert not (tmp_path / "cohort/.owner.json").exists()


@pytest.mark.parametrize("command", ["redcap", "report", "checklist", "share"])
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_a_pipe_or_folder_is_not_replaced_by_a_file(toy_analysis, tmp_path, command, kind, capsys):
    """Nor a device: run as root, ``--out /dev/full`` had put a page in its place."""
    put(place := tmp_path / "made", kind)
    assert main([command, str(toy_analysis / "out"), "--out", str(place)]) == 2
    assert not place.is_file() and f"{place}: is a " in capsys.readouterr().err


def test_ctrl_c_while_parts_are_imported_is_a_line(monkeypatch, capfd):
    import builtins

    from ipha_toolkit.__main__ import main as first

    real = builtins.__import__

    def stopped(name, *rest, **more):
        if name == "ipha_toolkit.cli":
            raise KeyboardInterrupt
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", stopped)
    assert first([]) == 130
    assert capfd.readouterr().err.strip() == "ipha: stopped before anything was done"
