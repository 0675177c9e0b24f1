import numpy as np
import pytest

from ipha_toolkit.errors import ImageError
from ipha_toolkit.regions.zones import lung_extent, lung_regions, split_left_right
from ipha_toolkit.terms import Region
from ipha_toolkit.volume import Mask


def two_boxes(shape=(40, 20, 30), spacing=(4.0, 4.0, 4.0)):
    """Two lungs as boxes: columns 4-15 on the left, 24-35 on the right of a RAS grid."""
    array = np.zeros(shape, bool)
    array[4:16, 4:16, 3:27] = array[24:36, 4:16, 3:27] = True
    return Mask(array, np.diag([*spacing, 1.0]), name="boxes")


def test_all_regions_are_there_and_complement_each_other():
    lungs = two_boxes()
    regions = lung_regions(lungs)
    assert set(regions) == {str(region) for region in Region if "_" not in region}  # those are a film's
    for parts in (
        ("left", "right"),
        ("upper", "middle", "lower"),
        ("central", "peripheral"),
        ("dorsal", "ventral"),
    ):
        together = sum(regions[part].array.astype(int) for part in parts)
        assert np.array_equal(together, lungs.array.astype(int))


def test_left_is_low_x_and_lower_is_low_z():
    regions = lung_regions(two_boxes())
    assert np.array_equal(np.flatnonzero(regions["left"].array.any(axis=(1, 2))), np.arange(4, 16))
    assert np.array_equal(np.flatnonzero(regions["lower"].array.any(axis=(0, 1))), np.arange(3, 11))
    assert np.array_equal(np.flatnonzero(regions["upper"].array.any(axis=(0, 1))), np.arange(19, 27))
    assert np.array_equal(np.flatnonzero(regions["dorsal"].array.any(axis=(0, 2))), np.arange(4, 10))


def test_central_lies_around_the_medial_border_at_half_height():
    regions = lung_regions(two_boxes())
    assert regions["central"].array[15, 10, 15] and regions["central"].array[24, 10, 15]
    assert regions["peripheral"].array[4, 10, 15] and regions["peripheral"].array[15, 10, 26]
    assert not regions["central"].array[[4, 5, 34, 35]].any()
    assert 0.1 < regions["central"].n_voxels / regions["lung"].n_voxels < 0.5


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_regions_do_not_depend_on_the_order_of_axes(order):
    lungs = two_boxes()
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = lungs.shape[0] - 1
    swap = np.zeros((4, 4))
    swap[3, 3] = 1
    for new, old in enumerate(order):
        swap[old, new] = 1
    other = Mask(lungs.array[::-1].transpose(order), lungs.affine @ flip @ swap)
    expected = lung_regions(lungs)
    for name, region in lung_regions(other).items():
        back = region.array.transpose(np.argsort(order))[::-1]
        assert np.array_equal(back, expected[name].array), name


def test_oblique_grid_cuts_in_patient_coordinates():
    turn = np.eye(4)
    angle = np.deg2rad(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    lungs = two_boxes()
    oblique = Mask(lungs.array, turn @ lungs.affine)
    dorsal = lung_regions(oblique)["dorsal"]
    low, high = lung_extent(oblique, 1)
    y = oblique.to_world(np.argwhere(dorsal.array))[:, 1]
    assert y.max() < (low + high) / 2 + 1e-3
    assert dorsal.n_voxels == pytest.approx(lungs.n_voxels / 2, rel=0.1)


@pytest.mark.parametrize("bridge", [slice(4, 6), slice(14, 16)])
def test_lungs_touching_at_a_junction_line_are_separated(bridge):
    lungs = two_boxes()
    array = lungs.array.copy()
    array[16:24, bridge, 5:25] = True
    left, right = split_left_right(lungs.replace(array=array))
    assert left.array[4:16].sum() == lungs.array[4:16].sum()
    assert right.array[24:36].sum() == lungs.array[24:36].sum()
    assert np.array_equal(left.array | right.array, array)
    assert not (left.array & right.array).any()


@pytest.mark.parametrize(("side", "kept"), [("left", slice(0, 20)), ("right", slice(20, 40))])
def test_side_of_a_lone_lung_is_told_by_its_concave_medial_face(side, kept):
    lungs = two_boxes()
    array = lungs.array.copy()
    array[12:28, 7:13] = False
    alone = np.zeros_like(array)
    alone[kept] = array[kept]
    regions = lung_regions(lungs.replace(array=alone))
    assert side in regions
    assert len({"left", "right"} & set(regions)) == 1


def test_single_axial_slice_has_no_thirds():
    array = two_boxes().array[:, :, 10:11]
    regions = lung_regions(Mask(array, np.diag([4.0, 4, 10, 1])))
    assert {"left", "right", "dorsal", "ventral", "central"} <= set(regions)
    assert not {"upper", "middle", "lower"} & set(regions)


def test_single_coronal_slice_has_no_front_and_back():
    array = two_boxes().array[:, 10:11]
    regions = lung_regions(Mask(array, np.diag([4.0, 10, 4, 1])))
    assert {"left", "right", "upper", "lower", "central"} <= set(regions)
    assert not {"dorsal", "ventral"} & set(regions)


def test_empty_mask_is_refused():
    with pytest.raises(ImageError, match="is empty"):
        lung_regions(Mask(np.zeros((4, 4, 4), bool), np.eye(4)))
