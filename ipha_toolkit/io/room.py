"""A full disk, said with the folder and the room needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from ipha_toolkit.errors import RoomError

_FULL = (ENOSPC, EDQUOT, EFBIG)
_LEAST_BYTES = 1_000_000
"""Where it is not known what was to come: a table or the marks of a run."""


@contextmanager
def room(folder: Path, needed: int) -> Iterator[None]:
    """What the system says of a full disk, as words that name the folder and the bytes needed.

    Parameters
    ----------
    folder : Path
        Where is written.
    needed : int
        Bytes that what is written takes at most.

    Raises
    ------
    RoomError
        Where the disk, a quota or the largest size of a file leaves no room.
    """
    try:
        yield
    except RoomError:
        raise
    except OSError as error:
        if not is_full(error):
            raise
        raise no_room(folder, needed, error) from error


def is_full(error: OSError) -> bool:
    """Whether an error of the system says that there is no room: the disk, a quota, the largest size of a file."""
    return error.errno in _FULL


def no_room(folder: Path, needed: int = 0, error: OSError | None = None) -> RoomError:
    """The words for a folder without room; ``needed`` in bytes, 0 where it is not known."""
    free = f"{_in_words(free_bytes(folder))} are free there"
    wanted = f"up to {_in_words(needed)}" if needed else f"{_in_words(_LEAST_BYTES)} and more"
    more = f"{wanted} are needed, {free}"
    what = "files may not grow any larger here" if error and error.errno == EFBIG else "the disk or the quota is full"
    return RoomError(f"{folder}: {what}: {more}; make room and run it again, what is done stays")


def free_bytes(folder: Path) -> int:
    """Bytes free for the folder, or for the first above it that exists."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.is_dir()), Path())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return 0


def _in_words(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"
