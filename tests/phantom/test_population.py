"""The simulated clinic: groups, courses, and findings that follow from the bleeds."""

import numpy as np
import pytest

from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import draw_population, participant, scan, scan_without_noise
from ipha_toolkit.phantom.subject import simulate_subject

PEOPLE = draw_population(40, seed=3)
BLEEDS = (Bleed(-1.0, 0.9),)


def visits_of(group):
    return [(person, visit) for person in PEOPLE if person.group == group for visit in person.visits]


def test_the_same_seed_draws_the_same_people_and_another_seed_does_not():
    assert draw_population(40, seed=3) == PEOPLE
    assert draw_population(40, seed=4) != PEOPLE


def test_two_in_five_are_controls_and_every_phase_is_seen():
    assert sum(person.group == "control" for person in PEOPLE) == 16
    assert {visit.phase for _, visit in visits_of("iph")} == {"none", "acute", "subacute", "chronic"}
    assert {visit.phase for _, visit in visits_of("edema")} == {"edema"}


def test_one_subject_is_a_patient():
    assert [person.group for person in draw_population(1, seed=0)] == ["iph"]


def test_controls_and_edema_never_bleed_cough_blood_or_take_prednisone():
    for _, visit in visits_of("control") + visits_of("edema"):
        assert (visit.prednisone_mg_per_day, visit.hemoptysis) == (0.0, False)
        assert visit.lavage in ("", "negative")


def test_hemoglobin_falls_within_a_day_of_a_bleed_and_recovers_over_months():
    before, after, later = participant("sub-001", "iph", age=9, seed=1, bleeds=BLEEDS, days=(-2, 0, 150)).visits
    assert after.hemoglobin_g_dl < before.hemoglobin_g_dl - 2
    assert later.hemoglobin_g_dl > after.hemoglobin_g_dl + 2


def test_ferritin_falls_with_every_bleed():
    many = tuple(Bleed(float(day), 0.8) for day in (0, 60, 120, 180))
    visits = participant("sub-001", "iph", age=9, seed=1, bleeds=many, days=(-1, 1, 61, 181)).visits
    found = [visit.ferritin_ug_l for visit in visits]
    assert found == sorted(found, reverse=True) and found[-1] < found[0] / 2


def test_prednisone_starts_after_the_first_bleed_and_is_tapered():
    doses = [
        visit.prednisone_mg_per_day
        for visit in participant("sub-001", "iph", age=9, seed=1, bleeds=BLEEDS, days=(0, 7, 60, 400, 900)).visits
    ]
    assert doses[0] == 0 and doses[1] > doses[2] > doses[3] > 0 and doses[4] == 0


def test_lavage_is_positive_in_about_nine_of_ten_who_bled_days_ago():
    found = [
        participant("sub-001", "iph", age=30, seed=seed, bleeds=BLEEDS, days=(5,)).visits[0].lavage
        for seed in range(300)
    ]
    assert 0.87 < np.mean([lavage == "positive" for lavage in found]) < 0.97


def test_children_are_smaller_than_adults():
    young, old = (participant("sub-001", "control", age=age, seed=1) for age in (5, 30))
    assert young.size < 0.7 and old.size == 1.0


def test_a_second_visit_has_its_own_noise_in_the_same_body():
    person = participant("sub-001", "control", age=6, seed=5, days=(0, 30))
    first, second = (scan(person, visit, spacing_mm=8, modalities=["T1w"]) for visit in person.visits)
    assert np.array_equal(first.truth["T1w"].masks["lung"].array, second.truth["T1w"].masks["lung"].array)
    assert not np.array_equal(first.volumes["T1w"].array, second.volumes["T1w"].array)


def test_without_noise_healthy_air_is_exactly_dark():
    person = participant("sub-001", "control", age=6, seed=5)
    clean = scan_without_noise(person, person.visits[0], spacing_mm=8, modalities=["T1w"]).volumes["T1w"].array
    assert clean[0, 0, 0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("wrong, text", [
    (lambda: draw_population(0, seed=0), "subjects needs to be 1 or more, got 0"),
    (lambda: draw_population(2, seed=-1), "seed needs to be 0 or more, got -1"),
    (lambda: participant("sub-001", "asthma", age=9, seed=1), "group is one of control, iph, edema"),
    (lambda: participant("sub-001", "control", age=9, seed=1, bleeds=BLEEDS), "only group iph bleeds"),
])  # fmt: skip
def test_what_cannot_be_is_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        wrong()


def test_people_differ_in_the_water_of_their_lungs_as_published():
    water = [participant("sub-001", "control", age=30, seed=seed).wetness for seed in range(400)]
    assert np.std(np.log(water)) == pytest.approx(0.2, abs=0.02)
    dry, wet = (
        simulate_subject("none", seed=3, spacing_mm=10, modalities=["ct"], wetness=w, ct_noise_hu=0.0)
        for w in (0.7, 1.4)
    )
    inside = dry.truth["ct"].masks["lung"].array
    assert np.median(wet.volumes["ct"].array[inside]) > np.median(dry.volumes["ct"].array[inside]) + 50
    with pytest.raises(ValueError, match="wetness runs from"):
        simulate_subject("none", seed=3, spacing_mm=10, modalities=["ct"], wetness=0.0)
