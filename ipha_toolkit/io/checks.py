"""What every image has to pass, whatever its format: size before memory, units, places, scale and values."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError, ReadError
from ipha_toolkit.grid import Affine, checked_affine
from ipha_toolkit.settings import ReadingSettings
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Volume

_MM = {"": 1.0, "unknown": 1.0, "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0}
_MM |= dict.fromkeys(("um", "µm", "μm", "micron", "micrometer", "micrometre"), 0.001)
_MM |= {"cm": 10.0, "centimeter": 10.0, "m": 1000.0, "meter": 1000.0, "metre": 1000.0}


def require_size(path: Path, shape: Sequence[int], itemsize: int, settings: ReadingSettings) -> int:
    """Bytes that the voxels take, refused before memory is asked for where they are too many.

    Raises
    ------
    ReadError
        Where an axis has no voxel, or all together are larger than the setting ``largest_gb``.
    """
    if not 2 <= len(shape) <= 7 or min(shape) < 1:
        raise ReadError(f"{path}: the header gives the shape {_times(shape)}; each of 2 to 7 axes needs a voxel")
    size = prod(int(length) for length in shape) * itemsize
    if size > settings.largest_gb * 1e9:
        raise ReadError(
            f"{path}: the header promises {_times(shape)} voxels, {size / 1e9:.3g} GB; at most "
            f"{settings.largest_gb:g} GB are read (setting reading.largest_gb); crop or resample the image"
        )
    return size


def unit_in_mm(path: Path, unit: str) -> float:
    """Millimetres of the unit a header names; no unit is taken as mm.

    Raises
    ------
    ReadError
        Where it is no unit of length.
    """
    try:
        return _MM[unit.strip().lower()]
    except KeyError:
        raise ReadError(f"{path}: lengths are in {unit[:80]!r}; needs mm, cm, m or um in the header") from None


def require_place(path: Path, affine: npt.ArrayLike, shape: Sequence[int], settings: ReadingSettings) -> Affine:
    """The affine, where it places voxels of a size that scans of a patient have.

    Raises
    ------
    ReadError
        Where the affine is not finite or singular, or a voxel is smaller or larger than the setting ``spacing_mm``.
    """
    try:
        matrix = checked_affine(affine, str(path))
    except ValueError as error:
        raise ReadError(" ".join(str(error).split())) from None
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    low, high = settings.spacing_mm
    counted = [step for step, length in zip(spacing, (*shape, 1, 1)[:3], strict=True) if length > 1]
    if any(not low <= step <= high for step in counted):
        raise ReadError(
            f"{path}: voxels measure {' x '.join(f'{step:.3g}' for step in spacing)} mm; a scan of a patient has "
            f"{low:g} to {high:g} mm (setting reading.spacing_mm); mend the header's spacing or its unit"
        )
    return matrix


def require_slope(path: Path, slope: float, intercept: float, name: str) -> None:
    """Refuse a factor that takes the stored numbers their meaning; one rule for NIfTI, DICOM and what may come.

    Raises
    ------
    ReadError
        Where the factor is zero, or it or the offset is not finite.
    """
    if slope == 0 or not (isfinite(slope) and isfinite(intercept)):
        raise ReadError(
            f"{path}: scale factor ({name}) is {slope:g} with offset {intercept:g}, so the stored numbers "
            f"have no meaning; set {name} to 1 if they are the signal, or export the file again"
        )


def require_measurable(image: Volume, settings: ReadingSettings) -> None:
    """Refuse to measure an image whose values cannot be what its modality measures: HU of a chest, signal magnitude.

    Raises
    ------
    ImageError
        Where a CT has no value as low as the air in lungs, none as high as tissue, is cut to a window or denser than
        any body, an MR image holds no value above zero, a part of it lies below, or a T1w has the echo time of a T2w.
    """
    if image.modality is Modality.CT:
        _require_chest_hu(image, settings)
    elif image.modality is not Modality.DX:
        _require_magnitude(image, settings)
        _require_t1_weighting(image, settings)


def _require_chest_hu(ct: Volume, settings: ReadingSettings) -> None:
    low, high = np.fmin.reduce(ct.array, axis=None), np.fmax.reduce(ct.array, axis=None)
    if high < settings.ct_tissue_hu:
        raise ImageError(
            f"{ct.name}: the highest value is {high:.4g} HU, so there is no tissue of {settings.ct_tissue_hu:g} HU or "
            "more; the values are not Hounsfield units, were cut to a window, or no chest is in view; export it again"
        )
    if low > settings.ct_air_hu:
        raise ImageError(
            f"{ct.name}: the lowest value is {low:.4g} HU, so there is no air of {settings.ct_air_hu:g} HU or less; "
            "the values are not Hounsfield units (offset or slope lost?), or no lung is in view; export it again"
        )
    if low > _AIR_HU and np.count_nonzero(ct.array == low) > settings.ct_clipped_share * ct.array.size:
        raise ImageError(
            f"{ct.name}: {np.mean(ct.array == low):.0%} of the values are {low:.4g} HU and none is lower, so they were "
            "cut to a window and clear lung is lost; export the image again with all its values"
        )
    if (middle := np.median(_every_few(ct))) > settings.ct_median_hu:
        raise ImageError(
            f"{ct.name}: half of the values are {middle:.4g} HU or more, denser than any body; they are not Hounsfield "
            "units (slope negative or lost?); export it again"
        )


def _require_magnitude(image: Volume, settings: ReadingSettings) -> None:
    if np.fmax.reduce(image.array, axis=None) <= 0:
        raise ImageError(
            f"{image.name}: holds no value above zero, an MR image needs magnitudes; its scale factor has the wrong "
            "sign, or it is no magnitude image; export it again"
        )
    values = _every_few(image)
    below = np.mean(values < -0.02 * np.percentile(values, 99))
    if below > settings.mr_negative_share:
        raise ImageError(
            f"{image.name}: {below:.0%} of the values lie below zero, and the magnitude of a signal never does; it was "
            "standardized, subtracted or is not the magnitude, and has no ratio to muscle; export the image as acquired"
        )


def _require_t1_weighting(image: Volume, settings: ReadingSettings) -> None:
    echo = image.meta.get("EchoTime")
    if image.modality is Modality.T1W and isinstance(echo, float | int) and settings.t1w_longest_echo_s < echo < 1:
        raise ImageError(
            f"{image.name}: is called T1w, and its sidecar gives an echo time of {1000 * echo:.3g} ms, of a T2w; name "
            f"it _T2w, or put its own sidecar beside it (T1w has at most {1000 * settings.t1w_longest_echo_s:g} ms, "
            "setting reading.t1w_longest_echo_s)"
        )


_AIR_HU = -950.0
"""Air outside the body is -1000 HU, in some voxels 50 more; lung -900 to -700."""


def _every_few(image: Volume) -> npt.NDArray[Any]:
    """A million finite voxels or fewer, evenly over the image."""
    values = image.array.ravel()
    few = values[:: 1 + values.size // 1_000_000]
    few = few[np.isfinite(few)]
    return few if few.size else values[np.isfinite(values)]


def require_plausible(path: Path, values: npt.NDArray[Any], role: Modality, settings: ReadingSettings) -> None:
    """Refuse an image whose values cannot be those of a scan of its modality; NaN is no value.

    Raises
    ------
    ReadError
        Where no value is finite, all are the same, or one is further from zero than or nearer to zero than the settings
        ``ct_highest_hu``, ``mr_peak`` and ``film_highest`` allow.
    """
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if np.isnan(low):
        raise ReadError(f"{path}: holds no finite value in {values.shape} voxels; export the image again")
    if low == high:
        raise ReadError(f"{path}: is constant, every voxel is {low:g}; export the image again")
    _require_bound(path, float(low), float(high), role, settings)


def _require_bound(path: Path, low: float, high: float, role: Modality, settings: ReadingSettings) -> None:
    if role is Modality.CT and high > settings.ct_highest_hu:
        raise ReadError(
            f"{path}: holds {high:.4g} HU, scanners write at most {settings.ct_highest_hu:g} HU; the file is damaged "
            "or not in Hounsfield units; export it again"
        )
    name, least, most = "film_highest", 0.0, settings.film_highest
    if role is not Modality.DX:
        name, (least, most) = "mr_peak", settings.mr_peak
    if role is not Modality.CT and not least <= max(-low, high) <= most:
        raise ReadError(
            f"{path}: its largest value is {max(-low, high):.3g}, of a scan it lies within {least:g} to {most:.3g} "
            f"(setting reading.{name}); the file is damaged or its scale factor wrong; export it again"
        )


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)
