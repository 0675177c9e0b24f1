import shutil
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
from toys import put_participants, put_session, toy_ct, toy_mr

from ipha_toolkit import bids_app
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


def test_without_a_command_all_of_them_are_listed(capsys):
    assert main([]) == 2
    assert "analyze" in capsys.readouterr().err


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


def test_the_command_runs_as_a_module():
    found = subprocess.run(
        [sys.executable, "-m", "ipha_toolkit", "--help"], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert "analyze" in found.stdout and "Exit status" in found.stdout


def test_info_says_what_a_bug_report_needs_and_no_path(capsys):
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("ipha_toolkit", "Python", "cores", "free memory", "numpy"))
    assert str(Path.home()) not in said


def test_the_layout_is_printed_for_those_without_a_checkout(capsys):
    assert main(["docs", "layout"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("# The cohort folder") and "Masks from other tools" in said


def test_an_empty_cohort_is_told_where_the_layout_stands(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 2
    assert "ipha docs layout" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_completion_script_knows_every_command(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in ("analyze", "import-masks", "--remove-stale"))


@pytest.mark.skipif(not which("bash"), reason="no bash")
def test_bash_completes_a_command(capsys):
    main(["completion", "bash"])
    asks = (
        'COMP_WORDS=(ipha ana); COMP_CWORD=1; COMP_LINE="ipha ana"; COMP_POINT=8; _shtab_ipha; '
        'echo "${COMPREPLY[@]}"'
    )  # fmt: skip
    script = f"{capsys.readouterr().out}\n{asks}\n"
    found = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "analyze", found.stderr


def test_results_of_sessions_that_are_gone_are_told_and_removed_on_request(cohort, tmp_path, capsys):
    put_session(cohort, "sub-2", "ses-1", [toy_ct()])
    arguments = ["analyze", str(cohort), "--out", str(tmp_path / "out"), "--workers", "1", "-q"]
    main(arguments)
    shutil.rmtree(cohort / "sub-2")
    capsys.readouterr()
    assert main(arguments) == 0
    assert "sub-2/ses-1: results of a session that is no longer in the cohort" in capsys.readouterr().err
    assert (tmp_path / "out/sub-2/ses-1").is_dir()
    assert main([*arguments, "--remove-stale"]) == 0
    assert "taken away" in capsys.readouterr().err
    assert not (tmp_path / "out/sub-2").exists() and (tmp_path / "out/sub-1/ses-1").is_dir()


def test_a_bids_app_call_is_an_analysis_of_one_level(monkeypatch):
    called = []
    monkeypatch.setattr("ipha_toolkit.cli.main", lambda arguments: called.append(arguments) or 0)
    assert bids_app.main(["in", "out", "participant", "--workers", "2"]) == 0
    assert called == [["analyze", "in", "--out", "out", "--level", "participant", "--workers", "2"]]
    with pytest.raises(SystemExit):
        bids_app.main(["in", "out", "cohort"])


def test_a_log_is_written_behind_a_log_and_behind_nothing_else(cohort, tmp_path, capsys):
    """A slip of the hand, --log IMAGE, wrote lines behind the image: it could not be read any more."""
    image = next(cohort.rglob("*_T1w.nii.gz"))
    before = image.read_bytes()
    assert main(["check", str(cohort), "-q", "--log", str(image)]) == 2
    assert (
        image.read_bytes() == before and "is no log of this command; give --log another name" in capsys.readouterr().err
    )
    log = tmp_path / "a.log"
    for _ in range(2):
        assert main(["analyze", str(cohort), "--out", str(tmp_path / "out"), "-q", "--log", str(log)]) == 0
    assert "0 sessions to measure" in log.read_text()


@pytest.mark.parametrize("words", [["analyze", "{}", "--out", ""], ["check", ""], ["simulate", "--out", ""]])
def test_a_path_of_no_letters_is_not_the_folder_one_is_in(tmp_path, monkeypatch, capsys, words):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SystemExit, match="2"):
        main([word.replace("{}", str(tmp_path)) for word in words])
    assert "is a variable of the shell not set?" in capsys.readouterr().err
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_folder_that_is_gone_is_said(tmp_path):
    (tmp_path / "a").mkdir()
    code = "import os; os.rmdir(os.getcwd()); from ipha_toolkit.__main__ import main; raise SystemExit(main(['info']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "a", capture_output=True, text=True)
    assert done.returncode == 2 and "is gone; go to another with cd" in done.stderr


@pytest.mark.parametrize("closed", [(0, 1, 2), (2,), (1,)])
def test_files_do_not_take_the_place_of_streams_that_are_closed(tmp_path, closed):
    code = (
        "import os, sys\nfrom ipha_toolkit.io.terminal import open_streams\nopen_streams()\n"
        f"made = os.open({str(tmp_path / 'a')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "print('x', file=sys.stderr)\nprint('x')\nos._exit(0 if made > 2 else 1)\n"
    )
    shut = "; ".join(f"os.close({number})" for number in closed)
    start = f"import os, sys; {shut}; os.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    assert subprocess.run([sys.executable, "-c", start]).returncode == 0
    assert (tmp_path / "a").read_bytes() == b""


def test_a_bids_app_takes_its_options_as_bids_apps_write_them(monkeypatch):
    asked = []
    monkeypatch.setattr("ipha_toolkit.cli.main", lambda words: asked.append(words) or 0)
    bids_app.main(["in", "out", "participant", "--participant_label", "a_b", "--session_label=01_x"])
    assert asked[0][-3:] == ["--participant-label", "a_b", "--session-label=01_x"]
