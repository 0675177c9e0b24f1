"""Masks drawn elsewhere: SEG and RTSTRUCT that came with the images, and folders of TotalSegmentator or lungmask."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from ipha_toolkit.errors import IphaError, LayoutError
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.io.dicom import Part, Stack
from ipha_toolkit.io.images import label_values, load, load_mask, save
from ipha_toolkit.io.import_record import record_entry
from ipha_toolkit.io.layout import SessionFiles, lung_labels, read_cohort
from ipha_toolkit.io.names import is_image, stem
from ipha_toolkit.io.nifti import label_names
from ipha_toolkit.io.outputs import write_json
from ipha_toolkit.io.segmentations import drawn_masks, is_lung, mask_name, on_voxels, referenced_series
from ipha_toolkit.io.series_table import Row, rows_to_convert
from ipha_toolkit.run.import_ import Imported
from ipha_toolkit.run.plan import ImportPlan
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask

PACS = "pacs"
_TOTAL_LOBES, _TOTAL_MR_LUNGS = (10, 11, 12, 13, 14), (10, 11)
"""Labels of lung in TotalSegmentator's tasks ``total`` (CT) and ``total_mr``, where 12 to 14 are esophagus and bowel:
``map_to_binary.py`` of version 2.18.0. Its own files name their labels in the header, which is asked first."""
_MOST_LUNG_LABELS = 5
"""lungmask's models give lungs 1 and 2, or lobes 1 to 5, and no other label; ``mask.py`` of version 0.2.22."""


def import_drawn(
    plan: ImportPlan, rows: Sequence[Row], root: Path, record: dict[str, dict[str, str]], done: Imported
) -> None:
    """Write masks of SEG and RTSTRUCT series into ``derivatives/pacs/``, named after the image they were drawn on."""
    for row in rows:
        part = plan.parts.get(row.series)
        if part is None:
            done.kept += bool(record.get(row.series, {}).get("files"))
            continue
        mark = sha256(part.key.encode()).hexdigest()[:16]
        known = record.get(row.series, {"fingerprint": "", "files": ""})
        if known["fingerprint"] == mark and all((root / file).exists() for file in known["files"].split()):
            done.kept += 1
            continue
        try:
            files = _write_drawn(part, plan, root, record)
        except (IphaError, ValueError) as error:
            done.left_out[row.series] = str(error)
            record[row.series] = record_entry(row.series, left_out=str(error))
            continue
        record[row.series] = record_entry(row.series, files, mark, "drawn on the image's voxels")
        done.made += files


def _write_drawn(part: Part, plan: ImportPlan, root: Path, record: Mapping[str, Mapping[str, str]]) -> list[str]:
    written: dict[Path, Mask] = {}
    for source in part.series.drawn:
        data = source.dataset()
        row, stack = _image_of(referenced_series(data), plan, record)
        image = row.path()
        folder = root / "derivatives" / PACS / image.parent.parent
        for name, mask in drawn_masks(data, stack.shape, stack.affine):
            path = folder / f"{stem(image)}_desc-{mask_name(name)}_mask.nii.gz"
            joined = mask.array | written[path].array if path in written else mask.array
            written[path] = Mask(joined, mask.affine)
    for path, mask in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(mask, path)
    _describe(root / "derivatives" / PACS, "PACS")
    return [path.relative_to(root).as_posix() for path in written]


def _image_of(uid: str, plan: ImportPlan, record: Mapping[str, Mapping[str, str]]) -> tuple[Row, Stack]:
    """The converted image that a mask was drawn on."""
    for row in rows_to_convert(plan.table):
        part = plan.parts.get(row.series)
        if part is not None and part.echoes and str(part.series.header.get("SeriesInstanceUID", "")) == uid:
            if not record.get(row.series, {}).get("files"):
                raise LayoutError(f"was drawn on {row.series}, which is not converted")
            return row, part.echoes[0]
    raise LayoutError("was drawn on a series that is not converted; give that series a role, or set this one to none")


def import_masks(
    folder: str | os.PathLike[str], cohort: str | os.PathLike[str], *, tool: str = "", image: str | None = None
) -> list[Path]:
    """Take lung masks made by TotalSegmentator, lungmask or the like into a cohort's ``derivatives/``.

    Parameters
    ----------
    folder : path
        Holds a mask file or a folder of masks an image, with subject and session in its name:
        ``sub-001_ses-01_ct/lung_upper_lobe_left.nii.gz`` (TotalSegmentator), ``sub-001_ses-01_ct.nii.gz`` (lungmask:
        labels 1 to 5 are lung; TotalSegmentator ``--ml``: the labels its header names lung, else 10 to 14 of a CT, 10
        and 11 of MRI). A table of columns ``index, name`` beside a label image overrules that.
    cohort : path
        Cohort folder.
    tool : str
        Name of the folder below ``derivatives/``; empty takes that of ``folder``.
    image : str, optional
        File of the cohort that all masks in ``folder`` belong to, where their names do not say so.

    Returns
    -------
    list of Path
        Files written, as the analysis takes them.

    Raises
    ------
    LayoutError
        Where the cohort has no image a mask could belong to, or no mask of lung is found.
    ReadError, GridError
        Where a mask is empty, or does not lie on the voxels of its image; the message names it.
    """
    place, root = Path(folder), Path(cohort)
    if not place.is_dir():
        raise LayoutError(f"{place}: no such folder; give the folder that holds the masks")
    name = "".join(letter for letter in tool or place.resolve().name if letter.isalnum()) or "masks"
    masks = sorted(path for path in place.rglob("*") if path.is_file() and is_image(path))
    made: dict[Path, Mask] = {}
    for target, modality, lot in _lots(masks, place, read_cohort(root).sessions, image):
        volume = load(target, modality=modality)
        inside = np.zeros(volume.shape, bool)
        for path in lot:
            mask = load_mask(path, labels=_lung_values(path, modality))
            inside |= on_voxels(mask.array, mask.affine, volume.shape, volume.affine, str(path))
        out = root / "derivatives" / name / target.relative_to(root).parent.parent
        grid, mask = stored_grid(target), Mask(inside, volume.affine)
        made[out / f"{stem(target)}_desc-lung_mask.nii.gz"] = mask if grid is None else on_axes(mask, grid)
    if not made:
        raise LayoutError(
            f"{place}: holds no lung mask that names an image of {root}; name masks like sub-001_ses-01_ct.nii.gz, "
            "or give --image"
        )
    for path, mask in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        save(mask, path)
    _describe(root / "derivatives" / name, name)
    return list(made)


def _lots(
    masks: Sequence[Path], place: Path, sessions: Sequence[SessionFiles], image: str | None
) -> Iterator[tuple[Path, Modality, list[Path]]]:
    """Images of the cohort with the masks that name them."""
    for session in sessions:
        images = session.images | ({Modality.MEGRE: session.echoes[0]} if session.echoes else {})
        for modality, path in images.items():
            if image is not None and path.name != Path(image).name:
                continue
            lot = [
                mask
                for mask in masks
                if image is not None or _names(mask.relative_to(place), session, modality, images)
            ]
            lot = [mask for mask in lot if len(_siblings(mask, lot)) == 1 or is_lung(stem(mask))]
            if lot:
                yield path, modality, lot


def _siblings(mask: Path, lot: Sequence[Path]) -> list[Path]:
    return [other for other in lot if other.parent == mask.parent]


def _names(mask: Path, session: SessionFiles, modality: Modality, images: Mapping[Modality, Path]) -> bool:
    """Whether a mask's path names this image: its subject and session, and its role where it names one."""
    words = [word for part in mask.parts for word in stem(Path(part)).split("_")]
    if session.subject not in words or (session.session and session.session not in words):
        return False
    roles = [role for role in images if role.lower() in [word.lower() for word in words]]
    return modality in roles if roles else modality is (Modality.CT if Modality.CT in images else next(iter(images)))


def _lung_values(path: Path, modality: Modality) -> tuple[int, ...] | None:
    """Labels of a label image that are lung, None for a plain mask."""
    if path.with_name(f"{stem(path)}.tsv").exists():
        return lung_labels(path)
    labels = [int(value) for value in label_values(path) if value]
    if labels and set(labels) <= set(label_names(path)):
        return lung_labels(path)
    if len(labels) <= 1:
        return None
    if max(labels) <= _MOST_LUNG_LABELS:
        return tuple(labels)
    return _TOTAL_LOBES if modality is Modality.CT else _TOTAL_MR_LUNGS


def _describe(folder: Path, name: str) -> None:
    path = folder / "dataset_description.json"
    if not path.exists():
        by = [{"Name": f"{name}, taken in by ipha_toolkit import"}]
        write_json(
            path, {"Name": f"Masks of {name}", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": by}
        )
