"""The page of a results folder: who was measured, what was found, and how it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, versus_controls
from ipha_toolkit.demo.cohort import FOLLOWED, Demo
from ipha_toolkit.figures.core import new_figure, to_html
from ipha_toolkit.figures.numbers import plot_histogram, plot_signature, plot_zones
from ipha_toolkit.figures.slices import plot_slice
from ipha_toolkit.phantom.population import Visit
from ipha_toolkit.volume import Mask, Volume
from ipha_toolkit.wording import number, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

PHASES = ("none", "acute", "subacute", "chronic")

_SEQUENCE = {"T1w": "T1w MRI", "T2w": "T2w MRI", "ct": "CT"}


def looks(demo: Demo) -> str:
    """The followed patient on every date, and a control, in each modality."""
    control = next(person for person in demo.people if person.group == "control")
    followed = next(person for person in demo.people if person.name == FOLLOWED)
    seen = [(control.name, control.visits[0], "control")]
    seen += [(followed.name, visit, f"day {visit.day:.0f}, {visit.phase}") for visit in followed.visits]
    figures = []
    for modality, name in _SEQUENCE.items():
        panels = [
            Panel(demo.image(who, visit.session, modality), label,
                   _overlay("lung", demo.mask(who, visit.session, modality)))
            for who, visit, label in seen
        ]  # fmt: skip
        drawn = row_of_slices(panels, window=_lung_window(demo, modality))
        figures.append(captioned(drawn, f"{name}, coronal, the lung mask found outlined; one window for all."))
    return (
        f"<p>A control, and {escape(FOLLOWED)} on three dates: blood fills air space (acute), clears into patches with "
        "methemoglobin (subacute), and leaves iron, septa and small nodules behind (chronic). MRI is windowed for the "
        "lung, up to the level of muscle. A healthy lung is dark on T2w as well: darkness alone proves nothing.</p>"
        + "".join(figures)
    )


def viewer(demo: Demo) -> str:
    from ipha_toolkit.viewer.page import page_fragment
    from ipha_toolkit.viewer.widget import SliceViewer

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


def maps(demo: Demo) -> str:
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
                panels.append(Panel(demo.image(who, visit.session, modality), label, {"ratio to muscle": inside}))
        if panels:
            drawn = row_of_slices(panels, limits=(0.0, 0.5), window=_lung_window(demo, modality))
            figures.append(captioned(drawn, f"{modality} signal of the lung over that of muscle, 0 to 0.5."))
    return "".join(figures) + _r2star(demo, seen)


def _r2star(demo: Demo, seen: Sequence[tuple[str, Visit, str]]) -> str:
    panels, echoes = [], []
    for who, visit, label in seen:
        rate = demo.map(who, visit.session, "MEGRE", "r2star")
        if rate is not None:
            echoes.append(demo.image(who, visit.session, "echo-1_MEGRE"))
            panels.append(Panel(echoes[-1], label, {"R2*": rate.replace(unit="1/s")}))
    if not panels:
        return ""
    top = float(np.median([np.percentile(echo.array, 90) for echo in echoes]))
    drawn = row_of_slices(panels, limits=(0.0, 1500.0), window=(top / 2, top))
    return (
        "<p>R2* of several gradient echoes: some 500 to 1000 1/s in healthy lung, from the borders of air and tissue. "
        "Filled air space lowers it and iron raises it, so it is read beside density and the ratios; voxels that no "
        "echo lifts above the noise have none. It is no iron concentration.</p>"
        + captioned(drawn, "R2* of the lung, 0 to 1500 1/s, on the first echo.")
    )


def signature(demo: Demo) -> str:
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
    figure = new_figure(3.5 * len(seen), 3.6)
    axes, floors = figure.subplots(1, len(seen)), demo.rows[demo.rows["measure"] == "signature_floor"]
    panels = []
    for ax, (who, visit, label), histogram in zip(axes, seen, known, strict=True):
        own = floors[(floors["subject"] == who.name) & (floors["session"] == visit.session)]["value"]
        plot_signature(histogram, line, floor=float(own.iloc[0]), name=label, protocol=demo.protocol, ax=ax)
        below = demo.map(who.name, visit.session, "T1w", "signature")
        shown = None if below is None else below.replace(unit="SD")
        panels.append(Panel(demo.image(who.name, visit.session, "T1w"), label, _overlay("below the line", shown)))
    drawn = row_of_slices(panels, limits=(-6.0, 6.0), window=_lung_window(demo, "T1w"))
    return (
        "<p>Water alone raises T1w and T2w together, along a line that the controls give; hemosiderin takes T2w away. "
        "So a voxel is asked how far its T2w lies below what its T1w predicts, in the controls' standard deviations, "
        "and only where that prediction stands above the noise. It is missing signal, no concentration of iron.</p>"
        + captioned(axes[0], "All voxels of the lung. Dashed: where the signature begins; left of dotted: no evidence.")
        + captioned(drawn, "T2w below the line (the protocol's), in standard deviations; above it where negative.")
    )


def by_phase(demo: Demo) -> str:
    """Mean by phase, with the mean distance from the controls."""
    phases = {
        (p.name, v.session): ("control" if p.group == "control" else v.phase) for p in demo.people for v in p.visits
    }
    rows = demo.rows[demo.rows["region"] == "lung"].copy()
    rows["phase"] = [phases[key] for key in zip(rows["subject"], rows["session"], strict=True)]
    columns = ["control", *(phase for phase in PHASES if phase in set(phases.values()))]
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
        + html_table(head, table, numbers_from=3)
        + "<p>T1w signal rises with water, blood and methemoglobin alike: gain is not T1 shortening. Ratios to muscle "
        "depend on coil and sequence.</p>"
    )


def _phase_cell(own: pd.DataFrame, away: pd.DataFrame, phase: str) -> str:
    values = own.loc[own["phase"] == phase, "value"].dropna()
    if values.empty:
        return "no value"
    if phase == "control":
        return f"{number(values.mean())} ({number(values.min())} to {number(values.max())})"
    distance = away.loc[away["phase"] == phase, "value"].dropna()
    return number(values.mean()) + (f" ({signed(distance.mean())} SD)" if len(distance) else "")


def distributions(demo: Demo) -> str:
    """Histograms of the last session against the controls, and the zones of the lung."""
    session = _last_session(demo, FOLLOWED)
    controls = [person.name for person in demo.people if person.group == "control"]
    figures = []
    for modality in ("T1w", "T2w"):
        own = demo.histogram(FOLLOWED, session, modality)
        others = [demo.histogram(name, "ses-01", modality) for name in controls]
        if own is not None and all(other is not None for other in others):
            ax = plot_histogram(
                own["lung"], controls=[other["lung"] for other in others if other is not None],
                name=f"{FOLLOWED}, last day", quantity=f"{modality} lung-to-muscle ratio (1)",
            )  # fmt: skip
            figures.append(captioned(ax, f"{modality}: every voxel of the lung against the controls'."))
    for modality, measure in (("T2w", "signal_ratio_median"), ("ct", "ground_glass_fraction")):
        rows = demo.rows[(demo.rows["subject"] == FOLLOWED)]
        ax = plot_zones(
            rows, measure, modality=modality, controls=demo.rows[demo.rows["subject"].isin(controls)],
        )  # fmt: skip
        figures.append(captioned(ax, f"{modality} {measure.replace('_', ' ')} by zone, three dates, controls as dots."))
    return f'<div class="pairs">{"".join(figures)}</div>'


def run_facts(demo: Demo) -> str:
    took = ", ".join(f"{escape(step)} {seconds:.0f} s" for step, seconds in demo.seconds.items())
    analysis = demo.analysis
    before = f", {analysis.skipped} taken over from an earlier run" if analysis.skipped else ""
    failures = [[f["subject"], f["session"], f["modality"], f["error"]] for f in analysis.failures]
    return (
        f"<p>Time taken: {took}. {analysis.measured} sessions measured{before}; {len(demo.rows)} rows.</p>"
        "<p>Beside this page: <code>cohort/</code>, the images and tables with <code>cohort/truth/</code>; "
        "<code>results/</code>, with <code>measures.tsv</code>, masks, maps and provenance.</p>"
        + (
            html_table(["participant", "session", "image", "why it could not be measured"], failures)
            if failures
            else ""
        )
    )


def readings(demo: Demo) -> str:
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
        "as well.</p>" + html_table(["participant", "session", "true phase", "read as", "margin (1)", "reasons"], rows)
    )


@dataclass(frozen=True, eq=False)
class Panel:
    image: Volume
    label: str
    overlays: dict[str, Any]


def row_of_slices(
    panels: Sequence[Panel], *, window: tuple[float, float], limits: tuple[float, float] | None = None
) -> Axes:
    """Coronal slices through the middle of the lungs side by side, one window and one colour bar."""
    axes = new_figure(2.5 * len(panels) + 0.6, 2.6).subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        plot_slice(
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


def captioned(drawn: Axes, caption: str) -> str:
    return f"<figure>{to_html(drawn, dpi=110)}<figcaption>{escape(caption)}</figcaption></figure>"


def html_table(head: Iterable[str], rows: Iterable[Sequence[str]], *, numbers_from: int = 99) -> str:
    """A table of plain text, which is escaped here; columns from ``numbers_from`` on are set right."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = []
    for row in rows:
        cells = "".join(
            f"<td{' class=number' if n >= numbers_from else ''}>{escape(cell)}</td>" for n, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


STYLE = """
figure { margin: 1.2em 0; } figcaption { font-size: 13px; color: var(--soft); } figure img { display: block; }
.scroll { overflow-x: auto; } td.number { text-align: right; white-space: nowrap; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 1.5rem; }
.wide { margin: 1em 0; }
@media print { .wide button, .wide select { display: none; } .scroll { overflow: visible; } table { font-size: 8pt; } }
main table { font-size: 13px; } th, td { padding: 0.3em 0.4em; } td:first-child { white-space: nowrap; }
"""
