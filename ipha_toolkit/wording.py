"""Numbers as a reader sees them in figures, pages and the viewer."""

from __future__ import annotations

import math
import re


def number(value: float, unit: str = "") -> str:
    """A value for a reader: three figures or so with a true minus sign, and its unit.

    Examples
    --------
    >>> number(0.12345), number(1234.5, "mL"), number(float("nan"))
    ('0.123', '1234 mL', 'no value')
    """
    if not math.isfinite(value):
        return "no value"
    size = abs(value)
    digits = 0 if size >= 100 or float(value).is_integer() else 1 if size >= 10 else 2 if size >= 1 else 3
    return minus(f"{value:.{digits}f}") + (f" {unit}" if unit not in ("", "1") else "")


def signed(value: float) -> str:
    """A difference for a reader: two figures, with its sign.

    Examples
    --------
    >>> signed(0.0123), signed(-250.4)
    ('+0.012', '\u2212250')
    """
    if not math.isfinite(value):
        return "no value"
    return minus(f"{value:+.0f}" if abs(value) >= 100 else f"{value:+.2g}")


def minus(text: str) -> str:
    """Minus signs in place of hyphens before digits."""
    return re.sub(r"(?<![\w])-(?=\d)", "\u2212", text)
