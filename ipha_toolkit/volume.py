"""Volume and Mask: an array, where it lies in the patient, and nothing that can change behind your back.

World coordinates are millimetres, RAS+: x grows towards the patient's right, y towards anterior, z towards
superior. ``affine`` (4x4) maps voxel indices ``(i, j, k)`` to them. :func:`ipha_toolkit.load` hands out arrays
whose axes i, j, k already run closest to right, anterior, superior; :func:`reorient_to_ras` does it for others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import GridError
from ipha_toolkit.terms import Modality

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
                f"{_describe(other)} is on a different grid than {_describe(self)}; "
                "bring it there first with ipha_toolkit.image.geometry.resample_to"
            )

    def to_world(self, indices: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World coordinates in mm (RAS+), shape (..., 3), of voxel indices, shape (..., 3)."""
        return np.add(np.asarray(indices, float) @ self.affine[:3, :3].T, self.affine[:3, 3], dtype=np.float64)

    def to_index(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices, shape (..., 3), of world coordinates in mm (RAS+), shape (..., 3)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(points_mm, float) @ inverse[:3, :3].T + inverse[:3, 3], np.float64)


@dataclass(frozen=True, eq=False)
class Volume(_Grid):
    """A scalar image in patient space.

    Parameters
    ----------
    array : array_like, shape (i, j, k)
        Signal; real numbers. Stored as float32, copied, read-only. Missing is NaN (infinities become NaN).
        A single slice or a radiograph has shape (i, j, 1).
    affine : array_like, shape (4, 4)
        Voxel indices to mm, RAS+. Finite and invertible.
    modality : str, optional
        One of :class:`ipha_toolkit.terms.Modality`: ``T1w``, ``T2w``, ``MEGRE``, ``ct``, ``dx``.
    unit : str
        Unit of the values: ``HU`` for CT, ``ms``, ``1/s``; empty for arbitrary MR signal.
    name : str
        What error messages and figures call it; file name when loaded.
    meta : mapping, optional
        Acquisition facts in BIDS spelling: EchoTime in s, FlipAngle in degrees, MagneticFieldStrength in T,
        ContrastBolusIngredient. Copied, read-only.

    Raises
    ------
    TypeError
        Where the array is not of real numbers.
    ValueError
        Where the array is not 3-D, has no voxel, or the affine is not a finite invertible 4x4 matrix.

    Examples
    --------
    >>> volume = Volume([[[1, 2]], [[3, 4]]], np.diag([2, 2, 5, 1]), modality="T1w")
    >>> volume.shape, volume.spacing_mm
    ((2, 1, 2), (2.0, 2.0, 5.0))
    >>> volume.array[0, 0, 0] = 9
    Traceback (most recent call last):
    ValueError: assignment destination is read-only
    """

    array: FloatArray
    affine: Affine
    modality: Modality | None = field(default=None, kw_only=True)
    unit: str = field(default="", kw_only=True)
    name: str = field(default="", kw_only=True)
    meta: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        given = np.asarray(self.array)
        if given.dtype.kind not in "iuf":
            hint = "; a mask is a Mask, not a Volume" if given.dtype == bool else ""
            raise TypeError(f"{self.name or 'volume'}: needs real numbers, got {given.dtype}{hint}")
        array = _checked_copy(given, np.float32, self.name or "volume")
        array[~np.isfinite(array)] = np.nan
        _lock(self, array, self.affine, self.name or "volume")
        object.__setattr__(self, "modality", None if self.modality is None else Modality(self.modality))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta or {})))

    def replace(self, **changes: Any) -> Self:
        """A copy with some of array, affine, modality, unit, name, meta changed."""
        return type(self)(**({name: getattr(self, name) for name in _VOLUME_FIELDS} | changes))

    def to_ras(self) -> Volume:
        """This volume with its axes reordered and flipped to run closest to right, anterior, superior."""
        if self.is_ras:
            return self
        array, affine = reorient_to_ras(self.array, self.affine)
        return self.replace(array=array, affine=affine)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_volume, tuple(
            dict(self.meta) if name == "meta" else getattr(self, name) for name in _VOLUME_FIELDS
        )

    def __repr__(self) -> str:
        return f"<Volume {_describe(self)}>"


@dataclass(frozen=True, eq=False)
class Mask(_Grid):
    """Which voxels: a boolean array in patient space.

    Parameters
    ----------
    array : array_like of bool, shape (i, j, k)
        True inside. Copied, read-only. Only booleans: ``labels == 2`` rather than ``labels``.
    affine : array_like, shape (4, 4)
        Voxel indices to mm, RAS+.
    name : str
        What error messages and figures call it.

    Raises
    ------
    TypeError
        Where the array is not boolean.
    ValueError
        Where the array is not 3-D, has no voxel, or the affine is not a finite invertible 4x4 matrix.

    Examples
    --------
    >>> lungs = Mask(np.ones((2, 2, 2), bool), np.diag([10, 10, 10, 1]))
    >>> round(lungs.volume_ml, 6)
    8.0
    """

    array: BoolArray
    affine: Affine
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        given = np.asarray(self.array)
        if given.dtype != bool:
            raise TypeError(
                f"{self.name or 'mask'}: needs booleans, got {given.dtype}; write `array > 0` or `labels == 2`"
            )
        _lock(self, _checked_copy(given, np.bool_, self.name or "mask"), self.affine, self.name or "mask")

    @property
    def n_voxels(self) -> int:
        """Number of voxels inside."""
        return int(np.count_nonzero(self.array))

    @property
    def volume_ml(self) -> float:
        """Volume inside, in mL."""
        return self.n_voxels * self.voxel_volume_ml

    def replace(self, **changes: Any) -> Self:
        """A copy with some of array, affine, name changed."""
        return type(self)(**({name: getattr(self, name) for name in _MASK_FIELDS} | changes))

    def to_ras(self) -> Mask:
        """This mask with its axes reordered and flipped to run closest to right, anterior, superior."""
        if self.is_ras:
            return self
        array, affine = reorient_to_ras(self.array, self.affine)
        return self.replace(array=array, affine=affine)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_mask, tuple(getattr(self, name) for name in _MASK_FIELDS)

    def __repr__(self) -> str:
        return f"<Mask {_describe(self)} {self.n_voxels} voxels inside>"


_VOLUME_FIELDS = ("array", "affine", "modality", "unit", "name", "meta")
_MASK_FIELDS = ("array", "affine", "name")


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


def _checked_copy(given: npt.NDArray[Any], dtype: type, name: str) -> npt.NDArray[Any]:
    if given.ndim != 3:
        raise ValueError(f"{name}: needs a 3-D array (i, j, k), got shape {given.shape}; one slice is (i, j, 1)")
    if given.size == 0:
        raise ValueError(f"{name}: has no voxels, shape {given.shape}")
    with np.errstate(over="ignore"):
        return np.array(given, dtype=dtype, order="C", copy=True)


def _lock(owner: _Grid, array: npt.NDArray[Any], affine: npt.ArrayLike, name: str) -> None:
    matrix = checked_affine(affine, name)
    array.flags.writeable = False
    matrix.flags.writeable = False
    object.__setattr__(owner, "array", array)
    object.__setattr__(owner, "affine", matrix)


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


def _describe(grid: _Grid) -> str:
    spacing = " x ".join(f"{value:.3g}" for value in grid.spacing_mm)
    parts = [getattr(grid, "name", "") or type(grid).__name__.lower(), str(getattr(grid, "modality", None) or "")]
    return " ".join(part for part in [*parts, str(grid.shape), f"{spacing} mm"] if part)


def _rebuild_volume(
    array: FloatArray, affine: Affine, modality: Modality | None, unit: str, name: str, meta: dict[str, Any]
) -> Volume:
    return Volume(array, affine, modality=modality, unit=unit, name=name, meta=meta)


def _rebuild_mask(array: BoolArray, affine: Affine, name: str) -> Mask:
    return Mask(array, affine, name=name)
