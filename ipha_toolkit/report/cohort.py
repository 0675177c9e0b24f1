"""The page of any results folder: who was measured, what was found, how it looks, and what failed.

A section is a function of :class:`Shown` that returns HTML, empty where the results hold nothing of its kind;
:data:`SECTIONS` is their order. Nothing is computed here but means over sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, versus_controls
from ipha_toolkit.compare.matching import Matching
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.figures.cohort import plot_groups
from ipha_toolkit.figures.core import new_figure, to_html
from ipha_toolkit.figures.numbers import plot_histogram, plot_signature, plot_zones
from ipha_toolkit.io.files import read_json
from ipha_toolkit.io.names import PAIR, POOLING, SITES, without_files
from ipha_toolkit.io.people import may_be_told
from ipha_toolkit.io.results import Results, SessionResults
from ipha_toolkit.measure.hemosiderin import SignatureReference, signature_reference
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report import pictures, words
from ipha_toolkit.report.pieces import Panel, captioned, html_table, or_why_not, row_of_slices, write_sections
from ipha_toolkit.report.readings import READING, readings_table
from ipha_toolkit.volume import Volume
from ipha_toolkit.wording import column_words, minus, number, signed

MEASURES_SHOWN = (
    ("T1w", "signal_ratio_median"), ("T1w", "hyperintense_fraction"),
    ("T2w", "signal_ratio_median"), ("T2w", "hypointense_fraction"), ("T2w", "noise_floor_share"),
    (PAIR, "signature_fraction"), (PAIR, "signature_strength"), (PAIR, "signature_no_evidence"),
    ("MEGRE", "r2star_median"), ("MEGRE", "r2star_censored_share"),
    ("ct", "attenuation_mean"), ("ct", "ground_glass_fraction"), ("ct", "consolidation_fraction"),
    ("ct", "high_attenuation_area"), ("ct", "lung_volume"),
    ("dx", "film_opacity_mean"), ("dx", "film_consolidation_fraction"), ("dx", "film_reticular_score"),
)  # fmt: skip
"""Measures of the table by group: modality and name; those without a row are left out."""

MEASURES_PLOTTED = (
    ("T1w", "signal_ratio_median"), ("T2w", "signal_ratio_median"), (PAIR, "signature_strength"),
    ("MEGRE", "r2star_median"), ("ct", "ground_glass_fraction"), ("ct", "high_attenuation_area"),
    ("dx", "film_opacity_mean"),
)  # fmt: skip
"""Measures of the plots by group."""

CONTROL = "control"
PHASES = ("none", "acute", "subacute", "chronic")
_SEQUENCE = {"T1w": "T1w MRI", "T2w": "T2w MRI", "ct": "CT"}
_GROUPED = ["subject", "session", "group"]
_MOST_SESSIONS = 4
_MOST_ROWS = 60
_MOST_SITES = 30


@dataclass(frozen=True)
class Shown:
    """What the page shows: the results, and the sessions that are shown as pictures, each under a label."""

    results: Results

    @cached_property
    def protocol(self) -> Protocol:
        """The settings that the results were made with."""
        return self.results.protocol

    @cached_property
    def participants(self) -> pd.DataFrame:
        """Who is in the cohort, by participant; empty where the cohort folder is not at hand or does not say."""
        try:
            return self.results.participants.set_index("participant_id")
        except LayoutError:
            return pd.DataFrame()

    @cached_property
    def visits(self) -> pd.DataFrame:
        """What the clinic knows of each session, by subject and session; empty where it says nothing."""
        try:
            return self.results.visits.set_index(["subject", "session"])
        except LayoutError:
            return pd.DataFrame()

    def is_control(self, subject: str) -> bool:
        """Whether the participants' table puts the subject among the controls."""
        return str(self._cell(self.participants, subject, "group")).strip().lower() in (CONTROL, "controls")

    def group(self, session: SessionResults) -> str:
        """Controls, or the phase that the clinic gives the session, else the participant's group."""
        if self.is_control(session.subject):
            return CONTROL
        phase = self._cell(self.visits, (session.subject, session.session), "phase")
        return str(phase or self._cell(self.participants, session.subject, "group") or "no group")

    def label(self, session: SessionResults) -> str:
        """``control``; ``day 8, subacute``; or the session's own name."""
        if self.is_control(session.subject):
            return CONTROL
        day = self._cell(self.visits, (session.subject, session.session), "days")
        known = f"day {float(day):.0f}" if day not in ("", None) else session.session or session.subject
        return f"{known}, {self.group(session)}"

    @cached_property
    def pictured(self) -> bool:
        """Whether the images are at hand: without the cohort folder a page has numbers alone."""
        return self.results.has_cohort

    @cached_property
    def followed(self) -> list[SessionResults]:
        """Sessions with slices of the patient who has most of them, some four over the whole time."""
        own: dict[str, list[SessionResults]] = {}
        for session in self.results if self.pictured else ():
            if set(session.modalities) & set(_SEQUENCE):
                own.setdefault(session.subject, []).append(session)
        patients = {who: found for who, found in own.items() if not self.is_control(who)} or own
        most = max(patients.values(), key=len, default=[])
        at = np.unique(np.linspace(0, max(len(most) - 1, 0), min(len(most), _MOST_SESSIONS)).round().astype(int))
        return [most[n] for n in at] if most else []

    @cached_property
    def seen(self) -> list[tuple[SessionResults, str]]:
        """The sessions shown side by side: a control where there is one, then those of one patient."""
        controls = [one for one in self.controls if set(one.modalities) & set(_SEQUENCE)]
        chosen = [*controls[:1], *(one for one in self.followed if one not in controls)]
        return [(one, self.label(one)) for one in chosen]

    @cached_property
    def controls(self) -> list[SessionResults]:
        """Sessions of controls."""
        return [session for session in self.results if self.is_control(session.subject)]

    def window(self, modality: str) -> tuple[float, float]:
        """(level, width): the lung window of CT; in MRI from black to the level of muscle."""
        if modality == "ct":
            return (-600.0, 1500.0)
        rows = self.results.rows
        top = float(rows.loc[(rows["modality"] == modality) & (rows["measure"] == "reference_level"), "value"].median())
        return (top / 2, top)

    @staticmethod
    def _cell(table: pd.DataFrame, key: Any, column: str) -> Any:
        if column not in table.columns or key not in table.index:
            return ""
        value: Any = table[column].loc[key]
        return "" if isinstance(value, pd.Series) or pd.isna(value) else value


def report(results: str | Path | Results, out: str | Path) -> Path:
    """Write the page of a results folder; it asks the network for nothing.

    Parameters
    ----------
    results : path or Results
        As of :func:`ipha_toolkit.open_results`.
    out : path
        Of the HTML file, replaced where it exists.

    Returns
    -------
    Path

    Raises
    ------
    LayoutError
        Where the folder holds no results. Where the cohort folder has moved, the page has no pictures and says so.
    """
    from ipha_toolkit.io.results import open_results

    shown = Shown(results if isinstance(results, Results) else open_results(results))
    title = "Pulmonary hemosiderosis, measured"
    parts = [(name, section(shown)) for name, section in SECTIONS]
    return write_sections(out, title, _introduction(title, shown), parts, protocol=shown.protocol)


def _introduction(title: str, shown: Shown) -> str:
    results = shown.results
    subjects, images = {one.subject for one in results}, sum(len(one.modalities) for one in results)
    failed = len(results.failures)
    whole = "All of it was measured" if not failed else f"{failed} could not be measured and are listed at the end"
    moved = "" if shown.pictured else (
        " The cohort folder is not where it was, so there are no pictures here and no groups: name it with --cohort."
    )  # fmt: skip
    return (
        f"<h1>{escape(title)}</h1><p>{_counted(len(subjects), 'participant')}, {_counted(len(results), 'session')}, "
        f"{_counted(images, 'image')}. {whole}."
        f"{moved} "
        "For research, not for diagnosis.</p>"
    )


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def people(shown: Shown) -> str:
    """Every session, what the clinic knows of it, and which images were measured."""
    visits, participants = shown.visits.reset_index(), shown.participants.reset_index()
    sessions = pd.DataFrame(
        [[one.subject, one.session, ", ".join(one.modalities)] for one in shown.results],
        columns=["subject", "session", "images"],
    )
    table = sessions
    if "participant_id" in participants:
        table = table.merge(participants.rename(columns={"participant_id": "subject"}), on="subject", how="left")
    if "subject" in visits:
        table = table.merge(visits, on=["subject", "session"], how="left")
    told = [str(name) for name in table.columns if name in sessions or may_be_told(str(name), table[name])]
    unsaid = ", ".join(escape(str(name)) for name in table.columns if name not in told)
    table = table[told]
    cells = [[_cell(value) for value in row] for row in table.head(_MOST_ROWS).itertuples(index=False)]
    left = f"<p>{len(table) - _MOST_ROWS} more sessions are in the tables.</p>" if len(table) > _MOST_ROWS else ""
    left += f"<p>Not shown, as they might say who someone is: the columns {unsaid}.</p>" if unsaid else ""
    heads = [column_words(str(name)) for name in table.columns]
    return html_table([f"{label} ({unit})" if unit else label for label, unit in heads], cells) + left


def _cell(value: object) -> str:
    if isinstance(value, float):
        return minus(f"{value:g}") if np.isfinite(value) else "no value"
    return "no value" if value is None or value is pd.NA else str(value)


@or_why_not
def looks(shown: Shown) -> str:
    """The sessions shown, in each modality, the lung mask outlined."""
    figures = []
    for modality, name in _SEQUENCE.items():
        panels = [
            Panel(one.image(modality), label, {"lung": one.mask(modality)})
            for one, label in shown.seen if one.has(modality, "lung")
        ]  # fmt: skip
        if panels:
            drawn = row_of_slices(panels, window=shown.window(modality))
            figures.append(captioned(drawn, f"{name}, coronal, the lung mask found outlined; one window for all."))
    if not figures:
        return ""
    return (
        f"<p>{escape(_who(shown))} MRI is windowed for the lung, up to the level of muscle. A healthy lung is dark on "
        "T2w as well: darkness alone proves nothing.</p>" + "".join(figures)
    )


def _who(shown: Shown) -> str:
    patient = f"{shown.followed[0].subject} on {len(shown.followed)} dates" if shown.followed else ""
    control = shown.controls[0].subject if shown.controls else ""
    return f"{control}, a control, and {patient}." if control and patient else f"{patient or control}."


def group_plots(shown: Shown) -> str:
    """A plot by group of the first measures of the table that are there."""
    rows = shown.results.rows
    sessions = pd.DataFrame([[one.subject, one.session, shown.group(one)] for one in shown.results], columns=_GROUPED)
    order = {name: n for n, name in enumerate((CONTROL, *PHASES))}
    sessions = sessions.sort_values("group", key=lambda names: names.map(lambda name: (order.get(name, 9), name)))
    there = set(zip(rows["modality"], rows["measure"], strict=True))
    figures = [
        to_html(plot_groups(rows, sessions, measure=measure, modality=modality), dpi=100)
        for modality, measure in MEASURES_PLOTTED if (modality, measure) in there
    ]  # fmt: skip
    if not figures:
        return ""
    return (
        "<p>A dot is a session, a line the median of its group; grey: the range of the controls. Sessions of one "
        f'patient are not independent.</p><div class="pairs">{"".join(figures)}</div>'
    )


def by_group(shown: Shown) -> str:
    """Mean by group, with the mean distance from the controls."""
    groups = {(one.subject, one.session): shown.group(one) for one in shown.results}
    rows = usable(shown.results.rows)
    rows = rows[rows["region"] == "lung"].copy()
    rows["group"] = [groups[key] for key in zip(rows["subject"], rows["session"], strict=True)]
    present = set(groups.values())
    known = [name for name in (CONTROL, *PHASES) if name in present]
    columns = [*known, *sorted(present - set(known))]
    films = {(one.subject, one.session) for one in shown.results if one.modalities == ["dx"]}
    counts = {name: sum(found == name and key not in films for key, found in groups.items()) for name in columns}
    table = []
    for modality, measure in MEASURES_SHOWN:
        own = rows[(rows["modality"] == modality) & (rows["measure"] == measure)]
        if own.empty:
            continue
        away = rows[(rows["modality"] == modality) & (rows["measure"] == versus_controls(measure))]
        entry = MEASURES[measure]
        unit = "" if entry.unit == "1" else f" ({entry.unit})"
        worse = {"higher": "higher is worse", "lower": "lower is worse"}.get(str(entry.worse), "")
        cells = [_group_cell(own, away, name) for name in columns]
        table.append([modality, measure.replace("_", " ") + unit, worse, *cells])
    head = ["image", "measure", "direction", *(f"{name} (n = {counts[name]})" for name in columns)]
    alone = (
        f" n leaves out {len(films)} sessions with a radiograph alone, which are in the rows of dx." if films else ""
    )
    return (
        "<p>Mean of the sessions of each group in the whole lung; controls with their range. SD: mean distance outside "
        "the controls that match, in standard deviations of many people, by Crawford and Howell's t: few controls give "
        f"small distances. With a handful of sessions these are examples, not statistics.{alone}"
        "</p>" + html_table(head, table, numbers_from=3)
        + "<p>T1w signal rises with water, blood and methemoglobin alike: gain is not T1 shortening. Ratios to muscle "
        "depend on coil and sequence.</p>"
    )  # fmt: skip


def _group_cell(own: pd.DataFrame, away: pd.DataFrame, group: str) -> str:
    values = own.loc[own["group"] == group, "value"].dropna()
    if values.empty:
        return "no value"
    if group == CONTROL:
        return f"{number(values.mean())} ({number(values.min())} to {number(values.max())})"
    distance = away.loc[away["group"] == group, "value"].dropna()
    return number(values.mean()) + (f" ({signed(distance.mean())} SD)" if len(distance) else "")


@or_why_not
def maps(shown: Shown) -> str:
    """The ratio to muscle of the sessions shown, one scale, and R2*."""
    figures = []
    for modality in ("T1w", "T2w"):
        panels = [
            Panel(one.image(modality), label, {"ratio to muscle": _inside(one, modality)})
            for one, label in shown.seen if one.has(modality, "ratio") and one.has(modality, "lung")
        ]  # fmt: skip
        if panels:
            drawn = row_of_slices(panels, limits=(0.0, 0.5), window=shown.window(modality))
            figures.append(captioned(drawn, f"{modality} signal of the lung over that of muscle, 0 to 0.5."))
    return "".join(figures) + _r2star(shown)


def _inside(session: SessionResults, modality: str) -> Volume:
    ratio = session.map(modality)
    return ratio.replace(array=np.where(session.mask(modality).array, ratio.array, np.nan))


def _r2star(shown: Shown) -> str:
    seen = [(one, label) for one, label in shown.seen if one.has("MEGRE", "r2star")]
    if not seen:
        return ""
    panels = [Panel(one.image("MEGRE"), label, {"R2*": one.map("MEGRE", "r2star")}) for one, label in seen]
    top = float(np.median([np.percentile(panel.image.array, 90) for panel in panels]))
    drawn = row_of_slices(panels, limits=(0.0, 1500.0), window=(top / 2, top))
    return (
        "<p>R2* of several gradient echoes: some 500 to 1000 1/s in healthy lung, from the borders of air and tissue. "
        "Filled air space lowers it and iron raises it, so it is read beside density and the ratios; voxels that no "
        "echo lifts above the noise have none. It is no iron concentration.</p>"
        + captioned(drawn, "R2* of the lung, 0 to 1500 1/s, on the first echo.")
    )


@or_why_not
def signature(shown: Shown) -> str:
    """T2w against T1w of the sessions shown, and where T2w lies below the line."""
    rows = shown.results.rows
    floors = rows[rows["measure"] == "signature_floor"].set_index(["subject", "session"])["value"]
    seen = [(one, label) for one, label in shown.seen if (one.subject, one.session) in floors.index]
    if not seen:
        return ""
    line = _line(shown, seen)
    if line is None:
        return _without_line(seen)
    panels, joint = [], []
    for one, label in seen:
        ax, floor = new_figure(5.0, 3.6).subplots(), float(floors[one.subject, one.session])
        plot_signature(one.histogram(PAIR), line, floor=floor, name=label, protocol=shown.protocol, ax=ax)
        joint.append(to_html(ax, dpi=110))
        if one.has("T1w", "signature"):
            panels.append(Panel(one.image("T1w"), label, {"T2w missing": _below(one, line)}))
    caption = "T2w below the line, in SD of the controls' voxels about it; above it where negative."
    drawn = row_of_slices(panels, limits=(-6.0, 6.0), window=shown.window("T1w")) if panels else None
    return (
        "<p>Water alone raises T1w and T2w together, along a line that the controls give; hemosiderin takes T2w away. "
        "So a voxel is asked how far its T2w lies below what its T1w predicts, in the scatter of the controls' voxels, "
        "and only where that prediction stands above the noise. It is missing signal, no concentration of iron: water "
        "hides iron, and methemoglobin looks like it.</p>"
        + f'<div class="pairs">{"".join(joint)}</div>'
        + "<p>All voxels of the lung. Dashed: where the signature begins; left of dotted: no evidence.</p>"
        + (captioned(drawn, caption) if drawn else "")
    )


def _line(shown: Shown, seen: list[tuple[SessionResults, str]]) -> SignatureReference | None:
    """The line of the controls that were scanned as the last session shown; None where there are none."""
    keys = [(one.subject, one.session) for one in shown.controls if PAIR in set(one.rows["modality"])]
    last = seen[-1][0]
    matching = Matching(keys, shown.results.acquisitions, protocol=shown.protocol).of(last.subject, last.session, PAIR)
    found = [one.histogram(PAIR) for one in shown.controls if (one.subject, one.session) in matching.sessions]
    return signature_reference(found) if found else None


def _below(session: SessionResults, line: SignatureReference) -> Volume:
    """The map of the log ratio, set against the line: its distance below it in voxel SD."""
    ratio = session.map("T1w", "signature")
    below = (ratio.array + np.float32(np.log(line.slope))) / np.float32(line.spread)
    return ratio.replace(array=below, unit="SD")


def _without_line(seen: list[tuple[SessionResults, str]]) -> str:
    names = ", ".join(one.subject for one, _ in seen)
    return (
        f"<p>No control was scanned with the sequences of {escape(names)}: T2w below what T1w predicts needs "
        "the line of such controls, so there are ratios and maps, but no strength and no finding.</p>"
    )


@or_why_not
def distributions(shown: Shown) -> str:
    """Histograms of the last session against the controls, and the zones of the lung."""
    if not shown.followed:
        return ""
    last, figures, zones = shown.followed[-1], [], []
    rows = usable(shown.results.rows)
    controls = rows[rows["subject"].isin({one.subject for one in shown.controls})]
    for modality in [name for name in ("T1w", "T2w") if name in last.modalities]:
        others = [
            one.histogram(modality)["lung"]
            for one in shown.controls
            if modality in one.modalities and one.is_usable(modality)
        ]
        ax = plot_histogram(
            last.histogram(modality)["lung"], controls=others, name=f"{last.subject}, {shown.label(last)}",
            quantity=f"{modality} lung-to-muscle ratio (1)",
        )  # fmt: skip
        figures.append(captioned(ax, f"{modality}: every voxel of the lung against the controls'."))
    own = rows[rows["subject"] == last.subject]
    for modality, measure in (("T2w", "signal_ratio_median"), ("ct", "ground_glass_fraction")):
        if _has(own, modality, measure):
            against = controls if _has(controls, modality, measure) else None  # they may have had other images
            ax = plot_zones(own, measure, modality=modality, controls=against)
            zones.append(captioned(ax, f"{modality} {measure.replace('_', ' ')} by zone; controls as dots."))
    return f'<div class="pairs">{"".join(figures)}</div>{"".join(zones)}'


def _has(rows: pd.DataFrame, modality: str, measure: str) -> bool:
    """Whether there is a usable row of a measure in an image."""
    counted = usable(rows)
    return bool(((counted["modality"] == modality) & (counted["measure"] == measure)).any())


def readings(shown: Shown) -> str:
    """The phase that the rules read from every session, with reasons."""
    found = shown.results.readings
    counts = found["verdict"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("given", "limited", "withheld"))
    table = readings_table(found.head(_MOST_ROWS))
    left = f"<p>{len(found) - _MOST_ROWS} more are in the tables.</p>" if len(found) > _MOST_ROWS else ""
    return f"<p>{READING}</p><p>Of {len(found)} readings: {said}.</p>{table}{left}"


def failures(shown: Shown) -> str:
    """What could not be measured, and why."""
    cells = shown.results.failures[["subject", "session", "modality", "error", "file"]].to_numpy().tolist()
    told = [[*row[:3], without_files(*row[3:])] for row in cells]
    head = ["participant", "session", "image", "why it failed (which file: failures.tsv)"]
    return html_table(head, told) if told else ""


def sites(shown: Shown) -> str:
    """What was pooled with what, and how differences hold when a site is left out."""
    if not (shown.results.path / POOLING).exists():
        return ""
    about = read_json(shown.results.file(POOLING))
    head = ["site", "participants", "controls", "sessions", "ages"]
    cells = [
        [name, *(str(one[key]) for key in ("participants", "controls", "sessions", "ages"))]
        for name, one in about["sites"].items()
    ]
    apart = "".join(f"<li>{escape(text)}</li>" for text in about["images made otherwise"])
    made = f"<p>Images were made otherwise:</p><ul>{apart}</ul>" if apart else "<p>Images were made alike.</p>"
    table = pd.read_csv(shown.results.file(SITES), sep="\t", keep_default_na=False, na_values=["n/a"])
    shown_rows = table[table["region"] == "lung"].sort_values("p").head(_MOST_SITES)
    rows = [
        [r["modality"], r["measure"].replace("_", " "), r["group"], f"{number(r['difference'])} {r['unit']}",
         f"{number(r['difference_low'])} to {number(r['difference_high'])}",
         f"{number(r['without_low'])} to {number(r['without_high'])} ({r['without_site']})", r["model"], r["values"]]
        for r in shown_rows.to_dict("records")
    ]  # fmt: skip
    titles = [
        "image",
        "measure",
        "group",
        "from controls",
        "95 %",
        "range with one site left out (who)",
        "model",
        "values",
    ]
    even = "".join(f"<li>{escape(text)}</li>" for text in about["harmonized"])
    made += f"<p>Values <b>harmonized by ComBat</b> stand beside those measured:</p><ul>{even}</ul>" if even else ""
    return (
        f"<p>Controls: {escape(about['said'])}.</p>" + html_table(head, cells) + made + html_table(titles, rows)
        + "<p>With fewer than five sites their spread is hardly known and intervals are too narrow. Pooling cannot "
        "mend what differs between sites unsaid: who is examined there, and how a scanner was tuned.</p>"
    )  # fmt: skip


SECTIONS: tuple[tuple[str, Callable[[Shown], str]], ...] = (
    ("Who was measured", people),
    ("What the images show", looks),
    ("Look for yourself", pictures.explorer),
    ("Measures by group", group_plots),
    ("Measures by group against controls", by_group),
    ("Maps", maps),
    ("T1w and T2w together", signature),
    ("Where in the lung", distributions),
    ("Readings", readings),
    ("Sites", sites),
    ("Masks for checking", pictures.masks),
    ("What could not be measured", failures),
    ("What the flags mean", words.flags),
    ("Methods", words.methods),
)
"""Title and maker of every section, in order; one that returns nothing is left out."""
