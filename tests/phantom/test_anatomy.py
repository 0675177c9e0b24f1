"""The chest: sizes, sides, and the same patient on every grid."""

import numpy as np
import pytest
from scipy import ndimage

from ipha_toolkit.phantom.anatomy import TISSUES, Patient, build_body, grid_around


@pytest.fixture(scope="module")
def adult():
    patient = Patient(3)
    return build_body(patient, grid_around(patient, (4.0, 4.0, 4.0)))


def litres(body, name):
    return body.masks[name].sum() * np.prod(body.grid.spacing_mm) / 1e6


def test_tissues_fill_every_voxel(adult):
    total = sum(adult.shares[name] for name in TISSUES)
    assert np.allclose(total, 1, atol=1e-4)


def test_adult_lungs_hold_litres_and_the_right_is_the_larger(adult):
    assert 3.5 < litres(adult, "lung") < 7
    assert litres(adult, "left") < litres(adult, "right") < 1.6 * litres(adult, "left")


def test_left_is_the_patients_left(adult):
    x = np.broadcast_to(adult.grid.axes_mm()[0], adult.grid.shape)
    assert x[adult.masks["left"]].max() <= x[adult.masks["right"]].min() < 20


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_lung_is_one_piece(adult, side):
    labels, _ = ndimage.label(adult.masks[side], np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert sizes.max() > 0.995 * sizes.sum()


def test_vessels_taper_towards_the_pleura(adult):
    vessels = adult.patient.vessels
    depth = -adult.patient.lung_distance(*vessels[:, 3:6].T)
    inner, outer = (np.quantile(vessels[part, 6], 0.95) for part in (depth > 30, depth < 8))
    assert inner > 1.5 * outer


def test_child_is_smaller_and_fibrosis_draws_the_lungs_together(adult):
    child, drawn = Patient(3, scale=0.68), Patient(3, volume_loss=0.6)
    volumes = [litres(build_body(p, grid_around(p, (5.0, 5.0, 5.0))), "lung") for p in (Patient(3), child, drawn)]
    assert 0.8 < volumes[1] / volumes[0] / 0.68**3 < 1.2
    assert 0.6 < volumes[2] / volumes[0] < 0.97


def test_seeds_differ_and_repeat():
    grid = grid_around(Patient(1), (8.0, 8.0, 8.0))
    one, again, other = (build_body(Patient(seed), grid) for seed in (1, 1, 2))
    assert np.array_equal(one.shares["lung"], again.shares["lung"])
    assert not np.array_equal(one.masks["lung"], other.masks["lung"])


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 3.0, 6.0)])
def test_volumes_do_not_depend_on_the_grid(adult, spacing):
    other = build_body(adult.patient, grid_around(adult.patient, spacing))
    assert litres(other, "lung") == pytest.approx(litres(adult, "lung"), rel=0.02)
    fat = [body.shares["fat"].sum() * np.prod(body.grid.spacing_mm) for body in (adult, other)]
    assert fat[1] == pytest.approx(fat[0], rel=0.05)
