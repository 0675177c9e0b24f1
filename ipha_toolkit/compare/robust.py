"""Regression on repeated measurements whose errors hold for few subjects: cluster-robust, bias-reduced, with its own
degrees of freedom for every coefficient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RobustFit:
    """Coefficients with standard errors, degrees of freedom and 95 % limits, each of shape (n_terms,); ``p`` of 0."""

    estimate: Array
    se: Array
    df: Array
    low: Array
    high: Array
    p: Array


def fit_clusters(design: npt.ArrayLike, outcome: npt.ArrayLike, covariances: Sequence[Array]) -> RobustFit:
    """Generalized least squares over clusters, with errors that do not trust the working covariance.

    Parameters
    ----------
    design : array_like, shape (n, n_terms)
        Rows sorted by cluster, of full rank.
    outcome : array_like, shape (n,)
    covariances : sequence of ndarray, shape (m, m) each
        Working covariance of each cluster's rows, in order, up to a common factor. Where it is wrong the
        estimate is less sharp, and the errors still hold.

    Returns
    -------
    RobustFit

    Notes
    -----
    The residuals of a cluster are enlarged by what the fit took from them (CR2), and t has the degrees of freedom that
    the variance estimate would have if the working covariance were true (Satterthwaite). Below about four of them the
    approximation is rough.

    References
    ----------
    Bell & McCaffrey 2002, Survey Methodology 28:169; Pustejovsky & Tipton 2018, doi 10.1080/07350015.2016.1247004.
    """
    from scipy.stats import t

    whitened = [np.linalg.inv(np.linalg.cholesky(block)) for block in covariances]
    ends = np.cumsum([len(block) for block in whitened])
    parts = [slice(end - len(block), end) for block, end in zip(whitened, ends, strict=True)]
    x, y = np.asarray(design, float), np.asarray(outcome, float)
    x = np.concatenate([root @ x[part] for root, part in zip(whitened, parts, strict=True)])
    y = np.concatenate([root @ y[part] for root, part in zip(whitened, parts, strict=True)])
    bread = np.linalg.inv(x.T @ x)
    estimate = bread @ (x.T @ y)
    residual = y - x @ estimate
    weights = [_root_of_inverse(np.eye(part.stop - part.start) - x[part] @ bread @ x[part].T) @ x[part] @ bread
               for part in parts]  # fmt: skip
    scores = np.array([residual[part] @ weight for part, weight in zip(parts, weights, strict=True)])
    se = np.sqrt((scores**2).sum(axis=0))
    df = _satterthwaite(x, bread, parts, weights)
    half = t.ppf(0.975, df) * se
    p = np.asarray(2 * t.sf(np.abs(np.divide(estimate, se, out=np.full(len(se), np.inf), where=se > 0)), df))
    return RobustFit(estimate, se, df, estimate - half, estimate + half, p)


def _root_of_inverse(matrix: Array) -> Array:
    """Symmetric root of the inverse; directions that the fit took whole are left out."""
    values, vectors = np.linalg.eigh(matrix)
    roots = np.where(values > 1e-9, 1 / np.sqrt(np.maximum(values, 1e-9)), 0)
    return np.asarray((vectors * roots) @ vectors.T)


def _satterthwaite(x: Array, bread: Array, parts: Sequence[slice], weights: Sequence[Array]) -> Array:
    """Degrees of freedom of each term's variance, a sum of squares of clusters' scores."""
    found = []
    for term in range(x.shape[1]):
        score = np.zeros((len(x), len(parts)))
        for n, (part, weight) in enumerate(zip(parts, weights, strict=True)):
            score[part, n] = weight[:, term]
            score[:, n] -= x @ (bread @ (x[part].T @ weight[:, term]))
        products = score.T @ score
        found.append(np.trace(products) ** 2 / (products**2).sum())
    return np.array(found)
