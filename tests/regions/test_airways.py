import numpy as np
import pytest

from ipha_toolkit.errors import ImageError
from ipha_toolkit.regions.airways import midline_tubes
from ipha_toolkit.regions.lungs import segment_lungs

SPACING = np.array([3.0, 3.0, 5.0])


def two_lungs(nk=12):
    """Air of two lungs and a tube of 12 mm between them, on voxels of 3 x 3 x 5 mm."""
    air = np.zeros((90, 60, nk), bool)
    air[10:38, 10:50] = air[52:80, 10:50] = True
    tube = np.zeros_like(air)
    tube[43:47, 28:32] = True
    return air | tube, tube


def test_a_tube_in_the_middle_is_found_and_nothing_else():
    air, tube = two_lungs()
    assert np.array_equal(midline_tubes(air, SPACING), tube)


def test_a_short_hole_is_no_tube_but_one_in_a_single_slice_is():
    air, tube = two_lungs()
    short = air & ~(tube & (np.arange(12) >= 3))
    assert not midline_tubes(short, SPACING).any()
    one, tube = two_lungs(1)
    assert np.array_equal(midline_tubes(one, SPACING), tube)


def test_one_lung_alone_has_no_middle():
    air, _ = two_lungs()
    air[52:] = False
    assert not midline_tubes(air, SPACING).any()


@pytest.mark.parametrize("kind", ["ct", "T1w"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 10.0), (5.0, 5.0, 5.0)])
def test_trachea_is_left_out_of_thick_slices_and_coarse_voxels(make_chest, overlap, kind, spacing):
    volume, truth = make_chest(kind, spacing=spacing)
    lungs = segment_lungs(volume)
    x, y, z = np.moveaxis(volume.to_world(np.moveaxis(np.indices(volume.shape), 0, -1)), -1, 0)
    trachea = (np.hypot(x, y) < 7) & (z > 40)
    assert lungs.array[trachea].mean() < 0.1
    assert overlap(lungs, truth) > 0.95


def one_plane(volume, truth, axis, place_mm):
    """The single slice of a chest at a place along an axis, and its true lungs."""
    keep = [slice(None)] * 3
    at = [0.0, 0.0, 0.0]
    at[axis] = place_mm
    index = round(float(np.linalg.solve(volume.affine, [*at, 1.0])[axis]))
    keep[axis] = slice(index, index + 1)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.to_world([s.start or 0 for s in keep])
    return type(volume)(volume.array[tuple(keep)], affine, modality="ct", name="slice.nii"), type(truth)(
        truth.array[tuple(keep)], affine
    )


@pytest.mark.parametrize(("level", "lumen"), [(-850, -1000), (-780, -920), (-600, -920)])
@pytest.mark.parametrize("wall_mm", [12.0, 2.0])
def test_trachea_is_left_out_of_a_coronal_slice(make_chest, overlap, level, lumen, wall_mm):
    ct, truth = make_chest("ct", spacing=(2.0, 2.0, 2.0), lung_level=level)
    x, y, z = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    near = (x > 9 + wall_mm) & (x < 40) & (np.abs(y) < 20) & (z > 30) & (z < 60)  # lung that comes up to the wall
    array = np.where((np.hypot(x, y) < 9) & (z > 25), lumen, np.where(near, level, ct.array))
    ct, truth = ct.replace(array=array), truth.replace(array=truth.array | near)
    piece, lung = one_plane(ct, truth, 1, 0.0)
    lungs = segment_lungs(piece)
    x, _, z = np.moveaxis(piece.to_world(np.moveaxis(np.indices(piece.shape), 0, -1)), -1, 0)
    assert lungs.array[(np.abs(x) < 7) & (z > 40)].mean() < 0.1
    assert overlap(lungs, lung) > 0.95


def test_a_sagittal_slice_through_the_trachea_alone_holds_no_lung(make_chest):
    ct, truth = make_chest("ct", spacing=(2.0, 2.0, 2.0))
    with pytest.raises(ImageError, match=r"slice\.nii: no lung found"):
        segment_lungs(one_plane(ct, truth, 0, 0.0)[0])


def test_a_narrow_lung_in_a_sagittal_slice_is_no_trachea(make_chest, overlap):
    ct, truth = make_chest("ct", spacing=(2.0, 2.0, 2.0))
    y = ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1))[..., 1]
    narrow = truth.array & (y > -30) & (y < -8)
    piece, lung = one_plane(
        ct.replace(array=np.where(truth.array & ~narrow, 40, ct.array)), truth.replace(array=narrow), 0, 70.0
    )
    assert overlap(segment_lungs(piece), lung) > 0.9


def test_air_at_the_hips_is_no_lung_of_a_coronal_slice(make_chest):
    ct, truth = make_chest("ct", spacing=(2.0, 2.0, 2.0), field=(360, 264, 420))
    x, _, z = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    hip = (np.abs(x - 120) < 12) & (np.abs(z + 180) < 20)
    piece, _ = one_plane(ct.replace(array=np.where(hip, -870, ct.array)), truth.replace(array=hip), 1, 20.0)
    assert not segment_lungs(piece).array[one_plane(ct, truth.replace(array=hip), 1, 20.0)[1].array].any()
