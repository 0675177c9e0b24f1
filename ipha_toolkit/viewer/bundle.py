"""The viewer's JavaScript, written by topic in ``js/``, as the one text that anywidget and exported pages load.

Every file of ``js/`` is an ES module. Its imports are of other files, there or in another room's ``js/``, by the names
these export, one statement a line; so the files can be joined, those imported first, with the import lines left out,
and what comes of it is an ES module again. Nothing but Python is needed, at installation or later.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

JS = Path(__file__).parent / "js"

_IMPORT = re.compile(r'^import \{([\w, $]+)\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
_ANY_IMPORT = re.compile(r"^import\b.*$", re.MULTILINE)
_NAME = re.compile(r"^(?:export )?(?:const|let|class|function) (\w+)", re.MULTILINE)


@cache
def bundle(entry: Path = JS / "main.js") -> str:
    """One ES module out of a file and all that it imports, directly or not.

    Parameters
    ----------
    entry : Path
        The file whose default export becomes the module's.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        Where files import each other in a circle, an import is written in another form or of what is not exported, or
        two files give one name to different things.
    """
    order = _ordered(entry.resolve(), ())
    texts = {path: path.read_text(encoding="utf-8") for path in order}
    counts = Counter(name for text in texts.values() for name in _NAME.findall(text))
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"{', '.join(twice)}: declared more than once in {entry.parent}; joined files share all names")
    return "\n".join(f"// ---- {path.name}\n\n{_without_imports(path, text)}" for path, text in texts.items())


def _ordered(path: Path, importers: tuple[Path, ...]) -> list[Path]:
    """The file after all that it imports, each once."""
    if path in importers:
        circle = " > ".join(file.name for file in (*importers[importers.index(path) :], path))
        raise ValueError(f"files import each other in a circle: {circle}")
    text, found = path.read_text(encoding="utf-8"), list[Path]()
    for names, file in _IMPORT.findall(text):
        other = (path.parent / file).resolve()
        _require_exported(path, other, [name.strip() for name in names.split(",")])
        found += [part for part in _ordered(other, (*importers, path)) if part not in found]
    return [*found, path]


def _require_exported(path: Path, other: Path, names: list[str]) -> None:
    if not other.is_file():
        raise ValueError(f"{path}: imports {other.name}, which is not beside it")
    text = other.read_text(encoding="utf-8")
    missing = [name for name in names if not re.search(rf"^export [^\n]*\b{name}\b", text, re.MULTILINE)]
    if missing:
        raise ValueError(f"{path}: {other.name} does not export {', '.join(missing)}")


def _without_imports(path: Path, text: str) -> str:
    rest = _IMPORT.sub("", text)
    other = _ANY_IMPORT.search(rest)
    if other:
        raise ValueError(f'{path}: write {other[0]!r} as import {{name, ...}} from "./file.js"; on one line')
    return rest
