"""False alarms of ``recurrence_rate`` where the dose does nothing, by two counts of the degrees of freedom.

Run ``python benchmarks/recurrence.py [--cohorts N]``: visits every 90 days, a dose drawn anew at each, subjects who
bleed alike or unlike (gamma frailty). Errors are jackknifed by subject; t has as many degrees of freedom as subjects
less 1, or as subjects who bled less 1.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

RESULT = Path(__file__).parent / "results" / "recurrence.md"
SETTINGS = [(8, 0.0), (8, 1.0), (15, 0.0), (15, 1.0), (30, 1.0)]
"""Subjects, variance of their frailty."""
HEAD = """# Bleeds that come back

{n} simulated cohorts each, no effect of the dose: share with p < 0.05, of those answered; 5 % are due.

| subjects | variance of frailty | df: subjects - 1 | df: subjects who bled - 1 | withheld |
| --- | --- | --- | --- | --- |"""


def cohort(n_subjects, frailty, rng):
    """Ten visits a subject; the hazard is 0.3 per 90 days times the subject's frailty."""
    found = []
    for n in range(n_subjects):
        own = rng.gamma(1 / frailty, frailty) if frailty else 1.0
        bled = False
        for visit in range(10):
            dose = float(rng.choice([0, 10, 20, 40]))
            found.append((f"s{n}", 90.0 * visit, dose, "acute" if bled else "none"))
            bled = not bled and rng.random() < 1 - np.exp(-0.3 * own)
    return pd.DataFrame(found, columns=["subject", "days", "prednisone_mg_per_day", "phase"])


def tests(setting, n_cohorts):
    """p of each cohort by both counts; NaN where withheld."""
    from scipy.stats import t

    from ipha_toolkit.compare.recurrence import bleeding_intervals, recurrence_rate

    found = []
    for seed in range(n_cohorts):
        sessions = cohort(*setting, np.random.default_rng([4, *map(int, setting), seed]))
        row, intervals = recurrence_rate(sessions).iloc[0], bleeding_intervals(sessions)
        n, bled = intervals["subject"].nunique(), intervals.loc[intervals["bled"], "subject"].nunique()
        se = np.log(row["high"] / row["low"]) / 2 / t.ppf(0.975, row.get("df", n - 1))
        found.append([2 * t.sf(abs(np.log(row["hazard_ratio"])) / se, df) for df in (n - 1, bled - 1)])
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=300)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    text = [HEAD.format(n=given.cohorts)]
    for setting in SETTINGS:
        p = tests(setting, given.cohorts)
        known = np.isfinite(p).all(axis=1)
        shares = 100 * (p[known] < 0.05).mean(axis=0)
        text.append(f"| {setting[0]} | {setting[1]:g} | {shares[0]:.1f} % | {shares[1]:.1f} % | "
                    f"{100 * (~known).mean():.1f} % |")  # fmt: skip
        print(text[-1], flush=True)
    RESULT.write_text("\n".join([*text, ""]), "utf-8")


if __name__ == "__main__":
    main()
