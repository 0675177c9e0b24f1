"""From a number to the voxels it was made of: the mask cut to the region, and to what the measure counts in it.

A fraction counts voxels above or below a cut; those are found again here from the saved masks and maps, the protocol of
the results and the controls' thresholds. Every other measure is made of all voxels of its region, or of the nodules in
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.compare.matching import Matching
from ipha_toolkit.errors import IphaError
from ipha_toolkit.grid import BoolArray
from ipha_toolkit.image.geometry import resample_to
from ipha_toolkit.io import names
from ipha_toolkit.io.files import read_json
from ipha_toolkit.io.results import SessionResults
from ipha_toolkit.measure.hemosiderin import SignatureReference, signature_reference
from ipha_toolkit.measure.signal import FRACTIONS
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.films import film_zones
from ipha_toolkit.regions.vessels import segment_vessels
from ipha_toolkit.regions.zones import lung_region
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume
from ipha_toolkit.wording import number


@dataclass(frozen=True, eq=False)
class Voxels:
    """What a number was made of: ``mask`` on the image's grid, None where it is no part of the image; the ``words``
    that say so; ``cut`` whether a cut leaves out part of the ``region``."""

    mask: Mask | None
    words: str
    cut: bool = False
    region: Mask | None = None

    @property
    def place(self) -> Mask | None:
        """Where to look: the voxels counted, or the region that holds none of them."""
        return self.mask if self.mask is not None and self.mask.array.any() else self.region


class Parts:
    """Images, masks and maps of one session, each read once."""

    def __init__(self, session: SessionResults, protocol: Protocol = DEFAULT) -> None:
        self.session, self.protocol = session, protocol
        self._read: dict[tuple[str, ...], Any] = {}
        self._reading = RLock()

    def image(self, modality: str) -> Volume:
        """The image that a number of this modality was measured on."""
        return self.once("image", modality, read=lambda: self.session.image(grid_of(modality)))  # type: ignore[no-any-return]

    def mask(self, modality: str, kind: str = "lung") -> Mask:
        """A mask that the analysis saved."""
        return self.once("mask", modality, kind, read=lambda: self.session.mask(grid_of(modality), kind))  # type: ignore[no-any-return]

    def map(self, modality: str, kind: str) -> Volume:
        """A map that the analysis saved."""
        return self.once("map", modality, kind, read=lambda: self.session.map(grid_of(modality), kind))  # type: ignore[no-any-return]

    def region(self, modality: str, name: str) -> Mask:
        """A part of the lungs, or of a film's fields."""
        return self.once("region", grid_of(modality), name, read=lambda: self._region(modality, name))  # type: ignore[no-any-return]

    def nodules(self, modality: str) -> pd.DataFrame:
        """Nodules that count, best first."""
        return self.once("nodules", modality, read=lambda: self._nodules(modality))  # type: ignore[no-any-return]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The session's rows of the one table."""
        return self.session.rows

    @cached_property
    def modalities(self) -> list[str]:
        """Images that were measured."""
        return self.session.modalities

    @cached_property
    def opacity(self) -> Volume:
        """The opacity map of the CT at its voxels, NaN where there is none."""
        return resample_to(self.map("ct", "opacity"), self.image("ct"), order=0)

    @cached_property
    def vessels(self) -> Mask:
        """Vessels of the CT, which are not saved."""
        return segment_vessels(self.image("ct"), self.mask("ct"), protocol=self.protocol)

    @cached_property
    def line(self) -> SignatureReference | None:
        """The line of T2w over T1w that the session is set against: of controls scanned alike; None without."""
        results, session = self.session.results, self.session
        controls = [key for key in self._controls if self._has_histogram(*key)]
        match = Matching(controls, results.acquisitions, protocol=self.protocol).of(
            session.subject, session.session, names.PAIR
        )
        found = [results[key].histogram(names.PAIR) for key in controls if key in match.sessions]
        return signature_reference(found) if found else None

    @property
    def _controls(self) -> list[tuple[str, str]]:
        known = self._reference["controls"]
        return [(one.subject, one.session) for one in self.session.results if one.subject in known]

    def _has_histogram(self, subject: str, session: str) -> bool:
        name = names.histogram_file(names.label_of(subject, session), names.PAIR)
        return (self.session.results.path / subject / session / name).exists()

    @cached_property
    def _reference(self) -> dict[str, Any]:
        """What the controls gave."""
        return read_json(self.session.results.file(names.REFERENCE))

    def threshold(self, modality: str) -> float:
        """The ratio that the controls gave as threshold, or the protocol's where none of them was scanned alike."""
        measure = FRACTIONS[Modality(modality)].measure
        fallback = FRACTIONS[Modality(modality)].threshold(self.protocol)
        own = self.rows[(self.rows["modality"] == modality) & (self.rows["measure"] == measure)]
        alone = own["flag"].str.contains("no_controls|no_matching_controls").any()
        return fallback if alone else float(self._reference["thresholds"].get(modality, fallback))

    def value(self, modality: str, measure: str, region: str = Region.LUNG) -> float:
        """A number of the session; NaN where there is none."""
        rows = self.rows
        own = rows[(rows["modality"] == modality) & (rows["measure"] == measure) & (rows["region"] == region)]
        return float(own["value"].iloc[0]) if len(own) else float("nan")

    def _region(self, modality: str, name: str) -> Mask:
        lungs = self.mask(modality)
        if "_" in name:  # the six zones of a radiograph
            return film_zones(lungs)[name]
        return lung_region(lungs, name)

    def _nodules(self, modality: str) -> pd.DataFrame:
        found = self.session.nodules(modality)
        return found[found["score"] >= self.protocol.nodules.nodule_score]

    def once(self, *key: str, read: Callable[[], Any]) -> Any:
        """What was read, or read now, under a name; who asks while it is read ahead waits for it."""
        with self._reading:
            if key not in self._read:
                self._read[key] = read()
            return self._read[key]


def grid_of(modality: str) -> str:
    """The image on whose grid a modality's masks and maps lie."""
    return str(Modality.T1W) if modality == names.PAIR else modality


def images_of(modality: str) -> list[str]:
    """The images that a number of this modality was measured on."""
    return modality.split("+")


def voxels_of(parts: Parts, modality: str, measure: str, region: str) -> Voxels:
    """The voxels that a number was made of.

    Parameters
    ----------
    parts : Parts
    modality, measure, region : str
        As in the one table; a measure's distance from the controls is made of the measure's own voxels.

    Raises
    ------
    KeyError
        Where the session has no such image, mask or region.
    """
    measure = measure.removesuffix("_vs_controls")
    if measure in _NOT_IN_THE_LUNG:
        return Voxels(None, f"{measure.replace('_', ' ')} is measured outside the lung.")
    if measure.startswith("reference_"):
        muscle = parts.mask(modality, "muscle")
        return Voxels(muscle, f"Outlined: the muscle used as reference, {number(muscle.volume_ml, 'mL')}.")
    region = _ONE_SIDE.get(measure, region)
    inside = parts.region(modality, region)
    where = "the lung" if region == Region.LUNG else f"lung, {region.replace('_', ' ')}"
    if measure.startswith(("nodule", "micronodule")):
        return Voxels(inside, f"Circled: the nodules counted; outlined: {where}.")
    cut = _CUTS.get((modality, measure))
    if cut is not None and np.isnan(parts.value(modality, measure, region)):
        return Voxels(inside, f"Without this number; outlined: {where}.")
    if cut is None:
        return Voxels(inside, f"Outlined: {where}, of which all voxels count.")
    counted, among, words = cut(parts, modality)
    chosen, known = counted & inside.array, int(np.count_nonzero(among & inside.array))
    share = number(100 * np.count_nonzero(chosen) / known if known else float("nan"), "%")
    said = number(parts.value(modality, measure, region), "%")
    differs = "" if said == share else f" The table says {said}: its cut is finer, or leaves a control out of its own."
    return Voxels(
        inside.replace(array=chosen, name="voxels counted"),
        f"Coloured: {words} in {where}: {share} of {known} voxels.{differs}",
        cut=True,
        region=inside,
    )


def voxels_counted(parts: Parts, modality: str, measure: str) -> Mask:
    """Voxels of the whole image that a measure of :func:`cuts_of` counts.

    Raises
    ------
    KeyError
        Where the session lacks what the cut needs.
    """
    return parts.once("counted", modality, measure, read=lambda: _counted(parts, modality, measure))  # type: ignore[no-any-return]


def _counted(parts: Parts, modality: str, measure: str) -> Mask:
    counted, among, _ = _CUTS[modality, measure](parts, modality)
    lungs = parts.mask(modality)
    return lungs.replace(array=counted & among & lungs.array)


def cuts_of(modality: str) -> list[str]:
    """Measures of a modality that count voxels by a cut."""
    return [measure for image, measure in _CUTS if image == modality]


def countable(parts: Parts, modality: str) -> list[tuple[str, str]]:
    """Measures that count voxels of an image by a cut, each with its modality, where the session has what it takes."""
    owners = [modality, names.PAIR] if modality == Modality.T1W else [modality]
    found = []
    for owner in owners:
        for measure in cuts_of(owner):
            if set(images_of(owner)) <= set(parts.modalities):
                try:
                    voxels_counted(parts, owner, measure)
                except (IphaError, KeyError, OSError):
                    continue
                found.append((owner, measure))
    return found


ZONE_CODES = {"left": 2, "upper": 4, "middle": 8, "lower": 12, "central": 16, "dorsal": 32}
"""What a part of the lung adds to a voxel's code in exported pages; the lung itself adds 1."""

_ONE_SIDE = {
    "opacity_central_excess": "central", "opacity_lower_excess": "lower", "opacity_dorsal_excess": "dorsal",
    "opacity_right_excess": "right", "film_opacity_perihilar": "central", "film_opacity_lower": "lower",
    "film_opacity_asymmetry": "right",
}  # fmt: skip
"""Differences of two regions: the first of them is shown."""

_NOT_IN_THE_LUNG = ("noise_sigma",)

Cut = tuple[BoolArray, BoolArray, str]
"""Voxels counted, voxels they are counted among, both on the image's grid, and words for the first."""


def _between(parts: Parts, low: float, high: float, *, vessels: bool) -> Cut:
    hu = parts.image("ct").array
    among = np.isfinite(hu) if vessels else ~parts.vessels.array
    top = "" if np.isinf(high) else f" to {number(high)}"
    words = f"{number(low)}{top} HU" if top else f"{number(low)} HU and above"
    return among & (hu >= low) & (hu < high), among, words + ("" if vessels else ", vessels left out")


def _opacity(parts: Parts, low: float, high: float) -> Cut:
    opacity = parts.opacity.array
    words = f"{number(low)} HU and above" if np.isinf(high) else f"{number(low)} to {number(high)} HU"
    return (opacity >= low) & (opacity < high), np.isfinite(opacity), f"opacity map {words}"


def _ratio(parts: Parts, modality: str) -> Cut:
    ratio, threshold = parts.map(modality, "ratio").array, parts.threshold(modality)
    above = FRACTIONS[Modality(modality)].above
    counted = ratio >= threshold if above else ratio < threshold
    return counted, np.isfinite(ratio), f"{'at least' if above else 'below'} {number(threshold)} of muscle's signal"


def _floor(parts: Parts, modality: str) -> Cut:
    signal = parts.image(modality).array
    floor = parts.protocol.signal.noise_floor_sigmas * parts.value(modality, "noise_sigma")
    return signal < floor, np.isfinite(signal), f"signal below the noise floor of {number(floor)}"


def _signature(parts: Parts, _: str) -> Cut:
    """The saved map is the log ratio of T1w over T2w; here it is set against the line of the controls."""
    line, cut = parts.line, parts.protocol.signature.threshold_sd
    if line is None:
        raise KeyError(f"no control was scanned as {parts.session.label}: there is no line of T2w over T1w")
    below = (parts.map("T1w", "signature").array + np.log(line.slope)) / line.spread
    return below > cut, np.isfinite(parts.map("T1w", "ratio").array), f"T2w over {number(cut)} SD below the line"


def _no_evidence(parts: Parts, _: str) -> Cut:
    everywhere = np.isfinite(parts.map("T1w", "ratio").array)
    return (
        ~np.isfinite(parts.map("T1w", "signature").array) & everywhere,
        everywhere,
        "T1w that predicts no T2w above noise",
    )


def _censored(parts: Parts, modality: str) -> Cut:
    known = np.isfinite(parts.map(modality, "r2star").array)
    return ~known, np.ones(known.shape, bool), "no echo above the noise floor"


_CUTS: dict[tuple[str, str], Callable[[Parts, str], Cut]] = {
    ("ct", "high_attenuation_area"): lambda p, _: _between(
        p, *p.protocol.attenuation.high_attenuation_hu, vessels=True
    ),
    ("ct", "ground_glass_fraction"): lambda p, _: _between(p, *p.protocol.attenuation.ground_glass_hu, vessels=False),
    ("ct", "consolidation_fraction"): lambda p, _: _between(
        p, p.protocol.attenuation.consolidation_hu, np.inf, vessels=False
    ),
    ("ct", "opacity_fraction"): lambda p, _: _opacity(p, p.protocol.texture.opacity_hu, np.inf),
    ("ct", "ground_glass_extent"): lambda p, _: _opacity(
        p, p.protocol.texture.opacity_hu, p.protocol.texture.consolidation_hu
    ),
    ("ct", "consolidation_extent"): lambda p, _: _opacity(p, p.protocol.texture.consolidation_hu, np.inf),
    ("T1w", "hyperintense_fraction"): _ratio,
    ("T1w", "noise_floor_share"): _floor,
    ("T2w", "hypointense_fraction"): _ratio,
    ("T2w", "noise_floor_share"): _floor,
    (names.PAIR, "signature_fraction"): _signature,
    (names.PAIR, "signature_no_evidence"): _no_evidence,
    ("MEGRE", "r2star_censored_share"): _censored,
}
"""Measures that count voxels by a cut."""
