"""Parts of the lungs: sides, thirds of height, central and peripheral, dorsal and ventral.

All are cut in millimetres of the patient (RAS+), whatever the order of the array's axes.

| region | definition |
| --- | --- |
| left, right | the patient's; see :func:`split_left_right` |
| upper, middle, lower | thirds of the height of both lungs together: two horizontal planes, as on a radiograph |
| dorsal, ventral | behind and before the coronal plane halfway between the lungs' anterior and posterior ends |
| central, peripheral | the inner two thirds of the way from hilum to pleura, and the outer third |

The hilum is taken where the lung is most medial, at half height; pleura means that of chest wall and diaphragm.
Highest, lowest and so on leave out the outermost 0.1 % of voxels. The definitions are our own: no standard fixes them
for CT or MRI.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box, depth_mm, enlarged_slabs
from ipha_toolkit.terms import Region
from ipha_toolkit.volume import Mask, handed_over


def anterior_mm(mask: Mask) -> npt.NDArray[np.float64]:
    """World y in mm of every voxel inside the mask, in the order of ``array[mask.array]``."""
    return np.asarray(np.broadcast_to(world_coordinate(mask, 1), mask.shape)[mask.array], np.float64)


_COARSE_MM = 4.0

_OUTERMOST = 0.001

_SMALLEST_SHARE = 0.05

_VALLEY = 0.5

_CENTRAL_SHARE = 2 / 3

_EROSIONS_MM = (0.0, 2.0, 4.0, 6.0, 9.0, 12.0)


Sides = tuple[Mask, Mask]
"""Left and right lung, as of :func:`split_left_right`."""


def lung_regions(lungs: Mask, *, sides: Sides | None = None) -> dict[str, Mask]:
    """The lungs and their parts.

    Parameters
    ----------
    lungs : Mask
        Any affine.
    sides : (Mask, Mask), optional
        Left and right where they are known already; None means :func:`split_left_right` of the lungs.

    Returns
    -------
    dict of str to Mask
        Keys are values of :class:`ipha_toolkit.terms.Region`, masks are on the grid of ``lungs``. What cannot be
        shown is left out: the missing side where there is one lung; thirds of height in an axial slice, dorsal and
        ventral in a coronal one, sides in a sagittal one.

    Raises
    ------
    ImageError
        Where the mask is empty.

    Notes
    -----
    In a cut field of view the parts are of what is shown: see the flag ``cut_field_of_view``.
    """
    _require_lung(lungs)
    left, right = split_left_right(lungs) if sides is None else sides
    parts: dict[str, BoolArray] = {Region.LUNG: lungs.array}
    parts |= {name: side.array for name, side in ((Region.LEFT, left), (Region.RIGHT, right)) if side.n_voxels}
    parts |= _thirds(lungs) | _halves(lungs) | _central(lungs, left, right)
    return {str(name): lungs.replace(array=handed_over(part), name=str(name)) for name, part in parts.items()}


def lung_region(lungs: Mask, name: str) -> Mask:
    """One of :func:`lung_regions`, without the work of finding those it does not need.

    Raises
    ------
    ImageError
        Where the mask is empty.
    KeyError
        Where the lungs shown have no such part; the message lists those there are.
    """
    _require_lung(lungs)
    cheap: dict[str, Callable[[Mask], dict[str, BoolArray]]] = dict.fromkeys(("upper", "middle", "lower"), _thirds)
    cheap |= dict.fromkeys(("dorsal", "ventral"), _halves)
    if name == Region.LUNG:
        return lungs
    if name in ("left", "right"):
        side = split_left_right(lungs)[name == "right"]
        parts = {name: side.array} if side.n_voxels else {}
    else:
        parts = cheap[name](lungs) if name in cheap else {k: v.array for k, v in lung_regions(lungs).items()}
    if name not in parts:
        raise KeyError(f"{lungs.name or 'lung mask'} has no part {name}; there are {', '.join(lung_regions(lungs))}")
    return lungs.replace(array=handed_over(parts[name]), name=str(name))


def split_left_right(lungs: Mask) -> tuple[Mask, Mask]:
    """Tell the patient's left lung from the right.

    Parameters
    ----------
    lungs : Mask
        Both lungs, one, or pieces of them. Any affine.

    Returns
    -------
    left, right : Mask
        Together all of ``lungs``. One is empty where there is only one lung.

    Raises
    ------
    ImageError
        Where the mask is empty.

    Notes
    -----
    The mid-sagittal plane is the valley of the lungs' profile along x. Lungs that touch across it, at the anterior or
    posterior junction line, are eroded until they come apart, and the pieces grown back. Without a valley there is
    one lung; its concavities (heart, hilum) then tell which of its sides is medial.
    """
    _require_lung(lungs)
    canonical = lungs.to_ras()
    right = _right_side(canonical)
    if canonical is not lungs:
        right = _back_to(lungs, canonical.replace(array=right))
    return (
        lungs.replace(array=handed_over(lungs.array & ~right), name="left lung"),
        lungs.replace(array=handed_over(lungs.array & right), name="right lung"),
    )


def world_coordinate(mask: Mask, axis: int) -> npt.NDArray[np.float32]:
    """World coordinate 0 (right), 1 (anterior) or 2 (superior) of every voxel, in mm; broadcasts to the grid."""
    row = mask.affine[axis]
    terms = []
    for index, size in enumerate(mask.shape):
        shape = [-1 if a == index else 1 for a in range(3)]
        step = row[index] if abs(row[index]) > 1e-6 else 0.0
        terms.append((np.arange(size if step else 1) * step).reshape(shape))
    return np.asarray(terms[0] + terms[1] + terms[2] + row[3], np.float32)


def lung_extent(lungs: Mask, axis: int) -> tuple[float, float]:
    """Lowest and highest world coordinate of lung voxels along an axis, in mm, the outermost 0.1 % left out."""
    coordinate = world_coordinate(lungs, axis)
    along = [a for a, n in enumerate(coordinate.shape) if n > 1]
    if len(along) > 1:
        box = tuple(slice(a, b) for a, b in bounding_box(lungs.array))
        values = np.broadcast_to(coordinate, lungs.shape)[box][lungs.array[box]]
        low, high = np.quantile(values, [_OUTERMOST, 1 - _OUTERMOST], method="nearest")
        return float(low), float(high)
    others = tuple(a for a in range(3) if a not in along)
    counts = np.atleast_1d(np.count_nonzero(lungs.array, axis=others))
    values = np.broadcast_to(coordinate.ravel(), counts.shape)
    order = np.argsort(values)
    share = np.cumsum(counts[order]) / counts.sum()
    ends = np.searchsorted(share, [_OUTERMOST, 1 - _OUTERMOST])
    return float(values[order][ends[0]]), float(values[order][ends[1]])


def _require_lung(lungs: Mask) -> None:
    if not lungs.array.any():
        raise ImageError(f"{lungs.name or 'lung mask'}: is empty, there is no lung to divide")


def _shown(lungs: Mask, axis: int, parts: int) -> tuple[float, float] | None:
    """Extent along a world axis, or None where it is too short to be divided."""
    low, high = lung_extent(lungs, axis)
    step = float(np.abs(lungs.affine[axis, :3]).max())
    return None if high - low < (parts - 0.5) * step or high - low <= 0 else (low, high)


def _thirds(lungs: Mask) -> dict[str, BoolArray]:
    extent = _shown(lungs, 2, 3)
    if extent is None:
        return {}
    low, high = extent
    z = world_coordinate(lungs, 2)
    first, second = low + (high - low) / 3, low + 2 * (high - low) / 3
    return {
        Region.UPPER: lungs.array & (z >= second),
        Region.MIDDLE: lungs.array & (z >= first) & (z < second),
        Region.LOWER: lungs.array & (z < first),
    }


def _halves(lungs: Mask) -> dict[str, BoolArray]:
    extent = _shown(lungs, 1, 2)
    if extent is None:
        return {}
    front = world_coordinate(lungs, 1) >= sum(extent) / 2
    return {Region.DORSAL: lungs.array & ~front, Region.VENTRAL: lungs.array & front}


def _central(lungs: Mask, left: Mask, right: Mask) -> dict[str, BoolArray]:
    if _shown(lungs, 0, 2) is None:
        return {}
    central = np.zeros(lungs.shape, bool)
    for side, medial in ((left, 1), (right, -1)):
        if side.n_voxels:
            central |= _around_hilum(side.to_ras(), medial, side) & side.array
    return {Region.CENTRAL: central, Region.PERIPHERAL: lungs.array & ~central}


def _around_hilum(side: Mask, medial: int, original: Mask) -> BoolArray:
    """Voxels of one lung in the inner two thirds of the way from its hilum to costal and diaphragmatic pleura."""
    factors = block_factors(side, _COARSE_MM)
    inside = block_mean(side.array, factors) >= 0.5
    if not inside.any():
        return np.zeros(original.shape, bool)
    spacing = np.array(side.spacing_mm) * factors
    hilum = _hilum(inside, spacing, medial)
    index = np.indices(inside.shape, np.float32)
    to_hilum = np.sqrt(sum(((index[a] - hilum[a]) * spacing[a]) ** 2 for a in range(3)))
    filled = _fill_medially(inside, medial)
    flat = [axis for axis in range(3) if inside.shape[axis] == 1]
    walled = np.pad(filled, [(0, 0) if axis in flat or axis == 0 else (1, 1) for axis in range(3)])
    to_pleura = depth_mm(walled, spacing)
    to_pleura = to_pleura[tuple(slice(None) if a in flat or a == 0 else slice(1, -1) for a in range(3))]
    margin = (_CENTRAL_SHARE * (to_pleura + to_hilum) - to_hilum).astype(np.float32)
    central = side.replace(array=_above(margin, 0.0, factors, side.shape))
    return central.array if side is original else _back_to(original, central)


def _hilum(inside: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> tuple[float, float, float]:
    """Index of the hilum: at half height and half depth of the lung there, on its medial border."""
    k = np.flatnonzero(inside.any(axis=(0, 1)))
    level = float(k[0] + k[-1]) / 2
    reach = max(0.5, 0.1 * (k[-1] - k[0]))
    slab = inside[:, :, int(np.floor(level - reach + 0.5)) : int(np.ceil(level + reach - 0.5)) + 1]
    slab = slab if slab.any() else inside
    i, j, _ = np.nonzero(slab)
    border = np.quantile(i, 0.95 if medial > 0 else 0.05)
    return float(border), float(np.median(j)), level


def _fill_medially(inside: BoolArray, medial: int) -> BoolArray:
    """The lung with every row filled from its most lateral voxel to the medial end of the grid."""
    forward = inside if medial > 0 else inside[::-1]
    filled = np.logical_or.accumulate(forward, axis=0)
    return np.asarray(filled if medial > 0 else filled[::-1])


def _back_to(original: Mask, canonical: Mask) -> BoolArray:
    """A mask of the RAS grid on the original's axes: the same voxels, in the original's order."""
    from ipha_toolkit.image.geometry import resample_to

    return resample_to(canonical, original, order=0).array


def _right_side(lungs: Mask) -> BoolArray:
    """Which voxels of a RAS grid belong to the right lung (true also outside the lungs, arbitrarily)."""
    factors = block_factors(lungs, 0.75 * _COARSE_MM)
    share = block_mean(lungs.array, factors)
    inside = share >= min(0.5, float(share.max()))
    spacing = tuple(float(s * f) for s, f in zip(lungs.spacing_mm, factors, strict=True))
    middle = _mid_sagittal(inside, spacing[0])
    if middle is None:
        return np.full(lungs.shape, _is_right(inside))
    right = _grown_sides(inside, spacing, middle)
    return _above(right.astype(np.float32), 0.5, factors, lungs.shape)


def _above(blocks: FloatArray, limit: float, factors: tuple[int, int, int], shape: tuple[int, int, int]) -> BoolArray:
    """Where blocks, interpolated back to the voxels, lie above a limit."""
    above = np.empty(shape, bool)
    for where, slab in enlarged_slabs(blocks, factors, shape):
        above[where] = slab > limit
    return above


def _mid_sagittal(inside: BoolArray, step_mm: float) -> float | None:
    """Index along i of the valley between two lungs; None where the profile has one hill."""
    from scipy import ndimage

    profile = ndimage.gaussian_filter1d(inside.sum(axis=(1, 2)).astype(float), 8.0 / step_mm, mode="constant")
    hill_left, hill_right = np.maximum.accumulate(profile), np.maximum.accumulate(profile[::-1])[::-1]
    lower = np.minimum(hill_left, hill_right)
    depth = lower - profile
    deepest = depth.max()
    if deepest <= 0 or deepest < _VALLEY * lower[int(np.argmax(depth))]:
        return None
    middle = float(np.mean(np.flatnonzero(depth >= 0.98 * deepest)))
    low = inside[: int(np.ceil(middle))].sum() / inside.sum()
    return middle if _SMALLEST_SHARE <= low <= 1 - _SMALLEST_SHARE else None


def _is_right(inside: BoolArray) -> bool:
    """Whether a lone lung is a right one: the concavities of its slices (heart, hilum) lie medially, at lower x."""
    from skimage.morphology import convex_hull_image

    lung, gap = np.zeros(inside.shape[0]), np.zeros(inside.shape[0])
    for k in np.flatnonzero(inside.sum(axis=(0, 1)) >= 20):
        plane = inside[:, :, k]
        lung += plane.sum(axis=1)
        gap += (convex_hull_image(plane) & ~plane).sum(axis=1)
    if not gap.sum():
        return bool(np.average(np.arange(len(lung)), weights=inside.sum(axis=(1, 2))) > (len(lung) - 1) / 2)
    i = np.arange(len(lung))
    return bool(np.average(i, weights=gap) < np.average(i, weights=lung))


def _grown_sides(inside: BoolArray, spacing: tuple[float, ...], middle: float) -> BoolArray:
    """Right side by pieces of the eroded lungs, grown back over the mask."""
    from scipy import ndimage
    from skimage.segmentation import watershed

    depth = depth_mm(np.pad(inside, 1), spacing)[1:-1, 1:-1, 1:-1]
    on_right = np.arange(inside.shape[0])[:, None, None] > middle
    seeds = np.where(inside, np.where(on_right, 2, 1), 0)
    for erosion in _EROSIONS_MM:
        pieces, count = ndimage.label(depth > erosion)
        if not count:
            break
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        shares = np.bincount(pieces.ravel(), np.broadcast_to(on_right, inside.shape).ravel(), count + 1) / np.maximum(
            sizes, 1
        )
        large = sizes > 0.02 * inside.sum()
        large[0] = False
        if large.any() and (np.minimum(shares, 1 - shares)[large] < 0.1).all():
            side = np.where(shares > 0.5, 2, 1) * large
            seeds = side[pieces]
            break
    if {1, 2} - set(np.unique(seeds).tolist()):
        seeds = np.where(inside, np.where(on_right, 2, 1), 0)
    grown = watershed(-depth, seeds.astype(np.int32), mask=inside)
    _, nearest = ndimage.distance_transform_edt(grown == 0, sampling=spacing, return_indices=True)
    return np.asarray(grown[tuple(nearest)] == 2)
