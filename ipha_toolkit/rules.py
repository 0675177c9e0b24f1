"""Rules of findings and phases, one line of text each: how a line is read, and the lines that are used by default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.flags import FINDINGS
from ipha_toolkit.terms import Phase

FINDING_LINES = (
    "ground_glass_opacity: ct ground_glass_extent > 12, 35, 65 -- cuts chosen on the phantom",
    "consolidation: ct consolidation_extent > 1, 10, 30 -- cuts chosen on the phantom",
    "lower_zone_predominance: ct opacity_lower_excess > 40, 90, 130 -- cuts chosen on the phantom",
    "micronodules: ct nodules_per_litre > 35, 60, 90 -- cuts chosen on the phantom",
    "micronodules: T1w nodules_per_litre > 50, 75, 100 -- cuts chosen on the phantom",
    "reticulation: ct reticulation > 0.7, 1.5, 3 -- cuts chosen on the phantom",
    "t1w_signal_gain: T1w signal_ratio_median_vs_controls > 2, 5, 9 -- cuts chosen on the phantom",
    "t2w_signal_gain: T2w signal_ratio_median_vs_controls > 2.5, 6, 15 -- cuts chosen on the phantom",
    "hemosiderin_signature: T1w+T2w signature_strength > 0.7, 2, 4.5 -- cuts chosen on the phantom",
    "free_water: T1w+T2w signature_strength < -1, -2, -3 -- cuts chosen on the phantom",
    "film_opacity: dx film_consolidation_fraction > 28, 38, 50 -- cuts chosen: clear films of children up to 27",
)
"""Default rules of findings: ``finding: modality measure > cuts -- source``."""

PHASE_LINES = (
    "+3 none: ground_glass_opacity < 1 -- definition",
    "+1 none: consolidation < 1 -- definition",
    "+1 none: micronodules < 1 -- definition",
    "+2 none: t1w_signal_gain < 1 -- definition",
    "+2 none: hemosiderin_signature < 1 -- definition",
    "-1 none: ground_glass_opacity >= 1 -- definition",
    "-1 none: reticulation >= 1 -- definition",
    "-1 none: t1w_signal_gain >= 1 -- definition",
    "-1 none: hemosiderin_signature >= 1 -- definition",
    "-1 none: hemosiderin_signature >= 2 -- definition",
    "-2 none: free_water >= 1 -- definition",
    "+2 acute: consolidation >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+1 acute: ground_glass_opacity >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+2 acute: lower_zone_predominance >= 2 -- Ha & Palacio 2020, SWJPCC",
    "+1 acute: t1w_signal_gain >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+1 acute: t2w_signal_gain >= 2 -- Ha & Palacio 2020, SWJPCC",
    "+2 acute: free_water >= 2 -- Ha & Palacio 2020, SWJPCC: fresh blood and edema are bright",
    "+3 acute: film_opacity >= 1 -- Ha & Palacio 2020, SWJPCC",
    "-3 acute: hemosiderin_signature >= 1 -- chosen: a first bleed has left no iron yet",
    "-1 acute: reticulation >= 1 -- Ha & Palacio 2020, SWJPCC: follows the consolidation",
    "+2 subacute: ground_glass_opacity >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+2 subacute: lower_zone_predominance >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+1 subacute: reticulation >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+2 subacute: t1w_signal_gain >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+2 subacute: hemosiderin_signature >= 1 -- Ha & Palacio 2020, SWJPCC: T1w high, T2w low",
    "-1 subacute: lower_zone_predominance < 1 -- chosen on the phantom",
    "-2 subacute: lower_zone_predominance >= 2 -- chosen on the phantom: the bleed is still dense",
    "-3 subacute: consolidation >= 2 -- Ha & Palacio 2020, SWJPCC: clears within days",
    "-4 subacute: free_water >= 1 -- Ha & Palacio 2020, SWJPCC: T2w is low",
    "-4 subacute: hemosiderin_signature >= 3 -- chosen on the phantom",
    "-2 subacute: micronodules >= 1 -- chosen on the phantom",
    "-1 subacute: micronodules >= 2 -- chosen on the phantom",
    "+3 chronic: micronodules >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+3 chronic: hemosiderin_signature >= 3 -- Ha & Palacio 2020, SWJPCC",
    "-2 chronic: hemosiderin_signature < 3 -- Ha & Palacio 2020, SWJPCC: T2w markedly reduced",
    "+1 chronic: reticulation >= 1 -- Ha & Palacio 2020, SWJPCC",
    "+1 chronic: ground_glass_opacity >= 1 -- chosen: fibrosis makes the lung denser",
    "+1 chronic: lower_zone_predominance < 1 -- chosen on the phantom",
    "-1 chronic: lower_zone_predominance >= 1 -- chosen on the phantom",
    "-3 chronic: consolidation >= 1 -- Ha & Palacio 2020, SWJPCC: clears within days",
    "-2 chronic: t2w_signal_gain >= 1 -- Ha & Palacio 2020, SWJPCC: T2w is low",
)
"""Default rules of phases: ``+weight phase: finding >= grade -- source``."""

_FINDING_RULE = re.compile(r"(\w+): ([\w+]+) (\w+) ([<>]) ([-+.\d, e]+) -- (.+)")

_PHASE_RULE = re.compile(r"([+-][\d.]+) (\w+): (\w+) (>=|<) ([1-3]) -- (.+)")


@dataclass(frozen=True)
class FindingRule:
    """One line of ``findings.rules``: which measure carries a finding, and where its grades begin."""

    finding: str
    modality: str
    measure: str
    more: bool
    """Whether higher values are more of the finding."""
    cuts: tuple[float, ...]
    source: str

    def grade(self, value: float) -> int:
        """0 to 3."""
        return sum((value > cut) if self.more else (value < cut) for cut in self.cuts)


@dataclass(frozen=True)
class PhaseRule:
    """One line of ``phases.rules``: a finding that speaks for (weight above 0) or against a phase."""

    weight: float
    phase: Phase
    finding: str
    at_least: bool
    grade: int
    source: str

    def holds(self, grade: int) -> bool:
        """Whether a finding of this grade fulfils the rule."""
        return (grade >= self.grade) == self.at_least


PHASES = (Phase.NONE, Phase.ACUTE, Phase.SUBACUTE, Phase.CHRONIC)


def finding_rules(lines: Iterable[str]) -> tuple[FindingRule, ...]:
    """The lines of ``findings.rules``, read; ProtocolError names one that cannot be."""
    return tuple(_finding_rule(line) for line in lines)


def phase_rules(lines: Iterable[str]) -> tuple[PhaseRule, ...]:
    """The lines of ``phases.rules``, read; ProtocolError names one that cannot be."""
    return tuple(_phase_rule(line) for line in lines)


@lru_cache(maxsize=512)
def _finding_rule(line: str) -> FindingRule:
    form = "finding: modality measure > mild, moderate, marked -- source"
    finding, modality, measure, sign, numbers, source = _parts(line, _FINDING_RULE, "findings.rules", form)
    _require_name(line, "findings.rules", "finding", finding, FINDINGS)
    _require_name(line, "findings.rules", "measure", measure, MEASURES)
    try:
        cuts = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        cuts = ()
    if not 1 <= len(cuts) <= 3 or list(cuts) != sorted(cuts, reverse=sign == "<"):
        raise ProtocolError(f"findings.rules: {line!r}: needs one to three cuts, from less to more of the finding")
    return FindingRule(finding, modality, measure, sign == ">", cuts, source)


@lru_cache(maxsize=512)
def _phase_rule(line: str) -> PhaseRule:
    form = "+2 phase: finding >= grade -- source, grade 1 to 3"
    weight, phase, finding, sign, grade, source = _parts(line, _PHASE_RULE, "phases.rules", form)
    _require_name(line, "phases.rules", "phase", phase, PHASES)
    _require_name(line, "phases.rules", "finding", finding, FINDINGS)
    return PhaseRule(float(weight), Phase(phase), finding, sign == ">=", int(grade), source)


def _parts(line: str, pattern: re.Pattern[str], setting: str, form: str) -> tuple[str, ...]:
    matched = pattern.fullmatch(line.strip())
    if matched is None:
        raise ProtocolError(f"{setting}: {line!r}: needs the form '{form}'")
    return matched.groups()


def _require_name(line: str, setting: str, kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        listed = ", ".join(names) if len(names) < 20 else "those of the catalogue, terms.MEASURES"
        raise ProtocolError(f"{setting}: {line!r}: {kind} {name!r} is none of {listed}")
