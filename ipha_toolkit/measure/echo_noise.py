"""Noise of multi-echo magnitude images, from several sources, and whether they agree.

Where there is air, or tissue that has decayed, the last echo of such voxels is noise alone and says how much. Without
it noise is what remains of an echo train when everything smooth in time is taken off; but then it may be another noise
than that of the dark places: parallel imaging and filters make noise uneven. The darkest values tell: of noise they
cannot be fewer than Rayleigh's distribution has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import FloatArray

_FEWEST_VOXELS = 200
_PLENTY_OF_VOXELS = 1000
_FEWEST_VALUES = 5
_FEWEST_SHARE = 0.01
_EMPTY_BELOW = 0.85
_WINDOW = 5
_LEAST_WINDOW = 4
_FAR_ABOVE = 4.0
_DARKEST = (0.05, 0.1, 0.2)
AGREE = 0.85
"""What of one estimate another has to reach. Chosen: where noise is the same everywhere and decays are single, what is
left of differences is 0.95 to 1.02 of the residuals, and the darkest voxels allow 1.00 of it or more."""
_MAD_OF_NORMAL = 0.67449
_RAYLEIGH_MEAN = np.sqrt(np.pi / 2)
_RAYLEIGH_MEAN_OVER_SD = np.sqrt(np.pi / (4 - np.pi))
_MANY_CHANNELS = (
    "noise has a mean of {:.2f} of its standard deviations, that of one channel's magnitude {:.2f}: this is noise of "
    "many channels combined by root sum of squares, or filtered, whose floor this fit does not know; reconstruct with "
    "sensitivity-weighted (adaptive) combination, or give sigma where you know that the noise is Rician"
)


@dataclass(frozen=True)
class EchoNoise:
    """Noise of one channel of a multi-echo series, unit of the images.

    ``sigma``: where there is signal. ``darkest``: the most that the darkest voxels allow; ``sigma`` itself where noise
    was read off them.
    """

    sigma: float
    darkest: float

    @property
    def flags(self) -> tuple[str, ...]:
        """``noise_uncertain`` where the darkest voxels allow less than 85 % of sigma: noise is uneven."""
        return ("noise_uncertain",) if self.darkest < AGREE * self.sigma else ()


def sigma_of_empty(voxels: FloatArray) -> float:
    """Noise from the last echo of voxels that hold nothing but noise.

    Which voxels are empty depends on sigma, and sigma on which voxels are chosen: both are found in turn, beginning
    with a sigma that is too large, until neither changes.

    Parameters
    ----------
    voxels : ndarray, shape (n, n_echoes)
        Magnitude above 0.

    Returns
    -------
    float
        NaN where fewer than 1 % are empty, or what is there is not distributed like noise.

    Raises
    ------
    ImageError
        Where the noise is that of many channels combined by root sum of squares.
    """
    n = voxels.shape[1]
    before = voxels[:, max(1 if n > 2 else 0, n - 1 - max(3, n // 3)) : n - 1]
    level, last = np.sqrt(np.mean(before**2, axis=1) / 2), voxels[:, -1]
    sigma = np.sqrt(np.mean(last**2) / 2) if len(last) else np.nan
    for _ in range(100):
        chosen = last[level < _EMPTY_BELOW * sigma]
        if chosen.size < max(_FEWEST_VOXELS, _FEWEST_SHARE * last.size):
            return np.nan
        previous, sigma = sigma, float(chosen.mean()) / _RAYLEIGH_MEAN
        if abs(sigma / previous - 1) < 1e-4:
            break
    spread = float(chosen.std())
    if not spread > 0 or np.unique(chosen).size < _FEWEST_VALUES:
        return np.nan
    narrowness = float(chosen.mean()) / spread / _RAYLEIGH_MEAN_OVER_SD
    if narrowness > 1.1:
        raise ImageError(_MANY_CHANNELS.format(narrowness * _RAYLEIGH_MEAN_OVER_SD, _RAYLEIGH_MEAN_OVER_SD))
    return sigma if narrowness > 0.9 else np.nan


def sigma_of_differences(voxels: FloatArray, te_ms: npt.ArrayLike) -> float:
    """Noise from what no smooth decay explains, of echoes that all stand four sigmas above zero.

    Of five echoes in a row a cubic in time is taken off (of four a parabola); the one number that is left has the noise
    of one echo. Decays of several components, fat in phase and slow changes of field go with the cubic, which a fit of
    one exponential leaves as misfit. The steadiest run of echoes counts: the first ones bend most.

    Parameters
    ----------
    voxels : ndarray, shape (n, n_echoes)
    te_ms : array_like, shape (n_echoes,)

    Returns
    -------
    float
        NaN where there are fewer than 4 echoes, or 200 voxels.
    """
    te = np.asarray(te_ms, float)
    size = min(_WINDOW, te.size)
    if size < _LEAST_WINDOW:
        return np.nan
    runs = [_of_run(voxels[:, at : at + size], te[at : at + size]) for at in range(te.size - size + 1)]
    most = max(count for _, count in runs)
    sigmas = [sigma for sigma, count in runs if count >= max(_FEWEST_VOXELS, min(most, _PLENTY_OF_VOXELS))]
    return float(min(sigmas, default=np.nan))


def darkest_allow(voxels: FloatArray) -> float:
    """The largest sigma, the same in all voxels, that the darkest values of the last echo allow.

    Signal only adds to Rayleigh noise: no share q of voxels can lie below the q-quantile of noise alone, times sigma.
    """
    levels = np.quantile(voxels[:, -1], _DARKEST)
    return float(np.min(levels / np.sqrt(-2 * np.log1p(-np.asarray(_DARKEST)))))


def _of_run(echoes: FloatArray, te: npt.NDArray[np.float64]) -> tuple[float, int]:
    """Sigma of a run of echoes and the number of voxels it rests on."""
    times = (te - te.mean()) / np.ptp(te)
    across = np.linalg.svd(np.vander(times, te.size - 1, increasing=True).T)[2][-1]
    left, least = np.abs(echoes @ across.astype(np.float32)), echoes.min(axis=1)
    sigma, count = 0.0, 0
    for _ in range(30):
        chosen = left[least > _FAR_ABOVE * sigma]
        count = chosen.size
        if count < _FEWEST_VOXELS:
            return np.nan, 0
        previous, sigma = sigma, float(np.median(chosen)) / _MAD_OF_NORMAL
        if abs(sigma - previous) <= 1e-3 * sigma:
            break
    return sigma, count
