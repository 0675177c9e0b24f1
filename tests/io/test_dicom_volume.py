"""dcm2niix against our own reading: what is taken, and what is said where it was not right."""

import numpy as np
import pytest
from toys import toy_ct

from ipha_toolkit.errors import DependencyError, ReadError
from ipha_toolkit.io import dicom_volume
from ipha_toolkit.io.dicom import parts
from ipha_toolkit.io.dicom_headers import scan
from ipha_toolkit.io.dicom_volume import compact, convert, read_stack
from ipha_toolkit.phantom.dicom import Study, slices
from ipha_toolkit.run.disk import save

ANNA = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")


@pytest.fixture
def stack(tmp_path):
    tags = {"ConvolutionKernel": ["Br38f", "3"]}  # makes dcm2niix's own sidecar invalid
    save(tmp_path, slices(toy_ct(), ANNA, number=2, modality="CT", intercept=-1024, tags=tags))
    (part,) = parts(scan([tmp_path], progress=False).series)
    return part.echoes[0]


def test_a_volume_on_which_both_agree_is_dcm2niixs(stack):
    pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")
    found = convert(stack)
    assert found.by == "dcm2niix, equal to pydicom in every voxel" and found.array.dtype == np.int16
    np.testing.assert_array_equal(found.array, read_stack(stack))


def spoiled(stack, kind):
    """What dcm2niix is known to do, done to a right volume."""
    array, affine = read_stack(stack), np.array(stack.affine)
    if kind == "other values":
        array[3, 4, 5] += 1
    elif kind == "collapsed spacing":
        affine[:, 2] *= 0.4
    elif kind == "mirrored":
        array = array[::-1]
    elif kind == "moved":
        affine[2, 3] += 3
    elif kind == "too few slices":
        array = array[:, :, 1:]
    return [] if kind == "nothing" else [(array, affine)]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("other values", "its values differ from pydicom's"),
        ("collapsed spacing", "its voxels of 8 x 8 x 3.2 mm are not those of the header"),
        ("mirrored", "its values differ from pydicom's"),
        ("moved", "its voxels lie 3 mm from where the header puts them"),
        ("too few slices", "it has 40 x 30 x 33 voxels, the header 40 x 30 x 34"),
        ("nothing", "it gave no image"),
    ],
)
def test_what_it_gets_wrong_is_named_and_our_own_reading_taken(stack, monkeypatch, kind, why):
    monkeypatch.setattr(dicom_volume, "_by_dcm2niix", lambda frames: spoiled(stack, kind))
    found = convert(stack)
    assert found.by == f"pydicom, since dcm2niix was not right: {why}"
    np.testing.assert_array_equal(found.array, read_stack(stack))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flip", [(1, 1, 1), (1, -1, 1), (-1, 1, -1)])
def test_other_orders_and_directions_of_axes_are_the_same_volume(stack, monkeypatch, axes, flip):
    array, affine = read_stack(stack), np.array(stack.affine)
    for axis, sign in enumerate(flip):
        if sign < 0:
            affine[:, 3] += affine[:, axis] * (array.shape[axis] - 1)
            affine[:, axis] *= -1
            array = np.flip(array, axis)
    array, affine = np.transpose(array, axes), affine[:, [*axes, 3]]
    monkeypatch.setattr(dicom_volume, "_by_dcm2niix", lambda frames: [(array, affine)])
    assert convert(stack).by.startswith("dcm2niix, equal")


def test_a_scan_that_is_no_program_away_is_refused_with_the_command(stack, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dcm2niix", None)
    with pytest.raises(DependencyError, match="pip install"):
        convert(stack)


def test_damaged_pixels_are_named_by_file(stack):
    path = stack.frames[7].source.path
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ReadError, match=f"{path.name}: the pixels cannot be decoded"):
        read_stack(stack)


def test_numbers_are_stored_no_wider_than_they_need_to_be():
    assert compact(np.array([[[-1024.0, 3000.0]]])).dtype == np.int16
    assert compact(np.array([[[0.5]]])).dtype == compact(np.array([[[40000.0]]])).dtype == np.float32
    assert compact(np.array([[[np.nan, 1.0]]])).dtype == np.float32
