"""Where voxels lie in the patient: the shape and affine of an image, and all that follows from them.

World coordinates are millimetres, RAS+: x grows towards the patient's right, y towards anterior, z towards superior.
``affine`` (4x4) maps voxel indices ``(i, j, k)`` to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import GridError

FloatArray = npt.NDArray[np.float32]

BoolArray = npt.NDArray[np.bool_]

Affine = npt.NDArray[np.float64]

_GRID_TOLERANCE = 0.05
"""Share of a voxel's shortest side by which two headers may place the same voxel differently: programs round headers to
four or more digits (0.03 of a voxel at the far corner of 512), and a mask is drawn no finer. Chosen."""

PLANES: dict[str, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
"""Array axes of each plane on a RAS+ grid: columns, rows, across."""

_ENDS = ("RL", "AP", "SI")
_OBLIQUE = 0.2
"""An axis is named after every world axis that makes up more than this share of it."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxels in patient space.

    Parameters
    ----------
    shape : (int, int, int)
        Number of voxels along i, j, k.
    affine : array_like, shape (4, 4)
        Voxel indices to mm, RAS+. Finite and invertible. Copied, read-only.

    Raises
    ------
    ValueError
        Where the affine cannot place voxels in space.

    Notes
    -----
    Equal grids have the same shape and the same affine to the last digit, so that a grid can be a key.
    :meth:`same_as` asks whether two grids are one to within rounding.

    Examples
    --------
    >>> grid = Grid((4, 4, 2), np.diag([1.0, 1.0, 5.0, 1.0]))
    >>> grid.spacing_mm, grid.coarser((2, 2, 1)).shape
    ((1.0, 1.0, 5.0), (2, 2, 2))
    """

    shape: tuple[int, int, int]
    affine: Affine

    def __post_init__(self) -> None:
        matrix = checked_affine(self.affine, "grid")
        matrix.flags.writeable = False
        object.__setattr__(self, "affine", matrix)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def upright(cls, shape: Sequence[int], spacing_mm: Sequence[float], origin_mm: Sequence[float]) -> Grid:
        """A grid whose axes run along x, y, z, from the place of its first voxel in mm."""
        affine = np.diag([*spacing_mm, 1.0])
        affine[:3, 3] = origin_mm
        i, j, k = shape
        return cls((i, j, k), affine)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and bool((self.affine == other.affine).all())

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centers along i, j, k, in mm."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin_mm(self) -> tuple[float, float, float]:
        """World x, y, z of the center of the first voxel, in mm."""
        x, y, z = self.affine[:3, 3].tolist()
        return x, y, z

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def step_mm(self) -> float:
        """Edge of a cube of one voxel's volume, in mm."""
        return float(np.prod(self.spacing_mm) ** (1 / 3))

    @property
    def is_ras(self) -> bool:
        """Whether axes i, j, k run closest to right, anterior, superior, in this order."""
        return bool(np.array_equal(_ras_order(self.affine), [[0, 1], [1, 1], [2, 1]]))

    def distance_mm(self, other: Grid) -> float:
        """How far apart the two grids place a voxel at most, in mm; infinite where their shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        corners[:, :3] *= self.shape
        return float(np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1).max())

    def same_as(self, other: Grid) -> bool:
        """Whether both have one shape, and every voxel lies at the same place, within a twentieth of its side."""
        return self.distance_mm(other) <= _GRID_TOLERANCE * min(*self.spacing_mm, *other.spacing_mm)

    def how_apart(self, other: Grid) -> str:
        """Words for how another grid differs: its shape, or the distance in mm and in voxels."""
        if self.shape != other.shape:
            return f"{_times(other.shape)} voxels and not {_times(self.shape)}"
        distance = self.distance_mm(other)
        share = distance / min(self.spacing_mm)
        return f"voxels lie up to {distance:.3g} mm apart, {share:.2g} of a voxel (at most {_GRID_TOLERANCE:g})"

    def to_world(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World coordinates in mm (RAS+), shape (..., 3), of voxel indices, shape (..., 3)."""
        return np.add(np.asarray(indices, float) @ self.affine[:3, :3].T, self.affine[:3, 3], dtype=np.float64)

    def to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices, shape (..., 3), of world coordinates in mm (RAS+), shape (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(points_mm, float) @ inverse[:3, :3].T + inverse[:3, 3], np.float64)

    def axes_mm(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """World x, y, z of the voxels of an upright grid, in mm, shaped to broadcast over it."""
        x, y, z = (
            (o + s * np.arange(n)).astype(np.float32)
            for o, s, n in zip(self.origin_mm, self.spacing_mm, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def coarser(self, factors: tuple[int, int, int]) -> Grid:
        """The grid of blocks of so many voxels along i, j, k; the last block may reach beyond this grid."""
        affine = self.affine.copy()
        affine[:3, :3] *= factors
        affine[:3, 3] = self.to_world((np.array(factors) - 1) / 2)
        i, j, k = (-(-n // f) for n, f in zip(self.shape, factors, strict=True))
        return Grid((i, j, k), affine)

    def cropped(self, low: npt.ArrayLike, high: npt.ArrayLike) -> Grid:
        """The part from voxel ``low`` to ``high``, the end excluded."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(low)
        i, j, k = (np.asarray(high) - np.asarray(low)).tolist()
        return Grid((i, j, k), affine)

    def block_factors(self, spacing_mm: float) -> tuple[int, int, int]:
        """Largest blocks, in voxels along i, j, k, that stay at or below a spacing in mm; at least 1."""
        i, j, k = (max(1, int(spacing_mm / step + 1e-6)) for step in self.spacing_mm)
        return i, j, k

    def letters(self, axis: int) -> tuple[str, str]:
        """Letters of the two ends of an axis, the far end first: ``("R", "L")`` for i of a RAS+ grid.

        An oblique axis has several, the one it runs closest to first.
        """
        direction = self.affine[:3, axis] / self.spacing_mm[axis]
        order = [w for w in np.argsort(-abs(direction)) if abs(direction[w]) > _OBLIQUE]
        first = "".join(_ENDS[w][0 if direction[w] > 0 else 1] for w in order)
        return first, "".join(_ENDS[w][1 if direction[w] > 0 else 0] for w in order)

    def beyond_mm(self, point_mm: npt.ArrayLike, axis: int) -> float:
        """Distance along an axis from a point outside the grid to its nearest slice, in mm; 0 inside."""
        at = self.to_index(point_mm)[axis]
        off = max(-0.5 - at, at - self.shape[axis] + 0.5, 0)
        return float((off + 0.5) * self.spacing_mm[axis]) if off > 1e-3 else 0.0


@dataclass(frozen=True, eq=False)
class Placed:
    """What Volume and Mask share: a locked array of shape (i, j, k) and where it lies."""

    array: Any
    affine: Affine

    @cached_property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        i, j, k = self.array.shape
        return Grid((i, j, k), self.affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along i, j, k."""
        return self.grid.shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centers along i, j, k, in mm."""
        return self.grid.spacing_mm

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL."""
        return self.grid.voxel_volume_ml

    @property
    def is_ras(self) -> bool:
        """Whether axes i, j, k run closest to right, anterior, superior, in this order."""
        return self.grid.is_ras

    def same_grid(self, other: Placed) -> bool:
        """Whether both lie on one grid, see :meth:`Grid.same_as`."""
        return self.grid.same_as(other.grid)

    def require_same_grid(self, other: Placed) -> None:
        """Raise GridError, naming both grids, unless ``other`` lies on this grid."""
        if not self.same_grid(other):
            raise GridError(
                f"{describe(other)} is on a different grid than {describe(self)}: {self.grid.how_apart(other.grid)}; "
                "bring it there first with ipha_toolkit.image.geometry.resample_to"
            )

    def to_world(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World coordinates in mm (RAS+), shape (..., 3), of voxel indices, shape (..., 3)."""
        return self.grid.to_world(indices)

    def to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices, shape (..., 3), of world coordinates in mm (RAS+), shape (..., 3)."""
        return self.grid.to_index(points_mm)


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


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(length) for length in shape)


def describe(grid: Placed) -> str:
    """Name, kind, shape and voxel size of an image or mask, for messages."""
    spacing = " x ".join(f"{value:.3g}" for value in grid.spacing_mm)
    parts = [getattr(grid, "name", "") or type(grid).__name__.lower(), str(getattr(grid, "modality", None) or "")]
    return " ".join(part for part in [*parts, str(grid.shape), f"{spacing} mm"] if part)
