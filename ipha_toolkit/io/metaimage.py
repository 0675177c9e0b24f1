"""MetaImage files, ``.mha`` and ``.mhd``, read here: MetaIO ends the process on some headers and skips checksums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.checks import unit_in_mm
from ipha_toolkit.io.streams import numbered

_LARGEST_HEADER = 1_000_000

_KINDS = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a header says, in NRRD's and MetaImage's common terms.

    ``affine`` maps indices to mm towards left, posterior, superior (None where the header places nothing);
    ``spacing`` in mm; ``encoding`` one of ``raw``, ``gzip``, ``bzip2``, ``zlib``, ``ascii``; ``files`` the names of
    detached data files, none where the voxels follow the header at byte ``offset``; ``skip`` bytes before the voxels
    in each file, -1 where the voxels are its last bytes.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    encoding: str
    affine: np.ndarray | None
    spacing: tuple[float, ...]
    files: tuple[str, ...] = ()
    offset: int = 0
    skip: int = 0


def read_header(path: Path) -> Header:
    """The header of a MetaImage file.

    Raises
    ------
    ReadError
        Where it is none, names several values per voxel, or a field cannot be read.
    """
    fields, named, offset = _fields(path)
    rank = _whole(path, fields, "NDims")
    if not 2 <= rank <= 7:
        raise ReadError(f"{path}: NDims is {rank}; needs 2 to 7 dimensions, export the image again")
    channels = _whole(path, fields, "ElementNumberOfChannels", 1)
    if channels != 1:
        raise ReadError(
            f"{path}: holds {channels} values per voxel (colour or vectors); needs one real number per voxel, "
            "export it as grayscale"
        )
    kind = fields.get("ElementType", "")
    if kind not in _KINDS:
        raise ReadError(f"{path}: ElementType is {kind[:80]!r}; needs one of {', '.join(_KINDS)}")
    big = _is_true(fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")))
    spacing = _numbers(path, fields, "ElementSpacing", rank) or _numbers(path, fields, "ElementSize", rank)
    if spacing and min(spacing) <= 0:
        raise ReadError(
            f"{path}: ElementSpacing is {spacing}; needs lengths above 0, directions stand in TransformMatrix"
        )
    if not spacing:
        raise ReadError(f"{path}: gives no ElementSpacing, so lengths are not known; add it in mm")
    unit = unit_in_mm(path, fields.get("DistanceUnits", ""))
    packed = "zlib" if _is_true(fields.get("CompressedData", "False")) else "raw"
    return Header(
        shape=tuple(int(length) for length in _numbers(path, fields, "DimSize", rank)) or (0,) * rank,
        kind=np.dtype((">" if big else "<") + _KINDS[kind]),
        encoding=packed if _is_true(fields.get("BinaryData", "True")) else "ascii",
        affine=_affine(path, fields, rank, spacing, unit),
        spacing=tuple(abs(step) * unit for step in spacing),
        files=named,
        offset=offset,
        skip=_whole(path, fields, "HeaderSize", 0),
    )


def _fields(path: Path) -> tuple[dict[str, str], tuple[str, ...], int]:
    """Fields of the header, names of its data files, and the byte where its own data begin."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for line in iter(lambda: file.readline(_LARGEST_HEADER), b""):
            name, equals, value = line.decode("utf-8", "replace").partition("=")
            name, value = name.strip(), value.strip()
            if not equals or file.tell() > _LARGEST_HEADER:
                break
            if name == "ElementDataFile":
                listed = file.read(_LARGEST_HEADER) if value.upper().startswith("LIST") else b""
                return fields, _data_names(path, value, listed), file.tell()
            fields[name] = value
    raise ReadError(f"{path}: not a MetaImage file, or a damaged one: no ElementDataFile in its header")


def _data_names(path: Path, value: str, listed: bytes) -> tuple[str, ...]:
    if value.upper() == "LOCAL":
        return ()
    if listed:
        names = [line.strip() for line in listed.decode("utf-8", "replace").splitlines()]
        return tuple(name for name in names if name)
    words = value.split()
    if "%" in value and len(words) >= 3:
        try:
            return tuple(numbered(path, words[0], *(int(word) for word in words[1:4])))
        except ValueError:
            raise ReadError(f"{path}: ElementDataFile is {value[:80]!r}; needs a pattern and whole numbers") from None
    return (value,)


def _affine(
    path: Path, fields: dict[str, str], rank: int, spacing: tuple[float, ...], unit: float
) -> np.ndarray | None:
    directions = next((found for name in ("TransformMatrix", "Rotation", "Orientation")
                       if (found := _numbers(path, fields, name, rank * rank))), ())  # fmt: skip
    if rank < 3 or not directions:
        return None
    origin = next((found for name in ("Offset", "Position", "Origin")
                   if (found := _numbers(path, fields, name, rank))), (0.0,) * rank)  # fmt: skip
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(directions, (rank, rank)).T[:3, :3] * np.array(spacing[:3]) * unit
    affine[:3, 3] = np.array(origin[:3]) * unit
    return affine


def _numbers(path: Path, fields: dict[str, str], name: str, count: int) -> tuple[float, ...]:
    """Numbers of a field, none where it is absent."""
    if name not in fields:
        return ()
    try:
        values = tuple(float(word) for word in fields[name].split())
    except ValueError:
        values = ()
    if len(values) != count or not np.isfinite(values).all() or max(map(abs, values)) > 1e15:
        raise ReadError(f"{path}: {name} is {fields[name][:80]!r}; needs {count} numbers, export the image again")
    return values


def _whole(path: Path, fields: dict[str, str], name: str, default: int | None = None) -> int:
    given = fields.get(name, str(default))
    try:
        return int(given)
    except ValueError:
        raise ReadError(f"{path}: {name} is {given[:80]!r}; needs a whole number, export the image again") from None


def _is_true(text: str) -> bool:
    return text[:1] in ("T", "t", "1")
