"""What the disease puts into a lung, as shares of space and concentrations, never as gray values.

A bleed fills air space with blood, which clears within days; methemoglobin comes and goes after it, septa thicken and
thin again, and each bleed leaves hemosiderin behind for good. Times follow the case review of Ha & Palacio, SWJPCC 2020
(consolidation typically clears within 3 days, interstitial thickening resolves over about 12); amounts are chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from ipha_toolkit.phantom.anatomy import Body, Grid, Patient
from ipha_toolkit.phantom.trees import draw_capsules
from ipha_toolkit.volume import FloatArray

Array = npt.NDArray[np.float64]

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
            blood=0.05 * vary[0], patchiness=0.3, methemoglobin=(0.2 + 0.25 * severity) * vary[1],
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


def disease_maps(body: Body, disease: Disease, seed: int) -> DiseaseMaps:
    """Lay a disease into a body; the same patient and seed give the same disease on any grid."""
    patient, grid = body.patient, body.grid
    inside = (body.depth_mm > 0).astype(np.float32)
    spared = _where_it_bleeds(patient, grid)
    patches = _patches(patient, grid, disease.patchiness, seed)
    lobules = _lobules(patient, seed)
    nodules = place_nodules(patient, disease, lobules, seed)
    drawn = _draw_nodules(grid, nodules) * inside
    septa = _septa(patient, body, lobules, disease)
    basal = _smooth_noise(grid, 30.0 * patient.scale, [patient.seed, seed, 5])
    fibrosis = disease.fibrosis * 0.11 * np.clip(1 + 0.5 * basal, 0.2, 2) * inside
    uneven = np.clip(1 + 0.2 * basal, 0.4, 1.6) * inside
    return DiseaseMaps(
        blood=(disease.blood * spared * patches * inside).astype(np.float32),
        water=(disease.water * spared * patches * inside).astype(np.float32),
        solid=np.clip(septa + fibrosis + drawn, 0, 1).astype(np.float32),
        nodule=drawn,
        methemoglobin=(disease.methemoglobin * np.clip(0.25 + spared * patches, 0, 1.25) * inside).astype(np.float32),
        iron=(disease.iron * (uneven + 0.6 * drawn)).astype(np.float32),
        nodules=nodules,
    )


def place_nodules(patient: Patient, disease: Disease, lobules: Array, seed: int) -> pd.DataFrame:
    """Positions and diameters of the nodules, mm."""
    rng = np.random.default_rng([patient.seed, seed, 3])
    depth = -patient.lung_distance(*lobules.T)
    if disease.nodule_place == "centrilobular":
        candidates = lobules[depth >= 5.0 * patient.scale**0.5] + 0.0
        candidates = candidates + rng.normal(0, 1.0, candidates.shape)
    else:
        candidates = _points_in_lung(patient, 4 * len(lobules), rng, least_depth=0.5)
    litres = len(lobules) * _LOBULE_MM**3 * patient.scale**3 / 1e6
    wanted = min(len(candidates), round(disease.nodules_per_litre * litres))
    chosen = candidates[rng.permutation(len(candidates))[:wanted]]
    low, high = disease.nodule_mm
    sizes = low + (high - low) * rng.beta(1.6, 2.2, wanted)
    return pd.DataFrame({"x_mm": chosen[:, 0], "y_mm": chosen[:, 1], "z_mm": chosen[:, 2], "diameter_mm": sizes})


def with_volume_loss(patient: Patient, disease: Disease) -> Patient:
    """The patient's lungs drawn together by fibrosis."""
    return replace(patient, volume_loss=float(np.clip(patient.volume_loss + 0.6 * disease.fibrosis, 0, 1)))


def _draw_nodules(grid: Grid, nodules: pd.DataFrame) -> FloatArray:
    points = nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    capsules = np.concatenate([points, points, nodules[["diameter_mm"]].to_numpy() / 2], axis=1)
    return draw_capsules(grid.shape, grid.origin, grid.spacing, capsules)


def _where_it_bleeds(patient: Patient, grid: Grid) -> Array:
    """Perihilar and lower zones, apices and costophrenic angles spared: 0 to 1."""
    s = patient.scale
    x, y, z = grid.axes
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
    return np.asarray(np.clip(0.35 + 0.75 * np.maximum(central, 0.85 * lower), 0, 1) * apex * angle)


def _patches(patient: Patient, grid: Grid, patchiness: float, seed: int) -> Array:
    noise = _smooth_noise(grid, 16.0 * patient.scale, [patient.seed, seed, 4])
    patches = 1 / (1 + np.exp(-(noise - 0.25) * 5.0))
    return np.asarray((1 - patchiness) * (1 + 0.05 * noise) + patchiness * 1.15 * patches).clip(0, 1.15)


def _smooth_noise(grid: Grid, size_mm: float, seed: list[int]) -> Array:
    """Noise of unit variance and a given correlation length, fixed in patient space: alike on every grid."""
    step = size_mm / 2
    low, count = np.array([-220.0, -180, -190]), np.ceil(np.array([440, 360, 380]) / step).astype(int) + 3
    coarse = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=count), 1.0)
    coarse /= coarse.std()
    for axis, (values, start) in enumerate(zip(grid.axes, low, strict=True)):
        place = np.clip((values.ravel() - start) / step, 0, coarse.shape[axis] - 1.001)
        first = place.astype(int)
        t = (place - first).reshape([-1 if n == axis else 1 for n in range(3)])
        t = t * t * (3 - 2 * t)
        coarse = np.take(coarse, first, axis) * (1 - t) + np.take(coarse, first + 1, axis) * t
    return np.asarray(coarse)


def _lobules(patient: Patient, seed: int) -> Array:
    """Centres of secondary lobules: a jittered body-centred lattice, about 14 mm apart."""
    rng = np.random.default_rng([patient.seed, seed, 6])
    step = _LOBULE_MM * patient.scale * 2 ** (1 / 3)
    ranges = [np.arange(low, high, step) for low, high in ((-150, 150), (-125, 100), (-150, 140))]
    lattice = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.concatenate([lattice, lattice + step / 2])
    points = points * 1.0 + rng.normal(0, 0.14 * step, points.shape)
    return np.asarray(points[patient.lung_distance(*points.T) < 0])


def _points_in_lung(patient: Patient, n: int, rng: np.random.Generator, least_depth: float) -> Array:
    points = rng.uniform([-150, -115, -145], [150, 90, 130], (6 * n, 3)) * patient.scale
    return np.asarray(points[patient.lung_distance(*points.T) < -least_depth][:n])


def _septa(patient: Patient, body: Body, lobules: Array, disease: Disease) -> FloatArray:
    """Share of each voxel taken by thickened walls between lobules, more of them towards the pleura."""
    drawn = np.zeros(body.grid.shape, np.float32)
    thickness = 1.1 * disease.septal * patient.scale**0.5
    if thickness < 0.05 or len(lobules) < 2:
        return drawn
    inside = np.argwhere(body.depth_mm > 0)
    points = inside * np.array(body.grid.spacing) + body.grid.origin
    near, which = cKDTree(lobules).query(points, k=2, workers=-1)
    apart = np.linalg.norm(lobules[which[:, 0]] - lobules[which[:, 1]], axis=1)
    wall = (near[:, 1] ** 2 - near[:, 0] ** 2) / (2 * np.maximum(apart, 1e-6))
    h = body.grid.step_mm
    share = np.clip((thickness / 2 - wall) / h + 0.5, 0, min(1.0, thickness / h))
    spread = 0.55 + 0.45 * np.exp(-body.depth_mm[tuple(inside.T)] / (25 * patient.scale))
    drawn[tuple(inside.T)] = share * spread
    return drawn
