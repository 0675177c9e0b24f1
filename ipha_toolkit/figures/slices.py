"""Figures for notebooks, reports and papers, each with its description in words.

Every function draws on the Axes it is given, or on a figure of its own, and returns the Axes. No function touches
``matplotlib.pyplot``: nothing is shown, left open or set by drawing. Slices are in radiological convention (the
patient's right on the left of the picture), in mm, with letters and a scale bar.

>>> from ipha_toolkit.figures.core import alt_text
>>> import numpy as np
>>> from ipha_toolkit.figures.core import alt_text
>>> ax = plot_slice(Volume(np.zeros((8, 8, 4)), np.eye(4), modality="ct", unit="HU", name="empty"))
>>> alt_text(ax)
"empty, axial slice 3 of 4 at z 2.0 mm, patient's R on the left of the picture; window level −600, width 1500 HU."
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.figures.core import SERIES_COLOURS, colour_bars, describe, literal, new_figure
from ipha_toolkit.grid import PLANES
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.viewer import layers as pixels
from ipha_toolkit.viewer import marks
from ipha_toolkit.viewer.layers import Layer, Overlays, face, image_layer, layers_of
from ipha_toolkit.viewer.windows import looks_of, map_limits, presets
from ipha_toolkit.volume import Volume
from ipha_toolkit.wording import minus, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_slice(
    volume: Volume,
    *,
    plane: str | None = None,
    position_mm: Sequence[float] | None = None,
    overlays: Overlays = None,
    window: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    opacity: float = 0.6,
    ax: Axes | None = None,
) -> Axes:
    """One slice with masks outlined and maps in colour.

    Parameters
    ----------
    volume : Volume
    plane : {"axial", "coronal", "sagittal"}, optional
        By default axial, or the plane of a single slice, as of a radiograph.
    position_mm : sequence of 3 float, optional
        A point in the slice, world mm, RAS+; by default the centre of the first overlay, or of the volume.
    overlays : dict of str to Mask or Volume, Mask, Volume, optional
        Volumes are maps: a colour bar with their unit; diverging colours centred on zero where values have both signs.
    window : (level, width), optional
        In the image's unit; by default the lung window for CT, percentiles 1 to 99 otherwise.
    limits : (low, high), optional
        Values at the ends of the maps' colours, to be shared by figures that are compared.
    opacity : float
        Of maps, 0 to 1.
    ax : Axes, optional

    Returns
    -------
    Axes
        Millimetres of the plane, growing to the left and upwards; described.

    Raises
    ------
    ValueError
        Where the plane is unknown, or window or limits are no range.
    TypeError
        Where the volume or an overlay is something else.
    """
    picture = _Picture.of(volume, overlays, plane, window=window, limits=limits, opacity=opacity)
    at = picture.centre() if position_mm is None else np.asarray(position_mm, float)
    cut = _Cut.through(picture.image, picture.plane, at)
    ax = ax or _axes_for(np.ptp(cut.extent[:2]), np.ptp(cut.extent[2:]))
    bars = picture.draw(ax, at)
    ax.set(xlim=cut.extent[:2], ylim=cut.extent[2:], xlabel=f"{picture.axis(0)} (mm)", ylabel=f"{picture.axis(1)} (mm)")
    picture.annotate(ax)
    picture.name_masks(ax)
    colour_bars(ax, bars)
    ax.set_title(picture.title(at), fontsize=9, parse_math=False)
    return describe(ax, picture.words(at))


def plot_nodules(
    volume: Volume,
    nodules: pd.DataFrame,
    *,
    slab_mm: float = 20.0,
    z_mm: float | None = None,
    window: tuple[float, float] | None = None,
    protocol: Protocol = DEFAULT,
    ax: Axes | None = None,
) -> Axes:
    """Nodules ringed on an axial slab, the brightest voxel of each column shown, so that vessels look long.

    Parameters
    ----------
    volume : Volume
        CT or T1w.
    nodules : DataFrame
        As of :func:`ipha_toolkit.detect_nodules`.
    slab_mm : float
        Thickness of the slab.
    z_mm : float, optional
        World z of its middle; by default that of the median nodule, or of the volume.
    window : (level, width), optional
        As of :func:`plot_slice`.
    protocol : Protocol
        ``nodules.nodule_score``: candidates below it are not drawn.
    ax : Axes, optional

    Returns
    -------
    Axes
        Millimetres of the plane; described with the number of nodules ringed.
    """
    sure = nodules[nodules["score"] >= protocol.nodules.nodule_score] if "score" in nodules else nodules
    image = volume.to_ras()
    heights = image.to_world([[(n - 1) / 2 for n in image.shape[:2]] + [k] for k in range(image.shape[2])])[:, 2]
    middle = (float(sure["z_mm"].median()) if len(sure) else float(heights.mean())) if z_mm is None else z_mm
    layers = np.flatnonzero(np.abs(heights - middle) <= max(slab_mm / 2, float(image.spacing_mm[2]) / 2))
    layers = layers if layers.size else np.array([int(np.argmin(np.abs(heights - middle)))])
    affine = image.affine.copy()
    affine[:3, 3] = image.to_world([0, 0, float(layers.mean())])
    flat = image.array[:, :, layers].max(axis=2, keepdims=True)
    ax = plot_slice(image.replace(array=flat, affine=affine), plane="axial", window=window, ax=ax)
    shown = sure[np.abs(sure["z_mm"] - middle) <= slab_mm / 2]
    for x, y, diameter in shown[["x_mm", "y_mm", "diameter_mm"]].to_numpy(float):
        _ring(ax, x, y, diameter / 2 + 2)
    ax.set_title(f"{literal(image.name or 'image')}: {len(shown)} nodules in {slab_mm:g} mm", fontsize=9)
    return describe(
        ax,
        f"{image.name or 'Image'}, brightest voxels of an axial slab of {slab_mm:g} mm about z {middle:.0f} mm with "
        f"{len(shown)} of {len(sure)} nodules ringed.",
    )


def _ring(ax: Axes, x: float, y: float, radius: float) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle((x, y), radius, fill=False, edgecolor=SERIES_COLOURS[4], linewidth=1))


def plot_mosaic(
    volume: Volume,
    *,
    plane: str | None = None,
    n: int = 12,
    overlays: Overlays = None,
    window: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    opacity: float = 0.6,
    ax: Axes | None = None,
) -> Axes:
    """``n`` slices spread evenly over the first overlay, or the volume: from the feet, the back or the left onwards.

    One window and one range of colours for all. Other parameters, returns and errors as of :func:`plot_slice`.
    """
    if n < 1:
        raise ValueError(f"mosaic needs at least one slice, got n={n}")
    picture = _Picture.of(volume, overlays, plane, window=window, limits=limits, opacity=opacity)
    points = picture.spread(n)
    left, right, low, high = _Cut.through(picture.image, picture.plane, points[0]).extent
    columns = min(len(points), int(np.ceil(np.sqrt(len(points) * 4 / 3))))
    rows = -(-len(points) // columns)
    ax = ax or new_figure(2 * columns + 0.9, 2 * rows * (high - low) / (left - right) + 0.3).subplots()
    for order, at in enumerate(points):
        column, row = order % columns, order // columns
        shift = column * (right - left), row * (low - high)
        bars = picture.draw(ax, at, shift)
        label = minus(f"{at[picture.across]:.0f} mm")
        _write(ax, label, (column + 0.03) / columns, 1 - (row + 0.03) / rows, "left", "top", size=7)
    ax.set(xlim=(left, left + columns * (right - left)), ylim=(high + rows * (low - high), high), xticks=[], yticks=[])
    picture.annotate(ax, rows=rows)
    colour_bars(ax, bars)
    first, last = (f"{point[picture.across]:.0f}" for point in (points[0], points[-1]))
    ends = f"from {first} to {last}" if len(points) > 1 else first
    ax.set_title(
        minus(f"{picture.image.name}, {picture.plane}, {picture.axis(2)} {ends} mm"),
        fontsize=9,
        parse_math=False,
    )
    return describe(
        ax, picture.words(points[0], f"{len(points)} {picture.plane} slices at {picture.axis(2)} {ends} mm")
    )


def plot_comparison(
    *volumes: Volume,
    titles: Sequence[str] | None = None,
    plane: str | None = None,
    position_mm: Sequence[float] | None = None,
    overlays: Overlays | Sequence[Overlays] = None,
    opacity: float = 0.6,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """The same place in several images side by side, with all that is compared on one scale.

    Images of one modality share their window, maps their range of colours, all panels their field of view.

    Parameters
    ----------
    *volumes : Volume
        Any number.
    titles : sequence of str, optional
        One a volume, in place of the images' names.
    overlays : as of :func:`plot_slice`, or a list of such, one a volume
    axes : sequence of Axes, optional
        One a volume.
    plane, position_mm, opacity
        As of :func:`plot_slice`; by default each image at the centre of its own first overlay.

    Returns
    -------
    list of Axes

    Raises
    ------
    ValueError
        Where titles, overlays or axes are not one a volume.
    """
    each = list(overlays) if isinstance(overlays, Sequence) else [overlays] * len(volumes)
    names = [volume.name for volume in volumes] if titles is None else list(titles)
    panels = _row_of_axes(volumes, plane) if axes is None else list(axes)
    for what, given in (("overlays", each), ("titles", names), ("axes", panels)):
        if len(given) != len(volumes):
            raise ValueError(f"comparison of {len(volumes)} volumes needs as many {what}, got {len(given)}")
    windows, limits = _shared_windows(volumes), _shared_limits(volumes, each)
    for volume, overlay, name, ax in zip(volumes, each, names, panels, strict=True):
        plot_slice(
            volume.replace(name=name or volume.name), plane=plane, position_mm=position_mm, overlays=overlay,
            window=windows[volume.modality], limits=limits, opacity=opacity, ax=ax,
        )  # fmt: skip
    _share_view(panels)
    if axes is None and len(panels) > 2:
        _name_heights_once(panels)
    return panels


@dataclass(frozen=True, eq=False)
class _Cut:
    """One slice of a layer with the millimetres of its pixels' centres."""

    values: npt.NDArray[Any]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    pixel_mm: tuple[float, float]
    reached: bool
    """Whether the layer extends to this slice."""

    @classmethod
    def through(cls, layer: Layer, plane: str, at: npt.ArrayLike) -> _Cut:
        *in_plane, across = PLANES[plane]
        index, shape, step, position = layer.to_index(at), layer.array.shape, layer.spacing_mm, np.asarray(at, float)
        x, y = (position[a] + (np.arange(shape[a]) - index[a]) * step[a] for a in in_plane)
        reached = bool(-0.5 <= index[across] <= shape[across] - 0.5)
        pixel = step[in_plane[0]], step[in_plane[1]]
        return cls(layer.slice(plane, marks.place(layer, plane, position).number - 1), x, y, pixel, reached)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in mm; left is the larger, as the patient's right is on the left."""
        half_x, half_y = self.pixel_mm[0] / 2, self.pixel_mm[1] / 2
        return self.x[-1] + half_x, self.x[0] - half_x, self.y[0] - half_y, self.y[-1] + half_y


@dataclass(frozen=True, eq=False)
class _Picture:
    """An image with its overlays and how they are to look: what all slices of one figure share."""

    image: Layer
    overlays: Sequence[Layer]
    looks: Sequence[Mapping[str, Any]]
    plane: str
    window: tuple[float, float]
    opacity: float

    @classmethod
    def of(
        cls,
        volume: Volume,
        overlays: Overlays,
        plane: str | None,
        *,
        window: Any,
        limits: Any,
        opacity: float,
    ) -> _Picture:
        image, *others = layers_of([volume], overlays)
        plane = plane or face(image)
        if plane not in PLANES:
            raise ValueError(f"plane needs to be one of {', '.join(PLANES)}, got {plane!r}")
        window = window or next(iter(presets(image).values()))
        if not window[1] > 0:
            raise ValueError(f"window needs (level, width) with width > 0, got {window!r}")
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"limits need (low, high) with low < high, got {limits!r}")
        return cls(image, others, looks_of(others, limits=limits), plane, tuple(window), opacity)

    @property
    def across(self) -> int:
        return PLANES[self.plane][2]

    def axis(self, place: int) -> str:
        """Name of the plane's columns (0), rows (1), or of what runs across it (2)."""
        return "xyz"[PLANES[self.plane][place]]

    def title(self, at: npt.NDArray[np.float64]) -> str:
        """Name, plane and place; a single slice, as of a radiograph, is named alone."""
        if self.image.array.shape[self.across] == 1:
            return self.image.name
        return minus(f"{self.image.name}, {self.plane}, {self.axis(2)} {at[self.across]:.1f} mm")

    def _of_interest(self) -> tuple[Layer, npt.NDArray[np.intp]]:
        """A layer and voxel indices in it, shape (n, 3): of the first mask or map, or the image's two corners."""
        for layer in self.overlays:
            known = layer.array if layer.kind == "mask" else np.isfinite(layer.array)
            if known.any() and not known.all():
                return layer, np.argwhere(known)
        return self.image, np.array([[0, 0, 0], self.image.array.shape]) - [[0], [1]]

    def centre(self) -> npt.NDArray[np.float64]:
        layer, inside = self._of_interest()
        middle = layer.to_world(inside.mean(axis=0))
        index = np.floor(self.image.to_index(middle) + 0.5)
        return self.image.to_world(np.clip(index, 0, np.subtract(self.image.array.shape, 1)))

    def spread(self, n: int) -> list[npt.NDArray[np.float64]]:
        """At most ``n`` points, each in another slice of the image, evenly spread over what is of interest."""
        layer, inside = self._of_interest()
        ends = self.image.to_index(layer.to_world(np.array([inside.min(axis=0), inside.max(axis=0)])))[:, self.across]
        low, high = float(ends.min()), float(ends.max())
        wanted = low + (np.arange(n) + 0.5) * (high - low) / n
        slices = np.unique(np.clip(np.floor(wanted + 0.5), 0, self.image.array.shape[self.across] - 1))
        index = np.repeat(self.image.to_index(self.centre())[None], len(slices), axis=0)
        index[:, self.across] = slices
        return list(self.image.to_world(index))

    def draw(self, ax: Axes, at: npt.ArrayLike, shift: tuple[float, float] = (0.0, 0.0)) -> list[tuple[Any, str]]:
        """Draw the slice, moved by ``shift`` mm; returns what needs a colour bar, with its quantity and unit."""
        level, width = self.window
        gray = _image(
            ax,
            _Cut.through(self.image, self.plane, at),
            shift,
            cmap="gray",
            vmin=level - width / 2,
            vmax=level + width / 2,
        )
        bars = []
        for layer, look in zip(self.overlays, self.looks, strict=True):
            cut = _Cut.through(layer, self.plane, at)
            if layer.kind == "map":
                low, high = look["limits"]
                shown = _image(ax, cut, shift, cmap=look["name"], vmin=low, vmax=high, alpha=self.opacity)
                bars.append((shown, _quantity(layer.name, layer.unit)))
            elif cut.reached and cut.values.any():
                _mask(ax, cut, shift, look["colour"])
        name = "attenuation" if self.image.unit == "HU" else f"{self.image.modality} signal".strip()
        return bars or [(gray, _quantity(name, self.image.unit))]

    def annotate(self, ax: Axes, *, rows: int = 1) -> None:
        """Letters of the patient's sides and a scale bar; of a mosaic only the letter left of its first row."""
        ax.set(facecolor="black", aspect="equal")
        left, right, top, bottom = marks.letters(self.image, self.plane)
        _write(ax, left, 0.01, 1 - 0.5 / rows, "left", "center")
        if rows == 1:
            _write(ax, right, 0.99, 0.5, "right", "center")
            _write(ax, top, 0.5, 0.98, "center", "top")
            _write(ax, bottom, 0.5, 0.02, "center", "bottom")
        _scale_bar(ax)

    def name_masks(self, ax: Axes) -> None:
        """Where there are several masks, the name of each in its colour, from the upper left corner down."""
        masks = {
            layer.name: look["colour"] for layer, look in zip(self.overlays, self.looks, strict=True)
            if layer.kind == "mask"
        }  # fmt: skip
        for place, (name, colour) in enumerate(masks.items() if len(masks) > 1 else ()):
            _write(ax, name, 0.02, 0.98 - 0.055 * place, "left", "top", size=8, colour=colour)

    def words(self, at: npt.ArrayLike, shown: str = "") -> str:
        """Description: the slice at a place, or what is ``shown`` in its stead, the window, the overlays."""
        parts = [marks.describe_slice(self.image, self.plane, at, window=self.window, shown=shown)]
        masks = [layer.name for layer in self.overlays if layer.kind == "mask"]
        if masks:
            parts.append(f"outlined: {', '.join(masks)}")
        for layer, look in zip(self.overlays, self.looks, strict=True):
            if layer.kind == "map":
                low, high = look["limits"]
                parts.append(f"in colour: {layer.name} from {number(low)} to {number(high, layer.unit)}")
        return minus("; ".join(parts) + ".")


def _image(ax: Axes, cut: _Cut, shift: tuple[float, float], **look: Any) -> Any:
    left, right, low, high = cut.extent
    place = left + shift[0], right + shift[0], low + shift[1], high + shift[1]
    values = cut.values[:, ::-1] if cut.reached else np.full((1, 1), np.nan)
    return ax.imshow(values, extent=place, origin="lower", interpolation="nearest", **look)


def _mask(ax: Axes, cut: _Cut, shift: tuple[float, float], colour: str) -> None:
    """Draw the border of a mask."""
    inside = np.pad(cut.values.astype(float), 1)
    x, y = (
        np.concatenate([[a[0] - s], a, [a[-1] + s]]) + by
        for a, s, by in zip((cut.x, cut.y), cut.pixel_mm, shift, strict=True)
    )
    ax.contour(x, y, inside, [0.5], colors=[colour], linewidths=1.2)


def _quantity(name: str, unit: str) -> str:
    return f"{name} ({unit or 'a.u.'})"


def _write(
    ax: Axes, text: str, x: float, y: float, ha: str, va: str, *, size: float = 9, colour: str = "white"
) -> None:
    """Light text with a black border, at a fraction of the Axes."""
    ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        ha=ha,
        va=va,
        color=colour,
        size=size,
        path_effects=_on_black(2),
        parse_math=False,
    )


def _on_black(width: float) -> list[Any]:
    """A black border, so that white is seen on white."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="black")]


def _scale_bar(ax: Axes) -> None:
    width = abs(np.ptp(ax.get_xlim()))
    mm, label = marks.scale_bar(width)
    (bar,) = ax.plot([0.97 - mm / width, 0.97], [0.03, 0.03], transform=ax.transAxes, color="white", lw=2)
    bar.set(solid_capstyle="butt", path_effects=_on_black(4))
    _write(ax, label, 0.97, 0.045, "right", "bottom", size=8)


def _axes_for(width: float, height: float) -> Axes:
    """Axes of a new figure for a picture of so many millimetres, beside it room for labels and a colour bar."""
    drawn = 4.2 * float(np.clip(height / width, 0.4, 1.6))
    figure = new_figure(5.9, drawn + 0.8)
    figure.set_layout_engine("compressed")  # the plain one leaves the label of a narrow picture outside
    return figure.subplots()


def _row_of_axes(volumes: Sequence[Volume], plane: str | None) -> list[Axes]:
    layers = [pixels.image_layer(volume, 0) for volume in volumes]
    columns, rows, _ = PLANES.get(plane or pixels.face(layers[0]), PLANES["axial"])
    low, high = pixels.bounds_mm(layers)
    height = 2.8 * float(np.clip((high - low)[rows] / (high - low)[columns], 0.3, 2)) + 0.8
    figure = new_figure((4.4 if len(volumes) < 3 else 3.7) * len(volumes), height)
    figure.set_layout_engine("compressed")
    return list(figure.subplots(1, len(volumes), squeeze=False)[0])


def _shared_windows(volumes: Sequence[Volume]) -> dict[Any, tuple[float, float]]:
    """One window a modality: the widest that its images open with."""
    found: dict[Any, tuple[float, float]] = {}
    for volume in volumes:
        level, width = next(iter(presets(image_layer(volume, 0)).values()))
        low, high = level - width / 2, level + width / 2
        if volume.modality in found:
            old_level, old_width = found[volume.modality]
            low, high = min(low, old_level - old_width / 2), max(high, old_level + old_width / 2)
        found[volume.modality] = (low + high) / 2, high - low
    return found


def _shared_limits(volumes: Sequence[Volume], overlays: Sequence[Overlays]) -> tuple[float, float] | None:
    """The widest limits of all maps, or None where there is no map."""
    maps = [
        layer for volume, overlay in zip(volumes, overlays, strict=True)
        for layer in layers_of([volume], overlay) if layer.kind == "map"
    ]  # fmt: skip
    found = np.array([map_limits(layer) for layer in maps])
    return (float(found[:, 0].min()), float(found[:, 1].max())) if len(found) else None


def _name_heights_once(axes: Sequence[Axes]) -> None:
    """Of many panels that reach as high as the first, that one alone has numbers: the room goes to the pictures."""
    for ax in axes[1:]:
        if np.allclose(ax.get_ylim(), axes[0].get_ylim(), atol=0.5):
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)


def _share_view(axes: Sequence[Axes]) -> None:
    """The same number of millimetres across and up in every panel, each about its own middle."""
    for axis in ("x", "y"):
        limits = np.array([getattr(ax, f"get_{axis}lim")() for ax in axes])
        half = np.abs(np.ptp(limits, axis=1)).max() / 2
        for ax, (first, last) in zip(axes, limits, strict=True):
            way = np.sign(last - first)
            getattr(ax, f"set_{axis}lim")((first + last) / 2 - way * half, (first + last) / 2 + way * half)
