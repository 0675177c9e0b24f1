"""How a patient stands for a radiograph: turned, arms raised, the film cut close; and a child's proportions by age."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ipha_toolkit.grid import FloatArray

Array = npt.NDArray[np.floating]

_AGES = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 16.0)
_STATURE_CM = (75.0, 87.0, 95.5, 110.0, 127.0, 150.0, 172.0)
"""Medians of girls and boys together, rounded: WHO Child Growth Standards 2006 (1 to 5 years, doi
10.1111/j.1651-2227.2006.tb02378.x) and WHO reference 2007 (doi 10.2471/BLT.07.043497); an adult's at 16."""
_WIDE = (1.12, 1.10, 1.08, 1.05, 1.02, 1.0, 1.0)
_DEEP = (1.20, 1.17, 1.14, 1.09, 1.05, 1.02, 1.0)
"""Chest over an adult's of the same stature. At a year the chest's circumference is that of the head, 46 cm (WHO 2006),
0.61 of stature against 0.52 in adults; how it shares out on width and depth is chosen: infants' chests are rounder."""
_HEART = (1.25, 1.22, 1.18, 1.12, 1.07, 1.03, 1.0)
"""Chosen so that heart over chest is wider in a small child than in an adult."""


@dataclass(frozen=True)
class FilmPose:
    """How a film is taken.

    Parameters
    ----------
    rotated_deg : float
        Turn about the body's long axis, -30 to 30. The truth stays that of the body as it was.
    arms_up : bool
        Both arms beside the head.
    cut : (float, float, float, float)
        Shares of the film cut off at the patient's left, right, below and above, each 0 to 0.4.
    """

    rotated_deg: float = 0.0
    arms_up: bool = False
    cut: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not -30 <= self.rotated_deg <= 30:
            raise ValueError(f"rotated_deg is from -30 to 30, got {self.rotated_deg}")
        if len(self.cut) != 4 or not all(0 <= share <= 0.4 for share in self.cut):
            raise ValueError(f"cut needs four shares of the film from 0 to 0.4, got {self.cut}")


AS_USUAL = FilmPose()
"""Straight, arms down, the whole chest."""


def child_proportions(age_years: float) -> dict[str, float]:
    """Size against an adult, and width, depth and heart of the chest against an adult's of that size.

    Raises
    ------
    ValueError
        Where the age is below 1 or above 120.
    """
    if not 1 <= age_years <= 120:
        raise ValueError(f"age_years is from 1 to 120, got {age_years}")
    columns = {"scale": np.divide(_STATURE_CM, _STATURE_CM[-1]), "wide": _WIDE, "deep": _DEEP, "heart": _HEART}
    return {name: float(np.interp(age_years, _AGES, column)) for name, column in columns.items()}


def turned(hu: FloatArray, degrees: float) -> FloatArray:
    """The body turned about its long axis, air where nothing was."""
    if not degrees:
        return hu
    return np.asarray(ndimage.rotate(hu, degrees, axes=(0, 1), reshape=False, order=1, cval=-1000.0), np.float32)


def arms_hu(hu: FloatArray, axes: tuple[Array, Array, Array], scale: float) -> FloatArray:
    """The body with both arms raised: soft tissue around a bone, from the shoulder up beside the head."""
    x, _, z = axes
    y = axes[1]
    up = np.clip((z - 105 * scale) / (80 * scale), 0, 1.5)
    middle = scale * (150 + 22 * up)
    away = np.hypot(np.abs(x) - middle, y + 10 * scale)
    raised = z > 105 * scale
    armed = np.where((away < 38 * scale) & raised, np.maximum(hu, 40.0), hu)
    return np.asarray(np.where((away < 11 * scale) & raised, 600.0, armed), np.float32)


def cut_off(film: FloatArray, cut: tuple[float, ...]) -> tuple[FloatArray, tuple[int, int]]:
    """A film of shape (i, k) cut close, and where its first pixel lay."""
    (left, right, below, above), (i, k) = cut, film.shape
    first = (round(left * i), round(below * k))
    return film[first[0] : i - round(right * i), first[1] : k - round(above * k)], first
