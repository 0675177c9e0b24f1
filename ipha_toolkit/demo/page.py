"""The demo as one page: who was analyzed, what was measured, how it looks, and how far it is from the truth.

A section is a function of the demo that returns HTML; :data:`SECTIONS` is their order. Numbers come from
:mod:`ipha_toolkit.run.demo`; nothing is computed here but means over the sessions of a phase.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from ipha_toolkit.demo import truth as recovery
from ipha_toolkit.demo.cohort import FILMED, FOLLOWED, Demo
from ipha_toolkit.figures.agreement import scatter
from ipha_toolkit.report.cohort import (
    PHASES,
    SHOWN,
    STYLE,
    Panel,
    by_phase,
    captioned,
    distributions,
    html_table,
    looks,
    maps,
    readings,
    row_of_slices,
    run_facts,
    signature,
    viewer,
)
from ipha_toolkit.report.page import Heading, page
from ipha_toolkit.volume import Mask
from ipha_toolkit.wording import number, signed

TITLE = "Simulated pulmonary hemosiderosis, measured"

_FILM_WINDOW = (2050.0, 4100.0)


def write_report(demo: Demo, path: str | Path) -> Path:
    """Write the page; it asks the network for nothing.

    Parameters
    ----------
    demo : Demo
        Of :func:`ipha_toolkit.run.demo.run_demo`.
    path : path
        Of the HTML file, replaced where it exists.

    Returns
    -------
    Path
    """
    path = Path(path)
    parts = [(title, section(demo)) for title, section in SECTIONS]
    shown = [(f"part-{n}", title, html) for n, (title, html) in enumerate(parts, 1) if html]
    body = f"<style>{STYLE}</style>{_introduction(demo)}" + "".join(
        f'<section><h2 id="{anchor}">{escape(title)}</h2>{html}</section>' for anchor, title, html in shown
    )
    contents = [Heading(2, anchor, title) for anchor, title, _ in shown]
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(page(TITLE, body, contents=contents, protocol=demo.protocol), encoding="utf-8")
    draft.replace(path)
    return path


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
        [person.name, person.group, number(person.age), person.sex, f"{visit.day:.0f}",
         "radiograph" if visit.images else "all", visit.phase,
         number(visit.hemoglobin_g_dl), number(visit.ferritin_ug_l), number(visit.prednisone_mg_per_day),
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


def _films(demo: Demo) -> str:
    """A film beside what is found on it, the same patient from day to day, and opacity over days."""
    from ipha_toolkit.compare.clearing import time_to_clear
    from ipha_toolkit.figures.films import plot_opacity_series
    from ipha_toolkit.regions.films import film_zones

    person = next((person for person in demo.people if person.name == FILMED), None)
    seen = [] if person is None else [v for v in person.visits if demo.mask(FILMED, v.session, "dx") is not None]
    if person is None or len(seen) < 2:
        return ""
    films = {visit.session: demo.image(FILMED, visit.session, "dx") for visit in seen}
    lungs = {visit.session: cast(Mask, demo.mask(FILMED, visit.session, "dx")) for visit in seen}
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
        "network, lung hidden behind heart and diaphragm is left out, and opacity is measured between the film's own "
        "chest wall (0) and mediastinum (1), so that exposure does not count. The true share of air space filled with "
        f"blood falls to {100 * demo.protocol.films.cleared_share:.0f} % of its peak within "
        f"{number(truly.days)} days; the opacity of the whole lung took {number(found.days)} (dotted).</p>"
        + captioned(row_of_slices(parts, window=_FILM_WINDOW), f"Day {seen[-1].day:.0f} of {FILMED}.")
        + captioned(row_of_slices(course, window=_FILM_WINDOW), "The lung fields found from day to day; one window.")
        + captioned(
            plot_opacity_series(rows, days, protocol=demo.protocol), "Opacity by zone over days since the bleed."
        )
    )


def _truth(demo: Demo) -> str:
    known = demo.pairs.dropna(subset=["measured"])
    by_definition = known[known["kind"] == recovery.DEFINITION]
    shown = [key for key in SHOWN if key in set(zip(by_definition["modality"], by_definition["measure"], strict=True))]
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
        rank = "n/a" if np.isnan(r["rank"]) else f"{r['rank']:.2f}".replace("-", "−")
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
    phases = [phase for phase in (*PHASES, "edema") if phase in set(masks["phase"])]
    rows = []
    for modality, group in masks.groupby("modality", sort=False):
        cells = [group.loc[group["phase"] == phase, "dice"].dropna() for phase in phases]
        rows.append([str(modality), *("no value" if c.empty else f"{c.mean():.3f} ({c.min():.3f})" for c in cells)])
    head = ["image", *("healthy" if phase == "none" else phase for phase in phases)]
    return (
        "<h3>Lung masks against the truth</h3><p>Dice overlap, mean and (lowest); 1 is the same. Where a mask has "
        "failed, every measure in it is of what was left of the lung.</p>" + html_table(head, rows, numbers_from=1)
    )


SECTIONS: tuple[tuple[str, Callable[[Demo], str]], ...] = (
    ("Who was analyzed", _people),
    ("What the images show", looks),
    ("Radiographs from day to day", _films),
    ("Look for yourself", viewer),
    ("Measures by phase against controls", by_phase),
    ("Maps", maps),
    ("T1w and T2w together", signature),
    ("Where in the lung", distributions),
    ("Readings beside the truth", readings),
    ("Truth against measurement", _truth),
    ("Time and files", run_facts),
)
"""Title and maker of every section, in order; one that returns nothing is left out."""
