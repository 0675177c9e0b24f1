import numpy as np
import pytest

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.volume import Mask, Volume


def slab(shape=(40, 32, 20), spacing=(6.0, 6.0, 6.0)):
    """Two tissues in blobs, two dark lungs, and a smooth field, geometric mean 1 over tissue."""
    rng = np.random.default_rng(0)
    i, j, k = (np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)]) for a, n in enumerate(shape))
    clean = np.where(np.sin(9 * i) * np.sin(7 * j) * np.cos(5 * k) > 0.1, 170.0, 80.0)
    lungs = ((np.abs(i) - 0.45) / 0.25) ** 2 + (j / 0.5) ** 2 + (k / 0.7) ** 2 < 1
    clean = np.where(lungs, 8.0, clean)
    field = np.exp(0.3 * i + 0.35 * j**2 - 0.2 * k * i)
    field = field / np.exp(np.log(np.broadcast_to(field, shape))[~lungs].mean())
    noise = rng.normal(0, 1.0, shape)
    affine = np.diag([*spacing, 1.0])
    return (
        Volume(np.abs(clean * field + noise), affine, modality="T1w", name="slab"),
        Mask(lungs, affine),
        clean,
    )


def unevenness(array, clean, tissue):
    """Coefficient of variation of the field left in each tissue."""
    left = [array[tissue & (clean == level)] for level in (80.0, 170.0)]
    return max(values.std() / values.mean() for values in left)


def test_shading_is_removed_and_the_level_stays():
    volume, lungs, clean = slab()
    corrected = correct_bias(volume, exclude=lungs)
    tissue = ~lungs.array
    assert unevenness(volume.array, clean, tissue) > 0.15
    assert unevenness(corrected.array, clean, tissue) < 0.06
    ratio = corrected.array[tissue] / volume.array[tissue]
    assert np.exp(np.log(ratio).mean()) == pytest.approx(1.0, abs=0.05)
    assert corrected.same_grid(volume) and corrected.modality == volume.modality


def test_what_is_excluded_does_not_move_the_field():
    volume, lungs, _ = slab()
    diseased = volume.replace(array=np.where(lungs.array, 150.0, volume.array))
    one, other = correct_bias(volume, exclude=lungs), correct_bias(diseased, exclude=lungs)
    deep = ~lungs.array
    change = (other.array / diseased.array)[deep] / (one.array / volume.array)[deep]
    assert np.abs(change - 1).max() < 0.05


def test_gain_passes_through():
    volume, lungs, _ = slab()
    louder = volume.replace(array=volume.array * 8)
    assert np.allclose(
        correct_bias(louder, exclude=lungs).array / 8,
        correct_bias(volume, exclude=lungs).array,
        rtol=0.02,
        atol=0.1,
    )


def test_two_runs_agree_and_leave_the_volume_alone():
    volume, lungs, _ = slab()
    before = volume.array.copy()
    assert np.array_equal(correct_bias(volume, exclude=lungs).array, correct_bias(volume, exclude=lungs).array)
    assert np.array_equal(volume.array, before)


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 64, 3), (64, 1, 64)])
def test_few_slices_are_corrected_in_their_plane(shape):
    volume, lungs, clean = slab(shape, (4.0, 4.0, 4.0))
    corrected = correct_bias(volume, exclude=lungs)
    assert corrected.shape == shape
    assert unevenness(corrected.array, clean, ~lungs.array) < 0.7 * unevenness(volume.array, clean, ~lungs.array)


def test_missing_voxels_stay_missing():
    volume, lungs, _ = slab()
    array = volume.array.copy()
    array[:4] = np.nan
    corrected = correct_bias(volume.replace(array=array), exclude=lungs)
    assert np.array_equal(np.isnan(corrected.array), np.isnan(array))


def test_nothing_to_fit_is_an_error():
    volume, lungs, _ = slab()
    with pytest.raises(ImageError, match="slab: no tissue outside the lungs"):
        correct_bias(volume, exclude=Mask(np.ones(volume.shape, bool), volume.affine))
    with pytest.raises(ImageError, match="slab: is constant"):
        correct_bias(volume.replace(array=np.zeros(volume.shape)))
    with pytest.raises(GridError):
        correct_bias(volume, exclude=Mask(lungs.array[1:], volume.affine))
