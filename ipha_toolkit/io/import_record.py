"""``import/converted.tsv``: what was made of each series, or why it was left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ipha_toolkit.io.files import real
from ipha_toolkit.io.layout import read_table
from ipha_toolkit.io.outputs import write_tsv

COLUMNS = ("series", "files", "fingerprint", "by", "flags", "left_out")


def record_entry(
    series: str,
    files: Sequence[str] = (),
    fingerprint: str = "",
    by: str = "",
    flags: Sequence[str] = (),
    left_out: str = "",
) -> dict[str, str]:
    """A row of ``import/converted.tsv``."""
    return dict(zip(COLUMNS, (series, " ".join(files), fingerprint, by, " ".join(flags), left_out), strict=True))


def read_record(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    rows = read_table(path).to_dict("records")
    return {str(row["series"]): {str(name): str(cell) for name, cell in row.items()} for row in rows}


def write_record(path: Path, record: dict[str, dict[str, str]]) -> None:
    table = pd.DataFrame([record[series] for series in sorted(record)], columns=list(COLUMNS))
    if not path.exists() or not read_table(path).equals(table):
        write_tsv(path, table.replace("", "n/a"))


def made_of(record: dict[str, dict[str, str]]) -> list[str]:
    return [series for series, entry in record.items() if entry["files"]]


def forget(root: Path, record: dict[str, dict[str, str]], series: str) -> None:
    """Remove what an earlier import made of a series."""
    for file in record.pop(series, {}).get("files", "").split():
        if not real(root / file).is_relative_to(real(root)):
            continue  # a record that leads out of the cohort was not written here
        (root / file).unlink(missing_ok=True)
        for folder in (root / file).parents:
            if folder == root or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
