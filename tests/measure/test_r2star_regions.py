import numpy as np
import pytest
from toys import AFFINE, toy_masks

from ipha_toolkit.errors import ImageError
from ipha_toolkit.measure.r2star_regions import saturated
from ipha_toolkit.measure.relaxometry import measure_r2star
from ipha_toolkit.volume import Volume

TE_MS = (0.1, 0.4, 0.8, 1.4, 2.2, 3.2, 4.6, 6.5)
LATE_MS = (1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8)
LUNGS, _ = toy_masks()


def echoes_of(r2star, te_ms=TE_MS, *, snr=6.0, vessels=0.2, channels=1, top=None, seed=0):
    """Lung of signal 100 at TE 0 that decays at one rate, a share of voxels with blood in them, in Rician noise."""
    rng = np.random.default_rng(seed)
    blood = np.where(rng.random(LUNGS.shape) < vessels, rng.exponential(60, LUNGS.shape), 0.0)
    made = []
    for te in te_ms:
        clean = np.where(LUNGS.array, 100 * np.exp(-te / 1000 * r2star) + blood, 0.0)
        noise = rng.normal(0, 100 / snr, (2, channels, *LUNGS.shape))
        noise[0] += clean / np.sqrt(channels)
        image = np.sqrt((noise**2).sum(axis=(0, 1)))
        made.append(Volume(image if top is None else np.minimum(image, top), AFFINE))
    return made


def whole_lung(echoes, te_ms=TE_MS):
    return measure_r2star(echoes, te_ms, LUNGS, regions={"lung": LUNGS})[0].set_index("measure")


@pytest.mark.parametrize("true", [300.0, 700.0, 1350.0, 2700.0])
def test_a_region_is_within_a_tenth_of_the_truth_where_single_voxels_are_not(true):
    rows, fit = measure_r2star(echoes_of(true, snr=10), TE_MS, LUNGS, regions={"lung": LUNGS})
    rows = rows.set_index("measure")["value"]
    assert rows["r2star_median"] == pytest.approx(true, rel=0.1)
    assert rows["r2star_median_lower"] < rows["r2star_median"] < rows["r2star_median_upper"]
    assert np.nanmedian(fit.r2star.array) < 0.97 * true


@pytest.mark.parametrize(
    ("reason", "te_ms", "kwargs"),
    [
        ("late_first_echo", LATE_MS, {"r2star": 1113, "snr": 30}),
        ("mostly_censored", LATE_MS, {"r2star": 3000, "snr": 10}),
        ("low_echo_signal", TE_MS, {"r2star": 300, "snr": 2.9}),
        ("few_echoes", TE_MS[:3], {"r2star": 700}),
        ("saturated", TE_MS, {"r2star": 700, "top": 80.0}),
    ],
)
def test_what_the_echoes_do_not_support_is_withheld_with_the_reason(reason, te_ms, kwargs):
    rows = whole_lung(echoes_of(te_ms=te_ms, **kwargs), te_ms)
    for measure in ("r2star_median", "r2star_median_lower", "r2star_median_upper", "r2star_iqr"):
        assert np.isnan(rows.loc[measure, "value"]) and reason in rows.loc[measure, "flag"].split(";")


def test_a_region_too_small_for_blocks_is_withheld():
    small = LUNGS.replace(array=LUNGS.array & (np.arange(LUNGS.shape[2]) < 7))
    rows = measure_r2star(echoes_of(700), TE_MS, LUNGS, regions={"lower": small})[0].set_index("measure")
    assert rows.loc["r2star_median", "flag"] == "few_blocks" and np.isnan(rows.loc["r2star_median", "value"])


@pytest.mark.parametrize("channels", [2, 4, 16])
def test_noise_of_many_channels_is_refused_and_a_given_sigma_is_taken(channels):
    with pytest.raises(ImageError, match="many channels combined by root sum of squares"):
        whole_lung(echoes_of(700, channels=channels))
    one = echoes_of(700)
    given = measure_r2star(one, TE_MS, LUNGS, regions={"lung": LUNGS}, sigma=100 / 6)[0].set_index("measure")
    assert given.loc["r2star_median", "value"] == pytest.approx(700, rel=0.1)


def test_clipped_voxels_are_told_from_the_brightest():
    noisy = np.random.default_rng(0).normal(100, 10, (500, 3))
    assert not saturated(noisy).any()
    clipped = np.minimum(noisy, [105, 1000, 1000])
    clipped[:, 1:] -= 60
    assert np.array_equal(saturated(clipped), noisy[:, 0] >= 105)
    assert not saturated(np.empty((0, 3))).any()
