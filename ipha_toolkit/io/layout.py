"""The cohort folder: who is in it, which images and masks each session has, and every problem found.

The layout is described in ``data/README.md``, which the package ships and ``ipha docs layout`` prints. Nothing is read
here but names and tables; images are opened by
:func:`ipha_toolkit.io.images.load`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import ipha_toolkit
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.claims import settle
from ipha_toolkit.io.files import why_not_a_file
from ipha_toolkit.io.masks import MaskFile, is_own_result, lung_labels, mask_files, placed
from ipha_toolkit.io.names import (
    MANUAL,
    echo_number,
    entities_of,
    files_beside,
    is_entity,
    is_image,
    label_of,
    looks_like_an_image,
    parts_of_signal,
    role_of,
    series_of,
    session_key,
    stem,
    unknown_parts,
    without_companions,
)
from ipha_toolkit.io.people import CONTROL_GROUPS, participants, read_participants, read_visits, visit_problems
from ipha_toolkit.io.tables import read_table
from ipha_toolkit.io.walk import Problem, bad_name, is_hidden, unread, walk
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality

if TYPE_CHECKING:
    from ipha_toolkit.volume import Volume

__all__ = [
    "Cohort", "MaskFile", "Problem", "SessionFiles", "is_own_result", "lung_labels", "open_cohort", "read_cohort",
    "read_participants", "read_table", "read_visits",
]  # fmt: skip


_KEEP_ONE = "none is measured, as no rule of layout.choice tells them apart; keep one, move the others away"
_UNKNOWN_PART = "{!r} in its name is not read, because it is no entity known here; the image is taken for the {}"


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

    def source(self, modality: str) -> Path:
        """The file whose grid rows, masks and maps of a modality lie on: of echoes the first, of a pair T1w."""
        if modality == Modality.MEGRE:
            return self.echoes[0]
        return self.images[Modality(str(modality).partition("+")[0])]

    def image(self, modality: str) -> Volume:
        """Read an image of the session; of several echoes the first, ``echo-2_MEGRE`` the second.

        It is named after subject, session and role: what else stands in its file's name, as ``acq-``, may be a
        person's, and would be shown by every viewer and page.

        Raises
        ------
        KeyError
            Where the session has no such image; the message lists those there are.
        """
        from ipha_toolkit.io.images import load, load_echoes

        number, _, role = str(modality).rpartition("_")
        wanted = number.removeprefix("echo-") or "1"
        if role == Modality.MEGRE and wanted in map(str, range(1, len(self.echoes) + 1)):
            return load_echoes(self.echoes)[0][int(wanted) - 1].replace(name=f"{self.label}_{modality}")
        if role not in self.images:
            raise KeyError(f"{self.label} has no {modality} image; there are {', '.join(self.modalities) or 'none'}")
        return load(self.images[Modality(role)], modality=role).replace(name=f"{self.label}_{role}")

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
        return [problem for problem in self._of(session) if problem.stops]

    def failed(self, session: SessionFiles) -> list[Problem]:
        """Problems that the rest of this session outlives."""
        return [problem for problem in self._of(session) if not problem.stops]

    def _of(self, session: SessionFiles) -> list[Problem]:
        own = self._problems.get(session.subject, ())
        return [problem for problem in own if problem.session in ("", session.session)]

    @cached_property
    def _problems(self) -> dict[str, list[Problem]]:
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            found.setdefault(problem.subject, []).append(problem)
        return found

    @property
    def remarks(self) -> list[Problem]:
        """Problems that stop no one, but cost something: files not read, rows unmatched, controls lost."""
        return [problem for problem in self.problems if not problem.subject]

    def is_control(self, subject: str) -> bool:
        """Whether participants.tsv puts the subject in group ``control``."""
        return self.covariate(subject, "group").strip().lower() in CONTROL_GROUPS

    def covariate(self, subject: str, column: str) -> str:
        """A participants.tsv cell as text, empty where there is none."""
        return self._cells.get(column, {}).get(subject, "")

    @cached_property
    def _cells(self) -> dict[str, dict[str, str]]:
        """Cells of participants.tsv by column and subject, the first row of a subject where there are several."""
        first = self.participants.drop_duplicates("participant_id") if len(self.participants) else self.participants
        subjects = list(first["participant_id"]) if len(first) else []
        return {str(name): dict(zip(subjects, map(str, first[name]), strict=False)) for name in first.columns}


def read_cohort(root: str | os.PathLike[str], *, protocol: Protocol = DEFAULT) -> Cohort:
    """Discover a cohort folder.

    Parameters
    ----------
    root : path
        Folder with ``sub-*`` folders; ``participants.tsv`` is optional.
    protocol : Protocol
        ``layout.choice`` says which of several images takes a role.

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
    folders, left = _subject_folders(root)
    table, problems = participants(root, [folder.name for folder in folders])
    problems += _subject_problems(folders)
    places = {folder: _session_folders(folder) for folder in folders}
    sessions = {folder.name: [session for session, _ in found] for folder, found in places.items()}
    masks, masks_left = mask_files(root, sessions)
    left += masks_left
    read: list[SessionFiles] = []
    for folder, found in places.items():
        left += _beside_sessions(folder, found)
        for session, place in found:
            files, complaints, passed = _read_session(
                folder.name, session, place, masks.get((folder.name, session), []), protocol
            )
            left += passed
            problems += complaints
            if files.modalities or complaints:
                read.append(files)
            else:
                problems.append(Problem(place, f"holds no image named like {folder.name}_..._T1w.nii.gz"))
    problems += visit_problems({folder: sessions[folder.name] for folder in folders})
    return Cohort(root, tuple(read), table, (*problems, *unread(left)))


open_cohort = read_cohort


def read_session(
    root: str | os.PathLike[str], subject: str, session: str, *, protocol: Protocol = DEFAULT
) -> SessionFiles:
    """The images of one session, without looking at the rest of the cohort folder, and without masks from elsewhere.

    Parameters
    ----------
    root : path
    subject, session : str
        ``sub-001``, and ``ses-01`` or nothing.
    protocol : Protocol
        ``layout.choice``.

    Raises
    ------
    KeyError
        Where the folder has no such session.
    """
    place = Path(root) / subject / session
    if not place.is_dir():
        raise KeyError(f"{root} has no session {label_of(subject, session)}")
    return _read_session(subject, session, place, [], protocol)[0]


def _subject_folders(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The ``sub-*`` folders of a cohort, and what beside them looks as if it should be read."""
    if not root.is_dir():
        raise LayoutError(f"{root}: no such folder; give the cohort folder, which holds sub-* folders")
    folders, left = [], []
    for path in sorted(root.iterdir()):
        if is_hidden(path):
            continue
        named = path.name.lower().startswith("sub-")
        if named and (reason := bad_name(path)):
            left.append((path, reason))
        elif named and path.is_dir() and path.name.startswith("sub-"):
            folders.append(path)
        elif named and path.is_dir():
            left.append((path, "the folder of a subject begins with sub- in small letters; rename it"))
        elif named or (looks_like_an_image(path) and not path.is_dir()):
            left.append((path, "images lie in the folder of their subject, sub-<label>/"))
    if not folders:
        hint = f"; {left[0][0].name}: {left[0][1]}" if left else ""
        raise LayoutError(f"{root}: holds no sub-* folder; `ipha docs layout` prints how a cohort is laid out{hint}")
    return folders, left


def _subject_problems(folders: list[Path]) -> list[Problem]:
    problems = []
    alike: dict[str, list[Path]] = {}
    for folder in folders:
        alike.setdefault(folder.name.lower(), []).append(folder)
    for folder in folders:
        if not is_entity(folder.name, "sub"):
            text = "folder name is not sub- and letters or digits (no spaces, no dots); rename it"
            problems.append(Problem(folder, text, folder.name))
        twins = [other.name for other in alike[folder.name.lower()] if other is not folder]
        if twins:
            problems.append(
                Problem(folder, f"duplicate subject, there is also {', '.join(twins)}; keep one", folder.name)
            )
    return problems


def _session_folders(subject: Path) -> list[tuple[str, Path]]:
    try:
        sessions = sorted(path for path in subject.iterdir() if path.is_dir() and path.name.startswith("ses-"))
    except OSError:
        return [("", subject)]  # the walk says why it cannot be opened
    return [(path.name, path) for path in sessions if not bad_name(path)] or [("", subject)]


def _beside_sessions(subject: Path, sessions: list[tuple[str, Path]]) -> list[tuple[Path, str]]:
    """What lies in a subject's folder beside its sessions, where it has sessions."""
    if sessions[0][0] == "":
        return []
    places = {place for _, place in sessions}
    found = walk(subject, skip=lambda path: path in places)
    reason = "it lies beside the ses- folders; move it into one"
    return found.unread + [(path, reason) for path in found.files if looks_like_an_image(path)]


@dataclass
class _Reading:
    """What is gathered while a session is read: what stops it, remarks, and what is not read."""

    subject: str
    session: str
    problems: list[Problem] = field(default_factory=list)
    left: list[tuple[Path, str]] = field(default_factory=list)

    def complain(self, path: Path, message: str) -> None:
        """Say what stops the session."""
        self.problems.append(Problem(path, message, self.subject, self.session))

    def fail(self, path: Path, message: str) -> None:
        """Say what cannot be used, and does not stop the rest of the session."""
        self.problems.append(Problem(path, message, self.subject, self.session, stops=False))

    def remark(self, path: Path, message: str) -> None:
        """Say what stops no one."""
        self.problems.append(Problem(path, message))


def _read_session(
    subject: str, session: str, place: Path, masks: list[Path], protocol: Protocol
) -> tuple[SessionFiles, list[Problem], list[tuple[Path, str]]]:
    """Files of a session, what is to be said of it, and what is not read."""
    reading = _Reading(subject, session)
    if session and not is_entity(session, "ses"):
        reading.complain(place, "folder name is not ses- and letters or digits; rename it")
    claims = _claims(place, reading)
    taken, others = _settled(claims, place, protocol, reading)
    echoes = tuple(sorted(taken.pop(Modality.MEGRE, []), key=echo_number))
    chosen = {role: paths[0] for role, paths in sorted(taken.items()) if paths}
    named = {role: stem(path) for role, path in chosen.items()}
    named |= {Modality.MEGRE: stem(echoes[0])} if echoes else {}
    lungs, muscle, strange = placed(masks, named, others, SessionFiles(subject, session).label, reading.fail)
    reading.left += strange
    files = SessionFiles(
        subject, session, chosen, echoes, _one_mask_each(lungs, reading), _one_mask_each(muscle, reading)
    )
    if not files.modalities:  # nothing is left that could outlive them
        reading.problems = [replace(problem, stops=True) for problem in reading.problems]
    return files, reading.problems, reading.left


def _claims(place: Path, reading: _Reading) -> dict[Modality, list[Path]]:
    """Images of a session by the role their names claim."""
    found = walk(place)
    for path, reason in found.unread:
        if path == place:
            reading.complain(path, f"{reason}; give it read rights, or move it away")
        else:
            reading.left.append((path, reason))
    claims: dict[Modality, list[Path]] = {}
    for path in without_companions(found.files):
        role = role_of(path)
        if not is_image(path):
            reading.left.append((path, "its ending is none that is read as an image"))
        elif role is None:
            reading.left.append((path, f"its name does not end with _{', _'.join(Modality)}"))
        elif reason := _strange_place(path, place, reading.subject, reading.session):
            reading.complain(path, reason)
        else:
            claims.setdefault(role, []).append(path)
            for part in unknown_parts(path):
                reading.remark(path, _UNKNOWN_PART.format(part, role))
            for beside in files_beside(path):
                if os.path.lexists(beside) and (reason := why_not_a_file(beside)):
                    reading.complain(beside, reason)
    return claims


def _settled(
    claims: dict[Modality, list[Path]], place: Path, protocol: Protocol, reading: _Reading
) -> tuple[dict[Modality, list[Path]], dict[Modality, list[str]]]:
    """Magnitude images that take the roles, and names of those that stand back."""
    taken: dict[Modality, list[Path]] = {}
    others: dict[Modality, list[str]] = {}
    for role, paths in claims.items():
        chosen = _taken(role, paths, place, protocol, reading)
        others[role] = [stem(path) for path in paths if path not in chosen]
        phases = [(path, part) for path in chosen if (part := parts_of_signal(path))]
        reading.left += [(path, f"part-{part} holds {part}, and magnitude is measured") for path, part in phases]
        taken[role] = [path for path in chosen if not parts_of_signal(path)]
    return taken, others


def _strange_place(path: Path, place: Path, subject: str, session: str) -> str:
    """What is wrong with the beginning of an image's name, or with the folder it lies in."""
    if not path.name.startswith(f"{subject}_{session}_" if session else f"{subject}_"):
        return f"the name does not begin with {subject}{'_' * bool(session)}{session}, the folders it is in"
    named = entities_of(path).get("ses")
    if named and f"ses-{named}" != session:
        return f"the name says ses-{named}, but it lies in no folder ses-{named} of {subject}; move it there"
    inner = [part for part in path.relative_to(place).parts[:-1] if part.lower().startswith("ses-")]
    if inner:
        return (
            f"it lies in the folder {inner[-1]}, no session of {subject}; those are its own folders named ses-<label>"
        )
    return ""


def _why_no_series(echoes: list[Path]) -> str:
    """What keeps echoes from being one decay: several series or runs, or one echo twice. Empty where nothing does."""
    series = sorted({series_of(path) for path in echoes})
    if len(series) > 1:
        return f"{len(series)} series of echoes claim the role MEGRE: {', '.join(series)}; {_KEEP_ONE}"
    numbers = [echo_number(path)[0] for path in echoes]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if not twice:
        return ""
    names = ", ".join(path.name for path in echoes if echo_number(path)[0] == twice[0])
    return f"several files claim echo {twice[0]}: {names}; keep one"


def _taken(role: Modality, paths: list[Path], place: Path, protocol: Protocol, reading: _Reading) -> list[Path]:
    """Images that take a role, by the protocol's rule, which is said; none where several are left."""
    taken, reason = settle(paths, role, protocol.layout.choice)
    if role is Modality.MEGRE:
        refused = _why_no_series(taken)
    elif len(taken) > 1:
        names = ", ".join(path.relative_to(place).as_posix() for path in taken)
        refused = f"{len(taken)} images claim the role {role}: {names}; {_KEEP_ONE}"
    else:
        refused = ""
    if refused:
        reading.fail(paths[0].parent, refused)
        return []
    if reason:
        reading.remark(taken[0], reason)
    return taken


def _one_mask_each(found: dict[Modality, list[MaskFile]], reading: _Reading) -> dict[Modality, MaskFile]:
    """One mask an image, the painted one where there is one; several are refused when that image is measured."""
    chosen = {}
    for role, given in found.items():
        painted = [mask for mask in given if MANUAL in mask.path.parts[:-1]]
        masks = painted if len(painted) == 1 else given
        if len(masks) < len(given):
            others = ", ".join(mask.path.name for mask in given if mask is not painted[0])
            reading.remark(painted[0].path, f"painted by hand, it is taken in place of {others} of another tool")
        names = ", ".join(mask.path.name for mask in masks)
        why = f"{len(masks)} masks claim the {role} image: {names}; keep one" if len(masks) > 1 else masks[0].why
        chosen[role] = replace(masks[0], why=why)
    return chosen
