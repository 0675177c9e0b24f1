"""Small pictures of a session for exported pages: some slices side by side, and a second picture that says of every
pixel which part of the lung it is and which measures count it.

The first is a WebP within a byte budget; of the second, a lossless PNG, the browser makes outlines and coloured voxels
for whatever number is chosen (``js/tiles.js``).
"""

from __future__ import annotations

from base64 import b64encode
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.explorer.voxels import ZONE_CODES, Parts, countable, voxels_counted
from ipha_toolkit.grid import PLANES, BoolArray
from ipha_toolkit.image.geometry import block_factors, block_mean, bounding_box
from ipha_toolkit.regions.zones import lung_regions
from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer.layers import image_layer
from ipha_toolkit.viewer.windows import presets
from ipha_toolkit.volume import Mask, Volume

HEIGHT_PX = 128
_CODE_PX = 64
_MARGIN_MM = 10.0
_COARSE_MM = 8.0
_QUALITIES = (70, 55, 45, 36, 28, 20, 12)
_PANELS = ((Modality.T1W, "coronal"), (Modality.T2W, "coronal"), (Modality.CT, "coronal"), (Modality.CT, "axial"),
           (Modality.DX, "coronal"))  # fmt: skip
"""Images of a tile and the plane each is cut in; those a session lacks are left out."""


@dataclass(frozen=True, eq=False)
class _Panel:
    """One slice: gray levels 0 to 255, codes of parts and of cuts, rows from top, and what is to be said of it."""

    gray: npt.NDArray[np.uint8]
    parts: npt.NDArray[np.uint8]
    cuts: npt.NDArray[np.uint8]
    said: dict[str, Any]


def tile_of(parts: Parts, *, budget_kb: float = 4.0) -> dict[str, Any] | None:
    """The tile of a session.

    Parameters
    ----------
    parts : Parts
    budget_kb : float
        Of the picture, in thousand bytes of the page; the codes come on top.

    Returns
    -------
    dict or None
        ``picture`` and ``codes`` as data addresses, ``panels`` (``modality, plane, x, width``: pixels; ``cuts``: names
        of the bits of the codes' green; ``nodules``: x, y, radius in pixels), ``height`` and ``words``; None where no
        image of the session can be read.
    """
    panels = [panel for modality, plane in _PANELS if (panel := _panel(parts, modality, plane))]
    if not panels:
        return None
    x = 0
    for panel in panels:
        panel.said["x"] = x
        x += panel.gray.shape[1] + 2
    gray = _joined([panel.gray for panel in panels], x, 2)
    codes = np.stack(
        [_joined([p.parts for p in panels], x // 2, 1), _joined([p.cuts for p in panels], x // 2, 1)], axis=-1
    )
    return {
        "picture": webp(gray, budget_kb * 1000), "codes": _png(codes), "height": HEIGHT_PX,
        "panels": [panel.said for panel in panels],
        "words": "; ".join(f"{panel.said['modality']} {panel.said['plane']}" for panel in panels),
    }  # fmt: skip


def _panel(parts: Parts, modality: str, plane: str) -> _Panel | None:
    if modality not in parts.modalities or not parts.session.has(modality, "lung"):
        return None
    image, lungs = parts.image(modality).to_ras(), parts.mask(modality).to_ras()
    columns, rows, across = PLANES[plane]
    index = int(np.argmax(np.count_nonzero(lungs.array, axis=(columns, rows))))
    view = Cut(image, lungs, plane, index)
    gray = view.gray(first_window(image, lungs))
    cuts = countable(parts, modality)
    counted = np.zeros(view.code_shape, np.uint8)
    for bit, (owner, measure) in enumerate(cuts):
        counted |= view.codes(voxels_counted(parts, owner, measure).to_ras().array).astype(np.uint8) << bit
    said = {
        "modality": str(modality), "plane": plane, "width": view.shape[1],
        "cuts": [measure for _, measure in cuts], "nodules": view.nodules(parts),
        "place": f"{'xyz'[across]} {view.place_mm:.0f} mm",
    }  # fmt: skip
    zones = parts.once("zones", modality, read=lambda: _zones(lungs))
    return _Panel(gray, _parts(lungs, zones, view), counted, said)


def first_window(image: Volume, lungs: Mask) -> tuple[float, float]:
    """(level, width) that the viewer opens an image in: that of the lungs."""
    return next(iter(presets(image_layer(image, 0), lungs).values()))


class Cut:
    """A slice of an image about its lungs, and how it is brought to the tile's pixels."""

    def __init__(self, image: Volume, lungs: Mask, plane: str, index: int) -> None:
        self.image, self.lungs, self.plane, self.index = image, lungs, plane, index
        self.columns, self.rows, self.across = PLANES[plane]
        spacing = image.spacing_mm
        box = bounding_box(lungs.array)
        self.box = [
            (max(0, int(low - _MARGIN_MM / step)), min(size, int(np.ceil(high + _MARGIN_MM / step))))
            for (low, high), step, size in zip(box, spacing, image.shape, strict=True)
        ]
        extent = [(high - low) * step for (low, high), step in zip(self.box, spacing, strict=True)]
        tall, wide = extent[self.rows], extent[self.columns]
        self.shape = (HEIGHT_PX, max(2, 2 * round(HEIGHT_PX / 2 * wide / tall)))
        self.code_shape = (_CODE_PX, self.shape[1] // 2)
        self.px_per_mm = HEIGHT_PX / tall
        point = np.zeros(3)
        point[self.across] = index
        self.place_mm = float(image.to_world(point)[self.across])

    def slice(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The slice, rows from the top, the patient's right on the left."""
        part = np.take(array, self.index, axis=self.across).T
        (left, right), (low, high) = self.box[self.columns], self.box[self.rows]
        return np.asarray(part[low:high, left:right][::-1, ::-1])

    def gray(self, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
        """Gray levels at the tile's pixels, seen through a window (level, width)."""
        level, width = window
        return self.sampled(np.clip((self.slice(self.image.array) - level + width / 2) / width, 0, 1) * 255)

    def sampled(self, part: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """A slice's gray levels, 0 to 255, at the tile's pixels."""
        from PIL import Image

        picture = Image.fromarray(np.nan_to_num(part).astype(np.uint8))
        return np.asarray(picture.resize(self.shape[::-1], Image.Resampling.BILINEAR))

    def codes(self, array: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        """Values of a whole array at the codes' pixels, each that of the voxel it lies in; zeros of nothing."""
        return np.zeros(self.code_shape, np.uint8) if array is None else self.nearest(array, self.code_shape)

    def nearest(self, array: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
        """Values of a whole array's slice at pixels of one's own, each that of the voxel it lies in."""
        part = self.slice(array)
        at = [((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip(shape, part.shape, strict=True)]
        return np.asarray(part[np.ix_(*at)])

    def nodules(self, parts: Parts) -> list[list[float]]:
        """Nodules that reach the slice: x, y, radius in pixels of the panel."""
        modality = str(self.image.modality)
        if modality not in (Modality.CT, Modality.T1W):
            return []
        try:
            found = parts.nodules(modality)
        except KeyError:
            return []
        drawn = []
        for x, y, z, diameter in found[["x_mm", "y_mm", "z_mm", "diameter_mm"]].to_numpy(float).tolist():
            at = self.image.to_index([x, y, z])
            if abs(at[self.across] - self.index) * self.image.spacing_mm[self.across] <= max(diameter / 2, 2.0):
                column = (self.box[self.columns][1] - 0.5 - at[self.columns]) * self.image.spacing_mm[self.columns]
                row = (self.box[self.rows][1] - 0.5 - at[self.rows]) * self.image.spacing_mm[self.rows]
                radius = max(3.0, diameter / 2 * self.px_per_mm + 1.5)
                drawn.append([round(column * self.px_per_mm, 1), round(row * self.px_per_mm, 1), round(radius, 1)])
        return drawn


def _parts(lungs: Mask, zones: Volume, view: Cut) -> npt.NDArray[np.uint8]:
    """Which part of the lung each pixel is: 1, and the codes of :func:`_zones`; 0 outside."""
    inside, factors = view.codes(lungs.array) > 0, [round(a / b) for a, b in zip(lungs.shape, zones.shape, strict=True)]
    at = [np.minimum(np.arange(n) // f, m - 1) for n, f, m in zip(lungs.shape, factors, zones.shape, strict=True)]
    return np.asarray(np.where(inside, 1 + view.codes(zones.array[np.ix_(*at)]), 0), np.uint8)


def _zones(lungs: Mask) -> Volume:
    """Codes on blocks of some 8 mm: 2 left, 4, 8, 12 upper, middle, lower, 16 central, 32 dorsal, added up."""
    factors = block_factors(lungs, _COARSE_MM)
    inside = block_mean(lungs.array, factors) >= 0.5
    affine = lungs.grid.coarser(factors).affine
    found = np.zeros(inside.shape, np.uint8)
    if inside.any():
        for name, region in lung_regions(Mask(inside, affine)).items():
            found[region.array] += ZONE_CODES.get(name, 0)
        found = _nearest_inside(found, inside)
    return Volume(found.astype(np.float32), affine)


def _nearest_inside(values: npt.NDArray[np.uint8], inside: BoolArray) -> npt.NDArray[np.uint8]:
    """Values everywhere, outside those of the nearest block inside."""
    from scipy.ndimage import distance_transform_edt

    where = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return np.asarray(values[tuple(where)])


def _joined(pictures: list[npt.NDArray[np.uint8]], width: int, gap: int) -> npt.NDArray[np.uint8]:
    page = np.zeros((pictures[0].shape[0], width), np.uint8)
    x = 0
    for picture in pictures:
        page[:, x : x + picture.shape[1]] = picture
        x += picture.shape[1] + gap
    return page


def webp(levels: npt.NDArray[np.uint8], budget: float) -> str:
    """A picture, gray or RGB, as the address of a WebP of at most so many bytes, or of the lowest quality there is."""
    from PIL import Image

    picture = Image.fromarray(levels)

    @cache
    def address(quality: int) -> str:
        buffer = BytesIO()
        picture.save(buffer, format="WEBP", quality=quality, method=4)
        return f"data:image/webp;base64,{b64encode(buffer.getvalue()).decode()}"

    fits = bisect_left(_QUALITIES, True, key=lambda quality: len(address(quality)) <= budget)
    return address(_QUALITIES[min(fits, len(_QUALITIES) - 1)])


def _png(codes: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    rgb = np.concatenate([codes, np.zeros_like(codes[..., :1])], axis=-1)
    buffer = BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
