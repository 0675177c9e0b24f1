import gzip
import json
import struct

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError, ReadError
from ipha_toolkit.io.images import load_echoes, load_mask
from ipha_toolkit.volume import Mask, Volume

RNG = np.random.default_rng(3)
ARRAY = RNG.integers(0, 900, (4, 5, 6)).astype(np.int16)
OBLIQUE = np.array([[1.9, 0.3, 0, -7], [-0.3, 2.8, 0.2, 3], [0, -0.2, 4, 11], [0, 0, 0, 1.0]])


def write_nifti(path, array=ARRAY, affine=OBLIQUE, *, slope=None, inter=0.0, dtype=None):
    image = nib.Nifti1Image(array, affine, dtype=dtype)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def patch(path, offset, data):
    """Overwrite bytes of an uncompressed file's header."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_an_image_survives_its_file(tmp_path, ending):
    volume = Volume(ARRAY, np.diag([2, 3, 4, 1]), modality="T1w", meta={"EchoTime": 0.002})
    path = tmp_path / f"sub-1_T1w{ending}"
    ipha.save(volume, path)
    back = ipha.load(path)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.same_grid(volume)
    assert back.modality == "T1w"
    assert back.meta == {"EchoTime": 0.002}


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_mask_survives_its_file(tmp_path, ending):
    mask = Mask(ARRAY > 400, np.diag([2, 3, 4, 1]))
    ipha.save(mask, tmp_path / f"m{ending}")
    np.testing.assert_array_equal(load_mask(tmp_path / f"m{ending}").array, mask.array)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    volume = Volume(ARRAY, OBLIQUE)
    for name in ("a", "b"):
        ipha.save(volume, tmp_path / f"{name}.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_unwritable_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"writes \.nii"):
        ipha.save(Volume(ARRAY, OBLIQUE), tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "u1", ">f4", "f8", "<i4"])
def test_any_byte_order_and_type_reads_the_same(tmp_path, dtype):
    header = nib.Nifti1Header(endianness=dtype[0] if dtype[0] in "<>" else "<")
    header.set_data_dtype(np.dtype(dtype))
    nib.save(nib.Nifti1Image((ARRAY % 200).astype(dtype), OBLIQUE, header), tmp_path / "a_T1w.nii")
    np.testing.assert_array_equal(ipha.load(tmp_path / "a_T1w.nii").array, ARRAY % 200)


def test_scaling_is_applied(tmp_path):
    path = patch(write_nifti(tmp_path / "a_ct.nii"), 112, struct.pack("<ff", 1.5, -1000.0))
    np.testing.assert_allclose(ipha.load(path).array, ARRAY * 1.5 - 1000)


@pytest.mark.parametrize("code", ["LPS", "PSR", "SAL", "RAS", "IRP"])
def test_left_stays_left_however_the_file_is_stored(tmp_path, code):
    original = nib.Nifti1Image(ARRAY, OBLIQUE)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt(tuple(code))
    )
    nib.save(original.as_reoriented(turn), tmp_path / "a_T1w.nii.gz")
    volume = ipha.load(tmp_path / "a_T1w.nii.gz")
    np.testing.assert_array_equal(volume.array, ARRAY)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


def test_itk_and_nifti_agree_where_a_voxel_lies(tmp_path):
    image = sitk.GetImageFromArray(ARRAY.transpose())
    image.SetSpacing((1.5, 2.5, 3.5))
    image.SetOrigin((-11, 7, 5))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    for ending in (".nrrd", ".mha", ".nii.gz"):
        sitk.WriteImage(image, str(tmp_path / f"a_T1w{ending}"))
    first, *others = [ipha.load(tmp_path / f"a_T1w{ending}") for ending in (".nrrd", ".mha", ".nii.gz")]
    for other in others:
        assert other.same_grid(first)
        np.testing.assert_array_equal(other.array, first.array)


@pytest.mark.parametrize("padding", [-3024, -2048, -2000, -32768])
def test_ct_padding_becomes_missing_and_air_stays(tmp_path, padding):
    array = np.full((4, 4, 4), -1000, np.int16)
    array[0], array[1, 0, 0] = padding, 40
    volume = ipha.load(write_nifti(tmp_path / "a_ct.nii.gz", array))
    assert np.isnan(volume.array[0]).all()
    assert np.nanmin(volume.array) == -1000
    assert volume.unit == "HU"


def test_mr_values_are_never_taken_for_padding(tmp_path):
    volume = ipha.load(write_nifti(tmp_path / "a_T1w.nii.gz", ARRAY - 3000))
    assert np.isfinite(volume.array).all()


def test_some_missing_voxels_are_allowed(tmp_path):
    array = ARRAY.astype(np.float32)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    assert np.isnan(ipha.load(write_nifti(tmp_path / "a_T1w.nii", array)).array).sum() == 2


def test_a_single_slice_is_a_volume_of_one(tmp_path):
    assert ipha.load(write_nifti(tmp_path / "a_ct.nii.gz", ARRAY[:, :, :1] - 1000)).shape == (4, 5, 1)


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    assert ipha.load(write_nifti(tmp_path / "a_T1w.nii.gz", ARRAY[..., None])).shape == (4, 5, 6)


def test_modality_given_wins_over_the_name(tmp_path):
    assert ipha.load(write_nifti(tmp_path / "scan_T1w.nii.gz"), modality="T2w").modality == "T2w"


def not_an_image(folder):
    (folder / "a_T1w.nii").write_text("hello")
    return folder / "a_T1w.nii"


def truncated_gz(folder):
    path = write_nifti(folder / "a_T1w.nii.gz", RNG.integers(0, 900, (40, 40, 40)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:20000])
    return path


def truncated_nii(folder):
    path = write_nifti(folder / "a_T1w.nii")
    path.write_bytes(path.read_bytes()[:400])
    return path


def truncated_nrrd(folder):
    path = folder / "a_T1w.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    path.write_bytes(path.read_bytes()[:250])
    return path


def rgb(folder):
    array = np.zeros((4, 5, 6), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    return write_nifti(folder / "a_T1w.nii.gz", array)


def rgb_mha(folder):
    path = folder / "a_T1w.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True), str(path))
    return path


def missing_ending(folder):
    (folder / "a_T1w.xyz").write_text("hello")
    return folder / "a_T1w.xyz"


def empty_file(folder):
    (folder / "a_T1w.nii.gz").write_bytes(b"")
    return folder / "a_T1w.nii.gz"


def bad_sidecar(folder):
    (folder / "a_T1w.json").write_text("{EchoTime: 3")
    write_nifti(folder / "a_T1w.nii.gz")
    return folder / "a_T1w.nii.gz"


def sform(row, values):
    return lambda folder: patch(write_nifti(folder / "a_T1w.nii"), 280 + 16 * row, struct.pack("<ffff", *values))


REFUSALS = [
    (not_an_image, "not a NIfTI image"),
    (truncated_gz, "truncated or damaged"),
    (truncated_nii, "truncated or damaged"),
    (truncated_nrrd, "encoding none; needs whole or real numbers"),
    (rgb, "RGB colour"),
    (rgb_mha, "3 values per voxel"),
    (missing_ending, "known endings: .nii"),
    (empty_file, "the file is empty"),
    (bad_sidecar, "a_T1w.json: not a JSON file"),
    (lambda f: f / "a_T1w.nii.gz", "no such file"),
    (lambda f: write_nifti(f / "a_T1w.nii", np.full((3, 3, 3), np.nan, np.float32)), "no finite value"),
    (lambda f: write_nifti(f / "a_T1w.nii", np.full((3, 3, 3), np.inf, np.float32)), "no finite value"),
    (lambda f: write_nifti(f / "a_T1w.nii", np.zeros((3, 3, 3), np.int16)), "is constant, every voxel is 0"),
    (
        lambda f: write_nifti(f / "a_T1w.nii", np.array(ARRAY, np.float32) * 1e34),
        "largest value is .* within 1e-09 to 1e.09 .*mr_peak",
    ),
    (lambda f: write_nifti(f / "a_T1w.nii", np.array(ARRAY, np.float32) * 1e-30), "largest value is .*e-28.*mr_peak"),
    (lambda f: write_nifti(f / "a_ct.nii", np.array(ARRAY, np.float32) * 1e34), "scanners write at most 32767 HU"),
    (
        lambda f: write_nifti(f / "a_dx.nii", np.array(ARRAY, np.float32)[:, :, :1] * 1e34),
        "within 0 to 4.29e.09.*film_highest",
    ),
    (lambda f: write_nifti(f / "a_ct.nii", np.full((3, 3, 3), -2000, np.int16)), "no finite value"),
    (lambda f: write_nifti(f / "a_T1w.nii", ARRAY[:, :, 0]), "is 2-D"),
    (lambda f: write_nifti(f / "a_ct.nii", ARRAY[:, :, 0]), "is 2-D"),
    (lambda f: write_nifti(f / "a_T1w.nii", np.stack([ARRAY, ARRAY], 3)), "is 4-D.*load_echoes"),
    (lambda f: patch(write_nifti(f / "a_T1w.nii"), 112, struct.pack("<f", 0.0)), "scl_slope.*is 0"),
    (sform(0, (np.nan, 0, 0, 0)), "NaN or infinity"),
    (sform(0, (0, 0, 0, 0)), "singular"),
    (lambda f: write_nifti(f / "scan.nii.gz"), "cannot tell the modality"),
]


@pytest.mark.parametrize("make, text", REFUSALS, ids=[text for _, text in REFUSALS])
def test_what_cannot_be_read_is_refused_in_one_line_that_names_the_file(tmp_path, make, text):
    path = make(tmp_path)
    with pytest.raises(ReadError, match=text) as caught:
        ipha.load(path)
    assert path.name.split(".")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ReadError, match="is a folder"):
        ipha.load(tmp_path, modality="ct")


def test_an_unknown_modality_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'PET' is not one of T1w"):
        ipha.load(write_nifti(tmp_path / "a_T1w.nii"), modality="PET")


def test_an_mr_voxel_far_above_all_others_is_missing_and_flagged(tmp_path):
    hot = ARRAY.astype(np.float32)
    hot[1, 2, 3] = 1e9
    volume = ipha.load(write_nifti(tmp_path / "a_T1w.nii", hot, np.eye(4)))
    assert np.isnan(volume.array[1, 2, 3]) and np.isnan(volume.array).sum() == 1
    assert volume.meta["ReadFlags"] == ["hot_voxels"]
    assert "ReadFlags" not in ipha.load(write_nifti(tmp_path / "b_T1w.nii", ARRAY * 1e-9)).meta


def test_what_the_system_says_is_a_refusal_that_names_the_file(tmp_path, monkeypatch):
    path = write_nifti(tmp_path / "a_T1w.nii")
    for raised, words in (
        (MemoryError(), "does not fit into memory"),
        (PermissionError(13, "Permission denied"), "denied"),
    ):

        def fail(*_, raised=raised):
            raise raised

        monkeypatch.setattr("ipha_toolkit.io.nifti.read", fail)
        with pytest.raises(ReadError, match=rf"a_T1w\.nii: .*{words}"):
            ipha.load(path)
        with pytest.raises(ReadError, match=words):
            load_mask(path)


def test_a_gzip_file_damaged_inside_is_refused(tmp_path):
    path = tmp_path / "a_T1w.nii.gz"
    path.write_bytes(gzip.compress(b"nothing like an image" * 100))
    with pytest.raises(ReadError, match="a_T1w"):
        ipha.load(path)


def test_an_empty_mask_is_refused(tmp_path):
    with pytest.raises(ReadError, match="mask is empty"):
        load_mask(write_nifti(tmp_path / "m.nii.gz", np.zeros((3, 3, 3), np.uint8)))


def test_labels_without_names_are_refused(tmp_path):
    path = write_nifti(tmp_path / "m.nii.gz", (ARRAY % 3).astype(np.uint8))
    with pytest.raises(ReadError, match=r"holds 0, 1, 2; a label image is named _dseg"):
        load_mask(path)
    assert load_mask(path, labels=[1]).n_voxels == int((ARRAY % 3 == 1).sum())
    with pytest.raises(ReadError, match="with labels 7"):
        load_mask(path, labels=[7])


def write_echo(folder, number, seconds, affine=OBLIQUE):
    path = write_nifti(folder / f"a_echo-{number}_MEGRE.nii.gz", ARRAY, affine)
    path.with_name(f"a_echo-{number}_MEGRE.json").write_text(json.dumps({"EchoTime": seconds}))
    return path


def test_echoes_come_ordered_by_time_in_milliseconds(tmp_path):
    echoes, te_ms = load_echoes([write_echo(tmp_path, 1, 0.003), write_echo(tmp_path, 2, 0.001)])
    assert te_ms == pytest.approx([1, 3])
    assert [echo.name for echo in echoes] == ["a_echo-2_MEGRE.nii.gz", "a_echo-1_MEGRE.nii.gz"]


def test_echoes_in_one_file_are_split(tmp_path):
    path = write_nifti(tmp_path / "a_MEGRE.nii.gz", np.stack([ARRAY, ARRAY // 2], 3))
    (tmp_path / "a_MEGRE.json").write_text(json.dumps({"EchoTime": [0.001, 0.002]}))
    echoes, te_ms = load_echoes(path)
    np.testing.assert_array_equal(echoes[1].array, ARRAY // 2)
    assert te_ms == pytest.approx([1, 2])


def test_an_echo_without_its_time_is_refused(tmp_path):
    with pytest.raises(ReadError, match="needs one EchoTime in seconds"):
        load_echoes([write_nifti(tmp_path / "a_MEGRE.nii.gz")])


def test_echoes_on_different_grids_are_refused(tmp_path):
    with pytest.raises(GridError, match="different grid"):
        load_echoes([write_echo(tmp_path, 1, 0.001), write_echo(tmp_path, 2, 0.002, np.eye(4))])
