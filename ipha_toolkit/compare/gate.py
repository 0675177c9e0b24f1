"""The gate: which answers the images support.

For every finding, reading and change the gate asks what it needs and what is there: controls of a matching sequence and
age, noise that can be estimated, whole lungs, no contrast agent where it misleads, breath, voxel size, no ghosts. The
answer is given, given with a named limit, or withheld with the reason in words. Needs are lines of ``gate.rules``: what
a flag on the row that carries an answer does to it (:data:`ipha_toolkit.rules.GATE_LINES`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from ipha_toolkit.catalogue import MEASURES, versus_controls
from ipha_toolkit.compare.said import Said
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.measure.rows import flags_of
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import FindingRule, gate_rules
from ipha_toolkit.wording import number

GIVEN, LIMITED, WITHHELD = "given", "limited", "withheld"
"""Verdicts, best first."""

IN_HEALTH = {"mild": 1, "moderate": 2}
"""Rules by which a finding up to a grade takes healthy people to tell."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of an answer: ``verdict`` is given, limited or withheld, ``reasons`` say why, in words."""

    verdict: str = GIVEN
    reasons: tuple[str, ...] = ()

    def __and__(self, other: Verdict) -> Verdict:
        """The stricter of two, with the reasons of both."""
        order = (GIVEN, LIMITED, WITHHELD)
        reasons = tuple(dict.fromkeys([*self.reasons, *other.reasons]))
        return Verdict(max(self.verdict, other.verdict, key=order.index), reasons)


def judge_finding(
    finding: str, seen: bool, flags: Collection[str], *, beyond_health: bool | None = True,
    beside: Collection[str] = (), protocol: Protocol = DEFAULT,
) -> Verdict:  # fmt: skip
    """Whether a finding may be given that rests on a row with these flags.

    Parameters
    ----------
    finding : str
        A name in :data:`ipha_toolkit.flags.FINDINGS`.
    seen : bool
        Whether it is there (grade 1 or more): some needs speak against its absence alone.
    flags : collection of str
        Codes on the row that carries it.
    beyond_health : bool, optional
        Whether it is more than healthy people can have, or lies beyond those of like age; None: not known.
    beside : collection of str
        Findings that are there as well: some needs hold only beside another.
    protocol : Protocol
        ``gate.rules``.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> judge_finding("micronodules", True, ["coarse_for_micronodules"]).verdict
    'limited'
    >>> judge_finding("micronodules", False, ["coarse_for_micronodules"]).verdict
    'withheld'
    """
    found = Verdict()
    for rule in gate_rules(protocol.gate.rules):
        needed = not rule.where or not set(rule.where).isdisjoint(beside)
        holds = rule.flag in flags and needed and set(rule.without).isdisjoint(beside)
        if holds and finding in rule.answers and rule.verdict != "unlike":
            speaks_against = {"absence": not seen, "presence": seen, "doubt": not seen and beyond_health is not False}
            speaks_against |= dict.fromkeys(IN_HEALTH, seen and not beyond_health)
            strict = speaks_against.get(rule.verdict, rule.verdict == WITHHELD)
            found &= Verdict(WITHHELD if strict else LIMITED, (_said(rule.flag, rule.reason),))
    return found


def as_in_health(rule: FindingRule, said: Said, *, protocol: Protocol = DEFAULT) -> bool | None:
    """Whether what carries a finding is no more than in healthy people of like age; None where there are none.

    Parameters
    ----------
    rule : FindingRule
    said : Said
        What the rows of the session say, those against controls included.
    protocol : Protocol
        ``gate.beyond_controls``.
    """
    distance, flags = said.values.get((rule.modality, versus_controls(rule.measure)), (np.nan, ""))
    if not np.isfinite(distance) or "other_age" in flags_of(flags):
        return None
    return bool((distance if rule.more else -distance) < protocol.gate.beyond_controls)


def judged_beside_others(*, protocol: Protocol = DEFAULT) -> frozenset[str]:
    """Findings whose verdict depends on what else is there."""
    return frozenset(
        name for rule in gate_rules(protocol.gate.rules) if rule.where or rule.without for name in rule.answers
    )


def grade_in_health(finding: str, flags: Collection[str], *, protocol: Protocol = DEFAULT) -> int:
    """Up to which grade healthy people may have a finding on a row with these flags, so that it takes some to tell.

    Examples
    --------
    >>> grade_in_health("ground_glass_opacity", ["child"]), grade_in_health("ground_glass_opacity", [])
    (1, 0)
    """
    rules = (rule for rule in gate_rules(protocol.gate.rules) if rule.flag in flags and finding in rule.answers)
    return max((IN_HEALTH.get(rule.verdict, 0) for rule in rules), default=0)


def in_numbers(verdict: Verdict, modality: str, said: Said) -> Verdict:
    """The verdict with the values of measures that its reasons name in braces.

    Examples
    --------
    >>> said = Said({("T1w+T2w", "signature_hidden_loss"): (46.2, "")})
    >>> in_numbers(Verdict("limited", ("up to {signature_hidden_loss} of T2w",)), "T1w+T2w", said).reasons
    ('up to 46.2 % of T2w',)
    """

    def told(named: re.Match[str]) -> str:
        value, _ = said.values.get((modality, named[1]), (np.nan, ""))
        known = np.isfinite(value) and named[1] in MEASURES
        return number(value, MEASURES[named[1]].unit) if known else named[1].replace("_", " ")

    if not any("{" in reason for reason in verdict.reasons):
        return verdict
    return Verdict(verdict.verdict, tuple(re.sub(r"\{(\w+)\}", told, reason) for reason in verdict.reasons))


def judge_missing(rule: FindingRule, said: Said) -> Verdict | None:
    """Why a finding has no row to rest on although its image was measured; None where the image was not.

    Parameters
    ----------
    rule : FindingRule
        The rule that would carry it.
    said : Said
        What the rows of the session say.
    """
    if rule.modality not in said.flags:
        return None
    name = f"{rule.modality} {rule.measure.replace('_', ' ')}"
    carried = (rule.modality, rule.measure) in said.values
    if not needs_controls(rule):
        return None if carried else Verdict(WITHHELD, (f"{name} could not be measured",))
    flags = said.flags[rule.modality]
    for flag in ("no_matching_controls", "no_controls"):
        if flag in flags:
            reason = "no control of a matching sequence" if flag == "no_matching_controls" else "no controls"
            return Verdict(WITHHELD, (f"{reason}, which {name} needs",))
    return None if carried else Verdict(WITHHELD, (f"fewer than two controls have {name}",))


def needs_controls(rule: FindingRule) -> bool:
    """Whether the measure of a rule is set against controls."""
    return rule.measure.endswith("_vs_controls") or rule.measure.startswith("signature_")


def judge_change(before: str, after: str, *, protocol: Protocol = DEFAULT) -> Verdict:
    """Whether a change between two rows may be called one, by the flags of both.

    Parameters
    ----------
    before, after : str
        Cells ``flag`` of the two rows.
    protocol : Protocol
        ``gate.rules`` of the answer ``change``.

    Examples
    --------
    >>> judge_change("", "contrast_enhanced").verdict
    'withheld'
    >>> judge_change("contrast_enhanced", "contrast_enhanced").verdict
    'given'
    """
    one, other = flags_of(before), flags_of(after)
    found = Verdict()
    for rule in gate_rules(protocol.gate.rules):
        if "change" not in rule.answers:
            continue
        carries = rule.flag in one ^ other if rule.verdict == "unlike" else rule.flag in one | other
        if carries:
            found &= Verdict(LIMITED if rule.verdict == LIMITED else WITHHELD, (_said(rule.flag, rule.reason),))
    return found


def all_flags(said: Said) -> str:
    """Every flag on the rows of the whole lung, as a cell: ``T1w: ghosts, few_controls; ct: child``."""
    return "; ".join(
        f"{modality}: {', '.join(code for code in FLAGS if code in codes)}"
        for modality, codes in said.of_lung.items()
        if codes
    )


def in_words(verdicts: Iterable[tuple[str, Verdict]]) -> tuple[str, ...]:
    """Reasons with the answers that they concern: ``ghosts add to lung signal (T1w signal gain, T2w signal gain)``."""
    by_reason: dict[str, list[str]] = {}
    for answer, verdict in verdicts:
        for reason in verdict.reasons:
            by_reason.setdefault(reason, []).append(answer)
    return tuple(f"{reason} ({', '.join(dict.fromkeys(answers))})" for reason, answers in by_reason.items())


def _said(flag: str, reason: str) -> str:
    return f"{flag.replace('_', ' ')}: {reason}"
