"""What healthy people show by chance: findings that rest on controls, judged together.

Two standard deviations beyond the controls are passed by 2.3 % of healthy people in one finding, by 8 to 10 % in one of
the four that MRI is asked for. So the chance of a healthy person is judged over all findings that were looked at: where
none lies farther than ``gate.health_chance`` allows, none of them is given. Where one does, the person is not healthy,
and the others count by their own cuts (protected comparisons).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ipha_toolkit.catalogue import versus_controls
from ipha_toolkit.compare.said import Said
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import FindingRule


def leaves_health(rule: FindingRule) -> bool:
    """Whether a finding begins beyond the controls: more than they have of what is more, less of what is less."""
    return rule.measure.endswith(versus_controls("")) and (rule.cuts[0] > 0) == rule.more and rule.cuts[0] != 0


def chance_in_health(rules: Iterable[FindingRule], said: Said, *, protocol: Protocol = DEFAULT) -> float:
    """In which share of healthy people chance alone puts the farthest finding as far beyond the controls, if that is
    more often than ``gate.health_chance``; else NaN.

    Parameters
    ----------
    rules : iterable of FindingRule
        Those that begin beyond the controls (:func:`leaves_health`) and have a value are judged together.
    said : Said
        What the rows of the session say.
    protocol : Protocol
        ``gate.health_chance``.

    Returns
    -------
    float
        0 to 1, Bonferroni's bound; NaN where the farthest finding lies beyond what chance does, or none was measured.

    Notes
    -----
    The distances are Crawford and Howell's t on the scale of a normal distribution, so that the number of controls is
    in them. They suppose that healthy people spread normally: by a log-normal spread of 20 %, as of lung water, 0.5 %
    of simulated healthy people lie beyond a chance of 0.2 %.

    Examples
    --------
    >>> from ipha_toolkit.rules import FINDING_LINES, finding_rules
    >>> said = Said({("T1w", "signal_ratio_median_vs_controls"): (2.5, "")})
    >>> round(chance_in_health(finding_rules(FINDING_LINES), said), 4)
    0.0062
    """
    from scipy.special import ndtr

    looked_at = {(rule.modality, rule.measure, rule.more) for rule in rules if leaves_health(rule)}
    found = [(said.values.get((modality, measure), (np.nan, ""))[0], more) for modality, measure, more in looked_at]
    distances = [value if more else -value for value, more in found if np.isfinite(value)]
    if not distances:
        return np.nan
    chance = min(1.0, len(distances) * float(ndtr(-max(distances))))
    return chance if chance > protocol.gate.health_chance else np.nan


def in_people(chance: float) -> str:
    """The chance as one of so many healthy people, two digits at most.

    Examples
    --------
    >>> in_people(0.0062), in_people(0.09)
    ('1 in 160', '1 in 11')
    """
    many = 1 / chance
    digits = -int(np.floor(np.log10(many))) + 1
    return f"1 in {round(many, min(digits, 0)):.0f}"
