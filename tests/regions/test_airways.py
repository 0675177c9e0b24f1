import numpy as np
import pytest

from ipha_toolkit.regions.airways import midline_tubes
from ipha_toolkit.regions.lungs import segment_lungs

SPACING = np.array([3.0, 3.0, 5.0])


def two_lungs(nk=12):
    """Air of two lungs and a tube of 12 mm between them, on voxels of 3 x 3 x 5 mm."""
    air = np.zeros((90, 60, nk), bool)
    air[10:38, 10:50] = air[52:80, 10:50] = True
    tube = np.zeros_like(air)
    tube[43:47, 28:32] = True
    return air | tube, tube


def test_a_tube_in_the_middle_is_found_and_nothing_else():
    air, tube = two_lungs()
    assert np.array_equal(midline_tubes(air, SPACING), tube)


def test_a_short_hole_is_no_tube_but_one_in_a_single_slice_is():
    air, tube = two_lungs()
    short = air & ~(tube & (np.arange(12) >= 3))
    assert not midline_tubes(short, SPACING).any()
    one, tube = two_lungs(1)
    assert np.array_equal(midline_tubes(one, SPACING), tube)


def test_one_lung_alone_has_no_middle():
    air, _ = two_lungs()
    air[52:] = False
    assert not midline_tubes(air, SPACING).any()


@pytest.mark.parametrize("kind", ["ct", "T1w"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 10.0), (5.0, 5.0, 5.0)])
def test_trachea_is_left_out_of_thick_slices_and_coarse_voxels(make_chest, overlap, kind, spacing):
    volume, truth = make_chest(kind, spacing=spacing)
    lungs = segment_lungs(volume)
    x, y, z = np.moveaxis(volume.to_world(np.moveaxis(np.indices(volume.shape), 0, -1)), -1, 0)
    trachea = (np.hypot(x, y) < 7) & (z > 40)
    assert lungs.array[trachea].mean() < 0.1
    assert overlap(lungs, truth) > 0.95
