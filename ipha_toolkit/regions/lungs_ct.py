"""Lungs in CT: air inside the body, and the dense disease that it encloses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.geometry import (
    block_factors,
    block_mean,
    enlarged_slabs,
    roomy_box,
)
from ipha_toolkit.image.morphology import ball, close_by, dilate_by, largest_piece, local_mean, open_by, touching
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.regions.airways import midline_tubes, upright_lumens
from ipha_toolkit.regions.field_of_view import unseen
from ipha_toolkit.regions.lung_checks import lung_sized, no_lung
from ipha_toolkit.regions.lung_shape import costal_gaps, without_enclosed_holes
from ipha_toolkit.regions.orientation import require_upright
from ipha_toolkit.regions.rib_cage import inside_rib_cage
from ipha_toolkit.regions.zones import split_left_right
from ipha_toolkit.volume import Mask, Volume

_CT_SPACING_MM = 2.5

_AIR_HU = -350.0

_HAZE_HU = -200.0

_FAT_HU = -135.0
"""Denser, smoothed, may be fat."""

_WATER_HU = -20.0

_DEEP_MM = 30.0
"""Disease as dense as fat or denser is filled in this deep between lung that is not. Chosen on the phantom."""

_COSTAL_MM = 25.0

_OUTSIDE_HU = -920.0

_AIRWAY_HU = -930.0

_AIRWAY_HEIGHT_MM = 25.0

_PURE_AIR_HU = -960.0

_GAS_HU = -935.0
"""Median of the inside of a piece of gas; lung that is not emphysema holds more. Chosen."""

_WALL_MM = 6.0

_WALL_HU = -600.0

_SMALLEST_ISLAND_MM2 = 40.0
"""Of air left in lung that disease fills, in a single slice. Chosen."""

_GAS_STEP_HU, _SMALL_PIECE = 150.0, 0.1
"""In a single slice: a piece of less than this share of the largest and so much lighter than the large ones is gas.
Chosen: trachea and bowel beside lung full of ground glass 400, beside clear lung 120 to 150 (told by its own level)."""

_LARGE_PIECE, _BEYOND_MM = 0.25, 40.0
"""Of the largest: in a coronal or sagittal slice no lung lies so far above or below all such. Chosen."""

_ROOM_AIR_HU = -1000.0

_BONE_HU = 200.0

_CLOSING_MM = 8.0

_FILLED_SHARE = 0.05
"""Of the lung, ground glass: above, its border is drawn halfway between the levels on both sides, as no one limit fits
lung of -850 and of -200 HU. Chosen: healthy lungs and six real CTs hold 0 to 0.1 %."""

_AROUND_MM = 8.0
_OPEN_HU, _SOFT_HU, _BORDER_HU = -500.0, 100.0, (-450.0, -100.0)
"""Beside the lung: air of the other or of bowel is no tissue, and bone counts as soft tissue; the least and most limit.
Chosen on the phantom."""


def segment_ct(ct: Volume, protocol: Protocol) -> Mask:
    factors = block_factors(ct, _CT_SPACING_MM)
    hu = block_mean(ct.array, factors, missing=_ROOM_AIR_HU)
    spacing = np.array(ct.grid.coarser(factors).spacing_mm)
    beyond = block_mean(unseen(ct), factors) >= 0.5
    air = _enclosed_air((hu < _AIR_HU) & ~beyond, hu, spacing, beyond)
    tubes = midline_tubes(air, spacing)
    require_upright(ct.name, air, tubes, hu, spacing)
    airways = _airways(air, tubes, hu, spacing)
    aerated = _without_gas(_lung_pieces(air & ~airways, spacing), hu)
    if not aerated.any():
        raise no_lung(ct, f"no air above {_OUTSIDE_HU:g} HU enclosed by the body", hu)
    whole = np.zeros(hu.shape, bool)
    hazy, dense, cage = _with_haze(aerated, hu, spacing)
    left, right = split_left_right(Mask(hazy, ct.grid.coarser(factors).affine))
    for side, medial in ((left, 1), (right, -1)):
        if side.n_voxels:
            box = roomy_box(side.array, spacing, 2 * _CLOSING_MM)
            whole[box] |= _with_what_it_lost(side.array[box], dense[box], cage[box], hu[box], spacing, medial)
    whole &= ~airways
    filled = np.count_nonzero(dense & whole) > _FILLED_SHARE * np.count_nonzero(whole)
    border = _halfway(hu, whole, spacing) if filled and min(hu.shape) > 1 else None
    lungs = _at_full_resolution(ct, aerated, whole, airways, dense, factors, border)
    if not protocol.lungs.vessels:
        from ipha_toolkit.regions.vessels import segment_vessels

        lungs &= ~segment_vessels(ct, Mask(lungs, ct.affine), protocol=protocol).array
    return Mask(lungs, ct.affine, name="lungs")


def _with_haze(
    lung: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """The lung with what touches it, is denser than it, lighter than fat, and thicker than a blurred border.

    Returns the lung, the ground glass in it, and the inside of the rib cage, within which it may be as dense as fat is
    at the least; where no rib cage is seen, it has to be lighter still.
    """
    haze = open_by((hu >= _AIR_HU) & (hu < _HAZE_HU), spacing, max(3.0, 1.1 * float(spacing.max())))
    lung = touching(lung | haze, lung)
    cage = inside_rib_cage(hu, lung, spacing)
    if cage is None:
        return lung, haze & lung, lung
    dense = open_by((_evened(hu) < _FAT_HU) & cage & ~lung, spacing, 6.0) | (haze & lung)
    lung = lung | touching(dense, haze & lung)
    return lung, dense & lung, cage


def _evened(hu: FloatArray) -> FloatArray:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(hu, [0.7 if n > 1 else 0.0 for n in hu.shape]))


def _with_what_it_lost(
    lung: BoolArray,
    dense: BoolArray,
    cage: BoolArray,
    hu: FloatArray,
    spacing: npt.NDArray[np.float64],
    medial: int,
) -> BoolArray:
    """One lung with dense disease beside its ground glass, closed over vessels, consolidation in it or at the ribs."""
    if (dense & lung).any():
        lung = lung | _dense_disease(lung, dense & lung, cage, hu, spacing, medial)
    lung = without_enclosed_holes(lung, spacing)
    added = costal_gaps(lung, spacing, medial, cage=cage if min(lung.shape) > 1 else None) & (hu < _BONE_HU)
    return close_by(lung | added, spacing, _CLOSING_MM)


def _dense_disease(
    lung: BoolArray,
    dense: BoolArray,
    cage: BoolArray,
    hu: FloatArray,
    spacing: npt.NDArray[np.float64],
    medial: int,
) -> BoolArray:
    """What is lighter than water, in hollows of the lung or under the ribs, and near ground glass."""
    hollow = close_by(lung, spacing, _DEEP_MM if min(lung.shape) > 1 else _CLOSING_MM)
    hollow |= dilate_by(~cage, spacing, _COSTAL_MM)
    lateral = np.zeros(lung.shape, bool)
    lateral[_beside_middle(lung, medial)] = True  # fat of the mediastinum is as light as disease
    hollow &= lateral & (np.logical_or.accumulate(lung, axis=2) if lung.shape[2] > 1 else True)  # so is fat under it
    near = hollow & cage & dilate_by(dense, spacing, _DEEP_MM) & (_evened(hu) < _WATER_HU)
    return touching(open_by(near, spacing, 3.0) | lung, lung)


def _beside_middle(lung: BoolArray, medial: int) -> slice:
    """Sagittal planes lateral to a fourth of the lung: beyond are spine, sternum and the fat between the lungs."""
    border = int(np.quantile(np.nonzero(lung)[0], 0.75 if medial > 0 else 0.25))
    return slice(0, border) if medial > 0 else slice(border, None)


def _at_full_resolution(
    ct: Volume,
    aerated: BoolArray,
    whole: BoolArray,
    airways: BoolArray,
    haze: BoolArray,
    factors: tuple[int, int, int],
    border: FloatArray | None,
) -> BoolArray:
    """The coarse lungs with their border against soft tissue drawn where the full-resolution HU cross the limit.

    The limit is higher in ground glass, and beside it; or as given for each coarse voxel by ``border``.
    """
    from scipy import ndimage

    block = np.ones([3 if n > 1 else 1 for n in whole.shape], bool)
    inside = ndimage.binary_erosion(whole, block, border_value=1)
    near = ndimage.binary_dilation(whole, block) & ~airways
    hazy = near & ndimage.binary_dilation(haze & whole, block)
    filled = (whole & ~ndimage.binary_dilation(aerated)).astype(np.float32)
    lungs = np.empty(ct.shape, bool)
    for where, share in enlarged_slabs(filled, factors, ct.shape):
        rows = slice(where.start // factors[0], -(-where.stop // factors[0]))
        size = share.shape
        if border is not None:
            edge = _repeated(near[rows] & ~inside[rows], factors, size)
            cut = _repeated(border[rows], factors, size)
            lungs[where] = np.where(edge, ct.array[where] < cut, _repeated(whole[rows], factors, size))
            continue
        air = _repeated(near[rows], factors, size) & (ct.array[where] < _AIR_HU)
        air |= _repeated(hazy[rows], factors, size) & (ct.array[where] < _HAZE_HU)
        lungs[where] = air | _repeated(inside[rows], factors, size) | (share >= 0.5)
    return lungs


def _halfway(hu: FloatArray, whole: BoolArray, spacing: npt.NDArray[np.float64]) -> FloatArray:
    """HU halfway between the lung and what borders it, both within some mm: where half of a blurred voxel is lung."""
    from scipy import ndimage

    block = np.ones((3, 3, 3), bool)
    inside, near = ndimage.binary_erosion(whole, block), ndimage.binary_dilation(whole, block)
    shell = ndimage.binary_dilation(near, block) & ~near & (hu > _OPEN_HU)
    lung, beside = (
        local_mean(hu, inside, spacing, _AROUND_MM),
        local_mean(np.minimum(hu, _SOFT_HU), shell, spacing, _AROUND_MM),
    )
    return np.asarray(np.clip((lung + beside) / 2, *_BORDER_HU), np.float32)


def _repeated(blocks: npt.NDArray[Any], factors: tuple[int, int, int], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    for axis, factor in enumerate(factors):
        blocks = blocks.repeat(factor, axis)
    return blocks[: shape[0], : shape[1], : shape[2]]


def _enclosed_air(air: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64], beyond: BoolArray) -> BoolArray:
    """Air spaces inside the body: neither room air (lighter, or open to the sides) nor the mattress."""
    from scipy import ndimage

    labels, count = ndimage.label(air)
    if not count:
        return air
    body = ~air & ~beyond
    if min(air.shape) > 1:
        body = ndimage.binary_opening(np.pad(body, 2, mode="edge"), ball(1))[2:-2, 2:-2, 2:-2]
    body = largest_piece(body)
    walls = np.zeros(air.shape, np.float32)
    axes = [axis for axis in (0, 1) if air.shape[axis] > 1]  # a single coronal or sagittal slice has walls on one
    for axis in axes:
        walls += np.logical_or.accumulate(body, axis)
        walls += np.flip(np.logical_or.accumulate(np.flip(body, axis), axis), axis)
    index = np.arange(count + 1)
    size = np.bincount(labels.ravel(), minlength=count + 1)
    enclosure = np.bincount(labels.ravel(), walls.ravel(), count + 1) / np.maximum(size, 1) * 2 / max(1, len(axes))
    level = np.bincount(labels.ravel(), hu.ravel(), count + 1) / np.maximum(size, 1)
    keep = (enclosure >= 2.7) & ((level > _OUTSIDE_HU) | (enclosure > 3.5)) & (index > 0)
    return np.asarray(keep[labels])


def _airways(candidates: BoolArray, tubes: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Trachea and main bronchi: long lumens of pure air, with their wall; none where there is no such lumen."""
    from scipy import ndimage

    lumen, _ = ndimage.label(candidates & (hu < _AIRWAY_HU))
    airways = np.zeros(candidates.shape, bool)
    columns = np.flatnonzero(candidates.any(axis=(1, 2)))
    reach = np.ceil(_WALL_MM / spacing).astype(int)
    for index, found in enumerate(ndimage.find_objects(lumen), 1):
        if (found[2].stop - found[2].start) * spacing[2] < _AIRWAY_HEIGHT_MM:
            continue
        where = tuple(slice(max(0, part.start - r), part.stop + r) for part, r in zip(found, reach, strict=True))
        piece = lumen[where] == index
        place = (where[0].start + np.nonzero(piece)[0].mean() - columns[0]) / max(1, columns[-1] - columns[0])
        if _is_airway(piece, hu[where], place, spacing):
            airways[where] |= piece
    upright = min(candidates.shape[:2]) == 1 and candidates.shape[2] > 1
    airways |= upright_lumens(candidates, hu, spacing) if upright else tubes
    return np.asarray(dilate_by(airways, spacing, 3.0) & (hu < _AIR_HU + 200)) if airways.any() else airways


def _is_airway(piece: BoolArray, hu: FloatArray, place: float, spacing: npt.NDArray[np.float64]) -> bool:
    """Whether a lumen holds pure air in a wall, and is near the middle of the chest or as slender as a trachea."""
    volume_ml = piece.sum() * spacing.prod() / 1000
    if not 1.0 < volume_ml < 150.0 or np.median(hu[piece]) > _PURE_AIR_HU:
        return False
    wall = dilate_by(piece, spacing, _WALL_MM) & ~piece
    area = np.median(piece.sum(axis=(0, 1))[piece.any(axis=(0, 1))]) * spacing[0] * spacing[1]
    tube = 60.0 < area < 500.0 and np.count_nonzero(piece.any(axis=(0, 1))) * spacing[2] > 2 * np.sqrt(area)
    return bool(wall.any() and (hu[wall] > _WALL_HU).mean() > 0.5 and (0.3 < place < 0.7 or tube))


def _without_gas(lung: BoolArray, hu: FloatArray) -> BoolArray:
    """The pieces less those of gas: purer air than lung elsewhere, and not above it: colon, stomach."""
    from scipy import ndimage

    labels, count = ndimage.label(lung)
    inner = np.where(ndimage.binary_erosion(lung, _cross(lung.shape), border_value=1), labels, 0)
    index = np.arange(1, count + 1)
    deep = np.bincount(inner.ravel(), minlength=count + 1)[1:] > 0
    level = np.where(deep, ndimage.median(hu, inner, index), 0.0) if count else np.zeros(0)
    top = np.array([box[2].stop for box in ndimage.find_objects(labels)])
    if not (level > _GAS_HU).any():
        return np.zeros(lung.shape, bool) if (level < _PURE_AIR_HU).all() else lung
    highest = top[level > _GAS_HU].max()
    gas = (level <= _GAS_HU) & (top <= highest)
    if min(lung.shape) == 1:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        small = sizes < _SMALL_PIECE * sizes.max()
        gas |= small & deep & (level < np.median(level[~small]) - _GAS_STEP_HU)
    return np.asarray(lung & ~np.concatenate([[False], gas])[labels])


def _cross(shape: tuple[int, ...]) -> BoolArray:
    """A voxel and its neighbors, along the axes that have any."""
    from scipy import ndimage

    cross = ndimage.generate_binary_structure(3, 1)
    return np.asarray(cross[tuple(slice(1, 2) if n == 1 else slice(None) for n in shape)])


def _lung_pieces(mask: BoolArray, spacing: npt.NDArray[np.float64]) -> BoolArray:
    """Pieces at least 3 % of the largest and 5 mL; none where even the largest is too small to be a lung."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    if not lung_sized(int(sizes.max()), mask.shape, spacing):
        return np.zeros(mask.shape, bool)
    if min(mask.shape) == 1:
        flat = int(np.argmin(mask.shape))
        islands = sizes * np.delete(spacing, flat).prod() >= _SMALLEST_ISLAND_MM2
        islands &= _beside_the_large(labels, sizes, _BEYOND_MM / spacing[2]) if flat < 2 else True
        for axis in {0, 1, 2} - {flat}:  # air between arm and body, cut off by the border of the image
            islands[np.unique(labels.take([0, -1], axis))] &= (sizes >= 0.03 * sizes.max())[
                np.unique(labels.take([0, -1], axis))
            ]
        return np.asarray(islands[labels])
    return np.asarray(((sizes >= 0.03 * sizes.max()) & (sizes * spacing.prod() / 1000 > 5.0))[labels])


def _beside_the_large(labels: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer], beyond: float) -> BoolArray:
    """Pieces that are not so many planes above or below all large ones, as throat, bowel and air at the hips are."""
    from scipy import ndimage

    spans = np.array([(0, 0), *((box[2].start, box[2].stop) for box in ndimage.find_objects(labels))])
    large = spans[sizes >= _LARGE_PIECE * sizes.max()]
    return np.asarray((spans[:, 1] > large[:, 0].min() - beyond) & (spans[:, 0] < large[:, 1].max() + beyond))
