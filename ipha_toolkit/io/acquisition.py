"""How an image was made: the facts by which two images can be told to be of one sequence.

Facts come from the sidecar in BIDS spelling, from the labels of the file's name and from the voxels' size; what nobody
says stays unknown and is never guessed.
"""

from __future__ import annotations

import re
from typing import Any

from ipha_toolkit.io.claims import in_expiration, labels_in
from ipha_toolkit.series_lines import LUNG_KERNELS, SOFT_KERNELS
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Volume

FACTS: dict[str, str] = {
    "field_t": "field strength, T",
    "te_ms": "echo time, ms; of several echoes the first",
    "tr_ms": "repetition time, ms",
    "flip_deg": "flip angle, degrees",
    "fat_suppressed": "whether fat was suppressed: yes, no",
    "contrast": "whether a contrast agent was given: yes, no",
    "plane": "axial, coronal or sagittal; 3-D where voxels are about as long as wide",
    "thickness_mm": "slice thickness, or the longest side of a voxel, mm",
    "kernel": "kind of CT kernel: soft, lung, or its name",
    "kvp": "tube voltage, kV",
    "breath": "expiration where the name says so, else inspiration, which is taken for granted",
}
"""Columns of ``acquisitions.tsv`` after subject, session and modality."""
ACQUISITION_COLUMNS = ("subject", "session", "modality", *FACTS)

_NUMBERS = {
    "field_t": ("MagneticFieldStrength", 1.0, 25.0, "T"), "te_ms": ("EchoTime", 1e3, 2.0, "s"),
    "tr_ms": ("RepetitionTime", 1e3, 100.0, "s"), "flip_deg": ("FlipAngle", 1.0, 360.0, "degrees"),
    "kvp": ("KVP", 1.0, 500.0, "kV"),
}  # fmt: skip
"""Name in a sidecar, factor to the unit here, and the most that is believed, chosen: what is more has another unit."""
FAT_WORDS = frozenset({"fs", "fatsat", "spair", "spir", "stir", "tirm"})
"""Words of a series' name that mean that fat was suppressed."""
_PLANES = ("sagittal", "coronal", "axial")
_NO_AGENT = ("", "none", "n/a", "no")


def acquisition_of(volume: Volume) -> dict[str, str | float]:
    """Facts of :data:`FACTS` that an image's sidecar, name and voxels give; what is unknown is left out.

    Parameters
    ----------
    volume : Volume
        As read: ``meta`` in BIDS spelling, ``name`` the file's.

    Returns
    -------
    dict
        Numbers as floats, words as text.
    """
    meta = volume.meta
    found: dict[str, str | float] = {
        fact: round(float(meta[name]) * scale, 4)
        for fact, (name, scale, most, _) in _NUMBERS.items()
        if _is_number(meta.get(name), most)
    }
    if volume.modality is Modality.CT:
        found |= _kernel(str(meta.get("ConvolutionKernel") or ""))
        found["breath"] = "expiration" if in_expiration(volume.name) else "inspiration"
    elif volume.modality is not Modality.DX:
        found["contrast"] = "yes" if str(meta.get("ContrastBolusIngredient") or "").lower() not in _NO_AGENT else "no"
        found |= _fat(volume)
    if volume.modality is not Modality.DX and min(volume.shape) > 1:
        found |= _slices(volume)
    return found


def unbelieved(volume: Volume) -> list[str]:
    """What an image's sidecar gives as a number of :data:`FACTS` and is none, in words; it counts as not given."""
    return [
        f"{name} = {str(volume.meta[name])[:40]!r} is no number above 0 up to {most:g} {unit}; it counts as not given"
        for name, _, most, unit in _NUMBERS.values()
        if volume.meta.get(name) is not None and not _is_number(volume.meta[name], most)
    ]


def _slices(volume: Volume) -> dict[str, str | float]:
    longest = max(volume.spacing_mm)
    shortest = min(volume.spacing_mm)
    given = volume.meta.get("SliceThickness")
    axis = _PLANES[volume.spacing_mm.index(longest)] if longest > 1.8 * shortest else "3-D"
    return {"plane": axis, "thickness_mm": round(float(given or 0) if _is_number(given) else longest, 3)}


def _fat(volume: Volume) -> dict[str, str]:
    """Of the sidecar's options of the scan, or the label ``acq``; unknown where neither is there."""
    told = volume.meta.get("FatSuppression")
    if told is not None:
        return {"fat_suppressed": "yes" if str(told).lower() in ("true", "yes", "1") else "no"}
    options = volume.meta.get("ScanOptions")
    words = [str(word).lower() for word in (options if isinstance(options, list) else str(options or "").split("\\"))]
    label = labels_in(volume.name).get("acq", "").lower()
    if any(word.strip() in FAT_WORDS for word in words) or any(label.endswith(name) for name in FAT_WORDS):
        return {"fat_suppressed": "yes"}
    return {"fat_suppressed": "no"} if options is not None else {}


def _kernel(name: str) -> dict[str, str]:
    if not name:
        return {}
    kinds = {"soft": SOFT_KERNELS, "lung": LUNG_KERNELS}
    return {"kernel": next((kind for kind, pattern in kinds.items() if re.search(pattern, name, re.I)), name)}


def _is_number(value: Any, most: float = 1000.0) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most
