"""The axes that an image file itself has, and images brought back onto them.

What is loaded runs closest to right, anterior, superior, and a CT is measured in the part around its lungs. Masks and
maps are written on the whole grid of the file they belong to, in its own axis order, so that any program can lay them
over it; a map of coarser voxels, in its axis order.
"""

from __future__ import annotations

from pathlib import Path
from typing import overload

import numpy as np

from ipha_toolkit.errors import GridError
from ipha_toolkit.grid import Grid
from ipha_toolkit.io import itk, nifti
from ipha_toolkit.io.names import image_ending
from ipha_toolkit.volume import Mask, Volume, handed_over

_ROUNDING = 0.1
"""Voxels by which two headers may place one voxel differently; a mask from elsewhere may be half as far off at most."""


def stored_grid(path: Path) -> Grid | None:
    """Shape and affine as the file stores them; None for pictures and DICOM files, which have no axes of their own.

    Only the header is read. Of several echoes in one file it is the grid of each.

    Raises
    ------
    ReadError
        Where the header cannot be read.
    """
    ending = image_ending(path)
    if ending not in (*nifti.SUFFIXES, *itk.SUFFIXES):
        return None
    shape, affine = nifti.place(path) if ending in nifti.SUFFIXES else itk.place(path)
    i, j, k = (*shape, 1, 1)[:3]
    return Grid((i, j, k), affine)


@overload
def on_axes(image: Volume, grid: Grid) -> Volume: ...


@overload
def on_axes(image: Mask, grid: Grid) -> Mask: ...


def on_axes(image: Volume | Mask, grid: Grid) -> Volume | Mask:
    """An image, a part of one, or a coarser map of one, in the axis order of the grid it belongs to.

    No value is interpolated. What has the grid's voxels comes back on the whole grid: outside the part a mask is False
    and a volume NaN. A map of coarser voxels keeps them, its axes in the grid's order.

    Raises
    ------
    GridError
        Where the axes do not run along the grid's, or voxels lie outside it or between its own.

    Examples
    --------
    >>> part = Mask(np.ones((1, 2, 1), bool), np.eye(4))
    >>> flipped = Grid((3, 4, 2), [[-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> np.argwhere(on_axes(part, flipped).array).tolist()
    [[2, 0, 0], [2, 1, 0]]
    """
    step = np.linalg.inv(grid.affine) @ image.affine
    source = np.abs(step[:3, :3]).argmax(axis=1)
    turn = np.zeros((3, 3))
    turn[range(3), source] = step[range(3), source]
    if len(set(source.tolist())) != 3 or (np.abs(step[:3, :3] - turn) @ image.shape).max() > _ROUNDING:
        raise _other_voxels(image, grid)
    signs = np.sign(turn).sum(axis=1).astype(int)
    sizes = np.array(image.shape)[source]
    turned = np.transpose(image.array, source)[tuple(slice(None, None, sign) for sign in signs)]
    back = np.eye(4)
    back[:3, :3] = np.sign(turn).T
    back[source, 3] = np.where(signs > 0, 0, sizes - 1)
    moved = image.affine @ back
    if np.abs(turn).max() > 1 + _ROUNDING:
        return image.replace(array=turned, affine=moved)
    first = (np.linalg.inv(grid.affine) @ moved)[:3, 3]
    starts = np.rint(first).astype(int)
    ends = starts + sizes
    off = np.abs(first - starts) + np.abs(np.abs(turn).sum(axis=1) - 1) * sizes
    if off.max() > _ROUNDING or (starts < 0).any() or (ends > grid.shape).any():
        raise _other_voxels(image, grid)
    whole = np.full(grid.shape, False if isinstance(image, Mask) else np.nan, image.array.dtype)
    whole[tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))] = turned
    return image.replace(array=handed_over(whole), affine=grid.affine)


def _other_voxels(image: Volume | Mask, grid: Grid) -> GridError:
    return GridError(
        f"{image.name or 'image'}: its voxels {image.shape} are not voxels of the grid {grid.shape} it belongs to; "
        "resample it there first with ipha_toolkit.image.geometry.resample_to"
    )
