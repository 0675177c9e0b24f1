import numpy as np
import pytest

from ipha_toolkit.phantom.dicom import Study, film, multiframe, slices
from ipha_toolkit.volume import Volume

ANNA = Study("1", "Nobody^Ida", "20150314", "F", "20240110")
VOLUME = Volume(np.arange(24.0).reshape(4, 3, 2), np.diag([2.0, 3.0, 5.0, 1.0]))


@pytest.mark.parametrize(("plane", "count"), [("axial", 2), ("coronal", 3)])
def test_every_pixel_lies_where_the_volume_has_it(plane, count):
    objects = slices(VOLUME, ANNA, number=2, modality="MR", plane=plane, slope=0.5, intercept=-3)
    assert len(objects) == count
    for data in objects:
        across, down = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
        for row, column in ((0, 0), (data.Rows - 1, 0), (0, data.Columns - 1)):
            lps = (np.array(data.ImagePositionPatient, float) + across * float(data.PixelSpacing[1]) * column
                   + down * float(data.PixelSpacing[0]) * row)  # fmt: skip
            i, j, k = np.rint(VOLUME.to_index(lps * [-1, -1, 1])).astype(int)
            assert data.pixel_array[row, column] * 0.5 - 3 == VOLUME.array[i, j, k]


def test_echoes_in_one_enhanced_object_lie_slice_by_slice():
    data = multiframe([VOLUME, VOLUME.replace(array=VOLUME.array + 100)], ANNA, number=3, te_ms=[1.0, 2.0])
    times = [frame.MREchoSequence[0].EffectiveEchoTime for frame in data.PerFrameFunctionalGroupsSequence]
    assert times == [1.0, 2.0, 1.0, 2.0]
    np.testing.assert_array_equal(data.pixel_array[1], data.pixel_array[0] + 100)


def test_a_film_hangs_with_the_patients_right_on_its_left():
    picture = Volume(np.arange(12.0).reshape(4, 3, 1), np.eye(4)[:, [0, 2, 1, 3]])
    pixels = film(picture, ANNA, number=4).pixel_array
    assert pixels.shape == (3, 4)
    assert pixels[0, 0] == picture.array[3, 2, 0] and pixels[-1, -1] == picture.array[0, 0, 0]


def test_the_same_study_has_the_same_uids_and_no_two_objects_share_one():
    first, again = (slices(VOLUME, ANNA, number=n, modality="CT") for n in (2, 2))
    other = slices(VOLUME, ANNA, number=22, modality="CT")
    assert [data.SOPInstanceUID for data in first] == [data.SOPInstanceUID for data in again]
    assert len({data.SOPInstanceUID for data in (*first, *other)}) == 4
