"""T1w and T2w signal of the lung as a ratio to skeletal muscle.

A ratio is of signals, not of relaxation times: T1w signal gain comes from more water as well as from a shorter
T1, and both depend on coil and sequence. Ratios of surface coils need the bias field removed first, which is
done here (N4, the lungs left out of the fit); compare only scans of one sequence.

| measure | worse |
| --- | --- |
| T1w lung-to-muscle ratio, hyperintense fraction | higher = signal gain: water, blood, methemoglobin, contrast agent |
| T2w lung-to-muscle ratio, hypointense fraction | lower may be hemosiderin, but healthy lung is dark as well |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.errors import ImageError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.measure.histogram import ratio_histogram, share_below
from ipha_toolkit.measure.quality import Noise, estimate_noise
from ipha_toolkit.measure.rows import row, table
from ipha_toolkit.measure.statistics import dorsal_ventral_slope
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.muscle import muscle_level
from ipha_toolkit.regions.zones import anterior_mm, lung_regions
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.volume import Mask, Volume, handed_over


@dataclass(frozen=True)
class Fraction:
    """What counts as abnormally bright or dark in one modality.

    ``measure``: its name. ``above``: whether voxels above the threshold count, else those below. ``quantile``: setting
    of section ``signal`` that says which quantile of the controls is the threshold. ``ratio``: setting of the same
    section that is the threshold where there are no controls.
    """

    measure: str
    above: bool
    quantile: str
    ratio: str

    def threshold(self, protocol: Protocol) -> float:
        """Ratio to muscle that is the threshold where there are no controls."""
        return float(getattr(protocol.signal, self.ratio))

    def controls_quantile(self, protocol: Protocol) -> float:
        """Quantile of the controls' pooled ratios that is the threshold, 0 to 1."""
        return float(getattr(protocol.signal, self.quantile))


FRACTIONS = {
    Modality.T1W: Fraction("hyperintense_fraction", True, "hyperintense_quantile", "hyperintense_ratio"),
    Modality.T2W: Fraction("hypointense_fraction", False, "hypointense_quantile", "hypointense_ratio"),
}
"""The fraction of each modality that has one, which the second pass sets against controls."""


def signal_ratio(signal: npt.ArrayLike, reference: float) -> npt.NDArray[np.float64]:
    """Signal over the level of the reference tissue.

    Parameters
    ----------
    signal : array_like, any shape
        Signal, arbitrary unit.
    reference : float
        Level of the reference tissue in the same unit, above 0.

    Returns
    -------
    ndarray
        Dimensionless; 1 = as bright as the reference.

    Raises
    ------
    ValueError
        Where the reference is not above 0.

    Examples
    --------
    >>> signal_ratio([10.0, 40.0], 80.0)
    array([0.125, 0.5  ])
    """
    if not reference > 0:
        raise ValueError(f"reference level needs to be above 0, got {reference:g}")
    return np.asarray(signal, np.float64) / reference


def ratio_map(volume: Volume, muscle: Mask) -> Volume:
    """The lung-to-muscle ratio of every voxel of a bias-corrected MR image; unit 1, muscle = 1."""
    level = muscle_level(volume, muscle)
    if not level > 0:
        raise ImageError(f"{volume.name or volume.modality}: the reference muscle has no signal")
    array = np.empty(volume.shape, np.float32)
    for slab, signal in zip(array, volume.array, strict=True):
        slab[:] = signal_ratio(signal, level)
    return volume.replace(array=handed_over(array), unit="1", name=f"{volume.name} ratio to muscle")


def fraction_rows(
    histogram: pd.DataFrame, modality: str, threshold: float, flags: Collection[str] = ()
) -> list[dict[str, object]]:
    """Hyperintense (T1w) or hypointense (T2w) fraction of every region of a ratio histogram, in %."""
    rows, fraction = [], FRACTIONS[Modality(modality)]
    for region in histogram.columns[1:]:
        counts = histogram[region].to_numpy()
        below = share_below(counts, threshold)
        share = 1 - below if fraction.above else below
        rows.append(
            row(fraction.measure, 100 * share, modality=modality, region=region,
                n_voxels=int(counts.sum()), flags=flags)
        )  # fmt: skip
    return rows


@dataclass(frozen=True)
class SignalMeasurement:
    """What one T1w or T2w image gave: rows, the ratio map, and the ratio histogram by region."""

    rows: pd.DataFrame
    ratio: Volume
    histogram: pd.DataFrame


def measure_signal(
    volume: Volume,
    lungs: Mask,
    muscle: Mask,
    *,
    corrected: Volume | None = None,
    regions: Mapping[str, Mask] | None = None,
    noise: Noise | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> SignalMeasurement:
    """Everything of a T1w or T2w image that needs no controls.

    Parameters
    ----------
    volume : Volume
        T1w or T2w magnitude signal as acquired.
    lungs, muscle : Mask
        Lungs and skeletal muscle on the same grid.
    corrected : Volume, optional
        The image with its bias field removed; None removes it here.
    regions : mapping of str to Mask, optional
        None means :func:`ipha_toolkit.lung_regions` of the lungs.
    noise : Noise, optional
        Of the image; None estimates it here.
    flags : collection of str
        Codes set on every row.
    protocol : Protocol

    Returns
    -------
    SignalMeasurement

    Raises
    ------
    GridError
        Where masks and image are on different grids.
    ImageError
        Where the image is not T1w or T2w, or the muscle has no signal.
    """
    if volume.modality not in FRACTIONS:
        raise ImageError(f"{volume.name or 'volume'}: needs modality T1w or T2w, got {volume.modality}")
    for mask in (lungs, muscle, *(regions or {}).values()):
        volume.require_same_grid(mask)
    regions = lung_regions(lungs) if regions is None else regions
    corrected = correct_bias(volume, exclude=lungs) if corrected is None else corrected
    ratio = ratio_map(corrected, muscle)
    flags = _with_contrast(volume, flags)
    rows = _noise_rows(volume, lungs, muscle, regions, noise or estimate_noise(volume, lungs), flags, protocol)
    for name, region in regions.items():
        rows += _ratio_rows(ratio, region, name, flags)
    slope = dorsal_ventral_slope(ratio.array[lungs.array], anterior_mm(lungs))
    rows.append(_row(volume, "signal_dorsal_gradient", slope, Region.LUNG, lungs.n_voxels, flags))
    level = muscle_level(corrected, muscle)
    rows.append(_row(volume, "reference_level", level, Region.LUNG, muscle.n_voxels, flags))
    rows.append(_row(volume, "reference_volume", muscle.volume_ml, Region.LUNG, muscle.n_voxels, flags))
    return SignalMeasurement(table(rows), ratio, ratio_histogram(ratio, regions))


def measure_t1(
    t1w: Volume,
    lungs: Mask,
    reference: Mask,
    *,
    threshold: float | None = None,
    corrected: Volume | None = None,
    regions: Mapping[str, Mask] | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """T1w lung-to-muscle ratio by region, hyperintense fraction, noise and gradient.

    Parameters
    ----------
    t1w : Volume
        T1w magnitude signal as acquired.
    lungs, reference : Mask
        Lungs and skeletal muscle (:func:`ipha_toolkit.reference_tissue`) on the same grid.
    threshold : float, optional
        Ratio above which a voxel is hyperintense, from controls of the same sequence. None takes the protocol's
        fallback and flags the rows ``no_controls``.
    corrected, regions, flags, protocol
        As in :func:`measure_signal`.

    Returns
    -------
    DataFrame
        Rows of the one table. Higher = more T1w signal gain, which is not T1 shortening: water, blood,
        methemoglobin and contrast agent all raise it.

    Raises
    ------
    GridError, ImageError
        As :func:`measure_signal`.
    """
    return _with_fraction(t1w, Modality.T1W, threshold, lungs, reference, corrected, regions, flags, protocol)


def measure_t2(
    t2w: Volume,
    lungs: Mask,
    reference: Mask,
    *,
    threshold: float | None = None,
    corrected: Volume | None = None,
    regions: Mapping[str, Mask] | None = None,
    flags: Collection[str] = (),
    protocol: Protocol = DEFAULT,
) -> pd.DataFrame:
    """T2w lung-to-muscle ratio by region, hypointense fraction, noise and gradient.

    Parameters
    ----------
    t2w : Volume
        T2w magnitude signal as acquired.
    lungs, reference : Mask
        Lungs and skeletal muscle (:func:`ipha_toolkit.reference_tissue`) on the same grid.
    threshold : float, optional
        Ratio below which a voxel is hypointense, from controls of the same sequence. None takes the protocol's
        fallback and flags the rows ``no_controls``.
    corrected, regions, flags, protocol
        As in :func:`measure_signal`.

    Returns
    -------
    DataFrame
        Rows of the one table. A low ratio may be hemosiderin, but healthy lung is dark too: read it with the T1w
        ratio (:func:`ipha_toolkit.hemosiderin_signature`) and with ``noise_floor_share``.

    Raises
    ------
    GridError, ImageError
        As :func:`measure_signal`.
    """
    return _with_fraction(t2w, Modality.T2W, threshold, lungs, reference, corrected, regions, flags, protocol)


def is_contrast_enhanced(volume: Volume) -> bool:
    """Whether the sidecar names a contrast agent."""
    agent = str(volume.meta.get("ContrastBolusIngredient") or "").strip().lower()
    return agent not in ("", "none", "n/a", "no")


def _with_fraction(
    volume: Volume,
    role: Modality,
    threshold: float | None,
    lungs: Mask,
    reference: Mask,
    corrected: Volume | None,
    regions: Mapping[str, Mask] | None,
    flags: Collection[str],
    protocol: Protocol,
) -> pd.DataFrame:
    given = volume.replace(modality=volume.modality or role)
    if given.modality is not role:
        raise ImageError(f"{volume.name or 'volume'}: needs modality {role}, got {given.modality}")
    measured = measure_signal(
        given, lungs, reference, corrected=corrected, regions=regions, flags=flags, protocol=protocol
    )
    limit = FRACTIONS[role].threshold(protocol) if threshold is None else threshold
    reasons = [*_with_contrast(volume, flags), *(["no_controls"] if threshold is None else [])]
    fraction = table(fraction_rows(measured.histogram, role, limit, reasons))
    return pd.concat([measured.rows, fraction], ignore_index=True)


def _with_contrast(volume: Volume, flags: Collection[str]) -> list[str]:
    return [*flags, *(["contrast_enhanced"] if is_contrast_enhanced(volume) else [])]


def _ratio_rows(ratio: Volume, region: Mask, name: str, flags: Collection[str]) -> list[dict[str, object]]:
    values = ratio.array[region.array]
    known = values[np.isfinite(values)]
    low, median, high = np.percentile(known, (25, 50, 75)) if known.size else (np.nan, np.nan, np.nan)
    return [
        _row(ratio, "signal_ratio_median", median, name, known.size, flags),
        _row(ratio, "signal_ratio_iqr", high - low, name, known.size, flags),
    ]


def _noise_rows(
    volume: Volume,
    lungs: Mask,
    muscle: Mask,
    regions: Mapping[str, Mask],
    noise: Noise,
    flags: Collection[str],
    protocol: Protocol,
) -> list[dict[str, object]]:
    flags = [*flags, *noise.flags]
    bright, lung = muscle_level(volume, muscle), float(np.nanmedian(volume.array[lungs.array]))
    rows = [
        _row(volume, "noise_sigma", noise.sigma, Region.LUNG, noise.n_voxels, flags),
        _row(volume, "snr_muscle", bright / noise.sigma, Region.LUNG, muscle.n_voxels, flags),
        _row(volume, "snr_lung", lung / noise.sigma, Region.LUNG, lungs.n_voxels, flags),
    ]
    floor = protocol.signal.noise_floor_sigmas * noise.sigma
    for name, region in regions.items():
        values = volume.array[region.array]
        known = values[np.isfinite(values)]
        share = 100 * float(np.mean(known < floor)) if known.size and np.isfinite(floor) else np.nan
        rows.append(_row(volume, "noise_floor_share", share, name, known.size, flags))
    return rows


def _row(
    volume: Volume, measure: str, value: float, region: str, n_voxels: int, flags: Collection[str]
) -> dict[str, object]:
    return row(measure, value, modality=str(volume.modality), region=region, n_voxels=n_voxels, flags=flags)
