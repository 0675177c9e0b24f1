"""One image with what is found once for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from ipha_toolkit.errors import GridError
from ipha_toolkit.io.claims import in_expiration
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.io.layout import MaskFile, SessionFiles
from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

Segmenter = Callable[[Volume], Mask]
"""Finds lungs: takes an image, returns a Mask on its grid."""


@dataclass(frozen=True)
class Context:
    """What the measurement of a session needs beside its images."""

    protocol: Protocol = DEFAULT
    segment: Segmenter | None = None
    flags: tuple[str, ...] = ()


def find_lungs(
    files: SessionFiles, volume: Volume, context: Context, found: Mask | None = None
) -> tuple[Mask, tuple[str, ...]]:
    """Lung mask of one image with the flags its rows carry: a foreign one, else the one already found, else ours.

    Raises
    ------
    GridError
        Where a foreign mask lies on another grid.
    ImageError
        Where no lung is found.
    """
    from ipha_toolkit.regions.lung_checks import lung_flags
    from ipha_toolkit.regions.lungs import segment_lungs

    given = foreign(files.lungs, volume)
    expired = ("expiration",) if volume.modality is Modality.CT and in_expiration(volume.name) else ()
    of_image = (*context.flags, *volume.meta.get("ReadFlags", ()), *expired)
    if given is not None:
        return given, (*of_image, *lung_flags(given, volume), "foreign_mask")
    ours = partial(segment_lungs, protocol=context.protocol) if found is None else lambda _: found
    lungs = (context.segment or ours)(volume)
    volume.require_same_grid(lungs)
    return lungs, (*of_image, *lung_flags(lungs, volume))


def seen_in_t1w(volume: Volume, single: SessionResult, kind: str) -> Mask | None:
    """Lung or muscle of a T2w image as found in the session's T1w on the same grid: blood and water make the lung as
    bright as muscle, and fat brighter, on T2w, while on T1w the lung stays darker."""
    mask = single.images.get(f"{Modality.T1W}_desc-{kind}_mask.nii.gz")
    usable = volume.modality is Modality.T2W and isinstance(mask, Mask) and mask.same_grid(volume)
    return cast(Mask, mask) if usable else None


def foreign(masks: dict[Modality, MaskFile], volume: Volume) -> Mask | None:
    """The foreign mask of this image; of T1w and T2w on one grid, either serves both."""
    assert volume.modality is not None
    file = masks.get(volume.modality)
    if file is not None:
        mask = load_mask(file.path, labels=file.labels, image=volume)
        if not volume.same_grid(mask):
            raise GridError(
                f"{file.path}: mask is on a different grid {mask.shape} than {volume.name} {volume.shape}; resample it "
                "to the image, nearest neighbor, and save it again"
            )
        return mask
    for other in {Modality.T1W, Modality.T2W} - {volume.modality} if volume.modality in ("T1w", "T2w") else ():
        if other in masks:
            mask = load_mask(masks[other].path, labels=masks[other].labels)
            return mask if volume.same_grid(mask) else None
    return None
