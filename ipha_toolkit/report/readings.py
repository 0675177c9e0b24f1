"""The table of readings on a page: phase and verdict of a session in a line, what they rest on folded below it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

READING = (
    "A reading follows rules of the protocol, each with its source, which a reader can change; the margin says how far "
    "the phase's support lies above the next (0: undecided). It says which phase of a bleed the images would fit, and "
    "is no diagnosis: edema fits as well. Of people not known to bleed, the cause of filled air space or of scars is "
    "left open. What the images do not support is withheld, with the reason. A line unfolds to all its reasons, limits "
    "and flags; on paper they are unfolded."
)
_PARTS = (("reasons", "Reasons"), ("limits", "Limits, and what is withheld"), ("flags", "Flags"))


def readings_table(readings: pd.DataFrame, true: Mapping[tuple[str, str], str] | None = None) -> str:
    """The readings as a table of one line a session.

    Parameters
    ----------
    readings : DataFrame
        Rows of ``readings.tsv``.
    true : mapping, optional
        The true phase by subject and session, where it is known; it gets a column, and readings that agree a tick.
    """
    head = ["participant", "session", *(["true phase"] if true else []), "read as", "verdict", "margin", "why"]
    top = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join(_line(row, true or {}) for row in readings.to_dict("records"))
    return (
        f'<div class="scroll"><table class="readings"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _line(row: Mapping[Any, Any], true: Mapping[tuple[str, str], str]) -> str:
    phase, known = str(row["phase"]), true.get((row["subject"], row["session"]))
    cells = [str(row["subject"]), str(row["session"]), *([known] if known else []),
             f"{phase} ✓" if phase == known else phase, str(row["verdict"]), f"{row['margin']:.2f}"]  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}<td>{_why(row)}</td></tr>"


def _why(row: Mapping[Any, Any]) -> str:
    """The first reason on the line; all of them, limits and flags behind it."""
    told = {name: [part for part in str(row[name]).split(";") if part.strip()] for name, _ in _PARTS}
    first = next((parts[0] for parts in told.values() if parts), "no reason told")
    lists = "".join(f"<div><h4>{title}</h4>{_list(name, told[name])}</div>" for name, title in _PARTS if told[name])
    return f"<details><summary>{escape(first.strip())}</summary>{lists}</details>"


def _list(name: str, parts: list[str]) -> str:
    said = [part.strip().replace("_", " ") if name == "flags" else part.strip() for part in parts]
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in said)}</ul>"
