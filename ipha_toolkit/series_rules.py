"""Rules that say what a series of images is, each a line of text with its source.

Three lists of the protocol are read here:

``series.roles``
    ``+3 T1w: modality = mr and te_ms < 6 -- source``: facts of the header that speak for a role, or against it (``-3``).
    ``none`` is a role: it gathers what speaks against any use. A test is ``fact = text``, ``fact ~ pattern`` (a regular
    expression found anywhere, case ignored), ``fact !~ pattern``, or ``fact < number``, ``<=``, ``>``, ``>=``; tests joined
    by ``and`` have all to hold. A fact that the header does not give fulfils no test but ``!~``.
``series.labels``
    ``acq-exp ct: words ~ exp -- source``: a label that the file's name carries.
``series.choice`` and ``layout.choice``
    ``ct: kernel_kind = soft -- source``: of several images for one role, those that hold win over those that do not;
    ``least fact`` and ``most fact`` rank by number. The first line that tells them apart decides; ``*`` is for every role.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ipha_toolkit.errors import ProtocolError

Facts = Mapping[str, str | float]
"""What is known of an image, by name; what is not known is left out or empty."""

NONE, OPEN = "none", "open"
"""No role by the rules; and no rule that settles it."""

_ROLE_RULE = re.compile(r"([+-][\d.]+) (\w+): (.+?) -- (.+)")
_LABEL_RULE = re.compile(r"(\w+)-(\w+) (\w+): (.+?) -- (.+)")
_CHOICE_RULE = re.compile(r"(\w+|\*): (.+?) -- (.+)")
_TEST = re.compile(r"(\w+) (=|!~|~|<=|>=|<|>) (.+)")
_RANK = re.compile(r"(least|most) (\w+)")


@dataclass(frozen=True)
class Test:
    """One fact against one value."""

    __test__ = False  # no test class of pytest

    fact: str
    sign: str
    value: str

    def holds(self, facts: Facts) -> bool:
        """Whether the facts fulfil it."""
        given = facts.get(self.fact, "")
        if self.sign in ("~", "!~"):
            return bool(re.search(self.value, str(given), re.IGNORECASE)) == (self.sign == "~")
        if given == "":
            return False
        if self.sign == "=":
            return str(given).lower() == self.value.lower()
        number, bound = float(given), float(self.value)
        return {"<": number < bound, "<=": number <= bound, ">": number > bound, ">=": number >= bound}[self.sign]

    def said(self, facts: Facts) -> str:
        """What the image has that fulfils it, in words."""
        given = facts.get(self.fact, "")
        if self.sign == "~" and (found := re.search(self.value, str(given), re.IGNORECASE)):
            return f"{self.fact} {found[0].strip()!r}"
        return f"{self.fact} {given:g}" if isinstance(given, float) else f"{self.fact} {str(given)!r}" if given else ""

    def __str__(self) -> str:
        return f"{self.fact} {self.sign} {self.value}"


@dataclass(frozen=True)
class RoleRule:
    """One line of ``series.roles``."""

    weight: float
    role: str
    tests: tuple[Test, ...]
    source: str


@dataclass(frozen=True)
class Proposal:
    """The role proposed for a series. ``sure``: ``sure``, ``likely`` or ``open``; ``reason``: in words."""

    role: str
    sure: str
    reason: str


def propose_role(
    facts: Facts, rules: Sequence[str], *, roles: Iterable[str], least: float, sure: float, margin: float
) -> Proposal:
    """Role that the rules speak for.

    Parameters
    ----------
    facts : mapping
    rules : sequence of str
        ``series.roles``.
    roles : iterable of str
        Roles there are, beside ``none``.
    least, sure, margin : float
        Support a role needs to be proposed at all; to be sure, where nothing speaks against it; and over the next one.
    """
    support = dict.fromkeys([*roles, NONE], 0.0)
    spoke: dict[str, list[RoleRule]] = {role: [] for role in support}
    for rule in role_rules(tuple(rules), tuple(support)):
        if all(test.holds(facts) for test in rule.tests):
            support[rule.role] += rule.weight
            spoke[rule.role].append(rule)
    best, second = sorted(support, key=lambda role: -support[role])[:2]
    ahead = support[best] - max(support[second], 0.0)
    if support[best] < least or ahead <= 0:
        return Proposal(OPEN, OPEN, f"no rule settles it: {_said(facts, spoke, support, best)}")
    doubt = [rule for rule in spoke[best] if rule.weight < 0] or support[best] < sure or ahead < margin
    return Proposal(best, "likely" if doubt else "sure", _said(facts, spoke, support, best))


def labels_of(facts: Facts, role: str, rules: Sequence[str]) -> dict[str, str]:
    """Labels of the file name, such as ``{"acq": "exp"}``; the first line that holds decides for its entity."""
    found: dict[str, str] = {}
    for entity, label, of_role, tests in label_rules(tuple(rules)):
        if of_role == role and entity not in found and all(test.holds(facts) for test in tests):
            found[entity] = label
    return found


def choose(candidates: Sequence[Facts], role: str, rules: Sequence[str]) -> tuple[list[int], str]:
    """Which of several images takes a role.

    Returns
    -------
    left : list of int
        Positions of those no rule tells apart; one where the rules decide.
    reason : str
        Lines that decided, in words.
    """
    left, reasons = list(range(len(candidates))), []
    for of_role, test in choice_rules(tuple(rules)):
        if of_role not in (role, "*") or len(left) < 2:
            continue
        better = _better(candidates, left, test)
        if len(better) < len(left):
            left = better
            reasons.append(str(test) if isinstance(test, Test) else " ".join(test))
    return left, ", then ".join(reasons)


def _better(candidates: Sequence[Facts], left: list[int], test: Test | tuple[str, str]) -> list[int]:
    if isinstance(test, Test):
        return [n for n in left if test.holds(candidates[n])] or left
    direction, fact = test
    numbers = {n: float(candidates[n][fact]) for n in left if candidates[n].get(fact, "") != ""}
    if not numbers:
        return left
    end = (min if direction == "least" else max)(numbers.values())
    return [n for n in left if numbers.get(n) == end]


def _said(facts: Facts, spoke: Mapping[str, list[RoleRule]], support: Mapping[str, float], best: str) -> str:
    """Rules for the best role, and those of the runner-up, as a person would read them."""
    said = [_words(rule, facts) for rule in spoke[best]] or ["nothing in the header speaks for a role"]
    other = max((role for role in support if role != best), key=lambda role: support[role])
    if support[other] > 0:
        said.append(f"for {other}: " + ", ".join(_words(rule, facts) for rule in spoke[other]))
    return "; ".join(said)


def _words(rule: RoleRule, facts: Facts) -> str:
    told = [test.said(facts) for test in rule.tests if test.fact != "modality"] or [rule.tests[0].said(facts)]
    return f"{rule.weight:+g} " + " and ".join(text for text in told if text)


@lru_cache
def role_rules(lines: tuple[str, ...], roles: tuple[str, ...]) -> tuple[RoleRule, ...]:
    """``series.roles``, parsed.

    Raises
    ------
    ProtocolError
        Where a line cannot be read or names no role; the message holds the line.
    """
    rules = []
    for line in lines:
        found = _ROLE_RULE.fullmatch(line)
        if found is None or found[2] not in roles:
            raise ProtocolError(
                f"[series] roles: cannot read {line!r}; needs a line like '+3 T1w: te_ms < 6 -- source', "
                f"with one of {', '.join(roles)}"
            )
        rules.append(RoleRule(float(found[1]), found[2], _tests(found[3], line), found[4]))
    return tuple(rules)


@lru_cache
def label_rules(lines: tuple[str, ...]) -> tuple[tuple[str, str, str, tuple[Test, ...]], ...]:
    """``series.labels``, parsed: entity, label, role, tests."""
    rules = []
    for line in lines:
        found = _LABEL_RULE.fullmatch(line)
        if found is None:
            raise ProtocolError(f"[series] labels: cannot read {line!r}; needs a line like 'acq-exp ct: words ~ exp -- source'")
        rules.append((found[1], found[2], found[3], _tests(found[4], line)))
    return tuple(rules)


@lru_cache
def choice_rules(lines: tuple[str, ...]) -> tuple[tuple[str, Test | tuple[str, str]], ...]:
    """``series.choice`` or ``layout.choice``, parsed: role or ``*``, and a test or (least or most, fact)."""
    rules: list[tuple[str, Test | tuple[str, str]]] = []
    for line in lines:
        found = _CHOICE_RULE.fullmatch(line)
        if found is None:
            raise ProtocolError(f"choice: cannot read {line!r}; needs a line like 'ct: least thickness_mm -- source'")
        rank = _RANK.fullmatch(found[2])
        rules.append((found[1], (rank[1], rank[2]) if rank else _tests(found[2], line)[0]))
    return tuple(rules)


def _tests(text: str, line: str) -> tuple[Test, ...]:
    tests = []
    for part in text.split(" and "):
        found = _TEST.fullmatch(part)
        try:
            if found is None:
                raise ValueError("no such test")
            re.compile(found[3]) if "~" in found[2] else (found[2] == "=" or float(found[3]))
        except (ValueError, re.error) as error:
            raise ProtocolError(f"rule {line!r}: cannot read {part!r} ({error}); needs 'fact = text', 'fact ~ pattern' "
                                "or 'fact < number'") from None  # fmt: skip
        tests.append(Test(*found.groups()))
    return tuple(tests)


_T1_NAMES = r"\b(e?thrive|vibe|lava|flash|fl3d|fl2d|f?spgr|t1(w|_?ffe)?|3d_?tfe|tfe|star|ute|petra|zte)\b"
_T2_NAMES = r"\b(t2w?|haste|ss-?fse|ssh|tse|fse|frfse|blade|propeller|multivane)\b"
_ECHO_NAMES = r"(\bt2\*|\bt2star|\br2\*|\br2star|multi-?echo|megre|\bmffe\b|\bmfe\b|ideal|q-?dixon|\bme\b)"
_CHEST = r"\b(chest|thorax|torax|lungs?|lunge(n)?|poumons?|pulm\w*|pulmon(es)?|thorac\w*|hrct|thx)\b"
_FAR = r"\b(head|brain|skull|schaedel|knee|pelvis|becken|hand|foot|hip|shoulder|extremity|[lct]?spine|leg|arm|breast)\b"
_NEAR = r"\b(abdomen|abd|bauch|stomach|kidneys?|niere|liver|leber|heart|herz|aorta|trunk|partialbody|wholebody)\b"
_SCOUT = r"(scout|locali[sz]\w*|\bloc\b|survey|topogram\w*|surview|scano\w*|reperage|uebersicht|\bplan\b)"
_DERIVED = (
    r"(\bmip\b|minip|\bvrt\b|\bmpr\b|subtra\w*|\bsub\b|soustr\w*|sustr\w*|\badc\b|\btrace\b|fraction\w*|fettfraktion|graisse"
    r"|\bff\b|\bmap\b|karte|carte|mapa|segment\w*)"
)
_PAPER = r"(dose|dosis|report|bericht|rapport|informe|summary|screen|capture|protocol(l|e)?$|\bpatient protocol)"
_WATCH = r"(bolus|monitor\w*|smartprep|tracker|surestart|care ?bolus)"
_EXPIRED = r"\b(exsp?|exsp?ir\w*|ausatm\w*|espir\w*|end-?exp\w*)\b"
_INSPIRED = r"\b(ins|insp|inspir\w*|einatm\w*)\b"
_LATERAL = r"\b(lat|lateral|seitlich|profil|ll|rl|lld|rld|decub\w*)\b"

ROLES: tuple[str, ...] = (
    "+20 none: image_type ~ localizer -- DICOM PS3.3 C.8.2.1.1.1, ImageType of CT and MR",
    f"+20 none: words ~ {_SCOUT} -- chosen: names of planning views",
    "+20 none: component ~ phase|real|imaginary -- definition: roles are magnitude images",
    "+20 none: image_type ~ projection|mip|minip|subtraction|adc|fat_fraction|composed|dixon_f|screen|sec_cap"
    " -- DICOM PS3.3 C.8.13.3.1.4, images computed from others",
    f"+20 none: words ~ {_DERIVED} -- chosen: names of images computed from others",
    f"+20 none: words ~ {_PAPER} -- chosen: names of documents and screenshots",
    "+20 none: kind = document -- DICOM PS3.4 B.5, objects that are no images",
    "+20 none: kind = secondary -- DICOM PS3.3 A.8: a copy of the screen may show a name",
    "+20 none: burned_in = yes -- DICOM PS3.3 C.7.6.1: text in the pixels",
    f"+20 none: words ~ {_WATCH} -- chosen: one slice watched until the contrast agent comes",
    "+20 none: image_type ~ \\bmon\\b -- Siemens: one slice watched until the contrast agent comes",
    "+20 none: modality = mr and words ~ \\b(dwi|ep2d|diff\\w*|perf\\w*|swi|angio|tof|cine|phase ?contrast|flow|bold|spectro\\w*)\\b -- chosen",
    "+20 none: modality ~ us|xa|rf|pt|nm|mg|ot|sr|pr|ko|doc -- no role is of this modality",
    "+4 ct: modality = ct -- definition",
    "+2 ct: modality = ct and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 ct: modality = ct and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+2 ct: modality = ct and slices >= 20 -- chosen: a scan of the lungs and not a few slices",
    "-1 ct: modality = ct and slices < 20 -- chosen: a few slices only",
    f"-8 ct: modality = ct and body_part ~ ({_FAR}|{_NEAR}) and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 ct: modality = ct and words ~ ({_FAR}|{_NEAR}) and words !~ {_CHEST} and body_part !~ chest -- chosen: another part of the body",
    "-2 ct: modality = ct and image_type ~ derived|reformatted -- DICOM PS3.3 C.7.6.1.1.2: computed from other images",
    "-2 ct: modality = ct and plane ~ coronal|sagittal -- chosen: CT is scanned in axial slices, others are computed",
    "+4 T1w: modality = mr and sequence ~ gr and te_ms < 6 and tr_ms < 20 -- spoiled gradient echo of the chest: short TE, short TR",
    f"+2 T1w: modality = mr and words ~ {_T1_NAMES} -- vendors' names of T1-weighted gradient echo",
    "+1 T1w: modality = mr and flip_deg >= 5 and sequence ~ gr and tr_ms < 20 -- chosen: flip angles of proton density are smaller",
    "-8 T1w: modality = mr and echoes >= 3 -- definition: that is a multi-echo series",
    "-8 T1w: modality = mr and image_type ~ \\b(fat|opp_phase|out_phase|w?_?opp)\\b -- Dixon images without the water of the lung",
    "-8 T1w: modality = mr and words ~ \\b(opp|opposed|outphase|out|fat only|fett|f)$ -- Siemens: Dixon images end so",
    "-8 T1w: modality = mr and words ~ \\b(trufi|fiesta|b-?ffe|btfe|bssfp|balanced|ssfp)\\b -- balanced sequences are not T1-weighted",
    "-4 T1w: modality = mr and words ~ \\bt2\\*?\\b -- chosen: called T2",
    "-1 T1w: modality = mr and slices < 6 -- chosen: a few slices only",
    f"-8 T1w: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 T1w: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 T1w: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST} -- chosen: scanners keep the part of the last patient",
    f"-2 T1w: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 T1w: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 T1w: modality = mr and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+4 T2w: modality = mr and sequence ~ \\bse\\b and te_ms >= 35 and tr_ms >= 500 -- fast spin echo: long TE, long TR",
    f"+2 T2w: modality = mr and words ~ {_T2_NAMES} and sequence ~ \\bse\\b -- vendors' names of fast spin echo",
    "+1 T2w: modality = mr and words ~ \\bt2w?\\b and sequence ~ \\bse\\b -- called T2",
    "-4 T2w: modality = mr and words ~ \\bt1w?\\b -- called T1",
    "-4 T2w: modality = mr and sequence ~ \\bir\\b -- inversion recovery changes the contrast",
    "-1 T2w: modality = mr and slices < 6 -- chosen: a few slices only",
    f"-8 T2w: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 T2w: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 T2w: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST} -- chosen: scanners keep the part of the last patient",
    f"-2 T2w: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 T2w: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 T2w: modality = mr and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+5 MEGRE: modality = mr and sequence ~ gr and echoes >= 3 -- definition: three echoes make a decay",
    f"+1 MEGRE: modality = mr and words ~ {_ECHO_NAMES} and echoes >= 3 -- vendors' names of multi-echo gradient echo",
    "+1 MEGRE: modality = mr and echoes >= 3 and te_ms < 3 -- chosen: lung has lost its signal after a few ms",
    f"-8 MEGRE: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 MEGRE: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 MEGRE: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST} -- chosen: scanners keep the part of the last patient",
    f"-2 MEGRE: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 MEGRE: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 MEGRE: modality = mr and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+4 dx: modality = dx -- definition",
    "+2 dx: modality = dx and view ~ ^(ap|pa)$ -- DICOM PS3.3 C.8.11.5: view position",
    "+1 dx: modality = dx and view !~ . and words ~ \\b(ap|pa|frontal|face|front)\\b -- chosen: called frontal",
    "+2 dx: modality = dx and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+1 dx: modality = dx and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    f"-20 dx: modality = dx and view ~ {_LATERAL} -- definition: films are measured in frontal view",
    f"-20 dx: modality = dx and view !~ . and words ~ {_LATERAL} -- definition: films are measured in frontal view",
    "-20 dx: modality = dx and body_part ~ [a-z] and body_part !~ chest|thorax|lung|trunk -- another part of the body",
)  # fmt: skip

LABELS: tuple[str, ...] = (
    f"acq-exp ct: words ~ {_EXPIRED} -- chosen: names of expiration in four languages",
    f"acq-insp ct: words ~ {_INSPIRED} -- chosen: names of inspiration in four languages",
)

CHOICE: tuple[str, ...] = (
    f"ct: words !~ {_EXPIRED} -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    f"ct: words ~ {_INSPIRED} -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "*: body_part ~ chest|thorax|lung -- definition",
    "*: wrong !~ . -- chosen: a whole series before one with missing or tilted slices",
    "ct: image_type !~ derived|reformatted -- chosen: what was scanned before what was computed from it",
    "ct: plane = axial -- chosen: CT is scanned in axial slices",
    "ct: slices >= 20 -- chosen: a whole lung",
    "ct: thickness_mm <= 3 -- chosen: thin enough for micronodules",
    "ct: kernel_kind = soft -- chosen: sharp kernels raise the noise that shares of density take in; write lung to ask for it",
    "*: contrast !~ . -- chosen: T1w ratios and densities are read without contrast agent",
    "ct: least thickness_mm -- chosen",
    "MEGRE: most echoes -- chosen",
    "MEGRE: least te_ms -- chosen: lung has lost its signal after a few ms",
    "T1w: image_type ~ in_phase|\\bw\\b|water -- chosen: Dixon in phase or water",
    "dx: view = pa -- chosen: the heart is less enlarged than in AP",
    "*: most slices -- chosen",
    "*: least thickness_mm -- chosen",
    "*: most number -- chosen: a scan is repeated where the first failed",
)

LAYOUT_CHOICE: tuple[str, ...] = (
    "ct: acq !~ ^(exp|exsp|ausatm) -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "ct: acq ~ ^insp -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "*: part !~ phase|real|imag -- definition: roles are magnitude images",
    "*: ce !~ . -- chosen: T1w ratios and densities are read without contrast agent",
    "*: rec !~ (sharp|bone|lung) -- chosen: sharp kernels raise the noise that shares of density take in",
    "*: most run -- BIDS names repeats by run; chosen: a scan is repeated where the first failed",
)

SOFT_KERNELS = r"^(b[0-4]\d|br[34]\d|bv[34]\d|bf[34]\d|qr[34]\d|i[23]\d|fc0\d|fc1[0-9]|standard|std|soft|body|[abc]$|smooth)"
LUNG_KERNELS = r"^(b[5-9]\d|br[56789]\d|bl[4-9]\d|bf5\d|i[5-9]\d|fc[358]\d|lung|bone|edge|detail|sharp|yc|[dle]$|y[abd])"
