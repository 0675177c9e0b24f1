"""Who is in a cohort and what the clinic knows of every visit: ``participants.tsv`` and ``sub-*_sessions.tsv``."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.names import is_entity
from ipha_toolkit.io.tables import as_numbers, matched, parse_table, with_numbers
from ipha_toolkit.io.walk import Problem

CONTROL_GROUPS = ("control", "controls")

_TOLD = (
    "group", "age", "sex", "height_cm", "weight_kg", "site", "scanner", "days", "phase", "treatment", "diagnosis",
    "smoking", "genotype", "field_strength_t",
)  # fmt: skip
"""Columns of the cohort's tables that say nothing of who someone is."""
_UNITS = (
    "_cm", "_mm", "_kg", "_mg", "_ml", "_percent", "_mg_per_day", "_mg_per_kg", "_g_dl", "_g_l", "_mg_l", "_ng_ml",
    "_ug_l", "_mmhg", "_hpa", "_years", "_days", "_weeks", "_score", "_count", "_hu", "_t", "_s", "_ms",
)  # fmt: skip
"""Ends of names of columns of numbers."""

_MOST_NAMED = 20
"""Rows of a hospital's whole table, of which the cohort is a part, are counted from here on."""
_BOUNDS = {"age": (0.0, 130.0, "years"), "height_cm": (20.0, 260.0, "cm"), "days": (-50_000.0, 50_000.0, "days")}
"""Least and most of what subjects are matched by, and of days from a first visit: nobody has more. Chosen."""


def read_visits(root: str | os.PathLike[str]) -> pd.DataFrame:
    """What the clinic knows of every session, from the ``sub-*_sessions.tsv`` tables of a cohort folder.

    A table that cannot be read costs its own subject's rows, with a warning in the log; ``ipha check`` names it.

    Returns
    -------
    DataFrame
        ``subject, session`` and the tables' columns (``days``, ``phase``, ``prednisone_mg_per_day`` ...), those of
        numbers as numbers; NaN where a cell is empty or ``n/a``. No row where there is no such table.
    """
    frames = []
    for folder in sorted(Path(root).glob("sub-*")):
        if not os.path.lexists(_table_of(folder)):
            continue
        try:
            table = _visits(folder)[0]
        except LayoutError as error:
            logging.getLogger(__name__).warning("left out: %s", error)
            continue
        frames.append(table.rename(columns={"session_id": "session"}).assign(subject=folder.name))
    if not frames:
        return pd.DataFrame({"subject": [], "session": []}, dtype=str)
    return with_numbers(pd.concat(frames, ignore_index=True).fillna(""), ["subject", "session"])


def read_participants(root: str | os.PathLike[str]) -> pd.DataFrame:
    """``participants.tsv`` with its columns of numbers as numbers; empty where there is none.

    Raises
    ------
    LayoutError
        Where it cannot be read or has no column ``participant_id``.
    """
    root = Path(root)
    folders = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
    return with_numbers(participants(root, folders)[0], ["participant_id"])


def may_be_told(name: str, cells: pd.Series[Any]) -> bool:
    """Whether a column of the cohort's tables can stand on a page that is passed on: known by its name, or a number
    whose name ends in its unit."""
    plain = name.lower()
    return plain in _TOLD or (plain.endswith(_UNITS) and pd.api.types.is_numeric_dtype(cells))


def participants(root: Path, folders: Sequence[str]) -> tuple[pd.DataFrame, list[Problem]]:
    """``participants.tsv``, one row a subject, its names those of the folders they mean, and remarks.

    A subject whose rows contradict each other keeps none of them: its images are measured, its covariates unknown.

    Raises
    ------
    LayoutError
        Where it cannot be read or has no column ``participant_id``.
    """
    path = root / "participants.tsv"
    if not os.path.lexists(path):
        return pd.DataFrame({"participant_id": []}, dtype=str), [
            Problem(path, "is missing; without it no one is a control and measures are not set against controls")
        ]
    table, remarks = parse_table(path)
    _require_column(path, table, "participant_id")
    table, more = _with_folder_names(table, "participant_id", folders, "sub-")
    table, twice = _one_row_each(table, "participant_id")
    remarks += more + twice
    if not twice:  # who has rows that differ is told so, not that the row is missing
        there = set(table["participant_id"])
        missing = [name for name in folders if is_entity(name, "sub") and name not in there]
        remarks += [f"has no row for {', '.join(missing)}; their group and age are unknown"] if missing else []
    table, implausible = _within_bounds(table)
    return table, [Problem(path, text) for text in [*remarks, *implausible, *_covariate_remarks(table)]]


def visit_problems(sessions: Mapping[Path, Sequence[str]]) -> list[Problem]:
    """Remarks on the ``sub-*_sessions.tsv`` of subject folders, given the sessions each has."""
    problems = []
    for folder, names in sessions.items():
        path = _table_of(folder)
        others = [other for other in sorted(folder.glob("*sessions.tsv")) if other != path and other.name[0] != "."]
        problems += [Problem(other, f"not read, because the table has to be named {path.name}") for other in others]
        if not os.path.lexists(path):
            continue
        try:
            table, remarks = _visits(folder)
        except LayoutError as error:
            problems.append(Problem(path, str(error).removeprefix(f"{path}: ")))
            continue
        absent = sorted(set(table["session_id"]) - set(names) - {""})
        remarks += [f"{', '.join(absent)} has no folder here"] if absent and any(names) else []
        problems += [Problem(path, text) for text in remarks]
    return problems


def _visits(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    path = _table_of(folder)
    table, remarks = parse_table(path)
    _require_column(path, table, "session_id")
    sessions = sorted(place.name for place in folder.glob("ses-*") if place.is_dir())
    table, more = _with_folder_names(table, "session_id", sessions, "ses-")
    table, twice = _one_row_each(table, "session_id")
    remarks += more + twice
    if "days" in table.columns:
        remarks += _not_numbers(table, "session_id", "days")
    table, implausible = _within_bounds(table, "session_id")
    return table, remarks + implausible


def _table_of(folder: Path) -> Path:
    return folder / f"{folder.name}_sessions.tsv"


def _require_column(path: Path, table: pd.DataFrame, name: str) -> None:
    if name not in table.columns:
        raise LayoutError(f"{path}: needs a column {name}, has {', '.join(table.columns)}; is it tab-separated?")


def _with_folder_names(
    table: pd.DataFrame, column: str, folders: Sequence[str], prefix: str
) -> tuple[pd.DataFrame, list[str]]:
    """The table with names as the folders are spelled, and what was taken for what, or for nothing."""
    exact = set(table[column]) & set(folders)
    left = [folder for folder in folders if folder not in exact]
    names, remarks, absent = [], [], 0
    for name in table[column]:
        meant = name if name in exact else matched(name, left, prefix)
        if not meant:
            absent += 1
            if absent <= _MOST_NAMED:
                remarks.append(f"{column} {name!r} has no folder here; it needs to be named as the folder is")
        elif meant != name:
            remarks.append(f"{column} {name!r} is taken for {meant}")
        names.append(meant or name)
    if absent > _MOST_NAMED:
        remarks.append(f"{absent - _MOST_NAMED} more rows have no folder here")
    return table.assign(**{column: names}), remarks if len(folders) or column == "participant_id" else []


def _one_row_each(table: pd.DataFrame, column: str) -> tuple[pd.DataFrame, list[str]]:
    once = table.drop_duplicates()
    twice = sorted(set(once[column][once[column].duplicated()]))
    text = "stands in several rows that differ, so none of them is used; keep one"
    return once[~once[column].isin(twice)].reset_index(drop=True), [f"{name} {text}" for name in twice]


def _covariate_remarks(table: pd.DataFrame) -> list[str]:
    remarks = _not_numbers(table, "participant_id", "age") if "age" in table.columns else []
    if "group" not in table.columns:
        return [*remarks, "has no column group, so no one is a control and measures are not set against controls"]
    groups = sorted({cell for cell in table["group"] if cell})
    if not any(cell.lower() in CONTROL_GROUPS for cell in groups):
        remarks.append(f"no one is in the group control; the groups are {', '.join(groups) or 'not filled in'}")
    return remarks


def _within_bounds(table: pd.DataFrame, name: str = "participant_id") -> tuple[pd.DataFrame, list[str]]:
    """The table less ages, heights and days that nobody has, and what was left out."""
    remarks = []
    for column, (least, most, unit) in _BOUNDS.items():
        if column in table.columns:
            numbers = as_numbers(table[column])
            bad = (numbers < least) | (numbers > most)
            pairs = zip(table[name][bad], table[column][bad], strict=True)
            text = f"is none in {unit} ({least:g} to {most:g}) and counts as unknown"
            remarks += [f"{column} {cell!r} of {who} {text}" for who, cell in pairs]
            table = table.assign(**{column: table[column].mask(bad, "")})
    return table, remarks


def _not_numbers(table: pd.DataFrame, name: str, column: str) -> list[str]:
    cells = table[column]
    bad = table[(cells != "") & as_numbers(cells).isna()]
    pairs = zip(bad[name], bad[column], strict=True)
    return [f"{column} {cell!r} of {who} is no number and counts as unknown" for who, cell in pairs]
