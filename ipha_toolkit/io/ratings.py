"""Verdicts of people on images and their masks: the table ``ratings.tsv``, one row an image and rater."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.files import printable
from ipha_toolkit.io.outputs import write_tsv
from ipha_toolkit.io.tables import read_table

GOOD, USABLE, UNUSABLE = "good", "usable", "unusable"

VERDICTS: dict[str, str] = {
    GOOD: "image and mask can be measured as they are",
    USABLE: "faults that do not touch the measures much",
    UNUSABLE: "left out of references, groups and plots",
}
"""Verdicts, best first, and what they mean."""

REASONS = (
    "motion", "noise", "wrong mask", "cut field of view", "wrong sequence", "contrast agent", "expiration", "artifact",
    "other disease",
)  # fmt: skip
"""Reasons offered for a verdict; a review may be given its own."""

COLUMNS = ("subject", "session", "image", "rater", "verdict", "reasons", "note", "hash")
"""Columns of the table: ``image`` is the modality, ``reasons`` are joined by ``; ``, ``hash`` says what was judged."""

_FORMULA = re.compile(r"[=+\-@|%]")

KEY = ["subject", "session", "image", "rater"]


def ratings_path(place: str | os.PathLike[str]) -> Path:
    """The table's file: the path itself where it ends with ``.tsv``, else ``ratings.tsv`` in that folder."""
    path = Path(place)
    return path if path.suffix.lower() == ".tsv" else path / "ratings.tsv"


def read_ratings(place: str | os.PathLike[str]) -> pd.DataFrame:
    """The table of ratings, every cell as text; of several rows of one image and rater the last counts.

    Parameters
    ----------
    place : path
        A ``.tsv`` file, or the folder that holds ``ratings.tsv``.

    Raises
    ------
    LayoutError
        Where there is no such file, a column is missing, or a verdict is none of :data:`VERDICTS`.
    """
    path = ratings_path(place)
    if not path.exists():
        raise LayoutError(f"{path}: no such file; give the ratings.tsv that a review wrote, or its folder")
    table = read_table(path)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise LayoutError(
            f"{path}: lacks the columns {', '.join(missing)}; a table of ratings has {', '.join(COLUMNS)}"
        )
    strange = sorted(set(table["verdict"]) - set(VERDICTS))
    if strange:
        raise LayoutError(f"{path}: the verdict {strange[0]!r} is none of {', '.join(VERDICTS)}; mend the table")
    return joined_ratings([table.map(lambda cell: cell[1:] if cell[:1] == "'" and _FORMULA.match(cell[1:]) else cell)])


def write_ratings(path: Path, table: pd.DataFrame) -> None:
    """Write a table of ratings; what a spreadsheet would take for a formula begins with ``'``, as it takes for text."""
    write_tsv(path, table.map(lambda cell: f"'{cell}" if _FORMULA.match(str(cell)) else cell))


def joined_ratings(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Several tables as one, sorted; of rows of one image and rater the last counts."""
    whole = pd.concat([table[list(COLUMNS)] for table in tables] or [pd.DataFrame(columns=list(COLUMNS))])
    return whole.drop_duplicates(KEY, keep="last").sort_values(KEY, kind="stable").reset_index(drop=True)


def add_ratings(place: str | os.PathLike[str], rows: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Write ratings into the table, which appears whole or not at all, and return it.

    A rating of an image replaces the one that the same rater gave before; rows of others stay.

    Raises
    ------
    ValueError
        Where a verdict is none of :data:`VERDICTS`.
    """
    new = pd.DataFrame(
        [{name: printable(" ".join(str(row.get(name, "")).split())) for name in COLUMNS} for row in rows]
    )
    new = new.reindex(columns=list(COLUMNS))
    strange = sorted(set(new["verdict"]) - set(VERDICTS))
    if strange:
        raise ValueError(f"verdict needs to be one of {', '.join(VERDICTS)}, got {strange[0]!r}")
    path = ratings_path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = joined_ratings([read_ratings(path), new] if path.exists() else [new])
    write_ratings(path, whole)
    return whole
