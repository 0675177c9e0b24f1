"""Folders that appear whole: written beside their place, moved into it, and what dead runs left of them."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any

from ipha_toolkit.errors import LayoutError, ReadError
from ipha_toolkit.io import proof
from ipha_toolkit.io.files import read_json, why_not_a_file
from ipha_toolkit.io.locks import if_free, is_free, locked
from ipha_toolkit.io.names import RESULTS_TOOL

PREFIX = ".draft-"
_OWNER = ".owner.json"
_OLD = re.compile(r"\.draft-(s(?:ub|es)-[A-Za-z0-9]+)-[a-z0-9_]{8}-old")
_NEW = re.compile(_OLD.pattern.removesuffix("-old"))
_TEXT = re.compile(r"\.[\w.+-]+\.ipha-([0-9a-f]{12})-(\d+)(?:\.(\d*))?-[a-z0-9_]{8}\.draft")
_FORGOTTEN_S = 86400.0
"""A draft of another machine is taken for a dead run's after this time: no session takes a day."""
_MOMENT_S = 600.0
"""Longer than a run takes from making a draft to saying whose it is, on a machine that stands still meanwhile; drafts
of sessions are made under a lock and need not wait for it."""
_LOG = logging.getLogger(__name__)


def lock_of(target: Path) -> Path:
    """The lock of a session's folder; its parent folder is made."""
    make_alike(target.parent)
    return target.with_name(f".{target.name}.lock")


def make_alike(folder: Path) -> None:
    """Make a folder with the rights of the one it is made in, where there is none; a file in its place is kept."""
    if folder.is_dir():
        return
    with suppress(FileNotFoundError):  # another run may have moved it meanwhile
        if os.path.lexists(folder):
            folder.rename(proof.free_name(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)  # another run may have made it meanwhile
    folder.chmod(rights_of(folder.parent))


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target`` that says whose it is; taken away again unless :func:`put` has moved it."""
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{PREFIX}{target.name}-"))
    try:
        with (draft / _OWNER).open("w+b") as owner:
            is_free(owner, draft / _OWNER)  # takes the lock, and lets it go with the file
            owner.write(json.dumps(_owner()).encode())
            owner.flush()
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def put(draft: Path, target: Path) -> list[str]:
    """Move a draft into its place; what others put into the old folder moves over. Names of what did."""
    rights = rights_of(target.parent)
    draft.chmod(rights)
    for path in draft.iterdir():
        path.chmod(rights & 0o666)
    old = draft.with_name(f"{draft.name}-old")
    if target.is_dir():
        target.replace(old)
    elif os.path.lexists(target):
        target.rename(proof.free_name(target))
    draft.replace(target)
    (target / _OWNER).unlink(missing_ok=True)
    return proof.move_rest(old, target)


def swap(draft: Path, target: Path) -> None:
    """Move a draft into its place whole; the old folder, all of it ours, stays until then and goes after."""
    old = draft.with_name(f"{draft.name}-old")
    draft.chmod(rights_of(target.parent) & 0o755)
    if target.exists():
        target.replace(old)
    draft.replace(target)
    (target / _OWNER).unlink(missing_ok=True)
    shutil.rmtree(old, ignore_errors=True)


def clear_leftovers(out: Path) -> None:
    """Take away what dead runs left in a results folder; never what another run is writing, nor what is not ours."""
    subjects = [path for path in _listed(out) if path.name.startswith("sub-") and path.is_dir()]
    for place in [out, *(path for path in subjects if not path.is_symlink())]:
        for path in _listed(place):
            if path.name.startswith("ses-"):
                forget_owner(path)
            elif path.name.startswith("."):
                with suppress(OSError):  # no folder without rights ends a run
                    _clear(path, place)
        forget_owner(place)


def forget_owner(folder: Path) -> None:
    """Take away what says whose draft a folder was, where a run was killed right after moving it into its place."""
    with suppress(OSError):  # a folder that may not be read
        if (marker := folder / _OWNER).is_file() and _is_dead(marker):
            marker.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _clear(path: Path, place: Path) -> None:
    """Take away one of the files and folders that a dead run left, as its name and owner tell."""
    if (found := _OLD.fullmatch(path.name)) and path.is_dir():
        _take_back(path, place / found[1])
    elif path.name.startswith(PREFIX) and path.is_dir() and not path.is_symlink():
        _clear_draft(path, place)
    else:
        clear_text(path)


def clear_text(path: Path) -> None:
    """Take away a half-written file (:func:`text_draft`) of a run that has ended."""
    if (found := _TEXT.fullmatch(path.name)) and _is_gone(path, found[1] == _here(), int(found[2]), found[3]):
        path.unlink(missing_ok=True)


def _clear_draft(draft: Path, place: Path) -> None:
    """Take away a draft of a dead run; one in which nothing lies yet where nobody holds the lock it is made under."""
    if _is_dead(draft / _OWNER):
        shutil.rmtree(draft, ignore_errors=True)
    elif (found := _NEW.fullmatch(draft.name)) and _is_bare(draft):
        with suppress(OSError), if_free(lock_of(place / found[1])) as free:
            if free and _is_bare(draft):
                shutil.rmtree(draft, ignore_errors=True)


def _is_bare(draft: Path) -> bool:
    """Whether nothing lies in a draft, or only the file that is to say whose it is, and does not yet."""
    with suppress(OSError):
        return all(path.name == _OWNER and path.is_file() and not path.stat().st_size for path in draft.iterdir())
    return False


def text_draft(path: Path) -> Path:
    """An empty file beside ``path`` that no other process writes to, its owner in its name."""
    prefix = f".{path.name[:150]}.ipha-{_here()}-{os.getpid()}.{_started(os.getpid())}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".draft")
    os.close(handle)
    draft = Path(name)
    draft.chmod(rights_of(path.parent) & 0o666)
    return draft


@contextmanager
def in_place_of(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which then takes its place whole, or is taken away again.

    Nobody can know its name, so that a link laid there beforehand is never followed. What is no file, as a device or
    a pipe, is not replaced by one.

    Raises
    ------
    LayoutError
        Where a folder, device, pipe or socket lies at ``path``.
    """
    if path.exists() and not path.is_file():
        raise LayoutError(f"{path}: {why_not_a_file(path).partition(';')[0]}; give the name of a file to be written")
    draft = path.with_name(f".{path.name[:200]}.{token_hex(6)}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def rights_of(folder: Path) -> int:
    """Who may do what in a folder; what is made in it is given the same."""
    return stat.S_IMODE(folder.stat().st_mode)


def _take_back(old: Path, target: Path) -> None:
    """A folder that a dead run had moved aside: back where its place is empty, else what is not ours into the new."""
    with locked(lock_of(target), target.name):
        if old.is_dir() and not target.exists():
            old.rename(target)
        elif old.is_dir():
            proof.move_rest(old, target)


def _is_dead(marker: Path) -> bool:
    """Whether a draft is one of ours whose run has ended."""
    try:
        if _was_just_begun(marker):
            return True
        owner = read_json(marker)
        if owner.get("tool") != RESULTS_TOOL or not isinstance(owner.get("pid"), int):
            return False
        with marker.open("r+b") as file:
            if not is_free(file, marker):
                return False
        return _is_gone(marker, owner.get("host") == _here(), owner["pid"], owner.get("started", ""))
    except (ReadError, OSError):
        return False


def _was_just_begun(marker: Path) -> bool:
    """Whether a run was killed between making a draft and saying whose it is: nothing else lies in it."""
    if not marker.is_file() or time.time() - marker.stat().st_mtime < _MOMENT_S or not _is_bare(marker.parent):
        return False
    with marker.open("r+b") as file:
        return is_free(file, marker)


def _is_gone(path: Path, here: bool, pid: int, started: str | None) -> bool:
    """Whether the process that wrote a file has ended: on this machine by its number, on another by the file's age.

    ``started`` tells it from a later process of its number; None where that was not kept.
    """
    if not here:
        return time.time() - path.stat().st_mtime > _FORGOTTEN_S
    return pid <= 0 or started not in (None, _started(pid)) or not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    """Whether a process is there and has not ended: it keeps its number until its parent has heard of its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return _stat(pid)[:1] not in (["Z"], ["X"])


def _owner() -> dict[str, Any]:
    return {"tool": RESULTS_TOOL, "host": _here(), "pid": os.getpid(), "started": _started(os.getpid())}


def _here() -> str:
    """This machine, without its name."""
    return sha256(socket.gethostname().encode()).hexdigest()[:12]


def _started(pid: int) -> str:
    """When a process began, so that a number given anew is not taken for it; empty where the system does not say."""
    return "".join(_stat(pid)[19:20])


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state on; empty where it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
