"""Masks drawn on DICOM images: SEG objects, and contours (RTSTRUCT) rasterised on the image's grid.

A mask has to lie on the voxels of the image it was drawn on. One that lies between them, beside them, or is empty is
refused by its name.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import DependencyError, GridError, ImageError
from ipha_toolkit.grid import Affine, BoolArray
from ipha_toolkit.io.dicom_facts import known_words
from ipha_toolkit.io.dicom_volume import INSTALL
from ipha_toolkit.volume import Mask

if TYPE_CHECKING:
    from pydicom import Dataset

LUNG = re.compile(r"\blungs?\b|lunge|poumon|pulmon(?!ary)", re.IGNORECASE)
"""Names that mean lung; those that `NOT_LUNG` finds do not."""
NOT_LUNG = re.compile(
    r"vessel|vein|arter|nodul|airway|trachea|bronch|tumou?r|cancer|lesion|mass|gtv|ptv|ctv|gefaess|knoten",
    re.IGNORECASE,
)

_WITHOUT_WHEELS = (3, 14)
"""First Python without a wheel of pyjpegls, which highdicom needs; held to the extra of pyproject.toml by a test."""
_OFF_GRID = 0.1
"""Voxels further than this share of a voxel from those of the image lie between them."""


def referenced_series(data: Dataset) -> str:
    """UID of the series a SEG or RTSTRUCT object was drawn on, empty where it does not say."""
    for item in data.get("ReferencedSeriesSequence") or ():
        return str(item.get("SeriesInstanceUID", ""))
    for frame in data.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                return str(series.get("SeriesInstanceUID", ""))
    return ""


def drawn_masks(data: Dataset, shape: tuple[int, int, int], affine: Affine) -> Iterator[tuple[str, Mask]]:
    """Masks of an object, each with the known words of its name, on the grid of the image (RAS+ affine).

    Raises
    ------
    GridError
        Where a mask does not lie on the image's voxels.
    ImageError
        Where a mask is empty.
    DependencyError
        Where a SEG object needs highdicom and it is not installed.
    """
    found = _segments(data, shape, affine) if data.Modality == "SEG" else _contours(data, shape, affine)
    for name, inside in found:
        if not inside.any():
            raise ImageError(f"mask {name!r} is empty; draw it again, or set the role of its series to none")
        yield name, Mask(inside, affine, name=name)


def on_voxels(inside: BoolArray, own: Affine, shape: tuple[int, int, int], affine: Affine, name: str) -> BoolArray:
    """A mask moved onto the voxels of an image whose grid its own is part of.

    Raises
    ------
    GridError
        Where its voxels lie between the image's, or outside; naming a mirrored grid as such.
    """
    turn = np.linalg.inv(affine) @ own
    order = np.rint(turn[:3, :3])
    at = np.argwhere(inside)
    place = at @ turn[:3, :3].T + turn[:3, 3]
    exact = np.rint(place).astype(int)
    one_to_one = (np.abs(order).sum(axis=0) == 1).all() and (np.abs(order).sum(axis=1) == 1).all()
    if not one_to_one or (len(at) and np.abs(place - exact).max() > _OFF_GRID):
        raise GridError(f"mask {name!r} lies off the voxels of its image; resample it to the image, nearest neighbour")
    if len(at) and ((exact < 0) | (exact >= shape)).any():
        mirrored = " (its grid is mirrored)" if inside.shape == shape and (np.diag(order) < 0).any() else ""
        raise GridError(f"mask {name!r} lies outside of its image{mirrored}; export it again with the image's geometry")
    moved = np.zeros(shape, bool)
    moved[tuple(exact.T)] = True
    return moved


def mask_name(name: str) -> str:
    """What a mask shows, as a file name may say it: ``lung``, ``muscle``, or known words run together.

    Examples
    --------
    >>> mask_name("Left Lung"), mask_name("Muscle, paraspinal"), mask_name("Dr. Mabuse lung nodule")
    ('lung', 'muscle', 'lungnodule')
    """
    if is_lung(name):
        return "lung"
    if re.search(r"muscle|muskel|musculo|reference", name, re.IGNORECASE):
        return "muscle"
    return re.sub(r"[^a-z0-9]", "", known_words(re.sub(r"[-_]", " ", name))) or "other"


def is_lung(name: str) -> bool:
    """Whether a segment's name means lung, or a lobe of one, and nothing inside it."""
    spelled = name.replace("_", " ")
    return LUNG.search(spelled) is not None and NOT_LUNG.search(spelled) is None


def _told(name: object, number: int) -> str:
    """What may be said of a segment's name, which is free text: its known words, else its number."""
    return known_words(re.sub(r"[-_]", " ", str(name or ""))) or f"segment {number}"


def _no_highdicom(python: tuple[int, int]) -> str:
    """How to get it, which the extra does not bring to a Python without wheels of what it needs."""
    if python < _WITHOUT_WHEELS:
        return f"reading DICOM segmentations needs highdicom, which is not installed; install it with {INSTALL}"
    return (
        "reading DICOM segmentations needs highdicom, which [dicom] does not bring to Python "
        f"{python[0]}.{python[1]}: its pyjpegls has no wheel there. Use Python 3.13 or older, or, where a C++ compiler "
        "is, install it with python -m pip install highdicom; everything else of the import works without"
    )


def _segments(data: Dataset, shape: tuple[int, int, int], affine: Affine) -> Iterator[tuple[str, BoolArray]]:
    try:
        import highdicom
    except ImportError:
        raise DependencyError(_no_highdicom(sys.version_info[:2])) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        segmentation = highdicom.seg.Segmentation.from_dataset(data)
    for number in segmentation.segment_numbers:
        name = _told(segmentation.get_segment_description(number).segment_label, int(number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = segmentation.get_volume(segment_numbers=[number], combine_segments=False)
            except (ValueError, RuntimeError):
                raise GridError(f"mask {name!r} lies on slices of uneven distance; export it again") from None
        inside = np.asarray(found.array)[..., 0] > 0.5 if found.array.ndim == 4 else np.asarray(found.array) > 0.5
        own = np.diag([-1.0, -1.0, 1.0, 1.0]) @ found.affine
        yield name, on_voxels(inside, own, shape, affine, name)


def _contours(data: Dataset, shape: tuple[int, int, int], affine: Affine) -> Iterator[tuple[str, BoolArray]]:
    names = {int(roi.ROINumber): roi.get("ROIName") for roi in data.get("StructureSetROISequence") or ()}
    for roi in data.get("ROIContourSequence") or ():
        number = int(roi.ReferencedROINumber)
        name = _told(names.get(number), number)
        inside = np.zeros(shape, bool)
        for contour in roi.get("ContourSequence") or ():
            if str(contour.get("ContourGeometricType", "")).startswith("CLOSED_PLANAR"):
                _fill(inside, np.reshape(np.array(contour.ContourData, float), (-1, 3)), affine, name)
        yield name, inside


def _fill(inside: BoolArray, points_lps: npt.NDArray[np.float64], affine: Affine, name: str) -> None:
    """Turn the voxels within one contour round: a contour inside another cuts a hole, one beside it adds a piece."""
    from skimage.draw import polygon2mask

    points = points_lps * [-1, -1, 1]
    place = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    place[np.abs(place - np.rint(place)) < 1e-6] = np.rint(place[np.abs(place - np.rint(place)) < 1e-6])
    level = np.rint(place[:, 2])
    if np.abs(place[:, 2] - level).max() > _OFF_GRID * 2 or np.ptp(level) > 0:
        raise GridError(f"mask {name!r} has a contour between the slices of its image; draw it on the image's slices")
    if not 0 <= level[0] < inside.shape[2]:
        raise GridError(f"mask {name!r} has a contour outside of its image; was it drawn on another series?")
    # the centre of a voxel counts; a hair's shift keeps voxels that a border runs through from counting twice
    inside[:, :, int(level[0])] ^= polygon2mask(inside.shape[:2], place[:, :2] + 1e-7)
