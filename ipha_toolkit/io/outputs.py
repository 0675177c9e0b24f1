"""Results out: a session's folder appears whole or not at all, and says what it was made from.

A session is done exactly when the ``provenance.json`` in its folder equals the one that would be written now, and every
file it lists is as it was written.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io import marks, names, proof
from ipha_toolkit.io.acquisition import ACQUISITION_COLUMNS
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.io.drafts import PREFIX, clear_leftovers, draft_of, lock_of, put
from ipha_toolkit.io.files import real
from ipha_toolkit.io.images import save
from ipha_toolkit.io.layout import SessionFiles, is_own_result
from ipha_toolkit.io.locks import locked, shared
from ipha_toolkit.io.names import RESULTS_TOOL
from ipha_toolkit.io.room import room
from ipha_toolkit.io.writing import drafted, tsv, tsv_parts
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.volume import Mask, Volume

_LOG = logging.getLogger(__name__)
_SMALL = 1_000_000
"""Bytes that a session's tables, log and provenance take at most, for the words about a full disk."""
_LONGEST_ROW = 1000
"""Bytes that a row of a cohort's table takes at most, for the same words."""
_COLUMNS = {
    "subject": "sub-<label>",
    "session": "ses-<label>; empty where the subject has no session folders",
    "modality": "image the value was measured in, BIDS suffix",
    "region": "part of the lungs",
    "measure": "name of the measure, see measures below",
    "value": "the number; n/a where there is none, the flag says why",
    "unit": "unit of the value; 1 where it has none",
    "n_voxels": "number of voxels the value rests on",
    "flag": "codes joined by ;, see flags below",
}

_TABLES = (
    names.MEASURES, names.DICTIONARY, names.READINGS, names.FINDINGS, names.ACQUISITIONS, names.REFERENCE,
    names.PROTOCOL,
)  # fmt: skip
_LOCK = ".lock"
_PASSING = (_LOCK, ".draft")
_FAILURES = ("subject", "session", "modality", "file", "error", "log")


@dataclass(frozen=True)
class Part:
    """What one step gave: rows, masks and maps by kind, the histogram that the second pass reads, nodules."""

    modality: str
    rows: pd.DataFrame
    masks: Mapping[str, Mask] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    histogram: pd.DataFrame | None = None
    nodules: pd.DataFrame | None = None

    def images(self, label: str) -> dict[str, Mask | Volume]:
        """Masks and maps by their file names."""
        masks = {names.mask_file(label, self.modality, kind): mask for kind, mask in self.masks.items()}
        return masks | {names.map_file(label, self.modality, kind): shown for kind, shown in self.maps.items()}

    def tables(self, label: str) -> dict[str, pd.DataFrame]:
        """Histogram and nodules by their file names."""
        found = {
            names.histogram_file(label, self.modality): self.histogram,
            names.nodule_file(label, self.modality): self.nodules,
        }
        return {name: table for name, table in found.items() if table is not None}


@dataclass
class SessionResult:
    """What one session gave, part by part, what failed, and how each image was made."""

    subject: str
    session: str
    parts: list[Part] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    acquisitions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def label(self) -> str:
        """``sub-001_ses-01``."""
        return names.label_of(self.subject, self.session)

    @property
    def rows(self) -> pd.DataFrame:
        """Rows of all parts, subject and session filled in."""
        frames = [part.rows for part in self.parts if len(part.rows)]
        rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(ROW_COLUMNS))
        return rows.assign(subject=self.subject, session=self.session)

    def add(self, part: Part) -> None:
        """Take in what a step gave."""
        self.parts.append(part)


def failure(files: SessionFiles, modality: str, file: Path | str, error: object) -> dict[str, str]:
    """One row of failures.tsv; the text is kept on one line, ``log`` is filled in where there is one."""
    text = " ".join(str(error).split())
    cells = (files.subject, files.session, str(modality), str(file), text, "")
    return dict(zip(_FAILURES, cells, strict=True))


def results_folder(out: str | os.PathLike[str], cohort: Path) -> Path:
    """Make the results folder of a cohort, or take up the one of an earlier run.

    Where the cohort lies is kept relative to the results, so that both can be moved together.

    Raises
    ------
    LayoutError
        Where the folder holds something that this toolkit did not write.
    """
    out = Path(out)
    if os.path.lexists(out) and not out.is_dir():
        what = "is a file" if out.exists() else "is no folder, but a link that leads nowhere"
        raise LayoutError(f"{out}: {what}; --out needs a folder")
    if out.is_dir() and not _is_ours(out):
        raise LayoutError(f"{out}: holds files that are not results of {RESULTS_TOOL}; give a new or empty folder")
    described = {
        "Name": "Measurements of pulmonary hemosiderosis",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": RESULTS_TOOL, "Version": package_version("ipha-toolkit")}],
        "SourceDatasets": [{"URL": _relative(cohort, out)}],
    }
    with room(out, _SMALL):
        out.mkdir(parents=True, exist_ok=True)
        clear_leftovers(out)
        marks.clear_tokens(out)
        _put(out, names.DATASET, [_json(described)], proof.written(out))
    return out


def clear_dead(out: Path, sessions: Iterable[SessionFiles]) -> None:
    """Take away what killed runs left: drafts, and marks and locks of sessions at which no process is at work."""
    clear_leftovers(out)
    marks.clear_dead(out, ((files.label, session_folder(out, files)) for files in sessions))


def write_plan(out: Path, sessions: Sequence[SessionFiles]) -> None:
    """Which sessions the cohort has, so that the results folder alone can tell what is still to be done."""
    table = pd.DataFrame([[files.subject, files.session] for files in sessions], columns=["subject", "session"])
    text = table.to_csv(sep="\t", index=False, lineterminator="\n")
    if proof.digest_of(out / names.PLAN) != sha256(text.encode()).hexdigest():
        _write_text(out / names.PLAN, text)
    marks.remember(out, names.PLAN)


def _put(out: Path, name: str, parts: Iterable[str], known: Mapping[str, str]) -> str:
    """Write a file of the whole cohort where it would change, and say its digest; one that was edited meanwhile is kept
    beside it."""
    with drafted(out / name, parts) as (draft, digest):
        if kept := proof.keep_aside(out / name, known.get(name, ""), digest):
            _LOG.warning("%s was changed since it was written; it is kept as %s", name, kept)
        if proof.digest_of(out / name) != digest:
            draft.replace(out / name)
    return digest


def _is_ours(out: Path) -> bool:
    """Whether a folder is empty but for what a run that was stopped left, or holds results of this toolkit."""
    made = [path for path in out.iterdir() if not (path.name.startswith(PREFIX) or path.name.endswith(_PASSING))]
    sessions = out.glob(f"sub-*/**/{names.PROVENANCE}")
    return not made or is_own_result(out) or any(proof.read_sealed(path) for path in sessions)


def session_folder(out: Path, files: SessionFiles) -> Path:
    """Folder of one session's results."""
    return out / files.subject / files.session if files.session else out / files.subject


def is_done(out: Path, files: SessionFiles, expected: Mapping[str, Any]) -> bool:
    """Whether the session was measured from exactly these inputs, and nothing in it failed."""
    return standing_of(out, files, expected)[0]


def standing_of(out: Path, files: SessionFiles, expected: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether a session :func:`is_done`, and its :func:`damage`; every file is read once."""
    folder = session_folder(out, files)
    record = proof.read_sealed(folder / names.PROVENANCE)
    damaged = proof.damage(folder, record)
    record.pop(proof.FILES, None)
    return bool(record == expected and not damaged), damaged


def is_stale(out: Path, files: SessionFiles, expected: Mapping[str, Any]) -> bool:
    """Whether what lies in a session's folder was made from anything else, as where it could not be taken away."""
    record = proof.read_sealed(session_folder(out, files) / names.PROVENANCE)
    made = {name: value for name, value in record.items() if name not in (proof.FILES, "failures")}
    return bool(record) and made != expected


def has_results(out: Path, files: SessionFiles) -> bool:
    """Whether there are results of a session that can be read, be they of all its images or not."""
    return bool(proof.read_sealed(session_folder(out, files) / names.PROVENANCE))


@contextmanager
def session_lock(out: Path, files: SessionFiles) -> Iterator[bool]:
    """Hold a session's results alone; yields whether another run had them meanwhile."""
    with locked(lock_of(session_folder(out, files)), files.label) as waited:
        yield waited


@contextmanager
def cohort_lock(out: Path) -> Iterator[bool]:
    """Hold the tables of the whole cohort alone."""
    with locked(out / f".cohort{_LOCK}", f"{out.name}/{names.MEASURES}") as waited:
        yield waited


@contextmanager
def run_lock(out: Path, settings: str) -> Iterator[None]:
    """Work in a results folder together with runs of the same settings, and with no other."""
    refusal = (
        f"{out}: another run with other settings or code is writing into it; wait until it has ended, "
        "or give another folder"
    )
    with shared(out / f".run{_LOCK}", settings, refusal):
        yield


def write_session(
    out: Path, files: SessionFiles, result: SessionResult, source: Mapping[str, Any], log: str = ""
) -> None:
    """Write a session's folder whole, in place of an older one. With failures it does not count as done."""
    target, label = session_folder(out, files), files.label
    needed = sum(image.array.nbytes for part in result.parts for image in part.images(label).values()) + _SMALL
    with room(target, needed):
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(target) as draft:
            for part in result.parts:
                grid = stored_grid(files.source(part.modality)) if part.masks or part.maps else None
                for name, image in part.images(label).items():
                    save(image if grid is None else on_axes(image, grid), draft / name)
                for name, table in part.tables(label).items():
                    write_tsv(draft / name, table)
            write_tsv(draft / names.rows_file(label), result.rows)
            write_tsv(draft / names.acquisition_file(label), _acquisitions(files, result))
            _write_text(draft / names.LOG, proof.sealed_log(log))
            failed = {"failures": result.failures} if result.failures else {}
            write_json(draft / names.PROVENANCE, proof.sealed({**source, **failed, proof.FILES: proof.digests(draft)}))
            kept = put(draft, target)
    marks.forget_failed(out, label)
    if kept:
        _LOG.warning("%s: kept what is not as this toolkit wrote it: %s", label, ", ".join(kept))


def _acquisitions(files: SessionFiles, result: SessionResult) -> pd.DataFrame:
    made = [{"subject": files.subject, "session": files.session} | facts for facts in result.acquisitions]
    return pd.DataFrame(made, columns=list(ACQUISITION_COLUMNS))


def write_failed(out: Path, files: SessionFiles, failures: Sequence[Mapping[str, str]]) -> None:
    """Keep why a session gave nothing, in place of older results."""
    remove_session(out, files)
    marks.write_failed(out, files.label, failures)


def read_failures(out: Path, files: SessionFiles) -> list[dict[str, str]] | None:
    """What failed in a session, from its folder: nothing where all was measured, None where nothing is known."""
    record = proof.read_sealed(session_folder(out, files) / names.PROVENANCE)
    return list(record.get("failures", [])) if record else marks.read_failed(out, files.label)


def remove_session(out: Path, files: SessionFiles) -> None:
    """Take away the results of a session that can no longer be measured; what others put there stays."""
    proof.remove_ours(session_folder(out, files))


def gone(out: Path, sessions: Collection[SessionFiles]) -> list[str]:
    """Folders of results, as ``sub-001/ses-01``, of sessions that the cohort no longer has.

    Parameters
    ----------
    out : Path
    sessions : collection of SessionFiles
        All sessions of the cohort.
    """
    known = {session_folder(out, files) for files in sessions}
    held = [folder for folder in proof.session_folders(out) if folder not in known]
    return [folder.relative_to(out).as_posix() for folder in held if proof.read_sealed(folder / names.PROVENANCE)]


def remove_gone(out: Path, folders: Iterable[str]) -> None:
    """Take away what is provably ours in results of sessions that are gone, as :func:`gone` names them."""
    for name in folders:
        folder = out / name
        with locked(lock_of(folder), folder.name):
            proof.remove_ours(folder)
        proof.remove_empty(folder.parent)


def write_cohort(
    out: Path,
    rows: pd.DataFrame,
    *,
    reference: Mapping[str, Any],
    protocol: Protocol,
    readings: pd.DataFrame,
    findings: pd.DataFrame,
    acquisitions: pd.DataFrame,
    source: Mapping[str, Any],
) -> None:
    """The one table, its data dictionary, readings, findings, reference and protocol; each file whole, the provenance
    last. A table that was edited meanwhile is kept beside the new one."""
    texts: dict[str, Iterable[str]] = {
        names.MEASURES: tsv_parts(rows),
        names.DICTIONARY: [_json(_dictionary(rows))],
        names.READINGS: tsv_parts(readings),
        names.FINDINGS: tsv_parts(findings),
        names.ACQUISITIONS: [tsv(acquisitions)],
        names.REFERENCE: [_json(reference)],
        names.PROTOCOL: [protocol.to_toml()],
    }
    known = proof.written(out)
    with room(out, _LONGEST_ROW * (len(rows) + len(readings) + len(findings)) + _SMALL):
        made = {name: _put(out, name, parts, known) for name, parts in texts.items()}
        _record(out, source, known | made)


def is_compared(out: Path, expected: Mapping[str, Any]) -> bool:
    """Whether the tables of the whole cohort were made from exactly this, and are still as they were written."""
    recorded = proof.read_sealed(out / names.PROVENANCE, proof.WRITTEN)
    written = recorded.pop(proof.WRITTEN, {})
    tables = {name: written.get(name) for name in _TABLES}
    return bool(recorded == json.loads(json.dumps(expected)) and tables == _digests(out, _TABLES))


def write_failures(out: Path, failures: Sequence[Mapping[str, str]]) -> None:
    """What could not be measured, and why."""
    write_beside(out, {names.FAILURES: tsv(pd.DataFrame(failures, columns=list(_FAILURES)))})


def write_pooling(out: Path, pooling: Mapping[str, Any], sites: pd.DataFrame, even: pd.DataFrame) -> None:
    """What sites were pooled, how groups compare over them, and harmonized values where there are or were any."""
    texts = {names.POOLING: _json(pooling), names.SITES: tsv(sites)}
    write_beside(out, texts | ({names.HARMONIZED: tsv(even)} if len(even) or (out / names.HARMONIZED).exists() else {}))


def write_beside(out: Path, texts: Mapping[str, str]) -> None:
    """Write files beside the tables of the whole cohort where they would change; their digests join the tables'."""
    known = proof.written(out)
    source = proof.read_sealed(out / names.PROVENANCE, proof.WRITTEN)
    with room(out, sum(map(len, texts.values())) + _SMALL):
        for name, text in texts.items():
            _put(out, name, [text], known)
        own = known | _digests(out, [*texts, names.DATASET])
        if own != known:
            _record(out, source, own)


def _record(out: Path, source: Mapping[str, Any], others: Mapping[str, str]) -> None:
    """What the tables were made from, with digests of them and of ``others``, and of the record itself."""
    written = {**others, **_digests(out, _TABLES)}
    write_json(out / names.PROVENANCE, proof.sealed({**source, proof.WRITTEN: written}))


def _digests(out: Path, files: Iterable[str]) -> dict[str, str]:
    return {name: proof.digest_of(out / name) for name in files}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    _write_text(path, _json(content))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def _dictionary(rows: pd.DataFrame) -> dict[str, Any]:
    measured = set(rows["measure"])
    used = [name for name in MEASURES if name in measured]
    flags = {code for cell in rows["flag"].unique() for code in cell.split(";")}
    return {
        **{name: {"Description": text} for name, text in _COLUMNS.items()},
        "measures": {
            name: {
                "Description": MEASURES[name].definition,
                "Units": MEASURES[name].unit,
                "Worse": str(MEASURES[name].worse),
                "Source": MEASURES[name].source,
            }
            for name in used
        },
        "flags": {code: FLAGS[code] for code in FLAGS if code in flags},
    }


def write_tsv(path: Path, content: pd.DataFrame) -> None:
    """Write a BIDS table, whole or not at all; missing is ``n/a``."""
    _write_text(path, tsv(content))


def _write_text(path: Path, text: str) -> None:
    with room(path.parent, len(text)):
        if path.is_dir():  # somebody's folder of this name stays, under another
            path.rename(proof.free_name(path))
        with drafted(path, [text]) as (draft, _):
            draft.replace(path)


def _relative(cohort: Path, out: Path) -> str:
    return Path(os.path.relpath(real(cohort), real(out))).as_posix()


@cache
def package_version(name: str) -> str:
    """Version of an installed package, ``unknown`` where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
