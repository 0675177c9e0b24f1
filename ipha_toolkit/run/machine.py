"""The machine this runs on: how many workers it can feed, and what a bug report should say of it."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from shutil import which

from ipha_toolkit import __version__

WORKER_GB = 2.5
"""Memory set aside for one worker: a CT of 330 slices peaks at 1.7 GB (``benchmarks/session.py``), and half as much is
kept for larger ones."""

_PACKAGE = "ipha-toolkit"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def usable_cores() -> int:
    """Cores that this process may use; a batch system often gives fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def usable_gb() -> float:
    """Memory that is free for programs, in GB, as the system or the container says; NaN where neither does."""
    found = [limit for limit in (_free_bytes(), _container_bytes()) if limit > 0]
    return min(found) / 1e9 if found else float("nan")


def default_workers(cores: int | None = None, gb: float | None = None) -> int:
    """Worker processes that cores and memory allow, 1 or more.

    Parameters
    ----------
    cores : int, optional
        By default :func:`usable_cores`.
    gb : float, optional
        Free memory; by default :func:`usable_gb`. NaN counts the cores alone.

    Examples
    --------
    >>> default_workers(cores=8, gb=12.0)
    4
    >>> default_workers(cores=8, gb=1.0)
    1
    """
    cores = usable_cores() if cores is None else cores
    gb = usable_gb() if gb is None else gb
    fed = cores if gb != gb else int(gb // WORKER_GB)
    return max(1, min(cores, fed))


def about() -> dict[str, str]:
    """Versions, cores, memory, extras and programs, in words for a bug report. No path and no name is among them."""
    gb = usable_gb()
    facts = {
        "ipha_toolkit": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "cores": str(usable_cores()),
        "free memory": "unknown" if gb != gb else f"{gb:.1f} GB",
        "workers by default": str(default_workers()),
    }
    facts |= {name: _version(name) for name in _required()}
    return facts | {"Chromium or Chrome": "found" if find_browser() else "not found"}


def find_browser() -> str | None:
    """Chromium or Chrome: what the environment variable IPHA_CHROMIUM names, or the first on the path."""
    return os.environ.get("IPHA_CHROMIUM") or next(filter(None, map(which, _BROWSERS)), None)


def _required() -> list[str]:
    """Names of all packages that ours needs, or can use where an extra is installed."""
    try:
        lines = requires(_PACKAGE) or []
    except PackageNotFoundError:
        return []
    return sorted({_name_of(line) for line in lines} - {_PACKAGE}, key=str.lower)


def _name_of(line: str) -> str:
    """``numpy`` of ``numpy>=2.1; extra == 'x'``."""
    for at, letter in enumerate(line):
        if not (letter.isalnum() or letter in "-_."):
            return line[:at]
    return line


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _free_bytes() -> float:
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/meminfo").read_text("ascii").splitlines():
                if line.startswith("MemAvailable:"):
                    return 1024.0 * int(line.split()[1])
    with suppress(AttributeError, OSError, ValueError):  # macOS says what it has, not what is free; Windows neither
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0.0


def _container_bytes() -> float:
    for name in _LIMITS:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            return float(int(Path(name).read_text("ascii")))
    return 0.0
