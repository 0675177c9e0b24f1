"""Known disease put into a real scan, with the scan's own resolution, noise and lungs.

The disease is laid into the given lung mask as into a simulated lung; what it changes in the image follows the same
physics, relative to the lung's own level. Noise and texture of the scan stay, edges are as soft as the scan's own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import erfinv

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.grid import BoolArray, FloatArray, Grid
from ipha_toolkit.phantom import physics
from ipha_toolkit.phantom.disease import Disease, DiseaseMaps, Site, lay
from ipha_toolkit.phantom.subject import Truth, lung_truth
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

Array = npt.NDArray[np.floating]

NODULE_HU = 20.0
"""Attenuation of an implanted nodule before partial volume. Chosen."""
NODULE_TISSUE = 0.8
"""Signal of an implanted nodule as a share of the tissue around the lungs. Chosen."""
_NOT_FREE_MM = 0.25  # depth given to lung that holds a vessel: inside, and too shallow for any nodule
_HEIGHT_MM = 265.0  # of an adult's lung in the phantom


def implant(volume: Volume, lungs: Mask, disease: Disease, *, seed: int) -> tuple[Volume, Truth]:
    """Put known disease into a real scan.

    Parameters
    ----------
    volume : Volume
        T1w, T2w or CT.
    lungs : Mask
        Lungs (or one lung) on the volume's grid; zones are taken from it.
    disease : Disease
        Blood, water, septa and fibrosis fill the lung's own air space; nodules keep off vessels and off each other;
        ``t1w_gain`` multiplies T1w lung signal by 1 + its value everywhere. Iron and methemoglobin act in MRI only.
    seed : int
        Places and sizes.

    Returns
    -------
    volume : Volume
        On the same grid, float32; rounded where the scan holds whole numbers only.
    truth : Truth
        ``masks``: lung, nodule, ground_glass, consolidation. ``maps``: as of a simulated subject, and ``change``: what
        was added to the image, before noise. ``nodules``: centres in mm, RAS+, and diameters.

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where the mask is empty or the modality is none of the three.

    Notes
    -----
    Air space was as full before as the scan shows (CT) or as in healthy lung (MRI): implant into healthy lungs. Nodules
    have the attenuation or signal of soft tissue.
    """
    _check(volume, lungs)
    values = volume.array.astype(float)
    spread = point_spread_mm(volume, lungs)
    maps = lay(_site(volume, lungs, seed), disease)
    make = _change_ct if volume.modality is Modality.CT else _change_mr
    level, change = make(volume, lungs, disease, maps, spread)
    if volume.modality is Modality.CT:
        array = values + change
    else:
        array = _add_under_noise(values, level, change, np.random.default_rng([seed, 13]))
    if np.array_equal(values, np.rint(values)):
        array = np.rint(array)
    return volume.replace(array=array), _truth(volume, lungs, disease, maps, change)


def point_spread_mm(volume: Volume, lungs: Mask) -> Array:
    """Width of the scan's blur along each axis beyond its voxels, from its sharpest edges at the lung's surface.

    Returns
    -------
    ndarray, shape (3,)
        SD of a Gaussian, mm; 0 where edges are as sharp as voxels allow.
    """
    near = ndimage.binary_dilation(lungs.array, iterations=2) & ~ndimage.binary_erosion(lungs.array, iterations=2)
    found = []
    for axis, step in enumerate(volume.spacing_mm):
        size = [7 if n == axis else 1 for n in range(3)]
        contrast = ndimage.maximum_filter(volume.array, size) - ndimage.minimum_filter(volume.array, size)
        rise = np.abs(np.diff(volume.array, axis=axis, append=volume.array.take([-1], axis)))
        strong = near & (contrast > 0.7 * np.quantile(contrast[near], 0.9))
        sharpest = float(np.quantile(rise[strong] / contrast[strong], 0.98)) if strong.any() else 0.99
        sigma = step / (2 * np.sqrt(2) * erfinv(np.clip(sharpest, 0.05, 0.99)))
        found.append(np.sqrt(max(sigma**2 - step**2 / 12, 0)))
    return np.array(found)


def _check(volume: Volume, lungs: Mask) -> None:
    name = volume.name or "volume"
    if not lungs.same_grid(volume):
        raise GridError(
            f"{name}: lung mask is on a different grid {lungs.array.shape} than the volume {volume.array.shape}; "
            "call resample_to first"
        )
    if not lungs.array.any():
        raise ImageError(f"{name}: the lung mask is empty; nothing can be implanted")
    if volume.modality not in (Modality.T1W, Modality.T2W, Modality.CT):
        raise ImageError(
            f"{name}: implants go into T1w, T2w or ct, got {volume.modality}; set it with replace(modality=)"
        )


def _site(volume: Volume, lungs: Mask, seed: int) -> Site:
    """The scan's lungs as a place for disease, in a frame of its own: mm along the voxel axes from the middle."""
    grid = _own_grid(volume)
    padded = np.pad(lungs.array, 1, mode="edge")  # a lung cut by the field of view has no surface there
    depth = ndimage.distance_transform_edt(padded, sampling=grid.spacing_mm)[1:-1, 1:-1, 1:-1].astype(np.float32)
    depth = np.where(depth > 0, np.maximum(depth - 0.5 * min(grid.spacing_mm), 0.1), 0).astype(np.float32)
    deep = np.where(_with_vessel(volume, lungs), np.minimum(depth, _NOT_FREE_MM), depth)

    def depth_at(points: Array) -> Array:
        return np.asarray(ndimage.map_coordinates(deep, ((points - grid.origin_mm) / grid.spacing_mm).T, order=0))

    inside = np.argwhere(lungs.array)
    box = inside.min(0) * grid.spacing_mm + grid.origin_mm, inside.max(0) * grid.spacing_mm + grid.origin_mm
    bleeds, scale = _where_it_bleeds(volume, lungs)
    return Site(grid, depth, depth_at, box, bleeds, scale, (seed,))


def _own_grid(volume: Volume) -> Grid:
    shape, spacing = np.array(volume.array.shape), np.array(volume.spacing_mm, float)
    origin = -(shape - 1) / 2 * spacing
    return Grid.upright(*(part.tolist() for part in (shape, spacing, origin)))


def _with_vessel(volume: Volume, lungs: Mask) -> BoolArray:
    """The brightest quarter of the lung at the scale of a nodule."""
    smooth = _smooth(volume, 2.5)
    return np.asarray(smooth > np.quantile(smooth[lungs.array], 0.75))


def _where_it_bleeds(volume: Volume, lungs: Mask) -> tuple[FloatArray, float]:
    """As in the phantom: lower and central lung, apices and lowest recesses spared; and the size of the body."""
    ijk = np.ogrid[tuple(slice(0, n) for n in volume.array.shape)]
    world = [sum(m * axis for m, axis in zip(row[:3], ijk, strict=True)) + row[3] for row in volume.affine[:3]]
    at = lungs.to_world(np.argwhere(lungs.array))
    low, high = np.quantile(at[:, 2], (0.005, 0.995))
    scale = float(np.clip((high - low) / _HEIGHT_MM, 0.3, 1.3))
    height = (world[2] - low) / max(high - low, 1e-6)
    from_centre = sum((axis - c) ** 2 for axis, c in zip(world, at.mean(axis=0), strict=True))
    central = np.exp(-from_centre / (85 * scale) ** 2)
    lower = 1 / (1 + np.exp((height - 0.53) / 0.08))
    spared = 1 / (1 + np.exp((height - 0.78) / 0.03)) / (1 + np.exp(-(height - 0.12) / 0.03))
    return (np.clip(0.35 + 0.75 * np.maximum(central, 0.85 * lower), 0, 1) * spared).astype(np.float32), scale


def _change_ct(volume: Volume, lungs: Mask, disease: Disease, maps: DiseaseMaps, spread: Array) -> tuple[Array, Array]:
    """HU before noise, and what the disease adds: its share of the voxel at its own HU, filled air space first."""
    smooth = _smooth(volume, 0.9 * min(volume.spacing_mm))
    before = np.clip((smooth + 1000) / 1045, 0, 0.92).astype(np.float32)
    after = physics.lung_state(before, _without_nodules(maps), 1.5).water
    change = _blurred(1045 * np.where(before < 0.92, after - before, 0), volume, spread)
    return smooth, _with_nodules(smooth, change, NODULE_HU, _blurred(maps.nodule, volume, spread))


def _change_mr(volume: Volume, lungs: Mask, disease: Disease, maps: DiseaseMaps, spread: Array) -> tuple[Array, Array]:
    """Signal before noise, and what the disease adds, relative to the lung's own level nearby."""
    smooth = _smooth(volume, 0.9 * min(volume.spacing_mm))
    change = _lung_level(volume, lungs) * (_signal_factor(volume, disease, _without_nodules(maps)) - 1) * lungs.array
    tissue = NODULE_TISSUE * _tissue_level(volume, lungs)
    return smooth, _with_nodules(
        smooth, _blurred(change, volume, spread), tissue, _blurred(maps.nodule, volume, spread)
    )


def _with_nodules(level: Array, change: Array, nodule: float, share: Array) -> Array:
    return change + share * (nodule - level - change)


def _without_nodules(maps: DiseaseMaps) -> DiseaseMaps:
    return replace(maps, solid=np.maximum(maps.solid - maps.nodule, 0))


def _signal_factor(volume: Volume, disease: Disease, maps: DiseaseMaps) -> Array:
    """Signal of the diseased lung over that of a healthy one, by the sequence's own times where the header has them."""
    healthy = np.asarray(physics.LUNG_WATER)
    nil = np.zeros((), np.float32)
    none = replace(maps, blood=nil, water=nil, solid=nil, methemoglobin=nil, iron=nil)
    field_t = 3.0 if float(volume.meta.get("MagneticFieldStrength", 1.5)) > 2.2 else 1.5
    after, before = (physics.lung_state(healthy, state, field_t) for state in (maps, none))
    if volume.modality is Modality.T2W:
        te, tr = volume.meta.get("EchoTime", 0.06), volume.meta.get("RepetitionTime", 1.2)
        signals = [
            physics.spin_echo_signal(s.water, s.r1, s.r2, te_ms=1e3 * te, tr_ms=1e3 * tr) for s in (after, before)
        ]
        return np.asarray(signals[0] / signals[1])
    te, tr = volume.meta.get("EchoTime", 0.0008), volume.meta.get("RepetitionTime", 0.0036)
    times: physics.GreTimes = {"te_ms": 1e3 * te, "tr_ms": 1e3 * tr, "flip_deg": volume.meta.get("FlipAngle", 12.0)}
    signals = [physics.spoiled_gre_signal(s.water, s.r1, s.r2star, **times) for s in (after, before)]
    return np.asarray(signals[0] / signals[1] * (1 + disease.t1w_gain))


def _lung_level(volume: Volume, lungs: Mask) -> Array:
    """The lung's own signal within a centimetre, vessels held down, its median that of the lung."""
    inside = volume.array[lungs.array]
    held = np.where(lungs.array, np.minimum(volume.array, np.quantile(inside, 0.8)), 0).astype(float)
    sigma = 10.0 / np.array(volume.spacing_mm)
    level = ndimage.gaussian_filter(held, sigma) / np.maximum(
        ndimage.gaussian_filter(lungs.array.astype(float), sigma), 0.05
    )
    return np.asarray(level * (np.median(inside) / max(np.median(level[lungs.array]), 1e-9)))


def _tissue_level(volume: Volume, lungs: Mask) -> float:
    """Signal of what surrounds the lungs, the fat above and the air below it left out: about that of muscle."""
    size = [2 * max(1, round(15 / step)) + 1 for step in volume.spacing_mm]
    shell = ndimage.maximum_filter(lungs.array.astype(np.uint8), size).astype(bool) & ~lungs.array
    floor = np.quantile(volume.array[lungs.array], 0.9)
    around = volume.array[shell & (volume.array > floor)]
    return float(np.quantile(around, 0.4)) if around.size else float(3 * floor)


def _add_under_noise(values: Array, level: Array, change: Array, rng: np.random.Generator) -> Array:
    """Add signal to magnitudes as if it had been there before the noise.

    A magnitude is split into the parts along and across the signal with a phase drawn from its distribution given
    the signal; the change goes to the part along it.
    """
    touched = np.abs(change) > 1e-3 * np.abs(change).max(initial=0)
    sigma = _background_sigma(values)
    seen = values[touched]
    signal = np.sqrt(np.maximum(level[touched] ** 2 - 2 * sigma**2, 0))
    phase = rng.vonmises(0, np.maximum(seen * signal / sigma**2, 0)) if sigma > 0 else np.zeros(seen.shape)
    result = values.copy()
    result[touched] = np.hypot(seen * np.cos(phase) + change[touched], seen * np.sin(phase))
    return result


def _background_sigma(values: Array) -> float:
    """Noise of one channel from the darkest cubes of 5 voxels that are not empty."""
    power = ndimage.uniform_filter(values**2, 5)[2::5, 2::5, 2::5]
    power = power[power > 0]
    return float(np.sqrt(np.quantile(power, 0.03) / 2)) if power.size else 0.0


def _smooth(volume: Volume, sigma_mm: float) -> Array:
    return np.asarray(ndimage.gaussian_filter(volume.array.astype(float), sigma_mm / np.array(volume.spacing_mm)))


def _blurred(array: npt.NDArray[np.floating], volume: Volume, spread: Array) -> Array:
    return np.asarray(ndimage.gaussian_filter(array.astype(float), spread / np.array(volume.spacing_mm)))


def _truth(volume: Volume, lungs: Mask, disease: Disease, maps: DiseaseMaps, change: Array) -> Truth:
    field_t = 3.0 if float(volume.meta.get("MagneticFieldStrength", 1.5)) > 2.2 else 1.5
    water = np.full(volume.array.shape, physics.LUNG_WATER)
    if volume.modality is Modality.CT:
        water = np.clip((_smooth(volume, 0.9 * min(volume.spacing_mm)) + 1000) / 1045, 0, 1)
    state = physics.lung_state(water, maps, field_t)
    nodules = maps.nodules.copy()
    grid = _own_grid(volume)
    voxels = (nodules[["x_mm", "y_mm", "z_mm"]].to_numpy() - grid.origin_mm) / grid.spacing_mm
    nodules[["x_mm", "y_mm", "z_mm"]] = lungs.to_world(voxels)
    truth = lung_truth("implanted", disease, {"lung": lungs.array}, maps, state, volume.affine, nodules)
    truth.maps["change"] = Volume(
        change.astype(np.float32), volume.affine, unit=volume.unit, name="change by the implant"
    )
    return truth
