"""Numbers as a reader sees them in figures, pages and the viewer."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Decimal

_UNITS = (
    "mg_per_day",
    "mg_per_kg_per_day",
    "g_dl",
    "ug_l",
    "ng_ml",
    "g_l",
    "umol_l",
    "mmol_l",
    "kg",
    "cm",
    "ml",
    "percent",
)


def number(value: float, unit: str = "") -> str:
    """A value for a reader: three figures or so with a true minus sign, and its unit.

    Examples
    --------
    >>> number(0.12345), number(99.96), number(1234.5, "mL"), number(float("nan"))
    ('0.123', '100', '1235 mL', 'no value')
    """
    if not math.isfinite(value):
        return "no value"
    size = abs(value)
    digits = 0 if size >= 99.95 or float(value).is_integer() else 1 if size >= 9.995 else 2 if size >= 0.9995 else 3
    return fixed(value, digits) + (f" {unit}" if unit not in ("", "1") else "")


def fixed(value: float, digits: int) -> str:
    """A finite number with so many decimals, rounded as browsers do: halves away from zero, and no minus before a zero.

    Examples
    --------
    >>> fixed(-12.25, 1), fixed(2.5, 0), fixed(-0.04, 1)
    ('\u221212.3', '3', '0.0')
    """
    if abs(value) >= 1e15:  # more figures than anybody reads
        return minus(f"{value:.3g}")
    rounded = Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return minus(f"{abs(rounded) if rounded == 0 else rounded:f}")


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


def column_words(name: str) -> tuple[str, str]:
    """Label and unit of a column of the clinic's, whose name may end in its unit.

    Examples
    --------
    >>> column_words("hemoglobin_g_dl"), column_words("prednisone_mg_per_day"), column_words("sex")
    (('hemoglobin', 'g/dL'), ('prednisone', 'mg/day'), ('sex', ''))
    """
    stem, unit = name, ""
    for ending in _UNITS:
        if stem.endswith(f"_{ending}"):
            stem, unit = stem.removesuffix(f"_{ending}"), ending
    spelled = unit.replace("_per_", "/").replace("percent", "%").replace("_", "/")
    for written, meant in (("ug", "µg"), ("umol", "µmol"), ("dl", "dL"), ("/ml", "/mL"), ("/l", "/L")):
        spelled = spelled.replace(written, meant)
    return re.sub("_+", " ", stem), spelled
