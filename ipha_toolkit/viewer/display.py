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
from ipha_toolkit.viewer.windows import palette


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
    invert: bool = False
    """White for black in the images."""
    colour_map: str = ""
    """Colours of all maps; empty for each map's own."""
    opacities: Sequence[float] = ()
    """One an overlay, times ``opacity``."""
    threshold_map: str = ""
    """Name of the map that the threshold cuts; empty for the first."""
    linked: bool = True
    """Whether all images show one place; else each its own of ``places``, and the active one ``position_mm``."""
    active: int = 0
    """Number of the image in hand."""
    places: Sequence[tuple[float, float, float]] = ()
    """One an image, in world mm, while they are not linked."""
    regions: Sequence[Mapping[str, Any]] = ()
    """As of :func:`ipha_toolkit.viewer.layers.measure_rois`."""

    def position_of(self, image: int) -> tuple[float, float, float]:
        """Place at which an image is looked at, in world mm."""
        if self.linked or image == self.active or image >= len(self.places):
            return self.position_mm
        x, y, z = self.places[image]
        return x, y, z


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
        each = self.display.opacities or [1.0] * len(self.overlays)
        every = zip(self.overlays, self.looks, self.display.visible, each, strict=True)
        return [
            (layer, self._look(layer, look) | {"opacity": opacity})
            for layer, look, on, opacity in every
            if on and layer.image in (None, image)
        ]

    def _look(self, layer: Layer, look: Mapping[str, Any]) -> dict[str, Any]:
        chosen = self.display.colour_map if layer.kind == "map" else ""
        return dict(look) | ({"colours": palette(chosen)} if chosen else {})

    @property
    def thresholded(self) -> str:
        """Name of the map that the threshold cuts; empty where there is none."""
        names = [layer.name for layer in self.overlays if layer.kind == "map"]
        return self.display.threshold_map if self.display.threshold_map in names else next(iter(names), "")

    def cut(self, layer: Layer) -> float | None:
        """Value below which a map is not coloured: the threshold, for the map chosen and maps of its name."""
        return self.display.threshold if (layer.kind, layer.name) == ("map", self.thresholded) else None

    def describe(self) -> str:
        """What the picture shows, in words, for those who cannot see it."""
        display = self.display
        slices = [
            marks.describe_slice(layer, plane, display.position_of(order), window=display.window[order])
            for order, layer in enumerate(self.images)
            for plane in self.planes
        ]
        names = [layer.name for layer, on in zip(self.overlays, display.visible, strict=True) if on]
        thresholds = [
            marks.share_text(share, display.threshold, self.layers[number].unit)
            for number, share in self.shares.items()
            if self.layers[number].name == self.thresholded
        ][:1]
        return marks.describe(
            slices, overlays=names, nodules=len(self.nodules), regions=len(display.regions), thresholds=thresholds
        )
