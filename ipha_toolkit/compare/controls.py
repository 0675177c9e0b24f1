"""Second pass over a cohort: every measure against the controls, from rows and histograms, no image read.

Only controls that were scanned as the patient was count (:mod:`ipha_toolkit.compare.matching`); the others are left out
by name. Each control is left out of its own reference, so that controls can be compared as well. Fewer than the
protocol's number is flagged; without any, the fractions fall back on the protocol's thresholds, flagged, and nothing
that needs a line or a spread of controls is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.compare.matching import Key, Match, Matching
from ipha_toolkit.compare.scores import scores
from ipha_toolkit.measure.hemosiderin import MODALITY as PAIR
from ipha_toolkit.measure.hemosiderin import ControlPoints, SignatureReference, control_points, line_of, signature_rows
from ipha_toolkit.measure.histogram import pooled_quantile
from ipha_toolkit.measure.rows import table
from ipha_toolkit.measure.signal import FRACTIONS, fraction_rows
from ipha_toolkit.measure.water import water_curve
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality, Region


@dataclass(frozen=True)
class SessionHistogram:
    """Ratio histogram of one image, ``counts`` as of :func:`ipha_toolkit.measure.signal.ratio_histogram`; or of T1w and
    T2w together (modality ``T1w+T2w``), as of :func:`ipha_toolkit.measure.hemosiderin.joint_histogram`.

    Many are best given with a function in place of the table, which reads it when it is its turn: so no more is held in
    memory than the controls' own."""

    subject: str
    session: str
    modality: str
    counts: pd.DataFrame | Callable[[], pd.DataFrame]
    flags: tuple[str, ...] = ()

    def table(self) -> pd.DataFrame:
        """The counts, read now where they were not."""
        return self.counts if isinstance(self.counts, pd.DataFrame) else self.counts()


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
    edema: Iterable[str] = (),
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
    edema : iterable of str
        Subjects known to have edema and no iron: how water bends the line of the signature.
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
    matching, wet = (_matching(rows, people_of, acquisitions, protocol) for people_of in (members, set(edema)))
    pool = Pool(histograms, {*members, *edema}, protocol)
    made = table(_from_histograms(rows, histograms, pool, (matching, wet), protocol))
    complete = pd.concat([frame for frame in (rows, made) if len(frame)] or [rows], ignore_index=True)
    scored = scores(complete, matching, people or {}, protocol)
    everybody = frozenset(matching.controls)
    thresholds = {modality: pool.threshold(modality, everybody)[0] for modality in sorted(pool.seen)}
    line = pool.line(everybody)
    thresholds |= {PAIR: line.slope} if line else {}
    parts = [frame for frame in (made, scored) if len(frame)]
    return pd.concat(parts, ignore_index=True) if parts else made, Reference(
        members, thresholds, _digest(complete, pool, members), _left_out(rows, matching)
    )


def _matching(
    rows: pd.DataFrame, subjects: Collection[str], acquisitions: pd.DataFrame | None, protocol: Protocol
) -> Matching:
    sessions = rows.loc[rows["subject"].isin(subjects), ["subject", "session"]].drop_duplicates()
    return Matching(sessions.itertuples(index=False, name=None), acquisitions, protocol=protocol)


def _left_out(rows: pd.DataFrame, matching: Matching) -> dict[str, str]:
    images = rows[["subject", "session", "modality"]].drop_duplicates().itertuples(index=False, name=None)
    texts, found = dict[int, str](), dict[str, str]()
    for image in images if matching.controls else ():
        match = matching.of(*image)
        if id(match) not in texts:
            texts[id(match)] = str(match)
        found[" ".join(image)] = texts[id(match)]
    return {image: text for image, text in found.items() if text}


def _flags(match: Match, matching: Matching, protocol: Protocol) -> list[str]:
    """What is to be said of the controls of an image."""
    if not match.sessions:
        return ["no_matching_controls" if match.left_out else "no_controls"]
    few = ["few_controls"] if len(match.subjects) < protocol.signal.few_controls else []
    return [*few, *match.flags]


class Pool:
    """What references need of the controls' histograms, read once; each set of controls is pooled once.

    ``read``: subject, session, modality, columns and digest of each. ``seen``: modalities of any subject that have a
    threshold.
    """

    def __init__(self, histograms: Iterable[SessionHistogram], controls: Collection[str], protocol: Protocol) -> None:
        self.protocol, self.read, self.seen = protocol, list[list[str]](), set[str]()
        self._counts: dict[str, dict[Key, npt.NDArray[np.float64]]] = {}
        self._pairs: dict[Key, pd.DataFrame] = {}
        self._thresholds: dict[tuple[str, frozenset[Key]], tuple[float, int]] = {}
        self._points: dict[tuple[Key, ...], ControlPoints | None] = {}
        self._lines: dict[frozenset[Key], SignatureReference | None] = {}
        members = set(controls)
        for h in histograms:
            self.seen |= {str(h.modality)} if h.modality in FRACTIONS else set()
            if h.subject not in members:
                continue
            counts = h.table()
            self.read.append([h.subject, h.session, h.modality, *counts.columns, _digest_of(counts)])
            if h.modality == PAIR:
                self._pairs[h.subject, h.session] = counts[["t1w", "t2w", Region.LUNG]]
            elif h.modality in FRACTIONS:
                own = self._counts.setdefault(str(h.modality), {})
                own[h.subject, h.session] = counts[Region.LUNG].to_numpy(float)

    def threshold(self, modality: str, sessions: frozenset[Key]) -> tuple[float, int]:
        """Ratio threshold from these sessions of controls, and how many controls it rests on."""
        key = (str(modality), sessions)
        if key not in self._thresholds:
            self._thresholds[key] = self._threshold(*key)
        return self._thresholds[key]

    def _threshold(self, modality: str, sessions: frozenset[Key]) -> tuple[float, int]:
        pooled: dict[str, npt.NDArray[np.float64]] = {}
        for key, counts in self._counts.get(modality, {}).items():
            if key in sessions:
                pooled[key[0]] = pooled[key[0]] + counts if key[0] in pooled else counts
        fraction = FRACTIONS[Modality(modality)]
        if not pooled:
            return fraction.threshold(self.protocol), 0
        return pooled_quantile(pooled.values(), fraction.controls_quantile(self.protocol)), len(pooled)

    def line(self, sessions: frozenset[Key]) -> SignatureReference | None:
        """The line of these sessions of controls, None where they have no pair of images."""
        if sessions not in self._lines:
            own: dict[str, list[Key]] = {}
            for key in self._pairs:
                if key in sessions:
                    own.setdefault(key[0], []).append(key)
            points = [self._of(tuple(keys)) for keys in own.values()]
            self._lines[sessions] = line_of([each for each in points if each is not None]) if own else None
        return self._lines[sessions]

    def bent(self, line: SignatureReference, sessions: frozenset[Key]) -> SignatureReference:
        """The line with the curve that these sessions of patients with edema follow, if they are enough."""
        points = [self._of((key,)) for key in self._pairs if key in sessions]
        wet = [each for each in points if each is not None]
        return replace(line, curve=water_curve(line.level, line.slope, wet)) if wet else line

    def _of(self, keys: tuple[Key, ...]) -> ControlPoints | None:
        """One control's points, of these of its sessions."""
        if keys not in self._points:
            self._points[keys] = control_points(pd.concat([self._pairs[key] for key in keys]))
        return self._points[keys]


def _from_histograms(
    rows: pd.DataFrame,
    histograms: Iterable[SessionHistogram],
    pool: Pool,
    matchings: tuple[Matching, Matching],
    protocol: Protocol,
) -> list[dict[str, object]]:
    """Fractions of every session, then signatures of those that have matching controls; wet lungs match as well."""
    matching, wet = matchings
    floors = rows[rows["measure"] == "signature_floor"].set_index(["subject", "session"])["value"].to_dict()
    fractions, signatures = list[dict[str, object]](), list[dict[str, object]]()
    for h in histograms:
        who, match = {"subject": h.subject, "session": h.session}, matching.of(h.subject, h.session, h.modality)
        if h.modality in FRACTIONS:
            fractions += [r | who for r in _fractions(h, match, pool, matching)]
        elif h.modality == PAIR and (line := pool.line(match.sessions)) is not None:
            line = pool.bent(line, wet.of(h.subject, h.session, h.modality).sessions)
            floor, flags = float(floors[h.subject, h.session]), [*h.flags, *match.flags]
            signatures += [r | who for r in signature_rows(h.table(), line, floor, flags=flags, protocol=protocol)]
    return fractions + signatures


def _fractions(h: SessionHistogram, match: Match, pool: Pool, matching: Matching) -> list[dict[str, object]]:
    threshold, n = pool.threshold(h.modality, match.sessions)
    flags = _flags(match, matching, pool.protocol) if n else [_nobody(match)]
    return fraction_rows(h.table(), h.modality, threshold, [*h.flags, *flags])


def _nobody(match: Match) -> str:
    return "no_matching_controls" if match.left_out and not match.sessions else "no_controls"


def _digest(rows: pd.DataFrame, pool: Pool, controls: tuple[str, ...]) -> str:
    chosen = rows[rows["subject"].isin(controls)].to_csv(index=False, float_format="%.8g")
    return sha256(json.dumps([controls, chosen, pool.read]).encode()).hexdigest()


def _digest_of(counts: pd.DataFrame) -> str:
    return sha256(np.ascontiguousarray(counts.to_numpy(np.float64)).tobytes()).hexdigest()
