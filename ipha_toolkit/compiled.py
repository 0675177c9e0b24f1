"""Functions compiled by numba, also where there is no folder to keep the machine code in, and threads to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function to machine code, which is kept for the next process where a folder can be written.

    In an installation that may only be read, of a user without a home, numba finds no such folder and refuses; the
    function is then compiled anew in every process, some seconds each.

    Parameters
    ----------
    **options
        As of ``numba.njit``.
    """

    def compile_(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no locator for its cache
            return numba.njit(**options)(function)

    return compile_


def threads() -> int:
    """Threads that this process may use: its share of the cores where it is one of several workers, which
    ``run.execute`` and ``run.worker`` set as numba's own; else the cores that the system lets it use."""
    return int(numba.get_num_threads())
