"""All sessions of a cohort: measured once, compared in a second pass, taken up where an earlier run stopped."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path

import pandas as pd

from ipha_toolkit.compare.controls import Reference, SessionHistogram, against_controls
from ipha_toolkit.compare.phases import read_sessions
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import names, outputs, results
from ipha_toolkit.io.layout import Cohort, Problem, SessionFiles, read_cohort
from ipha_toolkit.measure.rows import flags_of, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import finding_rules, phase_rules
from ipha_toolkit.run import provenance
from ipha_toolkit.run.execute import Failures, Task, measure_all
from ipha_toolkit.run.ratings import Standing
from ipha_toolkit.run.ratings import standing as ratings_standing
from ipha_toolkit.run.scan import Context, Segmenter
from ipha_toolkit.terms import Modality

_LOG = logging.getLogger(__name__)
_COUNTED = (Modality.T1W, Modality.T2W, names.PAIR)
"""What has a histogram that the second pass reads."""


@dataclass(frozen=True)
class Analysis:
    """What a run over a cohort gave.

    ``rows``: the one table. ``failures``: one entry per image or session that failed. ``measured`` and ``skipped``:
    how many sessions were measured now, and how many were done before. ``readings``, ``findings``: as of
    :func:`ipha_toolkit.compare.phases.read_sessions`. ``remarks``: what stopped no one and cost something: rows of
    ``participants.tsv`` without a folder, controls lost, files not read.
    """

    rows: pd.DataFrame
    failures: list[dict[str, str]]
    measured: int
    skipped: int
    out: Path
    readings: pd.DataFrame
    findings: pd.DataFrame
    remarks: tuple[Problem, ...] = ()


def analyze(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    ratings: str | os.PathLike[str] | None = None,
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
    ratings : path, optional
        Table of ratings (:func:`ipha_toolkit.review`): images called unusable are left out of references, groups,
        plots and readings; their rows stay, flagged ``rated_unusable``. A rating whose image or mask has changed counts
        no more.
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
    return run(
        cohort_dir, out_dir, workers=workers, protocol=protocol, segment=segment, ratings=ratings, progress=progress
    ).rows  # fmt: skip


def run(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    ratings: str | os.PathLike[str] | None = None,
    only: str | None = None,
    progress: bool = True,
) -> Analysis:
    """As :func:`analyze`, with failures and counts; ``only`` is the label of the one session to be measured."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers needs to be 1 or more, got {workers}")
    finding_rules(protocol.findings.rules)  # a rule that cannot be read stops the run before it begins
    phase_rules(protocol.phases.rules)
    cohort = read_cohort(cohort_dir, protocol=protocol)
    if Path(out_dir).resolve() == cohort.root.resolve():
        raise LayoutError(f"{out_dir}: is the cohort folder itself; give another folder for the results")
    out = outputs.results_folder(out_dir, cohort.root)
    tasks, done, failures = _sort_out(cohort, out, Context(protocol, segment), only)
    _LOG.info("%d sessions to measure, %d done before", len(tasks), len(done))
    failures += measure_all(tasks, workers or 1, progress)
    failures = [{key: text.replace(f"{cohort.root}{os.sep}", "") for key, text in each.items()} for each in failures]
    failures += [] if only is None else outputs.failures_of_others(out, only)
    standing = ratings_standing(ratings, out)
    rows, readings, findings = _second_pass(out, cohort, protocol, standing)
    outputs.write_failures(out, failures)
    return Analysis(
        rows, failures, len(tasks), len(done), out, readings, findings, (*cohort.remarks, *standing.remarks)
    )


def _sort_out(
    cohort: Cohort, out: Path, context: Context, only: str | None = None
) -> tuple[list[Task], list[SessionFiles], Failures]:
    """Sessions to be measured, sessions done before, and why others cannot be measured."""
    tasks, done, failures = [], [], []
    for files in cohort.sessions if only is None else [each for each in cohort.sessions if each.label == only]:
        stopped = cohort.stopped(files)
        failures += [outputs.failure(files, "", problem.path, problem) for problem in stopped]
        if stopped:
            outputs.remove_session(out, files)
            continue
        own = Context(context.protocol, context.segment, _subject_flags(cohort, files, context.protocol))
        try:
            source = provenance.first_pass(files, cohort.root, own)
        except OSError as error:
            failures.append(outputs.failure(files, "", str(error.filename), error))
            continue
        if outputs.is_done(out, files, source):
            done.append(files)
        else:
            tasks.append(Task(out, cohort.root, files, source, own))
    return tasks, done, failures


def _subject_flags(cohort: Cohort, files: SessionFiles, protocol: Protocol) -> tuple[str, ...]:
    try:
        return ("child",) if float(cohort.covariate(files.subject, "age")) < protocol.lungs.child_age_years else ()
    except ValueError:
        return ()


def _second_pass(
    out: Path, cohort: Cohort, protocol: Protocol, standing: Standing
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of all sessions with what controls say of them, readings, findings; made anew only if they would differ."""
    folders = {
        files.label: outputs.session_folder(out, files)
        for files in cohort.sessions
        if (outputs.session_folder(out, files) / names.PROVENANCE).exists() and not cohort.stopped(files)
    }
    source = provenance.second_pass({label: _digest(folder) for label, folder in folders.items()}, cohort, protocol)
    source |= {"unusable": {" ".join(key): why for key, why in standing.unusable.items()}}
    if outputs.is_compared(out, source):
        known = results.Results(out, cohort.root)
        return known.rows, known.readings, known.findings
    rows, reference = _compared(
        out, cohort, [files for files in cohort.sessions if files.label in folders], protocol, standing
    )
    readings, findings = read_sessions(standing.kept(rows), protocol=protocol)
    outputs.write_cohort(
        out, rows, reference=asdict(reference), protocol=protocol, readings=readings, findings=findings, source=source
    )
    return rows, readings, findings


def _digest(folder: Path) -> str:
    with (folder / names.PROVENANCE).open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _compared(
    out: Path, cohort: Cohort, sessions: list[SessionFiles], protocol: Protocol, standing: Standing
) -> tuple[pd.DataFrame, Reference]:
    frames, histograms = [], []
    for files in sessions:
        folder = outputs.session_folder(out, files)
        rows = results.read_rows(folder / names.rows_file(files.label))
        frames.append(rows)
        for modality in _COUNTED:
            path = folder / names.histogram_file(files.label, modality)
            if path.exists() and not standing.leaves_out(files.label, modality):
                counts, flags = pd.read_csv(path, sep="\t"), _common_flags(rows, modality)
                histograms.append(SessionHistogram(files.subject, files.session, modality, counts, flags))
    rows = pd.concat(frames, ignore_index=True) if frames else table([])
    controls = [files.subject for files in cohort.sessions if cohort.is_control(files.subject)]
    compared, reference = against_controls(standing.kept(rows), histograms, controls, protocol=protocol)
    flagged = standing.flagged(rows)
    whole = pd.concat([flagged, compared], ignore_index=True) if len(compared) else flagged
    order = {files.label: n for n, files in enumerate(cohort.sessions)}
    labels = whole["subject"].str.cat(whole["session"], sep="_").str.rstrip("_")
    return whole.iloc[labels.map(order).argsort(kind="stable")].reset_index(drop=True), reference


def _common_flags(rows: pd.DataFrame, modality: str) -> tuple[str, ...]:
    """Flags that the image's ratio, or the pair's floor, carries."""
    of_all = rows["measure"].isin(["signal_ratio_median", "signature_floor"])
    cells = rows.loc[(rows["modality"] == modality) & of_all, "flag"]
    return tuple(sorted({code for cell in cells for code in flags_of(cell)}))
