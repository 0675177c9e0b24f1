"""NRRD and MetaImage files, the formats of ITK: read here after their headers were judged, written by SimpleITK.

ITK's own readers trust the header: a negative number of dimensions or a file name with ``%n`` ends the process, a
data file may lie anywhere, and of a compressed stream the checksum is not asked.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError
from ipha_toolkit.grid import Affine
from ipha_toolkit.io import metaimage, nrrd
from ipha_toolkit.io.checks import require_size
from ipha_toolkit.io.files import require_data, require_regular
from ipha_toolkit.io.metaimage import Header
from ipha_toolkit.io.streams import data_files, opened, read_exactly
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.settings import ReadingSettings

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

_LARGEST_SKIP = 100_000_000
_LARGEST_TEXT = 1e9
"""Bytes of voxels written as text, which take ten times the memory to read."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, settings: ReadingSettings = DEFAULT.reading) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values with the affine (RAS+, mm); nothing reoriented yet.

    Returns
    -------
    array : ndarray, shape (i, j[, k[, ...]])
    affine : ndarray, shape (4, 4)

    Raises
    ------
    ReadError
        Not an image, damaged, several values per voxel, no orientation, larger than the setting allows, or voxels in a
        file outside the header's folder.
    """
    header = _header(path)
    size = require_size(path, header.shape, header.kind.itemsize, settings)
    affine = _affine(path, header)
    content = _content(path, header, size, settings)
    return np.frombuffer(content, header.kind).reshape(header.shape, order="F"), affine


def place(path: Path) -> tuple[tuple[int, ...], Affine]:
    """Shape and affine (RAS+, mm) by the header alone; errors as of :func:`read`."""
    header = _header(path)
    return header.shape, _affine(path, header)


def _affine(path: Path, header: Header) -> Affine:
    if header.affine is not None:
        return np.asarray(_LPS_TO_RAS @ header.affine)
    if len(header.shape) > 2:
        raise ReadError(
            f"{path}: has no orientation, its header gives no TransformMatrix, so left and right are not known; "
            "export the image again with its directions"
        )
    return np.diag([*header.spacing[:2], 1.0, 1.0])


def data_names(path: Path, *, elsewhere: bool = False) -> list[Path]:
    """Files beside a header that hold its voxels; outside its folder only where ``elsewhere`` allows it.

    Raises
    ------
    ReadError
        Where the header cannot be read or leads elsewhere.
    """
    return data_files(path, _header(path).files, elsewhere=elsewhere)


def write(path: Path, array: npt.NDArray[Any], affine: Affine) -> None:
    """Write an NRRD or MetaImage file, compressed."""
    import SimpleITK as sitk

    image = to_itk(array, affine)
    sitk.WriteImage(image, str(path), useCompression=True)


def to_itk(array: npt.NDArray[Any], affine: Affine) -> Any:
    """A SimpleITK image of the array; skewed affines lose their skew, as ITK knows none."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose()))
    lps = _LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return image


def _header(path: Path) -> Header:
    return nrrd.read_header(path) if path.suffix.lower() in (".nrrd", ".nhdr") else metaimage.read_header(path)


def _content(path: Path, header: Header, size: int, settings: ReadingSettings) -> bytes:
    files = data_files(path, header.files, elsewhere=settings.data_elsewhere)
    shape = " x ".join(map(str, header.shape))
    if not files:
        return _part(path, header, size, header.offset, f"{shape} voxels")
    if size % len(files):
        raise ReadError(f"{path}: {shape} voxels cannot be shared evenly by {len(files)} data files")
    for file in files:
        require_data(path, file)
    return b"".join(_part(file, header, size // len(files), 0, f"{shape} voxels") for file in files)


def _part(path: Path, header: Header, size: int, offset: int, promised: str) -> bytes:
    """Voxels of one file as bytes."""
    if header.skip > _LARGEST_SKIP:
        raise ReadError(f"{path}: the header skips {header.skip} bytes before the voxels; export the image again")
    if header.encoding == "ascii":
        return _from_text(path, header, size, offset)
    if header.skip == -1:
        offset = max(0, path.stat().st_size - size)
    try:
        with opened(path, header.encoding, offset=offset) as stream:
            if header.skip > 0:
                stream.read(header.skip)
            return read_exactly(path, stream, size, promised)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise ReadError(f"{path}: damaged: {str(error).splitlines()[0]}; copy or export the file again") from None


def _from_text(path: Path, header: Header, size: int, offset: int) -> bytes:
    count = size // header.kind.itemsize
    require_regular(path, _LARGEST_TEXT)
    try:
        words = path.read_bytes()[offset:].split()
        if len(words) != count:
            raise ReadError(f"{path}: holds {len(words)} numbers, the header promises {count}; export it again")
        return np.array(words, np.float64).astype(header.kind).tobytes()
    except ValueError as error:
        raise ReadError(f"{path}: holds text that is no number ({error}); export the image again") from None
