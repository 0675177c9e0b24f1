import numpy as np
import pytest

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.image.geometry import (
    block_factors,
    block_mean,
    bounding_box,
    crop,
    enlarge,
    resample_spacing,
    resample_to,
)
from ipha_toolkit.volume import Mask, Volume


def oblique(spacing=(2.0, 3.0, 4.0), degrees=25.0):
    """An affine turned about two axes."""
    a, b = np.deg2rad([degrees, -degrees / 2])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = [-20, 7, 5]
    return affine


def ramp(shape, affine):
    """A volume whose value is a linear function of where in mm it lies."""
    points = Mask(np.zeros(shape, bool), affine).to_world(np.moveaxis(np.indices(shape), 0, -1))
    return Volume(points @ [1.0, -2.0, 0.5] + 3, affine)


@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_ramp_in_mm_survives_any_pair_of_grids(order):
    image = ramp((30, 28, 26), oblique())
    like = ramp(
        (12, 14, 10),
        image.affine @ np.array([[0, 1.3, 0, 6], [-1.1, 0, 0, 22], [0, 0.2, 0.9, 8], [0, 0, 0, 1]]),
    )
    moved = resample_to(image, like, order=order)
    assert moved.same_grid(like)
    inside = np.isfinite(moved.array)
    assert inside.mean() > 0.9
    assert np.abs(moved.array - like.array)[inside].max() < (1e-3 if order == 1 else 0.5)


def test_same_grid_gives_the_same_values_and_flips_are_undone():
    image = Volume(np.random.default_rng(0).normal(size=(5, 6, 7)), oblique())
    assert np.allclose(resample_to(image, image).array, image.array, atol=1e-5)
    flip = np.diag([1.0, -1, 1, 1])
    flip[1, 3] = 5
    flipped = Volume(image.array[:, ::-1], image.affine @ flip)
    assert np.allclose(resample_to(flipped, image).array, image.array, atol=1e-5)


def test_outside_is_missing_and_the_border_voxel_reaches_half_its_size():
    image = Volume(np.full((3, 1, 1), 5.0), np.eye(4))
    affine = np.eye(4)
    affine[0, 3] = -1.4
    like = Volume(np.zeros((6, 1, 1)), affine)
    assert np.isnan(resample_to(image, like).array.ravel()).tolist() == [
        True,
        False,
        False,
        False,
        True,
        True,
    ]


def test_missing_voxels_are_left_out_not_spread():
    image = Volume(np.array([1.0, np.nan, 3.0, 5.0]).reshape(4, 1, 1), np.eye(4))
    affine = np.eye(4)
    affine[0, 3] = 0.25
    moved = resample_to(image, Volume(np.zeros((3, 1, 1)), affine)).array.ravel()
    assert moved[0] == pytest.approx(1.0)
    assert np.isnan(moved[1])
    assert moved[2] == pytest.approx(3.5)


@pytest.mark.parametrize("order", [0, 1])
def test_masks_stay_masks_and_keep_their_volume(order):
    grid = np.indices((40, 40, 40)) - 19.5
    ball = Mask((grid**2).sum(axis=0) < 12**2, np.eye(4), name="ball")
    moved = resample_to(ball, Mask(np.zeros((30, 30, 30), bool), np.diag([1.5, 1.4, 1.6, 1])), order=order)
    assert isinstance(moved, Mask) and moved.name == "ball"
    assert moved.volume_ml == pytest.approx(ball.volume_ml, rel=0.03)


def test_other_orders_are_refused():
    image = Volume(np.zeros((2, 2, 2)), np.eye(4))
    with pytest.raises(ValueError, match="order needs to be one of"):
        resample_to(image, image, order=2)
    with pytest.raises(ValueError, match="order needs to be one of"):
        resample_spacing(image, 1.0, order=5)


def test_spacing_changes_and_center_and_values_stay():
    image = ramp((20, 21, 9), oblique())
    coarse = resample_spacing(image, (4, 4, 4))
    assert coarse.spacing_mm == pytest.approx((4, 4, 4))
    assert coarse.shape == (10, 16, 9)
    center = [
        image.to_world((np.array(v.shape) - 1) / 2) if v is image else v.to_world((np.array(v.shape) - 1) / 2)
        for v in (image, coarse)
    ]
    assert np.allclose(center[0], center[1])
    expected = ramp(coarse.shape, coarse.affine)
    assert np.allclose(coarse.array[1:-1, 1:-1, 1:-1], expected.array[1:-1, 1:-1, 1:-1], atol=1e-3)
    with pytest.raises(ValueError, match="above 0"):
        resample_spacing(image, 0)


def test_a_single_slice_keeps_its_one_voxel():
    assert resample_spacing(Volume(np.ones((8, 8, 1)), np.diag([1.0, 1, 5, 1])), (2, 2, 20)).shape == (
        4,
        4,
        1,
    )


def test_crop_keeps_every_voxel_in_its_place():
    image = ramp((20, 18, 16), oblique())
    inside = np.zeros(image.shape, bool)
    inside[5:9, 6:8, 7] = True
    part = crop(image, Mask(inside, image.affine), margin_mm=4.0)
    assert part.shape == (8, 4, 3)
    assert np.allclose(part.array, ramp(part.shape, part.affine).array, atol=1e-3)
    assert crop(image, ((0, 20), (0, 2), (3, 4))).shape == (20, 2, 1)
    assert crop(image, ((0, 20), (0, 2), (3, 4)), margin_mm=1000).shape == image.shape


def test_crop_refuses_what_is_not_there():
    image = Volume(np.zeros((4, 4, 4)), np.eye(4))
    with pytest.raises(ImageError, match="empty"):
        crop(image, Mask(np.zeros((4, 4, 4), bool), np.eye(4)))
    with pytest.raises(GridError):
        crop(image, Mask(np.ones((3, 4, 4), bool), np.eye(4)))
    with pytest.raises(ValueError, match="first < last"):
        crop(image, ((0, 5), (0, 4), (0, 4)))
    with pytest.raises(ValueError, match="no voxel"):
        bounding_box(np.zeros((2, 2, 2), bool))


def test_blocks_average_and_come_back():
    image = ramp((13, 8, 5), np.diag([1.0, 2, 5, 1]))
    factors = block_factors(image, 4.0)
    assert factors == (4, 2, 1)
    blocks = block_mean(image.array, factors)
    assert blocks.shape == (4, 4, 5)
    assert blocks[0, 0, 0] == pytest.approx(image.array[:4, :2, 0].mean())
    back = enlarge(blocks, factors, image.shape)
    assert np.allclose(back[2:10, 1:-1], image.array[2:10, 1:-1], atol=1e-3)


def test_missing_voxels_count_as_told_in_blocks():
    array = np.array([np.nan, 2.0], np.float32).reshape(2, 1, 1)
    assert block_mean(array, (2, 1, 1), missing=-1000).item() == -499
