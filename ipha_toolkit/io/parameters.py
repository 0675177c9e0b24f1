"""Values typed on a command line, as the kind that a notebook's own parameters are."""

from __future__ import annotations

import ast


def as_default(text: str, default: object) -> object:
    """A typed value as the kind of the default: text stays text where the default is text, as ``001`` or ``none``.

    Elsewhere it is a number, list or the like where the text is one as Python writes it, else the text.

    Examples
    --------
    >>> as_default("001", "sub-001"), as_default("20", 10), as_default("my cohort", None)
    ('001', 20, 'my cohort')
    """
    if isinstance(default, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
