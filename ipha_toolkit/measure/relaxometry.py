"""R2* and T2* of multi-echo gradient echoes, down to the noise floor of magnitude images.

Magnitude noise is Rician: where a decay sinks into it, the signal stops falling, and a fit that takes noise for
Gaussian reads too long a T2*. Lung has T2* near 1 ms, so most echoes of most series are floor. The likelihood used here
knows it.

R2* of the lung rises with iron, but falls as air space fills: read it beside lung density and the T1w and T2w ratios.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.compiled import compiled, threads
from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.grid import FloatArray
from ipha_toolkit.measure.echo_noise import AGREE, EchoNoise, darkest_allow, sigma_of_differences, sigma_of_empty
from ipha_toolkit.measure.r2star_regions import few_echoes, pooled_decays, region_rows, saturated
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.zones import lung_regions
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume

METHODS = ("rician", "least_squares", "log_linear")

_MOST_ECHOES = 32
_SECONDS_BELOW_MS = 0.15
_MICROSECONDS_ABOVE_MS = 1000.0
_Z95 = 1.959964
_STARTS = 24
_MOST_STEPS = 40
_SLOWEST, _FASTEST = 0.07, 7.0
"""Decay over all echoes below which a fit that knows no noise counts as failed, and from first to second echo that ends
the search."""
_CHUNK = 16_384
_SAMPLE = 60_000
_FALSE_ALARM = 0.01


@dataclass(frozen=True)
class R2StarFit:
    """What a multi-echo fit gave, one value a voxel.

    ``r2star``, ``r2star_se``: rate and standard error, 1/s. ``s0``: signal at TE 0, unit of the images. ``censored``:
    no echo rises above the noise floor, there is no R2* to know. These are ndarrays, or Volumes (``censored`` a Mask)
    where Volumes were given. ``ci95``: ndarray (..., 2), lower and upper limit of R2* in 1/s; the upper is infinite
    where the signal is gone by the second echo, and ``r2star`` is then no more than a large number (its ``r2star_se``
    NaN). ``noise``: of one channel, unit of the images; ``sigma`` is what was used. NaN where the fit failed, was
    censored, lies outside the mask, or depends on which of two parting noise estimates is right (``noise_uncertain``).
    """

    r2star: Any
    r2star_se: Any
    s0: Any
    ci95: npt.NDArray[np.float32]
    censored: Any
    noise: EchoNoise

    @property
    def sigma(self) -> float:
        """Noise of one channel used, unit of the images."""
        return self.noise.sigma


def fit_r2star(
    echoes: npt.NDArray[Any] | Sequence[Volume],
    te_ms: Sequence[float],
    *,
    mask: Mask | npt.NDArray[np.bool_] | None = None,
    sigma: float | None = None,
    method: str = "rician",
) -> R2StarFit:
    """Fit ``s0 * exp(-TE * R2*)`` to magnitude echoes.

    Parameters
    ----------
    echoes : ndarray, shape (..., n_echoes), or sequence of Volume
        Magnitude signal, 2 to 32 echoes, echo last. NaN voxels stay NaN.
    te_ms : sequence of float, shape (n_echoes,)
        Echo times in ms, above 0, increasing, evenly spaced or not.
    mask : Mask or ndarray of bool, shape (...), optional
        Where to fit. What lies outside still serves to estimate sigma.
    sigma : float, optional
        Noise of one channel, in the unit of the images. None estimates it with :func:`estimate_echo_noise`.
    method : {"rician", "least_squares", "log_linear"}
        ``rician``: maximum likelihood of Rician noise, its score corrected for median bias. The others are for
        comparison and know no floor: they censor nothing, overestimate T2* where echoes sink into it (``log_linear`` by
        multiples), and count as failed where the signal falls by less than 7 % over all echoes.

    Returns
    -------
    R2StarFit
        Higher R2* = more iron, or more air–tissue interfaces. T2* in ms is ``1000 / r2star``.

    Raises
    ------
    ValueError
        Where there is one echo, echo times do not increase, do not fit the echoes or cannot be in ms, shapes differ,
        sigma is not above 0, or method is unknown.
    GridError
        Where echoes or mask lie on different grids.
    ImageError
        Where values are negative (a phase or real image), all zero or all NaN, or sigma is asked of images that do not
        show it.

    Notes
    -----
    The 95 % interval is symmetric in ``exp(-R2* * (TE2 - TE1))``, in which the likelihood is close to normal both for
    slow decay and for one that is over by the second echo. On simulated decays of T2* 0.4 to 30 ms, TE 0.1 to 10 ms,
    SNR 10 to 50, it covers 93 to 98 % (``benchmarks/relaxometry.py``).

    Noise that is estimated and not the same all over (``noise.flags``) is taken once as where signal is, once as the
    darkest voxels have it; voxels whose R2* differs by more than ``relaxometry.most_noise_effect`` are withheld, NaN.

    Out of scope, and misleading where present: the swing of fat against water, motion between echoes, noise that
    parallel imaging makes uneven. Noise of many channels combined by root sum of squares is refused where sigma is to
    be estimated from it.

    References
    ----------
    Rician noise: Gudbjartsson & Patz, Magn Reson Med 1995;34:910, doi 10.1002/mrm.1910340618. Median bias reduction:
    Kenne Pagui, Salvan & Sartori, Biometrika 2017, doi 10.1093/biomet/asx046; here to first order and for R2* only.

    Examples
    --------
    >>> te_ms = [0.1, 0.5, 1.0, 2.0]
    >>> decay = 1000 * np.exp(-np.array(te_ms) / 1.25)
    >>> round(float(fit_r2star(decay, te_ms, sigma=5).r2star))
    800
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    volumes = [] if isinstance(echoes, np.ndarray) else list(echoes)
    array = _stacked(volumes) if volumes else np.asarray(echoes)
    te = _checked_times(te_ms, array, volumes)
    signal = _checked_signal(array, volumes)
    inside = _checked_mask(mask, array.shape[:-1], volumes)
    if sigma is not None and not sigma > 0:
        raise ValueError(f"sigma needs to be above 0, got {sigma:g}")
    noise = estimate_echo_noise(signal, te_ms) if sigma is None else EchoNoise(sigma, sigma)
    if method == "log_linear":
        fitted, censored = _log_linear(signal, te, noise.sigma), np.zeros(len(signal), bool)
    else:
        fitted, censored = _threaded(signal, inside, te, noise.sigma, rician=method == "rician")
    if method == "rician" and noise.flags:
        other = _threaded(signal, inside, te, noise.darkest, rician=True)[0]
        most = DEFAULT.relaxometry.most_noise_effect
        fitted[~(np.abs(other[:, 0] - fitted[:, 0]) <= most * fitted[:, 0])] = np.nan
    if method != "rician":
        slow = fitted[:, 0] < 1000 * _SLOWEST / (te[-1] - te[0])
        fitted[slow | ~inside] = np.nan
    return _packed(fitted, censored, array.shape[:-1], noise, volumes)


def measure_r2star(
    echoes: Sequence[Volume],
    te_ms: Sequence[float],
    lungs: Mask,
    *,
    regions: Mapping[str, Mask] | None = None,
    sigma: float | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> tuple[pd.DataFrame, R2StarFit]:
    """R2* of the lung and its regions.

    Parameters
    ----------
    echoes : sequence of Volume
    te_ms : sequence of float
        As in :func:`fit_r2star`.
    lungs : Mask
        On the same grid.
    regions : mapping of str to Mask, optional
        None means :func:`ipha_toolkit.lung_regions` of the lungs.
    sigma : float, optional
        As in :func:`fit_r2star`.
    flags : collection of str
        Codes set on every row.
    protocol : Protocol

    Returns
    -------
    rows : DataFrame
        By region ``r2star_median`` with its 95 % interval ``r2star_median_lower``, ``r2star_median_upper``, and
        ``r2star_iqr`` between blocks of lung (1/s); ``r2star_censored_share`` (% of voxels); and ``noise_sigma``. Where
        the echoes do not support a region's R2* it is NaN and flagged with the reason: ``mostly_censored``,
        ``late_first_echo``, ``low_echo_signal``, ``uncertain_r2star``, ``few_blocks``, ``few_echoes``, ``saturated``,
        ``noise_uncertain``.
    fit : R2StarFit
        Maps, inside the lungs only.

    Raises
    ------
    ValueError, GridError, ImageError
        As :func:`fit_r2star`.

    Notes
    -----
    Higher = more iron, or more air–tissue interfaces: filling of air space lowers R2*. Without lung density it is
    ambiguous. Regions are not read off the map, whose voxels mostly stand too near the noise, but fitted to signal
    pooled in blocks of ``relaxometry.block_mm`` (:mod:`ipha_toolkit.measure.r2star_regions`): of the phantom's regions
    those given lie within 10 % of the truth (``benchmarks/r2star_regions.py``). The interval takes blocks as
    independent; disease that is coarser than a block makes it too narrow.
    """
    fit = fit_r2star(echoes, te_ms, mask=lungs, sigma=sigma)
    known = np.nan if fit.noise.flags else fit.sigma
    noise = row("noise_sigma", known, modality=Modality.MEGRE, region=Region.LUNG, n_voxels=lungs.n_voxels,
                flags={*flags, *fit.noise.flags})  # fmt: skip
    signal = np.stack([echo.array[lungs.array] for echo in echoes], axis=-1)
    chosen, settings = lung_regions(lungs) if regions is None else regions, protocol.relaxometry
    for region in chosen.values():
        lungs.require_same_grid(region)
    clipped = saturated(_stacked(list(echoes)).reshape(-1, len(te_ms)))[lungs.array.ravel()]
    withheld = {"few_echoes"} if few_echoes(te_ms) else set()
    withheld |= {"saturated"} if clipped.mean() > settings.most_saturated else set()
    decays, *other = (
        pooled_decays(np.where(clipped[:, None], np.nan, signal), te_ms, lungs, level, block_mm=settings.block_mm)
        for level in ((fit.noise.sigma, fit.noise.darkest) if fit.noise.flags else (fit.sigma,))
    )
    rows = region_rows(decays, lungs, chosen, fit.censored, other=other[0] if other else None,
                       withheld=withheld, flags=flags, settings=settings)  # fmt: skip
    return table([noise, *rows]), fit


def estimate_echo_noise(signal: npt.NDArray[Any], te_ms: Sequence[float]) -> EchoNoise:
    """Noise of one channel from the echoes themselves.

    Parameters
    ----------
    signal : ndarray, shape (..., n_echoes)
        Magnitude signal, echo last; NaN is left out, and so is background that was set to zero.
    te_ms : sequence of float, shape (n_echoes,)
        Echo times in ms, increasing.

    Returns
    -------
    EchoNoise
        From the last echo of voxels whose echoes before it are noise alone: air, or tissue that has decayed. They are
        told by those earlier echoes, whose noise is independent of the last one's. Where there are fewer than 1 % of
        such voxels, from the residuals of a least-squares fit of voxels far above the floor; or, where that is clearly
        less, from what no smooth decay explains, for misfits (several components, fat, motion) raise residuals.
        Flagged ``noise_uncertain`` where the darkest voxels do not allow it.

    Raises
    ------
    ImageError
        Where none is possible: two echoes without air, too few voxels. Where the noise is that of many channels
        combined by root sum of squares (noncentral chi), told by its mean over its standard deviation: 1.91 for one
        channel, 2.75 for two, above for more.
    """
    n = signal.shape[-1]
    voxels = np.ascontiguousarray(signal, np.float32).reshape(-1, n)
    voxels = voxels[:: max(1, len(voxels) // _SAMPLE)]
    voxels = voxels[np.isfinite(voxels).all(axis=1) & (voxels > 0).all(axis=1)]
    sigma = sigma_of_empty(voxels)
    if np.isfinite(sigma):
        return EchoNoise(float(sigma), float(sigma))
    if n > 2:
        te = np.asarray(te_ms, np.float32)
        steady, sigma = sigma_of_differences(voxels, te), _sigma_of_residuals(voxels, te)
        sigma = sigma if steady > AGREE * sigma or np.isnan(steady) else steady
    if not np.isfinite(sigma):
        raise ImageError(
            f"noise cannot be estimated from {len(voxels)} voxels with {n} echoes: there is no air and no tissue whose "
            "signal has decayed; give sigma, the standard deviation of one channel"
        )
    return EchoNoise(sigma, darkest_allow(voxels))


def _stacked(volumes: list[Volume]) -> FloatArray:
    for volume in volumes:
        if not isinstance(volume, Volume):
            raise TypeError(f"echoes need to be one ndarray (..., n_echoes) or Volumes, got a {type(volume).__name__}")
        if not volume.same_grid(volumes[0]):
            raise GridError(
                f"{volume.name or 'echo'}: on a different grid {volume.shape} than {volumes[0].name or 'echo 1'} "
                f"{volumes[0].shape}; all echoes of one series share a grid"
            )
    return np.stack([volume.array for volume in volumes], axis=-1)


def _checked_times(te_ms: Sequence[float], array: npt.NDArray[Any], volumes: list[Volume]) -> FloatArray:
    te = np.asarray(te_ms, np.float64)
    n = array.shape[-1] if array.ndim else 0
    if te.ndim != 1 or te.size != n:
        raise ValueError(
            f"te_ms needs one echo time an echo: got {te.size} for echoes of shape {array.shape}, echo last"
        )
    if not 2 <= n <= _MOST_ECHOES:
        raise ValueError(f"R2* needs 2 to {_MOST_ECHOES} echoes, got {n}")
    if not (np.isfinite(te).all() and te[0] > 0 and (np.diff(te) > 0).all()):
        raise ValueError(f"te_ms needs to be above 0 and increasing, got {te.tolist()}; sort echoes and times together")
    if te[-1] < _SECONDS_BELOW_MS:
        raise ValueError(f"te_ms ends at {te[-1]:g} ms: these look like seconds; multiply by 1000")
    if te[-1] > _MICROSECONDS_ABOVE_MS:
        raise ValueError(f"te_ms ends at {te[-1]:g} ms: these look like microseconds; divide by 1000")
    header = [1000 * float(volume.meta["EchoTime"]) for volume in volumes if "EchoTime" in volume.meta]
    if len(header) == n and not np.allclose(te, header, rtol=0.02, atol=1e-3):
        raise ValueError(
            f"te_ms {te.tolist()} is not what the echoes' EchoTime says: {[round(t, 4) for t in header]} ms"
        )
    return te.astype(np.float32)


def _checked_signal(array: npt.NDArray[Any], volumes: list[Volume]) -> FloatArray:
    name = f"{volumes[0].name}: " if volumes and volumes[0].name else ""
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}echoes need real numbers, got {array.dtype}; take the magnitude with abs()")
    signal = np.ascontiguousarray(array, np.float32).reshape(-1, array.shape[-1])
    low, high = np.fmin.reduce(signal, axis=None, initial=np.inf), np.fmax.reduce(signal, axis=None, initial=-np.inf)
    if not np.isfinite(low):
        raise ImageError(f"{name}echoes hold no finite value")
    if low < 0:
        raise ImageError(f"{name}echoes go down to {low:g}: a phase or real image; R2* is fitted to magnitude images")
    if high == 0:
        raise ImageError(f"{name}echoes are all zero; export the series again")
    return signal


def _checked_mask(mask: Mask | npt.NDArray[np.bool_] | None, shape: tuple[int, ...], volumes: list[Volume]) -> Any:
    if mask is None:
        return np.ones(int(np.prod(shape)), bool)
    if isinstance(mask, Mask) and volumes:
        volumes[0].require_same_grid(mask)
    inside = np.asarray(mask.array if isinstance(mask, Mask) else mask)
    if inside.shape != shape or inside.dtype != bool:
        raise ValueError(f"mask needs booleans of shape {shape}, got {inside.dtype} of shape {inside.shape}")
    return np.ascontiguousarray(inside).ravel()


def _floor_in_sigmas(n_echoes: int) -> float:
    """Level that the brightest of n echoes of noise alone passes in 1 % of voxels."""
    return float(np.sqrt(-2 * np.log(1 - (1 - _FALSE_ALARM) ** (1 / n_echoes))))


def _sigma_of_residuals(voxels: FloatArray, te: FloatArray) -> float:
    """Median residual of least squares over voxels whose last echo stands four sigmas above zero."""
    from scipy.stats import chi2

    if not len(voxels):
        return np.nan
    fitted, _ = _threaded(voxels, np.ones(len(voxels), bool), te, 1.0, rician=False)
    model = fitted[:, 2:3] * np.exp(-te * fitted[:, :1] / 1000)
    square = np.sum((voxels - model) ** 2, axis=1)
    known, last = np.isfinite(square), voxels[:, -1]
    sigma = 0.0
    for _ in range(10):
        chosen = known & (last > 4 * sigma)
        if np.count_nonzero(chosen) < 20:
            return np.nan
        sigma = float(np.sqrt(np.median(square[chosen]) / chi2.median(te.size - 2)))
    return max(sigma, 1e-5 * float(voxels.max()))


def _log_linear(signal: FloatArray, te: FloatArray, sigma: float) -> FloatArray:
    """Columns r2star, r2star_se (1/s), s0, lower, upper, by a straight line through the logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(signal)
        weight = (te - te.mean()) / np.sum((te - te.mean()) ** 2)
        rate = -(logs @ weight)
        error = np.sqrt(np.sum((weight * sigma / signal) ** 2, axis=1))
        s0 = np.exp(logs.mean(axis=1) + rate * te.mean())
        columns = np.stack([rate, error, s0 / 1000, rate - _Z95 * error, rate + _Z95 * error], axis=1) * 1000
    columns[~np.isfinite(columns).all(axis=1)] = np.nan
    return np.asarray(columns, np.float32)


def _threaded(
    signal: FloatArray, inside: npt.NDArray[np.bool_], te: FloatArray, sigma: float, rician: bool
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Columns r2star, r2star_se (1/s), s0, lower, upper, and which are censored, by the compiled kernel on all
    cores."""
    rates = np.concatenate([[0.0], np.geomspace(0.05 / (te[-1] - te[0]), _FASTEST / (te[1] - te[0]), _STARTS)]).astype(
        np.float32
    )
    decays = np.exp(-rates[:, None] * te)
    norms = np.sqrt(np.sum(decays**2, axis=1))
    floor = np.float32(_floor_in_sigmas(te.size) if rician else 0)
    settings = (te, rates, decays / norms[:, None], norms, np.float32(sigma), floor, rician)
    fitted, censored = np.full((len(signal), 5), np.nan, np.float32), np.zeros(len(signal), bool)
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(signal), _CHUNK)]
    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(lambda at: _fit(signal[at], inside[at], *settings, fitted[at], censored[at]), chunks))
    return fitted, censored


def _packed(
    fitted: FloatArray, censored: npt.NDArray[np.bool_], shape: tuple[int, ...], noise: EchoNoise, volumes: list[Volume]
) -> R2StarFit:
    r2star, error, s0 = (np.ascontiguousarray(fitted[:, n]).reshape(shape) for n in range(3))
    limits, dark = fitted[:, 3:].reshape(*shape, 2), censored.reshape(shape)
    if not volumes:
        return R2StarFit(r2star, error, s0, limits, dark, noise)
    like, affine = volumes[0].replace(meta={}), volumes[0].affine
    return R2StarFit(
        like.replace(array=r2star, unit="1/s", name="R2*"),
        like.replace(array=error, unit="1/s", name="standard error of R2*"),
        like.replace(array=s0, name="signal at TE 0"),
        limits,
        Mask(dark, affine, name="censored"),
        noise,
    )


_KEEPS_NAN = {"reassoc", "contract", "arcp", "nsz"}


@compiled(inline="always", fastmath=_KEEPS_NAN)
def _bessel_ratio(z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """I1(z) / I0(z), Abramowitz & Stegun 9.8.1 and 9.8.3, above 3.75 a polynomial fitted here."""
    f = np.float32
    if z < f(3.75):
        t = z / f(3.75)
        t *= t
        top = f(0.5) + t * (
            f(0.87890594)
            + t * (f(0.51498869) + t * (f(0.15084934) + t * (f(0.02658733) + t * (f(0.00301532) + t * f(0.00032411)))))
        )
        bottom = f(1) + t * (
            f(3.5156229)
            + t * (f(3.0899424) + t * (f(1.2067492) + t * (f(0.2659732) + t * (f(0.0360768) + t * f(0.0045813)))))
        )
        return z * top / bottom
    u = f(1) / z
    return f(1) - u * (
        f(0.5) + u * (f(0.118954) + u * (f(0.344777) + u * (f(-2.55187) + u * (f(14.4317) + u * f(-22.4047)))))
    )


@compiled(nogil=True, fastmath=_KEEPS_NAN)
def _start(y, decays):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Number and amplitude of the decay, among those of unit norm given, that least squares prefers."""
    best, amplitude = 0, np.float32(-1)
    for g in range(decays.shape[0]):
        along = np.float32(0)
        for i in range(y.size):
            along += decays[g, i] * y[i]
        if along > amplitude:
            best, amplitude = g, along
    return best, amplitude


@compiled(nogil=True, fastmath=_KEEPS_NAN)
def _fit(  # type: ignore[no-untyped-def]
    signal, inside, te, rates, decays, norms, sigma, floor, rician, out, censored
):  # pragma: no cover - compiled
    """Fisher scoring for amplitude a and rate r (1/ms), signal in units of sigma.

    A Rician echo with true signal x has information close to x²/(1+x²) and a score whose third cumulant is close to
    2 x³/(1+x²)³; the latter, along r with a adjusted, gives the first-order correction of median bias.
    """
    f = np.float32
    n = te.size
    step = te[1] - te[0]
    fastest = rates[-1]
    y = np.empty(n, np.float32)
    scale = f(1) / sigma
    for v in range(signal.shape[0]):
        if not inside[v]:
            continue
        total, peak = f(0), f(0)
        for i in range(n):
            y[i] = signal[v, i] * scale
            total += y[i]
            peak = max(peak, y[i])
        if not total < f(np.inf):
            continue
        if peak < floor or peak == f(0):
            censored[v] = rician
            continue
        which, a = _start(y, decays)
        r, a = rates[which], a / norms[which]
        error, converged = f(np.nan), False
        for _ in range(_MOST_STEPS):
            ga, gr, waa, war, wrr = f(0), f(0), f(0), f(0), f(0)
            c0, c1, c2, c3 = f(0), f(0), f(0), f(0)
            for i in range(n):
                t = te[i]
                e = np.exp(-r * t)
                x = a * e
                d = -t * x
                if rician:
                    h = f(1) / (x * x + f(1))
                    g, w = x - y[i] * _bessel_ratio(x * y[i]), x * x * h + f(1e-4)
                    q = x * h * e
                    q = q * q * q
                    c0 += q
                    c1 += q * t
                    c2 += q * t * t
                    c3 += q * t * t * t
                else:
                    g, w = x - y[i], f(1)
                ga += g * e
                gr += g * d
                waa += w * e * e
                war += w * e * d
                wrr += w * d * d
            determinant = max(waa * wrr - war * war, f(1e-9) * waa * wrr + f(1e-30))
            mean = -war / (waa * a)
            third = f(2) * a * a * a * (mean * mean * mean * c0 - f(3) * mean * mean * c1 + f(3) * mean * c2 - c3)
            gr -= third * waa / (f(6) * determinant)
            error = np.sqrt(waa / determinant)
            wanted = -(waa * gr - war * ga) / determinant
            most = f(0.5) * r + f(0.2) / te[n - 1]
            new = min(max(r + min(max(wanted, -most), most), f(0)), fastest)
            a = max(a - (ga + war * (new - r)) / waa, f(0.2) * a)
            converged = abs(new - r) <= f(1e-3) * new + f(1e-6) / step
            r = new
            if converged:
                break
        if not converged:
            continue
        u = np.exp(-r * step)
        half = f(_Z95) * u * step * error
        out[v, 0] = f(1000) * r
        out[v, 1] = f(1000) * error if r < fastest else f(np.nan)
        out[v, 2] = a * sigma
        lowest = -np.log(u + half) / step
        if u > half and r < fastest:
            out[v, 4] = f(-1000) * np.log(u - half) / step
        else:  # of the second echo it is only known that it is not far above the noise
            out[v, 4] = f(np.inf)
            lowest = max(lowest, np.log(a * np.exp(-r * te[0]) / f(4)) / step)
        out[v, 3] = f(1000) * max(lowest, f(0))
