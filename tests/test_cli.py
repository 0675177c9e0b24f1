import subprocess
import sys

import pytest
from toys import put_participants, put_session, toy_ct, toy_mr

from ipha_toolkit.cli import main


@pytest.fixture
def cohort(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_mr(), toy_ct()])
    put_participants(tmp_path / "cohort", {"sub-1": "control"})
    return tmp_path / "cohort"


def test_analyze_ends_with_0_and_says_where_the_table_is(cohort, tmp_path, capsys):
    assert main(["analyze", str(cohort), "--out", str(tmp_path / "out")]) == 0
    assert "measures.tsv" in capsys.readouterr().out
    assert (tmp_path / "out" / "measures.tsv").exists()


def test_analyze_ends_with_1_when_a_session_failed(cohort, tmp_path, capsys):
    path = cohort / "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz"
    path.write_bytes(path.read_bytes()[:500])
    assert main(["analyze", str(cohort), "--out", str(tmp_path / "out")]) == 1
    assert "sub-1_ses-1_ct.nii.gz" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["analyze", "{}/nowhere", "--out", "{}/out"], "no such folder"),
        (["analyze", "{}/cohort", "--out", "{}/out", "--protocol", "{}/no.toml"], "no.toml"),
        (["analyze", "{}/cohort", "--out", "{}/out", "--workers", "0"], "1 or more"),
        (["check", "{}/nowhere"], "no such folder"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_line(cohort, tmp_path, capsys, arguments, text):
    assert main([part.format(tmp_path) for part in arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert len(error.strip().splitlines()) == 1


def test_bad_usage_ends_with_2():
    with pytest.raises(SystemExit) as caught:
        main(["analyze"])
    assert caught.value.code == 2


def test_check_ends_with_0_or_1(cohort, capsys):
    assert main(["check", str(cohort)]) == 0
    assert "40 x 30 x 34, 8 x 8 x 8 mm" in capsys.readouterr().out
    (cohort / "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz").write_bytes(b"")
    assert main(["check", str(cohort)]) == 1
    assert "sub-1_ses-1_ct.nii.gz: the file is empty" in capsys.readouterr().out


def test_the_printed_protocol_can_be_passed_back(cohort, tmp_path, capsys):
    assert main(["protocol"]) == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    arguments = ["analyze", str(cohort), "--out", str(tmp_path / "out"), "--protocol", str(tmp_path / "mine.toml")]
    assert main(arguments) == 0


def test_the_command_runs_as_a_module_of_the_installed_package():
    found = subprocess.run(
        [sys.executable, "-c", "from ipha_toolkit.cli import main; raise SystemExit(main(['--help']))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "analyze" in found.stdout and "Exit status" in found.stdout
