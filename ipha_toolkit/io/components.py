"""Magnitude, phase, real and imaginary images in the fourth axis of one MR file, as some exports leave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError

_WORDS = {
    "m": "magnitude", "mag": "magnitude", "magnitude": "magnitude", "p": "phase", "phase": "phase",
    "r": "real", "real": "real", "i": "imaginary", "imag": "imaginary", "imaginary": "imaginary",
}  # fmt: skip
_KEYS = ("ComplexImageComponent", "ImageType")
_CLOSE = 0.02
_SAMPLE = 20_000


def magnitude_only(
    array: npt.NDArray[Any], meta: Mapping[str, Any], path: Path
) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """The magnitude images of an MR file, and its facts with as many echo times as are left.

    Parameters
    ----------
    array : ndarray, shape (i, j, k[, n])
    meta : mapping
        Of the sidecars. ``ComplexImageComponent`` (or the words of ``ImageType``) may name what each of the n images
        is, in their order: MAGNITUDE, PHASE, REAL, IMAGINARY, or M, P, R, I.
    path : Path
        Named where it is refused.

    Returns
    -------
    array : ndarray
        3-D where one magnitude image is left; as given where the file does not hold several components.
    meta : dict

    Raises
    ------
    ReadError
        Where no component is magnitude, or images that nobody names are magnitude, real and imaginary by their values.
    """
    facts = dict(meta)
    if array.ndim != 4 or array.shape[3] < 2:
        return array, facts
    kinds = _kinds(facts, array.shape[3])
    if not kinds:
        _require_one_kind(array, path)
        return array, facts
    kept = [n for n, kind in enumerate(kinds) if kind == "magnitude"]
    if not kept:
        raise ReadError(
            f"{path}: holds {', '.join(dict.fromkeys(kinds))} by its sidecar, and no magnitude; export the magnitude "
            "images, or compute them as the root of real and imaginary squared and added"
        )
    times = facts.get("EchoTime")
    if isinstance(times, list) and len(times) == len(kinds):
        facts["EchoTime"] = [times[n] for n in kept]
    return (array[..., kept[0]] if len(kept) == 1 else array[..., kept]), facts


def _kinds(meta: Mapping[str, Any], count: int) -> list[str]:
    """What each image of the fourth axis is, by the sidecar; empty where it does not say so for all."""
    for key in _KEYS:
        words = meta.get(key)
        named = [_WORDS.get(str(word).strip().lower(), "") for word in words] if isinstance(words, list) else []
        kinds = [kind for kind in named if kind]
        if len(kinds) == count and len(set(kinds)) > 1:
            return kinds
    return []


def _require_one_kind(array: npt.NDArray[Any], path: Path) -> None:
    """Refuse images of which one is the root of the squares of two others, of either sign."""
    count = array.shape[3]
    if count % 3:
        return
    voxels = array.reshape(-1, count)
    voxels = voxels[:: max(1, len(voxels) // _SAMPLE)].astype(np.float64)
    for order, sets in (("in turn", voxels.reshape(-1, count // 3, 3)), ("one after the other",
                        np.swapaxes(voxels.reshape(-1, 3, count // 3), 1, 2))):  # fmt: skip
        magnitude, real, imaginary = np.moveaxis(sets, -1, 0)
        bright = magnitude > np.nanmean(magnitude)
        signed = (real < 0).any() and (imaginary < 0).any()
        if not signed or not bright.any() or np.nanmin(magnitude) < 0:
            continue
        if np.nanmedian(np.abs(np.hypot(real, imaginary)[bright] / magnitude[bright] - 1)) < _CLOSE:
            raise ReadError(
                f"{path}: its {count} images are magnitude, real and imaginary {order} by their values, and only "
                "magnitude is measured; export it alone, or name them in the JSON sidecar in their order: "
                '"ComplexImageComponent": ["MAGNITUDE", "REAL", "IMAGINARY"]'
            )
