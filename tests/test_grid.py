"""Where voxels lie: worked out by hand."""

import numpy as np
import pytest

from ipha_toolkit.errors import GridError
from ipha_toolkit.grid import Grid
from ipha_toolkit.volume import Mask, Volume, handed_over

GRID = Grid.upright((4, 6, 2), (2.0, 1.0, 5.0), (-10.0, 0.0, 100.0))


def test_spacing_origin_and_volume_follow_from_shape_and_affine():
    assert GRID.spacing_mm == (2.0, 1.0, 5.0) and GRID.origin_mm == (-10.0, 0.0, 100.0)
    assert GRID.voxel_volume_ml == pytest.approx(0.01)
    assert GRID.step_mm == pytest.approx(10 ** (1 / 3))


def test_indices_and_millimetres_turn_into_each_other():
    assert GRID.to_world([1, 2, 1]).tolist() == [-8.0, 2.0, 105.0]
    assert GRID.to_index([-8.0, 2.0, 105.0]).tolist() == [1.0, 2.0, 1.0]
    x, y, z = GRID.axes_mm()
    assert (x.ravel()[-1], y.ravel()[-1], z.ravel()[-1]) == (-4.0, 5.0, 105.0)


def test_blocks_and_crops_keep_their_place():
    coarse = GRID.coarser((2, 4, 1))
    assert coarse.shape == (2, 2, 2) and coarse.spacing_mm == (4.0, 4.0, 5.0)
    assert coarse.origin_mm == (-9.0, 1.5, 100.0)  # the middle of the first block
    part = GRID.cropped([1, 2, 0], [3, 6, 2])
    assert part.shape == (2, 4, 2) and part.origin_mm == (-8.0, 2.0, 100.0)
    assert GRID.block_factors(2.0) == (1, 2, 1)


def test_a_grid_is_a_key_and_sameness_forgives_rounding():
    near = Grid(GRID.shape, GRID.affine + np.diag([1e-6, 0, 0, 0]))
    assert Grid(GRID.shape, GRID.affine) == GRID and hash(GRID) == hash(Grid(GRID.shape, GRID.affine))
    assert near != GRID and GRID.same_as(near)
    assert not GRID.same_as(Grid((4, 6, 3), GRID.affine))


def test_letters_of_the_ends_are_the_patients_also_on_turned_and_oblique_axes():
    assert [GRID.letters(axis) for axis in range(3)] == [("R", "L"), ("A", "P"), ("S", "I")]
    turned = Grid((2, 2, 2), np.array([[0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    assert turned.letters(0) == ("S", "I") and turned.letters(2) == ("L", "R")
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    oblique = Grid((2, 2, 2), np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    assert oblique.letters(0) == ("RA", "LP")


def test_a_point_beyond_the_grid_is_told_how_far():
    assert GRID.beyond_mm([0, 0, 102], 2) == 0
    assert GRID.beyond_mm([0, 0, 120], 2) == pytest.approx(15)


def test_another_grid_is_refused_with_both_named():
    one, other = Volume(np.zeros((2, 2, 2)), np.eye(4), name="one"), Mask(np.ones((2, 2, 3), bool), np.eye(4))
    with pytest.raises(GridError, match=r"\(2, 2, 3\).*one \(2, 2, 2\)"):
        one.require_same_grid(other)


def test_the_array_of_another_volume_is_shared_and_any_other_is_copied():
    mine = np.zeros((2, 2, 2), np.float32)
    volume = Volume(mine, np.eye(4))
    mine[0, 0, 0] = 9
    assert volume.array[0, 0, 0] == 0
    assert volume.replace(name="again").array is volume.array
    locked = np.ones((2, 2, 2), np.float32)
    locked.flags.writeable = False  # its owner can unlock it again
    assert Volume(locked, np.eye(4)).array is not locked


def test_an_array_handed_over_is_locked_shared_and_freed_of_infinities():
    given = np.array([[[1.0, np.inf]]], np.float32)
    volume = Volume(handed_over(given), np.eye(4))
    assert volume.array is given and np.isnan(given[0, 0, 1])
    with pytest.raises(ValueError, match="read-only"):
        given[0, 0, 0] = 2
