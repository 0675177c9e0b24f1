"""Sessions measured one after another or by a pool of local processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ipha_toolkit.io import results
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.session import measure_session


def measure_all(
    out: Path, todo: list[tuple[SessionFiles, dict[str, Any], Context]], workers: int, progress: bool
) -> list[dict[str, str]]:
    failures: list[dict[str, str]] = []
    with tqdm(total=len(todo), desc="Measuring", unit="session", disable=not progress, file=sys.stderr) as bar:
        for label, found in _finished(out, todo, workers):
            failures += found
            bar.set_postfix_str(label)
            bar.update()
    return failures


def _finished(
    out: Path, todo: list[tuple[SessionFiles, dict[str, Any], Context]], workers: int
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    if workers == 1 or len(todo) < 2:
        for task in todo:
            yield task[0].label, _measure_one(out, *task)
        return
    left = {task[0].label: task for task in todo}
    for label, failures in _in_pool(out, todo, workers):
        del left[label]
        yield label, failures
    for label, task in left.items():  # a worker died: each of the rest alone, so that only the culprit fails
        answers = dict(_in_pool(out, [task], 1))
        died = results.failure(
            task[0], "", "", f"{label}: the worker process died, most likely out of memory; use fewer --workers"
        )
        if label not in answers:
            results.remove_session(out, task[0])
        yield label, answers.get(label, [died])


def _in_pool(
    out: Path, tasks: list[tuple[SessionFiles, dict[str, Any], Context]], workers: int
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _limit_threads, (threads,))
    with pool:
        jobs: dict[Future[list[dict[str, str]]], str] = {}
        try:
            jobs = {pool.submit(_measure_one, out, *task): task[0].label for task in tasks}
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


def _measure_one(out: Path, files: SessionFiles, source: dict[str, Any], context: Context) -> list[dict[str, str]]:
    """Measure and write one session; whatever goes wrong is its failure, not the cohort's."""
    try:
        result = measure_session(files, context)
        results.write_session(out, files, result, source)
    except Exception as error:
        results.remove_session(out, files)
        return [results.failure(files, "", "", f"{files.label}: {type(error).__name__}: {error}")]
    return result.failures
