import logging
import os

import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.io.people import read_participants, read_visits


def cohort(root, participants=None, sessions=None, subjects=("sub-001", "sub-002")):
    for subject in subjects:
        (root / subject / "ses-01").mkdir(parents=True)
        (root / subject / "ses-01" / f"{subject}_ses-01_T1w.nii").write_bytes(b"x")
    if participants is not None:
        (root / "participants.tsv").write_text(participants)
    for subject, text in (sessions or {}).items():
        (root / subject / f"{subject}_sessions.tsv").write_text(text)
    return read_cohort(root)


def remarks(found):
    assert not any(found.stopped(session) for session in found.sessions)
    return [problem.message for problem in found.remarks]


@pytest.mark.parametrize("names", [("sub-001", "sub-002"), ("001", "002"), ("1", "2"), ("SUB-001", "Sub-2")])
def test_controls_are_found_however_their_names_were_shortened(tmp_path, names):
    rows = "".join(f"{name}\tcontrol\t8\n" for name in names)
    found = cohort(tmp_path, f"participant_id\tgroup\tage\n{rows}")
    assert all(found.is_control(subject) for subject in ("sub-001", "sub-002"))
    told = [text for text in remarks(found) if "is taken for" in text]
    assert len(told) == (0 if names[0] == "sub-001" else 2)
    assert read_participants(tmp_path)["participant_id"].tolist() == ["sub-001", "sub-002"]


@pytest.mark.parametrize(
    "table, words",
    [
        ("participant_id\tgroup\nsub-001\tcontrol\n", "has no row for sub-002"),
        ("participant_id\tgroup\nsub-001\tcontrol\nsub-002\tiph\nsub-7\tiph\n", "'sub-7' has no folder here"),
        (
            "participant_id\tgroup\nsub-001\tHC\nsub-002\tiph\n",
            "no one is in the group control; the groups are HC, iph",
        ),
        ("participant_id\tage\nsub-001\t7\nsub-002\t8\n", "has no column group"),
        ("participant_id\tgroup\tage\nsub-001\tcontrol\t7 y\nsub-002\tiph\t8\n", "age '7 y' of sub-001 is no number"),
        ("participant_id\tgroup\tage\nsub-001\tcontrol\nsub-002\tiph\t8\n", "line 2 has 2 cells of 3"),
    ],
)
def test_what_costs_covariates_is_a_remark(tmp_path, table, words):
    assert any(words in text for text in remarks(cohort(tmp_path, table)))


def test_rows_that_agree_count_once_and_rows_that_differ_not_at_all(tmp_path):
    rows = "sub-001\tcontrol\nsub-001\tcontrol\nsub-002\tcontrol\nsub-002\tiph\n"
    found = cohort(tmp_path, f"participant_id\tgroup\n{rows}")
    assert [found.is_control(name) for name in ("sub-001", "sub-002")] == [True, False]
    assert [text for text in remarks(found) if "several rows" in text] == [
        "sub-002 stands in several rows that differ, so none of them is used; keep one"
    ]


PEOPLE = "participant_id\tgroup\nsub-001\tcontrol\nsub-002\tiph\n"


@pytest.mark.parametrize(
    "table, words",
    [
        ("session_id\tdays\nses-01\t0\nses-09\t30\n", "'ses-09' has no folder here"),
        ("session_id\tdays\n1\t0\n", "session_id '1' is taken for ses-01"),
        ("session_id\tdays\nses-01\ttoday\n", "days 'today' of ses-01 is no number"),
        ("session_id\tdays\nses-01\t0\nses-01\t9\n", "ses-01 stands in several rows that differ"),
        ("session_id\tdays\nses-01\t0\t5\n", "line 2 has 3 cells, the header names 2 columns"),
        ("session_id\tdays\nses-01\t1e300\n", "days '1e300' of ses-01 is none in days (-50000 to 50000)"),
        ("visit\tdays\nses-01\t0\n", "needs a column session_id, has visit, days"),
    ],
)
def test_a_visit_table_is_checked_and_its_faults_are_its_own(tmp_path, table, words, caplog):
    good = "session_id\tdays\nses-01\t0\n"
    found = cohort(tmp_path, PEOPLE, {"sub-001": table, "sub-002": good})
    assert any(words in text for text in remarks(found))
    with caplog.at_level(logging.WARNING):
        assert "sub-002" in read_visits(tmp_path)["subject"].tolist()
    refused = "columns" in words or "needs" in words
    assert bool(caplog.records) == refused


def test_tables_that_never_end_are_not_opened(tmp_path):
    found = cohort(tmp_path, PEOPLE)
    os.mkfifo(tmp_path / "sub-001" / "sub-001_sessions.tsv")
    (tmp_path / "sub-002" / "sub-002_sessions.tsv").symlink_to("/dev/zero")
    found = read_cohort(tmp_path)
    text = " ".join(remarks(found))
    assert "is a pipe" in text and "is a device" in text
    assert read_visits(tmp_path).empty


def test_a_visit_table_under_another_name_is_said(tmp_path):
    cohort(tmp_path, PEOPLE)
    (tmp_path / "sub-001" / "sub-1_sessions.tsv").write_text("session_id\tdays\nses-01\t0\n")
    assert any("has to be named sub-001_sessions.tsv" in text for text in remarks(read_cohort(tmp_path)))


def test_ages_and_heights_that_nobody_has_count_as_unknown_and_are_said(tmp_path):
    table = "participant_id\tage\theight_cm\nsub-001\t-3\t1.7\nsub-002\t1e9\t170\n"
    found = cohort(tmp_path, table)
    said = " ".join(remarks(found))
    for words in ("age '-3' of sub-001", "age '1e9' of sub-002", "height_cm '1.7' of sub-001"):
        assert words in said
    assert "height_cm '170'" not in said
    assert [found.covariate("sub-002", name) for name in ("age", "height_cm")] == ["", "170"]


def test_a_table_of_a_whole_hospital_is_read_and_its_other_rows_are_counted(tmp_path):
    rows = "".join(f"sub-{n:06}x\t1\n" for n in range(1000))
    said = remarks(cohort(tmp_path, f"participant_id\tage\nsub-001\t7\n{rows}"))
    assert sum("has no folder here" in text for text in said) == 20
    assert any("980 more rows have no folder here" in text for text in said)


def test_a_table_of_more_columns_than_any_is_refused_at_once(tmp_path):
    names = "\t".join(f"c{n}" for n in range(200_000))
    with pytest.raises(LayoutError, match="names 200001 columns, 5000 are read at most"):
        cohort(tmp_path, f"participant_id\t{names}\n")
    (tmp_path / "participants.tsv").write_text(f"participant_id\tnote\nsub-001\t{'x' * 200_000}\n")
    with pytest.raises(LayoutError, match="line 2: a cell of more than 131072 letters"):
        read_cohort(tmp_path)
