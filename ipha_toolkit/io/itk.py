"""NRRD and MetaImage files, through SimpleITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError
from ipha_toolkit.grid import Affine

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values with the affine (RAS+, mm); nothing reoriented yet.

    Returns
    -------
    array : ndarray, shape (i, j[, k[, ...]])
    affine : ndarray, shape (4, 4)

    Raises
    ------
    ReadError
        Not an image, damaged, or several values per voxel.
    """
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ReadError(f"{path}: not an NRRD or MetaImage file, or a damaged one: {reason}") from None
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ReadError(
            f"{path}: holds {image.GetNumberOfComponentsPerPixel()} values per voxel (colour or vectors); "
            "needs one real number per voxel, export it as grayscale"
        )
    array = sitk.GetArrayFromImage(image).transpose()
    return array, _affine(image) if image.GetDimension() >= 3 else np.eye(4)


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


def _affine(image: Any) -> Affine:
    size = image.GetDimension()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (size, size))[:3, :3] * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = image.GetOrigin()[:3]
    return _LPS_TO_RAS @ affine
