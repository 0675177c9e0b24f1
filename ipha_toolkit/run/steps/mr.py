"""The T1w and T2w steps of a session, and the step of the two together."""

from __future__ import annotations

from typing import cast

from ipha_toolkit.io.images import load
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.names import HISTOGRAMS, PAIR
from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.run.scan import Context, find_lungs, foreign, seen_in_t1w
from ipha_toolkit.run.steps.nodules import with_nodules
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

PAIRED = (Modality.T1W, Modality.T2W)


def measure_mr(files: SessionFiles, volume: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.image.bias import correct_bias
    from ipha_toolkit.measure.signal import measure_signal
    from ipha_toolkit.regions.muscle import reference_flags, reference_tissue

    lungs, flags = find_lungs(files, volume, context, seen_in_t1w(volume, single, "lung"))
    corrected = correct_bias(volume, exclude=lungs)
    reference = foreign(files.reference, volume) or seen_in_t1w(volume, single, "muscle")
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
    return with_nodules(result, volume, lungs, flags, context) if role is Modality.T1W else result


def measure_pair(files: SessionFiles, single: SessionResult, context: Context) -> SessionResult:
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

    t1w, t2w = (load(files.images[role], modality=role) for role in PAIRED)
    even1, even2 = (cast(Volume, single.images[f"{role}_desc-ratio_map.nii.gz"]) for role in PAIRED)
    lungs, other = (cast(Mask, single.images[f"{role}_desc-lung_mask.nii.gz"]) for role in PAIRED)
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
