"""Masks made elsewhere: which files of ``derivatives/`` are masks, of which image, and what they show."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipha_toolkit.errors import LayoutError, ReadError
from ipha_toolkit.io.claims import belongs
from ipha_toolkit.io.files import read_json
from ipha_toolkit.io.names import (
    RESULTS_TOOL,
    entities_of,
    is_image,
    looks_like_an_image,
    mask_target,
    stem,
    without_companions,
)
from ipha_toolkit.io.nifti import label_names
from ipha_toolkit.io.tables import read_table, whole_number
from ipha_toolkit.io.walk import is_hidden, walk
from ipha_toolkit.terms import Modality

_NOT_LUNG = re.compile(r"vessel|vein|arter|nodule|airway|trachea|bronch|tumou?r|cancer", re.IGNORECASE)
_MUSCLE = ("muscle", "reference")

Complain = Callable[[Path, str], None]


@dataclass(frozen=True)
class MaskFile:
    """A mask made elsewhere; ``labels`` are the values inside, None for a plain mask.

    ``why`` says why it cannot be used: its image fails then, and is not measured in another mask.
    """

    path: Path
    labels: tuple[int, ...] | None = None
    why: str = ""


def mask_files(
    root: Path, sessions: Mapping[str, Sequence[str]]
) -> tuple[dict[tuple[str, str], list[Path]], list[tuple[Path, str]]]:
    """Mask files in ``derivatives/<any>/sub-.../ses-.../``, our own results left out, and what is not read.

    Parameters
    ----------
    root : Path
        The cohort folder.
    sessions : mapping
        Sessions of every subject; ``""`` is that of a subject without session folders.

    Returns
    -------
    masks : dict
        Files by subject and session.
    unread : list of (Path, str)
        Images there that are not taken for masks, with the reason.
    """
    masks: dict[tuple[str, str], list[Path]] = {}
    left: list[tuple[Path, str]] = []
    for tool in _folders(root / "derivatives"):
        if tool.name.startswith("sub-"):
            left.append(
                (tool, "the folder of a tool is missing between derivatives/ and it: derivatives/<any>/sub-.../")
            )
            continue
        if is_own_result(tool):
            continue
        for place in _folders(tool):
            if place.name in sessions:
                _masks_of(place, sessions[place.name], masks, left)
            elif place.name.lower().startswith("sub-"):
                left.append((place, "there is no such subject"))
    return masks, left


def placed(
    paths: Sequence[Path],
    images: Mapping[Modality, str],
    others: Mapping[Modality, Sequence[str]],
    label: str,
    complain: Complain,
) -> tuple[dict[Modality, list[MaskFile]], dict[Modality, list[MaskFile]], list[tuple[Path, str]]]:
    """Masks of one session as lungs and muscle, by image, and those that belong to an image that is not analyzed.

    ``images`` are the names of the images that are analyzed, ``others`` of those that stood back.
    """
    left: list[tuple[Path, str]] = []
    lungs: dict[Modality, list[MaskFile]] = {}
    muscle: dict[Modality, list[MaskFile]] = {}
    roles = {*images, *(role for role, stood_back in others.items() if stood_back)}
    for path in paths:
        target = mask_target(stem(path), roles - {Modality.MEGRE} or roles)
        named = images.get(target, "") if target else ""
        fits = belongs(stem(path), named, others.get(target, ())) if target and named else True
        if fits is False:
            left.append((path, f"its labels are not those of the image that is analyzed, {named}"))
            continue
        if target is None or fits is None:
            complain(path, f"cannot tell which image the mask belongs to; name it like {label}_..._T1w_desc-lung_mask")
            continue
        try:
            mask = MaskFile(path, lung_labels(path) if stem(path).endswith("_dseg") else None)
        except LayoutError as error:
            mask = MaskFile(path, why=str(error).removeprefix(f"{path}: "))
        (lungs if shows(path) == "lung" else muscle).setdefault(target, []).append(mask)
    return lungs, muscle, left


def is_own_result(folder: Path) -> bool:
    """Whether a folder holds results of this toolkit, by its dataset_description.json."""
    try:
        made_by = read_json(folder / "dataset_description.json").get("GeneratedBy")
    except ReadError:
        return False
    tools = made_by if isinstance(made_by, list) else []
    return any(isinstance(tool, dict) and tool.get("Name") == RESULTS_TOOL for tool in tools)


def shows(path: Path) -> str:
    """What a mask shows, by its name: ``lung``, ``muscle``, or empty where it says neither."""
    if stem(path).endswith("_dseg"):
        return "lung"
    entities = entities_of(path)
    loose = [part for part in stem(path).split("_")[:-1] if "-" not in part]
    words = [entities[key].lower() for key in ("desc", "label", "seg") if key in entities] + [w.lower() for w in loose]
    if any("lung" in word and not _NOT_LUNG.search(word) for word in words):
        return "lung"
    return "muscle" if any(word in _MUSCLE for word in words) else ""


def _masks_of(
    place: Path, sessions: Sequence[str], masks: dict[tuple[str, str], list[Path]], left: list[tuple[Path, str]]
) -> None:
    found = walk(place)
    left += found.unread
    for path in without_companions(found.files):
        above = path.relative_to(place).parts[:-1]
        session = next((part for part in above if part in sessions), "" if "" in sessions else None)
        reason = _why_no_mask(path, place.name, session)
        if reason:
            left.append((path, reason))
        elif session is not None and is_image(path):
            masks.setdefault((place.name, session), []).append(path)


def _why_no_mask(path: Path, subject: str, session: str | None) -> str:
    """Why an image in ``derivatives/`` is not read; empty for a mask, and for what is no image."""
    if not looks_like_an_image(path):
        return ""
    if session is None:
        return f"it lies in no folder of a session of {subject}"
    entities = entities_of(path)
    for key, name in (("sub", subject), ("ses", session)):
        if name and key in entities and f"{key}-{entities[key]}" != name:
            return f"its name says {key}-{entities[key]}, its folder {name}"
    if not is_image(path):
        return "its ending is none that is read as an image"
    if not stem(path).endswith(("_mask", "_dseg")):
        return "its name ends neither with _mask nor with _dseg; see `ipha docs layout` for masks of other tools"
    if not shows(path):
        return "its name does not say that the mask shows lung or muscle; add desc-lung or desc-muscle before _mask"
    return ""


def _folders(place: Path) -> list[Path]:
    try:
        return sorted(path for path in place.iterdir() if path.is_dir() and not is_hidden(path))
    except OSError:
        return []


def lung_labels(path: Path) -> tuple[int, ...]:
    """Values that are lung in a label image, by the table of names beside it, or else by the names in its header.

    Raises
    ------
    LayoutError
        Where there are no names, the table cannot be read, or none names lung.
    """
    table_path = path.with_name(f"{stem(path)}.tsv")
    if not table_path.exists():
        return _lungs_of_header(path, table_path)
    table = read_table(table_path)
    if not {"index", "name"} <= set(table.columns):
        raise LayoutError(f"{table_path}: needs columns index and name, has {', '.join(table.columns)}")
    names = table["name"]
    chosen = names.str.contains("lung", case=False) & ~names.str.contains(_NOT_LUNG)
    if not chosen.any():
        raise LayoutError(f"{table_path}: no label name holds 'lung'; has {', '.join(names)}")
    labels = []
    for name, cell in zip(names[chosen], table.loc[chosen, "index"], strict=True):
        label = whole_number(cell)
        if label is None or label == 0:
            raise LayoutError(f"{table_path}: index of {name!r} is {cell!r}; needs a whole number above 0")
        labels.append(label)
    return tuple(labels)


def _lungs_of_header(path: Path, table: Path) -> tuple[int, ...]:
    names = label_names(path)
    if not names:
        raise LayoutError(f"{path}: a label image needs its label names in {table.name} (columns index, name)")
    labels = [label for label, name in names.items() if label and re.search("lung", name, re.IGNORECASE)]
    labels = [label for label in labels if not _NOT_LUNG.search(names[label])]
    if not labels:
        raise LayoutError(f"{path}: no label named in its header holds 'lung'; has {', '.join(names.values())[:200]}")
    return tuple(labels)
