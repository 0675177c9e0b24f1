"""What a run over a cohort is asked for: which sessions, by label as BIDS Apps have it, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from ipha_toolkit.io.layout import SessionFiles

LEVELS = ("both", "participant", "group")
Labels = str | Iterable[str]


@dataclass(frozen=True)
class Choice:
    """What a run is of: which sessions it measures, whether it compares, and which results count.

    ``participant_label``, ``session_label``: measure these alone, as :func:`choose`. ``level``: one of
    :data:`LEVELS`. ``segmenter``: name of the command that finds the lungs; empty: none. ``ratings``: table of ratings
    whose unusable images are left out. ``remove_stale``: results of sessions that are no longer in the cohort are
    taken away.

    Raises
    ------
    ValueError
        Where the level is none of these, or labels are given at level ``group``.
    """

    participant_label: Labels = ()
    session_label: Labels = ()
    level: str = "both"
    segmenter: str = ""
    ratings: str | os.PathLike[str] | None = None
    remove_stale: bool = False

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}, got {self.level!r}")
        if self.level == "group" and (self.participant_label or self.session_label):
            raise ValueError("level group is of all sessions; leave out participant_label and session_label")

    def of(self, sessions: Sequence[SessionFiles]) -> list[SessionFiles]:
        """The sessions to measure; none at level ``group``."""
        return [] if self.level == "group" else choose(sessions, self.participant_label, self.session_label)


class Chosen(TypedDict, total=False):
    """A :class:`Choice` as keywords of :func:`ipha_toolkit.analyze`."""

    participant_label: Labels
    session_label: Labels
    level: str
    segmenter: str
    ratings: str | os.PathLike[str] | None
    remove_stale: bool


def choose(
    sessions: Sequence[SessionFiles], participant_label: Labels = (), session_label: Labels = ()
) -> list[SessionFiles]:
    """The sessions of some participants, or of some names, in the order of the cohort.

    Parameters
    ----------
    sessions : sequence of SessionFiles
    participant_label, session_label : str or iterable of str
        With or without ``sub-`` and ``ses-``; empty means all.

    Raises
    ------
    ValueError
        Where a label is of no session; the message lists those there are.
    """
    subjects = _wanted("sub-", participant_label, {files.subject for files in sessions}, "participant_label")
    names = _wanted("ses-", session_label, {files.session for files in sessions}, "session_label")
    return [files for files in sessions if files.subject in subjects and files.session in names]


def _wanted(prefix: str, labels: Labels, there: set[str], what: str) -> set[str]:
    asked = [labels] if isinstance(labels, str) else list(labels)
    wanted = {prefix + label.removeprefix(prefix) for label in asked}
    if unknown := sorted(wanted - there):
        listed = sorted(filter(None, there))
        more = f" and {len(listed) - 12} more" if len(listed) > 12 else ""
        shown = ", ".join(listed[:12]) or "no folders of that kind"
        raise ValueError(f"{what}: the cohort has no {', '.join(unknown)}; there are {shown}{more}")
    return wanted or there
