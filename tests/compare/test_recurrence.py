import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.recurrence import (
    bleeding_intervals,
    recurrence_curve,
    recurrence_rate,
    taper_day,
    time_to_recurrence,
)


def visits(subject, *steps):
    return pd.DataFrame(
        [(subject, f"ses-{n}", *step) for n, step in enumerate(steps)],
        columns=["subject", "session", "days", "prednisone_mg_per_day", "phase"],
    )


def test_time_to_recurrence_runs_from_a_taper_that_held_and_counts_everyone():
    bleeding = (0, 40, "acute"), (30, 40, "subacute"), (90, 10, "none"), (200, 10, "acute"), (300, 40, "acute")
    sessions = pd.concat([
        visits("sub-a", *bleeding),
        visits("sub-b", (0, 40, "acute"), (60, 20, "none"), (400, 5, "none")),
        visits("sub-c", (0, 0, "none"), (60, 0, "none")),
        visits("sub-d", (0, 40, "acute"), (60, 20, "none")),
    ])  # fmt: skip
    found = time_to_recurrence(sessions).set_index("subject")
    assert found.loc["sub-a"].to_dict() == {
        "status": "followed", "taper_day": 90, "days": 110, "after": 0, "recurred": True, "dose_at_end": 10,
    }  # fmt: skip
    assert found.loc["sub-b", ["status", "days", "recurred"]].tolist() == ["followed", 340, False]
    assert found["status"].tolist() == ["followed", "followed", "never tapered", "not seen after the taper"]
    assert found.loc[["sub-c", "sub-d"], "days"].isna().all()


def test_a_bleed_at_a_visit_without_a_dose_is_kept():
    sessions = visits("a", (0, 40, "acute"), (60, 20, "none"), (100, 20, "none"), (130, np.nan, "acute"), (200, 20, ""))
    found = time_to_recurrence(sessions).iloc[0]
    assert (found["days"], found["after"], found["recurred"]) == (70, 40, True)
    assert bleeding_intervals(sessions)["bled"].tolist() == [False, False, True, False]


def test_a_taper_is_a_share_of_the_dose_held_for_days():
    assert taper_day([0, 30, 60], [40, 35, 30]) == 60
    assert taper_day([0, 30, 40, 90], [40, 10, 40, 20]) == 90  # a pause of ten days is none
    assert taper_day([0, 30, 60], [40, np.nan, 20]) == 60
    assert np.isnan(taper_day([0, 30], [10, 10])) and np.isnan(taper_day([0, 30], [0, 0]))


def test_the_recurrence_curve_is_kaplan_and_meiers_and_leaves_out_who_was_not_followed():
    times = pd.DataFrame({"days": [10.0, 20.0, 30.0, np.nan], "recurred": [True, False, True, False]})
    curve = recurrence_curve(times)
    assert curve["days"].tolist() == [0, 10, 20, 30]
    assert curve["free"].tolist() == pytest.approx([1, 2 / 3, 2 / 3, 0])
    assert curve["at_risk"].tolist() == [3, 3, 2, 1]
    with pytest.raises(ValueError, match="no subject was tapered"):
        recurrence_curve(times.assign(days=np.nan))


def test_intervals_carry_the_dose_on_and_count_a_bleed_once():
    found = bleeding_intervals(
        visits("a", (100, 40, "acute"), (130, 20, "none"), (190, 5, "acute"), (200, 40, "acute"), (300, 20, "acute"))
    )
    assert found[["start", "stop", "bled"]].to_numpy().tolist() == [
        [0, 30, False], [30, 90, True], [90, 100, False], [100, 200, False],
    ]  # fmt: skip
    assert found["prednisone_mg_per_day"].tolist() == [40, 20, 5, 40]


def bleeders(n_subjects, beta, seed):
    """Visits every 90 days; the hazard changes by a factor exp(beta) with 10 mg more."""
    rng = np.random.default_rng(seed)
    found = []
    for n in range(n_subjects):
        dose, bled = float(rng.choice([0, 10, 20, 40])), False
        for visit in range(10):
            found.append((f"s{n}", 90.0 * visit, dose, "acute" if bled else "none"))
            dose = float(rng.choice([0, 10, 20, 40]))
            bled = not bled and rng.random() < 1 - np.exp(-0.3 * np.exp(beta * found[-1][2] / 10))
    return pd.DataFrame(found, columns=["subject", "days", "prednisone_mg_per_day", "phase"])


def test_the_hazard_ratio_of_a_dose_that_changes_is_recovered():
    found = recurrence_rate(bleeders(40, -0.4, 0)).iloc[0]
    assert found["low"] < np.exp(-0.4) < found["high"] < 1
    assert found["n_bleeds"] > 30 and found["n_subjects"] == 40 and found["n_without_dose"] == 0
    assert found["bleeds_per_year"] == pytest.approx(found["n_bleeds"] / (40 * 810 / 365.25))


def test_few_bleeds_give_a_rate_and_no_ratio():
    found = recurrence_rate(visits("a", (0, 40, "none"), (90, 20, "acute"), (455.25, 20, "none"))).iloc[0]
    assert np.isnan(found["hazard_ratio"]) and found["flag"] == "few_bleeds"
    assert found["bleeds_per_year"] == pytest.approx(1 / (455.25 / 365.25))
    with pytest.raises(ValueError, match="no subject was seen twice"):
        recurrence_rate(visits("a", (0, 40, "acute")))
