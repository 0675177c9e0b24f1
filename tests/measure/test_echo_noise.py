from dataclasses import replace

import numpy as np
import pytest

from ipha_toolkit.measure.echo_noise import darkest_allow, sigma_of_differences
from ipha_toolkit.measure.relaxometry import estimate_echo_noise, fit_r2star, measure_r2star
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.volume import Mask, Volume

TE = 4.6 * np.arange(1, 13)


def tissue(*, sigma, shape=(24, 24, 12), shading=0.0, second=0.0, shortest=20.0, seed=0):
    """Echoes of a body that fills the image, T2* from ``shortest`` to 60 ms, and the T2*; sigma a number or a map."""
    rng = np.random.default_rng(seed)
    t2star = np.exp(rng.uniform(np.log(shortest), np.log(60), shape))[..., None]
    level = 1000 * np.exp(shading * np.linspace(-1, 1, shape[0]))[:, None, None, None]
    clean = level * ((1 - second) * np.exp(-TE / t2star) + second * np.exp(-TE / 80))
    noise = np.asarray(sigma)[..., None] * rng.normal(0, 1, (2, *clean.shape))
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32), t2star[..., 0]


@pytest.mark.parametrize("sigma", [5.0, 20.0])
@pytest.mark.parametrize("shading", [0.0, 0.7])
@pytest.mark.parametrize("second", [0.0, 0.2], ids=["one component", "two components"])
def test_noise_is_recovered_without_air(sigma, shading, second):
    echoes, _ = tissue(sigma=sigma, shading=shading, second=second)
    noise = estimate_echo_noise(echoes, TE)
    assert noise.sigma == pytest.approx(sigma, rel=0.05)
    assert noise.flags == ()


def test_what_is_left_of_a_cubic_is_noise_for_any_spacing_of_echoes():
    rng = np.random.default_rng(2)
    te_ms = np.array([1.0, 1.7, 3.0, 5.2, 9.0, 12.0])
    smooth = 1000 + 40 * te_ms - 6 * te_ms**2 + 0.3 * te_ms**3
    assert sigma_of_differences(smooth + rng.normal(0, 8, (20_000, 6)), te_ms) == pytest.approx(8, rel=0.03)
    assert np.isnan(sigma_of_differences(np.full((20_000, 3), 100.0), te_ms[:3]))


def test_the_darkest_voxels_allow_the_noise_there_is_and_no_more():
    air = np.hypot(*np.random.default_rng(3).normal(0, 7, (2, 40_000, 1)))
    assert darkest_allow(air) == pytest.approx(7, rel=0.03)
    assert darkest_allow(air + 20) > 14


def uneven_series():
    """Noise of 20 where tissue is, of 1 to 12 in a dark fourth of the image, as parallel imaging leaves it."""
    dark = np.broadcast_to((np.arange(24) < 6)[:, None, None], (24, 24, 12))
    loud, t2star = tissue(sigma=20.0, shortest=3.0)
    rng = np.random.default_rng(5)
    quiet = np.exp(rng.uniform(0, 2.5, dark.shape))[..., None] * rng.normal(0, 1, (2, *loud.shape))
    return np.where(dark[..., None], np.hypot(*quiet), loud).astype(np.float32), t2star, dark


def test_uneven_noise_is_flagged_and_voxels_that_depend_on_it_are_withheld():
    echoes, t2star, dark = uneven_series()
    fit = fit_r2star(echoes, TE)
    assert fit.noise.flags == ("noise_uncertain",)
    given = np.isfinite(fit.r2star)
    slow, fast = ~dark & (t2star > 40), ~dark & (t2star < 5)
    assert given[slow].mean() > 0.95
    assert given[fast].mean() < 0.8
    known = fit_r2star(echoes, TE, sigma=20.0)
    assert known.noise.flags == () and np.isfinite(known.r2star[fast]).mean() > 0.95


def test_a_region_whose_median_depends_on_the_noise_is_withheld_by_name():
    echoes, _, dark = uneven_series()
    fast = ~dark & (np.arange(24) < 12)[None, :, None]
    rng = np.random.default_rng(8)
    echoes[fast] = np.hypot(
        300 * np.exp(-TE / 4) + rng.normal(0, 20, (fast.sum(), 12)), rng.normal(0, 20, (fast.sum(), 12))
    )
    affine = np.diag([4.0, 4, 4, 1])
    volumes = [Volume(echoes[..., n], affine, modality="MEGRE") for n in range(TE.size)]
    regions = {"lung": Mask(~dark & ~fast, affine), "lower": Mask(fast, affine)}
    settings = replace(DEFAULT.relaxometry, censored_share=1.0, most_first_decay=9.0, least_signal_sigmas=0.0,
                       widest_interval=9.0)  # fmt: skip
    rows, _ = measure_r2star(
        volumes, TE, Mask(~dark, affine), regions=regions, protocol=replace(DEFAULT, relaxometry=settings)
    )
    found = rows.set_index(["region", "measure"])
    assert found.loc[("lower", "r2star_median"), "flag"] == "noise_uncertain"
    assert np.isnan(found.loc[("lower", "r2star_median"), "value"])
    assert found.loc[("lung", "r2star_median"), "flag"] == ""
    assert np.isnan(found.loc[("lung", "noise_sigma"), "value"])
    assert found.loc[("lung", "noise_sigma"), "flag"] == "noise_uncertain"
