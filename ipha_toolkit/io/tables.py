"""Tab-separated tables as any spreadsheet would mean them, and the names in them matched to folders."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.errors import LayoutError, ReadError
from ipha_toolkit.io.files import read_text

_MOST_COLUMNS = 5000
"""Chosen: what a clinic keeps of a patient has some hundred."""
_EMPTY = ("", "n/a", "N/A", "nan", "NaN", "#N/A")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def read_table(path: Path) -> pd.DataFrame:
    """A BIDS ``.tsv`` table, every cell as text, ``n/a`` as an empty cell; see `parse_table`."""
    return parse_table(path)[0]


def parse_table(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A table and what a reader should know of it.

    Quotes around cells, blanks beside them, tabs at the end of rows, empty lines, a byte order mark and Windows or old
    Mac line ends are what spreadsheets leave, and read as they mean them; so are decimal commas, where a column holds
    nothing but numbers. Cells that a short row lacks are empty, and said.

    Returns
    -------
    table : DataFrame
        Text only.
    remarks : list of str
        Rows that were shorter or longer than the header.

    Raises
    ------
    LayoutError
        Where the file is no UTF-8 text, has no header, names a column twice, or a row has more cells than the header.
    """
    names, rows = _rows(path)
    remarks: list[str] = []
    filled, surplus = [], 0
    for line, cells in rows:
        if any(cells[len(names) :]):
            raise LayoutError(
                f"{path}: line {line} has {len(cells)} cells, the header names {len(names)} columns; "
                "give the surplus column a name or mend the line"
            )
        if len(cells) < len(names):
            remarks.append(f"line {line} has {len(cells)} cells of {len(names)}; the others count as empty")
        surplus += len(cells) > len(names)
        filled.append([*cells[: len(names)], *[""] * (len(names) - len(cells))])
    if surplus:
        remarks.append(f"{surplus} rows end in tabs without a column; they are passed over")
    table = pd.DataFrame(filled, columns=names, dtype=str)
    return table.apply(_without_decimal_commas) if len(table) else table, remarks


def with_numbers(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Columns of numbers alone as numbers, NaN where a cell is empty; ``names`` first, as text."""
    columns = {}
    for column in [*names, *(column for column in table.columns if column not in names)]:
        cells = table[column].where(table[column] != "")
        numbers = as_numbers(cells)
        known = column not in names and cells.notna().any() and numbers.notna().sum() == cells.notna().sum()
        columns[column] = numbers if known else cells
    return pd.DataFrame(columns)


def as_numbers(cells: pd.Series[Any]) -> pd.Series[Any]:
    """Cells as numbers, NaN where they are none; BIDS writes ages above 89 as ``89+``."""
    return pd.to_numeric(cells.replace("89+", "89"), errors="coerce")


def whole_number(cell: str) -> int | None:
    """A label of a table, also as ``10.0``; None where the cell holds no whole number."""
    found = re.fullmatch(r"\s*(\d{1,9})(?:[.,]0*)?\s*", cell)
    return int(found[1]) if found else None


def matched(name: str, folders: Iterable[str], prefix: str) -> str:
    """The folder that a name in a table means, as ``sub-001`` of ``001``, ``1`` or ``SUB-001``; empty where none does,
    or more than one could."""
    folders = list(folders)
    if name in folders:
        return name
    for same in (_spelled, _counted):
        found = [folder for folder in folders if same(folder, prefix) == same(name, prefix)]
        if found:
            return found[0] if len(found) == 1 else ""
    return ""


def _spelled(name: str, prefix: str) -> str:
    return name.lower().removeprefix(prefix)


def _counted(name: str, prefix: str) -> str:
    """As spreadsheets shorten it: ``1`` for ``001``."""
    label = _spelled(name, prefix)
    return (label.lstrip("0") or "0") if label.isdigit() else label


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Column names, and the rows with their line; blank rows left out."""
    try:
        text = read_text(path)
    except ReadError as error:
        raise LayoutError(f"{path}: not a tab-separated table: {str(error).removeprefix(f'{path}: ')}") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(StringIO(text), delimiter="\t", strict=True)  # other signs that end lines stand in notes
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            plain = [_plain(cell) for cell in cells]
            if any(plain):
                rows.append((reader.line_num, ["" if cell in _EMPTY else cell for cell in plain]))
    except csv.Error as error:
        long = f"a cell of more than {csv.field_size_limit()} letters" if "larger" in str(error) else error
        raise LayoutError(
            f"{path}: not a tab-separated table: line {reader.line_num}: {long}; mend its quotes"
        ) from None
    if not rows:
        raise LayoutError(f"{path}: not a tab-separated table: it holds no text")
    names = rows[0][1]
    while names and not names[-1]:
        names.pop()
    if len(names) > _MOST_COLUMNS:
        raise LayoutError(
            f"{path}: the header names {len(names)} columns, {_MOST_COLUMNS} are read at most; leave out what is not "
            "of the cohort"
        )
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice or "" in names:
        what = f"names the column {twice[0]!r} twice" if twice and twice[0] else "has a column without a name"
        raise LayoutError(f"{path}: the header {what}; mend it")
    return names, rows[1:]


def _plain(cell: str) -> str:
    """A cell without control characters, which would colour a terminal, its blanks single."""
    return "".join(letter for letter in " ".join(cell.split()) if letter.isprintable())


def _without_decimal_commas(cells: pd.Series[str]) -> pd.Series[str]:
    """``7,5`` as ``7.5`` where the column is all numbers; ``1,234`` alone may be a thousand and stays."""
    filled = [cell for cell in cells if cell]
    commas = [cell for cell in filled if _COMMA.fullmatch(cell)]
    if not commas or not all(_NUMBER.fullmatch(cell) for cell in filled):
        return cells
    if all(_THOUSANDS.fullmatch(cell) for cell in commas):
        return cells
    return cells.str.replace(",", ".", regex=False)
