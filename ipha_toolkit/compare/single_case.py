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
    (1.97, 5.74)
    """
    return float(as_normal(*Plain(controls).t(np.array([value])))[0])


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
    return float(as_normal(*Design(theirs).fit(controls).t(np.array([value]), np.array([own], np.float64)))[0])


class Plain:
    """Controls as :func:`single_case` has them, for many values set against the same."""

    def __init__(self, controls: npt.ArrayLike) -> None:
        others = np.asarray(controls, np.float64)
        if others.size < 2:
            raise ValueError(f"needs two controls or more, got {others.size}")
        self._mean, self._spread, self._n = float(others.mean()), float(others.std(ddof=1)), others.size

    def t(self, values: Array) -> tuple[Array, int]:
        """Student's t of values, NaN where the controls do not vary, and its degrees of freedom."""
        if not self._spread > 0:
            return np.full(values.shape, np.nan), self._n - 1
        return (values - self._mean) / (self._spread * float(np.sqrt(1 + 1 / self._n))), self._n - 1


class Design:
    """Covariates of controls, shape (n, p), looked at once for the many measures that are regressed on them."""

    def __init__(self, theirs: npt.ArrayLike) -> None:
        x = np.asarray(theirs, np.float64)
        self.varies = x.std(axis=0) > 0
        self.middle, self.scale = x.mean(axis=0)[self.varies], x.std(axis=0)[self.varies]
        self.matrix = np.column_stack([np.ones(len(x)), (x[:, self.varies] - self.middle) / self.scale])
        self.free = len(x) - self.matrix.shape[1]
        if self.free < 2:
            raise ValueError(f"{len(x)} controls are too few for {self.matrix.shape[1] - 1} covariates")
        self.inverse = np.linalg.pinv(self.matrix.T @ self.matrix)
        self.solver = self.inverse @ self.matrix.T

    def fit(self, controls: npt.ArrayLike) -> Regression:
        """The controls' values, shape (n,), regressed on their covariates."""
        return Regression(self, np.asarray(controls, np.float64))


class Regression:
    """Controls as :func:`without_covariates` has them, for many values set against the same."""

    def __init__(self, design: Design, y: Array) -> None:
        self._design, self._free = design, design.free
        self._fitted = design.solver @ y
        self._spread = float(np.sqrt(np.sum((y - design.matrix @ self._fitted) ** 2) / design.free))

    def t(self, values: Array, own: Array) -> tuple[Array, int]:
        """Student's t of values, shape (m,), of people with these covariates, shape (m, p); its degrees of freedom."""
        if not self._spread > 0:
            return np.full(values.shape, np.nan), self._free
        points = [np.ones(values.shape), *((own[:, self._design.varies] - self._design.middle) / self._design.scale).T]
        # term by term: a product of matrices rounds by how many values stand side by side
        fitted, squared = np.zeros(values.shape), np.zeros(values.shape)
        for point, slope, row in zip(points, self._fitted, self._design.inverse, strict=True):
            fitted += point * slope
            squared += point * sum((other * cell for other, cell in zip(points, row, strict=True)), np.zeros(1))
        return (values - fitted) / (self._spread * np.sqrt(1 + squared)), self._free


def as_normal(t: npt.ArrayLike, free: npt.ArrayLike) -> Array:
    """The normal quantile of the same tail probability as Student's t, elementwise."""
    from scipy.stats import norm
    from scipy.stats import t as student

    away = np.asarray(t, np.float64)
    logarithm = np.asarray(student.logsf(np.abs(away), np.asarray(free)), np.float64)
    found = np.where(logarithm > -700, norm.isf(np.exp(np.maximum(logarithm, -700))), _FARTHEST)
    return np.asarray(np.where(np.isnan(away), np.nan, np.sign(away) * np.minimum(found, _FARTHEST)), np.float64)
