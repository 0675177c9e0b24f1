"""File names: how a cohort folder's images are named, and how results are, spelled once."""

from __future__ import annotations

import re
from pathlib import Path

from ipha_toolkit.io import itk, nifti, pixels
from ipha_toolkit.terms import Modality


def stem(path: Path) -> str:
    """File name without its image ending: ``a_T1w`` of ``a_T1w.nii.gz``."""
    return path.name[: len(path.name) - len(image_ending(path))]


def is_image(path: Path) -> bool:
    """Whether the file name's ending is one that `load` reads."""
    return image_ending(path) in (*nifti.SUFFIXES, *itk.SUFFIXES, *pixels.SUFFIXES)


def image_ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def sidecar_of(path: Path) -> Path:
    return path.with_name(f"{stem(path)}.json")


_LABEL = re.compile(r"[A-Za-z0-9]+")


def role_of(path: Path) -> Modality | None:
    suffix = stem(path).rpartition("_")[2].lower()
    return next((modality for modality in Modality if modality.lower() == suffix), None)


def echo_number(path: Path) -> tuple[int, str]:
    found = re.search(r"_echo-(\d+)_", path.name)
    return (int(found[1]) if found else 0, path.name)


def is_entity(name: str, key: str) -> bool:
    head, _, label = name.partition("-")
    return head == key and _LABEL.fullmatch(label) is not None


def mask_target(name: str, roles: set[Modality]) -> Modality | None:
    parts = re.split(r"[_-]", name.lower())
    named = [role for role in Modality if role.lower() in parts]
    if len(named) == 1:
        return named[0]
    return next(iter(roles)) if not named and len(roles) == 1 else None


def file_beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name.removesuffix(".gz").rpartition(".")[0] + ending)


RESULTS_TOOL = "ipha_toolkit"
"""``GeneratedBy`` name in ``dataset_description.json`` of our own results, which are never read as masks."""

PAIR = "T1w+T2w"
"""What rows, maps and tables of T1w and T2w together name as their modality; they lie on the grid of T1w."""

FOLDERS = {"ct": "ct", "dx": "xray"}
"""Folder of a session in which a modality lies; others lie in ``anat``."""

MEASURES, READINGS, FINDINGS, FAILURES = "measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv"
"""Tables of a results folder."""
DICTIONARY, REFERENCE, PROTOCOL, DATASET = (
    "measures.json",
    "reference.json",
    "protocol.toml",
    "dataset_description.json",
)
PROVENANCE, LOG = "provenance.json", "log.txt"
"""Of each session, and of the second pass in the results folder itself."""


def label_of(subject: str, session: str) -> str:
    """``sub-001_ses-01``, or ``sub-001`` where the subject has no session folders."""
    return f"{subject}_{session}" if session else subject


def session_key(*key: str) -> tuple[str, str]:
    """Subject and session of ``"001", "01"``, ``"sub-001", "ses-01"``, ``"sub-001_ses-01"`` or ``"001"``.

    Examples
    --------
    >>> session_key("001", "01"), session_key("sub-001_ses-01"), session_key("001")
    (('sub-001', 'ses-01'), ('sub-001', 'ses-01'), ('sub-001', ''))
    """
    parts = key[0].split("_") if len(key) == 1 else list(key)
    subject, session = (parts[0].removeprefix("sub-"), parts[1].removeprefix("ses-") if len(parts) > 1 else "")
    return f"sub-{subject}", f"ses-{session}" if session else ""


def mask_file(label: str, modality: str, kind: str) -> str:
    """Name of a mask that a session's analysis made: ``kind`` is ``lung`` or ``muscle``."""
    return f"{label}_{modality}_desc-{kind}_mask.nii.gz"


def map_file(label: str, modality: str, kind: str) -> str:
    """Name of a map that a session's analysis made: ``kind`` is ``ratio``, ``opacity``, ``r2star``, ``signature``."""
    return f"{label}_{Modality.T1W if modality == PAIR else modality}_desc-{kind}_map.nii.gz"


def histogram_file(label: str, modality: str) -> str:
    """Name of the histogram that the second pass reads."""
    return f"{label}_{'desc-signature' if modality == PAIR else modality}_histogram.tsv"


def nodule_file(label: str, modality: str) -> str:
    """Name of the table of nodules."""
    return f"{label}_{modality}_nodules.tsv"


def rows_file(label: str) -> str:
    """Name of the session's rows."""
    return f"{label}_{MEASURES}"


def image_file(label: str, role: str) -> str:
    """Where an image of a cohort lies within its session's folder, as this package writes it."""
    return f"{FOLDERS.get(role, 'anat')}/{label}_{role}.nii.gz"
