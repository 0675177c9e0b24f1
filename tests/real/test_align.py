"""Alignment of real scans: the elastix lung pair, and an MRI that was moved."""

from pathlib import Path

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.image.geometry import resample_to
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.volume import Mask

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not on this machine")
LUNG = DATA / "ct_lung_pair_elastix"


def turned(image, center_mm, degrees=8.0, shift_mm=(15.0, -20.0, 10.0)):
    """The image turned about z and shifted, seen on its own grid, and the matrix that did it."""
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = center_mm + shift_mm - matrix[:3, :3] @ center_mm
    seen = resample_to(image.replace(affine=matrix @ image.affine), image)
    return seen.replace(array=np.nan_to_num(seen.array, nan=float(image.array.min()))), matrix


def error_mm(alignment, matrix, inside):
    points = inside.to_world(np.argwhere(inside.array)[::100])
    both = alignment.matrix @ matrix
    return np.linalg.norm(points @ both[:3, :3].T + both[:3, 3] - points, axis=1).max()


def test_the_lung_pair_aligns_on_different_grids():
    moving = ipha.load(LUNG / "3DCT_lung.mha", modality="ct")
    fixed = ipha.load(LUNG / "3DCT_lung_baseline_small.mha", modality="ct")
    lungs = load_mask(LUNG / "3DCT_lung_baseline_mask.mha")
    alignment = ipha.align(moving, fixed, moving_mask=lungs)
    assert alignment.quality > 0.3
    assert error_mm(alignment, np.eye(4), lungs) < min(moving.spacing_mm)  # the follow-up was warped onto the baseline
    assert alignment.apply(moving).same_grid(fixed)


@pytest.mark.parametrize("name", ["3DCT_lung_baseline_small", "3DCT_lung"])
def test_a_moved_lung_ct_is_found(name):
    fixed = ipha.load(LUNG / f"{name}.mha", modality="ct")
    lungs = resample_to(load_mask(LUNG / "3DCT_lung_baseline_mask.mha"), fixed)
    center = fixed.to_world((np.array(fixed.shape) - 1) / 2)
    moving, matrix = turned(fixed, center)
    assert error_mm(ipha.align(moving, fixed), matrix, lungs) < min(fixed.spacing_mm)


def test_lung_masks_of_two_dates_say_how_much_breathing_left():
    baseline, followup = (load_mask(LUNG / f"3DCT_lung_{date}_mask.mha") for date in ("baseline", "followup"))
    images = [ipha.Volume(mask.array.astype(float), mask.affine, modality="ct") for mask in (followup, baseline)]
    found = {
        kind: ipha.align(*images, kind=kind, moving_mask=followup, fixed_mask=baseline) for kind in ("rigid", "affine")
    }
    assert 0.85 < found["rigid"].lung_dice < found["affine"].lung_dice < 0.99
    assert found["rigid"].surface_mm > found["affine"].surface_mm > 0.5


@pytest.mark.parametrize("subject", ["0004", "0006"])
def test_a_moved_mri_is_found(subject):
    fixed = ipha.load(DATA / "mri_lung_uva" / f"{subject}H1.nii.gz", modality="T1w")
    labels = ipha.load(DATA / "mri_lung_uva" / f"{subject}Mask.nii.gz", modality="T1w")
    lungs = Mask(labels.array > 0, labels.affine)
    moving, matrix = turned(fixed, lungs.to_world(np.argwhere(lungs.array)).mean(axis=0))
    assert error_mm(ipha.align(moving, fixed), matrix, lungs) < min(fixed.spacing_mm)


def test_a_kidney_does_not_align_to_a_chest():
    kidney = ipha.load(next((DATA / "mri_t2star_ukat").rglob("*_e1.nii*")), modality="T2w")
    chest = ipha.load(DATA / "mri_lung_uva" / "0006H1.nii.gz", modality="T1w")
    with pytest.raises(ImageError, match="cannot be aligned to"):
        ipha.align(kidney, chest)
