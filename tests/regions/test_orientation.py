"""A CT whose header lies about up and down or front and back is refused; a right one never is."""

import numpy as np
import pytest

from ipha_toolkit.errors import ImageError
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.volume import Volume

UPSIDE_DOWN, BACK_TO_FRONT = "lies upside down.*windpipe", "lies back to front.*spine"


def turned(volume, *axes):
    """The same header over voxels turned round."""
    return volume.replace(array=np.ascontiguousarray(np.flip(volume.array, axes)))


@pytest.mark.parametrize("disease", [None, ((-70, 0, 30), 30.0)])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.0, 3.0, 6.0)])
def test_a_ct_turned_round_under_its_header_is_refused(make_chest, spacing, disease):
    ct, _ = make_chest("ct", spacing=spacing, consolidation=disease)
    segment_lungs(ct)
    segment_lungs(turned(ct, 0))  # a chest does not tell right from left
    for axes, words in (((2,), UPSIDE_DOWN), ((1,), BACK_TO_FRONT), ((1, 2), BACK_TO_FRONT)):
        with pytest.raises(ImageError, match=words):
            segment_lungs(turned(ct, *axes))


def test_a_header_that_says_how_it_lies_is_believed(make_chest):
    ct, _ = make_chest("ct")
    whole = segment_lungs(ct).volume_ml
    for axis in (1, 2):
        other = ct.affine.copy()
        other[:3, 3] += ct.affine[:3, axis] * (ct.shape[axis] - 1)
        other[:3, axis] *= -1
        kept = Volume(np.ascontiguousarray(np.flip(ct.array, axis)), other, modality="ct")
        assert segment_lungs(kept).volume_ml == pytest.approx(whole, rel=1e-3)


def test_a_heart_full_of_contrast_agent_is_no_spine(make_chest):
    ct, _ = make_chest("ct")
    x, y, z = ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1).reshape(-1, 3)).T
    heart = (((x + 20) / 52) ** 2 + ((y - 25) / 50) ** 2 + ((z + 30) / 45) ** 2 < 1).reshape(ct.shape)
    segment_lungs(ct.replace(array=np.where(heart, 350.0, ct.array)))


@pytest.mark.parametrize("part", [slice(0, 40), slice(40, 80), slice(30, 32)])
def test_a_part_of_a_chest_is_not_taken_for_one_upside_down(make_chest, part):
    ct, _ = make_chest("ct")
    segment_lungs(ct.replace(array=ct.array[:, :, part]))
