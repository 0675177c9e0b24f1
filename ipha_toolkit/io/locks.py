"""Locks between runs: held by a file, let go by the system when the process ends, however it ends."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EAGAIN, EINVAL, ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path
from typing import IO

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.proof import free_name

try:
    import fcntl
except ImportError:  # a system without file locks
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger(__name__)
_NO_LOCKS = {ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP, EINVAL}
_FIRST_WORD_S, _PAUSE_S = 2.0, 0.1
_warned: set[Path] = set()


@contextmanager
def locked(path: Path, what: str) -> Iterator[bool]:
    """Hold a lock alone, waiting until another process lets it go; the file goes with it.

    Parameters
    ----------
    path : Path
        The lock's file. Its folder has to be there.
    what : str
        What is locked, for the words said while it has to be waited for.

    Yields
    ------
    bool
        Whether another process had it first, and may have done the work.
    """
    started, waited, said = time.monotonic(), False, False
    while (file := _taken(path)) is None:
        waited = True
        if not said and time.monotonic() - started > _FIRST_WORD_S:
            _LOG.warning("%s: another run is at work on it; this one waits until it ends", what)
            said = True
        time.sleep(_PAUSE_S)
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waits sees that its file is gone and makes a new one
        file.close()


@contextmanager
def if_free(path: Path) -> Iterator[bool]:
    """Hold a lock if nobody else does; yields whether it is held. Its folder has to be there; the file goes with it."""
    file = _taken(path)
    try:
        yield file is not None
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


@contextmanager
def shared(path: Path, mark: str, refusal: str) -> Iterator[None]:
    """Hold a lock together with all who come with the same mark.

    Raises
    ------
    LayoutError
        With ``refusal``, where others hold it with another mark.
    """
    file = _joined(path, mark)
    try:
        if _mark_of(file) not in (mark, ""):
            raise LayoutError(refusal)
        yield
    finally:
        if _lock(path, file, alone=True, wait=False):
            path.unlink(missing_ok=True)
        file.close()


def is_free(file: IO[bytes], path: Path) -> bool:
    """Whether nobody holds a lock on an open file; True as well where the file system knows no locks."""
    return _lock(path, file, alone=True, wait=False)


def _taken(path: Path) -> IO[bytes] | None:
    """The lock's file, held alone and still in its place; None where another process holds it."""
    while True:
        file = _open(path)
        if not _lock(path, file, alone=True, wait=False):
            file.close()
            return None
        if _is_in_place(path, file):
            return file
        file.close()


def _joined(path: Path, mark: str) -> IO[bytes]:
    """The lock's file, held together with others; whoever is the first writes the mark."""
    while True:
        file = _taken(path)
        if file is not None:
            file.truncate(0)
            file.write(mark.encode())
            file.flush()
        else:
            file = _open(path)
        _lock(path, file, alone=False, wait=True)
        if _is_in_place(path, file):
            return file
        file.close()


def _is_in_place(path: Path, file: IO[bytes]) -> bool:
    """Whether an open file is still the one of its name: whoever lets a lock go takes the file away."""
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _open(path: Path) -> IO[bytes]:
    """The lock's file, open; a pipe, link or folder that somebody put in its place is moved aside."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            path.rename(free_name(path))
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+b")


def _mark_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(200).decode("utf-8", "replace")


def _lock(path: Path, file: IO[bytes], *, alone: bool, wait: bool) -> bool:
    """Lock an open file; whether it is held. Without locks on this file system, True and a word in the log, once."""
    if fcntl is None:
        return _without_locks(path)
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (EAGAIN, EACCES):
            return False
        if error.errno in _NO_LOCKS:
            return _without_locks(path)
        raise
    return True


def _without_locks(path: Path) -> bool:
    if path.parent not in _warned:
        _warned.add(path.parent)
        _LOG.warning("%s: its file system knows no locks; start one run at a time into this folder", path.parent)
    return True
