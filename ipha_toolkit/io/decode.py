"""Compressed DICOM pixels: pydicom's decoders first, SimpleITK's where pydicom has none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

_BY_ITK = (
    "1.2.840.10008.1.2.4.51",  # JPEG extended, 12 bit
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
)
"""Transfer syntaxes that SimpleITK decodes and pydicom, without further packages, does not."""

_COPIED = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PlanarConfiguration",
)  # fmt: skip


def cannot_decode(syntax: UID | None) -> str:
    """Why pixels of this transfer syntax cannot be read here, naming it; empty where they can."""
    if syntax is None:
        return "the DICOM header names no transfer syntax; export the image again"
    if not syntax.is_transfer_syntax:
        return f"its transfer syntax {syntax} is none that DICOM knows; export the image again"
    if not syntax.is_compressed or syntax in _BY_ITK or _pydicom_decodes(syntax):
        return ""
    return (
        f"is compressed as {syntax.name} ({syntax}), which cannot be decoded here; "
        "decompress it first, for example with dcmdjpls, dcmdjpeg or gdcmconv --raw"
    )


def stored_pixels(data: Dataset, *, index: int | None = None, where: str = "") -> npt.NDArray[Any]:
    """Stored values as they stand in the file, before rescaling.

    Parameters
    ----------
    data : Dataset
        With its pixels and ``file_meta``.
    index : int, optional
        Frame, from 0; None decodes the whole file.
    where : str
        File, for messages.

    Returns
    -------
    ndarray, shape ([frames,] rows, columns[, samples])

    Raises
    ------
    ReadError
        Where the syntax cannot be decoded here, or the pixels are damaged or fewer than the header promises.
    """
    from pydicom.pixels.utils import pixel_array

    syntax = data.file_meta.get("TransferSyntaxUID")
    reason = cannot_decode(syntax)
    if reason:
        raise ReadError(f"{where}: {reason}")
    try:
        if syntax.is_compressed and not _pydicom_decodes(syntax):
            return _by_itk(data, 0 if index is None else index)
        return pixel_array(data, index=index)
    except Exception as error:  # decoders and damaged headers raise whatever they like
        raise ReadError(
            f"{where}: the pixels cannot be decoded ({_first_line(error)}); export the image again"
        ) from None


def _pydicom_decodes(syntax: UID) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _by_itk(data: Dataset, index: int) -> npt.NDArray[Any]:
    """One frame, alone in a file without rescaling or any other header, read by SimpleITK."""
    import SimpleITK as sitk
    from pydicom.encaps import encapsulate, get_frame

    frames = int(data.get("NumberOfFrames") or 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.dcm"
        _bare(data, encapsulate([get_frame(data.PixelData, index, number_of_frames=frames)])).save_as(
            path, enforce_file_format=True
        )
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.SetImageIO("GDCMImageIO")
        return np.asarray(sitk.GetArrayFromImage(reader.Execute())[0])


def _bare(data: Dataset, pixels: bytes) -> Dataset:
    """The least header that says how the pixels are stored."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    bare, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    meta.MediaStorageSOPClassUID = bare.SOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID = UID("1.2.3")
    for name in _COPIED:
        if name in data:
            setattr(bare, name, data[name].value)
    bare.PixelData = pixels
    bare["PixelData"].VR, bare["PixelData"].is_undefined_length = "OB", True
    bare.file_meta = meta
    return bare


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
