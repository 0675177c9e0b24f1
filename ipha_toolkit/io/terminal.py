"""Text on its way to a terminal or a log: names of files and texts of others give the terminal no orders."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EPIPE
from functools import wraps
from typing import TextIO

from ipha_toolkit.io.files import printable

_BETWEEN_BREAKS = re.compile(r"[^\n\t]+")
_Command = Callable[[Sequence[str] | None], int]
_untaken: list[OSError] = []
"""Why standard output took no more, where it did not."""


def plain(text: object) -> str:
    """Text whose only signs that are not seen are tabs and line ends; others stand as ``\\x1b``.

    Examples
    --------
    >>> plain("a\\tb\\x1b[31mred")
    'a\\tb\\\\x1b[31mred'
    """
    return _BETWEEN_BREAKS.sub(lambda found: printable(found[0]), str(text))


def open_streams() -> None:
    """Open those of the three standard streams that whoever started this had closed: files would take their places."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, this one
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115


def is_somewhere() -> bool:
    """Whether the folder that this runs in is there; libraries ask for it while they are imported."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError:
        os.write(2, b"ipha: the folder that this was started in is gone; go to another with cd and start it again\n")
        return False
    return True


def say(text: object, *, end: str = "\n") -> None:
    """Print for a person or a pipe; where nobody takes it, the command goes on, and :func:`heard` tells of it."""
    try:
        _print(plain(text), sys.stdout, end)
    except OSError as error:
        _untaken.append(error)


def warn(text: object) -> None:
    """Print beside what a pipe takes; where nobody takes it, nothing is left to tell it by."""
    with suppress(OSError):
        _print(plain(text), sys.stderr, "\n")


def heard(main: _Command) -> _Command:
    """A command that says where its output found no room, and returns 2 then.

    A pipe that was closed, as by ``head``, wants no more to be said: the status is the command's own.
    """

    @wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        _untaken.clear()
        try:
            status = main(arguments)
        except SystemExit:  # by --help, or a wrong word
            if _had_no_room():
                raise SystemExit(2) from None
            raise
        return 2 if _had_no_room() else status

    return run


def _had_no_room() -> bool:
    """Whether standard output could not take all; nothing is left to be written when the process ends."""
    _untaken.extend(_settled(sys.stdout, bool(_untaken)))
    full = any(error.errno != EPIPE for error in _untaken)
    if full:
        warn("ipha: where its output is sent to there is no room; send it elsewhere")
    _settled(sys.stderr, False)
    return full


def _settled(stream: TextIO | None, untaken: bool) -> list[OSError]:
    """Why a stream does not take what was written; it takes all that follows, and lets it fall."""
    errors = []
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError) as error:
        errors += [error] if isinstance(error, OSError) else []
    if stream is not None and (errors or untaken):
        with suppress(OSError, ValueError, AttributeError):  # no file: of a test, or a notebook
            number = stream.fileno()
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return errors


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
