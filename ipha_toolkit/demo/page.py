"""The demo as one page: that of its results (:mod:`ipha_toolkit.report.cohort`), and how far they are from the truth.

:data:`SECTIONS` is the order of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from html import escape
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.compare.clearing import Clearing, time_to_clear
from ipha_toolkit.demo import truth as recovery
from ipha_toolkit.demo.cohort import FILMED, FOLLOWED, Demo
from ipha_toolkit.figures.agreement import scatter
from ipha_toolkit.figures.films import plot_opacity_series
from ipha_toolkit.io.results import open_results
from ipha_toolkit.regions.films import film_zones
from ipha_toolkit.report import cohort, pictures
from ipha_toolkit.report.pieces import Panel, captioned, html_table, or_why_not, row_of_slices, write_sections
from ipha_toolkit.report.readings import READING, readings_table
from ipha_toolkit.run.alone import why_alone
from ipha_toolkit.wording import minus, number, signed

TITLE = "Simulated pulmonary hemosiderosis, measured"

_FILM_WINDOW = (2050.0, 4100.0)


def write_report(demo: Demo, path: str | Path, *, workers: int = 1) -> Path:
    """Write the page; it asks the network for nothing.

    Parameters
    ----------
    demo : Demo
        Of :func:`ipha_toolkit.run.demo.run_demo`.
    path : path
        Of the HTML file, replaced where it exists.
    workers : int
        With two or more, the sections of small pictures are made in a process of their own meanwhile; where none can
        be begun, all is made here. The page is the same.

    Returns
    -------
    Path
    """
    with _apart(demo, workers) as made:
        shown = cohort.Shown(demo.results)
        here = {title: section(demo) if own else section(shown)
                for title, own, section in SECTIONS if title not in made}  # fmt: skip
        parts = [(title, here[title] if title in here else made[title].result()) for title, *_ in SECTIONS]
    return write_sections(path, TITLE, _introduction(demo), parts, protocol=demo.protocol)


@contextmanager
def _apart(demo: Demo, workers: int) -> Iterator[dict[str, Future[str]]]:
    """The sections, by title, that another process is at work on; which are slow and need nothing of the others."""
    slow = [(title, section) for title, _, section in SECTIONS if section in (pictures.explorer, pictures.masks)]
    if workers < 2 or why_alone(None):
        yield {}
        return
    place = demo.results.path, demo.results.cohort.root
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        yield {title: pool.submit(_section, section, *place) for title, section in slow}


def _section(section: Callable[[cohort.Shown], str], results: Path, root: Path) -> str:
    return section(cohort.Shown(open_results(results, cohort=root)))


def _introduction(demo: Demo) -> str:
    visits = [visit for person in demo.people for visit in person.visits]
    films = sum(bool(visit.images) for visit in visits)
    failed = len(demo.analysis.failures)
    whole = "every image was measured" if not failed else f"{failed} could not be measured and are listed at the end"
    return (
        f"<h1>{escape(TITLE)}</h1>"
        "<p>No public scans of idiopathic pulmonary hemosiderosis (IPH) exist, so this page shows the toolkit at work "
        f"on patients who do not: {len(demo.people)} simulated children seen on {len(visits) - films} days with MRI, "
        f"CT and a radiograph, and on {films} with a radiograph alone. They were analyzed as a folder of real scans "
        "would be, without a look at the truth, and then set against it; "
        f"{whole}. For research, not for diagnosis.</p>"
    )


def _people(demo: Demo) -> str:
    rows = [
        [person.name, person.group, f"{person.age:g}", person.sex, f"{visit.day:.0f}",
         "radiograph" if visit.images else "all", visit.phase,
         f"{visit.hemoglobin_g_dl:.1f}", f"{visit.ferritin_ug_l:g}", f"{visit.prednisone_mg_per_day:g}",
         "yes" if visit.hemoptysis else "no", visit.lavage or "n/a"]
        for person in demo.people for visit in person.visits
    ]  # fmt: skip
    head = ["participant", "group", "age (years)", "sex", "day", "images", "phase", "hemoglobin (g/dL)",
            "ferritin (µg/L)", "prednisone (mg/day)", "hemoptysis", "lavage"]  # fmt: skip
    return (
        f"<p>{escape(FOLLOWED)} is followed from the first bleed over three years and ten bleeds, "
        f"{escape(FILMED)} with a radiograph from day to day. All are children, as "
        "most patients are (lavage: siderophages found or not); they are compared with children, "
        "and every row of their measures carries the flag <code>child</code>, as published norms are of adults.</p>"
        + html_table(head, rows)
    )


@or_why_not
def _films(demo: Demo) -> str:
    """A film beside what is found on it, the same patient from day to day, and opacity over days."""
    person = next((person for person in demo.people if person.name == FILMED), None)
    seen = [] if person is None else [v for v in person.visits if _has_film(demo, v.session)]
    if person is None or len(seen) < 2:
        return ""
    films = {visit.session: demo.results[FILMED, visit.session].image("dx") for visit in seen}
    lungs = {visit.session: demo.results[FILMED, visit.session].mask("dx") for visit in seen}
    last = seen[-1].session
    zones = {name.replace("_", " "): zone for name, zone in film_zones(lungs[last]).items()}
    parts = [Panel(films[last], "as it is", {}), Panel(films[last], "lung fields", {"lung": lungs[last]}),
             Panel(films[last], "six zones", dict(zones))]  # fmt: skip
    shown = [seen[n] for n in np.unique(np.linspace(0, len(seen) - 1, 4).round().astype(int))]
    course = [Panel(films[v.session], f"day {v.day:.0f}, {v.phase}", {"lung": lungs[v.session]}) for v in shown]
    days = {visit.session: visit.day for visit in seen}
    rows = demo.rows[(demo.rows["subject"] == FILMED) & demo.rows["session"].isin(days)]
    truly = time_to_clear(list(days.values()), [person.disease(day).blood for day in days.values()], clear=0.0,
                          protocol=demo.protocol)  # fmt: skip
    whole = rows[(rows["region"] == "lung") & (rows["measure"] == "film_opacity_mean")].set_index("session")["value"]
    found = time_to_clear(list(days.values()), whole.reindex(list(days)), protocol=demo.protocol)
    return (
        "<p>Radiographs are how these patients are followed. Lung fields are found on each film without a trained "
        "network, lung hidden behind heart and diaphragm is left out, and opacity is measured on the film's own "
        "scale from clear lung (0) to soft tissue (1), so that exposure does not count. The true share of air space "
        f"filled with blood falls to {100 * demo.protocol.films.cleared_share:.0f} % of its peak within "
        f"{number(truly.days)} days; the opacity of the whole lung {_cleared(found)} (dotted).</p>"
        + captioned(row_of_slices(parts, window=_FILM_WINDOW), f"Day {seen[-1].day:.0f} of {FILMED}.")
        + captioned(row_of_slices(course, window=_FILM_WINDOW), "The lung fields found from day to day; one window.")
        + captioned(
            plot_opacity_series(rows, days, protocol=demo.protocol), "Opacity by zone over days since the bleed."
        )
    )


def _cleared(found: Clearing) -> str:
    if found.censored:
        return f"had not by the last film, {number(found.days)} days after its peak"
    return f"took {number(found.days)}"


def _has_film(demo: Demo, session: str) -> bool:
    return any((one.subject, one.session) == (FILMED, session) and one.has("dx", "lung") for one in demo.results)


def _truth(demo: Demo) -> str:
    known = demo.pairs.dropna(subset=["measured"])
    by_definition = known[known["kind"] == recovery.DEFINITION]
    shown = [
        key
        for key in cohort.MEASURES_SHOWN
        if key in set(zip(by_definition["modality"], by_definition["measure"], strict=True))
    ]
    return (
        "<p>The truth: the same definition applied to the true lungs in images without noise, coil shading and "
        "breathing. A dot a session; on the line, measurement and truth agree.</p>"
        + captioned(scatter(by_definition, shown), "Measured against true, by phase.")
        + _agreement_table(known)
        + _mask_table(demo.masks)
    )


def _agreement_table(pairs: pd.DataFrame) -> str:
    rows = []
    for r in recovery.agreement(pairs).to_dict("records"):
        rank = "n/a" if np.isnan(r["rank"]) else minus(f"{r['rank']:.2f}")
        rows.append(
            [r["modality"], r["measure"].replace("_", " "), _KINDS[r["kind"]], str(r["n"]), signed(r["bias"]),
             f"{signed(r['low'])} to {signed(r['high'])}", r["unit"] if r["unit"] != "1" else "", rank]
        )  # fmt: skip
    head = ["image", "measure", "truth", "n", "bias", "limits of agreement", "unit", "rank correlation"]
    return (
        "<h3>Bias and limits of agreement</h3>"
        "<p>Measured minus true: mean, and mean ± 1.96 standard deviations. <q>Air space filled</q> is the share of "
        "lung in which blood or water really fills 12 to 75 % (ground glass) or more (consolidation) of the air space: "
        "cuts in HU also catch septa, fibrosis, vessels too small to be left out, and the denser lung of a child.</p>"
        + html_table(head, rows, numbers_from=3)
    )


_KINDS = {recovery.DEFINITION: "by definition", recovery.DISEASE: "air space filled"}


def _mask_table(masks: pd.DataFrame) -> str:
    phases = [phase for phase in (*cohort.PHASES, "edema") if phase in set(masks["phase"])]
    rows = []
    for modality, group in masks.groupby("modality", sort=False):
        cells = [group.loc[group["phase"] == phase, "dice"].dropna() for phase in phases]
        rows.append([str(modality), *("no value" if c.empty else f"{c.mean():.3f} ({c.min():.3f})" for c in cells)])
    head = ["image", *("healthy" if phase == "none" else phase for phase in phases)]
    return (
        "<h3>Lung masks against the truth</h3><p>Dice overlap, mean and (lowest); 1 is the same. Where a mask has "
        "failed, every measure in it is of what was left of the lung.</p>" + html_table(head, rows, numbers_from=1)
    )


def _readings(demo: Demo) -> str:
    """The phase that the rules read from every session, with reasons, beside the true one."""
    true = {(person.name, visit.session): visit.phase for person in demo.people for visit in person.visits}
    found = demo.analysis.readings
    right = sum(true[r["subject"], r["session"]] == r["phase"] for r in found.to_dict("records"))
    return (
        f"<p>{right} of {len(found)} phases are read as they truly are (✓). {READING}</p>{readings_table(found, true)}"
    )


def _run_facts(demo: Demo) -> str:
    took = ", ".join(f"{escape(step)} {seconds:.0f} s" for step, seconds in demo.seconds.items())
    analysis = demo.analysis
    before = f", {analysis.skipped} taken over from an earlier run" if analysis.skipped else ""
    failures = [[f["subject"], f["session"], f["modality"], f["error"]] for f in analysis.failures]
    head = ["participant", "session", "image", "why it could not be measured"]
    return (
        f"<p>Time taken: {took}. {analysis.measured} sessions measured{before}; {len(demo.rows)} rows.</p>"
        "<p>Beside this page: <code>cohort/</code>, the images and tables with <code>cohort/truth/</code>; "
        "<code>results/</code>, with <code>measures.tsv</code>, masks, maps, logs and provenance.</p>"
        + (html_table(head, failures) if failures else "")
    )


SECTIONS: tuple[tuple[str, bool, Callable[[Any], str]], ...] = (
    ("Who was analyzed", True, _people),
    ("What the images show", False, cohort.looks),
    ("Radiographs from day to day", True, _films),
    ("Look for yourself", False, pictures.explorer),
    ("Measures by phase", False, cohort.group_plots),
    ("Measures by phase against controls", False, cohort.by_group),
    ("Maps", False, cohort.maps),
    ("T1w and T2w together", False, cohort.signature),
    ("Where in the lung", False, cohort.distributions),
    ("Readings beside the truth", True, _readings),
    ("Truth against measurement", True, _truth),
    ("Masks for checking", False, pictures.masks),
    ("Time and files", True, _run_facts),
)
"""Title of every section, whether it is the demo's own, its maker, in order; one that returns nothing is left out."""
