from pathlib import Path

import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.regions.films import find_lung_fields

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "cxr_misc").exists(), reason="real scans are not in ../shared/data")


@pytest.mark.parametrize(
    ("film", "mask", "least"),
    [
        ("cxr_jsrt_masks/1.jpg", "cxr_jsrt_masks/1-mask.png", 0.90),
        ("cxr_jsrt_masks/2.jpg", "cxr_jsrt_masks/2-mask.png", 0.90),
        ("cxr_misc/16747_3_1.jpg", "cxr_misc/16747_3_1_lungmask.jpg", 0.90),  # its mask takes in the heart
    ],
)
def test_lung_fields_agree_with_masks_drawn_by_others(film, mask, least):
    image = ipha.load(DATA / film, modality="dx")
    drawn = load_mask(DATA / mask, image=image)
    found = find_lung_fields(image).lungs
    both = (found.array & drawn.array).sum()
    assert 2 * both / (found.n_voxels + drawn.n_voxels) >= least


def test_a_film_whose_tag_says_the_opposite_is_turned_round():
    assert find_lung_fields(ipha.load(DATA / "cxr_misc" / "Fake_MONOHR1.dcm")).inverted
