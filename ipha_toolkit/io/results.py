"""Results out: a session's folder appears whole or not at all, and says what it was made from.

A session is done exactly when the ``provenance.json`` in its folder equals the one that would be written now.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import file_digest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.catalogue import FLAGS, MEASURES
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.images import save
from ipha_toolkit.io.layout import RESULTS_TOOL, SessionFiles, is_own_result
from ipha_toolkit.io.names import file_beside
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

_FAILURES = ("subject", "session", "modality", "file", "error")


@dataclass
class SessionResult:
    """What one session gave: rows, images and tables by the end of their file names, failures."""

    rows: pd.DataFrame
    images: dict[str, Volume | Mask] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)


def failure(files: SessionFiles, modality: str, file: Path | str, error: object) -> dict[str, str]:
    """One row of failures.tsv; the text is kept on one line."""
    text = " ".join(str(error).split())
    cells = (files.subject, files.session, str(modality), str(file), text)
    return dict(zip(_FAILURES, cells, strict=True))


def open_results(out: str | os.PathLike[str]) -> Path:
    """Make the results folder, or take up the one of an earlier run.

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
        "GeneratedBy": [{"Name": RESULTS_TOOL, "Version": _version("ipha-toolkit")}],
    }
    write_json(out / "dataset_description.json", described)
    for leftover in out.glob(f"**/{_DRAFT}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return out


def provenance(files: SessionFiles, root: Path, protocol: Protocol, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What a session's results depend on: input hashes, protocol, versions, and whatever else is given."""
    return {
        "inputs": {str(path.relative_to(root)): _hash(path) for path in _inputs(files)},
        "protocol": {"sha256": protocol.digest(), "settings": json.loads(json.dumps(asdict(protocol)))},
        "versions": {name: _version(name) for name in ("ipha-toolkit", "numpy", "scipy", "SimpleITK", "nibabel")},
        **extra,
    }


def session_folder(out: Path, files: SessionFiles) -> Path:
    """Folder of one session's results."""
    return out / files.subject / files.session if files.session else out / files.subject


def is_done(out: Path, files: SessionFiles, expected: Mapping[str, Any]) -> bool:
    """Whether the session was measured from exactly these inputs, and nothing in it failed."""
    try:
        return bool(json.loads((session_folder(out, files) / "provenance.json").read_text("utf-8")) == expected)
    except (OSError, ValueError):
        return False


def write_session(out: Path, files: SessionFiles, result: SessionResult, source: Mapping[str, Any]) -> None:
    """Write a session's folder whole, in place of an older one. With failures it does not count as done."""
    target = session_folder(out, files)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=_DRAFT))
    try:
        for ending, image in result.images.items():
            save(image, draft / f"{files.label}_{ending}")
        for ending, content in {"measures.tsv": result.rows, **result.tables}.items():
            write_tsv(draft / f"{files.label}_{ending}", content)
        recorded = dict(source) | ({"failures": result.failures} if result.failures else {})
        write_json(draft / "provenance.json", recorded)
        draft.chmod(0o755)
        swap(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_session(out: Path, files: SessionFiles) -> None:
    """Take away the results of a session that can no longer be measured."""
    shutil.rmtree(session_folder(out, files), ignore_errors=True)


def read_session_rows(out: Path, files: SessionFiles) -> pd.DataFrame:
    """Rows of the first pass of one session."""
    return read_rows(session_folder(out, files) / f"{files.label}_measures.tsv")


def read_session_table(out: Path, files: SessionFiles, ending: str) -> pd.DataFrame | None:
    """Another table of one session, None where it has none."""
    path = session_folder(out, files) / f"{files.label}_{ending}"
    return pd.read_csv(path, sep="\t") if path.exists() else None


def read_rows(path: str | Path) -> pd.DataFrame:
    """A table of measures as written by this toolkit, with its column types."""
    text = dict.fromkeys(("subject", "session", "modality", "region", "measure", "unit", "flag"), str)
    frame = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values={"value": ["n/a"]})
    return frame.astype({"value": "float64", "n_voxels": "int64"})


def write_cohort(
    out: Path,
    rows: pd.DataFrame,
    failures: Sequence[Mapping[str, str]],
    *,
    reference: Mapping[str, Any],
    protocol: Protocol,
    readings: pd.DataFrame,
    findings: pd.DataFrame,
) -> None:
    """The one table, its data dictionary, readings, findings, failures, reference and protocol; each file whole."""
    write_tsv(out / "measures.tsv", rows)
    write_json(out / "measures.json", _dictionary(rows))
    write_tsv(out / "readings.tsv", readings)
    write_tsv(out / "findings.tsv", findings)
    write_tsv(out / "failures.tsv", pd.DataFrame(failures, columns=list(_FAILURES)))
    write_json(out / "reference.json", reference)
    _write_text(out / "protocol.toml", protocol.to_toml())


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


def _inputs(files: SessionFiles) -> list[Path]:
    images = [*files.images.values(), *files.echoes]
    masks = [mask.path for group in (files.lungs, files.reference) for mask in group.values()]
    beside = [file_beside(path, ending) for path in images for ending in (".json",)]
    beside += [file_beside(path, ".tsv") for path in masks]
    return sorted({*images, *masks, *(path for path in beside if path.exists())})


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
