import pytest

from ipha_toolkit.compare.gate import all_flags, in_words, judge_change, judge_finding, judge_missing
from ipha_toolkit.compare.phases import classify_phase, read_findings
from ipha_toolkit.compare.said import said_of
from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.rules import finding_rules, gate_rules


@pytest.mark.parametrize(
    ("finding", "seen", "flag", "verdict"),
    [
        ("hemosiderin_signature", True, "contrast_enhanced", "withheld"),
        ("t1w_signal_gain", True, "contrast_enhanced", "limited"),
        ("t1w_signal_gain", True, "ghosts", "withheld"),
        ("t1w_signal_gain", True, "other_age", "withheld"),
        ("t1w_signal_gain", True, "uneven_noise", "withheld"),
        ("hemosiderin_signature", False, "uneven_noise", "withheld"),
        ("t2w_signal_gain", False, "emptied_lung", "withheld"),
        ("patchy_opacity", True, "septa_as_patches", "withheld"),
        ("ground_glass_opacity", True, "blurred_border", "withheld"),
        ("ground_glass_opacity", False, "blurred_border", "limited"),
        ("patchy_opacity", False, "septa_as_patches", "limited"),
        ("t1w_signal_gain", True, "few_controls", "limited"),
        ("ground_glass_opacity", True, "expiration", "withheld"),
        ("ground_glass_opacity", True, "young_child", "withheld"),
        ("ground_glass_opacity", True, "few_controls", "given"),
        ("micronodules", False, "coarse_for_micronodules", "withheld"),
        ("micronodules", True, "coarse_for_micronodules", "limited"),
        ("ground_glass_opacity", False, "single_slice", "withheld"),
        ("t1w_signal_gain", False, "single_slice", "withheld"),
        ("reticulation", True, "single_slice", "limited"),
        ("air_space_opacity", False, "one_lung", "withheld"),
        ("consolidation", False, "lung_perhaps_missing", "withheld"),
        ("consolidation", True, "lung_perhaps_missing", "limited"),
        ("film_opacity", True, "perhaps_no_radiograph", "withheld"),
        ("film_haze", False, "perhaps_no_radiograph", "withheld"),
        ("film_haze", False, "perhaps_not_frontal", "withheld"),
    ],
)
def test_what_a_flag_does_to_a_finding(finding, seen, flag, verdict):
    found = judge_finding(finding, seen, [flag])
    assert found.verdict == verdict
    assert (found.reasons == ()) == (verdict == "given")


def test_the_strictest_verdict_counts_and_all_reasons_stay():
    found = judge_finding("t1w_signal_gain", True, ["few_controls", "ghosts"])
    assert found.verdict == "withheld"
    assert found.reasons == (
        "ghosts: ghosts add to lung signal", "few controls: their spread is hardly known"
    )  # fmt: skip
    assert (
        in_words([("T1w signal gain", found), ("T2w signal gain", judge_finding("t2w_signal_gain", True, ["ghosts"]))])[
            0
        ]
        == "ghosts: ghosts add to lung signal (T1w signal gain, T2w signal gain)"
    )


def rows_with(flag, measure="hyperintense_fraction"):
    return table([row(measure, 5.0, modality="T1w", region="lung", n_voxels=9, flags=[flag] if flag else [])])


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("no_controls", "no controls, which T1w"),
        ("no_matching_controls", "no control of a matching sequence, which T1w"),
        ("", "fewer than two controls have T1w"),
    ],
)
def test_a_finding_without_controls_is_withheld_in_words(flag, said):
    rule = next(r for r in finding_rules(Protocol().findings.rules) if r.finding == "t1w_signal_gain")
    assert judge_missing(rule, said_of(rows_with(flag))).reasons[0].startswith(said)


def test_a_finding_whose_image_was_not_made_is_not_judged():
    rule = next(r for r in finding_rules(Protocol().findings.rules) if r.finding == "consolidation")
    assert judge_missing(rule, said_of(rows_with("no_controls"))) is None


def test_a_change_over_contrast_agent_or_breath_is_withheld():
    assert judge_change("contrast_enhanced", "").verdict == "withheld"
    assert judge_change("child", "child;expiration").verdict == "withheld"
    assert judge_change("expiration", "expiration").verdict == "given"
    assert judge_change("ghosts", "ghosts").verdict == "withheld"


def test_flags_of_a_session_are_listed_by_image():
    assert all_flags(said_of(rows_with("ghosts"))) == "T1w: ghosts"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("withheld haze: ghosts -- x", "answer 'haze' is none of"),
        ("withheld consolidation: gosts -- x", "flag 'gosts' is none of"),
        ("refused consolidation: ghosts -- x", "needs the form"),
        ("absence consolidation: ghosts where haze -- x", "finding 'haze' is none of"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line, said):
    with pytest.raises(ProtocolError, match=said):
        gate_rules([line])


def test_no_iron_is_not_said_of_a_lung_so_wet_that_water_would_hide_it():
    absent, seen = (judge_finding("hemosiderin_signature", yes, ["iron_under_water"]) for yes in (False, True))
    assert absent.verdict == "withheld" and absent.reasons[0].startswith("iron under water: T2w rises faster")
    assert seen.verdict == "limited"


def ct_rows(nodules, extent, flags):
    values = {"nodules_per_litre": nodules, "ground_glass_extent": extent, "consolidation_extent": 0.0}
    values |= {"reticulation": 0.0}
    return table(
        [
            row(name, value, modality="ct", region="lung", n_voxels=9, flags=flags if name.startswith("ground") else [])
            for name, value in values.items()
        ]
    )


def test_nodules_with_faint_haze_are_subacute_or_chronic_and_nodules_alone_are_chronic():
    """Ha & Palacio: subacute is nodules and patchy ground glass, chronic miliary stippling."""
    alone = classify_phase(ct_rows(120.0, 0.5, []), bleeds=True)
    assert alone.phase == "chronic"
    faint = classify_phase(ct_rows(120.0, 5.0, ["faint_haze"]), bleeds=True)
    assert faint.phase == "withheld" and "none is sure to be ground glass (ground glass opacity)" in faint.reasons[0]
    assert classify_phase(ct_rows(20.0, 1.5, [])).phase == "none"


@pytest.mark.parametrize(
    ("beside", "distance", "verdict"),
    [
        ({}, None, "withheld"),  # Pneumocystis with 2 to 8 % of opaque lung read none
        ({}, 2.3, "withheld"),
        ({}, 0.4, "limited"),  # controls of like age have as much
        ({"reticulation": 0.5}, None, "given"),  # a net of septa is dense itself
        ({"consolidation_extent": 9.0}, None, "given"),
    ],
)
def test_faint_haze_is_absence_only_where_something_else_explains_it_or_health_has_it(beside, distance, verdict):
    values = {"ground_glass_extent": 5.0, "consolidation_extent": 0.0, "reticulation": 0.0} | beside
    values |= {} if distance is None else {"ground_glass_extent_vs_controls": distance}
    rows = [
        row(name, v, modality="ct", region="lung", n_voxels=9, flags=["faint_haze"] * (name == "ground_glass_extent"))
        for name, v in values.items()
    ]
    found = {f.finding: f for f in read_findings(table(rows))}["ground_glass_opacity"]
    assert (found.verdict.verdict, found.grade) == (verdict, -1 if verdict == "withheld" else 0)


@pytest.mark.parametrize(
    ("distance", "grade", "phase"),
    [(1.5, "absent", "acute"), (None, "withheld", "acute"), (2.5, "moderate", "air-space filling, cause open")],
)
def test_forks_of_vessels_in_a_child_are_no_nodules_of_the_chronic_phase(distance, grade, phase):
    """Seen: nine tenths of a child's lung in even haze, 60 forks a litre as in its controls, read chronic."""
    values = {"ground_glass_extent": 91.0, "opacity_fraction": 91.0, "consolidation_extent": 0.0, "patchiness": 0.05}
    values |= {"nodules_per_litre": 60.0, "reticulation": -0.2, "opacity_lower_excess": 20.0}
    values |= {} if distance is None else {"nodules_per_litre_vs_controls": distance}
    rows = table(row(name, v, modality="ct", region="lung", n_voxels=9, flags=["child"]) for name, v in values.items())
    found = {f.finding: f.grade_name for f in read_findings(rows)}
    assert found["micronodules"] == grade
    assert classify_phase(rows, bleeds=True).phase == phase


def test_no_iron_says_how_much_would_not_show():
    values = {"signature_strength_vs_controls": 0.3, "signature_hidden_loss": 46.2}
    rows = [
        row(name, value, modality="T1w+T2w", region="lung", n_voxels=9, flags=["iron_may_hide"] * (value < 1))
        for name, value in values.items()
    ]
    (found,) = [f for f in read_findings(table(rows)) if f.finding == "hemosiderin_signature"]
    assert (found.grade_name, found.verdict.verdict) == ("absent", "limited")
    assert found.verdict.reasons == ("iron may hide: less iron, up to 46.2 % of T2w, would not show",)


@pytest.mark.parametrize(
    ("extent", "distance", "flags", "grade", "verdict"),
    [
        (18.0, None, ["child"], "withheld", "withheld"),  # healthy children have as much
        (18.0, 0.6, ["child"], "absent", "limited"),
        (18.0, 2.4, ["child"], "mild", "limited"),
        (18.0, 2.4, ["child", "other_age"], "withheld", "withheld"),
        (40.0, None, ["child"], "moderate", "limited"),
        (4.0, None, ["child"], "absent", "limited"),
        (18.0, None, [], "mild", "given"),
        (18.0, 0.6, [], "mild", "given"),
    ],
)
def test_mild_ground_glass_of_a_child_counts_beyond_its_controls_alone(extent, distance, flags, grade, verdict):
    measures = {"ground_glass_extent": extent} | (
        {} if distance is None else {"ground_glass_extent_vs_controls": distance}
    )
    rows = [row(name, value, modality="ct", region="lung", n_voxels=9, flags=flags) for name, value in measures.items()]
    (found,) = [f for f in read_findings(table(rows)) if f.finding == "ground_glass_opacity"]
    assert (found.grade_name, found.verdict.verdict) == (grade, verdict)


def ct_of(**values):
    names = {"haze": "ground_glass_extent", "nodules": "nodules_per_litre"}
    values = {"consolidation_extent": 0.2, "opacity_lower_excess": 30.0} | {
        names.get(k, k): v for k, v in values.items()
    }
    values["opacity_fraction"] = values["ground_glass_extent"]
    return table(row(name, v, modality="ct", region="lung", n_voxels=9) for name, v in values.items())


@pytest.mark.parametrize(
    ("measured", "phase"),
    [
        # days 2 and 4 of one first bleed on the package's phantom, which read chronic
        ({"haze": 83.4, "patchiness": 0.063, "reticulation": 3.1}, "air-space filling, cause open"),
        ({"haze": 45.0, "patchiness": 0.112, "reticulation": 3.5}, "subacute"),
        ({"haze": 90.0, "patchiness": 0.02, "reticulation": -0.3, "nodules": 25}, "acute"),
        ({"haze": 44.0, "patchiness": 0.25, "reticulation": 4.3, "nodules": 50}, "subacute"),
        ({"haze": 64.0, "patchiness": 0.06, "reticulation": 1.4, "nodules": 135}, "chronic"),
        ({"haze": 0.8, "reticulation": -0.4, "nodules": 124}, "chronic"),
        ({"haze": 21.0, "patchiness": 0.12, "reticulation": 9.6, "nodules": 7}, "chronic"),
    ],
)
def test_a_net_in_haze_is_chronic_only_where_there_is_little_haze_or_many_nodules(measured, phase):
    assert classify_phase(ct_of(**measured), bleeds=True).phase == phase


def test_haze_that_is_neither_even_nor_patchy_speaks_for_neither_phase():
    even, between, patchy = (
        classify_phase(ct_of(haze=50.0, patchiness=p, reticulation=0.0, nodules=10), bleeds=True)
        for p in (0.05, 0.12, 0.2)
    )
    assert even.phase == "acute" and even.support["subacute"] < between.support["subacute"] < patchy.support["subacute"]
    assert even.support["acute"] > between.support["acute"] > patchy.support["acute"]
