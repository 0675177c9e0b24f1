import numpy as np
import pytest

from ipha_toolkit.errors import ImageError
from ipha_toolkit.regions.chest import perhaps_no_chest, require_chest
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.volume import Volume


@pytest.mark.parametrize("kind", ["T1w", "T2w"])
def test_noise_is_no_chest(kind):
    rng = np.random.default_rng(0)
    noise = Volume(np.abs(rng.normal(0, 20, (80, 60, 60))), np.diag([4.0, 4, 4, 1]), modality=kind, name="noise.nii")
    with pytest.raises(ImageError, match=r"noise\.nii: (does not look like a chest|no lung found)"):
        segment_lungs(noise)


def test_dark_strips_between_muscles_are_no_lungs(make_chest):
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0))
    strips = truth.array & (np.indices(t1w.shape)[2] % 8 < 6) & (np.indices(t1w.shape)[0] % 10 < 6)
    with pytest.raises(ImageError, match=r"does not look like a chest|no lung found"):
        segment_lungs(t1w.replace(array=np.where(truth.array & ~strips, 80, t1w.array)))


def test_a_t2w_mask_far_smaller_than_the_chest_is_refused(make_chest):
    t2w, truth = make_chest("T2w", spacing=(4.0, 4.0, 4.0))
    z = t2w.to_world(np.moveaxis(np.indices(t2w.shape), 0, -1))[..., 2]
    bled = t2w.replace(array=np.where(truth.array & (z < 62), 60, t2w.array), name="bleed_T2w.nii")
    with pytest.raises(ImageError, match=r"bleed_T2w\.nii.*mL of dark lung in a chest that holds far more.*T1w"):
        segment_lungs(bled)


def abdomen(make_chest, pieces, **kind):
    """A body without lungs whose dark pieces, centers and radii in mm, are bowel, muscle or a spine."""
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0), **kind)
    x, y, z = np.moveaxis(t1w.to_world(np.moveaxis(np.indices(t1w.shape), 0, -1)), -1, 0)
    array = np.where(truth.array | (np.hypot(x, y) < 12), 80, t1w.array)
    for (a, b, c), (p, q, r) in pieces:
        array[((x - a) / p) ** 2 + ((y - b) / q) ** 2 + ((z - c) / r) ** 2 < 1] = 8
    return t1w.replace(array=array, name="belly.nii")


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([((0, 0, 0), (35, 60, 80)), ((80, 0, 0), (40, 50, 60))], "on the middle of the body"),
        ([((-75, 0, -55), (50, 65, 50)), ((75, 0, 60), (45, 55, 45))], "above the other"),
        ([((80, 0, 0), (20, 25, 20))], "no second lung beside the spine"),
    ],
)
def test_dark_spaces_that_do_not_lie_beside_a_spine_are_no_lungs(make_chest, pieces, reason):
    with pytest.raises(ImageError, match=rf"belly\.nii: does not look like a chest.*{reason}"):
        segment_lungs(abdomen(make_chest, pieces))


@pytest.mark.parametrize("kind", ["T1w", "T2w"])
@pytest.mark.parametrize("planes", [slice(None), slice(30, 36), slice(20, 21)], ids=["whole", "slab", "slice"])
def test_a_chest_with_one_lung_opaque_is_no_abdomen(make_chest, kind, planes):
    volume, truth = make_chest(kind, spacing=(4.0, 4.0, 4.0), consolidation=((-70, 0, 0), 110))
    coronal = volume.replace(array=volume.array[:, planes])
    lungs = segment_lungs(coronal)
    clear = truth.array[:, planes] & (np.indices(coronal.shape)[0] > coronal.shape[0] / 2)
    assert np.count_nonzero(lungs.array & clear) > 0.85 * np.count_nonzero(clear)


def test_a_lung_that_reaches_over_to_a_collapsed_one_is_a_lung(make_chest):
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0), one_lung=True)
    x, y, z = np.moveaxis(t1w.to_world(np.moveaxis(np.indices(t1w.shape), 0, -1)), -1, 0)
    over = ((x + 5) / 45) ** 2 + ((y - 45) / 35) ** 2 + (z / 90) ** 2 < 1
    grown = t1w.replace(array=np.where(over, 10 + np.random.default_rng(2).normal(0, 2, t1w.shape), t1w.array))
    assert segment_lungs(grown).volume_ml > 0.85 * truth.volume_ml


def test_lung_dealt_to_the_other_side_does_not_make_a_chest_a_belly(make_chest):
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0))
    right = np.indices(t1w.shape)[0] > t1w.shape[0] / 2
    corner = right & (np.indices(t1w.shape)[2] % 9 == 0)
    sides = truth.array & (~right | corner), truth.array & right & ~corner
    require_chest(truth, t1w, sides)


@pytest.mark.parametrize("at", [58, 70, 95])
def test_dark_muscle_of_two_legs_is_no_pair_of_lungs(make_chest, at):
    t1w, _ = make_chest("T1w", spacing=(4.0, 4.0, 4.0))
    x, y, z = np.moveaxis(t1w.to_world(np.moveaxis(np.indices(t1w.shape), 0, -1)), -1, 0)
    legs = np.full(t1w.shape, 2.0)
    for side in (-1, 1):
        away = np.hypot(x - side * at, y) + 0.15 * z
        for radius, level in ((62, 165), (50, 25), (16, 3), (10, 150)):
            legs[away < radius] = level
    legs += np.abs(np.random.default_rng(1).normal(0, 2, legs.shape))
    with pytest.raises(ImageError, match=r"legs\.nii: does not look like a chest.*of its depth between them"):
        segment_lungs(t1w.replace(array=legs, name="legs.nii"))


@pytest.mark.parametrize("level", [-30, -50])
def test_slender_muscle_on_both_sides_of_a_pelvis_is_no_pair_of_lungs(make_chest, level):
    pieces = [((side * 75, 0, level), (30, 30, 140)) for side in (-1, 1)]
    with pytest.raises(ImageError, match=r"belly\.nii: does not look like a chest.*of the body's depth"):
        segment_lungs(abdomen(make_chest, pieces))


def test_bulky_muscle_without_domes_is_flagged(make_chest):
    pieces = [((side * 75, -10, 0), (50, 62, 90)) for side in (-1, 1)]
    pelvis = abdomen(make_chest, pieces)
    assert lung_flags(segment_lungs(pelvis), pelvis) == ["perhaps_no_chest"]


def test_lungs_as_deep_as_the_ribs_or_with_domes_are_of_a_chest(make_chest):
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0))
    assert not perhaps_no_chest(truth, t1w)
    x, y, z = np.moveaxis(t1w.to_world(np.moveaxis(np.indices(t1w.shape), 0, -1)), -1, 0)
    shallow = truth.array & (np.abs(y) < 60)
    assert perhaps_no_chest(truth.replace(array=shallow), t1w)
    domed = truth.array & (np.abs(y) < 60) & (z > -30 - 0.8 * np.hypot(np.abs(x) - 70, y))
    assert not perhaps_no_chest(truth.replace(array=domed), t1w)


@pytest.mark.parametrize(
    "planes", [(slice(None), slice(30, 36)), (slice(20, 21),), (slice(None), slice(None), slice(30, 36))]
)
def test_a_slab_is_not_asked_for_domes(make_chest, planes):
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0))
    shallow = truth.array & (np.indices(t1w.shape)[1] > 25)
    assert not perhaps_no_chest(truth.replace(array=shallow[planes]), t1w.replace(array=t1w.array[planes]))
