"""How far people who rated the same images agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ipha_toolkit.compare.readers import cohens_kappa

_COLUMNS = (
    "rater", "other", "n", "agree", "kappa", "low", "high", "weighted_kappa", "weighted_low", "weighted_high", "note"
)  # fmt: skip


def rater_agreement(ratings: pd.DataFrame, verdicts: Sequence[str]) -> pd.DataFrame:
    """Cohen's kappa of every pair of raters over the images that both rated.

    Parameters
    ----------
    ratings : DataFrame
        ``subject, session, image, rater, verdict, hash``, one row an image and rater. Only images of the same ``hash``
        are compared: a mask that was changed between two ratings is another one.
    verdicts : sequence of str
        All verdicts in their order, which the weighted kappa needs.

    Returns
    -------
    DataFrame
        One row a pair: ``rater, other, n`` (images), ``agree`` (share with the same verdict, 0 to 1), ``kappa`` with
        its 95 % interval ``low, high`` (1: full agreement, 0: as by chance), the same with linear weights, by which
        good and usable differ less than good and unusable, and ``note``: why kappa is withheld.

    Notes
    -----
    Where nearly all verdicts are one and the same, chance agreement is high and kappa low although raters agree; read
    ``agree`` beside it (Feinstein & Cicchetti 1990, doi 10.1016/0895-4356(90)90158-L). Intervals are asymptotic.

    References
    ----------
    Cohen 1960, doi 10.1177/001316446002000104; Fleiss, Cohen & Everitt 1969, doi 10.1037/h0028106 (as statsmodels).
    """
    raters = sorted(set(ratings["rater"]))
    rows = [_pair(ratings, one, other, list(verdicts)) for one, other in combinations(raters, 2)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _pair(ratings: pd.DataFrame, one: str, other: str, verdicts: list[str]) -> dict[str, object]:
    first, second = (ratings[ratings["rater"] == rater] for rater in (one, other))
    both = first.merge(second, on=["subject", "session", "image", "hash"])
    n = len(both)
    found: dict[str, object] = dict.fromkeys(_COLUMNS, np.nan)
    found |= {"rater": one, "other": other, "n": n, "note": ""}
    if n == 0:
        return found | {"note": "no image was rated by both"}
    found["agree"] = float((both["verdict_x"] == both["verdict_y"]).mean())
    used = set(both["verdict_x"]) | set(both["verdict_y"])
    if len(used) < 2:
        return found | {"note": f"all verdicts are {used.pop()}: chance alone would agree, so kappa says nothing"}
    plain = cohens_kappa(both["verdict_x"], both["verdict_y"])
    weighted = cohens_kappa(both["verdict_x"], both["verdict_y"], order=verdicts, weights="linear")
    kappas = {
        "kappa": plain.value, "low": plain.low, "high": plain.high,
        "weighted_kappa": weighted.value, "weighted_low": weighted.low, "weighted_high": weighted.high,
    }  # fmt: skip
    return found | {name: float(np.clip(value, -1, 1)) for name, value in kappas.items()}
