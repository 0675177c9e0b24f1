"""What lies in a folder: files that can be opened, and what is not read, with the reason."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ipha_toolkit.io.files import printable, why_not_a_file
from ipha_toolkit.io.names import is_image

_DEEPEST, _MOST_FILES = 100, 200_000
"""Chosen: images lie three folders deep in that of a subject; a CT as DICOM has a thousand files."""


@dataclass(frozen=True)
class Problem:
    """Something in the folder that cannot be analyzed as it is.

    ``subject`` and ``session`` say whose analysis it stops; both empty for a remark that stops none. Without ``stops``
    it is a failure of theirs that the rest of the session outlives.
    """

    path: Path
    message: str
    subject: str = ""
    session: str = ""
    stops: bool = True

    def __str__(self) -> str:
        return f"{printable(self.path)}: {printable(' '.join(self.message.split()))}"


@dataclass
class Found:
    """Files of a folder and its folders, by name, and what was passed over with the reason."""

    files: list[Path] = field(default_factory=list)
    unread: list[tuple[Path, str]] = field(default_factory=list)


def walk(place: Path, skip: Callable[[Path], bool] = lambda _: False) -> Found:
    """All files below a folder, links to folders followed; hidden files and folders are passed over without a word.

    ``skip`` says which folders are not entered.
    """
    found = Found()
    _walk(place, skip, found, ())
    return found


def unread(left: Iterable[tuple[Path, str]]) -> list[Problem]:
    """Remarks on what was not read, one a folder and reason, however many files it takes."""
    groups: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path, reason in left:
        groups[path.parent, reason].append(path)
    problems = []
    for (_, reason), paths in groups.items():
        more = f"and {len(paths) - 1} more beside it " if len(paths) > 1 else ""
        problems.append(Problem(paths[0], f"{more}not read, because {reason}"))
    return problems


def is_hidden(path: Path) -> bool:
    """Whether a file is one of the system's or a tool's own: ``._name``, ``.DS_Store``, ``.ipynb_checkpoints``."""
    return path.name.startswith(".")


def bad_name(path: Path) -> str:
    """Why a name cannot be written into a table or a page, empty where it can."""
    if printable(path.name) != path.name:
        return "its name is not plain UTF-8 text; rename it"
    return ""


def _walk(place: Path, skip: Callable[[Path], bool], found: Found, above: tuple[str, ...]) -> None:
    try:
        here = os.path.realpath(place)
        names = sorted(entry.name for entry in os.scandir(place))
    except OSError as error:
        found.unread.append((place, f"the folder cannot be opened: {error.strerror or error}"))
        return
    if reason := _why_not_entered(here, found, above):
        found.unread.append((place, reason))
        return
    for path in (place / name for name in names):
        if is_hidden(path):
            continue
        if reason := bad_name(path):
            found.unread.append((path, reason))
        elif _is_folder(path) and is_image(path):
            found.unread.append((path, "it is a folder named like an image; DICOM folders are read by ipha import"))
        elif _is_folder(path):
            if not skip(path):
                _walk(path, skip, found, (*above, here))
        elif reason := why_not_a_file(path):
            found.unread.append((path, f"it {reason}"))
        else:
            found.files.append(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # whoever opens it says why it cannot be
        return False


def _why_not_entered(here: str, found: Found, above: tuple[str, ...]) -> str:
    if here in above:
        return "it is a link to a folder it lies in"
    if len(above) >= _DEEPEST:
        return f"it lies {_DEEPEST} folders deep"
    if len(found.files) + len(found.unread) >= _MOST_FILES:
        return f"{_MOST_FILES} files were found before it; is it, or one above it, a link to a whole disk?"
    return ""
