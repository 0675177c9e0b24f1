"""Which sessions of a cohort a run is asked to measure, as BIDS Apps have it: by participant and session label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ipha_toolkit.io.layout import SessionFiles

LEVELS = ("both", "participant", "group")
Labels = str | Iterable[str]


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
