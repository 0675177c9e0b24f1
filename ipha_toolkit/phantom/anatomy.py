"""A chest built from distances: which share of every voxel is which tissue, on any grid.

Lengths are of an adult at full inspiration, in mm, and scale with body size; child sizes are chosen. World axes: x to
the patient's right, y anterior, z superior, origin in the middle of the chest. All shapes are chosen to look like a
chest; none is a measurement of anyone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ipha_toolkit.phantom.trees import Capsules, draw_capsules, grow_tree
from ipha_toolkit.volume import Affine, BoolArray, FloatArray

Array = npt.NDArray[np.float64]

TISSUES = (
    "air", "fat", "muscle", "cortical", "marrow", "blood", "soft", "liver", "spleen", "fluid", "gas", "lung",
)  # fmt: skip

_BASE_Z, _APEX_Z = -135.0, 130.0


@dataclass(frozen=True)
class Grid:
    """An axis-aligned image grid in patient space: voxel counts, voxel size and place of the first voxel, mm."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    @classmethod
    def around(cls, patient: Patient, spacing_mm: tuple[float, float, float]) -> Grid:
        """The grid that holds the patient's chest."""
        extent = patient.scale * np.array([404.0, 296.0, 316.0])
        centre = patient.scale * np.array([0.0, -18.0, -6.0])
        shape = np.ceil(extent / spacing_mm).astype(int)
        origin = centre - (shape - 1) / 2 * np.array(spacing_mm)
        i, j, k = (int(size) for size in shape)
        return cls((i, j, k), spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])))

    @property
    def affine(self) -> Affine:
        """Voxel indices to mm, RAS+."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = self.origin
        return affine

    @property
    def axes(self) -> tuple[Array, Array, Array]:
        """World x, y, z of the voxels, shaped to broadcast."""
        x, y, z = (o + s * np.arange(n) for o, s, n in zip(self.origin, self.spacing, self.shape, strict=True))
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @property
    def step_mm(self) -> float:
        """Edge of a cube of one voxel's volume, mm."""
        return float(np.prod(self.spacing) ** (1 / 3))


@dataclass(frozen=True)
class Patient:
    """One body: everything about the anatomy that does not depend on the image.

    Parameters
    ----------
    seed : int
        Proportions and vessel trees.
    scale : float
        1 is an adult; 0.55 to 0.8 stands for children (chosen).
    volume_loss : float
        0 to 1: how far fibrosis has drawn the lungs together.
    """

    seed: int
    scale: float = 1.0
    volume_loss: float = 0.0
    proportions: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 1])
        drawn = {
            "wide": rng.normal(1, 0.03), "deep": rng.normal(1, 0.04), "dome": rng.normal(0, 5.0),
            "fat": rng.uniform(0.7, 1.4) * (0.8 if self.scale < 0.85 else 1.0), "heart": rng.normal(1, 0.04),
            "density": rng.normal(1, 0.06), "gradient": rng.normal(1, 0.15),
        }  # fmt: skip
        object.__setattr__(self, "proportions", {name: float(value) for name, value in drawn.items()})

    def lung_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the surface of the lungs at world points, mm; negative inside. Approximate."""
        s = self.scale
        x, y, z = x / s, y / s, z / s
        cavity = self._cavity(x, y, z) + 2.5
        below = (self._diaphragm(x, y) - z) * 0.8
        away = -self._mediastinum(x, y, z)
        return np.asarray(s * _smooth_max(_smooth_max(cavity, below, 8.0), away, 6.0))

    def body_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the skin, mm; negative inside."""
        s, p = self.scale, self.proportions
        x, y, z = x / s, y / s, z / s
        shoulders = _ramp(z, 60.0, 150.0)
        half_width = p["wide"] * (172 + 18 * shoulders - 8 * _ramp(-z, 90.0, 160.0))
        half_depth = p["deep"] * np.where(y > -8, 108 - 26 * shoulders, 128 - 8 * shoulders)
        return np.asarray(s * _superellipse(x / half_width, (y + 8) / half_depth, x, y + 8, 2.6))

    @cached_property
    def hila(self) -> dict[str, Array]:
        """Where the vessels enter each lung, mm."""
        return {"right": self.scale * np.array([40.0, -6, 6]), "left": self.scale * np.array([-44.0, -12, 12])}

    @cached_property
    def vessels(self) -> Capsules:
        """Pulmonary arteries and veins inside the lungs, to a radius of about half a mm."""
        rng = np.random.default_rng([self.seed, 2])
        grown = []
        for side, sign in (("right", 1), ("left", -1)):
            for drop in (0.0, -14.0):
                points = self._supply_points(sign, 700, rng)
                root = self.hila[side] + self.scale * np.array([0, 4 * (drop < 0), drop])
                grown.append(grow_tree(root, points, 0.6 * self.scale**0.5, rng))
        return np.concatenate(grown)

    @cached_property
    def airways(self) -> Capsules:
        """Lumen of trachea, main bronchi and the bronchi beside the larger arteries."""
        s = self.scale
        trunk = [
            [0, -16, 170, 1, -18, 60, 8.5], [1, -18, 60, 2, -20, 40, 8.5],
            [2, -20, 40, 24, -18, 22, 6.8], [24, -18, 22, 42, -14, 8, 5.6],
            [2, -20, 40, -26, -22, 22, 6.2], [-26, -22, 22, -47, -20, 8, 5.2],
        ]  # fmt: skip
        beside = self.vessels[(self.vessels[:, 6] > 1.9 * s) & (self.vessels[:, 6] < 4.5 * s)].copy()
        offset = np.cross(beside[:, 3:6] - beside[:, :3], [0.0, 1.0, 0.2])
        offset /= np.maximum(np.linalg.norm(offset, axis=1, keepdims=True), 1e-9)
        shift = offset * (1.9 * beside[:, 6:7])
        beside[:, :3] += shift
        beside[:, 3:6] += shift
        beside[:, 6] *= 0.75
        return np.concatenate([s * np.array(trunk, float), beside])

    def _supply_points(self, sign: int, n: int, rng: np.random.Generator) -> Array:
        s = self.scale
        found: list[Array] = []
        while sum(map(len, found)) < n:
            points = rng.uniform([0, -110, -140], [145, 90, 130], (4 * n, 3)) * s
            points[:, 0] *= sign
            inside = self.lung_distance(points[:, 0], points[:, 1], points[:, 2]) < -4.0 * s
            found.append(points[inside])
        return np.concatenate(found)[:n]

    def _half_widths(self, z: Array) -> tuple[Array, Array, Array]:
        """Half width, half depth and centre of the thoracic cavity at height z."""
        p, loss = self.proportions, self.volume_loss
        t = np.clip((z - _BASE_Z) / (_APEX_Z - _BASE_Z), 0, 1.02)
        narrow = np.sqrt(np.maximum(1 - (np.maximum(t - 0.28, 0) / 0.75) ** 3, 0.01))
        shallow = np.sqrt(np.maximum(1 - (np.maximum(t - 0.30, 0) / 0.76) ** 2.4, 0.01))
        a = p["wide"] * (138 - 8 * loss) * narrow
        b = p["deep"] * (88 - 5 * loss) * shallow
        return a, b, -8 - 14 * t

    def _cavity(self, x: Array, y: Array, z: Array) -> Array:
        a, b, middle = self._half_widths(z)
        across = _superellipse(x / a, (y - middle) / b, x, y - middle, 2.25)
        return np.maximum(across, z - _APEX_Z)

    def _diaphragm(self, x: Array, y: Array) -> Array:
        """Height of the diaphragm under each point."""
        p = self.proportions
        lift = p["dome"] + 26 * self.volume_loss
        right = -58 + lift - 78 * (((x - 66) / 82) ** 2 + ((y - 14) / 92) ** 2) ** 1.25
        left = -70 + lift - 72 * (((x + 70) / 80) ** 2 + ((y - 12) / 92) ** 2) ** 1.25
        return np.maximum(np.maximum(right, left), -150.0)

    def _mediastinum(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the mediastinum: heart, a slab between the lungs, spine; negative inside."""
        size = self.proportions["heart"]
        heart = _ellipsoid(x, y, z, (-24, 22, -46), (58 * size, 47 * size, 56 * size))
        atrium = _ellipsoid(x, y, z, (20, 10, -38), (36 * size, 38 * size, 52 * size))
        slab = np.abs(x + 3) - (16 - 11 * _ramp(y, 8, 60)) - 8 * _ramp(z, 10, 40) * (1 - _ramp(y, 20, 50))
        spine = np.hypot(x, (y + 74) / 1.1) - 27
        return np.asarray(_smooth_min(_smooth_min(heart, atrium, 8), _smooth_min(slab, spine, 10), 10))


@dataclass(frozen=True)
class Body:
    """A patient on a grid: share of each voxel that is each tissue, and masks of what can be named.

    ``shares``: tissue -> float32 of the grid's shape, together 1 in every voxel. ``masks``: lung, left, right, airway,
    vessel, muscle (paraspinal), body. ``depth_mm``: distance into the lung from its surface, 0 outside.
    """

    patient: Patient
    grid: Grid
    shares: dict[str, FloatArray]
    masks: dict[str, BoolArray]
    depth_mm: FloatArray


def build_body(patient: Patient, grid: Grid) -> Body:
    """Put the patient on a grid."""
    canvas = _Canvas(patient, grid)
    x, y, z = grid.axes
    skin = patient.body_distance(x, y, z)
    lung = patient.lung_distance(x, y, z)
    canvas.fill("muscle", skin)
    inner = _paint_wall(canvas, skin)
    paraspinal = _paint_spine(canvas)
    _paint_chest(canvas, inner)
    canvas.fill("lung", lung)
    _paint_fissures(canvas)
    canvas.draw("blood", patient.vessels, inside=True)
    _paint_great_vessels(canvas)
    walls = patient.airways.copy()
    walls[:, 6] += np.minimum(1.3, 0.12 * walls[:, 6] + 0.3) * patient.scale
    canvas.draw("soft", walls)
    airway = canvas.draw("gas", patient.airways)
    shares = canvas.shares
    within = lung < 0
    central = (airway > 0.3) | (canvas.great > 0.5)
    lungs = within & ~central
    right = np.broadcast_to(x > -3 * patient.scale, grid.shape)
    masks = {
        "lung": lungs, "left": lungs & ~right, "right": lungs & right, "airway": airway > 0.5,
        "vessel": within & (shares["blood"] > 0.5), "muscle": paraspinal & (shares["muscle"] > 0.95), "body": skin < 0,
    }  # fmt: skip
    return Body(patient, grid, shares, masks, np.maximum(-lung, 0).astype(np.float32))


class _Canvas:
    """Tissues painted one over the other; each coat takes its share from all below."""

    def __init__(self, patient: Patient, grid: Grid) -> None:
        self.patient, self.grid = patient, grid
        self.shares = {name: np.zeros(grid.shape, np.float32) for name in TISSUES}
        self.shares["air"][:] = 1
        self.great = np.zeros(grid.shape, np.float32)

    def fill(self, tissue: str, distance: Array, at: tuple[slice, ...] = (slice(None),) * 3) -> FloatArray:
        """Paint where a signed distance in mm is negative; soft at the border by the voxel size."""
        coat = np.clip(0.5 - distance / self.grid.step_mm, 0, 1).astype(np.float32)
        return self._paint(tissue, coat, at)

    def draw(self, tissue: str, capsules: Capsules, *, inside: bool = False) -> FloatArray:
        """Paint capsules, everywhere or only inside the lung."""
        coat = draw_capsules(self.grid.shape, self.grid.origin, self.grid.spacing, capsules)
        return self._paint(tissue, coat * (self.shares["lung"] > 0.02) if inside else coat, (slice(None),) * 3)

    def blob(
        self, tissue: str, centre: tuple[float, ...], radii: tuple[float, ...], limit: Array | None = None
    ) -> None:
        """Paint an ellipsoid given in adult mm, cut off where ``limit`` (mm, on the grid) is positive."""
        s = self.patient.scale
        box = self._box(s * (np.array(centre) - radii) - 4, s * (np.array(centre) + radii) + 4)
        x, y, z = (axis[tuple(part if axis.shape[n] > 1 else slice(None) for n, part in enumerate(box))] / s
                   for axis in self.grid.axes)  # fmt: skip
        distance = s * _ellipsoid(x, y, z, centre, radii)
        if distance.size:
            self.fill(tissue, distance if limit is None else np.maximum(distance, limit[box]), box)

    def _box(self, low: Array, high: Array) -> tuple[slice, ...]:
        first = np.floor((low - self.grid.origin) / self.grid.spacing).astype(int)
        last = np.ceil((high - self.grid.origin) / self.grid.spacing).astype(int) + 1
        return tuple(slice(max(a, 0), max(min(b, n), 0)) for a, b, n in zip(first, last, self.grid.shape, strict=True))

    def _paint(self, tissue: str, coat: FloatArray, at: tuple[slice, ...]) -> FloatArray:
        for share in self.shares.values():
            part = share[at]
            if part.any():
                part *= 1 - coat
        self.shares[tissue][at] += coat
        return coat


def _paint_wall(canvas: _Canvas, skin: Array) -> Array:
    """Fat under 2 mm of skin, a fat plane between the muscles, and the cavity, whose distance is returned."""
    s, (x, y, z) = canvas.patient.scale, canvas.grid.axes
    thick = s * canvas.patient.proportions["fat"] * (9 + 5 * _ramp(y, 0, 90) + 5 * _ramp(-z, 40, 150))
    canvas.fill("fat", np.maximum(skin + 2, -(skin + 2 + thick)))
    inner = s * canvas.patient._cavity(x / s, y / s, z / s)
    plane = np.abs(inner - s * 15) - s * 2.2 * _ramp(np.abs(x / s), 60, 120) * _ramp(z / s, -90, -20)
    canvas.fill("fat", plane)
    canvas.fill("fat", inner)
    return inner


def _paint_fissures(canvas: _Canvas) -> None:
    """Oblique fissures, and the horizontal one on the right: sheets half a mm thick."""
    s, (x, y, z) = canvas.patient.scale, canvas.grid.axes
    oblique = (z / s - 38 + 0.95 * (y / s + 80)) / 1.38
    level = np.where((x > 0) & (oblique > 0), z / s - 4 - 0.04 * x / s, np.inf)
    sheet = np.minimum(np.abs(oblique), np.abs(level)) * s
    share = np.clip(0.5 + 0.25 / canvas.grid.step_mm - sheet / canvas.grid.step_mm, 0, 1) * min(
        1, 0.5 / canvas.grid.step_mm
    )
    canvas._paint("soft", (share * canvas.shares["lung"]).astype(np.float32), (slice(None),) * 3)


def _paint_spine(canvas: _Canvas) -> BoolArray:
    """Vertebrae, canal, posterior elements, and the paraspinal muscles beside them, whose place is returned."""
    s, (x, y, z) = canvas.patient.scale, canvas.grid.axes
    x, y, z = x / s, y / s, z / s
    curve = -6 * np.cos(z / 150)
    muscle = np.minimum(_ellipse(x - 31, y + 114 - curve, 25, 14), _ellipse(x + 31, y + 114 - curve, 25, 14)) + 0 * z
    canvas.fill("fat", s * (muscle - 2.0))
    canvas.fill("muscle", s * muscle)
    body = _ellipse(x, y + 72 - curve, 19, 16)
    level = np.mod(z, 23.0)
    disc = np.maximum(body, np.abs(level - 11.5) - 3.0)
    canvas.fill("cortical", s * (body + 0 * z))
    canvas.fill("marrow", s * np.maximum(body + 1.6, -(np.abs(level - 11.5) - 4.2)))
    canvas.fill("soft", s * disc)
    arch = _ellipse(x, y + 98 - curve, 15, 11)
    canvas.fill("cortical", s * np.maximum(arch, np.abs(np.abs(level - 11.5) - 6) - 6.5))
    canvas.fill("fluid", s * (_ellipse(x, y + 96 - curve, 9, 8) + 0 * z))
    spinous = [[0, -106, h, 0, -124, h - 14, 3.2] for h in np.arange(-150, 160, 23.0)]
    across = [[side * 8, -98, h, side * 32, -103, h + 2, 3.2] for h in np.arange(-150, 160, 23.0) for side in (-1, 1)]
    canvas.draw("cortical", s * np.array(spinous + across, float))
    return np.asarray(np.broadcast_to(muscle < -1.0, canvas.grid.shape))


def _paint_chest(canvas: _Canvas, inner: Array) -> None:
    """Ribs, sternum, clavicles, scapulae; mediastinum and heart; the organs under the diaphragm."""
    s, patient = canvas.patient.scale, canvas.patient
    x, y, z = canvas.grid.axes
    ribs, cartilage, flat = _bones(patient)
    canvas.draw("cortical", ribs)
    core = ribs.copy()
    core[:, 6] -= 1.7 * s
    canvas.draw("marrow", core)
    canvas.draw("soft", cartilage)
    canvas.draw("cortical", flat)
    flat = flat.copy()
    flat[:, 6] *= 0.5
    canvas.draw("marrow", flat)
    abdomen = np.maximum(inner, (z - s * (patient._diaphragm(x / s, y / s) - 1.0)) * 0.8)
    canvas.fill("muscle", abdomen)
    canvas.fill("fat", abdomen + 3.0 * s)
    canvas.blob("spleen", (-98, -48, -118), (26, 38, 42), abdomen + 4 * s)
    canvas.blob("soft", (-72, 26, -118), (44, 38, 44), abdomen + 4 * s)
    canvas.blob("gas", (-72, 38, -96), (22, 20, 13), abdomen + 8 * s)
    canvas.blob("liver", (52, 4, -128), (98, 88, 76), abdomen + 3 * s)
    canvas.blob("soft", (-24, 22, -46), (54, 43, 52))
    canvas.blob("soft", (20, 10, -38), (32, 34, 48))
    canvas.blob("blood", (-34, 16, -50), (30, 26, 36))
    canvas.blob("blood", (4, 34, -44), (26, 20, 34))
    canvas.blob("blood", (22, 10, -34), (26, 26, 36))
    canvas.blob("blood", (-8, -14, -30), (28, 16, 26))


def _bones(patient: Patient) -> tuple[Capsules, Capsules, Capsules]:
    """Ribs, their cartilage, and the flat bones, in mm."""
    ribs, cartilage = [], []
    for n in range(1, 12):
        top, drop = 122 - 21.5 * n, 26 + 4.5 * n
        angle = np.linspace(0.16, 2.75 if n < 9 else 2.1, 26)
        height = top - drop * (1 - np.cos(angle)) / 2
        a, b, middle = patient._half_widths(height)
        power = 2 / 2.25
        across = (a + 6) * np.sin(angle) ** power
        forward = middle - (b + 6) * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        bony = int(0.78 * angle.size)
        for side in (-1, 1):
            points = np.stack([side * across, forward, height], axis=1)
            pairs = np.concatenate([points[:-1], points[1:], np.full((len(points) - 1, 1), 4.6)], axis=1)
            ribs.append(pairs[:bony])
            cartilage.append(pairs[bony:])
    flat = [[dx, 88 - 0.0012 * h * h, h, dx, 88 - 0.0012 * h * h, h - 12, 5.5]
            for h in np.arange(84, -50, -12.0) for dx in (-11.0, -4, 4, 11)]  # fmt: skip
    for side in (-1, 1):
        flat += [[side * 20, 72, 108, side * 88, 52, 128, 6.0], [side * 88, 52, 128, side * 152, 0, 132, 6.0]]
        corners = np.array([[72.0, -104, 92], [78, -106, -22], [138, -66, 84]])
        edge = np.linspace(0, 1, 14)
        for u in edge:
            inner = corners[0] + u * (corners[1] - corners[0])
            outer = corners[2] + u * (corners[1] - corners[2])
            bow = np.array([0.0, -7.0, 0.0])
            middle = (inner + outer) / 2 + bow
            for start, end in ((inner, middle), (middle, outer)):
                flat.append([side * start[0], *start[1:], side * end[0], *end[1:], 3.0])
    s = patient.scale
    return s * np.concatenate(ribs), s * np.concatenate(cartilage), s * np.array(flat, float)


def _paint_great_vessels(canvas: _Canvas) -> None:
    """Aorta, vena cava, pulmonary trunk and main arteries and veins up to the hila."""
    s = canvas.patient.scale
    right, left = (canvas.patient.hila[side] / s for side in ("right", "left"))
    paths = [
        [4, 20, -20, 8, 20, 28, 14], [8, 20, 28, -2, 4, 46, 13], [-2, 4, 46, -18, -30, 42, 12],
        [-18, -30, 42, -22, -48, 20, 12], [-22, -48, 20, -20, -50, -160, 11.5],
        [27, 8, -20, 25, 6, 80, 9], [25, 6, 80, 40, 10, 150, 7], [-30, 6, 150, -6, 8, 60, 6],
        [14, 10, -60, 16, 0, -160, 11], [-14, 34, -16, -16, 14, 20, 13], [-14, 10, 18, *right, 9.5],
        [-16, 12, 20, *left, 9.5], [-6, -16, -18, right[0], right[1] + 4, right[2] - 14, 7],
        [-10, -16, -18, left[0], left[1] + 4, left[2] - 14, 7],
    ]  # fmt: skip
    capsules = s * np.array(paths, float)
    wall = capsules.copy()
    wall[:, 6] += 1.2 * s
    canvas.draw("soft", wall)
    canvas.great = canvas.draw("blood", capsules)


def _ramp(value: Array, low: float, high: float) -> Array:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _superellipse(u: Array, v: Array, x: Array, y: Array, power: float) -> Array:
    """Radial distance in mm to the curve |u|^p + |v|^p = 1, where u and v are x and y over the half axes."""
    reach = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)
    return np.asarray((1 - 1 / np.maximum(reach, 1e-3)) * np.maximum(np.hypot(x, y), 1.0))


def _ellipse(x: Array, y: Array, a: float, b: float) -> Array:
    reach = np.hypot(x / a, y / b)
    return np.asarray((reach - 1) * min(a, b))


def _ellipsoid(x: Array, y: Array, z: Array, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Signed distance in mm to an ellipsoid, close to exact near its surface."""
    u, v, w = ((axis - c) / r for axis, c, r in zip((x, y, z), centre, radii, strict=True))
    reach = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
    return np.asarray(reach * (reach - 1) / np.maximum(slope, 1e-6))


def _smooth_min(a: Array, b: Array, k: float) -> Array:
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return np.asarray(b + (a - b) * h - k * h * (1 - h))


def _smooth_max(a: Array, b: Array, k: float) -> Array:
    return -_smooth_min(-a, -b, k)
