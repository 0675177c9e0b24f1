"""A round field of view whose corners hold no value, or one value, is a border like that of the image."""

import numpy as np
import pytest

from ipha_toolkit.regions.field_of_view import unseen
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.volume import Mask, Volume


def rounded(ct, truth, radius_mm, fill):
    """The image and its lungs without what lies beyond a circle around its middle."""
    x, y = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(ct.shape[:2], ct.spacing_mm[:2], strict=True))
    beyond = np.broadcast_to((np.hypot(x[:, None], y) > radius_mm)[..., None], ct.shape)
    seen = Mask(truth.array & ~beyond, truth.affine)
    return ct.replace(array=np.where(beyond, fill, ct.array).astype(np.float32)), seen


@pytest.mark.parametrize("fill", [np.nan, -1024.0])
@pytest.mark.parametrize(("radius_mm", "cut"), [(125.0, True), (118.0, True), (145.0, False), (1000.0, False)])
def test_lungs_that_a_round_field_of_view_touches_are_found_and_flagged(make_chest, overlap, fill, radius_mm, cut):
    ct, truth = make_chest("ct", spacing=(3.0, 3.0, 3.0))
    shown, seen = rounded(ct, truth, radius_mm, fill)
    lungs = segment_lungs(shown)
    assert overlap(lungs, seen) > (0.95 if cut else 0.97)
    assert ("cut_field_of_view" in lung_flags(lungs, shown)) == cut


def test_what_a_ct_does_not_show(make_chest):
    ct, _ = make_chest("ct", spacing=(6.0, 6.0, 6.0))
    assert not unseen(ct).any()  # noise in the air: no corner is filled
    shown, _ = rounded(ct, Mask(ct.array < -500, ct.affine), 120.0, -1024.0)
    assert unseen(shown)[0, 0].all() and not unseen(shown)[shown.array != -1024].any()
    body = ct.replace(array=np.full(ct.shape, 40.0))
    assert not unseen(body).any()


def test_a_round_field_of_view_is_seen_however_the_image_is_stored(make_chest):
    ct, truth = make_chest("ct", spacing=(4.0, 4.0, 4.0))
    shown, seen = rounded(ct, truth, 118.0, -1024.0)
    assert "cut_field_of_view" in lung_flags(seen, shown)
    order = (1, 2, 0)  # stored slice by slice along another axis
    affine = shown.affine[:, [*order, 3]]
    stored = Volume(shown.array.transpose(order), affine, modality="ct")
    assert "cut_field_of_view" in lung_flags(Mask(seen.array.transpose(order), affine), stored)
