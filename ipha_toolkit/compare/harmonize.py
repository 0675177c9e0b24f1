"""Measures of several sites brought to one level and spread by ComBat, for the comparison over sites alone.

ComBat takes from every measure what is common to a site and spares what is known of the group, and borrows strength
from measure to measure. It cannot tell a site from a disease that is seen there alone, and it makes sites alike that
are not. So it is never the default, rows of the one table stay as measured, and what was done is said wherever its
numbers stand.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import DataError, DependencyError
from ipha_toolkit.measure.rows import comparable
from ipha_toolkit.terms import Region

COLUMNS = ["subject", "site", "group", "modality", "region", "measure", "unit", "measured", "harmonized"]
_LEAST = 3
"""Subjects of a group at a site below which its level and spread there are not known at all; chosen."""


def combat(
    rows: pd.DataFrame, labels: pd.Series, sites: pd.Series, *, reference: str = "control"
) -> tuple[pd.DataFrame, list[str]]:
    """Every measure of the whole lung, harmonized over sites by ComBat, the group kept.

    Parameters
    ----------
    rows : DataFrame
        The one table of all sites. A subject counts once, with the mean of its sessions.
    labels, sites : Series of str
        Group and site of each subject (index: subject).
    reference : str
        The group that every site needs.

    Returns
    -------
    values : DataFrame
        ``subject, site, group, modality, region, measure, unit, measured, harmonized``.
    said : list of str
        Library and version, and what was left out with the reason.

    Raises
    ------
    DependencyError
        Where the library is not installed.
    DataError
        Where no modality can be harmonized; the message says why of each.

    References
    ----------
    Johnson, Li & Rabinovic 2007, Biostatistics 8:118; Fortin et al. 2018, NeuroImage 167:104. The library is
    combatlearn, method ``fortin``.
    """
    model = _library()
    known = comparable(rows)
    known = known[(known["region"] == Region.LUNG) & known["value"].notna()]
    said, found = [f"by combatlearn {version('combatlearn')}, method fortin, group kept"], list[pd.DataFrame]()
    for modality, own in known.groupby("modality", sort=False):
        values = own.pivot_table(index="subject", columns="measure", values="value", aggfunc="mean")
        group, site = labels.reindex(values.index).astype(str), sites.reindex(values.index).astype(str)
        steady = values.columns[values.notna().all() & (values.groupby(site.to_numpy()).std() > 0).all()]
        if reason := _why_not(group, site, reference) or ("" if len(steady) > 1 else "too few measures are complete"):
            said.append(f"{modality} is left as measured: {reason}")
            continue
        if left := sorted(set(values.columns) - set(steady)):
            said.append(f"{modality}: left as measured, missing somewhere or the same everywhere: {', '.join(left)}")
        even = model(batch=site, discrete_covariates=group.to_frame("group"), method="fortin").fit_transform(
            values[steady]
        )
        found.append(_long(values[steady], even, group, site, str(modality)))
    if not found:
        raise DataError(f"nothing can be harmonized: {'; '.join(said[1:]) or 'no measure of the whole lung'}")
    return pd.concat(found, ignore_index=True)[COLUMNS], said


def as_rows(values: pd.DataFrame) -> pd.DataFrame:
    """Harmonized values as rows that :func:`ipha_toolkit.compare.compare_sites` takes."""
    return values.rename(columns={"harmonized": "value"}).assign(session="", flag="")


def _why_not(group: pd.Series, site: pd.Series, reference: str) -> str:
    """Why site and disease could not be told apart; empty where they can."""
    if site.nunique() < 2:
        return "all are of one site"
    counts = pd.crosstab(site, group)
    least = counts.get(reference, pd.Series(0, counts.index))
    short = [f"{name} has {n}" for name, n in least.items() if n < _LEAST]
    return f"every site needs {_LEAST} of group {reference}, {', '.join(short)}" if short else ""


def _long(values: pd.DataFrame, even: Any, group: pd.Series, site: pd.Series, modality: str) -> pd.DataFrame:
    frames = []
    for n, measure in enumerate(values.columns):
        frames.append(
            pd.DataFrame(
                {
                    "subject": values.index, "site": site.to_numpy(), "group": group.to_numpy(), "modality": modality,
                    "region": str(Region.LUNG), "measure": measure, "unit": MEASURES[measure].unit,
                    "measured": values[measure].to_numpy(), "harmonized": np.asarray(even)[:, n],
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _library() -> Any:
    try:
        from combatlearn import ComBat
    except ImportError:
        raise DependencyError(
            "--harmonize combat needs the package combatlearn; install it with pip install 'ipha-toolkit[harmonize]'"
        ) from None
    return ComBat
