"""Text on its way to a terminal or a log: names of files and texts of others give the terminal no orders."""

from __future__ import annotations

import logging
import re
import sys
from typing import TextIO

from ipha_toolkit.io.files import printable

_BETWEEN_BREAKS = re.compile(r"[^\n\t]+")


def plain(text: object) -> str:
    """Text whose only signs that are not seen are tabs and line ends; others stand as ``\\x1b``.

    Examples
    --------
    >>> plain("a\\tb\\x1b[31mred")
    'a\\tb\\\\x1b[31mred'
    """
    return _BETWEEN_BREAKS.sub(lambda found: printable(found[0]), str(text))


def say(text: object, *, end: str = "\n") -> None:
    """Print for a person or a pipe."""
    _print(plain(text), sys.stdout, end)


def warn(text: object) -> None:
    """Print beside what a pipe takes."""
    _print(plain(text), sys.stderr, "\n")


def _print(text: str, stream: TextIO | None, end: str) -> None:
    """Letters that the terminal cannot show stand as ``\\u65e5``, so that no name of a file ends a command."""
    known = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(known, "backslashreplace").decode(known), file=stream, end=end)


class PlainFormatter(logging.Formatter):
    """Lines of a log, plain."""

    def format(self, record: logging.LogRecord) -> str:
        """One record, with its traceback where it has one."""
        return plain(super().format(record))


class AboveBar(logging.Handler):
    """Lines of a log on standard error, above a progress bar that is drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record and draw the bar again."""
        from tqdm import tqdm

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except (OSError, ValueError):  # closed, or full
            self.handleError(record)
