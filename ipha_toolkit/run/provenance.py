"""What was measured with what: inputs, settings and code of each pass over a cohort.

A session is measured anew when its images, masks or sidecars change, a setting that the first pass reads, the code that
its steps run, or a package that touches its numbers. What only the second pass reads redoes the second pass alone.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ipha_toolkit
from ipha_toolkit.io.files import why_not_a_file
from ipha_toolkit.io.layout import Cohort, SessionFiles
from ipha_toolkit.io.names import files_beside, stem
from ipha_toolkit.io.outputs import package_version
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.steps import PAIRS, STEPS, Step

_PACKAGE = "ipha_toolkit"
_VERSIONS = ("ipha-toolkit", "numpy", "scipy", "SimpleITK", "nibabel", "scikit-image", "numba", "pydicom", "pillow")
_SECOND = ("compare.controls", "compare.phases")


def first_pass(files: SessionFiles, root: Path, context: Context) -> dict[str, Any]:
    """What a session's rows, masks and maps depend on.

    Returns
    -------
    dict
        ``inputs``: SHA-256 of every file by its path in the cohort; ``settings`` that the first pass reads;
        ``code``: digest of the modules that the session's steps run; ``versions``; ``segmenter``; ``flags``. A file
        that cannot be read has the reason in place of its digest, and fails when its image is measured.

    """
    return {
        "inputs": {_named(path, root): _hash(path) for path in _inputs(files, context)},
        "settings": _settings(context.protocol),
        "code": _code(tuple(_modules(files))),
        "versions": {name: package_version(name) for name in _VERSIONS},
        "segmenter": _segmenter(context),
        "flags": sorted(context.flags),
    }


@cache
def _settings(protocol: Protocol) -> Any:
    """As JSON has them; shared by all sessions of a run, so not to be changed."""
    return json.loads(json.dumps(protocol.first_pass()))


@cache
def _code(modules: tuple[str, ...]) -> str:
    return code_digest(modules)


def settings_digest(context: Context) -> str:
    """Digest of what all sessions of a run share: runs that differ in it cannot write into one folder at once."""
    shared = {"protocol": context.protocol.digest(), "version": ipha_toolkit.__version__}
    return sha256(json.dumps(shared | {"segmenter": _segmenter(context)}).encode()).hexdigest()


def second_pass(sessions: Mapping[str, str], cohort: Cohort, protocol: Protocol) -> dict[str, Any]:
    """What the tables of a whole cohort depend on.

    Parameters
    ----------
    sessions : mapping of str to str
        Label of every measured session, and a digest of what its folder holds.
    cohort : Cohort
    protocol : Protocol
    """
    return {
        "sessions": dict(sessions),
        "participants": sha256(cohort.participants.to_csv(index=False).encode()).hexdigest(),
        "protocol": protocol.digest(),
        "code": code_digest(_SECOND),
        "versions": {name: package_version(name) for name in ("ipha-toolkit", "numpy", "scipy", "pandas")},
    }


def code_digest(modules: Iterable[str]) -> str:
    """Digest of modules of this package and of all that they import from it, wherever the import stands.

    Comments, docstrings and layout do not count.

    Parameters
    ----------
    modules : iterable of str
        Names within the package: ``measure.texture``.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _read(name)[1]
    return sha256("".join(f"{name}:{_read(name)[0]}\n" for name in sorted(found)).encode()).hexdigest()


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of one module's code, and the modules of the package that it imports."""
    spec = find_spec(f"{_PACKAGE}.{name}")
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ipha_toolkit.__version__, ()
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{_PACKAGE}."):
            module = node.module.removeprefix(f"{_PACKAGE}.")
            imported += [f"{module}.{alias.name}" if _is_module(module, alias.name) else module for alias in node.names]
        _without_docstring(node)
    return sha256(ast.dump(tree).encode()).hexdigest(), tuple(dict.fromkeys(imported))


def _is_module(package: str, name: str) -> bool:
    spec = find_spec(f"{_PACKAGE}.{package}")
    return bool(spec and spec.submodule_search_locations and find_spec(f"{_PACKAGE}.{package}.{name}"))


def _without_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list):
        body[:] = [x for x in body if not (isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant))]


def _modules(files: SessionFiles) -> list[str]:
    """Modules of the steps that a session takes, and of what surrounds them."""
    roles = files.modalities
    steps: list[Step] = [step for role in roles for step in STEPS.get(role, ())]
    steps += [step for pair, step in PAIRS.items() if all(role in roles for role in pair)]
    return ["run.scan", "run.session", *sorted({f"run.steps.{step.module}" for step in steps})]


def _segmenter(context: Context) -> str:
    segment = context.segment
    return "" if segment is None else f"{segment.__module__}.{getattr(segment, '__qualname__', segment)}"


def _named(path: Path, root: Path) -> str:
    """A file by its place in the cohort; one elsewhere by its name and a digest of its place, which stays unsaid."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return f"elsewhere/{sha256(str(path.parent).encode()).hexdigest()[:12]}/{path.name}"


def _inputs(files: SessionFiles, context: Context) -> list[Path]:
    elsewhere = context.protocol.reading.data_elsewhere
    images = [*files.images.values(), *files.echoes]
    masks = [mask.path for group in (files.lungs, files.muscle) for mask in group.values()]
    beside = [other for path in (*images, *masks) for other in files_beside(path, elsewhere=elsewhere)]
    beside += [path.with_name(f"{stem(path)}.tsv") for path in masks]
    return sorted({*images, *masks, *(path for path in beside if path.exists())})


def _hash(path: Path) -> str:
    if reason := why_not_a_file(path):
        return f"unread: {reason}"
    try:
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"unread: {error.strerror or type(error).__name__}"
