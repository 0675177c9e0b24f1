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
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.film_tissue import lung_likeness
from ipha_toolkit.terms import Region
from ipha_toolkit.volume import BoolArray, FloatArray, Mask, Volume

Array = npt.NDArray[np.float64]

_LONG_SIDE = 256
"""Pixels of the film's longer side while lungs are sought; lengths below are in these pixels."""
_SHADING = 28.0
_LATERAL = ("LAT", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "LATERAL")

# Shape of a lung: shares of its half width (distance of the costophrenic angle from the midline), right then left:
# place of the apex, rib cage at a sixth and at half of the height, medial border at the diaphragm, beside the heart, at
# the hilum and at the aortic arch; then the height of the dome as a share of the lung's height.
_SHAPE = np.array([[0.47, 0.80, 0.94, 0.30, 0.30, 0.26, 0.22, 0.20], [0.47, 0.80, 0.94, 0.62, 0.52, 0.30, 0.24, 0.17]])
_SHAPE_SD = np.array([0.06, 0.05, 0.04, 0.12, 0.10, 0.07, 0.07, 0.08])
# Size and place, as shares of the exposed height, height and width: top, bottom, half width.
_PLACE, _PLACE_SD = np.array([0.15, 0.80, 0.39]), np.array([0.10, 0.13, 0.07])
_FILLED = 0.62
"""Share of a lung's box that is lung, by which the likeness inside a border is scaled."""
_BETWEEN_SIDES_SD = np.array([0.03, 0.05, 0.04])
_TILT_SD, _MIDLINE_SD = 0.04, 0.05

_N = 24
"""Points along the rib cage, and along the medial border; half as many along the diaphragm."""
_WEIGHT = np.r_[np.full(_N, 1.0), np.full(_N // 2, 1.6), np.full(_N, 1.0)]
_WEIGHT = _WEIGHT / _WEIGHT.sum()
_OUTWARD = np.array([1.0, -1.0])[:, None, None]

_SAMPLES, _ELITE = 300, 36
_STAGES = ((5.0, 6.0, 25, 1.0), (2.5, 3.5, 22, 0.3), (2.5, 3.5, 12, 0.15))
"""Blur and half distance across the border of each stage, in pixels, its rounds, and the spread it starts with as a
share of the first one's."""
_INSIDE = (1.0, 1.0, 0.4)
"""How much likeness to lung counts against contrast along the border in each stage: last, the border has its say."""
_HIGHER, _NEARLY = 0.12, 0.15
"""The second start's apices lie higher by this share of the film; it wins when worse by this at most, given lung."""
_LUNG_ROW = 0.05
_ENOUGH = 0.5
"""Step across the border, in local standard deviations, beyond which more does not count."""
_WIDE, _HIGH = (0.15, 0.15, 0.3), 0.1
"""How much wide lungs are preferred in each stage, and high ones."""
_CUT = 0.7
"""A part of a border with this share of its points or more off the film says nothing of the lung's contrast."""
_UNLIKELY, _UNLIKE_SIDES = 0.012, 0.04
_PULL_OUT = (0.09, 0.0, 0.06)
"""Outward pull of the last step, a pixel, on rib cage, diaphragm and medial border: masks drawn by hand take in the
inner edge of the ribs and the hilar vessels."""
_TOP, _NO_LUNG = 0.22, 0.2
"""In this share of the height no border is followed outward across what is no lung, at this cost a pixel."""


@dataclass(frozen=True)
class LungFields:
    """Lung fields of a film and how well their borders stand out.

    ``lungs``: both, on the film's grid. ``contrast``: right and left, how consistently the outside is denser along the
    faintest of ribs, diaphragm and medial border, -1 to 1. ``inverted``: the film was stored with dense dark.
    ``base``: share of the film less dense than its lower middle, 0 to 1. ``likeness``: correlation of its halves, -1 to
    1. ``inside``: right and left, how much of the field looks like lung, -1 to 1; below 0 where a lung is opaque.
    """

    lungs: Mask
    contrast: tuple[float, float]
    inverted: bool
    base: float
    likeness: float
    inside: tuple[float, float]


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
    contour, contrast = _fit(flat, lung_like, area)
    ridge, likeness = _ridge(flat, contour), _likeness(flat, contour)
    if min(contrast) >= settings.least_contrast and ridge >= settings.least_mediastinum:
        _require_two_sides(name, contour, likeness, min(contrast), protocol)
        borders = [_followed(flat, lung_like, contour[side], float(_OUTWARD[side, 0, 0])) for side in (0, 1)]
        lungs = Mask(_drawn(film, borders, step), film.affine, name="lung fields")
        return LungFields(lungs, contrast, inverted, base, likeness, _inside(lung_like, borders))
    raise ImageError(
        f"{name}: no two lung fields found (border contrast {min(contrast):.2f}, mediastinum {ridge:.2f}; needs "
        f"{settings.least_contrast:g} and {settings.least_mediastinum:g}): no frontal chest radiograph, or lungs too dense for their borders to be "
        "seen; give a frontal one, or pass a lung mask drawn by hand"
    )


def film_flags(film: Volume, fields: LungFields, *, protocol: Protocol = DEFAULT) -> list[str]:
    """Flags of a film and of the lung fields found on it, codes of :data:`ipha_toolkit.terms.FLAGS`."""
    flags = list(film.meta.get("ReadFlags", ()))
    settings = protocol.films  # sure lung fields vouch for a film whose lower middle is not its densest
    uncertain = min(fields.contrast) < settings.uncertain_contrast or min(fields.inside) < settings.uncertain_inside
    unlike = fields.likeness < settings.uncertain_likeness
    odd = fields.base < settings.uncertain_base and uncertain
    flags += ["inverted_film"] if fields.inverted else []
    flags += ["uncertain_lung_field"] if uncertain else []
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
    extreme = (picture <= low + 0.01 * (high - low)) | (picture >= high - 0.01 * (high - low))
    flat = extreme & (ndimage.gaussian_gradient_magnitude(picture, 1.0) < 0.004 * (high - low))
    labels, _ = ndimage.label(flat)
    on_edge = np.unique(np.r_[labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    shown = ~np.isin(labels, on_edge[on_edge > 0])
    area = (shown.mean(axis=1) > 0.05)[:, None] & (shown.mean(axis=0) > 0.05)[None]
    return area if area.any() else np.ones(picture.shape, bool)


def burned_in(picture: npt.NDArray[np.floating]) -> BoolArray:
    """Letters and markers burned into a film: small spots of its very highest or lowest value with a hard edge.

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
        small = (sizes < 0.005 * picture.size) & hard
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
        one, other = (_sample(image, side).ravel() for side in sides)
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
    step = (_LONG_SIDE * row_mm / longest, _LONG_SIDE * column_mm / longest)
    smooth = ndimage.gaussian_filter(picture, [0.4 / s if s < 1 else 0.0 for s in step])
    small = ndimage.zoom(smooth, step, order=1, grid_mode=True, mode="nearest")
    return small.astype(np.float32), step


def _flattened(picture: FloatArray, area: BoolArray) -> Array:
    """Local mean removed, over local standard deviation: exposure, gain and slow shading are gone."""
    from scipy import ndimage

    low, high = np.percentile(picture[area], (1, 99))
    x = np.clip((picture - low) / max(float(high - low), 1e-9), 0, 1)
    share = ndimage.gaussian_filter(area.astype(float), _SHADING) + 1e-3
    mean = ndimage.gaussian_filter(np.where(area, x, 0), _SHADING) / share
    variance = ndimage.gaussian_filter(np.where(area, (x - mean) ** 2, 0), _SHADING) / share
    return np.where(area, np.clip((x - mean) / np.sqrt(variance + 0.03**2), -3, 3), 0.0)


# ---------------------------------------------------------------------------------------------------- shape and fit


def _sides(poses: Array) -> Array:
    """Lengths of both lungs, shape (n, 2, 11), of poses (n, 24): midline, tilt, then right and left."""
    return poses[:, 2:].reshape(len(poses), 2, 11)


def _contours(poses: Array) -> Array:
    """Closed borders (row, column), shape (n, 2, points, 2): from the apex down the ribs, the diaphragm, up again."""
    lungs = []
    for number, sign in enumerate((-1.0, 1.0)):
        top, bottom, width, apex, upper, middle, base, heart, hilum, arch, dome = _sides(poses)[:, number].T
        one = np.ones_like(top)

        def at(out: Array, down: Array | float, top=top, bottom=bottom, width=width) -> Array:  # type: ignore[no-untyped-def]
            return np.stack([top + down * (bottom - top), out * width], axis=-1)

        summit, angle, foot = at(apex, 0.0 * one), at(one, one), at(base, 1 - 0.75 * dome)
        ribs = [
            summit, at((apex + upper) / 2 + 0.06, 0.045 * one), at(upper, 0.17 * one),
            at(0.45 * upper + 0.55 * middle, 0.34 * one), at(middle, 0.58 * one),
            at((middle + 1) / 2 + 0.005, 0.8 * one), angle,
        ]  # fmt: skip
        floor = [angle, at(0.9 * one, 1 - 0.45 * dome), at(0.45 * (1 + base) + 0.03, 1 - dome), foot]
        medial = [
            foot, at((base + heart) / 2 + 0.01, (1.62 - 0.75 * dome) / 2), at(heart, 0.62 * one), at(hilum, 0.4 * one),
            at(arch, 0.17 * one), at(0.55 * arch + 0.45 * apex - 0.06, 0.045 * one), summit,
        ]  # fmt: skip
        line = np.concatenate([_through(ribs, _N), _through(floor, _N // 2), _through(medial, _N)], axis=1)
        column = poses[:, :1] + sign * line[..., 1] + poses[:, 1:2] * (line[..., 0] - _LONG_SIDE / 2)
        lungs.append(np.stack([line[..., 0], column], axis=-1))
    return np.stack(lungs, axis=1)


def _through(points: list[Array], count: int) -> Array:
    """Catmull-Rom curve through points, each of shape (n, 2): shape (n, count, 2), the last point left out."""
    p = np.stack(points, axis=1)
    p = np.concatenate([2 * p[:, :1] - p[:, 1:2], p, 2 * p[:, -1:] - p[:, -2:-1]], axis=1)
    along = np.linspace(0, len(points) - 1, count, endpoint=False)
    first = along.astype(int)
    t = (along - first)[:, None]
    a, b, c, d = (p[:, first + n] for n in range(4))
    return np.asarray((2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2)


def _normals(contours: Array, outward: Array | float) -> Array:
    along = np.roll(contours, -1, -2) - np.roll(contours, 1, -2)
    along = along / (np.linalg.norm(along, axis=-1, keepdims=True) + 1e-6)
    return np.stack([along[..., 1], -along[..., 0]], axis=-1) * outward


def _sample(image: Array, points: Array) -> Array:
    from scipy import ndimage

    return np.asarray(ndimage.map_coordinates(image, np.moveaxis(points, -1, 0), order=1, mode="nearest"))


def _steps(image: Array, contours: Array, reach: float) -> Array:
    """How much denser it is outside than inside at each border point, -1 to 1; off the film a little unwelcome."""
    normals = _normals(contours, _OUTWARD)
    step = _sample(image, contours + reach * normals) - _sample(image, contours - reach * normals)
    return np.clip(np.where(_off_film(image, contours), -0.6 * _ENOUGH, step), -_ENOUGH, _ENOUGH) / _ENOUGH


def _off_film(image: Array, contours: Array) -> BoolArray:
    return np.asarray(((contours < 1) | (contours > np.array(image.shape) - 2)).any(axis=-1))


@dataclass(frozen=True)
class _Search:
    """The film, flattened, and what is expected of poses before it is looked at."""

    flat: Array
    mean: Array
    sd: Array
    unit: Array
    """Exposed height, height and width."""
    lung_so_far: Array
    """Likeness to lung, summed along each row: a line integral along a border is the sum inside it (Green)."""

    def unlikely(self, poses: Array) -> Array:
        """Cost of lungs unlike a chest's, and unlike each other."""
        apart = (np.diff(_sides(poses)[:, :, :3], axis=1)[:, 0] / (_BETWEEN_SIDES_SD * self.unit)) ** 2
        far = (((poses - self.mean) / self.sd) ** 2).sum(axis=1)
        return np.asarray(_UNLIKELY * far + _UNLIKE_SIDES * apart.sum(axis=1))

    def worth(self, image: Array, poses: Array, reach: float, stage: int) -> Array:
        """Contrast along the borders and likeness to lung inside; wide and high lungs are preferred a little."""
        place, contours = _sides(poses)[:, :, :3] / self.unit, _contours(poses)
        contrast = (_steps(image, contours, reach) * _WEIGHT).sum(axis=-1)
        box = _FILLED * (_PLACE[1] - _PLACE[0] + 0.03) * _PLACE[2] * self.unit[1] * self.unit[2]
        inside = _INSIDE[stage] * _line_integral(self.lung_so_far, contours) / box
        size = _WIDE[stage] * np.log(place[..., 2] / _PLACE[2]) - _HIGH * place[..., 0]
        return np.asarray((contrast + inside + size).mean(axis=-1) - self.unlikely(poses))


def _line_integral(so_far: Array, contours: Array) -> Array:
    """Sum of what was summed along rows, inside closed borders of shape (n, 2, points, 2): shape (n, 2)."""
    rows, values = contours[..., 0], _sample(so_far, contours)
    steps = np.roll(rows, -1, axis=-1) - rows
    return np.asarray(-_OUTWARD[:, 0, 0] * ((values + np.roll(values, -1, axis=-1)) / 2 * steps).sum(axis=-1))


def _search(flat: Array, lung_like: Array, area: BoolArray) -> _Search:
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    height, width = float(np.ptp(rows)), float(np.ptp(columns))
    unit = np.array([height, height, width])
    place = _PLACE * unit + [rows[0], rows[0], 0]
    mean = np.concatenate([[columns[0] + width / 2, 0.0], *(np.r_[place, shape] for shape in _SHAPE)])
    sd = np.concatenate([[_MIDLINE_SD * width, _TILT_SD], *2 * [np.r_[_PLACE_SD * unit, _SHAPE_SD]]])
    return _Search(flat, mean, sd, unit, np.cumsum(lung_like, axis=1))


def _fit(flat: Array, lung_like: Array, area: BoolArray) -> tuple[Array, tuple[float, float]]:
    """Borders of right and left lung, shape (2, points, 2), and the contrast of each at its faintest part shown."""
    from scipy import ndimage

    search, last = _search(flat, lung_like, area), len(_STAGES) - 1
    blur, reach = _STAGES[last][:2]
    image = ndimage.gaussian_filter(flat, blur)
    poses = np.stack([_one_fit(search, seed, higher=seed * _HIGHER) for seed in range(2)])
    worth, contours = search.worth(image, poses, reach, last), _contours(poses)
    taken = int(worth.argmax())
    if worth[1] > worth[0] - _NEARLY and all(_lung_above(lung_like, contours[0, n], contours[1, n]) for n in (0, 1)):
        taken = 1
    steps, off = _steps(image, contours[taken : taken + 1], reach)[0], _off_film(image, contours[taken])
    parts = [_N, _N + _N // 2]
    right, left = (
        min(
            (step[~out].mean() for step, out in zip(np.split(line, parts), np.split(gone, parts), strict=True)
             if out.mean() < _CUT), default=-1.0,
        )
        for line, gone in zip(steps, off, strict=True)
    )  # fmt: skip
    return contours[taken], (float(right), float(left))


def _lung_above(lung_like: Array, low: Array, high: Array) -> bool:
    """Whether every row between the apex of one border and a higher apex looks like lung."""
    rows = np.arange(max(0, int(high[:, 0].min()) + 3), int(low[:, 0].min()) + 1)
    cap = high[high[:, 0] < low[:, 0].min() + 1, 1]
    if len(rows) < 4 or not cap.size:
        return False
    first, last = max(0, int(cap.min())), int(cap.max()) + 1
    return bool(lung_like[rows, first:last].mean(axis=1).min() > _LUNG_ROW)


def _inside(lung_like: Array, borders: list[Array]) -> tuple[float, float]:
    """Mean likeness to lung inside each border."""
    from skimage.draw import polygon2mask

    fields = [polygon2mask(lung_like.shape, border) for border in borders]
    right, left = (float(lung_like[field].mean()) if field.any() else -1.0 for field in fields)
    return right, left


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


def _one_fit(search: _Search, seed: int, *, higher: float) -> Array:
    """Coarse, fine, and last with the border's own say; with apices expected ``higher`` by a share of the film."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    mean, sd = search.mean.copy(), search.sd.copy()
    mean[[2, 13]] -= higher * search.unit[0]
    sd[[2, 13]] *= 0.4 if higher else 1.0
    for stage, (blur, _, _, spread) in enumerate(_STAGES):
        sd = np.maximum(sd, spread * search.sd) if stage else sd
        mean, sd = _cross_entropy(search, ndimage.gaussian_filter(search.flat, blur), stage, mean, sd, rng)
    return mean


def _cross_entropy(
    search: _Search, image: Array, stage: int, mean: Array, sd: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw poses, keep the best, draw around those."""
    _, reach, rounds, _ = _STAGES[stage]
    for _ in range(rounds):
        poses = mean + sd * rng.standard_normal((_SAMPLES, len(mean)))
        poses[0] = mean
        elite = poses[np.argsort(-search.worth(image, poses, reach, stage))[:_ELITE]]
        mean = 0.3 * mean + 0.7 * elite.mean(axis=0)
        sd = 0.3 * sd + 0.7 * elite.std(axis=0) + 1e-3 * search.sd
    return mean, sd


# ------------------------------------------------------------------------------------------------------- last step


def _followed(flat: Array, lung_like: Array, contour: Array, outward: float) -> Array:
    """The border moved to a closed path of largest contrast near it, shape (points, 2); then nearer and nearer."""
    from scipy import ndimage

    image = ndimage.gaussian_filter(flat, 1.5)
    pull = np.repeat(_PULL_OUT, (_N, _N // 2, _N))
    pull[-4:] = pull[0]
    for reach in (12, 5, 3):
        contour, pull = _evenly(contour, pull)
        normals = ndimage.gaussian_filter1d(_normals(contour, outward), 2, axis=0, mode="wrap")
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        moves = np.arange(-reach, reach + 1.0)
        points = contour[:, None] + moves[:, None] * normals[:, None]
        step = _sample(image, points + 2 * normals[:, None]) - _sample(image, points - 2 * normals[:, None])
        cost = -np.clip(step, -_ENOUGH, _ENOUGH) / _ENOUGH - pull[:, None] * moves + 0.02 * (3 * moves / reach) ** 2
        crossed = np.cumsum(np.minimum(_sample(lung_like, points), 0), axis=1)
        top = contour[:, :1] < contour[:, 0].min() + _TOP * np.ptp(contour[:, 0])
        cost -= _NO_LUNG * np.where(top, crossed - crossed[:, [reach]], 0.0)
        path = _closed_path(cost, 0.3 * np.abs(moves[:, None] - moves) ** 1.5)
        contour = contour + moves[path][:, None] * normals
    return contour


def _evenly(contour: Array, pull: Array, count: int = 120) -> tuple[Array, Array]:
    """A closed line, and values along it, at points evenly apart."""
    closed, values = np.vstack([contour, contour[:1]]), np.r_[pull, pull[:1]]
    along = np.r_[0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))]
    at = np.linspace(0, along[-1], count, endpoint=False)
    return np.stack([np.interp(at, along, closed[:, n]) for n in (0, 1)], axis=1), np.interp(at, along, values)


def _closed_path(cost: Array, change: Array) -> npt.NDArray[np.int_]:
    """Cheapest closed path by dynamic programming: where it passes halfway round is settled first, then all of it."""
    half = len(cost) // 2
    first = _path(cost, change, None)
    turned = _path(np.roll(cost, -half, axis=0), change, int(first[half]))
    return np.roll(turned, half)


def _path(cost: Array, change: Array, ends: int | None) -> npt.NDArray[np.int_]:
    """Cheapest path through the rows of ``cost``; ``ends``: the state in which it begins and to which it returns."""
    total = cost[0].copy()
    if ends is not None:
        total[np.arange(len(total)) != ends] = np.inf
    back = np.zeros(cost.shape, int)
    for n in range(1, len(cost)):
        through = total[None] + change
        back[n] = through.argmin(axis=1)
        total = through.min(axis=1) + cost[n]
    state = int(np.argmin(total if ends is None else total + change[ends]))
    path = [state]
    for n in range(len(cost) - 1, 0, -1):
        path.append(int(back[n, path[-1]]))
    return np.array(path[::-1])


def _drawn(film: Volume, borders: list[Array], step: tuple[float, float]) -> BoolArray:
    """The insides of the borders on the film's own grid."""
    from skimage.draw import polygon2mask

    rows, columns = film.shape[1], film.shape[0]
    inside = np.zeros((rows, columns), bool)
    for border in borders:
        inside |= polygon2mask((rows, columns), (border + 0.5) / np.array(step) - 0.5)
    return np.asarray(from_picture(inside), bool)
