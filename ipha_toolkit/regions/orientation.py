"""Whether a CT lies as its header says: windpipe at the upper end of the lungs, spine behind them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ImageError
from ipha_toolkit.grid import BoolArray, FloatArray

_TUBE_MM = 40.0
_LOW = 0.35
"""Mean height of the windpipe over that of the lungs, 0 their lower end. Chosen: real and simulated chests 0.87 to
1.06, upside down -0.06 to 0.13."""

_CUT_SHARE = 0.3
"""Of the largest plane of air, on the uppermost: more is lung, less may be gas of the bowel."""

_BONE_HU = 200.0
_BESIDE_MM = 35.0
"""Half the width of what holds the spine and the sternum."""
_LEAST_BONE_ML = 10.0
_FRONT = 0.7
"""Of the bone in the front and the back third of the lungs' depth. Chosen: real and simulated chests 0 to 0.21. The
heart full of contrast agent lies between."""


def require_upright(
    name: str, air: BoolArray, tubes: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]
) -> None:
    """Refuse a CT of which the header says that it stands on its head or faces backwards.

    Parameters
    ----------
    name : str
        Of the image, for the message.
    air : bool array, shape (i, j, k)
        Air inside the body, RAS order.
    tubes : bool array, same shape
        What of it may be a windpipe: :func:`ipha_toolkit.regions.airways.midline_tubes`.
    hu : array, same shape
    spacing : array, shape (3,)
        mm.

    Raises
    ------
    ImageError
        Where a windpipe of at least 40 mm leaves the lungs at their lower end, or bone of at least 10 mL, such as a
        spine, lies in front of the lungs. Nothing is said of single coronal or sagittal slices, of lungs that are cut
        at their upper end, and of right and left, which a chest does not tell.
    """
    if not air.any() or min(air.shape[:2]) == 1:
        return
    if _bone_in_front(air, hu, spacing) > _FRONT:
        raise _lies(name, "back to front", "the spine lies in front of the lungs")
    if air.shape[2] > 1 and _windpipe_height(air, tubes, spacing) < _LOW:
        raise _lies(name, "upside down", "the windpipe leaves the lungs at their lower end")


def _windpipe_height(air: BoolArray, tubes: BoolArray, spacing: npt.NDArray[np.float64]) -> float:
    """Mean height of the windpipe, 0 at the lower end of the lungs and 1 at the upper; infinite where none is seen."""
    heights = np.nonzero(tubes)[2]
    areas = np.count_nonzero(air, axis=(0, 1))
    if areas[-1] > _CUT_SHARE * areas.max() or len(np.unique(heights)) * spacing[2] < _TUBE_MM:
        return np.inf
    low, high = np.percentile(np.nonzero(air & ~tubes)[2], [2, 98])
    return float(np.mean(heights) - low) / max(float(high - low), 1.0)


def _bone_in_front(air: BoolArray, hu: FloatArray, spacing: npt.NDArray[np.float64]) -> float:
    """Share of the bone in front of the lungs, of that in front of and behind them; 0 where there is too little."""
    x, y, z = np.nonzero(air)
    middle, reach = np.mean(np.percentile(x, [1, 99])), _BESIDE_MM / spacing[0]
    band = (hu > _BONE_HU)[max(0, round(middle - reach)) : round(middle + reach) + 1, :, z.min() : z.max() + 1]
    rows = band.sum(axis=(0, 2)) * spacing.prod() / 1000
    back, front = np.percentile(y, [2, 98])
    third = (front - back) / 3
    behind, before = rows[: round(back + third)].sum(), rows[round(front - third) :].sum()
    return float(before / (before + behind)) if before > _LEAST_BONE_ML else 0.0


def _lies(name: str, how: str, seen: str) -> ImageError:
    return ImageError(
        f"{name or 'volume'}: lies {how} by its header: {seen}. Convert the DICOM files again, or mend the orientation "
        "(affine, sform) of the image and of the masks made on it"
    )
