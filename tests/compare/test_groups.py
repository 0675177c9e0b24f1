import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.groups import compare_groups, hedges_g, summarize_participants
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


@pytest.mark.parametrize(("n", "effect"), [(2, 2.0), (4, 1.0), (12, 1.0)])
def test_interval_of_g_covers_the_truth_as_often_as_it_says(n, effect):
    rng = np.random.default_rng(0)
    limits = [hedges_g(rng.normal(effect, 1, n), rng.normal(0, 1, n))[1:] for _ in range(150)]
    covered = [low <= effect <= high for low, high in limits]
    assert 0.9 <= np.mean(covered) <= 0.99


def test_limits_of_g_are_those_of_the_noncentral_t():
    from scipy.stats import nct

    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([0.0, 1, 2, 3])
    _, low, high = hedges_g(a, b)
    root = np.sqrt(20 / 9)
    t = (a.mean() - b.mean()) / np.sqrt((4 * a.var(ddof=1) + 3 * b.var(ddof=1)) / 7) * root
    assert nct.sf(t, 7, low * root) == pytest.approx(0.025, abs=1e-4)
    assert nct.cdf(t, 7, high * root) == pytest.approx(0.025, abs=1e-4)


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


def test_inputs_stay_as_they_were(two_groups):
    rows, labels = two_groups
    before = rows.copy(), labels.copy()
    compare_groups(rows, labels)
    pd.testing.assert_frame_equal(rows, before[0])
    pd.testing.assert_series_equal(labels, before[1])
