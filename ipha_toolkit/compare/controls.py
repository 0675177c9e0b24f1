"""Second pass over a cohort: every measure against the controls, from rows and histograms, no image read.

Only controls that were scanned as the patient was count (:mod:`ipha_toolkit.compare.matching`); the others are left out
by name. Each control is left out of its own reference, so that controls can be compared as well. Fewer than the
protocol's number is flagged; without any, the fractions fall back on the protocol's thresholds, flagged, and nothing
that needs a line or a spread of controls is given.
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
from ipha_toolkit.compare.matching import Key, Match, Matching
from ipha_toolkit.compare.single_case import Plain, Regression, as_normal
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
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Controls that did not match an image, with the reason, by ``subject session modality``."""


def against_controls(
    rows: pd.DataFrame,
    histograms: Iterable[SessionHistogram],
    controls: Iterable[str],
    *,
    acquisitions: pd.DataFrame | None = None,
    people: Mapping[str, Mapping[str, float]] | None = None,
    protocol: Protocol = DEFAULT,
) -> tuple[pd.DataFrame, Reference]:
    """Set every measure of every session against the controls that were scanned alike.

    Parameters
    ----------
    rows : DataFrame
        Rows of the first pass of all sessions.
    histograms : iterable of SessionHistogram
        Ratio histograms of all T1w and T2w images, and of both together.
    controls : iterable of str
        Subjects of group ``control``.
    acquisitions : DataFrame, optional
        How each image was made, as of :func:`ipha_toolkit.compare.matching.acquisition_table`. None lets all controls
        match, flagged ``sequence_unknown``.
    people : mapping of str to mapping, optional
        ``age`` in years and ``height_cm`` of each subject, as far as known.
    protocol : Protocol

    Returns
    -------
    rows : DataFrame
        ``hyperintense_fraction`` and ``hypointense_fraction`` by region; the signature where there are matching
        controls; and for each measure m its ``m_vs_controls``: how far outside the controls, in standard deviations
        (0 = like controls), by Crawford and Howell's t, so that few controls give no large numbers by chance.
    reference : Reference
    """
    histograms = list(histograms)
    members = tuple(sorted(set(controls) & set(rows["subject"])))
    sessions = rows.loc[rows["subject"].isin(members), ["subject", "session"]].drop_duplicates()
    matching = Matching(sessions.itertuples(index=False, name=None), acquisitions, protocol=protocol)
    fractions = _fractions(histograms, matching, protocol) + _signatures(rows, histograms, matching, protocol)
    complete = pd.concat([frame for frame in (rows, table(fractions)) if len(frame)] or [rows], ignore_index=True)
    scores = _scores(complete, matching, people or {}, protocol)
    thresholds = {
        modality: _threshold(modality, histograms, frozenset(matching.controls), protocol)[0]
        for modality in sorted({str(h.modality) for h in histograms if h.modality in FRACTIONS})
    }
    line = _line(histograms, frozenset(matching.controls), protocol)
    thresholds |= {PAIR: line.slope} if line else {}
    return table([*fractions, *scores]), Reference(
        members, thresholds, _digest(complete, histograms, members), _left_out(rows, matching)
    )


def _left_out(rows: pd.DataFrame, matching: Matching) -> dict[str, str]:
    images = rows[["subject", "session", "modality"]].drop_duplicates().itertuples(index=False, name=None)
    found = {" ".join(image): str(matching.of(*image)) for image in images if matching.controls}
    return {image: text for image, text in found.items() if text}


def _flags(match: Match, matching: Matching, protocol: Protocol) -> list[str]:
    """What is to be said of the controls of an image."""
    if not match.sessions:
        return ["no_matching_controls" if match.left_out else "no_controls"]
    few = ["few_controls"] if len(match.subjects) < protocol.signal.few_controls else []
    return [*few, *match.flags]


def _threshold(
    modality: str, histograms: list[SessionHistogram], sessions: frozenset[Key], protocol: Protocol
) -> tuple[float, int]:
    """Ratio threshold from these sessions of controls, and how many controls it rests on."""
    pooled: dict[str, npt.NDArray[np.float64]] = {}
    for histogram in histograms:
        if histogram.modality == modality and (histogram.subject, histogram.session) in sessions:
            counts = histogram.counts[Region.LUNG].to_numpy(float)
            pooled[histogram.subject] = pooled.get(histogram.subject, np.zeros(counts.shape)) + counts
    if not pooled:
        return FRACTIONS[Modality(modality)].threshold(protocol), 0
    return pooled_quantile(pooled.values(), FRACTIONS[Modality(modality)].controls_quantile(protocol)), len(pooled)


def _fractions(histograms: list[SessionHistogram], matching: Matching, protocol: Protocol) -> list[dict[str, object]]:
    found, known = [], dict[tuple[str, frozenset[Key]], tuple[float, int]]()
    for h in histograms:
        if h.modality not in FRACTIONS:
            continue
        match = matching.of(h.subject, h.session, h.modality)
        key = (h.modality, match.sessions)
        if key not in known:
            known[key] = _threshold(h.modality, histograms, match.sessions, protocol)
        threshold, n = known[key]
        flags = _flags(match, matching, protocol) if n else [_nobody(match)]
        made = fraction_rows(h.counts, h.modality, threshold, [*h.flags, *flags])
        found += [r | {"subject": h.subject, "session": h.session} for r in made]
    return found


def _nobody(match: Match) -> str:
    return "no_matching_controls" if match.left_out and not match.sessions else "no_controls"


def _signatures(
    rows: pd.DataFrame, histograms: list[SessionHistogram], matching: Matching, protocol: Protocol
) -> list[dict[str, object]]:
    """Signature of every session that has matching controls, each control against the line of the others."""
    floors = rows[rows["measure"] == "signature_floor"].set_index(["subject", "session"])["value"]
    lines: dict[frozenset[Key], SignatureReference | None] = {}
    found = []
    for h in histograms:
        if h.modality != PAIR:
            continue
        match = matching.of(h.subject, h.session, PAIR)
        if match.sessions not in lines:
            lines[match.sessions] = _line(histograms, match.sessions, protocol)
        line = lines[match.sessions]
        if line is not None:
            made = signature_rows(
                h.counts, line, floors[h.subject, h.session], flags=[*h.flags, *match.flags], protocol=protocol
            )  # fmt: skip
            found += [r | {"subject": h.subject, "session": h.session} for r in made]
    return found


def _line(
    histograms: list[SessionHistogram], sessions: frozenset[Key], protocol: Protocol
) -> SignatureReference | None:
    """The line of these sessions of controls, None where they have no pair of images."""
    pooled: dict[str, list[pd.DataFrame]] = {}
    for h in histograms:
        if h.modality == PAIR and (h.subject, h.session) in sessions:
            pooled.setdefault(h.subject, []).append(h.counts)
    return signature_reference([pd.concat(frames) for frames in pooled.values()]) if pooled else None


_KEY = ["modality", "region", "measure"]
_COVARIATES = ("age", "height_cm")


def _scores(
    rows: pd.DataFrame, matching: Matching, people: Mapping[str, Mapping[str, float]], protocol: Protocol
) -> list[dict[str, object]]:
    """How far each value lies outside the matching controls other than its own subject."""
    known = rows[rows["measure"].map(lambda name: MEASURES[name].compared) & rows["value"].notna()]
    sets: dict[tuple[str, str, str], Match] = {}
    against: dict[tuple[Any, ...], _Others | None] = {}
    by_measure: dict[tuple[str, ...], list[tuple[dict[Any, Any], Match, _Others]]] = {}
    controls = known.set_index(["subject", "session"])
    groups = {
        key: part["value"] for key, part in controls[controls.index.isin(list(matching.controls))].groupby(_KEY)
    }  # fmt: skip
    about = _About(people, _lung_volumes(known))
    for record in known.to_dict("records"):
        image = (record["subject"], record["session"], record["modality"])
        if image not in sets:
            sets[image] = matching.of(*image)
        key = (record["modality"], record["region"], record["measure"])
        cached = (*key, sets[image].sessions)
        if cached not in against:
            means = _means(groups.get(key), sets[image])
            against[cached] = _Others(means, about, record, protocol) if len(means) > 1 else None
        others, group = against[cached], by_measure.setdefault(key, [])
        if others is not None:
            group.append((record, sets[image], others))
    return _scored([each for group in by_measure.values() for each in group], protocol)


def _scored(found: list[tuple[dict[Any, Any], Match, _Others]], protocol: Protocol) -> list[dict[str, object]]:
    """The row of each value's score, from all distances at once."""
    distances = [others.distance(record) for record, _, others in found]
    scores = as_normal([t for t, _, _ in distances], [free for _, free, _ in distances]) if found else np.zeros(0)
    rows = []
    for (record, match, others), (_, _, said), score in zip(found, distances, scores, strict=True):
        few = {"few_controls"} if len(others.names) < protocol.signal.few_controls else set()
        scored = row(
            versus_controls(record["measure"]), score, modality=record["modality"], region=record["region"],
            n_voxels=record["n_voxels"], flags=flags_of(record["flag"]) | match.flags | few | said,
        )  # fmt: skip
        rows.append(scored | {"subject": str(record["subject"]), "session": record["session"]})
    return rows


@dataclass(frozen=True)
class _About:
    """What is known of people beside a measure: age, height, lung volume by subject and modality."""

    people: Mapping[str, Mapping[str, float]]
    volumes: Mapping[tuple[str, str], float]

    def of(self, subject: str, record: Mapping[Any, Any]) -> list[float]:
        """Age in years, height in cm, lung volume in mL of the image measured; NaN where unknown."""
        own = self.people.get(subject, {})
        volume = self.volumes.get((subject, str(record["modality"])), np.nan)
        return [
            *(own.get(column, np.nan) for column in _COVARIATES),
            np.nan if record["measure"] == "lung_volume" else volume,
        ]


class _Others:
    """The controls of one measure that some images are set against, looked at once."""

    def __init__(
        self, means: Mapping[str, float], about: _About, record: Mapping[Any, Any], protocol: Protocol
    ) -> None:
        self.names, self._about, self._protocol = sorted(means), about, protocol
        self._values = np.array([means[name] for name in self.names])
        self._covariates = np.array([about.of(name, record) for name in self.names])
        self._usable = np.isfinite(self._covariates).all(axis=0)
        ages = np.minimum(self._covariates[:, 0], protocol.gate.grown_years)
        self._ages = ages[np.isfinite(ages)]
        self._plain = Plain(self._values)
        self._fits: dict[tuple[bool, ...], Regression] = {}

    def distance(self, record: Mapping[Any, Any]) -> tuple[float, int, set[str]]:
        """Student's t of a value with its degrees of freedom, and what is to be said of it."""
        value, own = float(record["value"]), np.array(self._about.of(str(record["subject"]), record))
        usable = self._usable & np.isfinite(own)
        if len(self.names) < self._protocol.gate.covariate_controls or not usable.any():
            return *self._plain.t(value), {"other_age"} if self._of_other_age(own[0]) else set()
        key = tuple(usable)
        if key not in self._fits:
            self._fits[key] = Regression(self._values, self._covariates[:, usable])
        return *self._fits[key].t(value, own[usable]), {"adjusted"}

    def _of_other_age(self, age: float) -> bool:
        """Whether a person lies outside the controls' ages; from where lungs are grown, ages are alike."""
        own, slack = min(age, self._protocol.gate.grown_years), self._protocol.gate.age_years
        if not np.isfinite(age) or not self._ages.size:
            return False
        return bool(own < self._ages.min() - slack or own > self._ages.max() + slack)


def _means(values: pd.Series | None, match: Match) -> dict[str, float]:
    """Mean of each matching control over its sessions."""
    if values is None:
        return {}
    own = values[values.index.isin(list(match.sessions))]
    return {str(subject): float(mean) for subject, mean in own.groupby(level="subject").mean().items()}


def _lung_volumes(known: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Lung volume of each subject in each modality, the mean of its sessions, mL."""
    own = known[(known["measure"] == "lung_volume") & (known["region"] == Region.LUNG)]
    means = own.groupby(["subject", "modality"])["value"].mean()
    return {(str(s), str(m)): float(v) for (s, m), v in zip(means.index, means, strict=True)}


def _digest(rows: pd.DataFrame, histograms: list[SessionHistogram], controls: tuple[str, ...]) -> str:
    chosen = rows[rows["subject"].isin(controls)].to_csv(index=False, float_format="%.8g")
    counts = [
        [h.subject, h.session, h.modality, h.counts.to_csv(index=False)] for h in histograms if h.subject in controls
    ]
    return sha256(json.dumps([controls, chosen, counts]).encode()).hexdigest()
