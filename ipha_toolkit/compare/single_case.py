"""One person against a few others: how unusual a value is, said in standard deviations of many.

A z-score takes the controls' mean and spread for known. With few controls they are not: of healthy people 11, 7 and 5 %
lie beyond 2 with 3, 5 and 8 controls, where 2.3 % should. Crawford and Howell's t knows; here it is given on the scale
of a normal distribution, with the same tail probability, so that 2 means the same with any number of controls.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_FARTHEST = 37.0


def single_case(value: float, controls: npt.ArrayLike) -> float:
    """How far a value lies outside the controls, in standard deviations of a normal distribution.

    Parameters
    ----------
    value : float
    controls : array_like, shape (n,)
        One value a control, n at least 2.

    Returns
    -------
    float
        0 like the controls' mean; with many controls the z-score, with few nearer to 0; NaN where they do not vary.

    Raises
    ------
    ValueError
        Where there are fewer than two controls.

    References
    ----------
    Crawford & Howell 1998, Clin Neuropsychol 12:482, doi 10.1076/clin.12.4.482.7241.

    Examples
    --------
    >>> round(single_case(20.0, [8.0, 10.0, 12.0]), 2), round(single_case(20.0, [8.0, 10.0, 12.0] * 50), 2)
    (2.09, 5.82)
    """
    others = np.asarray(controls, np.float64)
    if others.size < 2:
        raise ValueError(f"needs two controls or more, got {others.size}")
    spread = float(others.std(ddof=1))
    if not spread > 0:
        return np.nan
    t = (value - float(others.mean())) / (spread * np.sqrt(1 + 1 / others.size))
    return _as_normal(t, others.size - 1)


def without_covariates(value: float, controls: npt.ArrayLike, own: npt.ArrayLike, theirs: npt.ArrayLike) -> float:
    """As :func:`single_case`, age, height or lung volume taken out by regression over the controls.

    Parameters
    ----------
    value : float
    controls : array_like, shape (n,)
    own : array_like, shape (p,)
        The person's covariates.
    theirs : array_like, shape (n, p)
        The controls' covariates; n at least p + 3. Those that do not vary are left out.

    References
    ----------
    Crawford & Garthwaite 2006, Br J Math Stat Psychol 59:353: a person against what regression predicts.
    """
    y, x, at = np.asarray(controls, np.float64), np.asarray(theirs, np.float64), np.asarray(own, np.float64)
    varies = x.std(axis=0) > 0
    middle, scale = x.mean(axis=0)[varies], x.std(axis=0)[varies]
    design = np.column_stack([np.ones(len(y)), (x[:, varies] - middle) / scale])
    point = np.append(1.0, (at[varies] - middle) / scale)
    free = len(y) - design.shape[1]
    if free < 2:
        raise ValueError(f"{len(y)} controls are too few for {design.shape[1] - 1} covariates")
    inverse = np.linalg.pinv(design.T @ design)
    fitted = inverse @ design.T @ y
    spread = float(np.sqrt(np.sum((y - design @ fitted) ** 2) / free))
    if not spread > 0:
        return np.nan
    t = (value - float(point @ fitted)) / (spread * np.sqrt(1 + float(point @ inverse @ point)))
    return _as_normal(t, free)


def _as_normal(t: float, free: int) -> float:
    """The normal quantile of the same tail probability."""
    from scipy.stats import norm
    from scipy.stats import t as student

    logarithm = float(student.logsf(abs(t), free))
    found = float(norm.isf(np.exp(logarithm))) if logarithm > -700 else _FARTHEST
    return float(np.sign(t) * min(found, _FARTHEST))
