"""Voxels out of files: as many bytes as the header promises, to the end of the stream, its checksum asked.

Decompressors hand out bytes before they know whether they are right: gzip, zlib and bzip2 keep a checksum at the
stream's end. Whoever stops at the last voxel never reads it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.files import real

_CHUNK = 1 << 20
_LONGEST_NAME = 1000
_DAMAGED = (EOFError, zlib.error, OSError, ValueError)


@contextmanager
def opened(path: Path, kind: str = "raw", *, offset: int = 0) -> Iterator[IO[bytes]]:
    """The file's bytes from ``offset``, decompressed where ``kind`` is ``gzip``, ``bzip2`` or ``zlib``."""
    with path.open("rb") as stream:
        stream.seek(offset)
        if kind == "zlib":  # MetaImage: either header, and the sum at the end with both
            kind = "gzip" if stream.read(2) == b"\x1f\x8b" else "zlib"
            stream.seek(offset)
        if kind == "gzip":
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield cast(IO[bytes], unpacked)
        elif kind == "bzip2":
            with bz2.BZ2File(stream) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield io.BufferedReader(_Inflated(stream)) if kind == "zlib" else stream


def read_exactly(path: Path, stream: IO[bytes], size: int, promised: str) -> bytes:
    """The next ``size`` bytes, after the stream was followed to its end and its checksum asked.

    Raises
    ------
    ReadError
        Where there are fewer or more bytes, or the checksum says that they are not what was written.
    """
    try:
        content = stream.read(size)
        missing = size - len(content)
        surplus = _left(stream, max(size, _CHUNK))
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ReadError(
            f"{path}: truncated or damaged, the header promises {promised}: {reason}; copy or export the file again"
        ) from None
    if missing:
        raise ReadError(
            f"{path}: truncated or damaged, the header promises {promised} and {missing} of "
            f"{size} bytes are missing; copy or export the file again"
        )
    if surplus > max(size, _CHUNK):
        raise ReadError(f"{path}: goes on far behind the {promised} the header promises; export the file again")
    return content


def data_files(path: Path, named: Sequence[str], *, elsewhere: bool) -> list[Path]:
    """Files beside a header that hold its voxels.

    Raises
    ------
    ReadError
        Where a name leads out of the header's folder and ``elsewhere`` does not allow it.
    """
    found = []
    for name in named:
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ReadError(f"{path}: names {name[:80]!r} as the file of its voxels; mend the header")
        place = Path(name)
        inside = not place.is_absolute() and ".." not in place.parts
        if not elsewhere and not (inside and real(path.parent / place).is_relative_to(real(path.parent))):
            raise ReadError(
                f"{path}: its voxels are in {name!r}, outside its folder; move that file beside the header and name "
                "it there, or set reading.data_elsewhere = true"
            )
        found.append(path.parent / place)
    return found


def require_png_sums(path: Path) -> None:
    """Refuse a PNG file of which a part does not have the checksum behind it; decoders pass over some.

    Raises
    ------
    ReadError
        Where a checksum differs or the file ends before its last part.
    """
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4], "big"), head[4:]
            content, summed = file.read(length), file.read(4)
            if len(content) < length or zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big") != summed:
                break
            if kind == b"IEND":
                return
    raise ReadError(f"{path}: is damaged, a checksum inside differs or its end is missing; copy or export it again")


def numbered(path: Path, pattern: str, first: int, last: int, step: int = 1) -> list[str]:
    """Names of a file pattern such as ``slice%03d.raw 1 40 1``; anything but one whole number in it is refused."""
    plain = re.fullmatch(r"[^%]*%0?\d?d[^%]*", pattern)
    if plain is None or step < 1 or not 0 <= last - first < 10_000:
        raise ReadError(
            f"{path}: the pattern of its data files is {pattern[:80]!r}; needs one %d and an ascending range"
        )
    return [pattern % number for number in range(first, last + 1, step)]


def _left(stream: IO[bytes], most: int) -> int:
    """Bytes that are left, counted no further than ``most``; reading them has the checksum asked."""
    count = 0
    while count <= most and (chunk := stream.read(_CHUNK)):
        count += len(chunk)
    return count


class _Inflated(io.RawIOBase):
    """A zlib stream, which has to end in its checksum."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._inflater, self._waiting = stream, zlib.decompressobj(), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._inflater.eof:
            given = self._waiting or self._stream.read(_CHUNK)
            if not given:
                raise EOFError("the compressed stream has no end")
            piece = self._inflater.decompress(given, len(buffer))
            self._waiting = self._inflater.unconsumed_tail
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
        return 0
