import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import ive
from toys import AFFINE, put_echoes, toy_masks

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.io.images import load_echoes
from ipha_toolkit.measure.relaxometry import _bessel_ratio, estimate_echo_noise, fit_r2star, measure_r2star
from ipha_toolkit.volume import Mask, Volume

UNIFORM = np.linspace(0.1, 10, 8)
GROWING = np.geomspace(0.1, 10, 8)


def decays(te_ms, *, snr, n=60_000, seed=0, t2star=(0.4, 30.0), s0=1000.0):
    """Rician echoes of log-uniform T2*, and the true T2* in ms."""
    rng = np.random.default_rng(seed)
    true = np.exp(rng.uniform(*np.log(t2star), n))
    noise = rng.normal(0, s0 / snr, (2, n, len(te_ms)))
    clean = s0 * np.exp(-np.asarray(te_ms) / true[:, None])
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32), true


@pytest.mark.parametrize("te_ms", [UNIFORM, GROWING, np.linspace(0.05, 8, 20)], ids=["uniform", "growing", "twenty"])
@pytest.mark.parametrize("snr", [10, 20, 50])
def test_t2star_is_recovered_with_sigma_unknown_and_no_air_in_view(te_ms, snr):
    echoes, true = decays(te_ms, snr=snr)
    fit = fit_r2star(echoes, te_ms)
    assert fit.sigma == pytest.approx(1000 / snr, rel=0.03)
    with np.errstate(divide="ignore"):
        error = 1000 / fit.r2star / true - 1
    middle, short = (true > 1) & (true < 5), true < 1
    assert abs(np.nanmedian(error[middle])) < 0.01
    assert snr == 10 or abs(np.nanmedian(error[short])) < 0.02


@pytest.mark.parametrize("te_ms", [UNIFORM, GROWING], ids=["uniform", "growing"])
@pytest.mark.parametrize("snr", [10, 50])
def test_intervals_cover_the_truth_as_often_as_they_say(te_ms, snr):
    echoes, true = decays(te_ms, snr=snr, seed=1)
    low, high = np.moveaxis(fit_r2star(echoes, te_ms).ci95, -1, 0)
    covered = (low <= 1000 / true) & (1000 / true <= high)
    for edges in [(0.4, 0.7), (0.7, 1), (1, 2), (2, 5), (5, 12), (12, 30)]:
        chosen = (true >= edges[0]) & (true < edges[1]) & np.isfinite(low)
        assert 0.90 <= covered[chosen].mean() <= 0.98, edges


def test_sigma_is_found_in_air_and_without_it_in_residuals():
    flat, _ = decays(UNIFORM, snr=25, t2star=(20.0, 60.0))
    assert estimate_echo_noise(flat, UNIFORM).sigma == pytest.approx(40, rel=0.05)
    air = np.hypot(*np.random.default_rng(3).normal(0, 40, (2, 20_000, 8)))
    assert estimate_echo_noise(np.concatenate([flat, air]), UNIFORM).sigma == pytest.approx(40, rel=0.02)
    blank = np.concatenate([flat, air, np.zeros((50_000, 8))])
    assert estimate_echo_noise(blank, UNIFORM).sigma == pytest.approx(40, rel=0.02)
    with pytest.raises(ImageError, match="give sigma"):
        estimate_echo_noise(flat[:, :2], UNIFORM[:2])


def test_noise_alone_is_censored_and_signal_is_not():
    noise = np.hypot(*np.random.default_rng(0).normal(0, 20, (2, 20_000, 8)))
    signal, _ = decays(UNIFORM, snr=50, n=20_000)
    fit = fit_r2star(np.stack([noise, signal]), UNIFORM, sigma=20)
    assert fit.censored[0].mean() == pytest.approx(0.99, abs=0.005)
    assert not fit.censored[1].any()
    assert np.isnan(fit.r2star[fit.censored]).all()
    assert np.isnan(fit.ci95[fit.censored]).all()


def test_a_decay_over_by_the_second_echo_has_a_lower_limit_and_no_upper():
    gone = np.array([900.0, 4, 5, 3])
    fit = fit_r2star(gone, [0.5, 3, 6, 9], sigma=10)
    assert fit.ci95[1] == np.inf
    assert fit.ci95[0] == pytest.approx(1000 * np.log(90 / 4) / 2.5, rel=0.02)
    assert fit.r2star > fit.ci95[0]


def test_the_ratio_of_bessel_functions_agrees_with_scipy():
    z = np.concatenate([np.linspace(1e-3, 8, 500), np.geomspace(8, 1e6, 50)])
    found = [float(_bessel_ratio(np.float32(value))) for value in z]
    assert found == pytest.approx(ive(1, z) / ive(0, z), abs=2e-5)


def test_least_squares_and_log_linear_agree_with_scipy_and_numpy():
    echoes, _ = decays(UNIFORM, snr=30, n=40, t2star=(3.0, 20.0), seed=5)
    found = fit_r2star(echoes, UNIFORM, sigma=30, method="least_squares").r2star
    for voxel, rate in zip(echoes, found, strict=True):
        best, _ = curve_fit(lambda t, a, r: a * np.exp(-t * r), UNIFORM, voxel, p0=(1000, 0.1))
        assert rate == pytest.approx(1000 * best[1], rel=2e-3)
    straight = -1000 * np.polyfit(UNIFORM, np.log(echoes.T), 1)[0]
    assert fit_r2star(echoes, UNIFORM, sigma=30, method="log_linear").r2star == pytest.approx(straight, rel=1e-3)


def test_fits_that_know_no_noise_floor_read_short_t2star_too_long():
    echoes, true = decays(UNIFORM, snr=20, t2star=(0.5, 0.8))
    found = {m: np.nanmedian(1000 / fit_r2star(echoes, UNIFORM, sigma=50, method=m).r2star / true) for m in
             ("rician", "least_squares", "log_linear")}  # fmt: skip
    assert found["rician"] == pytest.approx(1, abs=0.02)
    assert found["least_squares"] > 1.03
    assert found["log_linear"] > 4


def test_gain_moves_s0_and_sigma_and_nothing_else():
    echoes, _ = decays(GROWING, snr=30, n=5000)
    one, other = fit_r2star(echoes, GROWING), fit_r2star(echoes * 8, GROWING)
    assert other.r2star == pytest.approx(one.r2star, rel=1e-4, nan_ok=True)
    assert (other.sigma, np.nanmedian(other.s0)) == pytest.approx((8 * one.sigma, 8 * np.nanmedian(one.s0)), rel=1e-3)


def test_what_lies_outside_the_mask_is_nan_but_tells_sigma():
    echoes, _ = decays(GROWING, snr=30, n=9000)
    mask = np.zeros((30, 300), bool)
    mask[3] = True
    cube = echoes.reshape(30, 300, 8)
    fit, whole = fit_r2star(cube, GROWING, mask=mask), fit_r2star(cube, GROWING)
    assert fit.sigma == whole.sigma
    assert np.isfinite(fit.r2star[3]).mean() > 0.99
    assert np.isnan(fit.r2star[~mask]).all() and np.isnan(fit.ci95[~mask]).all() and not fit.censored[~mask].any()


@pytest.mark.parametrize("method", ["rician", "least_squares", "log_linear"])
def test_a_nan_voxel_stays_nan_and_spoils_no_other(method):
    echoes, _ = decays(GROWING, snr=30, n=3000)
    holed = echoes.copy()
    holed[7, 2] = np.nan
    fit, whole = (fit_r2star(e, GROWING, sigma=30, method=method) for e in (holed, echoes))
    assert np.isnan(fit.r2star[7]) and not fit.censored[7]
    assert np.array_equal(np.delete(fit.r2star, 7), np.delete(whole.r2star, 7), equal_nan=True)
    assert np.isnan(holed[7, 2]) and np.isfinite(echoes).all()


def test_volumes_give_volumes_and_bids_files_their_rows(tmp_path):
    put_echoes(tmp_path, "sub-1", "ses-1", [0.1, 0.5, 1.0, 2.0, 3.5], r2star=500)
    echoes, te_ms = load_echoes(sorted(tmp_path.rglob("*.nii.gz")))
    lungs, _ = toy_masks()
    rows, fit = measure_r2star(echoes, te_ms, lungs)
    assert isinstance(fit.r2star, Volume) and fit.r2star.unit == "1/s" and fit.r2star.same_grid(lungs)
    assert isinstance(fit.censored, Mask) and fit.ci95.shape == (*lungs.shape, 2)
    found = rows.set_index(["region", "measure"])["value"]
    assert found["lung", "r2star_median"] == pytest.approx(500, rel=0.02)
    assert found["upper", "r2star_censored_share"] == 0


def test_a_mostly_censored_lung_is_flagged():
    lungs, _ = toy_masks()
    rng = np.random.default_rng(0)
    clean = np.where(lungs.array, 0.0, 500.0)
    te_ms = [0.1, 0.5, 1.0, 2.0]
    echoes = [
        Volume(np.hypot(clean * np.exp(-t / 20) + rng.normal(0, 5, clean.shape), rng.normal(0, 5, clean.shape)), AFFINE)
        for t in te_ms
    ]
    rows = measure_r2star(echoes, te_ms, lungs, regions={"lung": lungs})[0].set_index("measure")
    assert rows.loc["r2star_censored_share", "value"] > 95
    assert "mostly_censored" in rows.loc["r2star_median", "flag"]


@pytest.mark.parametrize(
    ("echoes", "te_ms", "error", "text"),
    [
        (np.ones((4, 1)), [1.0], ValueError, "2 to 32 echoes, got 1"),
        (np.ones((4, 33)), np.arange(1, 34), ValueError, "2 to 32 echoes, got 33"),
        (np.ones((4, 3)), [1.0, 3.0, 2.0], ValueError, "increasing"),
        (np.ones((4, 3)), [0.0, 1.0, 2.0], ValueError, "above 0"),
        (np.ones((4, 3)), [0.001, 0.002, 0.003], ValueError, "look like seconds; multiply by 1000"),
        (np.ones((4, 3)), [1000.0, 2000.0, 3000.0], ValueError, "look like microseconds"),
        (np.ones((4, 3)), [1.0, 2.0], ValueError, r"got 2 for echoes of shape \(4, 3\)"),
        (np.array(3.0), [1.0, 2.0], ValueError, "one echo time an echo"),
        (np.linspace(-np.pi, np.pi, 12).reshape(4, 3), [1.0, 2.0, 3.0], ImageError, "a phase or real image"),
        (np.zeros((4, 3)), [1.0, 2.0, 3.0], ImageError, "all zero"),
        (np.full((4, 3), np.nan), [1.0, 2.0, 3.0], ImageError, "no finite value"),
        (np.ones((4, 3), complex), [1.0, 2.0, 3.0], TypeError, "take the magnitude"),
    ],
)
def test_what_cannot_be_fitted_is_refused(echoes, te_ms, error, text):
    with pytest.raises(error, match=text):
        fit_r2star(echoes, te_ms)


def test_options_that_make_no_sense_are_refused():
    echoes, _ = decays(GROWING, snr=30, n=300)
    with pytest.raises(ValueError, match="sigma needs to be above 0"):
        fit_r2star(echoes, GROWING, sigma=0)
    with pytest.raises(ValueError, match="method is one of rician"):
        fit_r2star(echoes, GROWING, method="magic")
    with pytest.raises(ValueError, match=r"mask needs booleans of shape \(300,\)"):
        fit_r2star(echoes, GROWING, mask=np.ones(299, bool))


def test_echoes_on_different_grids_or_with_other_times_are_refused():
    def echo(te_s, origin=0.0):
        affine = AFFINE.copy()
        affine[0, 3] = origin
        return Volume(np.full((3, 3, 3), 5.0), affine, meta={"EchoTime": te_s}, name=f"echo at {te_s}")

    with pytest.raises(GridError, match=r"echo at 0.002: on a different grid"):
        fit_r2star([echo(0.001), echo(0.002, 1.0)], [1.0, 2.0])
    with pytest.raises(ValueError, match="not what the echoes' EchoTime says"):
        fit_r2star([echo(0.001), echo(0.002)], [1.0, 3.0])
    with pytest.raises(GridError, match="different grid"):
        ipha.fit_r2star([echo(0.001), echo(0.002)], [1.0, 2.0], mask=Mask(np.ones((3, 3, 4), bool), AFFINE))
