"""Job arrays: some sessions each, the tables by themselves."""

import subprocess
import sys

import pytest
from toys import break_file, put_participants, put_session, toy_ct

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.run.choice import choose
from ipha_toolkit.run.cohort import run

TABLES = ("measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv")
SESSIONS = [SessionFiles(subject, session) for subject in ("sub-1", "sub-2") for session in ("ses-a", "ses-b")]


@pytest.mark.parametrize(
    "participants, sessions, labels",
    [
        ((), (), ["sub-1_ses-a", "sub-1_ses-b", "sub-2_ses-a", "sub-2_ses-b"]),
        ("2", (), ["sub-2_ses-a", "sub-2_ses-b"]),
        (["sub-2", "1"], ["b"], ["sub-1_ses-b", "sub-2_ses-b"]),
    ],
)
def test_sessions_are_chosen_by_label_with_or_without_prefix(participants, sessions, labels):
    assert [files.label for files in choose(SESSIONS, participants, sessions)] == labels


def test_an_unknown_label_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="participant_label: the cohort has no sub-9; there are sub-1, sub-2"):
        choose(SESSIONS, ["1", "9"])
    with pytest.raises(ValueError, match="session_label: the cohort has no ses-c"):
        choose(SESSIONS, (), "c")


@pytest.fixture
def cohort(tmp_path):
    root = tmp_path / "cohort"
    for n in range(4):
        put_session(root, f"sub-{n}", "ses-1", [toy_ct(seed=n, lung=-850 + n)])
    put_session(root, "sub-2", "ses-2", [toy_ct(seed=9)])
    put_participants(root, {f"sub-{n}": "control" if n % 2 else "iph" for n in range(4)})
    break_file(root / "sub-3/ses-1/ct/sub-3_ses-1_ct.nii.gz")
    return root


def tables(out):
    return {name: (out / name).read_bytes() for name in TABLES}


def test_jobs_of_an_array_in_any_order_give_the_tables_of_one_run(cohort, tmp_path, capsys):
    run(cohort, tmp_path / "one", progress=False)
    out = str(tmp_path / "out")
    for label in ("3", "0", "2"):
        status = main(["analyze", str(cohort), "--out", out, "--participant-label", label, "--level", "participant"])
        assert status == (1 if label == "3" else 0)
        assert not (tmp_path / "out" / "measures.tsv").exists()
    capsys.readouterr()
    assert main(["analyze", str(cohort), "--out", out, "--level", "group"]) == 1
    assert "1 sessions are not measured yet and not in the tables: sub-1_ses-1" in capsys.readouterr().err
    assert main(["analyze", str(cohort), "--out", out, "--participant-label", "1", "--level", "participant"]) == 0
    group = run(cohort, out, level="group", progress=False)
    assert (group.measured, group.missing, len(group.failures)) == (0, (), 1)
    assert tables(tmp_path / "out") == tables(tmp_path / "one")


def test_jobs_at_the_same_time_in_one_folder_do_not_disturb_each_other(cohort, tmp_path):
    run(cohort, tmp_path / "one", progress=False)
    code = "import sys; from ipha_toolkit.cli import main; main(['analyze', *sys.argv[1:], '--level', 'participant'])"
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(cohort), "--out", str(tmp_path / "out"), *asked], stderr=subprocess.PIPE
        )
        for asked in (["--participant-label", "0", "1", "2"], ["--participant-label", "1", "2", "3"])
    ]
    said = [job.communicate()[1].decode() for job in jobs]
    assert all("Traceback" not in text for text in said), said
    run(cohort, tmp_path / "out", level="group", progress=False)
    assert tables(tmp_path / "out") == tables(tmp_path / "one")


def test_participant_level_gives_the_rows_of_the_chosen_sessions(cohort, tmp_path):
    rows = ipha.analyze(
        cohort, tmp_path / "out", participant_label="2", session_label="1", level="participant", progress=False
    )
    assert set(rows["subject"]) == {"sub-2"} and set(rows["session"]) == {"ses-1"}
    assert not rows["measure"].str.endswith("_vs_controls").any()


def test_levels_that_make_no_sense_are_refused(cohort, tmp_path):
    with pytest.raises(ValueError, match="level is one of both, participant, group, got 'all'"):
        run(cohort, tmp_path / "out", level="all")
    with pytest.raises(ValueError, match="level group is of all sessions"):
        run(cohort, tmp_path / "out", level="group", participant_label="1")
