"""Whether an MR image is one of the chest, with lungs of a chest's shape, place and size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray
from ipha_toolkit.image.geometry import block_mean
from ipha_toolkit.image.morphology import dilate_by, largest_piece
from ipha_toolkit.volume import Mask, Volume

_COARSE_MM = 4.0
_LEAST_STEP = 1.0
"""Of signal from lung to what is around, in SD of both. Chosen: noise 0.0, real chests and simulated bleeds 1.9 to 16.
"""
_LEAST_FILL = 0.5
"""Of the convex outline of one lung's planes. Chosen: lungs 0.7 to 0.95, strips of muscle and fat below 0.45."""

_LEAST_HALF = 0.72
"""Of the outline of what lies right and left of the lungs' middle, where a side itself fills less: beside much disease
some of one lung is dealt to the other, and the outline of both is hardly filled. Chosen on phantoms and the kidney
series, none kept apart: lungs so dealt 0.75 to 0.89, bowel and muscle 0.34 to 0.68."""
_LEAST_SHARE = 0.07
"""Lung volume over the 3/2 power of the body's cross-section. Chosen: MRI of whole lungs 0.16 to 0.30, those of which
only the tips were found 0.03 to 0.04."""
_LEAST_SIDE = 0.25
_LEAST_WIDTH_MM = 100.0
_MIDDLE = 0.035
_MOST_IN_THE_MIDDLE = 0.12
"""Of the dark spaces, within 3.5 % of the body's width of its middle. Chosen: phantoms and real chests 0 to 0.06, whole
or in stacks of six slices of any direction; a spine of an abdomen taken for lung 0.12 to 0.22."""
_LEAST_BETWEEN = 0.5
"""Of the body's greatest depth, in its middle: less is the gap between a pair of legs. Chosen on simulated ones."""
_LEAST_DEPTH, _USUAL_DEPTH = 0.4, 0.6
"""Of the body's depth, that lungs reach over, from the ribs in front to those at the back: less is refused, less than
usual looked at again. Chosen on phantoms, a second generator and four real chests: 0.57 to 0.73, one measured of lungs
full of water 0.48; columns of muscle in simulated pelves 0.22 to 0.28, bulky muscle beside hips 0.51 to 0.57."""
_LEAST_DOME = 0.06
"""Of the height of a lung, that its lower surface lies higher in the middle than at its rim: the dome of the diaphragm.
Chosen on the same: chests 0.08 to 0.37, real ones 0.11 to 0.14, muscle of pelves -0.11 to 0.08."""
_LEAST_ABREAST = 0.5
"""Of the height of the shorter side that the taller one shares. Chosen: phantoms and real chests 0.91 to 1."""
_ONE_LUNG_SHARE = 0.05
_REACHING_OVER = 0.35
"""Of a lung alone, beyond the middle of the body, towards a collapsed one. Chosen."""
_LEAST_ONE_LUNG_ML = 60.0
"""Lungs of an infant, both: a single one of less beside no other is none."""
_CUT_SHARE = 0.01


def require_chest(lungs: Mask, image: Volume, sides: Sequence[BoolArray]) -> None:
    """Refuse an MR image whose dark spaces cannot be lungs.

    Parameters
    ----------
    lungs : Mask
        As found, in RAS order.
    image : Volume
        T1w, T2w or MEGRE on the same grid.
    sides : two bool arrays
        Left and right lung, on any grid of the same axes.

    Raises
    ------
    ImageError
        Where the dark spaces do not stand out from what is around by 1 SD (noise), fill less than half of their own
        outline, side by side and parted in the middle (strips between muscles, gaps between organs), do not lie beside
        a spine (on the middle of the body, on both sides of a gap as in a pair of legs, one above the other, or a
        single one of under 60 mL), reach over little of the body's depth (muscle of a pelvis), or are too small for the
        body they lie in (lung as bright as tissue was not found). The last is not asked where lungs reach the upper or
        lower border.
    """
    inside, signal, around, spacing = _seen_coarsely(lungs, image)
    if not inside.any():
        return
    step = _step(image, lungs, signal, inside, around)
    if step < _LEAST_STEP:
        raise _no_chest(image, f"the dark spaces differ from what is around them by {step:.1f} SD, as in noise")
    fill = _least_fill(sides)
    if fill < _LEAST_FILL and _least_fill(_halves(sides)) < _LEAST_HALF:
        raise _no_chest(image, f"the dark spaces are no lungs by their shape: they fill {fill:.0%} of their outline")
    alone = bool(min(map(np.count_nonzero, sides)) < _ONE_LUNG_SHARE * sum(map(np.count_nonzero, sides)))
    body = _body(inside, signal, around)
    misplaced = _misplaced(inside, body, spacing, alone=alone, whole=min(image.shape) > 1)
    if misplaced:
        raise _no_chest(image, f"the dark spaces are no lungs by their place: {misplaced}")
    share = _share_of_body(inside, signal, around, spacing)
    if share < _LEAST_SHARE:
        raise _no_chest(
            image,
            f"only {lungs.volume_ml:.0f} mL of dark lung in a chest that holds far more: lung as bright as the tissue "
            "around, as after bleeding, is not told from it",
        )
    depth = _depth_share(inside, body, spacing)
    if depth < _LEAST_DEPTH:
        raise _no_chest(image, f"the dark spaces reach over {depth:.0%} of the body's depth: no lungs within ribs")


def perhaps_no_chest(lungs: Mask, image: Volume) -> bool:
    """Whether dark spaces of an MR image may be muscle of a pelvis: hardly as deep as lungs, and without domes below.

    Parameters
    ----------
    lungs : Mask
    image : Volume
        T1w, T2w or MEGRE on the same grid.

    Returns
    -------
    bool
        False also where nobody can tell: one slice, a slab, lungs that reach the lower border of the image.
    """
    inside, signal, around, spacing = _seen_coarsely(lungs.to_ras(), image.to_ras())
    if not inside.any() or inside[:, :, 0].any():
        return False
    body = _body(inside, signal, around)
    return _depth_share(inside, body, spacing) < _USUAL_DEPTH and _dome(inside, body, spacing) < _LEAST_DOME


def _seen_coarsely(
    lungs: Mask, image: Volume
) -> tuple[BoolArray, npt.NDArray[np.float32], BoolArray, npt.NDArray[np.float64]]:
    """Lungs, signal, what is 4 to 12 mm beside the lungs, and the spacing, on voxels of about 4 mm."""
    factors = image.grid.block_factors(_COARSE_MM)
    spacing = np.array(image.grid.coarser(factors).spacing_mm)
    inside = block_mean(lungs.array, factors) >= 0.5
    around = dilate_by(inside, spacing, 12.0) & ~dilate_by(inside, spacing, 4.0) if inside.any() else inside
    return inside, block_mean(image.array, factors), around, spacing


def _depth_share(inside: BoolArray, body: BoolArray, spacing: npt.NDArray[np.float64]) -> float:
    """Of the body's depth, what both lungs reach over in the median axial plane; infinite in slabs of little depth."""
    shares = []
    for k in np.flatnonzero(inside.any(axis=(0, 1))):
        trunk = np.flatnonzero(_trunk(body[:, :, k]).any(axis=0))
        if len(trunk) and np.ptp(trunk) * spacing[1] >= _LEAST_WIDTH_MM:
            shares.append(np.ptp(np.flatnonzero(inside[:, :, k].any(axis=0))) / np.ptp(trunk))
    return float(np.median(shares)) if shares else np.inf


def _trunk(plane: BoolArray) -> BoolArray:
    """The largest piece of the body in an axial plane, with what it encloses: neither arms nor bed."""
    from scipy import ndimage

    return largest_piece(ndimage.binary_fill_holes(ndimage.binary_opening(plane)))


def _dome(inside: BoolArray, body: BoolArray, spacing: npt.NDArray[np.float64]) -> float:
    """How much higher the lower surface lies in a lung's middle than at its rim, over its height; of the better side.

    Infinite where no side is wide enough to have a middle.
    """
    from scipy import ndimage

    columns = body.sum(axis=(1, 2)).cumsum()
    middle = int(np.searchsorted(columns, columns[-1] / 2))
    domes = []
    for half in (inside[:middle], inside[middle:]):
        floor = half.any(axis=2)
        depth = ndimage.distance_transform_edt(np.pad(floor, 1), sampling=spacing[:2])[1:-1, 1:-1]
        core, rim = depth > 0.5 * depth.max(), floor & (depth <= 0.25 * depth.max())
        if not core.any() or not rim.any():
            continue
        height = np.ptp(np.flatnonzero(half.any(axis=(0, 1)))) + 1
        lowest = np.argmax(half, axis=2)
        domes.append((np.median(lowest[core]) - np.quantile(lowest[rim], 0.1)) / height)
    return float(max(domes, default=np.inf))


def _step(image: Volume, lungs: Mask, signal: npt.NDArray[np.float32], inside: BoolArray, around: BoolArray) -> float:
    """Step of signal from lung to what is around, over the mean SD within each, voxel by voxel."""
    lung, beside = image.array[lungs.array], signal[around]
    if not beside.size:
        return np.inf
    spreads = [np.subtract(*np.nanpercentile(values, [75, 25])) / 1.349 for values in (lung, beside)]
    grain = np.nanmedian(np.abs(np.diff(image.array, axis=int(np.argmax(image.shape))))) / 0.954
    spread = (max(spreads[0], grain) + max(spreads[1], grain)) / 2
    return float((np.median(beside) - np.nanmedian(lung)) / max(spread, 1e-9))


def _least_fill(parts: Sequence[BoolArray]) -> float:
    """Share of its outline that the less filled part fills; a part of under a fourth of both is not asked."""
    least = _LEAST_SIDE * sum(map(np.count_nonzero, parts))
    return min(_fill(part) for part in parts if np.count_nonzero(part) > least)


def _halves(sides: Sequence[BoolArray]) -> tuple[BoolArray, BoolArray]:
    """Both lungs parted in the middle of their width, whichever side each voxel was dealt to."""
    whole = np.logical_or(*sides)
    columns = np.flatnonzero(whole.any(axis=(1, 2)))
    middle = (columns[0] + columns[-1]) // 2
    left = np.arange(whole.shape[0])[:, None, None] < middle
    return whole & left, whole & ~left


def _fill(side: BoolArray) -> float:
    """Share of its convex outline that a lung fills, in planes through the axis along which it is shortest."""
    from skimage.morphology import convex_hull_image

    through = int(np.argmin(side.shape))
    planes = [plane for plane in np.moveaxis(side, through, 0) if np.count_nonzero(plane) > 20]
    planes = [plane for plane in planes if min(np.ptp(np.nonzero(plane), axis=1)) > 1]
    if not planes:
        return 1.0
    chosen = planes[:: max(1, len(planes) // 12)]
    return float(sum(map(np.count_nonzero, chosen)) / sum(np.count_nonzero(convex_hull_image(p)) for p in chosen))


def _body(inside: BoolArray, signal: npt.NDArray[np.float32], around: BoolArray) -> BoolArray:
    """What is brighter than a quarter of the tissue beside the lungs, and the lungs."""
    return np.asarray((signal > 0.25 * np.median(signal[around])) | inside) if around.any() else inside


def _misplaced(
    inside: BoolArray, body: BoolArray, spacing: npt.NDArray[np.float64], *, alone: bool, whole: bool
) -> str:
    """Why dark spaces do not lie as lungs do, one on each side of a spine; empty where they do or nobody can say.

    A lung may be opaque or collapsed, so that one ``alone`` is seen: it lies mostly on one side. Not asked of sagittal
    slabs, which show no two sides. ``whole``: the image is no single slice, so that a volume can be too small.
    """
    from scipy import ndimage

    heights = np.flatnonzero(inside.any(axis=(0, 1)))
    columns = ndimage.binary_opening(body)[:, :, heights].sum(axis=(1, 2)).astype(float)
    if np.count_nonzero(columns) * spacing[0] < _LEAST_WIDTH_MM:
        return ""
    low, middle, high = (int(np.searchsorted(np.cumsum(columns), q * columns.sum())) for q in (0.02, 0.5, 0.98))
    lung = inside.sum(axis=(1, 2))
    reach = max(1, round(_MIDDLE * (high - low)))
    solid = np.stack([ndimage.binary_fill_holes(body[:, :, k]).sum(axis=1) for k in heights]).sum(axis=0)
    between = solid[max(middle - reach, 0) : middle + reach + 1].min() / solid.max()
    if between < _LEAST_BETWEEN:
        return f"the body has {between:.0%} of its depth between them, where the spine is"
    central = lung[max(middle - reach, 0) : middle + reach + 1].sum() / lung.sum()
    halves = inside[:middle], inside[middle + 1 :]
    lesser = min(map(np.count_nonzero, halves)) / lung.sum()
    if central > _MOST_IN_THE_MIDDLE and not (alone and lesser < _REACHING_OVER):
        return f"{central:.0%} of them lie on the middle of the body, where the spine is"
    if lesser < _ONE_LUNG_SHARE:
        volume_ml = lung.sum() * spacing.prod() / 1000
        small = whole and volume_ml < _LEAST_ONE_LUNG_ML
        return f"a single one of {volume_ml:.0f} mL with no second lung beside the spine" if small else ""
    spans = [_middle_span(half) for half in halves]
    shared = min(high for _, high in spans) - max(low for low, _ in spans)
    abreast = shared / max(min(high - low for low, high in spans), 1)
    return f"one lies above the other, {abreast:.0%} of them abreast" if abreast < _LEAST_ABREAST else ""


def _middle_span(side: BoolArray) -> tuple[float, float]:
    """Heights, in voxels, between which the middle nine tenths of a lung lie, the upper end excluded."""
    total = np.cumsum(side.sum(axis=(0, 1)))
    low, high = (float(np.searchsorted(total, share * total[-1])) for share in (0.05, 0.95))
    return low, high + 1


def _share_of_body(
    inside: BoolArray, signal: npt.NDArray[np.float32], around: BoolArray, spacing: npt.NDArray[np.float64]
) -> float:
    """Lung volume over the 3/2 power of the body's cross-section at the lungs; infinite where the image is cut."""
    from scipy import ndimage

    extent = np.array(inside.shape) * spacing
    ends = np.count_nonzero(inside[:, :, [0, -1]])
    if extent.min() < _LEAST_WIDTH_MM or ends > _CUT_SHARE * np.count_nonzero(inside) or not around.any():
        return np.inf
    body = _body(inside, signal, around)
    planes = np.flatnonzero(inside.any(axis=(0, 1)))
    areas = [np.count_nonzero(ndimage.binary_fill_holes(body[:, :, k])) * spacing[0] * spacing[1] for k in planes]
    return float(np.count_nonzero(inside) * spacing.prod() / np.median(areas) ** 1.5)


def _no_chest(image: Volume, seen: str) -> ImageError:
    return ImageError(
        f"{image.name or 'volume'}: does not look like a chest with its lungs dark: {seen}. Pass a lung mask, or the "
        "T1w of the same session, in which lung stays darker"
    )
