import errno
import logging
import multiprocessing
import time

import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import locks

SPAWN = multiprocessing.get_context("spawn")
LONG = 600
"""Seconds; no test is to end by it."""


def hold(path, enough, ready):
    with locks.locked(path, "it"):
        ready.set()
        enough.wait(LONG)


def join(path, mark, ready, done):
    with locks.shared(path, mark, "no"):
        ready.set()
        done.wait(LONG)


def started(function, *args):
    ready = SPAWN.Event()
    process = SPAWN.Process(target=function, args=(*args[:2], ready, *args[2:]))
    process.start()
    assert ready.wait(LONG)
    return process


def while_waiting(monkeypatch, act):
    """Do something whenever this process has found a lock taken and pauses."""
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (act(), pause(seconds)))


def test_a_lock_is_waited_for_and_its_file_goes_with_it(tmp_path, monkeypatch):
    path, enough = tmp_path / ".a.lock", SPAWN.Event()
    with locks.locked(path, "a") as waited:
        assert not waited and path.exists()
    assert not path.exists()
    process = started(hold, path, enough)
    while_waiting(monkeypatch, enough.set)
    with locks.locked(path, "a") as waited:
        assert waited
    process.join()
    assert not path.exists()


def test_a_killed_process_lets_its_lock_go(tmp_path, monkeypatch):
    path = tmp_path / ".a.lock"
    process = started(hold, path, SPAWN.Event())
    while_waiting(monkeypatch, process.kill)
    with locks.locked(path, "a") as waited:
        assert waited
    process.join()
    assert process.exitcode < 0


def test_whoever_waits_long_says_so(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(locks, "_FIRST_WORD_S", 0.05)
    enough = SPAWN.Event()
    process = started(hold, tmp_path / "lock", enough)
    while_waiting(monkeypatch, lambda: enough.set() if caplog.text else None)
    with caplog.at_level(logging.WARNING), locks.locked(tmp_path / "lock", "sub-1"):
        assert "sub-1: another run is at work on it" in caplog.text
    process.join()


def test_a_lock_is_shared_with_the_same_mark_and_with_no_other(tmp_path):
    path, done = tmp_path / ".run.lock", SPAWN.Event()
    process = started(join, path, "settings", done)
    with locks.shared(path, "settings", "refused"):
        pass
    assert path.exists()
    with pytest.raises(LayoutError, match="refused"), locks.shared(path, "others", "refused"):
        pass
    done.set()
    process.join()
    with locks.shared(path, "others", "refused"):
        assert path.read_text() == "others"
    assert not path.exists()


def test_a_mark_that_a_dead_run_left_refuses_nobody(tmp_path):
    (tmp_path / "lock").write_text("a much longer mark of a run that was killed")
    with locks.shared(tmp_path / "lock", "mine", "refused"):
        assert (tmp_path / "lock").read_text() == "mine"


def test_without_locks_it_is_said_once_and_goes_on(tmp_path, monkeypatch, caplog):
    class Missing:
        LOCK_EX = LOCK_SH = LOCK_NB = 1

        @staticmethod
        def flock(*_):
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "fcntl", Missing)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with locks.locked(tmp_path / "a", "a") as waited:
                assert not waited
    assert caplog.text.count("knows no locks; start one run at a time") == 1
