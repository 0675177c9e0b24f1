"""What the rows of a session say, looked up once for its findings, its phase and the gate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.flags import RATED_UNUSABLE
from ipha_toolkit.measure.rows import flags_of
from ipha_toolkit.terms import Region


@dataclass(frozen=True)
class Said:
    """The rows of one session by what is asked of them.

    ``values``: value and cell of flags of each measure of the whole lung, by modality and measure. ``flags``: of all
    rows, by modality. ``measured``: modalities with a value. ``of_lung``: flags on rows of the whole lung, by modality.
    In ``values`` and ``flags`` images that a rater called unusable are left out.
    """

    values: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    flags: dict[str, set[str]] = field(default_factory=dict)
    measured: set[str] = field(default_factory=set)
    of_lung: dict[str, set[str]] = field(default_factory=dict)


def said_of(rows: pd.DataFrame) -> Said:
    """What the rows of one session say.

    Raises
    ------
    ValueError
        Where the rows are of several sessions.
    """
    found = list(said_by_session(rows))
    if len(found) > 1:
        raise ValueError(f"a reading is of one session; the rows are of {len(found)}, use read_sessions")
    return found[0][1] if found else Said()


def said_by_session(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str], Said]]:
    """Subject and session with what their rows say, in order of first appearance; a cohort's rows are gone through
    once."""
    number = rows.groupby(["subject", "session"], sort=False).ngroup().to_numpy()
    keys = rows[["subject", "session"]].iloc[[n for n, _ in _distinct(number)]]
    said = [Said() for _ in range(len(keys))]
    modality, modalities = pd.factorize(rows["modality"].astype(str))
    flag, cells = pd.factorize(rows["flag"].fillna("").astype(str))
    codes = [flags_of(cell) for cell in cells]
    usable = np.array([RATED_UNUSABLE not in own for own in codes], bool)[flag]
    lung, known = (rows["region"] == Region.LUNG).to_numpy(), rows["value"].notna().to_numpy()
    for _, (n, m) in _distinct(number[known], modality[known]):
        said[n].measured.add(modalities[m])
    for _, (n, m, f) in _distinct(number[usable], modality[usable], flag[usable]):
        said[n].flags.setdefault(modalities[m], set()).update(codes[f])
    for _, (n, m, f) in _distinct(number[lung], modality[lung], flag[lung]):
        said[n].of_lung.setdefault(modalities[m], set()).update(codes[f])
    at = np.flatnonzero(lung & usable)
    measures, values = rows["measure"].iloc[at].astype(str), rows["value"].iloc[at].astype(float)
    for n, m, measure, value, f in zip(number[at], modality[at], measures, values, flag[at], strict=True):
        said[n].values[modalities[m], measure] = value, cells[f]
    return zip(keys.itertuples(index=False, name=None), said, strict=True)


def _distinct(*codes: npt.NDArray[Any]) -> list[tuple[int, tuple[int, ...]]]:
    """Each combination of codes once, with the place where it first stands, in the order of these."""
    whole = np.zeros(len(codes[0]), np.int64)
    for column in codes:
        whole = whole * (int(column.max(initial=0)) + 1) + column
    places = np.sort(np.unique(whole, return_index=True)[1])
    return [(int(n), tuple(int(column[n]) for column in codes)) for n in places]
