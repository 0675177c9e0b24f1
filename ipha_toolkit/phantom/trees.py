"""Branching trees that fill a lung, and capsules drawn with partial volume.

Vessels are grown from the hilum to supply points by splitting the points again and again; radii follow Murray's law.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.compiled import compiled
from ipha_toolkit.grid import FloatArray

MURRAY_EXPONENT = 2.8
"""r^e of a parent is the sum of its children's; 2.6 to 3 in lungs (Mauroy 2004, doi 10.1038/nature02287: about 3)."""

Capsules = npt.NDArray[np.float64]
"""Shape (n, 7): two end points in mm and a radius in mm."""


def grow_tree(
    root: npt.ArrayLike, points: npt.NDArray[np.floating], terminal_mm: float, rng: np.random.Generator
) -> Capsules:
    """Grow a tree from a root to supply points.

    Parameters
    ----------
    root : array_like, shape (3,)
        Hilum, mm.
    points : ndarray, shape (n, 3)
        Where the smallest branches end, mm.
    terminal_mm : float
        Radius of the smallest branches.
    rng : Generator

    Returns
    -------
    Capsules
    """
    segments: list[npt.NDArray[np.float64]] = []
    stack = [(np.asarray(root, float), np.asarray(points, float))]
    while stack:
        start, supplied = stack.pop()
        n = len(supplied)
        radius = terminal_mm * n ** (1 / MURRAY_EXPONENT)
        goal = supplied.mean(axis=0)
        reach = 1.0 if n == 1 else rng.uniform(0.3, 0.5)
        end = start + reach * (goal - start)
        segments += _bent(start, end, radius, rng)
        if n > 1:
            stack += [(end, part) for part in _split(supplied, goal - start, rng)]
    return np.array(segments)


def _bent(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], radius: float, rng: np.random.Generator
) -> list[npt.NDArray[np.float64]]:
    """One branch as two capsules with a slight bend."""
    length = float(np.linalg.norm(end - start))
    middle = (start + end) / 2 + rng.normal(0, 0.06 * length, 3)
    return [np.array([*start, *middle, radius]), np.array([*middle, *end, radius])]


def _split(
    points: npt.NDArray[np.float64], forward: npt.NDArray[np.float64], rng: np.random.Generator
) -> list[npt.NDArray[np.float64]]:
    """Halve the supplied points across the direction in which they spread most, sideways before forward."""
    if len(points) == 2:
        return [points[:1], points[1:]]
    centred = points - points.mean(axis=0)
    norm = np.linalg.norm(forward)
    if norm > 0:
        along = forward / norm
        centred = centred - 0.6 * np.outer(centred @ along, along)
    axis = np.linalg.eigh(np.einsum("ni,nj->ij", centred, centred))[1][:, -1]
    order = np.argsort(centred @ axis)
    cut = int(np.clip(round(len(points) * rng.uniform(0.3, 0.7)), 1, len(points) - 1))
    return [points[order[:cut]], points[order[cut:]]]


def draw_capsules(
    shape: tuple[int, int, int], origin: npt.ArrayLike, spacing: npt.ArrayLike, capsules: Capsules
) -> FloatArray:
    """Share of each voxel inside any of the capsules, 0 to 1.

    Parameters
    ----------
    shape : (int, int, int)
    origin, spacing : array_like, shape (3,)
        World coordinates of voxel (0, 0, 0) and voxel size, mm; axes along x, y, z.
    capsules : Capsules

    Returns
    -------
    ndarray, float32
        A capsule thinner than a voxel fills the share of the voxel's width that it takes.
    """
    drawn = np.zeros(shape, np.float32)
    if len(capsules):
        _draw(drawn, np.asarray(origin, float), np.asarray(spacing, float), np.ascontiguousarray(capsules, float))
    return drawn


@compiled()
def _edge(radius, half, rod):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Radius at which a border as soft as a voxel leaves a rod its cross section and a ball its volume."""
    if rod:
        return np.sqrt(radius**2 - half**2 / 3)
    edge = radius
    for _ in range(6):
        edge -= (edge**3 + edge * half**2 - radius**3) / (3 * edge**2 + half**2)
    return edge


@compiled()
def _draw(drawn, origin, spacing, capsules):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    half = 0.5 * (spacing[0] * spacing[1] * spacing[2]) ** (1 / 3)
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for c in range(capsules.shape[0]):
        a, b, radius = capsules[c, :3], capsules[c, 3:6], capsules[c, 6]
        reach = radius + half + max(spacing)
        for axis in range(3):
            low[axis] = max(0, int(np.floor((min(a[axis], b[axis]) - reach - origin[axis]) / spacing[axis])))
            high[axis] = min(
                drawn.shape[axis] - 1, int(np.ceil((max(a[axis], b[axis]) + reach - origin[axis]) / spacing[axis]))
            )
        dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        squared = dx * dx + dy * dy + dz * dz
        full = min(1.0, (radius / half) ** (2 if squared > 0 else 3))
        edge = _edge(max(radius, half), half, squared > 0)
        for i in range(low[0], high[0] + 1):
            x = origin[0] + i * spacing[0] - a[0]
            for j in range(low[1], high[1] + 1):
                y = origin[1] + j * spacing[1] - a[1]
                for k in range(low[2], high[2] + 1):
                    z = origin[2] + k * spacing[2] - a[2]
                    t = 0.0
                    if squared > 0:
                        t = min(1.0, max(0.0, (x * dx + y * dy + z * dz) / squared))
                    distance = np.sqrt((x - t * dx) ** 2 + (y - t * dy) ** 2 + (z - t * dz) ** 2)
                    share = full * min(1.0, max(0.0, (edge - distance) / (2 * half) + 0.5))
                    if share > drawn[i, j, k]:
                        drawn[i, j, k] = share
