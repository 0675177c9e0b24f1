"""NIfTI files: any orientation, scaling and byte order in, deterministic files out."""

from __future__ import annotations

import io
import re
import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError
from ipha_toolkit.grid import Affine
from ipha_toolkit.io.checks import require_size, require_slope, unit_in_mm
from ipha_toolkit.io.files import require_data
from ipha_toolkit.io.streams import opened, read_exactly
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.settings import ReadingSettings

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

SUFFIXES = (".nii", ".nii.gz", ".hdr")

_LARGEST_HEADER = 100_000_000
"""Bytes before the voxels; extensions hold a DICOM header at most."""

_LENGTHS = {0: "unknown", 1: "m", 2: "mm", 3: "um"}
_CARET_LABEL = re.compile(r'<Label Key="(\d{1,9})"[^>]*><!\[CDATA\[([^\]]{1,200})\]\]></Label>')
_PAIR_MAGIC = (b"ni1", b"ni2")


@dataclass(frozen=True)
class _Facts:
    """What a header says of its voxels, judged."""

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    offset: int
    size: int
    slope: float
    intercept: float


def read(path: Path, settings: ReadingSettings = DEFAULT.reading) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values, scaled, with the affine (RAS+, mm); nothing reoriented yet.

    Parameters
    ----------
    path : Path
        ``.nii``, ``.nii.gz``, or the ``.hdr`` of a two-file NIfTI, whose voxels are in the ``.img`` beside it.
    settings : ReadingSettings

    Returns
    -------
    array : ndarray, shape (i, j, k[, ...])
        float32 where the file is scaled, its own numbers otherwise.
    affine : ndarray, shape (4, 4)

    Raises
    ------
    ReadError
        Not NIfTI, truncated, another checksum, RGB or complex, scale factor zero or not finite, no orientation, a unit
        that is no length, larger than the setting allows.
    """
    with _stream(path) as stream:
        header = _header(path, stream)
        facts = _facts(path, header, settings)
        affine = _affine(path, header)
        if bytes(header["magic"]).rstrip(b"\0") not in _PAIR_MAGIC:
            read_exactly_to = facts.offset - header.sizeof_hdr
            before = stream.read(read_exactly_to) if read_exactly_to else b""
            content = _content(path, stream, facts) if len(before) == read_exactly_to else None
        else:
            content = _content_beside(path, facts)
    if content is None:
        raise ReadError(f"{path}: truncated before the first voxel; copy or export the file again")
    return _scaled(content, facts), affine


def place(path: Path, settings: ReadingSettings = DEFAULT.reading) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine (RAS+, mm) by the header alone; errors as of :func:`read`."""
    with _stream(path) as stream:
        header = _header(path, stream)
        return _facts(path, header, settings).shape, _affine(path, header)


def label_names(path: Path) -> dict[int, str]:
    """Names of a label image's values as TotalSegmentator writes them into its header; empty where there are none.

    They are the table of a Caret extension (version 2.18.0 of TotalSegmentator, ``nifti_ext_header.py``).
    """
    import nibabel as nib

    try:
        extensions = nib.load(path).header.extensions
        texts = [bytes(extension.content).decode("utf-8", "replace") for extension in extensions]
    except Exception:  # nibabel, on bytes of any kind; whoever reads the voxels says what is wrong
        return {}
    return {int(key): name for text in texts for key, name in _CARET_LABEL.findall(text)}


def data_file(path: Path) -> Path:
    """File that holds the voxels of a two-file NIfTI: the ``.img`` beside its ``.hdr``, perhaps compressed."""
    plain = path.with_suffix(".img")
    packed = plain.with_name(plain.name + ".gz")
    return packed if packed.exists() and not plain.exists() else plain


def write(path: Path, array: npt.NDArray[Any], affine: Affine) -> None:
    """Write a NIfTI file, the same bytes for the same content."""
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _stream(path: Path) -> AbstractContextManager[IO[bytes]]:
    """The bytes, decompressed where the file is gzip inside, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return opened(path, "gzip" if packed else "raw")


def _header(path: Path, stream: IO[bytes]) -> Nifti1Header:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    try:
        block = stream.read(348)
        length = [struct.unpack(f"{order}i", block[:4])[0] for order in "<>"]
        if 540 in length:
            block += stream.read(540 - 348)
            header = Nifti2Header(block, "<>"[length.index(540)], check=False)
        elif 348 in length:
            header = Nifti1Header(block, "<>"[length.index(348)], check=False)
        else:
            raise ReadError(
                f"{path}: not a NIfTI image, its first number is {length[0]} and not 348 or 540; copy, download or "
                "export it again"
            )
    except ReadError:
        raise
    except Exception as error:  # a decompressor or nibabel, on bytes of any kind
        raise ReadError(
            f"{path}: not a NIfTI image, or a damaged one: {_reason(error)}; copy or export it again"
        ) from None
    if not bytes(header["magic"]).startswith((b"n+1", b"ni1", b"n+2", b"ni2")):
        raise ReadError(f"{path}: not a NIfTI image (Analyze 7.5 has no orientation); convert it to NIfTI")
    return header


def _facts(path: Path, header: Nifti1Header, settings: ReadingSettings) -> _Facts:
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise ReadError(f"{path}: damaged, the header gives {rank} dimensions; needs 2 to 7, export it again")
    shape = tuple(int(length) for length in header["dim"][1 : rank + 1])
    try:
        kind = header.get_data_dtype()
    except Exception:
        code = int(header["datatype"])
        raise ReadError(f"{path}: the header's datatype {code} is not one of NIfTI; export the image again") from None
    if kind.kind not in "iufb":
        what = "RGB colour" if kind.names else "one-bit" if kind.itemsize == 0 else str(kind)
        raise ReadError(f"{path}: holds {what} values; needs one real number per voxel, export it as grayscale")
    size = require_size(path, shape, kind.itemsize, settings)
    start = float(header["vox_offset"])
    least = 0 if bytes(header["magic"]).rstrip(b"\0") in _PAIR_MAGIC else header.sizeof_hdr + 4
    if not np.isfinite(start) or start < 0 or start > _LARGEST_HEADER:
        raise ReadError(f"{path}: damaged, the header says that the voxels begin at byte {start:g}; export it again")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    require_slope(path, slope, intercept, "scl_slope")
    return _Facts(shape, kind, max(int(start), least), size, slope, intercept)


def _affine(path: Path, header: Nifti1Header) -> Affine:
    if header["qform_code"] <= 0 and header["sform_code"] <= 0:
        raise ReadError(
            f"{path}: has no orientation, its qform_code and sform_code are both 0, so left and right are not known; "
            "convert the DICOM files again, or set the sform if the axes are known"
        )
    try:
        affine = np.array(header.get_best_affine(), np.float64)
    except Exception as error:  # nibabel, on numbers of any kind
        raise ReadError(f"{path}: the header's orientation cannot be used: {_first_line(error)}") from None
    code = int(header["xyzt_units"]) % 8  # of time, the higher bits
    affine[:3] *= unit_in_mm(path, _LENGTHS.get(code, f"the unknown code {code}"))
    return affine


def _content(path: Path, stream: IO[bytes], facts: _Facts) -> bytes:
    return read_exactly(path, stream, facts.size, f"{facts.shape} voxels")


def _content_beside(path: Path, facts: _Facts) -> bytes:
    beside = data_file(path)
    require_data(path, beside)
    with _stream(beside) as stream:
        stream.read(facts.offset)
        return _content(beside, stream, facts)


def _scaled(content: bytes, facts: _Facts) -> npt.NDArray[Any]:
    """Values as nibabel's ``get_fdata(dtype=float32)`` gives them; what is not scaled comes as it is stored."""
    from nibabel.arrayproxy import ArrayProxy

    stored = np.frombuffer(content, facts.kind).reshape(facts.shape, order="F")
    if (facts.slope, facts.intercept) == (1, 0):
        return stored
    spec = (facts.shape, facts.kind, 0, facts.slope, facts.intercept)
    return np.asarray(ArrayProxy(io.BytesIO(content), spec), dtype=np.float32)


def _reason(error: BaseException) -> str:
    """Why a header cannot be read, in words."""
    return "the file ends within its header" if isinstance(error, struct.error) else _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
