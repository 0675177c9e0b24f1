"""Second pass over a cohort: every measure against the controls, from rows and histograms, no image read.

Each control is left out of its own reference, so that controls can be compared as well. Fewer than the protocol's
number of controls is flagged; without any, the fractions fall back on the protocol's thresholds, flagged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, versus_controls
from ipha_toolkit.measure.hemosiderin import MODALITY as PAIR
from ipha_toolkit.measure.hemosiderin import SignatureReference, signature_reference, signature_rows
from ipha_toolkit.measure.histogram import pooled_quantile
from ipha_toolkit.measure.rows import flags_of, row, table
from ipha_toolkit.measure.signal import FRACTIONS, fraction_rows
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality, Region


@dataclass(frozen=True)
class SessionHistogram:
    """Ratio histogram of one image, ``counts`` as of :func:`ipha_toolkit.measure.signal.ratio_histogram`; or of T1w and
    T2w together (modality ``T1w+T2w``), as of :func:`ipha_toolkit.measure.hemosiderin.joint_histogram`."""

    subject: str
    session: str
    modality: str
    counts: pd.DataFrame
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """What the controls gave: who they are, the threshold of each modality (of T1w and T2w together, the slope of the
    line that water follows), and a hash of all that went in."""

    controls: tuple[str, ...]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""


def against_controls(
    rows: pd.DataFrame,
    histograms: Iterable[SessionHistogram],
    controls: Iterable[str],
    *,
    protocol: Protocol = DEFAULT,
) -> tuple[pd.DataFrame, Reference]:
    """Set every measure of every session against the controls.

    Parameters
    ----------
    rows : DataFrame
        Rows of the first pass of all sessions.
    histograms : iterable of SessionHistogram
        Ratio histograms of all T1w and T2w images, and of both together.
    controls : iterable of str
        Subjects of group ``control``.
    protocol : Protocol

    Returns
    -------
    rows : DataFrame
        ``hyperintense_fraction`` and ``hypointense_fraction`` by region, the hemosiderin signature, and for each
        measure m its ``m_vs_controls``: distance from the controls' mean in their standard deviations (0 = like
        controls).
    reference : Reference
    """
    histograms = list(histograms)
    members = tuple(sorted(set(controls) & set(rows["subject"])))
    fractions = [r for h in histograms if h.modality in FRACTIONS for r in _fractions(h, histograms, members, protocol)]
    fractions += _signatures(rows, histograms, members, protocol)
    complete = pd.concat([frame for frame in (rows, table(fractions)) if len(frame)] or [rows], ignore_index=True)
    scores = _scores(complete, members, protocol)
    thresholds = {
        str(modality): _threshold(modality, histograms, members, None, protocol)[0]
        for modality in FRACTIONS
        if any(histogram.modality == modality for histogram in histograms)
    }
    if any(histogram.modality == PAIR for histogram in histograms):
        thresholds[PAIR] = _line(histograms, members, None, protocol).slope
    return table([*fractions, *scores]), Reference(members, thresholds, _digest(complete, histograms, members))


def _threshold(
    modality: str, histograms: list[SessionHistogram], controls: Iterable[str], without: str | None, protocol: Protocol
) -> tuple[float, list[str]]:
    """Ratio threshold from the controls other than ``without``, with the flags it carries."""
    pooled: dict[str, npt.NDArray[np.float64]] = {}
    for histogram in histograms:
        if histogram.modality == modality and histogram.subject in controls and histogram.subject != without:
            counts = histogram.counts[Region.LUNG].to_numpy(float)
            pooled[histogram.subject] = pooled.get(histogram.subject, np.zeros(counts.shape)) + counts
    if not pooled:
        return FRACTIONS[Modality(modality)].threshold(protocol), ["no_controls"]
    flags = ["few_controls"] if len(pooled) < protocol.signal.few_controls else []
    return pooled_quantile(pooled.values(), FRACTIONS[Modality(modality)].controls_quantile(protocol)), flags


def _fractions(
    histogram: SessionHistogram, everyone: list[SessionHistogram], controls: tuple[str, ...], protocol: Protocol
) -> list[dict[str, object]]:
    threshold, flags = _threshold(histogram.modality, everyone, controls, histogram.subject, protocol)
    found = fraction_rows(histogram.counts, histogram.modality, threshold, [*histogram.flags, *flags])
    return [r | {"subject": histogram.subject, "session": histogram.session} for r in found]


def _signatures(
    rows: pd.DataFrame, histograms: list[SessionHistogram], controls: tuple[str, ...], protocol: Protocol
) -> list[dict[str, object]]:
    """Hemosiderin signature of every session, each control against the line of the others."""
    floors = rows[rows["measure"] == "signature_floor"].set_index(["subject", "session"])["value"]
    lines = {name: _line(histograms, controls, name, protocol) for name in (None, *controls)}
    found = []
    for h in histograms:
        if h.modality == PAIR:
            line = lines[h.subject if h.subject in controls else None]
            made = signature_rows(h.counts, line, floors[h.subject, h.session], flags=h.flags, protocol=protocol)
            found += [r | {"subject": h.subject, "session": h.session} for r in made]
    return found


def _line(
    histograms: list[SessionHistogram], controls: tuple[str, ...], without: str | None, protocol: Protocol
) -> SignatureReference:
    pooled: dict[str, list[pd.DataFrame]] = {}
    for h in histograms:
        if h.modality == PAIR and h.subject in controls and h.subject != without:
            pooled.setdefault(h.subject, []).append(h.counts)
    return signature_reference([pd.concat(frames) for frames in pooled.values()], protocol=protocol)


_KEY = ["modality", "region", "measure"]


def _scores(rows: pd.DataFrame, controls: tuple[str, ...], protocol: Protocol) -> list[dict[str, object]]:
    """Distance of each value from the mean of the other controls, in their standard deviations."""
    known = rows[rows["measure"].map(lambda name: MEASURES[name].compared) & rows["value"].notna()]
    means = _control_means(known, controls)
    by_measure: dict[tuple[str, ...], list[dict[str, object]]] = {}
    for record in known.to_dict("records"):
        key = (record["modality"], record["region"], record["measure"])
        by_measure.setdefault(key, []).extend(_score(record, means.get(key, {}), protocol))
    return [scored for group in by_measure.values() for scored in group]


def _control_means(known: pd.DataFrame, controls: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, float]]:
    """Mean of each control over its sessions, by modality, region and measure."""
    means = known[known["subject"].isin(controls)].groupby([*_KEY, "subject"])["value"].mean()
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for (*key, subject), mean in zip(means.index, means, strict=True):
        found.setdefault(tuple(key), {})[subject] = float(mean)
    return found


def _score(record: dict[Any, Any], means: Mapping[str, float], protocol: Protocol) -> list[dict[str, object]]:
    """The row of one value's score; none where fewer than two other controls have the measure."""
    others = [mean for subject, mean in means.items() if subject != record["subject"]]
    if len(others) < 2:
        return []
    spread = float(np.std(others, ddof=1))
    score = (record["value"] - float(np.mean(others))) / spread if spread > 0 else np.nan
    few = {"few_controls"} if len(others) < protocol.signal.few_controls else set()
    scored = row(
        versus_controls(record["measure"]), score, modality=record["modality"], region=record["region"],
        n_voxels=record["n_voxels"], flags=flags_of(record["flag"]) | few,
    )  # fmt: skip
    return [scored | {"subject": record["subject"], "session": record["session"]}]


def _digest(rows: pd.DataFrame, histograms: list[SessionHistogram], controls: tuple[str, ...]) -> str:
    chosen = rows[rows["subject"].isin(controls)].to_csv(index=False, float_format="%.8g")
    counts = [
        [h.subject, h.session, h.modality, h.counts.to_csv(index=False)] for h in histograms if h.subject in controls
    ]
    return sha256(json.dumps([controls, chosen, counts]).encode()).hexdigest()
