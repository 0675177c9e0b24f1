"""Windows, presets and colours in which images, masks and maps are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer.layers import Layer, mask_on, sample
from ipha_toolkit.volume import Mask

CT_WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0)}
"""Level and width in HU; common practice of CT reading."""

MASK_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
"""Okabe-Ito, told apart with every common colour blindness (Okabe & Ito 2008, Color Universal Design)."""

MAP_COLOURS = ("viridis", "magma", "cividis")
"""Perceptually uniform matplotlib colour maps, one a map overlay, in turn."""

CHOICES = ("viridis", "magma", "cividis", "inferno", "berlin", "gray")
"""Colours that a reader can choose for all maps: even steps look even, and none needs red told from green."""

SIGNED_COLOURS = "berlin"
"""Of maps with values on both sides of zero: blue below, red above, zero as dark as lung (matplotlib; Crameri)."""


COLOURS_OF = {"signature": SIGNED_COLOURS, "opacity": "cividis", "r2": "magma", "ratio": "viridis"}
"""Colours of a quantity wherever it is shown, by a word of the map's name: in the viewer, in stills and in figures."""


def looks_of(overlays: Sequence[Layer], *, limits: tuple[float, float] | None = None) -> list[dict[str, Any]]:
    """How each overlay is coloured: ``colour`` of a mask; of a map see :func:`map_look`.

    What has one name on several images has one colour.
    """
    masks = list(dict.fromkeys(layer.name for layer in overlays if layer.kind == "mask"))
    maps = list(dict.fromkeys(layer.name for layer in overlays if layer.kind != "mask"))
    return [
        {"colour": MASK_COLOURS[masks.index(layer.name) % len(MASK_COLOURS)]}
        if layer.kind == "mask"
        else map_look(layer, order=maps.index(layer.name), limits=limits)
        for layer in overlays
    ]


@cache
def palette(name: str) -> npt.NDArray[np.float64]:
    """256 colours of a matplotlib colour map, 0 to 255."""
    from matplotlib import colormaps

    return np.asarray(np.rint(255 * colormaps[name](np.linspace(0, 1, 256))[:, :3]), np.float64)


def map_look(layer: Layer, *, order: int = 0, limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """Name of a map's colours, the ``colours`` themselves (256 x 3, 0 to 255), and the ``limits`` they stand for.

    A quantity of :data:`COLOURS_OF` has its own colours. Another map with values on both sides of zero, HU left aside,
    gets diverging ones. Diverging colours are centred on zero.
    """
    low, high = limits or map_limits(layer)
    own = next((colours for word, colours in COLOURS_OF.items() if word in layer.name.lower()), None)
    signed = own == SIGNED_COLOURS or (own is None and low < 0 < high and layer.unit != "HU")
    if signed:
        low, high = -max(-low, high), max(-low, high)
    name = SIGNED_COLOURS if signed else own or MAP_COLOURS[order % len(MAP_COLOURS)]
    return {"colours": palette(name), "limits": (low, high), "name": name}


def presets(layer: Layer, lungs: Mask | Layer | None = None) -> dict[str, tuple[float, float]]:
    """Window presets by name, (level, width) in the image's unit; the first is the default.

    CT: the windows of :data:`CT_WINDOWS`. Everything else: percentiles of the image itself, and before them of its
    lungs, given a mask of them: the first is for lung in CT and MRI alike.
    """
    values = sample(layer.array)
    if not values.size:
        return {"full range": (0.5, 1.0)}
    p1, p75, p99 = (float(p) for p in np.percentile(values, [1, 75, 99]))
    by_image = {"1-99 %": _window(p1, p99), "dark tissue": _window(p1, p75), "full range": _window(*layer.limits)}
    if layer.modality == Modality.CT:
        return {**CT_WINDOWS, "1-99 %": by_image["1-99 %"], "full range": by_image["full range"]}
    inside = np.empty(0) if lungs is None else sample(layer.array, mask_on(layer, lungs))
    if inside.size:
        low, high = (float(p) for p in np.percentile(inside, [1, 99]))
        return {"lung": _window(low, high), **by_image}
    return by_image


def _window(low: float, high: float) -> tuple[float, float]:
    return (low + high) / 2, max(high - low, 1e-6)


def map_limits(layer: Layer) -> tuple[float, float]:
    """Values that the ends of a map's colours stand for: percentiles 1 and 99.8 (a small lesion counts)."""
    values = sample(layer.array)
    if not values.size:
        return 0.0, 1.0
    low, high = (float(p) for p in np.percentile(values, [1, 99.8]))
    return (low, high) if high > low else (low, low + 1.0)


def windows_of(given: Any, presets: Sequence[Mapping[str, tuple[float, float]]]) -> list[tuple[float, float]]:
    """One (level, width) an image from one pair, one an image, or nothing (the first presets)."""
    if given is None:
        return [next(iter(found.values())) for found in presets]
    try:
        pairs = np.array(given, float).reshape(-1, 2)
    except (TypeError, ValueError):
        pairs = np.empty((0, 2))
    if len(pairs) not in (1, len(presets)) or not np.isfinite(pairs).all() or (pairs[:, 1] <= 0).any():
        raise ValueError(f"window needs (level, width) with width > 0, one pair or {len(presets)}, got {given!r}")
    return [(float(level), float(width)) for level, width in np.broadcast_to(pairs, (len(presets), 2))]
