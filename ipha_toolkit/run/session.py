"""One session: images in, rows, masks and maps out. An image that cannot be measured never takes others with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import pandas as pd

from ipha_toolkit.errors import GridError, IphaError
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import MaskFile, SessionFiles
from ipha_toolkit.io.results import SessionResult, failure
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_MARGIN_MM = 20.0
_LATEST_MS = 10.0
_PAIRED = (Modality.T1W, Modality.T2W)
PAIR = "T1w+T2w"
HISTOGRAMS = {
    Modality.T1W: "T1w_histogram.tsv",
    Modality.T2W: "T2w_histogram.tsv",
    PAIR: "desc-signature_histogram.tsv",
}
"""Tables of a session that the second pass reads, by modality."""

Segmenter = Callable[[Volume], Mask]
"""Finds lungs: takes an image, returns a Mask on its grid."""


@dataclass(frozen=True)
class Context:
    """What the measurement of a session needs beside its images."""

    protocol: Protocol = DEFAULT
    segment: Segmenter | None = None
    flags: tuple[str, ...] = ()


def measure_session(files: SessionFiles, context: Context) -> SessionResult:
    """Measure every image of one session.

    Parameters
    ----------
    files : SessionFiles
    context : Context
        Protocol, a lung segmenter in place of ours, flags for every row.

    Returns
    -------
    SessionResult
        Rows with subject and session filled in; an image that failed is in ``failures`` and has no row.
    """
    result = SessionResult(_empty())
    for modality, path in files.images.items():
        if modality in _MEASURE:
            _add(result, files, modality, path, partial(_measure_image, files, modality, context, result))
    if files.echoes:
        _add(result, files, Modality.MEGRE, files.echoes[0], partial(_measure_echoes, files, context))
    if {f"{role}_desc-ratio_map.nii.gz" for role in _PAIRED} <= set(result.images):
        _add(result, files, PAIR, files.images[Modality.T2W], partial(_measure_pair, files, result, context))
    result.rows = _with_missing_lung_flagged(result, context.protocol)
    result.rows = result.rows.assign(subject=files.subject, session=files.session)
    return result


def _with_missing_lung_flagged(result: SessionResult, protocol: Protocol) -> pd.DataFrame:
    """The rows, those flagged whose mask holds far less lung than another scan of the session shows there is."""
    volume_ml = {
        role: mask.volume_ml
        for role in (*_PAIRED, Modality.MEGRE, Modality.CT)
        if isinstance(mask := result.images.get(f"{role}_desc-lung_mask.nii.gz"), Mask)
    }
    in_ct = volume_ml.pop(Modality.CT, 0.0)
    in_mr = max(volume_ml.values(), default=0.0)
    least = max(protocol.lungs.mr_to_mr_least * in_mr, protocol.lungs.mr_to_ct_least * in_ct)
    small = {str(role) for role, volume in volume_ml.items() if volume < least}
    hit = result.rows["modality"].isin(small | ({PAIR} if small & set(_PAIRED) else set()))
    flags = result.rows["flag"].where(~hit, result.rows["flag"].map(lambda f: f"{f};lungs_partly_missing".strip(";")))
    return result.rows.assign(flag=flags)


def _add(
    result: SessionResult, files: SessionFiles, modality: str, path: Path, measure: Callable[[], SessionResult]
) -> None:
    """Measure, and add what it gave to the session, or why it failed."""
    try:
        part = measure()
    except Exception as error:
        result.failures.append(failure(files, modality, path.name, _reason(error, path)))
        return
    result.rows = pd.concat([result.rows, part.rows], ignore_index=True) if len(result.rows) else part.rows
    result.images |= part.images
    result.tables |= part.tables


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
    from ipha_toolkit.regions.lungs import lung_flags, segment_lungs

    given = _foreign(files.lungs, volume)
    if given is not None:
        return given, (*context.flags, *lung_flags(given, volume), "foreign_mask")
    ours = partial(segment_lungs, protocol=context.protocol) if found is None else lambda _: found
    lungs = (context.segment or ours)(volume)
    volume.require_same_grid(lungs)
    return lungs, (*context.flags, *lung_flags(lungs, volume))


def _seen_in_t1w(volume: Volume, single: SessionResult, kind: str) -> Mask | None:
    """Lung or muscle of a T2w image as found in the session's T1w on the same grid: blood and water make the lung as
    bright as muscle, and fat brighter, on T2w, while on T1w the lung stays darker."""
    mask = single.images.get(f"{Modality.T1W}_desc-{kind}_mask.nii.gz")
    usable = volume.modality is Modality.T2W and isinstance(mask, Mask) and mask.same_grid(volume)
    return cast(Mask, mask) if usable else None


def _measure_image(files: SessionFiles, modality: Modality, context: Context, single: SessionResult) -> SessionResult:
    return _MEASURE[modality](files, load(files.images[modality], modality=modality), context, single)


def _measure_ct(files: SessionFiles, volume: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.image.geometry import crop
    from ipha_toolkit.measure.attenuation import measure_attenuation
    from ipha_toolkit.measure.texture import measure_texture
    from ipha_toolkit.regions.vessels import segment_vessels
    from ipha_toolkit.regions.zones import lung_regions

    whole, flags = find_lungs(files, volume, context)
    chest, lungs = crop(volume, whole, margin_mm=_MARGIN_MM), crop(whole, whole, margin_mm=_MARGIN_MM)
    vessels = segment_vessels(chest, lungs, protocol=context.protocol)
    texture = measure_texture(chest, lungs, vessels=vessels, flags=flags, protocol=context.protocol)
    regions = lung_regions(lungs)
    rows = measure_attenuation(
        chest, lungs, vessels=vessels, regions=regions, flags=flags, protocol=context.protocol
    )  # fmt: skip
    images: dict[str, Volume | Mask] = {
        "ct_desc-lung_mask.nii.gz": whole, "ct_desc-opacity_map.nii.gz": texture.opacity.replace(meta={})
    }  # fmt: skip
    result = SessionResult(pd.concat([rows, texture.rows], ignore_index=True), images)
    return _with_nodules(result, chest, lungs, flags, context, regions)


def _measure_mr(files: SessionFiles, volume: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.image.bias import correct_bias
    from ipha_toolkit.measure.signal import measure_signal
    from ipha_toolkit.regions.reference import reference_flags, reference_tissue

    lungs, flags = find_lungs(files, volume, context, _seen_in_t1w(volume, single, "lung"))
    corrected = correct_bias(volume, exclude=lungs)
    reference = _foreign(files.reference, volume) or _seen_in_t1w(volume, single, "muscle")
    if reference is None:
        reference = reference_tissue(corrected, lungs)
    flags = (*flags, *reference_flags(reference, lungs))
    measured = measure_signal(volume, lungs, reference, corrected=corrected, flags=flags, protocol=context.protocol)
    role = volume.modality
    images: dict[str, Volume | Mask] = {
        f"{role}_desc-lung_mask.nii.gz": lungs,
        f"{role}_desc-muscle_mask.nii.gz": reference,
        f"{role}_desc-ratio_map.nii.gz": measured.ratio.replace(meta={}),
    }
    result = SessionResult(measured.rows, images, {f"{role}_histogram.tsv": measured.histogram})
    return _with_nodules(result, volume, lungs, flags, context) if role is Modality.T1W else result


def _with_nodules(
    result: SessionResult,
    volume: Volume,
    lungs: Mask,
    flags: tuple[str, ...],
    context: Context,
    regions: dict[str, Mask] | None = None,
) -> SessionResult:
    """The result with the image's nodule table and their rows; a few slices cannot tell nodules from vessels."""
    from ipha_toolkit.measure.nodules import FEWEST_SLICES, detect_nodules, measure_nodules

    if min(volume.shape) < FEWEST_SLICES:
        return result
    role = str(volume.modality)
    nodules = detect_nodules(volume, lungs, protocol=context.protocol)
    rows = measure_nodules(nodules, lungs, modality=role, regions=regions, flags=flags, protocol=context.protocol)
    result.rows = pd.concat([result.rows, rows], ignore_index=True)
    result.tables[f"{role}_nodules.tsv"] = nodules
    return result


def _measure_echoes(files: SessionFiles, context: Context) -> SessionResult:
    from ipha_toolkit.measure.relaxometry import measure_r2star

    echoes, te_ms = load_echoes(files.echoes)
    late = max([n for n, te in enumerate(te_ms) if te <= _LATEST_MS], default=0)  # lung is gone by then, muscle is not
    lungs, flags = find_lungs(files, echoes[late], context)
    if Modality.CT not in files.images:
        flags = (*flags, "no_lung_density")
    rows, fit = measure_r2star(echoes, te_ms, lungs, flags=flags, protocol=context.protocol)
    return SessionResult(rows, {"MEGRE_desc-lung_mask.nii.gz": lungs, "MEGRE_desc-r2star_map.nii.gz": fit.r2star})


def _measure_pair(files: SessionFiles, single: SessionResult, context: Context) -> SessionResult:
    """The signature of T1w and T2w, on the grid of T1w; what needs controls is left to the second pass."""
    from ipha_toolkit.measure.hemosiderin import (
        floor_row,
        joint_histogram,
        ratio_pair,
        signature_map,
        signature_reference,
    )
    from ipha_toolkit.measure.rows import table
    from ipha_toolkit.regions.zones import lung_regions

    t1w, t2w = (load(files.images[role], modality=role) for role in _PAIRED)
    even1, even2 = (cast(Volume, single.images[f"{role}_desc-ratio_map.nii.gz"]) for role in _PAIRED)
    lungs, other = (cast(Mask, single.images[f"{role}_desc-lung_mask.nii.gz"]) for role in _PAIRED)
    muscle = cast(Mask, single.images["T1w_desc-muscle_mask.nii.gz"])
    moved = []
    if not t1w.same_grid(t2w):
        from ipha_toolkit.image.align import align

        alignment = align(t2w, t1w, moving_mask=other, fixed_mask=lungs, protocol=context.protocol)
        t2w, even2, moved = alignment.apply(t2w), alignment.apply(even2), ["realigned"]
    pair = ratio_pair(t1w, t2w, lungs, muscle, corrected=(even1, even2), protocol=context.protocol)
    cells = single.rows.loc[single.rows["measure"] == "signal_ratio_median", "flag"]
    flags = list(dict.fromkeys([*filter(None, ";".join(cells).split(";")), *pair.flags, *moved]))
    histogram = joint_histogram(pair, lung_regions(lungs), lungs, protocol=context.protocol)
    against_fallback = signature_map(pair, signature_reference([], protocol=context.protocol))
    return SessionResult(
        table([floor_row(pair, flags)]),
        {"T1w_desc-signature_map.nii.gz": against_fallback.replace(meta={})},
        {HISTOGRAMS[PAIR]: histogram},
    )


def _measure_film(files: SessionFiles, film: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.measure.radiograph import measure_radiograph
    from ipha_toolkit.regions.films import film_flags, find_lung_fields

    given = _foreign(files.lungs, film)
    flags = list(context.flags)
    if given is not None:
        lungs = given
        flags += [*film.meta.get("ReadFlags", ()), "foreign_mask"]
    elif context.segment:
        lungs = context.segment(film)
        flags += film.meta.get("ReadFlags", ())
    else:
        fields = find_lung_fields(film, protocol=context.protocol)
        lungs = fields.lungs
        flags += film_flags(film, fields, protocol=context.protocol)
    rows = measure_radiograph(film, lungs, flags=flags, protocol=context.protocol)
    return SessionResult(rows, {"dx_desc-lung_mask.nii.gz": lungs})


_MEASURE: dict[Modality, Callable[[SessionFiles, Volume, Context, SessionResult], SessionResult]] = {
    Modality.CT: _measure_ct,
    Modality.T1W: _measure_mr,
    Modality.T2W: _measure_mr,
    Modality.DX: _measure_film,
}


def _foreign(masks: dict[Modality, MaskFile], volume: Volume) -> Mask | None:
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


def _reason(error: Exception, path: Path) -> str:
    """The error's text, naming the file, and for what is not ours its kind."""
    text = str(error) if isinstance(error, IphaError) else f"{type(error).__name__}: {error}"
    return text if path.name in text else f"{path.name}: {text}"


def _empty() -> pd.DataFrame:
    from ipha_toolkit.measure.rows import table

    return table([])
