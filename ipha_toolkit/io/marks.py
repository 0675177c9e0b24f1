"""What is going on in a results folder: which sessions are being measured now, and which gave nothing, and why.

A session being measured has a mark in ``.state/`` beside its lock (:mod:`ipha_toolkit.io.locks`). The system lets go
of the lock when the process at work ends, however it ends, so that a mark left behind is known for one.
"""

from __future__ import annotations

import atexit
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.drafts import clear_text, lock_of, make_alike, text_draft
from ipha_toolkit.io.files import read_json
from ipha_toolkit.io.locks import if_free, is_free, locked
from ipha_toolkit.io.proof import digest_of, free_name, read_sealed, sealed

FOLDER = ".state"
_RUNNING, _FAILED, _TOKEN = ".running.json", ".failed.json", ".token"
_AS_WRITTEN = "sha256"


@contextmanager
def begun(out: Path, label: str, *, run: str = "") -> Iterator[int]:
    """Mark a session as being measured; its lock has to be held.

    Parameters
    ----------
    out : Path
        Results folder.
    label : str
        ``sub-001_ses-01``.
    run : str
        Name of the run, where its attempts are to be counted.

    Yields
    ------
    int
        Which attempt of the run this is, 1 for the first; more where the process of an earlier one was killed. A
        process that ends in good order takes its mark away.

    Notes
    -----
    A folder that takes no mark, because it is full, is no reason not to measure.
    """
    path = out / FOLDER / f"{label}{_RUNNING}"
    attempt = 1 + attempts(out, label, run)
    gone = partial(path.unlink, missing_ok=True)
    atexit.register(gone)  # a Dask worker may close while its thread is at work
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        _write(path, {"since": since, "run": run, "attempt": attempt})
        yield attempt
    finally:
        with suppress(OSError):
            gone()
        atexit.unregister(gone)


def attempts(out: Path, label: str, run: str) -> int:
    """How often a run has begun a session and been killed, by the mark left behind."""
    found = _read(out / FOLDER / f"{label}{_RUNNING}")
    return int(found.get("attempt", 0)) if run and found.get("run") == run else 0


def since(out: Path, label: str, folder: Path) -> str:
    """Since when (UTC) a process has been measuring a session, whose results come into ``folder``; empty if none is."""
    lock = folder.with_name(lock_of(folder).name) if folder.parent.is_dir() else None
    try:
        if lock is None:
            return ""
        with lock.open("r+b") as file:
            if is_free(file, lock):
                return ""
    except OSError:
        return ""
    return str(_read(out / FOLDER / f"{label}{_RUNNING}").get("since", "")) or "this moment"


def clear_dead(out: Path, sessions: Iterable[tuple[str, Path]]) -> None:
    """Take away marks and locks of sessions whose process was killed: they are marked under their lock; and marks and
    digests that a killed process had half written.

    Parameters
    ----------
    out : Path
    sessions : iterable of (str, Path)
        Label of each, and the folder that its results come into.
    """
    drafts = list((out / FOLDER).glob(".*.draft"))
    for path in drafts:
        with suppress(OSError):
            clear_text(path)
    for label, folder in sessions:
        mark = out / FOLDER / f"{label}{_RUNNING}"
        with suppress(OSError):
            _clear_dead(folder, [mark, *(path for path in drafts if path.name.startswith(f".{mark.name}."))])


def _clear_dead(folder: Path, stale: Sequence[Path]) -> None:
    lock = folder.with_name(f".{folder.name}.lock")
    if not folder.parent.is_dir():
        for path in stale:
            path.unlink(missing_ok=True)
    elif lock.exists() or any(path.exists() for path in stale):
        with if_free(lock) as dead:
            for path in stale if dead else ():
                path.unlink(missing_ok=True)


def write_failed(out: Path, label: str, failures: Sequence[Mapping[str, str]]) -> None:
    """Keep why a session gave nothing; a disk that is full keeps nothing."""
    _write(out / FOLDER / f"{label}{_FAILED}", sealed({"failures": [dict(each) for each in failures]}))


def read_failed(out: Path, label: str) -> list[dict[str, str]] | None:
    """Why a session gave nothing, None where that is not known, or what was kept of it is not as it was written."""
    found = read_sealed(out / FOLDER / f"{label}{_FAILED}", "failures")
    return list(found["failures"]) if found else None


def forget_failed(out: Path, label: str) -> None:
    """A session is no longer known to have failed; its results stand even where the mark cannot be taken away."""
    with suppress(OSError):
        (out / FOLDER / f"{label}{_FAILED}").unlink(missing_ok=True)


def remember(out: Path, name: str) -> None:
    """Keep the digest of a file of the results that is written before there is a provenance."""
    path, digest = out / FOLDER / f"{name}.json", digest_of(out / name)
    if _read(path).get(_AS_WRITTEN) != digest:
        _write(path, {_AS_WRITTEN: digest})


def is_as_written(out: Path, name: str) -> bool:
    """Whether a file is as it was when it was :func:`remember`-ed."""
    return bool(digest := digest_of(out / name)) and _read(out / FOLDER / f"{name}.json").get(_AS_WRITTEN) == digest


@contextmanager
def token(out: Path) -> Iterator[str]:
    """A file by which others tell that they see the same results folder; gone at the end. Yields its name."""
    name = token_hex(8)
    path = out / FOLDER / f"{name}{_TOKEN}"
    path.parent.mkdir(exist_ok=True)
    with locked(path, "the run"):
        yield name


def has_token(out: Path, name: str) -> bool:
    """Whether the token of a run is seen here; a network file system may show it a little late."""
    path = out / FOLDER / f"{name}{_TOKEN}"
    for wait_s in (0, 0.5, 2, 5):
        time.sleep(wait_s)
        with suppress(OSError):
            if path in list(path.parent.iterdir()):
                return True
    return False


def clear_tokens(out: Path) -> None:
    """Take away tokens of runs that were killed; what lies in place of the folder of marks is moved aside."""
    place = out / FOLDER
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        place.rename(free_name(place))
    for path in (out / FOLDER).glob(f"*{_TOKEN}"):
        with suppress(OSError), path.open("r+b") as file:
            if is_free(file, path):
                path.unlink(missing_ok=True)


def _write(path: Path, facts: Mapping[str, Any]) -> None:
    with suppress(OSError):
        make_alike(path.parent)
        draft = text_draft(path)
        try:
            draft.write_text(json.dumps(facts) + "\n", "utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (ReadError, OSError):
        return {}
