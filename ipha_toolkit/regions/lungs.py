"""Find the lungs in chest CT and MRI, without learned weights."""

from __future__ import annotations

from ipha_toolkit.errors import ImageError
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.regions.lungs_ct import segment_ct
from ipha_toolkit.regions.lungs_mr import segment_mr
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

_MR = (Modality.T1W, Modality.T2W, Modality.MEGRE)


def segment_lungs(volume: Volume, *, protocol: Protocol = DEFAULT) -> Mask:
    """Find the lungs.

    Parameters
    ----------
    volume : Volume
        CT in HU, or T1w, T2w, multi-echo gradient echo (its first echo) with the lungs darker than what is around them.
        Any orientation, a whole chest or a part, also one slice.
    protocol : Protocol
        ``lungs.vessels``: keep pulmonary vessels in a CT mask.

    Returns
    -------
    Mask
        Both lungs on the volume's grid; trachea and main bronchi are left out.

    Raises
    ------
    ImageError
        Where no lung is found, an MR image does not look like a chest, holds far less dark lung than its chest allows,
        a CT lies upside down or back to front by its header (:func:`ipha_toolkit.regions.orientation.require_upright`),
        filled lung lies beside suppressed fat (T1w), or the modality is none that lungs are looked for in.

    Notes
    -----
    CT: air enclosed by the body, its airways removed, is joined by ground glass up to −200 HU and closed over vessels
    and over consolidation that lung surrounds or that lies on the costal side; ribs frame what may be lung, as dense
    as fat; where over 5 % is ground glass, the border lies halfway between the levels on both sides. Consolidation
    against heart or diaphragm is lost, and much of it at the back: :func:`lung_flags` says so, in single coronal and
    sagittal slices only where most of the border lies beside dense lung.
    MRI: dark space enclosed by tissue, cut where the signal passes 40 % of the way from lung to the tissue beside it,
    and no lower than 35 % of the way to muscle: chest masks drawn by hand lie there rather than halfway. In T1w, lung
    filled with blood is followed up to where the signal changes most. **In T2w lung as bright as what is around it is
    not told from it: in acute bleeding the image is refused**; pass a mask, or the T1w. Deterministic. Limits were
    chosen on a handful of chest scans and the phantom and hold margins; none has a published source.
    """
    canonical = volume.to_ras()
    if volume.modality == Modality.DX:
        from ipha_toolkit.regions.films import find_lung_fields

        return find_lung_fields(volume, protocol=protocol).lungs
    if volume.modality == Modality.CT:
        lungs = segment_ct(canonical, protocol)
    elif volume.modality in _MR:
        lungs = segment_mr(canonical)
    else:
        raise ImageError(
            f"{volume.name or 'volume'}: lungs are found in ct, T1w, T2w, MEGRE and dx, not in "
            f"{volume.modality or 'an image without modality'}; pass a lung mask, or modality= to load"
        )
    if canonical is volume:
        return lungs
    from ipha_toolkit.image.geometry import resample_to

    return resample_to(lungs, volume, order=0)
