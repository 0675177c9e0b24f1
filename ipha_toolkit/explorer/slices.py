"""The viewer of a chosen session: its images, with the voxels that the number shown was made of laid on."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from ipha_toolkit.explorer.voxels import Parts, Voxels, images_of, voxels_of
from ipha_toolkit.io import names
from ipha_toolkit.io.results import SessionResults
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer.layers import bounds_mm, image_layer
from ipha_toolkit.viewer.widget import SliceViewer
from ipha_toolkit.volume import Mask, Volume

KEPT = ("plane", "zoom", "pan_mm", "slab", "slab_mm", "crosshair", "interpolate", "tool", "height_px")
"""What a viewer takes over from the one before it; its place too, for the same subject."""

_SHOWN_MAPS = {"ct": "opacity", "T1w": "ratio", "T2w": "ratio", "MEGRE": "r2star", names.PAIR: "signature"}
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

    def parts(self, session: SessionResults) -> Parts:
        """What is known of a session's images."""
        found = self._held.pop(session.label, None) or Parts(session, self._protocol)
        self._held[session.label] = found
        while len(self._held) > _SESSIONS_HELD:
            self._held.popitem(last=False)
        return found


def session_viewer(
    shown: list[Parts], modality: str, measure: str, region: str, *, everything: bool, before: SliceViewer | None
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

    Raises
    ------
    KeyError, LayoutError
        Where an image, a mask or the cohort folder is missing; the message says which.
    """
    images: list[Volume] = []
    overlays: list[dict[str, Mask | Volume]] = []
    words: list[str] = []
    options: dict[str, Any] = {}
    focus: Voxels | None = None
    for parts in shown:
        for name in _images(parts, modality, everything)[: _MOST_IMAGES // len(shown)]:
            image, own = parts.image(name), dict[str, Mask | Volume]()
            if parts.session.has(name, "lung"):
                own["lung"] = parts.mask(name)
            if name in images_of(modality):
                voxels = voxels_of(parts, modality, measure, region)
                if voxels.mask is not None and voxels.mask.array.any() and (voxels.cut or region != "lung"):
                    own[_label(measure, region, voxels)] = voxels.mask
                if name == images_of(modality)[0]:
                    focus = focus or voxels
                    words.append(voxels.words)
                kind = _SHOWN_MAPS.get(modality if name == "T1w" else name, "")
                if kind and parts.session.has(name, kind):
                    own[f"{kind} map"] = parts.map(name, kind)
            elif not set(images_of(modality)) & set(parts.session.modalities):
                words.append(f"{parts.session.label} has no {modality} image; shown is {name}.")
            images.append(image.replace(name=_name(parts, name, len(shown) > 1)))
            overlays.append(own)
    if "nodule" in measure and modality in (Modality.CT, Modality.T1W):
        options["nodules"] = _inside(shown[0], modality, region)
    visible = [not name.endswith(" map") for own in overlays for name in own]
    options |= {"visible": visible, "height_px": 380, "mask_style": "fill" if focus and focus.cut else "outline"}
    options |= {"opacity": 0.35 if focus and focus.cut else 0.5} | _taken_over(before, images)
    if "position_mm" not in options and focus is not None and focus.mask is not None and focus.mask.array.any():
        options["position_mm"] = _fullest(focus.mask)
    viewer = SessionViewer(*images, overlays=overlays, embed_live=False, **options)
    return viewer, " ".join(dict.fromkeys(words))


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
    return what if region == "lung" else f"{what}, {region.replace('_', ' ')}"


def _taken_over(before: SliceViewer | None, images: list[Volume]) -> dict[str, Any]:
    """Plane, zoom and place of the viewer before, where the place lies within the images now shown."""
    if before is None:
        return {}
    kept = {name: getattr(before, name) for name in KEPT}
    low, high = bounds_mm([image_layer(images[0], 0)])
    inside = bool((np.asarray(before.position_mm) >= low).all() and (np.asarray(before.position_mm) <= high).all())
    kept |= {"position_mm": before.position_mm} if inside else {"pan_mm": (0.0, 0.0, 0.0)}
    return kept


def _inside(parts: Parts, modality: str, region: str) -> Any:
    """Nodules whose centre lies in the region."""
    mask, nodules = parts.region(modality, region), parts.nodules(modality)
    at = np.rint(mask.to_index(nodules[["x_mm", "y_mm", "z_mm"]].to_numpy(float))).astype(int).reshape(-1, 3)
    at = np.clip(at, 0, np.array(mask.shape) - 1)
    return nodules[mask.array[tuple(at.T)]] if len(at) else nodules


def _fullest(mask: Mask) -> tuple[float, float, float]:
    """The place in the middle of the axial slice that holds most of a mask, mm."""
    canonical = mask.to_ras()
    k = int(np.argmax(np.count_nonzero(canonical.array, axis=(0, 1))))
    i, j = (float(np.median(found)) for found in np.nonzero(canonical.array[:, :, k]))
    x, y, z = canonical.to_world(np.array([round(i), round(j), k])).tolist()
    return x, y, z
