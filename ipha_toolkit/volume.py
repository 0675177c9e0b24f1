"""Volume and Mask: an array, where it lies in the patient, and nothing that can change behind your back.

World coordinates are millimetres, RAS+: x grows towards the patient's right, y towards anterior, z towards
superior. ``affine`` (4x4) maps voxel indices ``(i, j, k)`` to them. :func:`ipha_toolkit.load` hands out arrays
whose axes i, j, k already run closest to right, anterior, superior; :func:`reorient_to_ras` does it for others.

An array given to a Volume or Mask is copied and locked, with two exceptions that cost no memory: the array of another
Volume or Mask, and a new array that its maker gives away by :func:`handed_over`. Both are shared.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import Affine, BoolArray, FloatArray, Placed, checked_affine, describe, reorient_to_ras
from ipha_toolkit.terms import Modality


@dataclass(frozen=True, eq=False)
class Volume(Placed):
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
        array = _checked_array(given, np.float32, self.name or "volume")
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
        return f"<Volume {describe(self)}>"


@dataclass(frozen=True, eq=False)
class Mask(Placed):
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
        _lock(self, _checked_array(given, np.bool_, self.name or "mask"), self.affine, self.name or "mask")

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
        return f"<Mask {describe(self)} {self.n_voxels} voxels inside>"


_VOLUME_FIELDS = ("array", "affine", "modality", "unit", "name", "meta")

_MASK_FIELDS = ("array", "affine", "name")


_LOCKED: dict[int, weakref.ref[npt.NDArray[Any]]] = {}
"""Arrays known to be locked and clean, by identity: those that belong to a Volume or Mask."""


def handed_over(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give a new array away: it is locked now, and a Volume or Mask made from it shares it in place of a copy.

    Only for an array that nobody else holds: float32, which is freed of infinities, or bool; in C order.

    Examples
    --------
    >>> given = handed_over(np.zeros((2, 2, 2), np.float32))
    >>> Volume(given, np.eye(4)).array is given
    True
    """
    if array.dtype not in (np.float32, np.bool_) or not array.flags.c_contiguous or array.base is not None:
        return array
    if array.dtype == np.float32:
        _missing_for_infinite(array)
    array.flags.writeable = False
    _LOCKED[id(array)] = weakref.ref(array, partial(_forget, id(array)))
    return array


def _forget(key: int, _: object) -> None:
    _LOCKED.pop(key, None)


def _is_locked(array: npt.NDArray[Any]) -> bool:
    known = _LOCKED.get(id(array))
    return known is not None and known() is array


def _missing_for_infinite(array: FloatArray) -> None:
    """Infinities become NaN, slab by slab: no copy of the array is made."""
    for slab in array:
        slab[~np.isfinite(slab)] = np.nan


def _checked_array(given: npt.NDArray[Any], dtype: type, name: str) -> npt.NDArray[Any]:
    """The array itself where it is locked already, else a clean copy."""
    if given.ndim != 3:
        raise ValueError(f"{name}: needs a 3-D array (i, j, k), got shape {given.shape}; one slice is (i, j, 1)")
    if given.size == 0:
        raise ValueError(f"{name}: has no voxels, shape {given.shape}")
    if _is_locked(given) and given.dtype == dtype:
        return given
    with np.errstate(over="ignore"):
        return handed_over(np.array(given, dtype=dtype, order="C", copy=True))


def _lock(owner: Placed, array: npt.NDArray[Any], affine: npt.ArrayLike, name: str) -> None:
    matrix = checked_affine(affine, name)
    matrix.flags.writeable = False
    object.__setattr__(owner, "array", array)
    object.__setattr__(owner, "affine", matrix)


def _rebuild_volume(
    array: FloatArray, affine: Affine, modality: Modality | None, unit: str, name: str, meta: dict[str, Any]
) -> Volume:
    return Volume(array, affine, modality=modality, unit=unit, name=name, meta=meta)


def _rebuild_mask(array: BoolArray, affine: Affine, name: str) -> Mask:
    return Mask(array, affine, name=name)
