"""Nodules of two images of one patient, matched one to one, and what chance alone would match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.protocol import DEFAULT, Protocol


def match_nodules(
    before: pd.DataFrame, after: pd.DataFrame, *, lung_volume_ml: float, protocol: Protocol = DEFAULT
) -> pd.DataFrame:
    """Pair the nodules of two dates, or of two modalities, one to one by position.

    Parameters
    ----------
    before, after : DataFrame
        ``x_mm, y_mm, z_mm, diameter_mm`` in the same patient coordinates: bring one over with
        :meth:`ipha_toolkit.image.align.Alignment.apply` first.
    lung_volume_ml : float
        Volume in which the nodules were looked for, mL.
    protocol : Protocol
        ``change.match_mm``: largest distance of a pair, mm.

    Returns
    -------
    DataFrame
        ``status`` (``stable``, ``gone``: before only, ``new``: after only), ``before, after`` (row labels in the given
        tables, missing where there is none), ``x_mm, y_mm, z_mm`` (of after where there is one), ``distance_mm``,
        ``diameter_before_mm, diameter_after_mm``, ``p_chance``: probability that a nodule of the other date lies as
        near by chance, were they spread evenly in the lung; and on every row, of the whole table,
        ``expected_by_chance``, how many pairs unrelated nodules would make, and ``p_as_many``, how likely they make as
        many as were found.
        Stable ones first, nearest first.

    Raises
    ------
    ValueError
        Where a column is missing or the lung volume is not above 0.

    Notes
    -----
    The pairing has the smallest total distance. "New" and "gone" also hold what one of the two scans could not show:
    a nodule smaller than the coarser scan's voxels proves nothing.
    """
    if not lung_volume_ml > 0:
        raise ValueError(f"lung_volume_ml needs to be above 0 mL, got {lung_volume_ml}")
    first, second = (_positions(table, name) for table, name in ((before, "before"), (after, "after")))
    one, two, distance = _pairs(first, second, protocol.change.match_mm)
    chance = -np.expm1(-len(second) / (1000 * lung_volume_ml) * 4 / 3 * np.pi * distance**3)
    stable = pd.DataFrame({
        "status": "stable", "before": before.index[one], "after": after.index[two],
        **dict(zip(("x_mm", "y_mm", "z_mm"), second[two].T, strict=True)),
        "distance_mm": distance, "diameter_before_mm": before["diameter_mm"].to_numpy(float)[one],
        "diameter_after_mm": after["diameter_mm"].to_numpy(float)[two], "p_chance": chance,
    }).sort_values("distance_mm")  # fmt: skip
    gone = _alone(before, first, one, "gone", "before")
    new = _alone(after, second, two, "new", "after")
    frames = [frame for frame in (stable, gone, new) if len(frame)]
    found = pd.concat(frames, ignore_index=True) if frames else stable.reset_index(drop=True)
    expected, p = _by_chance(len(stable), len(first), len(second), lung_volume_ml, protocol.change.match_mm)
    return found.assign(expected_by_chance=expected, p_as_many=p)


@dataclass(frozen=True)
class MatchSummary:
    """How many nodules are stable, new and gone; how many of the pairs chance alone would have made, and how likely
    it is that chance made as many (0 to 1)."""

    stable: int
    new: int
    gone: int
    expected_by_chance: float
    p_chance: float


def summarize_matches(matches: pd.DataFrame, *, lung_volume_ml: float, protocol: Protocol = DEFAULT) -> MatchSummary:
    """Counts of :func:`match_nodules` beside what unrelated nodules, spread evenly in the lung, would give."""
    counts = matches["status"].value_counts()
    stable, new, gone = (int(counts.get(status, 0)) for status in ("stable", "new", "gone"))
    chance = _by_chance(stable, stable + gone, stable + new, lung_volume_ml, protocol.change.match_mm)
    return MatchSummary(stable, new, gone, *chance)


def _by_chance(pairs: int, n_before: int, n_after: int, lung_volume_ml: float, match_mm: float) -> tuple[float, float]:
    """How many pairs unrelated nodules, spread evenly in the lung, make, and how likely they make as many as found."""
    from scipy.stats import binom

    share = float(-np.expm1(-n_after / (1000 * lung_volume_ml) * 4 / 3 * np.pi * match_mm**3))
    return n_before * share, float(binom.sf(pairs - 1, n_before, share))


def _positions(table: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    missing = [column for column in ("x_mm", "y_mm", "z_mm", "diameter_mm") if column not in table]
    if missing:
        raise ValueError(f"{name}: a nodule table needs x_mm, y_mm, z_mm, diameter_mm; lacks {', '.join(missing)}")
    return table[["x_mm", "y_mm", "z_mm"]].to_numpy(float).reshape(-1, 3)


def _pairs(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], most_mm: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Indices of the pairs nearer than ``most_mm`` whose total distance is smallest, and their distances."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    distance = cdist(first, second)
    one, two = linear_sum_assignment(np.minimum(distance, most_mm))
    near = distance[one, two] < most_mm
    return one[near], two[near], distance[one, two][near]


def _alone(
    table: pd.DataFrame, positions: npt.NDArray[np.float64], paired: npt.NDArray[np.intp], status: str, side: str
) -> pd.DataFrame:
    left = np.setdiff1d(np.arange(len(table)), paired)
    return pd.DataFrame({
        "status": status, side: table.index[left],
        **dict(zip(("x_mm", "y_mm", "z_mm"), positions[left].T, strict=True)),
        f"diameter_{side}_mm": table["diameter_mm"].to_numpy(float)[left],
    })  # fmt: skip
