"""The embedded cohort: simulated, analyzed as any cohort would be, and set against the truth. Numbers only; the page is
made by :mod:`ipha_toolkit.demo.page`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter

import pandas as pd

from ipha_toolkit.demo import truth as recovery
from ipha_toolkit.io.names import label_of
from ipha_toolkit.io.results import Results, open_results
from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import Participant, participant
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.run.cohort import Analysis, run
from ipha_toolkit.run.simulate import TRUTH_FOLDER, write_population

SPACING_MM = 3.0
MODALITIES = ("T1w", "T2w", "MEGRE", "ct", "dx")
SEED = 8

FOLLOWED = "sub-006"
"""The participant seen over three years."""
FILMED = "sub-007"
"""The participant with a radiograph almost daily after the first bleed."""


@dataclass(frozen=True, eq=False)
class Demo:
    """All that the demo found.

    ``rows``: the one table. ``pairs``: measured beside true, of :func:`ipha_toolkit.demo.truth.pair`. ``masks``:
    subject, session, phase, modality, dice. ``seconds``: by step.
    """

    out: Path
    people: tuple[Participant, ...]
    analysis: Analysis
    pairs: pd.DataFrame
    masks: pd.DataFrame
    seconds: dict[str, float]
    protocol: Protocol = DEFAULT

    @property
    def rows(self) -> pd.DataFrame:
        """The one table of measures."""
        return self.analysis.rows

    @cached_property
    def results(self) -> Results:
        """The results folder in the hand."""
        return open_results(self.analysis.out)


def demo_population() -> list[Participant]:
    """Five controls, a child from the first bleed to three years later, one with radiographs from day to day after a
    first bleed, and one seen once."""
    controls = [participant(f"sub-{n:03}", "control", age=7.0 + 0.5 * n, seed=SEED * 100 + n) for n in range(1, 6)]
    bleeds = tuple(Bleed(day, severity) for day, severity in zip(
        (-1.0, 110.0, 214.0, 330.0, 452.0, 561.0, 690.0, 804.0, 930.0, 1041.0),
        (0.55, 0.7, 0.5, 0.8, 0.6, 0.9, 0.7, 0.6, 0.8, 0.7), strict=True))  # fmt: skip
    followed = participant(FOLLOWED, "iph", age=7.5, seed=SEED * 100 + 6, bleeds=bleeds, days=(0, 8, 1096))
    first = participant(
        FILMED, "iph", age=9.0, seed=SEED * 100 + 7, bleeds=(Bleed(0.0, 0.9),), days=(6,), film_days=(0, 1, 2, 3, 4, 10)
    )
    years = tuple(Bleed(-1400.0 + 150 * n, 0.75) for n in range(9))
    late = participant("sub-008", "iph", age=9.5, seed=SEED * 100 + 8, bleeds=years, days=(0,))
    return [*controls, followed, first, late]


def run_demo(
    out: str | os.PathLike[str],
    *,
    people: Iterable[Participant] | None = None,
    spacing_mm: float = SPACING_MM,
    workers: int | None = None,
    protocol: Protocol = DEFAULT,
    progress: bool = True,
) -> Demo:
    """Simulate, analyze, compare.

    Parameters
    ----------
    out : path
        ``out/cohort`` gets the simulated cohort, ``out/results`` the results; both may be of an earlier demo.
    people : iterable of Participant, optional
        None means :func:`demo_population`.
    spacing_mm : float
    workers : int, optional
        None means one a core, four at most.
    protocol : Protocol
    progress : bool
        Show progress bars.

    Returns
    -------
    Demo

    Raises
    ------
    LayoutError
        Where out holds a folder ``cohort`` or ``results`` that is not ours.
    """
    out, workers = Path(out), workers or min(4, os.cpu_count() or 1)
    group = tuple(demo_population() if people is None else people)
    started = perf_counter()
    cohort = write_population(
        group, out / "cohort", about={"demo": SEED}, spacing_mm=spacing_mm, modalities=MODALITIES, workers=workers,
        progress=progress, replace=True,
    )  # fmt: skip
    simulated = perf_counter()
    analysis = run(cohort, out / "results", workers=workers, protocol=protocol, progress=progress)
    analyzed = perf_counter()
    groups = {person.name: person.group for person in group}
    true = recovery.read_true_sessions(cohort / TRUTH_FOLDER, groups, protocol=protocol)
    pairs = recovery.pair(analysis.rows, recovery.true_table(true, protocol=protocol))
    seconds = {"simulate": simulated - started, "analyze": analyzed - simulated}
    demo = Demo(out, group, analysis, pairs, pd.DataFrame(), seconds, protocol)
    masks = _mask_table(demo.results, true)
    seconds["compare with the truth"] = perf_counter() - analyzed
    return Demo(out, group, analysis, pairs, masks, seconds, protocol)


def _mask_table(results: Results, true: Iterable[recovery.TrueSession]) -> pd.DataFrame:
    measured, records = {one.label: one for one in results}, []
    for one in true:
        found = measured.get(label_of(one.subject, one.session))
        for modality, lung in one.lungs.items():
            overlap = float("nan")
            if found is not None and found.has(modality, "lung"):
                overlap = recovery.dice(found.mask(modality), lung)
            records.append((one.subject, one.session, one.phase, modality, overlap))
    return pd.DataFrame(records, columns=["subject", "session", "phase", "modality", "dice"])
