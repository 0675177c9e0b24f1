from dataclasses import replace

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.phantom import physics
from ipha_toolkit.regions.muscle import muscle_flags, muscle_level, reference_tissue
from ipha_toolkit.volume import Mask, Volume


@pytest.mark.parametrize(("kind", "level"), [("T1w", 80), ("T2w", 35)])
@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (2.0, 2.0, 15.0), (3.0, 6.0, 3.0)])
def test_muscle_level_is_found_between_lung_and_fat(make_chest, kind, level, spacing):
    volume, truth = make_chest(kind, spacing=spacing)
    muscle = reference_tissue(volume, truth)
    assert muscle_level(volume, muscle) == pytest.approx(level, rel=0.04)
    assert not (muscle.array & truth.array).any()
    assert muscle.volume_ml > 20
    assert muscle_flags(muscle, truth) == []


def test_muscle_level_survives_shading_once_the_bias_field_is_removed(make_chest):
    volume, truth = make_chest("T1w", shading=0.4)
    corrected = correct_bias(volume, exclude=truth)
    muscle = reference_tissue(corrected, truth)
    values = corrected.array[muscle.array]
    assert values.std() / values.mean() < 0.1


def test_reference_lies_behind_the_lungs_center_on_both_sides(make_chest):
    volume, truth = make_chest("T1w")
    points = volume.to_world(np.argwhere(reference_tissue(volume, truth).array))
    assert points[:, 1].max() < 0
    assert (np.abs(points[:, 0]) < 60).all()


def test_missing_back_is_an_error_that_says_what_to_do(make_chest):
    volume, truth = make_chest("T1w")
    y = volume.to_world(np.moveaxis(np.indices(volume.shape), 0, -1))[..., 1]
    front = volume.replace(array=np.where(y < 10, 0, volume.array), name="front.nii")
    with pytest.raises(ImageError, match=r"front\.nii: no skeletal muscle.*made by hand"):
        reference_tissue(front, truth)
    with pytest.raises(ImageError, match="lung mask is empty"):
        reference_tissue(volume, truth.replace(array=np.zeros(truth.shape, bool)))
    with pytest.raises(GridError):
        reference_tissue(volume, Mask(truth.array[1:], truth.affine))


def test_flags_of_small_and_lopsided_references():
    affine = np.diag([10.0, 10, 10, 1])
    lungs = np.zeros((20, 4, 4), bool)
    lungs[2:18] = True
    one = np.zeros_like(lungs)
    one[4, 0, 0] = True
    assert muscle_flags(Mask(one, affine), Mask(lungs, affine)) == [
        "small_reference",
        "asymmetric_reference",
    ]
    both = np.zeros_like(lungs)
    both[[4, 5, 14, 15], 0, 0] = True
    assert muscle_flags(Mask(both, affine), Mask(lungs, affine)) == []
    both[6, 0, 0] = True
    assert muscle_flags(Mask(both, affine), Mask(lungs, affine)) == ["asymmetric_reference"]


def test_level_is_finer_than_the_whole_numbers_it_rests_on_and_ignores_stray_fat():
    values = np.array([7] * 40 + [8] * 55 + [170] * 5, float).reshape(10, 10, 1)
    volume = Volume(values, np.eye(4))
    everywhere = Mask(np.ones(volume.shape, bool), np.eye(4))
    assert muscle_level(volume, everywhere) == pytest.approx((30 * 7 + 50 * 8) / 80)


def test_level_refuses_a_mask_without_values():
    volume = Volume(np.full((3, 3, 3), np.nan), np.eye(4), name="hole.nii")
    with pytest.raises(ImageError, match=r"hole\.nii: the muscle mask holds no voxel"):
        muscle_level(volume, Mask(np.ones((3, 3, 3), bool), np.eye(4)))


@pytest.mark.parametrize(("seed", "size", "phase"), [(83, 0.66, "none"), (84, 0.8, "acute")])
def test_muscle_of_a_child_is_found_on_voxels_of_6_mm(seed, size, phase):
    made = ipha.simulate_subject(phase, seed=seed, spacing_mm=6.0, size=size, modalities=["T1w"])
    t1w, true = made.volumes["T1w"], made.truth["T1w"].masks
    corrected = correct_bias(t1w, exclude=true["lung"])
    muscle = reference_tissue(corrected, true["lung"])
    level = np.median(corrected.array[true["muscle"].array])
    assert muscle_level(corrected, muscle) == pytest.approx(level, rel=0.05)
    assert muscle_flags(muscle, true["lung"]) == []


def test_voxels_too_coarse_for_muscle_are_refused_by_their_size(make_chest):
    volume, truth = make_chest("T1w", spacing=(8.0, 8.0, 8.0))
    with pytest.raises(ImageError, match="voxels of 8 mm mix muscle with fat"):
        reference_tissue(volume, truth)
    volume, truth = make_chest("T1w", spacing=(8.0, 3.0, 8.0))
    assert muscle_level(volume, reference_tissue(volume, truth)) == pytest.approx(80, rel=0.05)


@pytest.mark.parametrize(("seed", "size", "left"), [(91, 0.7, 0.1), (92, 1.0, 0.35)])
def test_muscle_is_found_where_fat_is_suppressed(monkeypatch, seed, size, left):
    for tissue in ("fat", "marrow"):
        bright = physics.TISSUES[tissue]
        monkeypatch.setitem(physics.TISSUES, tissue, replace(bright, pd=bright.pd * left))
    made = ipha.simulate_subject("none", seed=seed, spacing_mm=4.0, size=size, modalities=["T1w"])
    t1w, true = made.volumes["T1w"], made.truth["T1w"].masks
    corrected = correct_bias(t1w, exclude=true["lung"])
    level = np.median(corrected.array[true["muscle"].array])
    assert muscle_level(corrected, reference_tissue(corrected, true["lung"])) == pytest.approx(level, rel=0.06)
