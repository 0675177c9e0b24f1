"""Sessions measured by Dask workers: one task a session, results written where the worker runs.

Dask sends a task that killed its worker to another one, three times as it comes, and counts the deaths of neighbors
against it. So attempts are counted in the session's own mark in the results folder (:mod:`ipha_toolkit.io.marks`), and
what Dask gives up although it was hardly begun is sent again.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ipha_toolkit import __version__
from ipha_toolkit.errors import DependencyError, IphaError, LayoutError
from ipha_toolkit.io import marks
from ipha_toolkit.run.execute import Failures, Task, died
from ipha_toolkit.run.worker import ATTEMPTS, look, measure_packed

if TYPE_CHECKING:
    from distributed import Client, Future

_LOG = logging.getLogger(__name__)
_SENT = 4
"""How often a session is sent that Dask gives up before it was begun twice."""
_MEMORY = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")} | {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None
}
"""Nothing is kept in a worker but the session it measures, so that there is nothing to spill. Dask asks malloc to give
back all above 64 kB; so images of a session would be paged in anew again and again."""
_LEAST_BYTES = 1e8
"""Less cannot hold the package itself."""


class ClusterError(IphaError):
    """The Dask cluster cannot be used, or went away."""


@contextmanager
def connect(address: str, *, workers: int | None = None, memory_limit: str | None = None) -> Iterator[Client]:
    """A client of a running scheduler, or of a cluster on this machine that ends with it.

    Parameters
    ----------
    address : str
        ``tcp://HOST:PORT``; ``local`` starts a scheduler and workers here.
    workers : int, optional
        Of ``local``: how many processes, one thread each; by default one a core.
    memory_limit : str, optional
        Of ``local``: of each worker, as ``4GB``; by default its share of the machine's memory.

    Raises
    ------
    ClusterError
        Where no scheduler answers.
    DependencyError
        Where Dask is not installed.
    ValueError
        Where workers or memory_limit is given for a scheduler that has workers of its own.
    """
    distributed = _dask()
    if address != "local" and (workers is not None or memory_limit is not None):
        raise ValueError(f"--workers and --memory-limit are of --scheduler local; {address} has workers of its own")
    if workers is not None and workers < 1:
        raise ValueError(f"workers needs to be 1 or more, got {workers}")
    with (
        _started(distributed, workers, memory_limit) if address == "local" else _reached(distributed, address) as client
    ):
        print(f"Dask scheduler {client.scheduler.address}, dashboard {_dashboard(client)}", file=sys.stderr)
        yield client


def _dashboard(client: Client) -> str:
    """Its address, or what it lacks."""
    needs = "" if find_spec("bokeh") else " (empty without the package bokeh)"
    return f"{client.dashboard_link}{needs}"


@contextmanager
def _started(distributed: Any, workers: int | None, memory_limit: str | None) -> Iterator[Client]:
    import dask

    limit = "auto" if memory_limit is None else _size(memory_limit)
    with (
        dask.config.set(_MEMORY),
        distributed.LocalCluster(
            n_workers=workers or os.cpu_count(), threads_per_worker=1, memory_limit=limit,
            dashboard_address=":0", silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        yield client


def _size(memory_limit: str) -> int:
    from dask.utils import parse_bytes

    try:
        found = int(parse_bytes(memory_limit))
    except ValueError:
        found = 0
    if found < _LEAST_BYTES:
        raise ValueError(f"--memory-limit {memory_limit}: is a size of memory for each worker, such as 4GB")
    return found


@contextmanager
def _reached(distributed: Any, address: str) -> Iterator[Client]:
    try:
        client = distributed.Client(address, timeout="20s")
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"--scheduler {address}: no Dask scheduler answers there: {error}; give the address that `dask scheduler` "
            "prints when it starts, tcp://HOST:PORT, or local to start one here"
        ) from None
    with client:
        yield client


def measured(tasks: list[Task], client: Client) -> Iterator[tuple[str, Failures]]:
    """Measure sessions on the client's workers; label and failures of each as it is finished.

    Raises
    ------
    LayoutError
        Where a worker sees other folders or another installation.
    ClusterError
        Where the scheduler goes away.
    """
    if tasks:
        with marks.token(tasks[0].out) as run:
            _require_same(client, tasks[0], run)
            yield from _finished(tasks, client, run)


def _finished(tasks: list[Task], client: Client, run: str) -> Iterator[tuple[str, Failures]]:
    from distributed import as_completed

    jobs: dict[str, tuple[Task, int]] = {}
    try:
        waiting = as_completed([_send(client, task, run, 1, jobs) for task in tasks])
        for job in waiting:
            task, sent = jobs.pop(job.key)
            failures = _answer(job, task, run, sent)
            if failures is None:
                waiting.add(_send(client, task, run, sent + 1, jobs))
            else:
                yield task.label, failures
    except _lost() as error:
        raise ClusterError(
            f"the Dask scheduler {client.scheduler.address if client.scheduler else ''} went away ({error}); what was "
            "finished is kept, run it again to go on"
        ) from None


def _send(client: Client, task: Task, run: str, sent: int, jobs: dict[str, tuple[Task, int]]) -> Future:
    import cloudpickle

    key = f"ipha-{task.label}-{run}-{sent}"
    jobs[key] = (task, sent)
    return client.submit(measure_packed, cloudpickle.dumps(task), run, key=key, pure=False, retries=0)


def _answer(job: Future, task: Task, run: str, sent: int) -> Failures | None:
    """Failures of a session; None where it has to be sent again."""
    from distributed import KilledWorker

    try:
        return list(job.result())
    except IphaError:
        raise
    except _lost():
        raise
    except KilledWorker:
        if marks.attempts(task.out, task.label, run) < ATTEMPTS and sent < _SENT:
            _LOG.warning("%s: its worker died; sent again", task.label)
            return None
        return died(task, f" {ATTEMPTS} times")
    except Exception as error:  # what goes wrong with the images is in the answer: this is of the installation
        raise ClusterError(f"{task.label}: a Dask worker could not begin it: {_unlike(error)}") from error


def _lost() -> tuple[type[Exception], ...]:
    """What is raised where the scheduler went away."""
    from concurrent.futures import CancelledError

    from distributed.comm import CommClosedError

    return CancelledError, CommClosedError, TimeoutError


def _unlike(error: object) -> str:
    """What a worker said whose installation cannot even take the question."""
    here = f"Python {platform.python_version()} and ipha_toolkit {__version__}"
    return f"{type(error).__name__}: {error}; use one environment for client, scheduler and workers (here: {here})"


def _require_same(client: Client, task: Task, run: str) -> None:
    """Refuse workers that see other folders, or other code; those that come later are asked with their first task."""
    import cloudpickle
    from distributed.comm import CommClosedError

    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        address = client.scheduler.address if client.scheduler else ""
        _LOG.warning("no worker yet: the run waits for one; start it with `dask worker %s --nthreads 1`", address)
        return
    threads = max(worker["nthreads"] for worker in workers.values())
    if threads > 1:
        _LOG.warning("workers of %d threads measure one session at a time each; start more workers instead", threads)
    answers = client.run(look, cloudpickle.dumps(task), run, on_error="return")
    there = client.scheduler_info(n_workers=-1)["workers"]
    for address, found in answers.items():
        if found and not (isinstance(found, CommClosedError) or address not in there):  # a worker whose time was over
            raise LayoutError(f"Dask worker {address}: {found if isinstance(found, str) else _unlike(found)}")


def _dask() -> Any:
    try:
        import distributed
    except ImportError:
        raise DependencyError("Dask is not installed; python -m pip install 'ipha-toolkit[dask]' adds it") from None
    return distributed
