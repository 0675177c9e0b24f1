"""Rules of findings and phases, one line of text each: how a line is read, and the lines that are used by default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.flags import FINDINGS, FLAGS
from ipha_toolkit.terms import Phase

_HA = "Ha & Palacio 2020, SWJPCC"

FINDING_LINES = (
    "ground_glass_opacity: ct ground_glass_extent > 8, 35, 65 -- cuts chosen on both generators",
    "air_space_opacity: ct opacity_fraction > 8, 35, 65 -- cuts chosen on both generators",
    "consolidation: ct consolidation_extent > 1, 10, 30 -- cuts chosen on the phantom",
    "patchy_opacity: ct patchiness > 0.1, 0.14, 0.5 -- both generators: even up to 0.11, patches from 0.105",
    "lower_zone_predominance: ct opacity_lower_excess > 40, 90, 130 -- cuts chosen on the phantom",
    "micronodules: ct nodules_per_litre > 35, 50, 90 -- cuts chosen on the phantom",
    "micronodules: T1w nodules_per_litre > 50, 75, 100 -- cuts chosen on the phantom",
    "reticulation: ct reticulation > 0.2, 2, 5 -- cuts chosen on both generators: clear up to 0.08, nets from 0.35",
    "interstitial_pattern: ct nodules_per_litre > 35, 50, 90 -- cuts as of micronodules",
    "interstitial_pattern: ct reticulation > 0.2, 2, 5 -- cuts as of reticulation",
    "t1w_signal_gain: T1w signal_ratio_median_vs_controls > 2, 3, 4 -- 2.3, 0.1, 0.003 % of healthy people lie beyond",
    "t2w_signal_gain: T2w signal_ratio_median_vs_controls > 2, 3, 4 -- 2.3, 0.1, 0.003 % of healthy people lie beyond",
    "dark_t2w: T2w signal_ratio_median_vs_controls < 0.5, -1, -2 -- cuts chosen on both generators",
    "hemosiderin_signature: T1w+T2w signature_strength_vs_controls > 2, 3, 4 -- as of t1w_signal_gain",
    "hemosiderin_signature: T1w+T2w signature_strength_in_water > 4, 6, 9 -- cuts chosen on the second generator",
    "marked_t2w_deficit: T1w+T2w signature_strength > 4.5 -- cut chosen on the phantom",
    "free_water: T1w+T2w signature_strength_vs_controls < -2, -3, -4 -- as of t1w_signal_gain",
    "film_opacity: dx film_consolidation_fraction > 28, 38, 50 -- cuts chosen: clear films of children up to 27",
    "film_haze: dx film_opaque_fraction > 4, 20, 40 -- cuts chosen on the phantom: clear films up to 3",
)
"""Default rules of findings: ``finding: modality measure > cuts -- source``."""

PHASE_LINES = (
    "+3 none: ground_glass_opacity < 1 -- definition",
    "+1 none: consolidation < 1 -- definition",
    "+1 none: micronodules < 1 -- definition",
    "+1 none: reticulation < 1 -- definition",
    "+2 none: t1w_signal_gain < 1 -- definition",
    "+2 none: hemosiderin_signature < 1 -- definition",
    "+2 none: film_opacity < 1 -- definition",
    "+1 none: film_haze < 1 -- definition",
    "-1 none: ground_glass_opacity >= 1 -- definition",
    "-3 none: consolidation >= 1 -- definition",
    "-3 none: reticulation >= 1 -- definition: a net is fibrosis or thick septa, nodules or not",
    "-1 none: micronodules >= 1 -- definition; forks of vessels count as nodules",
    "-2 none: micronodules >= 2 -- definition",
    "-1 none: t1w_signal_gain >= 1 -- definition",
    "-2 none: hemosiderin_signature >= 1 -- definition",
    "-2 none: free_water >= 1 -- definition",
    "-2 none: film_opacity >= 1 -- definition",
    "-3 none: film_haze >= 1 -- chosen: a film that is not quite clear excludes nothing",
    f"+2 acute: air_space_opacity >= 1 -- {_HA}: diffuse, homogeneous ground glass, or consolidation",
    f"+2 acute: patchy_opacity < 1 -- {_HA}: homogeneous",
    f"+2 acute: consolidation >= 1 -- {_HA}: consolidation on radiographs, clears within 3 days",
    "+1 acute: lower_zone_predominance >= 2 -- chosen on the phantom: perihilar or lower zones on radiographs",
    "+1 acute: t1w_signal_gain >= 1 -- chosen: filled air space holds more water",
    "+1 acute: t2w_signal_gain >= 1 -- chosen: fresh blood and edema are bright",
    "+2 acute: free_water >= 1 -- chosen: fresh blood and edema are bright",
    "-2 acute: free_water < 1 -- chosen: fresh blood and edema are bright",
    f"+3 acute: film_opacity >= 1 -- {_HA}: air-space opacity",
    "-3 acute: hemosiderin_signature >= 1 -- chosen: a first bleed has left no iron yet",
    f"-2 acute: patchy_opacity >= 2 -- {_HA}: patchy is subacute",
    f"-1 acute: micronodules >= 1 -- {_HA}: nodules are subacute or chronic",
    "-1 acute: micronodules >= 2 -- chosen: forks of vessels count as nodules",
    f"-1 acute: reticulation >= 1 -- {_HA}: follows the consolidation",
    f"+2 subacute: ground_glass_opacity >= 1 -- {_HA}: patchy ground glass",
    f"+2 subacute: patchy_opacity >= 2 -- {_HA}: patchy ground glass",
    f"+2 subacute: micronodules >= 1 -- {_HA}: diffuse nodules",
    f"+1 subacute: t1w_signal_gain >= 1 -- {_HA}: T1w high",
    f"+2 subacute: hemosiderin_signature >= 1 -- {_HA}: T1w high, T2w low",
    "-2 subacute: ground_glass_opacity < 1 -- definition",
    f"-2 subacute: micronodules < 1 -- {_HA}: diffuse nodules",
    f"-2 subacute: patchy_opacity < 1 -- {_HA}: homogeneous is acute",
    f"-3 subacute: consolidation >= 1 -- {_HA}: clears within days",
    f"-4 subacute: free_water >= 1 -- {_HA}: T2w is low",
    "-1 subacute: marked_t2w_deficit >= 1 -- chosen: marked T2w loss takes bleeds of months",
    "-2 subacute: dark_t2w >= 1 -- chosen: while blood is left, T2w is brighter than in controls",
    "+1 chronic: interstitial_pattern >= 2 -- chosen: forks of vessels count as nodules",
    f"+2 chronic: interstitial_pattern >= 1 -- {_HA}: reticulation or miliary stippling, micronodules",
    f"+3 chronic: marked_t2w_deficit >= 1 -- {_HA}: T2w markedly reduced",
    f"+2 chronic: dark_t2w >= 1 -- {_HA}: T2w markedly reduced",
    "-3 chronic: dark_t2w < 1 -- chosen on both generators: blood is left",
    f"+1 chronic: hemosiderin_signature >= 1 -- {_HA}: T2w reduced",
    "+1 chronic: patchy_opacity < 1 -- chosen: fibrosis is everywhere",
    "-1 chronic: ground_glass_opacity >= 1 -- chosen: ground glass is of bleeding now",
    "-1 chronic: ground_glass_opacity >= 2 -- chosen: thick septa within filled air space",
    "+1 chronic: micronodules >= 3 -- chosen: so many are no forks of vessels",
    "-2 chronic: patchy_opacity >= 2 -- chosen: ground glass is of bleeding now",
    f"-3 chronic: consolidation >= 1 -- {_HA}: clears within days",
    f"-2 chronic: t2w_signal_gain >= 1 -- {_HA}: T2w is low",
    f"-2 chronic: free_water >= 1 -- {_HA}: T2w is low",
    "+3 air_space: air_space_opacity >= 1 -- Fleischner Society glossary, doi 10.1148/radiol.2462070712",
    "+1 air_space: consolidation >= 1 -- Fleischner Society glossary, doi 10.1148/radiol.2462070712",
    "+2 air_space: t1w_signal_gain >= 1 -- chosen: filled air space holds more water",
    "+1 air_space: t2w_signal_gain >= 1 -- chosen: water and blood are bright",
    "+2 air_space: film_opacity >= 1 -- Fleischner Society glossary, doi 10.1148/radiol.2462070712",
    "-3 air_space: hemosiderin_signature >= 1 -- chosen: water raises T2w",
    "+3 fibrosis: reticulation >= 1 -- Fleischner Society glossary, doi 10.1148/radiol.2462070712",
    "+1 fibrosis: ground_glass_opacity < 1 -- chosen: else air space is filled as well",
    "-2 fibrosis: ground_glass_opacity >= 2 -- chosen: thick septa within filled air space",
    "-3 fibrosis: consolidation >= 1 -- chosen: borders of filled air space look like a net",
)
"""Default rules of phases: ``+weight phase: finding >= grade -- source``."""

_DEFICIT = "hemosiderin_signature, marked_t2w_deficit, free_water"
_GAIN = "t1w_signal_gain, t2w_signal_gain, dark_t2w"

_DENSITY = "ground_glass_opacity, air_space_opacity, lower_zone_predominance, patchy_opacity"
_PATTERNS = "ground_glass_opacity, air_space_opacity, consolidation, micronodules, reticulation"

GATE_LINES = (
    f"withheld {_DEFICIT}: contrast_enhanced -- an agent brightens T1w and not T2w",
    "limited t1w_signal_gain: contrast_enhanced -- an agent brightens T1w as blood does",
    f"withheld {_GAIN}, {_DEFICIT}: ghosts -- ghosts add to lung signal",
    f"withheld {_GAIN}, {_DEFICIT}: uneven_noise -- noise lifts dark lung by another amount from place to place",
    f"withheld {_GAIN}, {_DEFICIT}: emptied_lung -- the lung's dark signal was set to zero",
    f"withheld {_GAIN}, {_DEFICIT}: other_age -- lungs dry as they grow",
    f"withheld {_DEFICIT}: noise_not_estimable -- what stands above the noise is not known",
    f"withheld {_DEFICIT}: no_evidence -- T1w predicts a T2w within the noise",
    f"limited {_GAIN}: noise_not_estimable -- noise lifts dark lung by an unknown amount",
    "absence hemosiderin_signature, marked_t2w_deficit: iron_under_water -- T2w rises faster than T1w in wet lung",
    "limited hemosiderin_signature: iron_may_hide -- less iron, up to {signature_hidden_loss} of T2w, would not show",
    f"absence {_GAIN}, {_DEFICIT}: lungs_partly_missing -- bright lung is lost first",
    f"withheld {_GAIN}, {_DEFICIT}: perhaps_no_chest -- the mask may hold muscle of another part of the body",
    f"limited {_GAIN}, {_DEFICIT}: suppressed_fat -- fat as dark as lung may be in the mask",
    f"absence {_GAIN}: implausible_lung_volume -- the mask may be wrong",
    f"limited {_GAIN}, {_DEFICIT}: few_controls -- their spread is hardly known",
    f"limited {_GAIN}, {_DEFICIT}: sequence_unknown -- nobody says that they match",
    f"limited {_GAIN}, {_DEFICIT}: controls_left_out -- scanned otherwise",
    f"limited {_GAIN}, {_DEFICIT}: cut_field_of_view -- not all of the lungs is seen",
    f"limited {_GAIN}, {_DEFICIT}: small_reference -- little muscle to divide by",
    f"withheld {_DENSITY}: expiration -- empty lung is dense",
    f"withheld {_DENSITY}: young_child -- healthy lung is as dense, PMC5116406",
    "mild ground_glass_opacity, air_space_opacity: child -- cuts are of adults at full inspiration",
    "moderate micronodules, interstitial_pattern: child -- in small lungs more forks of vessels count as nodules",
    "doubt ground_glass_opacity, air_space_opacity: faint_haze without reticulation, consolidation -- no lung that is "
    "clear has so much haze, and none is sure to be ground glass",
    "presence ground_glass_opacity, air_space_opacity, patchy_opacity: blurred_border -- tissue beside it is mixed in",
    "presence patchy_opacity: septa_as_patches -- what lies between septa is no patch of haze",
    "withheld lower_zone_predominance: cut_field_of_view -- a zone may be missing",
    "withheld lower_zone_predominance: slices_missing -- a zone may be missing",
    f"absence {_PATTERNS}: cut_field_of_view -- part is not seen",
    f"absence {_PATTERNS}: slices_missing -- part is not seen",
    f"absence {_PATTERNS}, {_GAIN}: single_slice -- the rest of the lungs is not seen",
    f"absence {_PATTERNS}, {_GAIN}: one_lung -- the other lung is not seen: it may be full",
    f"absence {_GAIN}, {_DEFICIT}, {_PATTERNS}: lung_voxels_missing -- part is not seen",
    "limited reticulation: blurred_slices -- a net of septa may be missed",
    "absence ground_glass_opacity, air_space_opacity, consolidation: implausible_lung_volume -- the mask may be wrong",
    "absence ground_glass_opacity, air_space_opacity, consolidation: lung_perhaps_missing -- dense lung is lost first",
    "absence micronodules: coarse_for_micronodules -- smaller nodules than the voxels are not seen",
    "absence film_opacity: uncertain_lung_field -- the field may leave out what is opaque",
    "withheld film_opacity, film_haze: perhaps_not_frontal -- cuts are of frontal films",
    "withheld film_opacity, film_haze: perhaps_no_radiograph -- what is shown may be no chest film",
    "withheld change: ghosts -- ghosts add to lung signal",
    "withheld change: uneven_noise -- noise lifts dark lung by another amount from place to place",
    "withheld change: emptied_lung -- the lung's dark signal was set to zero",
    "withheld change: lungs_partly_missing -- another share of the lung was measured",
    "withheld change: perhaps_no_radiograph -- what is shown may be no chest film",
    "withheld change: implausible_lung_volume -- the mask may be wrong",
    "withheld change: perhaps_no_chest -- the mask may hold muscle of another part of the body",
    "unlike change: contrast_enhanced -- a contrast agent was given on one of the dates",
    "unlike change: perhaps_not_frontal -- one of the films may be no frontal one",
    "unlike change: one_lung -- the other lung was seen on one of the dates",
    "unlike change: lung_perhaps_missing -- dense lung was lost on one of the dates",
    "unlike change: expiration -- the lungs were emptied on one of the dates",
    "unlike change: cut_field_of_view -- another part of the lungs was seen on one of the dates",
    "unlike change: young_child -- the lungs grew between the dates",
)
"""Default rules of the gate: ``verdict answer, answer: flag -- reason``; an answer is a finding, or ``change``.

``withheld``: not given. ``limited``: given, the reason named. ``absence``: given where the finding is seen, withheld
where it is not; ``presence``: the other way round. ``doubt``: as absence, but an absence is given where controls of
like age have as much. ``mild``: a mild finding is given where it lies beyond the controls, absent where they have as
much, withheld where there are none of like age; a higher grade is given, the reason named. ``moderate``: so is a
moderate one. ``unlike``: a change is withheld where one of its dates alone carries the flag. ``flag where finding,
finding``: only where one of these is seen as well; ``without``: only where none is. A measure in braces within a reason
is said with its value.
"""

_GATE_RULE = re.compile(
    r"(withheld|limited|absence|presence|doubt|mild|moderate|unlike) ([\w, ]+): "
    r"(\w+)(?: (where|without) ([\w, ]+))? -- (.+)"
)

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


@dataclass(frozen=True)
class GateRule:
    """One line of ``gate.rules``: what a flag does to answers that rest on the row that carries it."""

    verdict: str
    answers: tuple[str, ...]
    flag: str
    reason: str
    where: tuple[str, ...] = ()
    """Findings of which one has to be there for the rule to hold; empty: none."""
    without: tuple[str, ...] = ()
    """Findings of which none may be there."""


PHASES = (Phase.NONE, Phase.ACUTE, Phase.SUBACUTE, Phase.CHRONIC, Phase.AIR_SPACE, Phase.FIBROSIS)
OF_A_BLEED = (Phase.ACUTE, Phase.SUBACUTE, Phase.CHRONIC)
CAUSE_OPEN = (Phase.AIR_SPACE, Phase.FIBROSIS)
NAMES = {phase: phase.name.lower() for phase in PHASES}
"""What a phase is called in a rule and in a column: ``air_space`` for "air-space filling, cause open"."""


def finding_rules(lines: Iterable[str]) -> tuple[FindingRule, ...]:
    """The lines of ``findings.rules``, read; ProtocolError names one that cannot be."""
    return tuple(_finding_rule(line) for line in lines)


def phase_rules(lines: Iterable[str]) -> tuple[PhaseRule, ...]:
    """The lines of ``phases.rules``, read; ProtocolError names one that cannot be."""
    return tuple(_phase_rule(line) for line in lines)


def gate_rules(lines: Iterable[str]) -> tuple[GateRule, ...]:
    """The lines of ``gate.rules``, read; ProtocolError names one that cannot be."""
    return tuple(_gate_rule(line) for line in lines)


@lru_cache(maxsize=512)
def _gate_rule(line: str) -> GateRule:
    form = "withheld answer, answer: flag -- reason, or flag where finding"
    verdict, names, flag, how, others, reason = _parts(line, _GATE_RULE, "gate.rules", form)
    answers, beside = (tuple(name.strip() for name in part.split(",") if name) for part in (names, others))
    for name in answers:
        _require_name(line, "gate.rules", "answer", name, (*FINDINGS, "change"))
    for name in beside:
        _require_name(line, "gate.rules", "finding", name, FINDINGS)
    if flag not in FLAGS:
        raise ProtocolError(f"gate.rules: {line!r}: flag {flag!r} is none of those of the catalogue, flags.FLAGS")
    where, without = (beside if how == word else () for word in ("where", "without"))
    return GateRule(verdict, answers, flag, reason, where, without)


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
    _require_name(line, "phases.rules", "phase", phase, NAMES.values())
    _require_name(line, "phases.rules", "finding", finding, FINDINGS)
    return PhaseRule(float(weight), Phase[phase.upper()], finding, sign == ">=", int(grade), source)


def _parts(line: str, pattern: re.Pattern[str], setting: str, form: str) -> tuple[str, ...]:
    matched = pattern.fullmatch(line.strip())
    if matched is None:
        raise ProtocolError(f"{setting}: {line!r}: needs the form '{form}'")
    return matched.groups("")


def _require_name(line: str, setting: str, kind: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        listed = ", ".join(names) if len(names) < 20 else "those of the catalogue, terms.MEASURES"
        raise ProtocolError(f"{setting}: {line!r}: {kind} {name!r} is none of {listed}")
