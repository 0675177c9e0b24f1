"""What a Dask worker does: it gets ready, looks whether it sees what we see, and measures one session.

This module imports nothing heavy, so that threads and caches are settled before numba and ITK are loaded: a session
comes as packed bytes that are opened only then.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipha_toolkit.run.execute import Failures, Task

ATTEMPTS = 2
"""How often a session may be begun whose worker dies: once more, as a neighbor may have been to blame."""
_ALONE = Lock()
_TRUSTED: set[str] = set()
"""Runs whose folders this process was seen to share."""


def measure_packed(packed: bytes, run: str) -> Failures:
    """Measure one session of a run, one at a time in a process.

    Parameters
    ----------
    packed : bytes
        A pickled Task.
    run : str
        Name of the run; its token lies in the results folder.

    Raises
    ------
    LayoutError
        Where this worker sees another cohort, other results or another installation than the client.
    """
    with _ALONE:
        _prepare()
        import cloudpickle

        from ipha_toolkit.errors import LayoutError
        from ipha_toolkit.run.execute import measure_one

        task: Task = cloudpickle.loads(packed)
        if run not in _TRUSTED:
            if reason := why_strange(task, run):
                raise LayoutError(reason)
            _TRUSTED.add(run)
        return measure_one(task, run, ATTEMPTS, _limit())


def look(packed: bytes, run: str) -> str:
    """Why a worker cannot take part in a run, empty where it can; to be asked of every worker before the first task."""
    _prepare()
    import cloudpickle

    return why_strange(cloudpickle.loads(packed), run)


def why_strange(task: Task, run: str) -> str:
    """What differs here from what the client sees: results folder, cohort, settings, code, versions; in words."""
    from ipha_toolkit.io import marks
    from ipha_toolkit.run import provenance

    shared = "Dask workers need a file system that is shared with the client, mounted at the same place"
    if not marks.has_token(task.out, run):
        return f"{task.out}: is not the same folder here as for the client; {shared}"
    here = provenance.first_pass(task.files, task.root, task.context)
    if here["inputs"] != task.source["inputs"]:
        return f"{task.root}: holds another {task.label} here than for the client; {shared}"
    apart = sorted(
        f"{name} {here['versions'].get(name)} for {wanted}"
        for name, wanted in task.source["versions"].items()
        if here["versions"].get(name) != wanted
    )
    if apart or here["code"] != task.source["code"]:
        what = ", ".join(apart) or "the code of ipha_toolkit"
        return f"another installation than the client's: {what}; use one environment for client, scheduler and workers"
    return ""


def _prepare() -> None:
    """Share the cores and keep compiled code on this machine; Dask itself limits OMP, MKL and OPENBLAS alone."""
    threads = _threads()
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
        if "NUMBA_CACHE_DIR" not in os.environ and (cache := _cache()):
            os.environ["NUMBA_CACHE_DIR"] = str(cache)
    else:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    if "SimpleITK" in sys.modules:
        import SimpleITK

        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)


def _threads() -> int:
    """Threads of this worker, all of which one session may use."""
    return max(1, int(getattr(getattr(_worker(), "state", None), "nthreads", 1)))


def _limit() -> str:
    """``, with 4.0 GB of memory a worker``, where Dask limits it."""
    limit = getattr(getattr(_worker(), "memory_manager", None), "memory_limit", None)
    return f", with {limit / 1e9:.1f} GB of memory a worker" if limit else ""


def _worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:  # asked outside a worker
        return None


def _cache() -> Path | None:
    """A folder on this machine's own disk for compiled code, where it would else lie beside the package on a network
    file system: there nodes overwrite each other's."""
    from ipha_toolkit.io.identifiers import network_drive

    package = Path(__file__).resolve().parents[1]
    if os.access(package, os.W_OK) and not network_drive(package):
        return None
    mine = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"ipha-numba-{mine}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == mine and not found.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="ipha-numba-"))  # someone else's, whose code we do not run
