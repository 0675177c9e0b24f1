"""What scanners make of a body: MR signal, CT attenuation, a radiograph.

Every tissue has water, relaxation times and attenuation; the lung's follow from what fills it. Filling air space lowers
R2*, iron raises it; methemoglobin shortens T1, and T2 while it is inside cells; hemosiderin acts on T2 and T2* and
hardly on T1. Values marked "chosen" have no source for lung and are set to lie within published ranges of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.phantom.anatomy import Body
from ipha_toolkit.phantom.disease import DiseaseMaps
from ipha_toolkit.volume import FloatArray

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tissue:
    """Proton density (water = 1), T1 and T2 in ms at 1.5 and 3 T, attenuation in HU."""

    pd: float
    t1_ms: tuple[float, float]
    t2_ms: tuple[float, float]
    hu: float


TISSUES = {
    # T1, T2 of muscle, fat, liver, spleen, marrow: de Bazelaire 2004, doi 10.1148/radiol.2303021331;
    # blood: Stanisz 2005, doi 10.1002/mrm.20605. Proton densities and HU: textbook values.
    "air": Tissue(0.0, (1000, 1000), (10, 10), -1000),
    "gas": Tissue(0.0, (1000, 1000), (10, 10), -1000),
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
"""Relaxivity of one unit of methemoglobin, 1/s. Chosen: one unit shortens lung T1 to about 480 ms."""
IRON_R1, IRON_R2, IRON_R2STAR = 0.06, 46.0, 330.0
"""Relaxivity of one unit of hemosiderin, 1/s at 1.5 T; R2* doubles at 3 T. Chosen; there is no calibration for lung."""
GADOLINIUM_R1 = {"blood": 6.0, "muscle": 0.6, "liver": 1.6, "spleen": 2.2, "soft": 1.2, "lung": 1.6}
"""Rise of R1 some minutes after an extracellular agent, 1/s. Chosen."""


@dataclass(frozen=True)
class LungState:
    """The lung in every voxel: shares of space and rates, float64 arrays of the grid's shape."""

    water: Array
    air: Array
    r1: Array
    r2: Array
    r2star: Array


def lung_state(healthy: Array, maps: DiseaseMaps, field_t: float) -> LungState:
    """Water, air and relaxation rates (1/s) at 1.5 or 3 T of a lung whose water share was ``healthy`` before."""
    at = FIELDS_T.index(field_t)
    tissue = np.clip(healthy + maps.solid, 0, 0.92)
    filled = np.clip(maps.blood.astype(float) + maps.water, 0, 1)
    fluid = (1 - tissue) * filled
    water = tissue + fluid
    air = 1 - water
    aeration = air / (1 - LUNG_WATER)
    share = fluid / np.maximum(water, 1e-6)
    r1 = (1 - share) * 1e3 / LUNG_T1_MS[at] + share * 1e3 / FLUID_T1_MS[at]
    r1 = r1 + MET_R1 * maps.methemoglobin + IRON_R1 * maps.iron
    r2 = (1 - share) * 1e3 / LUNG_T2_MS[at] + share * 1e3 / FLUID_T2_MS[at]
    r2 = r2 + DIFFUSION_R2 * aeration + MET_R2 * maps.methemoglobin * (1 - 0.5 * share) + IRON_R2 * maps.iron
    r2star = 1e3 / LUNG_T2STAR_MS[at] * aeration + IRON_R2STAR * (1 + at) * maps.iron + r2
    return LungState(water, air, r1, r2, r2star)


def healthy_water(body: Body) -> Array:
    """Water share of the parenchyma: denser towards the back, where a supine lung depends."""
    p, s = body.patient.proportions, body.patient.scale
    y = body.grid.axes[1] / s
    child = 1.0 + 0.5 * np.clip((1 - s) / 0.4, 0, 1)  # children's lungs are denser (chosen)
    return np.asarray(LUNG_WATER * child * p["density"] * np.clip(1 - p["gradient"] * (y + 10) / 240, 0.6, 1.6))


def spoiled_gre_signal(
    pd: Array | float, r1: Array | float, r2star: Array | float, *, te_ms: float, tr_ms: float, flip_deg: float
) -> Array:
    """Spoiled gradient echo (Ernst) of tissue with proton density and rates in 1/s."""
    alpha = np.deg2rad(flip_deg)
    e1 = np.exp(-tr_ms / 1e3 * np.asarray(r1))
    return np.asarray(
        pd * np.sin(alpha) * (1 - e1) / (1 - np.cos(alpha) * e1) * np.exp(-te_ms / 1e3 * np.asarray(r2star))
    )


def spin_echo_signal(pd: Array | float, r1: Array | float, r2: Array | float, *, te_ms: float, tr_ms: float) -> Array:
    """Spin echo of tissue with proton density and rates in 1/s."""
    return np.asarray(pd * (1 - np.exp(-tr_ms / 1e3 * np.asarray(r1))) * np.exp(-te_ms / 1e3 * np.asarray(r2)))


def spoiled_gre(body: Body, maps: DiseaseMaps, *, field_t: float, contrast: bool = False, **times: float) -> Array:
    """Spoiled gradient echo of a body: T1w, and each echo of a multi-echo series; times as of the signal's formula."""
    at = FIELDS_T.index(field_t)
    state = lung_state(healthy_water(body), maps, field_t)
    gd = GADOLINIUM_R1 if contrast else {}
    result = body.shares["lung"] * spoiled_gre_signal(state.water, state.r1 + gd.get("lung", 0), state.r2star, **times)
    for name, tissue in TISSUES.items():
        if tissue.pd > 0:
            r1, r2 = 1e3 / tissue.t1_ms[at] + gd.get(name, 0), 1e3 / tissue.t2_ms[at]
            result += body.shares[name] * float(spoiled_gre_signal(tissue.pd, r1, 1.6 * r2, **times))
    return np.asarray(result)


def spin_echo(body: Body, maps: DiseaseMaps, *, field_t: float, **times: float) -> Array:
    """Spin echo of a body: T2w. Flowing blood in large vessels is dark."""
    at = FIELDS_T.index(field_t)
    state = lung_state(healthy_water(body), maps, field_t)
    result = body.shares["lung"] * spin_echo_signal(state.water, state.r1, state.r2, **times)
    for name, tissue in TISSUES.items():
        if tissue.pd > 0:
            flow_void = 0.12 if name == "blood" else 1.0
            value = spin_echo_signal(tissue.pd, 1e3 / tissue.t1_ms[at], 1e3 / tissue.t2_ms[at], **times)
            result += body.shares[name] * (flow_void * float(value))
    return np.asarray(result)


def acquire_mr(
    clean: Array, muscle: float, *, spacing: tuple[float, ...], snr: float, shading: float, motion_mm: float,
    coil_rng: np.random.Generator, rng: np.random.Generator, gain: float = 400.0,
) -> FloatArray:  # fmt: skip
    """Breathing blur along z, coil shading, Rician noise.

    ``snr`` is that of muscle, whose clean signal is ``muscle``; ``shading`` the peak change of the coil's sensitivity.
    """
    blurred = ndimage.gaussian_filter1d(clean, motion_mm / spacing[2], axis=2) if motion_mm > 0 else clean
    seen = blurred * _coil(clean.shape, shading, coil_rng)
    sigma = muscle / snr
    noise = rng.standard_normal((2, *clean.shape), dtype=np.float32) * np.float32(sigma)
    return (np.hypot(seen + noise[0], noise[1]) * (gain / muscle)).astype(np.float32)


def attenuation(body: Body, maps: DiseaseMaps) -> Array:
    """CT numbers in HU without noise."""
    state = lung_state(healthy_water(body), maps, 1.5)
    result = body.shares["lung"] * (-1000 + 1045 * state.water)
    for name, tissue in TISSUES.items():
        result += body.shares[name] * np.float32(tissue.hu)
    return np.asarray(result)


def acquire_ct(
    clean: Array, *, spacing: tuple[float, ...], kernel: str, noise_hu: float, rng: np.random.Generator
) -> FloatArray:
    """Reconstruction kernel (``lung`` sharpens, ``soft`` smooths) and correlated noise; HU clipped at -1024."""
    blur = [0.55 / step for step in spacing]
    noise = rng.standard_normal(clean.shape, dtype=np.float32)
    if kernel == "lung":
        image = clean + 0.35 * (clean - ndimage.gaussian_filter(clean, blur))
        noise = noise - 0.4 * ndimage.gaussian_filter(noise, 0.8)
    else:
        image = ndimage.gaussian_filter(clean, blur)
        noise = ndimage.gaussian_filter(noise, 0.7)
    result = image + noise * (noise_hu / noise.std())
    return np.clip(result, -1024, 3071).astype(np.float32)


def project_radiograph(
    hu: Array, spacing: tuple[float, ...], *, photons: float, rng: np.random.Generator
) -> FloatArray:
    """Posteroanterior radiograph by Beer-Lambert along y: shape (i, k), dense = bright (MONOCHROME2), 12 bit.

    Water attenuates 0.0185 per mm, about 75 keV effective (NIST XCOM); scatter adds a smooth fifth. Chosen: scatter.
    """
    path = np.sum(np.maximum(1 + hu / 1000, 0), axis=1) * spacing[1]
    primary = np.exp(-0.0185 * path)
    scatter = 0.2 * ndimage.gaussian_filter(primary, [25 / spacing[0], 25 / spacing[2]])
    counts = rng.poisson(photons * (primary + scatter)) + 1.0
    film = -np.log(counts / photons)
    low, high = np.percentile(film, (0.5, 99.8))
    return np.clip((film - low) / (high - low) * 3800 + 100, 0, 4095).astype(np.float32)


def _coil(shape: tuple[int, ...], shading: float, rng: np.random.Generator) -> Array:
    """A smooth sensitivity around 1: the product of two half cosines an axis."""
    log_field = np.zeros(shape)
    for axis, size in enumerate(shape):
        t = np.linspace(-1, 1, size).reshape([-1 if n == axis else 1 for n in range(3)])
        log_field = log_field + rng.uniform(-1, 1) * t / 2 + rng.uniform(0, 1) * (t * t - 0.33)
    peak = np.abs(log_field).max()
    return np.exp(log_field * (np.log1p(shading) / peak)) if peak > 0 and shading > 0 else np.ones(shape)
