import pytest

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.phases import classify_phase, compare_readings, differential, read_findings, read_sessions
from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.flags import FINDINGS
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.rules import finding_rules, phase_rules
from ipha_toolkit.terms import Phase

RULES = """
[findings]
rules = [
    "ground_glass_opacity: ct ground_glass_fraction > 5, 15, 30 -- A 2020",
    "consolidation: ct consolidation_fraction > 2, 10, 20 -- B 2020",
    "t1w_signal_gain: T1w signal_ratio_median > 0.3 -- C 2020",
    "t2w_signal_gain: T2w signal_ratio_median > 0.3 -- C 2020",
]
[phases]
margin = 0.3
deciding = ["ct", "T1w T2w"]
rules = [
    "+2 none: ground_glass_opacity < 1 -- A",
    "+1 none: consolidation < 1 -- A",
    "+1 none: t1w_signal_gain < 1 -- A",
    "+2 acute: consolidation >= 1 -- D 1995",
    "+1 acute: ground_glass_opacity >= 2 -- D 1995",
    "+1 acute: t1w_signal_gain >= 1 -- D 1995",
    "+2 subacute: ground_glass_opacity >= 1 -- E",
    "-2 subacute: consolidation >= 2 -- E",
]
"""
TOY = Protocol.from_toml(RULES)


def session(subject="a", **values):
    """Rows of one session: modality__measure = value."""
    return table(
        row(name.split("__")[1], value, modality=name.split("__")[0], region="lung", n_voxels=9)
        | {"subject": subject, "session": "1"}
        for name, value in values.items()
    )


def ct(ground_glass, consolidation, subject="a"):
    return session(subject, ct__ground_glass_fraction=ground_glass, ct__consolidation_fraction=consolidation)


def test_findings_are_graded_by_the_cuts_with_the_measure_that_carries_them():
    found = {f.finding: f for f in read_findings(ct(18.0, 1.0), protocol=TOY)}
    assert list(found) == ["ground_glass_opacity", "consolidation"]
    assert (found["ground_glass_opacity"].grade, found["consolidation"].grade) == (2, 0)
    assert found["ground_glass_opacity"].score == pytest.approx(2.3)
    assert str(found["ground_glass_opacity"]) == "ground glass opacity moderate (ct ground glass fraction 18 %)"


def test_the_strongest_carrier_of_a_finding_counts():
    two = TOY.from_toml(
        RULES.replace(
            '"consolidation: ct', '"ground_glass_opacity: ct attenuation_mean > -800, -600 -- F",\n"consolidation: ct'
        )
    )
    rows = session(ct__ground_glass_fraction=6.0, ct__attenuation_mean=-500.0)
    found = read_findings(rows, protocol=two)[0]
    assert (found.grade, found.source) == (2, "F")


def test_consolidation_reads_as_acute_with_reasons_and_sources():
    reading = classify_phase(ct(20, 15), protocol=TOY)
    assert reading.phase is Phase.ACUTE
    assert reading.reasons[0] == "for acute: consolidation moderate (ct consolidation fraction 15 %) [D 1995]"
    assert reading.support == {"none": 0, "acute": 1, "subacute": 0}.__or__(
        {"chronic": pytest.approx(float("nan"), nan_ok=True)}
    )
    assert reading.margin == pytest.approx(1)
    assert reading.missing == ("t1w signal gain",)


def test_ground_glass_alone_is_subacute_here_and_nothing_is_none():
    assert classify_phase(ct(8, 0), protocol=TOY).phase is Phase.SUBACUTE
    assert classify_phase(ct(1, 0), protocol=TOY).phase is Phase.NONE


def test_a_close_call_is_indeterminate_and_says_between_what():
    close = Protocol.from_toml(RULES.replace("margin = 0.3", "margin = 0.9"))
    reading = classify_phase(ct(8, 0), protocol=close)
    assert reading.phase is Phase.INDETERMINATE
    assert reading.reasons[0].startswith("subacute and none are supported almost alike (1.00 and 0.33)")


def test_without_a_deciding_modality_nothing_is_guessed():
    reading = classify_phase(session(T1w__signal_ratio_median=0.5), protocol=TOY)
    assert reading.phase is Phase.INDETERMINATE
    assert reading.reasons == ("no modality that can decide was measured: needs ct or T1w with T2w, there is T1w",)
    assert "consolidation" in reading.missing


def test_a_film_counts_only_where_nothing_better_can_decide():
    film = Protocol.from_toml(
        RULES.replace(
            '"t1w_signal_gain: T1w', '"film_opacity: dx film_opacity_mean > 0.2 -- F",\n"t1w_signal_gain: T1w'
        )
        .replace('"T1w T2w"]', '"T1w T2w", "dx"]')
        .replace('"+2 none: ground', '"+3 acute: film_opacity >= 1 -- F",\n"+2 none: ground')
    )
    alone = classify_phase(session(dx__film_opacity_mean=0.5), protocol=film)
    assert alone.phase is Phase.ACUTE
    both = {"ct__ground_glass_fraction": 1, "ct__consolidation_fraction": 0}
    reading = classify_phase(session(dx__film_opacity_mean=0.5, **both), protocol=film)
    assert reading.phase is Phase.NONE and reading.support["acute"] == 0
    assert "film opacity" not in reading.missing


def test_a_reader_can_disagree_with_one_rule_and_see_what_changes():
    other = Protocol.from_toml(
        RULES.replace("consolidation_fraction > 2, 10, 20", "consolidation_fraction > 16, 30, 40")
    )
    rows = session("a", ct__ground_glass_fraction=20, ct__consolidation_fraction=15)
    both = table([*rows.to_dict("records"), *ct(1, 0, "b").to_dict("records")])
    changed = compare_readings(both, TOY, other).set_index("subject")
    assert changed.loc["a", ["phase_one", "phase_other"]].tolist() == ["acute", "subacute"]
    assert changed["changed"].tolist() == [True, False]


def test_values_that_are_missing_carry_no_finding():
    assert read_findings(ct(float("nan"), 3.0), protocol=TOY)[0].finding == "consolidation"


def test_readings_of_a_cohort_have_a_row_a_session_and_a_row_a_finding():
    both = table([*ct(20, 15).to_dict("records"), *ct(1, 0, "b").to_dict("records")])
    readings, findings = read_sessions(both, protocol=TOY)
    assert readings["phase"].tolist() == ["acute", "none"]
    assert len(findings) == 4
    with pytest.raises(ValueError, match="a reading is of one session; the rows are of 2"):
        classify_phase(both, protocol=TOY)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ground_glass_opacity: ct", "haze: ct", "finding 'haze' is none of ground_glass_opacity"),
        ("ground_glass_fraction >", "haziness >", "measure 'haziness' is none of those of the catalogue"),
        ("> 5, 15, 30", "> 15, 5", "one to three cuts, from less to more"),
        (" -- A 2020", "", "needs the form 'finding: modality measure"),
        ("+2 acute: consolidation", "+2 hyperacute: consolidation", "phase 'hyperacute' is none of none, acute"),
        ("consolidation >= 1 -- D", "consolidation >= 4 -- D", r"needs the form '\+2 phase: finding >= grade"),
    ],
)
def test_a_rule_that_cannot_be_read_is_named(old, new, said):
    with pytest.raises(ProtocolError, match=said):
        classify_phase(ct(1, 1), protocol=Protocol.from_toml(RULES.replace(old, new, 1)))


def test_the_default_rules_can_be_read_and_every_finding_is_used():
    carried = {rule.finding for rule in finding_rules(Protocol().findings.rules)}
    used = {rule.finding for rule in phase_rules(Protocol().phases.rules)}
    assert used <= carried <= set(FINDINGS)
    assert {rule.measure for rule in finding_rules(Protocol().findings.rules)} <= set(MEASURES)
    assert {rule.phase for rule in phase_rules(Protocol().phases.rules)} == {"none", "acute", "subacute", "chronic"}


def test_rows_stay_as_they_were():
    rows = ct(20, 15)
    before = rows.copy()
    classify_phase(rows, protocol=TOY)
    assert rows.equals(before)


def test_the_differential_is_a_table_by_pattern():
    assert set(differential("micronodular pattern")["alternative"]) >= {
        "miliary infection",
        "hypersensitivity pneumonitis",
    }
    assert len(differential()) > len(differential("alveolar hemorrhage"))
    with pytest.raises(ValueError, match="pattern is one of micronodular pattern"):
        differential("haze")
