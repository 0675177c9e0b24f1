"""Where voxels lie in the patient: the shape and affine of an image, and all that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import GridError

FloatArray = npt.NDArray[np.float32]

BoolArray = npt.NDArray[np.bool_]

Affine = npt.NDArray[np.float64]

_GRID_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class _Grid:
    """What Volume and Mask share: a locked array of shape (i, j, k) and its affine."""

    array: Any
    affine: Affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        i, j, k = self.array.shape
        return i, j, k

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along i, j, k, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def is_ras(self) -> bool:
        """Whether axes i, j, k run closest to right, anterior, superior, in this order."""
        return bool(np.array_equal(_ras_order(self.affine), [[0, 1], [1, 1], [2, 1]]))

    def same_grid(self, other: _Grid) -> bool:
        """Whether both have one shape, and every voxel lies at the same millimetres (within 0.001 mm)."""
        if self.shape != other.shape:
            return False
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        corners[:, :3] *= self.shape
        offset = corners @ (self.affine - other.affine).T
        return bool(np.abs(offset).max() < _GRID_TOLERANCE_MM)

    def require_same_grid(self, other: _Grid) -> None:
        """Raise GridError, naming both grids, unless ``other`` lies on this grid."""
        if not self.same_grid(other):
            raise GridError(
                f"{describe(other)} is on a different grid than {describe(self)}; "
                "bring it there first with ipha_toolkit.image.geometry.resample_to"
            )

    def to_world(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World coordinates in mm (RAS+), shape (..., 3), of voxel indices, shape (..., 3)."""
        return np.add(np.asarray(indices, float) @ self.affine[:3, :3].T, self.affine[:3, 3], dtype=np.float64)

    def to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices, shape (..., 3), of world coordinates in mm (RAS+), shape (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(points_mm, float) @ inverse[:3, :3].T + inverse[:3, 3], np.float64)


def reorient_to_ras(array: npt.NDArray[Any], affine: npt.ArrayLike) -> tuple[npt.NDArray[Any], Affine]:
    """Reorder and flip the first three axes to run closest to right, anterior, superior.

    No value is interpolated; voxel positions in mm stay what they were.

    Parameters
    ----------
    array : ndarray, shape (a, b, c, ...)
    affine : array_like, shape (4, 4)

    Returns
    -------
    array : ndarray, shape (i, j, k, ...)
        A view of the input.
    affine : ndarray, shape (4, 4)
    """
    old = np.array(affine, float)
    order = _ras_order(old)
    source = [int(np.flatnonzero(order[:, 0] == axis)[0]) for axis in range(3)]
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new_axis, old_axis in enumerate(source):
        direction = order[old_axis, 1]
        step[old_axis, new_axis] = direction
        step[old_axis, 3] = 0 if direction > 0 else array.shape[old_axis] - 1
    moved = np.transpose(array, [*source, *range(3, array.ndim)])
    moved = moved[tuple(slice(None, None, int(order[axis, 1])) for axis in source)]
    return moved, old @ step


def _ras_order(affine: Affine) -> npt.NDArray[np.int_]:
    """For each array axis, the world axis it runs closest to and its sign: shape (3, 2)."""
    from nibabel.orientations import io_orientation

    return np.asarray(io_orientation(affine)).astype(int)


def checked_affine(affine: npt.ArrayLike, name: str) -> Affine:
    """A copy of ``affine`` as 4x4 float64; ValueError where it cannot place voxels in space."""
    matrix = np.array(affine, dtype=np.float64, copy=True)
    if matrix.shape != (4, 4):
        raise ValueError(f"{name}: affine needs shape (4, 4), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: affine holds NaN or infinity; mend the file's header: {matrix.tolist()}")
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise ValueError(f"{name}: the affine's last row needs to be 0 0 0 1, got {matrix[3]}")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(matrix[:3, :3] / lengths)) < 1e-6:
        raise ValueError(
            f"{name}: affine is singular, voxels have no volume; mend the file's header: {matrix.tolist()}"
        )
    return matrix


def describe(grid: _Grid) -> str:
    spacing = " x ".join(f"{value:.3g}" for value in grid.spacing_mm)
    parts = [getattr(grid, "name", "") or type(grid).__name__.lower(), str(getattr(grid, "modality", None) or "")]
    return " ".join(part for part in [*parts, str(grid.shape), f"{spacing} mm"] if part)
