"""The copy of an image that travels with an exported page: as good as a byte budget allows.

Fineness is given up in this order: gray steps down to a quarter, half and all of what still leaves
192 gray levels across the default window, then the in-plane size, halved, then a third, a quarter and so on.
Slices are never dropped. Each voxel is predicted from the left and upper neighbours and the residuals are
deflated in blocks of slices, so that the browser can show the middle of the volume first.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import Grid
from ipha_toolkit.viewer.layers import Layer

GRAY_LEVELS = 192
"""Gray levels that an export keeps across the default window; chosen: a display shows 256."""

_VOXELS_PER_CHUNK = 1_000_000
_AT_ONCE = 8
_FACTORS = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Coarseness:
    """How an exported layer differs from the original."""

    factor: int
    step: float

    def apply(self, layer: Layer) -> Grid:
        """The grid of the export: coarser along the two axes with the finest voxels."""
        i, j, k = (self.factor if axis in in_plane_axes(layer) else 1 for axis in range(3))
        return layer.grid.coarser((i, j, k))


def in_plane_axes(layer: Layer) -> tuple[int, int]:
    """The two axes with the most voxels, so the third is the slice axis of an anisotropic scan."""
    across = int(np.argmin(layer.array.shape))
    first, second = (axis for axis in range(3) if axis != across)
    return first, second


def pack(layer: Layer, *, budget_bytes: float, gray_step: float | None = None) -> dict[str, Any]:
    """A layer for export, within a budget of characters on the page.

    Parameters
    ----------
    layer : Layer
    budget_bytes : float
        Bytes of base64 text at most; only what cannot be made coarser any more exceeds it.
    gray_step : float, optional
        Coarsest step between values that still looks the same in the default window, in the image's unit.

    Returns
    -------
    dict
        ``shape``, ``affine`` (16 numbers), ``offset``, ``scale``, ``bytes`` (1 or 2 a voxel), ``slices`` (per chunk),
        ``chunks`` (base64 text, deflated) and ``loss``, a sentence for the reader, empty where nothing was lost.
    """
    for coarseness in (candidates := list(_candidates(layer, gray_step))):
        if coarseness is not candidates[-1] and _estimate(layer, coarseness) > 1.15 * budget_bytes:
            continue
        packed = _pack(layer, coarseness)
        if sum(map(len, packed["chunks"])) <= budget_bytes:
            break
    return packed


def _candidates(layer: Layer, gray_step: float | None) -> Iterator[Coarseness]:
    if layer.kind == "mask":
        yield from (Coarseness(factor, 1.0) for factor in _FACTORS)
        return
    coarsest = max(gray_step or layer.scale, layer.scale)
    steps = sorted({layer.scale, *(max(layer.scale, coarsest / part) for part in (4, 2, 1))})
    for factor in _FACTORS:
        if min(layer.array.shape[axis] for axis in in_plane_axes(layer)) >= factor:
            yield from (Coarseness(factor, step) for step in steps)


def _estimate(layer: Layer, coarseness: Coarseness) -> float:
    """Size on the page, from one slice in eight."""
    shape = coarseness.apply(layer).shape
    picked = range(shape[2] // 16, shape[2], max(1, shape[2] // 8))
    sizes = [len(zlib_blocks(_codes(layer, coarseness, k, k + 1), _width(layer, coarseness))) for k in picked]
    return float(np.mean(sizes)) * shape[2] * 4 / 3


def _pack(layer: Layer, coarseness: Coarseness) -> dict[str, Any]:
    grid = coarseness.apply(layer)
    shape = grid.shape
    width = _width(layer, coarseness)
    slices = max(1, _VOXELS_PER_CHUNK // (shape[0] * shape[1]))
    chunks = [
        base64.b64encode(zlib_blocks(_codes(layer, coarseness, start, min(start + slices, shape[2])), width)).decode()
        for start in range(0, shape[2], slices)
    ]
    return {
        "shape": list(shape), "affine": grid.affine.ravel().tolist(), "offset": layer.offset, "bytes": width,
        "scale": coarseness.step, "slices": slices, "chunks": chunks, "loss": _loss(layer, coarseness),
    }  # fmt: skip


def _width(layer: Layer, coarseness: Coarseness) -> int:
    if layer.kind == "mask":
        return 1
    return 1 if (layer.limits[1] - layer.limits[0]) / coarseness.step <= 254 else 2


def _codes(layer: Layer, coarseness: Coarseness, first: int, last: int) -> npt.NDArray[np.uint16]:
    """Codes of slices along the third axis of the coarser grid, shape (slices, rows, columns).

    A few slices at a time, to spare memory.
    """
    parts = [_some_codes(layer, coarseness, k, min(k + _AT_ONCE, last)) for k in range(first, last, _AT_ONCE)]
    return np.concatenate(parts)


def _some_codes(layer: Layer, coarseness: Coarseness, first: int, last: int) -> npt.NDArray[np.uint16]:
    axes, f = in_plane_axes(layer), coarseness.factor
    deep = f if 2 in axes else 1
    values = layer.array[:, :, first * deep : last * deep]
    values = values if f == 1 else _coarser(values, f, axes)
    if layer.kind == "mask":
        codes = (values >= 0.5).astype(np.uint16)
    else:
        levels = np.rint((values - np.float32(layer.offset)) * np.float32(1 / coarseness.step))
        codes = np.nan_to_num(np.clip(levels, 0, 65534) + 1, nan=0.0).astype(np.uint16)
    return np.ascontiguousarray(codes.transpose(2, 1, 0))


def _coarser(values: npt.NDArray[Any], factor: int, axes: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Block means along two axes, missing values left out; the last block may be smaller."""
    total = values.astype(np.float32)
    known = np.isfinite(total)
    everywhere = bool(known.all())
    total = total if everywhere else np.where(known, total, np.float32(0))
    count = None if everywhere else known.astype(np.float32)
    size: Any = 1.0
    for axis in axes:
        starts = np.arange(0, values.shape[axis], factor)
        lengths = np.diff(np.append(starts, values.shape[axis])).astype(np.float32)
        size = size * lengths.reshape([-1 if a == axis else 1 for a in range(3)])
        total = np.add.reduceat(total, starts, axis=axis)
        count = None if count is None else np.add.reduceat(count, starts, axis=axis)
    if count is None:
        return np.asarray(total / size, np.float32)
    return np.divide(total, count, out=np.full(total.shape, np.nan, np.float32), where=count > 0)


def zlib_blocks(codes: npt.NDArray[np.uint16], width: int) -> bytes:
    """Deflated residuals of a stack of slices: low bytes of all voxels, then high bytes where ``width`` is 2."""
    if width == 1:
        small = (codes.astype(np.uint8) - _predicted(codes).astype(np.uint8)).view(np.int8)
        planes = ((small << 1) ^ (small >> 7)).view(np.uint8).tobytes()
    else:
        residual = (codes - _predicted(codes)).view(np.int16)
        zigzag = ((residual << 1) ^ (residual >> 15)).view(np.uint16)
        planes = (zigzag & 255).astype(np.uint8).tobytes() + (zigzag >> 8).astype(np.uint8).tobytes()
    packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    return packer.compress(planes) + packer.flush()


def _predicted(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Mean of the left and the upper neighbour, one of them at the border, 0 in the corner."""
    predicted = np.zeros_like(codes)
    left, up = codes[:, 1:, :-1], codes[:, :-1, 1:]
    predicted[:, 1:, 1:] = (left & up) + ((left ^ up) >> 1)
    predicted[:, 0, 1:] = codes[:, 0, :-1]
    predicted[:, 1:, 0] = codes[:, :-1, 0]
    return predicted


def _loss(layer: Layer, coarseness: Coarseness) -> str:
    parts = []
    if coarseness.factor > 1:
        spacing = coarseness.factor * layer.spacing_mm[in_plane_axes(layer)[0]]
        parts.append(f"{coarseness.factor}x coarser pixels ({spacing:.3g} mm)")
    if coarseness.step > layer.scale * 1.001:
        unit = f" {layer.unit}" if layer.unit else ""
        parts.append(f"values in steps of {coarseness.step:.3g}{unit}")
    return "export: " + ", ".join(parts) if parts else ""
