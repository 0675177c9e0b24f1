"""Known motion of a simulated patient, found again; positions are checked inside the lungs."""

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.image.align import align, entropy_correlation
from ipha_toolkit.image.geometry import resample_to
from ipha_toolkit.volume import Mask, Volume

ROLES = ("T1w", "T2w", "ct")


@pytest.fixture(scope="module")
def patient():
    spacing = {"T1w": 4.0, "T2w": (3.5, 3.5, 5.0), "ct": 4.0}
    return ipha.simulate_subject("chronic", seed=11, spacing_mm=spacing, modalities=ROLES)


def motion(degrees, shift_mm, center_mm=(0.0, 0.0, 0.0)):
    """Turn about x, then y, then z, about a center, then shift: 4x4, mm."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        turn = np.eye(4)
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        matrix = turn @ matrix
    center = np.array(center_mm)
    matrix[:3, 3] = center + shift_mm - matrix[:3, :3] @ center
    return matrix


def scanned_again(image, matrix, spacing_mm=(3.7, 4.1, 4.0)):
    """The patient moved by a matrix, seen on an upright grid of other voxels: the motion is in no header."""
    moved = image.replace(affine=matrix @ image.affine)
    spacing = np.array(spacing_mm)
    shape = np.ceil(np.array(image.shape) * image.spacing_mm / spacing).astype(int)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = moved.to_world((np.array(image.shape) - 1) / 2) - spacing * (shape - 1) / 2
    seen = resample_to(moved, Mask(np.zeros(shape, bool), affine))
    if isinstance(seen, Mask):
        return seen
    return seen.replace(array=np.nan_to_num(seen.array, nan=float(np.nanmin(image.array))))


def error_mm(alignment, matrix, lungs):
    """Largest distance between where lung points are and where moving and aligning them brings them."""
    points = lungs.to_world(np.argwhere(lungs.array)[::50])
    both = alignment.matrix @ matrix
    return np.linalg.norm(points @ both[:3, :3].T + both[:3, 3] - points, axis=1).max()


@pytest.mark.parametrize(("moving", "fixed"), [("T1w", "T2w"), ("ct", "ct"), ("ct", "T1w")])
def test_known_motion_is_found_within_a_third_of_a_voxel(patient, moving, fixed):
    matrix = motion((7, -5, 6), (12, -15, 20))
    alignment = align(scanned_again(patient.volumes[moving], matrix), patient.volumes[fixed])
    assert error_mm(alignment, matrix, patient.truth[fixed].masks["lung"]) < 4 / 3
    assert alignment.quality > 0.2 and alignment.overlap > 0.8
    assert np.isnan([alignment.lung_dice, alignment.surface_mm, alignment.surface_p95_mm]).all()


def test_affine_follows_a_stretch_that_rigid_cannot(patient):
    matrix = motion((3, 0, -4), (5, 8, -10)) @ np.diag([1.0, 1.04, 1.08, 1.0])
    moving, fixed = scanned_again(patient.volumes["ct"], matrix), patient.volumes["ct"]
    lungs = patient.truth["ct"].masks["lung"]
    masks = {"moving_mask": scanned_again(lungs, matrix), "fixed_mask": lungs}
    rigid, affine = align(moving, fixed, **masks), align(moving, fixed, kind="affine", **masks)
    assert error_mm(affine, matrix, lungs) < 2 < error_mm(rigid, matrix, lungs)
    assert np.linalg.det(rigid.matrix) == pytest.approx(1, abs=1e-6)
    assert affine.lung_dice > 0.95 > rigid.lung_dice
    assert affine.surface_mm < rigid.surface_mm < rigid.surface_p95_mm


def test_a_patient_far_off_is_found(patient):
    matrix = motion((0, 0, 0), (150, -60, 300))
    alignment = align(scanned_again(patient.volumes["ct"], matrix), patient.volumes["T1w"])
    assert error_mm(alignment, matrix, patient.truth["T1w"].masks["lung"]) < 4 / 3


def test_flipped_permuted_and_oblique_copies_align_alike(patient):
    moving = scanned_again(patient.volumes["T1w"], motion((4, 2, 3), (9, 5, 2)))
    copy = Volume(moving.array.transpose(2, 0, 1)[::-1], _stored(moving.affine, moving.shape), modality="T1w")
    one, two = (align(volume, patient.volumes["T1w"]) for volume in (moving, copy))
    assert np.allclose(one.matrix, two.matrix, atol=0.05)


def _stored(affine, shape):
    """Affine of the same voxels stored as (k reversed, i, j)."""
    step = np.zeros((4, 4))
    step[2, 0], step[0, 1], step[1, 2], step[2, 3], step[3, 3] = -1, 1, 1, shape[2] - 1, 1
    return affine @ step


def test_the_same_input_gives_the_same_matrix_and_is_left_alone(patient):
    moving, fixed = patient.volumes["T2w"], patient.volumes["T1w"]
    before = moving.array.copy()
    one, two = align(moving, fixed), align(moving, fixed)
    assert np.array_equal(one.matrix, two.matrix) and one.quality == two.quality
    assert np.array_equal(moving.array, before, equal_nan=True)
    with pytest.raises(ValueError, match="read-only"):
        one.matrix[0, 3] = 1


def test_everything_is_carried_to_the_fixed_image_and_back(patient):
    matrix = motion((5, 0, 5), (10, 20, -15))
    fixed, lungs = patient.volumes["ct"], patient.truth["ct"].masks["lung"]
    moving, moving_lungs = scanned_again(fixed, matrix), scanned_again(lungs, matrix)
    alignment = align(moving, fixed)
    image, mask = alignment.apply(moving), alignment.apply(moving_lungs)
    assert image.same_grid(fixed) and image.modality == "ct" and mask.same_grid(lungs)
    assert 2 * np.count_nonzero(mask.array & lungs.array) / (mask.n_voxels + lungs.n_voxels) > 0.95
    assert alignment.apply(moving, like=moving, order=0).same_grid(moving)

    nodules = patient.truth["ct"].nodules.assign(note="kept")
    moved = nodules.copy()
    moved[["x_mm", "y_mm", "z_mm"]] = nodules[["x_mm", "y_mm", "z_mm"]] @ matrix[:3, :3].T + matrix[:3, 3]
    carried = alignment.apply(moved)
    position = ["x_mm", "y_mm", "z_mm"]
    assert np.allclose(carried[position], nodules[position], atol=1.3)
    assert carried.drop(columns=position).equals(nodules.drop(columns=position))
    with pytest.raises(ValueError, match="z_mm missing"):
        alignment.apply(nodules.drop(columns="z_mm"))
    back = alignment.inverse()
    assert np.allclose(back.apply(carried)[position], moved[position])
    assert back.apply(fixed).same_grid(moving)


def test_some_missing_voxels_do_no_harm(patient):
    fixed = patient.volumes["ct"]
    holes = fixed.array.copy()
    holes[np.random.default_rng(0).random(holes.shape) < 0.02] = np.nan
    matrix = motion((0, 3, 0), (6, 0, 0))
    alignment = align(scanned_again(fixed, matrix), fixed.replace(array=holes))
    assert error_mm(alignment, matrix, patient.truth["ct"].masks["lung"]) < 4 / 3


def test_what_does_not_fit_is_refused(patient):
    fixed = patient.volumes["T1w"].replace(name="fixed.nii.gz")
    noise = fixed.replace(array=np.random.default_rng(0).normal(100, 20, fixed.shape), name="noise.nii.gz")
    with pytest.raises(ImageError, match=r"noise.nii.gz cannot be aligned to fixed.nii.gz: quality 0\.0"):
        align(noise, fixed)
    with pytest.raises(ImageError, match="cannot be aligned"):
        align(fixed.replace(array=fixed.array[:, :, ::-1]), patient.volumes["ct"])
    with pytest.raises(ImageError, match="flat: too small or constant"):
        align(fixed.replace(array=np.ones(fixed.shape), name="flat"), fixed)
    with pytest.raises(ImageError, match="too small or constant"):
        align(fixed.replace(array=np.full(fixed.shape, np.nan)), fixed)
    with pytest.raises(ValueError, match="kind is rigid or affine, got 'bspline'"):
        align(fixed, fixed, kind="bspline")


def test_masks_must_lie_on_their_images_and_hold_something(patient):
    fixed = patient.volumes["T1w"]
    empty = Mask(np.zeros(fixed.shape, bool), fixed.affine, name="lungs")
    with pytest.raises(ImageError, match="lungs of T1w: is empty"):
        align(fixed, fixed, fixed_mask=empty)
    with pytest.raises(GridError, match="different grid"):
        align(fixed, fixed, moving_mask=patient.truth["T2w"].masks["lung"])


def test_lungs_that_do_not_meet_are_a_failure(patient):
    fixed, lungs = patient.volumes["T1w"], patient.truth["T1w"].masks["lung"]
    elsewhere = Mask(np.roll(lungs.array, 40, axis=2), lungs.affine)
    with pytest.raises(ImageError, match="lungs overlap by a Dice of"):
        align(fixed, fixed, moving_mask=elsewhere, fixed_mask=lungs)


def test_entropy_correlation_of_nothing_in_common_is_near_zero():
    a, b = np.random.default_rng(0).random((2, 200_000), dtype=np.float32)
    assert entropy_correlation(a, b) < 0.01
    assert entropy_correlation(a, np.zeros_like(a)) == 0
    assert entropy_correlation(np.zeros_like(a), np.zeros_like(a)) == 0
