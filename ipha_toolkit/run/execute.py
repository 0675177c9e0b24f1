"""Sessions measured one after another or by a pool of local processes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ipha_toolkit.io import names, outputs
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.run.alone import why_alone
from ipha_toolkit.run.log import recorded
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.session import measure_session

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


def measure_all(tasks: list[Task], workers: int, progress: bool) -> Failures:
    """Measure and write every session; a row of failures.tsv for each image or session that failed."""
    failures: Failures = []
    reason = why_alone(tasks[0].context.segment) if workers > 1 and len(tasks) > 1 else ""
    if reason:
        workers = 1
        _LOG.warning("one process works in place of several: %s", reason)
    with tqdm(total=len(tasks), desc="Measuring", unit="session", disable=not progress, file=sys.stderr) as bar:
        for label, found in _finished(tasks, workers):
            failures += found
            bar.set_postfix_str(label)
            bar.update()
    return failures


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
        died = outputs.failure(
            task.files,
            "",
            "",
            f"{label}: the worker process died: out of memory, killed or crashed; try fewer --workers",
        )
        if label not in answers:
            outputs.remove_session(task.out, task.files)
        yield label, answers.get(label, [died])


def _in_pool(tasks: list[Task], workers: int) -> Iterator[tuple[str, Failures]]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _limit_threads, (threads,))
    with pool:
        jobs: dict[Future[Failures], str] = {}
        try:
            jobs = {pool.submit(measure_one, task): task.label for task in tasks}
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BrokenProcessPool:
            return
        finally:
            pool.shutdown(cancel_futures=True)


def _limit_threads(threads: int) -> None:
    """Share the cores among the workers."""
    for name in ("NUMBA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = str(threads)


def measure_one(task: Task) -> Failures:
    """Measure and write one session; whatever goes wrong is its failure, not the cohort's."""
    try:
        with recorded(task.root, task.label) as log:
            result = measure_session(task.files, task.context)
        named = f"{outputs.session_folder(task.out, task.files).relative_to(task.out).as_posix()}/{names.LOG}"
        result.failures = [each | {"log": named} for each in result.failures]
        outputs.write_session(task.out, task.files, result, task.source, log.text())
    except Exception as error:
        outputs.remove_session(task.out, task.files)
        return [outputs.failure(task.files, "", "", f"{task.label}: {type(error).__name__}: {error}")]
    return result.failures
