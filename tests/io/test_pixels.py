import struct
import warnings
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    RLELossless,
    generate_uid,
)

import ipha_toolkit as ipha
from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.io.layout import read_cohort

GRAY = np.random.default_rng(4).integers(20, 230, (40, 50)).astype(np.uint8)
"""Rows top to bottom, columns left to right, as a picture is stored."""


def as_film(picture):
    """What the array of a film is: first axis to the patient's right, second up."""
    return np.asarray(picture, np.float32)[::-1, ::-1].T[:, :, None]


def put_png(path, array=GRAY):
    Image.fromarray(array).save(path)
    return path


def put_dicom(path, stored=GRAY, *, syntax=ExplicitVRLittleEndian, pixels=True, **tags):
    stored = np.asarray(stored)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(
        str(path),
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_little_endian=syntax != ExplicitVRBigEndian,
        is_implicit_VR=False,
    )
    data.Modality = "CR"
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = stored.shape[2] if stored.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * stored.dtype.itemsize
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    for name, value in tags.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    if pixels:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        data["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path


def test_a_picture_becomes_a_film_with_the_patients_right_on_its_left(tmp_path):
    film = ipha.load(put_png(tmp_path / "sub-1_dx.png"))
    np.testing.assert_array_equal(film.array, as_film(GRAY))
    assert (film.modality, film.shape) == ("dx", (50, 40, 1))
    top_left = film.to_world([49, 39, 0])
    bottom_right = film.to_world([0, 0, 0])
    assert top_left[0] > bottom_right[0], "x grows towards the patient's right"
    assert top_left[2] > bottom_right[2], "z grows upwards"


def test_a_picture_without_spacing_says_so_and_counts_millimetres_in_pixels(tmp_path):
    film = ipha.load(put_png(tmp_path / "sub-1_dx.png"))
    assert film.spacing_mm == (1, 1, 1)
    assert film.meta["ReadFlags"] == ["no_pixel_spacing"]


def test_a_sidecar_gives_a_picture_its_spacing_rows_first(tmp_path):
    path = put_png(tmp_path / "sub-1_dx.png")
    path.with_suffix(".json").write_text('{"PixelSpacing": [0.2, 0.3]}')
    film = ipha.load(path)
    np.testing.assert_allclose(film.spacing_mm, (0.3, 0.2, 1))
    assert "ReadFlags" not in film.meta


def test_a_jpg_reads_like_the_picture_it_was_made_from(tmp_path):
    smooth = np.clip(np.add.outer(np.arange(64), np.arange(80)) + 40, 0, 255).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "sub-1_dx.jpg", quality=95)
    np.testing.assert_allclose(ipha.load(tmp_path / "sub-1_dx.jpg").array, as_film(smooth), atol=3)


def test_sixteen_bit_gray_keeps_every_level(tmp_path):
    deep = GRAY.astype(np.uint16) * 257 + 3
    np.testing.assert_array_equal(ipha.load(put_png(tmp_path / "sub-1_dx.png", deep)).array, as_film(deep))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_gray_stored_as_colour_reads_as_gray(tmp_path, mode):
    Image.fromarray(GRAY).convert(mode).save(tmp_path / "sub-1_dx.png")
    film = ipha.load(tmp_path / "sub-1_dx.png")
    np.testing.assert_allclose(film.array, as_film(GRAY), atol=0.5)
    assert film.meta["ReadFlags"] == ["no_pixel_spacing"]


def test_real_colour_becomes_luminance_and_is_flagged(tmp_path):
    colour = np.stack([GRAY, GRAY // 2, GRAY // 3], axis=-1)
    film = ipha.load(put_png(tmp_path / "sub-1_dx.png", colour))
    np.testing.assert_allclose(film.array, as_film(colour @ [0.299, 0.587, 0.114]), atol=1e-3)
    assert "colour_converted" in film.meta["ReadFlags"]


def test_what_is_transparent_is_missing(tmp_path):
    layers = np.dstack([GRAY, GRAY, GRAY, np.full_like(GRAY, 255)])
    layers[:5, :, 3] = 0
    film = ipha.load(put_png(tmp_path / "sub-1_dx.png", layers))
    np.testing.assert_array_equal(np.isnan(film.array), as_film(layers[..., 3] == 0) == 1)


def test_a_truncated_jpg_is_refused(tmp_path):
    path = tmp_path / "sub-1_dx.jpg"
    Image.fromarray(np.tile(GRAY, (6, 6))).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ReadError, match=r"sub-1_dx\.jpg: is damaged .*truncated"):
        ipha.load(path)


def test_a_picture_of_one_pixel_is_refused(tmp_path):
    with pytest.raises(ReadError, match="is 1 x 1 pixels, too small"):
        ipha.load(put_png(tmp_path / "sub-1_dx.png", GRAY[:1, :1]))


def test_an_all_white_film_is_refused(tmp_path):
    with pytest.raises(ReadError, match="is constant, every voxel is 255"):
        ipha.load(put_png(tmp_path / "sub-1_dx.png", np.full_like(GRAY, 255)))


def png_bytes(width, height, depth, colour, rows):
    """A PNG file written by hand, for what encoders will not write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("colour", "layers"), [(2, 3), (6, 4)])
def test_sixteen_bit_colour_png_keeps_all_of_its_bits(tmp_path, colour, layers):
    gray = np.arange(1600, dtype=">u2").reshape(40, 40) * 7 + 3
    rows = np.repeat(gray[..., None], layers, axis=2)
    if layers == 4:
        rows[..., -1] = 65535
        rows[5, 6, -1] = 0
    path = tmp_path / "sub-1_dx.png"
    path.write_bytes(png_bytes(40, 40, 16, colour, b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)))
    film = ipha.load(path)
    picture = film.array[::-1, ::-1, 0].T
    seen = np.isfinite(picture)
    np.testing.assert_allclose(picture[seen], gray[seen], atol=0.05)
    assert (~seen).sum() == layers - 3
    assert "colour_converted" not in film.meta["ReadFlags"]


def test_sixteen_bit_gray_with_transparency_is_refused_in_png(tmp_path):
    path = tmp_path / "sub-1_dx.png"
    path.write_bytes(png_bytes(40, 40, 16, 4, (b"\0" + bytes(range(160))) * 40))
    with pytest.raises(ReadError, match="16-bit gray with transparency; save it without"):
        ipha.load(path)


def test_a_damaged_sixteen_bit_colour_png_is_refused(tmp_path):
    path = tmp_path / "sub-1_dx.png"
    path.write_bytes(png_bytes(40, 40, 16, 2, (b"\0" + bytes(range(240))) * 40)[:-60])
    with pytest.raises(ReadError, match="is damaged"):
        ipha.load(path)


def test_sixteen_bit_colour_is_refused_in_dicom(tmp_path):
    colour = np.zeros((40, 40, 3), np.uint16)
    with pytest.raises(ReadError, match="16-bit colour"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", colour))


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "sub-1_dx.png"
    path.write_bytes(png_bytes(side, side, 8, 0, b""))  # has no pixels: decoding it would fail otherwise
    with pytest.raises(ReadError, match=r"refused before decoding.*64 million"):
        ipha.load(path)


def test_a_dicom_bomb_is_refused_before_it_is_decoded(tmp_path):
    with pytest.raises(ReadError, match=r"refused before decoding.*64 million"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", Rows=30_000, Columns=30_000))


def test_a_deflated_dicom_is_refused_before_it_is_inflated(tmp_path):
    path = tmp_path / "sub-1_dx.dcm"
    data = pydicom.dcmread(put_dicom(path))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    head = path.read_bytes()[: 132 + 12 + data.file_meta.FileMetaInformationGroupLength]
    path.write_bytes(head + b"no zip stream: inflating it would fail otherwise")
    with pytest.raises(ReadError, match=r"compressed as Deflated .*decompress it first"):
        ipha.load(path)


def test_another_modality_is_no_radiograph(tmp_path):
    with pytest.raises(ReadError, match="is to be dx, but its DICOM header says MR"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", Modality="MR"))
    assert ipha.load(put_dicom(tmp_path / "sub-2_dx.dcm", Modality="OT")).modality == "dx"


@pytest.mark.parametrize(("kind", "role"), [("MR", "ct"), ("US", "T1w"), ("CT", "MEGRE"), ("DX", "T2w")])
def test_a_dicom_file_of_another_modality_is_refused_whatever_its_name(tmp_path, kind, role):
    with pytest.raises(ReadError, match=f"is to be {role}, but its DICOM header says {kind}"):
        ipha.load(put_dicom(tmp_path / f"sub-1_{role}.dcm", Modality=kind))


@pytest.mark.parametrize(("slope", "intercept"), [(0, 0), (0, -1024)])
def test_a_scale_factor_of_zero_is_refused_as_in_any_format(tmp_path, slope, intercept):
    with pytest.raises(ReadError, match=r"scale factor .RescaleSlope. is 0 with offset"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", RescaleSlope=slope, RescaleIntercept=intercept))


def test_a_flipped_bit_anywhere_in_a_png_is_refused(tmp_path):
    path = put_png(tmp_path / "sub-1_dx.png", np.random.default_rng(6).integers(0, 60_000, (40, 50)).astype(np.uint16))
    whole = path.read_bytes()
    for place in np.linspace(20, len(whole) - 1, 40).astype(int):
        content = bytearray(whole)
        content[place] ^= 4
        path.write_bytes(bytes(content))
        with pytest.raises(ReadError, match=r"sub-1_dx\.png"):
            ipha.load(path)


def test_a_file_that_only_calls_itself_a_picture_is_refused(tmp_path):
    (tmp_path / "sub-1_dx.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(ReadError, match="neither PNG nor JPG inside"):
        ipha.load(tmp_path / "sub-1_dx.png")
    (tmp_path / "sub-1_dx.dcm").write_bytes(b"not a DICOM file, only called so" * 20)
    with pytest.raises(ReadError, match="is not a DICOM file"):
        ipha.load(tmp_path / "sub-1_dx.dcm")


def test_a_picture_is_no_ct(tmp_path):
    with pytest.raises(ReadError, match="holds gray levels, no ct values"):
        ipha.load(put_png(tmp_path / "sub-1_ct.png"))


def test_dicom_applies_rescale_and_spacing(tmp_path):
    path = put_dicom(tmp_path / "sub-1_dx.dcm", RescaleSlope=2, RescaleIntercept=-7, PixelSpacing=[0.4, 0.2])
    film = ipha.load(path)
    np.testing.assert_array_equal(film.array, as_film(GRAY * 2.0 - 7))
    np.testing.assert_allclose(film.spacing_mm, (0.2, 0.4, 1))
    assert "ReadFlags" not in film.meta


def test_spacing_at_the_detector_is_used_and_flagged(tmp_path):
    film = ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", ImagerPixelSpacing=[0.4, 0.2]))
    np.testing.assert_allclose(film.spacing_mm, (0.2, 0.4, 1))
    assert film.meta["ReadFlags"] == ["detector_spacing"]


def test_dicom_without_spacing_says_so(tmp_path):
    film = ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm"))
    assert film.spacing_mm == (1, 1, 1)
    assert film.meta["ReadFlags"] == ["no_pixel_spacing"]


@pytest.mark.parametrize(
    ("stored", "bits", "lowest", "highest"),
    [(GRAY, 8, 0, 255), (GRAY.astype(np.uint16) * 16, 12, 0, 4095), (GRAY.astype(np.int16) - 100, 12, -2048, 2047)],
)
def test_monochrome1_is_the_inverse_at_any_depth(tmp_path, stored, bits, lowest, highest):
    plain = ipha.load(put_dicom(tmp_path / "a_dx.dcm", stored, BitsStored=bits))
    other = ipha.load(
        put_dicom(tmp_path / "b_dx.dcm", stored, BitsStored=bits, PhotometricInterpretation="MONOCHROME1")
    )
    np.testing.assert_array_equal(plain.array, as_film(stored))
    np.testing.assert_array_equal(other.array, lowest + highest - as_film(stored))


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, RLELossless])
def test_other_syntaxes_that_can_be_decoded_read_the_same(tmp_path, syntax):
    path = put_dicom(tmp_path / "sub-1_dx.dcm", GRAY.astype(np.uint16) * 9)
    if syntax == RLELossless:
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    else:
        path = put_dicom(path, GRAY.astype(np.uint16) * 9, syntax=syntax)
    np.testing.assert_array_equal(ipha.load(path).array, as_film(GRAY.astype(np.uint16) * 9))


def test_a_compression_that_cannot_be_decoded_is_named(tmp_path):
    path = put_dicom(tmp_path / "sub-1_dx.dcm")
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.PixelData = pydicom.encaps.encapsulate([bytes(64)])
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    with pytest.raises(ReadError, match=r"compressed as High-Throughput JPEG 2000.*decompress it first"):
        ipha.load(path)


def test_dicom_without_pixels_is_refused(tmp_path):
    with pytest.raises(ReadError, match="without pixels"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", pixels=False))


def test_multi_frame_is_refused(tmp_path):
    with pytest.raises(ReadError, match="multi-frame, 3 frames"):
        ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", NumberOfFrames=3))


def test_missing_pixels_are_refused_with_the_decoders_words(tmp_path):
    path = put_dicom(tmp_path / "sub-1_dx.dcm")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ReadError, match="cannot be decoded"):
        ipha.load(path)


def test_padding_is_missing(tmp_path):
    stored = GRAY.astype(np.int16)
    stored[:3] = -2000
    film = ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", stored, PixelPaddingValue=-2000))
    np.testing.assert_array_equal(np.isnan(film.array), as_film(stored) == -2000)


def test_patient_orientation_turns_a_mirrored_film_round(tmp_path):
    usual = ipha.load(put_dicom(tmp_path / "a_dx.dcm", PatientOrientation=["L", "F"]))
    mirrored = ipha.load(put_dicom(tmp_path / "b_dx.dcm", GRAY[:, ::-1], PatientOrientation=["R", "F"]))
    np.testing.assert_array_equal(usual.array, mirrored.array)
    upside_down = ipha.load(put_dicom(tmp_path / "c_dx.dcm", GRAY[::-1], PatientOrientation=["L", "H"]))
    np.testing.assert_array_equal(usual.array, upside_down.array)


def put_slice(path, cosines, **tags):
    stored = (GRAY.astype(np.int16) * 4).copy()
    return put_dicom(
        path, stored, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024, PixelSpacing=[0.7, 0.9], SliceThickness=5,
        ImageOrientationPatient=cosines, ImagePositionPatient=[-100, -90, 30], **tags,
    )  # fmt: skip


def test_a_single_ct_slice_is_one_plane_in_hounsfield_units_where_it_lies(tmp_path):
    ct = ipha.load(put_slice(tmp_path / "sub-1_ct.dcm", [1, 0, 0, 0, 1, 0]))
    assert (ct.shape, ct.unit, ct.modality) == ((50, 40, 1), "HU", "ct")
    np.testing.assert_allclose(ct.spacing_mm, (0.9, 0.7, 5))
    first = ct.to_index([100, 90, 30])  # LPS (-100, -90, 30)
    np.testing.assert_allclose(first, [49, 39, 0], atol=1e-9)
    assert ct.array[49, 39, 0] == GRAY[0, 0] * 4.0 - 1024


def test_a_coronal_slice_keeps_its_plane_first(tmp_path):
    ct = ipha.load(put_slice(tmp_path / "sub-1_ct.dcm", [1, 0, 0, 0, 0, -1]))
    assert ct.shape == (50, 40, 1)
    assert ct.affine[2, 1] == pytest.approx(0.7), "the second axis runs up"


def test_a_dicom_file_says_its_own_modality(tmp_path):
    assert ipha.load(put_dicom(tmp_path / "IM001.dcm")).modality == "dx"
    assert ipha.load(put_slice(tmp_path / "IM002.dcm", [1, 0, 0, 0, 1, 0])).modality == "ct"
    with pytest.raises(ReadError, match="is to be dx, but its DICOM header says CT"):
        ipha.load(tmp_path / "IM002.dcm", modality="dx")


def test_a_film_survives_nifti_as_one_plane(tmp_path):
    film = ipha.load(put_png(tmp_path / "sub-1_dx.png"))
    ipha.save(film, tmp_path / "copy_dx.nii.gz")
    back = ipha.load(tmp_path / "copy_dx.nii.gz")
    np.testing.assert_array_equal(back.array, film.array)
    assert back.same_grid(film)


@pytest.mark.parametrize("ending", ["png", "jpg", "nii.gz"])
def test_a_mask_of_a_film_lies_on_its_grid(tmp_path, ending):
    film = ipha.load(put_dicom(tmp_path / "sub-1_dx.dcm", PixelSpacing=[0.4, 0.2]))
    inside = np.zeros(GRAY.shape, np.uint8)
    inside[8:24, 8:32] = 255
    path = tmp_path / f"sub-1_dx_desc-lung_mask.{ending}"
    if ending == "nii.gz":
        ipha.save(ipha.Mask(as_film(inside) > 0, film.affine), path)
    else:
        Image.fromarray(inside).save(path)
    mask = load_mask(path, image=film)
    assert mask.same_grid(film)
    np.testing.assert_array_equal(mask.array, as_film(inside) > 0)


@pytest.mark.parametrize("ending", ["png", "jpg", "dcm"])
def test_the_cohort_folder_finds_a_film(tmp_path, ending):
    folder = tmp_path / "sub-001" / "ses-01" / "xray"
    folder.mkdir(parents=True)
    path = folder / f"sub-001_ses-01_dx.{ending}"
    put_dicom(path) if ending == "dcm" else put_png(path)
    (session,) = read_cohort(tmp_path).sessions
    assert session.images == {"dx": path}
