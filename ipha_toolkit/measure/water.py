"""Water that hides iron: how T2w over T1w rises as a lung fills, and below it the deficit that iron leaves.

The line of healthy controls is straight, and filled lung lies above it: water lengthens T2 and takes away the borders
of air that shorten it. So a strength near or below 0 in wet lung is no absence of iron. Patients known to have edema,
scanned with the same sequences, show how far water alone lifts T2w over T1w; what lies below *that* is iron again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipha_toolkit.measure.histogram import weighted_quantile

if TYPE_CHECKING:
    from ipha_toolkit.measure.hemosiderin import ControlPoints

Array = npt.NDArray[np.float64]
Curve = tuple[tuple[float, float], ...]

LEAST_WET = 3
"""Fewer patients with edema show no curve: chosen."""

_LEAST_GAIN = 1.2
"""T1w over the controls' from which a lung counts as wet: chosen."""


def water_curve(level: float, slope: float, wet: Sequence[ControlPoints]) -> Curve:
    """How T2w over T1w rises with T1w, from lungs that hold water and no iron.

    Parameters
    ----------
    level, slope : float
        Median T1w ratio of the controls, and their T2w over T1w.
    wet : sequence of ControlPoints
        One a patient with edema, scanned as the controls were.

    Returns
    -------
    tuple of (gain, rise)
        T1w over ``level``, and T2w over T1w over ``slope``; from (1, 1) on, both rising. Empty with fewer than three
        patients whose T1w is raised by a fifth: then there is no curve.

    Examples
    --------
    >>> from ipha_toolkit.measure.hemosiderin import ControlPoints
    >>> one, seen = np.ones(1), ((2, 2), (4, 3), (3, 3))
    >>> water_curve(0.1, 1.0, [ControlPoints(0.1 * gain * one, 0.1 * gain * rise * one, one) for gain, rise in seen])
    ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 3.0))
    """
    medians = [[weighted_quantile(values, each.weight, 0.5) for values in each[:2]] for each in wet]
    places = sorted((t1w / level, t2w / t1w / slope) for t1w, t2w in medians if t1w > _LEAST_GAIN * level)
    if len(places) < LEAST_WET:
        return ()
    rises = np.maximum.accumulate([1.0, *(rise for _, rise in places)])
    gains = [1.0, *(gain for gain, _ in places)]
    return tuple((round(float(g), 6), round(float(r), 6)) for g, r in zip(gains, rises, strict=True))


def lift(curve: Curve, gain: npt.ArrayLike) -> Array:
    """Factor by which water lifts T2w over T1w at a gain of T1w; 1 below the controls, level beyond the wettest."""
    gains, rises = np.transpose(curve)
    return np.asarray(np.interp(np.asarray(gain, np.float64), gains, rises))


def hidden_loss(upper: float, spread: float, gain: float, curve: Curve, rise: float) -> float:
    """Most of its T2w signal that a lung in which no deficit is seen may have lost to iron, %.

    Parameters
    ----------
    upper : float
        Upper 95 % limit of the strength, voxel SD.
    spread : float
        One voxel SD, of the natural log of T2w over what the line predicts.
    gain : float
        Median T1w ratio over that of the controls.
    curve : Curve
        How water bends the line, where that is known.
    rise : float
        Else water is taken to raise T2w over T1w by this power of the gain.

    Returns
    -------
    float
        0 to 100; NaN with fewer than two controls. Higher = less is said by "no iron".

    Examples
    --------
    >>> [round(hidden_loss(2.0, 0.13, gain, (), 1.5)) for gain in (1.0, 1.3)]
    [23, 48]
    """
    water = float(np.log(lift(curve, gain))) if curve else rise * float(np.log(max(gain, 1.0)))
    return float(100 * (1 - np.exp(-np.maximum(upper * spread + water, 0.0))))
