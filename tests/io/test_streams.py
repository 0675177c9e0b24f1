import bz2
import gzip
import json
import os
import socket
import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError, ReadError
from ipha_toolkit.io.checks import require_measurable
from ipha_toolkit.io.streams import numbered
from ipha_toolkit.settings import ReadingSettings

RNG = np.random.default_rng(5)
CT = RNG.integers(-1000, 300, (12, 13, 14)).astype(np.int16)
OBLIQUE = np.array([[1.9, 0.3, 0, -7], [-0.3, 2.8, 0.2, 3], [0, -0.2, 4, 11], [0, 0, 0, 1.0]])


def compressed(folder, ending):
    """A compressed CT, and the byte at which its body begins."""
    path = folder / f"a_ct{ending}"
    if ending == ".nii.gz":
        nib.save(nib.Nifti1Image(CT, OBLIQUE), path)
        return path, 10
    sitk.WriteImage(sitk.GetImageFromArray(CT), str(path), useCompression=True)
    mark = b"LOCAL\n" if ending == ".mha" else b"\n\n"
    return path, path.read_bytes().index(mark) + len(mark)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_a_flipped_bit_in_a_compressed_body_is_never_read_as_data(tmp_path, ending):
    path, start = compressed(tmp_path, ending)
    whole = path.read_bytes()
    ipha.load(path)
    for place in np.linspace(start, len(whole) - 1, 40).astype(int):
        content = bytearray(whole)
        content[place] ^= 1 << int(place % 8)
        path.write_bytes(bytes(content))
        with pytest.raises(ReadError, match=r"_ct.*(damaged|NIfTI)"):
            ipha.load(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_a_compressed_file_cut_anywhere_is_refused(tmp_path, ending):
    path, start = compressed(tmp_path, ending)
    whole = path.read_bytes()
    for length in np.linspace(start, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(ReadError, match="_ct"):
            ipha.load(path)


def test_gzip_is_told_by_its_bytes_and_not_by_the_name(tmp_path):
    nib.save(nib.Nifti1Image(CT, OBLIQUE), tmp_path / "a_ct.nii")
    plain = (tmp_path / "a_ct.nii").read_bytes()
    (tmp_path / "b_ct.nii.gz").write_bytes(plain)
    (tmp_path / "c_ct.nii").write_bytes(gzip.compress(plain))
    for name in ("b_ct.nii.gz", "c_ct.nii"):
        np.testing.assert_array_equal(ipha.load(tmp_path / name).array, ipha.load(tmp_path / "a_ct.nii").array)


def meta(**changes):
    fields = {
        "ObjectType": "Image", "NDims": "3", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "ElementSpacing": "1 1 1", "DimSize": "12 13 14", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    fields |= changes
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # the last line of a header
    return "".join(f"{name} = {value}\n" for name, value in fields.items() if value is not None).encode()


def nrrd(**changes):
    fields = {
        "type": "short", "dimension": "3", "space": "LPS", "sizes": "12 13 14",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)", "space origin": "(0,0,0)", "endian": "little", "encoding": "raw",
    }  # fmt: skip
    fields |= {name.replace("_", " "): value for name, value in changes.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    return f"NRRD0004\n{lines}\n".encode()


VOXELS = np.ascontiguousarray(CT.T).tobytes()


HEADERS = [
    ("a_ct.mha", meta(NDims="-1"), "NDims is -1; needs 2 to 7"),
    ("a_ct.mha", meta(NDims="x"), "NDims is 'x'; needs a whole number"),
    ("a_ct.mhd", meta(ElementDataFile="%n%n%s%d.raw 1 14 1"), "needs one %d and an ascending range"),
    ("a_ct.mhd", meta(ElementDataFile="../a.raw"), "outside its folder"),
    ("a_ct.mhd", meta(ElementDataFile="/etc/passwd"), "outside its folder"),
    ("a_ct.mhd", meta(ElementDataFile="gone.raw"), r"gone\.raw: no such file"),
    ("a_ct.mhd", meta(ElementDataFile="a\0b.raw"), "mend the header"),
    ("a_ct.mha", meta(DimSize="100000 100000 1000"), r"2e\+04 GB; at most 4 GB are read"),
    ("a_ct.mha", meta(DimSize="12 13 -14"), "each of 2 to 7 axes needs a voxel"),
    ("a_ct.mha", meta(DimSize="12 13 nan"), "DimSize is '12 13 nan'; needs 3 numbers"),
    ("a_ct.mha", meta(ElementSpacing=None), "gives no ElementSpacing"),
    ("a_ct.mha", meta(ElementSpacing="0.001 0.001 0.001"), "voxels measure 0.001 x 0.001 x 0.001 mm"),
    ("a_ct.mha", meta(ElementSpacing="1 0 1"), "needs lengths above 0"),
    ("a_ct.mha", meta(ElementSpacing="1 -1 1"), "needs lengths above 0"),
    ("a_ct.mha", meta(TransformMatrix="1 0 0 1 0 0 0 0 1"), "singular"),
    ("a_ct.mha", meta(TransformMatrix=None), "has no orientation"),
    ("a_ct.mha", meta(ElementType="MET_STRING"), "ElementType is 'MET_STRING'"),
    ("a_ct.mha", meta(ElementNumberOfChannels="3"), "3 values per voxel"),
    ("a_ct.mha", meta(CompressedData="True"), "truncated or damaged"),
    ("a_ct.mha", b"\x00" * 400, "no ElementDataFile"),
    ("a_ct.nrrd", nrrd(space=None), "has no orientation: space is not given"),
    ("a_ct.nrrd", nrrd(space="scanner-xyz"), "has no orientation: space is scanner-xyz"),
    ("a_ct.nrrd", nrrd(space_directions="(1,0,0) (0,1,0) none"), "space directions are"),
    ("a_ct.nrrd", nrrd(space_units='"mm" "furlong" "mm"'), "lengths are in 'furlong'"),
    ("a_ct.nrrd", nrrd(sizes="12 13"), "sizes is '12 13'; needs 3 numbers"),
    ("a_ct.nrrd", nrrd(sizes="12 13 15"), "truncated or damaged"),
    ("a_ct.nrrd", nrrd(dimension="400"), "dimension is 400"),
    ("a_ct.nrrd", nrrd(kinds="RGB-color domain domain"), "several values per voxel"),
    ("a_ct.nrrd", nrrd(encoding="hex"), "encoding 'hex'"),
    ("a_ct.nrrd", nrrd(line_skip="3"), "line skip"),
    ("a_ct.nhdr", nrrd(data_file="LIST\n/etc/a.raw\n/etc/b.raw"), "outside its folder"),
    ("a_ct.nhdr", nrrd(data_file="slice%s.raw 1 14 1"), "needs one %d"),
    ("a_ct.nrrd", b"NRRD0004\n", "dimension is 'not given'"),
    ("a_ct.nrrd", b"hello", "does not begin with NRRD000"),
]


@pytest.mark.parametrize("name, header, words", HEADERS, ids=[words for *_, words in HEADERS])
def test_a_header_that_cannot_be_used_is_refused_in_one_line(tmp_path, name, header, words):
    (tmp_path / name).write_bytes(header + VOXELS)
    (tmp_path.parent / "a.raw").write_bytes(VOXELS)
    with pytest.raises(ReadError, match=words) as caught:
        ipha.load(tmp_path / name)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_voxels_outside_the_folder_are_read_where_the_setting_allows(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / "in" / "a_ct.mhd").write_bytes(meta(ElementDataFile="../a.raw"))
    allowed = ReadingSettings(data_elsewhere=True)
    assert ipha.load(tmp_path / "in" / "a_ct.mhd", settings=allowed).shape == (12, 13, 14)


@pytest.mark.parametrize(
    ("slope", "offset", "words"), [(0.5, 0, "there is no air"), (1, 1024, "there is no air"), (1, -700, "no tissue")]
)
def test_a_ct_that_cannot_be_a_chest_in_hu_is_read_and_not_measured(tmp_path, slope, offset, words):
    nib.save(nib.Nifti1Image(np.maximum(slope * CT + offset, -1400).astype(np.float32), OBLIQUE), tmp_path / "a_ct.nii")
    volume = ipha.load(tmp_path / "a_ct.nii")
    with pytest.raises(ImageError, match=rf"a_ct\.nii: .*{words}"):
        require_measurable(volume, ReadingSettings())
    nib.save(nib.Nifti1Image(CT, OBLIQUE), tmp_path / "b_ct.nii")
    require_measurable(ipha.load(tmp_path / "b_ct.nii"), ReadingSettings())


def test_mr_without_a_value_above_zero_is_read_and_not_measured(tmp_path):
    for name, values in {"a": -1 - np.abs(CT), "b": np.abs(CT)}.items():
        nib.save(nib.Nifti1Image(values.astype(np.float32), OBLIQUE), tmp_path / f"{name}_T1w.nii")
    with pytest.raises(ImageError, match=r"a_T1w\.nii: holds no value above zero.*wrong sign"):
        require_measurable(ipha.load(tmp_path / "a_T1w.nii"), ReadingSettings())
    require_measurable(ipha.load(tmp_path / "b_T1w.nii"), ReadingSettings())


def test_a_link_beside_the_header_does_not_lead_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / "in" / "a.raw").symlink_to(tmp_path / "a.raw")
    (tmp_path / "in" / "a_ct.mhd").write_bytes(meta(ElementDataFile="a.raw"))
    with pytest.raises(ReadError, match="outside its folder"):
        ipha.load(tmp_path / "in" / "a_ct.mhd")


@pytest.mark.parametrize("pattern", ["s%02d.raw 1 14 1", "LIST"])
def test_slices_in_files_of_their_own_are_read_in_order(tmp_path, pattern):
    names = [f"s{number:02d}.raw" for number in range(1, 15)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(np.ascontiguousarray(CT[:, :, number].T).tobytes())
    value = "LIST\n" + "\n".join(names) if pattern == "LIST" else pattern
    (tmp_path / "a_ct.mhd").write_bytes(meta(ElementDataFile=value))
    (tmp_path / "b_ct.mha").write_bytes(meta() + VOXELS)
    np.testing.assert_array_equal(ipha.load(tmp_path / "a_ct.mhd").array, ipha.load(tmp_path / "b_ct.mha").array)


def test_a_pattern_is_one_number_and_counts_up():
    path = "a.mhd"
    assert numbered(path, "s%03d.raw", 8, 10) == ["s008.raw", "s009.raw", "s010.raw"]
    for pattern, last in (("%s%d", 3), ("%n", 3), ("%d%d", 3), ("%d", -1), ("%d", 10**9)):
        with pytest.raises(ReadError, match="needs one %d"):
            numbered(path, pattern, 0, last)


DIRECTIONS = np.array([[0.98, 0.17, 0.05], [-0.17, 0.985, 0.02], [-0.046, -0.028, 0.9985]])


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float64, np.int32])
@pytest.mark.parametrize("packed", [True, False])
def test_what_simpleitk_writes_is_read_as_simpleitk_reads_it(tmp_path, ending, kind, packed):
    path = tmp_path / f"a_T1w{ending}"
    image = sitk.GetImageFromArray((np.arange(4 * 5 * 6).reshape(6, 5, 4) % 200).astype(kind))
    image.SetSpacing((0.7, 1.3, 2.9))
    image.SetOrigin((-12.5, 33.25, -401))
    image.SetDirection(np.linalg.qr(DIRECTIONS)[0].ravel().tolist())
    sitk.WriteImage(image, str(path), useCompression=packed)
    theirs, ours = sitk.ReadImage(str(path)), ipha.load(path)
    for index in ((0, 0, 0), (3, 1, 5), (2, 4, 0)):
        at = np.array(theirs.TransformContinuousIndexToPhysicalPoint([float(i) for i in index])) * (-1, -1, 1)
        assert ours.array[tuple(np.rint(ours.to_index(at)).astype(int))] == theirs[index]
        np.testing.assert_allclose(ours.to_index(at), np.rint(ours.to_index(at)), atol=1e-3)


@pytest.mark.parametrize(
    "space, sign",
    [("left-posterior-superior", (-1, -1, 1)), ("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1))],
)
@pytest.mark.parametrize("unit, scale", [("mm", 1), ("um", 1000), ("cm", 0.1)])
def test_spaces_and_units_of_nrrd_come_out_in_ras_and_mm(tmp_path, space, sign, unit, scale):
    steps = " ".join(
        "(" + ",".join(str(sign[axis] * step * scale * (row == axis)) for row in range(3)) + ")"
        for axis, step in enumerate((2, 3, 4))
    )
    origin = tuple(sign[axis] * start * scale for axis, start in enumerate((-10, 20, 5)))
    units = f'"{unit}" "{unit}" "{unit}"'
    header = nrrd(space=space, space_directions=steps, space_origin=str(origin).replace(" ", ""), space_units=units)
    (tmp_path / "a_ct.nrrd").write_bytes(header + VOXELS)
    volume = ipha.load(tmp_path / "a_ct.nrrd")
    np.testing.assert_allclose(volume.spacing_mm, (2, 3, 4))
    np.testing.assert_allclose(volume.to_world((0, 0, 0)), (-10, 20, 5), atol=1e-9)
    np.testing.assert_array_equal(volume.array, np.frombuffer(VOXELS, np.int16).reshape((12, 13, 14), order="F"))


def test_text_and_skipped_bytes_are_read_as_the_header_says(tmp_path):
    numbers = " ".join(str(value) for value in np.frombuffer(VOXELS, np.int16)).encode()
    files = {
        "a_ct.nrrd": nrrd() + VOXELS,
        "b_ct.nrrd": nrrd(encoding="ascii") + numbers,
        "c_ct.nrrd": nrrd(byte_skip="5") + b"-----" + VOXELS,
        "d_ct.nrrd": nrrd(byte_skip="-1") + b"-----" + VOXELS,
        "e_ct.nrrd": nrrd(encoding="bz2") + bz2.compress(VOXELS),
        "f_ct.mha": meta() + VOXELS,
        "g_ct.mha": meta(BinaryData="False") + numbers,
        "h_ct.mha": meta(CompressedData="True") + zlib.compress(VOXELS),
        "i_ct.mha": meta(CompressedData="True") + gzip.compress(VOXELS),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    first = ipha.load(tmp_path / "a_ct.nrrd")
    for name in files:
        np.testing.assert_array_equal(ipha.load(tmp_path / name).array, first.array)


def nifti(folder, *edits, shape=(8, 9, 10), pair=False):
    array = RNG.integers(-1000, 300, shape).astype(np.int16)
    path = folder / ("a_ct.hdr" if pair else "a_ct.nii")
    nib.save((nib.Nifti1Pair if pair else nib.Nifti1Image)(array, np.diag([3.0, 3, 3, 1])), path)
    content = bytearray(path.read_bytes())
    for offset, form, *values in edits:
        struct.pack_into(f"<{form}", content, offset, *values)
    path.write_bytes(bytes(content))
    return path


NIFTI_HEADERS = [
    ([(252, "hh", 0, 0)], "qform_code and sform_code are both 0"),
    ([(123, "B", 1)], "voxels measure 3e.03 x 3e.03 x 3e.03 mm"),
    ([(123, "B", 3)], "voxels measure 0.003 x 0.003 x 0.003 mm"),
    ([(123, "B", 6)], "orientation cannot be used|lengths are in"),
    ([(112, "ff", 0.0, 0.0)], "scale factor .scl_slope. is 0"),
    ([(112, "ff", 1.0, float("nan"))], "scale factor"),
    ([(112, "ff", 1e9, 0.0)], "HU, scanners write at most 32767 HU"),
    ([(70, "h", 0)], "needs one real number per voxel"),
    ([(70, "h", 9999)], "datatype 9999 is not one of NIfTI"),
    ([(70, "h", 32)], "holds complex64 values"),
    ([(40, "h", 9)], "gives 9 dimensions"),
    ([(42, "h", -20)], "the shape -20 x 9 x 10"),
    ([(40, "8h", 7, 30000, 30000, 30000, 1, 1, 1, 1)], r"5\.4e\+04 GB; at most 4 GB"),
    ([(108, "f", 1e7)], "truncated before the first voxel"),
    ([(108, "f", float("nan"))], "begin at byte nan"),
    ([(344, "4s", b"\0\0\0\0")], "Analyze 7.5 has no orientation"),
    ([(0, "i", 7)], "its first number is 7 and not 348"),
    ([(280, "f", float("inf"))], "affine holds NaN or infinity"),
]


@pytest.mark.parametrize("edits, words", NIFTI_HEADERS, ids=[words for _, words in NIFTI_HEADERS])
def test_a_nifti_header_that_cannot_be_used_is_refused_in_one_line(tmp_path, edits, words):
    with pytest.raises(ReadError, match=words) as caught:
        ipha.load(nifti(tmp_path, *edits))
    assert str(caught.value).startswith(str(tmp_path / "a_ct.nii")) and "\n" not in str(caught.value)


@pytest.mark.parametrize("unit, scale", [(1, 0.001), (3, 1000)])
def test_metres_and_micrometres_become_millimetres(tmp_path, unit, scale):
    rows = [(280 + 16 * row, "4f", *(3.0 * scale * (row == column) for column in range(4))) for row in range(3)]
    path = nifti(tmp_path, (123, "B", unit), *rows)
    np.testing.assert_allclose(ipha.load(path).spacing_mm, (3, 3, 3), rtol=1e-6)


def test_the_two_files_of_a_nifti_pair_are_read_by_the_header(tmp_path):
    path = nifti(tmp_path, pair=True)
    assert ipha.load(path).shape == (8, 9, 10)
    (tmp_path / "a_ct.img").unlink()
    with pytest.raises(ReadError, match=r"a_ct\.img: no such file"):
        ipha.load(path)


def test_what_is_no_regular_file_is_never_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a_ct.nii")
    (tmp_path / "b_ct.nii").symlink_to("/dev/zero")
    (tmp_path / "c_ct.nii").symlink_to("nowhere.nii")
    (tmp_path / "d_ct.nii").mkdir()
    words = {"a": "is a pipe", "b": "is a device", "c": "is a link that leads nowhere", "d": "is a folder"}
    with socket.socket(socket.AF_UNIX) as plug:
        monkeypatch.chdir(tmp_path)  # a socket's name may be no longer than a hundred letters
        plug.bind("e_ct.nii")
        words["e"] = "is a socket"
        for letter, text in words.items():
            with pytest.raises(ReadError, match=f"{letter}_ct.nii: {text}"):
                ipha.load(tmp_path / f"{letter}_ct.nii")


def test_a_data_file_or_sidecar_that_never_ends_is_not_opened(tmp_path):
    (tmp_path / "a_ct.mhd").write_bytes(meta(ElementDataFile="a.raw"))
    os.mkfifo(tmp_path / "a.raw")
    with pytest.raises(ReadError, match=r"a\.raw: is a pipe"):
        ipha.load(tmp_path / "a_ct.mhd")
    (tmp_path / "b_ct.mha").write_bytes(meta() + VOXELS)
    (tmp_path / "b_ct.json").symlink_to("/dev/zero")
    with pytest.raises(ReadError, match=r"b_ct\.json: is a device"):
        ipha.load(tmp_path / "b_ct.mha")


@pytest.mark.parametrize(
    "content, words",
    [
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "nested too deep"),
        (b"[1, 2]", "needs a JSON object"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b'{"EchoTime": 1,}', "not a JSON file"),
        (b"", "the file is empty"),
    ],
)
def test_a_sidecar_that_cannot_be_read_is_named(tmp_path, content, words):
    (tmp_path / "b_ct.mha").write_bytes(meta() + VOXELS)
    (tmp_path / "b_ct.json").write_bytes(content)
    with pytest.raises(ReadError, match=rf"b_ct\.json: .*{words}"):
        ipha.load(tmp_path / "b_ct.mha")


def test_a_sidecar_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "b_ct.mha").write_bytes(meta() + VOXELS)
    (tmp_path / "b_ct.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"KVP": 120}).encode())
    assert ipha.load(tmp_path / "b_ct.mha").meta["KVP"] == 120


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mha", ".nrrd", ".mhd", ".json"])
def test_any_bytes_end_in_an_image_or_a_refusal(tmp_path, ending):
    rng = np.random.default_rng(11)
    name = f"b_ct{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(CT), str(tmp_path / ("b_ct.mha" if ending == ".json" else name)))
    if ending == ".json":
        (tmp_path / name).write_text('{"EchoTime": 0.002, "list": [1, {"deep": null}]}')
    whole = (tmp_path / name).read_bytes()
    target = tmp_path / ("b_ct.mha" if ending == ".json" else name)
    for _ in range(120):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 500), 3):
            insert = [b"-1", b"nan", b"%n", b"\n", b"1e400", b"\0", bytes([int(rng.integers(256))])][rng.integers(7)]
            content[place : place + int(rng.integers(0, 4))] = insert
        (tmp_path / name).write_bytes(bytes(content))
        try:
            ipha.load(target)
        except ReadError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)
