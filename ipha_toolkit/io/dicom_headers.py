"""DICOM headers of a folder, a disk or a zip file, read without pixels and gathered by series.

Nothing is decided here and nothing is written: :mod:`ipha_toolkit.io.dicom` says what each series is.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.dicom_files import Source, files_below
from ipha_toolkit.io.pixels import quiet

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

Vector = tuple[float, ...]

_SERIES_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "Modality",
    "Manufacturer", "ConversionType", "SeriesDescription", "ProtocolName", "PatientName", "PatientID",
    "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "BodyPartExamined", "ScanningSequence",
    "SequenceVariant", "ScanOptions", "SequenceName", "PulseSequenceName", "MRAcquisitionType", "MagneticFieldStrength",
    "KVP", "ContrastBolusAgent", "PatientPosition", "ViewPosition", "PhotometricInterpretation", "BurnedInAnnotation",
    "EncryptedAttributesSequence", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "PresentationIntentType",
    "PlanarConfiguration", "ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence", "FrameOfReferenceUID",
    "SamplesPerPixel", "BitsAllocated", "EchoPulseSequence", "InversionRecovery", "ContrastBolusAgentSequence",
)  # fmt: skip
_FRAME_TAGS = (
    "ImageType", "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "ConvolutionKernel",
    "AcquisitionNumber", "InstanceNumber", "TemporalPositionIdentifier", "TriggerTime",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "Rows", "Columns",
    "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "ComplexImageComponent",
)  # fmt: skip
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_IMAGES = ("CT", "MR", "CR", "DX", "RG")
"""Modalities whose files hold an image, and are cut off where they do not."""
_DECIDING = ("Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
             "RescaleIntercept", "NumberOfFrames")  # fmt: skip
"""Elements without which values or their places would be wrong."""
_SCALE = ("RescaleSlope", "RescaleIntercept")
_HEAD = 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One image: its file, where it lies (DICOM's millimetres, LPS), and what tells it from others of its series.

    ``kind``: the words of ImageType. ``times``: acquisition number, temporal position, trigger time, and component.
    ``agent``: the contrast agent as the header has it. ``view``: of a radiograph, as AP.
    """

    source: Source
    index: int
    uid: str
    instance: int
    rows: int
    columns: int
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    thickness: float | None
    te_ms: float | None
    tr_ms: float | None
    flip_deg: float | None
    kind: tuple[str, ...]
    kernel: str
    times: tuple[str, ...]
    slope: float
    intercept: float
    agent: str = ""
    view: str = ""


@dataclass
class Series:
    """All images of one series, and the header of the first. ``drawn``: files of masks (SEG, RTSTRUCT)."""

    header: Dataset
    key: str
    patient: str
    frames: list[Frame] = field(default_factory=list)
    n_files: int = 0
    drawn: list[Source] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scan:
    """What a look through the sources found: series, and what could not be read, a line each."""

    series: list[Series]
    problems: list[str]


def scan(sources: Iterable[Path], *, progress: bool = True) -> Scan:
    """Read the headers of all DICOM files under the sources.

    Parameters
    ----------
    sources : iterable of Path
        Folders, zip files or single files. A file twice, under whatever name, counts once.
    progress : bool
        Show a progress bar.

    Raises
    ------
    ReadError
        Where a source is missing, holds no DICOM file, is an encrypted zip file, or a DICOMDIR lists files that are not
        there.
    """
    roots = [Path(source) for source in sources]
    files = [file for root in roots for file in files_below(root)]
    found: dict[str, Series] = {}
    problems: list[str] = []
    seen: dict[str, Source] = {}
    twins: dict[str, list[Source]] = {}
    with quiet(), tqdm(files, desc="Reading headers", unit="file", disable=not progress, file=sys.stderr) as bar:
        for file in bar:
            problem = _add(file, found, seen, twins)
            problems += [problem] if problem else []
    problems += [
        f"{each[0]}: has the UID of {seen[uid]} but not its content; left out" + _others(each)
        for folder, each in twins.items()
        for uid in [folder.partition("|")[2]]
    ]
    if not found:
        where = ", ".join(map(str, roots))
        raise ReadError(f"{where}: no DICOM image found in {len(files)} files{_why(problems)}")
    return Scan(list(found.values()), problems)


def _others(twins: list[Source]) -> str:
    return f", and {len(twins) - 1} more files of its series" if len(twins) > 1 else ""


def _why(problems: list[str]) -> str:
    return f"; {problems[0]}" if problems else "; give the folder, disk or zip file that the hospital sent"


def _add(file: Source, found: dict[str, Series], seen: dict[str, Source], twins: dict[str, list[Source]]) -> str:
    """Put one file into its series; returns what is wrong with it, empty where nothing is or it is no DICOM file."""
    try:
        header, left = _header(file)
    except ReadError as error:
        return str(error)
    if header is None:
        return ""
    told, broken = _told(header)
    if told.get("EncryptedAttributesSequence"):
        return f"{file}: its attributes are encrypted; ask for an export without encryption"
    if not told.get("SOPClassUID") and not told.get("Modality"):
        return f"{file}: is a DICOM file cut off in its header, or not an image; copy or export it again"
    uid = f"{told.get('SeriesInstanceUID') or ''}/{told.get('SOPInstanceUID') or file}"
    if uid in seen:
        if not _same(file, seen[uid]):
            known = next((key for key in twins if key.startswith(f"{file.folder}|")), f"{file.folder}|{uid}")
            twins.setdefault(known, []).append(file)
        return ""
    seen[uid] = file
    patient, key = _names(told, file)
    series = found.setdefault(key, Series(header, key, patient))
    series.n_files += 1
    spoiled = [name for name in broken if name in _DECIDING]
    spoiled += [name for name in _SCALE if told.get(name) not in (None, "") and _number(told[name]) is None]
    spoiled += ["RescaleSlope"] if told.get("RescaleSlope") == 0 else []
    if spoiled:
        series.problems.append(f"{file}: its {spoiled[0]} cannot be read; copy or export it again")
        return series.problems[-1]
    if _cut_off(told, header.file_meta.get("TransferSyntaxUID"), left):
        series.problems.append(f"{file}: is truncated, the header promises more pixels than there are; copy it again")
        return series.problems[-1]
    if told.get("Modality") in ("SEG", "RTSTRUCT"):
        series.drawn.append(file)
    else:
        series.frames += _frames(told, file, uid)
    return ""


def _same(file: Source, other: Source) -> bool:
    return file.content() == other.content()


def _header(file: Source) -> tuple[Dataset | None, int]:
    """Header without pixels, None for a file that is not DICOM, and how many bytes follow it."""
    from pydicom import dcmread

    try:
        content = file.content() if file.member else b""
        size = len(content) if file.member else file.path.stat().st_size
        with io.BytesIO(content) if file.member else file.path.open("rb") as stream:
            head = stream.read(_HEAD)
            reason = _not_dicom(head, file)
            if reason is not None:
                if reason:
                    raise ReadError(f"{file}: {reason}")
                return None, size
            if _DEFLATED in head:
                raise ReadError(f"{file}: is compressed as Deflated Explicit VR Little Endian; decompress it first, "
                                "for example with dcmconv +te")  # fmt: skip
            stream.seek(0)
            header = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=_tags())
            return header, size - stream.tell()
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(f"{file}: the DICOM header is damaged ({error}); copy or export it again") from None


@lru_cache(maxsize=1)
def _tags() -> list[Any]:
    from pydicom.tag import Tag

    return [Tag(name) for name in (*_SERIES_TAGS, *_FRAME_TAGS)]


def _not_dicom(head: bytes, file: Source) -> str | None:
    """None where the file is DICOM, else why not; empty where it does not even claim to be."""
    if head[128:132] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00"):
        return None
    if Path(file.member or file.path).suffix.lower() not in (".dcm", ".dicom", ".ima"):
        return ""
    if head[:1] == b"\x30" and head[1:2] >= b"\x80":
        return "is an encrypted DICOM file (CMS envelope); ask for an export without encryption"
    return "is not a DICOM file, though its name says so; copy or export it again"


def _told(header: Dataset) -> tuple[dict[str, Any], list[str]]:
    """Elements by keyword, each converted once, and the keywords of those that cannot be read, which are taken out."""
    from pydicom.datadict import keyword_for_tag

    told, broken = {}, []
    for tag in list(header.keys()):
        try:
            told[header[tag].keyword] = header[tag].value
        except Exception:  # values that break DICOM's rules raise whatever they like
            broken.append(keyword_for_tag(tag))
            del header[tag]
    return told, broken


def _cut_off(header: Mapping[str, Any], syntax: UID | None, left: int) -> bool:
    if not header.get("Rows"):
        return str(header.get("Modality", "")) in _IMAGES
    if syntax is None or not syntax.is_transfer_syntax or syntax.is_compressed:
        return False
    bits = int(header.get("BitsAllocated") or 0) * int(header.get("SamplesPerPixel") or 1)
    count = max(1, _int(header.get("NumberOfFrames")))
    return left < int(header["Rows"]) * _int(header.get("Columns")) * count * bits // 8


def _names(header: Mapping[str, Any], file: Source) -> tuple[str, str]:
    """Patient and key of the series a file belongs to."""
    patient = _patient(header, file)
    uid = str(header.get("SeriesInstanceUID") or "")
    named = "|".join([file.folder, *(str(header.get(name) or "") for name in ("SeriesNumber", "SeriesDescription"))])
    size = f"{header.get('Rows', '')}x{header.get('Columns', '')}" if not uid else ""
    return patient, "|".join([patient, uid or named, size, str(header.get("Modality", ""))])


def _patient(header: Mapping[str, Any], file: Source) -> str:
    """What tells one patient from another; the folder where the header names nobody.

    Hospitals give the same numbers to different people, so the birth date is part of it.
    """
    number = str(header.get("PatientID") or "").strip()
    name = str(header.get("PatientName") or "").strip(" ^")
    born = str(header.get("PatientBirthDate") or "").strip()
    if number:
        return "|".join(filter(None, [number, str(header.get("IssuerOfPatientID") or "").strip(), born]))
    return f"name {name} {born}".strip() if name else f"folder {file.folder}"


def _frames(header: Mapping[str, Any], file: Source, uid: str) -> Iterator[Frame]:
    shared = _first(header.get("SharedFunctionalGroupsSequence"))
    groups = header.get("PerFrameFunctionalGroupsSequence")
    count = max(1, _int(header.get("NumberOfFrames")))
    if not header.get("Rows"):
        return
    for index in range(count):
        own = groups[index] if groups and index < len(groups) else None
        yield _frame(header, file, uid, index, shared, own)


def _frame(header: Mapping[str, Any], file: Source, uid: str, index: int, shared: Any, own: Any) -> Frame:
    def get(name: str, group: str = "", inner: str = "") -> Any:
        for place in (own, shared):
            item = _first(place.get(group)) if place is not None and group else None
            if item is not None and item.get(inner or name) not in (None, ""):
                return item.get(inner or name)
        return header.get(name)

    kind = get("ImageType", "MRImageFrameTypeSequence", "FrameType") or get(
        "ImageType", "CTImageFrameTypeSequence", "FrameType"
    )
    measures, timing = "PixelMeasuresSequence", "MRTimingAndRelatedParametersSequence"
    content = _first(own.get("FrameContentSequence")) if own is not None else None
    times = (
        str(get("AcquisitionNumber") or ""),
        str((content or header).get("TemporalPositionIndex" if content else "TemporalPositionIdentifier") or ""),
        str(get("TriggerTime") or ""),
        str(get("ComplexImageComponent", "MRImageFrameTypeSequence") or ""),
    )
    return Frame(
        file, index, uid, _int(header.get("InstanceNumber")), _int(header.get("Rows")), _int(header.get("Columns")),
        _vector(get("ImagePositionPatient", "PlanePositionSequence"), 3),
        _vector(get("ImageOrientationPatient", "PlaneOrientationSequence"), 6),
        _vector(get("PixelSpacing", measures) or header.get("ImagerPixelSpacing"), 2),
        _number(get("SliceThickness", measures)), _number(get("EchoTime", "MREchoSequence", "EffectiveEchoTime")),
        _number(get("RepetitionTime", timing)), _number(get("FlipAngle", timing)),
        tuple(sys.intern(str(word)) for word in _listed(kind)),
        sys.intern("\\".join(map(str, _listed(get("ConvolutionKernel", "CTReconstructionSequence"))))), times,
        _number(get("RescaleSlope", "PixelValueTransformationSequence")) or 1.0,
        _number(get("RescaleIntercept", "PixelValueTransformationSequence")) or 0.0,
        sys.intern(str(header.get("ContrastBolusAgent") or header.get("ContrastBolusAgentSequence") or "")),
        sys.intern(str(header.get("ViewPosition") or "")),
    )  # fmt: skip


def _first(sequence: Any) -> Any:
    return sequence[0] if sequence else None


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(value)


def _vector(value: Any, length: int) -> Vector | None:
    try:
        numbers = tuple(float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == length and all(map(_finite, numbers)) else None


def _number(value: Any) -> float | None:
    try:
        number = float(value[0] if isinstance(value, list) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if _finite(number) else None


def _finite(number: float) -> bool:
    return abs(number) < 1e9


def _int(value: Any) -> int:
    return int(_number(value) or 0)
