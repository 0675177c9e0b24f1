"""Findings and phase: what a reader would call seen, which phase it speaks for, and why.

Two lists of rules in the protocol do it, each rule one line of text with its source, so that a reader can disagree
with one, change it, and see what changes (:func:`compare_readings`):

``findings.rules``
    ``ground_glass: ct ground_glass_fraction > 5, 15, 30 -- source``: grade 1, 2, 3 (mild, moderate, marked) of a
    finding where a measure of the whole lung passes each cut. Several rules may carry one finding; the highest grade
    counts. ``<`` means lower is more.
``phases.rules``
    ``+2 acute: consolidation >= 1 -- source``: a finding of that grade speaks for a phase (or against it: ``-2``).

The support of a phase is the sum of its rules that hold, over the sum that could have held. Rules whose finding was not
measured are left out and listed as missing. The reading is the phase with most support; where the runner-up is closer
than ``phases.margin``, or no modality that can decide was measured, it is indeterminate. For research: a reading is no
diagnosis, and none of the rules has been tested in patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.flags import FINDINGS
from ipha_toolkit.io.packaged import read_packaged
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import PHASES, FindingRule, PhaseRule, finding_rules, phase_rules
from ipha_toolkit.terms import Modality, Phase, Region

GRADES = ("absent", "mild", "moderate", "marked")
"""Words for grades 0 to 3."""


@dataclass(frozen=True)
class FindingReading:
    """One finding: its grade (0 absent to 3 marked) and what carries it.

    ``score``: the carrying value on the scale of its cuts, 1 at the first, 2 at the second, so that findings below
    and above all cuts can still be ranked. ``carrier``: modality, measure, value and unit in words.
    """

    finding: str
    grade: int
    score: float
    carrier: str
    source: str

    def __str__(self) -> str:
        return f"{self.finding.replace('_', ' ')} {GRADES[self.grade]} ({self.carrier})"


@dataclass(frozen=True)
class PhaseReading:
    """The phase a session speaks for.

    ``phase``: acute, subacute, chronic, none, or indeterminate. ``reasons``: rules that held for and against it, in
    plain words with their numbers. ``missing``: findings and modalities that were not measured. ``margin``: how far the
    support of the best phase lies above that of the next, 0 (undecided) to about 1. ``support``: of every phase.
    """

    phase: Phase
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    margin: float
    support: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[FindingReading, ...] = ()


def read_findings(rows: pd.DataFrame, *, protocol: Protocol = DEFAULT) -> tuple[FindingReading, ...]:
    """Findings of one session, from whichever modalities are present.

    Parameters
    ----------
    rows : DataFrame
        Rows of the one table of one session.
    protocol : Protocol
        ``findings.rules``.

    Returns
    -------
    tuple of FindingReading
        One a finding that some row could carry, absent ones (grade 0) included.

    Raises
    ------
    ProtocolError
        Where a rule cannot be read.
    ValueError
        Where the rows are of several sessions.
    """
    rows = usable(rows)
    values = _whole_lung(rows)
    best: dict[str, FindingReading] = {}
    for rule in finding_rules(protocol.findings.rules):
        value = values.get((rule.modality, rule.measure), np.nan)
        if not np.isfinite(value):
            continue
        score = _score(value, rule)
        carrier = f"{rule.modality} {rule.measure.replace('_', ' ')} {value:.3g} {MEASURES[rule.measure].unit}"
        found = FindingReading(rule.finding, rule.grade(value), score, carrier, rule.source)
        if rule.finding not in best or (found.grade, score) > (best[rule.finding].grade, best[rule.finding].score):
            best[rule.finding] = found
    return tuple(best[name] for name in FINDINGS if name in best)


def classify_phase(rows: pd.DataFrame, *, protocol: Protocol = DEFAULT) -> PhaseReading:
    """Read the radiographic phase of one session, with reasons.

    Parameters
    ----------
    rows : DataFrame
        Rows of the one table of one session, those against controls included where there are any.
    protocol : Protocol
        ``findings.rules``, ``phases.rules``, ``phases.margin``, ``phases.deciding``.

    Returns
    -------
    PhaseReading

    Raises
    ------
    ProtocolError
        Where a rule cannot be read.
    ValueError
        Where the rows are of several sessions.

    Notes
    -----
    Edema and other causes of filled air space fulfil the rules of a bleed: the reading says which phase of a bleed the
    images would fit, not that there was one. What a radiograph shows counts only where neither CT nor MRI can decide.
    """
    findings = read_findings(rows, protocol=protocol)
    undecided, alone = _cannot_decide(rows, protocol), _film_alone(rows, protocol)
    grades = {found.finding: found.grade for found in findings if alone or not found.carrier.startswith(Modality.DX)}
    rules = phase_rules(protocol.phases.rules)
    support = {str(phase): _support(phase, rules, grades) for phase in PHASES}
    seen = {found.finding for found in findings}
    missing = [name.replace("_", " ") for name in dict.fromkeys(rule.finding for rule in rules) if name not in seen]
    ranked = sorted((value if np.isfinite(value) else 0.0, phase) for phase, value in support.items())
    if undecided or not grades:
        return PhaseReading(
            Phase.INDETERMINATE,
            (undecided or "too few findings were measured",),
            tuple(missing),
            0.0,
            support,
            findings,
        )
    (second, runner_up), (first, best) = ranked[-2:]
    phase = Phase(best)
    margin = first - second
    reasons = _reasons(phase, rules, findings, grades)
    if margin < protocol.phases.margin:
        close = f"{phase} and {runner_up} are supported almost alike ({first:.2f} and {second:.2f})"
        return PhaseReading(Phase.INDETERMINATE, (close, *reasons), tuple(missing), margin, support, findings)
    return PhaseReading(phase, reasons, tuple(missing), margin, support, findings)


def compare_readings(rows: pd.DataFrame, one: Protocol, other: Protocol) -> pd.DataFrame:
    """What changes between two sets of rules, session by session.

    Parameters
    ----------
    rows : DataFrame
        The one table of any number of sessions.
    one, other : Protocol

    Returns
    -------
    DataFrame
        ``subject, session, phase_one, phase_other, margin_one, margin_other, changed``.
    """
    first, second = (read_sessions(rows, protocol=protocol)[0] for protocol in (one, other))
    joined = first.merge(second, on=["subject", "session"], suffixes=("_one", "_other"))
    changed = joined["phase_one"] != joined["phase_other"]
    columns = ["subject", "session", "phase_one", "phase_other", "margin_one", "margin_other"]
    return joined[columns].assign(changed=changed)


def read_sessions(rows: pd.DataFrame, *, protocol: Protocol = DEFAULT) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readings and findings of every session in the table.

    Returns
    -------
    readings : DataFrame
        ``subject, session, phase, margin, reasons, missing`` and the support of each phase; texts joined by ``;``.
    findings : DataFrame
        ``subject, session, finding, grade, grade_name, score, carrier, source``.
    """
    readings, findings = [], []
    for (subject, session), part in rows.groupby(["subject", "session"], sort=False):
        reading = classify_phase(part, protocol=protocol)
        who = {"subject": subject, "session": session}
        supports = {f"support_{phase}": reading.support.get(phase, np.nan) for phase in PHASES}
        readings.append(
            who | {"phase": str(reading.phase), "margin": reading.margin, "reasons": "; ".join(reading.reasons),
                   "missing": "; ".join(reading.missing)} | supports
        )  # fmt: skip
        findings += [
            who | {"finding": found.finding, "grade": found.grade, "grade_name": GRADES[found.grade],
                   "score": found.score, "carrier": found.carrier, "source": found.source}
            for found in reading.findings
        ]  # fmt: skip
    return pd.DataFrame(readings, columns=READING_COLUMNS), pd.DataFrame(findings, columns=FINDING_COLUMNS)


READING_COLUMNS = [
    "subject", "session", "phase", "margin", "reasons", "missing", *(f"support_{phase}" for phase in PHASES)
]  # fmt: skip

FINDING_COLUMNS = ["subject", "session", "finding", "grade", "grade_name", "score", "carrier", "source"]


def differential(pattern: str | None = None) -> pd.DataFrame:
    """What speaks for and against the alternatives, for a reader to weigh; never applied to a patient here.

    Parameters
    ----------
    pattern : {"micronodular pattern", "alveolar hemorrhage", "context"}, optional
        None means all.

    Returns
    -------
    DataFrame
        ``pattern, alternative, finding, weighs`` (for, against), ``shown_by`` (a measure, or what is not imaging),
        ``source``.

    Raises
    ------
    ValueError
        Where the pattern is none of these.
    """
    table = read_packaged("differential.tsv")
    if pattern is None:
        return table
    if pattern not in set(table["pattern"]):
        raise ValueError(f"pattern is one of {', '.join(dict.fromkeys(table['pattern']))}, got {pattern!r}")
    return table[table["pattern"] == pattern].reset_index(drop=True)


def _whole_lung(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    sessions = rows[["subject", "session"]].drop_duplicates()
    if len(sessions) > 1:
        raise ValueError(f"a reading is of one session; the rows are of {len(sessions)}, use read_sessions")
    lung = rows[rows["region"] == Region.LUNG]
    keys = zip(lung["modality"].astype(str), lung["measure"].astype(str), strict=True)
    return dict(zip(keys, lung["value"].astype(float), strict=True))


def _score(value: float, rule: FindingRule) -> float:
    """Place of the value on the cuts: 1 at the first, 2 at the second, continued linearly on both sides."""
    first = rule.cuts[0]
    step = (rule.cuts[1] - first) if len(rule.cuts) > 1 else (abs(first) or 1.0) * (1 if rule.more else -1)
    return float(1 + (value - first) / step)


def _support(phase: Phase, rules: Iterable[PhaseRule], grades: Mapping[str, int]) -> float:
    """Weight that held over weight that could have; NaN where no rule for the phase could be judged."""
    judged = [rule for rule in rules if rule.phase == phase and rule.finding in grades]
    possible = sum(rule.weight for rule in judged if rule.weight > 0)
    held = sum(rule.weight for rule in judged if rule.holds(grades[rule.finding]))
    return held / possible if possible > 0 else np.nan


def _deciding(rows: pd.DataFrame, protocol: Protocol) -> list[str]:
    """Those of the deciding sets of modalities that were measured, best first."""
    present = _present(rows)
    return [group for group in protocol.phases.deciding if set(group.split()) <= present]


def _present(rows: pd.DataFrame) -> set[str]:
    return set(rows.loc[rows["value"].notna(), "modality"].astype(str))


def _film_alone(rows: pd.DataFrame, protocol: Protocol) -> bool:
    """Whether nothing better than a radiograph is there: a film that shows nothing says little beside CT or MRI."""
    return _deciding(rows, protocol)[:1] == [str(Modality.DX)]


def _cannot_decide(rows: pd.DataFrame, protocol: Protocol) -> str:
    """Why no phase can be read, or nothing."""
    if _deciding(rows, protocol):
        return ""
    present = _present(rows)
    needed = " or ".join(group.replace(" ", " with ") for group in protocol.phases.deciding)
    return (
        f"no modality that can decide was measured: needs {needed}, there is {', '.join(sorted(present)) or 'nothing'}"
    )


def _reasons(
    phase: Phase, rules: Iterable[PhaseRule], findings: Iterable[FindingReading], grades: Mapping[str, int]
) -> tuple[str, ...]:
    said = {found.finding: str(found) for found in findings}
    held = [
        rule for rule in rules if rule.phase == phase and rule.finding in grades and rule.holds(grades[rule.finding])
    ]
    lines = [
        f"{'for' if rule.weight > 0 else 'against'} {phase}: {said[rule.finding]} [{rule.source}]"
        for rule in sorted(held, key=lambda rule: -rule.weight)
    ]
    return tuple(dict.fromkeys(lines)) or (f"no rule of {phase} held",)
