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
measured, or is withheld by the gate (:mod:`ipha_toolkit.compare.gate`), are left out and listed as missing. The reading
is the phase with most support; where the runner-up is closer than ``phases.margin``, or no modality that can decide was
measured, it is indeterminate; where the findings that could decide are all withheld, so is the reading.

Images alone cannot tell why air space is filled or lung scarred: edema, pneumonia, alveolar proteinosis and bleeding
read alike. A phase of a bleed is an answer where the patient is known to bleed, or where the images show the T2w
deficit that iron leaves; else the answer is "air-space filling, cause open" or "fibrosis, cause open". For research: a
reading is no diagnosis, and none of the rules has been tested in patients.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.compare.chance import chance_in_health, in_people, leaves_health
from ipha_toolkit.compare.gate import (
    GIVEN,
    LIMITED,
    WITHHELD,
    Verdict,
    all_flags,
    as_in_health,
    grade_in_health,
    in_numbers,
    in_words,
    judge_finding,
    judge_missing,
    judged_beside_others,
)
from ipha_toolkit.compare.said import Said, said_by_session, said_of
from ipha_toolkit.flags import FINDINGS
from ipha_toolkit.io.packaged import read_packaged
from ipha_toolkit.measure.rows import flags_of
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import (
    CAUSE_OPEN,
    NAMES,
    OF_A_BLEED,
    PHASES,
    FindingRule,
    PhaseRule,
    finding_rules,
    phase_rules,
)
from ipha_toolkit.terms import Modality, Phase

SIGNATURE = "hemosiderin_signature"
"""The finding that tells iron from other causes of a dense lung."""

_FILM_LIMIT = "a radiograph alone: a clear one does not exclude ground glass, which CT shows"

GRADES = ("absent", "mild", "moderate", "marked")
"""Words for grades 0 to 3."""


_PLAIN = Verdict()


@dataclass(frozen=True)
class FindingReading:
    """One finding: its grade (0 absent to 3 marked) and what carries it.

    ``score``: the carrying value on the scale of its cuts, 1 at the first, 2 at the second, so that findings below
    and above all cuts can still be ranked. ``carrier``: modality, measure, value and unit in words. ``verdict``: of the
    gate; a withheld finding has no grade (-1). ``flags``: of the row that carries it. ``by_chance``: the grade that it
    would have if healthy people did not lie as far by chance; 0 where that is not why it is withheld.
    """

    finding: str
    grade: int
    score: float
    carrier: str
    source: str
    verdict: Verdict = _PLAIN
    flags: str = ""
    by_chance: int = 0

    def __str__(self) -> str:
        return f"{self.finding.replace('_', ' ')} {self.grade_name} ({self.carrier})"

    @property
    def grade_name(self) -> str:
        """Absent, mild, moderate, marked, or withheld."""
        return GRADES[self.grade] if self.grade >= 0 else WITHHELD


@dataclass(frozen=True)
class PhaseReading:
    """The phase a session speaks for.

    ``phase``: acute, subacute, chronic, none, one of the answers that leave the cause open, indeterminate, or withheld.
    ``reasons``: rules that held for and against it, in plain words with their numbers. ``missing``: findings and
    modalities that were not measured or are withheld. ``margin``: how far the support of the best phase lies above that
    of the next, 0 (undecided) to about 1. ``support``: of every phase. ``verdict``: of the gate: given, limited or
    withheld; ``limits``: why, in words, with the findings concerned.
    """

    phase: Phase
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    margin: float
    support: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[FindingReading, ...] = ()
    verdict: str = GIVEN
    limits: tuple[str, ...] = ()


def read_findings(rows: pd.DataFrame, *, protocol: Protocol = DEFAULT) -> tuple[FindingReading, ...]:
    """Findings of one session, from whichever modalities are present.

    Parameters
    ----------
    rows : DataFrame
        Rows of the one table of one session.
    protocol : Protocol
        ``findings.rules``, ``gate.rules``.

    Returns
    -------
    tuple of FindingReading
        One a finding that some row could carry, absent ones (grade 0) and withheld ones (grade -1) included.

    Raises
    ------
    ProtocolError
        Where a rule cannot be read.
    ValueError
        Where the rows are of several sessions.
    """
    return _read(said_of(rows), protocol)


def _read(said: Said, protocol: Protocol) -> tuple[FindingReading, ...]:
    rules = finding_rules(protocol.findings.rules)
    chance = chance_in_health(rules, said, protocol=protocol)
    best = _best(rules, said, (), chance, protocol)
    beside = {name for name, found in best.items() if found.grade > 0}
    again = judged_beside_others(protocol=protocol)
    best |= _best((rule for rule in rules if rule.finding in again), said, beside, chance, protocol)
    return tuple(best[name] for name in FINDINGS if name in best)


def _best(
    rules: Iterable[FindingRule], said: Said, beside: Collection[str], chance: float, protocol: Protocol
) -> dict[str, FindingReading]:
    """Of each finding the rule that carries it best."""
    best: dict[str, FindingReading] = {}
    for rule in rules:
        found = _finding(rule, said, beside, protocol)
        found = _by_chance(found, chance) if found and np.isfinite(chance) and leaves_health(rule) else found
        if found and (rule.finding not in best or _rank(found) > _rank(best[rule.finding])):
            best[rule.finding] = found
    return best


def _finding(rule: FindingRule, said: Said, beside: Collection[str], protocol: Protocol) -> FindingReading | None:
    value, flags = said.values.get((rule.modality, rule.measure), (np.nan, ""))
    name = f"{rule.modality} {rule.measure.replace('_', ' ')}"
    if not np.isfinite(value):
        verdict = judge_missing(rule, said)
        return FindingReading(rule.finding, -1, np.nan, name, rule.source, verdict, flags) if verdict else None
    grade, codes = rule.grade(value), flags_of(flags)
    doubtful = grade <= grade_in_health(rule.finding, codes, protocol=protocol)
    healthy = as_in_health(rule, said, protocol=protocol) if doubtful else False
    grade = 0 if healthy else grade
    beyond = None if healthy is None else not healthy
    verdict = judge_finding(rule.finding, grade > 0, codes, beyond_health=beyond, beside=beside, protocol=protocol)
    verdict = in_numbers(verdict, rule.modality, said)
    unit = MEASURES[rule.measure].unit
    carrier = f"{name} {value:.3g}{'' if unit == '1' else f' {unit}'}"
    grade = -1 if verdict.verdict == WITHHELD else grade
    return FindingReading(rule.finding, grade, _score(value, rule), carrier, rule.source, verdict, flags)


def _by_chance(found: FindingReading, chance: float) -> FindingReading:
    """The finding withheld, if it is there: as many healthy people lie as far by chance."""
    if found.grade < 1:
        return found
    reason = f"by chance {in_people(chance)} healthy people lies as far beyond these controls in one of the findings"
    verdict = found.verdict & Verdict(WITHHELD, (reason,))
    return replace(found, grade=-1, verdict=verdict, by_chance=found.grade)


def _rank(found: FindingReading) -> tuple[float, float]:
    """A given finding before a withheld one, the higher grade, then the higher score; what chance withholds before what
    is absent by another rule."""
    return 0.5 if found.by_chance else found.grade, float(np.nan_to_num(found.score, nan=-np.inf))


def classify_phase(
    rows: pd.DataFrame, *, bleeds: bool = False, left_out: Iterable[str] = (), protocol: Protocol = DEFAULT
) -> PhaseReading:
    """Read the radiographic phase of one session, with reasons.

    Parameters
    ----------
    rows : DataFrame
        Rows of the one table of one session, those against controls included where there are any.
    bleeds : bool
        Whether the patient is known to have bled into the lungs (idiopathic pulmonary hemosiderosis or another cause):
        only then do filled air space and scars alone speak for a phase.
    left_out : iterable of str
        Controls that did not match, in words, to be named among the limits.
    protocol : Protocol
        ``findings.rules``, ``phases.rules``, ``phases.margin``, ``phases.deciding``, ``gate.rules``.

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
    Edema and other causes of filled air space fulfil the rules of a bleed: of a patient who bleeds the reading says
    which phase the images would fit, not that there was a bleed. What a radiograph shows counts only where neither CT
    nor MRI can decide.
    """
    return _classified(said_of(rows), bleeds, left_out, protocol)


def _classified(said: Said, bleeds: bool, left_out: Iterable[str], protocol: Protocol) -> PhaseReading:
    findings, left_out = _read(said, protocol), tuple(left_out)
    unsure = [found for found in findings if found.by_chance]
    if not unsure:
        return _reading(said, findings, bleeds, left_out, protocol)
    without, withal = (
        _reading(said, [replace(f, grade=f.by_chance * seen) if f.by_chance else f for f in findings], bleeds, left_out,
                 protocol)
        for seen in (0, 1)
    )  # fmt: skip
    missing, limits = _missing(phase_rules(protocol.phases.rules), findings), _limits(findings, findings, left_out)
    if without.phase == withal.phase:
        return replace(
            without,
            margin=min(without.margin, withal.margin),
            findings=findings,
            missing=missing,
            limits=limits,
            verdict=without.verdict if without.verdict == WITHHELD else LIMITED,
        )
    names = ", ".join(f.finding.replace("_", " ") for f in unsure)
    why = f"without {names} {without.phase}, with it {withal.phase}: {'; '.join(unsure[0].verdict.reasons)}"
    return PhaseReading(Phase.WITHHELD, (why,), missing, 0.0, without.support, findings, WITHHELD, limits)


def _reading(
    said: Said, findings: Iterable[FindingReading], bleeds: bool, left_out: Iterable[str], protocol: Protocol
) -> PhaseReading:
    findings = tuple(findings)
    undecided, alone = _cannot_decide(said, findings, protocol), _film_alone(said, findings, protocol)
    counted = [f for f in findings if f.grade >= 0 and (alone or not f.carrier.startswith(Modality.DX))]
    grades = {found.finding: found.grade for found in counted}
    rules = phase_rules(protocol.phases.rules)
    support = {phase: _support(phase, rules, grades) for phase in _possible(rules, grades, bleeds)}
    limits = _limits(findings, counted, left_out) + ((_FILM_LIMIT,) if alone else ())
    missing = _missing(rules, findings)
    by_name = {NAMES[phase]: support.get(phase, np.nan) for phase in PHASES}
    if undecided or not grades:
        phase, why = undecided or (Phase.INDETERMINATE, "too few findings were measured")
        verdict = WITHHELD if phase is Phase.WITHHELD else GIVEN
        return PhaseReading(phase, (why,), missing, 0.0, by_name, findings, verdict, limits)
    verdict = LIMITED if limits else GIVEN
    best, runner_up, first, second = _ranked({p: v for p, v in support.items() if p not in CAUSE_OPEN or not bleeds})
    margin, reasons = first - second, _reasons(best, rules, findings, grades)
    if margin < protocol.phases.margin:
        close = f"{best} and {runner_up} are supported almost alike ({first:.2f} and {second:.2f})"
        common = None if Phase.NONE in (best, runner_up) else _cause_open(support, protocol)
        best, margin = common or (Phase.INDETERMINATE, margin)
        reasons = (close, *(_reasons(best, rules, findings, grades) if common else reasons))
        if not (first > 0 or common):
            reasons = ("nothing that was measured speaks for any phase",)
    return PhaseReading(best, reasons, missing, margin, by_name, findings, verdict, limits)


def _ranked(support: Mapping[Phase, float]) -> tuple[Phase, Phase, float, float]:
    """The phase of most support and the next, with their supports; what could not be judged counts 0."""
    ranked = sorted((value if np.isfinite(value) else 0.0, phase) for phase, value in support.items())
    (second, runner_up), (first, best) = ranked[-2:]
    return best, runner_up, first, second


def _cause_open(support: Mapping[Phase, float], protocol: Protocol) -> tuple[Phase, float] | None:
    """Where phases of a bleed cannot be told apart: what they have in common, with its margin, if it stands out."""
    best, _, first, second = _ranked({p: v for p, v in support.items() if p in (Phase.NONE, *CAUSE_OPEN)})
    sure = best in CAUSE_OPEN and first - second >= protocol.phases.margin
    return (best, first - second) if sure else None


def _possible(rules: Iterable[PhaseRule], grades: Mapping[str, int], bleeds: bool) -> tuple[Phase, ...]:
    """Answers that the images can give: phases of a bleed where the patient bleeds or iron is seen, else open causes.

    Rules that name no open cause leave all phases possible.
    """
    named = {rule.phase for rule in rules}
    if bleeds or grades.get(SIGNATURE, 0) >= 1 or not named & set(CAUSE_OPEN):
        return PHASES
    return tuple(phase for phase in PHASES if phase not in OF_A_BLEED)


def _limits(
    findings: Iterable[FindingReading], counted: Iterable[FindingReading], left_out: Iterable[str]
) -> tuple[str, ...]:
    """Limits of what counted and reasons for what was withheld, in words."""
    withheld = [found for found in findings if found.grade < 0]
    said = in_words((f.finding.replace("_", " "), f.verdict) for f in [*withheld, *counted])
    return (*said, *(f"controls left out: {text}" for text in dict.fromkeys(left_out) if text))


def _missing(rules: Iterable[PhaseRule], findings: Iterable[FindingReading]) -> tuple[str, ...]:
    given = {found.finding for found in findings if found.grade >= 0}
    withheld = {found.finding for found in findings} - given
    names = dict.fromkeys(rule.finding for rule in rules if rule.finding not in given)
    return tuple(name.replace("_", " ") + (" (withheld)" if name in withheld else "") for name in names)


def compare_readings(
    rows: pd.DataFrame, one: Protocol, other: Protocol, *, groups: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """What changes between two sets of rules, session by session.

    Parameters
    ----------
    rows : DataFrame
        The one table of any number of sessions.
    one, other : Protocol
    groups : mapping of str to str, optional
        As of :func:`read_sessions`.

    Returns
    -------
    DataFrame
        ``subject, session, phase_one, phase_other, margin_one, margin_other, changed``.
    """
    first, second = (read_sessions(rows, groups=groups, protocol=protocol)[0] for protocol in (one, other))
    joined = first.merge(second, on=["subject", "session"], suffixes=("_one", "_other"))
    changed = joined["phase_one"] != joined["phase_other"]
    columns = ["subject", "session", "phase_one", "phase_other", "margin_one", "margin_other"]
    return joined[columns].assign(changed=changed)


def read_sessions(
    rows: pd.DataFrame,
    *,
    groups: Mapping[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
    protocol: Protocol = DEFAULT,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Readings and findings of every session in the table.

    Parameters
    ----------
    rows : DataFrame
        The one table.
    groups : mapping of str to str, optional
        Group of each subject as participants.tsv gives it; those of ``phases.bleeding_groups`` are known to bleed.
    left_out : mapping of str to str, optional
        Controls that did not match, by ``subject session modality``, as of
        :class:`ipha_toolkit.compare.controls.Reference`.
    protocol : Protocol

    Returns
    -------
    readings : DataFrame
        ``subject, session, phase, verdict, margin, reasons, missing, limits, flags`` and the support of each phase;
        texts joined by ``;``. ``flags``: all that the rows of the whole lung carry, by modality.
    findings : DataFrame
        ``subject, session, finding, grade, grade_name, score, carrier, source, verdict, limits, flag``.
    """
    readings, findings = [], []
    bleeding = {name.lower() for name in protocol.phases.bleeding_groups}
    named: dict[str, list[str]] = {}
    for image, text in (left_out or {}).items():
        named.setdefault(image.rpartition(" ")[0], []).append(text)
    for (subject, session), said in said_by_session(rows):
        bleeds = str((groups or {}).get(str(subject), "")).strip().lower() in bleeding
        names = named.get(f"{subject} {session}", [])
        reading = _classified(said, bleeds, names, protocol)
        who = {"subject": subject, "session": session}
        readings.append(who | _reading_row(reading) | {"flags": all_flags(said)})
        findings += [who | _finding_row(found) for found in reading.findings]
    return pd.DataFrame(readings, columns=READING_COLUMNS), pd.DataFrame(findings, columns=FINDING_COLUMNS)


def _reading_row(reading: PhaseReading) -> dict[str, object]:
    supports = {f"support_{name}": reading.support.get(name, np.nan) for name in NAMES.values()}
    return {
        "phase": str(reading.phase), "verdict": reading.verdict, "margin": reading.margin,
        "reasons": "; ".join(reading.reasons), "missing": "; ".join(reading.missing),
        "limits": "; ".join(reading.limits),
    } | supports  # fmt: skip


def _finding_row(found: FindingReading) -> dict[str, object]:
    return {
        "finding": found.finding, "grade": found.grade if found.grade >= 0 else np.nan, "grade_name": found.grade_name,
        "score": found.score if found.grade >= 0 else np.nan, "carrier": found.carrier, "source": found.source,
        "verdict": found.verdict.verdict, "limits": "; ".join(found.verdict.reasons), "flag": found.flags,
    }  # fmt: skip


READING_COLUMNS = [
    "subject", "session", "phase", "verdict", "margin", "reasons", "missing", "limits", "flags",
    *(f"support_{name}" for name in NAMES.values()),
]  # fmt: skip

FINDING_COLUMNS = [
    "subject", "session", "finding", "grade", "grade_name", "score", "carrier", "source", "verdict", "limits", "flag",
]  # fmt: skip


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


def _deciding(said: Said, findings: Iterable[FindingReading], protocol: Protocol) -> list[str]:
    """Modalities of those deciding sets that were measured and whose findings are given, best first."""
    given = {found.finding for found in findings if found.grade >= 0}
    found = []
    for line in protocol.phases.deciding:
        group, _, needed = line.partition(":")
        if set(group.split()) <= said.measured and set(needed.split()) <= given:
            found.append(group)
    return found


def _film_alone(said: Said, findings: Iterable[FindingReading], protocol: Protocol) -> bool:
    """Whether nothing better than a radiograph decides: a film that shows nothing says little beside CT or MRI."""
    return _deciding(said, findings, protocol)[:1] == [str(Modality.DX)]


def _cannot_decide(said: Said, findings: Iterable[FindingReading], protocol: Protocol) -> tuple[Phase, str] | None:
    """Why no phase can be read: withheld, or not measured; None where one can."""
    findings = tuple(findings)
    if _deciding(said, findings, protocol):
        return None
    lines = [line.partition(":") for line in protocol.phases.deciding]
    needed = {name for group, _, names in lines if set(group.split()) <= said.measured for name in names.split()}
    stopped = [(f.finding.replace("_", " "), f.verdict) for f in findings if f.grade < 0 and f.finding in needed]
    if stopped:
        return Phase.WITHHELD, f"what could decide is withheld: {'; '.join(in_words(stopped))}"
    groups = " or ".join(group.replace(" ", " with ") for group, _, _ in lines)
    there = ", ".join(sorted(said.measured)) or "nothing"
    return Phase.INDETERMINATE, f"no modality that can decide was measured: needs {groups}, there is {there}"


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
