"""Change between two dates: what differs by more than two scans of the same lung would, and which nodules stayed.

"Unchanged" is a finding with a number: the smallest change that could have been told from the scatter of repeated
scans. The package's own table of that scatter comes from test-retest pairs on the phantom, whose breath differs by an
SD of 4 % of lung volume (chosen) and which knows no other scanner: real pairs may scatter more. Pairs of one's own
scanner, given to :func:`repeatability`, are better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, Worse
from ipha_toolkit.compare.gate import WITHHELD, Verdict, judge_change
from ipha_toolkit.compare.groups import require
from ipha_toolkit.compare.matching import facts_by_image, unlike
from ipha_toolkit.io.packaged import read_packaged
from ipha_toolkit.measure.rows import comparable, flags_of, joined
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region

_KEY = ["modality", "region", "measure"]

_NORMAL_95 = 1.959964

_CHANGE_COLUMNS = [
    "subject", "session_from", "session_to", "days", *_KEY, "before", "after", "change", "smallest_detectable_change",
    "unit", "verdict", "limits", "flag",
]  # fmt: skip


def repeatability(test: pd.DataFrame, retest: pd.DataFrame) -> pd.DataFrame:
    """Scatter of every measure between two scans of an unchanged lung.

    Parameters
    ----------
    test, retest : DataFrame
        Rows of the one table; each subject once in each, paired by subject, modality, region and measure.

    Returns
    -------
    DataFrame
        ``modality, region, measure, unit, n_pairs, sd_within`` (within-subject standard deviation, in the unit of the
        measure), ``repeatability_coefficient`` (two further scans of a lung differ by less in 95 % of cases, by t of so
        many pairs), and ``low, high``, the 95 % interval of what it would be if the scatter were known. A
        difference between the two rounds that all subjects share counts as scatter.
        ``sd_at_zero`` and ``sd_share``: the same scatter where it grows with what is measured, a constant part in the
        measure's unit and a share of its level, as squares added; a change is judged by the larger of both scatters.

    Raises
    ------
    ValueError
        Where a subject has several rows of one measure in one round, or nothing is paired.

    References
    ----------
    Bland & Altman 1999, doi 10.1177/096228029900800204, scatter that grows with the level in its section 3; interval
    by the chi-squared distribution.
    """
    keys = ["subject", *_KEY]
    for name, frame in (("test", test), ("retest", retest)):
        if frame.duplicated(keys).any():
            twice = frame.loc[frame.duplicated(keys), keys].iloc[0].to_dict()
            raise ValueError(f"{name} rows hold a measure of one subject more than once, first: {twice}")
    pairs = test[[*keys, "value"]].merge(retest[[*keys, "value"]], on=keys, suffixes=("_test", "_retest")).dropna()
    if pairs.empty:
        raise ValueError("no subject, modality, region and measure is in both test and retest rows")
    pairs["half_square"] = (pairs["value_test"] - pairs["value_retest"]) ** 2 / 2
    pairs["level"] = (pairs["value_test"].abs() + pairs["value_retest"].abs()) / 2
    grouped = pairs.groupby(_KEY, sort=False)
    found = grouped["half_square"].agg(["mean", "size"]).reset_index()
    parts = [_by_level(part["half_square"].to_numpy(), part["level"].to_numpy()) for _, part in grouped]
    found["sd_at_zero"], found["sd_share"] = np.transpose(parts)
    found["unit"] = found["measure"].map(lambda name: MEASURES[name].unit)
    found["n_pairs"] = found["size"].astype(int)
    found["sd_within"] = np.sqrt(found["mean"])
    found["repeatability_coefficient"] = _coefficient(found, 0.95)
    low, high = _chi_factors(found["n_pairs"].to_numpy())
    found["low"], found["high"] = (_NORMAL_95 * np.sqrt(2) * found["sd_within"] * factor for factor in (low, high))
    columns = [*_KEY, "unit", "n_pairs", "sd_within", "repeatability_coefficient", "low", "high"]
    return found[[*columns, "sd_at_zero", "sd_share"]]


def phantom_repeatability() -> pd.DataFrame:
    """The package's table of :func:`repeatability`, from test-retest pairs on the phantom."""
    return read_packaged("repeatability.tsv")


def change_limits(scatter: pd.DataFrame | None = None, *, protocol: Protocol = DEFAULT) -> pd.DataFrame:
    """What the smallest detectable change of every measure is made of, for those who draw it.

    Parameters
    ----------
    scatter : DataFrame, optional
        As of :func:`repeatability`; None takes :func:`phantom_repeatability`.
    protocol : Protocol
        ``change.confidence``.

    Returns
    -------
    DataFrame
        ``pooled, at_zero`` (in the measure's unit) and ``share`` by modality, region and measure: at a level x the
        smallest detectable change is the larger of ``pooled`` and ``hypot(at_zero, share * x)``, as in
        :func:`compare_sessions`.
    """
    known = _known(scatter)
    pooled, at_zero, share = _limits(known, protocol.change.confidence)
    found = known[_KEY].assign(pooled=pooled, at_zero=np.nan_to_num(at_zero), share=np.nan_to_num(share))
    return found.set_index(_KEY)


def compare_sessions(
    rows: pd.DataFrame,
    sessions: pd.DataFrame | None = None,
    *,
    scatter: pd.DataFrame | None = None,
    acquisitions: pd.DataFrame | None = None,
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """Change of every measure from each session of a subject to the next.

    Parameters
    ----------
    rows : DataFrame
        The one table; rows against controls and rows that describe the scan are left out.
    sessions : DataFrame, optional
        ``subject, session, days``, which put the sessions in order. None orders them by name, and so does a table
        without days; sessions without a day come last.
    scatter : DataFrame, optional
        As of :func:`repeatability`; None takes :func:`phantom_repeatability`.
    acquisitions : DataFrame, optional
        How each image was made (``acquisitions.tsv``): what was scanned otherwise on the other date is no change.
    protocol : Protocol
        ``change.confidence``, ``gate``.

    Returns
    -------
    DataFrame
        ``subject, session_from, session_to, days`` (between them, NaN where not known), ``modality, region, measure,
        before, after, change, smallest_detectable_change, unit, verdict``. The verdict is ``unchanged`` where the
        change is smaller than the smallest detectable one, ``better`` or ``worse`` by the direction of the catalogue,
        ``different`` where it has none, ``unknown`` where the scatter is not known, and ``withheld`` where the gate
        says that the two do not compare: ``limits`` says why. ``flag``: of both rows.

    Raises
    ------
    DataError
        Where a day is no number.

    References
    ----------
    Bland & Altman 1999, doi 10.1177/096228029900800204.
    """
    known = _known(scatter)
    chosen = comparable(rows)
    chosen = chosen if "flag" in chosen else chosen.assign(flag="")
    pairs = _consecutive(chosen, sessions)
    columns = ["subject", "session", *_KEY, "value", "flag"]
    before = chosen[columns].rename(columns={"session": "session_from", "value": "before", "flag": "flag_before"})
    after = chosen[columns].rename(columns={"session": "session_to", "value": "after", "flag": "flag_after"})
    both = pairs.merge(before, on=["subject", "session_from"]).merge(after, on=["subject", "session_to", *_KEY])
    found = both.merge(known, on=_KEY, how="left")
    found["smallest_detectable_change"] = _detectable(
        found, (found["before"].abs() + found["after"].abs()) / 2, protocol.change.confidence
    )
    found["change"] = found["after"] - found["before"]
    found["unit"] = found["measure"].map(lambda name: MEASURES[name].unit)
    found["verdict"] = [
        _verdict(change, limit, MEASURES[name].worse)
        for change, limit, name in zip(
            found["change"], found["smallest_detectable_change"], found["measure"], strict=True
        )
    ]
    gate = _gate_of(found, acquisitions, protocol)
    found["limits"] = ["; ".join(verdict.reasons) for verdict in gate]
    found.loc[[verdict.verdict == WITHHELD for verdict in gate], "verdict"] = WITHHELD
    found["flag"] = [
        joined(flags_of(a) | flags_of(b)) for a, b in zip(found["flag_before"], found["flag_after"], strict=True)
    ]
    return found[_CHANGE_COLUMNS]


def _gate_of(pairs: pd.DataFrame, acquisitions: pd.DataFrame | None, protocol: Protocol) -> list[Verdict]:
    """What the gate says of every pair of rows, by their flags and by how their images were made."""
    facts = facts_by_image(acquisitions)
    found, known = [], dict[tuple[str, ...], Verdict]()
    names = ["subject", "session_from", "session_to", "modality", "flag_before", "flag_after"]
    for key in pairs[names].itertuples(index=False, name=None):
        if key not in known:
            subject, one, other, modality, before, after = key
            known[key] = judge_change(before, after, protocol=protocol)
            for role in modality.split("+"):
                first, second = facts.get((subject, one, role), {}), facts.get((subject, other, role), {})
                apart = unlike(first, second, role, protocol=protocol)
                known[key] &= Verdict(WITHHELD, tuple(f"{role} {text}" for text in apart)) if apart else Verdict()
        found.append(known[key])
    return found


@dataclass(frozen=True)
class ChangeReading:
    """Whether a patient changed between two dates.

    ``verdict``: changed, unchanged, indeterminate where none of the deciding measures is there on both dates, or
    withheld where those that are there do not compare. ``reasons``: one sentence a deciding measure, with its numbers,
    or why it is withheld. ``missing``: deciding measures that are not there on both dates, or whose scatter is not
    known.
    """

    verdict: str
    reasons: tuple[str, ...]
    missing: tuple[str, ...] = ()


def read_change(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    scatter: pd.DataFrame | None = None,
    protocol: Protocol = DEFAULT,
) -> ChangeReading:
    """Read two sessions of one patient as changed or unchanged.

    Parameters
    ----------
    before, after : DataFrame
        Rows of the one table of each session.
    scatter : DataFrame, optional
        As of :func:`repeatability`; None takes :func:`phantom_repeatability`.
    protocol : Protocol
        ``change.deciding``: ``modality measure`` of the whole lung that decide; ``change.confidence`` holds for all of
        them together (Sidak's correction), so an unchanged patient is called changed in at most that remaining share.

    Returns
    -------
    ChangeReading
    """
    known = _known(scatter)
    wanted = [tuple(name.split(" ", 1)) for name in protocol.change.deciding]
    values = [_whole_lung(frame) for frame in (before, after)]
    judged = [*values, _whole_lung(known.rename(columns={"sd_within": "value"}))]
    present = [key for key in wanted if all(key in value for value in judged)]
    level = protocol.change.confidence ** (1 / max(len(present), 1))
    middle = [np.mean([abs(value.get(key, np.nan)) for value in values]) for key in _keys(known)]
    limits = _whole_lung(known.assign(value=_detectable(known, pd.Series(middle, known.index), level)))
    flags = [_flags_of_lung(frame) for frame in (before, after)]
    gate = {key: judge_change(*(flag.get(key, "") for flag in flags), protocol=protocol) for key in present}
    changed, reasons = False, []
    for modality, measure in present:
        first, second = (value[modality, measure] for value in values)
        if gate[modality, measure].verdict == WITHHELD:
            reasons.append(f"{modality} {measure} is withheld: {'; '.join(gate[modality, measure].reasons)}")
            continue
        limit, unit = limits[modality, measure], MEASURES[measure].unit
        beyond = bool(abs(second - first) > limit)
        changed |= beyond
        verb = "changed beyond" if beyond else "did not change beyond"
        reasons.append(
            f"{modality} {measure} {verb} the smallest detectable change: {first:.3g} to {second:.3g} {unit}, "
            f"smallest detectable {limit:.2g} {unit}"
        )
    missing = tuple(" ".join(key) for key in wanted if key not in present)
    given = any(verdict.verdict != WITHHELD for verdict in gate.values())
    verdict = "changed" if changed else "unchanged" if given else WITHHELD if present else "indeterminate"
    return ChangeReading(verdict, tuple(reasons), missing)


def _flags_of_lung(frame: pd.DataFrame) -> Mapping[tuple[str, ...], str]:
    lung = frame[frame["region"] == Region.LUNG]
    return dict(zip(_keys(lung), lung["flag"].astype(str), strict=True))


def _known(scatter: pd.DataFrame | None) -> pd.DataFrame:
    """The scatter to judge by; a measure that never scattered was too coarse to, and is not known."""
    table = phantom_repeatability() if scatter is None else scatter
    return table[table["sd_within"] > 0]


def _coefficient(scatter: pd.DataFrame, confidence: float) -> npt.NDArray[np.float64]:
    """What two scans of an unchanged lung differ by less than, from the scatter and how well it is known."""
    from scipy.stats import t

    factor = t.ppf((1 + confidence) / 2, scatter["n_pairs"].to_numpy(float)) * np.sqrt(2)
    return np.asarray(factor * scatter["sd_within"].to_numpy(float))


def _detectable(scatter: pd.DataFrame, level: pd.Series, confidence: float) -> npt.NDArray[np.float64]:
    """Smallest detectable change of measures at their levels; of a scatter without parts, at any level.

    Not below that of all levels together, for a scatter near zero rests on few pairs.
    """
    pooled, at_zero, share = _limits(scatter, confidence)
    return np.asarray(np.fmax(pooled, np.hypot(at_zero, share * np.asarray(level, float))))


def _limits(scatter: pd.DataFrame, confidence: float) -> tuple[npt.NDArray[np.float64], ...]:
    """Smallest detectable change of all levels together, and where it grows with the level its constant part and share.

    Two parts share the pairs, so each is taken to rest on half of them. NaN where the scatter has no parts.
    """
    pooled = _coefficient(scatter, confidence)
    if not {"sd_at_zero", "sd_share"} <= set(scatter):
        return pooled, np.full_like(pooled, np.nan), np.full_like(pooled, np.nan)
    half = scatter.assign(n_pairs=scatter["n_pairs"] / 2)
    parts = [_coefficient(half.assign(sd_within=half[name]), confidence) for name in ("sd_at_zero", "sd_share")]
    return pooled, parts[0], parts[1]


def _by_level(half_squares: npt.NDArray[np.float64], level: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Constant part and share of the level of a standard deviation, from half the squared differences of pairs.

    Least squares of a^2 + (b level)^2, neither below 0, each pair weighted by the variance it is expected to have.
    """
    from scipy.optimize import nnls

    least = max(1e-2 * float(half_squares.mean()), np.finfo(float).tiny)
    design, expected = np.column_stack([np.ones_like(level), level**2]), np.full_like(level, half_squares.mean())
    found = np.array([half_squares.mean(), 0.0])
    for _ in range(20):
        weight = 1 / np.maximum(expected, least)
        found, _ = nnls(design * weight[:, None], half_squares * weight)
        expected = design @ found
    constant, share = np.sqrt(found)
    return float(constant), float(share)


def _chi_factors(n: npt.NDArray[np.int_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    from scipy.stats import chi2

    return np.sqrt(n / chi2.ppf(0.975, n)), np.sqrt(n / chi2.ppf(0.025, n))


def _consecutive(rows: pd.DataFrame, sessions: pd.DataFrame | None) -> pd.DataFrame:
    """Each session of a subject with the one after it."""
    visits = rows[["subject", "session"]].drop_duplicates()
    if sessions is not None and "days" in sessions:
        require(sessions, ["subject", "session"], "sessions", numbers=["days"])
        visits = visits.merge(sessions[["subject", "session", "days"]], on=["subject", "session"], how="left")
    else:
        visits = visits.assign(days=np.nan)
    visits = visits.sort_values(["subject", "days", "session"])
    following = visits.groupby("subject")[["session", "days"]].shift(-1)
    pairs = visits.assign(session_to=following["session"], days=following["days"] - visits["days"])
    return pairs.dropna(subset="session_to").rename(columns={"session": "session_from"})


def _verdict(change: float, limit: float, worse: Worse) -> str:
    if not (np.isfinite(change) and np.isfinite(limit)):
        return "unknown"
    if abs(change) <= limit:
        return "unchanged"
    if worse is Worse.NEITHER:
        return "different"
    return "worse" if (change > 0) == (worse is Worse.HIGHER) else "better"


def _keys(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(zip(frame["modality"], frame["measure"], strict=True))


def _whole_lung(frame: pd.DataFrame) -> Mapping[tuple[str, ...], float]:
    """Values of the whole lung by (modality, measure)."""
    lung = frame[(frame["region"] == Region.LUNG) & frame["value"].notna()]
    return dict(zip(_keys(lung), lung["value"].astype(float), strict=True))
