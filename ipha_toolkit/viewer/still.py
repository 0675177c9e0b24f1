"""The viewer's picture without a browser: the same geometry, windows and marks, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.grid import PLANES
from ipha_toolkit.viewer import marks
from ipha_toolkit.viewer.display import Scene
from ipha_toolkit.viewer.layers import Layer, bounds_mm, measure_roi, slab_range, thick_slab
from ipha_toolkit.wording import number

_INK, _LETTER, _MARK, _WARNING = (242, 242, 242), (255, 210, 127), (240, 228, 66), (255, 179, 167)


def draw(scene: Scene, *, panel_px: int = 420) -> Any:
    """The scene as a Pillow image, panels of ``panel_px`` pixels square: images side by side, or one row each
    with its three planes."""
    from PIL import Image

    panels = [(order, plane) for order in range(len(scene.images)) for plane in scene.planes]
    columns = len(scene.planes) if len(scene.planes) > 1 else 2 if len(scene.images) == 4 else len(scene.images)
    rows = -(-len(panels) // columns)
    page = Image.new("RGB", (columns * (panel_px + 2) - 2, rows * (panel_px + 2) - 2))
    for place, (order, plane) in enumerate(panels):
        picture = _Panel(scene, order, plane, panel_px).draw()
        page.paste(picture, ((place % columns) * (panel_px + 2), (place // columns) * (panel_px + 2)))
    return page


class _Panel:
    """One plane of one image; mirrors ``Painter.panel`` of js/drawing.js."""

    def __init__(self, scene: Scene, order: int, plane: str, size: int) -> None:
        self.scene, self.display, self.order, self.plane, self.size = scene, scene.display, order, plane, size
        self.image = scene.images[order]
        self.position = scene.display.position_of(order)
        self.columns, self.rows, self.across = PLANES[plane]
        low, high = bounds_mm(scene.images)
        self.center = (low + high) / 2 + self.display.pan_mm
        extent = high - low
        # One scale in all planes, so that a centimetre is as long in each.
        self.scale = (
            self.display.zoom * size / max(extent[axis] for shown in scene.planes for axis in PLANES[shown][:2])
        )

    def draw(self) -> Any:
        from PIL import Image, ImageDraw

        level, width = self.display.window[self.order]
        gray = self._placed(self.image, lambda v: np.clip((v - level + width / 2) / width, 0, 1) * 255)
        gray = 255 - gray if self.display.invert else gray
        rgb = np.repeat(np.nan_to_num(np.rint(gray))[..., None], 3, axis=2)
        overlays = self.scene.shown_overlays(self.order)
        for layer, look in overlays:
            if self._reaches(layer):
                rgb = self._blend(rgb, layer, look)
        self.page = Image.fromarray(rgb.astype(np.uint8))
        self.pen = ImageDraw.Draw(self.page)
        self._marks()
        self._text()
        if self.plane == self.scene.planes[-1]:
            for n, (layer, look) in enumerate((layer, look) for layer, look in overlays if layer.kind == "map"):
                self._bar(layer, look, n)
        return self.page

    def _px(self, point: npt.ArrayLike, axis: int) -> float:
        return float(self.size / 2 - (np.asarray(point, float)[axis] - self.center[axis]) * self.scale)

    def _placed(self, layer: Layer, look: Any = lambda v: v, *, nearest: bool = False) -> npt.NDArray[np.float32]:
        """A layer's slice where it falls on the panel, NaN outside."""
        display, at = self.display, layer.to_index(self.position)
        values = thick_slab(layer, self.plane, at[self.across], mode=display.slab, slab_mm=display.slab_mm)
        pixels = np.arange(self.size) + 0.5
        axes = []
        for axis in (self.rows, self.columns):
            step = layer.spacing_mm[axis] * self.scale
            index = at[axis] - (pixels - self._px(self.position, axis)) / step
            inside = (index >= -0.5) & (index <= layer.array.shape[axis] - 0.5)
            axes.append((np.clip(index, 0, layer.array.shape[axis] - 1), inside))
        shown = look(values.astype(np.float32))
        for axis, (index, _) in enumerate(axes):
            shown = _sampled(shown, np.rint(index) if nearest else index, axis)
        return np.where(axes[0][1][:, None] & axes[1][1][None, :], shown, np.nan).astype(np.float32)

    def _reaches(self, layer: Layer) -> bool:
        at = layer.to_index(self.position)[self.across]
        return bool(-0.5 <= at <= layer.array.shape[self.across] - 0.5)

    def _blend(self, rgb: Any, layer: Layer, look: Mapping[str, Any]) -> Any:
        values = self._placed(layer, nearest=True)
        alpha = self.display.opacity * look.get("opacity", 1.0)
        if layer.kind == "map":
            low, high = look["limits"]
            cut = self.scene.cut(layer)
            on = np.isfinite(values) & (values >= (-np.inf if cut is None else cut))
            level = np.clip(np.rint((np.nan_to_num(values) - low) / (high - low) * 255), 0, 255).astype(int)
            colour = look["colours"][level]
        else:
            on = np.nan_to_num(values) > 0
            colour = np.array([int(look["colour"][n : n + 2], 16) for n in (1, 3, 5)])
            if self.display.mask_style == "outline":
                on, alpha = _edge(on), min(1.0, 2 * alpha)
        return np.where(on[..., None], (1 - alpha) * rgb + alpha * colour, rgb)

    def _marks(self) -> None:
        display, position = self.display, self.position
        for order, (center, diameter) in enumerate(self.scene.nodules):
            reach = max(diameter, self.image.spacing_mm[self.across]) / 2
            if abs(center[self.across] - position[self.across]) <= reach:
                x, y = self._px(center, self.columns), self._px(center, self.rows)
                r = max(5, diameter / 2 * self.scale + 3)
                self.pen.ellipse((x - r, y - r, x + r, y + r), outline=_MARK)
                self._write(str(order + 1), x + r + 2, y - r, "lm", _MARK)
        if display.crosshair:
            x, y = self._px(position, self.columns), self._px(position, self.rows)
            for line in ((0, y, x - 8, y), (x + 8, y, self.size, y), (x, 0, x, y - 8), (x, y + 8, x, self.size)):
                self.pen.line(line, fill=(64, 135, 175))
        for roi in display.regions:
            self._roi(roi)

    def _roi(self, roi: Mapping[str, Any]) -> None:
        if (roi["image"], roi["plane"]) != (self.order, self.plane):
            return
        numbers = {marks.place(self.image, self.plane, at).number for at in (self.position, roi["center_mm"])}
        if len(numbers) > 1:  # it lies on another slice
            return
        x, y = self._px(roi["center_mm"], self.columns), self._px(roi["center_mm"], self.rows)
        ru, rv = (mm * self.scale for mm in roi["radii_mm"])
        if "points_mm" in roi:
            corners = [(self._px(p, self.columns), self._px(p, self.rows)) for p in roi["points_mm"]]
            self.pen.polygon(corners, outline=_MARK)
        else:
            self.pen.ellipse((x - ru, y - rv, x + ru, y + rv), outline=_MARK)
        found = measure_roi(self.image, roi)
        lines = (f"mean {number(found['mean'], self.image.unit)}", f"SD {number(found['sd'], self.image.unit)}",
                 f"n {found['n']}  {number(found['area_mm2'])} mm²")  # fmt: skip
        right = x + ru + 110 < self.size
        for n, line in enumerate(lines):
            at = x + ru + 6 if right else x - ru - 6
            self._write(line, at, y - 15 + 15 * n, "lm" if right else "rm", _MARK)

    def _text(self) -> None:
        s, image, display = self.size, self.image, self.display
        side = marks.letters(image, self.plane)
        for text, x, y, anchor in (
            (side.left, 8, s / 2, "lm"), (side.right, s - 8, s / 2, "rm"),
            (side.top, s / 2, 6, "ma"), (side.bottom, s / 2, s - 6, "md"),
        ):  # fmt: skip
            self._write(text, x, y, anchor, _LETTER, 14)
        self._write(image.title[: max(8, s // 18)], 8, 6, "la")
        if display.slab != "off":
            self._write(marks.slab_text(display.slab, self._slab_mm()), 8, 22, "la")
        here = marks.place(image, self.plane, self.position)
        if here.away_mm > 0:
            self._write(marks.away_text(here.away_mm), 8, 38, "la", _WARNING)
        self._write(marks.window_text(display.window[self.order], image.unit), s - 8, 6, "ra")
        self._write(here.text, 8, s - 6, "ld")
        mm, label = marks.scale_bar(s / self.scale)
        self.pen.rectangle((s - 8 - mm * self.scale, s - 11, s - 8, s - 9), fill=_INK)
        self._write(label, s - 8, s - 14, "rd", _INK, 11)

    def _slab_mm(self) -> float:
        display, image = self.display, self.image
        at = image.to_index(self.position)[self.across]
        first, last = slab_range(image, self.plane, at, mode=display.slab, slab_mm=display.slab_mm)
        return (last - first) * image.spacing_mm[self.across]

    def _bar(self, layer: Layer, look: Mapping[str, Any], order: int) -> None:
        from PIL import Image

        low, high = look["limits"]
        height, x, y = min(160, int(self.size * 0.3)), self.size - 36 - order * 78, 44
        ramp = look["colours"][np.linspace(255, 0, height).astype(int)].astype(np.uint8)
        self.page.paste(Image.fromarray(np.repeat(ramp[:, None], 10, axis=1)), (x, y))
        self.pen.rectangle((x - 1, y - 1, x + 10, y + height), outline=_INK)
        self._write(number(high), x - 5, y, "ra", _INK, 11)
        self._write(number(low), x - 5, y + height, "rd", _INK, 11)
        title = layer.name + (f" [{layer.unit}]" if layer.unit not in ("", "1") else "")
        self._write(title, x + 10, y + height + 4, "ra", _INK, 11)
        cut = self.scene.cut(layer)
        if cut is not None:
            at = y + (1 - np.clip((cut - low) / (high - low), 0, 1)) * height
            self.pen.rectangle((x - 4, at - 1, x + 14, at + 1), fill=(255, 255, 255))

    def _write(self, text: str, x: float, y: float, anchor: str, ink: Any = _INK, size: int = 12) -> None:
        self.pen.text((x, y), text, fill=ink, font=_font(size), anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))


def _sampled(values: npt.NDArray[Any], index: npt.NDArray[Any], axis: int) -> npt.NDArray[Any]:
    """Values at fractional indices along an axis, by linear interpolation."""
    low = np.floor(index).astype(int)
    part = (index - low).astype(np.float32)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    part = part[:, None] if axis == 0 else part[None, :]
    below, above = np.take(values, low, axis=axis), np.take(values, high, axis=axis)
    return np.asarray(np.where(part > 0, (1 - part) * below + part * above, below))


def _edge(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels of a region that touch its outside."""
    around = np.pad(inside, 1, mode="edge")
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(inside & ~inner)


@cache
def _font(size: int) -> Any:
    """DejaVu Sans, which comes with matplotlib; found without importing it."""
    from importlib.util import find_spec
    from pathlib import Path

    from PIL import ImageFont

    home = find_spec("matplotlib")
    assert home is not None and home.origin is not None  # a dependency of the package
    return ImageFont.truetype(str(Path(home.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
