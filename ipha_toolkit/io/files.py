"""Files as they are found: only regular ones of a bounded size are opened, and what cannot be read is said."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ipha_toolkit.errors import ReadError

LARGEST_TEXT = 64_000_000
"""Bytes of a table or JSON file above which it is refused unread; that of ten thousand patients holds a few million."""

_JSON_KINDS = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def why_not_a_file(path: Path) -> str:
    """Why a path cannot be opened as a file, empty where it can: pipes and devices would never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is a link that leads nowhere; copy the file it meant" if path.is_symlink() else "no such file"
    except (OSError, ValueError) as error:
        return f"cannot be reached: {getattr(error, 'strerror', None) or error}"
    if stat.S_ISREG(mode):
        return ""
    what = _KINDS.get(stat.S_IFMT(mode), "no file")
    return f"is {what}; needs a regular file, copy it here"


def require_regular(path: Path, largest: float) -> int:
    """Bytes of a regular file that is neither empty nor larger than ``largest`` bytes.

    Raises
    ------
    ReadError
        Where there is no such file, or it is a folder, pipe, socket, device, empty, or too large.
    """
    reason = why_not_a_file(path)
    if reason:
        raise ReadError(f"{path}: {reason}")
    size = path.stat().st_size
    if size == 0:
        raise ReadError(f"{path}: the file is empty; copy or export it again")
    if size > largest:
        raise ReadError(f"{path}: holds {size / 1e6:.0f} MB, more than the {largest / 1e6:.0f} MB that are read")
    return size


_STAND_INS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it (git lfs pull)"),
    (b"/annex/objects/", "a pointer of git-annex, not the file itself; fetch it (git annex get)"),
    (b"<!doctype html", "a web page, as downloads without a login leave it; download the file again"),
    (b"<html", "a web page, as downloads without a login leave it; download the file again"),
    (b"<?xml", "an XML text, as refused downloads leave it; download the file again"),
    (b"\xfd7zXZ", "a file compressed with xz; unpack it (xz -d), and compress it with gzip"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd; unpack it, and compress it with gzip"),
    (b"BZh", "a file compressed with bzip2; unpack it (bunzip2), and compress it with gzip"),
    (b"PK\x03\x04", "a zip file; unpack it"),
)
"""How files begin that stand where an image should, in small letters where they are text, and what to do about it."""


def require_no_stand_in(path: Path) -> None:
    """Refuse a pointer, web page or archive that bears an image's name.

    Raises
    ------
    ReadError
        That says what it is and how to get the image.
    """
    with path.open("rb") as file:
        head = file.read(32)
    for start, what in _STAND_INS:
        if head.startswith(start) or head.lstrip().lower().startswith(start):
            raise ReadError(f"{path}: is {what}")


def require_data(path: Path, file: Path) -> None:
    """Refuse a header whose voxels are in a file that cannot be opened.

    Raises
    ------
    ReadError
        Naming both.
    """
    try:
        require_regular(file, float("inf"))
    except ReadError as error:
        raise ReadError(f"{path}: its voxels are in {file.name}: {str(error).removeprefix(f'{file}: ')}") from None


def read_text(path: Path) -> str:
    """Text of a table or JSON file, without the byte order mark that spreadsheets put before it.

    Raises
    ------
    ReadError
        Where it is no regular file of bounded size, or not UTF-8.
    """
    require_regular(path, LARGEST_TEXT)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ReadError(f"{path}: line {line} is not UTF-8 text; save the file with the encoding UTF-8") from None
    if "\0" in text:
        raise ReadError(f"{path}: holds zero bytes, so it is not UTF-8 text; save the file with the encoding UTF-8")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    ReadError
        Where the file is not text, not JSON, nested too deep, or no object.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except RecursionError:
        raise ReadError(f"{path}: is nested too deep; needs a flat JSON object of facts") from None
    except ValueError as error:
        reason = str(error).partition(" for integer string")[0]  # of a number of thousands of figures
        raise ReadError(f"{path}: not a JSON file: {reason}; mend it or move it away") from None
    if not isinstance(content, dict):
        got = _JSON_KINDS.get(type(content), "a number")
        raise ReadError(f"{path}: needs a JSON object of acquisition facts, got {got}; mend it or move it away")
    return content


def real(path: str | os.PathLike[str]) -> Path:
    """Where a path leads, links followed; as far as they go where they lead in a circle."""
    return Path(os.path.realpath(path))


def home() -> list[Path]:
    """The user's home folder; none where the system knows none."""
    try:
        return [Path.home()]
    except RuntimeError:
        return []


def printable(path: str | os.PathLike[str]) -> str:
    """A name as it can be written anywhere: bytes that are not UTF-8 and control characters as ``\\x1b``."""
    shown = os.fsencode(os.fspath(path)).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)
