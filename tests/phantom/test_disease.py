"""The disease: where it lies, how it goes with time, and that it is the same on every grid."""

import numpy as np
import pytest

from ipha_toolkit.phantom.anatomy import Patient, build_body, grid_around
from ipha_toolkit.phantom.disease import (
    PHASES,
    Bleed,
    Disease,
    disease_maps,
    disease_of_phase,
    disease_on_day,
    phase_on_day,
    with_volume_loss,
)


@pytest.fixture(scope="module")
def body():
    patient = Patient(2)
    return build_body(patient, grid_around(patient, (4.0, 4.0, 4.0)))


def heights(body):
    return np.broadcast_to(body.grid.axes_mm()[2], body.grid.shape)


def test_a_bleed_spares_apices_and_costophrenic_angles(body):
    blood = disease_maps(body, Disease(blood=0.8), 1).blood
    z, lung = heights(body), body.masks["lung"]
    middle = blood[lung & (abs(z + 20) < 25)].mean()
    assert blood[lung & (z > 85)].mean() < 0.25 * middle
    assert blood[lung & (z < -110)].mean() < 0.3 * middle
    assert blood[~(body.depth_mm > 0)].max() == 0


def test_patchiness_spreads_the_same_bleed_unevenly(body):
    lung = body.masks["lung"] & (abs(heights(body)) < 40)
    even, patchy = (disease_maps(body, Disease(blood=0.8, patchiness=p), 1).blood[lung] for p in (0.0, 1.0))
    assert patchy.std() / patchy.mean() > 2 * even.std() / even.mean()


def test_centrilobular_nodules_keep_off_the_pleura_and_random_ones_do_not(body):
    depths = {}
    for place in ("centrilobular", "random"):
        table = disease_maps(body, Disease(nodules_per_litre=60, nodule_place=place), 1).nodules
        assert table.diameter_mm.between(2, 6).all() and len(table) > 150
        depths[place] = -body.patient.lung_distance(*table[["x_mm", "y_mm", "z_mm"]].to_numpy().T)
    assert np.mean(depths["centrilobular"] > 4) > 0.9
    assert np.mean((depths["random"] > 0) & (depths["random"] < 4)) > 0.08


def test_maps_agree_between_grids(body):
    fine = build_body(body.patient, grid_around(body.patient, (2.5, 2.5, 5.0)))
    disease = disease_of_phase("subacute", 0.5, np.random.default_rng(0))
    here, there = disease_maps(body, disease, 4), disease_maps(fine, disease, 4)
    assert here.nodules.equals(there.nodules)
    for name in ("blood", "methemoglobin", "iron"):
        a, b = getattr(here, name)[body.masks["lung"]], getattr(there, name)[fine.masks["lung"]]
        assert b.mean() == pytest.approx(a.mean(), rel=0.05), name


def test_septa_take_the_same_space_on_every_grid(body):
    fine = build_body(body.patient, grid_around(body.patient, (2.0, 2.0, 2.0)))
    shares = [disease_maps(on, Disease(septal=0.8), 1).solid[on.masks["lung"]].mean() for on in (body, fine)]
    assert shares[1] == pytest.approx(shares[0], rel=0.15) and shares[0] > 0.01


def test_consolidation_clears_into_reticulation_and_iron_stays():
    bleeds = [Bleed(0, 0.9)]
    days = {day: disease_on_day(bleeds, day) for day in (0, 3, 7, 40)}
    assert days[0].blood > 0.7 > 0.2 > days[3].blood > days[7].blood
    assert days[3].septal > days[0].septal and days[3].septal > 5 * days[40].septal
    assert days[0].iron == 0 < days[7].iron < days[40].iron
    assert [phase_on_day(bleeds, day) for day in (-1, 0, 7)] == ["none", "acute", "subacute"]


def test_iron_accumulates_with_every_bleed_and_chronic_disease_follows():
    bleeds = [Bleed(day, 0.7) for day in range(0, 1000, 150)]
    states = [disease_on_day(bleeds, day) for day in range(-1, 1100, 149)]
    iron = [state.iron for state in states]
    assert iron == sorted(iron) and iron[0] == 0 and iron[-1] > 0.4
    assert states[-1].fibrosis > 0 and states[-1].nodules_per_litre > 20
    assert phase_on_day(bleeds, 1100) == "chronic"


def test_phases_are_what_their_names_say():
    states = {phase: disease_of_phase(phase, 0.5, np.random.default_rng(1)) for phase in PHASES}
    assert states["none"] == Disease()
    assert states["acute"].blood > states["subacute"].blood > states["chronic"].blood
    assert states["chronic"].iron > states["subacute"].iron > states["acute"].iron
    assert states["edema"].water > 0 == states["edema"].blood == states["edema"].iron
    assert with_volume_loss(Patient(1), states["chronic"]).volume_loss > 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Disease(blood=1.2), "blood is a share from 0 to 1, got 1.2"),
        (lambda: Disease(iron=-1), "iron needs to be 0 or more"),
        (lambda: Disease(nodule_mm=(6, 2)), "two diameters"),
        (lambda: Disease(nodule_place="tree"), "centrilobular or random, got 'tree'"),
        (lambda: disease_of_phase("late", 0.5, np.random.default_rng(0)), "phase is one of none, acute.*got 'late'"),
        (lambda: disease_of_phase("acute", 2, np.random.default_rng(0)), "severity runs from 0 to 1, got 2"),
    ],
)
def test_wrong_diseases_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()
