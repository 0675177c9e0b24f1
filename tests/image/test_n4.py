import numpy as np
import pytest

from ipha_toolkit.image.n4 import _refined, log_bias_field

SHAPE = (24, 20, 17)


def shaded(shape=SHAPE, seed=0):
    """Two tissues under a smooth field, and where there is tissue."""
    rng = np.random.default_rng(seed)
    at = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    clean = np.where(np.prod([np.sin(7 * x + n) for n, x in enumerate(at)], axis=0) > 0, 170.0, 80.0)
    field = 0.3 * at[0] + 0.35 * at[1] ** 2
    return clean * np.exp(field) * rng.normal(1, 0.02, shape), sum(x**2 for x in at) < 1.4, field


def itk(signal, mask, iterations, fwhm):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(signal.astype(np.float32))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(iterations)
    n4.SetBiasFieldFullWidthAtHalfMaximum(fwhm)
    n4.Execute(image, sitk.GetImageFromArray(mask.astype(np.uint8)))
    return sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))


@pytest.mark.parametrize("shape", [SHAPE, (40, 33)])
@pytest.mark.parametrize(("iterations", "fwhm"), [([25, 25, 25], 0.3), ([6, 3], 0.15)])
def test_the_field_is_that_of_itk(shape, iterations, fwhm):
    signal, mask, _ = shaded(shape)
    ours, theirs = log_bias_field(signal, mask, iterations, fwhm), itk(signal, mask, iterations, fwhm)
    assert np.ptp(theirs[mask]) > 0.1
    apart = (ours - theirs)[mask]
    assert np.abs(apart - apart.mean()).max() < 1e-4  # the level is free: the correction sets it


def test_the_field_is_found_and_holds_for_samples_left_out():
    signal, mask, field = shaded()
    mask[::2] = False
    found = log_bias_field(signal, mask, [25, 25, 25], 0.3)
    inside = shaded()[1]
    assert np.std((found - field)[inside]) < 0.2 * np.std(field[inside])


def test_a_finer_mesh_holds_the_same_field():
    rows = np.array([[1.0], [2.0], [4.0], [8.0]])
    fine = _refined(rows @ np.ones((1, 4)))
    assert fine[:, 0] == pytest.approx([1.5, 17 / 8, 3.0, 34 / 8, 6.0])
    assert fine.shape == (5, 5)


def test_the_inputs_stay_as_they_were():
    signal, mask, _ = shaded()
    before = signal.copy(), mask.copy()
    log_bias_field(signal, mask, [2], 0.3)
    assert np.array_equal(signal, before[0]) and np.array_equal(mask, before[1])


def test_a_signal_without_spread_has_no_field():
    assert np.array_equal(log_bias_field(np.full((5, 5), 3.0), np.ones((5, 5), bool), [3], 0.3), np.zeros((5, 5)))
