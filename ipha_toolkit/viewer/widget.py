"""The slice viewer: one widget for one to four linked images, live in Jupyter and alive in exported pages.

How the pixels reach the page
-----------------------------
Live, nothing but the description of the images is in the widget's state: the browser asks the kernel for slices
by custom message, keeps at most 72 MB of them, and asks ahead around the slice shown.

Exports have no kernel, so a copy of the images (:mod:`ipha_toolkit.viewer.payload`) has to lie in the saved widget
state, in the trait ``_export``, as text, because JupyterLab loses binary buffers when it saves. It is filled

- at once where nobody sits at the notebook: nbconvert ``--execute``, papermill and nbclient run cells with
  ``allow_stdin`` off, a person's JupyterLab, Notebook or VS Code with it on;
- live, 8 s after the first image, by a thread of the kernel, for the browser to save with "Save Widget State
  Automatically" (``embed_live=False`` spares it);
- whenever :meth:`SliceViewer.embed` is called.

Beside itself the widget puts a small script into the cell's output (``js/export.js``). It acts only in a page that
holds saved widget state: there it builds the widget from that state, without the network. In JupyterLab such
state is not part of the page, and the script does nothing. JupyterLab's "Save and Export Notebook As HTML" offers to
sanitize the page, which takes out every script: untick it for a page that lives.

A notebook saved by a person without widget state has neither kernel nor copy when it is opened again: there a still
picture with its words stands in (:mod:`ipha_toolkit.viewer.saved`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import traitlets as t

from ipha_toolkit.grid import PLANES
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer import payload, still
from ipha_toolkit.viewer.bundle import bundle
from ipha_toolkit.viewer.display import Display, Scene
from ipha_toolkit.viewer.layers import (
    Layer,
    Overlays,
    face,
    layers_of,
    lungs_of,
    measure_marks,
    measure_rois,
    middle_mm,
    nodule_list,
    shares_of,
)  # fmt: skip
from ipha_toolkit.viewer.page import HERE, attended, show_export_script, unattended
from ipha_toolkit.viewer.pictured import Pictured
from ipha_toolkit.viewer.saved import save_boxes_too
from ipha_toolkit.viewer.windows import CHOICES, looks_of, palette, presets, windows_of
from ipha_toolkit.volume import Mask, Volume

if TYPE_CHECKING:
    import pandas as pd


_CT_BYTES, _MRI_BYTES, _SHARED_BYTES = 16e6, 8e6, 11e6

TOOLS = ("crosshair", "window", "pan", "roi", "free", "distance", "angle")
"""What dragging with the left button can do."""

_MAP_SHARE = 0.25
_COORDINATES = ("x_mm", "y_mm", "z_mm")
_TRAIT_OF = {field.name: field.name for field in fields(Display)} | {"regions": "_rois", "places": "_places"}
"""Traits that hold the fields of a viewer's Display."""


def view(
    *volumes: Volume,
    overlays: Overlays | Sequence[Overlays] = None,
    nodules: pd.DataFrame | None = None,
    lungs: Mask | None = None,
    **state: Any,
) -> SliceViewer:
    """Look at one to four images side by side, linked in patient millimetres.

    Parameters
    ----------
    *volumes : Volume
        Each on its own grid. Axes are shown in radiological convention: the patient's right on the left.
    overlays : dict of str to Mask or Volume, Mask, Volume, or a list of these
        Masks are outlined or filled, Volumes shown as maps in colour with a colour bar. A list of as many
        entries as there are volumes gives each image its own; otherwise overlays lie on all images.
    nodules : DataFrame, optional
        Columns ``x_mm``, ``y_mm``, ``z_mm``, ``diameter_mm`` (mm, RAS+), as of :func:`ipha_toolkit.detect_nodules`.
    lungs : Mask, optional
        Where the share of a map above its threshold is counted; by default a mask overlay named like "lung".
    **state
        Any trait of :class:`SliceViewer`: ``plane="all"``, ``position_mm=(0, 0, 0)``, ``window=(-600, 1500)`` ...

    Returns
    -------
    SliceViewer

    Raises
    ------
    TypeError
        Where something else than Volumes and Masks is given.
    ValueError
        Without a volume, with more than four, or with an unknown trait or value.
    """
    return SliceViewer(*volumes, overlays=overlays, nodules=nodules, lungs=lungs, **state)


class SliceViewer(Pictured):
    """Linked slices of one to four images; see :func:`view`. A DOMWidget: it goes in an HBox, links, is observed.

    Attributes
    ----------
    plane : {"axial", "coronal", "sagittal", "all"}
    position_mm : tuple of 3 float
        Crosshair, world mm, RAS+. ``x_mm``, ``y_mm``, ``z_mm`` are the same, one by one, for sliders.
    window : list of (level, width)
        One pair an image, in its unit; a single pair is taken for all. ``level`` and ``width`` are those of the
        image numbered ``active``, for sliders.
    opacity : float
        Of all overlays, 0 to 1.
    visible : list of bool
        One an overlay.
    mask_style : {"outline", "fill"}
    threshold : float or None
        Voxels of the map named ``threshold_map`` (empty: the first), and of maps of its name, below it are not
        coloured; in the map's unit.
    opacities : list of float
        One an overlay, times ``opacity``.
    invert : bool
        White for black in the images.
    colour_map : str
        Colours of all maps; empty for each map's own.
    slab : {"off", "max", "min"}
        Thick slab: maximum (MIP) or minimum (minIP) over ``slab_mm`` mm.
    zoom : float
        1 fits the images to the panel.
    pan_mm : tuple of 3 float
        Millimetres from the middle of the images to the middle of the panels.
    crosshair, interpolate : bool
    linked : bool
        False lets each image scroll by itself: ``position_mm`` is then that of the active one.
    tool : {"crosshair", "window", "pan", "roi", "free", "distance", "angle"}
        What dragging with the left button does.
    height_px : int
        Height of one panel.
    description : str, read only
        What is shown, in words.

    Examples
    --------
    >>> import numpy as np
    >>> viewer = view(Volume(np.zeros((8, 8, 4)), np.eye(4), modality="ct", unit="HU"), plane="coronal")
    >>> viewer.window
    [(-600.0, 1500.0)]
    >>> viewer.position_mm
    (4.0, 4.0, 2.0)
    """

    called = "SliceViewer"

    _esm = bundle()
    _css = (HERE / "viewer.css").read_text(encoding="utf-8")

    plane = t.Enum([*PLANES, "all"], "axial").tag(sync=True)
    position_mm = t.Tuple(t.Float(), t.Float(), t.Float()).tag(sync=True)
    x_mm = t.Float().tag(sync=True)
    y_mm = t.Float().tag(sync=True)
    z_mm = t.Float().tag(sync=True)
    window = t.List().tag(sync=True)
    active = t.Int(0, min=0).tag(sync=True)
    level = t.Float().tag(sync=True)
    width = t.Float().tag(sync=True)
    opacity = t.Float(0.5, min=0, max=1).tag(sync=True)
    visible = t.List(t.Bool()).tag(sync=True)
    mask_style = t.Enum(["outline", "fill"], "outline").tag(sync=True)
    threshold = t.Float(None, allow_none=True).tag(sync=True)
    threshold_map = t.Unicode().tag(sync=True)
    invert = t.Bool(False).tag(sync=True)
    colour_map = t.Enum(("", *CHOICES), "").tag(sync=True)
    opacities = t.List(t.Float(min=0, max=1)).tag(sync=True)
    slab = t.Enum(["off", "max", "min"], "off").tag(sync=True)
    slab_mm = t.Float(10.0, min=0).tag(sync=True)
    zoom = t.Float(1.0, min=0.1, max=50).tag(sync=True)
    pan_mm = t.Tuple(t.Float(), t.Float(), t.Float(), default_value=(0.0, 0.0, 0.0)).tag(sync=True)
    crosshair = t.Bool(True).tag(sync=True)
    interpolate = t.Bool(True).tag(sync=True)
    linked = t.Bool(True).tag(sync=True)
    tool = t.Enum(TOOLS, "crosshair").tag(sync=True)
    height_px = t.Int(480, min=120).tag(sync=True)
    embed_live = t.Bool(True).tag(sync=True)

    _layers = t.List().tag(sync=True)
    _nodules = t.List().tag(sync=True)
    _rois = t.List().tag(sync=True)
    _export = t.List().tag(sync=True)
    _marks = t.List().tag(sync=True)
    _places = t.List().tag(sync=True)
    _palettes = t.Dict().tag(sync=True)

    def __init__(
        self,
        *volumes: Volume,
        overlays: Overlays | Sequence[Overlays] = None,
        nodules: pd.DataFrame | None = None,
        lungs: Mask | None = None,
        export_mb: float | None = None,
        **state: Any,
    ) -> None:
        self._shown = layers_of(volumes, overlays)
        unknown = sorted(set(state) - set(self.trait_names()))
        if unknown:
            raise ValueError(f"view has no option {', '.join(unknown)}; see help(ipha_toolkit.view)")
        self._export_mb = export_mb
        self._packing: threading.Thread | None = None
        self._looks = looks_of(self._overlays)
        self._presets = [presets(layer, lungs_of(n, self._shown, lungs)) for n, layer in enumerate(self._images)]
        self._shares = shares_of(self._shown, lungs)
        first = self._images[0]
        shown = {"position_mm": middle_mm(first), "plane": face(first)}
        each = {"visible": [True] * len(self._overlays), "opacities": [1.0] * len(self._overlays)}
        state = shown | each | state
        state["window"] = windows_of(state.get("window"), self._presets)
        has_maps = any(layer.kind == "map" for layer in self._overlays)
        palettes = {name: palette(name).astype(np.uint8).tobytes().hex() for name in CHOICES} if has_maps else {}
        super().__init__(
            _layers=self._describe_layers(), _nodules=nodule_list(nodules), _palettes=palettes,
            **self._with_scalars(state),
        )  # fmt: skip
        self.on_msg(self._answer)
        self.observe(self._describe, names=[*_TRAIT_OF.values(), "_nodules"])
        self._describe()
        self._announce()

    # -- what callers use --

    @property
    def fraction_above(self) -> float:
        """Share of the lung (or map) where the map chosen is at or above ``threshold``, 0 to 1; NaN without a map."""
        if not self._shares:
            return float("nan")
        cut = self._scene().thresholded
        found = next(share for number, share in self._shares.items() if self._shown[number].name == cut)
        return found.fraction(-np.inf if self.threshold is None else self.threshold)

    @property
    def rois(self) -> pd.DataFrame:
        """Regions of interest drawn so far, measured at full resolution; see
        :func:`ipha_toolkit.viewer.layers.measure_rois` for the columns."""
        return measure_rois(self._images, self._rois)

    @property
    def measurements(self) -> pd.DataFrame:
        """Distances in mm and angles in degrees drawn so far: ``kind, image, plane, value, unit, points_mm``."""
        return measure_marks(self._images, self._marks)

    def add_roi(
        self,
        center_mm: Sequence[float],
        radius_mm: float | tuple[float, float],
        *,
        image: int = 0,
        plane: str = "axial",
    ) -> None:
        """Draw an ellipse: centre in world mm; radius in mm, or two, along the plane's columns and rows."""
        if not 0 <= image < len(self._images) or plane not in PLANES:
            raise ValueError(
                f"no image {image} or plane {plane!r}; there are {len(self._images)} images and {[*PLANES]}"
            )
        radii = [float(r) for r in np.broadcast_to(radius_mm, 2)]
        if min(radii) <= 0:
            raise ValueError(f"radius_mm needs to be positive, got {radius_mm}")
        roi = {"image": image, "plane": plane, "center_mm": [float(v) for v in center_mm], "radii_mm": radii}
        self._rois = [*self._rois, roi]

    @property
    def display(self) -> Display:
        """What is shown now; a copy that later changes leave as it is."""
        return Display(**{name: getattr(self, trait) for name, trait in _TRAIT_OF.items()})

    def snapshot(self, path: str | Path, *, panel_px: int = 720) -> Path:
        """Write what is shown as PNG, without a browser; ``panel_px`` pixels a panel. Returns the path."""
        path = Path(path)
        with in_place_of(path) as draft:
            still.draw(self._scene(), panel_px=panel_px).save(draft, format="PNG")
        return path

    def still(self) -> tuple[Any, str]:
        """What is shown as a Pillow image, and in words."""
        return still.draw(self._scene()), self.description

    def embed(self) -> None:
        """Put the copy for exported pages into the widget's state now; see the module's text."""
        self._export = self._packed()
        self._refresh_still()

    # -- state --

    @property
    def _images(self) -> list[Layer]:
        return [layer for layer in self._shown if layer.kind == "image"]

    @property
    def _overlays(self) -> list[Layer]:
        return [layer for layer in self._shown if layer.kind != "image"]

    def _with_scalars(self, state: dict[str, Any]) -> dict[str, Any]:
        x, y, z = state["position_mm"] = tuple(float(v) for v in state["position_mm"])
        level, width = state["window"][min(state.get("active", 0), len(self._images) - 1)]
        return {"x_mm": x, "y_mm": y, "z_mm": z, "level": level, "width": width} | state

    @t.validate("window")
    def _valid_window(self, proposal: Any) -> list[tuple[float, float]]:
        return windows_of(proposal["value"], self._presets)

    @t.validate("position_mm")
    def _valid_position(self, proposal: Any) -> tuple[float, float, float]:
        if not np.isfinite(proposal["value"]).all():
            raise ValueError(f"position_mm needs three finite numbers, got {proposal['value']}")
        return tuple(proposal["value"])

    @t.validate("visible")
    def _valid_visible(self, proposal: Any) -> list[bool]:
        if len(proposal["value"]) != len(self._overlays):
            raise ValueError(f"visible needs one value an overlay: {len(self._overlays)}, got {proposal['value']}")
        return list(proposal["value"])

    @t.validate("opacities")
    def _valid_opacities(self, proposal: Any) -> list[float]:
        if len(proposal["value"]) != len(self._overlays):
            raise ValueError(f"opacities needs one value an overlay: {len(self._overlays)}, got {proposal['value']}")
        return list(proposal["value"])

    @t.validate("active")
    def _valid_active(self, proposal: Any) -> int:
        if proposal["value"] >= len(self._images):
            raise ValueError(
                f"active needs the number of an image, 0 to {len(self._images) - 1}, got {proposal['value']}"
            )
        return int(proposal["value"])

    @t.observe("linked")
    def _keep_places(self, change: Any) -> None:
        """Unlinked images begin where all were; linked ones have one place."""
        if self.linked or len(self._places) != len(self._images):
            self._places = [] if self.linked else [self.position_mm] * len(self._images)

    @t.observe("position_mm", *_COORDINATES, "window", "active", "level", "width")
    def _keep_alike(self, change: Any) -> None:
        """The position, and the window of the active image, have second names for sliders: both always agree."""
        name, new = change["name"], change["new"]
        if name == "position_mm":
            self.x_mm, self.y_mm, self.z_mm = new
        elif name in _COORDINATES:
            x, y, z = (new if name == other else old for other, old in zip(_COORDINATES, self.position_mm, strict=True))
            self.position_mm = (x, y, z)
        elif self.active < len(self.window):
            level, width = self.window[self.active]
            if name in ("window", "active"):
                self.level, self.width = level, width
            else:
                pair = (new, width) if name == "level" else (level, new)
                self.window = [pair if order == self.active else old for order, old in enumerate(self.window)]

    def _describe(self, change: Any = None) -> None:
        self.description = self._scene().describe()

    def _scene(self) -> Scene:
        nodules = [(tuple(nodule["at"]), nodule["diameter"]) for nodule in self._nodules]
        return Scene(self._shown, self.display, self._looks, nodules, self._shares)

    def _describe_layers(self) -> list[dict[str, Any]]:
        looks = iter(self._looks)
        described = []
        for at, layer in enumerate(self._shown):
            entry: dict[str, Any] = {
                "kind": layer.kind, "name": layer.name, "title": layer.title, "unit": layer.unit,
                "shape": list(layer.array.shape), "affine": layer.affine.ravel().tolist(), "image": layer.image,
                "offset": layer.offset, "scale": layer.scale, "bytes": 1 if layer.kind == "mask" else 2,
                "order": at,
            }  # fmt: skip
            if layer.kind == "image":
                entry["presets"] = [[name, level, width] for name, (level, width) in self._presets[at].items()]
            elif layer.kind == "mask":
                entry["colour"] = next(looks)["colour"]
            else:
                look, found = next(looks), self._shares[at]
                entry |= {"colours": look["colours"].astype(np.uint8).tobytes().hex(), "limits": list(look["limits"])}
                entry["share"] = {"edges": list(found.edges), "above": list(found.above), "region": found.region}
            described.append(entry)
        return described

    def _announce(self) -> None:
        """Put beside the widget what exported pages and saved notebooks need."""
        if not self.stands_alone:
            return
        show_export_script()
        if attended():
            save_boxes_too()
        if unattended():
            self.embed()

    # -- pixels --

    def _answer(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """Answer a browser: slices, or the copy for exports."""
        if message.get("type") == "slices":
            layer, plane = self._shown[int(message["layer"])], str(message["plane"])
            first, last = int(message["first"]), int(message["last"])
            codes = layer.codes(plane, first, last)
            reply = {"type": "slices", "layer": message["layer"], "plane": plane, "first": first}
            shape = {"count": codes.shape[0], "rows": codes.shape[1], "columns": codes.shape[2]}
            self.send(reply | shape | {"bytes": codes.itemsize}, [codes])
        elif message.get("type") == "still":
            self._keep_still()
        elif message.get("type") == "export" and self._packing is None and not self._export:
            self._packing = threading.Thread(target=self.embed, daemon=True)
            self._packing.start()

    def _packed(self) -> list[dict[str, Any]]:
        packed = []
        for at, layer in enumerate(self._shown):
            budget = self._budget(layer)
            if layer.kind == "image":
                _, width = next(iter(self._presets[at].values()))
                packed.append(payload.pack(layer, budget_bytes=budget, gray_step=width / payload.GRAY_LEVELS))
            else:
                limits = self._looks[at - len(self._images)].get("limits", (0, 1))
                step = (limits[1] - limits[0]) / payload.GRAY_LEVELS
                packed.append(payload.pack(layer, budget_bytes=_MAP_SHARE * budget, gray_step=step))
        return packed

    def _budget(self, layer: Layer) -> float:
        """Bytes on the page for one image: ``export_mb``, or 16 MB for CT, 8 MB for others, which share 11 MB."""
        if self._export_mb is not None:
            return self._export_mb * 1e6
        if layer.modality == Modality.CT:
            return _CT_BYTES
        others = sum(image.modality != Modality.CT for image in self._images)
        return min(_MRI_BYTES, _SHARED_BYTES / max(1, others))

    def _keep_still(self) -> tuple[Any, str]:
        self._describe()
        return super()._keep_still()
