"""The scale of opacity that a radiograph carries: from clear lung, 0, to soft tissue of the body's whole depth, 1.

Gray levels depend on exposure, detector and processing, and no single tissue has a level that can be relied on: on real
films mediastinum and chest wall often have one, air beside the patient is cut off or clipped, and the clearest lung may
be ill. So several anchors, each with the opacity it stands for and how much that varies between films, settle one
straight line together; where they part, the interval of every value widens, and where no step is left, the film is
refused. Gain, offset and polarity fall out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.morphology import masked_mean
from ipha_toolkit.protocol import DEFAULT, Protocol

Array = npt.NDArray[np.float64]

_LONG_SIDE = 300
"""Pixels of the film's longer side while anchors are read."""
_FEWEST = 12
"""An anchor seen by fewer pixels is left out."""
_CLEAREST = 0.05
_CLIPPED = 0.3
"""An anchor with this share of its pixels at the very end of the film's range is clipped: it says half as much."""
_Z = 1.96

# What each anchor stands for, and how much it varies between films (standard deviation).
_PLACES = {
    "air beside the patient": (-0.4, 0.30),
    "clearest lung": (0.0, 0.25),
    "chest wall": (0.75, 0.20),
    "upper mediastinum": (1.0, 0.15),
    "heart": (1.0, 0.15),
    "below the diaphragm": (1.0, 0.20),
}


@dataclass(frozen=True)
class Anchor:
    """A tissue on a film: its gray level, the opacity it stands for, and how sure that is."""

    name: str
    gray: float
    opacity: float
    sd: float


@dataclass(frozen=True)
class Scale:
    """A straight line from gray to opacity.

    ``zero``, ``one``: the film's values at 0 and 1. ``covariance``, shape (2, 2), of the opacity at ``middle`` and of
    the slope. ``anchors``: what settled it.
    """

    zero: float
    one: float
    middle: float
    covariance: Array
    anchors: tuple[Anchor, ...]

    def opacity(self, gray: npt.ArrayLike) -> Array:
        """Opacity of gray levels."""
        return np.asarray((np.asarray(gray, np.float64) - self.zero) / (self.one - self.zero), np.float64)

    def margin(self, opacity: float) -> float:
        """Half the 95 % interval of an opacity, by what the anchors leave open."""
        off = self.zero + opacity * (self.one - self.zero) - self.middle
        c = self.covariance
        return float(_Z * np.sqrt(max(0.0, c[0, 0] + 2 * off * c[0, 1] + off * off * c[1, 1])))

    def margin_of_difference(self, difference: float) -> float:
        """Half the 95 % interval of a difference of two opacities of one film."""
        return float(_Z * abs(difference) * abs(self.one - self.zero) * np.sqrt(self.covariance[1, 1]))


def film_scale(film: npt.NDArray[np.floating], lungs: BoolArray, *, protocol: Protocol = DEFAULT) -> Scale:
    """Settle a film's scale of opacity.

    Parameters
    ----------
    film : ndarray, shape (i, j)
        First axis to the patient's right, second up; either polarity; NaN where nothing is known.
    lungs : ndarray of bool, shape (i, j)
        Both lung fields.
    protocol : Protocol
        ``films.least_step``, ``least_sure_slope``.

    Raises
    ------
    ValueError
        Where shapes differ, the film does not show what lies between the lungs, or its anchors carry no scale; the
        message says which.

    Notes
    -----
    A line cannot follow a bent tone curve: between films of different processing the interval holds, the value alone
    does not. Places of the anchors are chosen: on healthy films, phantom and real, air lay at -0.7 to -0.05, the wall
    at 0.5 to 1.0, mediastinum, heart and abdomen at 0.85 to 1.15.
    """
    if film.shape != lungs.shape:
        raise ValueError(f"film {film.shape} and lungs {lungs.shape} need one shape")
    stride = max(1, round(max(film.shape) / _LONG_SIDE))
    raw, field = np.asarray(film[::stride, ::stride], np.float32), lungs[::stride, ::stride]
    small = _smoothed(raw)
    levels, clipped = _levels(small, field, _at_an_end(raw))
    if "upper mediastinum" not in levels or "clearest lung" not in levels:
        raise ValueError("the film does not show what lies between and beside two lung fields: opacity has no scale")
    low, high = (float(np.nanquantile(small, q)) for q in (0.005, 0.995))
    dense = np.median([levels[n] for n in ("upper mediastinum", "heart", "below the diaphragm") if n in levels])
    step = abs(float(dense) - levels["clearest lung"]) / max(high - low, 1e-12)
    least = protocol.films.least_step
    if high <= low or step < least:
        raise ValueError(
            f"clear lung and the mediastinum lie {100 * step:.0f} % of the film's gray range apart; opacity needs "
            f"{100 * least:.0f} %: export the film with its full gray range"
        )
    anchors = tuple(
        Anchor(name, gray, _PLACES[name][0], _PLACES[name][1] * (2.0 if name in clipped else 1.0))
        for name, gray in levels.items()
    )
    return _line(anchors, protocol)


def _line(anchors: tuple[Anchor, ...], protocol: Protocol) -> Scale:
    """The weighted straight line through the anchors; where they part more than expected, so much less sure."""
    gray, place, sd = (np.array([getattr(a, n) for a in anchors], float) for n in ("gray", "opacity", "sd"))
    weight = 1 / sd**2
    middle = float((weight * gray).sum() / weight.sum())
    design = np.stack([np.ones_like(gray), gray - middle], axis=1)
    covariance = np.linalg.pinv(design.T @ (weight[:, None] * design))
    level, slope = covariance @ (design.T @ (weight * place))
    left = place - design @ [level, slope]
    covariance = covariance * max(1.0, float((weight * left**2).sum()) / max(1, len(anchors) - 2))
    sure = abs(slope) / max(float(np.sqrt(covariance[1, 1])), 1e-300)
    if sure < protocol.films.least_sure_slope:
        raise ValueError(
            f"its anchors contradict each other ({', '.join(f'{a.name} {a.gray:.4g}' for a in anchors)}): they give a "
            f"slope {sure:.1f} standard errors from 0, opacity needs {protocol.films.least_sure_slope:g}"
        )
    zero = middle - level / slope
    return Scale(float(zero), float(zero + 1 / slope), middle, covariance, anchors)


def _at_an_end(film: FloatArray) -> BoolArray:
    """Pixels at the very end of the film's range."""
    low, high = float(np.nanmin(film)), float(np.nanmax(film))
    return np.asarray((film <= low + 0.002 * (high - low)) | (film >= high - 0.002 * (high - low)))


def _smoothed(film: npt.NDArray[np.floating]) -> FloatArray:
    """A film without its noise, NaN kept."""
    known = np.isfinite(film)
    return np.asarray(
        np.where(known, masked_mean(film.astype(np.float32), known, [1.2] * film.ndim, truncate=4), np.nan), np.float32
    )


def _levels(film: FloatArray, lungs: BoolArray, end: BoolArray) -> tuple[dict[str, float], set[str]]:
    """Median gray of each anchor that the film shows, and which of them are clipped."""
    dense_bright, known = _bright(film, lungs), np.isfinite(film)
    places = {
        "chest wall": beside(lungs, 0.25, 0.75),
        "upper mediastinum": between(lungs, 0.45, 0.8),
        "heart": between(lungs, 0.15, 0.45),
        "below the diaphragm": _below(lungs),
    }
    places = {name: place & known for name, place in places.items() if (place & known).sum() >= _FEWEST}
    levels = {name: float(np.median(film[place])) for name, place in places.items()}
    clipped = {name for name, place in places.items() if end[place].mean() > _CLIPPED}
    clear = _clearest(film, lungs, dense_bright)
    if clear is not None:
        levels["clearest lung"] = clear
        air = _air(film, dense_bright)
        if air is not None and (air < clear if dense_bright else air > clear):
            levels["air beside the patient"] = air
    return levels, clipped


def _bright(film: FloatArray, lungs: BoolArray) -> bool:
    """Whether dense is bright on this film: what lies between the lungs against what lies in them."""
    middle = film[between(lungs, 0.15, 0.8)]
    return not middle.size or float(np.nanmedian(middle)) >= float(np.nanmedian(film[lungs])) if lungs.any() else True


def _clearest(film: FloatArray, lungs: BoolArray, dense_bright: bool) -> float | None:
    from scipy import ndimage

    inner = ndimage.binary_erosion(lungs, iterations=3) & np.isfinite(film)
    values = film[inner]
    share = _CLEAREST if dense_bright else 1 - _CLEAREST
    return float(np.quantile(values, share)) if values.size >= _FEWEST else None


def _air(film: FloatArray, dense_bright: bool) -> float | None:
    from ipha_toolkit.regions.film_tissue import outside_air
    from ipha_toolkit.regions.films import exposed_area

    picture = (film if dense_bright else -film)[::-1, ::-1].T
    picture = np.where(np.isfinite(picture), picture, np.nanmin(picture))
    shown = exposed_area(picture)
    air = outside_air(picture, shown) & shown
    if air.sum() < 0.01 * air.size:
        return None
    level = float(np.median(picture[air]))
    return level if dense_bright else -level


def between(lungs: BoolArray, low: float, high: float) -> BoolArray:
    """The middle half of what lies between the lungs, between two shares of their height from below."""
    middle = np.zeros(lungs.shape, bool)
    for row in _rows(lungs, low, high):
        place = np.flatnonzero(lungs[:, row])
        gaps = np.diff(place)
        if gaps.size and gaps.max() > 2:
            start, width = place[int(gaps.argmax())], int(gaps.max())
            middle[start + width // 4 : start + width - width // 4, row] = True
    return middle


def beside(lungs: BoolArray, low: float, high: float) -> BoolArray:
    """A band lateral of both lungs, between two shares of their height from below."""
    band, width = np.zeros(lungs.shape, bool), int(np.ptp(np.flatnonzero(lungs.any(axis=1)))) if lungs.any() else 0
    near, far = max(1, round(0.017 * width)), max(2, round(0.058 * width))
    for row in _rows(lungs, low, high):
        place = np.flatnonzero(lungs[:, row])
        band[max(0, place[0] - far) : max(0, place[0] - near), row] = True
        band[place[-1] + 1 + near : place[-1] + 1 + far, row] = True
    return band


def _below(lungs: BoolArray) -> BoolArray:
    """A band below the right lung's dome, where the liver lies."""
    band, columns = np.zeros(lungs.shape, bool), np.flatnonzero(lungs.any(axis=1))
    rows = np.flatnonzero(lungs.any(axis=0))
    if not columns.size:
        return band
    height, right = int(np.ptp(rows)), columns[columns > (columns[0] + columns[-1]) / 2]
    for column in right[len(right) // 4 : -len(right) // 4]:
        foot = int(np.flatnonzero(lungs[column])[0])
        if foot < rows[0] + 0.4 * height:
            band[column, max(0, foot - round(0.11 * height)) : max(0, foot - round(0.03 * height))] = True
    return band


def _rows(lungs: BoolArray, low: float, high: float) -> npt.NDArray[np.int_]:
    rows = np.flatnonzero(lungs.any(axis=0))
    if not rows.size:
        return rows
    first, last = rows[0] + low * np.ptp(rows), rows[0] + high * np.ptp(rows)
    return np.asarray(rows[(rows > first) & (rows < last)])
