import numpy as np
import pytest
from toys import AFFINE, toy_masks, toy_mr

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.measure.histogram import BIN_EDGES, pooled_quantile, share_below
from ipha_toolkit.measure.quality import estimate_noise
from ipha_toolkit.measure.signal import measure_t1, measure_t2, signal_ratio
from ipha_toolkit.volume import Mask, Volume


def values_of(rows, measure, region="lung"):
    return rows.set_index(["region", "measure"])["value"][region, measure]


def test_ratio_by_hand_and_refusal():
    assert signal_ratio([10, 20], 40.0).tolist() == [0.25, 0.5]
    with pytest.raises(ValueError, match="above 0"):
        signal_ratio([1.0], 0.0)


def test_the_ratio_of_lung_to_muscle_is_recovered():
    lungs, muscle = toy_masks()
    rows = measure_t1(toy_mr(lung=20, muscle=80), lungs, muscle)
    assert values_of(rows, "signal_ratio_median") == pytest.approx(0.25, rel=0.05)
    assert values_of(rows, "reference_volume") == pytest.approx(muscle.volume_ml)
    assert values_of(rows, "noise_sigma") == pytest.approx(3, rel=0.05)
    assert values_of(rows, "snr_muscle") == pytest.approx(80 / 3, rel=0.07)


def test_gain_does_not_move_the_ratio():
    lungs, muscle = toy_masks()
    volume = toy_mr(lung=30)
    one = measure_t1(volume, lungs, muscle)
    other = measure_t1(volume.replace(array=volume.array * 37), lungs, muscle)
    for measure in ("signal_ratio_median", "signal_ratio_iqr", "hyperintense_fraction", "noise_floor_share"):
        assert values_of(other, measure) == pytest.approx(values_of(one, measure), rel=1e-3, abs=1e-3)


def test_more_signal_means_a_higher_ratio_and_fraction():
    lungs, muscle = toy_masks()
    found = [measure_t1(toy_mr(lung=level), lungs, muscle) for level in (15, 30, 60)]
    for measure in ("signal_ratio_median", "hyperintense_fraction"):
        series = [values_of(rows, measure) for rows in found]
        assert series == sorted(series)
    assert series[0] < 1 and series[-1] > 99


def test_without_controls_the_fraction_says_so():
    lungs, muscle = toy_masks()
    rows = measure_t1(toy_mr(), lungs, muscle).set_index("measure")
    assert set(rows.loc["hyperintense_fraction", "flag"]) == {"no_controls"}
    given = measure_t1(toy_mr(), lungs, muscle, threshold=0.3).set_index("measure")
    assert set(given.loc["hyperintense_fraction", "flag"]) == {""}


def test_dark_voxels_of_t2w_are_counted_below_the_threshold():
    lungs, muscle = toy_masks()
    volume = toy_mr("T2w", lung=24, muscle=80)
    array = volume.array.copy()
    dark = np.argwhere(lungs.array)[::4]
    array[tuple(dark.T)] = 2
    rows = measure_t2(volume.replace(array=array), lungs, muscle, threshold=0.15)
    assert values_of(rows, "hypointense_fraction") == pytest.approx(25, abs=2)
    assert values_of(rows, "noise_floor_share") == pytest.approx(25, abs=2)


def test_contrast_agent_is_flagged():
    lungs, muscle = toy_masks()
    volume = toy_mr().replace(meta={"ContrastBolusIngredient": "GADOLINIUM"})
    assert all("contrast_enhanced" in flag for flag in measure_t1(volume, lungs, muscle)["flag"])


def test_a_wrong_modality_or_grid_is_refused():
    lungs, muscle = toy_masks()
    with pytest.raises(ImageError, match="needs modality T1w, got T2w"):
        measure_t1(toy_mr("T2w"), lungs, muscle)
    with pytest.raises(GridError, match="different grid"):
        measure_t1(toy_mr(), lungs.replace(affine=np.eye(4)), muscle)


def test_share_below_a_threshold_inside_a_bin():
    counts = np.zeros(BIN_EDGES.size - 1)
    counts[10], counts[-1] = 3, 1  # three voxels between 0.05 and 0.055, one above 5
    assert share_below(counts, 0.05) == 0
    assert share_below(counts, 0.0525) == pytest.approx(0.375)
    assert share_below(counts, 0.055) == pytest.approx(0.75)
    assert np.isnan(share_below(np.zeros_like(counts), 0.1))


def test_pooled_quantile_gives_each_control_the_same_weight():
    small, large = np.zeros((2, BIN_EDGES.size - 1))
    small[20], large[40] = 10, 1000
    assert 0.1 <= pooled_quantile([small, large], 0.25) <= 0.105
    assert 0.2 <= pooled_quantile([small, large], 0.75) <= 0.205


@pytest.mark.parametrize("spoil", ["coarse", "zeroed", "no air"])
def test_noise_that_cannot_be_estimated_is_no_number(spoil):
    lungs, _ = toy_masks()
    array = toy_mr().array.copy()
    if spoil == "coarse":
        array = np.round(array / 10)
    elif spoil == "zeroed":
        array[array < 12] = 0
    else:
        array = np.where(lungs.array, array, 80 + array / 10)
    noise = estimate_noise(toy_mr().replace(array=array), lungs)
    assert np.isnan(noise.sigma)
    assert noise.flags == ("noise_not_estimable",)


@pytest.mark.parametrize("sigma", [1.0, 4.0, 12.0])
def test_noise_is_recovered_from_the_air(sigma):
    lungs, _ = toy_masks()
    clean = np.zeros(lungs.shape)
    clean[4:36, 4:26, 2:32] = 100
    noise = np.random.default_rng(1).normal(0, sigma, (2, *lungs.shape))
    volume = toy_mr().replace(array=np.hypot(clean + noise[0], noise[1]))
    assert estimate_noise(volume, lungs).sigma == pytest.approx(sigma, rel=0.04)


def test_an_all_false_region_gives_no_number():
    lungs, muscle = toy_masks()
    empty = Mask(np.zeros(lungs.shape, bool), AFFINE)
    rows = measure_t1(toy_mr(), lungs, muscle, regions={"lung": lungs, "upper": empty})
    assert np.isnan(values_of(rows, "signal_ratio_median", "upper"))


@pytest.mark.parametrize(("ghosts", "uneven", "found"), [(0.0, 0.0, False), (0.12, 0.0, True), (0.0, 1.5, False)])
def test_ghosts_are_told_from_noise_and_from_uneven_noise(ghosts, uneven, found):
    wide = [(10, 10), (10, 10), (0, 0)]  # room for ghosts beside the body
    clean = np.pad(np.where(toy_mr("T1w", seed=4).array > 12, toy_mr("T1w", seed=4).array, 0), wide)
    sigma = 3 * (1 + uneven * np.linspace(0, 1, clean.shape[0])[:, None, None])
    noise = np.random.default_rng(1).normal(0, 1, (2, *clean.shape)) * sigma
    image = np.hypot(clean + ghosts * np.roll(clean, clean.shape[0] // 2, axis=0) + noise[0], noise[1])
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    lungs = Mask(np.pad(toy_masks()[0].array, wide), affine)
    estimated = estimate_noise(Volume(image.astype(np.float32), affine, modality="T1w"), lungs)
    assert (estimated.ghost > 0.03 * 80) == found
