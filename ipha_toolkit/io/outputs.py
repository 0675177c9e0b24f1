"""Results out: a session's folder appears whole or not at all, and says what it was made from.

A session is done exactly when the ``provenance.json`` in its folder equals the one that would be written now.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io import names
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.io.images import save
from ipha_toolkit.io.layout import SessionFiles, is_own_result
from ipha_toolkit.io.names import RESULTS_TOOL
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.volume import Mask, Volume

_DRAFT = ".draft-"
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
    """What one session gave, part by part, and what failed."""

    subject: str
    session: str
    parts: list[Part] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)

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
    if out.exists() and not out.is_dir():
        raise LayoutError(f"{out}: is a file; --out needs a folder")
    if out.is_dir() and any(out.iterdir()) and not is_own_result(out):
        raise LayoutError(f"{out}: holds files that are not results of {RESULTS_TOOL}; give a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    described = {
        "Name": "Measurements of pulmonary hemosiderosis",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": RESULTS_TOOL, "Version": package_version("ipha-toolkit")}],
        "SourceDatasets": [{"URL": _relative(cohort, out)}],
    }
    write_json(out / names.DATASET, described)
    for leftover in out.glob(f"**/{_DRAFT}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return out


def session_folder(out: Path, files: SessionFiles) -> Path:
    """Folder of one session's results."""
    return out / files.subject / files.session if files.session else out / files.subject


def is_done(out: Path, files: SessionFiles, expected: Mapping[str, Any]) -> bool:
    """Whether the session was measured from exactly these inputs, and nothing in it failed."""
    try:
        return bool(json.loads((session_folder(out, files) / names.PROVENANCE).read_text("utf-8")) == expected)
    except (OSError, ValueError):
        return False


def write_session(
    out: Path, files: SessionFiles, result: SessionResult, source: Mapping[str, Any], log: str = ""
) -> None:
    """Write a session's folder whole, in place of an older one. With failures it does not count as done."""
    target, label = session_folder(out, files), files.label
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=_DRAFT))
    try:
        for part in result.parts:
            grid = stored_grid(files.source(part.modality)) if part.masks or part.maps else None
            for name, image in part.images(label).items():
                save(image if grid is None else on_axes(image, grid), draft / name)
            for name, table in part.tables(label).items():
                write_tsv(draft / name, table)
        write_tsv(draft / names.rows_file(label), result.rows)
        _write_text(draft / names.LOG, log)
        recorded = dict(source) | ({"failures": result.failures} if result.failures else {})
        write_json(draft / names.PROVENANCE, recorded)
        draft.chmod(0o755)
        swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_session(out: Path, files: SessionFiles) -> None:
    """Take away the results of a session that can no longer be measured."""
    shutil.rmtree(session_folder(out, files), ignore_errors=True)


def write_cohort(
    out: Path,
    rows: pd.DataFrame,
    *,
    reference: Mapping[str, Any],
    protocol: Protocol,
    readings: pd.DataFrame,
    findings: pd.DataFrame,
    source: Mapping[str, Any],
) -> None:
    """The one table, its data dictionary, readings, findings, reference and protocol; each file whole, the provenance
    last."""
    (out / names.PROVENANCE).unlink(missing_ok=True)
    write_tsv(out / names.MEASURES, rows)
    write_json(out / names.DICTIONARY, _dictionary(rows))
    write_tsv(out / names.READINGS, readings)
    write_tsv(out / names.FINDINGS, findings)
    write_json(out / names.REFERENCE, reference)
    _write_text(out / names.PROTOCOL, protocol.to_toml())
    write_json(out / names.PROVENANCE, dict(source) | {"written": _written(out)})


def is_compared(out: Path, expected: Mapping[str, Any]) -> bool:
    """Whether the tables of the whole cohort were made from exactly this, and are still as they were written."""
    try:
        recorded = json.loads((out / names.PROVENANCE).read_text("utf-8"))
        return bool(recorded == json.loads(json.dumps(expected)) | {"written": _written(out)})
    except (OSError, ValueError, TypeError):
        return False


def write_failures(out: Path, failures: Sequence[Mapping[str, str]]) -> None:
    """What could not be measured, and why."""
    write_tsv(out / names.FAILURES, pd.DataFrame(failures, columns=list(_FAILURES)))


def failures_of_others(out: Path, label: str) -> list[dict[str, str]]:
    """Rows of ``failures.tsv`` as it stands, those of one session left out."""
    path = out / names.FAILURES
    if not path.exists():
        return []
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False).replace("n/a", "")
    rows = [{name: str(row[name]) for name in _FAILURES} for row in table.to_dict("records")]
    return [row for row in rows if names.label_of(row["subject"], row["session"]) != label]


def _written(out: Path) -> dict[str, str]:
    """Digest of every table of the second pass."""
    tables = (names.MEASURES, names.DICTIONARY, names.READINGS, names.FINDINGS, names.REFERENCE, names.PROTOCOL)
    return {name: sha256((out / name).read_bytes()).hexdigest() for name in tables}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    _write_text(path, json.dumps(content, indent=2) + "\n")


def _dictionary(rows: pd.DataFrame) -> dict[str, Any]:
    used = [name for name in MEASURES if name in set(rows["measure"])]
    flags = {code for cell in rows["flag"] for code in cell.split(";")}
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
    _write_text(path, content.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n"))


def _write_text(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def swap(draft: Path, target: Path) -> None:
    """Put the draft in the target's place; the old results stay until the new ones are complete."""
    old = draft.with_name(draft.name + "-old")
    if target.exists():
        target.replace(old)
    draft.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def _relative(cohort: Path, out: Path) -> str:
    return Path(os.path.relpath(cohort.resolve(), out.resolve())).as_posix()


def package_version(name: str) -> str:
    """Version of an installed package, ``unknown`` where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
