import math

import pytest

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.phases import classify_phase, compare_readings, differential, read_findings, read_sessions
from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.flags import FINDINGS
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.rules import PHASES, finding_rules, phase_rules
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
    assert {name: reading.support[name] for name in ("none", "acute", "subacute")} == {
        "none": 0,
        "acute": 1,
        "subacute": 0,
    }
    assert all(math.isnan(reading.support[name]) for name in ("chronic", "air_space", "fibrosis"))
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
    assert {rule.phase for rule in phase_rules(Protocol().phases.rules)} == set(PHASES)


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


CLEAR = {
    "ct__ground_glass_extent": 1.0, "ct__consolidation_extent": 0.0, "ct__nodules_per_litre": 5.0,
    "ct__reticulation": -0.1, "ct__opacity_lower_excess": 0.0,
}  # fmt: skip


def read(*, bleeds=True, flags=(), **values):
    """A reading by the default rules, of a CT without findings but for what is given."""
    filled = values.get(HAZE, CLEAR[HAZE]) + values.get(DENSE, 0.0)
    rows = session(**(CLEAR | {"ct__opacity_fraction": filled} | values))
    rows["flag"] = ";".join(flags)
    return classify_phase(rows, bleeds=bleeds)


HAZE, DENSE, PATCHY, EVEN = "ct__ground_glass_extent", "ct__consolidation_extent", "ct__patchiness", "ct__patchiness"
NODULES, NET = "ct__nodules_per_litre", "ct__reticulation"


@pytest.mark.parametrize(
    ("seen", "known", "alone"),
    [
        ({}, "none", "none"),
        ({HAZE: 60, EVEN: 0.0}, "acute", "air-space filling, cause open"),
        ({HAZE: 40, EVEN: 0.0, DENSE: 15}, "acute", "air-space filling, cause open"),
        ({HAZE: 40, PATCHY: 0.4, NODULES: 80}, "subacute", "air-space filling, cause open"),
        ({NODULES: 80}, "chronic", "indeterminate"),
        ({NET: 2.5}, "chronic", "fibrosis, cause open"),
        ({NET: 2.5, NODULES: 80}, "chronic", "fibrosis, cause open"),
    ],
)
def test_ct_is_read_by_the_text_of_ha_and_palacio_where_bleeding_is_known_and_left_open_where_not(seen, known, alone):
    assert read(**seen).phase == known
    assert read(bleeds=False, **seen).phase == alone


def test_phases_that_cannot_be_told_apart_leave_the_cause_open():
    reading = read(**{HAZE: 50, EVEN: 0.0, NET: 3.0})
    assert reading.phase == "air-space filling, cause open"
    assert "supported almost alike" in reading.reasons[0]


@pytest.mark.parametrize(("flag", "word"), [("expiration", "empty lung is dense"), ("young_child", "PMC5116406")])
def test_a_reading_whose_findings_are_withheld_is_withheld_in_words(flag, word):
    reading = read(flags=[flag], **{HAZE: 60})
    assert (reading.phase, reading.verdict) == (Phase.WITHHELD, "withheld")
    assert reading.reasons[0].startswith("what could decide is withheld") and word in reading.reasons[0]
    assert "ground glass opacity (withheld)" in reading.missing


def test_mri_without_controls_is_withheld_and_a_ct_beside_it_decides_alone():
    mri = {"T1w__signal_ratio_median": 0.4, "T2w__signal_ratio_median": 0.1, "T1w+T2w__signature_floor": 0.02}
    rows = session(**mri)
    reading = classify_phase(rows, bleeds=True)
    assert reading.phase is Phase.WITHHELD
    both = session(**(mri | CLEAR))
    assert classify_phase(both, bleeds=True).phase is Phase.NONE
    assert classify_phase(both, bleeds=True).verdict == "limited"


def scores(t1=0.0, t2=0.0, deficit=0.0, strength=0.0):
    return {
        "T1w__signal_ratio_median_vs_controls": t1, "T2w__signal_ratio_median_vs_controls": t2,
        "T1w+T2w__signature_strength_vs_controls": deficit, "T1w+T2w__signature_strength": strength,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (scores(), "none"),
        (scores(t1=3.5, t2=3.5, deficit=-2.5, strength=-3), "acute"),
        (scores(t1=3.5, t2=1.2, deficit=2.5, strength=2.0), "subacute"),
        (scores(t1=2.5, deficit=3.5, strength=8.0), "chronic"),
    ],
)
def test_mri_is_read_against_controls(found, phase):
    rows = session(**found)
    assert classify_phase(rows, bleeds=True).phase == phase


def test_iron_speaks_for_a_bleed_where_none_is_known():
    rows = session(**scores(t1=2.5, deficit=3.5, strength=8.0))
    assert classify_phase(rows).phase is Phase.CHRONIC
    assert classify_phase(session(**scores(t1=3.5, t2=3.5))).phase == "air-space filling, cause open"


@pytest.mark.parametrize(("dense", "opaque", "phase"), [(0, 3, "none"), (3, 12, "indeterminate"), (45, 70, "acute")])
def test_a_radiograph_alone_can_read_none_and_acute(dense, opaque, phase):
    rows = session(dx__film_consolidation_fraction=dense, dx__film_opaque_fraction=opaque)
    reading = classify_phase(rows, bleeds=True)
    assert (reading.phase, reading.verdict) == (phase, "limited")
    assert reading.limits == ("a radiograph alone: a clear one does not exclude ground glass, which CT shows",)


def test_a_cohort_is_read_with_its_groups_and_the_gate_beside_every_answer():
    rows = session(**(CLEAR | {HAZE: 60, "ct__opacity_fraction": 60, EVEN: 0.0}))
    rows["flag"] = "child"
    readings, findings = read_sessions(rows, groups={"a": "iph"}, left_out={"a 1 ct": "sub-9 (kernel lung, not soft)"})
    assert readings["phase"].tolist() == ["acute"]
    assert readings["verdict"].tolist() == ["limited"]
    assert readings["flags"].tolist() == ["ct: child"]
    assert "controls left out: sub-9 (kernel lung, not soft)" in readings["limits"][0]
    haze = findings.set_index("finding").loc["ground_glass_opacity"]
    assert (haze["verdict"], haze["flag"]) == ("limited", "child")
    assert read_sessions(rows)[0]["phase"].tolist() == ["air-space filling, cause open"]
