"""Borders of two lungs on a radiograph: a shape drawn from anatomical lengths, fitted and then followed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray

Array = npt.NDArray[np.float64]

LONG_SIDE = 256
"""Pixels of the film's longer side while lungs are sought; lengths below are in these pixels."""

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
_LEFT_DOME = 0.06
"""How much lower the left dome of the diaphragm lies than the right one, as a share of the lungs' height: 1.5 cm of
25. Textbook anatomy: the right one lies 1 to 2.5 cm higher in nine of ten healthy people."""
_HIGHER_LEFT, _AS_CLEAR = 0.03, 0.05
"""A left dome higher than the right one by this share is sought again where it is expected; it is taken there where the
border is at most this much fainter and what is gained looks like lung."""

_N = 24
"""Points along the rib cage, and along the medial border; half as many along the diaphragm."""
_WEIGHT = np.r_[np.full(_N, 1.0), np.full(_N // 2, 1.6), np.full(_N, 1.0)]
_WEIGHT = _WEIGHT / _WEIGHT.sum()
OUTWARD = np.array([1.0, -1.0])[:, None, None]

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
        column = poses[:, :1] + sign * line[..., 1] + poses[:, 1:2] * (line[..., 0] - LONG_SIDE / 2)
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


def sample(image: Array, points: Array) -> Array:
    from scipy import ndimage

    return np.asarray(ndimage.map_coordinates(image, np.moveaxis(points, -1, 0), order=1, mode="nearest"))


def _steps(image: Array, contours: Array, reach: float) -> Array:
    """How much denser it is outside than inside at each border point, -1 to 1; off the film a little unwelcome."""
    normals = _normals(contours, OUTWARD)
    step = sample(image, contours + reach * normals) - sample(image, contours - reach * normals)
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
    rows, values = contours[..., 0], sample(so_far, contours)
    steps = np.roll(rows, -1, axis=-1) - rows
    return np.asarray(-OUTWARD[:, 0, 0] * ((values + np.roll(values, -1, axis=-1)) / 2 * steps).sum(axis=-1))


def _search(flat: Array, lung_like: Array, area: BoolArray) -> _Search:
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    height, width = float(np.ptp(rows)), float(np.ptp(columns))
    unit = np.array([height, height, width])
    place = _PLACE * unit + [rows[0], rows[0], 0]
    mean = np.concatenate([[columns[0] + width / 2, 0.0], *(np.r_[place, shape] for shape in _SHAPE)])
    sd = np.concatenate([[_MIDLINE_SD * width, _TILT_SD], *2 * [np.r_[_PLACE_SD * unit, _SHAPE_SD]]])
    return _Search(flat, mean, sd, unit, np.cumsum(lung_like, axis=1))


def fit(flat: Array, lung_like: Array, area: BoolArray) -> tuple[Array, tuple[float, float], float]:
    """Borders of both lungs, the contrast of each, and how unevenly the domes of the diaphragm lie.

    Returns
    -------
    contours : ndarray, shape (2, points, 2)
        Right and left.
    contrast : (float, float)
        Of right and left at the faintest part shown.
    domes : float
        How much lower the left dome lies than the right one, as a share of the lungs' height.
    """
    from scipy import ndimage

    search, last = _search(flat, lung_like, area), len(_STAGES) - 1
    blur, reach = _STAGES[last][:2]
    image = ndimage.gaussian_filter(flat, blur)
    poses = np.stack([_one_fit(search, seed, higher=seed * _HIGHER) for seed in range(2)])
    worth, contours = search.worth(image, poses, reach, last), _contours(poses)
    taken = int(worth.argmax())
    if worth[1] > worth[0] - _NEARLY and all(_lung_above(lung_like, contours[0, n], contours[1, n]) for n in (0, 1)):
        taken = 1
    pose = _left_base(search, image, lung_like, poses[taken])
    contour = _contours(pose[None])[0]
    steps, off = _steps(image, contour[None], reach)[0], _off_film(image, contour)
    parts = [_N, _N + _N // 2]
    right, left = (
        min(
            (step[~out].mean() for step, out in zip(np.split(line, parts), np.split(gone, parts), strict=True)
             if out.mean() < _CUT), default=-1.0,
        )
        for line, gone in zip(steps, off, strict=True)
    )  # fmt: skip
    return contour, (float(right), float(left)), _left_dome(pose)


def _left_dome(pose: Array) -> float:
    top, bottom, dome = _sides(pose[None])[0][:, [0, 1, 10]].T
    right, left = bottom - dome * (bottom - top)
    return float((left - right) / np.mean(bottom - top))


def _left_base(search: _Search, image: Array, lung_like: Array, pose: Array) -> Array:
    """The pose with its left base sought again below the right dome, where the heart's lower border was taken for it.

    The heart's lower left border is a border of lung as well: base and angle of the lung behind it are then cut off.
    """
    if _left_dome(pose) > -_HIGHER_LEFT:
        return pose
    other, reach = _below_the_right_dome(search, pose), _STAGES[-1][1]
    contours = _contours(np.stack([pose, other]))
    old, new = _steps(image, contours, reach)[:, 1, _N : _N + _N // 2].mean(axis=1)
    inside, before = (_inside(lung_like, contours[n, 1]) for n in (1, 0))
    gained = inside & ~before
    lung = bool(gained.any()) and lung_like[gained].mean() > _LUNG_ROW
    return other if lung and new > old - _AS_CLEAR else pose


def _below_the_right_dome(search: _Search, pose: Array) -> Array:
    """A pose fitted with the right lung as it is and the left dome where the right one lets it be expected."""
    from scipy import ndimage

    (right, left), mean = _sides(pose[None])[0], pose.copy()
    mean[14] = right[1] + _LEFT_DOME * np.mean([right[1] - right[0], left[1] - left[0]])
    mean[23] = right[10] * (right[1] - right[0]) / (mean[14] - left[0])
    sd = np.r_[np.full(13, 1e-6), 0.3 * search.sd[13:]]
    sd[14], sd[23] = 0.004 * search.unit[0], 0.02
    held, rng = replace(search, mean=mean, sd=sd), np.random.default_rng(2)
    for stage in (1, 2):
        mean, _ = _cross_entropy(held, ndimage.gaussian_filter(search.flat, _STAGES[stage][0]), stage, mean, sd, rng)
    return mean


def _inside(picture: Array, border: Array) -> BoolArray:
    from skimage.draw import polygon2mask

    return np.asarray(polygon2mask(picture.shape, border), bool)


def _lung_above(lung_like: Array, low: Array, high: Array) -> bool:
    """Whether every row between the apex of one border and a higher apex looks like lung."""
    rows = np.arange(max(0, int(high[:, 0].min()) + 3), int(low[:, 0].min()) + 1)
    cap = high[high[:, 0] < low[:, 0].min() + 1, 1]
    if len(rows) < 4 or not cap.size:
        return False
    first, last = max(0, int(cap.min())), int(cap.max()) + 1
    return bool(lung_like[rows, first:last].mean(axis=1).min() > _LUNG_ROW)


def likeness_inside(lung_like: Array, borders: list[Array]) -> tuple[float, float]:
    """Mean likeness to lung inside each border."""
    fields = [_inside(lung_like, border) for border in borders]
    right, left = (float(lung_like[field].mean()) if field.any() else -1.0 for field in fields)
    return right, left


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


def followed(flat: Array, lung_like: Array, contour: Array, outward: float) -> Array:
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
        step = sample(image, points + 2 * normals[:, None]) - sample(image, points - 2 * normals[:, None])
        cost = -np.clip(step, -_ENOUGH, _ENOUGH) / _ENOUGH - pull[:, None] * moves + 0.02 * (3 * moves / reach) ** 2
        crossed = np.cumsum(np.minimum(sample(lung_like, points), 0), axis=1)
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
