import numpy as np
import pytest

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.settings import LungSettings
from ipha_toolkit.volume import Mask, Volume


def trachea(volume):
    x, y, z = np.moveaxis(volume.to_world(np.moveaxis(np.indices(volume.shape), 0, -1)), -1, 0)
    return (np.hypot(x, y) < 6) & (z > 40)


def test_ct_lungs_overlap_with_the_truth(make_chest, overlap):
    ct, truth = make_chest("ct")
    lungs = segment_lungs(ct)
    assert overlap(lungs, truth) > 0.985
    assert lungs.same_grid(ct)
    assert lung_flags(lungs, ct) == []


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 5.0), (2.0, 2.0, 1.0)])
def test_ct_lungs_in_thick_and_thin_slices(make_chest, overlap, spacing):
    ct, truth = make_chest("ct", spacing=spacing)
    assert overlap(segment_lungs(ct), truth) > 0.985


def test_ct_trachea_is_left_out(make_chest):
    ct, _ = make_chest("ct")
    assert not (segment_lungs(ct).array & trachea(ct)).any()


def test_ct_consolidation_against_the_pleura_stays_inside(make_chest, overlap):
    ct, truth = make_chest("ct", consolidation=((110, 0, 10), 30))
    lungs = segment_lungs(ct)
    filled = truth.array & (ct.array > -200)
    assert filled.sum() * ct.voxel_volume_ml > 30
    assert lungs.array[filled].mean() > 0.85
    assert overlap(lungs, truth) > 0.97


@pytest.mark.parametrize("level", [-300.0, -240.0])
def test_ct_ground_glass_against_heart_and_chest_wall_stays_inside(make_chest, overlap, level):
    ct, truth = make_chest("ct")
    z = ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1))[..., 2]
    lower = truth.array & (z < -10)
    array = np.where(lower, ct.array + 850 + level, ct.array)
    lungs = segment_lungs(ct.replace(array=array))
    assert lungs.array[lower].mean() > 0.85
    assert overlap(lungs, truth) > 0.95


def test_mri_border_to_fat_lies_where_that_to_muscle_does(make_chest, overlap):
    t1w, truth = make_chest("T1w", spacing=(2.5, 2.5, 2.5), noise=1)
    from scipy import ndimage

    rim = ndimage.binary_dilation(truth.array, iterations=3) & ~truth.array & (t1w.array < 120)
    fatty = ndimage.gaussian_filter(np.where(rim, 170, t1w.array), 0.6)
    assert overlap(segment_lungs(t1w.replace(array=fatty)), truth) > 0.95


def test_ct_bed_and_room_air_stay_outside(make_chest, overlap):
    ct, truth = make_chest("ct", bed=True)
    assert overlap(segment_lungs(ct), truth) > 0.985


def test_ct_padding_outside_the_field_of_view_is_no_lung(make_chest, overlap):
    ct, truth = make_chest("ct")
    array = ct.array.copy()
    x, y, _ = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    array[np.hypot(x, y) > 170] = np.nan
    assert overlap(segment_lungs(ct.replace(array=array)), truth) > 0.985


def test_ct_body_cut_by_the_image_border(make_chest, overlap):
    ct, truth = make_chest("ct", field=(270, 180, 150))
    lungs = segment_lungs(ct)
    assert overlap(lungs, truth) > 0.98
    assert "cut_field_of_view" in lung_flags(lungs, ct)


def test_lungs_of_which_the_file_holds_no_values_are_flagged(make_chest):
    mr, truth = make_chest("T1w")
    array = mr.array.copy()
    places = np.argwhere(truth.array)
    array[tuple(places[: len(places) // 200].T)] = np.nan
    assert "lung_voxels_missing" not in lung_flags(truth, mr.replace(array=array))
    array[tuple(places[: len(places) // 50].T)] = np.nan
    assert "lung_voxels_missing" in lung_flags(truth, mr.replace(array=array))


def test_ct_vessels_are_dropped_where_the_protocol_says_so(make_chest):
    ct, truth = make_chest("ct", spacing=(2.0, 2.0, 2.0))
    array = ct.array.copy()
    x, _, z = np.moveaxis(ct.to_world(np.moveaxis(np.indices(ct.shape), 0, -1)), -1, 0)
    vessel = truth.array & (np.hypot(x - 70, z - 10) < 3)
    array[vessel] = 40
    ct = ct.replace(array=array)
    kept = segment_lungs(ct)
    dropped = segment_lungs(ct, protocol=Protocol(lungs=LungSettings(vessels=False)))
    assert kept.array[vessel].mean() > 0.95
    assert dropped.array[vessel].mean() < 0.2
    assert not (dropped.array & ~kept.array).any()


@pytest.mark.parametrize("kind", ["T1w", "T2w", "MEGRE"])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 15.0), (4.0, 4.0, 4.0), (3.0, 8.0, 3.0)])
def test_mri_lungs_in_axial_and_coronal_stacks(make_chest, overlap, kind, spacing):
    volume, truth = make_chest("T1w" if kind == "MEGRE" else kind, spacing=spacing)
    assert overlap(segment_lungs(volume.replace(modality=kind)), truth) > 0.95


def test_mri_lungs_in_a_shaded_coarsely_quantised_image(make_chest, overlap):
    volume, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0), shading=0.5)
    coarse = volume.replace(array=np.round(volume.array / 4) * 4)
    assert overlap(segment_lungs(coarse), truth) > 0.95


def test_mri_body_cut_by_the_image_border(make_chest, overlap):
    volume, truth = make_chest("T1w", field=(300, 180, 180))
    assert overlap(segment_lungs(volume), truth) > 0.95


@pytest.mark.parametrize("kind", ["ct", "T1w"])
def test_single_slice(make_chest, overlap, kind):
    volume, truth = make_chest(kind, spacing=(2.0, 2.0, 2.0), field=(360, 264, 2))
    lungs = segment_lungs(volume)
    assert lungs.shape[2] == 1
    assert overlap(lungs, truth) > 0.95
    assert lung_flags(lungs, volume) == ["single_slice"]


@pytest.mark.parametrize("kind", ["ct", "T1w"])
def test_flipped_and_permuted_copies_give_the_same_lungs(make_chest, kind):
    volume, _ = make_chest(kind)
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = volume.shape[0] - 1
    swap = np.eye(4)[[2, 1, 0, 3]]
    other = Volume(volume.array[::-1].transpose(2, 1, 0), volume.affine @ flip @ swap, modality=kind)
    lungs = segment_lungs(other)
    assert lungs.same_grid(other)
    assert np.array_equal(lungs.array.transpose(2, 1, 0)[::-1], segment_lungs(volume).array)


def test_two_runs_agree_and_leave_the_volume_alone(make_chest):
    volume, _ = make_chest("T1w")
    before = volume.array.copy()
    assert np.array_equal(segment_lungs(volume).array, segment_lungs(volume).array)
    assert np.array_equal(volume.array, before)


@pytest.mark.parametrize("kind", ["ct", "T1w"])
def test_one_lung_is_flagged(make_chest, kind):
    volume, truth = make_chest(kind, one_lung=True)
    lungs = segment_lungs(volume)
    assert "one_lung" in lung_flags(lungs, volume)
    assert lungs.volume_ml == pytest.approx(truth.volume_ml, rel=0.1)


def test_implausible_volume_and_cut_field_are_flagged_for_foreign_masks():
    image = Volume(np.zeros((50, 50, 50)), np.diag([5.0, 5, 5, 1]))
    small = np.zeros(image.shape, bool)
    small[10:13, 10:13, 10:13] = small[30:33, 10:13, 10:13] = True
    assert lung_flags(Mask(small, image.affine), image) == ["implausible_lung_volume"]
    assert "cut_field_of_view" in lung_flags(Mask(np.ones(image.shape, bool), image.affine), image)
    with pytest.raises(ImageError, match="empty"):
        lung_flags(Mask(np.zeros(image.shape, bool), image.affine), image)
    with pytest.raises(GridError):
        lung_flags(Mask(small[:-1], image.affine), image)


@pytest.mark.parametrize("kind", ["ct", "T1w", "T2w"])
def test_no_lung_is_an_error_that_names_the_image(make_chest, kind):
    volume, truth = make_chest(kind)
    solid = volume.replace(array=np.where(truth.array | trachea(volume), 60, volume.array), name="liver.nii.gz")
    with pytest.raises(ImageError, match=r"liver\.nii\.gz: no lung found.*pass a lung mask"):
        segment_lungs(solid)


def test_constant_image_is_an_error():
    with pytest.raises(ImageError, match=r"flat\.nii: no lung found"):
        segment_lungs(Volume(np.ones((20, 20, 20)), np.eye(4), modality="T1w", name="flat.nii"))


def test_an_image_without_modality_is_refused():
    with pytest.raises(ImageError, match="without modality"):
        segment_lungs(Volume(np.ones((9, 9, 9)), np.eye(4)))
