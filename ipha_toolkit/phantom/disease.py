"""What the disease puts into a lung, as shares of space and concentrations, never as gray values.

A bleed fills air space with blood, which clears within days; methemoglobin comes and goes after it, septa thicken and
thin again, and each bleed leaves hemosiderin behind for good. Times follow the case review of Ha & Palacio, SWJPCC 2020
(consolidation typically clears within 3 days, interstitial thickening resolves over about 12); amounts are chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from ipha_toolkit.compiled import compiled
from ipha_toolkit.grid import FloatArray, Grid
from ipha_toolkit.phantom.anatomy import Body, Patient
from ipha_toolkit.phantom.raster import sample
from ipha_toolkit.phantom.trees import draw_capsules

Array = npt.NDArray[np.floating]

PHASES = ("none", "acute", "subacute", "chronic", "edema")

CONSOLIDATED = 0.75
"""A voxel of lung whose air space is filled to this share or more counts as consolidation in the truth."""
GROUND_GLASS = 0.12
"""A voxel of lung whose air space is filled from this share on counts as ground glass in the truth."""

_LOBULE_MM = 14.0


@dataclass(frozen=True)
class Disease:
    """State of a lung on one day.

    Parameters
    ----------
    blood : float
        Share of the air space filled with blood where the bleed is densest, 0 to 1.
    water : float
        The same for edema.
    patchiness : float
        0 homogeneous, 1 in patches.
    methemoglobin : float
        Concentration, arbitrary unit; 1 shortens T1 as physics.py says.
    iron : float
        Hemosiderin in the interstitium of the whole lung, arbitrary unit; 1 is a heavy load.
    septal : float
        Thickening of interlobular septa, 0 to 1 (1 adds about 1 mm).
    fibrosis : float
        Share of parenchyma replaced, 0 to 1.
    nodules_per_litre : float
        Small nodules per litre of lung.
    nodule_mm : (float, float)
        Range of their diameters.
    nodule_place : str
        ``centrilobular``: at lobule centres, 5 mm or more off the pleura; ``random``: anywhere (miliary).
    t1w_gain : float
        Only for :func:`ipha_toolkit.implant` into T1w: lung signal is multiplied by 1 + this.

    Raises
    ------
    ValueError
        Where a share lies outside 0 to 1 or an amount is negative.
    """

    blood: float = 0.0
    water: float = 0.0
    patchiness: float = 0.0
    methemoglobin: float = 0.0
    iron: float = 0.0
    septal: float = 0.0
    fibrosis: float = 0.0
    nodules_per_litre: float = 0.0
    nodule_mm: tuple[float, float] = (2.0, 6.0)
    nodule_place: str = "centrilobular"
    t1w_gain: float = 0.0

    def __post_init__(self) -> None:
        for name in ("blood", "water", "patchiness", "septal", "fibrosis"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        for name in ("methemoglobin", "iron", "nodules_per_litre", "t1w_gain"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} needs to be 0 or more, got {getattr(self, name)}")
        if not 0 < self.nodule_mm[0] <= self.nodule_mm[1]:
            raise ValueError(f"nodule_mm needs two diameters, small and large, got {self.nodule_mm}")
        if self.nodule_place not in ("centrilobular", "random"):
            raise ValueError(f"nodule_place is centrilobular or random, got {self.nodule_place!r}")


@dataclass(frozen=True)
class Bleed:
    """One bleed: the day it began and its severity, 0 to 1."""

    day: float
    severity: float


def disease_of_phase(phase: str, severity: float, rng: np.random.Generator) -> Disease:
    """A typical state of each phase; severity 0 to 1, 0.5 a common case.

    Raises
    ------
    ValueError
        Where the phase is none of :data:`PHASES`, or severity lies outside 0 to 1.
    """
    if phase not in PHASES:
        raise ValueError(f"phase is one of {', '.join(PHASES)}, got {phase!r}")
    if not 0 <= severity <= 1:
        raise ValueError(f"severity runs from 0 to 1, got {severity}")
    vary = rng.uniform(0.85, 1.15, 8)
    if phase == "acute":
        return Disease(
            blood=min(1.0, (0.35 + 0.6 * severity) * vary[0]), patchiness=rng.uniform(0, 0.35),
            methemoglobin=0.15 * vary[1], iron=0.08 * vary[2] * severity,
        )  # fmt: skip
    if phase == "subacute":
        return Disease(
            blood=(0.22 + 0.22 * severity) * vary[0], patchiness=rng.uniform(0.7, 1.0),
            methemoglobin=(0.7 + 0.6 * severity) * vary[1], iron=(0.15 + 0.2 * severity) * vary[2],
            septal=(0.45 + 0.4 * severity) * vary[3], nodules_per_litre=(30 + 60 * severity) * vary[4],
            nodule_mm=(1.5, 3.2),
        )  # fmt: skip
    if phase == "chronic":
        return Disease(
            blood=0.05 * vary[0], patchiness=0.3, methemoglobin=(0.45 + 0.4 * severity) * vary[1],
            iron=(0.5 + 0.7 * severity) * vary[2], septal=(0.25 + 0.35 * severity) * vary[3],
            fibrosis=(0.25 + 0.5 * severity) * vary[5], nodules_per_litre=(50 + 110 * severity) * vary[4],
            nodule_mm=(2.0, 6.0),
        )  # fmt: skip
    if phase == "edema":
        return Disease(
            water=(0.2 + 0.45 * severity) * vary[0],
            patchiness=rng.uniform(0, 0.4),
            septal=(0.2 + 0.4 * severity) * vary[3],
        )
    return Disease()


def disease_on_day(bleeds: tuple[Bleed, ...] | list[Bleed], day: float) -> Disease:
    """State on a day after a series of bleeds.

    Blood falls to a third in 1.5 days, septal thickening peaks on day 3 and is gone after about 12, methemoglobin peaks
    on day 4, a tenth of each bleed's severity stays as iron from the second week on; nodules and fibrosis follow iron.
    """
    since = np.array([day - bleed.day for bleed in bleeds if bleed.day <= day])
    severity = np.array([bleed.severity for bleed in bleeds if bleed.day <= day])
    blood = float(np.clip(np.sum(severity * 0.9 * np.exp(-since / 1.5)), 0, 1))
    septal = float(np.clip(np.sum(severity * (since / 3) * np.exp(1 - since / 3)), 0, 1))
    met = float(np.sum(severity * (since / 4) * np.exp(1 - since / 4)))
    iron = float(np.sum(0.11 * severity * np.clip((since - 4) / 10, 0, 1)))
    lasting = float(np.clip(iron - 0.15, 0, 1))
    return Disease(
        blood=blood, patchiness=float(np.clip(np.max(since, initial=0) / 6, 0.1, 0.9)), methemoglobin=met, iron=iron,
        septal=float(np.clip(septal + 0.4 * lasting, 0, 1)), fibrosis=0.6 * lasting, nodules_per_litre=110 * lasting,
    )  # fmt: skip


def phase_on_day(bleeds: tuple[Bleed, ...] | list[Bleed], day: float) -> str:
    """Phase by time: acute to day 2 of a bleed, subacute to day 14, then chronic once iron stays, else none."""
    since = [day - bleed.day for bleed in bleeds if bleed.day <= day and bleed.severity >= 0.2]
    if since and min(since) <= 2:
        return "acute"
    if since and min(since) <= 14:
        return "subacute"
    return "chronic" if disease_on_day(bleeds, day).iron > 0.3 else "none"


@dataclass(frozen=True)
class DiseaseMaps:
    """Disease on a grid, all float32 of its shape, 0 outside the lungs.

    ``blood``, ``water``: share of the air space filled. ``solid``: share of the voxel that is nodule, thick septum or
    fibrosis. ``methemoglobin``, ``iron``: concentration in the voxel's tissue, arbitrary unit. ``nodules``: table of
    x_mm, y_mm, z_mm, diameter_mm.
    """

    blood: FloatArray
    water: FloatArray
    solid: FloatArray
    nodule: FloatArray
    methemoglobin: FloatArray
    iron: FloatArray
    nodules: pd.DataFrame


@dataclass(frozen=True)
class Site:
    """Lungs that a disease can be laid into: simulated ones, or those of a real scan.

    ``depth_mm``: distance into the lung from its surface on the grid, 0 outside. ``depth_at``: the same at points of
    shape (n, 3) in the grid's mm. ``box``: two corners around the lungs, mm, alike on every grid. ``bleeds``: 0 to 1,
    where a bleed is densest. ``scale``: body size, 1 an adult.
    """

    grid: Grid
    depth_mm: FloatArray
    depth_at: Callable[[Array], Array]
    box: tuple[Array, Array]
    bleeds: FloatArray
    scale: float
    seed: tuple[int, ...]


def disease_maps(body: Body, disease: Disease, seed: int) -> DiseaseMaps:
    """Lay a disease into a body; the same patient and seed give the same disease on any grid."""
    patient = body.patient

    def depth_at(points: Array) -> Array:
        return -patient.lung_distance(*points.T)

    box = patient.scale * np.array([-150.0, -125, -150]), patient.scale * np.array([150.0, 100, 140])
    bleeds = _where_it_bleeds(patient, body.grid)
    return lay(Site(body.grid, body.depth_mm, depth_at, box, bleeds, patient.scale, (patient.seed, seed)), disease)


def lay(site: Site, disease: Disease) -> DiseaseMaps:
    """Lay a disease into lungs."""
    inside = site.depth_mm > 0
    lobules = _lobules(site)
    nodules = place_nodules(site, disease, lobules)
    drawn = draw_nodules(site.grid, nodules) * inside
    where = np.where(inside, site.bleeds * _patches(site, disease.patchiness), 0).astype(np.float32)
    basal = smooth_noise(site.grid, 30.0 * site.scale, [*site.seed, 5])
    fibrosis = disease.fibrosis * 0.16 * np.clip(1 + 0.5 * basal, 0.2, 2) * inside
    uneven = np.clip(1 + 0.2 * basal, 0.4, 1.6) * inside
    return DiseaseMaps(
        blood=disease.blood * where,
        water=disease.water * where,
        solid=np.clip(_septa(site, disease, lobules) + fibrosis + drawn, 0, 1).astype(np.float32),
        nodule=drawn,
        methemoglobin=(disease.methemoglobin * np.clip(0.25 + where, 0, 1.25) * inside).astype(np.float32),
        iron=(disease.iron * (uneven + 0.6 * drawn)).astype(np.float32),
        nodules=nodules,
    )


def place_nodules(site: Site, disease: Disease, lobules: Array) -> pd.DataFrame:
    """Positions and diameters of the nodules, mm: those of a lighter disease are among those of a heavier one."""
    rng = np.random.default_rng([*site.seed, 3])
    least = 5.0 * site.scale**0.5 if disease.nodule_place == "centrilobular" else 0.5
    spots = lobules + rng.normal(0, 1.0, lobules.shape)
    if disease.nodule_place == "random":
        spots = rng.uniform(*site.box, (3 * len(lobules), 3))
    order, size = rng.permutation(len(spots)), rng.beta(1.6, 2.2, len(spots))
    order = order[site.depth_at(spots[order]) >= least]
    low, high = disease.nodule_mm
    diameter = low + (high - low) * size
    order = _apart(spots, diameter, order)
    litres = np.count_nonzero(site.depth_at(lobules) > 0) * (_LOBULE_MM * site.scale) ** 3 / 1e6
    order = order[: round(disease.nodules_per_litre * litres)]
    table = pd.DataFrame(spots[order], columns=["x_mm", "y_mm", "z_mm"])
    return table.assign(diameter_mm=diameter[order])


def _apart(spots: Array, diameter: Array, order: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
    """The order without those that would come within 1 mm of an earlier one."""
    points, radius = spots[order], diameter[order] / 2
    pairs = cKDTree(points).query_pairs(2 * radius.max(initial=0) + 1, output_type="ndarray")
    gap = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1) - radius[pairs].sum(axis=1)
    return np.delete(order, pairs[gap < 1].max(axis=1))


def with_volume_loss(patient: Patient, disease: Disease) -> Patient:
    """The patient's lungs drawn together by fibrosis."""
    return replace(patient, volume_loss=float(np.clip(patient.volume_loss + 0.6 * disease.fibrosis, 0, 1)))


def thinned(maps: DiseaseMaps, full: float) -> DiseaseMaps:
    """The same disease in lungs ``full`` times as large: nodules keep their density, all else spreads."""
    if full == 1:
        return maps
    share = np.float32(1 / full)
    solid = maps.nodule + share * (maps.solid - maps.nodule)
    return replace(maps, blood=maps.blood * share, water=maps.water * share, solid=np.clip(solid, 0, 1))


def draw_nodules(grid: Grid, nodules: pd.DataFrame) -> FloatArray:
    """Share of each voxel that is nodule."""
    points = nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    capsules = np.concatenate([points, points, nodules[["diameter_mm"]].to_numpy() / 2], axis=1)
    return draw_capsules(grid.shape, grid.origin_mm, grid.spacing_mm, capsules)


def _where_it_bleeds(patient: Patient, grid: Grid) -> FloatArray:
    """Perihilar and lower zones, apices and costophrenic angles spared: 0 to 1."""
    s = patient.scale
    x, y, z = grid.axes_mm()
    from_hilum = np.minimum(
        *(
            np.sqrt(sum((axis - c) ** 2 for axis, c in zip((x, y, z), hilum, strict=True)))
            for hilum in patient.hila.values()
        )
    )
    central = np.exp(-((from_hilum / (85 * s)) ** 2))
    lower = 1 / (1 + np.exp((z / s - 5) / 22))
    apex = 1 / (1 + np.exp((z / s - 72) / 7))
    angle = 1 / (1 + np.exp(-(z / s + 98) / 6))
    dense = np.clip(0.35 + 0.75 * np.maximum(central, 0.85 * lower), 0, 1)
    return np.asarray(dense * apex * angle, np.float32)


def _patches(site: Site, patchiness: float) -> Array:
    noise = smooth_noise(site.grid, 16.0 * site.scale, [*site.seed, 4])
    patches = 1 / (1 + np.exp(-(noise - 0.25) * 5.0))
    return np.asarray((1 - patchiness) * (1 + 0.05 * noise) + patchiness * 1.15 * patches).clip(0, 1.15)


def smooth_noise(grid: Grid, size_mm: float, seed: list[int]) -> FloatArray:
    """Noise of unit variance and a given correlation length, fixed in patient space: alike on every grid."""
    step = size_mm / 4
    count = round(600 / step)
    noise = np.random.default_rng(seed).standard_normal((count,) * 3, np.float32)
    noise = ndimage.gaussian_filter(noise, 2.0)
    return sample(grid, noise / noise.std(), Grid.upright((count,) * 3, (step,) * 3, (-230.0, -230.0, -200.0)))


def _lobules(site: Site) -> Array:
    """Centres of secondary lobules in and around the lungs: a jittered body-centred lattice, about 14 mm apart."""
    step = _step(site)
    axes = [low + step * np.arange(np.ceil((high - low) / step + 1)) for low, high in zip(*site.box, strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.concatenate([lattice, lattice + step / 2])
    return np.asarray(points + np.random.default_rng([*site.seed, 6]).normal(0, 0.14 * step, points.shape))


def _step(site: Site) -> float:
    """Edge of the lattice's cube, which holds two lobules."""
    return float(_LOBULE_MM * site.scale * 2 ** (1 / 3))


def _septa(site: Site, disease: Disease, lobules: Array) -> FloatArray:
    """Share of each voxel taken by thickened walls between lobules: here more, there less, most at the pleura."""
    drawn = np.zeros(site.grid.shape, np.float32)
    thickness = 1.1 * disease.septal * site.scale**0.5
    if thickness < 0.05:
        return drawn
    wall = _wall_distance(site, lobules)
    h = site.grid.step_mm
    drawn = np.clip((thickness / 2 - wall) / h + 0.5, 0, min(1.0, thickness / h))
    uneven = np.clip(0.55 + 0.55 * smooth_noise(site.grid, 22.0 * site.scale, [*site.seed, 8]), 0.05, 1.3)
    return np.asarray(drawn * uneven * (0.6 + 0.6 * np.exp(-site.depth_mm / (20 * site.scale)))).astype(np.float32)


def _wall_distance(site: Site, lobules: Array) -> FloatArray:
    """Distance of every voxel of lung to the nearest wall between two lobules, mm; far outside the lung."""
    n = [int(np.ceil((high - low) / _step(site) + 1)) for low, high in zip(*site.box, strict=True)]
    cells = np.moveaxis(lobules.reshape(2, *n, 3), 0, 3).astype(np.float32)
    wall = np.full(site.grid.shape, 1e3, np.float32)
    low, spacing, origin = (np.asarray(a, float) for a in (site.box[0], site.grid.spacing_mm, site.grid.origin_mm))
    _walls(wall, site.depth_mm, cells, low, _step(site), spacing, origin)
    return wall


@compiled()
def _walls(wall, depth, cells, low, step, spacing, origin):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    size = cells.shape
    for i in range(wall.shape[0]):
        x = origin[0] + i * spacing[0]
        a = int((x - low[0]) / step)
        for j in range(wall.shape[1]):
            y = origin[1] + j * spacing[1]
            b = int((y - low[1]) / step)
            for k in range(wall.shape[2]):
                if depth[i, j, k] <= 0:
                    continue
                z = origin[2] + k * spacing[2]
                c = int((z - low[2]) / step)
                first, second = 1e9, 1e9
                p, q = (0, 0, 0, 0), (0, 0, 0, 0)
                for u in range(max(a - 1, 0), min(a + 2, size[0])):
                    for v in range(max(b - 1, 0), min(b + 2, size[1])):
                        for w in range(max(c - 1, 0), min(c + 2, size[2])):
                            for m in range(2):
                                dx, dy, dz = (
                                    x - cells[u, v, w, m, 0],
                                    y - cells[u, v, w, m, 1],
                                    z - cells[u, v, w, m, 2],
                                )
                                d = dx * dx + dy * dy + dz * dz
                                if d < first:
                                    second, q = first, p
                                    first, p = d, (u, v, w, m)
                                elif d < second:
                                    second, q = d, (u, v, w, m)
                if second < 1e9:
                    apart = 0.0
                    for axis in range(3):
                        apart += (cells[p][axis] - cells[q][axis]) ** 2
                    wall[i, j, k] = (second - first) / (2 * np.sqrt(apart) + 1e-6)
