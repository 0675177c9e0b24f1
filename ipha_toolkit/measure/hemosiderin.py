"""T2w deficit relative to T1w: the signature of hemosiderin, and of what else takes T2w away.

Water alone (edema, inflammation, blood plasma) raises T1w and T2w together, along a line through no signal that healthy
lung lies on. Hemosiderin takes T2w away and leaves T1w. Neither image says so alone: healthy lung is dark on both, and
T1w signal gain comes from any water. So every voxel is asked how far its T2w lies below the line at its T1w, in the
scatter of the controls' voxels about it (voxel SD), and only where the line predicts a T2w above the noise. How unusual
a person's strength is among people is another number: ``signature_strength_vs_controls``.

Signals are ratios to muscle, averaged over a few mm inside the lungs, and freed of the offset of Rician noise. The line
is of one sequence: there is none without controls scanned alike, and then ratios and maps are all that is given.

What it cannot tell, measured on the phantom:

* iron under water: the line is straight, and water raises T2w faster than T1w (slope 1.08 in health, 1.85, 2.78 and
  3.89 at a water share of 0.1, 0.3 and 0.6). Iron of 0.3 scores +4.4 in dry lung and -0.2 at a water share of 0.2: a
  strength near or below 0 in wet lung is no absence of iron. Such rows are flagged ``iron_under_water``; with three
  patients of group ``edema`` scanned alike the line is bent as theirs, and ``signature_strength_in_water`` is given;
* methemoglobin without iron, which shortens T1, scores +2.6; iron with a tenth of its relaxivity still +2.7, by T1;
* iron from other susceptibility, and flowing blood, dark on T2w, from either.

It is missing signal against controls of the same sequence, never an iron concentration.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import DataError, ImageError
from ipha_toolkit.grid import BoolArray, FloatArray
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.image.geometry import bounding_box
from ipha_toolkit.image.morphology import mean_over
from ipha_toolkit.io.packaged import read_packaged
from ipha_toolkit.measure.histogram import weighted_quantile
from ipha_toolkit.measure.quality import Noise, estimate_noise
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.measure.signal import is_contrast_enhanced
from ipha_toolkit.measure.water import Curve, hidden_loss, lift
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.muscle import muscle_level
from ipha_toolkit.regions.zones import lung_regions, world_coordinate
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume, handed_over

MODALITY = "T1w+T2w"
"""What the rows name as their modality: both images together."""

_SOFT = 0.1

_STEP = 0.05

_CODES = (-40, 110)

JOINT_EDGES = _SOFT * np.sinh(_STEP * (np.arange(_CODES[0], _CODES[1] + 2) - 0.5))
"""Edges of the joint histogram's bins, of both ratios: 0.005 apart near 0, 5 % far from it."""

_BLOCK = "block-"

_DRAWS = 400

_RIM_MM = 3.0

_RAYLEIGH_MEAN, _RAYLEIGH_SD = np.sqrt(np.pi / 2), np.sqrt(2 - np.pi / 2)

_SD_PER_MAD = 1.4826

_PARENCHYMA = (0.1, 0.9)

_LEAST_RATIO = 1e-3

_LEAST_SHARE = 0.05

_LEAST_SPREAD = 0.02

_RATIOS = {
    "signature_upper_lower_ratio": (Region.UPPER, Region.LOWER),
    "signature_central_peripheral_ratio": (Region.CENTRAL, Region.PERIPHERAL),
}

Array = npt.NDArray[np.float64]

ControlPair = tuple[Volume, Volume, Mask, Mask]


@dataclass(frozen=True)
class SignatureReference:
    """The line that water follows, and how far controls lie from it.

    ``slope``: T2w ratio over T1w ratio. ``spread``: SD of the controls' voxels about the line, of the natural log of
    T2w over what the line predicts: one voxel SD. ``n_controls``: subjects it rests on. ``between``: SD between the
    controls' strengths, in voxel SD, NaN where there is one control or none said. ``level``: the controls' median T1w
    ratio. ``curve``: how water bends the line (:func:`ipha_toolkit.measure.water.water_curve`), empty where not known.
    """

    slope: float
    spread: float
    n_controls: int
    between: float = np.nan
    level: float = np.nan
    curve: Curve = ()

    def predicted(self, t1w: npt.ArrayLike) -> Array:
        """T2w ratio that water alone would have at a T1w ratio."""
        return self.slope * np.maximum(np.asarray(t1w, np.float64), _LEAST_RATIO)

    def below(self, t1w: npt.ArrayLike, t2w: npt.ArrayLike) -> Array:
        """Distance of a T2w ratio below the line, in voxel SD; negative above it.

        A logarithm, since signal falls exponentially with R2: the distance grows evenly with what shortens T2. A
        twentieth of the prediction or less counts as a twentieth, 3 / spread SD: no more is told from noise.
        """
        share = np.asarray(t2w, np.float64) / self.predicted(t1w)
        return np.asarray(-np.log(np.maximum(share, _LEAST_SHARE)) / self.spread)

    def below_water(self, t1w: npt.ArrayLike, t2w: npt.ArrayLike) -> Array:
        """As :meth:`below`, of the curve that edema follows."""
        bent = lift(self.curve, np.asarray(t1w, np.float64) / self.level)
        return self.below(t1w, np.asarray(t2w, np.float64) / bent)

    def flags(self, protocol: Protocol = DEFAULT) -> list[str]:
        """``few_controls``, where so."""
        return ["few_controls"] if self.n_controls < protocol.signal.few_controls else []


@dataclass(frozen=True)
class RatioPair:
    """T1w and T2w ratio to muscle inside the lungs, noise offset removed and smoothed; NaN outside. ``floor``: T2w
    ratio that is not told from noise, NaN where noise cannot be estimated. ``flags``: of both images."""

    t1w: Volume
    t2w: Volume
    floor: float
    flags: tuple[str, ...]


def hemosiderin_signature(
    t1w: Volume,
    t2w: Volume,
    lungs: Mask,
    *,
    reference: Mask,
    controls: SignatureReference | Iterable[ControlPair] | None = None,
    corrected: tuple[Volume, Volume] | None = None,
    regions: Mapping[str, Mask] | None = None,
    protocol: Protocol = DEFAULT,
) -> tuple[pd.DataFrame, dict[str, Volume]]:
    """How far, and in how much of the lung, T2w lies below what T1w predicts.

    Parameters
    ----------
    t1w, t2w : Volume
        Magnitude images of one session as acquired, on one grid (:func:`ipha_toolkit.align` brings them there).
    lungs, reference : Mask
        Lungs and skeletal muscle, on the same grid.
    controls : SignatureReference, or iterable of (t1w, t2w, lungs, reference), optional
        Controls scanned with the same sequences: the line made of them by :func:`signature_reference`, or their images.
        None gives ratios and maps: without controls there is no line, and no strength.
    regions : mapping of str to Mask, optional
        None means :func:`ipha_toolkit.lung_regions` of the lungs.
    protocol : Protocol

    Returns
    -------
    rows : DataFrame
        Rows of the one table, modality ``T1w+T2w``: by region ``t2w_over_t1w``; with controls ``signature_fraction``
        (%), ``signature_strength`` and ``signature_load`` (voxel SD), ``signature_no_evidence`` (%); of the lung also
        95 % intervals and zonal ratios. Higher = more T2w missing. Edema has a strength below 0.
    maps : dict of str to Volume
        ``signature``: distance below the line in voxel SD, NaN outside the lungs and where the images are no evidence;
        without controls the natural log of the T1w over the T2w ratio. ``t1w_ratio``, ``t2w_ratio``: the smoothed
        ratios it was made of.

    Raises
    ------
    GridError
        Where images and masks are not on one grid.
    ImageError
        Where an image has the wrong modality, holds negative values, or the reference has no signal.

    Notes
    -----
    T1w signal gain is not T1 shortening. A contrast agent mimics the gain and moves every voxel below the line: such
    rows are flagged. Blood that flows is dark on T2w and bright on T1w, so that large vessels count in controls as
    well. The interval of the fraction comes from drawing blocks of lung anew; that of the strength from the scatter
    between controls, or between repeated scans where that is larger.
    """
    pair = ratio_pair(t1w, t2w, lungs, reference, corrected=corrected, protocol=protocol)
    histogram = joint_histogram(pair, lung_regions(lungs) if regions is None else regions, lungs, protocol=protocol)
    line = _reference(controls, protocol)
    rows = pair_rows(pair, histogram, pair.flags)
    if line is not None:
        rows += signature_rows(histogram, line, pair.floor, flags=pair.flags, protocol=protocol)
    return table(rows), {"signature": signature_map(pair, line), "t1w_ratio": pair.t1w, "t2w_ratio": pair.t2w}


def signature_map(pair: RatioPair, line: SignatureReference | None) -> Volume:
    """Distance of every voxel's T2w below the line, in voxel SD; NaN where that is no evidence.

    Without a line: the natural log of the T1w over the T2w ratio, 0 where they are alike, NaN where the T1w ratio is no
    higher than the noise of T2w. Its zero means nothing: it is read against other places of the same lung.
    """
    flat = line or SignatureReference(1.0, 1.0, 0)
    known = np.isfinite(pair.t1w.array)
    t1w, t2w = pair.t1w.array[known], pair.t2w.array[known]
    evidence = flat.predicted(t1w) >= np.nan_to_num(pair.floor)
    below = np.full(pair.t2w.shape, np.nan, np.float32)
    below[known] = np.where(evidence, flat.below(t1w, t2w), np.nan)
    unit, name = ("SD", "T2w below the line") if line else ("1", "ln of T1w over T2w ratio")
    return pair.t2w.replace(array=handed_over(below), unit=unit, name=name)


def ratio_pair(
    t1w: Volume,
    t2w: Volume,
    lungs: Mask,
    muscle: Mask,
    *,
    corrected: tuple[Volume, Volume] | None = None,
    noise: tuple[Noise | None, Noise | None] = (None, None),
    protocol: Protocol = DEFAULT,
) -> RatioPair:
    """Ratios of T1w and T2w to muscle inside the lungs, free of the noise's offset.

    Parameters
    ----------
    t1w, t2w, lungs
        As in :func:`hemosiderin_signature`.
    muscle : Mask
        Skeletal muscle on the same grid.
    corrected : (Volume, Volume), optional
        Both images with their bias field removed; None removes it here.
    noise : (Noise, Noise), optional
        Of both images; None estimates it here.
    protocol : Protocol

    Returns
    -------
    RatioPair
    """
    for volume, role in ((t1w, Modality.T1W), (t2w, Modality.T2W)):
        _require(volume, role)
        for other in (t1w, lungs, muscle):
            volume.require_same_grid(other)
    evened = corrected or (correct_bias(t1w, exclude=lungs), correct_bias(t2w, exclude=lungs))
    (first, _, unknown1), (second, floor, unknown2) = (
        _clean_ratio(volume, even, lungs, muscle, known or estimate_noise(volume, lungs), protocol)
        for volume, even, known in zip((t1w, t2w), evened, noise, strict=True)
    )
    flags = [*unknown1, *unknown2, *(["contrast_enhanced"] if is_contrast_enhanced(t1w) else [])]
    return RatioPair(first, second, floor, tuple(dict.fromkeys(flags)))


def rician_amplitude(mean: npt.ArrayLike, sigma: npt.ArrayLike) -> FloatArray:
    """True signal whose Rician magnitude has a given mean.

    Parameters
    ----------
    mean : array_like, any shape
        Mean magnitude of several voxels.
    sigma : array_like, same shape or scalar
        Noise of one channel, same unit, above 0; or 0 everywhere.

    Returns
    -------
    ndarray of float32
        Below the mean of noise alone (1.253 sigma) negative by as much as it would be positive above it, so that
        averages over many places are not pushed up.

    References
    ----------
    Mean of the Rician distribution: Gudbjartsson & Patz, Magn Reson Med 1995;34:910, doi 10.1002/mrm.1910340618.

    Examples
    --------
    >>> rician_amplitude([1.5486, 10.05], 1.0).round(2)
    array([ 1., 10.], dtype=float32)
    """
    from scipy.special import ive

    given, noise = np.asarray(mean, np.float32), np.asarray(sigma, np.float32)
    if not (noise > 0).any():
        return given
    x = np.linspace(0, 8, 801)
    q = x * x / 4
    means = _RAYLEIGH_MEAN * ((1 + 2 * q) * ive(0, q) + 2 * q * ive(1, q))
    off = given / noise - np.float32(_RAYLEIGH_MEAN)
    above = np.abs(off) + _RAYLEIGH_MEAN
    amplitude = np.where(above < means[-1], np.interp(above, means, x), np.sqrt(np.maximum(above**2 - 1, 0)))
    return np.asarray(np.sign(off) * amplitude * noise, np.float32)


def joint_histogram(
    pair: RatioPair, regions: Mapping[str, Mask], lungs: Mask, *, protocol: Protocol = DEFAULT
) -> pd.DataFrame:
    """Voxel counts by T1w and T2w ratio: what the second pass needs of a session.

    Returns
    -------
    DataFrame
        One row a pair of bins that holds a voxel: ``t1w``, ``t2w`` (ratio at the bins' centers), then counts in each
        region and in each block of lung (``block-1`` ...).
    """
    first, second = pair.t1w.array[lungs.array], pair.t2w.array[lungs.array]
    known = np.isfinite(first) & np.isfinite(second)
    code = _code(first[known]) * (_CODES[1] - _CODES[0] + 1) + _code(second[known])
    bins, index = np.unique(code, return_inverse=True)
    centers = [_SOFT * np.sinh(_STEP * (c + _CODES[0])) for c in np.divmod(bins, _CODES[1] - _CODES[0] + 1)]
    inside = {name: region.array[lungs.array][known] for name, region in regions.items()}
    block = _blocks(lungs, protocol.signature.blocks)[known]
    inside |= {f"{_BLOCK}{n + 1}": block == n for n in range(int(block.max(initial=-1)) + 1)}
    counts = {name: np.bincount(index[chosen], minlength=bins.size) for name, chosen in inside.items()}
    return pd.DataFrame({"t1w": centers[0], "t2w": centers[1]} | counts)


def signature_reference(histograms: Iterable[pd.DataFrame]) -> SignatureReference:
    """The line that water follows, from the joint histograms of controls scanned with the same sequences.

    Parameters
    ----------
    histograms : iterable of DataFrame
        One a control, as of :func:`joint_histogram`; each is given the same weight.

    Returns
    -------
    SignatureReference

    Raises
    ------
    DataError
        Where there is no control, or none holds a voxel: a line of another sequence would be wrong by -12 to +5 SD.

    Notes
    -----
    The slope is that of the medians of both ratios over the darker nine tenths of T1w: parenchyma, not vessels. SD
    about the line is that of a normal distribution with the same median absolute deviation, in ten bins of T1w.
    """
    return line_of([points for h in histograms if (points := control_points(h)) is not None])


class ControlPoints(NamedTuple):
    """One control on the joint histogram: ratios of the bins that hold lung, shape (n,), and their share of it."""

    t1w: Array
    t2w: Array
    weight: Array


def control_points(histogram: pd.DataFrame) -> ControlPoints | None:
    """What :func:`line_of` needs of a control's joint histogram; None where it holds no voxel."""
    t1w, t2w, counts = (histogram[name].to_numpy(np.float64) for name in ("t1w", "t2w", Region.LUNG))
    held = counts > 0
    return ControlPoints(t1w[held], t2w[held], counts[held] / counts[held].sum()) if held.any() else None


def line_of(controls: Sequence[ControlPoints]) -> SignatureReference:
    """As :func:`signature_reference`, of controls that are looked at once and left out by turns."""
    if not controls:
        raise DataError(
            "the line of T2w over T1w needs joint histograms of one control at least, scanned with the same sequences; "
            "without controls there are ratios and maps, but no strength"
        )
    t1w, t2w, weight = (np.concatenate(each) for each in zip(*controls, strict=True))
    order = np.lexsort((weight, t2w, t1w))  # the same in whatever order the controls come
    t1w, t2w, weight = t1w[order], t2w[order], weight[order]
    share = np.cumsum(weight) / weight.sum()
    kept = (share >= _PARENCHYMA[0]) & (share <= _PARENCHYMA[1])
    t1w, t2w, weight = t1w[kept], t2w[kept], weight[kept]
    level = weighted_quantile(t1w, weight, 0.5)
    slope = weighted_quantile(t2w, weight, 0.5) / level
    distance = SignatureReference(float(slope), 1.0, len(controls)).below(t1w, t2w)
    spread = _SD_PER_MAD * weighted_quantile(np.abs(distance), weight, 0.5)
    line = SignatureReference(float(slope), max(spread, _LEAST_SPREAD), len(controls), level=float(level))
    return replace(line, between=_between(controls, line))


def _between(controls: Sequence[ControlPoints], line: SignatureReference) -> float:
    """SD of the controls' strengths, each as if left out of its own line."""
    if len(controls) < 2:
        return float("nan")
    found = []
    for points in controls:
        below = line.below(points.t1w, points.t2w)
        order = np.argsort(below, kind="stable")
        found.append(float(_midmean(below[order], points.weight[order])))
    return float(np.std(found, ddof=1)) * len(found) / (len(found) - 1)


def pair_rows(pair: RatioPair, histogram: pd.DataFrame, flags: Collection[str] = ()) -> list[dict[str, object]]:
    """The rows of a session that need no line: T2w over T1w by region, and the T2w ratio not told from noise."""
    n = int(np.count_nonzero(np.isfinite(pair.t2w.array)))
    rows = [row("signature_floor", pair.floor, modality=MODALITY, region=Region.LUNG, n_voxels=n, flags=flags)]
    above = histogram["t1w"] >= max(np.nan_to_num(pair.floor), _LEAST_RATIO)
    ratio = (histogram["t2w"] / histogram["t1w"])[above]
    for name in [name for name in histogram.columns[2:] if not name.startswith(_BLOCK)]:
        counts = histogram.loc[above, name]
        value = weighted_quantile(ratio, counts, 0.5) if counts.sum() else np.nan
        rows.append(row("t2w_over_t1w", value, modality=MODALITY, region=name, n_voxels=int(counts.sum()), flags=flags))
    return rows


def signature_rows(
    histogram: pd.DataFrame,
    line: SignatureReference,
    floor: float,
    *,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> list[dict[str, object]]:
    """Rows of one session from its joint histogram; see :func:`hemosiderin_signature`."""
    flags = [*flags, *line.flags(protocol)]
    names = [name for name in histogram.columns[2:] if not name.startswith(_BLOCK)]
    t1w, t2w = (histogram[name].to_numpy(float) for name in ("t1w", "t2w"))
    below = line.below(t1w, t2w)
    evidence = line.predicted(t1w) >= np.nan_to_num(floor)
    per_voxel = np.stack(
        [
            np.ones(len(below)), evidence, evidence & (below > protocol.signature.threshold_sd),
            np.where(evidence, np.maximum(below, 0), 0),
        ]
    )  # fmt: skip
    inside = np.ascontiguousarray(histogram.iloc[:, 2:].to_numpy(float).T)
    counts = dict(zip(histogram.columns[2:], inside, strict=True))
    sums = {name: per_voxel @ inside for name, inside in counts.items()}
    order = np.flatnonzero(evidence)[np.argsort(below[evidence], kind="stable")]
    strengths = {name: float(_midmean(below[order], counts[name][order])) for name in names}
    n = int(sums[Region.LUNG][0])
    limits, gain = _interval_of_strength(strengths[Region.LUNG], line), _gain(histogram, line)
    hidden = hidden_loss(
        limits["signature_strength_upper"], line.spread, gain, line.curve, protocol.signature.water_rise
    )
    unseen = _what_may_hide(gain, hidden, limits["signature_strength_lower"], protocol)
    rows = [r for name in names for r in _region_rows(sums[name], strengths[name], name, [*flags, *unseen])]
    blocks = np.array([inside for name, inside in counts.items() if name.startswith(_BLOCK)])
    single = {"signature_slope": line.slope} | _interval_of_fraction(blocks, per_voxel)
    single |= limits | {"signature_hidden_loss": hidden} | _zonal_ratios(sums)
    if line.curve:
        single["signature_strength_in_water"] = _strength_in_water(histogram, line, evidence)
    return rows + [
        row(m, value, modality=MODALITY, region=Region.LUNG, n_voxels=n, flags=flags) for m, value in single.items()
    ]


def _gain(histogram: pd.DataFrame, line: SignatureReference) -> float:
    """Median T1w ratio over that of the controls; NaN where one of them is not known."""
    points = control_points(histogram)
    if points is None or not line.level > 0:
        return float("nan")
    return float(weighted_quantile(points.t1w, points.weight, 0.5)) / line.level


def _what_may_hide(gain: float, hidden: float, lower: float, protocol: Protocol) -> list[str]:
    """``iron_under_water``, where T1w is so far above that of the controls that a deficit may not show; else
    ``iron_may_hide``, where none is seen and much could be."""
    if gain > protocol.signature.wet_gain:
        return ["iron_under_water"]
    return ["iron_may_hide"] if lower <= 0 and hidden > protocol.signature.hidden_loss else []


def _strength_in_water(histogram: pd.DataFrame, line: SignatureReference, evidence: BoolArray) -> float:
    below = line.below_water(histogram["t1w"], histogram["t2w"])
    order = np.flatnonzero(evidence)[np.argsort(below[evidence], kind="stable")]
    return float(_midmean(below[order], histogram[Region.LUNG].to_numpy(float)[order]))


def _region_rows(sums: Array, strength: float, region: str, flags: Collection[str]) -> list[dict[str, object]]:
    n, evidence, carrying, load = sums
    silent = 100 * (1 - evidence / n) if n else np.nan
    flags = [*flags, *(["no_evidence"] if silent > 50 else [])]
    values = {
        "signature_fraction": 100 * carrying / n if n else np.nan, "signature_strength": strength,
        "signature_load": load / n if n else np.nan, "signature_no_evidence": silent,
    }  # fmt: skip
    return [row(m, v, modality=MODALITY, region=region, n_voxels=int(n), flags=flags) for m, v in values.items()]


def _interval_of_fraction(blocks: Array, per_voxel: Array) -> dict[str, float]:
    """95 % limits of the fraction, blocks of lung drawn with replacement."""
    limits = (np.nan, np.nan)
    if len(blocks):
        times = _times_drawn(len(blocks))
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = 100 * (times @ (blocks @ per_voxel[2])) / (times @ blocks.sum(axis=1))
        known = shares[np.isfinite(shares)]
        limits = tuple(np.percentile(known, (2.5, 97.5))) if known.size else limits
    return {"signature_fraction_lower": float(limits[0]), "signature_fraction_upper": float(limits[1])}


@cache
def _times_drawn(n: int) -> Array:
    """How often each of n blocks is in each drawing, the same for every session."""
    drawn = np.random.default_rng(0).integers(n, size=(_DRAWS, n))
    return np.stack([np.bincount(draw, minlength=n) for draw in drawn]).astype(np.float64)


def _interval_of_strength(strength: float, line: SignatureReference) -> dict[str, float]:
    """95 % limits of how far a person's strength lies from that of people like the controls.

    By the scatter between the controls, which holds that of repeated scans, or by the latter where it is larger; NaN
    with fewer than two controls.
    """
    n = line.n_controls
    half = float("nan")
    if n >= 2:
        half = float(_of_few(n) * np.fmax(line.between, _repeated()) * np.sqrt(1 + 1 / n))
    return {"signature_strength_lower": strength - half, "signature_strength_upper": strength + half}


@cache
def _of_few(n: int) -> float:
    """Student's t of n - 1 degrees of freedom that 2.5 % of people lie beyond."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))


@cache
def _repeated() -> float:
    """SD of the strength between repeated scans, on the phantom."""
    pairs = read_packaged("repeatability.tsv")
    own = pairs[(pairs["measure"] == "signature_strength") & (pairs["region"] == Region.LUNG)]
    return float(own["sd_within"].iloc[0]) if len(own) else float("nan")


def _zonal_ratios(sums: Mapping[str, Array]) -> dict[str, float]:
    ratios = {}
    for measure, zones in _RATIOS.items():
        if all(zone in sums for zone in zones):
            over, under = (sums[zone][3] / sums[zone][0] if sums[zone][0] else np.nan for zone in zones)
            ratios[measure] = float(over / under) if under > 0 else np.nan
    return ratios


def _reference(
    controls: SignatureReference | Iterable[ControlPair] | None, protocol: Protocol
) -> SignatureReference | None:
    if controls is None or isinstance(controls, SignatureReference):
        return controls
    histograms = []
    for t1w, t2w, lungs, reference in controls:
        pair = ratio_pair(t1w, t2w, lungs, reference, protocol=protocol)
        histograms.append(joint_histogram(pair, {Region.LUNG: lungs}, lungs, protocol=protocol))
    return signature_reference(histograms)


def _require(volume: Volume, role: Modality) -> None:
    name = volume.name or str(role)
    if volume.modality not in (None, role):
        raise ImageError(f"{name}: needs modality {role}, got {volume.modality}")
    low, high = np.fmin.reduce(volume.array, axis=None), np.fmax.reduce(volume.array, axis=None)
    if not low >= 0 or high == 0:
        raise ImageError(f"{name}: values run from {low:g} to {high:g}; the signature needs magnitude images")


def _clean_ratio(
    volume: Volume, even: Volume, lungs: Mask, muscle: Mask, noise: Noise, protocol: Protocol
) -> tuple[Volume, float, tuple[str, ...]]:
    """Smoothed ratio inside the lungs, the amplitude that stands out of its noise, and flags."""
    level = muscle_level(even, muscle)
    if not level > 0:
        raise ImageError(f"{volume.name or volume.modality}: the reference muscle has no signal")
    array = np.full(volume.shape, np.nan, np.float32)
    box = _box(lungs)
    evened, raw, inside = even.array[box], volume.array[box], lungs.array[box] & np.isfinite(even.array[box])
    gain = np.divide(evened, raw, out=np.ones(raw.shape, np.float32), where=raw > 0)
    deep, width = _deep(inside, volume.spacing_mm), protocol.signature.smoothing_mm
    mean, averaged = mean_over(evened / np.float32(level), deep, volume.spacing_mm, width)
    scale, _ = mean_over(np.asarray(gain / level, np.float32), deep, volume.spacing_mm, width)
    sigma = np.float32(np.nan_to_num(noise.sigma)) * scale
    known = inside & np.isfinite(mean)
    array[box][known] = rician_amplitude(mean[known], sigma[known])
    stands_out = 2 * np.sqrt(protocol.signal.noise_floor_sigmas * _RAYLEIGH_SD / _RAYLEIGH_MEAN / np.sqrt(averaged))
    floor = float(stands_out * np.nanmedian(sigma[inside])) if np.isfinite(noise.sigma) and inside.any() else np.nan
    ratio = volume.replace(array=handed_over(array), unit="1", name=f"{volume.name} ratio to muscle", meta={})
    return ratio, floor, noise.flags


def _box(lungs: Mask) -> tuple[slice, ...]:
    """The lungs' box with as much around as the rim is thick; all of the image where there is no lung."""
    if not lungs.n_voxels:
        return tuple(slice(0, n) for n in lungs.shape)
    margin = [int(np.ceil(_RIM_MM / s)) + 1 for s in lungs.spacing_mm]
    return tuple(
        slice(max(0, low - m), high + m) for (low, high), m in zip(bounding_box(lungs.array), margin, strict=True)
    )


def _deep(inside: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Without the outermost voxels, which hold chest wall: 3 mm, one voxel at least. All where that leaves none."""
    from scipy import ndimage

    steps = [int(np.ceil(_RIM_MM / s)) if n > 2 else 0 for s, n in zip(spacing_mm, inside.shape, strict=True)]
    deep = ndimage.minimum_filter(inside.view(np.uint8), [2 * step + 1 for step in steps], mode="nearest").astype(bool)
    return deep if deep.any() else inside


def _code(ratio: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Bin of a ratio: even steps of 0.005 near 0, of 5 % far from it."""
    steps = np.rint(np.arcsinh(np.asarray(ratio, np.float64) / _SOFT) / _STEP).astype(np.int64)
    return np.clip(steps, *_CODES) - _CODES[0]


def _blocks(lungs: Mask, wanted: int) -> npt.NDArray[np.int64]:
    """Number of the cube that each lung voxel lies in, in the order of ``array[lungs.array]``."""
    edge = (1000 * lungs.volume_ml / wanted) ** (1 / 3) if lungs.n_voxels else 1.0
    where = [np.broadcast_to(world_coordinate(lungs, axis), lungs.shape)[lungs.array] for axis in range(3)]
    cubes = np.stack([np.floor((x - x.min(initial=np.inf)) / edge) for x in where], axis=1).astype(np.int64)
    return np.unique(cubes @ [1_000_000, 1000, 1], return_inverse=True)[1]


def _midmean(values: Array, weights: Array) -> Array:
    """Mean of the middle half of ascending values by each row of weights, shape (..., values); NaN where all are 0.

    Unlike the mean it is not moved by the rim of the lungs or by voxels whose signal is lost in noise.
    """
    total = weights.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.cumsum(weights, axis=-1) / total[..., None]
    middle = np.diff(np.clip(share, 0.25, 0.75), axis=-1, prepend=0.25)
    return np.where(total > 0, 2 * np.nan_to_num(middle) @ values, np.nan)
