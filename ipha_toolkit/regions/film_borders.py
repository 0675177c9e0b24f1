"""Borders of two lungs on a radiograph: a shape drawn from anatomical lengths, fitted and then followed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

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
_PLACE, _PLACE_SD = np.array([0.12, 0.80, 0.40]), np.array([0.08, 0.13, 0.06])

_BETWEEN_SIDES_SD = np.array([0.03, 0.05, 0.04])

_TILT_SD, _MIDLINE_SD = 0.04, 0.05

_N = 24
"""Points along the rib cage, and along the medial border; half as many along the diaphragm."""

_APEX = np.r_[0:10, 2 * _N + _N // 2 - 8 : 2 * _N + _N // 2]

_WEIGHT = np.r_[np.full(_N, 1.0), np.full(_N // 2, 1.6), np.full(_N, 1.0)]

_WEIGHT = _WEIGHT / _WEIGHT.sum()

OUTWARD = np.array([1.0, -1.0])[:, None, None]

_STARTS, _SAMPLES, _ELITE = 2, 300, 36

_STAGES = ((5.0, 6.0, 25), (2.5, 3.5, 20), (2.5, 3.5, 20))
"""Blur and half distance across the border of each stage, in pixels, and its rounds."""

_ENOUGH = 0.5
"""Step across the border, in local standard deviations, beyond which more does not count."""

WIDE, _HIGH = (0.6, 0.2), 0.3
"""How much wide lungs are preferred (less where that finds little, as in lungs full of blood), and high ones."""

_CUT = 0.7
"""A part of a border with this share of its points or more off the film says nothing of the lung's contrast."""

_UNLIKELY, _UNLIKE_SIDES = 0.012, 0.04

_APEX_KEPT = 0.8

_PULL_OUT = (0.09, 0.0, 0.06)
"""Outward pull of the last step, a pixel, on rib cage, diaphragm and medial border: masks drawn by hand take in the
inner edge of the ribs and the hilar vessels."""


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
    wide: float

    def unlikely(self, poses: Array) -> Array:
        """Cost of lungs unlike a chest's, and unlike each other."""
        apart = (np.diff(_sides(poses)[:, :, :3], axis=1)[:, 0] / (_BETWEEN_SIDES_SD * self.unit)) ** 2
        far = (((poses - self.mean) / self.sd) ** 2).sum(axis=1)
        return np.asarray(_UNLIKELY * far + _UNLIKE_SIDES * apart.sum(axis=1))

    def worth(self, image: Array, poses: Array, reach: float) -> Array:
        """Contrast along the borders; wide and high lungs are preferred, as ribs and clavicles make false borders."""
        place = _sides(poses)[:, :, :3] / self.unit
        contrast = (_steps(image, _contours(poses), reach) * _WEIGHT).sum(axis=-1).mean(axis=-1)
        size = self.wide * np.log(place[..., 2] / _PLACE[2]) - _HIGH * place[..., 0]
        return np.asarray(contrast + size.mean(axis=-1) - self.unlikely(poses))


def _search(flat: Array, area: BoolArray, wide: float) -> _Search:
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    height, width = float(np.ptp(rows)), float(np.ptp(columns))
    unit = np.array([height, height, width])
    place = _PLACE * unit + [rows[0], rows[0], 0]
    mean = np.concatenate([[columns[0] + width / 2, 0.0], *(np.r_[place, shape] for shape in _SHAPE)])
    sd = np.concatenate([[_MIDLINE_SD * width, _TILT_SD], *2 * [np.r_[_PLACE_SD * unit, _SHAPE_SD]]])
    return _Search(flat, mean, sd, unit, wide)


def fit(flat: Array, area: BoolArray, wide: float) -> tuple[Array, tuple[float, float]]:
    """Borders of right and left lung, shape (2, points, 2), and the contrast of each at its faintest part shown."""
    from scipy import ndimage

    search = _search(flat, area, wide)
    blur, reach, _ = _STAGES[-1]
    image = ndimage.gaussian_filter(flat, blur)
    poses = np.stack([_one_fit(search, seed) for seed in range(_STARTS)])
    contour = _contours(poses[[search.worth(image, poses, reach).argmax()]])
    steps, off = _steps(image, contour, reach)[0], _off_film(image, contour)[0]
    parts = [_N, _N + _N // 2]
    right, left = (
        min(
            (step[~out].mean() for step, out in zip(np.split(line, parts), np.split(gone, parts), strict=True)
             if out.mean() < _CUT), default=-1.0,
        )
        for line, gone in zip(steps, off, strict=True)
    )  # fmt: skip
    return contour[0], (float(right), float(left))


def _one_fit(search: _Search, seed: int) -> Array:
    """Coarse, fine, and once more below an apex found above the clavicle."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    mean, sd = search.mean, search.sd
    for stage, (blur, reach, rounds) in enumerate(_STAGES):
        image = ndimage.gaussian_filter(search.flat, blur)
        if stage > 0:
            sd = np.maximum(sd, (0.25 if stage == 1 else 0.5) * search.sd)
        if stage == 2:
            mean = _raised(image, mean, reach)
            sd[[2, 13]] = 0.012 * search.unit[0]
        mean, sd = _cross_entropy(search, image, reach, rounds, mean, sd, rng)
    return mean


def _cross_entropy(
    search: _Search, image: Array, reach: float, rounds: int, mean: Array, sd: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw poses, keep the best, draw around those."""
    for _ in range(rounds):
        poses = mean + sd * rng.standard_normal((_SAMPLES, len(mean)))
        poses[0] = mean
        elite = poses[np.argsort(-search.worth(image, poses, reach))[:_ELITE]]
        mean = 0.3 * mean + 0.7 * elite.mean(axis=0)
        sd = 0.3 * sd + 0.7 * elite.std(axis=0) + 1e-3 * search.sd
    return mean, sd


def _raised(image: Array, pose: Array, reach: float) -> Array:
    """The pose with each apex as high as a border still stands out: what lies below a clavicle is a false apex."""
    changes = np.array(list(product((-0.12, -0.06, 0, 0.06), (-0.2, -0.12, -0.05, 0.03), (-0.05, 0, 0.05, 0.1))))
    for side in (0, 1):
        at = 2 + 11 * side
        height = pose[at + 1] - pose[at]
        found = []
        for shift in np.arange(-0.3 * height, 0.06 * height, 2.0):
            poses = np.repeat(pose[None], len(changes), axis=0)
            poses[:, at] += shift
            poses[:, [at + 3, at + 4, at + 9]] += changes
            contrast = _steps(image, _contours(poses), reach)[:, side][:, _APEX].mean(axis=1)
            found.append((float(contrast.max()), poses[contrast.argmax()]))
        contrasts = np.array([contrast for contrast, _ in found])
        pose = found[int(np.argmax(contrasts >= _APEX_KEPT * contrasts.max()))][1]
    return pose


def followed(flat: Array, contour: Array, outward: float) -> Array:
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
