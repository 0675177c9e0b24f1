import numpy as np
import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, HTJ2KLossless, JPEGLosslessSV1, JPEGLSLossless

from ipha_toolkit.io import decode


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLosslessSV1, JPEGLSLossless])
def test_these_are_decoded(syntax):
    assert decode.cannot_decode(syntax) == ""


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        (HTJ2KLossless, "compressed as High-Throughput JPEG 2000"),
        (UID("1.2.3"), "1.2.3 is none that DICOM knows"),
        (None, "names no transfer syntax"),
    ],
)
def test_others_are_named(syntax, text):
    assert text in decode.cannot_decode(syntax)


def test_simpleitk_decodes_a_frame_as_it_is_stored_whatever_the_header_rescales():
    encode = pytest.importorskip("jpeg_ls", reason="writing JPEG-LS needs pyjpegls")
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate

    frames = np.random.default_rng(0).integers(0, 4000, (2, 40, 50)).astype(np.uint16)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.Rows, data.Columns, data.NumberOfFrames, data.SamplesPerPixel = 40, 50, 2, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 2, -1024
    data.PixelData = encapsulate([bytes(encode.encode(frame)) for frame in frames])
    np.testing.assert_array_equal(decode._by_itk(data, 1), frames[1])
