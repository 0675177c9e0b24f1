"""How far every measure of a cohort lies outside the matching controls, each control left out of its own reference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS, versus_controls
from ipha_toolkit.compare.matching import Match, Matching
from ipha_toolkit.compare.single_case import Design, Plain, as_normal
from ipha_toolkit.measure.rows import comparable, flags_of, joined, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region

Array = npt.NDArray[np.float64]
People = Mapping[str, Mapping[str, float]]

_IMAGE, _KEY = ["subject", "session", "modality"], ["modality", "region", "measure"]
_COVARIATES = ("age", "height_cm")


def scores(rows: pd.DataFrame, matching: Matching, people: People, protocol: Protocol = DEFAULT) -> pd.DataFrame:
    """For each measure m of each image its ``m_vs_controls``, by Crawford and Howell's t on the scale of a normal
    distribution.

    Parameters
    ----------
    rows : DataFrame
        Rows of all sessions, those from histograms included.
    matching : Matching
    people : mapping of str to mapping
        ``age`` in years and ``height_cm`` of each subject, as far as known.
    protocol : Protocol

    Returns
    -------
    DataFrame
        Rows of the one table, those of one measure together; none where fewer than two controls match.
    """
    known = comparable(rows)
    known = known[known["value"].notna()]
    images = known[_IMAGE].drop_duplicates().itertuples(index=False, name=None)
    matches = [matching.of(subject, session, modality) for subject, session, modality in images]
    number = known.groupby(_IMAGE, sort=False).ngroup().to_numpy()
    about = _About(known, people, _Sets(matching))
    parts = []
    for at in _places(known.groupby(_KEY, sort=False).ngroup().to_numpy()):
        parts += _of_measure(known.iloc[at], [matches[n] for n in number[at]], about, protocol)
    if not parts:
        return table([])
    found = pd.concat(parts, ignore_index=True)
    return found.assign(value=as_normal(found["value"], found.pop("free")))[list(ROW_COLUMNS)]


def _places(number: npt.NDArray[np.integer[Any]]) -> list[npt.NDArray[np.intp]]:
    """Places of each group, by its number, each in the order of the rows."""
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []


class _Sets:
    """Matching sessions of controls as places in the list of all."""

    def __init__(self, matching: Matching) -> None:
        self.place = {key: n for n, key in enumerate(matching.controls)}
        self.subjects = sorted({subject for subject, _ in matching.controls})
        number = {subject: n for n, subject in enumerate(self.subjects)}
        self.owner = np.array([number[subject] for subject, _ in matching.controls], int)
        self._chosen: dict[frozenset[tuple[str, str]], npt.NDArray[np.bool_]] = {}

    def chosen(self, match: Match) -> npt.NDArray[np.bool_]:
        """Which of all sessions of controls match, shape (sessions,)."""
        if match.sessions not in self._chosen:
            found = np.zeros(len(self.place), bool)
            found[[self.place[key] for key in match.sessions]] = True
            self._chosen[match.sessions] = found
        return self._chosen[match.sessions]


class _About:
    """What is known of people beside a measure: age, height, and lung volume in each modality."""

    def __init__(self, known: pd.DataFrame, people: People, sets: _Sets) -> None:
        self.sets, self._people, self._volumes = sets, people, _lung_volumes(known)
        self._found: dict[tuple[str, str, bool], list[float]] = {}
        self.designs: dict[tuple[int, bytes], Design] = {}

    def of(self, subjects: list[str], modality: str, measure: str) -> Array:
        """Age in years, height in cm, lung volume in mL of the image measured, shape (n, 3); NaN where unknown."""
        return np.array([self._of(subject, modality, measure == "lung_volume") for subject in subjects]).reshape(-1, 3)

    def _of(self, subject: str, modality: str, is_volume: bool) -> list[float]:
        key = (subject, modality, is_volume)
        if key not in self._found:
            own = self._people.get(subject, {})
            volume = np.nan if is_volume else self._volumes.get((subject, modality), np.nan)
            self._found[key] = [*(own.get(column, np.nan) for column in _COVARIATES), volume]
        return self._found[key]


def _of_measure(own: pd.DataFrame, matches: list[Match], about: _About, protocol: Protocol) -> list[pd.DataFrame]:
    """Rows of one measure of one region: t, its degrees of freedom, flags; by the controls they are set against."""
    modality, measure = str(own["modality"].iloc[0]), str(own["measure"].iloc[0])
    sets, values = about.sets, own["value"].to_numpy(float)
    subjects = [str(subject) for subject in own["subject"]]
    theirs = _by_session(subjects, own["session"].tolist(), values, sets)
    covariates, of_controls = (about.of(names, modality, measure) for names in (subjects, sets.subjects))
    t, free, flags = np.full(len(own), np.nan), np.zeros(len(own)), np.empty(len(own), object)
    kept, cells = np.zeros(len(own), bool), own["flag"].to_numpy(object)
    for match, at in _alike(matches):
        means, who = _means(theirs, sets.chosen(match), sets)
        if len(means) < 2:
            continue
        few = ["few_controls"] if len(means) < protocol.signal.few_controls else []
        t[at], free[at], said = _Others(means, of_controls[who], about.designs, protocol).distances(
            values[at], covariates[at]
        )
        more = frozenset([*match.flags, *few])
        flags[at] = [_cell(cell, more, word) for cell, word in zip(cells[at], said, strict=True)]
        kept[at] = True
    name = versus_controls(measure)
    found = own.assign(measure=name, value=t, unit=MEASURES[name].unit, flag=flags, free=free)
    return [found[kept]] if kept.any() else []


def _alike(matches: list[Match]) -> list[tuple[Match, npt.NDArray[np.intp]]]:
    """Each match, and which rows it is of."""
    places: dict[int, tuple[Match, list[int]]] = {}
    for n, match in enumerate(matches):
        places.setdefault(id(match), (match, []))[1].append(n)
    return [(match, np.array(at)) for match, at in places.values()]


def _by_session(subjects: list[str], sessions: list[Any], values: Array, sets: _Sets) -> Array:
    """The value of every session of controls, shape (sessions,); NaN where there is none."""
    found = np.full(len(sets.place), np.nan)
    for subject, session, value in zip(subjects, sessions, values, strict=True):
        if (place := sets.place.get((subject, session))) is not None:
            found[place] = value
    return found


def _means(values: Array, chosen: npt.NDArray[np.bool_], sets: _Sets) -> tuple[Array, npt.NDArray[np.intp]]:
    """Mean of each matching control over its sessions, and which of all controls these are."""
    usable = chosen & np.isfinite(values)
    counts = np.bincount(sets.owner[usable], minlength=len(sets.subjects))
    sums = np.bincount(sets.owner[usable], values[usable], minlength=len(sets.subjects))
    who = np.flatnonzero(counts)
    return sums[who] / counts[who], who


class _Others:
    """The controls of one measure that some images are set against, looked at once."""

    def __init__(
        self, values: Array, covariates: Array, designs: dict[tuple[int, bytes], Design], protocol: Protocol
    ) -> None:
        self._values, self._covariates, self._designs, self._protocol = values, covariates, designs, protocol
        self._usable = np.isfinite(covariates).all(axis=0)

    def distances(self, values: Array, own: Array) -> tuple[Array, Array, list[str]]:
        """Student's t of values, their degrees of freedom, and what is to be said of each.

        Parameters
        ----------
        values : ndarray, shape (m,)
        own : ndarray, shape (m, 3)
            Covariates of the people whose values these are.
        """
        usable = self._usable & np.isfinite(own)
        if len(self._values) < self._protocol.gate.covariate_controls:
            usable[:] = False
        t, free, said = np.empty(len(values)), np.empty(len(values)), np.empty(len(values), object)
        patterns = usable @ (1 << np.arange(usable.shape[1]))
        for pattern in set(patterns.tolist()):
            at = np.flatnonzero(patterns == pattern)
            columns = usable[at[0]]
            if columns.any():
                t[at], free[at] = self._design(columns).fit(self._values).t(values[at], own[np.ix_(at, columns)])
                said[at] = "adjusted"
            else:
                t[at], free[at] = Plain(self._values).t(values[at])
                said[at] = np.where(self._of_other_age(own[at, 0]), "other_age", "")
        return t, free, said.tolist()

    def _design(self, columns: npt.NDArray[np.bool_]) -> Design:
        """The same for all measures of one modality and set of controls."""
        theirs = np.ascontiguousarray(self._covariates[:, columns])
        key = (theirs.shape[1], theirs.tobytes())
        if key not in self._designs:
            self._designs[key] = Design(theirs)
        return self._designs[key]

    def _of_other_age(self, ages: Array) -> npt.NDArray[np.bool_]:
        """Whether people lie outside the controls' ages; from where lungs are grown, ages are alike."""
        grown, slack = self._protocol.gate.grown_years, self._protocol.gate.age_years
        own, theirs = np.minimum(ages, grown), np.minimum(self._covariates[:, 0], grown)
        if not np.isfinite(theirs).any():
            return np.zeros(ages.shape, bool)
        return np.asarray((own < np.nanmin(theirs) - slack) | (own > np.nanmax(theirs) + slack), bool)


@cache
def _cell(cell: str, more: frozenset[str], said: str) -> str:
    """Few cells make up a whole cohort."""
    return joined(flags_of(cell) | more | ({said} if said else set()))


def _lung_volumes(known: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Lung volume of each subject in each modality, the mean of its sessions, mL."""
    own = known[(known["measure"] == "lung_volume") & (known["region"] == Region.LUNG)]
    means = own.groupby(["subject", "modality"])["value"].mean()
    return {(str(s), str(m)): float(v) for (s, m), v in zip(means.index, means, strict=True)}
