"""Rows of the one long table: the form every measure takes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.flags import FLAGS, RATED_UNUSABLE


def row(
    measure: str, value: float, *, modality: str, region: str, n_voxels: int, flags: Iterable[str] = ()
) -> dict[str, object]:
    """One row of the table; the unit comes from the catalogue.

    Parameters
    ----------
    measure : str
        A name in :data:`ipha_toolkit.catalogue.MEASURES`.
    value : float
        NaN where there is no answer; the flag then says why.
    modality, region : str
    n_voxels : int
        How many voxels the value rests on.
    flags : iterable of str
        Names in :data:`ipha_toolkit.flags.FLAGS`.

    Raises
    ------
    KeyError
        Where measure or a flag is not in the catalogue.

    Examples
    --------
    >>> row("lung_volume", 4200.0, modality="ct", region="lung", n_voxels=10)["unit"]
    'mL'
    """
    return {
        "subject": "", "session": "", "modality": str(modality), "region": str(region), "measure": measure,
        "value": float(value), "unit": MEASURES[measure].unit, "n_voxels": int(n_voxels), "flag": joined(flags),
    }  # fmt: skip


def joined(flags: Iterable[str]) -> str:
    """Flags as a cell of the table: each once, in the order of the catalogue, joined by ``;``.

    Examples
    --------
    >>> joined({"no_controls", "child", "no_controls"})
    'child;no_controls'
    """
    return _joined(frozenset(flags))


@cache
def _joined(found: frozenset[str]) -> str:
    """Few sets of flags make up a whole cohort's cells."""
    unknown = sorted(found - set(FLAGS))
    if unknown:
        raise KeyError(f"flags not in flags.FLAGS: {unknown}")
    return ";".join(name for name in FLAGS if name in found)


def flags_of(cell: str) -> set[str]:
    """The flags of a cell of the table."""
    return set(filter(None, str(cell).split(";")))


def with_flags(rows: pd.DataFrame, flags: Iterable[str]) -> pd.DataFrame:
    """The rows, each with these flags beside its own."""
    more = set(flags)
    return rows.assign(flag=[joined(flags_of(cell) | more) for cell in rows["flag"]]) if more else rows


def usable(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without those of images that a rater called unusable."""
    if "flag" not in rows:
        return rows
    out = [cell for cell in rows["flag"].dropna().unique() if RATED_UNUSABLE in flags_of(cell)]
    return rows[~rows["flag"].isin(out)]


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """The :func:`usable` rows of measures that are compared between images, as the catalogue has it."""
    rows = usable(rows)
    return rows[rows["measure"].isin([name for name in rows["measure"].unique() if MEASURES[name].compared])]


def table(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """Rows as a DataFrame with the columns of :data:`ipha_toolkit.catalogue.ROW_COLUMNS`, also when there are none."""
    frame = pd.DataFrame(list(rows), columns=list(ROW_COLUMNS))
    return frame.astype({"value": "float64", "n_voxels": "int64"})
