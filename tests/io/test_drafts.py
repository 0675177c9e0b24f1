import json
import os
import stat
import subprocess
import sys
import time

import pytest

from ipha_toolkit.io import drafts, marks, names, proof


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def unreaped():
    """A process that was killed, and whose parent has not heard of it: in a container it may stay so for good."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE
    )
    process.stdout.readline()
    started = drafts._started(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid, started
    process.communicate()


def draft(out, name, **owner):
    folder = out / name
    folder.mkdir(parents=True)
    (folder / "sub-1_ses-1_measures.tsv").write_text("half")
    if owner:
        (folder / ".owner.json").write_text(json.dumps(drafts._owner() | owner))
    return folder


def aged(path):
    old = time.time() - 2 * 86400
    os.utime(path, (old, old))


def test_a_draft_is_taken_away_unless_it_is_put(tmp_path):
    target = tmp_path / "sub-1" / "ses-1"
    target.parent.mkdir()
    with drafts.draft_of(target) as made:
        (made / "a").write_text("a")
    assert list(target.parent.iterdir()) == []
    with drafts.draft_of(target) as made:
        (made / "a").write_text("a")
        assert drafts.put(made, target) == []
    assert [path.name for path in target.rglob("*")] == ["a"]


def test_what_is_made_has_the_rights_of_its_folder(tmp_path):
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1").chmod(0o750)
    with drafts.draft_of(tmp_path / "sub-1" / "ses-1") as made:
        (made / "a").write_text("a")
        drafts.put(made, tmp_path / "sub-1" / "ses-1")
    assert stat.S_IMODE((tmp_path / "sub-1" / "ses-1").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "sub-1" / "ses-1" / "a").stat().st_mode) == 0o640


def test_drafts_of_dead_runs_are_cleared_and_no_others(tmp_path, dead):
    sub = tmp_path / "sub-1"
    gone = [
        draft(sub, ".draft-ses-1-aaaaaaaa", pid=dead),
        draft(sub, ".draft-ses-1-bbbbbbbb", pid=os.getpid(), started="before this machine was started"),
        draft(tmp_path, ".draft-sub-2-cccccccc", host="another", pid=1),
    ]
    aged(gone[2] / ".owner.json")
    stays = [
        draft(sub, ".draft-ses-1-dddddddd", pid=os.getpid()),
        draft(sub, ".draft-ses-1-eeeeeeee", host="another", pid=1),
        draft(sub, ".draft-notes"),
        draft(sub, ".draft-ses-1-ffffffff", pid=dead, tool="somebody's"),
    ]
    drafts.clear_leftovers(tmp_path)
    assert [path.exists() for path in gone] == [False] * 3
    assert [path.exists() for path in stays] == [True] * 4


def test_a_process_that_its_parent_has_not_reaped_is_dead(tmp_path, unreaped):
    """Left one draft in 85 runs whose parent was killed: the next run took the dead worker for a living one."""
    pid, started = unreaped
    os.kill(pid, 0)  # still has its number
    folder = draft(tmp_path / "sub-1", ".draft-ses-1-aaaaaaaa", pid=pid, started=started)
    (folder / "sub-1_ses-1_measures.tsv").unlink()
    own = f"-{os.getpid()}.{drafts._started(os.getpid())}-"
    table = drafts.text_draft(tmp_path / "measures.tsv")
    table = table.rename(table.with_name(table.name.replace(own, f"-{pid}.{started}-")))
    drafts.clear_leftovers(tmp_path)
    assert not folder.exists() and not table.exists()


def test_a_run_killed_as_its_folder_was_in_place_leaves_no_owner(tmp_path, dead):
    places = [tmp_path / "sub-1" / "ses-1", tmp_path / "sub-2"]
    for place in places:
        draft(place.parent, place.name, pid=dead)
    alive = draft(tmp_path / "sub-1", "ses-2", pid=os.getpid())
    drafts.clear_leftovers(tmp_path)
    assert [[path.name for path in place.iterdir()] for place in places] == [["sub-1_ses-1_measures.tsv"]] * 2
    assert (alive / ".owner.json").exists()


def test_a_draft_whose_writer_lives_elsewhere_on_this_machine_stays(tmp_path, dead):
    """A container sees other process numbers: the lock says that the writer is alive."""
    folder = draft(tmp_path, ".draft-sub-2-cccccccc", pid=dead)
    with (folder / ".owner.json").open("r+b") as file:
        assert drafts.is_free(file, folder)
        drafts.clear_leftovers(tmp_path)
        assert folder.exists()
    drafts.clear_leftovers(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("put", [False, True])
def test_a_folder_moved_aside_by_a_dead_run_is_never_lost(tmp_path, put):
    old = tmp_path / "sub-1" / ".draft-ses-1-abcdefgh-old"
    old.mkdir(parents=True)
    (old / "notes.txt").write_text("mine")
    (old / "sub-1_ses-1_measures.tsv").write_text("ours")
    record = proof.sealed({proof.FILES: proof.digests(old) | {"notes.txt": "0"}})
    (old / names.PROVENANCE).write_text(json.dumps(record))
    target = tmp_path / "sub-1" / "ses-1"
    if put:
        target.mkdir()
    drafts.clear_leftovers(tmp_path)
    assert (target / "notes.txt").read_text() == "mine" and not old.exists()
    assert (target / "sub-1_ses-1_measures.tsv").exists() is not put
    assert [path.name for path in (tmp_path / "sub-1").iterdir()] == ["ses-1"]


def test_half_written_tables_of_dead_runs_are_cleared(tmp_path, dead):
    mine = drafts.text_draft(tmp_path / "measures.tsv")
    own = f"-{os.getpid()}.{drafts._started(os.getpid())}-"
    later = [
        mine.with_name(mine.name.replace(own, f"-{number}-")) for number in (dead, f"{dead}.1", f"{os.getpid()}.1")
    ]
    for theirs in later:  # an earlier version's, and one of whose number is another process now
        theirs.write_text("half")
    users = tmp_path / ".measures.tsv.draft"
    users.write_text("a note")
    drafts.clear_leftovers(tmp_path)
    assert mine.exists() and users.exists() and not any(theirs.exists() for theirs in later)


def test_half_written_marks_and_digests_of_dead_runs_are_cleared(tmp_path, dead):
    """Killed between writing a digest and moving it into its place, in one of 120 kills at any step."""
    place = tmp_path / marks.FOLDER
    place.mkdir()
    mine = drafts.text_draft(place / "plan.tsv.json")
    own = f"-{os.getpid()}.{drafts._started(os.getpid())}-"
    theirs = mine.with_name(mine.name.replace(own, f"-{dead}.1-"))
    theirs.write_text("half")
    marks.clear_dead(tmp_path, [])
    assert mine.exists() and not theirs.exists()


def test_a_file_in_the_place_of_a_folder_is_kept(tmp_path):
    target = tmp_path / "sub-1" / "ses-1"
    target.parent.mkdir()
    target.write_text("a file")
    with drafts.draft_of(target) as made:
        drafts.put(made, target)
    assert target.is_dir() and (target.parent / "ses-1.kept").read_text() == "a file"


def test_a_draft_whose_run_was_killed_before_it_said_whose_it_is_is_cleared(tmp_path):
    for name, more in (("begun", ""), ("notes", "mine.txt"), ("new", "")):
        folder = tmp_path / f"{drafts.PREFIX}{name}"
        folder.mkdir()
        (folder / ".owner.json").touch()
        if more:
            (folder / more).touch()
        if name != "new":
            os.utime(folder / ".owner.json", (time.time() - 2 * drafts._MOMENT_S,) * 2)
    drafts.clear_leftovers(tmp_path)
    left = {path.name.removeprefix(drafts.PREFIX) for path in tmp_path.iterdir()}
    assert left == {"notes", "new"}  # what else lies in a folder is somebody's; the new one may be a run's at work
