"""What is going on in a results folder: which sessions there are to do, which are being measured now, which failed.

A session that is being measured has a file in ``.running/``, held locked by the process at work. The system lets go of
the lock when that process ends, however it ends, so that a mark left behind is known for one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

FOLDER = ".running"
GROUP = "group"
"""Mark of whoever writes the files of the whole cohort."""


@contextmanager
def held(out: Path, label: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Mark a session as being measured; waits where another process measures it.

    Parameters
    ----------
    out : Path
        Results folder.
    label : str
        ``sub-001_ses-01``, or :data:`GROUP`.
    **facts
        Kept in the mark beside the time.

    Yields
    ------
    dict
        What a mark left behind by a process that died said; empty where there was none.

    Notes
    -----
    A folder that takes no mark, because it is full or knows no locks, is no reason not to measure.
    """
    path = out / FOLDER / f"{label}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = _locked(path)
    except OSError:
        yield {}
        return
    with stream:
        before = _facts(stream.read())
        try:
            _write(stream, {"since": datetime.now(UTC).isoformat(timespec="seconds")} | facts)
            yield before
        finally:
            path.unlink(missing_ok=True)


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
