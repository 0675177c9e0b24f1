"""The cohort folder: who is in it, which images and masks each session has, and every problem found.

The layout is described in ``data/README.md``. Nothing is read here but names and tables; images are opened by
:func:`ipha_toolkit.io.images.load`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import ipha_toolkit
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.names import (
    RESULTS_TOOL,
    echo_number,
    is_entity,
    is_image,
    label_of,
    mask_target,
    role_of,
    session_key,
    stem,
)
from ipha_toolkit.terms import Modality

if TYPE_CHECKING:
    from ipha_toolkit.volume import Volume

_NOT_LUNG = re.compile(r"vessel|vein|arter|nodule|airway|trachea|bronch|tumou?r|cancer", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """Something in the folder that cannot be analyzed as it is.

    ``subject`` and ``session`` say whose analysis it stops; both empty for a remark that stops none.
    """

    path: Path
    message: str
    subject: str = ""
    session: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class MaskFile:
    """A mask made elsewhere; ``labels`` are the values inside, None for a plain mask."""

    path: Path
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class SessionFiles:
    """One session of one subject: its images by modality, echoes in order, and masks made elsewhere."""

    subject: str
    session: str
    images: dict[Modality, Path] = field(default_factory=dict)
    echoes: tuple[Path, ...] = ()
    lungs: dict[Modality, MaskFile] = field(default_factory=dict)
    muscle: dict[Modality, MaskFile] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``sub-001_ses-01``, or ``sub-001`` where the subject has no session folders."""
        return f"{self.subject}_{self.session}" if self.session else self.subject

    def image(self, modality: str) -> Volume:
        """Read an image of the session; of several echoes the first, ``echo-2_MEGRE`` the second.

        Raises
        ------
        KeyError
            Where the session has no such image; the message lists those there are.
        """
        from ipha_toolkit.io.images import load, load_echoes

        number, _, role = str(modality).rpartition("_")
        if role == Modality.MEGRE and self.echoes:
            return load_echoes(self.echoes)[0][int(number.removeprefix("echo-") or 1) - 1]
        if role not in self.images:
            raise KeyError(f"{self.label} has no {modality} image; there are {', '.join(self.modalities) or 'none'}")
        return load(self.images[Modality(role)], modality=role)

    def view(self, *modalities: str, **options: Any) -> Any:
        """Images of the session side by side in the slice viewer; options as of :func:`ipha_toolkit.view`."""
        shown = modalities or [role for role in self.modalities if role != Modality.DX] or self.modalities
        return ipha_toolkit.view(*(self.image(role) for role in shown), **options)

    @property
    def modalities(self) -> list[Modality]:
        """What there is to analyze."""
        return [*self.images, *([Modality.MEGRE] if self.echoes else [])]


@dataclass(frozen=True)
class Cohort:
    """A cohort folder as found: sessions, participants, problems."""

    root: Path
    sessions: tuple[SessionFiles, ...]
    participants: pd.DataFrame
    problems: tuple[Problem, ...]

    def __getitem__(self, key: str | tuple[str, str]) -> SessionFiles:
        """``cohort["001", "01"]``, ``cohort["sub-001", "ses-01"]`` or ``cohort["sub-001_ses-01"]``.

        Raises
        ------
        KeyError
            Where there is no such session; the message lists those there are.
        """
        wanted = label_of(*session_key(*(key if isinstance(key, tuple) else (key,))))
        for session in self.sessions:
            if session.label == wanted:
                return session
        listed = ", ".join(session.label for session in self.sessions[:12])
        raise KeyError(f"{self.root} has no session {wanted}; there are {listed or 'none'}")

    def stopped(self, session: SessionFiles) -> list[Problem]:
        """Problems that stop this session."""
        return [
            problem
            for problem in self.problems
            if problem.subject == session.subject and problem.session in ("", session.session)
        ]

    def is_control(self, subject: str) -> bool:
        """Whether participants.tsv puts the subject in group ``control``."""
        return self.covariate(subject, "group").strip().lower() in ("control", "controls")

    def covariate(self, subject: str, column: str) -> str:
        """A participants.tsv cell as text, empty where there is none."""
        if column not in self.participants.columns:
            return ""
        cells = self.participants.loc[self.participants["participant_id"] == subject, column]
        return "" if cells.empty else str(cells.iloc[0])


def read_cohort(root: str | os.PathLike[str]) -> Cohort:
    """Discover a cohort folder.

    Parameters
    ----------
    root : path
        Folder with ``sub-*`` folders; ``participants.tsv`` is optional.

    Returns
    -------
    Cohort
        Sessions sorted by name, and all problems at once.

    Raises
    ------
    LayoutError
        Where the folder is missing or holds no ``sub-*`` folder, or participants.tsv cannot be read.
    """
    root = Path(root)
    if not root.is_dir():
        raise LayoutError(f"{root}: no such folder; give the cohort folder, which holds sub-* folders")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name.startswith("sub-"))
    if not folders:
        raise LayoutError(f"{root}: holds no sub-* folder; see data/README.md for the cohort folder's layout")
    participants, problems = _read_participants(root)
    problems += _subject_problems(folders, participants, root)
    sessions: list[SessionFiles] = []
    for folder in folders:
        for session, place in _session_folders(folder):
            found, complaints = _read_session(root, folder.name, session, place)
            problems += complaints
            if found.modalities or complaints:
                sessions.append(found)
            else:
                problems.append(Problem(place, f"holds no image named like {folder.name}_..._T1w.nii.gz"))
    return Cohort(root, tuple(sessions), participants, tuple(problems))


open_cohort = read_cohort


def read_table(path: Path) -> pd.DataFrame:
    """A BIDS ``.tsv`` table, every cell as text, ``n/a`` as an empty cell.

    Raises
    ------
    LayoutError
        Where it is not a table of tab-separated text.
    """
    try:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=[]).replace("n/a", "")
    except (ValueError, UnicodeDecodeError, OSError) as error:
        raise LayoutError(f"{path}: not a tab-separated table: {error}") from None


def read_visits(root: str | os.PathLike[str]) -> pd.DataFrame:
    """What the clinic knows of every session, from the ``sub-*_sessions.tsv`` tables of a cohort folder.

    Returns
    -------
    DataFrame
        ``subject, session`` and the tables' columns (``days``, ``phase``, ``prednisone_mg_per_day`` ...), those of
        numbers as numbers; NaN where a cell is empty or ``n/a``. No row where there is no such table.

    Raises
    ------
    LayoutError
        Where a table cannot be read or has no column ``session_id``.
    """
    frames = []
    for path in sorted(Path(root).glob("sub-*/sub-*_sessions.tsv")):
        table = read_table(path)
        if "session_id" not in table.columns:
            raise LayoutError(
                f"{path}: needs a column session_id, has {', '.join(table.columns)}; is it tab-separated?"
            )
        frames.append(table.rename(columns={"session_id": "session"}).assign(subject=path.parent.name))
    if not frames:
        return pd.DataFrame({"subject": [], "session": []}, dtype=str)
    return _with_numbers(pd.concat(frames, ignore_index=True), ["subject", "session"])


def read_participants(root: str | os.PathLike[str]) -> pd.DataFrame:
    """``participants.tsv`` with its columns of numbers as numbers; empty where there is none.

    Raises
    ------
    LayoutError
        Where it cannot be read or has no column ``participant_id``.
    """
    return _with_numbers(_read_participants(Path(root))[0], ["participant_id"])


def _with_numbers(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Columns of which every filled cell is a number as numbers; ``names`` first, as text."""
    columns = {}
    for column in [*names, *(column for column in table.columns if column not in names)]:
        cells = table[column].where(table[column] != "")
        numbers = pd.to_numeric(cells, errors="coerce")
        known = column not in names and cells.notna().any() and numbers.notna().sum() == cells.notna().sum()
        columns[column] = numbers if known else cells
    return pd.DataFrame(columns)


def _read_participants(root: Path) -> tuple[pd.DataFrame, list[Problem]]:
    path = root / "participants.tsv"
    if not path.exists():
        return pd.DataFrame({"participant_id": []}, dtype=str), [
            Problem(path, "is missing; without it no one is a control and measures are not set against controls")
        ]
    table = read_table(path)
    if "participant_id" not in table.columns:
        raise LayoutError(
            f"{path}: needs a column participant_id, has {', '.join(table.columns)}; is it tab-separated?"
        )
    problems = []
    for name in sorted(set(table["participant_id"][table["participant_id"].duplicated()])):
        problems.append(Problem(path, f"{name} stands in more than one row; keep one row a subject", name))
    for name in table["participant_id"]:
        if not is_entity(name, "sub"):
            problems.append(
                Problem(path, f"participant_id {name!r} is not sub- and letters or digits; rename it", name)
            )
    return table, problems


def _subject_problems(folders: list[Path], participants: pd.DataFrame, root: Path) -> list[Problem]:
    problems = []
    for folder in folders:
        if not is_entity(folder.name, "sub"):
            problems.append(
                Problem(
                    folder,
                    "folder name is not sub- and letters or digits (no spaces, no dots); rename it",
                    folder.name,
                )
            )
        twins = [other.name for other in folders if other is not folder and other.name.lower() == folder.name.lower()]
        if twins:
            problems.append(
                Problem(folder, f"duplicate subject, there is also {', '.join(twins)}; keep one", folder.name)
            )
    names = {folder.name for folder in folders}
    for name in participants["participant_id"]:
        if name not in names and is_entity(name, "sub"):
            problems.append(Problem(root / "participants.tsv", f"{name} has no folder here"))
    return problems


def _session_folders(subject: Path) -> list[tuple[str, Path]]:
    sessions = sorted(path for path in subject.iterdir() if path.is_dir() and path.name.startswith("ses-"))
    return [(path.name, path) for path in sessions] or [("", subject)]


def _read_session(root: Path, subject: str, session: str, place: Path) -> tuple[SessionFiles, list[Problem]]:
    problems: list[Problem] = []

    def complain(path: Path, message: str) -> None:
        problems.append(Problem(path, message, subject, session))

    if session and not is_entity(session, "ses"):
        complain(place, "folder name is not ses- and letters or digits; rename it")
    claims: dict[Modality, list[Path]] = {}
    for path in _images(place):
        role = role_of(path)
        if role is None:
            problems.append(Problem(path, f"not analyzed: the name does not end with _{', _'.join(Modality)}"))
        elif not path.name.startswith(f"{subject}_{session}_" if session else f"{subject}_"):
            complain(
                path,
                f"the name does not begin with {subject}{'_' * bool(session)}{session}, the folders it is in",
            )
        else:
            claims.setdefault(role, []).append(path)
    echoes = tuple(sorted(claims.pop(Modality.MEGRE, []), key=echo_number))
    for role, paths in claims.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            complain(
                paths[0].parent,
                f"{len(paths)} images claim the role {role}: {names}; keep one, move the others away",
            )
    images = {role: paths[0] for role, paths in sorted(claims.items())}
    masks = _foreign_masks(root, subject, session, set(images), complain)
    return SessionFiles(subject, session, images, echoes, *masks), problems


def _images(place: Path) -> list[Path]:
    return sorted(
        path for path in place.rglob("*") if path.is_file() and is_image(path) and "ses-" not in _inner(path, place)
    )


def _inner(path: Path, place: Path) -> str:
    """Session part of a path below a subject folder that has none of its own."""
    return "/".join(part for part in path.relative_to(place).parts[:-1] if part.startswith("ses-"))


def _foreign_masks(
    root: Path, subject: str, session: str, roles: set[Modality], complain: object
) -> tuple[dict[Modality, MaskFile], dict[Modality, MaskFile]]:
    assert callable(complain)
    lungs: dict[Modality, list[MaskFile]] = {}
    reference: dict[Modality, list[MaskFile]] = {}
    for path in _derivative_files(root, subject, session):
        name = stem(path)
        target = mask_target(name, roles)
        if target is None:
            complain(
                path,
                f"cannot tell which image the mask belongs to; name it like {subject}_..._T1w_desc-lung_mask",
            )
            continue
        try:
            kind, mask = _mask_file(path)
        except LayoutError as error:
            complain(path, str(error).removeprefix(f"{path}: "))
            continue
        if kind:
            (lungs if kind == "lung" else reference).setdefault(target, []).append(mask)
    for found in (lungs, reference):
        for role, masks in found.items():
            if len(masks) > 1:
                names = ", ".join(str(mask.path.relative_to(root)) for mask in masks)
                complain(masks[0].path, f"{len(masks)} masks claim the {role} image: {names}; keep one")
    return {role: masks[0] for role, masks in lungs.items()}, {role: masks[0] for role, masks in reference.items()}


def _derivative_files(root: Path, subject: str, session: str) -> Iterator[Path]:
    """Mask files of this session in derivatives/<any>/, our own results left out."""
    for tool in sorted((root / "derivatives").glob("*")):
        place = tool / subject / session if session else tool / subject
        if not place.is_dir() or is_own_result(tool):
            continue
        for path in _images(place):
            if stem(path).endswith(("_mask", "_dseg")):
                yield path


def is_own_result(folder: Path) -> bool:
    """Whether a folder holds results of this toolkit, by its dataset_description.json."""
    try:
        described = json.loads((folder / "dataset_description.json").read_text("utf-8"))
        return any(tool.get("Name") == RESULTS_TOOL for tool in described.get("GeneratedBy", []))
    except (OSError, ValueError, AttributeError):
        return False


def _mask_file(path: Path) -> tuple[str, MaskFile]:
    """What the mask shows, ``lung``, ``reference`` or empty for anything else, and how to read it."""
    name = stem(path)
    if name.endswith("_dseg"):
        return "lung", MaskFile(path, _lung_labels(path))
    described = re.search(r"_desc-([A-Za-z0-9]+)", name)
    what = described[1].lower() if described else "lung"
    if "lung" in what:
        return "lung", MaskFile(path)
    return ("reference" if what in ("muscle", "reference") else ""), MaskFile(path)


def _lung_labels(path: Path) -> tuple[int, ...]:
    table_path = path.with_name(f"{stem(path)}.tsv")
    if not table_path.exists():
        raise LayoutError(f"{path}: a label image needs its label names in {table_path.name} (columns index, name)")
    labels = read_table(table_path)
    if not {"index", "name"} <= set(labels.columns):
        raise LayoutError(f"{table_path}: needs columns index and name, has {', '.join(labels.columns)}")
    names = labels["name"]
    chosen = labels.loc[names.str.contains("lung", case=False) & ~names.str.contains(_NOT_LUNG), "index"]
    if chosen.empty:
        raise LayoutError(f"{table_path}: no label name holds 'lung'; has {', '.join(names)}")
    return tuple(int(value) for value in chosen)
