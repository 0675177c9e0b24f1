"""The one state of a viewer: what is shown of the layers it holds, and the words for it.

A widget's traits of the same names are this state where users, sliders and browsers change it
(:attr:`ipha_toolkit.viewer.widget.SliceViewer.display` reads them); still pictures and descriptions are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ipha_toolkit.grid import PLANES
from ipha_toolkit.viewer import marks
from ipha_toolkit.viewer.layers import Layer, Share


@dataclass(frozen=True, kw_only=True)
class Display:
    """Everything about the picture that a user can change; see :class:`ipha_toolkit.viewer.widget.SliceViewer`."""

    plane: str
    position_mm: tuple[float, float, float]
    window: Sequence[tuple[float, float]]
    """(level, width) of each image."""
    visible: Sequence[bool] = ()
    """One an overlay."""
    threshold: float | None = None
    opacity: float = 0.5
    mask_style: str = "outline"
    slab: str = "off"
    slab_mm: float = 10.0
    zoom: float = 1.0
    pan_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """From the middle of the images to the middle of the panels."""
    crosshair: bool = True
    regions: Sequence[Mapping[str, Any]] = ()
    """As of :func:`ipha_toolkit.viewer.layers.measure_rois`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Layers, how they look, and which part of them is shown."""

    layers: Sequence[Layer]
    display: Display
    looks: Sequence[Mapping[str, Any]] = ()
    """One an overlay, see :func:`ipha_toolkit.viewer.windows.looks_of`."""
    nodules: Sequence[tuple[tuple[float, float, float], float]] = ()
    """Centre in world mm, and diameter in mm."""
    shares: Mapping[int, Share] = field(default_factory=dict)
    """Of each map, by its number among the layers: how much of the lung lies above any threshold."""

    @property
    def images(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.kind == "image"]

    @property
    def overlays(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.kind != "image"]

    @property
    def planes(self) -> list[str]:
        return list(PLANES) if self.display.plane == "all" else [self.display.plane]

    def shown_overlays(self, image: int) -> list[tuple[Layer, Mapping[str, Any]]]:
        """Overlays visible on an image, with their looks."""
        every = zip(self.overlays, self.looks, self.display.visible, strict=True)
        return [(layer, look) for layer, look, on in every if on and layer.image in (None, image)]

    def cut(self, layer: Layer) -> float | None:
        """Value below which a map is not coloured: the threshold, for the first map and maps of its name."""
        first = next((other.name for other in self.overlays if other.kind == "map"), None)
        return self.display.threshold if (layer.kind, layer.name) == ("map", first) else None

    def describe(self) -> str:
        """What the picture shows, in words, for those who cannot see it."""
        display = self.display
        slices = [
            marks.describe_slice(layer, plane, display.position_mm, window=display.window[order])
            for order, layer in enumerate(self.images)
            for plane in self.planes
        ]
        names = [layer.name for layer, on in zip(self.overlays, display.visible, strict=True) if on]
        thresholds = [
            marks.share_text(share, display.threshold, self.layers[number].unit)
            for number, share in list(self.shares.items())[:1]
        ]
        return marks.describe(
            slices, overlays=names, nodules=len(self.nodules), regions=len(display.regions), thresholds=thresholds
        )
