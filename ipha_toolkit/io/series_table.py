"""``import/series.tsv``: what each series is and becomes, for a person to edit in any spreadsheet."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.claims import ENTITIES
from ipha_toolkit.io.names import FOLDERS, is_entity
from ipha_toolkit.io.outputs import write_tsv
from ipha_toolkit.series_rules import NONE, OPEN
from ipha_toolkit.terms import Modality

EDITED = ("subject", "session", "role", "labels", "seen")
"""Columns that belong to the user: what stands there is never changed."""
FACTS = (
    "modality", "words", "image_type", "matrix", "spacing_mm", "thickness_mm", "slices", "kernel", "tr_ms", "te_ms",
    "echoes", "flip_deg", "field_t", "contrast", "body_part", "plane", "view", "maker", "files",
)  # fmt: skip
COLUMNS = ("series", *EDITED, "sure", "reason", "wrong", *FACTS)
MASK = "mask"
"""Role of a segmentation or of contours: they become masks of the image they were drawn on."""

_LABEL = re.compile(r"[a-z]+-[A-Za-z0-9]+")


@dataclass(frozen=True)
class Row:
    """A series that is to be converted, and the name of what it becomes."""

    series: str
    subject: str
    session: str
    role: str
    labels: tuple[tuple[str, str], ...] = ()

    def path(self, echo: int = 0) -> Path:
        """File in the cohort folder; ``echo`` from 1 where there are several."""
        parts = [self.subject, *([self.session] if self.session else [])]
        named = [f"{entity}-{label}" for entity, label in self.labels if entity != "part"]
        named += [f"echo-{echo}"] if echo else []
        named += [f"{entity}-{label}" for entity, label in self.labels if entity == "part"]
        folder = Path(*parts, FOLDERS.get(self.role, "anat"))
        return folder / f"{'_'.join([*parts, *named, self.role])}.nii.gz"


def read_series_table(path: Path) -> pd.DataFrame:
    """The table as the user left it; a spreadsheet may have put semicolons or commas for tabs.

    Raises
    ------
    LayoutError
        Where it is no table, lacks a column, or a series stands in it twice.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        head = text.splitlines()[0]
        mark = max("\t;,", key=head.count)
        table = pd.read_csv(io.StringIO(text), sep=mark, dtype=str, keep_default_na=False).replace("n/a", "")
    except (UnicodeDecodeError, IndexError, ValueError) as error:
        raise LayoutError(
            f"{path}: not a table that can be read ({error}); save it as tab-separated text, UTF-8"
        ) from None
    missing = [name for name in ("series", *EDITED) if name not in table.columns]
    if missing:
        raise LayoutError(
            f"{path}: lacks the column {missing[0]}; take it from a copy, or remove the file and plan anew"
        )
    twice = table["series"][table["series"].duplicated()]
    if len(twice):
        raise LayoutError(f"{path}: {twice.iloc[0]} stands in more than one row; keep one")
    return table.map(str.strip)


def write_series_table(path: Path, table: pd.DataFrame) -> None:
    """Write the table; a file that says the same already is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and read_series_table(path).equals(as_text(table)):
        return
    write_tsv(path, as_text(table).replace("", "n/a"))


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Every cell as it stands in the file."""
    return table.map(lambda cell: f"{cell:g}" if isinstance(cell, float) else str(cell)).reset_index(drop=True)


def rows_to_convert(table: pd.DataFrame, name: str = "series.tsv") -> list[Row]:
    """Series with a role, as the table names them.

    Raises
    ------
    LayoutError
        Where a role or label is none there is, or two series would become one file.
    """
    every = [{str(column): str(cell) for column, cell in cells.items()} for cells in table.to_dict("records")]
    rows = [_row(cells, name) for cells in every if cells["role"] not in ("", NONE, OPEN)]
    becomes: dict[str, str] = {}
    for row in rows:
        if row.role in (MASK, Modality.MEGRE):
            continue
        other = becomes.setdefault(str(row.path()).lower(), row.series)
        if other != row.series:
            raise LayoutError(
                f"{name}: {other} and {row.series} both become {row.path().name}; set the role of one to none, or give "
                "it a label such as run-2 or acq-exp"
            )
    return rows


def _row(cells: Mapping[str, str], name: str) -> Row:
    series, role = cells["series"], cells["role"]
    if role not in (*Modality, MASK):
        roles = ", ".join([*Modality, MASK, NONE])
        raise LayoutError(f"{name}: {series} has the role {role!r}; needs one of {roles}")
    for kind, label in (("sub", cells["subject"]), ("ses", cells["session"])):
        if not is_entity(label, kind) and (kind == "sub" or label):
            raise LayoutError(f"{name}: {series} has {label!r}; needs {kind}- and letters or digits, as {kind}-01")
    labels = dict(_label(text, series, name) for text in cells["labels"].replace("_", " ").replace(",", " ").split())
    ordered = tuple((entity, labels[entity]) for entity in ENTITIES if entity in labels)
    return Row(series, cells["subject"], cells["session"], role, ordered)


def _label(text: str, series: str, name: str) -> tuple[str, str]:
    entity, _, label = text.partition("-")
    if not _LABEL.fullmatch(text) or entity not in ENTITIES:
        raise LayoutError(f"{name}: {series} has the label {text!r}; needs one like acq-exp, of {', '.join(ENTITIES)}")
    return entity, label
