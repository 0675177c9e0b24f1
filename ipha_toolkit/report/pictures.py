"""Pictures of every session on a page: the explorer, alive, and the lung masks laid out for checking."""

from __future__ import annotations

import logging
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import DataError, IphaError
from ipha_toolkit.explorer.tiles import HEIGHT_PX, Cut, first_window, webp
from ipha_toolkit.explorer.voxels import Parts
from ipha_toolkit.grid import PLANES
from ipha_toolkit.io.names import label_of
from ipha_toolkit.report.pieces import or_why_not
from ipha_toolkit.run.ratings import review_queue
from ipha_toolkit.terms import Modality
from ipha_toolkit.wording import number

if TYPE_CHECKING:
    from ipha_toolkit.io.results import SessionResults
    from ipha_toolkit.report.cohort import Shown
    from ipha_toolkit.volume import Mask, Volume

_PAGE_KB = 6000.0
"""Of the small pictures of all sessions in the explorer, and as much again of the masks: 4 kB each up to 1500."""
_LARGEST_KB, _SMALLEST_KB = 4.0, 1.5
_MOST_MASKS = 1500
_CUTS = (("coronal", 0.35), ("coronal", 0.65), ("axial", 0.5))
"""Slices of a mosaic: plane, and the share of the lung's voxels that lies before it."""
_OUTLINE = (213, 94, 0)
"""As bright as lies between lung and tissue: WebP keeps brightness finer than colour."""
_GAP_PX = 2
_BAR_FROM = 60
_MOST_NAMED = 20
_LOG = logging.getLogger(__name__)


@or_why_not
def explorer(shown: Shown) -> str:
    """The explorer of the cohort: every session as a small picture, a control's and the last one's images whole."""
    from ipha_toolkit.explorer.widget import explore

    if not shown.pictured:
        return ""
    last = [one for one in shown.followed[-1:] if _has_lung(one)]
    whole = [one.label for one in [*(one for one, _ in shown.seen[:1] if _has_lung(one)), *last]]
    opened: dict[str, Any] = {"session": last[0].label} if last else {}
    try:
        made = explore(shown.results, full=whole, tile_kb=_each_kb(len(shown.results)), **opened)
    except DataError:  # no number was measured
        return ""
    html = made.to_html()
    if made.viewer is not None:
        made.viewer.close()
    made.close()
    return (
        "<p>Choose a measure, drag over points, click one or a row to see its slices with the voxels that its number "
        "was made of. Sessions are held as small pictures, some as whole images: "
        f'{escape(", ".join(dict.fromkeys(whole)) or "none")}.</p><div class="wide">{html}</div>'
    )


def masks(shown: Shown) -> str:
    """Each lung mask outlined on some slices, those most in doubt first with the reason."""
    from tqdm.auto import tqdm

    if not shown.pictured:
        return ""
    queue = review_queue(shown.results)
    budget_kb = _each_kb(min(len(queue), _MOST_MASKS))
    rows = queue.head(_MOST_MASKS).to_dict("records")
    doubted: list[str] = []
    others: list[str] = []
    unread: list[str] = []
    for row in tqdm(rows, desc="masks", disable=len(rows) < _BAR_FROM, leave=False):
        parts = Parts(shown.results[label_of(row["subject"], row["session"])], shown.protocol)
        try:
            html = _mosaic(parts, str(row["image"]), str(row["why"]), budget_kb)
        except (IphaError, KeyError, OSError) as error:
            _LOG.warning("no picture of %s %s: %s", parts.session.label, row["image"], error)
            unread.append(f"{parts.session.label} {row['image']}")
            continue
        (doubted if row["doubt"] > 0 else others).append(html)
    return _laid_out(list(filter(None, doubted)), list(filter(None, others)), len(queue) - len(rows)) + _unread(unread)


def _unread(images: list[str]) -> str:
    said = ", ".join(images[:_MOST_NAMED]) + (f" and {len(images) - _MOST_NAMED} more" * (len(images) > _MOST_NAMED))
    return f"<p>Not shown, as image or mask can no longer be read: {escape(said)}.</p>" if images else ""


def _laid_out(doubted: list[str], others: list[str], left: int) -> str:
    if not doubted and not others:
        return ""
    more = f" {left} more masks are not shown." if left > 0 else ""
    said = (
        f"<p>The lung mask found, outlined, in the window of the lung. Of {len(doubted) + len(others)} images, "
        f"{len(doubted)} are in doubt, those most first, with the reason. A mask that is wrong can be rated with "
        f"<code>ipha.review</code> and corrected with <code>ipha.paint</code>.{more}</p>"
    )
    rest = (
        f"<details{'' if doubted else ' open'}><summary>{len(others)} images that nothing speaks against</summary>"
        f'<div class="masks">{"".join(others)}</div></details>'
    )
    return said + f'<div class="masks">{"".join(doubted)}</div>' * bool(doubted) + rest * bool(others)


def _mosaic(parts: Parts, modality: str, why: str, budget_kb: float) -> str:
    """A mask as a figure; empty where it holds nothing."""
    image, lungs = parts.image(modality).to_ras(), parts.mask(modality).to_ras()
    if not lungs.array.any():
        return ""
    views = _views(image, lungs)
    window = first_window(image, lungs)
    panels = [_outlined(view.gray(window), view.nearest(lungs.array, view.shape) > 0) for view in views]
    places = ", ".join(f"{view.plane} at {'xyz'[view.across]} {number(view.place_mm)} mm" for view in views)
    volume = "" if modality == Modality.DX else f", {number(lungs.volume_ml)} mL"
    name = f"{parts.session.label} {modality}{volume}"
    words = f"{name}: the lung mask outlined on {len(views)} slice{'s' * (len(views) > 1)}, {places}."
    caption = f"{name}{f': {why}' if why else ''}"
    return (
        f'<figure><img src="{webp(_side_by_side(panels), budget_kb * 1000)}" alt="{escape(words)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _views(image: Volume, lungs: Mask) -> list[Cut]:
    """Slices of a mosaic, each once; of a film its one."""
    found: dict[tuple[str, int], Cut] = {}
    for plane, share in _CUTS:
        columns, rows, across = PLANES[plane]
        if min(image.shape[columns], image.shape[rows]) > 1:
            before = np.cumsum(np.count_nonzero(lungs.array, axis=tuple({0, 1, 2} - {across})))
            index = int(np.searchsorted(before, share * before[-1]))
            found.setdefault((plane, index), Cut(image, lungs, plane, index))
    return list(found.values())


def _outlined(gray: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The slice in colours, pixels next to the mask in that of the outline: the mask's own stay as they are."""
    from scipy.ndimage import binary_dilation

    picture = np.repeat(gray[..., np.newaxis], 3, axis=-1)
    picture[binary_dilation(inside) & ~inside] = _OUTLINE
    return picture


def _side_by_side(panels: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    gap = np.zeros((HEIGHT_PX, _GAP_PX, 3), np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def _has_lung(session: SessionResults) -> bool:
    return any(session.has(modality, "lung") for modality in session.modalities)


def _each_kb(pictures: int) -> float:
    """Thousand bytes a small picture may take."""
    return float(np.clip(_PAGE_KB / max(pictures, 1), _SMALLEST_KB, _LARGEST_KB))
