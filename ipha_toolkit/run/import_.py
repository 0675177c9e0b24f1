"""From the hospital's disk to the cohort folder: what the plan's table says is converted, checked and written.

A series is done exactly when ``import/converted.tsv`` holds its fingerprint and its files are there. What is written
anew is finished beside its place first, and moved there whole.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from ipha_toolkit.errors import IphaError, LayoutError
from ipha_toolkit.grid import Affine, Grid
from ipha_toolkit.io import nifti, pixels
from ipha_toolkit.io.dicom import Part, Stack
from ipha_toolkit.io.dicom_facts import facts, sidecar
from ipha_toolkit.io.dicom_files import Source
from ipha_toolkit.io.dicom_volume import compact, convert, read_stack, require_dcm2niix
from ipha_toolkit.io.drafts import clear_leftovers, draft_of
from ipha_toolkit.io.identifiers import exposed, require_one_patient, taken_labels
from ipha_toolkit.io.import_record import forget, made_of, read_record, record_entry, write_record
from ipha_toolkit.io.series_table import MASK, Row, rows_to_convert
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.run.plan import FOLDER, KEY, ImportPlan, Sources, plan_import
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Volume

RECORD = "converted.tsv"
GAPS_FLAG, TILT_FLAG = "slices_missing", "tilt_resampled"

_FORMAT = "1"
"""Goes into fingerprints: raised where conversion itself changes."""


@dataclass
class Imported:
    """What an import did. ``made``: files written now. ``kept``: series done before. ``left_out``: series and why.
    ``to_sign``: films and computed images that nobody has looked at for burnt-in text."""

    out: Path
    made: list[str] = field(default_factory=list)
    kept: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    to_sign: list[str] = field(default_factory=list)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Output:
    """One image to write: its path in the cohort, values, place, and sidecar."""

    path: Path
    array: npt.NDArray[Any]
    affine: Affine
    meta: dict[str, Any]
    by: str


def import_dicom(
    source: Sources,
    out: str | os.PathLike[str],
    *,
    plan: ImportPlan | None = None,
    allow_gaps: bool = False,
    mend_tilt: bool = False,
    protocol: Protocol = DEFAULT,
    progress: bool = True,
) -> Path:
    """Convert DICOM files into a de-identified cohort folder that :func:`ipha_toolkit.analyze` takes.

    Parameters
    ----------
    source : path or sequence of paths
        Folders, zip files or single files.
    out : path
        Cohort folder, new or of an earlier import.
    plan : ImportPlan, optional
        As :func:`ipha_toolkit.plan_import` gave it and the user edited it; None takes ``import/series.tsv`` of the
        cohort, and the proposal for series that do not stand there.
    allow_gaps : bool
        Convert series with slices missing between others, filled in from their neighbours; every row measured carries
        the flag ``slices_missing``. Without, they are left out.
    mend_tilt : bool
        Resample series of a tilted gantry to upright slices; every row carries the flag ``tilt_resampled``.
    protocol : Protocol
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The cohort folder.

    Raises
    ------
    ReadError
        Where no DICOM file is found, or a source cannot be read.
    LayoutError
        Where the table cannot be used: two patients under one subject, a subject that is in the cohort already, two
        series for one file.
    DependencyError
        Where dcm2niix is needed and not installed; the message gives the command.
    """
    plan = plan or plan_import(source, out, protocol=protocol, progress=progress)
    return run_import(plan, out, allow_gaps=allow_gaps, mend_tilt=mend_tilt, protocol=protocol, progress=progress).out


def run_import(
    plan: ImportPlan,
    out: str | os.PathLike[str],
    *,
    allow_gaps: bool = False,
    mend_tilt: bool = False,
    protocol: Protocol = DEFAULT,
    progress: bool = True,
) -> Imported:
    """As :func:`import_dicom`, for a plan; says what was made and what was left out."""
    from ipha_toolkit.run.import_masks import import_drawn
    from ipha_toolkit.run.import_tables import write_contact_sheet, write_privacy_list, write_tables

    root = Path(out)
    rows = rows_to_convert(plan.table, f"{FOLDER}/series.tsv")
    images = [row for row in rows if row.role != MASK]
    _require_usable(plan, rows, root)
    if any(row.series in plan.parts and not plan.parts[row.series].is_film for row in images):
        require_dcm2niix()
    plan = _renamed(plan, rows)
    plan.save(root)
    folder = root / FOLDER
    clear_leftovers(folder)
    done = Imported(root, problems=plan.problems)
    record = read_record(folder / RECORD)
    _remove_unwanted(root, record, {row.series for row in rows})
    options = {"gaps": allow_gaps, "tilt": mend_tilt}
    jobs = _jobs(images)
    with tqdm(jobs, desc="Converting", unit="series", disable=not (progress and jobs), file=sys.stderr) as bar:
        for job in bar:
            _convert(job, plan, root, record, done, options, protocol)
            write_record(folder / RECORD, record)
    import_drawn(plan, [row for row in rows if row.role == MASK], root, record, done)
    write_record(folder / RECORD, record)
    write_tables(root, plan.key, {row.series for row in images} & set(made_of(record)))
    done.to_sign = write_contact_sheet(root, plan, images, record)
    write_privacy_list(root)
    return done


def _require_usable(plan: ImportPlan, rows: Sequence[Row], root: Path) -> None:
    """Refuse labels that would put two people into one, in this table or in the cohort."""
    who = plan.key.set_index("series")
    missing = [row.series for row in rows if row.series not in who.index]
    if missing:
        raise LayoutError(f"{FOLDER}/series.tsv: {missing[0]} stands in no row of {KEY}; do not rename series")
    patients = {str(series): str(patient) for series, patient in who["patient"].items()}
    require_one_patient({row.series: row.subject for row in rows}, patients)
    ours = [*who["subject"], *_subjects_made(root)]
    clash = {name.lower() for name in taken_labels(root, ours)} & {row.subject.lower() for row in rows}
    if clash:
        label = min(clash)
        raise LayoutError(
            f"{root / label}: is in the cohort already and was not imported, so nobody can say whether it is the same "
            f"person; give another subject in {FOLDER}/series.tsv, or move the folder away"
        )


def _subjects_made(root: Path) -> list[str]:
    record = read_record(root / FOLDER / RECORD)
    return [file.split("/")[0] for entry in record.values() for file in entry["files"].split()]


def _renamed(plan: ImportPlan, rows: Sequence[Row]) -> ImportPlan:
    """The plan whose key names subjects and sessions as the table does."""
    from dataclasses import replace

    key = plan.key.copy()
    named = {row["series"]: row for row in plan.table.to_dict("records")}
    for column in ("subject", "session"):
        key[column] = [
            named[series][column] if series in named else old
            for series, old in zip(key["series"], key[column], strict=True)
        ]
    return replace(plan, key=key)


def _jobs(rows: Sequence[Row]) -> list[list[Row]]:
    """Series converted together: echoes of one session that came as series of their own."""
    jobs: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        together = (row.subject, row.session, row.role, row.labels) if row.role == Modality.MEGRE else (row.series,)
        jobs.setdefault(together, []).append(row)
    return list(jobs.values())


def _convert(
    job: list[Row], plan: ImportPlan, root: Path, record: dict[str, dict[str, str]], done: Imported,
    options: dict[str, bool], protocol: Protocol,
) -> None:  # fmt: skip
    """One job: kept where it was done, else converted, or left out with a reason."""
    series = job[0].series
    if any(row.series not in plan.parts for row in job):
        if record.get(series, {}).get("files"):
            done.kept += 1
        else:
            done.left_out[series] = "its files are not in the source given"
        return
    mark = _fingerprint(job, plan, options)
    known = record.get(series)
    if (
        known
        and known["fingerprint"] == mark
        and known["files"]
        and all((root / f).exists() for f in known["files"].split())
    ):
        done.kept += 1
        return
    forget(root, record, series)
    try:
        outputs, flags = _outputs(job, plan, options, protocol)
    except (IphaError, ValueError) as error:
        reason = _without_paths(str(error), [plan.parts[row.series] for row in job])
        done.left_out[series] = reason
        record[series] = record_entry(series, left_out=reason)
        return
    files = _write(root, outputs)
    by = "; ".join(dict.fromkeys(output.by for output in outputs))
    record[series] = record_entry(series, files, mark, by, flags)
    done.made += [file for file in files if file.endswith(".nii.gz")]


def _outputs(
    job: list[Row], plan: ImportPlan, options: dict[str, bool], protocol: Protocol
) -> tuple[list[_Output], tuple[str, ...]]:
    """Images of one job, read and checked; nothing is written yet.

    Raises
    ------
    IphaError
        Where a series is no volume, or its pixels cannot be read.
    """
    row, stacks = job[0], []
    for each in job:
        part = plan.parts[each.series]
        _require_volume(part, options)
        told = facts(part, protocol=protocol)
        stacks += [(part, stack, told) for stack in part.echoes]
    if row.role == Modality.MEGRE:
        stacks.sort(key=lambda entry: entry[1].frames[0].te_ms or 0.0)
    elif len(stacks) > 1:
        raise LayoutError(f"holds {len(stacks)} echoes; its role is MEGRE, or none")
    outputs, flags = [], []
    for number, (part, stack, told) in enumerate(stacks, 1):
        path = row.path(number if row.role == Modality.MEGRE else 0)
        output, flag = _film(part, stack, told, path) if part.is_film else _volume(part, stack, told, path)
        outputs.append(output)
        flags += flag
    return outputs, tuple(dict.fromkeys(flags))


def _require_volume(part: Part, options: dict[str, bool]) -> None:
    """Refuse what is no volume, and gaps and tilt that nobody asked to mend."""
    wrong = [*part.wrong, *(stack.wrong for stack in part.echoes if stack.wrong and not part.is_film)]
    if wrong:
        raise LayoutError(wrong[0])
    if not part.echoes:
        raise LayoutError("holds no image")
    gaps, tilt = max(stack.gaps for stack in part.echoes), max(stack.tilt_deg for stack in part.echoes)
    if gaps and not options["gaps"]:
        raise LayoutError(
            f"{gaps} of {part.echoes[0].shape[2]} slices are missing; export it again, or use --allow-gaps, which "
            "flags every row"
        )
    if tilt and not options["tilt"]:
        raise LayoutError(
            f"the gantry was tilted by {tilt:.1f} degrees; use --mend-tilt to resample it, which flags every row"
        )


def _volume(part: Part, stack: Stack, told: dict[str, Any], path: Path) -> tuple[_Output, list[str]]:
    flags = [*([GAPS_FLAG] if stack.gaps else []), *([TILT_FLAG] if stack.tilt_deg else [])]
    if stack.tilt_deg:
        mended = upright(Volume(read_stack(stack), stack.affine))
        array, affine = mended.array, mended.affine
        by = f"pydicom, resampled from slices tilted by {stack.tilt_deg:.1f} degrees"
    else:
        found = convert(stack)
        array, affine, by = found.array, found.affine, found.by
    meta = sidecar(part, stack, told) | ({"ReadFlags": flags} if flags else {})
    return _Output(path, array, affine, meta, by), flags


def _film(part: Part, stack: Stack, told: dict[str, Any], path: Path) -> tuple[_Output, list[str]]:
    if len(stack.frames) > 1:
        raise LayoutError(f"holds {len(stack.frames)} radiographs; export the frontal one alone")
    with _as_file(stack.frames[0].source) as file:
        found = pixels.read(file, {})
    flags = [flag for flag in found.flags if flag]
    meta = sidecar(part, stack, told) | ({"ReadFlags": flags} if flags else {})
    return _Output(path, compact(found.array), found.affine, meta, "pydicom"), []


def upright(tilted: Volume) -> Volume:
    """Slices of a tilted gantry resampled onto slices at right angles, as wide as the shear needs; NaN outside.

    In-plane spacing, and the distance between slices along their normal, stay.
    """
    from ipha_toolkit.image.geometry import on_grid

    across, down, shift = tilted.affine[:3, :3].T
    normal = np.cross(across, down)
    normal *= np.dot(shift, normal) / np.dot(normal, normal)
    aside = np.linalg.lstsq(np.column_stack([across, down]), shift - normal, rcond=None)[0] * (tilted.shape[2] - 1)
    low, high = np.floor(np.minimum(aside, 0)).astype(int), np.ceil(np.maximum(aside, 0)).astype(int)
    affine = np.array(tilted.affine)
    affine[:3, 2] = normal
    affine[:3, 3] += across * low[0] + down * low[1]
    shape = (int(tilted.shape[0] + high[0] - low[0]), int(tilted.shape[1] + high[1] - low[1]), tilted.shape[2])
    return on_grid(tilted, Grid(shape, affine), 1)


@contextmanager
def _as_file(source: Source) -> Iterator[Path]:
    if not source.member:
        yield source.path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.dcm"
        path.write_bytes(source.content())
        yield path


def _write(root: Path, outputs: Sequence[_Output]) -> list[str]:
    """Write all images of a job beside their place, then move them; the sidecar first, so no image is without."""
    with draft_of(root / FOLDER / "images") as folder:
        moves: list[tuple[Path, Path]] = []
        for number, output in enumerate(outputs):
            text = json.dumps(output.meta, indent=2, sort_keys=True) + "\n"
            meta = folder / f"{number}.json"
            meta.write_text(text, "utf-8")
            image = folder / f"{number}.nii.gz"
            nifti.write(image, output.array, output.affine)
            target = root / output.path
            moves += [(meta, target.with_name(target.name.replace(".nii.gz", ".json"))), (image, target)]
        for draft, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(target)
        return [target.relative_to(root).as_posix() for _, target in moves]


def _fingerprint(job: Sequence[Row], plan: ImportPlan, options: dict[str, bool]) -> str:
    """Hash of the images of a job and of all that decides what becomes of them."""
    uids = sorted(f"{frame.uid}#{frame.index}" for row in job for frame in plan.parts[row.series].frames)
    told = [_FORMAT, *(f"{row.path()} {row.role}" for row in job), json.dumps(options, sort_keys=True), *uids]
    return sha256("\n".join(told).encode()).hexdigest()[:16]


def _without_paths(text: str, job: Sequence[Part]) -> str:
    """A reason without the names of the hospital's files."""
    for part in job:
        for frame in part.frames:
            for name in (str(frame.source), str(frame.source.path)):
                text = text.replace(f"{name}: ", "").replace(name, "a file of it")
    return text


def _remove_unwanted(root: Path, record: dict[str, dict[str, str]], wanted: set[str]) -> None:
    for series in [series for series in record if series not in wanted]:
        forget(root, record, series)


def key_warning(out: str | os.PathLike[str]) -> str:
    """A line where the key lies in a place that others can read, empty where nothing speaks for it."""
    folder = Path(out) / FOLDER
    reason = exposed(folder) if folder.is_dir() else ""
    return (
        f"{folder / KEY} holds names and dates of patients, and {reason}; move the cohort to a private place"
        if reason
        else ""
    )
