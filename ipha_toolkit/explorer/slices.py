"""The viewer of a chosen session: its images, with the voxels that the number shown was made of laid on."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from ipha_toolkit.errors import IphaError
from ipha_toolkit.explorer.voxels import ZONE_CODES, Parts, Voxels, countable, images_of, voxels_counted, voxels_of
from ipha_toolkit.io import names
from ipha_toolkit.io.results import SessionResults
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.regions.zones import lung_regions
from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer import payload
from ipha_toolkit.viewer.layers import bounds_mm, image_layer, nearest_slice
from ipha_toolkit.viewer.widget import SliceViewer
from ipha_toolkit.volume import Mask, Volume

KEPT = ("plane", "zoom", "pan_mm", "slab", "slab_mm", "crosshair", "interpolate", "tool", "height_px")
"""What a viewer takes over from the one before it; its place too, for the same subject."""

_SHOWN_MAPS = {"ct": "opacity", "T1w": "ratio", "T2w": "ratio", "MEGRE": "r2star", names.PAIR: "signature"}
VOXELS = "voxels of the number"
_SESSIONS_HELD = 4
_MOST_IMAGES = 4


class SessionViewer(SliceViewer):
    """A slice viewer inside the explorer, which takes it along into exported pages."""

    stands_alone = False

    def _refresh_still(self) -> None:
        self._describe()  # the explorer has the picture


class Shelf:
    """Sessions' images and masks, those used last kept in memory."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._held: OrderedDict[str, Parts] = OrderedDict()
        self._taking = Lock()

    def parts(self, session: SessionResults) -> Parts:
        """What is known of a session's images."""
        with self._taking:
            found = self._held.pop(session.label, None) or Parts(session, self._protocol)
            self._held[session.label] = found
            while len(self._held) > _SESSIONS_HELD:
                self._held.popitem(last=False)
        return found

    def read_ahead(self, session: SessionResults, key: tuple[str, str, str], *, everything: bool) -> None:
        """Read what :func:`session_viewer` will ask for; what cannot be read is said then."""
        parts = self.parts(session)
        with suppress(IphaError, KeyError, OSError):
            for name in _images(parts, key[0], everything)[:_MOST_IMAGES]:
                _panel(parts, name, key, with_session=False)


def session_viewer(
    shown: list[Parts],
    modality: str,
    measure: str,
    region: str,
    *,
    everything: bool,
    before: SliceViewer | None,
    here: bool = False,
) -> tuple[SessionViewer, str]:
    """A viewer of one session, or of two side by side, and words for what is laid on.

    Parameters
    ----------
    shown : list of Parts
        One session or two.
    modality, measure, region : str
        The number whose voxels are shown.
    everything : bool
        All images of the session, not only those the number was measured on.
    before : SliceViewer, optional
        Shown before, of the same subject: place, plane and zoom are taken from it.
    here : bool
        The session is the same as before: where its slice holds no voxel of the number, another is gone to.

    Raises
    ------
    KeyError, LayoutError
        Where an image, a mask or the cohort folder is missing; the message says which.
    """
    key, count = (modality, measure, region), _MOST_IMAGES // len(shown)
    panels = [
        _panel(parts, name, key, with_session=len(shown) > 1)
        for parts in shown
        for name in _images(parts, modality, everything)[:count]
    ]
    first = next((panel.voxels for panel in panels if panel.voxels), None)
    options = _options(panels, first, _taken_over(before, panels[0].image), here)
    if "nodule" in measure and modality in (Modality.CT, Modality.T1W) and len(shown) == 1:  # not over another session
        options["nodules"] = _inside(shown[0], modality, region)
    images, overlays = [panel.image for panel in panels], [panel.overlays for panel in panels]
    viewer = SessionViewer(*images, overlays=overlays, embed_live=False, **options)
    return viewer, " ".join(dict.fromkeys(panel.words for panel in panels if panel.words))


@dataclass(frozen=True, eq=False)
class _Panel:
    """An image with what is laid on it, the voxels of the number where it was measured on it, and words."""

    image: Volume
    overlays: dict[str, Mask | Volume]
    voxels: Voxels | None
    words: str


def _panel(parts: Parts, name: str, key: tuple[str, str, str], *, with_session: bool) -> _Panel:
    modality, measure, region = key
    image = parts.image(name).replace(name=_name(parts, name, with_session))
    overlays: dict[str, Mask | Volume] = {"lung": parts.mask(name)} if parts.session.has(name, "lung") else {}
    if name not in images_of(modality):
        missing = not set(images_of(modality)) & set(parts.modalities)
        words = f"{parts.session.label} has no {modality} image; shown is {name}." if missing else ""
        return _Panel(image, overlays, None, words)
    voxels = voxels_of(parts, modality, measure, region)
    if voxels.mask is not None and voxels.mask.array.any() and voxels.mask is not overlays.get("lung"):
        overlays[_label(measure, region, voxels)] = voxels.mask
    kind = _SHOWN_MAPS.get(modality if name == Modality.T1W else name, "")
    if kind and parts.session.has(name, kind):
        overlays[f"{kind} map"] = parts.map(name, kind)
    return _Panel(image, overlays, voxels, voxels.words)


def _options(panels: list[_Panel], first: Voxels | None, kept: dict[str, Any], here: bool) -> dict[str, Any]:
    """How the images are shown: voxels that a cut counts filled, without the lung, which would be filled as well."""
    cut = first is not None and first.cut
    visible = [not name.endswith(" map") and not (cut and name == "lung") for p in panels for name in p.overlays]
    options: dict[str, Any] = {"visible": visible, "height_px": 380, "mask_style": "fill" if cut else "outline"}
    options |= {"opacity": 0.4 if cut else 0.5} | kept
    place = None if first is None else first.place
    if place is not None and place.array.any():
        moved = "position_mm" not in options or (here and not _in_slice(place, options["position_mm"]))
        options |= {"position_mm": _fullest(place)} if moved else {}
    return options


def full_viewer(parts: Parts) -> tuple[SessionViewer, list[dict[str, Any]]]:
    """A viewer of all images of a session for exported pages, and what the browser makes the voxels of any number of.

    Returns
    -------
    viewer : SessionViewer
        With its copy of the images.
    codes : list of dict
        One an image: ``modality``, ``layer`` (number of the viewer's layer that shows the voxels), ``cuts`` (measures
        that count voxels), ``packed`` (an image of codes: part of the lung as in :mod:`ipha_toolkit.explorer.tiles`,
        and from 64 on a bit a measure).
    """
    chosen = [name for name in parts.modalities if name != Modality.DX][:_MOST_IMAGES] or parts.modalities
    images = [parts.image(name).replace(name=_name(parts, name, False)) for name in chosen]
    overlays = [_full_overlays(parts, name) for name in chosen]
    with_nodules = [name for name in chosen if _has_nodules(parts, name)]
    nodules = parts.nodules(with_nodules[-1]) if with_nodules else None
    visible = [not name.endswith(" map") for own in overlays for name in own]
    start: dict[str, Any] = {"position_mm": _fullest(parts.mask(chosen[0]))} if overlays[0] else {}
    viewer = SessionViewer(
        *images, overlays=overlays, nodules=nodules, visible=visible, height_px=380, embed_live=False, **start
    )
    viewer.embed()
    places = [n for n, layer in enumerate(viewer._layers) if layer["name"] == VOXELS]
    masked = [name for name, own in zip(chosen, overlays, strict=True) if VOXELS in own]
    return viewer, [_codes(parts, name, place) for name, place in zip(masked, places, strict=True)]


def _full_overlays(parts: Parts, modality: str) -> dict[str, Mask | Volume]:
    """The lung twice, once to be overwritten with the voxels of a number, and the map."""
    lungs = parts.mask(modality) if parts.session.has(modality, "lung") else None
    found: dict[str, Mask | Volume] = {} if lungs is None else {"lung": lungs, VOXELS: lungs}
    kind = _SHOWN_MAPS.get(modality, "")
    return found | ({f"{kind} map": parts.map(modality, kind)} if kind and parts.session.has(modality, kind) else {})


def _codes(parts: Parts, modality: str, layer: int) -> dict[str, Any]:
    coded, cuts = _coded(parts, modality)
    return {"modality": str(modality), "layer": layer, "cuts": cuts, "packed": _packed(coded)}


def _coded(parts: Parts, modality: str) -> tuple[Volume, list[str]]:
    lungs = parts.mask(modality)
    coded = lungs.array.astype(np.float32)
    for name, region in lung_regions(lungs).items():
        coded += np.float32(ZONE_CODES.get(name, 0)) * region.array
    cuts = countable(parts, modality)
    for bit, (owner, measure) in enumerate(cuts):
        coded += np.float32(64 << bit) * voxels_counted(parts, owner, measure).array
    return Volume(coded, lungs.affine), [measure for _, measure in cuts]


def _packed(coded: Volume) -> dict[str, Any]:
    """The codes, none of them lost."""
    return payload.pack(image_layer(coded, 0), budget_bytes=float("inf"))


def _has_nodules(parts: Parts, modality: str) -> bool:
    return (parts.session.folder / names.nodule_file(parts.session.label, modality)).exists()


def _images(parts: Parts, modality: str, everything: bool) -> list[str]:
    wanted = images_of(modality)
    there = parts.session.modalities
    if not everything:
        return [name for name in wanted if name in there] or there[:1]
    first = [name for name in wanted if name in there] or there[:1]
    film = Modality.DX in first
    return first + [name for name in there if name not in first and (name == Modality.DX) == film]


def _name(parts: Parts, modality: str, with_session: bool) -> str:
    kind = {"ct": "CT", "dx": "radiograph"}.get(modality, modality)
    return f"{parts.session.session or parts.session.subject} {kind}" if with_session else kind


def _label(measure: str, region: str, voxels: Voxels) -> str:
    what = measure.removesuffix("_vs_controls").replace("_", " ") if voxels.cut else "lung"
    what = "reference muscle" if measure.startswith("reference_") else what
    return what if region == "lung" else f"{what}, {region.replace('_', ' ')}"


def _taken_over(before: SliceViewer | None, image: Volume) -> dict[str, Any]:
    """Plane, zoom and place of the viewer before, where the place lies within the images now shown."""
    if before is None:
        return {}
    kept = {name: getattr(before, name) for name in KEPT}
    low, high = bounds_mm([image_layer(image, 0)])
    inside = bool((np.asarray(before.position_mm) >= low).all() and (np.asarray(before.position_mm) <= high).all())
    kept |= {"position_mm": before.position_mm} if inside else {"pan_mm": (0.0, 0.0, 0.0)}
    return kept


def _inside(parts: Parts, modality: str, region: str) -> Any:
    """Nodules whose centre lies in the region."""
    mask, nodules = parts.region(modality, region), parts.nodules(modality)
    at = np.rint(mask.to_index(nodules[["x_mm", "y_mm", "z_mm"]].to_numpy(float))).astype(int).reshape(-1, 3)
    at = np.clip(at, 0, np.array(mask.shape) - 1)
    return nodules[mask.array[tuple(at.T)]] if len(at) else nodules


def _in_slice(mask: Mask, position: tuple[float, float, float]) -> bool:
    """Whether the axial slice at a place holds a voxel of a mask."""
    canonical = mask.to_ras()
    index = nearest_slice(float(canonical.to_index(position)[2]), canonical.shape[2])
    return bool(canonical.array[:, :, index].any())


def _fullest(mask: Mask) -> tuple[float, float, float]:
    """The place in the middle of the axial slice that holds most of a mask, mm."""
    canonical = mask.to_ras()
    k = int(np.argmax(np.count_nonzero(canonical.array, axis=(0, 1))))
    i, j = (float(np.median(found)) for found in np.nonzero(canonical.array[:, :, k]))
    x, y, z = canonical.to_world(np.array([round(i), round(j), k])).tolist()
    return x, y, z
