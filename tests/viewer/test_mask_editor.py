"""A mask that is painted on, without a widget."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.viewer.mask_editor import MaskEditor
from ipha_toolkit.volume import Mask, Volume

ORDERS = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]
OBLIQUE = np.array([[2.0, 0.4, -0.3, -40], [-0.4, 1.5, 0.6, 10], [0.3, -0.5, 4.0, 7], [0, 0, 0, 1]])


def empty(shape=(20, 18, 12), affine=None):
    return Mask(np.zeros(shape, bool), np.diag([2.0, 1.5, 4, 1]) if affine is None else affine)


def box(shape=(20, 18, 12)):
    inside = np.zeros(shape, bool)
    inside[2:8, 4:14, 2:10] = inside[12:18, 4:14, 2:10] = True
    return Mask(inside, np.diag([2.0, 1.5, 4, 1]))


def test_a_brush_paints_the_voxels_within_its_radius_in_mm():
    editor = MaskEditor(empty())
    editor.brush([(10, 9, 6)], radius_mm=5)
    at = np.indices(editor.array.shape).reshape(3, -1).T
    away = np.linalg.norm((at - (10, 9, 6)) * (2, 1.5, 4), axis=1)
    assert np.array_equal(editor.array.ravel(), away <= 5)
    flat = MaskEditor(empty())
    flat.brush([(10, 9, 6.4)], radius_mm=5, plane="coronal")
    assert set(np.nonzero(flat.array)[1]) == {9}


def test_a_stroke_is_a_line_without_gaps_and_is_undone_as_one():
    editor = MaskEditor(empty())
    editor.begin()
    editor.brush([(2, 2, 5)], radius_mm=0.1, plane="axial")
    editor.brush([(2, 2, 5), (16, 12, 5)], radius_mm=1.6, plane="axial")
    assert len(editor.end()) == 2
    assert editor.array[2, 2, 5]
    assert editor.array[16, 12, 5]
    columns = np.nonzero(editor.array.any(axis=(1, 2)))[0]
    assert np.array_equal(columns, np.arange(columns[0], columns[-1] + 1))
    editor.undo()
    assert not editor.array.any()
    assert editor.undo() is None


@pytest.mark.parametrize("number", range(len(ORDERS)))
def test_a_dab_lands_on_the_voxel_under_the_pointer_in_any_axis_order(tmp_path, number):
    (order, flips), plane = ORDERS[number], ["axial", "coronal", "sagittal"][number % 3]
    base = Volume(np.arange(6 * 7 * 8.0).reshape(6, 7, 8), OBLIQUE, modality="T1w")
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        step[old, new], step[old, 3] = flip, 0 if flip > 0 else base.shape[old] - 1
    turned = base.array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    path = tmp_path / "sub-1_T1w.nii"
    ipha.save(Volume(turned, base.affine @ step, modality="T1w"), path)
    image = ipha.load(path)
    editor = MaskEditor(Mask(np.zeros(image.shape, bool), image.affine))
    world = base.to_world((4, 2, 5))  # the pointer is here, a little beside the voxel's centre
    editor.brush([image.to_index(world) + np.array((0.3, -0.3, 0.2))], radius_mm=0.1, plane=plane)
    ipha.save(on_axes(editor.mask, stored_grid(path)), tmp_path / "mask.nii")
    mask, source = nib.load(tmp_path / "mask.nii"), nib.load(path)
    painted = np.argwhere(mask.get_fdata() > 0)
    assert len(painted) == 1
    assert source.get_fdata()[tuple(painted[0])] == base.array[4, 2, 5]


def test_undo_gives_the_first_mask_byte_for_byte_and_redo_the_last():
    rng = np.random.default_rng(1)
    start = Mask(rng.random((30, 28, 20)) > 0.5, np.diag([1.0, 1, 3, 1]))
    editor = MaskEditor(start)
    for n in range(25):
        points = rng.random((3, 3)) * start.shape
        editor.brush(
            points, radius_mm=float(rng.random() * 8), add=bool(n % 2), plane=[None, "axial", "sagittal"][n % 3]
        )
    editor.polygon([(2, 2, 5), (20, 4, 5), (12, 20, 5)], "axial")
    editor.remove_islands()
    editor.fill_holes()
    editor.fill_between("axial")
    last, steps = editor.array.tobytes(), 0
    assert editor.changed_voxels > 0
    while editor.undo() is not None:
        steps += 1
    assert steps >= 25
    assert editor.array.tobytes() == start.array.tobytes()
    while editor.redo() is not None:
        pass
    assert editor.array.tobytes() == last


def test_limits_and_sides_hold_the_brush_back():
    values = Volume(np.broadcast_to(np.arange(12.0), (20, 18, 12)), empty().affine)
    editor = MaskEditor(box(), values)
    before = editor.array.copy()
    editor.brush([(10, 16, 6)], radius_mm=50, limits=(3, 5))
    assert set(np.nonzero(editor.array & ~before)[2]) == {3, 4, 5}
    editor = MaskEditor(box(), values)
    editor.brush([(10, 9, 6)], radius_mm=50, add=False, side="left")
    assert not editor.array[:10].any()
    assert editor.array[10:].sum() == before[10:].sum()
    editor.clear_side("right")
    assert not editor.array.any()


def test_a_polygon_fills_what_it_encloses_on_its_slice():
    editor = MaskEditor(empty())
    editor.polygon([(3.5, 3.5, 4), (10.5, 3.5, 4), (10.5, 8.5, 4), (3.5, 8.5, 4)], "axial")
    expected = np.zeros(editor.array.shape, bool)
    expected[4:11, 4:9, 4] = True
    assert np.array_equal(editor.array, expected)
    editor.polygon([(3.5, 3.5, 4), (10.5, 3.5, 4), (10.5, 8.5, 4), (3.5, 8.5, 4)], "axial", add=False)
    assert not editor.array.any()


def test_slices_between_are_filled_by_distance():
    editor = MaskEditor(empty())
    editor.brush([(10, 9, 2)], radius_mm=9, plane="axial")
    editor.brush([(10, 9, 8)], radius_mm=3, plane="axial")
    editor.fill_between("axial")
    areas = editor.array.sum(axis=(0, 1))
    assert (np.diff(areas[2:9]) <= 0).all()
    assert areas[3:8].all()
    assert not areas[[0, 1, 9, 10, 11]].any()


def test_islands_go_and_holes_close():
    inside = np.array(box().array)
    inside[5, 8, 5] = False
    inside[19, 17, 11] = True
    editor = MaskEditor(Mask(inside, box().affine))
    editor.remove_islands()
    assert not editor.array[19, 17, 11]
    editor.fill_holes()
    assert np.array_equal(editor.array, box().array)


@pytest.mark.parametrize("plane", [None, "axial", "coronal", "sagittal"])
def test_holes_are_those_of_scipy(plane):
    from scipy.ndimage import binary_fill_holes

    start = np.random.default_rng(3).random((16, 15, 14)) > 0.35
    editor = MaskEditor(Mask(start, np.eye(4)))
    editor.fill_holes(plane)
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}.get(plane)
    slices = [] if axis is None else [binary_fill_holes(part) for part in np.moveaxis(start, axis, 0)]
    expected = binary_fill_holes(start) if axis is None else np.stack(slices, axis)
    assert np.array_equal(editor.array, expected)


def test_numbers_follow_every_change():
    rng = np.random.default_rng(2)
    values = Volume(rng.normal(-800, 60, (20, 18, 12)), empty().affine)
    editor = MaskEditor(box(), values)
    for n in range(6):
        editor.brush(rng.random((2, 3)) * (20, 18, 12), radius_mm=6, add=n % 2 == 0)
    editor.undo()
    inside, found = values.array[editor.array], editor.numbers
    assert found.volume_ml == pytest.approx(editor.mask.volume_ml)
    assert found.left_ml + found.right_ml == pytest.approx(found.volume_ml)
    assert found.left_ml == pytest.approx(editor.array[: editor.midline].sum() * 0.012)
    assert found.mean == pytest.approx(inside.mean(dtype=float), abs=1e-6)
    assert found.median == pytest.approx(np.median(inside), abs=0.2)
