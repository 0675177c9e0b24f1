"""All sessions of a cohort: measured once, compared in a second pass, taken up where an earlier run stopped."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pandas as pd

from ipha_toolkit.compare.controls import Reference, SessionHistogram, against_controls
from ipha_toolkit.compare.matching import acquisition_table
from ipha_toolkit.compare.phases import FINDING_COLUMNS, READING_COLUMNS, read_sessions
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import names, outputs, results
from ipha_toolkit.io.files import real
from ipha_toolkit.io.layout import Cohort, Problem, SessionFiles, read_cohort
from ipha_toolkit.io.proof import changed, digest_of
from ipha_toolkit.measure.histogram import BIN_EDGES
from ipha_toolkit.measure.rows import flags_of, table
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.rules import finding_rules, gate_rules, phase_rules
from ipha_toolkit.run import provenance
from ipha_toolkit.run.choice import Choice, Chosen
from ipha_toolkit.run.execute import Failures, Task, measure_all, within
from ipha_toolkit.run.ratings import NONE_RATED, Standing
from ipha_toolkit.run.ratings import standing as ratings_standing
from ipha_toolkit.run.scan import Context, Segmenter
from ipha_toolkit.run.segmenters import find_segmenter
from ipha_toolkit.terms import Modality

if TYPE_CHECKING:
    from distributed import Client

_LOG = logging.getLogger(__name__)
EDEMA = "edema"
"""Group in participants.tsv of patients whose lungs hold water and no iron: how water bends the line."""
_COUNTED = (Modality.T1W, Modality.T2W, names.PAIR)
"""What has a histogram that the second pass reads."""


@dataclass(frozen=True)
class Analysis:
    """What a run over a cohort gave.

    ``rows``: the one table. ``failures``: one entry per image or session that failed. ``measured`` and ``skipped``:
    how many sessions were measured now, and how many were done before. ``readings``, ``findings``: as of
    :func:`ipha_toolkit.compare.phases.read_sessions`. ``remarks``: what stopped no one and cost something: rows of
    ``participants.tsv`` without a folder, controls lost, files not read. ``missing``: sessions of the cohort that the
    tables lack because no run has measured them yet.
    """

    rows: pd.DataFrame
    failures: list[dict[str, str]]
    measured: int
    skipped: int
    out: Path
    readings: pd.DataFrame
    findings: pd.DataFrame
    remarks: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()


def analyze(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    client: Client | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    progress: bool = True,
    **choice: Unpack[Chosen],
) -> pd.DataFrame:
    """Measure every session of a cohort and set it against the controls.

    Running again measures only what is new or changed. A session that fails is listed in ``failures.tsv`` and stops
    no other.

    Parameters
    ----------
    cohort_dir : path
        Cohort folder; ``ipha docs layout`` prints how it is laid out.
    out_dir : path
        New, empty, or the results of an earlier run.
    workers : int, optional
        Local processes; None or 1 works in this process.
    client : distributed.Client, optional
        Dask workers measure, one task a session, in place of local processes. They have to see both folders under
        the same paths, and the same version of this package.
    protocol : Protocol
    segment : callable Volume -> Mask, optional
        Finds the lungs in place of :func:`ipha_toolkit.segment_lungs`; foreign masks in ``derivatives/`` still win.
    progress : bool
        Show a progress bar.
    participant_label, session_label : str or iterable of str
        Measure these alone, with or without ``sub-`` and ``ses-``; by default all.
    level : {"both", "participant", "group"}
        ``participant`` measures and writes no table of the cohort, so that several jobs can share the sessions of one
        results folder. ``group`` measures nothing and makes the tables of what is there.
    segmenter : str
        ``lungmask`` or ``totalsegmentator``: their command, installed with its weights, finds the lungs; rows are
        flagged with its name. Empty: none.
    ratings : path, optional
        Table of ratings (:func:`ipha_toolkit.review`): images called unusable are left out of references, groups,
        plots and readings; their rows stay, flagged ``rated_unusable``. A rating whose image or mask has changed counts
        no more.
    remove_stale : bool
        Take away results of sessions that are no longer in the cohort. By default they stay, and are in no table.

    Returns
    -------
    DataFrame
        The one table: ``subject, session, modality, region, measure, value, unit, n_voxels, flag``; also written to
        ``measures.tsv``, with the data dictionary ``measures.json``. ``readings.tsv`` and ``findings.tsv`` hold the
        phase of each session with its reasons, and the findings it rests on. At level ``participant`` the rows of the
        chosen sessions, without those against controls.

    Raises
    ------
    LayoutError
        Where the cohort folder or the results folder cannot be used.
    ValueError
        Where workers is not 1 or more, given beside a client, a label is of no session, the level is none of these, or
        segment and segmenter are both given.
    DependencyError
        Where the segmenter's command is not installed.
    ProtocolError
        Where a rule of the protocol cannot be read.
    """
    return run(
        cohort_dir, out_dir, workers=workers, client=client, protocol=protocol, segment=segment, progress=progress,
        **choice,
    ).rows  # fmt: skip


def run(
    cohort_dir: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    workers: int | None = None,
    client: Client | None = None,
    protocol: Protocol = DEFAULT,
    segment: Segmenter | None = None,
    progress: bool = True,
    **choice: Unpack[Chosen],
) -> Analysis:
    """As :func:`analyze`, with failures and counts."""
    asked = Choice(**choice)
    _require_workers(workers, client)
    if asked.segmenter:
        if segment is not None:
            raise ValueError("segment and segmenter are both given; give one")
        segment = find_segmenter(asked.segmenter)
    finding_rules(protocol.findings.rules)  # a rule that cannot be read stops the run before it begins
    phase_rules(protocol.phases.rules)
    gate_rules(protocol.gate.rules)
    here = os.fspath if client is None else os.path.abspath  # workers have working directories of their own
    cohort = read_cohort(here(cohort_dir), protocol=protocol)
    _require_apart(Path(out_dir), cohort)
    chosen = asked.of(cohort.sessions)
    redone = [each for each in _changed_files(Path(out_dir)) if each.path.name == names.DATASET]
    out = outputs.results_folder(here(out_dir), cohort.root)
    outputs.write_plan(out, cohort.sessions)
    context = Context(protocol, segment)
    with outputs.run_lock(out, provenance.settings_digest(context)):
        found = _sort_out(cohort, chosen, out, context)
        _LOG.info("%d sessions to measure, %d done before", len(found.tasks), len(found.done))
        measured = measure_all(found.tasks, workers or 1, progress, client=client)
        remarks = [*cohort.remarks, *redone, *found.remarks]
        tasks = [task for task in found.tasks if measured.get(task.label)]
        stale = {task.label for task in tasks if outputs.is_stale(out, task.files, task.source)}
        if asked.level == "participant":
            failures, missing = _failed(out, cohort, chosen, measured, found.done)
            rows = _rows_of(out, [files for files in chosen if files.label not in stale])
            readings, findings = (pd.DataFrame(columns=columns) for columns in (READING_COLUMNS, FINDING_COLUMNS))
        else:
            with outputs.cohort_lock(out):
                remarks += [*_gone(out, cohort, asked.remove_stale), *_changed_files(out)]
                failures, missing = _failed(out, cohort, cohort.sessions, measured, found.done)
                standing = ratings_standing(asked.ratings, out)
                remarks += standing.remarks
                rows, readings, findings = second_pass(
                    out, cohort, protocol, standing=standing, done=found.done, stale=stale
                )
                outputs.write_failures(out, failures)
        outputs.clear_dead(out, chosen)
    n = len(found.tasks), len(found.done)
    return Analysis(rows, failures, *n, out, readings, findings, tuple(remarks), missing)


def _require_apart(out: Path, cohort: Cohort) -> None:
    """Refuse to write results where images of the cohort are looked for."""
    place, root = real(out), real(cohort.root)
    if place == root:
        raise LayoutError(f"{out}: is the cohort folder itself; give another folder for the results")
    inside = place.relative_to(root).parts[0] if place.is_relative_to(root) else ""
    subjects = sorted({files.subject for files in cohort.sessions})
    linked = [subject for subject in subjects if place.is_relative_to(real(root / subject))]
    if inside.startswith("sub-") or linked:
        raise LayoutError(
            f"{out}: lies in {inside or linked[0]}, where the cohort keeps a subject's images; give a folder outside "
            f"it, such as {cohort.root / 'derivatives' / 'ipha'}"
        )


def _require_workers(workers: int | None, client: object) -> None:
    if workers is not None and workers < 1:
        raise ValueError(f"workers needs to be 1 or more, got {workers}")
    if client is not None and workers is not None:
        raise ValueError("give workers or a client: the client's own workers measure")


@dataclass
class _SortedOut:
    """Sessions to be measured, labels of those done before, and what is to be said."""

    tasks: list[Task] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    remarks: list[Problem] = field(default_factory=list)


def _sort_out(cohort: Cohort, chosen: Sequence[SessionFiles], out: Path, context: Context) -> _SortedOut:
    found = _SortedOut()
    for files in chosen:
        if cohort.stopped(files):
            outputs.remove_session(out, files)
            continue
        own = Context(context.protocol, context.segment, _subject_flags(cohort, files, context.protocol))
        source = provenance.first_pass(files, cohort.root, own)
        done, damaged = outputs.standing_of(out, files, source)
        if damaged:
            text = f"{_listed(damaged)} is not as it was written; the session is measured again"
            found.remarks.append(Problem(outputs.session_folder(out, files), text))
        if done:
            found.done.add(files.label)
        else:
            found.tasks.append(Task(out, cohort.root, files, source, own))
    return found


def _gone(out: Path, cohort: Cohort, remove: bool) -> list[Problem]:
    """Results of sessions that the cohort no longer has are in no table; they are told, and taken away where asked."""
    folders = outputs.gone(out, cohort.sessions)
    if remove:
        outputs.remove_gone(out, folders)
    told = "taken away" if remove else "left as they are and in no table; --remove-stale takes them away"
    return [Problem(out / name, f"results of a session that is no longer in the cohort: {told}") for name in folders]


def _changed_files(out: Path) -> list[Problem]:
    """Files of the whole cohort that are not as they were written; they are made anew."""
    return [Problem(out / name, "is not as it was written; it is made again") for name in changed(out)]


def _listed(names_: list[str]) -> str:
    return ", ".join(names_[:3]) + (f" and {len(names_) - 3} more" if len(names_) > 3 else "")


def _failed(
    out: Path,
    cohort: Cohort,
    asked: Sequence[SessionFiles],
    found: Mapping[str, Failures],
    done: Collection[str],
) -> tuple[Failures, tuple[str, ...]]:
    """What failed in each session, in the order of the cohort, and sessions that no run has measured yet.

    What this run found counts, and of other sessions what their folders tell: so the table is the same however the
    sessions were shared among runs.
    """
    failures: Failures = []
    missing = []
    for files in asked:
        stopped = cohort.stopped(files)
        known = [] if files.label in done else found.get(files.label)
        known = outputs.read_failures(out, files) if known is None else known
        if known is None and not stopped:
            missing.append(files.label)
        said = [outputs.failure(files, "", problem.path, problem) for problem in (*stopped, *cohort.failed(files))]
        failures += [*(within(cohort.root, each) for each in said), *((not stopped and known) or [])]
    return failures, tuple(missing)


def _rows_of(out: Path, sessions: Sequence[SessionFiles]) -> pd.DataFrame:
    """Rows of the first pass of those sessions that were measured."""
    places = [outputs.session_folder(out, files) / names.rows_file(files.label) for files in sessions]
    frames = [results.read_rows(path) for path in places if path.exists()]
    return pd.concat(frames, ignore_index=True) if frames else table([])


def _subject_flags(cohort: Cohort, files: SessionFiles, protocol: Protocol) -> tuple[str, ...]:
    age = _people(cohort, [files.subject])[files.subject].get("age", float("nan"))
    flags = (("child", protocol.lungs.child_age_years), ("young_child", protocol.gate.young_years))
    return tuple(flag for flag, limit in flags if age < limit)


def _people(cohort: Cohort, subjects: Iterable[str]) -> dict[str, dict[str, float]]:
    """Age in years and height in cm of each subject, as far as participants.tsv gives numbers."""
    found: dict[str, dict[str, float]] = {}
    for subject in subjects:
        found[subject] = {}
        for column in ("age", "height_cm"):
            with suppress(ValueError):
                found[subject][column] = float(cohort.covariate(subject, column))
    return found


def second_pass(
    out: Path,
    cohort: Cohort,
    protocol: Protocol,
    *,
    strata: Mapping[str, str] | None = None,
    standing: Standing = NONE_RATED,
    done: Collection[str] = (),
    stale: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Rows of all sessions with what controls say of them, readings, findings; made anew only if they would differ.

    Parameters
    ----------
    out : Path
        Results folder.
    cohort : Cohort
        Its sessions that have results are compared.
    protocol : Protocol
    strata : mapping of str to str, optional
        Of each subject, where controls count for subjects of their own stratum alone.
    standing : Standing
        Which images ratings leave out.
    done : collection of str
        Labels of sessions whose results were looked at already, and are whole.
    stale : collection of str
        Labels of sessions whose results are older than what they were measured from, and count for nothing.
    """
    folders = {
        files.label: outputs.session_folder(out, files)
        for files in cohort.sessions
        if (files.label in done or outputs.has_results(out, files))
        and files.label not in stale
        and not cohort.stopped(files)
    }
    source = provenance.second_pass(
        {label: digest_of(folder / names.PROVENANCE) for label, folder in folders.items()}, cohort, protocol
    )
    source |= {"strata": dict(strata)} if strata else {}
    source |= {"unusable": {" ".join(key): why for key, why in standing.unusable.items()}} if standing.unusable else {}
    if outputs.is_compared(out, source):
        known = results.Results(out, cohort.root)
        return known.rows, known.readings, known.findings
    measured = [files for files in cohort.sessions if files.label in folders]
    rows, reference, acquisitions = _compared(out, cohort, measured, protocol, strata or {}, standing)
    readings, findings = read_sessions(
        standing.kept(rows), protocol=protocol, left_out=reference.left_out,
        groups={files.subject: cohort.covariate(files.subject, "group") for files in measured},
    )  # fmt: skip
    outputs.write_cohort(
        out, rows, reference=asdict(reference), protocol=protocol, readings=readings, findings=findings,
        acquisitions=acquisitions, source=source,
    )  # fmt: skip
    return rows, readings, findings


def _compared(
    out: Path,
    cohort: Cohort,
    sessions: list[SessionFiles],
    protocol: Protocol,
    strata: Mapping[str, str],
    standing: Standing,
) -> tuple[pd.DataFrame, Reference, pd.DataFrame]:
    rows, made = _first_pass(out, sessions)
    histograms = _histograms(out, sessions, rows, standing)
    kept, rows = standing.kept(rows), standing.flagged(rows)
    controls = [files.subject for files in cohort.sessions if cohort.is_control(files.subject)]
    edema = [files.subject for files in cohort.sessions if cohort.covariate(files.subject, "group") == EDEMA]
    acquisitions, people = acquisition_table(made), _people(cohort, {files.subject for files in sessions})
    given = [
        against_controls(
            kept[kept["subject"].isin(own)] if strata else kept,
            [h for h in histograms if h.subject in own], controls,
            acquisitions=acquisitions, people=people, edema=sorted(own.intersection(edema)), protocol=protocol,
        )
        for own in _by_stratum(kept["subject"].unique(), strata)
    ]  # fmt: skip
    compared = pd.concat([table([]) if not len(more) else more for more, _ in given], ignore_index=True)
    reference = _joined([each for _, each in given])
    whole = pd.concat([rows, compared], ignore_index=True) if len(compared) else rows
    del compared, given, kept, rows  # hundreds of megabytes, of thousands of sessions
    order = {(files.subject, files.session): n for n, files in enumerate(cohort.sessions)}
    images = whole.groupby(["subject", "session"], sort=False)
    places = np.array([order[str(subject), str(session)] for subject, session in images.size().index], np.int64)[
        images.ngroup().to_numpy()
    ]
    return whole.iloc[np.argsort(places, kind="stable")].reset_index(drop=True), reference, acquisitions


def _by_stratum(subjects: Iterable[str], strata: Mapping[str, str]) -> list[set[str]]:
    """Subjects that are compared with each other; all where there are no strata."""
    groups: dict[str, set[str]] = {}
    for subject in subjects:
        groups.setdefault(strata.get(subject, ""), set()).add(subject)
    return list(groups.values()) or [set()]


def _joined(references: Sequence[Reference]) -> Reference:
    """What the controls of several strata gave; thresholds are of the first, as each has its own."""
    if len(references) == 1:
        return references[0]
    left_out = {image: text for each in references for image, text in each.left_out.items()}
    controls = tuple(sorted({name for each in references for name in each.controls}))
    digest = sha256("".join(each.digest for each in references).encode()).hexdigest()
    return replace(references[0], controls=controls, digest=digest, left_out=left_out)


def _first_pass(out: Path, sessions: Sequence[SessionFiles]) -> tuple[pd.DataFrame, list[dict[Any, Any]]]:
    """Rows of all sessions, and how each image was made."""
    places = [(outputs.session_folder(out, files), files.label) for files in sessions]
    tables = [folder / names.rows_file(label) for folder, label in places]
    rows = results.read_many_rows(tables) if tables else table([])
    paths = [folder / names.acquisition_file(label) for folder, label in places]
    return rows, results.read_many_acquisitions(paths)


def _histograms(
    out: Path, sessions: Sequence[SessionFiles], rows: pd.DataFrame, standing: Standing
) -> list[SessionHistogram]:
    """Histograms of all images that count, each to be read when it is its turn."""
    found, flags = [], _common_flags(rows)
    for files in sessions:
        for modality in _COUNTED:
            path = outputs.session_folder(out, files) / names.histogram_file(files.label, modality)
            if path.exists() and not standing.leaves_out(files.label, modality):
                own = flags.get((files.subject, files.session, modality), ())
                read = partial(_counts, path)
                found.append(SessionHistogram(files.subject, files.session, modality, read, own))
    return found


def _counts(path: Path) -> pd.DataFrame:
    """A histogram; most bins of a ratio histogram are empty, and only the others are parsed."""
    head, *lines = path.read_text("utf-8").splitlines()
    columns = head.split("\t")
    if columns[0] != "low":
        return _parsed(lines, columns)
    empty = "\t0" * (len(columns) - 1)
    filled = [n for n, line in enumerate(lines) if not line.endswith(empty)]
    counts = np.zeros((len(lines), len(columns)))
    counts[filled] = _parsed([lines[n] for n in filled], columns)
    counts[:, 0] = BIN_EDGES[: len(lines)]
    return pd.DataFrame(counts, columns=columns)


def _parsed(lines: list[str], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(np.fromstring("\t".join(lines), sep="\t").reshape(-1, len(columns)), columns=columns)


def _common_flags(rows: pd.DataFrame) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Flags that each image's ratio, or the pair's floor, carries, by subject, session and modality."""
    own = rows[rows["measure"].isin(["signal_ratio_median", "signature_floor"])]
    found: dict[tuple[str, str, str], set[str]] = {}
    for subject, session, modality, cell in own[["subject", "session", "modality", "flag"]].itertuples(
        index=False, name=None
    ):
        found.setdefault((subject, session, modality), set()).update(flags_of(cell))
    return {image: tuple(sorted(flags)) for image, flags in found.items()}
