"""Signals against formulas written out here, and directions that the physics demands."""

import numpy as np
import pytest

from ipha_toolkit.phantom import physics
from ipha_toolkit.phantom.anatomy import Patient, build_body, grid_around
from ipha_toolkit.phantom.disease import Disease, disease_maps


@pytest.fixture(scope="module")
def body():
    patient = Patient(4)
    return build_body(patient, grid_around(patient, (6.0, 6.0, 6.0)))


def parenchyma(body):
    return body.masks["lung"] & (body.shares["lung"] > 0.98)


def lung_of(body, field_t=1.5, **disease):
    return physics.lung_state(physics.healthy_water(body), disease_maps(body, Disease(**disease), 1), field_t)


def state(body, field_t=1.5, **disease):
    lung = lung_of(body, field_t, **disease)
    inside = parenchyma(body)
    return {name: float(np.median(getattr(lung, name)[inside])) for name in ("water", "air", "r1", "r2", "r2star")}


def test_muscle_signal_is_the_ernst_formula(body):
    lung = lung_of(body, 3.0)
    clean = physics.spoiled_gre(body, lung, field_t=3.0, te_ms=0.0, tr_ms=5.0, flip_deg=15.0)
    e1, a = np.exp(-5.0 / 898.0), np.deg2rad(15.0)
    expected = 0.79 * np.sin(a) * (1 - e1) / (1 - e1 * np.cos(a))
    assert np.median(clean[body.masks["muscle"]]) == pytest.approx(expected, rel=0.08)


def test_fat_to_muscle_of_a_spin_echo(body):
    lung = lung_of(body, 3.0)
    clean = physics.spin_echo(body, lung, field_t=3.0, te_ms=60.0, tr_ms=2000.0)
    fat = np.median(clean[body.shares["fat"] > 0.99])
    muscle = np.median(clean[body.masks["muscle"]])
    expected = 0.9 * (1 - np.exp(-2000 / 382)) * np.exp(-60 / 68), 0.79 * (1 - np.exp(-2000 / 898)) * np.exp(-60 / 29)
    assert fat / muscle == pytest.approx(expected[0] / expected[1], rel=0.12)


def test_echoes_decay_with_the_truths_r2star(body):
    lung = lung_of(body, iron=0.5)
    early, late = (
        physics.spoiled_gre(body, lung, field_t=1.5, te_ms=te, tr_ms=9.0, flip_deg=8.0)[parenchyma(body)]
        for te in (0.5, 1.5)
    )
    pure = body.shares["lung"][parenchyma(body)] > 0.9999
    decay = np.log(early / late) / 1e-3
    assert np.median(decay[pure]) == pytest.approx(np.median(lung.r2star[parenchyma(body)][pure]), rel=0.01)


@pytest.mark.parametrize(("field_t", "low", "high"), [(1.5, 0.8, 2.4), (3.0, 0.6, 0.9)])
def test_healthy_lung_t2star_is_in_the_published_range(body, field_t, low, high):
    assert low < 1e3 / state(body, field_t)["r2star"] < high


def test_healthy_lung_t1_at_3_t():
    assert physics.LUNG_T1_MS[1] == pytest.approx(1281)  # ISMRM 2006 #1307


def test_filling_air_space_lowers_r2star_and_iron_raises_it(body):
    healthy, filled, iron = state(body), state(body, blood=0.8), state(body, iron=0.8)
    assert filled["r2star"] < 0.8 * healthy["r2star"] < healthy["r2star"] < 0.85 * iron["r2star"]
    assert filled["water"] > 2 * healthy["water"]


def test_iron_acts_on_r2_and_hardly_on_r1(body):
    healthy, iron = state(body), state(body, iron=1.0)
    assert iron["r2"] > 1.5 * healthy["r2"]
    assert iron["r1"] < 1.15 * healthy["r1"]


def test_methemoglobin_raises_r1_and_r2_less_once_released(body):
    healthy, met = state(body), state(body, methemoglobin=1.0)
    assert met["r1"] > 1.5 * healthy["r1"] and met["r2"] > healthy["r2"]


def test_iron_counts_double_for_r2star_at_3_t(body):
    rise = {t: state(body, t, iron=1.0)["r2star"] - state(body, t)["r2star"] for t in (1.5, 3.0)}
    extra = state(body, iron=1.0)["r2"] - state(body)["r2"]
    assert (rise[3.0] - extra) / (rise[1.5] - extra) == pytest.approx(2, rel=0.01)


def test_contrast_agent_raises_t1w_lung(body):
    lung = lung_of(body)
    plain, enhanced = (
        physics.spoiled_gre(body, lung, field_t=1.5, te_ms=0.8, tr_ms=3.6, flip_deg=12.0, contrast=contrast)
        for contrast in (False, True)
    )
    assert np.median((enhanced / np.maximum(plain, 1e-9))[parenchyma(body)]) > 1.3


def test_noise_of_air_is_rayleigh_at_the_chosen_snr(body):
    lung = lung_of(body)
    clean = physics.spoiled_gre(body, lung, field_t=1.5, te_ms=0.8, tr_ms=3.6, flip_deg=12.0)
    muscle = float(np.median(clean[body.masks["muscle"]]))
    image = physics.acquire_mr(
        clean, muscle, spacing=body.grid.spacing_mm, snr=40, shading=0.0, motion_mm=0.0,
        coil_rng=np.random.default_rng(0), rng=np.random.default_rng(1),
    )  # fmt: skip
    far = np.zeros(body.grid.shape, bool)
    far[:4, -4:] = far[-4:, -4:] = True
    far &= ~body.masks["body"]
    sigma = np.sqrt(np.mean(image[far] ** 2) / 2)
    assert np.median(image[body.masks["muscle"]]) / sigma == pytest.approx(40, rel=0.1)


def test_ct_numbers_of_air_muscle_and_fat(body):
    hu = physics.attenuation(body, lung_of(body))
    assert np.median(hu[~body.masks["body"]]) == -1000
    assert 30 < np.median(hu[body.masks["muscle"]]) < 70
    assert -120 < np.median(hu[body.shares["fat"] > 0.99]) < -80


def test_radiograph_of_a_block_follows_beer_lambert():
    hu = np.full((60, 40, 60), -1000.0)
    hu[20:40, :20], hu[40:] = 0.0, -1000.0
    hu[40:, :40] = 0.0
    film = physics.project_radiograph(hu, (4.0, 4.0, 4.0), photons=1e6, rng=np.random.default_rng(0))
    air, thin, thick = (film[part, 30].mean() for part in (slice(0, 8), slice(27, 33), slice(52, 60)))
    assert air < thin < thick
