import numpy as np
import pytest

from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.regions.upright import airway_perhaps_inside, dense_border


def upright(volume, axis, at=0.5):
    k = int(at * volume.shape[axis])
    return volume.replace(array=volume.array.take([k], axis))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("level", "dense"), [(-850, False), (-600, False), (-400, True), (-300, True)])
def test_a_border_in_dense_lung_says_that_lung_is_perhaps_missing(make_chest, axis, level, dense):
    ct, truth = make_chest("ct", lung_level=level)
    image, lungs = upright(ct, axis, 0.35), upright(truth, axis, 0.35)
    assert dense_border(lungs, image) == dense
    assert ("lung_perhaps_missing" in lung_flags(lungs, image)) == dense


def test_volumes_and_axial_slices_have_a_rib_cage_instead(make_chest):
    ct, truth = make_chest("ct", lung_level=-300)
    for image, lungs in ((ct, truth), (upright(ct, 2), upright(truth, 2))):
        assert not dense_border(lungs, image) and not airway_perhaps_inside(lungs, image)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("level", "light"), [(-850, False), (-940, True)])
def test_in_emphysema_an_airway_may_be_inside(make_chest, axis, level, light):
    ct, truth = make_chest("ct", lung_level=level)
    image, lungs = upright(ct, axis, 0.35), upright(truth, axis, 0.35)
    assert airway_perhaps_inside(lungs, image) == light
    assert ("airway_perhaps_inside" in lung_flags(lungs, image)) == light


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
