from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError
from ipha_toolkit.grid import Grid
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.volume import Mask, Volume

OBLIQUE = np.array([[2.0, 0.3, -0.1, -40], [-0.3, 1.5, 0.4, 10], [0.2, -0.3, 3.0, 7], [0, 0, 0, 1]])
ORDERS = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def turned(volume, order, flips):
    """The same voxels in another axis order."""
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        step[old, new] = flip
        step[old, 3] = 0 if flip > 0 else volume.shape[old] - 1
    array = volume.array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    return volume.replace(array=array, affine=volume.affine @ step)


@pytest.mark.parametrize(("order", "flips"), ORDERS)
def test_a_mask_goes_back_onto_the_axes_of_its_file(tmp_path, order, flips):
    source = turned(Volume(np.arange(4 * 5 * 6.0).reshape(4, 5, 6), OBLIQUE, modality="T1w"), order, flips)
    path = tmp_path / "sub-1_T1w.nii.gz"
    ipha.save(source, path)
    loaded = ipha.load(path)
    ipha.save(on_axes(Mask(loaded.array % 7 == 3, loaded.affine), stored_grid(path)), tmp_path / "mask.nii.gz")
    image, mask = nib.load(path), nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.affine, image.affine)
    assert np.array_equal(mask.get_fdata() == 1, image.get_fdata() % 7 == 3)
    assert np.array_equal(ipha.load_mask(tmp_path / "mask.nii.gz").array, loaded.array % 7 == 3)


def test_a_part_lies_where_it_was_cut_and_nothing_around_it():
    whole = Volume(np.arange(60.0).reshape(3, 4, 5), OBLIQUE)
    grid = turned(whole, (2, 0, 1), (-1, 1, -1)).grid
    part = whole.grid.cropped((1, 0, 2), (3, 3, 4))
    found = on_axes(Volume(whole.array[1:3, 0:3, 2:4], part.affine), grid)
    assert found.shape == grid.shape
    known = np.isfinite(found.array)
    assert known.sum() == 2 * 3 * 2
    assert np.array_equal(found.array[known], turned(whole, (2, 0, 1), (-1, 1, -1)).array[known])


@pytest.mark.parametrize(("order", "flips"), ORDERS[::7])
def test_a_coarser_map_keeps_its_voxels_in_the_files_axis_order(order, flips):
    whole = Volume(np.arange(8 * 6 * 5.0).reshape(8, 6, 5), OBLIQUE)
    coarse = whole.grid.coarser((2, 3, 1))
    found = on_axes(
        Volume(np.arange(4 * 2 * 5.0).reshape(coarse.shape), coarse.affine), turned(whole, order, flips).grid
    )
    assert found.shape == tuple(np.array(coarse.shape)[list(order)])
    at = np.argwhere(found.array == 17)[0]
    assert np.allclose(found.to_world(at), coarse.to_world(np.unravel_index(17, coarse.shape)))


@pytest.mark.parametrize(
    "affine", [np.diag([0.5, 1, 1, 1]), [[1, 0, 0, 0.4], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]]
)
def test_other_voxels_are_refused(affine):
    with pytest.raises(GridError, match="not voxels of the grid"):
        on_axes(Mask(np.ones((2, 2, 2), bool), affine), Grid((3, 3, 3), np.eye(4)))


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_the_grid_is_read_of_the_header(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    ipha.save(Volume(np.zeros((3, 4, 5)), np.diag([-2.0, 1, 3, 1])), path)
    grid = stored_grid(path)
    assert grid.shape == (3, 4, 5)
    assert np.allclose(grid.affine, np.diag([-2.0, 1, 3, 1]))
    assert stored_grid(tmp_path / "film.png") is None
