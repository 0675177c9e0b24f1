import pickle

import numpy as np
import pytest

from ipha_toolkit.errors import GridError
from ipha_toolkit.grid import reorient_to_ras
from ipha_toolkit.volume import Mask, Volume

EYE = np.eye(4)
ORIENTATIONS = [
    (order, flips)
    for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    for flips in np.ndindex(2, 2, 2)
]


def reordered(volume, order, flips):
    """The same patient, stored with other axes: what a scanner or a converter may write."""
    array, affine = np.transpose(volume.array, order), volume.affine[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return volume.replace(array=array, affine=affine)


def test_a_volume_shares_no_memory_with_its_caller():
    array, affine, meta = np.zeros((2, 2, 2), np.float32), np.eye(4), {"EchoTime": 0.001}
    volume = Volume(array, affine, meta=meta)
    array[0, 0, 0], affine[0, 0], meta["EchoTime"] = 7, 7, 7
    assert volume.array[0, 0, 0] == 0
    assert volume.affine[0, 0] == 1
    assert volume.meta["EchoTime"] == 0.001


def test_making_a_volume_leaves_the_callers_array_writable():
    array = np.zeros((2, 2, 2), np.float32)
    Volume(array, EYE)
    array[0, 0, 0] = 1


@pytest.mark.parametrize("what", ["array", "affine"])
def test_a_volume_cannot_be_changed(what):
    volume = Volume(np.zeros((2, 2, 2)), EYE)
    with pytest.raises(ValueError, match="read-only"):
        getattr(volume, what)[0, 0] = 1
    with pytest.raises(TypeError):
        volume.meta["a"] = 1
    with pytest.raises(AttributeError):
        setattr(volume, what, None)


def test_a_pickled_volume_comes_back_locked():
    volume = pickle.loads(pickle.dumps(Volume(np.ones((2, 2, 2)), EYE, modality="ct", meta={"a": 1})))
    assert volume.modality == "ct"
    assert volume.meta == {"a": 1}
    assert not volume.array.flags.writeable


@pytest.mark.parametrize("dtype", [">i2", "<u2", "i4", ">f8", "u1"])
def test_any_real_number_type_becomes_float32(dtype):
    volume = Volume(np.arange(8, dtype=dtype).reshape(2, 2, 2), EYE)
    assert volume.array.dtype == np.float32
    assert volume.array[1, 1, 1] == 7


def test_infinity_becomes_missing():
    assert np.isnan(Volume([[[np.inf, -np.inf, 1.0]]], EYE).array).tolist() == [[[True, True, False]]]


@pytest.mark.parametrize("order, flips", ORIENTATIONS)
def test_every_storage_order_leads_to_the_same_ras_volume(order, flips):
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(size=(3, 4, 5)), [[2, 0.1, 0, -9], [-0.1, 3, 0, 4], [0, 0.2, 5, 1], [0, 0, 0, 1]])
    back = reordered(volume, order, flips).to_ras()
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


def test_reorienting_keeps_every_value_at_its_millimetres():
    affine = np.array([[0, 0, -3, 10], [2, 0, 0, 5], [0, -4, 0, 1], [0, 0, 0, 1.0]])
    volume = Volume(np.arange(24.0).reshape(2, 3, 4), affine)
    moved = volume.to_ras()
    for index in np.ndindex(volume.shape):
        there = np.rint(moved.to_index(volume.to_world(index))).astype(int)
        assert moved.array[tuple(there)] == volume.array[index]


def test_reorienting_takes_trailing_axes_along():
    array, _ = reorient_to_ras(np.zeros((2, 3, 4, 7)), np.diag([-1, 1, 1, 1]))
    assert array.shape == (2, 3, 4, 7)


def test_spacing_and_voxel_volume_of_a_rotated_grid():
    turn = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    mask = Mask(np.ones((2, 2, 2), bool), turn @ np.diag([2, 3, 5, 1]))
    np.testing.assert_allclose(mask.spacing_mm, (2, 3, 5))
    assert mask.voxel_volume_ml == pytest.approx(0.03)
    assert mask.volume_ml == pytest.approx(0.24)


def test_grids_differ_by_shape_place_or_spacing():
    volume = Volume(np.zeros((2, 2, 2)), EYE)
    assert volume.same_grid(Mask(np.zeros((2, 2, 2), bool), EYE))
    shifted = EYE.copy()
    shifted[0, 3] = 0.5
    for other in (Volume(np.zeros((2, 2, 3)), EYE), volume.replace(affine=shifted)):
        assert not volume.same_grid(other)
        with pytest.raises(GridError, match=r"different grid.*resample_to"):
            volume.require_same_grid(other)


@pytest.mark.parametrize(
    "array, affine, error, text",
    [
        (np.zeros((2, 2)), EYE, ValueError, "3-D array"),
        (np.zeros((2, 2, 2, 2)), EYE, ValueError, "3-D array"),
        (np.zeros((0, 2, 2)), EYE, ValueError, "no voxels"),
        (np.zeros((2, 2, 2), bool), EYE, TypeError, "a mask is a Mask"),
        (np.zeros((2, 2, 2), complex), EYE, TypeError, "real numbers"),
        (np.array([[["a"]]]), EYE, TypeError, "real numbers"),
        (np.zeros((2, 2, 2)), np.eye(3), ValueError, r"shape \(4, 4\)"),
        (np.zeros((2, 2, 2)), np.zeros((4, 4)), ValueError, "last row"),
        (np.zeros((2, 2, 2)), np.diag([1, 0, 1, 1]), ValueError, "singular"),
        (
            np.zeros((2, 2, 2)),
            np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            ValueError,
            "singular",
        ),
        (np.zeros((2, 2, 2)), np.diag([1, np.nan, 1, 1]), ValueError, "NaN"),
    ],
)
def test_what_is_no_volume_is_refused(array, affine, error, text):
    with pytest.raises(error, match=text):
        Volume(array, affine, name="scan")


def test_a_tiny_voxel_is_not_taken_for_a_singular_affine():
    assert Volume(np.zeros((2, 2, 2)), np.diag([1e-3, 1e-3, 1e-3, 1])).spacing_mm == pytest.approx((1e-3,) * 3)


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match="PET"):
        Volume(np.zeros((2, 2, 2)), EYE, modality="PET")


def test_a_mask_takes_booleans_only():
    with pytest.raises(TypeError, match="labels == 2"):
        Mask(np.zeros((2, 2, 2), np.uint8), EYE)
