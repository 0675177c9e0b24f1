"""Lungs in MRI: the dark space between the chest walls, and bright disease grown back into it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray, Grid
from ipha_toolkit.image.geometry import block_factors, block_mean, enlarge, roomy_box
from ipha_toolkit.image.morphology import close_by, dilate_by, local_mean, open_by, touching
from ipha_toolkit.regions.airways import midline_tubes
from ipha_toolkit.regions.chest import require_chest
from ipha_toolkit.regions.lung_checks import lung_sized, no_lung
from ipha_toolkit.regions.lung_shape import costal_gaps, without_enclosed_holes
from ipha_toolkit.regions.mr_levels import (
    AIR_SHARE,
    SPACING_MM,
    evened,
    fat_is_dark,
    log_otsu,
    muscle_around,
    open_to_the_sides,
)
from ipha_toolkit.regions.zones import split_left_right
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_MR_CUT = 0.35

_MR_STEP_MM = 12.0

_SURE_TISSUE = 0.95
"""Of muscle's level: what is wide and brighter is no lung in T1w. Chosen on the phantom."""

_RIM_MM = 8.0

_FILLED_SHARE = 0.02
"""Where the flood finds this much more than the dark core and its border, lung may be filled. Chosen."""

_GENTLE = 0.4
"""Steepness of the signal from the core to what the flood adds, over that of the lungs' other border. Chosen on the
phantom, 0.25 where blood fills the lung, and on real chests, 0.57 or more where the flood ran into a dark heart."""

_STEEP, _OVER_LUNG = 0.6, 0.1
"""Steepness of a border to an organ below the diaphragm, over that of the lungs' other borders, and the most of it that
may lie above lung. Chosen on one phantom, 0.94 and 0; lung that blood fills mostly 0.15 to 0.4."""

_FAT_LEVEL, _IN_FAT = 1.15, 0.6
"""Of muscle's level, what is fat, and the share of fat around an organ. Chosen: a spleen 0.79, lung 0.28 to 0.38."""

_PATCHY_SHARE = 0.025
"""Holes over the lung found above which disease lies in patches. Chosen: health and real chests 0.001 to 0.012, patches
of blood from 0.04."""

_CLOSING_MM = 5.0

_PATCHY_CLOSING_MM = 18.0

_BRIGHT_LUNG_SHARE = 0.5
"""Of the tissue around it: what is darker may still be lung in T1w. Chosen."""

_BRIGHT_LUNG_GAIN = 2.0
"""Where that finds this much more than the cut by contrast, the latter cut through the lung. Chosen on the phantom: in
health, and in real chests, it finds 1.2 to 1.5 times as much, of which the border is taken back."""

_MR_EDGE = 0.4

_MR_EDGE_MM = 4.0


def segment_mr(volume: Volume) -> Mask:
    factors = block_factors(volume, SPACING_MM)
    grid = volume.grid.coarser(factors)
    spacing = np.array(grid.spacing_mm)
    signal = block_mean(volume.array, factors)
    if not signal.max() > signal.min():
        raise no_lung(volume, "the image is constant", signal)
    smooth = evened(signal, spacing)
    core = _enclosed_dark(smooth < log_otsu(smooth), spacing)
    if volume.modality == Modality.T1W:  # that cut may lie between air and a lung bright with disease or contrast agent
        bright = _enclosed_dark(smooth < _BRIGHT_LUNG_SHARE, spacing)
        core = bright if bright.sum() > _BRIGHT_LUNG_GAIN * core.sum() else core
    if not core.any():
        raise no_lung(volume, "no dark space enclosed by brighter tissue", signal)
    follow = volume.modality == Modality.T1W and min(core.shape) > 1  # in T2w blood is as bright as what is around
    dark = core
    score, core, filled = _cut_between_levels(smooth, core, spacing, follow=follow)
    box = roomy_box(core, spacing, 2 * _PATCHY_CLOSING_MM)
    sides = _whole(core[box], grid, filled)
    closed = np.zeros(core.shape, bool)
    closed[box] = _without_small_holes(sides[0] | sides[1], spacing)
    closed &= ~dilate_by(midline_tubes(closed, spacing), spacing, 1.1 * float(spacing.min()))
    score = np.where(closed, np.where(core, np.maximum(score, 0.02), 0.25), np.minimum(score, -0.02))
    fine = enlarge(score.astype(np.float32), factors, volume.shape) > 0
    lungs = Mask(fine, volume.affine, name="lungs")
    require_chest(lungs, volume, sides)
    if filled and fat_is_dark(smooth, dark, muscle_around(smooth, dark, spacing), spacing):
        raise ImageError(
            f"{volume.name or 'volume'}: its fat is suppressed and its lungs are partly filled: fat between the organs "
            "is as dark as such lung and not told from it. Pass a lung mask, or a T1w with bright fat"
        )
    return lungs


def _without_small_holes(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Holes up to 1 cm2 filled in every plane of finest sampling: vessels in cross-section."""
    from skimage.morphology import remove_small_holes

    through = int(np.argmax(np.where(np.array(mask.shape) == 1, np.inf, spacing)))
    area = float(np.prod(np.delete(spacing, through)))
    planes = np.moveaxis(mask, through, 0)
    filled = np.stack([remove_small_holes(plane, max_size=max(1, int(100.0 / area))) for plane in planes])
    return np.asarray(np.moveaxis(filled, 0, through))


def _enclosed_dark(dark: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Large dark spaces shut off from the sides of the image, at least 5 % of the largest, not below it."""
    from scipy import ndimage

    opened = open_by(dark, spacing, 4.0)
    outside = open_to_the_sides(opened)
    opened &= ~outside
    labels, count = ndimage.label(opened)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    size[0] = 0
    leak = np.bincount(labels[_beside(outside, spacing)], minlength=count + 1)
    size = np.where(leak < 0.02 * size, size, 0)
    if not lung_sized(int(size.max()), dark.shape, spacing):
        return np.zeros(dark.shape, bool)
    heights = np.broadcast_to(np.arange(dark.shape[2]), dark.shape)
    bottom = np.quantile(heights[labels == size.argmax()], 0.2)
    level = np.bincount(labels.ravel(), heights.ravel(), count + 1) / np.maximum(size, 1)
    keep = (size >= 0.05 * size.max()) & (size > 0) & (level >= bottom - 1)
    keep[size.argmax()] = True
    return np.asarray(keep[labels])


def _beside(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Voxels next to the mask along the axes of fine sampling; thick slices border on what they do not touch."""
    beside = np.zeros(mask.shape, bool)
    for axis in np.flatnonzero(spacing < 2 * spacing.min()):
        rows, out = np.moveaxis(mask, axis, 0), np.moveaxis(beside, axis, 0)
        out[1:] |= rows[:-1]
        out[:-1] |= rows[1:]
    return beside & ~mask


def _cut_between_levels(
    smooth: FloatArray, core: BoolArray, spacing: npt.NDArray[np.float64], *, follow: bool
) -> tuple[FloatArray, BoolArray, bool]:
    """Lungs cut a third of the way from lung to muscle, reached from the core in small steps of signal and distance.

    With ``follow``, lung filled with blood is followed up to muscle's level. Returns the score, positive on the lung's
    side and 1 at the lung's level, the lungs, and whether they are filled.
    """
    start = log_otsu(smooth)
    muscle = muscle_around(smooth, core, spacing)
    lung = float(np.median(smooth[core]))
    if follow:
        reached = _reached_before_tissue(smooth, core, muscle, spacing)
        if _leads_on(smooth, core, reached, spacing):
            reached &= ~_organs_below(smooth, core, reached, muscle, spacing)
            return *_bright_lungs(smooth, core | open_by(reached, spacing, 4.0), muscle, spacing), True
    cut = max(start, lung + _MR_CUT * (muscle - lung))
    for share in (1 / 3, 2 / 3, 1.0):
        core = _grown(core, smooth < start + share * (cut - start), spacing)
    edge = np.maximum(cut, lung + _MR_EDGE * (_level_beside(smooth, core, spacing) - lung))
    core |= (smooth < edge) & dilate_by(core, spacing, _MR_EDGE_MM)
    return np.asarray((edge - smooth) / (edge - lung), np.float32), core, False


def _reached_before_tissue(
    smooth: FloatArray, core: BoolArray, muscle: float, spacing: npt.NDArray[np.float64]
) -> BoolArray:
    """The core and what a flood over the signal's gradient reaches from it before it does from muscle, fat or air.

    Blood and water brighten lung towards the level of muscle, no cut parts the two everywhere; the border is still
    where the signal changes most (marker-controlled watershed, Meyer & Beucher 1990, doi 10.1016/1047-3203(90)90014-M).
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    tissue = open_by(smooth > _SURE_TISSUE * muscle, spacing, 4.0) & ~core
    outside = open_to_the_sides(smooth < AIR_SHARE * muscle) & ~core
    markers = np.where(core, 1, np.where(tissue | outside, 2, 0))
    open_ground = ndimage.binary_dilation(markers == 0)
    flooded = watershed(_steepness(smooth), np.where(open_ground, markers, 0), mask=open_ground)
    return np.asarray((flooded == 1) | core)


def _leads_on(smooth: FloatArray, core: BoolArray, reached: BoolArray, spacing: npt.NDArray[np.float64]) -> bool:
    """Whether what the flood reached goes on from the core gently, as filled lung does: a dark heart has a border."""
    rim = dilate_by(core, spacing, _RIM_MM)
    more = open_by(reached & ~rim, spacing, 4.0)
    if not np.count_nonzero(more) > _FILLED_SHARE * np.count_nonzero(core):
        return False
    contact, border = rim & ~core & dilate_by(more, spacing, _RIM_MM + 1.0), rim & ~reached
    if not contact.any() or not border.any():
        return False
    steepness = _steepness(smooth)
    return bool(np.median(steepness[contact]) < _GENTLE * np.median(steepness[border]))


def _organs_below(
    smooth: FloatArray, core: BoolArray, reached: BoolArray, muscle: float, spacing: npt.NDArray[np.float64]
) -> BoolArray:
    """Pieces in fat that the flood reached over a border as steep as the lungs' other ones, with no lung below them.

    Spleen and stomach are darker than the fat around them, so that the flood runs into them through the diaphragm.
    """
    from scipy import ndimage

    rim = dilate_by(core, spacing, _RIM_MM)
    labels, _ = ndimage.label(open_by(reached & ~rim, spacing, 4.0))
    steepness, border = _steepness(smooth), rim & ~reached
    organs = np.zeros(core.shape, bool)
    if not border.any():
        return organs
    above = np.logical_or.accumulate(core, axis=2)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        box = tuple(slice(max(part.start - r, 0), part.stop + r) for part, r in zip(box, _reach(spacing), strict=True))
        piece = labels[box] == index
        contact = rim[box] & ~core[box] & dilate_by(piece, spacing, _RIM_MM + 1.0)
        steep = contact.any() and np.median(steepness[box][contact]) > _STEEP * np.median(steepness[border])
        shell = dilate_by(piece, spacing, 7.0) & ~dilate_by(piece, spacing, 2.0) & ~rim[box]
        in_fat = shell.any() and (smooth[box][shell] > _FAT_LEVEL * muscle).mean() > _IN_FAT
        if steep and in_fat and above[box][piece].mean() < _OVER_LUNG:
            organs[box] |= dilate_by(piece, spacing, 4.0) & ~rim[box]
    return organs


def _reach(spacing: npt.NDArray[np.float64]) -> list[int]:
    return [int(np.ceil((_RIM_MM + 2.0) / step)) for step in spacing]


def _steepness(smooth: FloatArray) -> FloatArray:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_gradient_magnitude(smooth, [1.0 if n > 1 else 0.0 for n in smooth.shape]))


def _bright_lungs(
    smooth: FloatArray, lungs: BoolArray, muscle: float, spacing: npt.NDArray[np.float64]
) -> tuple[FloatArray, BoolArray]:
    """Lungs filled with blood or water, their border halfway between the levels on both sides, muscle's at most."""
    step = float(spacing.min())
    deep = lungs & ~dilate_by(~lungs, spacing, _RIM_MM)
    level = local_mean(smooth, deep if deep.any() else lungs, spacing, 10.0)
    beside = np.minimum(_level_beside(smooth, lungs, spacing), muscle)
    edge = level + 0.5 * np.maximum(beside - level, 0.04)
    lungs = open_by(deep | (lungs & (smooth < edge)), spacing, 1.5 * step)
    return np.asarray(np.clip((edge - smooth) / (edge - level), -1, 1), np.float32), lungs


def _whole(lungs: BoolArray, grid: Grid, filled: bool) -> tuple[BoolArray, BoolArray]:
    """Left and right lung with what they enclose; where disease is bright, closed over it, and out to the ribs."""
    spacing = np.array(grid.spacing_mm)
    left, right = (side.array for side in split_left_right(Mask(lungs, grid.affine)))
    sides = [(without_enclosed_holes(side, spacing), medial) for side, medial in ((left, 1), (right, -1))]
    added = sum(np.count_nonzero(side) for side, _ in sides) / np.count_nonzero(lungs) - 1
    if not filled and added < _PATCHY_SHARE:
        closed = close_by(lungs | sides[0][0] | sides[1][0], spacing, _CLOSING_MM)
        return closed & ~(right | sides[1][0]), closed & (right | sides[1][0])
    return _with_patches(sides[0][0], spacing, 1), _with_patches(sides[1][0], spacing, -1)


def _with_patches(side: BoolArray, spacing: npt.NDArray[np.float64], medial: int) -> BoolArray:
    if not side.any():
        return side
    side = close_by(side, spacing, _PATCHY_CLOSING_MM)
    return side | costal_gaps(side, spacing, medial)


def _grown(core: BoolArray, dark: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """The core with the dark space that touches it and lies within a step."""
    dark = open_by(dark, spacing, 3.0)
    dark &= ~open_to_the_sides(dark) & dilate_by(core, spacing, _MR_STEP_MM)
    return np.asarray(core | touching(open_by(dark, spacing, 3.0), core))


def _level_beside(smooth: FloatArray, core: BoolArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """Level of the tissue that borders the lungs, near each voxel: a border to fat lies higher than one to muscle."""
    step = float(spacing.min())
    shell = dilate_by(core, spacing, 3.5 * step) & ~dilate_by(core, spacing, 1.5 * step)
    return local_mean(smooth, shell, spacing, 2.0 * step)
