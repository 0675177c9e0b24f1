"""What the explorer knows of a cohort: who, when, every number by measure and region, and what may be said of each.

The browser gets it as one JSON text (:meth:`ExplorerCohort.to_json`); Python's side of the widget reads the same
tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.change import change_limits
from ipha_toolkit.errors import DataError, LayoutError
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io import names
from ipha_toolkit.io.people import CONTROL_GROUPS, may_be_told
from ipha_toolkit.io.results import Results
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.wording import column_words

KEY = ["modality", "measure", "region"]
"""What names a number of a session."""

NO_WORD = "not said"
"""What stands for a group or phase that no table gives."""

_OWN_COLUMNS = {"session", "subject", "participant_id", "days", "phase", "group", "age", "sex"}
_DIGITS = 5


@dataclass(frozen=True)
class ExplorerCohort:
    """Sessions and numbers of a results folder, without any image."""

    results: Results
    also: tuple[str, ...] = ()
    """Columns of the clinic's tables that are shown although they might say who someone is."""

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """One row a session that has a number: ``label, subject, session, group, phase, reading, days, age, sex,
        control, modalities``, and the clinic's own columns, in order of subject and day.

        ``group``, ``phase`` and ``reading`` are text, :data:`NO_WORD` where nothing says them; ``days`` and ``age`` are
        NaN where they are not known.
        """
        rows = self.results.rows
        if rows.empty:
            raise DataError(f"{self.results.path}: holds no number; see what failed in {names.FAILURES}")
        found = rows[["subject", "session"]].drop_duplicates().reset_index(drop=True)
        found = _joined(found, self._people, ["subject"])
        found = _joined(found, self._visits, ["subject", "session"])
        found = _joined(found, self.results.readings[["subject", "session", "phase"]].set_axis(
            ["subject", "session", "reading"], axis=1), ["subject", "session"])  # fmt: skip
        found["label"] = [names.label_of(*key) for key in zip(found["subject"], found["session"], strict=True)]
        for name in ("group", "phase", "reading", "sex"):
            found[name] = _words(found[name]) if name in found else NO_WORD
        for name in ("days", "age"):
            found[name] = pd.to_numeric(found[name], errors="coerce") if name in found else np.nan
        found["control"] = found["group"].str.strip().str.lower().isin(CONTROL_GROUPS)
        pairs = rows[["subject", "session", "modality"]].drop_duplicates()
        by_session: dict[tuple[str, str], set[str]] = {}
        for subject, session, modality in pairs.itertuples(index=False):
            by_session.setdefault((subject, session), set()).add(modality)
        keys = zip(found["subject"], found["session"], strict=True)
        found["modalities"] = [[str(role) for role in Modality if role in by_session[key]] for key in keys]
        return found.sort_values(["subject", "days", "session"], ignore_index=True)

    @cached_property
    def clinic(self) -> list[str]:
        """Columns of ``participants.tsv`` and ``sub-*_sessions.tsv`` beyond those every cohort has that are shown: such
        as say nothing of who someone is, and those asked for.

        Raises
        ------
        ValueError
            Where a column asked for is not there.
        """
        missing = [name for name in self.also if name not in self._further]
        if missing:
            raise ValueError(f"also: no column {', '.join(missing)}; there are {', '.join(self._further) or 'none'}")
        return [name for name in self._further if name in self.also or _harmless(name, self.sessions[name])]

    @cached_property
    def _further(self) -> list[str]:
        own = {"label", "reading", "control", "modalities"} | _OWN_COLUMNS
        return [str(name) for name in self.sessions if name not in own]

    @cached_property
    def columns(self) -> pd.DataFrame:
        """Numbers by :data:`KEY` (index) and session label (columns, in order of :attr:`sessions`), NaN where none."""
        rows = self.results.rows
        labels = [names.label_of(*key) for key in zip(rows["subject"], rows["session"], strict=True)]
        wide = rows.assign(label=labels).pivot_table(index=KEY, columns="label", values="value", sort=False)
        return wide.reindex(columns=self.sessions["label"])

    def labels(self, given: Iterable[str], name: str) -> list[str]:
        """Sessions by any spelling of their names (``001_01``), as ``sub-001_ses-01``.

        Raises
        ------
        ValueError
            Where there is no such session; the message names the option they were given for.
        """
        found, known = [names.label_of(*names.session_key(label)) for label in given], set(self.sessions["label"])
        unknown = [label for label in found if label not in known]
        if unknown:
            raise ValueError(f"{name}: the results hold no session {', '.join(unknown)}; {_some(sorted(known))}")
        return found

    def nearest(self, modality: str | None, measure: str | None, region: str | None) -> tuple[str, str, str]:
        """The number asked for in part: what is None is taken as it is there, the whole lung and known measures first.

        Raises
        ------
        KeyError
            Where no session has it; the message says what there is.
        """
        wanted = (modality, measure, region)
        known = [key for key in self.columns.index if all(a in (None, b) for a, b in zip(wanted, key, strict=True))]
        first = next(
            ((*pair, region or Region.LUNG) for pair in _FIRST if (*pair, region or Region.LUNG) in known), None
        )
        if first is None:
            first = next((key for key in known if key[2] == Region.LUNG), known[0] if known else None)
        if first is None:
            raise KeyError(f"no session has {' '.join(filter(None, wanted))}; {self._what_there_is(modality, measure)}")
        return str(first[0]), str(first[1]), str(first[2])

    def _what_there_is(self, modality: str | None, measure: str | None) -> str:
        known = self.columns.index.to_frame()
        for name, given in (("modality", modality), ("measure", measure)):
            if given is not None and given not in set(known[name]):
                return f"{name} is one of {', '.join(dict.fromkeys(known[name]))}"
            known = known if given is None else known[known[name] == given]
        return f"region is one of {', '.join(dict.fromkeys(known['region']))}"

    def values(self, key: tuple[str, str, str]) -> pd.Series[float]:
        """One number of every session, by label."""
        found: pd.Series[float] = self.columns.iloc[self.columns.index.get_loc(key)]  # type: ignore[assignment]
        return found

    def flags_of(self, key: tuple[str, str, str]) -> pd.Series[str]:
        """The flags of one number of every session, by label."""
        found: pd.Series[str] = self.flags.iloc[self.flags.index.get_loc(key)]  # type: ignore[assignment]
        return found

    @cached_property
    def flags(self) -> pd.DataFrame:
        """The flags of every number, as :attr:`columns`: codes joined by ``;``, empty where none."""
        rows = self.results.rows
        labels = [names.label_of(*key) for key in zip(rows["subject"], rows["session"], strict=True)]
        flagged = rows.assign(label=labels).drop_duplicates([*KEY, "label"])
        wide = flagged.pivot_table(index=KEY, columns="label", values="flag", aggfunc="first", sort=False)
        return wide.reindex(index=self.columns.index, columns=self.sessions["label"]).fillna("")

    def to_json(self) -> str:
        """All of it as the browser reads it; missing numbers are null."""
        return json.dumps(
            {
                "sessions": self._session_list(), "columns": self._column_list(), "combinations": self._combinations,
                "measures": {name: _measure(name) for name in dict.fromkeys(self.columns.index.get_level_values(1))},
                "flags": {code: FLAGS[code] for code in self._codes if code in FLAGS},
                "clinic": [_clinic(name, self.sessions[name]) for name in self.clinic], "courses": self._courses(),
                "withheld": [name for name in self._further if name not in self.clinic],
            },
            separators=(",", ":"), allow_nan=False,
        )  # fmt: skip

    @cached_property
    def _combinations(self) -> list[str]:
        return sorted(set(np.unique(self.flags.to_numpy(str)).tolist()) | {""})

    @cached_property
    def _codes(self) -> list[str]:
        return sorted({code for cell in self._combinations for code in cell.split(";") if code})

    def _session_list(self) -> list[dict[str, Any]]:
        shown = self.sessions
        image = [
            {modality: sorted(codes) for modality, codes in self._image_flags(row).items() if codes}
            for row in zip(shown["subject"], shown["session"], strict=True)
        ]
        return [
            {
                "label": row["label"], "subject": row["subject"], "session": row["session"], "group": row["group"],
                "phase": row["phase"], "reading": row["reading"], "days": _number(row["days"]),
                "age": _number(row["age"]), "sex": row["sex"], "control": bool(row["control"]),
                "modalities": row["modalities"], "flags": flags,
                "clinic": {name: _cell(row[name]) for name in self.clinic},
            }
            for row, flags in zip(shown.to_dict("records"), image, strict=True)
        ]  # fmt: skip

    def _image_flags(self, key: tuple[str, str]) -> dict[str, set[str]]:
        return self._flags_by_session.get(key, {})

    @cached_property
    def _flags_by_session(self) -> dict[tuple[str, str], dict[str, set[str]]]:
        """What is said of each image: flags that all its rows carry."""
        found: dict[tuple[str, str], dict[str, set[str]]] = {}
        cells = self.results.rows.drop_duplicates(["subject", "session", "modality", "flag"])
        for row in cells.to_dict("records"):
            own = found.setdefault((row["subject"], row["session"]), {})
            codes = set(filter(None, row["flag"].split(";")))
            own[row["modality"]] = own.get(row["modality"], codes) & codes
        return found

    def _column_list(self) -> list[dict[str, Any]]:
        limits = change_limits().to_dict("index")
        order = {cell: n for n, cell in enumerate(self._combinations)}
        values, flags = _rounded(self.columns.to_numpy(float)), self.flags.to_numpy(str)
        coded = np.vectorize(order.__getitem__, otypes=[int])(flags) if flags.size else flags
        columns = []
        for (modality, measure, region), own, codes in zip(self.columns.index, values, coded, strict=True):
            known = np.isfinite(own)
            column: dict[str, Any] = {"modality": modality, "measure": measure, "region": region}
            column["v"] = [value if there else None for value, there in zip(own.tolist(), known.tolist(), strict=True)]
            codes = np.where(known, codes, 0)
            if codes.any():
                column["f"] = codes.tolist()
            if limit := limits.get((modality, region, measure)):
                column["limit"] = [float(f"{part:.4g}") for part in limit.values()]
            columns.append(column)
        return columns

    def _courses(self) -> dict[str, list[dict[str, Any]]]:
        """Of each subject, what the clinic knows of every date, imaged or not, in order of the day."""
        table = self._visits
        if "days" not in table:
            return {}
        table = table.assign(days=pd.to_numeric(table["days"], errors="coerce")).dropna(subset="days")
        kept = [name for name in table if name in ("phase", *self.clinic)]
        found: dict[str, list[dict[str, Any]]] = {}
        for row in table.sort_values(["subject", "days"]).to_dict("records"):
            seen = {str(name): _cell(row[name]) for name in kept}
            visit = {
                "label": names.label_of(row["subject"], row["session"]),
                "days": _number(row["days"]),
                "seen": seen,
            }
            found.setdefault(str(row["subject"]), []).append(visit)
        return found

    @cached_property
    def _people(self) -> pd.DataFrame:
        try:
            return self.results.participants.rename(columns={"participant_id": "subject"})
        except LayoutError:
            return pd.DataFrame({"subject": []}, dtype=str)

    @cached_property
    def _visits(self) -> pd.DataFrame:
        try:
            return self.results.visits
        except LayoutError:
            return pd.DataFrame({"subject": [], "session": []}, dtype=str)


_FIRST = (
    (Modality.CT, "ground_glass_fraction"), (names.PAIR, "signature_fraction"), (Modality.T1W, "signal_ratio_median"),
    (Modality.T2W, "signal_ratio_median"), (Modality.DX, "film_opacity_mean"), (Modality.MEGRE, "r2star_median"),
)  # fmt: skip


def _some(labels: list[str]) -> str:
    more = f" and {len(labels) - 12} more" if len(labels) > 12 else ""
    return f"there are {', '.join(labels[:12])}{more}"


def _joined(table: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The table with another's columns, those it has already under the other's name left as they are."""
    fresh = [name for name in other if name not in table]
    if other.empty or not fresh:
        return table
    return table.merge(other[[*keys, *fresh]].drop_duplicates(keys), on=keys, how="left")


def _words(cells: pd.Series[Any]) -> pd.Series[str]:
    text = cells.astype(object).where(cells.notna(), "").astype(str).str.strip()
    return text.where(text != "", NO_WORD)


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Numbers with five figures, which is more than any reader sees."""
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(np.log10(np.abs(values)))
    power = np.where(np.isfinite(power), power, 0)
    places = np.clip(_DIGITS - 1 - power, 0, 15)
    return np.asarray(np.round(values * 10.0**places) / 10.0**places)


def _number(value: Any) -> float | None:
    found = float(value)
    return found if np.isfinite(found) else None


def _cell(value: Any) -> float | str | None:
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return None
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)


def _measure(name: str) -> dict[str, str]:
    entry = MEASURES.get(name)
    if entry is None:
        return {"definition": "", "unit": "", "worse": "neither", "source": ""}
    return {"definition": entry.definition, "unit": entry.unit, "worse": str(entry.worse), "source": entry.source}


def _harmless(name: str, cells: pd.Series[Any]) -> bool:
    return may_be_told(name, cells) or _kind(cells) == "yes"


def _kind(cells: pd.Series[Any]) -> str:
    """Whether a column holds numbers, yes and no, or other text."""
    known = cells.dropna()
    words = {str(cell).strip().lower() for cell in known}
    if words and words <= {"yes", "no", "n/a", ""}:
        return "yes"
    return "number" if pd.api.types.is_numeric_dtype(cells) and len(known) else "text"


def _clinic(name: str, cells: pd.Series[Any]) -> dict[str, str]:
    """A column of the clinic's: name and unit as a reader sees them, whether it holds numbers or yes and no."""
    label, unit = column_words(str(name))
    kind = _kind(cells)
    return {"name": str(name), "label": label, "unit": unit, "kind": kind}
