import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.robust import fit_clusters
from ipha_toolkit.compare.trends import fit_trend
from ipha_toolkit.measure.rows import row, table


def rows_of(values):
    return table(
        row("attenuation_mean", value, modality="ct", region="lung", n_voxels=9)
        | {"subject": subject, "session": session}
        for (subject, session), value in values.items()
    )


def course(n_subjects, *, slope, dose_effect, between, noise, seed=0):
    rng = np.random.default_rng(seed)
    values, visits = {}, []
    for n in range(n_subjects):
        level = rng.normal(-800, between)
        for visit in range(5):
            dose = float(rng.choice([0, 10, 20, 40]))
            key = (f"sub-{n}", f"ses-{visit}")
            values[key] = level + slope * visit + dose_effect * dose + rng.normal(0, noise)
            visits.append((*key, 365.25 * visit, dose))
    return rows_of(values), pd.DataFrame(visits, columns=["subject", "session", "days", "prednisone_mg_per_day"])


def test_a_trend_and_a_dose_effect_are_recovered():
    rows, sessions = course(15, slope=6, dose_effect=-0.5, between=40, noise=4)
    found = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct").set_index("term")
    assert found.loc["years", "estimate"] == pytest.approx(6, abs=1)
    assert found.loc["years", "low"] < 6 < found.loc["years", "high"]
    assert found.loc["prednisone_mg_per_day within", "estimate"] == pytest.approx(-0.5, abs=0.1)
    assert found.loc["years", "unit"] == "HU/year"
    assert set(found["model"]) == {"random intercept and slope"}
    assert (found["flag"] == "").all()


def test_subjects_that_do_not_differ_keep_their_level():
    rows, sessions = course(6, slope=6, dose_effect=0, between=0, noise=4)
    found = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct", covariates=()).set_index("term")
    assert found.loc["level", "estimate"] == pytest.approx(-800, abs=8)
    assert found.loc["years", "estimate"] == pytest.approx(6, abs=2)
    assert (found["flag"] == "small_sample").all()


def test_a_trend_agrees_with_an_ordinary_line_within_each_subject():
    rows, sessions = course(12, slope=3, dose_effect=0, between=200, noise=1, seed=3)
    found = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct", covariates=()).set_index("term")
    merged = rows.merge(sessions, on=["subject", "session"])
    slopes = [np.polyfit(part["days"] / 365.25, part["value"], 1)[0] for _, part in merged.groupby("subject")]
    assert found.loc["years", "estimate"] == pytest.approx(np.mean(slopes), abs=0.02)


def test_a_trend_of_too_few_sessions_is_refused():
    rows, sessions = course(1, slope=1, dose_effect=0, between=1, noise=1)
    with pytest.raises(
        ValueError, match=r"5 sessions of 1 subjects.*a trend needs at least 5 sessions of two subjects"
    ):
        fit_trend(rows, sessions, measure="attenuation_mean", modality="ct")
    with pytest.raises(ValueError, match="sessions lack the columns days"):
        fit_trend(rows, sessions.drop(columns="days"), measure="attenuation_mean", modality="ct")


def paced(n_subjects, seed, n_visits=4):
    """Subjects whose own pace varies about zero, three times as much as one measurement."""
    rng = np.random.default_rng(seed)
    values, visits = {}, []
    for n in range(n_subjects):
        level, pace = rng.normal(-800, 40), rng.normal(0, 12)
        for visit in range(n_visits):
            values[f"s{n}", f"v{visit}"] = level + pace * visit + rng.normal(0, 4)
            visits.append((f"s{n}", f"v{visit}", 365.25 * visit))
    return rows_of(values), pd.DataFrame(visits, columns=["subject", "session", "days"])


def test_patients_who_each_change_at_their_own_pace_are_no_trend():
    alarms = []
    for seed in range(60):
        fit = fit_trend(*paced(6, seed), measure="attenuation_mean", modality="ct", covariates=())
        alarms.append(fit.set_index("term").loc["years", "p"] < 0.05)
    assert np.mean(alarms) <= 0.1  # 5 % are due; 24 to 31 % without random slopes


def test_a_balanced_trend_has_the_t_test_of_the_subjects_own_slopes():
    from scipy.stats import ttest_1samp

    rows, sessions = paced(8, 3)
    fit = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct", covariates=()).set_index("term")
    slopes = [np.polyfit(range(4), part["value"], 1)[0] for _, part in rows.groupby("subject")]
    test = ttest_1samp(slopes, 0)
    assert fit.loc["years", "df"] == pytest.approx(7, abs=0.01)
    assert fit.loc["years", "estimate"] == pytest.approx(np.mean(slopes), rel=1e-6)
    assert fit.loc["years", "p"] == pytest.approx(test.pvalue, rel=1e-3)


def test_a_dose_given_to_the_sickest_is_told_from_what_a_dose_does():
    rng = np.random.default_rng(0)
    values, visits = {}, []
    for n in range(20):
        usual = 10.0 * (n % 4)
        for visit in range(5):
            dose = usual + float(rng.choice([-5, 0, 5]))
            values[f"s{n}", f"v{visit}"] = -800 + 3 * usual - 2 * (dose - usual) + rng.normal(0, 2)
            visits.append((f"s{n}", f"v{visit}", 100.0 * visit, dose))
    sessions = pd.DataFrame(visits, columns=["subject", "session", "days", "dose"])
    found = fit_trend(rows_of(values), sessions, measure="attenuation_mean", modality="ct", covariates=["dose"])
    found = found.set_index("term")
    assert found.loc["dose within", "estimate"] == pytest.approx(-2, abs=0.2)
    assert found.loc["dose between", "estimate"] == pytest.approx(3, abs=0.3)
    assert found.loc["dose between", "unit"] == "HU per unit of dose"


def test_two_subjects_give_a_trend_and_no_interval():
    rows, sessions = paced(2, 0)
    found = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct", covariates=()).set_index("term")
    assert np.isfinite(found.loc["years", "estimate"])
    assert found.loc["years", ["low", "high", "p"]].isna().all() and found.loc["years", "flag"] == "small_sample"


def test_clusters_of_one_give_the_hc2_errors_of_statsmodels():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    design = np.column_stack([np.ones(30), rng.normal(size=30)])
    outcome = design @ [1, 2] + rng.normal(size=30) * (1 + np.abs(design[:, 1]))
    ours = fit_clusters(design, outcome, [np.eye(1)] * 30)
    theirs = sm.OLS(outcome, design).fit(cov_type="HC2")
    assert ours.estimate == pytest.approx(theirs.params) and ours.se == pytest.approx(theirs.bse)
    assert (ours.df < 29).all()
