"""The demo as one page: who was analyzed, what was measured, how it looks, and how far it is from the truth.

A section is a function of the demo that returns HTML; :data:`SECTIONS` is their order. Numbers come from
:mod:`ipha_toolkit.run.demo`; nothing is computed here but means over the sessions of a phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from ipha_toolkit.phantom.population import Visit
from ipha_toolkit.report.page import Heading, page
from ipha_toolkit.run import recovery
from ipha_toolkit.run.demo import FILMED, FOLLOWED, Demo
from ipha_toolkit.terms import MEASURES, versus_controls
from ipha_toolkit.view import plots
from ipha_toolkit.volume import Mask, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Simulated pulmonary hemosiderosis, measured"

SHOWN = (
    ("T1w", "signal_ratio_median"), ("T1w", "hyperintense_fraction"),
    ("T2w", "signal_ratio_median"), ("T2w", "hypointense_fraction"), ("T2w", "noise_floor_share"),
    ("T1w+T2w", "signature_fraction"), ("T1w+T2w", "signature_strength"), ("T1w+T2w", "signature_no_evidence"),
    ("MEGRE", "r2star_median"), ("MEGRE", "r2star_censored_share"),
    ("ct", "attenuation_mean"), ("ct", "ground_glass_fraction"), ("ct", "consolidation_fraction"),
    ("ct", "high_attenuation_area"), ("ct", "lung_volume"),
    ("dx", "film_opacity_mean"), ("dx", "film_consolidation_fraction"), ("dx", "film_reticular_score"),
)  # fmt: skip
"""Measures of the table by phase: modality and name; those without a row are left out."""

_PHASES = ("none", "acute", "subacute", "chronic")
_MARKS = {"none": "o", "acute": "s", "subacute": "^", "chronic": "D", "edema": "v"}
_FILM_WINDOW = (2050.0, 4100.0)
_SEQUENCE = {"T1w": "T1w MRI", "T2w": "T2w MRI", "ct": "CT"}


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
    body = f"<style>{_STYLE}</style>{_introduction(demo)}" + "".join(
        f'<section><h2 id="{anchor}">{escape(title)}</h2>{html}</section>' for anchor, title, html in shown
    )
    contents = [Heading(2, anchor, title) for anchor, title, _ in shown]
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(page(TITLE, body, contents=contents, protocol=demo.protocol), encoding="utf-8")
    draft.replace(path)
    return path


# -- sections --------------------------------------------------------------------------------------------------------


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
        [person.name, person.group, _number(person.age), person.sex, f"{visit.day:.0f}",
         "radiograph" if visit.images else "all", visit.phase,
         _number(visit.hemoglobin_g_dl), _number(visit.ferritin_ug_l), _number(visit.prednisone_mg_per_day),
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
        + _table(head, rows)
    )


def _looks(demo: Demo) -> str:
    """The followed patient on every date, and a control, in each modality."""
    control = next(person for person in demo.people if person.group == "control")
    followed = next(person for person in demo.people if person.name == FOLLOWED)
    seen = [(control.name, control.visits[0], "control")]
    seen += [(followed.name, visit, f"day {visit.day:.0f}, {visit.phase}") for visit in followed.visits]
    figures = []
    for modality, name in _SEQUENCE.items():
        panels = [
            _Panel(demo.image(who, visit.session, modality), label,
                   _overlay("lung", demo.mask(who, visit.session, modality)))
            for who, visit, label in seen
        ]  # fmt: skip
        drawn = _row_of_slices(panels, window=_lung_window(demo, modality))
        figures.append(_figure(drawn, f"{name}, coronal, the lung mask found outlined; one window for all."))
    return (
        f"<p>A control, and {escape(FOLLOWED)} on three dates: blood fills air space (acute), clears into patches with "
        "methemoglobin (subacute), and leaves iron, septa and small nodules behind (chronic). MRI is windowed for the "
        "lung, up to the level of muscle. A healthy lung is dark on T2w as well: darkness alone proves nothing.</p>"
        + "".join(figures)
    )


def _films(demo: Demo) -> str:
    """A film beside what is found on it, the same patient from day to day, and opacity over days."""
    from ipha_toolkit.compare.clearing import time_to_clear
    from ipha_toolkit.regions.films import film_zones
    from ipha_toolkit.view.film_plots import plot_opacity_series

    person = next((person for person in demo.people if person.name == FILMED), None)
    seen = [] if person is None else [v for v in person.visits if demo.mask(FILMED, v.session, "dx") is not None]
    if person is None or len(seen) < 2:
        return ""
    films = {visit.session: demo.image(FILMED, visit.session, "dx") for visit in seen}
    lungs = {visit.session: cast(Mask, demo.mask(FILMED, visit.session, "dx")) for visit in seen}
    last = seen[-1].session
    zones = {name.replace("_", " "): zone for name, zone in film_zones(lungs[last]).items()}
    parts = [_Panel(films[last], "as it is", {}), _Panel(films[last], "lung fields", {"lung": lungs[last]}),
             _Panel(films[last], "six zones", dict(zones))]  # fmt: skip
    shown = [seen[n] for n in np.unique(np.linspace(0, len(seen) - 1, 4).round().astype(int))]
    course = [_Panel(films[v.session], f"day {v.day:.0f}, {v.phase}", {"lung": lungs[v.session]}) for v in shown]
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
        f"{_number(truly.days)} days; the opacity of the whole lung took {_number(found.days)} (dotted).</p>"
        + _figure(_row_of_slices(parts, window=_FILM_WINDOW), f"Day {seen[-1].day:.0f} of {FILMED}.")
        + _figure(_row_of_slices(course, window=_FILM_WINDOW), "The lung fields found from day to day; one window.")
        + _figure(plot_opacity_series(rows, days, protocol=demo.protocol), "Opacity by zone over days since the bleed.")
    )


def _viewer(demo: Demo) -> str:
    from ipha_toolkit.view.viewer import SliceViewer, page_fragment

    session = _last_session(demo, FOLLOWED)
    images, overlays = [], []
    for modality in _SEQUENCE:
        image, ratio = demo.image(FOLLOWED, session, modality), demo.map(FOLLOWED, session, modality)
        images.append(image)
        overlays.append(_overlay("lung", demo.mask(FOLLOWED, session, modality)) | _overlay("ratio to muscle", ratio))
    viewer = SliceViewer(*images, overlays=overlays, height_px=340)
    viewer.visible = [name == "lung" for overlay in overlays for name in overlay]
    html = page_fragment(viewer)
    viewer.close()
    return (
        f"<p>The images of {escape(FOLLOWED)} on the last day, linked in patient millimetres. Wheel or arrow keys turn "
        "the pages, dragging sets the window, overlays are switched below.</p>"
        f'<div class="wide">{html}</div>'
    )


def _maps(demo: Demo) -> str:
    """The ratio to muscle of a control and of the followed patient, one scale."""
    control = next(person for person in demo.people if person.group == "control")
    followed = next(person for person in demo.people if person.name == FOLLOWED)
    seen = [(control.name, control.visits[0], "control")]
    seen += [(followed.name, visit, f"day {visit.day:.0f}, {visit.phase}") for visit in followed.visits]
    figures = []
    for modality in ("T1w", "T2w"):
        panels = []
        for who, visit, label in seen:
            ratio, lung = demo.map(who, visit.session, modality), demo.mask(who, visit.session, modality)
            if ratio is not None and lung is not None:
                inside = ratio.replace(array=np.where(lung.array, ratio.array, np.nan), unit="1")
                panels.append(_Panel(demo.image(who, visit.session, modality), label, {"ratio to muscle": inside}))
        if panels:
            drawn = _row_of_slices(panels, limits=(0.0, 0.5), window=_lung_window(demo, modality))
            figures.append(_figure(drawn, f"{modality} signal of the lung over that of muscle, 0 to 0.5."))
    return "".join(figures) + _r2star(demo, seen)


def _r2star(demo: Demo, seen: Sequence[tuple[str, Visit, str]]) -> str:
    panels, echoes = [], []
    for who, visit, label in seen:
        rate = demo.map(who, visit.session, "MEGRE", "r2star")
        if rate is not None:
            echoes.append(demo.image(who, visit.session, "echo-1_MEGRE"))
            panels.append(_Panel(echoes[-1], label, {"R2*": rate.replace(unit="1/s")}))
    if not panels:
        return ""
    top = float(np.median([np.percentile(echo.array, 90) for echo in echoes]))
    drawn = _row_of_slices(panels, limits=(0.0, 1500.0), window=(top / 2, top))
    return (
        "<p>R2* of several gradient echoes: some 500 to 1000 1/s in healthy lung, from the borders of air and tissue. "
        "Filled air space lowers it and iron raises it, so it is read beside density and the ratios; voxels that no "
        "echo lifts above the noise have none. It is no iron concentration.</p>"
        + _figure(drawn, "R2* of the lung, 0 to 1500 1/s, on the first echo.")
    )


def _signature(demo: Demo) -> str:
    """T2w against T1w of a control and of the followed patient, and where T2w lies below the line."""
    from ipha_toolkit.measure.hemosiderin import signature_reference

    people = {person.name: person for person in demo.people}
    control = next(person for person in demo.people if person.group == "control")
    seen = [(control, control.visits[0], "control")]
    seen += [(people[FOLLOWED], visit, f"day {visit.day:.0f}, {visit.phase}") for visit in people[FOLLOWED].visits]
    joint = [demo.histogram(who.name, visit.session, "desc-signature") for who, visit, _ in seen]
    known = [histogram for histogram in joint if histogram is not None]
    if len(known) < len(seen):
        return ""
    found = [demo.histogram(p.name, p.visits[0].session, "desc-signature") for p in demo.people if p.group == "control"]
    line = signature_reference([one for one in found if one is not None], protocol=demo.protocol)
    figure = plots.new_figure(3.5 * len(seen), 3.6)
    axes, floors = figure.subplots(1, len(seen)), demo.rows[demo.rows["measure"] == "signature_floor"]
    panels = []
    for ax, (who, visit, label), histogram in zip(axes, seen, known, strict=True):
        own = floors[(floors["subject"] == who.name) & (floors["session"] == visit.session)]["value"]
        plots.plot_signature(histogram, line, floor=float(own.iloc[0]), name=label, protocol=demo.protocol, ax=ax)
        below = demo.map(who.name, visit.session, "T1w", "signature")
        shown = None if below is None else below.replace(unit="SD")
        panels.append(_Panel(demo.image(who.name, visit.session, "T1w"), label, _overlay("below the line", shown)))
    drawn = _row_of_slices(panels, limits=(-6.0, 6.0), window=_lung_window(demo, "T1w"))
    return (
        "<p>Water alone raises T1w and T2w together, along a line that the controls give; hemosiderin takes T2w away. "
        "So a voxel is asked how far its T2w lies below what its T1w predicts, in the controls' standard deviations, "
        "and only where that prediction stands above the noise. It is missing signal, no concentration of iron.</p>"
        + _figure(axes[0], "All voxels of the lung. Dashed: where the signature begins; left of dotted: no evidence.")
        + _figure(drawn, "T2w below the line (the protocol's), in standard deviations; above it where negative.")
    )


def _by_phase(demo: Demo) -> str:
    """Mean by phase, with the mean distance from the controls."""
    phases = {
        (p.name, v.session): ("control" if p.group == "control" else v.phase) for p in demo.people for v in p.visits
    }
    rows = demo.rows[demo.rows["region"] == "lung"].copy()
    rows["phase"] = [phases[key] for key in zip(rows["subject"], rows["session"], strict=True)]
    columns = ["control", *(phase for phase in _PHASES if phase in set(phases.values()))]
    films = {(p.name, v.session) for p in demo.people for v in p.visits if v.images}
    counts = {phase: sum(found == phase and key not in films for key, found in phases.items()) for phase in columns}
    table = []
    for modality, measure in SHOWN:
        own = rows[(rows["modality"] == modality) & (rows["measure"] == measure)]
        if own.empty:
            continue
        away = rows[(rows["modality"] == modality) & (rows["measure"] == versus_controls(measure))]
        entry = MEASURES[measure]
        cells = [_phase_cell(own, away, phase) for phase in columns]
        unit = "" if entry.unit == "1" else f" ({entry.unit})"
        worse = {"higher": "higher is worse", "lower": "lower is worse"}.get(str(entry.worse), "")
        table.append([modality, measure.replace("_", " ") + unit, worse, *cells])
    head = ["image", "measure", "direction", *(f"{phase} (n = {counts[phase]})" for phase in columns)]
    return (
        "<p>Mean of the sessions of each phase in the whole lung; controls with their range. SD: mean distance from "
        "the controls in their standard deviations. With a handful of sessions these are examples, not statistics: "
        "five controls make a small standard deviation, and distances of tens say no more than <em>outside</em>. n "
        f"leaves out {len(films)} sessions with a radiograph alone, which are in the rows of dx.</p>"
        + _table(head, table, numbers_from=3)
        + "<p>T1w signal rises with water, blood and methemoglobin alike: gain is not T1 shortening. Ratios to muscle "
        "depend on coil and sequence.</p>"
    )


def _phase_cell(own: pd.DataFrame, away: pd.DataFrame, phase: str) -> str:
    values = own.loc[own["phase"] == phase, "value"].dropna()
    if values.empty:
        return "no value"
    if phase == "control":
        return f"{_number(values.mean())} ({_number(values.min())} to {_number(values.max())})"
    distance = away.loc[away["phase"] == phase, "value"].dropna()
    return _number(values.mean()) + (f" ({_signed(distance.mean())} SD)" if len(distance) else "")


def _distributions(demo: Demo) -> str:
    """Histograms of the last session against the controls, and the zones of the lung."""
    session = _last_session(demo, FOLLOWED)
    controls = [person.name for person in demo.people if person.group == "control"]
    figures = []
    for modality in ("T1w", "T2w"):
        own = demo.histogram(FOLLOWED, session, modality)
        others = [demo.histogram(name, "ses-01", modality) for name in controls]
        if own is not None and all(other is not None for other in others):
            ax = plots.plot_histogram(
                own["lung"], controls=[other["lung"] for other in others if other is not None],
                name=f"{FOLLOWED}, last day", quantity=f"{modality} lung-to-muscle ratio (1)",
            )  # fmt: skip
            figures.append(_figure(ax, f"{modality}: every voxel of the lung against the controls'."))
    for modality, measure in (("T2w", "signal_ratio_median"), ("ct", "ground_glass_fraction")):
        rows = demo.rows[(demo.rows["subject"] == FOLLOWED)]
        ax = plots.plot_zones(
            rows, measure, modality=modality, controls=demo.rows[demo.rows["subject"].isin(controls)],
        )  # fmt: skip
        figures.append(_figure(ax, f"{modality} {measure.replace('_', ' ')} by zone, three dates, controls as dots."))
    return f'<div class="pairs">{"".join(figures)}</div>'


def _truth(demo: Demo) -> str:
    known = demo.pairs.dropna(subset=["measured"])
    by_definition = known[known["kind"] == recovery.DEFINITION]
    shown = [key for key in SHOWN if key in set(zip(by_definition["modality"], by_definition["measure"], strict=True))]
    return (
        "<p>The truth: the same definition applied to the true lungs in images without noise, coil shading and "
        "breathing. A dot a session; on the line, measurement and truth agree.</p>"
        + _figure(_scatter(by_definition, shown), "Measured against true, by phase.")
        + _agreement_table(known)
        + _mask_table(demo.masks)
    )


def _scatter(pairs: pd.DataFrame, keys: Sequence[tuple[str, str]]) -> Axes:
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    axes = plots.new_figure(3.3 * columns, 3.0 * rows).subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(keys) :]:
        ax.remove()
    for n, (ax, (modality, measure)) in enumerate(zip(axes, keys, strict=False)):
        own = pairs[(pairs["modality"] == modality) & (pairs["measure"] == measure)]
        both = own[["true", "measured"]].to_numpy()
        low, high = both.min(), both.max()
        margin = 0.06 * (high - low or 1)
        ax.axline((low, low), slope=1, color="#8a8a8a", lw=1)
        for phase, group in own.groupby("phase", sort=False):
            colour = plots.SERIES_COLOURS[list(_MARKS).index(str(phase))]
            ax.scatter(group["true"], group["measured"], s=26, marker=_MARKS[str(phase)], color=colour, label=phase)
        unit = MEASURES[measure].unit
        ax.set(xlabel=f"true ({unit})", ylabel=f"measured ({unit})", aspect="equal",
               xlim=(low - margin, high + margin), ylim=(low - margin, high + margin))  # fmt: skip
        ax.set_title(f"{modality} {measure.replace('_', ' ')}", fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
        if n == 0:
            ax.legend(frameon=False, fontsize=8)
        off = own["measured"] - own["true"]
        said = (f"{modality} {measure.replace('_', ' ')}: {len(own)} sessions, true {_number(own['true'].min())} to "
                f"{_number(own['true'].max())}, mean difference {_signed(off.mean())} {unit}")  # fmt: skip
        plots.describe(ax, said.removesuffix(" 1") + ".")
    return cast("Axes", axes[0])


def _agreement_table(pairs: pd.DataFrame) -> str:
    rows = []
    for r in recovery.agreement(pairs).to_dict("records"):
        rank = "n/a" if np.isnan(r["rank"]) else f"{r['rank']:.2f}".replace("-", "−")
        rows.append(
            [r["modality"], r["measure"].replace("_", " "), _KINDS[r["kind"]], str(r["n"]), _signed(r["bias"]),
             f"{_signed(r['low'])} to {_signed(r['high'])}", r["unit"] if r["unit"] != "1" else "", rank]
        )  # fmt: skip
    head = ["image", "measure", "truth", "n", "bias", "limits of agreement", "unit", "rank correlation"]
    return (
        "<h3>Bias and limits of agreement</h3>"
        "<p>Measured minus true: mean, and mean ± 1.96 standard deviations. <q>Air space filled</q> is the share of "
        "lung in which blood or water really fills 12 to 75 % (ground glass) or more (consolidation) of the air space: "
        "cuts in HU also catch septa, fibrosis, vessels too small to be left out, and the denser lung of a child.</p>"
        + _table(head, rows, numbers_from=3)
    )


_KINDS = {recovery.DEFINITION: "by definition", recovery.DISEASE: "air space filled"}


def _mask_table(masks: pd.DataFrame) -> str:
    phases = [phase for phase in (*_PHASES, "edema") if phase in set(masks["phase"])]
    rows = []
    for modality, group in masks.groupby("modality", sort=False):
        cells = [group.loc[group["phase"] == phase, "dice"].dropna() for phase in phases]
        rows.append([str(modality), *("no value" if c.empty else f"{c.mean():.3f} ({c.min():.3f})" for c in cells)])
    head = ["image", *("healthy" if phase == "none" else phase for phase in phases)]
    return (
        "<h3>Lung masks against the truth</h3><p>Dice overlap, mean and (lowest); 1 is the same. Where a mask has "
        "failed, every measure in it is of what was left of the lung.</p>" + _table(head, rows, numbers_from=1)
    )


def _run_facts(demo: Demo) -> str:
    took = ", ".join(f"{escape(step)} {seconds:.0f} s" for step, seconds in demo.seconds.items())
    analysis = demo.analysis
    before = f", {analysis.skipped} taken over from an earlier run" if analysis.skipped else ""
    failures = [[f["subject"], f["session"], f["modality"], f["error"]] for f in analysis.failures]
    return (
        f"<p>Time taken: {took}. {analysis.measured} sessions measured{before}; {len(demo.rows)} rows.</p>"
        "<p>Beside this page: <code>cohort/</code>, the images and tables with <code>cohort/truth/</code>; "
        "<code>results/</code>, with <code>measures.tsv</code>, masks, maps and provenance.</p>"
        + (_table(["participant", "session", "image", "why it could not be measured"], failures) if failures else "")
    )


def _readings(demo: Demo) -> str:
    """The phase that the rules read from every session, with reasons, beside the true one."""
    true = {(person.name, visit.session): visit.phase for person in demo.people for visit in person.visits}
    rows = [
        [r["subject"], r["session"], true[r["subject"], r["session"]], r["phase"], f"{r['margin']:.2f}", r["reasons"]]
        for r in demo.analysis.readings.to_dict("records")
    ]
    right = sum(row[2] == row[3] for row in rows)
    return (
        f"<p>{right} of {len(rows)} phases are read as they truly are. A reading follows rules of the protocol, "
        "each with its source, which a reader can change; the margin says how far the phase's support lies above the "
        "next (0: undecided). It says which phase of a bleed the images would fit, and is no diagnosis: edema fits "
        "as well.</p>" + _table(["participant", "session", "true phase", "read as", "margin (1)", "reasons"], rows)
    )


SECTIONS: tuple[tuple[str, Callable[[Demo], str]], ...] = (
    ("Who was analyzed", _people),
    ("What the images show", _looks),
    ("Radiographs from day to day", _films),
    ("Look for yourself", _viewer),
    ("Measures by phase against controls", _by_phase),
    ("Maps", _maps),
    ("T1w and T2w together", _signature),
    ("Where in the lung", _distributions),
    ("Readings beside the truth", _readings),
    ("Truth against measurement", _truth),
    ("Time and files", _run_facts),
)
"""Title and maker of every section, in order; one that returns nothing is left out."""


# -- pieces ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Panel:
    image: Volume
    label: str
    overlays: dict[str, Any]


def _row_of_slices(
    panels: Sequence[_Panel], *, window: tuple[float, float], limits: tuple[float, float] | None = None
) -> Axes:
    """Coronal slices through the middle of the lungs side by side, one window and one colour bar."""
    axes = plots.new_figure(2.5 * len(panels) + 0.6, 2.6).subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        plots.plot_slice(
            panel.image, plane="coronal", overlays=panel.overlays, window=window, limits=limits, opacity=1.0, ax=ax
        )
        ax.set_title(panel.label, fontsize=10, parse_math=False)
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    for bar in list(axes[0].figure.axes)[len(axes) : -1]:
        bar.remove()
    return cast("Axes", axes[0])


def _lung_window(demo: Demo, modality: str) -> tuple[float, float]:
    """(level, width): the lung window of CT; in MRI from black to the level of muscle."""
    if modality == "ct":
        return (-600.0, 1500.0)
    rows = demo.rows[(demo.rows["modality"] == modality) & (demo.rows["measure"] == "reference_level")]
    top = float(rows["value"].median())
    return (top / 2, top)


def _overlay(name: str, shown: Mask | Volume | None) -> dict[str, Any]:
    return {} if shown is None else {name: shown}


def _last_session(demo: Demo, subject: str) -> str:
    return next(person for person in demo.people if person.name == subject).visits[-1].session


def _figure(drawn: Axes, caption: str) -> str:
    return f"<figure>{plots.to_html(drawn, dpi=110)}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(head: Iterable[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 99) -> str:
    """A table of plain text, which is escaped here; columns from ``numbers_from`` on are set right."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=number' if n >= numbers_from else ''}>{escape(cell)}</td>" for n, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _number(value: float) -> str:
    """Three figures, a true minus sign."""
    if not np.isfinite(value):
        return "no value"
    size = abs(value)
    return (f"{value:,.0f}" if size >= 100 else f"{value:.3g}").replace("-", "−")


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "no value"
    rounded = f"{value:+,.0f}" if abs(value) >= 100 else f"{value:+.2g}"
    return rounded.replace("-", "−")


_STYLE = """
figure { margin: 1.2em 0; } figcaption { font-size: 13px; color: var(--soft); } figure img { display: block; }
.scroll { overflow-x: auto; } td.number { text-align: right; white-space: nowrap; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 1.5rem; }
.wide { margin: 1em 0; }
@media print { .wide button, .wide select { display: none; } .scroll { overflow: visible; } table { font-size: 8pt; } }
main table { font-size: 13px; } th, td { padding: 0.3em 0.4em; } td:first-child { white-space: nowrap; }
"""
