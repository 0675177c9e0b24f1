"""Notebook to self-contained page: executed once, converted as often as asked, searched for identifiers, written whole.

A page holds everything it needs and its content-security policy forbids it to ask for more. Slice viewers and the
sliders linked to them live in it without kernel or network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ipha_toolkit.errors import LayoutError, RenderError
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.io.files import printable
from ipha_toolkit.io.parameters import as_default
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.report import privacy
from ipha_toolkit.report._cells import Cells, Piece, body, slides, title_slide, widget_state
from ipha_toolkit.report.handout import print_deck
from ipha_toolkit.report.page import Heading, deck, gallery, page

FORMATS = {"html": ".html", "slides": ".slides.html", "handout": ".handout.pdf"}
BYLINE = ("author", "place", "date")
"""Parameters that the title slide names, where no notebook has a parameter of the name."""

_THUMBNAIL_PX = 480
_PATIENCE_S = 600
"""For a kernel to start, and for what a cell gave to arrive, on a machine that is busy."""


def render(notebook: str | os.PathLike[str], out_dir: str | os.PathLike[str], *, to: str = "html") -> Path:
    """Execute a notebook and write it as one HTML file that asks the network for nothing.

    Parameters
    ----------
    notebook : path
        Of an ``.ipynb`` file; it is not changed. It runs in its own folder.
    out_dir : path
        Folder for the page, made where absent.
    to : {"html", "slides", "handout"}
        A page to read, ``NAME.html``, a presentation, ``NAME.slides.html``, or the slides on paper,
        ``NAME.handout.pdf``, for which Chromium or Chrome is needed.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RenderError
        Where the notebook cannot be read, a cell fails or the page cannot be written; no half page is left.
    PrivacyError
        Where patient identifiers or absolute paths would be published; see :mod:`ipha_toolkit.report.privacy`.

    See Also
    --------
    render_all : several notebooks, both formats from one execution, parameters, and what may stay by name.
    """
    return render_all([notebook], out_dir, to=[to])[0]


def render_all(
    notebooks: Sequence[str | os.PathLike[str]],
    out_dir: str | os.PathLike[str],
    *,
    to: Iterable[str] = ("html",),
    parameters: Mapping[str, Any] | None = None,
    allow: Iterable[str] = (),
    code: bool | None = None,
    progress: bool = True,
) -> list[Path]:
    """Render notebooks, each executed once; several get an ``index.html`` with thumbnails.

    Parameters
    ----------
    notebooks : sequence of path
    out_dir : path
    to : iterable of {"html", "slides", "handout"}
        ``handout`` is the slides as a PDF, ``NAME.handout.pdf``; it needs Chromium or Chrome.
    parameters : mapping, optional
        Values for the cell tagged ``parameters``, given to every notebook that knows the name. Text that names an
        existing file is understood from the current folder, although notebooks run in their own. ``author``, ``place``
        and ``date`` that no notebook has as a parameter make a title slide.
    allow : iterable of str
        Texts that may be published although they look like identifiers; see
        :func:`ipha_toolkit.report.privacy.search`.
    code : bool, optional
        Show code; None means on pages, and not on slides.
    progress : bool
        Show a bar of the cells.

    Returns
    -------
    list of Path
        Pages in order of notebooks and formats, then the index where there is one.

    Raises
    ------
    RenderError, PrivacyError
        See :func:`render`. Pages of earlier notebooks stay.
    """
    formats, paths, out = _formats(to), [Path(path) for path in notebooks], Path(out_dir)
    sources = [_read(path) for path in paths]
    parameters, byline = _without_byline(parameters or {}, sources)
    given = _shared_out(parameters, paths, sources)
    _no_two_alike(paths)
    _make_folder(out)
    written, cards = list[Path](), []
    for path, source, values in zip(paths, sources, given, strict=True):
        done = _execute(path, source, values, progress=progress)
        privacy.require_none(privacy.search(done.notebook, path, done.identifiers, allow=allow), path.name)
        pages = _pages(done, path, formats, code, byline)
        written += [_write(out / name, text) for name, text in pages.items()]
        cards.append(_card(done.notebook, path, pages))
    if len(paths) > 1:
        written.append(_write(out / "index.html", gallery("Notebooks", cards)))
    return written


@dataclass(frozen=True)
class _Executed:
    notebook: Any
    identifiers: tuple[privacy.Identifier, ...]
    protocol: Protocol


# -- reading --


def _read(path: Path) -> Any:
    import nbformat

    if not path.is_file():
        raise RenderError(f"{path}: no such notebook")
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, UnicodeDecodeError) as error:
        raise RenderError(f"{path}: cannot be read: {error}") from None
    except Exception as error:  # nbformat and its validator raise many kinds
        raise RenderError(f"{path}: not a Jupyter notebook: {str(error).splitlines()[0]}") from None


def _formats(to: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys([to] if isinstance(to, str) else to))
    unknown = [name for name in found if name not in FORMATS]
    if unknown or not found:
        raise RenderError(f"to needs one or more of {', '.join(FORMATS)}; got {', '.join(map(str, unknown)) or 'none'}")
    return found


def _no_two_alike(paths: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        name = path.stem.lower()
        if name in seen or name == "index":
            other = seen.get(name, "the index page")
            raise RenderError(f"{path}: its page would overwrite that of {other}; rename the notebook")
        seen[name] = path


def _shared_out(parameters: Mapping[str, Any], paths: Sequence[Path], sources: Sequence[Any]) -> list[dict[str, Any]]:
    """The parameters each notebook knows, paths rewritten to be right from its folder."""
    known = [_defaults(source) for source in sources]
    for name in parameters:
        if not any(name in defaults for defaults in known):
            listed = ", ".join(sorted(set().union(*known))) or "none"
            raise RenderError(f"{paths[0]}: no parameter {name}; the cell tagged 'parameters' has: {listed}")
    return [
        {
            name: _from_folder(as_default(value, defaults[name]) if isinstance(value, str) else value, path)
            for name, value in parameters.items()
            if name in defaults
        }
        for path, defaults in zip(paths, known, strict=True)
    ]


def _defaults(source: Any) -> dict[str, Any]:
    """Names assigned in the cell tagged ``parameters``, with their values where these are literals, else None."""
    import ast

    found: dict[str, Any] = {}
    for cell in source.cells:
        if "parameters" not in cell.metadata.get("tags", []):
            continue
        try:
            statements = ast.parse(cell.source).body
        except SyntaxError:
            continue
        for statement in statements:
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                names = [
                    node.id
                    for node in ast.walk(statement)
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
                ]
                found |= dict.fromkeys(names, _literal(statement.value))
    return found


def _literal(node: Any) -> Any:
    import ast

    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None


def _is_there(path: Path) -> bool:
    """Whether a text names something that exists; most texts cannot be names."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _from_folder(value: Any, notebook: Path) -> Any:
    if not isinstance(value, str) or not value or Path(value).is_absolute() or not _is_there(Path(value)):
        return value
    return os.path.relpath(Path(value).resolve(), notebook.resolve().parent)


# -- executing --


def _execute(path: Path, source: Any, parameters: dict[str, Any], *, progress: bool) -> _Executed:
    import nbformat
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from papermill.exceptions import PapermillExecutionError

    notebook = nbformat.from_dict(source)
    python = _speaks_python(notebook)
    if python:
        notebook.cells.append(nbformat.v4.new_code_cell(privacy.PROBE))
    kernel = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    with TemporaryDirectory() as scratch:
        run = Path(scratch) / "run.ipynb"  # papermill notes in it which cell is running
        try:
            done = papermill.execute_notebook(
                notebook,
                run,
                parameters=parameters,
                kernel_name=kernel,
                progress_bar=progress and {"desc": printable(path.name)},
                cwd=path.resolve().parent,
                extra_arguments=["--log-level=ERROR"] if python else [],
                start_timeout=_PATIENCE_S,
                iopub_timeout=_PATIENCE_S,  # after 4 s what a cell gave would be left out without a word
                raise_on_iopub_timeout=True,
            )
        except PapermillExecutionError as error:
            raise RenderError(_failure(path, error)) from None
        except NoSuchKernel:
            raise RenderError(_no_kernel(path, kernel)) from None
        except Exception as error:  # the kernel died or could not start
            raise RenderError(f"{path}: {_reached(run)}stopped: {type(error).__name__}: {error}") from error
    heard = done.cells.pop().outputs if python else []
    folder = path.resolve().parent
    values = {**_defaults(source), **parameters}
    places = [folder / text for text in values.values() if isinstance(text, str) and text and _is_there(folder / text)]
    identifiers = privacy.heard(heard) + privacy.beside([*places, *privacy.named(done, folder)])
    return _Executed(done, identifiers, _protocol(places))


def _speaks_python(notebook: Any) -> bool:
    facts = notebook.metadata
    language = facts.get("kernelspec", {}).get("language") or facts.get("language_info", {}).get("name", "python")
    return str(language).lower() == "python"


def _failure(path: Path, error: Any) -> str:
    cell = f"cell {error.cell_index + 1} (In [{error.exec_count}]: {_failing_line(error)[:80]})"
    return f"{path}: {cell} failed: {error.ename}: {' '.join(str(error.evalue).split())}; no page was written"


def _reached(run: Path) -> str:
    """The cell that had begun when the kernel went away."""
    cells = _read(run).cells if run.is_file() else []
    begun = [n for n, cell in enumerate(cells, start=1) if cell.metadata.get("papermill", {}).get("start_time")]
    return f"cell {begun[-1]} " if begun else ""


def _failing_line(error: Any) -> str:
    """The line of the cell that the traceback points to, or else the cell's first."""
    from papermill.exceptions import strip_color

    pointed = re.search(r"-+> \d+ (.*)", strip_color("\n".join(error.traceback)))
    lines = [pointed[1]] if pointed else error.source.splitlines()
    return next((line.strip() for line in lines if line.strip()), "")


def _no_kernel(path: Path, kernel: str) -> str:
    from jupyter_client.kernelspec import KernelSpecManager

    there = ", ".join(sorted(KernelSpecManager().find_kernel_specs())) or "none"
    return (
        f"{path}: its kernel {kernel!r} is not installed; there are: {there}. Choose one of these in JupyterLab and "
        f"save, or install it: python -m ipykernel install --user --name {kernel}"
    )


def _protocol(places: Iterable[Path]) -> Protocol:
    """The protocol file among the parameters, or the default."""
    return next((Protocol.read(place) for place in places if place.suffix == ".toml" and place.is_file()), DEFAULT)


# -- converting --


def _pages(
    done: _Executed, path: Path, formats: Sequence[str], code: bool | None = None, byline: str = ""
) -> dict[str, str]:
    """The page of each format, by its file name; of a handout, the slides that are printed."""
    found = {}
    for name in formats:
        shows_code = name == "html" if code is None else code
        pieces = list(Cells(done.notebook, path.resolve().parent, code=shows_code).pieces())
        found[path.stem + FORMATS[name]] = (_page if name == "html" else _deck)(done, path, pieces, byline)
    return found


def _page(done: _Executed, path: Path, pieces: list[Piece], _: str) -> str:
    headings = [heading for piece in pieces for heading in piece.headings]
    contents = [heading for heading in headings if 2 <= heading.level <= 3]
    title, state = _title(done.notebook, path, headings), widget_state(done.notebook)
    return page(title, body(pieces), contents=contents, state=state, protocol=done.protocol)


def _deck(done: _Executed, path: Path, pieces: list[Piece], byline: str) -> str:
    title = _title(done.notebook, path, [heading for piece in pieces for heading in piece.headings])
    columns = slides(pieces)
    if byline and columns:
        first = re.sub(r"(</?)h1\b", r"\1h2", columns[0][0], count=2)
        columns = [[title_slide(title, byline)], [first, *columns[0][1:]], *columns[1:]]
    return deck(title, columns, state=widget_state(done.notebook), protocol=done.protocol)


def _without_byline(parameters: Mapping[str, Any], sources: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Parameters of the notebooks, and the line of the title slide made of the others that it may name."""
    known = {name for source in sources for name in _defaults(source)}
    said = [name for name in BYLINE if name in parameters and name not in known]
    kept = {name: value for name, value in parameters.items() if name not in said}
    return kept, ", ".join(str(parameters[name]) for name in said)


def _title(notebook: Any, path: Path, headings: Sequence[Heading]) -> str:
    first = next((heading.text for heading in headings if heading.level == 1), "")
    return first or str(notebook.metadata.get("title", "")) or path.stem.replace("_", " ")


def _card(notebook: Any, path: Path, pages: Mapping[str, str]) -> dict[str, Any]:
    """What the index page says of a notebook."""
    pieces = list(Cells(notebook, path.resolve().parent).pieces())
    names = {ending: "page" if name == "html" else name for name, ending in FORMATS.items()}
    return {
        "title": _title(notebook, path, [heading for piece in pieces for heading in piece.headings]),
        "summary": _summary(piece.html for piece in pieces),
        "thumbnail": _thumbnail(notebook),
        "links": [(names[name.removeprefix(path.stem)], name) for name in pages],
    }


def _summary(fragments: Iterable[str]) -> str:
    """First paragraph, as plain text."""
    from bs4 import BeautifulSoup

    found = BeautifulSoup("\n".join(fragments), "html.parser").find("p")
    text = " ".join(found.get_text().split()) if found else ""
    return text if len(text) <= 240 else text[:240].rsplit(" ", 1)[0] + " …"


def _thumbnail(notebook: Any) -> str:
    """First picture among the outputs, made small, as a data URI; empty where there is none."""
    from base64 import b64decode, b64encode
    from io import BytesIO

    from PIL import Image

    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    encoded = next((output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})), None)
    if encoded is None:
        return ""
    picture = Image.open(BytesIO(b64decode(encoded))).convert("RGB")
    picture.thumbnail((_THUMBNAIL_PX, _THUMBNAIL_PX))
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


# -- writing --


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RenderError(f"{out}: folder cannot be made: {error.strerror or error}") from None


def _write(path: Path, text: str) -> Path:
    """The whole file or none."""
    try:
        with in_place_of(path) as draft:
            if path.suffix == ".pdf":
                print_deck(text, draft)
            else:
                draft.write_text(text, encoding="utf-8")
    except LayoutError as error:
        raise RenderError(str(error)) from None
    except OSError as error:
        raise RenderError(f"{path}: page cannot be written: {error.strerror or error}") from None
    return path
