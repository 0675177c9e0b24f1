"""Simulated images as DICOM objects, with the habits of several vendors. Nothing is written to disk here.

Values are whole numbers, as scanners store them; with a slope they are rounded to its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4", "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1", "OT": "1.2.840.10008.5.1.4.1.1.7", "MR enhanced": "1.2.840.10008.5.1.4.1.1.4.1",
}  # fmt: skip
_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Study:
    """Whom and when: a fictitious patient on one day. Dates are YYYYMMDD."""

    patient_id: str
    name: str
    birth_date: str
    sex: str
    date: str

    def uid(self, *what: object) -> UID:
        """An identifier that is the same whenever the same is asked for."""
        from pydicom.uid import generate_uid

        return generate_uid(entropy_srcs=[self.patient_id, self.date, *(f"/{part}" for part in what)])


def slices(
    volume: Volume,
    study: Study,
    *,
    number: int,
    modality: str,
    plane: str = "axial",
    slope: float | Sequence[float] = 1.0,
    intercept: float = 0.0,
    tags: Mapping[str, Any] | None = None,
    uids: Mapping[str, Any] | None = None,
) -> list[Dataset]:
    """An image as a series of single slices, in order of their place.

    Parameters
    ----------
    volume : Volume
        Axes along right, anterior, superior, as the phantom makes them.
    study : Study
    number : int
        SeriesNumber.
    modality : {"CT", "MR"}
    plane : {"axial", "coronal"}
        In which the slices lie.
    slope, intercept : float, or a slope a slice
        Stored value times slope plus intercept is the value.
    tags : mapping, optional
        Further elements by keyword, the same in every slice.
    uids : mapping, optional
        ``series`` in place of the series' own UID; ``instance`` told into the UIDs of the slices.

    Returns
    -------
    list of Dataset
        With ``file_meta``, ready for ``save_as(path, enforce_file_format=True)``.
    """
    cut = [_cut(volume, plane, n) for n in range(volume.shape[2 if plane == "axial" else 1])]
    slopes = [slope] * len(cut) if isinstance(slope, float | int) else list(slope)
    given = dict(uids or {})
    made = []
    for n, (pixels, corner) in enumerate(cut):
        data = _object(study, number, modality, _stored(pixels, slopes[n], intercept), n + 1, given)
        data.RescaleSlope, data.RescaleIntercept = f"{slopes[n]:.10g}", f"{intercept:.10g}"
        data.ImagePositionPatient = [f"{value:.10g}" for value in corner]
        data.ImageOrientationPatient = _orientation(plane)
        spacing, thickness = _spacing(volume, plane)
        data.PixelSpacing, data.SliceThickness = [f"{step:.10g}" for step in spacing], f"{thickness:.10g}"
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY", "M", "NONE"]
        _set(data, tags)
        made.append(data)
    return made


def multiframe(
    volumes: Sequence[Volume],
    study: Study,
    *,
    number: int,
    te_ms: Sequence[float],
    tags: Mapping[str, Any] | None = None,
    plane: str = "axial",
) -> Dataset:
    """Images of several echoes as one enhanced MR object, echo by echo within each slice."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence as Items

    count = volumes[0].shape[2 if plane == "axial" else 1]
    order = [(n, echo) for n in range(count) for echo in range(len(volumes))]
    cut = [_cut(volumes[echo], plane, n) for n, echo in order]
    data = _object(study, number, "MR enhanced", np.stack([_stored(pixels, 1.0, 0.0) for pixels, _ in cut]), 1, {})
    data.Modality, data.NumberOfFrames = "MR", len(order)
    data.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    spacing, thickness = _spacing(volumes[0], plane)
    shared = Dataset()
    shared.PixelMeasuresSequence = Items(
        [_item(PixelSpacing=[f"{step:.10g}" for step in spacing], SliceThickness=thickness)]
    )
    shared.PlaneOrientationSequence = Items([_item(ImageOrientationPatient=_orientation(plane))])
    data.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for (n, echo), (_, corner) in zip(order, cut, strict=True):
        frame = Dataset()
        frame.FrameContentSequence = Items([_item(StackID="1", InStackPositionNumber=n + 1, TemporalPositionIndex=1)])
        frame.PlanePositionSequence = Items([_item(ImagePositionPatient=[f"{value:.10g}" for value in corner])])
        frame.MREchoSequence = Items([_item(EffectiveEchoTime=float(te_ms[echo]))])
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Items(frames)
    _set(data, tags)
    return data


def film(
    volume: Volume, study: Study, *, number: int, modality: str = "DX", tags: Mapping[str, Any] | None = None
) -> Dataset:
    """A radiograph, shape (i, j, 1), hung as usual: the patient's right on its left."""
    data = _object(study, number, modality, _stored(volume.array[::-1, ::-1, 0].T, 1.0, 0.0), 1, {})
    data.PatientOrientation, data.ViewPosition, data.BodyPartExamined = ["L", "F"], "PA", "CHEST"
    data.PixelSpacing = [f"{step:.10g}" for step in (volume.spacing_mm[1], volume.spacing_mm[0])]
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    _set(data, tags)
    return data


def document(study: Study, *, number: int, modality: str = "SR", tags: Mapping[str, Any] | None = None) -> Dataset:
    """An object without pixels, such as a report."""
    data = _object(study, number, modality, None, 1, {})
    _set(data, tags)
    return data


def _object(
    study: Study, number: int, kind: str, stored: npt.NDArray[Any] | None, instance: int, uids: Mapping[str, Any]
) -> Dataset:
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    data, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(_CLASSES.get(kind, "1.2.840.10008.5.1.4.1.1.88.11"))
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = study.uid(number, instance, uids.get("instance", ""))
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta = meta
    data.PatientName, data.PatientID, data.PatientBirthDate = study.name, study.patient_id, study.birth_date
    data.PatientSex, data.StudyDate, data.StudyTime = study.sex, study.date, "101500"
    data.SeriesDate = data.AcquisitionDate = data.ContentDate = study.date
    data.StudyInstanceUID = study.uid("study")
    data.SeriesInstanceUID = uids.get("series") or study.uid("series", number)
    data.FrameOfReferenceUID = study.uid("frame")
    data.Modality, data.SeriesNumber, data.InstanceNumber = kind.split()[0], number, instance
    data.PatientPosition = "HFS"
    if stored is not None:
        data.Rows, data.Columns = stored.shape[-2:]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = np.ascontiguousarray(stored, "<i2").tobytes()
        data["PixelData"].VR = "OW"
    return data


def _cut(volume: Volume, plane: str, n: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Pixels of one slice, rows then columns, and the corner of the first in DICOM's LPS."""
    i, j, k = (size - 1 for size in volume.shape)
    if plane == "axial":
        return volume.array[::-1, ::-1, n].T, _LPS * volume.to_world([i, j, n])
    return volume.array[::-1, n, ::-1].T, _LPS * volume.to_world([i, n, k])


def _orientation(plane: str) -> list[float]:
    return [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] if plane == "axial" else [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]


def _spacing(volume: Volume, plane: str) -> tuple[tuple[float, float], float]:
    """Between rows and between columns, and from slice to slice."""
    x, y, z = volume.spacing_mm
    return ((y, x), z) if plane == "axial" else ((z, x), y)


def _stored(pixels: npt.NDArray[np.floating], slope: float, intercept: float) -> npt.NDArray[np.int16]:
    return np.asarray(np.clip(np.rint((np.rint(pixels) - intercept) / slope), -32768, 32767), np.int16)


def _item(**elements: Any) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    _set(item, elements)
    return item


def _set(data: Dataset, tags: Mapping[str, Any] | None) -> None:
    for name, value in (tags or {}).items():
        setattr(data, name, value)
