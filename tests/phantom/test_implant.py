"""Disease put into a scan: the right amount, at the right place, with the scan's own sharpness and noise."""

import numpy as np
import pytest
from scipy import ndimage

import ipha_toolkit as ipha
from ipha_toolkit.phantom.disease import Disease
from ipha_toolkit.phantom.implant import point_spread_mm
from ipha_toolkit.volume import Mask


@pytest.fixture(scope="module")
def scans(by_phase):
    healthy = by_phase["none"]
    return {name: (healthy.volumes[name], healthy.truth[name].masks["lung"]) for name in ("T1w", "T2w", "ct")}


def voxels(truth, volume):
    world = np.c_[truth.nodules[["x_mm", "y_mm", "z_mm"]], np.ones(len(truth.nodules))]
    return np.linalg.solve(volume.affine, world.T)[:3].T


def test_a_healthy_disease_changes_nothing(scans):
    for volume, lungs in scans.values():
        assert np.array_equal(ipha.implant(volume, lungs, Disease(), seed=1)[0].array, volume.array)


def test_t1w_gain_multiplies_the_lungs_signal_and_leaves_the_rest(scans):
    volume, lungs = scans["T1w"]
    new, truth = ipha.implant(volume, lungs, Disease(t1w_gain=0.5), seed=1)
    before, after = (np.median(image.array[lungs.array]) for image in (volume, new))
    assert after / before == pytest.approx(1.5, abs=0.05)
    far = ~ndimage.binary_dilation(lungs.array, iterations=3)
    assert np.array_equal(new.array[far], volume.array[far])
    assert truth.phase == "implanted" and truth.masks["lung"].same_grid(volume)


def test_ground_glass_raises_ct_by_the_air_it_fills(scans):
    volume, lungs = scans["ct"]
    new, truth = ipha.implant(volume, lungs, Disease(blood=0.4), seed=1)
    blood = truth.maps["blood"].array
    at = truth.masks["ground_glass"].array & (blood > 0.3) & (volume.array < -800)
    rise = (new.array - volume.array)[at]
    expected = 1045 * blood[at] * (1 - (volume.array[at] + 1000) / 1045)
    assert rise.mean() == pytest.approx(expected.mean(), rel=0.06)
    assert truth.masks["ground_glass"].volume_ml > 300


def test_noise_stays_what_it_was(scans):
    volume, lungs = scans["ct"]
    new, truth = ipha.implant(volume, lungs, Disease(blood=0.4), seed=1)
    deep = ndimage.binary_erosion(truth.masks["ground_glass"].array, iterations=2)
    grain = [(image.array - ndimage.gaussian_filter(image.array, 1.0))[deep].std() for image in (volume, new)]
    assert grain[1] == pytest.approx(grain[0], rel=0.1)


@pytest.mark.parametrize(("name", "diameters"), [("ct", (7, 9)), ("T1w", (10, 14))])
def test_nodules_lie_where_the_truth_says_with_their_volume(scans, name, diameters):
    volume, lungs = scans[name]
    disease = Disease(nodules_per_litre=3, nodule_mm=diameters)
    new, truth = ipha.implant(volume, lungs, disease, seed=2)
    assert len(truth.nodules) > 8 and truth.nodules.diameter_mm.between(*diameters).all()
    change = truth.maps["change"].array
    full = (20.0 if name == "ct" else change.max()) - (-850 if name == "ct" else 0)
    for place, diameter in zip(voxels(truth, volume), truth.nodules.diameter_mm, strict=True):
        low = np.maximum(np.round(place).astype(int) - 3, 0)
        box = tuple(slice(a, a + 7) for a in low)
        weight = np.clip(change[box], 0, None)
        centre = [
            np.sum(weight * axis) / weight.sum() + a for axis, a in zip(np.indices(weight.shape), low, strict=True)
        ]
        assert np.abs(centre - place).max() < 0.6
        if name == "ct":
            volume_mm3 = weight.sum() * volume.voxel_volume_ml * 1e3 / full
            assert (6 * volume_mm3 / np.pi) ** (1 / 3) == pytest.approx(diameter, rel=0.12)
    shown = new.array[tuple(np.round(voxels(truth, volume)).astype(int).T)]
    assert np.mean(shown > np.quantile(volume.array[lungs.array], 0.8)) > 0.9


def test_nodules_keep_off_vessels_and_off_each_other(scans):
    volume, lungs = scans["ct"]
    _, truth = ipha.implant(volume, lungs, Disease(nodules_per_litre=30, nodule_mm=(4, 8)), seed=3)
    places = np.round(voxels(truth, volume)).astype(int)
    assert np.quantile(volume.array[tuple(places.T)], 0.95) < -700
    points, radius = truth.nodules[["x_mm", "y_mm", "z_mm"]].to_numpy(), truth.nodules.diameter_mm.to_numpy() / 2
    gaps = np.linalg.norm(points[:, None] - points, axis=-1) - radius[:, None] - radius
    assert gaps[np.triu_indices(len(points), 1)].min() >= 1


def test_edges_are_as_soft_as_the_scans(scans):
    volume, lungs = scans["ct"]
    sharp, soft = (
        point_spread_mm(volume.replace(array=ndimage.gaussian_filter(volume.array, s / 4)), lungs) for s in (0, 5.0)
    )
    assert np.all(sharp < 2.5) and np.all(abs(soft - 5.0) < 1.6)


def test_iron_darkens_t2w_lung_and_water_brightens_it(scans):
    volume, lungs = scans["T2w"]
    level = {
        name: np.median(ipha.implant(volume, lungs, disease, seed=1)[0].array[lungs.array])
        for name, disease in {"iron": Disease(iron=1.0), "water": Disease(water=0.6)}.items()
    }
    assert level["iron"] < np.median(volume.array[lungs.array]) < level["water"]


def test_whole_numbers_stay_whole_and_seeds_repeat(scans):
    volume, lungs = scans["T1w"]
    quantised = volume.replace(array=np.rint(volume.array))
    one, again, other = (ipha.implant(quantised, lungs, Disease(t1w_gain=0.4), seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one.array, np.rint(one.array)) and np.array_equal(one.array, again.array)
    assert not np.array_equal(one.array, other.array)


def test_flipped_scan_is_taken_as_it_lies(scans):
    volume, lungs = scans["ct"]
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = volume.array.shape[0] - 1
    flipped = volume.replace(array=volume.array[::-1], affine=volume.affine @ flip)
    mask = Mask(lungs.array[::-1], flipped.affine)
    new, truth = ipha.implant(flipped, mask, Disease(nodules_per_litre=3, nodule_mm=(7, 9)), seed=2)
    shown = new.array[tuple(np.round(voxels(truth, flipped)).astype(int).T)]
    assert np.mean(shown > -700) > 0.9


def test_what_cannot_be_implanted_is_refused(scans):
    volume, lungs = scans["ct"]
    with pytest.raises(ValueError, match=r"different grid .* call resample_to first"):
        ipha.implant(volume, Mask(np.ones((3, 3, 3), bool), np.eye(4)), Disease(), seed=1)
    with pytest.raises(ValueError, match="lung mask is empty"):
        ipha.implant(volume, lungs.replace(array=np.zeros_like(lungs.array)), Disease(), seed=1)
    with pytest.raises(ValueError, match="implants go into T1w, T2w or ct, got None"):
        ipha.implant(volume.replace(modality=None), lungs, Disease(), seed=1)
