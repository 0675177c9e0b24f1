"""Figures for notebooks, reports and papers, each with its description in words.

Every function draws on the Axes it is given, or on a figure of its own, and returns the Axes. No function touches
``matplotlib.pyplot``: nothing is shown, left open or set by drawing. Slices are in radiological convention (the
patient's right on the left of the picture), in mm, with letters and a scale bar.

How the description travels
---------------------------
:func:`describe` puts the words on an Axes, :func:`alt_text` reads those of a whole figure. They go along wherever the
figure goes: :func:`show` displays it in a notebook (as the output's ``image/png`` metadata ``alt``, which
``ipha render`` reads, and as ``<img alt>`` for plain nbconvert), :func:`to_html` gives the ``<img>`` for a page,
:func:`to_png` the bytes of the file with the words as its ``Description``.

>>> import numpy as np
>>> ax = plot_slice(Volume(np.zeros((8, 8, 4)), np.eye(4), modality="ct", unit="HU", name="empty"))
>>> alt_text(ax)
"empty, axial slice 3 of 4 at z 2.0 mm, patient's R on the left of the picture; window level −600, width 1500 HU."
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.measure.hemosiderin import JOINT_EDGES, SignatureReference
from ipha_toolkit.measure.signal import BIN_EDGES
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import MEASURES, Region
from ipha_toolkit.view import _layers as pixels
from ipha_toolkit.view import marks
from ipha_toolkit.view._layers import PLANES, Layer, Overlays
from ipha_toolkit.view.marks import number
from ipha_toolkit.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of bars and lines on white, told apart with every common colour blindness (Okabe & Ito 2008)."""

_CONTROL_INK = "#8a8a8a"
_ZONES = [str(region) for region in Region if region != Region.LUNG]
_DPI = 150

# -- a figure and its words ------------------------------------------------------------------------------------------


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure of a size in inches, unknown to pyplot, laid out so that no label is cut off."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def describe(ax: Axes, words: str) -> Axes:
    """Attach a description to an Axes, in place of an earlier one; returns the Axes."""
    ax.__dict__["_ipha_words"] = words
    return ax


def alt_text(drawn: Axes | Figure) -> str:
    """The description of a figure, or of the figure an Axes is part of: of all its Axes, in order.

    Raises
    ------
    ValueError
        Where no Axes of the figure carries one.
    """
    found = [ax.__dict__["_ipha_words"] for ax in _figure(drawn).axes if "_ipha_words" in ax.__dict__]
    if not found:
        raise ValueError("figure has no description: attach one with ipha_toolkit.view.plots.describe(ax, words)")
    return " ".join(found)


def to_png(drawn: Axes | Figure, *, dpi: int = _DPI) -> bytes:
    """The figure as bytes of a PNG file, its description in the file's ``Description``."""
    buffer = BytesIO()
    _figure(drawn).savefig(buffer, format="png", dpi=dpi, metadata={"Description": alt_text(drawn)})
    return buffer.getvalue()


def to_html(drawn: Axes | Figure, *, dpi: int = _DPI) -> str:
    """The figure as one ``<img>`` that holds its pixels and its description, for a self-contained page."""
    return _image_tag(b64encode(to_png(drawn, dpi=dpi)).decode(), drawn)


def show(drawn: Axes | Figure, *, dpi: int = 110) -> None:
    """Display the figure in a notebook with its description; a figure of pyplot is closed, not shown twice."""
    import sys

    from IPython.display import display

    picture = b64encode(to_png(drawn, dpi=dpi)).decode()
    data = {"image/png": picture, "text/html": _image_tag(picture, drawn), "text/plain": alt_text(drawn)}
    display(data, metadata={"image/png": {"alt": alt_text(drawn)}}, raw=True)  # type: ignore[no-untyped-call]
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(_figure(drawn))


def _image_tag(picture: str, drawn: Axes | Figure) -> str:
    return f'<img src="data:image/png;base64,{picture}" alt="{escape(alt_text(drawn))}" style="max-width: 100%">'


def _figure(drawn: Axes | Figure) -> Figure:
    from matplotlib.figure import Figure

    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    if figure is None:
        raise ValueError("the Axes was removed from its figure")
    return figure


# -- slices ----------------------------------------------------------------------------------------------------------


def plot_slice(
    volume: Volume,
    *,
    plane: str | None = None,
    position_mm: Sequence[float] | None = None,
    overlays: Overlays = None,
    window: tuple[float, float] | None = None,
    limits: tuple[float, float] | None = None,
    fill: bool = False,
    opacity: float = 0.6,
    ax: Axes | None = None,
) -> Axes:
    """One slice with masks outlined or filled and maps in colour.

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
    fill : bool
        Masks filled rather than outlined.
    opacity : float
        Of maps and filled masks, 0 to 1.
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
    picture = _Picture.of(volume, overlays, plane, window=window, limits=limits, fill=fill, opacity=opacity)
    at = picture.centre() if position_mm is None else np.asarray(position_mm, float)
    cut = _Cut.through(picture.image, picture.plane, at)
    width, height = np.ptp(cut.extent[:2]), np.ptp(cut.extent[2:])
    ax = ax or new_figure(5.6, 5.6 * float(np.clip(height / width, 0.4, 1.6)) - 0.4).subplots()
    bars = picture.draw(ax, at)
    ax.set(xlim=cut.extent[:2], ylim=cut.extent[2:], xlabel=f"{picture.axis(0)} (mm)", ylabel=f"{picture.axis(1)} (mm)")
    picture.annotate(ax)
    _colour_bars(ax, bars)
    where = f"{picture.axis(2)} {at[picture.across]:.1f} mm"
    ax.set_title(_signed(f"{picture.image.name}, {picture.plane}, {where}"), fontsize=9, parse_math=False)
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
    ax.set_title(f"{_literal(image.name or 'image')}: {len(shown)} nodules in {slab_mm:g} mm", fontsize=9)
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
    fill: bool = False,
    opacity: float = 0.6,
    ax: Axes | None = None,
) -> Axes:
    """``n`` slices spread evenly over the first overlay, or the volume: from the feet, the back or the left onwards.

    One window and one range of colours for all. Other parameters, returns and errors as of :func:`plot_slice`.
    """
    if n < 1:
        raise ValueError(f"mosaic needs at least one slice, got n={n}")
    picture = _Picture.of(volume, overlays, plane, window=window, limits=limits, fill=fill, opacity=opacity)
    points = picture.spread(n)
    left, right, low, high = _Cut.through(picture.image, picture.plane, points[0]).extent
    columns = int(np.ceil(np.sqrt(len(points) * 4 / 3)))
    rows = -(-len(points) // columns)
    ax = ax or new_figure(2 * columns + 0.9, 2 * rows * (high - low) / (left - right) + 0.3).subplots()
    for order, at in enumerate(points):
        column, row = order % columns, order // columns
        shift = column * (right - left), row * (low - high)
        bars = picture.draw(ax, at, shift)
        label = _signed(f"{at[picture.across]:.0f} mm")
        _write(ax, label, (column + 0.03) / columns, 1 - (row + 0.03) / rows, "left", "top", size=7)
    ax.set(xlim=(left, left + columns * (right - left)), ylim=(high + rows * (low - high), high), xticks=[], yticks=[])
    picture.annotate(ax, rows=rows)
    _colour_bars(ax, bars)
    ends = " to ".join(f"{point[picture.across]:.0f}" for point in (points[0], points[-1]))
    ax.set_title(
        _signed(f"{picture.image.name}, {picture.plane}, {picture.axis(2)} from {ends} mm"),
        fontsize=9,
        parse_math=False,
    )
    return describe(
        ax, picture.words(points[0], f"{len(points)} {picture.plane} slices from {picture.axis(2)} {ends} mm")
    )


def plot_comparison(
    *volumes: Volume,
    titles: Sequence[str] | None = None,
    plane: str | None = None,
    position_mm: Sequence[float] | None = None,
    overlays: Overlays | Sequence[Overlays] = None,
    fill: bool = False,
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
    plane, position_mm, fill, opacity
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
            window=windows[volume.modality], limits=limits, fill=fill, opacity=opacity, ax=ax,
        )  # fmt: skip
    _share_view(panels)
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
        index, shape, step, position = layer.index_of(at), layer.array.shape, layer.spacing_mm, np.asarray(at, float)
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
    fill: bool
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
        fill: bool,
        opacity: float,
    ) -> _Picture:
        image, *others = pixels.layers_of([volume], overlays)
        plane = plane or pixels.face(image)
        if plane not in PLANES:
            raise ValueError(f"plane needs to be one of {', '.join(PLANES)}, got {plane!r}")
        window = window or next(iter(pixels.presets(image).values()))
        if not window[1] > 0:
            raise ValueError(f"window needs (level, width) with width > 0, got {window!r}")
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"limits need (low, high) with low < high, got {limits!r}")
        return cls(image, others, pixels.looks_of(others, limits=limits), plane, tuple(window), fill, opacity)

    @property
    def across(self) -> int:
        return PLANES[self.plane][2]

    def axis(self, place: int) -> str:
        """Name of the plane's columns (0), rows (1), or of what runs across it (2)."""
        return "xyz"[PLANES[self.plane][place]]

    def _of_interest(self) -> tuple[Layer, npt.NDArray[np.intp]]:
        """A layer and voxel indices in it, shape (n, 3): of the first mask or map, or the image's two corners."""
        for layer in self.overlays:
            known = layer.array if layer.kind == "mask" else np.isfinite(layer.array)
            if known.any() and not known.all():
                return layer, np.argwhere(known)
        return self.image, np.array([[0, 0, 0], self.image.array.shape]) - [[0], [1]]

    def centre(self) -> npt.NDArray[np.float64]:
        layer, inside = self._of_interest()
        middle = layer.world_of(inside.mean(axis=0))
        index = np.floor(self.image.index_of(middle) + 0.5)
        return self.image.world_of(np.clip(index, 0, np.subtract(self.image.array.shape, 1)))

    def spread(self, n: int) -> list[npt.NDArray[np.float64]]:
        """At most ``n`` points, each in another slice of the image, evenly spread over what is of interest."""
        layer, inside = self._of_interest()
        ends = self.image.index_of(layer.world_of(np.array([inside.min(axis=0), inside.max(axis=0)])))[:, self.across]
        low, high = float(ends.min()), float(ends.max())
        wanted = low + (np.arange(n) + 0.5) * (high - low) / n
        slices = np.unique(np.clip(np.floor(wanted + 0.5), 0, self.image.array.shape[self.across] - 1))
        index = np.repeat(self.image.index_of(self.centre())[None], len(slices), axis=0)
        index[:, self.across] = slices
        return list(self.image.world_of(index))

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
                _mask(ax, cut, shift, look["colour"], self.opacity if self.fill else None)
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

    def words(self, at: npt.ArrayLike, shown: str = "") -> str:
        """Description: the slice at a place, or what is ``shown`` in its stead, the window, the overlays."""
        parts = [marks.describe_slice(self.image, self.plane, at, window=self.window, shown=shown)]
        masks = [layer.name for layer in self.overlays if layer.kind == "mask"]
        if masks:
            parts.append(f"{'filled' if self.fill else 'outlined'}: {', '.join(masks)}")
        for layer, look in zip(self.overlays, self.looks, strict=True):
            if layer.kind == "map":
                low, high = look["limits"]
                parts.append(f"in colour: {layer.name} from {number(low)} to {number(high, layer.unit)}")
        return _signed("; ".join(parts) + ".")


def _image(ax: Axes, cut: _Cut, shift: tuple[float, float], **look: Any) -> Any:
    left, right, low, high = cut.extent
    place = left + shift[0], right + shift[0], low + shift[1], high + shift[1]
    values = cut.values[:, ::-1] if cut.reached else np.full((1, 1), np.nan)
    return ax.imshow(values, extent=place, origin="lower", interpolation="nearest", **look)


def _mask(ax: Axes, cut: _Cut, shift: tuple[float, float], colour: str, opacity: float | None) -> None:
    """Fill a mask, or draw its border where ``opacity`` is None."""
    inside = np.pad(cut.values.astype(float), 1)
    x, y = (
        np.concatenate([[a[0] - s], a, [a[-1] + s]]) + by
        for a, s, by in zip((cut.x, cut.y), cut.pixel_mm, shift, strict=True)
    )
    if opacity is None:
        ax.contour(x, y, inside, [0.5], colors=[colour], linewidths=1.2)
    else:
        ax.contourf(x, y, inside, [0.5, 1.5], colors=[colour], alpha=opacity)


def _colour_bars(ax: Axes, bars: Sequence[tuple[Any, str]]) -> None:
    for shown, label in bars:
        bar = _figure(ax).colorbar(shown, ax=ax, fraction=0.05, pad=0.02)
        bar.set_label(label, parse_math=False)
        if bar.solids is not None:
            bar.solids.set_alpha(1)


def _quantity(name: str, unit: str) -> str:
    return f"{name} ({unit or 'a.u.'})"


def _signed(text: str) -> str:
    """Minus signs in place of hyphens before digits."""
    return re.sub(r"(?<![\w])-(?=\d)", "\u2212", text)


def _write(ax: Axes, text: str, x: float, y: float, ha: str, va: str, *, size: float = 9) -> None:
    """White text with a black border, at a fraction of the Axes."""
    from matplotlib.patheffects import withStroke

    effects = [withStroke(linewidth=2, foreground="black")]
    ax.text(
        x,
        y,
        text,
        transform=ax.transAxes,
        ha=ha,
        va=va,
        color="white",
        size=size,
        path_effects=effects,
        parse_math=False,
    )


def _scale_bar(ax: Axes) -> None:
    width = abs(np.ptp(ax.get_xlim()))
    mm, label = marks.scale_bar(width)
    ax.plot([0.97 - mm / width, 0.97], [0.03, 0.03], transform=ax.transAxes, color="white", lw=2, solid_capstyle="butt")
    _write(ax, label, 0.97, 0.045, "right", "bottom", size=8)


def _row_of_axes(volumes: Sequence[Volume], plane: str | None) -> list[Axes]:
    layers = [pixels.image_layer(volume, 0) for volume in volumes]
    columns, rows, _ = PLANES.get(plane or pixels.face(layers[0]), PLANES["axial"])
    low, high = pixels.bounds_mm(layers)
    height = 2.8 * float(np.clip((high - low)[rows] / (high - low)[columns], 0.3, 2)) + 0.8
    return list(new_figure(4.4 * len(volumes), height).subplots(1, len(volumes), squeeze=False)[0])


def _shared_windows(volumes: Sequence[Volume]) -> dict[Any, tuple[float, float]]:
    """One window a modality: the widest that its images open with."""
    found: dict[Any, tuple[float, float]] = {}
    for volume in volumes:
        level, width = next(iter(pixels.presets(pixels.image_layer(volume, 0)).values()))
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
        for layer in pixels.layers_of([volume], overlay) if layer.kind == "map"
    ]  # fmt: skip
    found = np.array([pixels.map_limits(layer) for layer in maps])
    return (float(found[:, 0].min()), float(found[:, 1].max())) if len(found) else None


def _share_view(axes: Sequence[Axes]) -> None:
    """The same number of millimetres across and up in every panel, each about its own middle."""
    for axis in ("x", "y"):
        limits = np.array([getattr(ax, f"get_{axis}lim")() for ax in axes])
        half = np.abs(np.ptp(limits, axis=1)).max() / 2
        for ax, (first, last) in zip(axes, limits, strict=True):
            way = np.sign(last - first)
            getattr(ax, f"set_{axis}lim")((first + last) / 2 - way * half, (first + last) / 2 + way * half)


# -- numbers ---------------------------------------------------------------------------------------------------------


def plot_histogram(
    counts: npt.ArrayLike,
    *,
    controls: Iterable[npt.ArrayLike] = (),
    edges: npt.ArrayLike = BIN_EDGES,
    name: str = "subject",
    quantity: str = "lung-to-muscle ratio (1)",
    threshold: float | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Histogram of lung signal against those of controls.

    Parameters
    ----------
    counts : array_like, shape (n,)
        Voxels by bin, as a column of :func:`ipha_toolkit.measure.signal.ratio_histogram`.
    controls : iterable of array_like, shape (n,)
        The same of each control: a line each up to four, their range as a band from five on.
    edges : array_like, shape (n + 1,)
        Of the bins; the last may be infinite, what lies beyond is in no bar.
    name, quantity : str
        What the histogram is of; the quantity with its unit, for the axis.
    threshold : float, optional
        Marked by a line.
    bins : int
        Bars over the range of values; whole bins of ``edges`` are put together.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with the medians, and the share at or above the threshold.

    Raises
    ------
    ValueError
        Where there is no voxel, or counts and edges do not match.
    """
    border = np.asarray(edges, float)
    each = [np.asarray(c, float) for c in (counts, *controls)]
    if any(c.shape != (border.size - 1,) for c in each) or not all(c.sum() > 0 for c in each):
        raise ValueError(f"histograms need voxels in {border.size - 1} bins, got shapes {[c.shape for c in each]}")
    ax = ax or new_figure().subplots()
    low, high, share = _merged(each, border, bins)
    own, others = share[0], share[1:]
    if len(others) >= 5:
        bottom, top = (np.append(limit, 0) for limit in (others.min(axis=0), others.max(axis=0)))
        look: dict[str, Any] = {"step": "post", "color": _CONTROL_INK, "alpha": 0.45, "lw": 0}
        ax.fill_between(np.append(low, high[-1]), bottom, top, label=f"{len(others)} controls, range", **look)
    else:
        for order, one in enumerate(others):
            label = f"{len(others)} control{'s' if len(others) > 1 else ''}" if not order else None
            ax.stairs(one, np.append(low, high[-1]), color=_CONTROL_INK, lw=1.2, label=label)
    ax.stairs(own, np.append(low, high[-1]), color=SERIES_COLOURS[0], lw=2, label=name)
    if threshold is not None:
        ax.axvline(threshold, color=SERIES_COLOURS[1], ls="--", lw=1.2, label=f"threshold {number(threshold)}")
    ax.set(
        xlabel=quantity, ylabel=f"lung voxels (% per {high[0] - low[0]:.3g})", ylim=(0, None), xlim=(low[0], high[-1])
    )
    _plain(ax).legend(frameon=False, fontsize=8)
    return describe(ax, _histogram_words(each, border, name, quantity, threshold))


def plot_signature(
    histogram: pd.DataFrame,
    line: SignatureReference,
    *,
    floor: float = np.nan,
    name: str = "subject",
    region: str = Region.LUNG,
    protocol: Protocol = DEFAULT,
    ax: Axes | None = None,
) -> Axes:
    """T2w against T1w of every lung voxel, with the line that water follows and the four quadrants named.

    Parameters
    ----------
    histogram : DataFrame
        As of :func:`ipha_toolkit.measure.hemosiderin.joint_histogram`.
    line : SignatureReference
    floor : float
        T2w ratio that is not told from noise (measure ``signature_floor``); NaN where it is not known.
    name, region : str
    protocol : Protocol
        ``signature.threshold_sd``: where the signature begins.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with the share of voxels in each quadrant.

    Raises
    ------
    ValueError
        Where the region holds no voxel.
    """
    counts = histogram[region].to_numpy(float)
    if not counts.sum() > 0:
        raise ValueError(f"{name}: no voxel in the region {region}")
    t1, t2 = histogram["t1w"].to_numpy(), histogram["t2w"].to_numpy()
    right, top = (1.15 * _weighted_quantile(v, counts, 0.995) for v in (t1, t2))
    right, top = max(right, 0.1), max(top, line.slope * right)
    ax = ax or new_figure(6.4, 5.0).subplots()
    weights = 100 * counts / counts.sum()
    _, _, _, drawn = ax.hist2d(t1, t2, bins=JOINT_EDGES, weights=weights, cmap="cividis", cmin=1e-9)
    _colour_bars(ax, [(drawn, "lung voxels (% per bin)")])
    silent = np.nan_to_num(floor) / line.slope
    x = np.linspace(silent, right, 50)
    limit = np.exp(-protocol.signature.threshold_sd * line.spread)
    ax.plot(x, line.slope * x, color=SERIES_COLOURS[1], lw=2)
    ax.plot(x, limit * line.slope * x, color=SERIES_COLOURS[1], lw=1.2, ls="--")
    ax.axvline(silent, color=_CONTROL_INK, lw=1.2, ls=":")
    below, evidence = line.below(t1, t2), line.predicted(t1) >= np.nan_to_num(floor)
    inside = {
        "no evidence": ~evidence,
        "above the line: free water": evidence & (below < -protocol.signature.threshold_sd),
        "on the line: water": evidence & (np.abs(below) <= protocol.signature.threshold_sd),
        "below the line: T2w missing": evidence & (below > protocol.signature.threshold_sd),
    }
    shares = {words: 100 * counts[chosen].sum() / counts.sum() for words, chosen in inside.items()}
    places = (
        (0.02, 0.98, "left", "top"), (0.35, 0.98, "left", "top"),
        (0.98, 0.62, "right", "center"), (0.98, 0.04, "right", "bottom"),
    )  # fmt: skip
    for (words, share), (u, v, ha, va) in zip(shares.items(), places, strict=True):
        label = f"{words}\n{share:.0f} %"
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
        ax.text(u, v, label, transform=ax.transAxes, ha=ha, va=va, fontsize=8, bbox=box)
    ax.set(xlabel="T1w ratio to muscle (1)", ylabel="T2w ratio to muscle (1)", xlim=(0, right), ylim=(0, top))
    ax.set_title(name, fontsize=9, parse_math=False)
    listed = "; ".join(f"{words} {share:.0f} %" for words, share in shares.items())
    return describe(
        _plain(ax),
        f"{name}: joint histogram of T1w and T2w ratio to muscle, line of water T2w = {line.slope:.2f} T1w; {listed}.",
    )


def _weighted_quantile(values: npt.NDArray[Any], weights: npt.NDArray[Any], quantile: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, quantile * share[-1])])


def _merged(each: Sequence[npt.NDArray[Any]], edges: npt.NDArray[Any], bins: int) -> tuple[Any, Any, Any]:
    """Lower and upper edges and % of voxels of wider bins, from where the first to where the last 0.2 % lies."""
    total = np.sum([c / c.sum() for c in each], axis=0)[: np.isfinite(edges[1:]).sum()]
    cumulative = np.cumsum(total) / total.sum()
    first, last = np.searchsorted(cumulative, 0.002), np.searchsorted(cumulative, 0.998) + 1
    width = max(1, int(np.ceil((last - first) / bins)))
    starts = np.arange(first, last, width)
    stops = np.minimum(starts + width, total.size)
    share = [[100 * c[a:b].sum() / c.sum() for a, b in zip(starts, stops, strict=True)] for c in each]
    return edges[starts], edges[stops], np.array(share)


def _quantile(counts: npt.NDArray[Any], edges: npt.NDArray[Any], quantile: float) -> float:
    """Linear inside a bin."""
    return float(
        np.interp(quantile, np.append(0, np.cumsum(counts)) / counts.sum(), np.nan_to_num(edges, posinf=edges[-2]))
    )


def _histogram_words(
    each: Sequence[npt.NDArray[Any]], edges: npt.NDArray[Any], name: str, quantity: str, threshold: float | None
) -> str:
    medians = [_quantile(c, edges, 0.5) for c in each]
    parts = [f"Histogram of {quantity}. {name}: median {number(medians[0])}"]
    if len(each) > 1:
        spread = f"{number(min(medians[1:]))} to {number(max(medians[1:]))}" if len(each) > 2 else number(medians[1])
        parts.append(f"{len(each) - 1} control{'s' if len(each) > 2 else ''}: median {spread}")
    if threshold is not None:
        above = each[0].sum() - np.interp(threshold, edges, np.append(0, np.cumsum(each[0])))
        parts.append(f"{100 * above / each[0].sum():.1f} % of voxels at or above the threshold of {number(threshold)}")
    return "; ".join(parts) + "."


def plot_zones(
    rows: pd.DataFrame,
    measure: str,
    *,
    modality: str | None = None,
    controls: pd.DataFrame | None = None,
    regions: Sequence[str] = _ZONES,
    ax: Axes | None = None,
) -> Axes:
    """Bars of one measure by zone of the lung, one colour a session, controls as dots.

    Parameters
    ----------
    rows : DataFrame
        Measurement rows (the long table) of one or a few sessions.
    measure : str
        A name of the catalogue, :data:`ipha_toolkit.terms.MEASURES`.
    modality : str, optional
        Needed where the rows hold the measure of several.
    controls : DataFrame, optional
        Rows of the controls.
    regions : sequence of str
        Zones in the order of the bars; those without any row are left out.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with every value; a zone measured without an answer (NaN) says "no value".

    Raises
    ------
    ValueError
        Where no row is of this measure and these regions, or the modality is ambiguous.
    """
    own = _rows_of(rows, measure, modality, regions)
    kind = str(own["modality"].iloc[0])
    zones = [zone for zone in regions if zone in set(own["region"])]
    groups = list(own.groupby(["subject", "session"], sort=False))
    ax = ax or new_figure(max(4.5, 0.9 * len(zones) + 1.5), 3.6).subplots()
    width = 0.8 / len(groups)
    words = []
    for order, (key, group) in enumerate(groups):
        value = group.groupby("region")["value"].first().reindex(zones)
        at = np.arange(len(zones)) + (order - (len(groups) - 1) / 2) * width
        name = " ".join(filter(None, map(str, key))) or kind
        ax.bar(
            at, value.fillna(0), 0.92 * width, color=SERIES_COLOURS[order % len(SERIES_COLOURS)], label=_literal(name)
        )
        for x in at[value.isna()]:
            ax.text(x, 0, " no value", rotation=90, ha="center", va="bottom", size=8, color="#444444")
        words.append(f"{name}: " + ", ".join(f"{zone} {number(v)}" for zone, v in value.items()))
    if controls is not None:
        words.append(_control_dots(ax, _rows_of(controls, measure, kind, zones), zones))
    unit = MEASURES[measure].unit if measure in MEASURES else str(own["unit"].iloc[0])
    title = measure.replace("_", " ")
    ax.axhline(0, color="black", lw=0.8)
    ax.set(ylabel=f"{title} ({unit})", xlabel="zone of the lung")
    ax.set_xticks(range(len(zones)), zones)
    _plain(ax).legend(frameon=False, fontsize=8)
    return describe(ax, f"Bars of {kind} {title} ({unit}) by zone. " + "; ".join(words) + ".")


def _rows_of(rows: pd.DataFrame, measure: str, modality: str | None, regions: Sequence[str]) -> pd.DataFrame:
    found = rows[(rows["measure"] == measure) & rows["region"].isin(list(regions))]
    found = found if modality is None else found[found["modality"] == modality]
    kinds = sorted(set(found["modality"].astype(str)))
    if len(kinds) != 1:
        said = f"several modalities {kinds}: choose one" if kinds else f"no row of regions {list(regions)}"
        raise ValueError(f"zones of {measure!r}: {said} (modality={modality!r})")
    return found


def _control_dots(ax: Axes, rows: pd.DataFrame, zones: Sequence[str]) -> str:
    """Every control's value beside the bars; returns them in words."""
    known = rows.dropna(subset=["value"])
    n = known["subject"].nunique()
    place = known["region"].map({zone: order for order, zone in enumerate(zones)})
    ax.scatter(
        place, known["value"], s=16, color="white", edgecolors="black", linewidths=0.8, zorder=3, label=f"{n} controls"
    )
    spans = known.groupby("region")["value"].agg(["min", "max"]).reindex(list(zones)).dropna()
    said = ", ".join(f"{zone} {number(low)} to {number(high)}" for zone, (low, high) in spans.iterrows())
    return f"{n} controls: {said}"


def _plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _literal(text: str) -> str:
    """Text from data as matplotlib is to print it: no mathematics, no hidden legend entry."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")
