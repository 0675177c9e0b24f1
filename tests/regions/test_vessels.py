import numpy as np
import pytest

from ipha_toolkit.errors import GridError
from ipha_toolkit.regions.vessels import segment_vessels
from ipha_toolkit.volume import Mask, Volume


def block_of_lung(noise=20.0, level=-850.0):
    """A lung filling a box within soft tissue, 1 mm voxels, and its coordinates."""
    rng = np.random.default_rng(3)
    lung = np.zeros((70, 70, 70), bool)
    lung[8:62, 8:62, 8:62] = True
    hu = np.where(lung, level, 40.0) + rng.normal(0, noise, lung.shape)
    return hu, lung, np.indices(lung.shape)


def found(hu, lung):
    ct = Volume(hu, np.eye(4), modality="ct")
    return segment_vessels(ct, Mask(lung, np.eye(4))).array


def test_a_vessel_is_found_and_air_is_not():
    hu, lung, (i, _, k) = block_of_lung()
    vessel = (np.hypot(i - 30, k - 35) < 2.5) & lung
    hu[vessel] = 40
    vessels = found(hu, lung)
    assert vessels[vessel].mean() > 0.85
    assert vessels[lung & ~vessel].mean() < 0.001


def test_the_lung_border_is_no_vessel():
    hu, lung, _ = block_of_lung()
    partial = lung & ~np.pad(lung[9:61, 9:61, 9:61], 9)
    hu[partial] = -400
    assert found(hu, lung).mean() < 0.001


@pytest.mark.parametrize("level", [-600.0, 30.0])
def test_ground_glass_and_consolidation_are_no_vessels(level):
    hu, lung, (i, j, k) = block_of_lung()
    disease = ((i - 35) ** 2 + (j - 35) ** 2 + (k - 35) ** 2 < 14**2) & lung
    hu[disease] = level + np.random.default_rng(1).normal(0, 30, int(disease.sum()))
    assert found(hu, lung)[disease].mean() < 0.02


def test_vessels_are_found_within_ground_glass():
    hu, lung, (i, _, k) = block_of_lung(level=-600.0)
    vessel = (np.hypot(i - 30, k - 35) < 2.5) & lung
    hu[vessel] = 40
    assert found(hu, lung)[vessel].mean() > 0.85


def test_a_small_nodule_is_no_vessel():
    hu, lung, (i, j, k) = block_of_lung()
    nodule = (i - 35) ** 2 + (j - 35) ** 2 + (k - 35) ** 2 < 3**2
    hu[nodule] = 20
    assert not found(hu, lung)[nodule].any()


def test_no_lung_has_no_vessels_and_grids_must_agree():
    hu, lung, _ = block_of_lung()
    assert not found(hu, np.zeros_like(lung)).any()
    with pytest.raises(GridError):
        segment_vessels(Volume(hu, np.eye(4), modality="ct"), Mask(lung[1:], np.eye(4)))
