"""Build the documentation: reference pages from the code, then all of docs/ as HTML that needs no network.

    python tools/docs.py                 # docs/_build/html, warnings are errors
    python tools/docs.py --notebooks     # with every notebook run and rendered by ipha render: minutes, some 100 MB

Nothing heavy is imported: signatures and docstrings are read from the source, the tables from modules that import
nothing, so a wheel is built with the documentation of exactly its own code (hatch_build.py).
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ipha_toolkit"
OUT = ROOT / "docs" / "_build" / "html"
SPACES = {"ipha_toolkit": "ipha", "ipha_toolkit.plots": "ipha.plots", "ipha_toolkit.compare": "ipha.compare"}


def build(out: Path = OUT, *, strict: bool = True, notebooks: bool = False) -> Path:
    """Build the site; returns its first page.

    Raises
    ------
    RuntimeError
        Where Sphinx ends with an error, or, if strict, with a warning or a broken link.
    """
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as scratch:
        source, drawn = Path(scratch) / "docs", Path(scratch) / "html"
        shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("_build"))
        pages = _render(Path(scratch) / "extra" / "notebooks") if notebooks else []
        write_sources(source, pages)
        extra = ["-D", f"html_extra_path={scratch}/extra"] if notebooks else []
        status = build_main(["-b", "html", "-q", *(["-W", "--keep-going"] if strict else []), *extra,
                             "-d", f"{scratch}/trees", str(source), str(drawn)])  # fmt: skip
        broken = broken_links(drawn) if strict and not status else []
        if status or broken:
            raise RuntimeError("\n".join(["the documentation was not built without a warning", *broken]))
        _trim(drawn)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(drawn, out)
    return out / "index.html"


def write_sources(docs: Path, pages: list[str]) -> None:
    """Write the pages that are made from the code into a copy of docs/."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    reference = docs / "reference"
    reference.mkdir(exist_ok=True)
    (docs / "version.txt").write_text(_module("").__version__, "utf-8")
    made = {
        "api.rst": api(), "measures.md": measures(), "flags.md": flags(), "rules.md": rules(), "cli.md": commands(),
        "layout.md": (ROOT / "data" / "README.md").read_text("utf-8"),
    }  # fmt: skip
    toctree = "\n".join(name.partition(".")[0] for name in made)
    made["index.md"] = f"# Reference\n\n```{{toctree}}\n:maxdepth: 1\n{toctree}\n```\n"
    for name, text in made.items():
        (reference / name).write_text(text, "utf-8")
    (docs / "explanation" / "validation.md").write_text(validation(), "utf-8")
    (docs / "tutorial.md").write_text(tutorial(pages), "utf-8")


# -- pages made from the code --


def api() -> str:
    """Every public name with its signature and docstring, as reStructuredText."""
    parts = [_title("Python", "="), "``import ipha_toolkit as ipha``; each name is imported when it is first used.\n"]
    for space, written in SPACES.items():
        parts.append(_title(f"``{written}``", "-"))
        for name, node, constant in public(space):
            parts.append(_entry(f"{written}.{name}", node, constant))
    return "\n".join(parts)


def public(space: str) -> Iterator[tuple[str, Any, str]]:
    """Name, its definition in the source, and the text of a constant; of the package or one of its namespaces."""
    inner = {"ipha_toolkit.plots": "figures", "ipha_toolkit.compare": "compare"}.get(space, "")
    for name, home in sorted(_module(inner)._HOME.items(), key=lambda item: item[0].lower()):
        path = PACKAGE.joinpath(*inner.split("."), *home.split(".")).with_suffix(".py")
        yield name, *_find(ast.parse(path.read_text("utf-8")), name)


def _find(tree: ast.Module, name: str) -> tuple[Any, str]:
    defined = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == name]
    if defined:
        return defined[-1], ""  # after its overloads
    for n, node in enumerate(tree.body):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                if isinstance(node.value, ast.Name):  # an alias
                    return _find(tree, node.value.id)
                after = tree.body[n + 1] if n + 1 < len(tree.body) else None
                said = (
                    after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
                )
                return node, str(said)
    raise LookupError(f"{name} is public and not defined where __init__.py says")


def _entry(name: str, node: Any, constant: str) -> str:
    if isinstance(node, ast.ClassDef):
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")]
        inner = [_entry(each.name, each, "") for each in methods if ast.get_docstring(each)]
        return _directive("class", name, _rst(node), "\n".join(inner))
    if isinstance(node, ast.FunctionDef):
        marks = {ast.unparse(each) for each in node.decorator_list}
        if marks & {"property", "cached_property"}:
            return _directive("property", name, _rst(node))
        kind = "method" if node.args.args[:1] and node.args.args[0].arg in ("self", "cls") else "function"
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return _directive(kind, f"{name}({_arguments(node)}){returns}", _rst(node))
    return _directive("data", name, constant)


def _arguments(node: ast.FunctionDef) -> str:
    copy = ast.parse(ast.unparse(node.args).join(["def f(", "): ..."])).body[0]
    assert isinstance(copy, ast.FunctionDef)
    for each in (*copy.args.args, *copy.args.kwonlyargs):
        each.annotation = None
    copy.args.args = [each for each in copy.args.args if each.arg not in ("self", "cls")]
    return ast.unparse(copy.args)


def _rst(node: Any) -> str:
    from sphinx.ext.napoleon import Config, NumpyDocstring

    told = inspect.cleandoc(ast.get_docstring(node) or "")
    return str(NumpyDocstring(told, Config(napoleon_use_rtype=False, napoleon_use_ivar=True)))


def _directive(kind: str, name: str, *bodies: str) -> str:
    lines = "\n\n".join(body for body in bodies if body).splitlines()
    return "\n".join([f".. py:{kind}:: {name}", "", *(f"   {line}" if line else "" for line in lines), ""])


def measures() -> str:
    """The catalogue as a table."""
    catalogue = _module("catalogue")
    rows = [[f"`{m.name}`", m.definition, m.unit, str(m.worse), m.source] for m in catalogue.MEASURES.values()
            if not m.name.endswith("_vs_controls")]  # fmt: skip
    words = (
        "Every number in `measures.tsv`. *Worse* is the direction in which the lung is worse. What is set against "
        "controls has a twin named `..._vs_controls`: its distance from the controls' mean in their SD."
    )
    return f"# Measures\n\n{words}\n\n" + _table(["measure", "definition", "unit", "worse", "source"], rows)


def flags() -> str:
    """Flags and findings as tables."""
    found = _module("flags")
    tables = [_table(["code", "meaning"], [[f"`{code}`", text] for code, text in each.items()])
              for each in (found.FLAGS, found.FINDINGS)]  # fmt: skip
    return (
        "# Flags and findings\n\n## Flags\n\nA row carries the codes of all that limits it, joined by `;`.\n\n"
        f"{tables[0]}\n## Findings\n\nWhat a reader would call seen.\n\n{tables[1]}"
    )


def rules() -> str:
    """Rules of findings and phases, as they are by default."""
    found = _module("rules")
    findings = [re.fullmatch(r"(\w+): (\S+) (\w+) ([<>] .+?) -- (.+)", line) for line in found.FINDING_LINES]
    phases = [re.fullmatch(r"(\S+) (\w+): (\w+) (\S+ \d) -- (.+)", line) for line in found.PHASE_LINES]
    first = _table(["finding", "image", "measure", "grades 1, 2, 3", "source"], [m.groups() for m in findings if m])
    second = _table(["weight", "phase", "finding", "grade", "source"], [m.groups() for m in phases if m])
    return (
        "# Rules\n\nAs they come with the toolkit; `ipha protocol` prints them to be edited.\n\n"
        f"## From measure to finding\n\n{first}\n## From finding to phase\n\n"
        f"A rule that holds adds its weight to the phase; the highest sum is the reading.\n\n{second}"
    )


def commands() -> str:
    """Every command's own help."""
    parser, bids = _module("arguments").parser(), _module("bids_app")
    commands = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction)).choices
    parts = ["# Command line\n", _help("ipha", parser), _help("ipha-bids", bids._parser())]
    return "\n".join([*parts, *(_help(f"ipha {name}", command) for name, command in commands.items())])


def _help(name: str, parser: Any) -> str:
    return f"## `{name}`\n\n```text\n{parser.format_help().rstrip()}\n```\n"


def validation() -> str:
    """The tables of benchmarks/results, each with its own words."""
    parts = [
        "# How well it does\n\nTables that the scripts in `benchmarks/` wrote: on simulated patients, on disease laid "
        "into real scans, and on real scans of other lungs. None is of a patient with IPH.\n"
    ]
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        told = _as_section(path.read_text("utf-8"), path.stem.replace("_", " ").capitalize())
        parts.append(re.sub(r"^(#+) ", r"#\1 ", told, flags=re.MULTILINE))
    return "\n".join(parts)


def _as_section(text: str, name: str) -> str:
    """One heading of the first level, and an empty line before each table that follows a list."""
    lines: list[str] = []
    for line in text.splitlines():
        after_list = lines and lines[-1].startswith("- ") and line.startswith("|")
        lines += ["", line] if after_list else [line]
    if not (lines and lines[0].startswith("# ")):
        lines = [f"# {name}", "", *lines]
    return "\n".join([*lines, ""]).replace("\n# ", "\n## ")


def tutorial(pages: list[str]) -> str:
    """The notebooks with their questions; linked where they are rendered."""
    parts = [
        "# Tutorial\n\nThe notebooks lead from a first image to a cohort, on simulated patients; the first cell of "
        "each takes scans of your own instead. Each asks a question, answers it, and says what it cannot show.\n\n"
        "```sh\njupyter lab notebooks    # to work in\n"
        "ipha render notebooks/*.ipynb --to html --to slides --out pages    # to read and to show\n```\n"
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "markdown"]
        head, *rest = "".join(cells[0]["source"]).split("\n", 1)
        said = "\n".join(rest).strip()
        page = f"{path.stem}.html"
        slides = f"{path.stem}.slides.html"
        link = f'\n\n<a href="notebooks/{page}">Read it as a page</a>' if page in pages else ""
        link += f', <a href="notebooks/{slides}">show it as slides</a>' if link and slides in pages else ""
        parts.append(f"## {head.lstrip('# ')}\n\n`notebooks/{path.name}`\n\n{_without_pictures(said)}{link}\n")
    return "\n".join(parts)


def _without_pictures(text: str) -> str:
    return re.sub(r"^(#+) ", "", re.sub(r"!\[[^]]*\]\([^)]*\)", "", text), flags=re.MULTILINE)


def _render(out: Path) -> list[str]:
    from ipha_toolkit.report.render import render_all

    return [page.name for page in render_all(sorted((ROOT / "notebooks").glob("*.ipynb")), out, to=["html", "slides"])]


def _table(names: list[str], rows: Any) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ").replace("*", "\\*") for cell in row] for row in rows]
    lines = [names, ["---"] * len(names), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _title(text: str, mark: str) -> str:
    return f"{text}\n{mark * len(text)}\n"


def _module(name: str) -> Any:
    return importlib.import_module(f"ipha_toolkit.{name}" if name else "ipha_toolkit")


# -- what was built --


class _Page(HTMLParser):
    """Links and anchors of a page, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        for name in ("src", "href"):
            if name in given and tag in ("script", "img", "link", "iframe", "source"):
                self.fetched.append(given[name])


def broken_links(site: Path) -> list[str]:
    """Links to a page or anchor that is not there, and whatever a page would ask the network for."""
    pages = {path: _Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in {*page.links, *page.fetched}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    found.append(f"{path.relative_to(site)}: would fetch {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            held = next((known for at, known in pages.items() if at.resolve() == target), None)
            lost = bool(parts.fragment) and held is not None and unquote(parts.fragment) not in held.anchors
            if not target.exists() or lost:
                found.append(f"{path.relative_to(site)}: {link} leads nowhere")
    return sorted(found)


def _trim(site: Path) -> None:
    """Take away what a reader of pages does not need."""
    for name in (".buildinfo", "objects.inv", ".doctrees", "_sources"):
        path = site / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def main() -> int:
    """Build, and say where."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: docs/_build/html")
    parser.add_argument("--notebooks", action="store_true", help="run and render the notebooks as well")
    options = parser.parse_args()
    print(build(options.out, notebooks=options.notebooks))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
