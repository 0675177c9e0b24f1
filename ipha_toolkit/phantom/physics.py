"""What scanners make of a body: MR signal, CT attenuation, a radiograph.

Every tissue has water, relaxation times and attenuation; the lung's follow from what fills it. Filling air space lowers
R2*, iron raises it; methemoglobin shortens T1, and T2 while it is inside cells; hemosiderin acts on T2 and T2* and
hardly on T1. Values marked "chosen" have no source for lung and are set to lie within published ranges of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.grid import FloatArray
from ipha_toolkit.phantom.anatomy import TISSUES as TISSUE_NAMES
from ipha_toolkit.phantom.anatomy import Body
from ipha_toolkit.phantom.disease import DiseaseMaps
from ipha_toolkit.phantom.raster import mix

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """Proton density (water = 1), T1 and T2 in ms at 1.5 and 3 T, attenuation in HU."""

    pd: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    hu: float


TISSUES = {
    # T1, T2 of muscle, fat, liver, spleen, marrow: de Bazelaire 2004, doi 10.1148/radiol.2303021331;
    # T1 of blood: Stanisz 2005, doi 10.1002/mrm.20605, whose T2 of it is longer (290 and 275 ms, oxygenated); its T2
    # here is chosen, between that and venous blood. Proton densities and HU: textbook values.
    "air": Tissue(0.0, (1000, 1000), (10, 10), -1000),
    "fat": Tissue(0.90, (343, 382), (58, 68), -100),
    "muscle": Tissue(0.79, (856, 898), (27, 29), 50),
    "cortical": Tissue(0.05, (600, 700), (2, 2), 800),
    "marrow": Tissue(0.60, (549, 586), (49, 49), 180),
    "blood": Tissue(0.85, (1441, 1932), (180, 150), 45),
    "soft": Tissue(0.80, (950, 1050), (45, 45), 35),
    "liver": Tissue(0.72, (586, 809), (46, 34), 58),
    "spleen": Tissue(0.80, (1057, 1328), (79, 61), 48),
    "fluid": Tissue(0.97, (3500, 4000), (800, 800), 5),
}

FIELDS_T = (1.5, 3.0)

LUNG_WATER = 0.104
"""Share of healthy parenchyma, vessels above half a mm left out, that is water or tissue. Chosen: with the vessels it
gives a CT mean near -850 HU."""
LUNG_T1_MS = (1200.0, 1281.0)
"""3 T: ISMRM 2006 #1307; 1.5 T chosen."""
LUNG_T2_MS = (40.0, 38.0)
"""Of the tissue itself. Chosen."""
LUNG_T2STAR_MS = (1.4, 0.74)
"""3 T: Yu 2011, doi 10.1002/mrm.22829; at 1.5 T sources conflict (0.86 to 2.1): a value between."""
DIFFUSION_R2 = 22.0
"""Loss in a spin echo by diffusion between air and tissue, 1/s, healthy aeration. Chosen."""
FLUID_T1_MS, FLUID_T2_MS = (1500.0, 1900.0), (110.0, 100.0)
"""Blood plasma and edema in the air space. Chosen, between blood and water."""
MET_R1, MET_R2 = 1.3, 9.0
"""Relaxivity of one unit of methemoglobin, 1/s. Chosen: one unit shortens lung T1 to about 470 ms."""
RELEASED = 1.0
"""Of methemoglobin in filled air space, the share out of its cells, where it no longer shortens T2. Chosen."""
IRON_R1, IRON_R2, IRON_R2STAR = 0.06, 46.0, 330.0
"""Relaxivity of one unit of hemosiderin, 1/s at 1.5 T; R2* doubles at 3 T. Chosen; there is no calibration for lung."""
GADOLINIUM_R1 = {"blood": 6.0, "muscle": 0.6, "liver": 1.6, "spleen": 2.2, "soft": 1.2, "lung": 1.6}
"""Rise of R1 some minutes after an extracellular agent, 1/s. Chosen."""


INFLOW_T1_MS = 650.0
"""Blood that flows into the slab of a gradient echo is fresher than its T1 says. Chosen."""
FLOW_VOID = 0.15
"""What is left of blood in a spin echo. Chosen."""


@dataclass(frozen=True)
class LungState:
    """The lung in every voxel: shares of space and rates in 1/s, float32 arrays of the grid's shape."""

    water: FloatArray
    air: FloatArray
    r1: FloatArray
    r2: FloatArray
    r2star: FloatArray


def lung_state(healthy: Array, maps: DiseaseMaps, field_t: float) -> LungState:
    """Water, air and relaxation rates at 1.5 or 3 T of a lung whose water share was ``healthy`` before."""
    at = FIELDS_T.index(field_t)
    tissue = np.clip(np.asarray(healthy, np.float32) + maps.solid, 0, 0.92)
    fluid = (1 - tissue) * np.clip(maps.blood + maps.water, 0, 1)
    water = tissue + fluid
    air = 1 - water
    aeration = air * np.float32(1 / (1 - LUNG_WATER))
    share = fluid / np.maximum(water, np.float32(1e-6))
    r1 = _between(1e3 / LUNG_T1_MS[at], 1e3 / FLUID_T1_MS[at], share)
    r1 += np.float32(MET_R1) * maps.methemoglobin + np.float32(IRON_R1) * maps.iron
    r2 = _between(1e3 / LUNG_T2_MS[at], 1e3 / FLUID_T2_MS[at], share)
    r2 += np.float32(DIFFUSION_R2) * aeration + np.float32(IRON_R2) * maps.iron
    r2 += np.float32(MET_R2) * maps.methemoglobin * (1 - np.float32(RELEASED) * share)
    r2star = np.float32(1e3 / LUNG_T2STAR_MS[at]) * aeration + np.float32(IRON_R2STAR * (1 + at)) * maps.iron + r2
    return LungState(water, air, r1, r2, r2star)


def _between(tissue: float, fluid: float, share: FloatArray) -> FloatArray:
    return np.asarray(np.float32(tissue) + np.float32(fluid - tissue) * share)


def healthy_water(body: Body) -> FloatArray:
    """Water share of the parenchyma: denser towards the back, where a supine lung depends."""
    p, s = body.patient.proportions, body.patient.scale
    y = body.grid.axes_mm()[1] / s
    child = 1.0 + 0.5 * np.clip((1 - s) / 0.4, 0, 1)  # children's lungs are denser (chosen)
    dependent = np.clip(1 - p["gradient"] * (y + 10) / 240, 0.6, 1.6)
    usual = LUNG_WATER * body.patient.wetness * p["density"]
    return np.asarray(usual * child * dependent, np.float32)


class GreTimes(TypedDict):
    """Settings of a spoiled gradient echo."""

    te_ms: float
    tr_ms: float
    flip_deg: float


def spoiled_gre_signal(
    pd: npt.ArrayLike, r1: npt.ArrayLike, r2star: npt.ArrayLike, *, te_ms: float, tr_ms: float, flip_deg: float
) -> Array:
    """Spoiled gradient echo (Ernst) of tissue with proton density and rates in 1/s."""
    alpha = float(np.deg2rad(flip_deg))
    e1 = np.exp(-tr_ms / 1e3 * np.asarray(r1))
    steady = np.asarray(pd) * float(np.sin(alpha)) * (1 - e1) / (1 - float(np.cos(alpha)) * e1)
    return np.asarray(steady * np.exp(-te_ms / 1e3 * np.asarray(r2star)))


def spin_echo_signal(pd: npt.ArrayLike, r1: npt.ArrayLike, r2: npt.ArrayLike, *, te_ms: float, tr_ms: float) -> Array:
    """Spin echo of tissue with proton density and rates in 1/s."""
    saturation = 1 - np.exp(-tr_ms / 1e3 * np.asarray(r1))
    return np.asarray(np.asarray(pd) * saturation * np.exp(-te_ms / 1e3 * np.asarray(r2)))


def spoiled_gre(
    body: Body, lung: LungState, *, field_t: float, te_ms: float, tr_ms: float, flip_deg: float, contrast: bool = False
) -> FloatArray:
    """Spoiled gradient echo of a body: T1w, and each echo of a multi-echo series."""
    at = FIELDS_T.index(field_t)
    gd = GADOLINIUM_R1 if contrast else {}
    times: GreTimes = {"te_ms": te_ms, "tr_ms": tr_ms, "flip_deg": flip_deg}
    levels = {}
    for name, tissue in TISSUES.items():
        t1 = min(tissue.t1_ms[at], INFLOW_T1_MS) if name == "blood" else tissue.t1_ms[at]
        r2star = 1.6 * 1e3 / tissue.t2_ms[at]
        levels[name] = float(spoiled_gre_signal(tissue.pd, 1e3 / t1 + gd.get(name, 0), r2star, **times))
    return _mixed(body, levels, spoiled_gre_signal(lung.water, lung.r1 + gd.get("lung", 0), lung.r2star, **times))


def spin_echo(body: Body, lung: LungState, *, field_t: float, te_ms: float, tr_ms: float) -> FloatArray:
    """Spin echo of a body: T2w. Flowing blood in large vessels is dark."""
    at = FIELDS_T.index(field_t)
    times = {"te_ms": te_ms, "tr_ms": tr_ms}
    levels = {
        name: float(spin_echo_signal(tissue.pd, 1e3 / tissue.t1_ms[at], 1e3 / tissue.t2_ms[at], **times))
        for name, tissue in TISSUES.items()
    }
    levels["blood"] *= FLOW_VOID
    return _mixed(body, levels, spin_echo_signal(lung.water, lung.r1, lung.r2, **times))


def _mixed(body: Body, levels: dict[str, float], lung: Array) -> FloatArray:
    """What each voxel gives: its tissues by their shares, the lung by its own signal."""
    result = mix(body.stack, np.array([levels.get(name, 0) for name in TISSUE_NAMES]))
    result += body.stack[TISSUE_NAMES.index("lung")] * lung
    return np.asarray(result)


def acquire_mr(
    clean: FloatArray, muscle: float, *, spacing: tuple[float, ...], snr: float, shading: float, motion_mm: float,
    coil_rng: np.random.Generator, rng: np.random.Generator, gain: float = 400.0,
) -> FloatArray:  # fmt: skip
    """Breathing blur along z, coil shading, Rician noise.

    ``snr`` is that of muscle, whose clean signal is ``muscle``; ``shading`` the peak change of the coil's sensitivity.
    """
    seen = ndimage.gaussian_filter1d(clean, motion_mm / spacing[2], axis=2) if motion_mm > 0 else clean.copy()
    for part in _coil(clean.shape, shading, coil_rng):
        seen *= part
    sigma = np.float32(muscle / snr)
    seen += sigma * rng.standard_normal(clean.shape, np.float32)
    across = sigma * rng.standard_normal(clean.shape, np.float32)
    return np.asarray(np.hypot(seen, across, out=seen)) * np.float32(gain / muscle)


def attenuation(body: Body, lung: LungState) -> FloatArray:
    """CT numbers in HU without noise."""
    levels = {name: tissue.hu + 1000 for name, tissue in TISSUES.items()}
    return np.asarray(_mixed(body, levels, np.float32(1045) * lung.water) - 1000)


def acquire_ct(
    clean: FloatArray, *, spacing: tuple[float, ...], kernel: str, noise_hu: float, rng: np.random.Generator
) -> FloatArray:
    """Reconstruction kernel (``lung`` sharpens, ``soft`` smooths) and correlated noise; HU clipped at -1024."""
    blur = [0.55 / step for step in spacing]
    noise = rng.standard_normal(clean.shape, np.float32)
    if kernel == "lung":
        image = 1.35 * clean - 0.35 * ndimage.gaussian_filter(clean, blur)
        noise -= 0.4 * ndimage.gaussian_filter(noise, 0.8)
    else:
        image = ndimage.gaussian_filter(clean, blur)
        noise = ndimage.gaussian_filter(noise, 0.7)
    image += noise * (noise_hu / noise.std())
    return np.asarray(np.clip(image, -1024, 3071, out=image))


def project_radiograph(
    hu: Array, spacing: tuple[float, ...], *, photons: float, rng: np.random.Generator
) -> FloatArray:
    """Posteroanterior radiograph by Beer-Lambert along y: shape (i, k), dense = bright (MONOCHROME2), 12 bit.

    Water attenuates 0.0185 per mm, which is 78.5 keV effective (NIST XCOM); scatter adds a smooth fifth; then, as film
    readers do, fine detail is lifted and an S-curve spreads lung and mediastinum. Chosen: scatter and display.
    """
    path = np.sum(np.maximum(1 + hu / 1000, 0), axis=1) * spacing[1]
    primary = np.exp(-0.0185 * path)
    scatter = 0.2 * ndimage.gaussian_filter(primary, [25 / spacing[0], 25 / spacing[2]])
    counts = rng.poisson(photons * (primary + scatter)) + 1.0
    film = -np.log(counts / photons)
    film += 0.7 * (film - ndimage.gaussian_filter(film, [12 / spacing[0], 12 / spacing[2]]))
    inside = film[path > 40]
    low, middle, high = np.percentile(inside if inside.size else film, (10, 45, 90))
    curve = 1 / (1 + np.exp(-(film - middle) * 4.5 / max(high - low, 1e-6)))
    return np.asarray(curve * 3900 + 100, np.float32)


def _coil(shape: tuple[int, ...], shading: float, rng: np.random.Generator) -> list[FloatArray]:
    """A smooth sensitivity around 1: one factor an axis, shaped to broadcast."""
    logs = []
    for axis, size in enumerate(shape):
        t = np.linspace(-1, 1, size).reshape([-1 if n == axis else 1 for n in range(3)])
        logs.append(rng.uniform(-1, 1) * t / 2 + rng.uniform(0, 1) * (t * t - 0.33))
    peak = max(sum(part.max() for part in logs), -sum(part.min() for part in logs))
    strength = np.log1p(shading) / peak if peak > 0 else 0.0
    return [np.exp(part * strength).astype(np.float32) for part in logs]
