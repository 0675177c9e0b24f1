"""Skeletal muscle beside the spine: what lung signal is divided by in MRI."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.regions.zones import Sides, lung_extent, split_left_right, world_coordinate
from ipha_toolkit.volume import Mask, Volume

_HALF_WIDTH_MM = 55.0
_BEHIND_MM = 45.0
_BEFORE_MM = 25.0
_KEPT_AROUND_MODE = 0.25
_FEWEST_VOXELS = 30
_SMALL_ML = 2.0
_ASYMMETRY = 0.25
_TRIM = 0.1

_COARSE_MM = 5.0
"""Finest spacing above which pieces of muscle are a voxel or two wide, so that nothing survives an erosion. Chosen."""

_SLOPE_FLOOR = 0.05
"""Relative change from voxel to voxel below which a voxel is as good as pure: noise alone makes as much. Chosen."""

_FLATTEST = 0.25
"""Of coarse voxels at muscle's level, the share of least slope that is kept: the rest mixes fat and lung. Chosen."""

_PROMINENCE, _COARSE_PROMINENCE = 0.3, 0.15
"""Of a mode of the signal, over the highest density; on coarse voxels mixtures fill the valley beside it. Chosen."""

_COARSEST_MM = 7.0
"""Chosen on phantoms: muscle's level within 4 % on voxels of 6 mm, 7 % on those of 8 mm, where half of a filled lung is
lost as well."""


def reference_tissue(volume: Volume, lungs: Mask, *, sides: Sides | None = None) -> Mask:
    """Find paraspinal skeletal muscle in an MR image.

    Parameters
    ----------
    volume : Volume
        T1w, T2w or a first echo; remove the bias field first (:func:`ipha_toolkit.image.bias.correct_bias`), or
        shading passes for tissue contrast.
    lungs : Mask
        On the same grid.
    sides : (Mask, Mask), optional
        Left and right lung where they are known already.

    Returns
    -------
    Mask
        Muscle on both sides of the spine, behind and medial to the lungs.

    Raises
    ------
    GridError
        Where lungs lie on another grid.
    ImageError
        Where there is no lung, too little muscle beside the spine, or a voxel's finest side is over 7 mm: pass a mask
        made by hand instead.

    Notes
    -----
    Between the lungs' backs and the skin there are muscle and fat, and fat is the brighter one in T1w and T2w alike. Of
    the modes of the region's histogram of log signal above the lungs' boundary level, the darkest that holds a fair
    share is taken for muscle, and voxels within 25 % of it are kept where they form solid pieces. Where the finest side
    of a voxel is over 5 mm no piece is solid: there a voxel counts the less the more the signal changes beside it, as
    such voxels mix tissues, and the flattest fourth is kept. Limits chosen on a chest of ellipsoids and looked at on
    real scans.
    """
    volume.require_same_grid(lungs)
    name = volume.name or "volume"
    if not lungs.n_voxels:
        raise ImageError(f"{name}: the lung mask is empty, muscle is looked for behind the lungs")
    finest_mm = min(s for s, n in zip(volume.spacing_mm, volume.shape, strict=True) if n > 1)
    if finest_mm > _COARSEST_MM:
        raise ImageError(
            f"{name}: voxels of {finest_mm:g} mm mix muscle with fat; muscle is looked for where the finest side of a "
            f"voxel is {_COARSEST_MM:g} mm at most. Pass a muscle mask made by hand as the reference"
        )
    region = _paraspinal(lungs, sides or split_left_right(lungs)) & ~_grown(lungs, 3.0)
    floor = _tissue_floor(volume, lungs)
    tissue = region & (volume.array > floor)
    if np.count_nonzero(tissue) < _FEWEST_VOXELS:
        raise ImageError(_not_found(name))
    muscle = _flat_muscle(volume, tissue) if finest_mm > _COARSE_MM else _solid_muscle(volume, tissue)
    if np.count_nonzero(muscle) < _FEWEST_VOXELS:
        raise ImageError(_not_found(name))
    return lungs.replace(array=muscle, name="paraspinal muscle")


def muscle_flags(muscle: Mask, lungs: Mask) -> list[str]:
    """Flags of a muscle mask: ``small_reference`` (< 2 mL), ``asymmetric_reference`` (sides differ by > 25 %).

    Sides are those of the plane halfway between the lungs' outer borders; asymmetry is the difference of the two
    volumes over their mean. Also for masks made elsewhere.
    """
    middle = sum(lung_extent(lungs, 0)) / 2 if lungs.n_voxels else 0.0
    on_right = np.broadcast_to(world_coordinate(muscle, 0) > middle, muscle.shape)
    total, right = muscle.n_voxels, int(np.count_nonzero(muscle.array & on_right))
    flags = ["small_reference"] if muscle.volume_ml < _SMALL_ML else []
    if total and abs(2 * right - total) / (total / 2) > _ASYMMETRY:
        flags.append("asymmetric_reference")
    return flags


def muscle_level(volume: Volume, muscle: Mask) -> float:
    """Signal level of the muscle.

    Parameters
    ----------
    volume : Volume
    muscle : Mask
        On the same grid.

    Returns
    -------
    float
        Mean of the middle 80 % of voxels, in the volume's unit: unlike a median it is not tied to the whole numbers of
        a coarsely stored scan, and unlike a mean not to stray fat.

    Raises
    ------
    GridError
        Where the mask lies on another grid.
    ImageError
        Where no voxel of the mask has a value.
    """
    from scipy.stats import trim_mean

    volume.require_same_grid(muscle)
    values = volume.array[muscle.array].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        raise ImageError(f"{volume.name or 'volume'}: the muscle mask holds no voxel with a value")
    return float(trim_mean(values, _TRIM))


def _not_found(name: str) -> str:
    return (
        f"{name}: no skeletal muscle found beside the spine; does the field of view reach the back? "
        "Pass a muscle mask made by hand as the reference"
    )


def _paraspinal(lungs: Mask, sides: Sides) -> BoolArray:
    """The box beside the spine, around the lungs' posterior border."""
    back, front = lung_extent(lungs, 1)
    x, y, z = (world_coordinate(lungs, axis) for axis in range(3))
    low, high = lung_extent(lungs, 2)
    middle = _spine_x(*sides)
    box = (np.abs(x - middle) > 8.0) & (np.abs(x - middle) < _HALF_WIDTH_MM)
    box = box & (y > back - _BEHIND_MM) & (y < min(back + _BEFORE_MM, (back + front) / 2)) & (z >= low) & (z <= high)
    return np.broadcast_to(box, lungs.shape).copy()


def _spine_x(left: Mask, right: Mask) -> float:
    if left.n_voxels and right.n_voxels:
        return (lung_extent(left, 0)[1] + lung_extent(right, 0)[0]) / 2
    return lung_extent(left, 0)[1] + 30.0 if left.n_voxels else lung_extent(right, 0)[0] - 30.0


def _solid_muscle(volume: Volume, tissue: BoolArray) -> BoolArray:
    """Solid pieces at the level of muscle."""
    mode = darkest_mode(volume.array[tissue])
    return _solid(_near(volume, tissue, mode), volume.spacing_mm)


def _flat_muscle(volume: Volume, tissue: BoolArray) -> BoolArray:
    """Voxels at the level of muscle where the signal changes least: no piece is solid on coarse voxels."""
    slope = _slope(volume.array)
    mode = darkest_mode(volume.array[tissue], weights=1 / (_SLOPE_FLOOR + slope[tissue]), prominence=_COARSE_PROMINENCE)
    near = _near(volume, tissue, mode)
    return np.asarray(near & (slope < np.quantile(slope[near], _FLATTEST)))


def _near(volume: Volume, tissue: BoolArray, mode: float) -> BoolArray:
    return np.asarray(tissue & (np.abs(volume.array / np.float32(mode) - 1) < _KEPT_AROUND_MODE))


def _grown(mask: Mask, distance_mm: float) -> BoolArray:
    return _grown_by(mask, _steps(mask, distance_mm))


def _shell(mask: Mask, inner_mm: float, outer_mm: float) -> BoolArray:
    """What lies between two distances; along axes of fine sampling one voxel at the least, however coarse it is."""
    inner, outer = _steps(mask, inner_mm), _steps(mask, outer_mm)
    outer = [
        max(far, near + fine) if near else 0
        for near, far, fine in zip(inner, outer, _fine(mask.spacing_mm), strict=True)
    ]
    return _grown_by(mask, outer) & ~_grown_by(mask, inner)


def _steps(mask: Mask, distance_mm: float) -> list[int]:
    return [max(1, round(distance_mm / s)) if n > 1 else 0 for s, n in zip(mask.spacing_mm, mask.shape, strict=True)]


def _grown_by(mask: Mask, steps: list[int]) -> BoolArray:
    from scipy import ndimage

    grown = ndimage.maximum_filter(mask.array.view(np.uint8), size=[2 * s + 1 for s in steps])
    return np.asarray(grown.astype(bool))


def _fine(spacing: tuple[float, float, float]) -> list[bool]:
    """Axes sampled less than twice as coarsely as the finest."""
    return [s < 2 * min(spacing) for s in spacing]


def _tissue_floor(volume: Volume, lungs: Mask) -> float:
    """Signal halfway between the lungs and what surrounds them."""
    shell = _shell(lungs, 4.0, 8.0)
    inner, outer = volume.array[lungs.array], volume.array[shell]
    outer = outer[np.isfinite(outer)]
    if not outer.size or not np.isfinite(inner).any():
        raise ImageError(_not_found(volume.name or "volume"))
    return float((np.nanmedian(inner) + np.median(outer)) / 2)


def _slope(array: FloatArray) -> FloatArray:
    """Change of the signal from voxel to voxel over the signal."""
    from scipy import ndimage

    sigma = [0.5 if n > 1 else 0.0 for n in array.shape]
    return np.asarray(ndimage.gaussian_gradient_magnitude(array, sigma) / np.maximum(array, np.finfo(np.float32).tiny))


def darkest_mode(
    values: FloatArray, *, weights: npt.NDArray[np.floating] | None = None, prominence: float = _PROMINENCE
) -> float:
    """Darkest mode of the log signal that reaches half the density of the highest and stands out; values above 0."""
    from scipy import ndimage
    from scipy.signal import find_peaks

    logs = np.log(np.asarray(values, np.float64))
    edges = np.arange(logs.min() - 0.5, logs.max() + 0.51, 0.01)
    counts, _ = np.histogram(logs, edges, weights=weights)
    density = ndimage.gaussian_filter1d(counts.astype(float), 8.0)
    peaks, _ = find_peaks(density, height=0.5 * density.max(), prominence=prominence * density.max())
    return float(np.exp(edges[peaks[0]] + 0.005))


def _solid(mask: BoolArray, spacing: tuple[float, float, float]) -> BoolArray:
    """Pieces that survive an opening in the plane of finest sampling, at least a tenth of the largest."""
    from scipy import ndimage

    fine = _fine(spacing)
    structure = ndimage.generate_binary_structure(3, 1)
    for axis in range(3):
        if not fine[axis] or mask.shape[axis] < 3:
            keep = [slice(None)] * 3
            keep[axis] = slice(1, 2)
            structure = structure[tuple(keep)]
    core = ndimage.binary_opening(mask, structure)
    labels, count = ndimage.label(core)
    if not count:
        return np.asarray(core)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= 0.1 * sizes.max())[labels] & core)
