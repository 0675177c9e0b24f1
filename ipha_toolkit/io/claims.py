"""Which of several images takes a role, by the labels of their names, and which mask belongs to which image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ipha_toolkit.io.names import stem
from ipha_toolkit.series_rules import choose

ENTITIES = ("acq", "ce", "rec", "dir", "run", "part")
"""Labels that tell images of one role and session apart, in the order BIDS wants."""
EXPIRED = re.compile(r"exp|exsp|ausatm|espir", re.IGNORECASE)
"""Values of ``acq`` that mean a CT in expiration."""


def labels_in(name: str) -> dict[str, str]:
    """Labels of a file's name: ``{"acq": "insp", "run": "2"}`` of ``sub-1_acq-insp_run-2_ct``."""
    pairs = (part.partition("-") for part in name.split("_"))
    return {entity: label for entity, _, label in pairs if entity in ENTITIES and label}


def in_expiration(name: str) -> bool:
    """Whether a CT was made in expiration, by the label ``acq`` of its name."""
    return EXPIRED.match(labels_in(name).get("acq", "")) is not None


def settle(paths: Sequence[Path], role: str, rules: Sequence[str]) -> tuple[list[Path], str]:
    """Images that take a role: several where they are echoes of one scan, or where no rule tells scans apart.

    Returns
    -------
    paths : list of Path
    reason : str
        Which was taken and by which rule, empty where there was no choice or no rule settled it.
    """
    scans: dict[tuple[tuple[str, str], ...], list[Path]] = {}
    for path in paths:
        scans.setdefault(tuple(sorted(labels_in(stem(path)).items())), []).append(path)
    if len(scans) == 1:
        return list(paths), ""
    lots = list(scans.values())
    facts = [{name: float(label) if name == "run" and label.isdigit() else label for name, label in labels}
             for labels in scans]  # fmt: skip
    left, why = choose(facts, role, rules)
    if len(left) > 1:
        return [path for n in left for path in lots[n]], ""
    others = ", ".join(path.name for lot in lots if lot is not lots[left[0]] for path in lot)
    return lots[left[0]], f"takes the role {role}, by the rule {why} of layout.choice; not analyzed: {others}"


def belongs(mask: str, image: str, others: Iterable[str]) -> bool | None:
    """Whether a mask belongs to an image by the labels of both names; None where nobody can say.

    A mask without labels belongs to the only image of its role.
    """
    given = labels_in(mask)
    if given == labels_in(image):
        return True
    if given:
        return False
    return None if list(others) else True
