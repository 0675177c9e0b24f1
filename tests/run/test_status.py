import os

import pytest
from toys import break_file, put_participants, put_session, toy_ct

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import marks, outputs
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.names import PLAN
from ipha_toolkit.run.cohort import run


@pytest.fixture
def cohort(tmp_path):
    root = tmp_path / "cohort"
    for n in range(3):
        put_session(root, f"sub-{n}", "ses-1", [toy_ct(seed=n)])
    put_participants(root, {f"sub-{n}": "control" for n in range(3)})
    return root


def test_a_folder_tells_what_is_done_running_failed_and_to_do(cohort, tmp_path, capsys):
    put_session(cohort, "sub-3", "ses-1", [toy_ct(seed=3)])
    break_file(cohort / "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz")
    out = tmp_path / "out"
    ipha.analyze(cohort, out, participant_label=["0", "sub-1"], level="participant", progress=False)
    with outputs.session_lock(out, SessionFiles("sub-2", "ses-1")), marks.begun(out, "sub-2_ses-1"):
        table = ipha.status(out).set_index("subject")
        assert table["state"].to_dict() == {"sub-0": "done", "sub-1": "failed", "sub-2": "running", "sub-3": "to do"}
        assert table.loc["sub-2", "since"].endswith("+00:00")
        assert "sub-1_ses-1_ct.nii.gz" in table.loc["sub-1", "error"]
        assert main(["status", str(out)]) == 1
    said = capsys.readouterr().out
    assert "1 done, 1 running, 1 failed, 1 to do" in said and "sub-3_ses-1\tto do" in said and "sub-0" not in said
    assert ipha.status(out)["state"].tolist() == ["done", "failed", "to do", "to do"]


def test_a_mark_left_by_a_process_that_died_is_not_taken_for_work(cohort, tmp_path):
    out = run(cohort, tmp_path / "out", participant_label="0", progress=False).out
    mark = out / marks.FOLDER / "sub-1_ses-1.running.json"
    mark.write_text('{"since": "2026-01-01T00:00:00+00:00"}')
    assert ipha.status(out)["state"].tolist() == ["done", "to do", "to do"]
    run(cohort, out, participant_label="1", progress=False)
    assert not mark.exists()


def test_a_folder_without_a_plan_is_refused(cohort, tmp_path):
    out = run(cohort, tmp_path / "out", participant_label="0", level="participant", progress=False).out
    (out / PLAN).unlink()
    with pytest.raises(LayoutError, match=r"plan\.tsv: is missing; run ipha analyze again"):
        ipha.status(out)


def test_the_next_run_takes_away_what_a_killed_process_left_and_no_live_one_s(cohort, tmp_path):
    out = run(cohort, tmp_path / "out", progress=False).out
    as_it_was = {path.relative_to(out) for path in out.rglob("*")}
    bare = [out / f"sub-1/.draft-ses-1-abcdefg{n}" for n in range(2)]
    notes = out / "sub-1/.draft-notes"  # the user's
    mark, lock = out / marks.FOLDER / "sub-1_ses-1.running.json", out / "sub-1/.ses-1.lock"
    for folder in (*bare, notes):
        folder.mkdir()
    os.utime(bare[0], (0, 0))  # the other was made this moment
    mark.write_text('{"since": "long ago"}')
    lock.touch()
    (mark.parent / f".{mark.name}.0123456789ab.draft").write_text("")
    with outputs.session_lock(out, SessionFiles("sub-2", "ses-1")), marks.begun(out, "sub-2_ses-1"):
        run(cohort, out, participant_label=["0", "1", "2"], progress=False)
        left = {path.relative_to(out).as_posix() for path in out.rglob("*")} - {p.as_posix() for p in as_it_was}
        assert left == {"sub-1/.draft-notes", "sub-2/.ses-1.lock", ".state/sub-2_ses-1.running.json"}
