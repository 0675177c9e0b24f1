"""Who is who: the one table that ties labels of a cohort to the hospital's identifiers.

``import/key.tsv`` is written for its owner alone and read by nothing but the import itself. It never belongs into what
is shared.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.dicom import Part
from ipha_toolkit.io.files import real
from ipha_toolkit.io.layout import read_table

if TYPE_CHECKING:
    from pydicom import Dataset

KEY_COLUMNS = (
    "series", "subject", "session", "patient", "patient_name", "birth_date", "sex", "age", "study_date", "study_uid",
    "series_key", "description", "folder",
)  # fmt: skip
OLDEST_YEARS = 89
"""Ages above are written as 89+, as the HIPAA safe-harbor rule (45 CFR 164.514(b)) wants."""
_SYNCED = ("dropbox", "onedrive", "google drive", "googledrive", "icloud", "nextcloud", "owncloud", "seafile",
           "box sync", "mobile documents", "syncthing", "sciebo", "switchdrive", "polybox")  # fmt: skip
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "fuse.rclone", "davfs", "lustre",
            "gpfs", "beegfs", "ceph", "fuse.ceph", "fuse.glusterfs", "panfs", "pvfs2", "orangefs")  # fmt: skip


def read_key(path: Path) -> pd.DataFrame:
    """The key as it stands, empty where there is none.

    Raises
    ------
    LayoutError
        Where it cannot be read or lacks a column.
    """
    if not path.exists():
        return pd.DataFrame({name: [] for name in KEY_COLUMNS}, dtype=str)
    key = read_table(path)
    missing = [name for name in KEY_COLUMNS if name not in key.columns]
    if missing:
        raise LayoutError(f"{path}: lacks the column {missing[0]}; take it from a copy, or remove it and import anew")
    return key


def write_key(path: Path, key: pd.DataFrame) -> None:
    """Write the key, readable by its owner alone from its first byte; nothing where nothing changed."""
    text = key.to_csv(sep="\t", index=False, lineterminator="\n")
    if path.exists() and path.read_text("utf-8") == text:
        return
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def identity(part: Part) -> dict[str, str]:
    """Row of the key for an image: everything that must stay out of the cohort."""
    header = part.series.header
    sources = [frame.source for frame in part.frames[:1]] or part.series.drawn
    source = sources[0].folder if sources else ""
    return {
        "patient": _cell(part.series.patient),
        "patient_name": _cell(header.get("PatientName")),
        "birth_date": _cell(header.get("PatientBirthDate")),
        "sex": sex(header),
        "age": age(header),
        "study_date": scan_date(header),
        "study_uid": _cell(header.get("StudyInstanceUID")),
        "series_key": _cell(part.key),
        "description": _cell(
            f"{header.get('SeriesDescription') or ''} | {header.get('ProtocolName') or ''}".strip(" |")
        ),
        "folder": _cell(source),
    }


def scan_date(header: Dataset) -> str:
    """Date of the study, YYYYMMDD, or of series, acquisition or content where it is missing; empty where all are."""
    for name in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate"):
        text = str(header.get(name) or "").replace(".", "").replace("-", "")
        if _as_date(text) is not None:
            return text
    return ""


def age(header: Dataset) -> str:
    """Age in whole years at the scan, above 89 as ``89+``; empty where the header tells neither age nor birth date."""
    born, seen = _as_date(str(header.get("PatientBirthDate") or "")), _as_date(scan_date(header))
    if born is not None and seen is not None and seen >= born:
        years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    else:
        found = re.fullmatch(r"0*(\d+)([DWMY])", str(header.get("PatientAge") or ""))
        if found is None:
            return ""
        years = int(int(found[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[found[2]])
    return f"{OLDEST_YEARS}+" if years > OLDEST_YEARS else str(years)


def sex(header: Dataset) -> str:
    """``F``, ``M``, ``O`` or empty."""
    given = str(header.get("PatientSex") or "").upper()
    return given if given in ("F", "M", "O") else ""


def days_between(first: str, then: str) -> str:
    """Days from one YYYYMMDD to another, empty where one is missing."""
    start, end = _as_date(first), _as_date(then)
    return "" if start is None or end is None else str((end - start).days)


def next_label(kind: str, taken: Iterable[str], width: int) -> str:
    """The next free label, ``sub-001`` or ``ses-01``."""
    numbers = [int(found[1]) for name in taken if (found := re.fullmatch(rf"{kind}-0*(\d+)", name))]
    return f"{kind}-{max(numbers, default=0) + 1:0{width}}"


def exposed(folder: Path) -> str:
    """Why others could read the key in this folder, in words; empty where nothing speaks for it."""
    place = real(folder)
    for part in (place, *place.parents):
        if any(name in part.name.lower() for name in _SYNCED) or (part / ".stfolder").exists():
            return f"it lies in {part}, which is synchronised with other machines"
    if os.name == "posix" and place.exists() and place.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP):
        return f"others may write into {place}"
    kind = network_drive(place)
    return f"it lies on a network drive ({kind})" if kind else ""


def network_drive(place: Path) -> str:
    """Type of the network file system a folder lies on; empty where it lies on this machine."""
    kind = _mounted(place)
    return kind if kind in _NETWORK else ""


def require_one_patient(labels: Mapping[str, str], patients: Mapping[str, str]) -> None:
    """Refuse two patients under one label; both mappings are by series.

    Raises
    ------
    LayoutError
        Naming the label and a series of each patient.
    """
    owner: dict[str, str] = {}
    for series, label in labels.items():
        first = owner.setdefault(label.lower(), series)
        if patients[first] != patients[series]:
            raise LayoutError(
                f"{label}: two patients under one label, {first} and {series} are of different people by their "
                "headers; give them different subjects in series.tsv, or, where they are one person, the same patient "
                "in key.tsv"
            )


def taken_labels(root: Path, subjects: Sequence[str]) -> list[str]:
    """Subjects that have a folder in the cohort already, though no series of the key belongs to them."""
    own = {name.lower() for name in subjects}
    return sorted(path.name for path in root.glob("sub-*") if path.is_dir() and path.name.lower() not in own)


def _mounted(place: Path) -> str:
    """Type of the file system a folder lies on, where the system tells."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return ""
    under = [(len(point), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(under, default=(0, ""))[1]


def _as_date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])) if len(text) == 8 else None
    except ValueError:
        return None


def _cell(value: object) -> str:
    """Text of one line without tabs, as it stands in a table."""
    return re.sub(r"[\s\x00]+", " ", str(value or "")).strip()
