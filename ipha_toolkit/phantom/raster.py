"""Shapes and noise known on a coarse raster, put onto an image grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.compiled import compiled
from ipha_toolkit.grid import FloatArray, Grid

Array = npt.NDArray[np.floating]


def sample(grid: Grid, field: Array, field_grid: Grid) -> FloatArray:
    """A field on one grid, interpolated linearly onto another; beyond its border it keeps the border's value."""
    result = np.empty(grid.shape, np.float32)
    _sample(result, _as_field(field, field_grid), *_places(grid, field_grid))
    return result


def paint(stack: FloatArray, tissue: int, grid: Grid, distance: Array, distance_grid: Grid) -> None:
    """Fill with a tissue where a signed distance is negative, soft by a voxel; what was there gives way.

    ``stack``: shares, shape (tissues, i, j, k), changed in place.
    """
    _paint(stack, tissue, _as_field(distance, distance_grid), *_places(grid, distance_grid), np.float32(grid.step_mm))


def paint_coat(stack: FloatArray, tissue: int, coat: FloatArray) -> None:
    """Fill with a tissue by a share for every voxel."""
    _paint_coat(stack, tissue, coat)


def mix(stack: FloatArray, levels: Array) -> FloatArray:
    """Sum of the tissues' levels by their shares, in one fixed order whatever the number of threads."""
    result = np.zeros(stack.shape[1:], np.float32)
    _mix(result.ravel(), stack.reshape(len(stack), -1), levels.astype(np.float32))
    return result


def _as_field(field: Array, grid: Grid) -> FloatArray:
    return np.ascontiguousarray(np.broadcast_to(field, grid.shape), np.float32)


def _places(grid: Grid, within: Grid) -> list[npt.NDArray[np.int64] | FloatArray]:
    """For each axis the raster cell before every voxel, and how far into it the voxel lies."""
    found: list[npt.NDArray[np.int64] | FloatArray] = []
    for axis in range(3):
        at = grid.origin_mm[axis] + grid.spacing_mm[axis] * np.arange(grid.shape[axis])
        at = np.clip((at - within.origin_mm[axis]) / within.spacing_mm[axis], 0, within.shape[axis] - 1)
        first = np.minimum(at.astype(np.int64), within.shape[axis] - 2)
        found += [first, (at - first).astype(np.float32)]
    return found


@compiled(inline="always")
def _column(column, field, a, u, b, v):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for k in range(column.size):
        near = (1 - v) * field[a, b, k] + v * field[a, b + 1, k]
        column[k] = (1 - u) * near + u * ((1 - v) * field[a + 1, b, k] + v * field[a + 1, b + 1, k])


@compiled()
def _sample(result, field, i0, ti, j0, tj, k0, tk):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    column = np.empty(field.shape[2], np.float32)
    for i in range(i0.size):
        for j in range(j0.size):
            _column(column, field, i0[i], ti[i], j0[j], tj[j])
            for k in range(k0.size):
                result[i, j, k] = column[k0[k]] * (1 - tk[k]) + column[k0[k] + 1] * tk[k]


@compiled()
def _paint(stack, tissue, field, i0, ti, j0, tj, k0, tk, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    column = np.empty(field.shape[2], np.float32)
    half = np.float32(0.5)
    for i in range(i0.size):
        for j in range(j0.size):
            _column(column, field, i0[i], ti[i], j0[j], tj[j])
            if column.min() >= half * step:
                continue
            for k in range(k0.size):
                distance = column[k0[k]] * (1 - tk[k]) + column[k0[k] + 1] * tk[k]
                coat = half - distance / step
                if coat > 0:
                    _cover(stack, tissue, i, j, k, min(coat, np.float32(1)))


@compiled()
def _paint_coat(stack, tissue, coat):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for i in range(coat.shape[0]):
        for j in range(coat.shape[1]):
            for k in range(coat.shape[2]):
                if coat[i, j, k] > 0:
                    _cover(stack, tissue, i, j, k, coat[i, j, k])


@compiled(inline="always")
def _cover(stack, tissue, i, j, k, coat):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for t in range(stack.shape[0]):
        if stack[t, i, j, k] != 0:
            stack[t, i, j, k] *= np.float32(1) - coat
    stack[tissue, i, j, k] += coat


@compiled()
def _mix(result, stack, levels):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for t in range(levels.size):
        if levels[t] != 0:
            for n in range(result.size):
                result[n] += levels[t] * stack[t, n]
