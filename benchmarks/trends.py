"""False alarms of ``fit_trend`` where nobody changes on average.

Run ``python benchmarks/trends.py [--cohorts N] [--old FOLDER]``: subjects differ in level and pace, the pace's mean is
zero. ``--old`` is a checkout of an earlier commit, whose ``fit_trend`` is run on the same cohorts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

RESULT = Path(__file__).parent / "results" / "trends.md"
SETTINGS = [(5, 4, 3.0), (6, 5, 0.0), (6, 5, 3.0), (10, 5, 1.0), (10, 5, 3.0), (20, 4, 3.0)]
"""Subjects, visits at most, SD of their pace over that of one measurement."""


def cohort(n_subjects, most_visits, pace_sd, rng):
    """Rows and sessions: visits missed at random, a dose that follows nothing."""
    rows, sessions = [], []
    for n in range(n_subjects):
        level, pace = rng.normal(-800, 40), rng.normal(0, 4 * pace_sd)
        for visit in np.flatnonzero(rng.random(most_visits) < 0.85) if rng.random() < 0.9 else range(2):
            key = {"subject": f"s{n}", "session": f"v{visit}"}
            rows.append(key | {"modality": "ct", "region": "lung", "measure": "attenuation_mean",
                               "value": level + pace * visit + rng.normal(0, 4)})  # fmt: skip
            sessions.append(key | {"days": 365.25 * visit + rng.uniform(-30, 30), "dose": rng.choice([0, 10, 20, 40])})
    return pd.DataFrame(rows), pd.DataFrame(sessions)


def alarms(setting, n_cohorts):
    """Share of cohorts with p < 0.05 for years and for the dose, and share that gave no answer."""
    try:
        from ipha_toolkit.compare.trends import fit_trend
    except ImportError:  # where it was before
        from ipha_toolkit.compare.groups import fit_trend

    found = []
    for seed in range(n_cohorts):
        rows, sessions = cohort(*setting, np.random.default_rng(seed))
        try:
            fit = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct", covariates=("dose",))
        except ValueError:
            found.append((np.nan, np.nan))
            continue
        p = fit.set_index("term")["p"]
        found.append((p["years"], p.get("dose within", p.get("dose", np.nan))))
    years, dose = np.transpose(found)
    shares = [float(np.mean(p[np.isfinite(p)] < 0.05)) if np.isfinite(p).any() else None for p in (years, dose)]
    return [*shares, float(np.mean(np.isnan(years)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=400)
    parser.add_argument("--old", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(alarms(json.loads(given.one), given.cohorts)))
        return
    text = [
        "# Trends", "",
        f"{given.cohorts} simulated cohorts each, no trend on average: share called a trend (p < 0.05), of those "
        "answered; 5 % are due.", "",
        "| subjects | visits | SD of pace over noise | years, before | years, now | dose within, now | withheld now |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for setting in SETTINGS:
        years, dose, withheld = ask(Path(__file__).parents[1], setting, given.cohorts)
        before = ask(given.old, setting, given.cohorts)[0] if given.old else None
        cells = [f"{100 * value:.1f} %" if value is not None else "-" for value in (before, years, dose, withheld)]
        text.append(f"| {' | '.join(map(str, setting))} | {' | '.join(cells)} |")
        print(text[-1], flush=True)
    RESULT.write_text("\n".join([*text, ""]), "utf-8")


def ask(folder, setting, n_cohorts):
    """Run a setting with the package of a folder."""
    command = [sys.executable, __file__, "--one", json.dumps(setting), "--cohorts", str(n_cohorts)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, check=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
