"""What nodules thrown at random into a lung would look like once the detector has been over them.

The detector misses more near the pleura and beside vessels than in the open lung, so nodules that lie anywhere seem to
keep off the pleura. Here such nodules are put into the same image and sought again: those found are the null.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.measure.nodules import detect_nodules, smoothed_share
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

Array = npt.NDArray[np.float64]

_APART_MM = 9.0
_OFF_FOUND_MM = 6.0
_TRIES = 40


def detectable_places(
    volume: Volume,
    lungs: Mask,
    nodules: pd.DataFrame,
    *,
    implants: int = 200,
    rng: np.random.Generator | None = None,
    protocol: Protocol = DEFAULT,
) -> Array:
    """Where the detector finds nodules that were put into the same image at random places.

    Parameters
    ----------
    volume, lungs : Volume, Mask
        As given to :func:`ipha_toolkit.detect_nodules`.
    nodules : DataFrame
        What that found; those counted lend the implants their diameters and contrasts.
    implants : int
        How many are put in, at most: they keep 9 mm from one another and 6 mm from nodules found.
    rng : numpy.random.Generator, optional
        None is a fixed one.
    protocol : Protocol

    Returns
    -------
    ndarray, shape (n, 3)
        Where those found again lie, mm (RAS+); empty where no nodule of known size was found to copy.

    Notes
    -----
    Costs one more search of the image. Vessels taken for nodules keep off the pleura as vessels do and are not in this
    null: :func:`ipha_toolkit.measure.nodules.pleural_avoidance` sets nodules against weak candidates as well.
    """
    rng = rng or np.random.default_rng(0)
    surely = nodules[nodules["score"] >= protocol.nodules.nodule_score]
    copied = surely.dropna(subset=["diameter_mm"])
    if copied.empty:
        return np.empty((0, 3))
    places = _places(lungs, surely[["x_mm", "y_mm", "z_mm"]].to_numpy(float), implants, rng)
    like = copied.iloc[rng.integers(0, len(copied), len(places))]
    diameters = like["diameter_mm"].to_numpy(float)
    heights = like["contrast"].to_numpy(float) / smoothed_share(diameters, volume.spacing_mm, protocol.nodules)
    image = volume.array.astype(np.float32, copy=True)
    for place, diameter, height in zip(places, diameters, heights, strict=True):
        _add_ball(image, volume, place, diameter, height)
    found = detect_nodules(volume.replace(array=image), lungs, protocol=protocol)
    found = found[found["score"] >= protocol.nodules.nodule_score]
    return _near(found[["x_mm", "y_mm", "z_mm"]].to_numpy(float), places, np.maximum(2.0, diameters / 2))


def _places(lungs: Mask, taken: Array, implants: int, rng: np.random.Generator) -> Array:
    """Centers in mm, thrown into the lungs one after another and kept where they are free."""
    voxels = np.argwhere(lungs.array)
    thrown = voxels[rng.integers(0, len(voxels), _TRIES * implants)] + rng.uniform(-0.5, 0.5, (_TRIES * implants, 3))
    kept: list[Array] = []
    for place in lungs.to_world(thrown):
        off = not len(taken) or float(np.min(np.sum((taken - place) ** 2, axis=1))) > _OFF_FOUND_MM**2
        if off and all(float(np.sum((other - place) ** 2)) > _APART_MM**2 for other in kept):
            kept.append(place)
        if len(kept) == implants:
            break
    return np.array(kept).reshape(-1, 3)


def _add_ball(image: npt.NDArray[np.float32], volume: Volume, place: Array, diameter: float, height: float) -> None:
    """Add a ball, its edge soft by a voxel, in place."""
    center, spacing = volume.to_index(place[None])[0], np.array(volume.spacing_mm)
    reach = np.ceil((diameter / 2 + spacing.max()) / spacing).astype(int)
    low = np.maximum(np.round(center).astype(int) - reach, 0)
    high = np.minimum(np.round(center).astype(int) + reach + 1, image.shape)
    if (high <= low).any():
        return
    index = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
    distance = np.linalg.norm((index - center) * spacing, axis=-1)
    share = np.clip((diameter / 2 - distance) / float(np.cbrt(np.prod(spacing))) + 0.5, 0, 1)
    image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] += (height * share).astype(np.float32)


def _near(found: Array, places: Array, within_mm: Array) -> Array:
    """Those found that lie on an implant."""
    from scipy.spatial import cKDTree

    if not len(found) or not len(places):
        return np.empty((0, 3))
    distance, which = cKDTree(places).query(found)
    return found[distance <= within_mm[which]]
