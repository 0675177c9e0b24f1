import numpy as np
import pytest

from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.regions.upright import airway_perhaps_inside, dense_border


def upright(volume, axis, at=0.5):
    k = int(at * volume.shape[axis])
    return volume.replace(array=volume.array.take([k], axis))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("told", "flag", "level", "expected"),
    [
        (dense_border, "lung_perhaps_missing", -850, False),
        (dense_border, "lung_perhaps_missing", -600, False),
        (dense_border, "lung_perhaps_missing", -400, True),
        (dense_border, "lung_perhaps_missing", -300, True),
        (airway_perhaps_inside, "airway_perhaps_inside", -850, False),
        (airway_perhaps_inside, "airway_perhaps_inside", -940, True),
    ],
)
def test_dense_borders_and_emphysema_are_told(make_chest, axis, told, flag, level, expected):
    ct, truth = make_chest("ct", lung_level=level)
    image, lungs = upright(ct, axis, 0.35), upright(truth, axis, 0.35)
    assert told(lungs, image) == expected
    assert (flag in lung_flags(lungs, image)) == expected


def test_volumes_and_axial_slices_have_a_rib_cage_instead(make_chest):
    ct, truth = make_chest("ct", lung_level=-300)
    for image, lungs in ((ct, truth), (upright(ct, 2), upright(truth, 2))):
        assert not dense_border(lungs, image) and not airway_perhaps_inside(lungs, image)


def test_a_piece_of_its_own_in_the_middle_may_be_an_airway(make_chest):
    ct, truth = make_chest("ct")
    image, lungs = upright(ct, 1), upright(truth, 1)
    x, _, z = np.moveaxis(image.to_world(np.moveaxis(np.indices(image.shape), 0, -1)), -1, 0)
    grazed = (np.abs(x) < 6) & (z > 10) & (z < 50)
    assert not airway_perhaps_inside(lungs, image)
    assert airway_perhaps_inside(lungs.replace(array=lungs.array | grazed), image)


def test_a_healthy_coronal_slice_is_not_flagged(make_chest):
    ct, _ = make_chest("ct")
    image = upright(ct, 1)
    assert lung_flags(segment_lungs(image), image) == ["single_slice"]
