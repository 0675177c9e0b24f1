import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.groups import compare_groups, hedges_g, summarize_participants
from ipha_toolkit.compare.trends import fit_trend, recurrence_curve, time_to_recurrence
from ipha_toolkit.measure.rows import row, table


def rows_of(values, *, measure="attenuation_mean", sessions=None):
    """One row a subject (or subject, session) with a CT measure."""
    found = []
    for key, value in values.items():
        subject, session = key if isinstance(key, tuple) else (key, "")
        found.append(
            row(measure, value, modality="ct", region="lung", n_voxels=9) | {"subject": subject, "session": session}
        )
    return table(found)


def labelled(**groups):
    return pd.Series({f"sub-{name}{n}": name for name, size in groups.items() for n in range(size)})


@pytest.fixture
def two_groups():
    rng = np.random.default_rng(4)
    labels = labelled(control=12, iph=12)
    shift = {"control": 0.0, "iph": 40.0}
    values = {subject: -850 + shift[label] + rng.normal(0, 20) for subject, label in labels.items()}
    return rows_of(values), labels


def test_table_one_counts_and_quartiles_are_those_done_by_hand():
    people = pd.DataFrame({
        "participant_id": ["sub-1", "sub-2", "sub-3", "sub-4"],
        "group": ["iph", "iph", "control", None],
        "age": [4.0, 8.0, 6.0, np.nan],
        "sex": ["F", "M", "F", "F"],
    })  # fmt: skip
    one = summarize_participants(people)
    assert list(one.columns) == ["control (n=1)", "iph (n=2)", "no group (n=1)", "all (n=4)", "missing"]
    assert one.loc[("age", "median (quartiles)"), "iph (n=2)"] == "6 (5 to 7)"
    assert one.loc[("age", "median (quartiles)"), "no group (n=1)"] == "n/a"
    assert one.loc[("age", "median (quartiles)"), "missing"] == "1"
    assert one.loc[("sex", "F"), "all (n=4)"] == "3 (75 %)"


def test_table_one_without_groups_has_one_column_for_all():
    one = summarize_participants(pd.DataFrame({"participant_id": ["sub-1"], "age": [5.0]}))
    assert list(one.columns) == ["all (n=1)", "missing"]


def test_difference_effect_and_p_agree_with_scipy(two_groups):
    from scipy.stats import mannwhitneyu

    rows, labels = two_groups
    found = compare_groups(rows, labels).iloc[0]
    values = rows.set_index("subject")["value"]
    iph, control = (values[labels[labels == name].index] for name in ("iph", "control"))
    assert found["difference"] == pytest.approx(iph.mean() - control.mean())
    assert found["difference_low"] < found["difference"] < found["difference_high"]
    assert found["p"] == pytest.approx(mannwhitneyu(iph, control).pvalue)
    assert found["p_corrected"] == pytest.approx(found["p"])  # one test, nothing to correct for
    assert (found["unit"], found["worse"], found["flag"]) == ("HU", "higher", "")


def test_hedges_g_is_cohens_d_times_the_small_sample_factor():
    a, b = [1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]
    g, low, high = hedges_g(a, b)
    assert g == pytest.approx((1 - 3 / 23) * -1 / np.std(a, ddof=1))
    assert low < g < high
    assert np.isnan(hedges_g([1.0], b)).all()
    assert np.isnan(hedges_g([2.0, 2.0], [2.0, 2.0])).all()


def test_interval_of_g_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        _, low, high = hedges_g(rng.normal(1, 1, 12), rng.normal(0, 1, 12))
        hits += low <= 1 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_many_tests_are_corrected(two_groups):
    rows, labels = two_groups
    rng = np.random.default_rng(1)
    more = [rows] + [
        rows_of({s: rng.normal() for s in labels.index}, measure=m)
        for m in ("attenuation_sd", "attenuation_p5", "attenuation_p95", "lung_volume")
    ]
    found = compare_groups(pd.concat(more), labels).set_index("measure")
    assert len(found) == 5
    assert (found["p_corrected"] >= found["p"]).all()
    assert found.loc["attenuation_mean", "p_corrected"] == pytest.approx(5 * found.loc["attenuation_mean", "p"])


def test_sessions_of_one_subject_count_once():
    rows = rows_of(
        {("sub-a", "ses-1"): -800, ("sub-a", "ses-2"): -820, ("sub-b", "ses-1"): -850, ("sub-c", "ses-1"): -860}
    )
    found = compare_groups(rows, pd.Series({"sub-a": "iph", "sub-b": "control", "sub-c": "control"})).iloc[0]
    assert (found["n"], found["n_reference"]) == (1, 2)
    assert found["difference"] == pytest.approx(-810 + 855)
    assert np.isnan(found["hedges_g"]) and np.isnan(found["p"])
    assert found["flag"] == "small_sample"


def test_phases_of_one_subject_are_said_not_to_be_independent():
    rows = rows_of({("sub-a", "ses-1"): 1, ("sub-a", "ses-2"): 2, ("sub-b", "ses-1"): 3, ("sub-b", "ses-2"): 4})
    index = pd.MultiIndex.from_tuples([(s, n) for s in ("sub-a", "sub-b") for n in ("ses-1", "ses-2")])
    found = compare_groups(rows, pd.Series(["none", "acute"] * 2, index), reference="none").iloc[0]
    assert found["flag"] == "small_sample;repeated_subjects"


def test_an_unknown_reference_is_refused_with_the_labels_there_are(two_groups):
    rows, labels = two_groups
    with pytest.raises(ValueError, match=r"no measured subject is labelled 'healthy'.*control, iph"):
        compare_groups(rows, labels, reference="healthy")


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
    assert found.loc["prednisone_mg_per_day", "estimate"] == pytest.approx(-0.5, abs=0.1)
    assert found.loc["level", "estimate"] == pytest.approx(-800, abs=40)
    assert found.loc["years", "unit"] == "HU/year"
    assert set(found["model"]) == {"random intercept"}
    assert (found["flag"] == "").all()


def test_subjects_that_do_not_differ_fall_back_to_least_squares_and_keep_their_level():
    rows, sessions = course(6, slope=6, dose_effect=0, between=0, noise=4)
    found = fit_trend(rows, sessions, measure="attenuation_mean", modality="ct").set_index("term")
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


def visits(subject, *steps):
    return pd.DataFrame(
        [(subject, f"ses-{n}", *step) for n, step in enumerate(steps)],
        columns=["subject", "session", "days", "prednisone_mg_per_day", "phase"],
    )


def test_time_to_recurrence_runs_from_the_first_lowering_of_the_dose():
    bleeding = (0, 40, "acute"), (30, 40, "subacute"), (90, 10, "none"), (200, 10, "acute"), (300, 40, "acute")
    sessions = pd.concat([
        visits("sub-a", *bleeding),
        visits("sub-b", (0, 40, "acute"), (60, 20, "none"), (400, 5, "none")),
        visits("sub-c", (0, 0, "none"), (60, 0, "none")),
        visits("sub-d", (0, 40, "acute"), (60, 20, "none")),
    ])  # fmt: skip
    found = time_to_recurrence(sessions)
    assert found.to_dict("records") == [
        {"subject": "sub-a", "taper_day": 90.0, "days": 110.0, "recurred": True, "dose_at_end": 10.0},
        {"subject": "sub-b", "taper_day": 60.0, "days": 340.0, "recurred": False, "dose_at_end": 5.0},
    ]


def test_the_recurrence_curve_is_kaplan_and_meiers():
    curve = recurrence_curve(pd.DataFrame({"days": [10.0, 20.0, 30.0], "recurred": [True, False, True]}))
    assert curve["days"].tolist() == [0, 10, 20, 30]
    assert curve["free"].tolist() == pytest.approx([1, 2 / 3, 2 / 3, 0])
    assert curve["at_risk"].tolist() == [3, 3, 2, 1]
    with pytest.raises(ValueError, match="no subject was tapered"):
        recurrence_curve(pd.DataFrame({"days": [], "recurred": []}))


def test_inputs_stay_as_they_were(two_groups):
    rows, labels = two_groups
    before = rows.copy(), labels.copy()
    compare_groups(rows, labels)
    pd.testing.assert_frame_equal(rows, before[0])
    pd.testing.assert_series_equal(labels, before[1])
