import numpy as np
import pytest

from ipha_toolkit.compare.chance import chance_in_health, in_people, leaves_health
from ipha_toolkit.compare.phases import classify_phase, read_findings
from ipha_toolkit.compare.said import Said, said_of
from ipha_toolkit.compare.single_case import as_normal
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.rules import finding_rules

RULES = finding_rules(DEFAULT.findings.rules)
MEASURES = {
    "t1w": ("T1w", "signal_ratio_median_vs_controls"),
    "t2w": ("T2w", "signal_ratio_median_vs_controls"),
    "signature": ("T1w+T2w", "signature_strength_vs_controls"),
    "in_water": ("T1w+T2w", "signature_strength_in_water"),
    "ground_glass": ("ct", "ground_glass_extent"),
    "opacity": ("ct", "opacity_fraction"),
    "consolidation": ("ct", "consolidation_extent"),
    "patchiness": ("ct", "patchiness"),
    "nodules": ("ct", "nodules_per_litre"),
    "reticulation": ("ct", "reticulation"),
}
SET = [MEASURES[name] for name in ("t1w", "t2w", "signature")]
CLEAR = {"ground_glass": 1, "opacity": 1, "consolidation": 0, "nodules": 5, "reticulation": 0}


def rows(subject="a", **values):
    return table(
        row(MEASURES[name][1], value, modality=MEASURES[name][0], region="lung", n_voxels=9)
        | {"subject": subject, "session": "1"}
        for name, value in values.items()
    )


def test_only_what_begins_beyond_the_controls_is_judged_together():
    names = {rule.finding for rule in RULES if leaves_health(rule)}
    assert names == {"t1w_signal_gain", "t2w_signal_gain", "hemosiderin_signature", "free_water"}


def test_the_chance_is_that_of_the_farthest_times_how_many_were_looked_at():
    said = said_of(rows(t1w=2.5, t2w=0.3, signature=-1.0))
    assert chance_in_health(RULES, said) == pytest.approx(4 * 0.0062097, rel=1e-4)
    assert np.isnan(chance_in_health(RULES, said_of(rows(t1w=3.5, t2w=0.3, signature=-1.0))))
    assert np.isnan(chance_in_health(RULES, said_of(rows(ground_glass=20))))


@pytest.mark.parametrize(
    ("chance", "words"), [(0.0248, "1 in 40"), (0.5, "1 in 2"), (1.0, "1 in 1"), (0.0021, "1 in 480")]
)
def test_a_chance_in_people(chance, words):
    assert in_people(chance) == words


@pytest.mark.parametrize("beyond", [{"t1w": 2.5}, {"t1w": 2.9, "t2w": 2.2}, {"signature": 2.6}])
def test_one_healthy_person_in_many_is_not_called_ill(beyond):
    """Seen: two of fifty healthy people, 2.0 to 2.9 SD above eight controls, read air-space filling, cause open."""
    reading = classify_phase(rows(**{"t1w": 0.1, "t2w": 0.2, "signature": 0.3} | beyond))
    assert (reading.phase, reading.verdict) == ("withheld", "withheld")
    assert "healthy people lies as far beyond these controls" in reading.reasons[0]
    assert reading.reasons[0].startswith("without ")


def test_where_one_lies_beyond_chance_the_others_count_by_their_own_cuts():
    found = {f.finding: f.grade for f in read_findings(rows(t1w=2.5, t2w=4.5, signature=-3.8))}
    assert (found["t1w_signal_gain"], found["t2w_signal_gain"], found["free_water"]) == (1, 3, 2)
    assert classify_phase(rows(t1w=2.5, t2w=4.5, signature=-3.8), bleeds=True).phase == "acute"


def test_a_phase_that_does_not_hang_on_it_is_given_and_names_it():
    ill = {"ground_glass": 40, "opacity": 60, "consolidation": 20, "patchiness": 0.02, "nodules": 5, "reticulation": 0}
    reading = classify_phase(rows(**ill, t1w=2.5, t2w=0.2, signature=0.3), bleeds=True)
    assert (reading.phase, reading.verdict) == ("acute", "limited")
    assert any("(t1w signal gain)" in limit and "by chance" in limit for limit in reading.limits)
    assert "t1w signal gain (withheld)" in reading.missing


def test_a_clear_ct_beside_a_gain_that_chance_makes_reads_none():
    assert classify_phase(rows(**CLEAR, t1w=2.5, t2w=0.2, signature=0.3)).phase == "none"


def test_a_signature_in_water_that_has_its_own_cut_is_not_withheld_with_it():
    found = {f.finding: f for f in read_findings(rows(t1w=1.0, t2w=0.2, signature=2.5, in_water=7.0))}
    assert (found["hemosiderin_signature"].grade, found["hemosiderin_signature"].by_chance) == (2, 0)
    absent = {f.finding: f for f in read_findings(rows(t1w=1.0, t2w=0.2, signature=2.5, in_water=1.0))}
    assert (absent["hemosiderin_signature"].grade, absent["hemosiderin_signature"].by_chance) == (-1, 1)


def test_too_much_water_by_chance_alone_is_said_and_changes_no_reading():
    reading = classify_phase(rows(t1w=0.1, t2w=0.2, signature=-2.6))
    assert (reading.phase, reading.verdict) == ("none", "limited")
    assert any("(free water)" in limit and "by chance" in limit for limit in reading.limits)


@pytest.mark.parametrize("n_controls", [5, 8, 20])
def test_healthy_people_lie_beyond_chance_about_as_rarely_as_said(n_controls):
    """One in 500 by the setting; lung water that spreads log-normally makes it 3 to 7 in 1000."""
    rng = np.random.default_rng(n_controls)
    shared, own = rng.standard_normal((2000, n_controls + 1, 1)), rng.standard_normal((2000, n_controls + 1, 2))
    signals = np.exp(0.2 * shared + 0.06 * own)
    looked_at = np.concatenate([signals, np.log(signals[..., :1] / signals[..., 1:])], axis=2)
    people, controls = looked_at[:, 0], looked_at[:, 1:]
    t = (people - controls.mean(axis=1)) / (controls.std(axis=1, ddof=1) * np.sqrt(1 + 1 / n_controls))
    found = as_normal(t, n_controls - 1)
    beyond = [
        np.isnan(chance_in_health(RULES, Said({k: (z, "") for k, z in zip(SET, row, strict=True)}))) for row in found
    ]
    by_single_cuts = (found > 2).any(axis=1) | (found[:, 2] < -2)
    assert np.mean(beyond) < 0.01 < 0.06 < np.mean(by_single_cuts)
