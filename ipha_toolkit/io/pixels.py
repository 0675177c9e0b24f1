"""Radiographs and single slices: PNG, JPG and single DICOM files.

A picture says nothing of where it lies in the patient. A film is taken to be hung as a radiologist hangs it, the
patient facing the reader: the patient's right on the picture's left, the head up; DICOM's PatientOrientation, where
there is one, has the last word. The first axis then runs to the patient's right, the second up. Dense is bright, as in
MONOCHROME2.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import ReadError
from ipha_toolkit.grid import Affine, reorient_to_ras
from ipha_toolkit.io.checks import require_slope
from ipha_toolkit.io.decode import stored_pixels
from ipha_toolkit.io.streams import require_png_sums
from ipha_toolkit.terms import Modality

if TYPE_CHECKING:
    from PIL.Image import Image
    from pydicom import Dataset

PICTURES = (".png", ".jpg", ".jpeg")
SUFFIXES = (*PICTURES, ".dcm")

LARGEST_PIXELS = 64_000_000
"""A file that says it holds more is refused before anything is decoded; a 43 cm film at 0.1 mm has 18.5 million."""
SMALLEST_SIDE = 32
"""A film with fewer pixels along a side shows no lung."""

_TOWARDS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
_FACTS = (
    "Modality",
    "ViewPosition",
    "BodyPartExamined",
    "PhotometricInterpretation",
    "BitsStored",
    "KVP",
    "Manufacturer",
)
_OF_ROLE = {Modality.CT: ("CT",), Modality.T1W: ("MR",), Modality.T2W: ("MR",), Modality.MEGRE: ("MR",)}
_ROLES = {"CT": Modality.CT, "CR": Modality.DX, "DX": Modality.DX, "RG": Modality.DX}
NOT_FILMS = ("MR", "CT", "PT", "NM", "US", "XA", "MG", "IO", "PX", "OP")
"""DICOM modalities that are no radiographs of a chest; others (OT, SC of a scanned film) may be."""


@dataclass(frozen=True)
class Pixels:
    """Values of one plane, shape (i, j, 1), where they lie, facts of the header, and flags of `terms.FLAGS`."""

    array: npt.NDArray[np.float32]
    affine: Affine
    meta: dict[str, Any]
    flags: tuple[str, ...] = ()


def read(path: Path, sidecar: dict[str, Any]) -> Pixels:
    """One film or slice.

    Parameters
    ----------
    path : path
        ``.png``, ``.jpg``, ``.jpeg`` or ``.dcm``.
    sidecar : dict
        Facts from the JSON file beside a picture: ``PixelSpacing`` (mm between rows, between columns) and
        ``PhotometricInterpretation`` are used.

    Raises
    ------
    ReadError
        Not such a file, damaged, larger than `LARGEST_PIXELS`, 16-bit colour in DICOM, 16-bit gray with transparency,
        several frames, without pixels, or in a transfer syntax that cannot be decoded here.
    """
    return _read_picture(path, sidecar) if path.suffix.lower() in PICTURES else _read_dicom(path)


def may_be(kind: str, role: Modality) -> bool:
    """Whether a DICOM file whose Modality is ``kind`` can be in that role; no Modality says nothing against it."""
    if role is Modality.DX:
        return kind not in NOT_FILMS
    return not kind or kind in _OF_ROLE[role]


def dicom_role(path: Path) -> Modality | None:
    """What a DICOM file's own Modality says it is: ``ct``, ``dx``, or None."""
    with quiet():
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        try:
            if _is_deflated(path):
                return None  # `read` refuses it
            header = dcmread(path, specific_tags=["Modality"], stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError, AttributeError):
            return None  # `read` says what is wrong
    return _ROLES.get(str(header.get("Modality", "")))


# --------------------------------------------------------------------------------------------------------- pictures


def _read_picture(path: Path, sidecar: dict[str, Any]) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    with quiet():
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as picture:
                _require_size(path, picture.width, picture.height)
                if picture.format == "PNG":
                    require_png_sums(path)
                picture.load()
                values, flags = _deep_gray(path) if _is_deep_colour(path) else _gray(picture)
        except ReadError:
            raise
        except Image.DecompressionBombError as error:
            raise ReadError(f"{path}: {_too_large(str(error))}") from None
        except UnidentifiedImageError:
            raise ReadError(f"{path}: is neither PNG nor JPG inside; export the image again") from None
        except (OSError, ValueError, SyntaxError, RuntimeError) as error:
            raise ReadError(f"{path}: is damaged ({error}); copy or export it again") from None
    if str(sidecar.get("PhotometricInterpretation", "")).upper() == "MONOCHROME1":
        values = np.nanmax(values) + np.nanmin(values) - values
    spacing = _spacing(path, sidecar.get("PixelSpacing"))
    affine = _hung(spacing or (1.0, 1.0), ("L", "F"))
    return Pixels(*_upright(values, affine), {}, (*flags, *(() if spacing else ("no_pixel_spacing",))))


def _is_deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits a channel and several channels, of which PIL silently keeps 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    deep = head[:4] == b"\x89PNG" and head[24] == 16
    if deep and head[25] == 4:
        raise ReadError(f"{path}: is 16-bit gray with transparency; save it without")
    return deep and head[25] != 0


def _deep_gray(path: Path) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Luminance of a 16-bit colour PNG with all of its bits; NaN where transparent."""
    import SimpleITK as sitk

    layers = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
    values = _luminance(layers[..., :3])
    if layers.shape[-1] == 4:
        values[layers[..., 3] == 0] = np.nan
    return values, _colour_flag(layers[..., :3] / np.float32(257))


def _gray(picture: Image) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Values as stored where gray, luminance where colour; NaN where transparent."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode in ("L", "1", "I", "F") or upright.mode.startswith("I;16"):
        return np.asarray(upright, np.float32), ()
    transparent = upright.has_transparency_data
    layers = np.asarray(upright.convert("RGBA"), np.float32)
    values = _luminance(layers[..., :3])
    if transparent:
        values[layers[..., 3] == 0] = np.nan
    return values, _colour_flag(layers[..., :3])


def _luminance(rgb: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Rec. 601 luma, as PNG and JPG use it."""
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]), np.float32)


def _colour_flag(rgb: npt.NDArray[np.floating]) -> tuple[str, ...]:
    """Flag what is coloured beyond the rounding of a JPG."""
    return ("colour_converted",) if float(np.ptp(rgb, axis=-1).max()) > 16 else ()


# ------------------------------------------------------------------------------------------------------------ DICOM


def _read_dicom(path: Path) -> Pixels:
    with quiet():
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError

        try:
            if _is_deflated(path):
                raise ReadError(
                    f"{path}: is compressed as Deflated Explicit VR Little Endian, whose size cannot be known before "
                    "it is decoded; decompress it first, for example with dcmconv +te"
                )
            data = dcmread(path)
        except ReadError:
            raise
        except InvalidDicomError:
            raise ReadError(f"{path}: is not a DICOM file; export the image again") from None
        except (OSError, ValueError, AttributeError, KeyError, EOFError, NotImplementedError) as error:
            raise ReadError(f"{path}: the DICOM header is damaged ({error}); export it again") from None
        _require_one_plane(path, data)
        _require_scale(path, data)
        values, flags = _decoded(path, data)
        spacing, spacing_flags = _dicom_spacing(path, data)
        affine = _dicom_affine(path, data, spacing)
    meta = {name: _plain(data[name].value) for name in _FACTS if name in data and data[name].value not in (None, "")}
    return Pixels(*_upright(values, affine), meta, (*flags, *spacing_flags))


def _is_deflated(path: Path) -> bool:
    """Whether all of the file behind its first header is one zip stream, which pydicom inflates at any size."""
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    return bool(read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian)


def _require_one_plane(path: Path, data: Dataset) -> None:
    if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ReadError(
            f"{path}: is a DICOM file without pixels ({data.get('Modality', 'no modality')}); give the image"
        )
    rows, columns = _whole(data.get("Rows")), _whole(data.get("Columns"))
    if rows < 1 or columns < 1:
        raise ReadError(f"{path}: the DICOM header gives no Rows and Columns; export the image again")
    frames = _whole(data.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ReadError(
            f"{path}: is multi-frame, {frames} frames in one file; export one frame, or convert it to NIfTI"
        )
    _require_size(path, columns, rows)
    if _whole(data.get("SamplesPerPixel") or 1) > 1 and _whole(data.get("BitsAllocated")) > 8:
        raise ReadError(f"{path}: is 16-bit colour; a radiograph is gray: export it as MONOCHROME2")


def _require_scale(path: Path, data: Dataset) -> None:
    try:
        slope, intercept = (
            float(data.get(name, default)) for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
        )
    except (TypeError, ValueError):
        slope = intercept = float("nan")
    require_slope(path, slope, intercept, "RescaleSlope")


def _decoded(path: Path, data: Dataset) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Values in the unit the header gives, dense bright, missing as NaN."""
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    photometric = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    stored = stored_pixels(data, where=str(path))
    try:
        if photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, data) / 257.0
        if stored.ndim == 3:
            return _luminance(stored), _colour_flag(stored.astype(np.float32))
        values = np.asarray(apply_modality_lut(stored, data), np.float32)
        missing = _padding(stored, data)
        ends = apply_modality_lut(np.array([_stored_range(data)]), data) if photometric == "MONOCHROME1" else None
    except Exception as error:  # decoders and damaged headers raise whatever they like
        raise ReadError(f"{path}: the pixels cannot be decoded ({error}); export the image again") from None
    if ends is not None:
        values = np.float32(np.sum(ends)) - values
    if missing is not None:
        values[missing] = np.nan
    return values, ()


def _padding(stored: npt.NDArray[Any], data: Dataset) -> npt.NDArray[np.bool_] | None:
    """Where PixelPaddingValue, or the range to PixelPaddingRangeLimit, says there is nothing."""
    value = data.get("PixelPaddingValue")
    if value is None:
        return None
    limit = data.get("PixelPaddingRangeLimit", value)
    low, high = sorted((int(value), int(limit)))
    missing = (stored >= low) & (stored <= high)
    return None if missing.all() else missing


def _stored_range(data: Dataset) -> tuple[int, int]:
    """Smallest and largest value the header's bits can hold."""
    bits = int(data.get("BitsStored") or data.BitsAllocated)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if int(data.get("PixelRepresentation", 0)) else (0, 2**bits - 1)


def _dicom_spacing(path: Path, data: Dataset) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Millimetres between rows and between columns, at the patient, else at the detector, else 1."""
    spacing = _spacing(path, data.get("PixelSpacing"))
    if spacing:
        return spacing, ()
    at_detector = _spacing(path, data.get("ImagerPixelSpacing"))
    return (at_detector, ("detector_spacing",)) if at_detector else ((1.0, 1.0), ("no_pixel_spacing",))


def _dicom_affine(path: Path, data: Dataset, spacing: tuple[float, float]) -> Affine:
    cosines, corner = data.get("ImageOrientationPatient"), data.get("ImagePositionPatient")
    if cosines is None or corner is None or len(cosines) != 6 or len(corner) != 3:
        letters = [str(word)[:1].upper() for word in data.get("PatientOrientation") or ()]
        known = len(letters) == 2 and all(letter in _TOWARDS for letter in letters)
        return _hung(spacing, (letters[0], letters[1]) if known else ("L", "F"))
    along_row, along_column = (np.array(cosines[part], float) for part in (slice(3), slice(3, 6)))
    normal = np.cross(along_row, along_column)
    if abs(np.linalg.norm(normal) - 1) > 1e-2:
        raise ReadError(f"{path}: ImageOrientationPatient {list(cosines)} is not two perpendicular unit vectors")
    thickness = float(data.get("SliceThickness") or 1.0)
    affine = np.eye(4)
    affine[:3] = np.column_stack([along_column * spacing[0], along_row * spacing[1], normal * thickness, corner])
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)  # DICOM counts towards left and posterior


# ------------------------------------------------------------------------------------------------------------ shared


def _hung(spacing: tuple[float, float], towards: tuple[str, str]) -> Affine:
    """Affine of a film's rows and columns, in that order; ``towards``: where its rows run to, and its columns."""
    rows, columns = np.array(_TOWARDS[towards[0]], float), np.array(_TOWARDS[towards[1]], float)
    if not np.any(np.cross(rows, columns)):
        rows, columns = np.array(_TOWARDS["L"], float), np.array(_TOWARDS["F"], float)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([columns * spacing[0], rows * spacing[1], np.abs(np.cross(rows, columns))])
    return affine


def _upright(values: npt.NDArray[np.float32], affine: Affine) -> tuple[npt.NDArray[np.float32], Affine]:
    """Rows and columns flipped and swapped to run closest to right, anterior, superior; the third axis stays third."""
    array, matrix = reorient_to_ras(values[:, :, None], affine)
    return flat_last(array, matrix)


def flat_last(array: npt.NDArray[Any], affine: Affine) -> tuple[npt.NDArray[Any], Affine]:
    """A plane of one voxel's thickness with that axis last, shape (i, j, 1), as films and single slices have it."""
    flat = [axis for axis in range(3) if array.shape[axis] == 1]
    if len(flat) != 1 or flat[0] == 2:
        return array, affine
    order = [axis for axis in range(3) if axis != flat[0]] + flat
    return np.transpose(array, order), affine[:, [*order, 3]]


def _spacing(path: Path, given: object) -> tuple[float, float] | None:
    """Row and column spacing in mm from a header, None where absent."""
    if given is None or (isinstance(given, Sequence) and len(given) == 0) or given == "":
        return None
    try:
        row, column = (float(value) for value in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ReadError(f"{path}: PixelSpacing is {given!r}; needs two lengths in mm, rows then columns") from None
    if not (0 < row < 100 and 0 < column < 100):
        raise ReadError(f"{path}: PixelSpacing is {row:g}, {column:g} mm; needs two lengths above 0 and below 100 mm")
    return row, column


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > LARGEST_PIXELS:
        raise ReadError(f"{path}: {_too_large(f'{width} x {height} pixels')}")
    if min(width, height) < SMALLEST_SIDE:
        raise ReadError(
            f"{path}: is {width} x {height} pixels, too small for a radiograph or a slice; needs {SMALLEST_SIDE} a side"
        )


def _too_large(what: str) -> str:
    return f"refused before decoding, {what}: more than {LARGEST_PIXELS // 10**6} million pixels; export it smaller"


def _whole(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        return 0


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of decoders: what matters is refused or flagged here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
