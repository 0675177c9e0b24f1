import warnings
import zipfile

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, HTJ2KLossless
from toys import toy_ct

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.dicom import parts
from ipha_toolkit.io.dicom_headers import scan
from ipha_toolkit.phantom.dicom import Study, slices
from ipha_toolkit.run.disk import save

ANNA = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "d", slices(toy_ct(), ANNA, number=2, modality="CT", intercept=-1024)[:4])
    return tmp_path / "d"


def look(*sources):
    return scan(sources, progress=False)


def test_files_of_any_name_are_gathered_by_series_and_counted_once(folder, tmp_path):
    (folder / "copy of IM000002").write_bytes((folder / "IM000002").read_bytes())
    (folder / "readme.txt").write_text("no DICOM")
    found = look(folder, folder)
    (series,) = found.series
    assert (series.n_files, len(series.frames), found.problems) == (4, 4, [])
    assert series.frames[0].spacing == (8.0, 8.0) and series.frames[0].position is not None


def test_a_file_of_an_old_kind_without_preamble_is_read(folder):
    path = folder / "IM000001"
    path.write_bytes(path.read_bytes()[132:])
    assert look(folder).series[0].n_files == 4


def test_a_source_without_dicom_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear colleague")
    with pytest.raises(ReadError, match="no DICOM image found in 1 files; give the folder, disk or zip file"):
        look(tmp_path)
    with pytest.raises(ReadError, match="nowhere: no such file or folder"):
        look(tmp_path / "nowhere")


def test_an_encrypted_zip_file_is_refused(folder, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "IM000001", "IM000001")
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1  # the flag that says the member is encrypted
    path.write_bytes(content)
    with pytest.raises(ReadError, match=r"export\.zip: is an encrypted zip file; unpack it with its password"):
        look(path)


def test_encrypted_files_are_named(folder):
    (folder / "a.dcm").write_bytes(b"\x30\x82" + bytes(300))  # a CMS envelope
    data = dcmread(folder / "IM000001")
    data.EncryptedAttributesSequence = Sequence([Dataset()])
    data.SOPInstanceUID = "1.2.3.4"
    data.save_as(folder / "IM000009")
    problems = look(folder).problems
    assert any("a.dcm: is an encrypted DICOM file (CMS envelope)" in text for text in problems)
    assert any("IM000009: its attributes are encrypted; ask for an export without" in text for text in problems)


@pytest.mark.parametrize("kept", [200, 900, -100])
def test_a_truncated_file_is_named(folder, kept):
    path = folder / "IM000003"
    path.write_bytes(path.read_bytes()[:kept])
    found = look(folder)
    (problem,) = found.problems
    assert "IM000003" in problem and any(word in problem for word in ("truncated", "cut off", "damaged"))
    assert len(found.series[0].frames) == 3


def put_dicomdir(folder, names):
    data, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, "1.2.840.10008.1.3.10"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name.split("/")
        records.append(record)
    data.DirectoryRecordSequence, data.file_meta = Sequence(records), meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(folder / "DICOMDIR", enforce_file_format=True)


def test_a_dicomdir_whose_files_are_missing_is_refused(folder):
    put_dicomdir(folder, ["IM000001", "IM000002", "IMAGES/IM000077"])
    with pytest.raises(
        ReadError, match=r"DICOMDIR: lists 3 files, of which 1 are not there, for example IMAGES.IM000077"
    ):
        look(folder)


@pytest.mark.parametrize("source", ["", "DICOMDIR"])
def test_a_dicomdir_with_its_files_is_a_source(folder, source):
    put_dicomdir(folder, ["IM000001", "IM000002", "IM000003", "IM000004"])
    assert look(folder / source).series[0].n_files == 4


@pytest.mark.parametrize(
    ("syntax", "text"),
    [(HTJ2KLossless, "compressed as High-Throughput JPEG 2000"), (UID("1.2.3.4"), "1.2.3.4 is none that DICOM knows")],
)
def test_an_unsupported_syntax_is_named(folder, syntax, text):
    for path in folder.iterdir():
        data = dcmread(path)
        content = path.read_bytes()
        data.file_meta.TransferSyntaxUID = syntax
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if syntax == HTJ2KLossless:
                data.PixelData = encapsulate([data.PixelData])
                data["PixelData"].is_undefined_length = True
                data.save_as(path)
            else:
                path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\x00", b"1.2.3.4" + bytes(13), 1))
    (part,) = parts(look(folder).series)
    assert any(text in reason for reason in part.wrong)


def test_deflated_files_are_refused_unread(folder):
    path = folder / "IM000001"
    data = dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    assert any("compressed as Deflated" in text for text in look(folder).problems)


def test_another_image_under_the_same_uid_is_named_and_left_out(folder):
    data = dcmread(folder / "IM000001")
    data.PixelData = bytes(np.frombuffer(data.PixelData, np.int16)[::-1].tobytes())
    data.save_as(folder / "IM000044")
    found = look(folder)
    assert found.series[0].n_files == 4
    assert "IM000044: has the UID of" in found.problems[0] and found.problems[0].endswith("left out")


@pytest.mark.parametrize(
    ("element", "value", "stops"),
    [(b"\x28\x00\x52\x10DS", b"abcde ", True), (b"\x18\x00\x50\x00DS", b"x ", False)],
    ids=["RescaleIntercept", "SliceThickness"],
)
def test_a_value_that_breaks_dicoms_rules_stops_its_series_only_where_voxels_hang_on_it(folder, element, value, stops):
    path = folder / "IM000002"
    content = path.read_bytes()
    at = content.index(element)
    path.write_bytes(content[: at + 8] + value + content[at + 8 + len(value) :])
    found = look(folder)
    (series,) = found.series
    assert len(series.frames) == (3 if stops else 4)
    assert ("IM000002: its RescaleIntercept cannot be read" in "".join(found.problems)) == stops
    assert bool(parts(found.series)[0].wrong) == stops
