"""Pieces that pages of numbers are made of: rows of slices, captioned figures, tables, the page of several sections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.figures.core import new_figure, to_html
from ipha_toolkit.figures.slices import plot_slice
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.io.names import without_files
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.page import Heading, page
from ipha_toolkit.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG = logging.getLogger(__name__)
_Shown = TypeVar("_Shown")


@dataclass(frozen=True, eq=False)
class Panel:
    """An image under a label, with what is laid on it."""

    image: Volume
    label: str
    overlays: dict[str, Any]


def or_why_not(section: Callable[[_Shown], str]) -> Callable[[_Shown], str]:
    """A section of pictures that says so where a file of theirs is gone or damaged, and leaves the rest of the page."""

    @wraps(section)
    def made(shown: _Shown) -> str:
        try:
            return section(shown)
        except LayoutError as error:
            _LOG.warning("pictures are left out of the page: %s", error)
            return f"<p>Left out here: {escape(without_files(str(error)))}.</p>"

    return made


def row_of_slices(
    panels: Sequence[Panel], *, window: tuple[float, float], limits: tuple[float, float] | None = None
) -> Axes:
    """Coronal slices through the middle of the lungs side by side, one window and one colour bar."""
    axes = new_figure(2.5 * len(panels) + 0.6, 2.6).subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        plot_slice(
            panel.image, plane="coronal", overlays=panel.overlays, window=window, limits=limits, opacity=1.0, ax=ax
        )
        ax.set_title(panel.label, fontsize=10, parse_math=False)
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    bars = [image.colorbar for ax in axes for image in ax.images if image.colorbar is not None]
    for bar in bars[:-1]:
        bar.remove()
    return cast("Axes", axes[0])


def captioned(drawn: Axes, caption: str) -> str:
    """A figure with a caption, which is escaped here."""
    return f"<figure>{to_html(drawn, dpi=110)}<figcaption>{escape(caption)}</figcaption></figure>"


def html_table(head: Iterable[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 99) -> str:
    """A table of plain text, which is escaped here; columns from ``numbers_from`` on are set right."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=number' if n >= numbers_from else ''}>{escape(cell)}</td>" for n, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


STYLE = """
figure { margin: 1.2em 0; } figcaption { font-size: 13px; color: var(--soft); } figure img { display: block; }
.scroll { overflow-x: auto; } td.number { text-align: right; white-space: nowrap; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 1.5rem; }
.masks { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 0.8rem 1.2rem; }
.masks { margin: 0.6em 0; } .masks figure { margin: 0; }
.masks img { width: 100%; background: #000; } .masks figcaption { line-height: 1.35; }
.wide { margin: 1em 0; }
@media print { .wide button, .wide select { display: none; } .scroll { overflow: visible; } table { font-size: 8pt; } }
.readings { width: 100%; } .readings td { white-space: nowrap; } .readings td:nth-last-child(2) { text-align: right; }
.readings td:last-child { width: 100%; max-width: 0; white-space: normal; }
.readings summary { cursor: pointer; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.readings details[open] > summary { color: var(--soft); }
.readings h4 { margin: 0.5em 0 0; font-size: inherit; } .readings ul { margin: 0; padding-left: 1.2em; }
@media print {
  .readings summary { display: none; } .readings details { font-size: 7pt; line-height: 1.3; }
  .readings :is(h4, ul, li) { display: inline; padding: 0; } .readings h4::after { content: ": "; }
  .readings li + li::before { content: "; "; }
  .readings tr { display: flex; flex-wrap: wrap; border-bottom: 1px solid var(--line); }
  .readings :is(th, td) { flex: 0 0 15%; border: 0; } .readings th:last-child { display: none; }
  .readings td:nth-last-child(2) { text-align: left; } .readings td:last-child { flex: 0 0 100%; max-width: none; }
}
main table { font-size: 13px; } th, td { padding: 0.3em 0.4em; } td:first-child { white-space: nowrap; }
"""


def write_sections(
    path: str | Path, title: str, introduction: str, parts: Iterable[tuple[str, str]], *, protocol: Protocol
) -> Path:
    """Write a page of sections, given by title and HTML; those without HTML are left out. Whole or not at all."""
    path = Path(path)
    shown = [(f"part-{n}", name, html) for n, (name, html) in enumerate(parts, 1) if html]
    body = f"<style>{STYLE}</style>{introduction}" + "".join(
        f'<section><h2 id="{anchor}">{escape(name)}</h2>{html}</section>' for anchor, name, html in shown
    )
    contents = [Heading(2, anchor, name) for anchor, name, _ in shown]
    with in_place_of(path) as draft:
        draft.write_text(page(title, body, contents=contents, protocol=protocol), encoding="utf-8")
    return path
