"""Implants into real scans, recovered in sign, place and size."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import ipha_toolkit as ipha
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.phantom.disease import Disease
from ipha_toolkit.volume import Mask

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not on this machine")


@pytest.fixture(scope="module")
def mri():
    t1w = ipha.load(DATA / "mri_lung_uva" / "0006H1.nii.gz", modality="T1w")
    labels = ipha.load(DATA / "mri_lung_uva" / "0006Mask.nii.gz", modality="T1w")
    return t1w, Mask(labels.array > 0, labels.affine)


@pytest.fixture(scope="module")
def ct():
    folder = DATA / "ct_lung_pair_elastix"
    return ipha.load(folder / "3DCT_lung.mha", modality="ct"), load_mask(folder / "3DCT_lung_baseline_mask.mha")


@pytest.mark.parametrize("gain", [0.3, 0.6])
def test_t1w_gain_is_the_gain_asked_for_within_a_quantisation_step(mri, gain):
    t1w, lungs = mri
    new, _ = ipha.implant(t1w, lungs, Disease(t1w_gain=gain), seed=1)
    before, after = (image.array[lungs.array].mean() for image in (t1w, new))
    assert after - before == pytest.approx(gain * np.median(t1w.array[lungs.array]), abs=1)
    assert np.array_equal(new.array, np.rint(new.array))


@pytest.mark.parametrize(("scan", "diameters"), [("mri", (8, 12)), ("ct", (4, 8))])
def test_nodules_stand_out_where_the_truth_has_them(scan, diameters, request):
    volume, lungs = request.getfixturevalue(scan)
    new, truth = ipha.implant(volume, lungs, Disease(nodules_per_litre=8, nodule_mm=diameters), seed=1)
    places = np.c_[truth.nodules[["x_mm", "y_mm", "z_mm"]], np.ones(len(truth.nodules))]
    at = tuple(np.round(np.linalg.solve(volume.affine, places.T)[:3]).astype(int))
    assert len(truth.nodules) > 10 and truth.nodules.diameter_mm.between(*diameters).all()
    contrast = (new.array - volume.array)[at] / volume.array[lungs.array].std()
    assert np.median(contrast) > 2 and contrast.min() > 1
    far = ~ndimage.binary_dilation(truth.masks["nodule"].array, iterations=6) & ~lungs.array
    assert np.array_equal(new.array[far], volume.array[far]) or scan == "ct"


def test_ground_glass_is_recovered_in_amount_and_place(ct):
    volume, lungs = ct
    new, truth = ipha.implant(volume, lungs, Disease(blood=0.35, patchiness=0.8), seed=1)
    glass = truth.masks["ground_glass"].array
    wanted = "region == 'lung' and measure == 'ground_glass_fraction'"
    before, after = (ipha.measure_attenuation(image, lungs).query(wanted).value.iloc[0] for image in (volume, new))
    assert after > before + 15
    risen = lungs.array & (new.array > -750) & (volume.array < -750)
    assert glass[risen].mean() > 0.9
