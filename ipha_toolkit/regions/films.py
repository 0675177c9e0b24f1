"""Find the lung fields on a frontal chest radiograph, without learned weights.

Two lungs drawn from a handful of anatomical lengths (apex, ribs, costophrenic angle, dome of the diaphragm, heart,
hilum, mediastinum) are fitted to the film by the cross-entropy method: along their borders the outside has to be denser
than the inside, and the inside has to look like lung (:mod:`ipha_toolkit.regions.film_tissue`), which clavicles,
shoulders and the air beside a child do not. The search starts twice, the second time with apices near the film's edge;
these are taken where all of what lies between looks like lung. Last, a shortest path near the fitted border follows the
film's own. Lung hidden behind heart and diaphragm is outside the border and not counted.

What is no frontal radiograph of a chest is told from one by three facts of projection: spine, heart and liver, low in
the middle, are the densest of a film (polarity follows, and slices of CT or MRI fall short); between two lungs lies
something denser than both; and the halves of a chest are alike, while a lateral view is tall and unlike.

The lengths are those of textbook anatomy, none was taken from a data set; limits were chosen on the phantom and on a
handful of radiographs. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.film_borders import (
    LONG_SIDE,
    OUTWARD,
    Array,
    fit,
    followed,
    likeness_inside,
    sample,
)
from ipha_toolkit.regions.film_tissue import local_deviation, lung_likeness
from ipha_toolkit.terms import Region
from ipha_toolkit.volume import Mask, Volume

_SHADING = 28.0
_BOX, _BOX_SIDE, _BOX_FILLED = 0.002, 0.33, 0.9
"""A pasted box holds this share of a film at least, is no longer than this share of a side (a strip of air beside the
patient runs along a whole one), and fills this share of the rectangle around it."""
_LATERAL = ("LAT", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL")


@dataclass(frozen=True)
class LungFields:
    """Lung fields of a film and how well their borders stand out.

    ``lungs``: both, on the film's grid. ``contrast``: right and left, how consistently the outside is denser along the
    faintest of ribs, diaphragm and medial border, -1 to 1. ``inverted``: the film was stored with dense dark.
    ``base``: share of the film less dense than its lower middle, 0 to 1. ``likeness``: correlation of its halves, -1 to
    1. ``inside``: right and left, how much of the field looks like lung, -1 to 1; below 0 where a lung is opaque.
    ``domes``: how much lower the left dome of the diaphragm lies than the right one, share of the lungs' height; about
    0.06, far more where gas in the stomach is taken for lung or the right base is opaque.
    """

    lungs: Mask
    contrast: tuple[float, float]
    inverted: bool
    base: float
    likeness: float
    inside: tuple[float, float]
    domes: float


def find_lung_fields(film: Volume, *, protocol: Protocol = DEFAULT) -> LungFields:
    """Find both lung fields of a frontal chest radiograph.

    Parameters
    ----------
    film : Volume, shape (i, j, 1)
        First axis to the patient's right, second up, either polarity, any exposure.
    protocol : Protocol
        ``films.least_contrast``, ``least_mediastinum``, ``least_base``, ``least_likeness``, ``tallest``.

    Returns
    -------
    LungFields

    Raises
    ------
    ImageError
        Where the film is a lateral view, by its header or by what it shows, no radiograph, or no two lung fields stand
        out: another view, no chest, or lungs too dense to be seen. The message says which, and what to do.
    """
    _require_frontal(film)
    name, settings = film.name or "film", protocol.films
    picture, step = _working_picture(film)
    area = exposed_area(picture)
    base = _base(picture, area)
    inverted, base = base < 0.5, max(base, 1 - base)
    if base < settings.least_base:
        raise ImageError(
            f"{name}: does not look like a chest radiograph: its lower middle, where spine, heart and liver are the "
            f"densest, is denser than {100 * base:.0f} % of the picture; needs {100 * settings.least_base:.0f} %. Give "
            "the radiograph uncropped, a slice of CT or MRI as DICOM or NIfTI, or pass a lung mask"
        )
    picture = -picture if inverted else picture
    flat, lung_like = _flattened(picture, area), lung_likeness(picture, area)
    contour, contrast, domes = fit(flat, lung_like, area)
    ridge, likeness = _ridge(flat, contour), _likeness(flat, contour)
    if min(contrast) >= settings.least_contrast and ridge >= settings.least_mediastinum:
        _require_two_sides(name, contour, likeness, min(contrast), protocol)
        borders = [followed(flat, lung_like, contour[side], float(OUTWARD[side, 0, 0])) for side in (0, 1)]
        lungs = Mask(_drawn(film, borders, step), film.affine, name="lung fields")
        return LungFields(lungs, contrast, inverted, base, likeness, likeness_inside(lung_like, borders), domes)
    raise ImageError(
        f"{name}: no two lung fields found (border contrast {min(contrast):.2f}, mediastinum {ridge:.2f}; needs "
        f"{settings.least_contrast:g} and {settings.least_mediastinum:g}): no frontal chest radiograph, or lungs too "
        "dense for their borders to be seen; give a frontal one, or pass a lung mask drawn by hand"
    )


def film_flags(film: Volume, fields: LungFields, *, protocol: Protocol = DEFAULT) -> list[str]:
    """Flags of a film and of the lung fields found on it, codes of :data:`ipha_toolkit.flags.FLAGS`."""
    flags = list(film.meta.get("ReadFlags", ()))
    settings = protocol.films  # sure lung fields vouch for a film whose lower middle is not its densest
    faint = min(fields.contrast) < settings.uncertain_contrast or min(fields.inside) < settings.uncertain_inside
    uneven = abs(fields.domes) > settings.uncertain_domes  # gas below the left dome, or an opaque base
    unlike = fields.likeness < settings.uncertain_likeness
    odd = fields.base < settings.uncertain_base and faint
    flags += ["inverted_film"] if fields.inverted else []
    flags += ["uncertain_lung_field"] if faint or uneven else []
    flags += ["perhaps_not_frontal"] if unlike else []
    return flags + (["perhaps_no_radiograph"] if odd else [])


def film_zones(lungs: Mask) -> dict[str, Mask]:
    """The six zones of a radiograph: upper, middle and lower third of the height of both lungs, right and left.

    Returns
    -------
    dict of str to Mask
        Keys ``right_upper`` ... ``left_lower`` of :class:`ipha_toolkit.terms.Region`; a zone that is not shown is left
        out.
    """
    from ipha_toolkit.regions.zones import lung_regions

    parts = lung_regions(lungs)
    zones: dict[str, Mask] = {}
    for side, third in product((Region.RIGHT, Region.LEFT), (Region.UPPER, Region.MIDDLE, Region.LOWER)):
        if side in parts and third in parts:
            array = parts[side].array & parts[third].array
            name = str(Region(f"{side}_{third}"))
            zones |= {name: lungs.replace(array=array, name=name)} if array.any() else {}
    return zones


def exposed_area(picture: npt.NDArray[np.floating]) -> BoolArray:
    """Where a picture shows something: a flat frame along its edges (collimator, paper, padding) left out.

    Parameters
    ----------
    picture : ndarray, shape (rows, columns)
    """
    from scipy import ndimage

    low, high = float(picture.min()), float(picture.max())
    ends = (picture <= low + 0.01 * (high - low), picture >= high - 0.01 * (high - low))
    flat = (ends[0] | ends[1]) & (ndimage.gaussian_gradient_magnitude(picture, 1.0) < 0.004 * (high - low))
    labels, _ = ndimage.label(flat)
    on_edge = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    shown = ~np.isin(labels, on_edge[on_edge > 0])
    area = (shown.mean(axis=1) > 0.05)[:, None] & (shown.mean(axis=0) > 0.05)[None]
    if not area.any():
        return np.ones(picture.shape, bool)
    return np.asarray(area & ~(_pasted_boxes(ends[0]) | _pasted_boxes(ends[1])))


def _pasted_boxes(extreme: BoolArray) -> BoolArray:
    """Boxes of one value, the film's highest or lowest, in a corner, letters in them: what publishers paste in."""
    from scipy import ndimage

    boxes = np.zeros(extreme.shape, bool)
    labels, _ = ndimage.label(extreme)
    ends = [{0, length} for length in extreme.shape]
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        in_corner = all({along.start, along.stop} & end for along, end in zip(place, ends, strict=True))
        short = all(np.array(boxes[place].shape) < _BOX_SIDE * np.array(boxes.shape))
        if in_corner and short and boxes[place].size > _BOX * boxes.size:
            filled = ndimage.binary_fill_holes(np.pad(labels[place] == number, 1))
            boxes[place] |= bool(filled[1:-1, 1:-1].mean() > _BOX_FILLED)
    return np.asarray(ndimage.binary_dilation(boxes, iterations=2))


_SPECK, _SPECK_SHARE = 6, 1.5e-5
"""Pixels, and share of the film, below which a spot is noise: a stroke of a letter 3 mm high is larger. Chosen."""


def burned_in(picture: npt.NDArray[np.floating]) -> BoolArray:
    """Letters and markers burned into a film: small spots of its very highest or lowest value with a hard edge, none so
    small as the specks of noise.

    Parameters
    ----------
    picture : ndarray, shape (rows, columns)
    """
    from scipy import ndimage

    low, high = float(picture.min()), float(picture.max())
    edge = ndimage.maximum_filter(picture, 3) - ndimage.minimum_filter(picture, 3)
    found = np.zeros(picture.shape, bool)
    for extreme in (picture >= high - 0.01 * (high - low), picture <= low + 0.01 * (high - low)):
        labels, count = ndimage.label(extreme)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        hard = ndimage.maximum(edge, labels, np.arange(count + 1)) > 0.35 * (high - low)
        small = (sizes < 0.005 * picture.size) & (sizes >= max(_SPECK, _SPECK_SHARE * picture.size)) & hard
        small[0] = False
        found |= small[labels]
    return np.asarray(ndimage.binary_dilation(found, iterations=2))


def as_picture(film: Volume) -> FloatArray:
    """A film as hung: rows from the top, the patient's right on the left; missing takes the lowest value."""
    picture = film.array[::-1, ::-1, 0].T
    return np.where(np.isnan(picture), np.nanmin(picture), picture)


def from_picture(picture: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A picture as hung back on the film's axes, shape (i, j, 1)."""
    return picture.T[::-1, ::-1, None]


def _require_frontal(film: Volume) -> None:
    if film.shape[2] != 1:
        raise ImageError(f"{film.name or 'film'}: a radiograph has shape (i, j, 1), got {film.shape}")
    view = str(film.meta.get("ViewPosition", "")).upper()
    if view in _LATERAL or abs(film.affine[0, 0]) < 0.7 * film.spacing_mm[0]:
        raise ImageError(
            f"{film.name or 'film'}: is a lateral view ({view or 'PatientOrientation'}); lung fields are found and "
            "measured on frontal ones"
        )


def _base(picture: FloatArray, area: BoolArray) -> float:
    """Share of the exposed area darker than the middle of its lower third: only order counts, no tone curve."""
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    fifth = len(columns) // 5
    low = picture[rows[-1] - len(rows) // 3 : rows[-1], columns[0] + 2 * fifth : columns[0] + 3 * fifth + 1]
    return float(np.mean(picture[area] < np.median(low)))


def _likeness(flat: Array, contour: Array) -> float:
    """Largest correlation of what lies right and left of a line between the lungs, shifted and tilted a little."""
    from scipy import ndimage

    image = ndimage.gaussian_filter(flat, 3.0)
    (top, right), (bottom, left) = contour.min(axis=(0, 1)), contour.max(axis=(0, 1))
    rows = np.arange(max(0.0, top), min(len(flat) - 1.0, bottom))[:, None]
    away, half = np.linspace(0.02, 1, 50) * (left - right) / 2, (left - right) / 2
    found = []
    for tilt, shift in product(np.tan(np.deg2rad(np.arange(-12, 13, 3.0))), np.arange(-0.14, 0.15, 0.035) * half):
        middle = (left + right) / 2 + shift + tilt * (rows - (top + bottom) / 2)
        sides = [np.stack([rows - sign * tilt * away, middle + sign * away], axis=-1) for sign in (-1, 1)]
        one, other = (sample(image, side).ravel() for side in sides)
        found.append(np.corrcoef(one, other)[0, 1])
    return float(np.nanmax(found, initial=-1.0))


def _require_two_sides(name: str, contour: Array, likeness: float, contrast: float, protocol: Protocol) -> None:
    """Refuse a lateral view: tall and unlike, or unlike and without two clear borders."""
    (height, width), settings = np.ptp(contour, axis=(0, 1)), protocol.films
    tall = height > settings.tallest * width and likeness < settings.least_likeness
    if tall or (likeness < settings.lateral_likeness and contrast < settings.lateral_contrast):
        raise ImageError(
            f"{name}: looks like a lateral view: its lungs would be {height / width:.1f} times as high as wide and its "
            f"halves unlike (correlation {likeness:.2f}, border contrast {contrast:.2f}); lung fields are found and "
            "measured on frontal ones; where it is one, pass a lung mask drawn by hand"
        )


def _working_picture(film: Volume) -> tuple[FloatArray, tuple[float, float]]:
    """The film as hung, made small, and how many of its pixels one of the film's rows and columns is."""
    from scipy import ndimage

    picture = as_picture(film)
    column_mm, row_mm, _ = film.spacing_mm
    longest = max(picture.shape[0] * row_mm, picture.shape[1] * column_mm)
    step = (LONG_SIDE * row_mm / longest, LONG_SIDE * column_mm / longest)
    smooth = ndimage.gaussian_filter(picture, [0.4 / s if s < 1 else 0.0 for s in step])
    small = ndimage.zoom(smooth, step, order=1, grid_mode=True, mode="nearest")
    return small.astype(np.float32), step


def _flattened(picture: FloatArray, area: BoolArray) -> Array:
    """Local mean removed, over local standard deviation: exposure, gain and slow shading are gone."""
    low, high = np.percentile(picture[area], (1, 99))
    x = np.clip((picture - low) / max(float(high - low), 1e-9), 0, 1)
    return np.where(area, np.clip(local_deviation(x, area, _SHADING), -3, 3), 0.0)


def _ridge(flat: Array, contour: Array) -> float:
    """Share of the rows in which what lies between the lungs is denser than either."""
    from skimage.draw import polygon2mask

    right, left = (polygon2mask(flat.shape, border) for border in contour)
    denser = []
    for row in np.flatnonzero(right.any(axis=1) & left.any(axis=1)):
        first, last = int(np.flatnonzero(right[row])[-1]) + 2, int(np.flatnonzero(left[row])[0]) - 1
        if last - first >= 2:
            lungs = max(flat[row, right[row]].mean(), flat[row, left[row]].mean())
            denser.append(flat[row, first:last].mean() > lungs + 0.3)
    return float(np.mean(denser)) if len(denser) > 10 else 0.0


def _drawn(film: Volume, borders: list[Array], step: tuple[float, float]) -> BoolArray:
    """The insides of the borders on the film's own grid."""
    from skimage.draw import polygon2mask

    rows, columns = film.shape[1], film.shape[0]
    inside = np.zeros((rows, columns), bool)
    for border in borders:
        inside |= polygon2mask((rows, columns), (border + 0.5) / np.array(step) - 0.5)
    return np.asarray(from_picture(inside), bool)
