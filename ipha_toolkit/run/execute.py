"""Sessions measured one after another or by a pool of local processes."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ipha_toolkit.errors import IphaError, in_words
from ipha_toolkit.io import marks, names, outputs
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.room import is_full, no_room
from ipha_toolkit.run.alone import why_alone
from ipha_toolkit.run.log import recorded
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.session import measure_session
from ipha_toolkit.run.stopping import begin_worker

if TYPE_CHECKING:
    from distributed import Client

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A session to be measured: its files, what its results depend on, and how."""

    out: Path
    root: Path
    files: SessionFiles
    source: dict[str, Any]
    context: Context

    @property
    def label(self) -> str:
        """``sub-001_ses-01``."""
        return self.files.label


Failures = list[dict[str, str]]


def measure_all(
    tasks: list[Task], workers: int, progress: bool, *, client: Client | None = None
) -> dict[str, Failures]:
    """Measure and write every session; by label a row of failures.tsv for each image or session that failed."""
    failures: dict[str, Failures] = {}
    reason = why_alone(tasks[0].context.segment) if workers > 1 and len(tasks) > 1 else ""
    if reason:
        workers = 1
        _LOG.warning("one process works in place of several: %s", reason)
    finished = _finished(tasks, workers) if client is None else _on_cluster(tasks, client)
    shown = progress and bool(tasks)
    with tqdm(total=len(tasks), desc="Measuring", unit="session", disable=not shown, file=sys.stderr) as bar:
        for label, found in finished:
            failures[label] = found
            bar.set_postfix_str(label)
            bar.update()
    return failures


def _on_cluster(tasks: list[Task], client: Client) -> Iterator[tuple[str, Failures]]:
    from ipha_toolkit.run.cluster import measured  # which needs measure_one, and Dask

    return measured(tasks, client)


def _finished(tasks: list[Task], workers: int) -> Iterator[tuple[str, Failures]]:
    if workers == 1 or len(tasks) < 2:
        for task in tasks:
            yield task.label, measure_one(task)
        return
    left = {task.label: task for task in tasks}
    for label, failures in _in_pool(tasks, workers):
        del left[label]
        yield label, failures
    for label, task in left.items():  # a worker died: each of the rest alone, so that only the culprit fails
        answers = dict(_in_pool([task], 1))
        yield label, answers[label] if label in answers else died(task)


def _in_pool(tasks: list[Task], workers: int) -> Iterator[tuple[str, Failures]]:
    """Answers of worker processes as they come; whoever stops to listen ends the workers at once."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = get_context("spawn")
    stop, keep = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, begin_worker, (threads, stop))
    at_work: set[BaseProcess] = set()
    try:
        with _interrupts_held():
            others = set(active_children())
            jobs: dict[Future[Failures], str] = {pool.submit(measure_one, task): task.label for task in tasks}
            at_work = set(active_children()) - others
        for job in as_completed(jobs):
            yield jobs[job], job.result()
        at_work.clear()
    except BrokenProcessPool:
        return
    finally:
        keep.close()
        for worker in at_work:  # stopped before the end: also those that are not yet begun, and hear nothing
            worker.kill()
        pool.shutdown(cancel_futures=True)
        stop.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Worker processes started meanwhile never hear Ctrl-C: this process ends them. It hears its own afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def measure_one(task: Task, run: str = "", most: int = 0, limits: str = "") -> Failures:
    """Measure and write one session; whatever goes wrong is its failure, not the cohort's.

    Parameters
    ----------
    task : Task
    run : str
        Name of a run that counts how often a session was begun whose process was killed.
    most : int
        How often that may be, 0 for any number of times; after that the session fails.
    limits : str
        What the process was limited to, for the words said then.
    """
    try:
        with (
            outputs.session_lock(task.out, task.files) as waited,
            marks.begun(task.out, task.label, run=run) as attempt,
        ):
            if (waited or run) and outputs.is_done(task.out, task.files, task.source):
                return []  # by the run that had it meanwhile
            return died(task, f" {most} times{limits}") if most and attempt > most else _measured(task)
    except OSError as error:
        reason = no_room(task.out) if is_full(error) and not isinstance(error, IphaError) else in_words(error)
        return keep_failure(task, f"{task.label}: {reason}")


def _measured(task: Task) -> Failures:
    try:
        with recorded(task.root, task.label) as log:
            result = measure_session(task.files, task.context)
        named = f"{outputs.session_folder(task.out, task.files).relative_to(task.out).as_posix()}/{names.LOG}"
        result.failures = [within(task.root, each) | {"log": named} for each in result.failures]
        outputs.write_session(task.out, task.files, result, task.source, log.text())
    except Exception as error:
        known = isinstance(error, IphaError | OSError)
        return keep_failure(task, f"{task.label}: {in_words(error) if known else f'{type(error).__name__}: {error}'}")
    return result.failures


def died(task: Task, more: str = "") -> Failures:
    """The failure of a session that took its worker with it."""
    text = f"{task.label}: the worker process died: out of memory, killed or crashed{more}; try fewer workers at once"
    return keep_failure(task, text)


def keep_failure(task: Task, error: object) -> Failures:
    """The failure of a whole session, kept in the results folder in place of older results."""
    failures = [within(task.root, outputs.failure(task.files, "", "", error))]
    try:
        outputs.write_failed(task.out, task.files, failures)
    except OSError as reason:  # the second pass leaves them out
        _LOG.warning("%s: older results cannot be taken away: %s", task.label, in_words(reason))
    return failures


def within(root: Path, failure: dict[str, str]) -> dict[str, str]:
    """A failure that names files from the cohort folder on: what lies above is of one machine."""
    return {key: text.replace(f"{root}{os.sep}", "") for key, text in failure.items()}
