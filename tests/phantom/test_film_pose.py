import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.phantom.film_pose import FilmPose, child_proportions


def film(**options):
    subject = ipha.simulate_subject("none", seed=2, spacing_mm=6, modalities=["dx"], **options)
    return subject.volumes["dx"], subject.truth["dx"].masks["lung"]


def test_children_grow_and_their_chests_and_hearts_become_an_adults():
    ages = [1, 2, 4, 8, 12, 16, 40]
    table = [child_proportions(age) for age in ages]
    assert (np.diff([row["scale"] for row in table]) >= 0).all()
    for name in ("wide", "deep", "heart"):
        assert (np.diff([row[name] for row in table]) <= 0).all()
    assert table[-1] == {"scale": 1.0, "wide": 1.0, "deep": 1.0, "heart": 1.0}


def test_a_small_child_is_smaller_and_its_lungs_wider_for_their_height():
    sides = {}
    for age in (1.0, 16.0):
        lung = film(age_years=age)[1]
        shape = np.ptp(np.argwhere(lung.array.any(axis=1)), axis=0) * np.array(lung.spacing_mm)[[0, 2]]
        sides[age] = shape[0] / shape[1], shape[1]
    assert sides[1.0][0] > sides[16.0][0]
    assert sides[1.0][1] < 0.55 * sides[16.0][1]


def test_a_cut_film_shows_the_same_place_at_the_same_millimetre():
    whole, _ = film()
    cut, _ = film(film=FilmPose(cut=(0.1, 0.0, 0.2, 0.0)))
    i, j = np.array(whole.shape[:2]) - cut.shape[:2]
    assert i > 0 and j > 0
    np.testing.assert_array_equal(cut.array, whole.array[i:, j:])
    np.testing.assert_allclose(cut.affine @ [0, 0, 0, 1], whole.affine @ [i, j, 0, 1])


def test_raised_arms_are_dense_beside_the_head_and_leave_the_lower_film_alone():
    plain, raised = film()[0].array[..., 0], film(film=FilmPose(arms_up=True))[0].array[..., 0]
    height = plain.shape[1]
    assert raised[:, -height // 6 :].mean() > plain[:, -height // 6 :].mean()
    assert np.corrcoef(raised[:, : height // 2].ravel(), plain[:, : height // 2].ravel())[0, 1] > 0.98


def test_a_turned_patient_is_no_longer_symmetrical():
    def unlikeness(array):
        return np.abs(array - array[::-1]).mean()

    assert unlikeness(film(film=FilmPose(rotated_deg=15))[0].array) > unlikeness(film()[0].array)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: FilmPose(rotated_deg=40), "rotated_deg is from -30 to 30, got 40"),
        (lambda: FilmPose(cut=(0.5, 0, 0, 0)), "cut needs four shares"),
        (lambda: child_proportions(0.5), "age_years is from 1 to 120, got 0.5"),
    ],
)
def test_what_no_film_has_is_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()
