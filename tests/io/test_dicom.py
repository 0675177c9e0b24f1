"""How slices become volumes, on places written out by hand."""

import numpy as np
import pytest

from ipha_toolkit.io.dicom import arrange
from ipha_toolkit.io.dicom_files import Source
from ipha_toolkit.io.dicom_headers import Frame

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def frame(position, *, orientation=AXIAL, rows=3, columns=4, spacing=(2.0, 1.0), thickness=5.0):
    return Frame(Source("x"), 0, str(position), 1, rows, columns, position, orientation, spacing, thickness, None, None,
                 None, (), "", ("", "", "", ""), 1.0, 0.0)  # fmt: skip


def at(*heights, **further):
    return arrange([frame((-10.0, -20.0, z), **further) for z in heights])


def test_slices_are_ordered_by_place_and_lie_where_the_header_puts_them():
    stack = at(5.0, 0.0, 10.0)
    assert [f.position[2] for f in stack.frames] == [0.0, 5.0, 10.0]
    assert (stack.shape, stack.spacing_mm, stack.gaps, stack.tilt_deg, stack.wrong) == ((4, 3, 3), (1, 2, 5), 0, 0, "")
    expected = [[-1, 0, 0, 10], [0, -2, 0, 20], [0, 0, 5, 0], [0, 0, 0, 1]]  # LPS turned to RAS
    np.testing.assert_allclose(stack.affine, expected)


@pytest.mark.parametrize(
    ("heights", "gaps", "places"),
    [((0, 5, 10), 0, (0, 1, 2)), ((0, 5, 15), 1, (0, 1, 3)), ((0, 5, 20, 25), 2, (0, 1, 4, 5)), ((3,), 0, (0,))],
)
def test_missing_slices_are_counted(heights, gaps, places):
    stack = at(*map(float, heights))
    assert (stack.gaps, stack.places, stack.wrong) == (gaps, places, "")


def test_positions_rounded_to_hundredths_are_even():
    assert at(*(round(n * 1.2345, 2) for n in range(60))).wrong == ""


@pytest.mark.parametrize(
    ("stack", "text"),
    [
        (lambda: at(0.0, 5.0, 11.5, 17.0), "spacing varies, 5 to 6.5 mm between slices"),
        (lambda: at(0.0, 0.0, 5.0), "2 of 3 images lie at one place"),
        (lambda: arrange([frame((0, 0, 0)), frame((0, 0, 5), orientation=(0, 1, 0, 0, 0, -1))]),
         "mixed orientation, its 2 slices lie in 2 directions"),
        (lambda: arrange([frame((0, 0, 0)), frame((0, 0, 5), rows=9)]), "its 2 slices have 2 different matrices"),
        (lambda: arrange([frame((0, 0, 0)), frame(None)]), "1 of 2 images have no position"),
        (lambda: arrange([frame((0, 0, 0)), frame((3, 0, 5)), frame((0, 0, 10))]), "slices do not lie in one row"),
    ],
)  # fmt: skip
def test_what_is_no_volume_says_why(stack, text):
    assert text in stack().wrong


def test_a_tilted_gantry_is_measured():
    shift = 5 * np.tan(np.radians(14))
    stack = arrange([frame((0.0, n * shift, 5.0 * n)) for n in range(4)])
    assert stack.tilt_deg == pytest.approx(14.0, abs=0.01) and stack.wrong == ""
    assert arrange([frame((0.0, n * 0.02, 5.0 * n)) for n in range(4)]).tilt_deg == 0.0
