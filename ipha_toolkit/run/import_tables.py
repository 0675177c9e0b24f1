"""What an import writes beside images: the cohort's tables, pictures to sign, the list of all text left."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit import __version__
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import nifti
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.io.identifiers import days_between
from ipha_toolkit.io.layout import read_table
from ipha_toolkit.io.outputs import write_json, write_tsv
from ipha_toolkit.io.series_table import Row
from ipha_toolkit.run.plan import FOLDER, KEY, ImportPlan

CONTACT, PRIVACY = "contact.html", "privacy.html"
IMPORTER = "ipha_toolkit import"
"""``GeneratedBy`` name in an imported cohort's ``dataset_description.json``."""

_IGNORED = ("ct", "xray", FOLDER)
_README = f"""Imported from DICOM by ipha_toolkit, in BIDS style; ct/ and xray/ are folders that BIDS does not know.
{FOLDER}/ holds what the import decided. {FOLDER}/{KEY} ties subjects to patients: it never leaves with the cohort.
"""
_COLUMNS = {
    "participant_id": {"Description": "sub-<label>"},
    "age": {"Description": "age at the first scan; above 89 as 89+", "Units": "year"},
    "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male", "O": "other"}},
    "group": {"Description": "why the participant is in the cohort, control for controls; to be filled in"},
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2rem .6rem;text-align:left;vertical-align:top}"
    "figure{display:inline-block;margin:.5rem}img{display:block;max-width:100%}figcaption{max-width:30rem}"
)
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_tables(root: Path, key: pd.DataFrame, made: set[str]) -> None:
    """Participants, sessions and description of the cohort; rows and columns that stand there already stay."""
    _write_once(root / "README", _README)
    _write_once(root / ".bidsignore", "\n".join(_IGNORED) + "\n")
    if not (root / "dataset_description.json").exists():
        by = [{"Name": IMPORTER, "Version": __version__}]
        about = {"Name": "Cohort imported from DICOM", "BIDSVersion": "1.10.0", "DatasetType": "raw", "GeneratedBy": by}
        write_json(root / "dataset_description.json", about)
    if not (root / "participants.json").exists():
        write_json(root / "participants.json", _COLUMNS)
    used = key[key["series"].isin(made)].sort_values("study_date", kind="stable")
    people = [
        {"participant_id": str(subject), "age": _first(rows["age"]), "sex": _first(rows["sex"]), "group": ""}
        for subject, rows in used.groupby("subject", sort=True)
    ]
    _merge(root / "participants.tsv", "participant_id", people)
    for subject, rows in used.groupby("subject", sort=True):
        _write_sessions(root, str(subject), rows)


def _write_sessions(root: Path, subject: str, rows: pd.DataFrame) -> None:
    dates = {str(session): min(filter(None, lot["study_date"]), default="") for session, lot in rows.groupby("session")}
    first = min(filter(None, dates.values()), default="")
    visits = [{"session_id": name, "days": days_between(first, day)} for name, day in sorted(dates.items()) if name]
    if visits:
        _merge(root / subject / f"{subject}_sessions.tsv", "session_id", visits, renewed=("days",))


def _merge(path: Path, name: str, rows: Sequence[Mapping[str, str]], *, renewed: Sequence[str] = ()) -> None:
    """Add rows whose name does not stand in the table; of those that do, only ``renewed`` columns change."""
    table = (
        read_table(path)
        if path.exists()
        else pd.DataFrame({column: [] for column in (rows or [{name: ""}])[0]}, dtype=str)
    )
    if name not in table.columns:
        raise LayoutError(f"{path}: needs a column {name}, has {', '.join(table.columns)}; is it tab-separated?")
    old = table.copy()
    for row in rows:
        at = table.index[table[name] == row[name]]
        if len(at):
            for column in renewed:
                if row[column] and column in table.columns:
                    table.loc[at, column] = row[column]
        else:
            table.loc[len(table)] = {column: row.get(column, "") for column in table.columns}
    if not path.exists() or not table.equals(old):
        write_tsv(path, table.replace("", "n/a"))


def write_contact_sheet(
    root: Path, plan: ImportPlan, rows: Sequence[Row], record: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """A page with every film and computed image that was converted; returns the series that nobody has signed."""
    cells = {str(each["series"]): {str(k): str(v) for k, v in each.items()} for each in plan.table.to_dict("records")}
    told = {row.series: cells[row.series] for row in rows if record.get(row.series, {}).get("files")}
    shown = [row for row in rows if row.series in told and _to_look_at(told[row.series], row)]
    figures = []
    for row in shown:
        file = next(name for name in record[row.series]["files"].split() if name.endswith(".nii.gz"))
        array = nifti.read(root / file)[0].astype(np.float32)
        plane = np.take(array, array.shape[int(np.argmin(array.shape))] // 2, axis=int(np.argmin(array.shape)))
        seen = str(told[row.series]["seen"])
        sign = f"looked at by {escape(seen)}" if seen else "<strong>not signed yet</strong>"
        picture = base64.b64encode(picture_of(plane.T[::-1, ::-1])).decode()
        what = f"{row.series}, {Path(file).name}: {escape(str(told[row.series]['image_type']) or row.role)}"
        figures.append(
            f'<figure><img alt="{escape(what)}" src="data:image/png;base64,{picture}"><figcaption>{what}<br>{sign}'
            "</figcaption></figure>"
        )
    path = root / FOLDER / CONTACT
    if not shown:
        path.unlink(missing_ok=True)
        return []
    words = (
        "<p>Text burnt into the pixels cannot be found by a program. Look at every picture at full size; where a name, "
        "a number or a date stands in it, set its role to none in series.tsv and import again. Where none does, write "
        "your initials into its column <code>seen</code>.</p>"
    )
    _write_if_new(path, _page("Films and computed images to look at", words + "".join(figures)))
    return [row.series for row in shown if not str(told[row.series]["seen"])]


def _to_look_at(told: Mapping[str, str], row: Row) -> bool:
    return row.role == "dx" or "DERIVED" in str(told["image_type"]).split()


def picture_of(plane: npt.NDArray[np.floating], least: int = 480, most: int = 1600) -> bytes:
    """PNG of one slice, rows downwards, its middle 98 % of values from black to white; its longest side in pixels
    stays as it is between ``least`` and ``most``, so that small letters can be read."""
    from PIL import Image

    known = plane[np.isfinite(plane)]
    low, high = np.percentile(known, (1, 99)) if known.size else (0.0, 1.0)
    gray = np.nan_to_num(np.clip((plane - low) / max(high - low, 1e-6), 0, 1)) * 255
    image = Image.fromarray(gray.astype(np.uint8))
    share = min(max(max(image.size), least), most) / max(image.size)
    image = image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_privacy_list(root: Path) -> None:
    """``import/privacy.html``: every piece of text left in the cohort, and where."""
    places: dict[str, list[str]] = {}
    for text, where in _texts(root):
        places.setdefault(text, []).append(where)
    rows = "".join(
        f"<tr><td>{escape(text)}</td><td>{len(where)}</td><td>{escape(', '.join(list(dict.fromkeys(where))[:3]))}"
        f"{' ...' if len(set(where)) > 3 else ''}</td></tr>"
        for text, where in sorted(places.items())
    )
    words = (
        f"<p>All words in tables, sidecars, image headers and file names of this cohort, but for {FOLDER}/{KEY}, which "
        "holds who is who and never leaves. Numbers are left out: they are times, lengths, angles, and days since a "
        "subject's first scan. Pixels are not searched; see contact.html.</p>"
    )
    table = f"<table><thead><tr><th>text</th><th>times</th><th>where</th></tr></thead><tbody>{rows}</tbody></table>"
    _write_if_new(root / FOLDER / PRIVACY, _page("Text left in this cohort", words + table))


def _texts(root: Path) -> Iterator[tuple[str, str]]:
    own = {root / FOLDER / name for name in (KEY, PRIVACY, CONTACT)}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path not in own):
        where = path.relative_to(root).as_posix()
        if where.startswith(("derivatives/", f"{FOLDER}/.")) and not where.startswith("derivatives/pacs/"):
            continue
        yield path.name, "file name"
        for text in _inside(path):
            if text and not _is_number(text):
                yield text, where


def _inside(path: Path) -> Iterator[str]:
    if path.suffix == ".json":
        yield from _leaves(json.loads(path.read_text("utf-8")))
    elif path.suffix == ".tsv":
        table = read_table(path)
        yield from table.columns
        yield from (str(cell) for cell in pd.unique(table.to_numpy().ravel()))
    elif path.name.endswith(".nii.gz"):
        with gzip.open(path) as stream:
            head = stream.read(348)
        for start, stop in ((4, 32), (148, 228), (228, 252), (328, 344)):
            yield head[start:stop].split(b"\0")[0].decode("latin-1").strip()
    elif path.suffix in ("", ".txt", ".html"):
        yield from path.read_text("utf-8", errors="replace").splitlines()


def _leaves(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            yield str(name)
            yield from _leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from _leaves(value)
    elif isinstance(content, str):
        yield content


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first(cells: pd.Series) -> str:
    return next((str(cell) for cell in cells if cell), "")


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{body}</body></html>\n"
    )


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, text)


def _write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_bytes() != text.encode("utf-8", "replace"):
        _write(path, text)


def _write(path: Path, text: str) -> None:
    with in_place_of(path) as draft:
        draft.write_bytes(text.encode("utf-8", "replace"))
