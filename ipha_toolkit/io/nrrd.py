"""Headers of NRRD files, ``.nrrd`` and ``.nhdr``, after http://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.checks import unit_in_mm
from ipha_toolkit.io.metaimage import Header
from ipha_toolkit.io.streams import numbered

_LARGEST_HEADER = 1_000_000

_KINDS = {
    "i1": "signed char|int8|int8_t", "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t", "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t", "f4": "float", "f8": "double",
}  # fmt: skip
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_ENCODINGS |= dict.fromkeys(("txt", "text", "ascii"), "ascii")
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
_SEVERAL = ("color", "vector", "matrix", "point", "gradient", "normal", "quaternion", "complex")


def read_header(path: Path) -> Header:
    """The header of an NRRD file; axes that are no place, as time, have to be the last.

    Raises
    ------
    ReadError
        Where it is none, says nothing of left and right, or a field cannot be read.
    """
    fields, offset = _fields(path)
    rank = int(_numbers(path, fields, "dimension", 1)[0])
    if not 2 <= rank <= 7:
        raise ReadError(f"{path}: dimension is {rank}; needs 2 to 7, export the image again")
    kinds = fields.get("kinds", "").lower().split()
    if any(part in kind for kind in kinds for part in _SEVERAL):
        raise ReadError(
            f"{path}: holds several values per voxel (kinds: {' '.join(kinds)}); needs one real number per voxel, "
            "export it as grayscale"
        )
    kind = next((code for code, names in _KINDS.items() if fields.get("type", "").lower() in names.split("|")), None)
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower())
    if kind is None or encoding is None:
        type_, packed = (repr(fields[name][:80]) if name in fields else "none" for name in ("type", "encoding"))
        raise ReadError(
            f"{path}: type is {type_} and encoding {packed}; needs whole or real "
            "numbers, encoded raw, gzip, bzip2 or ascii; export the image again"
        )
    if fields.get("lineskip", fields.get("line skip", "0")) != "0":
        raise ReadError(f"{path}: has a line skip; needs voxels that begin at a byte, export the image again")
    big = fields.get("endian", "little").lower() == "big"
    affine, spacing = _place(path, fields, rank)
    return Header(
        shape=tuple(int(length) for length in _numbers(path, fields, "sizes", rank)),
        kind=np.dtype((">" if big else "<") + kind),
        encoding=encoding,
        affine=affine,
        spacing=spacing,
        files=_data_names(path, fields),
        offset=offset,
        skip=int(_numbers(path, fields, "byte skip" if "byte skip" in fields else "byteskip", 1, (0.0,))[0]),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if not file.readline(100).startswith(b"NRRD000"):
            raise ReadError(f"{path}: not an NRRD file, it does not begin with NRRD000; export the image again")
        for line in iter(lambda: file.readline(_LARGEST_HEADER), b""):
            text = line.decode("utf-8", "replace").strip()
            if not text or file.tell() > _LARGEST_HEADER:
                break
            name, colon, value = text.partition(":")
            if text.startswith("#") or not colon or value.startswith("="):
                continue  # a comment, or a key of somebody's own
            name, value = name.strip().lower(), value.strip()
            if name in ("data file", "datafile") and value.upper().startswith("LIST"):
                value = "LIST\n" + file.read(_LARGEST_HEADER).decode("utf-8", "replace")
            fields[name] = value
        return fields, file.tell()


def _data_names(path: Path, fields: dict[str, str]) -> tuple[str, ...]:
    value = fields.get("data file", fields.get("datafile", ""))
    if value.startswith("LIST\n"):
        return tuple(name.strip() for name in value.splitlines()[1:] if name.strip())
    words = value.split()
    if "%" in value and len(words) >= 4:
        try:
            return tuple(numbered(path, words[0], *(int(word) for word in words[1:4])))
        except ValueError:
            raise ReadError(f"{path}: data file is {value[:80]!r}; needs a pattern and whole numbers") from None
    return (value,) if value else ()


def _place(path: Path, fields: dict[str, str], rank: int) -> tuple[np.ndarray | None, tuple[float, ...]]:
    """Affine towards left, posterior, superior in mm, None for a plane; and spacings in mm."""
    unit = _unit(path, fields)
    if rank == 2:
        steps = _numbers(path, fields, "spacings", 2, (1.0, 1.0))
        return None, tuple(abs(step) * unit for step in steps)
    space = fields.get("space", "").lower().removesuffix("-time")
    vectors = re.findall(r"\(([^)]*)\)|(none)", fields.get("space directions", ""))
    if space not in _TO_LPS or not vectors:
        raise ReadError(
            f"{path}: has no orientation: space is {fields.get('space', '')[:80] or 'not given'} and "
            "space directions are "
            f"{'given' if vectors else 'not given'}, so left and right are not known; needs "
            "left-posterior-superior, right-anterior-superior or left-anterior-superior, and a direction an axis"
        )
    axes = [_vector(path, text) for text, none in vectors if not none]
    if len(vectors) != rank or len(axes) != 3 or any(none for _, none in vectors[:3]):
        raise ReadError(
            f"{path}: space directions are {fields['space directions'][:80]!r}; needs 3, for the first axes"
        )
    origin = _vector(path, fields.get("space origin", "(0,0,0)").strip("() "))
    affine = np.eye(4)
    affine[:3] = np.column_stack([*axes, origin]) * unit * np.array(_TO_LPS[space])[:, None]
    return affine, tuple(float(step) for step in np.linalg.norm(affine[:3, :3], axis=0))


def _unit(path: Path, fields: dict[str, str]) -> float:
    named = set(re.findall(r'"([^"]*)"', fields.get("space units", "") or fields.get("units", "")))
    lengths = {unit_in_mm(path, unit) for unit in named if unit not in ("s", "sec", "ms")}
    if len(lengths) > 1:
        raise ReadError(f"{path}: lengths are in several units ({', '.join(sorted(named))}); needs one, mm")
    return lengths.pop() if lengths else 1.0


def _vector(path: Path, text: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(word) for word in text.split(","))
    except ValueError:
        raise ReadError(f"{path}: a space direction or the origin is ({text[:80]}); needs three numbers") from None
    return x, y, z


def _numbers(
    path: Path, fields: dict[str, str], name: str, count: int, default: tuple[float, ...] = ()
) -> tuple[float, ...]:
    given = fields.get(name)
    if given is None and default:
        return default
    try:
        values = tuple(float(word) for word in (given or "").split())
    except ValueError:
        values = ()
    if len(values) != count or not np.isfinite(values).all():
        raise ReadError(f"{path}: {name} is {(given or 'not given')[:80]!r}; needs {count} numbers, export it again")
    return values
