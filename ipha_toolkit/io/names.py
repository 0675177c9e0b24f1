"""File names: how a cohort folder's images are named, and how results are, spelled once."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io import itk, nifti, pixels
from ipha_toolkit.terms import Modality


def stem(path: Path) -> str:
    """File name without its image ending: ``a_T1w`` of ``a_T1w.nii.gz``."""
    return path.name[: len(path.name) - len(image_ending(path))]


def is_image(path: Path) -> bool:
    """Whether the file name's ending is one that `load` reads."""
    return image_ending(path) in (*nifti.SUFFIXES, *itk.SUFFIXES, *pixels.SUFFIXES)


def looks_like_an_image(path: Path) -> bool:
    """Whether a file is meant as an image, be it one that `load` reads or not."""
    return is_image(path) or path.name.lower().endswith(_OTHER_IMAGES)


def without_companions(files: Iterable[Path]) -> list[Path]:
    """Files that belong to no image beside them as a sidecar, a table, or the voxels of a header."""
    files = list(files)
    beside = {file for path in files if image_ending(path) in _HEADERS for file in files_beside(path)}
    return [path for path in files if path not in beside and path.suffix.lower() not in _COMPANIONS]


def image_ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def sidecar_of(path: Path) -> Path:
    """The JSON file of the image's own name."""
    return path.with_name(f"{stem(path)}.json")


def sidecars_of(path: Path) -> list[Path]:
    """JSON files that speak of an image, the most general first: BIDS' inheritance principle.

    They lie beside the image or in a folder above, up to the one that holds its ``sub-`` folder; they end as the image
    does (``_T1w``), and every entity of theirs is one of the image's. The image's own sidecar comes last.
    """
    suffix, entities = stem(path).rpartition("_")[2], set(entities_of(path).items())
    found: list[tuple[int, Path]] = []
    folders = _folders_above(path)
    for depth, folder in enumerate(folders):
        for name in _sidecar_names(folder) if suffix else ():
            plain = name.removesuffix(".json")
            if plain != suffix and not plain.endswith(f"_{suffix}"):
                continue
            other = folder / name
            named = set(entities_of(other).items())
            if (named or plain == suffix) and named <= entities and other != sidecar_of(path):
                found.append((100 * depth + len(named), other))
    ours = [sidecar_of(path)] if os.path.lexists(sidecar_of(path)) else []
    return [other for _, other in sorted(found, key=lambda each: each[0])] + ours


def _sidecar_names(folder: Path) -> tuple[str, ...]:
    """Names of the JSON files in a folder, in order; none where it cannot be read.

    The folder of a cohort is asked once for each of thousands of images, so that what it held is kept for as long as
    the system says that it did not change. Of a change a moment ago it may not say so yet: then it is read again.
    """
    try:
        changed = folder.stat().st_mtime_ns
        read = _names_in if time.time_ns() - changed > _SETTLED_NS else _names_in.__wrapped__
        return read(str(folder), changed)
    except OSError:
        return ()


@lru_cache(maxsize=4096)
def _names_in(folder: str, changed: int) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    return tuple(name for name in found if not name.startswith("."))


_SETTLED_NS = 3_000_000_000
"""Longer than any file system's clock ticks."""


def files_beside(path: Path, *, elsewhere: bool = False) -> list[Path]:
    """Every file that an image depends on beside its own: data files of a header, and sidecars.

    A header that cannot be read names none; a data file need not be there. ``elsewhere`` says whether headers may name
    data files outside their folder.
    """
    ending = image_ending(path)
    data: list[Path] = []
    if ending == ".hdr":
        data = [nifti.data_file(path)]
    elif ending in itk.SUFFIXES:
        try:
            data = itk.data_names(path, elsewhere=elsewhere)
        except (ReadError, OSError):
            data = []
    return [*data, *sidecars_of(path)]


def entities_of(path: Path) -> dict[str, str]:
    """``{"sub": "01", "ce": "gadolinium"}`` of ``sub-01_ce-gadolinium_T1w.nii.gz``."""
    parts = [part.partition("-") for part in stem(path).split("_")]
    return {key: label for key, dash, label in parts if dash and key and label}


def unknown_parts(path: Path) -> list[str]:
    """Parts of an image's name, before its suffix, that are no entity known here."""
    parts = stem(path).split("_")[:-1]
    return [part for part in parts if part.partition("-")[0] not in ENTITIES or not part.partition("-")[2]]


def series_of(path: Path) -> str:
    """Name of the series an echo belongs to: the file's name without its echo."""
    return re.sub(r"_echo-[0-9]+(?=_)", "", stem(path))


def parts_of_signal(path: Path) -> str:
    """What ``part-`` says a file holds beside magnitude: ``phase``, ``real``, ``imag``; empty for magnitude."""
    part = entities_of(path).get("part", "mag").lower()
    return "" if part in ("mag", "magnitude") else part


def _folders_above(path: Path) -> list[Path]:
    """Folders in which sidecars of an image may lie, from the cohort's folder down to its own."""
    above: list[Path] = []
    for folder in path.parents:
        above.append(folder)
        if folder.name.startswith("sub-"):
            return [folder.parent, *reversed(above)]
        if len(above) > 4:
            break
    return [path.parent]


_HEADERS = (".hdr", ".nhdr", ".mhd", ".nrrd", ".mha")
_COMPANIONS = (".json", ".tsv", ".bval", ".bvec")

_OTHER_IMAGES = (
    ".img", ".img.gz", ".nii.bz2", ".nii.zst", ".nii.xz", ".nii.zip", ".mgz", ".mgh", ".mnc", ".ima", ".dicom", ".dic",
    ".tif", ".tiff", ".bmp", ".gif", ".npy", ".npz", ".vti", ".vtk", ".par",
)  # fmt: skip
"""Endings of images that are not read here."""

ENTITIES = (
    "sub", "ses", "sample", "task", "acq", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo", "flip", "inv",
    "mt", "part", "recording", "chunk", "res", "den", "space", "label", "desc", "view",
)  # fmt: skip
"""Entities of BIDS file names; ``space``, ``res``, ``den``, ``label`` and ``desc`` are of derivatives."""

_LABEL = re.compile(r"[A-Za-z0-9]+")


def role_of(path: Path) -> Modality | None:
    """The role that the end of a file's name says, None where it says none."""
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


_A_FILE = re.compile(
    r"(?:derivatives/|sub-|/)[^:]*?\.(?:nii(?:\.gz)?|n?hdr|img|nrrd|mh[ad]|raw|png|jpe?g|dcm|json|tsv|txt)\b"
    r"|[^\s:,;'\"()]+\.(?:nii(?:\.gz)?|n?hdr|img|nrrd|mh[ad]|raw|png|jpe?g|dcm|json|tsv)\b"
)


def without_files(reason: str, file: str = "") -> str:
    """Why an image cannot be used, for a page: the reason less the names of files, which may hold a person's.

    The terminal, a session's log and ``failures.tsv`` name the file, as whoever mends it needs that.
    """
    text = reason.rpartition(f"{Path(file).name}: ")[2] if file else reason
    text = re.sub(rf"\A(?:{_A_FILE.pattern}): ", "", text)
    return _A_FILE.sub("some file", text)


RESULTS_TOOL = "ipha_toolkit"
"""``GeneratedBy`` name in ``dataset_description.json`` of our own results, which are never read as masks."""

MANUAL = "manual"
"""Folder of ``derivatives/`` for masks painted here, which win over masks of any other tool."""

PAIR = "T1w+T2w"
"""What rows, maps and tables of T1w and T2w together name as their modality; they lie on the grid of T1w."""

FOLDERS = {"ct": "ct", "dx": "xray"}
"""Folder of a session in which a modality lies; others lie in ``anat``."""

MEASURES, READINGS, FINDINGS, FAILURES = "measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv"
ACQUISITIONS = "acquisitions.tsv"
"""Tables of a results folder."""
DICTIONARY, REFERENCE, PROTOCOL, DATASET = (
    "measures.json",
    "reference.json",
    "protocol.toml",
    "dataset_description.json",
)
PROVENANCE, LOG = "provenance.json", "log.txt"
"""Of each session, and of the second pass in the results folder itself."""
POOLING, SITES, HARMONIZED = "pooling.json", "sites.tsv", "harmonized.tsv"
"""Of results pooled over several sites: what was pooled with what; groups compared over sites; values by ComBat."""
PLAN = "plan.tsv"
"""Every session of the cohort that results are made of."""


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


def acquisition_file(label: str) -> str:
    """Name of the table of how the session's images were made."""
    return f"{label}_{ACQUISITIONS}"


def rows_file(label: str) -> str:
    """Name of the session's rows."""
    return f"{label}_{MEASURES}"


def image_file(label: str, role: str) -> str:
    """Where an image of a cohort lies within its session's folder, as this package writes it."""
    return f"{FOLDERS.get(role, 'anat')}/{label}_{role}.nii.gz"
