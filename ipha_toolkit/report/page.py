"""The frame every page of the toolkit stands in: one self-contained HTML file that asks the network for nothing.

Styles and scripts are inside; a content-security policy forbids whatever would fetch more. Notebooks
(:mod:`ipha_toolkit.report.render`) and the demo's report fill the frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ipha_toolkit import __version__
from ipha_toolkit.protocol import DEFAULT, Protocol

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; media-src data: blob:; base-uri 'none'; form-action 'none'"
)
RESEARCH = "For research, not for diagnosis."

_TEMPLATES = Path(__file__).parent / "templates"
_EXPORT_SCRIPT = Path(__file__).parent.parent / "viewer" / "js" / "export.js"


@dataclass(frozen=True)
class Heading:
    """An entry of the table of contents: level 1 to 6, the ``id`` it points to, its text."""

    level: int
    anchor: str
    text: str


def page(
    title: str,
    body: str,
    *,
    contents: Sequence[Heading] = (),
    state: Mapping[str, Any] | None = None,
    protocol: Protocol = DEFAULT,
) -> str:
    """A whole HTML page around a body.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML. Texts that come from data have to be escaped in it already.
    contents : sequence of Heading
        Table of contents; none leaves it out.
    state : mapping, optional
        Widget state as ``ipywidgets.Widget.get_manager_state`` gives it. The viewers and sliders whose
        ``widget-view+json`` scripts stand in the body are drawn from it.
    protocol : Protocol
        Named in the footer, with all its settings.
    """
    return _filled(
        "page.html.j2",
        **_frame(title, body, state, protocol, "page.css"),
        body=_safe(body),
        contents=contents,
        code='<details class="code"' in body,
        script=_text("page.js"),
    )


def deck(
    title: str,
    slides: Sequence[Sequence[str]],
    *,
    state: Mapping[str, Any] | None = None,
    protocol: Protocol = DEFAULT,
) -> str:
    """A reveal.js presentation; ``slides`` are columns of one or more slides below each other, each HTML."""
    columns = [[_safe(slide) for slide in column] for column in slides]
    return _filled(
        "slides.html.j2",
        **_frame(title, "".join(map("".join, slides)), state, protocol, "reveal.css", "page.css", "slides.css"),
        slides=columns,
        reveal=_text("reveal.js"),
        script=_text("slides.js"),
    )


def gallery(title: str, cards: Sequence[Mapping[str, Any]], *, protocol: Protocol = DEFAULT) -> str:
    """An index page of cards with ``title``, ``summary``, ``thumbnail`` (data URI or ""), ``links`` (name, file).

    A file's name is quoted in its link, so that none is taken for an address or for script.
    """
    quoted = [{**card, "links": [(name, quote(target)) for name, target in card["links"]]} for card in cards]
    return page(title, _filled("gallery.html.j2", title=title, cards=quoted), protocol=protocol)


def in_script(content: Any) -> str:
    """JSON that can stand inside a ``<script>`` whatever text it holds."""
    return json.dumps(content).replace("<", "\\u003c")


def _frame(title: str, body: str, state: Mapping[str, Any] | None, protocol: Protocol, *styles: str) -> dict[str, Any]:
    from datetime import date

    settings = protocol.to_toml()
    name = "default" if protocol == DEFAULT else "custom"
    note = {
        "date": date.today().isoformat(),
        "version": __version__,
        "protocol": f"{name} ({protocol.digest()[:8]})",
        "settings": settings,
        "research": RESEARCH.lower().rstrip(".") not in body.lower(),
    }
    return {
        "title": title,
        "note": note,
        "policy": POLICY,
        "style": _safe("\n".join(_text(name) for name in styles)),
        "state": _safe(in_script(dict(state))) if state else "",
        "export": _safe(_EXPORT_SCRIPT.read_text(encoding="utf-8")),
    }


@cache
def _text(name: str) -> Any:
    return _safe((_TEMPLATES / name).read_text(encoding="utf-8"))


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _filled(name: str, **values: Any) -> str:
    return str(_environment().get_template(name).render(**values))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
