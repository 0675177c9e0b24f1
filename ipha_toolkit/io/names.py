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


PAIR = "T1w+T2w"

HISTOGRAMS = {
    Modality.T1W: "T1w_histogram.tsv",
    Modality.T2W: "T2w_histogram.tsv",
    PAIR: "desc-signature_histogram.tsv",
}
"""Tables of a session that the second pass reads, by modality."""

FOLDERS = {"ct": "ct", "dx": "xray"}
"""Folder of a session in which a modality lies; others lie in ``anat``."""
