"""Lungs, sides and muscle on real scans; the numbers are Dice overlaps with the masks that came with them."""

from pathlib import Path

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.image.geometry import resample_to
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.regions.lacking import missing_lung_ml
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.regions.muscle import muscle_flags, muscle_level, reference_tissue
from ipha_toolkit.regions.zones import split_left_right
from ipha_toolkit.volume import Mask, Volume

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not on this machine")


def dice(a, b):
    return 2 * np.count_nonzero(a.array & b.array) / (a.n_voxels + b.n_voxels)


@pytest.mark.parametrize(
    ("name", "axis", "words"),
    [
        ("cip/ct-64.nrrd", 2, "upside down"),
        ("cip/ct-64.nrrd", 1, "back to front"),
        ("ct_lung_pair_elastix/3DCT_lung_baseline_small.mha", 1, "back to front"),
        ("totalseg/example_ct_sm.nii.gz", 1, "back to front"),
    ],
)
def test_a_ct_turned_round_under_its_header_is_refused(name, axis, words):
    ct = ipha.load(DATA / name, modality="ct").to_ras()
    with pytest.raises(ImageError, match=words):
        segment_lungs(ct.replace(array=np.ascontiguousarray(np.flip(ct.array, axis))))


@pytest.mark.parametrize("subject", ["0004", "0006", "0007"])
def test_mri_lungs_muscle_and_sides(subject):
    t1w = ipha.load(DATA / "mri_lung_uva" / f"{subject}H1.nii.gz", modality="T1w")
    labels = ipha.load(DATA / "mri_lung_uva" / f"{subject}Mask.nii.gz", modality="T1w")
    given = Mask(labels.array > 0, labels.affine)
    lungs = segment_lungs(t1w)
    assert dice(lungs, given) >= 0.95
    assert lung_flags(lungs, t1w) == []
    left, right = split_left_right(lungs)
    sides = [Mask(labels.array == value, labels.affine) for value in (1, 2)]
    sides.sort(key=lambda side: side.to_world(np.argwhere(side.array))[:, 0].mean())
    assert dice(left, sides[0]) > 0.94 and dice(right, sides[1]) > 0.94
    corrected = correct_bias(t1w, exclude=lungs)
    muscle = reference_tissue(corrected, lungs)
    assert muscle_flags(muscle, lungs) == []
    assert 50 < muscle_level(corrected, muscle) < 110


def test_mri_without_a_given_mask_has_two_plausible_lungs():
    t1w = ipha.load(DATA / "mri_lung_uva" / "0005Proton.nii.gz", modality="T1w")
    lungs = segment_lungs(t1w)
    assert 1400 < lungs.volume_ml < 3000
    assert lung_flags(lungs, t1w) == []


def test_axial_mri_of_15_mm_slices():
    volume = axial_philips()
    lungs = segment_lungs(volume)
    assert 2200 < lungs.volume_ml < 3800
    assert "one_lung" not in lung_flags(lungs, volume)
    muscle = reference_tissue(correct_bias(volume, exclude=lungs), lungs)
    assert muscle.volume_ml > 50


def test_ct_of_5_mm_slices_with_bed():
    ct = ipha.load(DATA / "ct_pyradiomics_lung1" / "lung1_image.nrrd", modality="ct")
    lungs = segment_lungs(ct)
    assert 2500 < lungs.volume_ml < 3300
    assert -900 < np.median(ct.array[lungs.array]) < -800
    left, right = split_left_right(lungs)
    assert 0.5 < left.volume_ml / right.volume_ml < 0.9


def test_ct_crop_of_one_lung_is_flagged():
    ct = ipha.load(DATA / "ct_ibsi1_phantom" / "phantom.nii.gz", modality="ct")
    lungs = segment_lungs(ct)
    assert {"one_lung", "cut_field_of_view"} <= set(lung_flags(lungs, ct))
    left, right = split_left_right(lungs)
    assert left.n_voxels == 0 and right.volume_ml > 900


def test_ct_of_one_lung_agrees_with_the_given_mask():
    folder = DATA / "ct_lung_pair_elastix"
    ct = ipha.load(folder / "3DCT_lung.mha", modality="ct")
    given = resample_to(load_mask(folder / "3DCT_lung_baseline_mask.mha"), ct)
    assert dice(segment_lungs(ct), given) > 0.97


@pytest.mark.parametrize(
    "path", sorted((DATA / "ct_covid_prior_current_slices").rglob("*axial/*.dcm")), ids=lambda p: p.name
)
def test_slices_whose_back_is_consolidated_say_that_lung_is_perhaps_missing(path):
    ct = ipha.load(path, modality="ct")
    lungs = segment_lungs(ct)
    assert "lung_perhaps_missing" in lung_flags(lungs, ct)
    assert missing_lung_ml(lungs, ct) > 0.1 * lungs.volume_ml


def test_whole_clear_lungs_miss_nothing():
    for place in ("ct_pyradiomics_lung1/lung1_image.nrrd", "cip/ct-64.nrrd"):
        ct = ipha.load(DATA / place, modality="ct")
        lungs = segment_lungs(ct)
        assert missing_lung_ml(lungs, ct) < 0.02 * lungs.volume_ml


def axial_philips():
    """The axial stack, whose slices all have their own series."""
    pydicom = pytest.importorskip("pydicom")
    slices = [pydicom.dcmread(path) for path in (DATA / "mri_xe_proton_dicom").rglob("*.dcm")]
    slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
    array = np.stack([s.pixel_array.T.astype(float) for s in slices], axis=-1)
    first, last = (np.array(s.ImagePositionPatient, float) for s in (slices[0], slices[-1]))
    affine = np.eye(4)
    affine[:3, 0] = np.array(slices[0].ImageOrientationPatient[:3], float) * slices[0].PixelSpacing[1]
    affine[:3, 1] = np.array(slices[0].ImageOrientationPatient[3:], float) * slices[0].PixelSpacing[0]
    affine[:3, 2] = (last - first) / (len(slices) - 1)
    affine[:3, 3] = first
    return Volume(array, np.diag([-1, -1, 1, 1]) @ affine, modality="T1w", name="axial Philips").to_ras()


@pytest.mark.parametrize("echo", ["philips/*e1", "philips/*e3", "philips/*e12", "siemens/*e2", "siemens/*e12"])
def test_the_belly_is_no_chest(echo):
    path = next((DATA / "mri_t2star_ukat").glob(f"{echo}.nii.gz"))
    with pytest.raises(ImageError, match="does not look like a chest"):
        segment_lungs(ipha.load(path, modality="T1w"))
