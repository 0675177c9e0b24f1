"""Which part of a film looks like lung: darker than the body around it, once air beside the patient is set aside.

The borders of clavicles, shoulders and skin stand out as well as those of lungs do, so borders alone mistake them. What
lies between them decides: lung is darker than the body's mean on a scale wider than a lung, and a rib or a clavicle
that crosses lung has lung above and below it. Only order and slow differences count, no gray value. Limits are chosen
on the phantom and looked at on radiographs of children and of adults in bed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray

Array = npt.NDArray[np.float64]

_WIDE = 45.0
"""Gaussian of the body's mean, pixels of 256 along the film: wider than a lung, narrower than a film's shading."""
_BAR = 13
"""Height of a bar across lung (rib, clavicle) that is taken for lung, pixels."""
_STEEP, _TOWARDS_LUNG = 1.2, 0.35
_DARK, _FLAT, _HALO, _RIM = 0.12, 0.012, 0.4, 12


def outside_air(picture: FloatArray, area: BoolArray) -> BoolArray:
    """Air beside the patient: dark and flat from the film's upper or lateral edge on, with the blurred rim of the skin.

    Parameters
    ----------
    picture : ndarray, shape (rows, columns)
        Dense bright, about 256 pixels along its longer side.
    area : ndarray of bool, shape (rows, columns)
        Where the film shows something.
    """
    from scipy import ndimage

    low, high = np.percentile(picture[area], (0.5, 99))
    x = np.clip((ndimage.gaussian_filter(picture, 1.5) - low) / max(float(high - low), 1e-9), 0, 1)
    flat = (x < _DARK) & (ndimage.gaussian_gradient_magnitude(x, 1.5) < _FLAT)
    labels, _ = ndimage.label(flat | ~area)
    beside = slice(0, int(0.8 * len(picture)))  # lower down an arm or a frame, not the abdomen, may be dark
    on_edge = np.unique(np.r_[labels[0], labels[beside, 0], labels[beside, -1]])
    air = np.isin(labels, on_edge[on_edge > 0])
    near = (x < _HALO) | ndimage.binary_dilation(air, iterations=3)
    return np.asarray(ndimage.binary_dilation(air, iterations=_RIM, mask=near)) if air.any() else air


def lung_likeness(picture: FloatArray, area: BoolArray) -> Array:
    """How much each place of a film looks like lung.

    Parameters
    ----------
    picture : ndarray, shape (rows, columns)
        Dense bright, about 256 pixels along its longer side.
    area : ndarray of bool, shape (rows, columns)
        Where the film shows something.

    Returns
    -------
    ndarray, shape (rows, columns)
        1 lung, -1 denser than the body around it or air beside it, 0 where the film shows nothing.
    """
    from scipy import ndimage

    low, high = np.percentile(picture[area], (1, 99))
    x = np.clip((picture - low) / max(float(high - low), 1e-9), 0, 1)
    body = area & ~outside_air(picture, area)
    dense = ndimage.gaussian_filter(np.where(body, local_deviation(x, body, _WIDE), 0), 2.0)
    dense = ndimage.gaussian_filter(ndimage.grey_opening(dense, (_BAR, 1)), 2.0)
    return np.where(body, np.tanh(_TOWARDS_LUNG - _STEEP * dense), np.where(area, -1.0, 0.0))


def local_deviation(x: Array, area: BoolArray, sigma: float) -> Array:
    """Distance from the Gaussian mean of the area around each pixel, over the standard deviation there.

    ``x`` runs from 0 to 1; ``sigma`` in pixels. 0.03 of the range is taken for noise.
    """
    from scipy import ndimage

    share = ndimage.gaussian_filter(area.astype(float), sigma) + 1e-3
    mean = ndimage.gaussian_filter(np.where(area, x, 0), sigma) / share
    variance = ndimage.gaussian_filter(np.where(area, (x - mean) ** 2, 0), sigma) / share
    return np.asarray((x - mean) / np.sqrt(variance + 0.03**2))
