"""Series as they are: parted into images, each with its geometry, the facts that speak for a role, and what is wrong.

A series is parted where it holds more than one image: magnitude and phase, several time points, several kernels.
Echoes stay together. A scan that came with a series UID a slice is put together again. All lengths are in mm, in
DICOM's LPS until :attr:`Stack.affine`, which is RAS+ as everywhere here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from ipha_toolkit.grid import Affine
from ipha_toolkit.io.decode import cannot_decode
from ipha_toolkit.io.dicom_headers import Frame, Series, Vector

TILTED_DEG = 0.5
"""Slices shifted against their normal by more than this angle are tilted; less is rounding of positions."""
_EVEN = 0.02
"""A slice may lie this share of the distance between slices from where even spacing puts it."""
_TURNED = 1e-3
"""Cosines that differ by more than this are of another orientation."""
_COMPONENTS = {"P": "phase", "PHASE": "phase", "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary"}
_FILMS = ("CR", "DX", "RG", "XC")


@dataclass(frozen=True)
class Stack:
    """Slices of one image in order, and how far they are from a volume.

    ``gaps``: slices missing between others. ``tilt_deg``: angle between the shift from slice to slice and the slices'
    normal. ``wrong``: why it is no volume, in words; empty where it is one, but for gaps and tilt.
    """

    frames: tuple[Frame, ...]
    affine: Affine
    places: tuple[int, ...]
    gaps: int = 0
    tilt_deg: float = 0.0
    wrong: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices, missing ones counted."""
        return self.frames[0].columns, self.frames[0].rows, self.places[-1] + 1

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between columns, rows and slices."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)


@dataclass(frozen=True)
class Part:
    """One image of a series: a row of the plan. ``echoes``: a stack an echo time, shortest first."""

    key: str
    series: Series
    echoes: tuple[Stack, ...]
    words: str = ""
    wrong: tuple[str, ...] = ()

    @property
    def frames(self) -> list[Frame]:
        """All images of the part."""
        return [frame for stack in self.echoes for frame in stack.frames]

    @property
    def is_film(self) -> bool:
        """Whether it is a radiograph, by its modality."""
        return str(self.series.header.get("Modality", "")) in _FILMS


def parts(series: Iterable[Series]) -> list[Part]:
    """Images of all series, in the order of series; those without images (reports, masks) have no echoes."""
    found = []
    for each in _rejoined(list(series)):
        found += list(_parted(each)) if each.frames else [Part(each.key, each, (), wrong=_unreadable(each))]
    return found


def arrange(frames: Sequence[Frame]) -> Stack:
    """Order the slices of one image by place.

    Parameters
    ----------
    frames : sequence of Frame
        At least one.
    """
    first = frames[0]
    if first.position is None or first.orientation is None or first.spacing is None:
        many = f"{len(frames)} images without positions" if len(frames) > 1 else ""
        return Stack(tuple(frames), np.eye(4), tuple(range(len(frames))), wrong=many)
    wrong = _unlike(frames)
    if wrong:
        return Stack(tuple(frames), np.eye(4), tuple(range(len(frames))), wrong=wrong)
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    ordered = sorted(frames, key=lambda frame: float(np.dot(frame.position or (), normal)))
    corners = np.array([frame.position for frame in ordered])
    places, step, wrong = _places(corners @ normal)
    shift = (corners[-1] - corners[0]) / max(places[-1], 1) if len(ordered) > 1 else normal * (first.thickness or 1.0)
    tilt = float(np.degrees(np.arccos(np.clip(np.dot(shift, normal) / np.linalg.norm(shift), -1, 1)))) if step else 0.0
    off = corners - corners[0] - np.outer(places, shift)
    if not wrong and np.abs(off).max() > _EVEN * max(step, 0.5):
        wrong = f"slices do not lie in one row, one is {np.abs(off).max():.2g} mm aside"
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([across * first.spacing[1], down * first.spacing[0], shift, corners[0]])
    gaps = places[-1] + 1 - len(places)
    tilted = tilt if tilt > TILTED_DEG else 0.0
    return Stack(tuple(ordered), np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix, places, gaps, tilted, wrong)


def _places(along: Any) -> tuple[tuple[int, ...], float, str]:
    """Number of each slice on an even grid, its step in mm, and why there is none."""
    steps = np.diff(along)
    if not len(steps):
        return (0,), 0.0, ""
    numbers = tuple(range(len(along)))
    if steps.min() < 1e-3:
        twice = int((steps < 1e-3).sum())
        return numbers, 0.0, f"{twice + 1} of {len(along)} images lie at one place" if twice else ""
    step = float(np.median(steps[steps < 1.5 * steps.min()]))
    counts = np.rint(steps / step)
    if np.abs(steps - counts * step).max() > _EVEN * step * max(1.0, counts.max()):
        return numbers, step, f"spacing varies, {steps.min():.3g} to {steps.max():.3g} mm between slices"
    return tuple(int(n) for n in np.concatenate([[0], np.cumsum(counts)])), step, ""


def _unlike(frames: Sequence[Frame]) -> str:
    """Why images cannot be one volume before their places are looked at."""
    placed = [frame.orientation for frame in frames if frame.position is not None and frame.orientation is not None]
    if len(placed) < len(frames):
        return f"{len(frames) - len(placed)} of {len(frames)} images have no position"
    turned = _distinct(np.array(placed), _TURNED)
    if turned > 1:
        return f"mixed orientation, its {len(frames)} slices lie in {turned} directions"
    cut = _distinct(np.array([(f.rows, f.columns, *(f.spacing or (0, 0))) for f in frames]), 1e-4)
    return f"its {len(frames)} slices have {cut} different matrices or pixel sizes" if cut > 1 else ""


def _distinct(rows: Any, tolerance: float) -> int:
    left, count = np.asarray(rows, float), 0
    while len(left):
        left, count = left[np.abs(left - left[0]).max(axis=1) > tolerance], count + 1
    return count


def _parted(series: Series) -> Iterator[Part]:
    """The images of one series: same component, kernel and time together."""
    if str(series.header.get("Modality", "")) in _FILMS:
        yield from _films(series)
        return
    groups = _by(series.frames, lambda frame: (component(frame), _image(frame), frame.kernel))
    lots = [lot for group in groups for lot in _by_time(group)]
    if len(lots) > 1 and all(len(lot) == 1 for lot in lots) and len({_place(f)[1:] for f in series.frames}) == 1:
        lots = [series.frames]  # one slice over and over, such as the watch for a bolus
    for number, frames in enumerate(lots):
        echoes = [arrange(lot) for lot in _by(frames, lambda frame: frame.te_ms or 0.0)]
        what = component(frames[0])
        words = f"{number + 1} of {len(lots)} images of one series" if len(lots) > 1 else ""
        wrong = [*_unreadable(series), *([f"{what} image"] if what != "magnitude" else [])]
        key = series.key if len(lots) == 1 else f"{series.key}#{number + 1}"
        yield Part(key, series, tuple(_one_shape(echoes)), words, tuple(dict.fromkeys(wrong)))


def _films(series: Series) -> Iterator[Part]:
    """Radiographs of a series, frontal and lateral often together, each alone."""
    many = len(series.frames)
    for number, frame in enumerate(
        sorted(series.frames, key=lambda frame: (frame.instance, frame.uid, frame.index)), 1
    ):
        key = series.key if many == 1 else f"{series.key}#{frame.uid}#{frame.index}"
        words = f"{number} of {many} images of one series" if many > 1 else ""
        yield Part(key, series, (arrange([frame]),), words, _unreadable(series))


def _one_shape(echoes: list[Stack]) -> list[Stack]:
    """Localizers and cardiac series have an echo time a slice: where echoes are not on one grid, they are one stack."""
    if len(echoes) < 2:
        return echoes
    same = all(
        echo.shape == echoes[0].shape and np.allclose(echo.affine, echoes[0].affine, atol=1e-2) for echo in echoes[1:]
    )
    return echoes if same and not any(e.wrong for e in echoes) else [arrange([f for e in echoes for f in e.frames])]


def component(frame: Frame) -> str:
    """``magnitude``, ``phase``, ``real`` or ``imaginary``."""
    words = {word.upper() for word in (*frame.kind[2:], frame.times[3])}
    return next((name for word, name in _COMPONENTS.items() if word in words or f"{word}_FFE" in words), "magnitude")


def _image(frame: Frame) -> tuple[str, ...]:
    """Words of ImageType that tell images of one series apart, such as WATER and FAT."""
    return tuple(sorted({word for word in frame.kind[2:] if not word.startswith("CT_SOM")}))


def _by_time(frames: list[Frame]) -> list[list[Frame]]:
    """Images of one kind parted into time points, where several lie at one place and a fact tells them apart."""
    most = max(len(list(same)) for _, same in groupby(sorted(map(_place, frames))))
    if most == 1:
        return [frames]
    for fact in range(3):
        lots = _by(frames, lambda frame, fact=fact: frame.times[fact])
        if len(lots) > 1 and all(len(lot) == len(set(map(_place, lot))) for lot in lots):
            return lots
    return [frames]


def _place(frame: Frame) -> tuple[Any, ...]:
    where = (*(frame.position or ()), *(frame.orientation or ()))
    return (frame.te_ms or 0.0, *(round(value, 3) for value in where)) if where else (frame.uid, frame.index)


def _by(frames: Iterable[Frame], key: Any) -> list[list[Frame]]:
    groups: dict[Any, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return [groups[name] for name in sorted(groups)]


def _unreadable(series: Series) -> tuple[str, ...]:
    """What keeps the pixels of a series from being read."""
    header = series.header
    wrong = []
    if series.problems:
        wrong.append(f"{len(series.problems)} of its {series.n_files} files are damaged or truncated")
    reason = cannot_decode(header.file_meta.get("TransferSyntaxUID")) if series.frames else ""
    if reason:
        wrong.append(reason)
    if "MOSAIC" in (series.frames[0].kind if series.frames else ()):
        wrong.append("its slices are tiled in one picture (MOSAIC), which is not read here")
    return tuple(wrong)


def _rejoined(series: list[Series]) -> list[Series]:
    """Scans whose every slice came as a series of its own are put together, by what else their headers share."""
    alone: dict[tuple[Any, ...], list[Series]] = {}
    for each in series:
        if len(each.frames) == 1 and each.frames[0].position is not None and each.n_files == 1:
            alone.setdefault(_family(each), []).append(each)
    joined, gone = {}, set()
    for family in alone.values():
        places = {_place(each.frames[0]) for each in family}
        if len(family) > 2 and len(places) == len(family):
            frames = [frame for each in family for frame in each.frames]
            joined[id(family[0])] = replace(family[0], frames=frames, n_files=len(family))
            gone |= {id(each) for each in family[1:]}
    return [joined.get(id(each), each) for each in series if id(each) not in gone]


def _family(series: Series) -> tuple[Any, ...]:
    frame, header = series.frames[0], series.header
    names = ("Modality", "SeriesNumber", "SeriesDescription", "ProtocolName", "StudyDate")
    turned: Vector = tuple(round(value, 3) for value in frame.orientation or ())
    same = (frame.rows, frame.columns, frame.spacing, turned, frame.kind, frame.te_ms, frame.kernel, frame.thickness)
    patient = series.patient if not series.patient.startswith("folder") else series.frames[0].source.folder
    return (patient, *(str(header.get(name) or "") for name in names), *same)
