"""A mask that is painted on: brush, polygon, repairs, undo without limit, and numbers that follow. No widget in here.

Every change is kept as the voxels that it flipped, so that undoing it gives the mask before, bit for bit. Work is done
in the box that a change reaches, which keeps a stroke on a large CT as quick as on a small one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import PLANES, BoolArray, Grid
from ipha_toolkit.image.geometry import Box, bounding_box
from ipha_toolkit.viewer.layers import nearest_slice
from ipha_toolkit.volume import Mask, Volume

_Place = npt.NDArray[np.float64]

SIDES = ("both", "left", "right")

_ISLAND_SHARE = 0.1
"""Parts smaller than this share of the largest are islands: the smaller lung is never that much smaller. Chosen."""

_BINS = 4096


@dataclass(frozen=True)
class Flip:
    """Voxels of a box that a change flipped, as packed bits."""

    box: Box
    bits: bytes

    @classmethod
    def of(cls, box: Box, flipped: BoolArray) -> Flip:
        return cls(box, np.packbits(flipped).tobytes())

    @property
    def flipped(self) -> BoolArray:
        """The voxels, shape of the box."""
        shape = tuple(last - first for first, last in self.box)
        return np.unpackbits(np.frombuffer(self.bits, np.uint8), count=int(np.prod(shape))).view(bool).reshape(shape)


@dataclass(frozen=True)
class Numbers:
    """What follows while painting: volumes in mL, and mean and median of the image inside."""

    volume_ml: float
    left_ml: float
    right_ml: float
    mean: float
    median: float


class MaskEditor:
    """A mask on the grid of its image, to be changed.

    Parameters
    ----------
    mask : Mask
        Copied. Axes run closest to right, anterior, superior.
    values : Volume, optional
        On the same grid: what limits the brush and what the numbers are of.

    Examples
    --------
    >>> editor = MaskEditor(Mask(np.zeros((9, 9, 9), bool), np.eye(4)))
    >>> editor.brush([(4, 4, 4)], radius_mm=1)
    ((3, 6), (3, 6), (3, 6))
    >>> int(editor.array.sum()), editor.undo() is not None, int(editor.array.sum())
    (7, True, 0)
    """

    def __init__(self, mask: Mask, values: Volume | None = None) -> None:
        if values is not None:
            values.require_same_grid(mask)
        if not mask.is_ras:
            raise ValueError(f"{mask.name or 'mask'}: its axes need to run to right, anterior, superior; use to_ras()")
        self.grid: Grid = mask.grid
        self.before = mask
        self.array: BoolArray = np.array(mask.array, bool, order="C")
        self.values = values
        self.midline = _midline(mask)
        self.done: list[list[Flip]] = []
        self.undone: list[list[Flip]] = []
        self.drawn: dict[str, set[int]] = {plane: set() for plane in PLANES}
        self._open: list[Flip] | None = None
        self._counter = _Counter(self)

    @property
    def mask(self) -> Mask:
        """The mask as it is now; a copy."""
        return Mask(self.array, self.grid.affine, name=self.before.name)

    @property
    def numbers(self) -> Numbers:
        """Volumes, mean and median as they are now."""
        return self._counter.numbers()

    @property
    def changed_voxels(self) -> int:
        """Voxels that differ from the mask this began with."""
        return int(np.count_nonzero(self.array != self.before.array))

    # -- strokes --

    def begin(self) -> None:
        """Begin a stroke of several pieces, which is undone as one."""
        self._open = []

    def end(self) -> list[Flip]:
        """End it; what it flipped, empty where it changed nothing."""
        pieces, self._open = self._open or [], None
        if pieces:
            self.done.append(pieces)
            self.undone.clear()
        return pieces

    def brush(
        self,
        places: npt.ArrayLike,
        *,
        radius_mm: float,
        add: bool = True,
        plane: str | None = None,
        limits: tuple[float, float] | None = None,
        side: str = "both",
    ) -> Box | None:
        """Paint along a line of points.

        Parameters
        ----------
        places : sequence of (i, j, k)
            Fractional voxel indices. The voxel under each belongs to the stroke however small the brush.
        radius_mm : float
        add : bool
            False erases.
        plane : str, optional
            Paint only the slice of this plane that the points lie on; None paints a ball.
        limits : (float, float), optional
            Only voxels whose value lies in this range.
        side : {"both", "left", "right"}
            Only the patient's left or right of the midline.

        Returns
        -------
        box or None
            What may have changed; None where nothing did.
        """
        line = np.atleast_2d(np.array(places, np.float64))
        across = None if plane is None else PLANES[plane][2]
        if across is not None:
            line[:, across] = [nearest_slice(float(at), self.grid.shape[across]) for at in line[:, across]]
            self.drawn[str(plane)] |= set(line[:, across].astype(int).tolist())
        found: list[Box] = []
        for start, stop in itertools.pairwise(line if len(line) > 1 else [*line, *line]):
            box = self._around(start, stop, radius_mm, across)
            if box is not None:
                inside = self._near(start, stop, radius_mm, box)
                changed = self._set(box, inside, add, limits, side)
                found += [changed] if changed else []
        return _joined(found)

    def polygon(
        self,
        places: npt.ArrayLike,
        plane: str,
        *,
        add: bool = True,
        limits: tuple[float, float] | None = None,
        side: str = "both",
    ) -> Box | None:
        """Fill a polygon of fractional indices on the slice of its first; voxels count by their centre."""
        from skimage.draw import polygon2mask

        columns, rows, across = PLANES[plane]
        corners = np.array(places, np.float64)
        index = nearest_slice(float(corners[0, across]), self.grid.shape[across])
        box = _with(_whole(self.grid.shape), across, (index, index + 1))
        flat_axes = sorted((columns, rows))
        for axis in flat_axes:
            low, high = np.floor(corners[:, axis].min()), np.ceil(corners[:, axis].max()) + 1
            last = self.grid.shape[axis]
            box = _with(box, axis, (int(np.clip(low, 0, last - 1)), int(np.clip(high, 1, last))))
        sizes, start = zip(*((box[a][1] - box[a][0], box[a][0]) for a in flat_axes), strict=True)
        flat = polygon2mask(sizes, corners[:, flat_axes] - start)
        self.drawn[plane].add(index)
        return self._set(box, np.expand_dims(flat, across), add, limits, side)

    # -- repairs --

    def fill_between(self, plane: str) -> Box | None:
        """Fill the slices between those drawn on, by their signed distances (shape-based interpolation).

        Raya & Udupa 1990, doi 10.1109/42.52980. Slices drawn on next to each other are left as they are.
        """
        from scipy.ndimage import distance_transform_edt

        axis = PLANES[plane][2]
        drawn = sorted(self.drawn[plane])
        spacing = [step for a, step in enumerate(self.grid.spacing_mm) if a != axis]
        found: list[Box] = []
        for first, last in itertools.pairwise(drawn):
            ends = [np.asarray(np.take(self.array, index, axis=axis)) for index in (first, last)]
            if last - first < 2 or not all(end.any() for end in ends):
                continue
            low, high = (
                distance_transform_edt(end, sampling=spacing) - distance_transform_edt(~end, sampling=spacing)
                for end in ends
            )
            part = np.linspace(0, 1, last - first + 1)[1:-1]
            inside = np.stack([(1 - w) * low + w * high > 0 for w in part], axis=axis)
            box = _with(_whole(self.grid.shape), axis, (first + 1, last))
            changed = self._replace(box, inside)
            found += [changed] if changed else []
        return _joined(found)

    def remove_islands(self) -> Box | None:
        """Take away parts smaller than a tenth of the largest."""
        box = _box_of(self.array)
        if box is None:
            return None
        part = self.array[_slices(box)]
        labels = _parts_of(part)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        return self._replace(box, (sizes >= _ISLAND_SHARE * sizes.max())[labels] & part)

    def fill_holes(self, plane: str | None = None) -> Box | None:
        """Fill what is enclosed: in 3-D, or in every slice of a plane."""
        box = _box_of(self.array)
        if box is None:
            return None
        part = self.array[_slices(box)]
        if plane is None:
            return self._replace(box, _filled(part))
        axis = PLANES[plane][2]
        return self._replace(box, np.stack([_filled(one) for one in np.moveaxis(part, axis, 0)], axis=axis))

    def clear_side(self, side: str) -> Box | None:
        """Take away all that lies on the patient's left or right of the midline."""
        box = _box_of(self.array)
        return None if box is None else self._replace(box, self.array[_slices(box)] & ~self._on_side(box, side))

    def start_again(self) -> Box | None:
        """The mask this began with; can be undone as any change."""
        return self._replace(_whole(self.grid.shape), self.before.array)

    # -- history --

    def undo(self) -> Box | None:
        """Take back the last change; None where there is none."""
        return self._step(self.done, self.undone)

    def redo(self) -> Box | None:
        """Do again what was taken back; None where there is nothing."""
        return self._step(self.undone, self.done)

    def replay(self, change: list[Flip]) -> None:
        """A change as it was kept, as if it were made now."""
        for flip in change:
            self._flip(flip)
        self.done.append(change)
        self.undone.clear()

    def _step(self, source: list[list[Flip]], target: list[list[Flip]]) -> Box | None:
        if not source:
            return None
        change = source.pop()
        for flip in change:
            self._flip(flip)
        target.append(change)
        return _joined([flip.box for flip in change])

    # -- voxels --

    def _around(self, start: _Place, stop: _Place, radius: float, across: int | None) -> Box | None:
        ranges = []
        for axis, step in enumerate(self.grid.spacing_mm):
            reach = 0.0 if axis == across else radius / step
            low = int(np.floor(min(start[axis], stop[axis]) - reach + 0.5))
            high = int(np.floor(max(start[axis], stop[axis]) + reach + 0.5)) + 1
            low, high = max(low, 0), min(high, self.grid.shape[axis])
            if low >= high:
                return None
            ranges.append((low, high))
        return ranges[0], ranges[1], ranges[2]

    def _near(self, start: _Place, stop: _Place, radius: float, box: Box) -> BoolArray:
        """Voxels of a box within a radius of the line between two places, and those that the ends lie in."""
        x = [
            ((np.arange(*box[a]) - start[a]) * self.grid.spacing_mm[a])
            .reshape([-1 if b == a else 1 for b in range(3)])
            .astype(np.float32)
            for a in range(3)
        ]
        d = ((stop - start) * self.grid.spacing_mm).astype(np.float32)
        length = float(d @ d)
        t = np.clip(sum(part * step for part, step in zip(x, d, strict=True)) / length, 0, 1) if length > 0 else 0.0
        inside: BoolArray = sum((part - t * step) ** 2 for part, step in zip(x, d, strict=True)) <= np.float32(
            radius**2
        )
        for place in (start, stop):
            own = [int(np.floor(v + 0.5)) - first for v, (first, _) in zip(place, box, strict=True)]
            if all(0 <= n < size for n, size in zip(own, inside.shape, strict=True)):
                inside[tuple(own)] = True
        return inside

    def _set(self, box: Box, inside: BoolArray, add: bool, limits: tuple[float, float] | None, side: str) -> Box | None:
        if limits is not None and self.values is not None:
            values = self.values.array[_slices(box)]
            inside = inside & (values >= limits[0]) & (values <= limits[1])
        if side != "both":
            inside = inside & self._on_side(box, side)
        old = self.array[_slices(box)]
        return self._replace(box, old | inside if add else old & ~inside)

    def _replace(self, box: Box, new: BoolArray) -> Box | None:
        """Put new voxels into a box, as a change of its own or a piece of the open stroke."""
        flipped = self.array[_slices(box)] ^ new
        tight = _box_of(flipped)
        if tight is None:
            return None
        ranges = [(first + low, first + high) for (first, _), (low, high) in zip(box, tight, strict=True)]
        flip = Flip.of((ranges[0], ranges[1], ranges[2]), flipped[_slices(tight)])
        self._flip(flip)
        if self._open is not None:
            self._open.append(flip)
        else:
            self.done.append([flip])
            self.undone.clear()
        return flip.box

    def _flip(self, flip: Flip) -> None:
        flipped = flip.flipped
        self.array[_slices(flip.box)] ^= flipped
        self._counter.flipped(flip.box, flipped)

    def _on_side(self, box: Box, side: str) -> BoolArray:
        right = np.arange(*box[0]) >= self.midline
        return (right if side == "right" else ~right)[:, None, None]


class _Counter:
    """Counts of the voxels inside by side and by value, kept up to date change by change."""

    def __init__(self, editor: MaskEditor) -> None:
        self.editor = editor
        values = editor.values
        known = np.empty(0) if values is None else values.array[:: max(1, values.shape[0] // 64)]
        known = known[np.isfinite(known)]
        self.low, self.high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        self.right = self.left = 0
        self.total = 0.0
        self.counts = np.zeros(_BINS, np.int64)
        box = _box_of(editor.array)
        if box is not None:
            self.flipped(box, editor.array[_slices(box)])

    def flipped(self, box: Box, flipped: BoolArray) -> None:
        """Count voxels of a box that were flipped, as they are now."""
        now = self.editor.array[_slices(box)]
        first = max(self.editor.midline - box[0][0], 0)
        for sign, voxels in ((1, flipped & now), (-1, flipped & ~now)):
            self.left += sign * int(np.count_nonzero(voxels[:first]))
            self.right += sign * int(np.count_nonzero(voxels[first:]))
            if self.editor.values is not None:
                found = self.editor.values.array[_slices(box)][voxels]
                found = found[np.isfinite(found)]
                self.total += sign * float(found.sum(dtype=np.float64))
                place = (found - self.low) * (_BINS / max(self.high - self.low, 1e-9))
                self.counts += sign * np.bincount(np.clip(place, 0, _BINS - 1).astype(np.intp), minlength=_BINS)

    def numbers(self) -> Numbers:
        ml = self.editor.grid.voxel_volume_ml
        n, middle = int(self.counts.sum()), np.nan
        if n:
            bin_ = int(np.searchsorted(self.counts.cumsum(), (n + 1) / 2))
            middle = self.low + (bin_ + 0.5) * (self.high - self.low) / _BINS
        mean = self.total / n if n else float("nan")
        return Numbers((self.left + self.right) * ml, self.left * ml, self.right * ml, mean, float(middle))


def _midline(mask: Mask) -> int:
    """First index along i of the patient's right half: between the lungs, by where the mask's columns are fewest."""
    across = mask.array.sum(axis=(1, 2))
    total = across.sum()
    if not total:
        return mask.shape[0] // 2
    middle = float((across * np.arange(len(across))).sum() / total)
    spread = float(np.sqrt((across * (np.arange(len(across)) - middle) ** 2).sum() / total))
    first, last = max(0, int(middle - spread / 2)), min(len(across) - 1, int(middle + spread / 2) + 1)
    near = across[first : last + 1].astype(float)
    away = np.abs(np.arange(first, last + 1) - middle)
    return first + int(np.lexsort((away, near))[0])


def _parts_of(inside: BoolArray) -> npt.NDArray[np.uint32]:
    """Numbers from 1 of the parts that hang together by faces, 2-D or 3-D.

    SimpleITK finds them along runs of voxels, many times quicker than scipy. Its own filling of holes took 12 s where a
    brush limited to a range had left thousands of specks.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(inside).view(np.uint8))
    found: npt.NDArray[np.uint32] = sitk.GetArrayFromImage(sitk.ConnectedComponent(image))
    return found


def _filled(part: BoolArray) -> BoolArray:
    """A mask, 2-D or 3-D, with what it encloses; corners let nothing out."""
    labels = _parts_of(~part)
    enclosed = np.ones(int(labels.max()) + 1, bool)
    enclosed[0] = False
    for axis, end in itertools.product(range(part.ndim), (0, -1)):
        enclosed[np.take(labels, end, axis=axis)] = False
    return part | enclosed[labels]


def _slices(box: Box) -> tuple[slice, slice, slice]:
    i, j, k = (slice(first, last) for first, last in box)
    return i, j, k


def _whole(shape: tuple[int, int, int]) -> Box:
    return (0, shape[0]), (0, shape[1]), (0, shape[2])


def _with(box: Box, axis: int, limits: tuple[int, int]) -> Box:
    i, j, k = (limits if a == axis else part for a, part in enumerate(box))
    return i, j, k


def _box_of(inside: BoolArray) -> Box | None:
    return bounding_box(inside) if inside.any() else None


def _joined(boxes: Sequence[Box]) -> Box | None:
    if not boxes:
        return None
    i, j, k = ((min(box[a][0] for box in boxes), max(box[a][1] for box in boxes)) for a in range(3))
    return i, j, k
