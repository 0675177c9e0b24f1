"""A chest of ellipsoids with known lungs, as CT or MRI; it shares nothing with the package's phantom."""

from __future__ import annotations

import numpy as np
import pytest

from ipha_toolkit.volume import Mask, Volume

LEVELS = {
    # air, lung, muscle, fat, blood, bone, tracheal lumen
    "ct": (-1000, -850, 50, -100, 40, 400, -1000),
    "T1w": (2, 10, 80, 170, 90, 60, 2),
    "T2w": (2, 6, 35, 150, 60, 40, 2),
}


def ellipsoid(x, y, z, center, radii):
    """Inside of an axis-aligned ellipsoid, mm."""
    return sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), center, radii, strict=True)) < 1


def chest(
    kind="ct", *, spacing=(3.0, 3.0, 3.0), field=(360, 264, 240), noise=None, shading=0.0, one_lung=False,
    consolidation=None, bed=False, lung_level=None, seed=0,
):  # fmt: skip
    """Volume and true lungs. ``field`` is the field of view in mm, ``consolidation`` a center in mm and a radius."""
    shape = tuple(max(1, round(f / s)) for f, s in zip(field, spacing, strict=True))
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)]
    x, y, z = (
        (np.arange(n) * s + affine[a, 3]).reshape([-1 if a == b else 1 for b in range(3)])
        for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
    )
    air, lung, muscle, fat, blood, bone, lumen = LEVELS[kind]
    array = np.full(shape, float(air))
    array[np.broadcast_to((x / 165) ** 2 + (y / 115) ** 2 < 1, shape)] = fat
    array[np.broadcast_to((x / 152) ** 2 + (y / 102) ** 2 < 1, shape)] = muscle
    lungs = np.zeros(shape, bool)
    for side in (-1, 1)[one_lung:]:
        lungs |= ellipsoid(x, y, z, (side * 70, 0, 0), (58, 82, 100))
    outside = ellipsoid(x, y, z, (-20, 25, -30), (52, 50, 45))
    array[outside] = blood
    spine = np.broadcast_to((x / 18) ** 2 + ((y + 70) / 18) ** 2 < 1, shape)
    array[spine] = bone
    trachea = np.broadcast_to((x / 9) ** 2 + (y / 9) ** 2 < 1, shape) & (z > 25)
    array[trachea] = lumen
    lungs &= ~(outside | spine)
    array[lungs] = lung if lung_level is None else lung_level
    if consolidation is not None:
        array[lungs & ellipsoid(x, y, z, consolidation[0], (consolidation[1],) * 3)] = muscle
    if bed:
        array[np.broadcast_to((np.abs(y + 122) < 3) & (np.abs(x) < 170), shape)] = 0 if kind == "ct" else air
    if shading:
        array = array * np.exp(shading * (y / 100 + 0 * x + 0 * z))
    rng = np.random.default_rng(seed)
    sigma = {"ct": 20, "T1w": 2, "T2w": 2}[kind] if noise is None else noise
    if kind == "ct":
        array = array + rng.normal(0, sigma, shape)
    else:
        array = np.hypot(array + rng.normal(0, sigma, shape), rng.normal(0, sigma, shape))
    return Volume(array, affine, modality=kind, name=f"{kind} chest"), Mask(lungs, affine, name="true lungs")


def dice(a: Mask, b: Mask) -> float:
    """Overlap of two masks on one grid, 0 to 1."""
    return 2 * np.count_nonzero(a.array & b.array) / (a.n_voxels + b.n_voxels)


@pytest.fixture(scope="session")
def make_chest():
    return chest


@pytest.fixture(scope="session")
def overlap():
    return dice
