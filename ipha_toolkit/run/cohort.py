"""All sessions of a cohort: measured once, compared in a second pass, taken up where an earlier run stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from ipha_toolkit.compare.phases import read_sessions, require_rules
from ipha_toolkit.compare.reference import Reference, SessionHistogram, against_controls
from ipha_toolkit.errors import IphaError, LayoutError
from ipha_toolkit.io import results
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import Cohort, Problem, SessionFiles, read_cohort
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.run.session import HISTOGRAMS, Context, Segmenter, measure_session
from ipha_toolkit.terms import Modality


@dataclass(frozen=True)
class Analysis:
    """What a run over a cohort gave.

    ``rows``: the one table. ``failures``: one entry per image or session that failed. ``measured`` and ``skipped``:
    how many sessions were measured now, and how many were done before. ``readings``, ``findings``: as of
    :func:`ipha_toolkit.compare.phases.read_sessions`.
    """

    rows: pd.DataFrame
    failures: list[dict[str, str]]
    measured: int
    skipped: int
    out: Path
    readings: pd.DataFrame
    findings: pd.DataFrame


def analyze(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every session of a cohort and set it against the controls.

    Running again measures only what is new or changed. A session that fails is listed in ``failures.tsv`` and stops
    no other.

    Parameters
    ----------
    cohort_dir : path
        Cohort folder, see ``data/README.md``.
    out_dir : path
        New, empty, or the results of an earlier run.
    workers : int, optional
        Local processes; None or 1 works in this process.
    protocol : Protocol
    segment : callable Volume -> Mask, optional
        Finds the lungs in place of :func:`ipha_toolkit.segment_lungs`; foreign masks in ``derivatives/`` still win.
    progress : bool
        Show a progress bar.

    Returns
    -------
    DataFrame
        The one table: ``subject, session, modality, region, measure, value, unit, n_voxels, flag``; also written to
        ``measures.tsv``, with the data dictionary ``measures.json``. ``readings.tsv`` and ``findings.tsv`` hold the
        phase of each session with its reasons, and the findings it rests on.

    Raises
    ------
    LayoutError
        Where the cohort folder or the results folder cannot be used.
    ValueError
        Where workers is not 1 or more.
    ProtocolError
        Where a rule of the protocol cannot be read.
    """
    return run(cohort_dir, out_dir, workers=workers, protocol=protocol, segment=segment, progress=progress).rows


def run(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    progress: bool = True,
) -> Analysis:
    """As :func:`analyze`, with failures and counts."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers needs to be 1 or more, got {workers}")
    require_rules(protocol)
    cohort = read_cohort(cohort_dir)
    if Path(out_dir).resolve() == cohort.root.resolve():
        raise LayoutError(f"{out_dir}: is the cohort folder itself; give another folder for the results")
    out = results.open_results(out_dir)
    failures: list[dict[str, str]] = []
    todo: list[tuple[SessionFiles, dict[str, Any], Context]] = []
    done: list[SessionFiles] = []
    for files in cohort.sessions:
        stopped = cohort.stopped(files)
        if stopped:
            failures += [results.failure(files, "", problem.path, problem) for problem in stopped]
            results.remove_session(out, files)
            continue
        context = Context(protocol, segment, _subject_flags(cohort, files, protocol))
        source = _source(files, cohort, context)
        if isinstance(source, dict) and results.is_done(out, files, source):
            done.append(files)
        elif isinstance(source, dict):
            todo.append((files, source, context))
        else:
            failures.append(source[0])
    measured = [task[0] for task in todo]
    failures += _measure_all(out, todo, workers or 1, progress)
    failures = [{key: text.replace(f"{cohort.root}{os.sep}", "") for key, text in each.items()} for each in failures]
    rows, reference = _second_pass(out, cohort, protocol)
    readings, findings = read_sessions(rows, protocol=protocol)
    results.write_cohort(
        out, rows, failures, reference=asdict(reference), protocol=protocol, readings=readings, findings=findings
    )
    return Analysis(rows, failures, len(measured), len(done), out, readings, findings)


@dataclass(frozen=True)
class Check:
    """What an analysis of the cohort would do, and every problem found."""

    sessions: pd.DataFrame
    problems: list[Problem]

    @property
    def stopping(self) -> list[Problem]:
        """Problems that stop the analysis of a session or image."""
        return [problem for problem in self.problems if problem.subject]


def check(cohort_dir: str | os.PathLike[str], *, progress: bool = True) -> Check:
    """Read the whole cohort folder and every image in it, measure nothing, and report all problems at once.

    Returns
    -------
    Check
        ``sessions``: one row an image: subject, session, group, modality, file, size and spacing in mm, lungs from.

    Raises
    ------
    LayoutError
        Where the folder is no cohort folder.
    """
    cohort = read_cohort(cohort_dir)
    problems = list(cohort.problems)
    described = []
    for files in tqdm(cohort.sessions, desc="Checking", unit="session", disable=not progress, file=sys.stderr):
        for record, problem in _check_session(cohort, files):
            described.append(record)
            problems += [problem] if problem else []
    columns = ["subject", "session", "group", "modality", "file", "image", "lungs"]
    return Check(pd.DataFrame(described, columns=columns), problems)


def _check_session(cohort: Cohort, files: SessionFiles) -> Iterator[tuple[dict[str, str], Problem | None]]:
    group = cohort.covariate(files.subject, "group") or "?"
    jobs: list[tuple[Modality, Path]] = [*files.images.items()]
    jobs += [(Modality.MEGRE, files.echoes[0])] if files.echoes else []
    for modality, path in jobs:
        record = {"subject": files.subject, "session": files.session, "group": group, "modality": str(modality)}
        record |= {"file": str(path.relative_to(cohort.root)), "lungs": "found here"}
        problem = None
        try:
            volume = load_echoes(files.echoes)[0][0] if modality is Modality.MEGRE else load(path, modality=modality)
            shape = " x ".join(map(str, volume.shape))
            record["image"] = f"{shape}, {' x '.join(f'{step:.3g}' for step in volume.spacing_mm)} mm"
            if modality in files.lungs:
                mask = files.lungs[modality]
                record["lungs"] = str(mask.path.relative_to(cohort.root))
                if not load_mask(mask.path, labels=mask.labels, image=volume).same_grid(volume):
                    raise LayoutError(f"{mask.path}: mask is on a different grid than {path.name}; resample it")
        except (IphaError, ValueError) as error:
            record["image"] = "cannot be used"
            problem = Problem(path, str(error).removeprefix(f"{path}: "), files.subject, files.session)
        yield record, problem


def _subject_flags(cohort: Cohort, files: SessionFiles, protocol: Protocol) -> tuple[str, ...]:
    try:
        return ("child",) if float(cohort.covariate(files.subject, "age")) < protocol.lungs.child_age_years else ()
    except ValueError:
        return ()


def _source(files: SessionFiles, cohort: Cohort, context: Context) -> dict[str, Any] | list[dict[str, str]]:
    """Provenance of the session as it would be written now, or the failure that forbids it."""
    segment = context.segment
    name = "" if segment is None else f"{segment.__module__}.{getattr(segment, '__qualname__', type(segment))}"
    try:
        return results.provenance(
            files, cohort.root, context.protocol, {"segmenter": name, "flags": list(context.flags)}
        )
    except OSError as error:
        return [results.failure(files, "", str(error.filename), error)]


def _measure_all(
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


def _second_pass(out: Path, cohort: Cohort, protocol: Protocol) -> tuple[pd.DataFrame, Reference]:
    frames, histograms = [], []
    for files in cohort.sessions:
        if not (results.session_folder(out, files) / "provenance.json").exists() or cohort.stopped(files):
            continue
        rows = results.read_session_rows(out, files)
        frames.append(rows)
        for modality, ending in HISTOGRAMS.items():
            counts = results.read_session_table(out, files, ending)
            if counts is not None:
                flags = _common_flags(rows, modality)
                histograms.append(SessionHistogram(files.subject, files.session, modality, counts, flags))
    from ipha_toolkit.measure.rows import table

    rows = pd.concat(frames, ignore_index=True) if frames else table([])
    controls = [files.subject for files in cohort.sessions if cohort.is_control(files.subject)]
    compared, reference = against_controls(rows, histograms, controls, protocol=protocol)
    whole = pd.concat([rows, compared], ignore_index=True) if len(compared) else rows
    order = {files.label: n for n, files in enumerate(cohort.sessions)}
    labels = whole["subject"].str.cat(whole["session"], sep="_").str.rstrip("_")
    return whole.iloc[labels.map(order).argsort(kind="stable")].reset_index(drop=True), reference


def _common_flags(rows: pd.DataFrame, modality: str) -> tuple[str, ...]:
    """Flags that the image's ratio, or the pair's floor, carries."""
    of_all = rows["measure"].isin(["signal_ratio_median", "signature_floor"])
    cells = rows.loc[(rows["modality"] == modality) & of_all, "flag"]
    return tuple(dict.fromkeys(code for cell in cells for code in cell.split(";") if code))
