"""Names of files and texts of others give the terminal no orders, whichever command says them."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ipha_toolkit.cli import main
from ipha_toolkit.io.terminal import PlainFormatter, plain, say

ANSI = "a\x1b[31mred\x1b]0;owned\x07\x9b1m\u202e\u2028\udcff"


def test_lines_and_tabs_stay_and_other_signs_are_written_out():
    assert plain("one\ttwo\nµ é") == "one\ttwo\nµ é"
    assert plain("\x1b[31m\x07\r\u202e\x9b\udcff") == r"\x1b[31m\x07\r\u202e\x9b\xff"


def test_a_log_is_plain_its_tracebacks_too():
    try:
        raise ValueError(ANSI)
    except ValueError as error:
        record = logging.LogRecord("a", 40, "", 1, "of %s", (ANSI,), (type(error), error, error.__traceback__))
    text = PlainFormatter("%(message)s").format(record)
    assert "\x1b" not in text and "\n" in text and "Traceback" in text


@pytest.mark.parametrize(
    "words",
    [
        ["check", ANSI], ["analyze", ANSI, "--out", "x"], ["status", ANSI], ["report", ANSI, "--out", "x"],
        ["share", ANSI, "--out", "x"], ["redcap", ANSI, "--out", "x"], ["checklist", ANSI, "--out", "x"],
        ["pool", ANSI, "--out", "x"], ["ratings", "merge", ANSI, "--out", "x"], ["render", ANSI],
        ["import", ANSI, "--out", "x"],
        ["import-masks", ANSI, "--cohort", ANSI], ["check", ".", "--protocol", ANSI],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_refusal_is_one_plain_line(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = "".join(capsys.readouterr())
    assert said.count("\n") == 1 and said.rstrip("\n").isprintable()
    assert r"\x1b[31mred" in said


@pytest.mark.skipif(os.name != "posix", reason="names of bytes")
def test_names_that_are_no_text_can_be_said(capsys):
    say(os.fsdecode(b"caf\xe9.nii"))
    assert capsys.readouterr().out == "caf\\xe9.nii\n"


def test_letters_that_a_terminal_cannot_show_end_nothing(monkeypatch):
    import io
    import sys

    from ipha_toolkit.io.terminal import say

    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, "ascii", write_through=True))
    say("Gr\u00f6\u00dfe \u65e5.nii.gz")
    assert shown.getvalue() == b"Gr\\xf6\\xdfe \\u65e5.nii.gz\n"


COMMANDS = [["protocol"], ["--help"], ["analyze", "--help"], ["--version"], ["completion", "bash"]]
MAINS = {"ipha": "ipha_toolkit.__main__", "ipha-bids": "ipha_toolkit.bids_app"}


def _output_to(stream, words, command="ipha", **others):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    code = f"import sys; from {MAINS[command]} import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=stream,
        env=environment,
        text=True,
        **{"stderr": subprocess.PIPE} | others,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize("command, words", [*(("ipha", words) for words in COMMANDS), ("ipha-bids", ["--help"])])
def test_output_that_finds_no_room_is_told_in_one_line(command, words):
    with Path("/dev/full").open("w") as full:
        done = _output_to(full, words, command)
        assert (done.returncode, done.stderr) == (
            2,
            "ipha: where its output is sent to there is no room; send it elsewhere\n",
        )
        assert _output_to(full, words, command, stderr=full).returncode == 2


@pytest.mark.parametrize("words", COMMANDS)
def test_a_closed_pipe_as_of_head_ends_nothing_and_says_nothing(words):
    read, write = os.pipe()
    os.close(read)
    done = _output_to(write, words)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
