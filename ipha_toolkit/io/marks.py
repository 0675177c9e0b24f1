"""What is going on in a results folder: which sessions there are to do, which are being measured now, which failed.

A session that is being measured has a file in ``.running/``, held locked by the process at work. The system lets go of
the lock when that process ends, however it ends, so that a mark left behind is known for one.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, TextIO

FOLDER = ".running"
GROUP = "group"
"""Mark of whoever writes the files of the whole cohort."""


@contextmanager
def held(out: Path, label: str, *, run: str = "") -> Iterator[int]:
    """Mark a session as being measured; waits where another process measures it.

    Parameters
    ----------
    out : Path
        Results folder.
    label : str
        ``sub-001_ses-01``, or :data:`GROUP`.
    run : str
        Name of the run, where its attempts are to be counted.

    Yields
    ------
    int
        Which attempt of the run this is, 1 for the first; more where the process of an earlier one was killed. A
        process that ends in good order takes its mark away.

    Notes
    -----
    A folder that takes no mark, because it is full or knows no locks, is no reason not to measure.
    """
    path = out / FOLDER / f"{label}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _locked(path)
    except OSError:
        yield 1
        return
    gone = partial(path.unlink, missing_ok=True)
    atexit.register(gone)  # a worker may close while its thread is at work
    with stream:
        before = _facts(stream.read())
        attempt = 1 + int(before.get("attempt", 0)) if run and before.get("run") == run else 1
        try:
            _write(stream, {"since": datetime.now(UTC).isoformat(timespec="seconds"), "run": run, "attempt": attempt})
            yield attempt
        finally:
            gone()
            atexit.unregister(gone)


def attempts(out: Path, label: str, run: str) -> int:
    """How often a run has begun a session and been killed, by the mark left behind."""
    try:
        found = _facts((out / FOLDER / f"{label}.json").read_text("utf-8"))
    except OSError:
        return 0
    return int(found.get("attempt", 0)) if found.get("run") == run else 0


@contextmanager
def token(out: Path) -> Iterator[str]:
    """A file by which others tell that they see the same results folder; gone at the end. Yields its name."""
    name = token_hex(8)
    path = out / FOLDER / f"{name}.token"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as stream:
        stream.write(name)
        stream.flush()
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def clear(out: Path) -> None:
    """Take away what processes that died left behind."""
    for path in (out / FOLDER).glob("*"):
        try:
            with path.open(encoding="utf-8") as stream:
                if _is_free(stream):
                    path.unlink(missing_ok=True)
        except OSError:
            continue


def has_token(out: Path, name: str) -> bool:
    """Whether the token of a run is seen here; a network file system may show it a little late."""
    path = out / FOLDER / f"{name}.token"
    for wait_s in (0, 0.5, 2, 5):
        time.sleep(wait_s)
        try:
            list(path.parent.iterdir())  # lets NFS look again
            return path.read_text("utf-8") == name
        except OSError:
            continue
    return False


def running(out: Path) -> dict[str, str]:
    """Sessions being measured now and since when (UTC), by label."""
    found = {}
    for path in sorted((out / FOLDER).glob("*.json")):
        try:
            with path.open(encoding="utf-8") as stream:
                if not _is_free(stream):
                    found[path.stem] = str(_facts(stream.read()).get("since", ""))
        except OSError:
            continue  # gone meanwhile
    return found


def is_held(out: Path, label: str) -> bool:
    """Whether a process is at work on a session."""
    try:
        with (out / FOLDER / f"{label}.json").open(encoding="utf-8") as stream:
            return not _is_free(stream)
    except OSError:
        return False


def _locked(path: Path) -> TextIO:
    """The mark, locked; made anew where its owner took it away while we waited."""
    while True:
        stream = path.open("a+", encoding="utf-8")
        try:
            _lock(stream)
            if _same(stream, path):
                stream.seek(0)
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()


def _same(stream: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(stream: TextIO) -> None:
    try:
        import fcntl
    except ImportError:  # no POSIX system: marks tell the time, and no one waits
        return
    fcntl.flock(stream, fcntl.LOCK_EX)


def _is_free(stream: TextIO) -> bool:
    """Whether no process holds the mark."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(stream: TextIO, facts: dict[str, Any]) -> None:
    try:
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(facts) + "\n")
        stream.flush()
    except OSError:
        return  # a full disk


def _facts(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
