"""The dose within subjects in ``fit_trend``, tested by four designs where it does nothing.

Run ``python benchmarks/trends_within.py [--cohorts N]``: the setting of ``trends.py`` with most false alarms (10
subjects, 5 visits, paces that differ as much as one measurement). Designs: ``fit_trend`` as it is (CR2 with
Satterthwaite degrees of freedom, weights of the mixed model); the same with weights that leave differences within
subjects only; levels and paces of every subject taken out, t on what is left (exact here: errors are normal and
alike); a wild cluster bootstrap of the first, the null imposed, Webb's six weights, 399 draws.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import trends as bench
from scipy.stats import t as student

SETTING = (10, 5, 1.0)
WEBB = np.sqrt([0.5, 1.0, 1.5])
DESIGNS = ("fit_trend", "within subjects only", "paces taken out", "wild bootstrap")


def tests(seed, rng):
    """p by each design."""
    from ipha_toolkit.compare import trends
    from ipha_toolkit.compare.robust import fit_clusters

    rows, sessions = bench.cohort(*SETTING, np.random.default_rng(seed))
    data = trends._trend_data(rows, sessions, "attenuation_mean", "ct", "lung", ("dose",))
    data, terms = trends._split(data, ("dose",))
    y = (data["value"] - data["value"].mean()).to_numpy() / data["value"].std()
    x = np.column_stack([np.ones(len(data)), *(data[name] / data[name].std() for name in terms)])
    term, subjects = 1 + terms.index("dose within"), data["subject"].to_numpy()
    _, sizes = np.unique(subjects, return_counts=True)
    parts = [slice(end - n, end) for n, end in zip(sizes, np.cumsum(sizes), strict=True)]
    mixed, _ = trends._working_covariances(y, x, subjects, True)
    inside = [100 * np.ones((n, n)) + 0.05 * np.eye(n) for n in sizes]
    return [
        fit_clusters(x, y, mixed).p[term], fit_clusters(x, y, inside).p[term], without_paces(x, y, term, parts),
        wild(x, y, term, parts, mixed, rng),
    ]  # fmt: skip


def without_paces(x, y, term, parts):
    left_x, left_y, free = [], [], -1
    for part in parts:
        n = part.stop - part.start
        if n > 2:
            own = np.eye(n) - x[part, :2] @ np.linalg.pinv(x[part, :2])
            left_x.append(own @ x[part, term])
            left_y.append(own @ y[part])
            free += n - 2
    a, b = np.concatenate(left_x), np.concatenate(left_y)
    slope = a @ b / (a @ a)
    se = np.sqrt(((b - slope * a) ** 2).sum() / free / (a @ a))
    return 2 * student.sf(abs(slope) / se, free)


def wild(x, y, term, parts, covariances, rng, draws=399):
    from ipha_toolkit.compare.robust import _root_of_inverse

    roots = [np.linalg.inv(np.linalg.cholesky(block)) for block in covariances]
    x, y = (np.concatenate([root @ a[part] for root, part in zip(roots, parts, strict=True)]) for a in (x, y))
    null = np.delete(x, term, axis=1)
    fitted = null @ np.linalg.lstsq(null, y, rcond=None)[0]
    bread = np.linalg.inv(x.T @ x)
    weights = [(_root_of_inverse(np.eye(p.stop - p.start) - x[p] @ bread @ x[p].T) @ x[p] @ bread)[:, term]
               for p in parts]  # fmt: skip
    signs = rng.choice([*WEBB, *-WEBB], (draws, len(parts)))
    each = np.repeat(signs, [p.stop - p.start for p in parts], axis=1)
    drawn = np.vstack([y, fitted + each * (y - fitted)])
    estimate = drawn @ x @ bread
    left = drawn - estimate @ x.T
    se = np.sqrt(sum((left[:, p] @ w) ** 2 for p, w in zip(parts, weights, strict=True)))
    ratio = np.abs(estimate[:, term]) / se
    return np.mean(ratio[1:] >= ratio[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(1)
    p = np.array([tests(seed, rng) for seed in range(given.cohorts)])
    for name, share in zip(DESIGNS, 100 * (p < 0.05).mean(axis=0), strict=True):
        print(f"{name}: {share:.1f} % of {given.cohorts}")


if __name__ == "__main__":
    main()
