import numpy as np
import pytest
import scipy.stats
from toys import AFFINE, toy_ct, toy_masks

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.measure.attenuation import measure_attenuation
from ipha_toolkit.measure.statistics import attenuation_statistics, dorsal_ventral_slope
from ipha_toolkit.volume import Mask

RNG = np.random.default_rng(11)
NOTHING = Mask(np.zeros(toy_ct().shape, bool), AFFINE)


def values_of(rows, measure, region="lung"):
    return rows.set_index(["region", "measure"])["value"][region, measure]


def test_statistics_of_four_numbers_by_hand():
    found = attenuation_statistics([-900.0, -700.0, -700.0, -500.0], cuts=(-700, -500))
    assert found["n_voxels"] == 4
    assert (found["mean"], found["variance"], found["skewness"]) == (-700, 20000, 0)
    assert found["excess_kurtosis"] == pytest.approx(2 - 3)
    assert (found["minimum"], found["p50"], found["p75"], found["maximum"]) == (-900, -700, -650, -500)
    assert (found["below_-700"], found["below_-500"]) == (0.25, 0.75)


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(-800, 120, 200_001),
        RNG.integers(-1024, 3000, 5000),
        RNG.normal(-800, 0.3, 4001),
        np.array([-9000.0, 30000, -800, -700]),
        RNG.standard_t(2, 30_000) * 500,
    ],
    ids=["normal", "whole numbers", "narrow", "far outside", "heavy tails"],
)
def test_statistics_agree_with_numpy_and_scipy(values):
    found = attenuation_statistics(values, percentiles=(0, 1, 33.3, 50, 97, 100))
    exact = values.astype(np.float32).astype(float)
    assert found["mean"] == pytest.approx(exact.mean(), rel=1e-9)
    assert found["variance"] == pytest.approx(exact.var(), rel=1e-6)
    assert found["skewness"] == pytest.approx(scipy.stats.skew(exact), rel=1e-5, abs=1e-6)
    assert found["excess_kurtosis"] == pytest.approx(scipy.stats.kurtosis(exact), rel=1e-5, abs=1e-5)
    for q in (0, 1, 33.3, 50, 97, 100):
        assert found[f"p{q:g}"] == pytest.approx(np.percentile(exact, q), rel=1e-7)


def test_range_mask_and_missing_voxels_are_left_out():
    values = np.array([-2000, -900, -800, np.nan, 100, 100])
    found = attenuation_statistics(values, [True, True, True, True, True, False], hu_range=(-900, 100))
    assert found["n_voxels"] == 3
    assert found["mean"] == pytest.approx((-900 - 800 + 100) / 3)


def test_nothing_inside_gives_no_numbers():
    found = attenuation_statistics([1.0, 2.0], [False, False], cuts=(-600,))
    assert found.pop("n_voxels") == 0
    assert np.isnan(list(found.values())).all()


def test_a_constant_has_no_shape():
    found = attenuation_statistics(np.full(10, -800.0))
    assert (found["sd"], found["skewness"], found["excess_kurtosis"]) == (0, 0, 0)


def test_input_is_left_unchanged_and_shapes_must_agree():
    values = np.array([3.0, 1.0, 2.0])
    attenuation_statistics(values)
    assert values.tolist() == [3, 1, 2]
    with pytest.raises(ValueError, match="inside has 2 voxels, values 3"):
        attenuation_statistics(values, [True, False])


def test_fractions_count_what_was_put_in():
    ct, (lungs, _) = toy_ct(), toy_masks()
    array = ct.array.copy()
    inside = np.argwhere(lungs.array)
    array[tuple(inside[::4].T)] = -500  # a quarter ground glass, half of it then consolidated
    array[tuple(inside[::8].T)] = 0
    rows = measure_attenuation(ct.replace(array=array), lungs, vessels=NOTHING)
    assert values_of(rows, "ground_glass_fraction") == pytest.approx(12.5, abs=0.1)
    assert values_of(rows, "consolidation_fraction") == pytest.approx(12.5, abs=0.1)
    assert values_of(rows, "high_attenuation_area") == pytest.approx(12.5, abs=0.1)
    assert values_of(rows, "lung_volume") == pytest.approx(lungs.n_voxels * 0.512)


def test_vessels_do_not_count_as_disease():
    ct, (lungs, _) = toy_ct(), toy_masks()
    vessel = np.zeros(ct.shape, bool)
    vessel[12, 15, 6:28] = True
    array = np.where(vessel, 40, ct.array)
    rows = measure_attenuation(ct.replace(array=array), lungs, vessels=Mask(vessel, AFFINE))
    assert values_of(rows, "consolidation_fraction") == 0
    assert values_of(rows, "attenuation_p95") > values_of(rows, "attenuation_p50")


def test_more_disease_raises_every_density_measure():
    _, (lungs, _) = None, toy_masks()
    found = [measure_attenuation(toy_ct(lung=hu), lungs, vessels=NOTHING) for hu in (-850, -700, -550)]
    for measure in ("attenuation_mean", "attenuation_p50", "ground_glass_fraction"):
        series = [values_of(rows, measure) for rows in found]
        assert series == sorted(series)


def test_a_flipped_and_permuted_scan_measures_identically():
    ct, (lungs, _) = toy_ct(), toy_masks()
    array = ct.array.copy()
    array[8:12, 9:12, 6:12] = -300  # something on one side only
    ct = ct.replace(array=array)
    turn = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = ct.shape[0] - 1

    def other(image):
        return image.replace(
            array=np.transpose(image.array[::-1], (1, 2, 0)), affine=image.affine @ flip @ np.linalg.inv(turn.T)
        )

    rows, again = (
        measure_attenuation(image, mask, vessels=empty)
        for image, mask, empty in [(ct, lungs, NOTHING), (other(ct), other(lungs), other(NOTHING))]
    )
    np.testing.assert_allclose(again["value"], rows["value"], rtol=1e-6)


def test_the_gradient_is_of_the_patients_back():
    y = np.repeat(np.arange(-60.0, 60.0), 20)
    assert dorsal_ventral_slope(-850 - 2.0 * y, y) == pytest.approx(20, rel=0.05)
    assert np.isnan(dorsal_ventral_slope([-850.0, -840.0], [0.0, 1.0]))


def test_flags_are_set_on_every_row_and_one_slice_has_no_volume():
    _, (lungs, _) = None, toy_masks()
    rows = measure_attenuation(toy_ct(), lungs, vessels=NOTHING, flags=["one_lung", "single_slice"])
    assert set(rows["flag"]) == {"one_lung;single_slice"}
    assert "lung_volume" not in set(rows["measure"])


def test_values_that_are_no_hounsfield_units_are_refused():
    ct, (lungs, _) = toy_ct(), toy_masks()
    with pytest.raises(ImageError, match="cannot be Hounsfield units"):
        measure_attenuation(ct.replace(array=ct.array + 1024, name="window.nii"), lungs)


def test_a_mask_on_another_grid_is_refused():
    _, (lungs, _) = None, toy_masks()
    with pytest.raises(GridError, match="different grid"):
        measure_attenuation(toy_ct(), lungs.replace(affine=np.eye(4)))
