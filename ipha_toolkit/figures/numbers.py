"""Figures of what was measured in one image: histograms, the T1w and T2w signature, zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.errors import DataError
from ipha_toolkit.figures.core import (
    CONTROL_INK,
    SERIES_COLOURS,
    colour_bars,
    describe,
    legend_above,
    literal,
    new_figure,
    plain,
)
from ipha_toolkit.measure.hemosiderin import JOINT_EDGES, SignatureReference
from ipha_toolkit.measure.histogram import BIN_EDGES, quantile_of, weighted_quantile
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Region
from ipha_toolkit.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_BESIDE = ((-6, 4, "right"), (7, -3, "left"), (7, -6, "left"), (0, -12, "center"))
"""Where the amounts of each course stand beside its points, in points."""

_ZONES = [str(region) for region in Region if region != Region.LUNG]


def plot_histogram(
    counts: npt.ArrayLike,
    *,
    controls: Iterable[npt.ArrayLike] = (),
    edges: npt.ArrayLike = BIN_EDGES,
    name: str = "subject",
    quantity: str = "lung-to-muscle ratio (1)",
    threshold: float | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Histogram of lung signal against those of controls.

    Parameters
    ----------
    counts : array_like, shape (n,)
        Voxels by bin, as a column of :func:`ipha_toolkit.measure.signal.ratio_histogram`.
    controls : iterable of array_like, shape (n,)
        The same of each control: a line each up to four, their range as a band from five on.
    edges : array_like, shape (n + 1,)
        Of the bins; the last may be infinite, what lies beyond is in no bar.
    name, quantity : str
        What the histogram is of; the quantity with its unit, for the axis.
    threshold : float, optional
        Marked by a line.
    bins : int
        Bars over the range of values; whole bins of ``edges`` are put together.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with the medians, and the share at or above the threshold.

    Raises
    ------
    ValueError
        Where there is no voxel, or counts and edges do not match.
    """
    border = np.asarray(edges, float)
    each = [np.asarray(c, float) for c in (counts, *controls)]
    if any(c.shape != (border.size - 1,) for c in each) or not all(c.sum() > 0 for c in each):
        raise ValueError(f"histograms need voxels in {border.size - 1} bins, got shapes {[c.shape for c in each]}")
    ax = ax or new_figure().subplots()
    low, high, share = _merged(each, border, bins)
    own, others = share[0], share[1:]
    if len(others) >= 5:
        bottom, top = (np.append(limit, 0) for limit in (others.min(axis=0), others.max(axis=0)))
        look: dict[str, Any] = {"step": "post", "color": CONTROL_INK, "alpha": 0.45, "lw": 0}
        ax.fill_between(np.append(low, high[-1]), bottom, top, label=f"{len(others)} controls, range", **look)
    else:
        for order, one in enumerate(others):
            label = f"{len(others)} control{'s' if len(others) > 1 else ''}" if not order else None
            ax.stairs(one, np.append(low, high[-1]), color=CONTROL_INK, lw=1.2, label=label)
    ax.stairs(own, np.append(low, high[-1]), color=SERIES_COLOURS[0], lw=2, label=name)
    if threshold is not None:
        ax.axvline(threshold, color=SERIES_COLOURS[1], ls="--", lw=1.2, label=f"threshold {number(threshold)}")
    ax.set(
        xlabel=quantity, ylabel=f"lung voxels (% per {high[0] - low[0]:.3g})", ylim=(0, None), xlim=(low[0], high[-1])
    )
    legend_above(plain(ax))
    return describe(ax, _histogram_words(each, border, name, quantity, threshold))


def plot_signature(
    histogram: pd.DataFrame,
    line: SignatureReference,
    *,
    floor: float = np.nan,
    name: str = "subject",
    region: str = Region.LUNG,
    protocol: Protocol = DEFAULT,
    ax: Axes | None = None,
) -> Axes:
    """T2w against T1w of every lung voxel, with the line that water follows and the four quadrants named.

    Parameters
    ----------
    histogram : DataFrame
        As of :func:`ipha_toolkit.measure.hemosiderin.joint_histogram`.
    line : SignatureReference
    floor : float
        T2w ratio that is not told from noise (measure ``signature_floor``); NaN where it is not known.
    name, region : str
    protocol : Protocol
        ``signature.threshold_sd``: where the signature begins.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with the share of voxels in each quadrant.

    Raises
    ------
    ValueError
        Where the region holds no voxel.
    """
    counts = histogram[region].to_numpy(float)
    if not counts.sum() > 0:
        raise ValueError(f"{name}: no voxel in the region {region}")
    t1, t2 = histogram["t1w"].to_numpy(), histogram["t2w"].to_numpy()
    right, top = (1.15 * weighted_quantile(v, counts, 0.995) for v in (t1, t2))
    right, top = max(right, 0.1), max(top, line.slope * right)
    ax = ax or new_figure(6.4, 5.0).subplots()
    weights = 100 * counts / counts.sum()
    _, _, _, drawn = ax.hist2d(t1, t2, bins=JOINT_EDGES, weights=weights, cmap="cividis", cmin=1e-9)
    colour_bars(ax, [(drawn, "lung voxels (% per bin)")])
    silent = np.nan_to_num(floor) / line.slope
    x = np.linspace(silent, right, 50)
    limit = np.exp(-protocol.signature.threshold_sd * line.spread)
    ax.plot(x, line.slope * x, color=SERIES_COLOURS[1], lw=2)
    ax.plot(x, limit * line.slope * x, color=SERIES_COLOURS[1], lw=1.2, ls="--")
    ax.axvline(silent, color=CONTROL_INK, lw=1.2, ls=":")
    below, evidence = line.below(t1, t2), line.predicted(t1) >= np.nan_to_num(floor)
    inside = {
        "no evidence": ~evidence,
        "above the line: free water": evidence & (below < -protocol.signature.threshold_sd),
        "on the line: water": evidence & (np.abs(below) <= protocol.signature.threshold_sd),
        "below the line: T2w missing": evidence & (below > protocol.signature.threshold_sd),
    }
    shares = {words: 100 * counts[chosen].sum() / counts.sum() for words, chosen in inside.items()}
    places = (
        (0.02, 0.98, "left", "top"), (0.35, 0.98, "left", "top"),
        (0.98, 0.62, "right", "center"), (0.98, 0.04, "right", "bottom"),
    )  # fmt: skip
    for (words, share), (u, v, ha, va) in zip(shares.items(), places, strict=True):
        label = f"{words}\n{share:.0f} %"
        box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5}
        ax.text(u, v, label, transform=ax.transAxes, ha=ha, va=va, fontsize=8, bbox=box)
    ax.set(xlabel="T1w ratio to muscle (1)", ylabel="T2w ratio to muscle (1)", xlim=(0, right), ylim=(0, top))
    ax.set_title(name, fontsize=9, parse_math=False)
    listed = "; ".join(f"{words} {share:.0f} %" for words, share in shares.items())
    return describe(
        plain(ax),
        f"{name}: joint histogram of T1w and T2w ratio to muscle, line of water T2w = {line.slope:.2f} T1w; {listed}.",
    )


def plot_states(states: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """T2w against T1w as a lung fills with water, iron or methemoglobin, beside the straight line of its first state.

    Parameters
    ----------
    states : mapping of str to DataFrame
        What is added, and columns ``t1w``, ``t2w`` (ratio to muscle) and ``amount`` (written beside each point), from
        little to much. The first row of the first is the healthy lung, whose T2w over T1w is the line.
    ax : Axes, optional

    Returns
    -------
    Axes
        Both axes logarithmic, so that the distance below the line is the same everywhere; described with T2w over T1w,
        that of the healthy lung being 1, at the end of each course.
    """
    from matplotlib.ticker import LogLocator

    ax = ax or new_figure(6.4, 5.0).subplots()
    healthy = next(iter(states.values())).iloc[0]
    slope = healthy["t2w"] / healthy["t1w"]
    everything = pd.concat(states.values())
    ends = np.array([0.85 * everything["t1w"].min(), 1.25 * everything["t1w"].max()])
    ax.plot(ends, slope * ends, color=CONTROL_INK, lw=1.2, ls="--", label="line of the healthy lung")
    rises = []
    for number_of, (name, course) in enumerate(states.items()):
        colour = SERIES_COLOURS[number_of % len(SERIES_COLOURS)]
        ax.plot(course["t1w"], course["t2w"], color=colour, marker="os^D"[number_of % 4], ms=5, lw=1.8, label=name)
        x, y, side = _BESIDE[number_of % len(_BESIDE)]
        for amount, t1w, t2w in course[["amount", "t1w", "t2w"]].iloc[1:].to_numpy(float):
            ax.annotate(
                f"{amount:g}", (t1w, t2w), (x, y), textcoords="offset points", color=colour, fontsize=7, ha=side
            )
        last = course.iloc[-1]
        rises.append(f"{name} {last['amount']:g}: {number(last['t2w'] / last['t1w'] / slope)}")
    ax.set(xscale="log", yscale="log", xlabel="T1w ratio to muscle (1)", ylabel="T2w ratio to muscle (1)")
    ax.set(xlim=ends, ylim=(0.7 * everything["t2w"].min(), 1.4 * everything["t2w"].max()))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    legend_above(plain(ax))
    return describe(
        ax,
        "T2w against T1w ratio to muscle on logarithmic axes, one course for each thing added to a lung; T2w over T1w, "
        f"healthy lung 1, at the end: {'; '.join(rises)}.",
    )


def _merged(each: Sequence[npt.NDArray[Any]], edges: npt.NDArray[Any], bins: int) -> tuple[Any, Any, Any]:
    """Lower and upper edges and % of voxels of wider bins, from where the first to where the last 0.2 % lies."""
    total = np.sum([c / c.sum() for c in each], axis=0)[: np.isfinite(edges[1:]).sum()]
    cumulative = np.cumsum(total) / total.sum()
    first, last = np.searchsorted(cumulative, 0.002), np.searchsorted(cumulative, 0.998) + 1
    width = max(1, int(np.ceil((last - first) / bins)))
    starts = np.arange(first, last, width)
    stops = np.minimum(starts + width, total.size)
    share = [[100 * c[a:b].sum() / c.sum() for a, b in zip(starts, stops, strict=True)] for c in each]
    return edges[starts], edges[stops], np.array(share)


def _histogram_words(
    each: Sequence[npt.NDArray[Any]], edges: npt.NDArray[Any], name: str, quantity: str, threshold: float | None
) -> str:
    medians = [quantile_of(c, edges, 0.5) for c in each]
    parts = [f"Histogram of {quantity}. {name}: median {number(medians[0])}"]
    if len(each) > 1:
        spread = f"{number(min(medians[1:]))} to {number(max(medians[1:]))}" if len(each) > 2 else number(medians[1])
        parts.append(f"{len(each) - 1} control{'s' if len(each) > 2 else ''}: median {spread}")
    if threshold is not None:
        above = each[0].sum() - np.interp(threshold, edges, np.append(0, np.cumsum(each[0])))
        parts.append(f"{100 * above / each[0].sum():.1f} % of voxels at or above the threshold of {number(threshold)}")
    return "; ".join(parts) + "."


def plot_zones(
    rows: pd.DataFrame,
    measure: str,
    *,
    modality: str | None = None,
    controls: pd.DataFrame | None = None,
    regions: Sequence[str] = _ZONES,
    ax: Axes | None = None,
) -> Axes:
    """Bars of one measure by zone of the lung, one colour a session, controls as dots.

    HU have no natural zero to stand on: they are drawn as marks in place of bars.

    Parameters
    ----------
    rows : DataFrame
        Measurement rows (the long table) of one or a few sessions.
    measure : str
        A name of the catalogue, :data:`ipha_toolkit.catalogue.MEASURES`.
    modality : str, optional
        Needed where the rows hold the measure of several.
    controls : DataFrame, optional
        Rows of the controls.
    regions : sequence of str
        Zones in the order of the bars; those without any row are left out.
    ax : Axes, optional

    Returns
    -------
    Axes
        Described with every value; a zone measured without an answer (NaN) says "no value".

    Raises
    ------
    DataError
        Where no row is of this measure and these regions.
    ValueError
        Where the modality is ambiguous.
    """
    own = _rows_of(rows, measure, modality, regions)
    kind = str(own["modality"].iloc[0])
    unit = MEASURES[measure].unit if measure in MEASURES else str(own["unit"].iloc[0])
    zones = [zone for zone in regions if zone in set(own["region"])]
    groups = list(own.groupby(["subject", "session"], sort=False))
    ax = ax or new_figure(max(4.5, 0.9 * len(zones) + 1.5), 3.6).subplots()
    width = 0.8 / len(groups)
    words = []
    for order, (key, group) in enumerate(groups):
        value = group.groupby("region")["value"].first().reindex(zones)
        at = np.arange(len(zones)) + (order - (len(groups) - 1) / 2) * width
        name = " ".join(filter(None, map(str, key))) or kind
        colour = SERIES_COLOURS[order % len(SERIES_COLOURS)]
        if unit == "HU":
            ax.plot(at, value, "D", ms=7, color=colour, label=literal(name))
        else:
            ax.bar(at, value.fillna(0), 0.92 * width, color=colour, label=literal(name))
        for x in at[value.isna()]:
            _say_missing(ax, x)
        words.append(f"{name}: " + ", ".join(f"{zone} {number(v)}" for zone, v in value.items()))
    if controls is not None:
        words.append(_control_dots(ax, _rows_of(controls, measure, kind, zones), zones))
    title = measure.replace("_", " ")
    if unit != "HU":
        ax.axhline(0, color="black", lw=0.8)
    ax.set(ylabel=f"{title} ({unit})", xlabel="zone of the lung")
    ax.set_xticks(range(len(zones)), zones)
    legend_above(plain(ax))
    return describe(ax, f"Bars of {kind} {title} ({unit}) by zone. " + "; ".join(words) + ".")


def _say_missing(ax: Axes, x: float) -> None:
    """At the foot of the Axes, whatever its scale."""
    ax.text(
        x, 0.02, "no value", rotation=90, ha="center", va="bottom", size=8, color="#444444",
        transform=ax.get_xaxis_transform(),
    )  # fmt: skip


def _rows_of(rows: pd.DataFrame, measure: str, modality: str | None, regions: Sequence[str]) -> pd.DataFrame:
    rows = usable(rows)
    found = rows[(rows["measure"] == measure) & rows["region"].isin(list(regions))]
    found = found if modality is None else found[found["modality"] == modality]
    kinds = sorted(set(found["modality"].astype(str)))
    if not kinds:
        raise DataError(f"zones of {measure!r}: no row of regions {list(regions)} (modality={modality!r})")
    if len(kinds) > 1:
        raise ValueError(f"zones of {measure!r}: several modalities {kinds}: choose one (modality={modality!r})")
    return found


def _control_dots(ax: Axes, rows: pd.DataFrame, zones: Sequence[str]) -> str:
    """Every control's value beside the bars; returns them in words."""
    known = rows.dropna(subset=["value"])
    n = known["subject"].nunique()
    place = known["region"].map({zone: order for order, zone in enumerate(zones)})
    ax.scatter(
        place, known["value"], s=16, color="white", edgecolors="black", linewidths=0.8, zorder=3, label=f"{n} controls"
    )
    spans = known.groupby("region")["value"].agg(["min", "max"]).reindex(list(zones)).dropna()
    said = ", ".join(f"{zone} {number(low)} to {number(high)}" for zone, (low, high) in spans.iterrows())
    return f"{n} controls: {said}"
