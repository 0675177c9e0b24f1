"""Every file of the whole cohort's, and every file of a session's, is noticed when it is not as it was written."""

import pytest

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import marks

OF_ALL = (
    "measures.tsv", "measures.json", "readings.tsv", "findings.tsv", "acquisitions.tsv", "failures.tsv",
    "reference.json", "protocol.toml", "provenance.json", "dataset_description.json",
)  # fmt: skip
READERS = (["report", "--out", "a.html"], ["share", "--out", "a.zip"], ["redcap", "--out", "a.csv"],
           ["checklist", "--out", "a.html"])  # fmt: skip
NOTICED = "is not as ipha analyze wrote it"


def edit(path):
    """Another digit in the place of the last."""
    text = path.read_bytes()
    at = max(n for n, byte in enumerate(text) if chr(byte).isdigit() or chr(byte) == "s")
    path.write_bytes(text[:at] + (b"3" if text[at : at + 1] == b"7" else b"7") + text[at + 1 :])


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


@pytest.fixture
def again(analyzed, capsys):
    """Runs ``ipha analyze`` in the folder of results once more; gives what it said."""

    def run(*more):
        main(["analyze", str(analyzed / "cohort"), "--out", str(analyzed / "out"), "-q", *more])
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize("damage", [edit, cut], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", OF_ALL)
def test_a_damaged_file_of_the_cohort_is_said_and_made_again(analyzed, again, name, damage):
    path = analyzed / "out" / name
    written = path.read_bytes()
    damage(path)
    said = again()
    assert f"{name}: is not as it was written; it is made again" in said
    assert path.read_bytes() == written
    assert "not as it was written" not in again()


@pytest.mark.parametrize("reader", READERS, ids=lambda words: words[0])
def test_no_command_reads_a_table_that_was_edited(analyzed, tmp_path, monkeypatch, capsys, reader):
    monkeypatch.chdir(tmp_path)
    table = (
        analyzed / "out/sub-p1/ses-1/sub-p1_ses-1_measures.tsv"
        if reader[0] == "share"
        else analyzed / "out/measures.tsv"
    )
    edit(table)
    assert main([reader[0], str(analyzed / "out"), *reader[1:]]) == 2
    said = capsys.readouterr().err
    assert str(table) in said and NOTICED in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / reader[-1]).exists()


def test_failures_that_were_edited_are_not_read(analyzed):
    (analyzed / "out/failures.tsv").write_text("subject\tsession\tmodality\tfile\terror\tlog\nx\tx\tx\tx\tx\tx\n")
    with pytest.raises(LayoutError, match=f"failures.tsv: {NOTICED}"):
        _ = ipha.open_results(analyzed / "out").failures


def test_masks_maps_and_histograms_that_were_damaged_are_not_read(analyzed):
    session = ipha.open_results(analyzed / "out")["p1", "1"]
    for read in (lambda: session.mask("T1w"), lambda: session.map("T1w"), lambda: session.histogram("T1w")):
        read()
    for path in session.folder.iterdir():
        if path.name.startswith("sub-"):
            cut(path)
    for read in (lambda: session.mask("T1w"), lambda: session.map("T1w"), lambda: session.histogram("T1w")):
        with pytest.raises(LayoutError, match=NOTICED):
            read()


def test_status_reads_no_plan_that_was_edited(analyzed, capsys):
    assert main(["status", str(analyzed / "out")]) == 0
    plan = analyzed / "out/plan.tsv"
    plan.write_text(plan.read_text().rpartition("sub-p1")[0])
    assert main(["status", str(analyzed / "out")]) == 2
    assert f"plan.tsv: {NOTICED}" in capsys.readouterr().err


def test_a_reason_that_was_edited_counts_as_none(tmp_path):
    marks.write_failed(tmp_path, "sub-1", [{"subject": "sub-1", "error": "the worker was killed"}])
    assert marks.read_failed(tmp_path, "sub-1") == [{"subject": "sub-1", "error": "the worker was killed"}]
    (kept,) = (tmp_path / ".state").iterdir()
    kept.write_text(kept.read_text().replace("worker", "weather"))
    assert marks.read_failed(tmp_path, "sub-1") is None


def test_what_a_user_wrote_into_a_file_of_the_cohort_is_kept_aside(analyzed, again):
    for name in ("failures.tsv", "dataset_description.json", "measures.tsv"):
        path = analyzed / "out" / name
        path.write_text(path.read_text() + "# asked radiology on Monday\n")
    again()
    for name in ("failures.tsv", "dataset_description.json", "measures.tsv"):
        assert "Monday" in (analyzed / "out" / f"{name}.kept").read_text()
