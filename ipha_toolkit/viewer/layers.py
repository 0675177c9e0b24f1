"""What the viewer shows, computed: slices, gray levels, window presets, regions of interest. No widget in here.

A layer is an image, a mask or a map on its own grid. Slices come as (rows, columns) with both indices running
towards right, anterior, superior; whoever draws them flips both, which puts the patient's right on the left
of axial and coronal images and anterior on the left of sagittal ones (radiological convention).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import PLANES, Affine, Placed, reorient_to_ras
from ipha_toolkit.volume import Mask, Volume

if TYPE_CHECKING:
    import pandas as pd


KINDS = {"ct": "CT", "dx": "radiograph"}
"""What images without a name are called where the modality's own name is no word."""

Overlays = Mapping[str, "Mask | Volume"] | Mask | Volume | None

_BLOCK = 16

_SAMPLE = 400_000

_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Layer(Placed):
    """One image, mask or map to be shown, on a grid whose axes run closest to right, anterior, superior.

    ``value = offset + scale * (code - 1)``; code 0 is missing. Codes are 16 bit, and exact where the values
    are whole numbers that span less than 65,535.
    """

    kind: str
    """``image``, ``mask`` or ``map``."""
    name: str
    unit: str = ""
    modality: str = ""
    offset: float = 0.0
    scale: float = 1.0
    limits: tuple[float, float] = (0.0, 1.0)
    image: int | None = None
    """Which image an overlay belongs to; None means all."""

    @property
    def title(self) -> str:
        """Name, and the kind of image where the name does not say it."""
        kind = KINDS.get(self.modality, self.modality)
        return self.name if kind.lower() in self.name.lower() else f"{self.name}  {kind}"

    def slice(self, plane: str, index: int) -> npt.NDArray[Any]:
        """One slice, shape (rows, columns)."""
        return np.asarray(np.take(self.array, index, axis=PLANES[plane][2]).T)

    def codes(self, plane: str, first: int, last: int) -> npt.NDArray[Any]:
        """Codes of slices ``first`` to ``last`` (excluded), shape (slices, rows, columns)."""
        columns, rows, across = PLANES[plane]
        part = self.array[(slice(None),) * across + (slice(first, last),)]
        if self.kind == "mask":
            return np.ascontiguousarray(part.transpose(across, rows, columns)).view(np.uint8)
        return np.ascontiguousarray(encode(part, self.offset, self.scale).transpose(across, rows, columns))


def encode(values: npt.NDArray[Any], offset: float, scale: float) -> npt.NDArray[np.uint16]:
    """Values as 16-bit codes, see :class:`Layer`; what is outside the range is clipped, NaN becomes 0."""
    codes = np.subtract(values, np.float32(offset), dtype=np.float32)
    codes *= np.float32(1 / scale)
    np.clip(codes, 0, 65534, out=codes)
    codes += np.float32(1.5)
    np.nan_to_num(codes, copy=False, nan=0.0)
    return np.asarray(codes, np.uint16)


def decode(codes: npt.NDArray[Any], offset: float, scale: float) -> npt.NDArray[np.float64]:
    """Values of 16-bit codes, NaN where missing."""
    return np.where(codes == 0, np.nan, offset + scale * (codes.astype(float) - 1))


def layers_of(volumes: Sequence[Volume], overlays: Overlays | Sequence[Overlays]) -> list[Layer]:
    """Layers of one to four images and their overlays; see :func:`ipha_toolkit.view.viewer.view`."""
    if not 1 <= len(volumes) <= 4:
        raise ValueError(f"view needs one to four volumes, got {len(volumes)}")
    for volume in volumes:
        if not isinstance(volume, Volume):
            hint = "; give masks as overlays={'name': mask}" if isinstance(volume, Mask) else ""
            raise TypeError(f"view needs Volumes, got {type(volume).__name__}{hint}")
    images = [image_layer(volume, number) for number, volume in enumerate(volumes)]
    return [*images, *_overlay_layers(overlays, images)]


def _overlay_layers(overlays: Overlays | Sequence[Overlays], images: Sequence[Layer]) -> list[Layer]:
    if isinstance(overlays, Sequence) and not isinstance(overlays, str):
        if len(overlays) != len(images):
            raise ValueError(f"a list of overlays needs one entry a volume: {len(images)}, got {len(overlays)}")
        groups: list[tuple[int | None, Any]] = list(enumerate(overlays))
    elif all(np.allclose(_directions(image.affine), _directions(images[0].affine), atol=1e-3) for image in images):
        groups = [(None, overlays)]
    else:  # on axes turned against each other, each image needs a copy along its own
        groups = [(number, overlays) for number in range(len(images))]
    found = []
    for image, group in groups:
        for name, overlay in _named(group).items():
            found.append(aligned_with(overlay_layer(overlay, name, image), images[image or 0]))
    return found


def _named(group: Any) -> Mapping[str, Mask | Volume]:
    if group is None:
        return {}
    if isinstance(group, (Mask, Volume)):
        return {group.name or ("mask" if isinstance(group, Mask) else "map"): group}
    if isinstance(group, Mapping):
        return group
    raise TypeError(f"overlays need to be a dict of name to Mask or Volume, got {type(group).__name__}")


def image_layer(volume: Volume, number: int) -> Layer:
    """A volume as an image; its array is shared, not copied. Without a name of its own it is called by its kind."""
    kind = KINDS.get(volume.modality or "", volume.modality or f"image {number + 1}")
    return _scalar_layer("image", volume, kind if volume.name in ("", volume.modality) else volume.name, None)


def face(layer: Layer) -> str:
    """The plane a layer is looked at by default: axial, or that of a single slice, as of a radiograph."""
    single = [plane for plane, axes in PLANES.items() if layer.array.shape[axes[2]] == 1]
    return single[0] if len(single) == 1 else "axial"


def overlay_layer(overlay: Volume | Mask, name: str, image: int | None) -> Layer:
    """A mask or a map of values as an overlay; its array is shared, not copied."""
    if isinstance(overlay, Volume):
        return _scalar_layer("map", overlay, name, image)
    if isinstance(overlay, Mask):
        array, affine = reorient_to_ras(overlay.array, overlay.affine)
        return Layer(array, affine, "mask", name, image=image)
    raise TypeError(f"overlay {name!r}: needs a Mask or a Volume, got {type(overlay).__name__}")


def _scalar_layer(kind: str, volume: Volume, name: str, image: int | None) -> Layer:
    array, affine = reorient_to_ras(volume.array, volume.affine)
    low, high, whole = _range(volume.array)
    scale = 1.0 if whole and high - low < 65534 else max(high - low, 1e-6) / 65534
    modality = "" if volume.modality is None else str(volume.modality)
    return Layer(array, affine, kind, str(name), volume.unit, modality, low, scale, (low, high), image)


def _range(array: npt.NDArray[np.float32]) -> tuple[float, float, bool]:
    """Lowest and highest value, and whether all are whole numbers; block by block, to spare memory."""
    low, high, whole = np.inf, -np.inf, True
    for start in range(0, array.shape[0], _BLOCK):
        block = array[start : start + _BLOCK]
        if not np.isfinite(block.sum(dtype=np.float64)):
            block = block[np.isfinite(block)]
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            whole = whole and bool((block == np.rint(block)).all())
    return (low, high, whole) if high >= low else (0.0, 1.0, False)


def sample(array: npt.NDArray[Any], inside: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[Any]:
    """About 400,000 finite values, spread evenly over the array, or those of them that lie inside a mask."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / 3)))
    part = tuple(slice(min(step, n) // 2, None, step) for n in array.shape)
    values = array[part] if inside is None else array[part][inside[part]]
    return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True)
class Share:
    """How many voxels of a map lie at or above any threshold."""

    edges: tuple[float, ...]
    above: tuple[int, ...]
    """Voxels at or above each edge."""
    region: str

    def fraction(self, threshold: float) -> float:
        """Share of voxels at or above the threshold, 0 to 1; exact at the edges, linear between them."""
        if not self.above[0]:
            return float("nan")
        return float(np.interp(threshold, self.edges, self.above, right=0.0)) / self.above[0]


def share_above(layer: Layer, lungs: Mask | Layer | None, *, bins: int = 400) -> Share:
    """Voxel counts of a map above each of ``bins + 1`` thresholds, inside the lungs or over all its voxels."""
    values, region = layer.array, "the map"
    if lungs is not None:
        values, region = layer.array[mask_on(layer, lungs)], lungs.name or "lung"
    values = values[np.isfinite(values)]
    low, high = layer.limits
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    counts, _ = np.histogram(values, np.append(edges, np.inf))
    above = counts[::-1].cumsum()[::-1]
    return Share(tuple(edges.tolist()), tuple(above.tolist()), region)


def lungs_of(image: int | None, shown: Sequence[Layer], lungs: Mask | None) -> Mask | Layer | None:
    """The lungs given, or else the first mask named like "lung" that lies on an image (None: on all)."""
    masks = (layer for layer in shown if layer.kind == "mask" and "lung" in layer.name.lower())
    return lungs or next((mask for mask in masks if mask.image in (None, image)), None)


def shares_of(shown: Sequence[Layer], lungs: Mask | None) -> dict[int, Share]:
    """Of each map, by its number: how much of the lung lies above any threshold."""
    maps = ((number, layer) for number, layer in enumerate(shown) if layer.kind == "map")
    return {number: share_above(layer, lungs_of(layer.image, shown, lungs)) for number, layer in maps}


def mask_on(layer: Layer, mask: Mask | Layer) -> npt.NDArray[np.bool_]:
    """The mask at the layer's voxels, nearest neighbour."""
    from scipy.ndimage import affine_transform

    if mask.array.shape == layer.array.shape and np.allclose(mask.affine, layer.affine, atol=1e-3):
        return np.asarray(mask.array, bool)
    step = np.linalg.inv(mask.affine) @ layer.affine
    moved = affine_transform(
        mask.array.view(np.uint8), step[:3, :3], step[:3, 3], output_shape=layer.array.shape, order=0
    )
    return np.asarray(moved, bool)


def aligned_with(layer: Layer, base: Layer) -> Layer:
    """The overlay itself where its axes run along the image's, otherwise resampled to the image's grid."""
    from scipy.ndimage import affine_transform

    if np.allclose(_directions(layer.affine), _directions(base.affine), atol=1e-3):
        return layer
    step = np.linalg.inv(layer.affine) @ base.affine
    mask = layer.kind == "mask"
    moved = affine_transform(
        layer.array.view(np.uint8) if mask else layer.array,
        step[:3, :3], step[:3, 3], output_shape=base.array.shape,
        order=0 if mask else 1, cval=0 if mask else np.nan,
    )  # fmt: skip
    return replace(layer, array=moved.view(bool) if mask else moved, affine=base.affine)


def _directions(affine: Affine) -> Affine:
    return np.asarray(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))


def nearest_slice(index: float, count: int) -> int:
    """Number, from 0, of the slice nearest to a fractional index; half way, the next, however inverses are rounded."""
    return min(max(int(np.floor(index + 0.5 + _TIE)), 0), count - 1)


def thick_slab(layer: Layer, plane: str, index: float, *, mode: str, slab_mm: float) -> npt.NDArray[Any]:
    """Slice at a fractional index, or the maximum or minimum over ``slab_mm`` around it, shape (rows, columns).

    Parameters
    ----------
    mode : {"off", "max", "min"}
    slab_mm : float
        Thickness in mm; rounded to an odd number of slices.
    """
    first, last = slab_range(layer, plane, index, mode=mode, slab_mm=slab_mm)
    across = PLANES[plane][2]
    part = layer.array[(slice(None),) * across + (slice(first, last),)]
    if last - first == 1 or mode == "off" or layer.kind == "mask":
        return np.asarray(np.take(part, (last - first) // 2, axis=across).T)
    return np.asarray((np.fmax if mode == "max" else np.fmin).reduce(part, axis=across).T)


def slab_range(layer: Layer, plane: str, index: float, *, mode: str, slab_mm: float) -> tuple[int, int]:
    """First and last (excluded) slice of a slab; the same rule as the browser's."""
    across = PLANES[plane][2]
    n = layer.array.shape[across]
    middle = nearest_slice(index, n)
    half = 0 if mode == "off" else int(np.floor(slab_mm / layer.spacing_mm[across] / 2))
    return max(middle - half, 0), min(middle + half + 1, n)


ROI_COLUMNS = (
    "name",
    "image",
    "plane",
    "x_mm",
    "y_mm",
    "z_mm",
    "width_mm",
    "height_mm",
    "mean",
    "sd",
    "n",
    "area_mm2",
    "unit",
)


def measure_rois(layers: Sequence[Layer], rois: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean, standard deviation, voxel count and area of regions of interest, one row each.

    Parameters
    ----------
    layers : sequence of Layer
        The images.
    rois : sequence of mapping
        ``image`` (number), ``plane``, ``center_mm`` (x, y, z in mm), ``radii_mm`` (along columns and rows);
        of one drawn freehand also ``points_mm``, its corners, and ``name``.

    Returns
    -------
    DataFrame
        Columns :data:`ROI_COLUMNS`. ``sd`` is the sample standard deviation (n - 1), NaN for one voxel; ``n``
        counts voxels whose centre lies inside and whose value is not missing; ``area_mm2`` is theirs, in mm².
    """
    import pandas as pd

    return pd.DataFrame([measure_roi(layers[roi["image"]], roi) for roi in rois], columns=list(ROI_COLUMNS))


def measure_roi(layer: Layer, roi: Mapping[str, Any]) -> dict[str, Any]:
    """One row of :func:`measure_rois`."""
    columns, rows, across = PLANES[roi["plane"]]
    center = layer.to_index(roi["center_mm"])
    index = nearest_slice(center[across], layer.array.shape[across])
    values = layer.slice(roi["plane"], index)
    spacing = layer.spacing_mm
    u = (np.arange(values.shape[1]) - center[columns]) * spacing[columns] / roi["radii_mm"][0]
    v = (np.arange(values.shape[0]) - center[rows]) * spacing[rows] / roi["radii_mm"][1]
    within = (u[None, :] ** 2 + v[:, None] ** 2) <= 1
    if "points_mm" in roi:
        within = inside_line(layer.to_index(roi["points_mm"])[:, [columns, rows]], values.shape)
    inside = values[within]
    inside = inside[np.isfinite(inside)].astype(float)
    x, y, z = roi["center_mm"]
    return {
        "name": roi.get("name", ""), "image": layer.name, "plane": roi["plane"], "x_mm": x, "y_mm": y, "z_mm": z,
        "width_mm": 2 * roi["radii_mm"][0], "height_mm": 2 * roi["radii_mm"][1],
        "mean": inside.mean() if inside.size else np.nan,
        "sd": inside.std(ddof=1) if inside.size > 1 else np.nan,
        "n": inside.size, "area_mm2": inside.size * spacing[columns] * spacing[rows], "unit": layer.unit,
    }  # fmt: skip


def measure_marks(layers: Sequence[Layer], drawn: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Length in mm of each distance (two ``points_mm``) and degrees of each angle (three, the corner second)."""
    import pandas as pd

    rows = []
    for mark in drawn:
        points = np.array(mark["points_mm"], float)
        if mark["kind"] == "distance":
            value, unit = float(np.linalg.norm(points[0] - points[1])), "mm"
        else:
            u, w = points[0] - points[1], points[2] - points[1]
            cosine = (u @ w) / (np.linalg.norm(u) * np.linalg.norm(w))
            value, unit = float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), "degrees"
        image = layers[mark["image"]].name
        rows.append((mark["kind"], image, mark["plane"], value, unit, mark["points_mm"]))
    return pd.DataFrame(rows, columns=["kind", "image", "plane", "value", "unit", "points_mm"])


def inside_line(corners: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Voxels (row, column) whose centre lies inside a closed line of (column, row), by the even-odd rule."""
    column, row = np.arange(shape[1])[None, :], np.arange(shape[0])[:, None]
    inside = np.zeros(shape, bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 > row) != (y2 > row)) & (column < (x2 - x1) * (row - y1) / (y2 - y1) + x1)
    return inside


def middle_mm(layer: Layer) -> tuple[float, float, float]:
    """Centre of a layer's middle voxel, in mm."""
    x, y, z = layer.to_world(np.array(layer.array.shape) // 2).tolist()
    return x, y, z


def bounds_mm(layers: Sequence[Layer]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lowest and highest world coordinates of all voxels' outer corners, each shape (3,)."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    points = np.concatenate([layer.to_world(corners * layer.array.shape - 0.5) for layer in layers])
    return points.min(axis=0), points.max(axis=0)


def nodule_list(nodules: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Centre and diameter in mm of each nodule of a table; ValueError where it lacks a column."""
    if nodules is None:
        return []
    missing = sorted({"x_mm", "y_mm", "z_mm", "diameter_mm"} - set(nodules.columns))
    if missing:
        raise ValueError(f"nodules lack the columns {', '.join(missing)}")
    columns = nodules[["x_mm", "y_mm", "z_mm", "diameter_mm"]].to_numpy(float)
    return [{"at": row[:3].tolist(), "diameter": float(row[3])} for row in columns if np.isfinite(row).all()]
