import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.change import compare_sessions, phantom_repeatability, read_change, repeatability
from ipha_toolkit.compare.matching import acquisition_table
from ipha_toolkit.compare.nodules import match_nodules, summarize_matches
from ipha_toolkit.errors import DataError
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import Protocol


def rows_of(*entries):
    """Rows from (subject, session, measure, value); all of the whole lung in CT."""
    return table(
        row(measure, value, modality="ct", region="lung", n_voxels=9) | {"subject": subject, "session": session}
        for subject, session, measure, value in entries
    )


def scatter_of(**sd):
    """A known scatter, resting on so many pairs that the limit is 1.96 * sqrt(2) * sd."""
    return pd.DataFrame([
        {"modality": "ct", "region": "lung", "measure": measure, "sd_within": value, "n_pairs": 10**6}
        for measure, value in sd.items()
    ])  # fmt: skip


def deciding(*measures, confidence=0.95):
    names = ", ".join(f'"ct {measure}"' for measure in measures)
    return Protocol.from_toml(f"[change]\ndeciding = [{names}]\nconfidence = {confidence}\n")


def test_repeatability_is_that_done_by_hand():
    test = rows_of(("a", "1", "attenuation_mean", -800), ("b", "1", "attenuation_mean", -850))
    retest = rows_of(("a", "2", "attenuation_mean", -806), ("b", "2", "attenuation_mean", -842))
    found = repeatability(test, retest).iloc[0]
    assert found["sd_within"] == pytest.approx(np.sqrt((36 + 64) / 4))
    assert (found["n_pairs"], found["unit"]) == (2, "HU")
    assert found["low"] < found["repeatability_coefficient"] < found["high"]


@pytest.mark.parametrize("n_pairs", [2, 3, 5])
def test_the_interval_of_the_coefficient_covers_the_truth_in_95_of_100(n_pairs):
    rng = np.random.default_rng(1)
    measures = ["attenuation_mean", "attenuation_sd", "attenuation_p5", "attenuation_p50", "attenuation_p95"]
    covered = []
    for _ in range(40):
        first, second = (
            rows_of(*((f"s{n}", v, name, rng.normal()) for n in range(n_pairs) for name in measures)) for v in "12"
        )
        found = repeatability(first, second)
        covered += ((found["low"] < 1.96 * np.sqrt(2)) & (1.96 * np.sqrt(2) < found["high"])).tolist()
    assert np.mean(covered) == pytest.approx(0.95, abs=0.045)


def test_two_scans_of_one_lung_differ_by_less_than_the_coefficient_in_95_of_100():
    rng = np.random.default_rng(2)
    sd, inside = 4.0, []
    for _ in range(60):
        level = rng.normal(-800, 50, 20)
        first, second = (
            rows_of(*((f"s{n}", v, "attenuation_mean", x + rng.normal(0, sd)) for n, x in enumerate(level)))
            for v in "12"
        )
        limit = repeatability(first, second)["repeatability_coefficient"].iloc[0]
        inside.append(np.abs(rng.normal(0, sd * np.sqrt(2), 500)) < limit)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


def test_scatter_that_grows_with_the_level_judges_a_change_at_its_own_level():
    rng = np.random.default_rng(5)
    level = np.tile([2.0, 100.0], 60)
    test, retest = (
        rows_of(*((f"s{n}", v, "nodules_per_litre", x * rng.normal(1, 0.05)) for n, x in enumerate(level)))
        for v in "12"
    )
    scatter = repeatability(test, retest)
    assert scatter.loc[0, "sd_share"] == pytest.approx(0.05, rel=0.2) and scatter.loc[0, "sd_at_zero"] < 0.1
    protocol = deciding("nodules_per_litre")
    few, many = (
        [rows_of(("a", v, "nodules_per_litre", x)) for v, x in zip("12", pair, strict=True)]
        for pair in ((2.0, 13.0), (100.0, 111.0))
    )
    verdicts = [read_change(*pair, scatter=scatter, protocol=protocol).verdict for pair in (few, many)]
    assert verdicts == ["changed", "unchanged"]
    limits = [
        compare_sessions(pd.concat(pair), scatter=scatter)["smallest_detectable_change"][0] for pair in (few, many)
    ]
    assert limits[0] == pytest.approx(scatter.loc[0, "repeatability_coefficient"]) and limits[1] > 1.2 * limits[0]


def test_a_subject_twice_in_a_round_and_nothing_in_common_are_refused():
    one = rows_of(("a", "1", "attenuation_mean", -800))
    with pytest.raises(ValueError, match="test rows hold a measure of one subject more than once"):
        repeatability(pd.concat([one, one]), one)
    with pytest.raises(ValueError, match="no subject, modality, region and measure is in both"):
        repeatability(one, one.assign(subject="b"))


def test_verdicts_follow_limit_and_direction():
    rows = rows_of(
        ("a", "1", "attenuation_mean", -800), ("a", "2", "attenuation_mean", -790),
        ("a", "3", "attenuation_mean", -740),
        ("a", "1", "lung_volume", 4000), ("a", "2", "lung_volume", 3000), ("a", "3", "lung_volume", 4000),
        ("a", "1", "attenuation_sd", 90), ("a", "2", "attenuation_sd", 90),
    )  # fmt: skip
    found = compare_sessions(rows, scatter=scatter_of(attenuation_mean=5, lung_volume=50))
    verdicts = {(r.session_from, r.measure): r.verdict for r in found.itertuples()}
    assert verdicts == {
        ("1", "attenuation_mean"): "unchanged", ("2", "attenuation_mean"): "worse",
        ("1", "lung_volume"): "worse", ("2", "lung_volume"): "better", ("1", "attenuation_sd"): "unknown",
    }  # fmt: skip
    limit = found.loc[found["measure"] == "attenuation_mean", "smallest_detectable_change"].iloc[0]
    assert limit == pytest.approx(1.96 * np.sqrt(2) * 5, rel=1e-3)


def test_a_measure_that_never_scattered_says_nothing_of_change():
    rows = rows_of(("a", "1", "nodule_diameter", 4.0), ("a", "2", "nodule_diameter", 4.1))
    scatter = scatter_of(nodule_diameter=0.0)
    assert compare_sessions(rows, scatter=scatter)["verdict"].tolist() == ["unknown"]
    one, two = (rows[rows["session"] == session] for session in "12")
    reading = read_change(one, two, scatter=scatter, protocol=deciding("nodule_diameter"))
    assert (reading.verdict, reading.missing) == ("indeterminate", ("ct nodule_diameter",))


def test_days_put_sessions_in_order_and_are_counted():
    rows = rows_of(("a", "late", "lung_volume", 3000), ("a", "early", "lung_volume", 4000))
    sessions = pd.DataFrame({"subject": "a", "session": ["late", "early"], "days": [700.0, 20.0]})
    found = compare_sessions(rows, sessions, scatter=scatter_of(lung_volume=50)).iloc[0]
    assert (found["session_from"], found["session_to"], found["days"]) == ("early", "late", 680)
    assert (found["change"], found["unit"]) == (-1000, "mL")


def test_sessions_without_days_are_ordered_by_name_and_none_is_left_out():
    rows = rows_of(*[("a", name, "attenuation_mean", -800) for name in ("1", "2", "3")])
    nobody = pd.DataFrame({"subject": [], "session": []}, dtype=str)
    for visits in (None, nobody, nobody.assign(days=np.nan)):
        found = compare_sessions(rows, visits)
        assert list(zip(found["session_from"], found["session_to"], strict=True)) == [("1", "2"), ("2", "3")]
        assert found["days"].isna().all()
    with pytest.raises(DataError, match="days holds 'soon', which is no number"):
        compare_sessions(rows, pd.DataFrame({"subject": ["a"], "session": ["1"], "days": ["soon"]}))


def test_a_patient_is_read_as_changed_where_one_deciding_measure_is_beyond_its_limit():
    before = rows_of(("a", "1", "attenuation_mean", -800), ("a", "1", "attenuation_sd", 90))
    same = rows_of(("a", "2", "attenuation_mean", -798), ("a", "2", "attenuation_sd", 92))
    other = rows_of(("a", "2", "attenuation_mean", -700), ("a", "2", "attenuation_sd", 92))
    kwargs = {"scatter": scatter_of(attenuation_mean=5, attenuation_sd=2)}
    protocol = deciding("attenuation_mean", "attenuation_sd", "attenuation_p90")
    reading = read_change(before, same, protocol=protocol, **kwargs)
    assert (reading.verdict, reading.missing) == ("unchanged", ("ct attenuation_p90",))
    assert "-800 to -798 HU, smallest detectable" in reading.reasons[0]
    assert read_change(before, other, protocol=protocol, **kwargs).verdict == "changed"
    assert read_change(before, other, protocol=deciding("lung_volume"), **kwargs).verdict == "indeterminate"


def test_many_deciding_measures_call_an_unchanged_patient_changed_no_more_often_than_one():
    rng = np.random.default_rng(3)
    names = ["attenuation_mean", "attenuation_sd", "attenuation_p5", "attenuation_p50", "attenuation_p95"]
    scatter, protocol = scatter_of(**dict.fromkeys(names, 1.0)), deciding(*names)
    changed = 0
    for _ in range(300):
        one, two = (rows_of(*(("a", v, name, rng.normal()) for name in names)) for v in "12")
        changed += read_change(one, two, scatter=scatter, protocol=protocol).verdict == "changed"
    assert 0.02 <= changed / 300 <= 0.09


def nodules(points, diameter=4.0):
    return pd.DataFrame(points, columns=["x_mm", "y_mm", "z_mm"], dtype=float).assign(diameter_mm=diameter)


def test_nodules_are_paired_one_to_one_with_the_smallest_total_distance():
    before = nodules([[0, 0, 0], [4, 0, 0], [50, 0, 0]])
    after = nodules([[3, 0, 0], [6, 0, 0], [90, 0, 0]], diameter=5.0)
    found = match_nodules(before, after, lung_volume_ml=4000)
    assert found["status"].tolist() == ["stable", "stable", "gone", "new"]
    pairs = found[found["status"] == "stable"]
    assert set(zip(pairs["before"], pairs["after"], strict=True)) == {(0, 0), (1, 1)}
    assert pairs["distance_mm"].tolist() == [2, 3]
    summary = summarize_matches(found, lung_volume_ml=4000)
    assert set(found["expected_by_chance"]) == {summary.expected_by_chance}
    assert set(found["p_as_many"]) == {summary.p_chance}
    assert found.loc[2, "x_mm"] == 50 and found.loc[3, "x_mm"] == 90
    assert (pairs["diameter_after_mm"] == 5).all()


def test_the_chance_of_a_pair_is_that_of_a_poisson_lung():
    found = match_nodules(nodules([[0, 0, 0]]), nodules([[2, 0, 0], [90, 0, 0]]), lung_volume_ml=1.0)
    assert found["p_chance"].iloc[0] == pytest.approx(1 - np.exp(-2 / 1000 * 4 / 3 * np.pi * 8))


def test_unrelated_nodules_match_as_often_as_the_summary_expects():
    rng = np.random.default_rng(5)
    found, expected = [], []
    for _ in range(40):
        tables = [nodules(rng.uniform(0, 100, (60, 3))) for _ in range(2)]
        summary = summarize_matches(match_nodules(*tables, lung_volume_ml=1000), lung_volume_ml=1000)
        found.append(summary.stable)
        expected.append(summary.expected_by_chance)
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.25)


def test_the_same_nodules_again_are_no_chance():
    places = np.random.default_rng(6).uniform(0, 150, (80, 3))
    summary = summarize_matches(
        match_nodules(nodules(places), nodules(places + 0.7), lung_volume_ml=3000), lung_volume_ml=3000
    )
    assert (summary.stable, summary.new, summary.gone) == (80, 0, 0)
    assert summary.p_chance < 1e-6


def test_no_nodules_on_a_date_are_no_error():
    none = nodules(np.empty((0, 3)))
    assert match_nodules(none, none, lung_volume_ml=1).empty
    assert match_nodules(none, nodules([[1, 2, 3]]), lung_volume_ml=1)["status"].tolist() == ["new"]
    assert summarize_matches(match_nodules(none, none, lung_volume_ml=1), lung_volume_ml=1).stable == 0


def test_tables_without_positions_and_lungs_without_volume_are_refused():
    one = nodules([[0, 0, 0]])
    with pytest.raises(ValueError, match=r"before: a nodule table needs .* lacks diameter_mm"):
        match_nodules(one.drop(columns="diameter_mm"), one, lung_volume_ml=1)
    with pytest.raises(ValueError, match="lung_volume_ml needs to be above 0 mL, got 0"):
        match_nodules(one, one, lung_volume_ml=0)


def test_the_packages_own_scatter_covers_the_deciding_measures():
    known = phantom_repeatability()
    whole = {f"{r.modality} {r.measure}" for r in known[known["region"] == "lung"].itertuples()}
    assert set(Protocol().change.deciding) <= whole
    assert (known["repeatability_coefficient"] > 0).mean() > 0.95


def flagged(subject, session, value, *flags, modality="T1w", measure="signal_ratio_median"):
    made = row(measure, value, modality=modality, region="lung", n_voxels=9, flags=flags)
    return made | {"subject": subject, "session": session}


def test_a_change_over_contrast_agent_is_withheld_in_words():
    rows = table([flagged("a", "1", 0.15), flagged("a", "2", 0.4, "contrast_enhanced")])
    found = compare_sessions(rows).iloc[0]
    assert (found["verdict"], found["flag"]) == ("withheld", "contrast_enhanced")
    assert found["limits"] == "contrast enhanced: a contrast agent was given on one of the dates"
    plain = table([flagged("a", "1", 0.15), flagged("a", "2", 0.4)])
    assert compare_sessions(plain).iloc[0]["verdict"] == "different"
    reading = read_change(rows[rows["session"] == "1"], rows[rows["session"] == "2"])
    assert reading.verdict == "withheld"
    assert "T1w signal_ratio_median is withheld: contrast enhanced" in reading.reasons[0]


def test_a_change_of_sequence_is_no_change():
    rows = table([flagged("a", "1", 0.15), flagged("a", "2", 0.4)])
    facts = [{"subject": "a", "session": s, "modality": "T1w", "field_t": f} for s, f in (("1", 1.5), ("2", 3.0))]
    found = compare_sessions(rows, acquisitions=acquisition_table(facts)).iloc[0]
    assert (found["verdict"], found["limits"]) == ("withheld", "T1w field 3 T, not 1.5 T")
