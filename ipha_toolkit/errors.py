"""The errors of the toolkit: each says what was given, what was needed, and how to mend it."""

from __future__ import annotations

import errno
import os
from pathlib import PurePath


class IphaError(Exception):
    """Base of every error the toolkit raises on purpose."""


class ReadError(IphaError):
    """A file cannot be read as what it claims to be; the message starts with the file's name."""


class LayoutError(IphaError):
    """A cohort folder is not laid out as it must be; the message names the file or folder."""


class GridError(IphaError, ValueError):
    """Two images that must share one grid do not."""


class ImageError(IphaError, ValueError):
    """An image's content rules the measurement out (empty, constant, no lung, wrong unit)."""


class DataError(IphaError, ValueError):
    """Tables do not hold what an answer needs; the message says what is missing."""


class ProtocolError(IphaError, ValueError):
    """A protocol file or value is not usable; the message names the key."""


class RoomError(IphaError, OSError):
    """A disk or quota is full; the message names the folder and the room needed."""


class RenderError(IphaError):
    """A notebook cannot be read, executed or written as a page; the message starts with the file's name."""


class PrivacyError(RenderError):
    """A page would publish what looks like a patient's identifier; the message lists what and in which cell."""


class DependencyError(IphaError, ImportError):
    """An optional package is needed; the message gives the command that installs it."""


_SYSTEM = {
    errno.EACCES: "you may not read or write it; change its rights, or give another place",
    errno.EPERM: "you may not change it; change its rights, or give another place",
    errno.EROFS: "lies on a disk that may only be read; give another place",
    errno.ENOENT: "is not there; give one that is",
    errno.ENOTDIR: "lies below something that is no folder; give another place",
    errno.EEXIST: "is there already, and is no folder; move it away, or give another place",
    errno.EISDIR: "is a folder where a file is needed; give another name",
    errno.ENAMETOOLONG: "has a longer name than the file system takes; give a shorter one",
    errno.ELOOP: "is a link that leads in a circle; copy the file it meant",
    errno.EMFILE: "too many files are open at once; raise their number (ulimit -n)",
    errno.ENFILE: "too many files are open at once on this machine; try again later",
    errno.ESTALE: "its network disk was away for a moment; try again",
    errno.EIO: "its disk cannot be read or written; copy what is on it, and have the disk looked at",
}


def in_words(error: BaseException) -> str:
    """What an error says; of the system's own, the file or folder, what is wrong with it, and how to mend it."""
    if isinstance(error, IphaError) or not isinstance(error, OSError) or error.filename is None:
        return str(error)
    path = PurePath(os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename))
    place = path.parent if path.name.endswith(".draft") else path
    return f"{place}: {_SYSTEM.get(error.errno or 0, error.strerror or 'cannot be used')}"
