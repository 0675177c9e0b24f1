import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.regions.lacking import missing_lung_ml, perhaps_missing
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.volume import Mask


def ribbed(make_chest, **kind):
    """A CT whose lungs lie in a ring of bone."""
    ct, truth = make_chest("ct", **kind)
    x, y, _ = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    ring = (np.hypot(x / 142, y / 94) < 1) & (np.hypot(x / 135, y / 87) > 1)
    return ct.replace(array=np.where(ring & ~truth.array, 500, ct.array)), truth


def test_lung_that_a_mask_lacks_behind_is_told_in_millilitres(make_chest):
    ct, truth = ribbed(make_chest)
    assert missing_lung_ml(truth, ct) < 0.06 * truth.volume_ml  # the ring of bone does not taper as the lungs do
    x, y, z = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    dense = truth.array & (x > 0) & (y < -20) & (z > -40)
    filled = ct.replace(array=np.where(dense, 40, ct.array))
    lacking = truth.replace(array=truth.array & ~dense)
    lost = truth.volume_ml - lacking.volume_ml
    found = missing_lung_ml(lacking, filled)
    assert 0.5 * lost < found < 1.5 * lost
    assert "lung_perhaps_missing" in lung_flags(lacking, filled)
    assert "lung_perhaps_missing" not in lung_flags(truth, ct)


def test_what_is_missing_is_not_known_without_ribs_or_in_mri(make_chest):
    t1w, truth = make_chest("T1w")
    assert np.isnan(missing_lung_ml(truth, t1w))
    ct, truth = make_chest("ct")
    spine_only = ct.replace(array=np.minimum(ct.array, 100))
    assert np.isnan(missing_lung_ml(truth, spine_only))
    assert not perhaps_missing(truth, float("nan"))


def test_7_percent_of_the_lung_or_10_cm2_of_a_slice_is_much(make_chest):
    lung = Mask(np.ones((10, 10, 10), bool), np.diag([10.0, 10, 10, 1]))
    assert perhaps_missing(lung, 71) and not perhaps_missing(lung, 69)
    one_slice = Mask(np.ones((10, 10, 1), bool), np.diag([10.0, 10, 5, 1]))
    assert perhaps_missing(one_slice, 5.1) and not perhaps_missing(one_slice, 4.9)


def places(volume):
    return np.moveaxis(volume.to_world(np.moveaxis(np.indices(volume.shape), 0, -1)), -1, 0)


def one_axial_slice(volume, z_mm=0.0):
    k = int(np.argmin(np.abs(places(volume)[2][0, 0] - z_mm)))
    return volume.replace(array=volume.array[:, :, k : k + 1])


def test_an_aorta_full_of_contrast_agent_is_no_rib(make_chest):
    ct, truth = ribbed(make_chest)
    x, y, _ = places(ct)
    lost = truth.array & (x < 0) & (y < 0)
    aorta = (np.hypot(x + 40, y + 10) < 13) & ~(truth.array & ~lost)
    filled = ct.replace(array=np.where(aorta, 350, np.where(lost, 40, ct.array)))
    lacking = truth.replace(array=truth.array & ~lost)
    one, other = one_axial_slice(filled), one_axial_slice(lacking)
    assert "lung_perhaps_missing" in lung_flags(other, one)


def test_dense_lung_around_rests_of_air_is_missing_though_lung_lies_further_out(make_chest):
    ct, truth = ribbed(make_chest)
    x, y, z = places(ct)
    lost = (np.hypot(x - 70, y + 35) < 26) & truth.array & (np.abs(z) < 40)
    spots = lost & (np.hypot(x - 70, y + 35) < 9)
    even = ct.replace(array=np.where(lost, 40, ct.array))
    mottled = ct.replace(array=np.where(spots, -400, even.array))
    lacking = truth.replace(array=truth.array & ~lost)
    one = one_axial_slice(lacking)
    assert missing_lung_ml(one, one_axial_slice(mottled)) > missing_lung_ml(one, one_axial_slice(even)) + 0.5


@pytest.mark.parametrize("axis", [1, 2])
def test_a_lung_far_smaller_than_the_other_has_perhaps_lost_some(make_chest, axis):
    ct, truth = make_chest("ct")
    x, y, z = places(ct)
    k = ct.shape[axis] // 2
    cut = [slice(None)] * 3
    cut[axis] = slice(k, k + 1)
    small = truth.array & ((x < 0) | (np.hypot(np.hypot(x - 70, y), z) < 25))
    lungs = truth.replace(array=small[tuple(cut)].copy())
    image = ct.replace(array=np.where(truth.array & ~small, 40, ct.array)[tuple(cut)])
    assert "lung_perhaps_missing" in lung_flags(lungs, image)
    whole = truth.replace(array=truth.array[tuple(cut)].copy())
    assert "lung_perhaps_missing" not in lung_flags(whole, ct.replace(array=ct.array[tuple(cut)]))


@pytest.mark.parametrize(
    ("seed", "size", "severity", "lost"), [(352, 1.0, 0.85, True), (353, 0.9, 0.6, True), (8003, 0.9, 0.6, False)]
)
def test_disease_as_dense_as_fat_is_missed_beside_dense_lung(seed, size, severity, lost):
    made = ipha.simulate_subject("acute", seed=seed, spacing_mm=4.0, size=size, severity=severity, modalities=["ct"])
    ct, truth = made.volumes["ct"], made.truth["ct"].masks["lung"].array
    lungs = segment_lungs(ct)
    assert (np.count_nonzero(truth & ~lungs.array) > 0.055 * np.count_nonzero(truth)) == lost
    assert ("lung_perhaps_missing" in lung_flags(lungs, ct)) == lost


@pytest.mark.parametrize(("hu", "told"), [(-850, False), (-250, True)])
def test_what_is_as_dense_as_fat_is_lung_that_was_lost_where_the_lung_beside_it_is_dense(make_chest, hu, told):
    ct, truth = ribbed(make_chest)
    x, _, z = places(ct)
    fatty = truth.array & (np.abs(x) < 50) & (z > -60)
    rest = truth.replace(array=truth.array & ~fatty)
    image = ct.replace(array=np.where(fatty, -120, np.where(rest.array, hu, ct.array)))
    lost_ml = np.count_nonzero(fatty) * np.prod(ct.spacing_mm) / 1000
    assert (missing_lung_ml(rest, image) > 0.5 * lost_ml) == told
