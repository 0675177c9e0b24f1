"""Groups over several sites: a difference with the site as a random effect, and without each site in turn.

Pooling cannot mend what differs between sites unsaid: who is examined there, how a scanner was tuned. A site whose
leaving changes the answer is seen here; a difference that all sites share with their scanners is not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import comparable
from ipha_toolkit.terms import Region

COLUMNS = [
    "modality", "region", "measure", "unit", "group", "reference", "n", "n_reference", "n_sites", "difference",
    "difference_low", "difference_high", "p", "site_sd", "model", "without_low", "without_high", "without_site", "flag",
]  # fmt: skip
_KEY = ["modality", "region", "measure"]
_FEW_SITES = 5
"""Sites below which their spread is hardly known; usual advice for random effects, chosen."""


def compare_sites(
    rows: pd.DataFrame,
    labels: pd.Series,
    sites: pd.Series,
    *,
    reference: str = "control",
    regions: Iterable[str] = (Region.LUNG,),
) -> pd.DataFrame:
    """Every measure of every group against a reference group, sites as a random effect, each left out in turn.

    Parameters
    ----------
    rows : DataFrame
        The one table of all sites. A subject counts once, with the mean of its sessions.
    labels, sites : Series of str
        Group and site of each subject (index: subject).
    reference : str
    regions : iterable of str

    Returns
    -------
    DataFrame
        One row a measure and group: ``modality, region, measure, unit, group, reference, n, n_reference, n_sites``;
        ``difference`` from the reference in the measure's unit with its 95 % interval and ``p`` (Wald); ``site_sd``,
        spread between sites in the measure's unit; ``model``: ``random site``, or ``fixed site`` where the random
        effect cannot be fitted, ``one site`` where all are of one; ``without_low, without_high``: the difference's
        range when each site is left out, ``without_site`` the one whose leaving moves it most; ``flag``:
        ``few_sites`` under five, ``one_site_has_all`` where one site alone has both groups.

    Raises
    ------
    DataError
        Where no row carries the reference label.

    Notes
    -----
    Linear mixed model with a random intercept a site (statsmodels MixedLM, REML). With two or three sites its spread
    is hardly known, and the interval is too narrow.
    """
    values = _one_a_subject(rows, labels, sites, regions)
    if reference not in set(values["label"]) and len(rows):
        raise DataError(f"no measured subject is labelled {reference!r}; give labels of which one is the reference")
    found = []
    for key, part in values.groupby(_KEY, sort=False):
        for label in sorted(set(part["label"]) - {reference}):
            chosen = part[part["label"].isin([label, reference])]
            if (chosen["label"] == label).sum() >= 2 and (chosen["label"] == reference).sum() >= 2:
                about = dict(zip(_KEY, key, strict=True)) | {"unit": MEASURES[str(key[2])].unit, "group": label}
                found.append(about | {"reference": reference} | _compared(chosen, label))
    return pd.DataFrame(found, columns=COLUMNS)


def _one_a_subject(rows: pd.DataFrame, labels: pd.Series, sites: pd.Series, regions: Iterable[str]) -> pd.DataFrame:
    known = comparable(rows)
    known = known[known["region"].isin(list(regions)) & known["value"].notna()]
    means = known.groupby([*_KEY, "subject"], sort=False)["value"].mean().reset_index()
    return means.assign(label=means["subject"].map(labels), site=means["subject"].map(sites)).dropna()


def _compared(part: pd.DataFrame, label: str) -> dict[str, Any]:
    sites = sorted(set(part["site"]))
    both = [site for site in sites if len(set(part.loc[part["site"] == site, "label"])) == 2]
    whole = _fit(part, label)
    without = {site: _fit(part[part["site"] != site], label)["difference"] for site in sites} if len(sites) > 1 else {}
    without = {site: value for site, value in without.items() if np.isfinite(value)}
    far = max(without, key=lambda site: abs(without[site] - whole["difference"]), default="")
    flags = ["few_sites"] if len(sites) < _FEW_SITES else []
    flags += ["one_site_has_all"] if len(both) < 2 else []
    return whole | {
        "n": int((part["label"] == label).sum()), "n_reference": int((part["label"] != label).sum()),
        "n_sites": len(sites), "without_low": min(without.values(), default=np.nan),
        "without_high": max(without.values(), default=np.nan), "without_site": far, "flag": ";".join(flags),
    }  # fmt: skip


def _fit(part: pd.DataFrame, label: str) -> dict[str, Any]:
    """Difference with interval, p and the spread between sites; NaN where a group is missing."""
    nothing = {"difference": np.nan, "difference_low": np.nan, "difference_high": np.nan, "p": np.nan}
    if len(set(part["label"])) < 2 or np.ptp(part["value"]) == 0:
        return nothing | {"site_sd": np.nan, "model": ""}
    mine = (part["label"] == label).to_numpy(float)
    design = np.column_stack([np.ones(len(part)), mine])
    if len(set(part["site"])) < 2:
        return _line(part["value"].to_numpy(), design, "one site")
    try:
        return _mixed(part, design)
    except (np.linalg.LinAlgError, ValueError):
        columns = pd.get_dummies(part["site"], drop_first=True).to_numpy(float)
        return _line(part["value"].to_numpy(), np.column_stack([design, columns]), "fixed site")


def _mixed(part: pd.DataFrame, design: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Random intercept a site, on values of unit spread, as the fit asks for."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    scale = float(part["value"].std())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a spread of zero between sites lies on the edge, and is an answer
        model = MixedLM(part["value"].to_numpy() / scale, design, groups=part["site"].to_numpy())
        fit = model.fit(reml=True, method=["powell"])  # those by gradient stop short of a spread of zero
    low, high = fit.conf_int()[1]
    if not np.isfinite([low, high]).all():
        raise ValueError("the fit has no interval")
    return {
        "difference": float(fit.params[1]) * scale, "difference_low": low * scale, "difference_high": high * scale,
        "p": float(fit.pvalues[1]), "site_sd": float(np.sqrt(fit.cov_re[0, 0])) * scale, "model": "random site",
    }  # fmt: skip


def _line(values: np.ndarray[Any, Any], design: np.ndarray[Any, Any], model: str) -> dict[str, Any]:
    from statsmodels.regression.linear_model import OLS

    fit = OLS(values, design).fit()
    low, high = fit.conf_int()[1]
    return {
        "difference": float(fit.params[1]), "difference_low": float(low), "difference_high": float(high),
        "p": float(fit.pvalues[1]), "site_sd": np.nan, "model": model,
    }  # fmt: skip
