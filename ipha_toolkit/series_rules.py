"""Rules that say what a series of images is, each a line of text with its source.

Three lists of the protocol are read here:

``series.roles``
    ``+3 T1w: modality = mr and te_ms < 6 -- source``: facts of the header that speak for a role, or against it
    (``-3``). ``none`` is a role: it gathers what speaks against any use. A test is ``fact = text``, ``fact ~ pattern``
    (a regular expression found anywhere, case ignored), ``fact !~ pattern``, or ``fact < number``, ``<=``, ``>``,
    ``>=``; tests joined by ``and`` have all to hold. A fact that the header does not give fulfils no test but ``!~``.
``series.labels``
    ``acq-exp ct: words ~ exp -- source``: a label that the file's name carries.
``series.choice`` and ``layout.choice``
    ``ct: kernel_kind = soft -- source``: of several images for one role, those that hold win over those that do not;
    ``least fact`` and ``most fact`` rank by number. The first line that tells them apart decides; ``*`` is for every
    role.

The lines used by default stand in :mod:`ipha_toolkit.series_lines`.
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
        spoken = max(spoke, key=lambda role: len(spoke[role]))
        return Proposal(OPEN, OPEN, f"no rule settles it: {_said(facts, spoke, support, spoken)}")
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
    """Rules for the best role, and those of a runner-up that comes near, as a person would read them."""
    said = [_words(rule, facts) for rule in spoke[best]] or ["nothing in the header speaks for a role"]
    other = max((role for role in support if role != best), key=lambda role: support[role])
    if support[other] > max(support[best], 0.0) / 2:
        said.append(f"for {other}: " + ", ".join(_words(rule, facts) for rule in spoke[other]))
    return "; ".join(said)


def _words(rule: RoleRule, facts: Facts) -> str:
    told = [test.said(facts) for test in rule.tests if test.fact != "modality"] or [rule.tests[0].said(facts)]
    return " and ".join(text for text in told if text) + f" ({rule.weight:+g})"


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
            raise ProtocolError(
                f"[series] labels: cannot read {line!r}; needs a line like 'acq-exp ct: words ~ exp -- source'"
            )
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
