"""All sessions of a cohort: measured once, compared in a second pass, taken up where an earlier run stopped."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.compare.controls import Reference, SessionHistogram, against_controls
from ipha_toolkit.compare.phases import read_sessions
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import results
from ipha_toolkit.io.layout import Cohort, SessionFiles, read_cohort
from ipha_toolkit.io.names import HISTOGRAMS
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import finding_rules, phase_rules
from ipha_toolkit.run.execute import measure_all
from ipha_toolkit.run.scan import Context, Segmenter


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
    finding_rules(protocol.findings.rules)  # a rule that cannot be read stops the run before it begins
    phase_rules(protocol.phases.rules)
    cohort = read_cohort(cohort_dir, protocol=protocol)
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
    failures += measure_all(out, todo, workers or 1, progress)
    failures = [{key: text.replace(f"{cohort.root}{os.sep}", "") for key, text in each.items()} for each in failures]
    rows, reference = _second_pass(out, cohort, protocol)
    readings, findings = read_sessions(rows, protocol=protocol)
    results.write_cohort(
        out, rows, failures, reference=asdict(reference), protocol=protocol, readings=readings, findings=findings
    )
    return Analysis(rows, failures, len(measured), len(done), out, readings, findings)


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
