"""NIfTI files: any orientation, scaling and byte order in, deterministic files out."""

from __future__ import annotations

import struct
import zlib
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError
from ipha_toolkit.grid import Affine

SUFFIXES = (".nii", ".nii.gz")

_DAMAGED = (EOFError, zlib.error, BadGzipFile, OSError, ValueError, struct.error)


def read(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values, scaled, with the affine (RAS+, mm); nothing reoriented yet.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``.

    Returns
    -------
    array : ndarray, shape (i, j, k[, ...])
        float32 where the file holds floats or is scaled, its own integers otherwise.
    affine : ndarray, shape (4, 4)

    Raises
    ------
    ReadError
        Not NIfTI, truncated, RGB or complex, scale factor zero or not finite.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
    except (ImageFileError, *_DAMAGED) as error:
        raise ReadError(f"{path}: not a NIfTI image, or a damaged one: {_first_line(error)}") from None
    kind = image.header.get_data_dtype()
    if kind.kind not in "iufb":
        what = "RGB colour" if kind.names else str(kind)
        raise ReadError(f"{path}: holds {what} values; needs one real number per voxel, export it as grayscale")
    _check_scale(image, path)
    try:
        scaled = kind.kind == "f" or image.dataobj.slope != 1 or image.dataobj.inter != 0
        array = image.get_fdata(dtype=np.float32) if scaled else np.asanyarray(image.dataobj)
    except _DAMAGED as error:
        raise ReadError(
            f"{path}: truncated or damaged, the header promises {image.shape} voxels: {_first_line(error)}; "
            "copy or export the file again"
        ) from None
    return array, np.asarray(image.affine, np.float64)


def write(path: Path, array: npt.NDArray[Any], affine: Affine, *, kind: str = "") -> None:
    """Write a NIfTI file, the same bytes for the same content."""
    import nibabel as nib

    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = kind.encode()[:79]
    nib.save(image, path)


def _check_scale(image: Any, path: Path) -> None:
    """nibabel reads a zero or NaN slope as "not scaled"; the file itself has to be asked."""
    from nibabel.openers import ImageOpener

    if not hasattr(image, "file_map") or image.header.sizeof_hdr != 348:
        return
    with ImageOpener(str(path), "rb") as stream:
        stream.seek(112)
        slope, inter = struct.unpack(f"{image.header.endianness}ff", stream.read(8))
    if slope == 0 or not np.isfinite([slope, inter]).all():
        raise ReadError(
            f"{path}: scale factor (scl_slope) is {slope:g} with offset {inter:g}, so the stored numbers "
            "have no meaning; set scl_slope to 1 if they are the signal, or export the file again"
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
