"""Cells of an executed notebook as HTML: text with math as MathML, foldable code, outputs with their alt text.

Whatever would ask the network for something (a picture or script at an address) is replaced by a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from ipha_toolkit.report.page import Heading, in_script
from ipha_toolkit.report.privacy import WIDGET_STATE

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

_BIG = ("<img", "<table", WIDGET_VIEW, "<svg", "<iframe")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass
class Piece:
    """Part of a page: HTML, the headings in it, and what its notebook says of it as a slide."""

    html: str
    headings: list[Heading] = field(default_factory=list)
    slide: str = ""

    @property
    def big(self) -> bool:
        """Whether it fills a slide: a figure, a table, a widget."""
        return any(mark in self.html for mark in _BIG)


class Cells:
    """Turns cells into HTML; keeps what has to be one of a kind on the page, such as the anchors of headings."""

    def __init__(self, notebook: Any, folder: Path, *, code: bool = True) -> None:
        self._shows_code = code
        self._cells = notebook.cells
        self._folder = folder
        self._anchors: set[str] = set()
        self._figures = 0
        self._known = set(widget_state(notebook).get("state", {}))

    def pieces(self) -> Iterator[Piece]:
        """One piece a cell; a text cell gives one for each of its headings."""
        for cell in self._cells:
            tags = cell.metadata.get("tags", [])
            slide = cell.metadata.get("slideshow", {}).get("slide_type", "") or ""
            if "remove-cell" in tags or "remove_cell" in tags:
                continue
            if "notes" in tags:
                slide = "notes"
            if cell.cell_type == "markdown":
                for number, part in enumerate(_split_at_headings(cell.source)):
                    html, headings = self._markdown(part, cell.get("attachments", {}))
                    yield Piece(html, headings, slide if number == 0 else "")
            elif cell.cell_type == "code":
                yield Piece(self._code(cell, tags), slide=slide)

    def _markdown(self, source: str, attachments: Any = None) -> tuple[str, list[Heading]]:
        from nbconvert.filters.markdown_mistune import MarkdownWithMath

        renderer = _renderer()(folder=self._folder, attachments=dict(attachments or {}), anchor=self._anchor)
        html = MarkdownWithMath(renderer=renderer).render(source)
        return offline(html), renderer.headings

    def _anchor(self, text: str) -> str:
        base = re.sub(r"[^\w]+", "-", text.lower()).strip("-") or "section"
        anchor, number = base, 2
        while anchor in self._anchors:
            anchor, number = f"{base}-{number}", number + 1
        self._anchors.add(anchor)
        return anchor

    def _code(self, cell: Any, tags: list[str]) -> str:
        parts = []
        if self._shows_code and cell.source.strip() and not {"remove-input", "remove_input"} & set(tags):
            opened = "" if {"hide-input", "hide_input"} & set(tags) else " open"
            code = f'<pre class="hl">{_highlight(cell.source)}</pre>'
            parts.append(f'<details class="code"{opened}><summary>Code</summary>{code}</details>')
        if not {"remove-output", "remove_output"} & set(tags):
            parts += [self._output(output) for output in _joined(cell.outputs)]
        return "\n".join(parts)

    def _output(self, output: Any) -> str:
        if output.output_type == "stream":
            kind = "stderr" if output.name == "stderr" else "text"
            return f'<div class="output {kind}"><pre>{_ansi(output.text)}</pre></div>'
        if output.output_type == "error":
            return f'<div class="output stderr"><pre>{_ansi(chr(10).join(output.traceback))}</pre></div>'
        inner = self._data(output.data, output.get("metadata", {}))
        return f'<div class="output">{inner}</div>' if inner else ""

    def _data(self, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        """The richest form a browser without kernel can show."""
        if WIDGET_VIEW in data and data[WIDGET_VIEW].get("model_id") in self._known:
            return f'<script type="{WIDGET_VIEW}">{in_script(data[WIDGET_VIEW])}</script>'
        for kind in ("text/html", "image/svg+xml", *_PICTURES):
            if kind not in data:
                continue
            if kind == "text/html":
                return offline(data[kind], self._folder)
            return self._picture(kind, data, metadata)
        if "application/javascript" in data:
            return _script(data["application/javascript"])
        if "text/markdown" in data:
            return self._markdown(data["text/markdown"])[0]
        if "text/latex" in data:
            return mathml(data["text/latex"].strip().strip("$"), display=True)
        return f"<pre>{_ansi(data['text/plain'])}</pre>" if "text/plain" in data else ""

    def _picture(self, kind: str, data: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        from base64 import b64encode

        self._figures += 1
        content = b64encode(data[kind].encode()).decode() if kind == "image/svg+xml" else "".join(data[kind].split())
        facts = metadata.get(kind, {})
        size = "".join(f' {key}="{int(facts[key])}"' for key in ("width", "height") if key in facts)
        alt = escape(_alt_text(data, metadata, kind) or f"Figure {self._figures}, without description")
        return f'<img src="data:{kind};base64,{content}" alt="{alt}"{size}>'


def widget_state(notebook: Any) -> dict[str, Any]:
    """Saved state of the notebook's widgets; empty where it has none."""
    return dict(notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}))


def body(pieces: list[Piece]) -> str:
    """All pieces below each other, the speaker's notes folded."""
    return "\n".join(
        f'<details class="teaching"><summary>For the speaker</summary>{piece.html}</details>'
        if piece.slide == "notes"
        else piece.html
        for piece in pieces
    )


def title_slide(title: str, byline: str) -> str:
    """A slide of the title and who speaks, where and when."""
    return f'<h1>{escape(title)}</h1><p class="byline">{escape(byline)}</p>'


def slides(pieces: list[Piece]) -> list[list[str]]:
    """Columns of slides: as the notebook's slide types say, or else one a heading and one a big output.

    What is too long for one is carried on to the next by ``slides.js``, which knows the window.
    """
    pieces = [piece for piece in pieces if piece.html]
    if any(piece.slide in ("slide", "subslide") for piece in pieces):
        return _slides_as_said(pieces)
    found: list[list[Piece]] = []
    heading = ""
    for piece in pieces:
        if piece.slide == "notes" and found:
            found[-1].append(piece)
            continue
        if piece.headings or not found:
            found.append([])
            heading = piece.headings[0].text if piece.headings else ""
        elif piece.big and any(other.big for other in found[-1]):
            announced = [found[-1].pop()] if _announces(found[-1][-1]) else []
            again = [Piece(f'<h2 class="continued">{escape(heading)} (continued)</h2>')] if heading else []
            found.append([*again, *announced])
        found[-1].append(piece)
    return [[_slide(group)] for group in found]


def _announces(piece: Piece) -> bool:
    """Whether a text ends in a colon: it belongs to what follows."""
    return not piece.big and not piece.headings and bool(re.search(r":\s*(</\w+>\s*)*$", piece.html))


def _slides_as_said(pieces: list[Piece]) -> list[list[str]]:
    columns: list[list[list[Piece]]] = []
    for piece in pieces:
        if piece.slide == "skip":
            continue
        if piece.slide == "slide" or not columns:
            columns.append([[]])
        elif piece.slide == "subslide":
            columns[-1].append([])
        columns[-1][-1].append(piece)
    return [[_slide(group) for group in column] for column in columns]


def _slide(group: list[Piece]) -> str:
    wrapped = []
    for piece in group:
        html = piece.html.replace('<details class="code" open>', '<details class="code">')
        if piece.slide == "notes":
            html = f'<aside class="notes">{html}</aside>'
        elif piece.slide == "fragment":
            html = f'<div class="fragment">{html}</div>'
        wrapped.append(html)
    return "\n".join(wrapped)


def mathml(source: str, *, display: bool) -> str:
    """LaTeX math as MathML, which browsers draw by themselves; as it was written where it is not understood."""
    from latex2mathml.converter import convert

    try:
        return str(convert(source, display="block" if display else "inline"))
    except Exception:  # the converter raises whatever its parser stumbles over
        return f"<code>{escape(source)}</code>"


_FETCHERS = (
    "img",
    "script",
    "link",
    "iframe",
    "source",
    "video",
    "audio",
    "embed",
    "object",
    "track",
    "input",
    "image",
)
_ADDRESSES = ("src", "href", "srcset", "data", "poster", "xlink:href")
_INSIDE = ("data:", "blob:", "#")
_FETCHED_BY_STYLE = re.compile(r"@import[^;]*;|url\(\s*['\"]?(?:https?:)?//[^)]*\)")


def offline(html: str, folder: Path | None = None) -> str:
    """HTML without what would be fetched: pictures of ``folder`` are put inside, others become a note.

    Links that are script are links no more. HTML that fetches nothing comes back as it is, to the letter.
    """
    from bs4 import BeautifulSoup

    soup, changed = BeautifulSoup(html, "html.parser"), False
    for tag in soup.find_all(_FETCHERS):
        asked = [name for name in _ADDRESSES if tag.get(name) and not str(tag[name]).startswith(_INSIDE)]
        if asked:
            _without(tag, asked, folder)
            changed = True
    for tag in soup.find_all(href=_is_script):
        del tag["href"]
        changed = True
    return _FETCHED_BY_STYLE.sub("", str(soup) if changed else html)


def _is_script(address: str | None) -> bool:
    """Whether a link's address runs, as browsers read it: blanks and control characters in it do not count."""
    plain = "".join(letter for letter in address or "" if letter > " ").lower()
    return plain.startswith(("javascript:", "vbscript:", "data:text"))


def _without(tag: Any, asked: list[str], folder: Path | None) -> None:
    """Put the picture inside, or a note in its place; anything else goes."""
    from bs4.element import NavigableString, Tag

    if tag.name != "img":
        tag.decompose()
        return
    inside = _embedded(folder, str(tag["src"])) if folder and asked == ["src"] else None
    if inside:
        tag["src"] = inside
        return
    note = Tag(name="span", attrs={"class": "missing"})
    note.append(NavigableString(f"picture not included: {tag.get('alt') or tag[asked[0]]}"))
    tag.replace_with(note)


def plain_text(html: str) -> str:
    """What HTML says, without its marks."""
    from bs4 import BeautifulSoup

    return str(BeautifulSoup(html, "html.parser").get_text())


def _embedded(folder: Path, target: str) -> str | None:
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    return IPythonRenderer(embed_images=True, path=str(folder))._src_to_base64(target)  # type: ignore[no-any-return]


@cache
def _renderer() -> Any:
    """nbconvert's renderer of text cells, with math as MathML and headings that are written down."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer

    class Renderer(IPythonRenderer):  # type: ignore[misc]
        def __init__(self, *, folder: Path, attachments: dict[str, Any], anchor: Any) -> None:
            super().__init__(escape=False, embed_images=True, path=str(folder), attachments=attachments)
            self._anchor = anchor
            self.headings: list[Heading] = []

        def heading(self, text: str, level: int, **_: Any) -> str:
            plain = plain_text(text)
            anchor = self._anchor(plain)
            self.headings.append(Heading(level, anchor, plain))
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

        def block_html(self, html: str) -> str:
            """As written where it holds no picture: the parser that looks for them would close a tag of which the end
            stands further down, such as ``<details>`` before a blank line."""
            return super().block_html(html) if "<img" in html.lower() else html

        def block_math(self, body: str) -> str:
            return mathml(body, display=True)

        def inline_math(self, body: str) -> str:
            return mathml(body, display=False)

        def latex_environment(self, name: str, body: str) -> str:
            return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    return Renderer


def _split_at_headings(source: str) -> list[str]:
    """Parts of a text that begin with a heading of level 1 to 3; headings inside code fences are none."""
    parts, fenced = [[]], False  # type: list[list[str]], bool
    for line in source.split("\n"):
        if re.match(r" {0,3}(```|~~~)", line):
            fenced = not fenced
        if not fenced and re.match(r" {0,3}#{1,3}(?!#)", line) and any(text.strip() for text in parts[-1]):
            parts.append([])
        parts[-1].append(line)
    return ["\n".join(part) for part in parts]


def _joined(outputs: Any) -> list[Any]:
    """Outputs with neighbouring pieces of one stream put together."""
    found: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].get("name") == output.name:
            found[-1] = type(output)({**found[-1], "text": found[-1].text + output.text})
        else:
            found.append(output)
    return found


def _alt_text(data: Mapping[str, Any], metadata: Mapping[str, Any], kind: str) -> str:
    plain = str(data.get("text/plain", ""))
    spoken = "" if re.fullmatch(r"<[\w.]*[^>]*>", plain.strip()) else plain
    return str(metadata.get(kind, {}).get("alt") or metadata.get("alt") or spoken).strip()


def _script(source: str) -> str:
    """A script among the outputs; the viewer's start-up script is on the page already."""
    return (
        "" if "window.iphaExport" in source[:1000] else f"<script>{source.replace('</', '<' + chr(92) + '/')}</script>"
    )


def _highlight(source: str) -> str:
    from nbconvert.filters.highlight import Highlight2HTML

    marked = Highlight2HTML(pygments_lexer="python3", extra_formatter_options={"nowrap": True})(source)
    return str(marked).rstrip("\n")


def _ansi(text: str) -> str:
    from nbconvert.filters import ansi2html

    return str(ansi2html(text.rstrip("\n")))
