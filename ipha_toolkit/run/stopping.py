"""Ctrl-C on the command line: one line and the end, never a traceback, whatever was at work; and workers that end with
their parent.

A worker imports this module first, and the second that all others take only when it listens: it has to stay light.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

STOPPED = 130
_PATIENCE_S = 4
"""What is still at work after this is ended by the system."""


@contextmanager
def stopped_by_ctrl_c(command: str) -> Iterator[None]:
    """Within, the first Ctrl-C says one line and raises KeyboardInterrupt; further ones are not heard.

    Sessions are written whole or not at all, so nothing is lost by ending anywhere.

    Parameters
    ----------
    command : str
        For the line: ``ipha analyze``.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.write(2, f"\n{words(command)}\n".encode())
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_PATIENCE_S)
        raise KeyboardInterrupt(command)

    before = sys.unraisablehook

    def unraisable(what: Any) -> None:
        if stopped and issubclass(what.exc_type, KeyboardInterrupt):
            os._exit(STOPPED)  # it came while nothing could pass it on
        before(what)

    sys.unraisablehook = unraisable
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        if stopped and hasattr(signal, "alarm"):
            signal.alarm(0)
        if not stopped:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = before


def words(command: str) -> str:
    """What is said of a command that was stopped."""
    return f"{command}: stopped; what was finished is kept, run it again to go on"


def begin_worker(threads: int, stop: Connection) -> None:
    """Share the cores among worker processes; this one ends with its parent, or when that says so."""
    threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    for name in ("NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "numba" in sys.modules:  # it took the number of cores when a script that is imported here brought it along
        sys.modules["numba"].config.reload_config()


def _end_with_parent(stop: Connection) -> None:
    parent = parent_process()
    wait([stop, parent.sentinel] if parent is not None else [stop])
    os._exit(1)
