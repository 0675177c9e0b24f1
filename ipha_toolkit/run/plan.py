"""The plan of an import: what each series in a hospital's folder is, and what it would become, with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.io.dicom import Part, parts
from ipha_toolkit.io.dicom_facts import facts
from ipha_toolkit.io.dicom_headers import scan
from ipha_toolkit.io.dicom_volume import read_frame
from ipha_toolkit.io.identifiers import KEY_COLUMNS, identity, next_label, read_key, taken_labels, write_key
from ipha_toolkit.io.series_table import (
    COLUMNS,
    EDITED,
    FACTS,
    MASK,
    as_text,
    read_series_table,
    write_series_table,
)
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.series_rules import NONE, OPEN, Proposal, choose, labels_of, propose_role
from ipha_toolkit.terms import Modality

FOLDER = "import"
"""Folder of a cohort that holds what an import decided; no image of it is ever analyzed."""
TABLE, KEY = "series.tsv", "key.tsv"

Sources = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class ImportPlan:
    """Series found, what they are, and what they become.

    ``table``: a row a series, text in every cell, ready for :func:`ipha_toolkit.io.series_table.write_series_table`;
    columns ``subject, session, role, labels, seen`` are the user's. ``key``: whom the labels stand for.
    ``parts``: the images themselves, by series. ``problems``: what could not be read. ``new``: series that stood in no
    table before.
    """

    table: pd.DataFrame
    key: pd.DataFrame
    parts: Mapping[str, Part]
    problems: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    def edit(self, series: str, **cells: str) -> ImportPlan:
        """The plan with other cells for one series.

        Raises
        ------
        ValueError
            Where there is no such series, or a column is not the user's.
        """
        wrong = [name for name in cells if name not in EDITED]
        if wrong:
            raise ValueError(f"{wrong[0]} is no column to edit; these are: {', '.join(EDITED)}")
        if series not in set(self.table["series"]):
            raise ValueError(f"no series {series}; there are {', '.join(self.table['series'])}")
        table = self.table.copy()
        table.loc[table["series"] == series, list(cells)] = list(cells.values())
        return replace(self, table=table)

    def picture(self, series: str) -> npt.NDArray[np.float32]:
        """The middle slice as it stands in the file, shape (rows, columns); one value where there is no image."""
        frames = self.parts[series].echoes[0].frames if self.parts[series].echoes else ()
        return read_frame(frames[len(frames) // 2]) if frames else np.zeros((1, 1), np.float32)

    def save(self, out: str | os.PathLike[str]) -> Path:
        """Write table and key into a cohort folder; returns the table's path."""
        folder = Path(out) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        write_key(folder / KEY, self.key)
        write_series_table(folder / TABLE, self.table)
        return folder / TABLE

    def __repr__(self) -> str:
        roles = self.table["role"].value_counts()
        return f"<ImportPlan {len(self.table)} series: {', '.join(f'{n} {role}' for role, n in roles.items())}>"


def plan_import(
    source: Sources,
    out: str | os.PathLike[str] | None = None,
    *,
    protocol: Protocol = DEFAULT,
    progress: bool = True,
) -> ImportPlan:
    """Look through DICOM files and propose what each series becomes. Reads headers only, writes nothing.

    Parameters
    ----------
    source : path or sequence of paths
        Folders, zip files or single files.
    out : path, optional
        Cohort folder; rows of its ``import/series.tsv`` and labels of its ``import/key.tsv`` stay as they are.
    protocol : Protocol
        ``series`` holds the rules.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ImportPlan

    Raises
    ------
    ReadError
        Where no DICOM file is found, a zip file is encrypted, or files that a DICOMDIR lists are missing.
    LayoutError
        Where a table of the cohort folder cannot be read.
    ProtocolError
        Where a rule cannot be read.
    """
    sources = [Path(source)] if isinstance(source, str | os.PathLike) else [Path(each) for each in source]
    found = scan(sources, progress=progress)
    images = _in_order(parts(found.series))
    root = Path(out) if out is not None else None
    folder = None if root is None else root / FOLDER
    old = _old_table(folder)
    key = read_key(folder / KEY) if folder is not None else read_key(Path(os.devnull) / KEY)
    key = _with_labels(key, images, root)
    known = dict(zip(key["series_key"], key["series"], strict=True))
    by_series = {known[part.key]: part for part in images}
    table = _table(by_series, key, old, protocol)
    new = tuple(name for name in table["series"] if name not in set(old["series"]))
    return ImportPlan(table, key, by_series, tuple(found.problems), new)


def _old_table(folder: Path | None) -> pd.DataFrame:
    if folder is None or not (folder / TABLE).exists():
        return pd.DataFrame({name: [] for name in COLUMNS}, dtype=str)
    return read_series_table(folder / TABLE)


def _in_order(images: Iterable[Part]) -> list[Part]:
    """By the day of the patient's first scan, the patient, the day, and the number of the series."""
    dated = [(identity(part), part) for part in images]
    first: dict[str, str] = {}
    for who, _ in dated:
        day = who["study_date"] or "99999999"
        first[who["patient"]] = min(first.get(who["patient"], day), day)

    def place(entry: tuple[dict[str, str], Part]) -> tuple[object, ...]:
        who, part = entry
        number = str(part.series.header.get("SeriesNumber") or "")
        order = int(number) if number.isdigit() else 0
        instance = part.frames[0].instance if part.echoes else 0
        return first[who["patient"]], who["patient"], who["study_date"] or "99999999", order, instance, part.key

    return [part for _, part in sorted(dated, key=place)]


def _with_labels(key: pd.DataFrame, images: Sequence[Part], root: Path | None) -> pd.DataFrame:
    """The key with rows for images it does not know; labels it gave before stay."""
    rows = [{str(name): str(cell) for name, cell in row.items()} for row in key.to_dict("records")]
    known = {row["series_key"] for row in rows}
    there = taken_labels(root, [row["subject"] for row in rows]) if root is not None and root.is_dir() else []
    for part in images:
        who = identity(part)
        if who["series_key"] in known:
            continue
        known.add(who["series_key"])
        subject = next((row["subject"] for row in rows if row["patient"] == who["patient"]), "")
        subject = subject or next_label("sub", [*there, *(row["subject"] for row in rows)], 3)
        session = _session(rows, subject, who)
        series = f"s{1 + max((int(row['series'][1:]) for row in rows), default=0):03}"
        rows.append({"series": series, "subject": subject, "session": session, **who})
    return pd.DataFrame(rows, columns=list(KEY_COLUMNS), dtype=str)


def _session(rows: Sequence[Mapping[str, str]], subject: str, who: Mapping[str, str]) -> str:
    """One session a day; a study of its own where the header gives no day."""
    of_subject = [row for row in rows if row["subject"] == subject]
    same = "study_date" if who["study_date"] else "study_uid"
    for row in of_subject:
        if row["study_date"] == who["study_date"] and row[same] == who[same]:
            return row["session"]
    return next_label("ses", [row["session"] for row in of_subject], 2)


def _table(by_series: Mapping[str, Part], key: pd.DataFrame, old: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    told = {series: facts(part, protocol=protocol) for series, part in by_series.items()}
    who = {str(row["series"]): (str(row["subject"]), str(row["session"])) for row in key.to_dict("records")}
    before = {str(row["series"]): {str(k): str(v) for k, v in row.items()} for row in old.to_dict("records")}
    _count_echoes(told, by_series, who)
    rows: dict[str, dict[str, str | float]] = {}
    for series, part in by_series.items():
        rows[series] = _row(series, part, told[series], protocol)
        rows[series] |= dict(zip(("subject", "session"), who[series], strict=True))
        if series in before:
            rows[series] |= {name: before[series].get(name, "") for name in (*EDITED, "sure", "reason")}
    _settle_claims(rows, told, set(before), protocol)
    every = [row for _, row in sorted(({**before, **rows}).items())]
    return as_text(pd.DataFrame(every, columns=list(COLUMNS)).fillna(""))


def _row(series: str, part: Part, told: Mapping[str, str | float], protocol: Protocol) -> dict[str, str | float]:
    """What is proposed for one series, and what is known of it."""
    proposal = _propose(told, protocol)
    labels = labels_of(told, proposal.role, protocol.series.labels)
    row: dict[str, str | float] = {
        "series": series, "role": proposal.role, "labels": " ".join(f"{k}-{v}" for k, v in labels.items()), "seen": "",
        "sure": proposal.sure, "reason": "; ".join(filter(None, [part.words, proposal.reason])),
        "wrong": told.get("wrong", "") or "; ".join(part.wrong),
    }  # fmt: skip
    facts_told = {name: told.get(name, "") for name in FACTS}
    return row | facts_told | {"te_ms": told.get("te_all_ms", ""), "files": str(part.series.n_files)}


def _propose(told: Mapping[str, str | float], protocol: Protocol) -> Proposal:
    if told["kind"] in ("segmentation", "contours"):
        return Proposal(MASK, "sure", f"{told['kind']} drawn on another series")
    settings = protocol.series
    return propose_role(
        told, settings.roles, roles=list(Modality), least=settings.least, sure=settings.sure, margin=settings.margin
    )


def _count_echoes(
    told: dict[str, dict[str, str | float]], by_series: Mapping[str, Part], who: Mapping[str, tuple[str, str]]
) -> None:
    """Echoes that came as series of their own count together: alike in all but the echo time."""
    families: dict[tuple[object, ...], list[str]] = {}
    for series, fact in told.items():
        if fact.get("echoes") == 1.0 and fact.get("te_ms") != "" and fact.get("component") == "magnitude":
            stack = by_series[series].echoes[0]
            grid = tuple(np.round(stack.affine, 1).ravel()) + stack.shape
            same = tuple(str(fact[name]) for name in ("sequence", "tr_ms", "flip_deg", "contrast"))
            families.setdefault((*who[series], *same, *grid), []).append(series)
    for family in families.values():
        times = {told[series]["te_ms"] for series in family}
        if len(times) == len(family) >= 3:
            for series in family:
                told[series]["echoes"] = float(len(family))
                told[series]["family"] = family[0]


def _settle_claims(
    rows: Mapping[str, dict[str, str | float]],
    told: Mapping[str, dict[str, str | float]],
    fixed: set[str],
    protocol: Protocol,
) -> None:
    """Of several series for one role in a session, one takes it; those that the user settled before keep theirs."""
    claims: dict[tuple[str, ...], list[str]] = {}
    for series, row in rows.items():
        if row["role"] in list(Modality):
            group = "exp" if "acq-exp" in str(row["labels"]).split() else ""
            claims.setdefault((str(row["subject"]), str(row["session"]), str(row["role"]), group), []).append(series)
    for (_, _, role, _), claimants in claims.items():
        units = list(dict.fromkeys(str(told[series].get("family", series)) for series in claimants))
        settled = [unit for unit in units if unit in fixed]
        if len(units) < 2 or len(settled) == len(units):
            continue
        left, why = choose([told[unit] for unit in units], role, protocol.series.choice)
        tied = [units[n] for n in left] if len(left) > 1 and not settled else []
        winner = settled[0] if settled else units[left[0]]
        chosen = "stood there before" if settled else f"by {why}"
        for series in set(claimants) - fixed:
            unit, reason = str(told[series].get("family", series)), rows[series]["reason"]
            if unit in tied:
                others = ", ".join(other for other in tied if other != unit)
                said = f"{role} as well as {others}: no rule tells them apart; {reason}"
                rows[series] |= {"role": OPEN, "sure": OPEN, "reason": said}
            elif unit != winner:
                said = f"{role} is taken by {winner}, {chosen}; {reason}"
                rows[series] |= {"role": NONE, "labels": "", "reason": said}
