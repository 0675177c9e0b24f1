"""A chest built from distances: which share of every voxel is which tissue, on any grid.

Lengths are of an adult at full inspiration, in mm, and scale with body size; child sizes are chosen. World axes: x to
the patient's right, y anterior, z superior, origin in the middle of the chest. All shapes are chosen to look like a
chest; none is a measurement of anyone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.grid import BoolArray, FloatArray, Grid
from ipha_toolkit.phantom.film_pose import child_proportions
from ipha_toolkit.phantom.raster import paint, paint_coat, sample
from ipha_toolkit.phantom.trees import Capsules, draw_capsules, grow_tree

Array = npt.NDArray[np.floating]

TISSUES = ("air", "fat", "muscle", "cortical", "marrow", "blood", "soft", "liver", "spleen", "fluid", "lung")

_BASE_Z, _APEX_Z = -135.0, 130.0
_RASTER_MM = 3.5
_HEART = ((-20.0, 24.0, -46.0), (-0.75, 0.42, -0.51))  # its middle, and the way from its base to its apex


def grid_around(patient: Patient, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid that holds the patient's chest, from the neck to the upper poles of the kidneys."""
    extent = patient.scale * np.array([404.0, 296.0, 346.0])
    centre = patient.scale * np.array([0.0, -18.0, 9.0])
    shape = np.ceil(extent / spacing_mm).astype(int)
    origin = centre - (shape - 1) / 2 * np.array(spacing_mm)
    i, j, k = (int(size) for size in shape)
    return Grid.upright((i, j, k), spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])))


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
    age_years : float, optional
        1 or more: a chest of a child's proportions, beside whatever ``scale`` is; None has an adult's.
    wetness : float
        Water and blood of the healthy lung over the usual: people differ.
    """

    seed: int
    scale: float = 1.0
    volume_loss: float = 0.0
    age_years: float | None = None
    wetness: float = 1.0
    proportions: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 1])
        drawn = {
            "wide": rng.normal(1, 0.03), "deep": rng.normal(1, 0.04), "dome": rng.normal(0, 5.0),
            "fat": rng.uniform(0.7, 1.4) * (0.8 if self.scale < 0.85 else 1.0), "heart": rng.normal(1, 0.04),
            "density": rng.normal(1, 0.06), "gradient": rng.normal(1, 0.15),
        }  # fmt: skip
        aged = {} if self.age_years is None else child_proportions(self.age_years)
        found = {name: float(value) * aged.get(name, 1.0) for name, value in drawn.items()}
        object.__setattr__(self, "proportions", found)

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
        neck = _ramp(z, 138.0, 186.0)
        half_width = p["wide"] * (172 + 18 * shoulders - 8 * _ramp(-z, 90.0, 160.0)) * (1 - 0.66 * neck)
        half_depth = p["deep"] * np.where(y > -8, 108 - 26 * shoulders, 128 - 8 * shoulders) * (1 - 0.38 * neck)
        return np.asarray(s * _superellipse(x / half_width, (y + 8) / half_depth, x, y + 8, 2.6))

    @cached_property
    def hila(self) -> dict[str, Array]:
        """Where the vessels enter each lung, mm."""
        return {"right": self.scale * np.array([40.0, -6, 6]), "left": self.scale * np.array([-44.0, -12, 12])}

    @property
    def vessels(self) -> Capsules:
        """Pulmonary arteries and veins inside the lungs, down to a radius of half a mm."""
        return _vessels(self.seed, self.scale, self.volume_loss, self.age_years)

    @cached_property
    def airways(self) -> Capsules:
        """Lumen of trachea, main bronchi and the bronchi beside the larger arteries."""
        s = self.scale
        trunk = [
            [0, -16, 210, 1, -18, 60, 8.0], [1, -18, 60, 2, -20, 40, 8.0],
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
        return np.asarray(np.maximum(across, z - _APEX_Z))

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
        heart = _spheroid(x, y, z, *_HEART, 66 * size, 49 * size)
        atrium = _ellipsoid(x, y, z, (20, 10, -38), (36 * size, 38 * size, 52 * size))
        slab = np.abs(x + 3) - (16 - 11 * _ramp(y, 8, 60)) - 8 * _ramp(z, 10, 40) * (1 - _ramp(y, 20, 50))
        spine = np.hypot(x, (y + 74) / 1.1) - 27
        return np.asarray(_smooth_min(_smooth_min(heart, atrium, 8), _smooth_min(slab, spine, 10), 10))


@lru_cache(maxsize=32)
def _vessels(seed: int, scale: float, volume_loss: float, age_years: float | None) -> Capsules:
    """Those of a patient, grown once for all scans."""
    patient, rng = Patient(seed, scale, volume_loss, age_years), np.random.default_rng([seed, 2])
    grown = []
    for side, sign in (("right", 1), ("left", -1)):
        for drop in (0.0, -14.0):
            points = patient._supply_points(sign, 1300, rng)
            root = patient.hila[side] + scale * np.array([0, 4 * (drop < 0), drop])
            grown.append(grow_tree(root, points, 0.47 * scale**0.5, rng))
    vessels = np.concatenate(grown)
    vessels.flags.writeable = False
    return vessels


@dataclass(frozen=True)
class Body:
    """A patient on a grid: share of each voxel that is each tissue, and masks of what can be named.

    ``stack``: float32, shape (tissues, i, j, k) in the order of :data:`TISSUES`, together 1 in every voxel. ``masks``:
    lung, left, right, airway, vessel, muscle (paraspinal), body. ``depth_mm``: distance into the lung from its surface,
    0 outside.
    """

    patient: Patient
    grid: Grid
    stack: FloatArray
    masks: dict[str, BoolArray]
    depth_mm: FloatArray

    @property
    def shares(self) -> dict[str, FloatArray]:
        """Share of each voxel by tissue."""
        return dict(zip(TISSUES, self.stack, strict=True))


def build_body(patient: Patient, grid: Grid) -> Body:
    """Put the patient on a grid."""
    canvas = _Canvas(patient, grid)
    skin, lung = (shape(*canvas.world) for shape in (patient.body_distance, patient.lung_distance))
    canvas.fill("muscle", skin / patient.scale)
    _paint_wall(canvas, skin / patient.scale)
    paraspinal = _paint_spine(canvas)
    _paint_bones(canvas)
    _paint_mediastinum(canvas)
    _paint_abdomen(canvas)
    canvas.fill("lung", lung / patient.scale)
    _paint_fissures(canvas)
    canvas.draw("blood", patient.vessels, inside="lung")
    great = _paint_great_vessels(canvas)
    walls = patient.airways.copy()
    walls[:, 6] += np.minimum(1.3, 0.12 * walls[:, 6] + 0.3) * patient.scale
    canvas.draw("soft", walls)
    airway = canvas.draw("air", patient.airways)
    depth = np.maximum(-canvas.sample(lung), 0)
    lungs = (depth > 0) & ~((airway > 0.3) | (great > 0.5))
    right = grid.axes_mm()[0] > -3 * patient.scale
    masks = {
        "lung": lungs, "left": lungs & ~right, "right": lungs & right, "airway": airway > 0.5,
        "vessel": (depth > 0) & (canvas.share("blood") > 0.5),
        "muscle": (canvas.sample(paraspinal) < -1.0) & (canvas.share("muscle") > 0.95), "body": canvas.sample(skin) < 0,
    }  # fmt: skip
    return Body(patient, grid, canvas.stack, masks, depth)


class _Canvas:
    """Tissues painted one over the other; each coat takes its share from all below.

    Smooth shapes are signed distances in adult mm on a coarse raster fixed in the patient; ``at`` is its x, y, z.
    """

    def __init__(self, patient: Patient, grid: Grid) -> None:
        self.patient, self.grid = patient, grid
        self.raster = grid_around(patient, (_RASTER_MM * patient.scale,) * 3)
        self.world = self.raster.axes_mm()
        x, y, z = (axis / np.float32(patient.scale) for axis in self.world)
        self.at = (x, y, z)
        self.stack = np.zeros((len(TISSUES), *grid.shape), np.float32)
        self.stack[0] = 1

    def share(self, tissue: str) -> FloatArray:
        share: FloatArray = self.stack[TISSUES.index(tissue)]
        return share

    def fill(self, tissue: str, distance: Array) -> None:
        """Paint where a signed distance in adult mm is negative; soft at the border by the voxel size."""
        paint(self.stack, TISSUES.index(tissue), self.grid, distance * np.float32(self.patient.scale), self.raster)

    def draw(self, tissue: str, capsules: Capsules, *, inside: str = "") -> FloatArray:
        """Paint capsules, everywhere or only inside another tissue."""
        coat = draw_capsules(self.grid.shape, self.grid.origin_mm, self.grid.spacing_mm, capsules)
        if inside:
            coat *= self.share(inside) > 0.02
        paint_coat(self.stack, TISSUES.index(tissue), coat)
        return coat

    def blob(
        self, tissue: str, centre: tuple[float, ...], radii: tuple[float, ...], limit: Array | None = None
    ) -> None:
        """Paint an ellipsoid in adult mm, cut off where ``limit`` is positive."""
        distance = _ellipsoid(*self.at, centre, radii)
        self.fill(tissue, distance if limit is None else np.maximum(distance, limit))

    def sample(self, field: Array) -> FloatArray:
        """A field on the raster at every voxel."""
        return sample(self.grid, field, self.raster)

    def noise(self, size_mm: float | tuple[float, ...], key: int) -> FloatArray:
        """Unit noise of a correlation length on the raster, the patient's own."""
        rng = np.random.default_rng([self.patient.seed, 20, key])
        field = rng.standard_normal(self.raster.shape, np.float32)
        field = ndimage.gaussian_filter(field, np.divide(size_mm, 2 * _RASTER_MM))
        return np.asarray(field / field.std())


def _paint_wall(canvas: _Canvas, skin: Array) -> None:
    """Fat under 2 mm of skin, uneven; fat between and within the muscles; the lining of the cavity."""
    x, y, z = canvas.at
    uneven = 1 + 0.16 * canvas.noise(45, 0)
    thick = canvas.patient.proportions["fat"] * (8 + 6 * _ramp(y, 0, 90) + 6 * _ramp(-z, 40, 150)) * uneven
    canvas.fill("fat", np.maximum(skin + 2, -(skin + 2 + thick)))
    inner = canvas.patient._cavity(x, y, z)
    deep = skin + 4 + thick
    plane = np.abs(inner - 13 - 2 * canvas.noise(20, 1)) - (0.9 + 0.9 * canvas.noise(25, 2))
    canvas.fill("fat", np.maximum(plane, deep))
    strands = np.clip(0.3 * canvas.noise((5, 5, 22), 7) - 0.12, 0, 0.6) * (deep < 0)
    paint_coat(canvas.stack, TISSUES.index("fat"), canvas.sample(strands) * canvas.share("muscle"))
    canvas.fill("soft", inner)


def _paint_fissures(canvas: _Canvas) -> None:
    """Oblique fissures, and the horizontal one on the right: sheets half a mm thick, slightly wavy."""
    s, (x, y, z) = canvas.patient.scale, canvas.at
    wave = 3.0 * canvas.noise(60, 3)
    oblique = (z - 38 + 0.95 * (y + 80) + wave) / 1.38
    level = np.where((x > 0) & (oblique > 0), np.abs(z - 4 - 0.04 * x + wave), 99.0)
    sheet = canvas.sample(s * np.minimum(np.abs(oblique), level))
    step = canvas.grid.step_mm
    share = np.clip(0.5 + 0.25 / step - sheet / step, 0, 1) * np.float32(min(1, 0.5 / step))
    paint_coat(canvas.stack, TISSUES.index("soft"), share * canvas.share("lung"))


def _paint_spine(canvas: _Canvas) -> Array:
    """Vertebrae, canal, posterior elements, and the paraspinal muscles beside them, whose distance is returned."""
    s, (x, y, z) = canvas.patient.scale, canvas.at
    curve = -6 * np.cos(z / 150)
    muscle = np.minimum(_ellipse(x - 31, y + 114 - curve, 25, 14), _ellipse(x + 31, y + 114 - curve, 25, 14))
    canvas.fill("fat", muscle - 2.0)
    canvas.fill("muscle", muscle)
    body = _ellipse(x, y + 72 - curve, 19, 16)
    middle = np.abs(np.mod(z, 23.0) - 11.5)
    canvas.fill("cortical", body)
    canvas.fill("marrow", np.maximum(body + 1.6, 4.2 - middle))
    canvas.fill("soft", np.maximum(body, middle - 3.0))
    arch = _ellipse(x, y + 98 - curve, 15, 11)
    canvas.fill("cortical", np.maximum(arch, np.abs(middle - 6) - 6.5))
    canvas.fill("fluid", _ellipse(x, y + 96 - curve, 9, 8))
    heights = np.arange(-173, 210, 23.0)
    spinous = [[0, -106, h, 0, -124, h - 14, 3.2] for h in heights]
    across = [[side * 8, -98, h, side * 32, -103, h + 2, 3.2] for h in heights for side in (-1, 1)]
    canvas.draw("cortical", s * np.array(spinous + across, float))
    return np.asarray(s * muscle)


def _paint_bones(canvas: _Canvas) -> None:
    """Ribs and their cartilage, sternum, clavicles, scapulae."""
    ribs, cartilage, flat = _bones(canvas.patient)
    for bones, marrow in ((ribs, ribs[:, 6] - 1.7 * canvas.patient.scale), (flat, 0.5 * flat[:, 6])):
        canvas.draw("cortical", bones)
        core = bones.copy()
        core[:, 6] = marrow
        canvas.draw("marrow", core)
    canvas.draw("soft", cartilage)


def _paint_mediastinum(canvas: _Canvas) -> None:
    """Fat in lobules around heart and vessels, the heart's walls and chambers, the oesophagus."""
    x, y, z = canvas.at
    size = canvas.patient.proportions["heart"]
    lobules = canvas.noise(8, 4)
    canvas.fill("fat", np.maximum(canvas.patient._cavity(x, y, z) + 4, 3.0 * (0.5 - lobules)))
    centre, apex = _HEART
    wavy = 1.5 * canvas.noise(20, 5)
    canvas.fill("fat", _spheroid(x, y, z, centre, apex, 65 * size, 48 * size) + 0.5 * wavy)
    canvas.fill("soft", _spheroid(x, y, z, centre, apex, 62 * size, 44 * size) + wavy)
    canvas.blob("soft", (20, 10, -36), (33, 33, 46))
    canvas.fill("blood", _spheroid(x, y, z, (-38, 22, -54), apex, 36, 22) + wavy)
    canvas.fill("blood", np.maximum(_ellipsoid(x, y, z, (-8, 47, -54), (34, 17, 32)) + wavy, y - 62))
    canvas.blob("blood", (25, 10, -34), (24, 24, 34))
    canvas.blob("blood", (-6, -14, -26), (32, 17, 24))
    canvas.draw(
        "soft", canvas.patient.scale * np.array([[-6.0, -40, 210, -6, -42, 20, 6], [-6, -42, 20, -12, -38, -130, 6]])
    )


def _paint_abdomen(canvas: _Canvas) -> None:
    """Diaphragm and what lies under it: liver with its vessels, stomach with gas, spleen, kidneys, fat."""
    (x, y, z), patient = canvas.at, canvas.patient
    abdomen = np.maximum(patient._cavity(x, y, z), (z - patient._diaphragm(x, y) + 1.0) * 0.8)
    bumps = 2.0 * canvas.noise(30, 6)
    canvas.fill("muscle", abdomen)
    canvas.fill("fat", abdomen + 3.0)
    for side in (-1, 1):
        canvas.blob("spleen", (58 * side, -48, -178), (25, 21, 50), abdomen + 8)
    canvas.blob("spleen", (-98, -48, -118), (26, 38, 42), abdomen + 4)
    canvas.blob("soft", (-66, 26, -122), (46, 38, 46), abdomen + 4 + bumps)
    canvas.blob("air", (-66, 40, -98), (24, 20, 13), abdomen + 8)
    liver = np.maximum(_ellipsoid(x, y, z, (52, 4, -128), (98, 88, 76)) + bumps, abdomen + 3)
    canvas.fill("liver", liver)
    canvas.draw("blood", _liver_vessels(patient), inside="liver")


def _liver_vessels(patient: Patient) -> Capsules:
    """Portal and hepatic veins as two trees."""
    rng = np.random.default_rng([patient.seed, 4])
    grown = []
    for root in ((26.0, 0, -150), (16, -20, -92)):
        points = rng.normal([58, 0, -118], [38, 34, 24], (70, 3))
        grown.append(grow_tree(patient.scale * np.array(root), patient.scale * points, 1.1 * patient.scale, rng))
    return np.concatenate(grown)


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


def _paint_great_vessels(canvas: _Canvas) -> FloatArray:
    """Aorta, vena cava, pulmonary trunk, arteries and veins to the hila; their share of each voxel is returned."""
    s = canvas.patient.scale
    right, left = (canvas.patient.hila[side] / s for side in ("right", "left"))
    paths = [
        [4, 20, -20, 8, 20, 28, 14], [8, 20, 28, -2, 4, 46, 13], [-2, 4, 46, -18, -30, 42, 12],
        [-18, -30, 42, -22, -48, 20, 12], [-22, -48, 20, -20, -50, -160, 11.5],
        [27, 8, -20, 25, 6, 80, 9], [25, 6, 80, 38, 6, 150, 7], [38, 6, 150, 34, -6, 210, 6],
        [-30, 2, 150, -6, 8, 60, 6], [-30, 2, 150, -30, -6, 210, 4.5],
        [14, 10, -60, 16, 0, -160, 11], [-14, 34, -16, -16, 14, 20, 13], [-14, 10, 18, *right, 9.5],
        [-16, 12, 20, *left, 9.5], [-6, -16, -18, right[0], right[1] + 4, right[2] - 14, 7],
        [-10, -16, -18, left[0], left[1] + 4, left[2] - 14, 7],
    ]  # fmt: skip
    capsules = s * np.array(paths, float)
    wall = capsules.copy()
    wall[:, 6] += 1.2 * s
    canvas.draw("soft", wall)
    return canvas.draw("blood", capsules)


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


def _spheroid(
    x: Array, y: Array, z: Array, centre: tuple[float, ...], axis: tuple[float, ...], long: float, short: float
) -> Array:
    """Signed distance in mm to a body of revolution about an axis, close to exact near its surface."""
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    along = dx * axis[0] + dy * axis[1] + dz * axis[2]
    across = np.sqrt(np.maximum(dx * dx + dy * dy + dz * dz - along * along, 0))
    reach = np.hypot(along / long, across / short)
    slope = np.hypot(along / long**2, across / short**2)
    return np.asarray(reach * (reach - 1) / np.maximum(slope, 1e-6))


def _smooth_min(a: Array, b: Array, k: float) -> Array:
    h = np.clip(0.5 + 0.5 * (b - a) / k, 0, 1)
    return np.asarray(b + (a - b) * h - k * h * (1 - h))


def _smooth_max(a: Array, b: Array, k: float) -> Array:
    return -_smooth_min(-a, -b, k)
