"""Which controls were scanned as a patient was: sequence facts set side by side, differences said in words.

A fact that one of two images does not give is unknown: it parts no one from its controls, and is said. Facts that are
known and differ by more than the protocol allows leave a control out, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ipha_toolkit.io.acquisition import ACQUISITION_COLUMNS
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.settings import GateSettings
from ipha_toolkit.terms import Modality

Facts = Mapping[str, Any]
Key = tuple[str, str]
"""Subject and session."""


def _within(share: str, least: str = "") -> Callable[[float, float, GateSettings], bool]:
    def like(one: float, other: float, settings: GateSettings) -> bool:
        allowed = float(getattr(settings, share)) * min(one, other)
        return abs(one - other) <= max(allowed, float(getattr(settings, least)) if least else 0.0)

    return like


_LIKE: dict[str, Callable[[float, float, GateSettings], bool]] = {
    "field_t": lambda one, other, settings: abs(one - other) <= settings.field_t,
    "te_ms": _within("te_share", "te_ms"),
    "tr_ms": _within("tr_share"),
    "flip_deg": _within("flip_share"),
    "thickness_mm": lambda one, other, settings: max(one, other) <= settings.thickness_times * min(one, other),
    "kvp": lambda one, other, settings: abs(one - other) <= settings.kvp,
}
_UNITS = {"field_t": "T", "te_ms": "ms", "tr_ms": "ms", "flip_deg": "degrees", "thickness_mm": "mm", "kvp": "kV"}
_NAMES = {
    "field_t": "field", "te_ms": "TE", "tr_ms": "TR", "flip_deg": "flip angle", "thickness_mm": "slice thickness",
    "kvp": "tube voltage", "fat_suppressed": "fat suppression", "contrast": "contrast agent",
}  # fmt: skip
_ASKED = {
    Modality.CT: ("kernel", "kvp", "breath", "thickness_mm"),
    Modality.DX: (),
    Modality.T1W: ("field_t", "te_ms", "tr_ms", "flip_deg", "fat_suppressed", "contrast", "plane", "thickness_mm"),
    Modality.T2W: ("field_t", "te_ms", "tr_ms", "fat_suppressed", "contrast", "plane", "thickness_mm"),
    Modality.MEGRE: ("field_t", "te_ms", "tr_ms", "flip_deg", "thickness_mm"),
}
_NEEDED = {Modality.CT: ("kernel",), Modality.DX: (), Modality.MEGRE: ("field_t",)}
"""Facts without which nobody can say whether two images are of one sequence; of T1w and T2w field and times."""


def unlike(one: Facts, other: Facts, modality: str, *, protocol: Protocol = DEFAULT) -> tuple[str, ...]:
    """How two images of one modality differ in the way they were made.

    Parameters
    ----------
    one, other : mapping
        Facts as of :func:`ipha_toolkit.io.acquisition.acquisition_of`.
    modality : str
    protocol : Protocol
        ``gate``: how far two numbers may lie apart.

    Returns
    -------
    tuple of str
        One a difference: ``field 1.5 T, not 3 T``, the other's value first; empty where nothing known differs.

    Examples
    --------
    >>> unlike({"field_t": 3.0}, {"field_t": 1.5, "te_ms": 0.8}, "T1w")
    ('field 1.5 T, not 3 T',)
    """
    said = []
    for fact in _ASKED[Modality(modality)]:
        a, b = one.get(fact), other.get(fact)
        if not _known(a) or not _known(b):
            continue
        like = _LIKE[fact](float(a), float(b), protocol.gate) if fact in _LIKE else str(a) == str(b)  # type: ignore[arg-type]
        if not like:
            said.append(f"{_NAMES.get(fact, fact)} {_value(b, fact)}, not {_value(a, fact)}")
    return tuple(said)


def unknown(one: Facts, other: Facts, modality: str) -> tuple[str, ...]:
    """Facts that would be needed to say whether two images are of one sequence, and that one of them does not give."""
    role = Modality(modality)
    needed = _NEEDED.get(role, ("field_t", "te_ms", "tr_ms"))
    return tuple(_NAMES.get(fact, fact) for fact in needed if not (_known(one.get(fact)) and _known(other.get(fact))))


@dataclass(frozen=True)
class Match:
    """Controls of one image: ``sessions`` that match it, ``left_out`` with the reason by subject, and ``flags``."""

    sessions: frozenset[Key] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()

    @property
    def subjects(self) -> frozenset[str]:
        """Who the matching sessions are of."""
        return frozenset(subject for subject, _ in self.sessions)

    def __str__(self) -> str:
        """``sub-003 (field 1.5 T, not 3 T)``, one a control left out, those alike together."""
        by_reason: dict[str, list[str]] = {}
        for subject, reason in sorted(self.left_out.items()):
            by_reason.setdefault(reason, []).append(subject)
        return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


class Matching:
    """Controls of every image of a cohort.

    Parameters
    ----------
    controls : iterable of (subject, session)
        Sessions of the controls.
    acquisitions : DataFrame, optional
        As of :func:`acquisition_table`. None, or an image that is not in it, gives no facts: all controls match and
        the match is flagged ``sequence_unknown``.
    protocol : Protocol
    """

    def __init__(
        self, controls: Iterable[Key], acquisitions: pd.DataFrame | None = None, *, protocol: Protocol = DEFAULT
    ) -> None:
        self.controls, self.protocol = tuple(sorted(set(controls))), protocol
        self._subjects = {subject for subject, _ in self.controls}
        self._facts = facts_by_image(acquisitions)
        self._apart: dict[tuple[Any, ...], tuple[dict[Key, str], frozenset[Key]]] = {}
        self._found: dict[tuple[Any, ...], Match] = {}

    def of(self, subject: str, session: str, modality: str) -> Match:
        """Controls other than the subject whose images were made as this one; of ``T1w+T2w`` in both images."""
        roles = modality.split("+")
        facts = {role: self._facts.get((subject, session, role), {}) for role in roles}
        made = (modality, *(tuple(sorted(fact.items(), key=str)) for fact in facts.values()))
        if made not in self._apart:
            self._apart[made] = self._compared(facts)
        key = (made, subject if subject in self._subjects else "")
        if key not in self._found:
            self._found[key] = self._match(*self._apart[made], own=key[1])
        return self._found[key]

    def _compared(self, facts: Mapping[str, Facts]) -> tuple[dict[Key, str], frozenset[Key]]:
        """How all controls' images differ from one made so, and of those that do not, which leave something unsaid.

        Found once for all images that were made alike: the subject's own are left out later.
        """
        apart: dict[Key, str] = {}
        hidden = set()
        for key in self.controls:
            theirs = {role: self._facts.get((*key, role), {}) for role in facts}
            said = [
                difference if len(facts) == 1 else f"{role} {difference}"
                for role, fact in facts.items()
                for difference in unlike(fact, theirs[role], role, protocol=self.protocol)
            ]
            if said:
                apart[key] = ", ".join(said)
            elif any(unknown(fact, theirs[role], role) for role, fact in facts.items()):
                hidden.add(key)
        return apart, frozenset(hidden)

    def _match(self, apart: Mapping[Key, str], hidden: frozenset[Key], *, own: str) -> Match:
        sessions = frozenset(key for key in self.controls if key[0] != own and key not in apart)
        kept = {subject for subject, _ in sessions}
        left = {s: reason for (s, _), reason in apart.items() if s != own and s not in kept}
        flags = {"sequence_unknown"} if hidden & sessions else set()
        flags |= {"controls_left_out"} if left else set()
        return Match(sessions, left, frozenset(flags))


def acquisition_table(records: Iterable[Mapping[Any, Any]]) -> pd.DataFrame:
    """Facts of images as a table: ``subject, session, modality`` and those of
    :data:`ipha_toolkit.io.acquisition.FACTS`, NaN where unknown."""
    return pd.DataFrame(list(records), columns=list(ACQUISITION_COLUMNS))


def facts_by_image(acquisitions: pd.DataFrame | None) -> dict[tuple[str, str, str], Facts]:
    """Facts that are known of each image, by subject, session and modality."""
    if acquisitions is None:
        return {}
    about = ("subject", "session", "modality")
    return {
        (str(r["subject"]), str(r["session"]), str(r["modality"])): {
            str(name): value for name, value in r.items() if name not in about and _known(value)
        }
        for r in acquisitions.to_dict("records")
    }


def _known(value: object) -> bool:
    return value is not None and value != "" and value == value


def _value(value: object, fact: str) -> str:
    return f"{float(value):g} {_UNITS[fact]}" if fact in _UNITS else str(value)  # type: ignore[arg-type]
