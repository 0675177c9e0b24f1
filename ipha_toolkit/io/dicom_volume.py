"""Voxels of a series: read slice by slice through pydicom, converted by dcm2niix, and the two set against each other.

dcm2niix converts a folder of files as it sees fit; what comes out is taken only where every voxel lies where the header
puts it and holds what pydicom reads. Where it does not, our own reading is taken, and the record says so.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import DependencyError, ReadError
from ipha_toolkit.grid import Affine
from ipha_toolkit.io import nifti
from ipha_toolkit.io.decode import stored_pixels
from ipha_toolkit.io.dicom import Stack
from ipha_toolkit.io.dicom_files import Source
from ipha_toolkit.io.dicom_headers import Frame
from ipha_toolkit.io.pixels import quiet

if TYPE_CHECKING:
    from pydicom import Dataset

INSTALL = "python -m pip install 'ipha-toolkit[dicom]'"
"""Command that installs dcm2niix and highdicom."""

_FLAGS = ("-g", "i", "-b", "n", "-ba", "y", "-z", "n", "-m", "y", "-p", "n", "-d", "0", "-f", "volume", "-w", "2")
"""No settings of the user's home; no sidecar, since ours holds an allow-list; not compressed, since the file is written
anew; slices merged, since they are sorted out here; values scaled as the header says; names without dates."""
_MOVED_MM = 0.05
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Converted:
    """Values and where they lie (RAS+ mm), axes as in the file; ``by``: who read them, in words."""

    array: npt.NDArray[Any]
    affine: Affine
    by: str


def read_stack(stack: Stack) -> npt.NDArray[np.float32]:
    """Values of a stack, rescaled as the header says, shape (columns, rows, slices).

    Slices missing between others are filled in linearly from their neighbours: an image with a hole has no inside.

    Raises
    ------
    ReadError
        Where a file is damaged or truncated, or its pixels have another size than the header says.
    """
    array = np.full(stack.shape, np.nan, np.float32)
    with quiet():
        for frame, place in zip(stack.frames, stack.places, strict=True):
            array[:, :, place] = read_frame(frame).T
    for before, after in zip(stack.places, stack.places[1:], strict=False):
        for place in range(before + 1, after):
            share = np.float32((place - before) / (after - before))
            array[:, :, place] = (1 - share) * array[:, :, before] + share * array[:, :, after]
    return array


def read_frame(frame: Frame) -> npt.NDArray[np.float32]:
    """One image, rescaled, shape (rows, columns)."""
    data = _dataset(frame.source)
    stored = stored_pixels(data, index=frame.index, where=str(frame.source))
    if stored.shape != (frame.rows, frame.columns):
        size = " x ".join(map(str, stored.shape))
        raise ReadError(
            f"{frame.source}: holds {size} values, a slice of {frame.columns} x {frame.rows} gray values is needed; "
            "colour images are not converted"
        )
    return (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32)


@lru_cache(maxsize=2)
def _dataset(source: Source) -> Dataset:
    """The file read last: frames of one file follow each other."""
    return source.dataset()


def convert(stack: Stack) -> Converted:
    """A volume, converted by dcm2niix and set voxel by voxel against our own reading.

    Raises
    ------
    DependencyError
        Where dcm2niix is not installed; the message gives the command.
    ReadError
        Where the pixels cannot be read.
    """
    ours = read_stack(stack)
    if stack.gaps:
        return Converted(ours, stack.affine, f"pydicom, {stack.gaps} missing slices filled in")
    if stack.shape[2] == 1:
        return Converted(compact(ours), stack.affine, "pydicom")
    reasons = []
    for array, affine in _by_dcm2niix(stack.frames):
        placed, reason = _onto(array, affine, stack)
        if placed is not None and _equal(placed, ours):
            return Converted(compact(ours), stack.affine, "dcm2niix, equal to pydicom in every voxel")
        reasons.append(reason or "its values differ from pydicom's")
    why = "; ".join(dict.fromkeys(reasons)) or "it gave no image"
    return Converted(compact(ours), stack.affine, f"pydicom, since dcm2niix was not right: {why}")


def compact(array: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """Whole numbers as int16 where they fit and none is missing, else float32."""
    if np.isnan(array).any() or np.abs(array).max(initial=0) > 32767 or not np.array_equal(array, np.rint(array)):
        return np.asarray(array, np.float32)
    return array.astype(np.int16)


def require_dcm2niix() -> str:
    """Path of the dcm2niix program.

    Raises
    ------
    DependencyError
        Where it is not installed; the message gives the command.
    """
    try:
        import dcm2niix
    except ImportError:
        raise DependencyError(
            f"converting DICOM needs dcm2niix, which is not installed; install it with {INSTALL}"
        ) from None
    return str(dcm2niix.bin)


def _by_dcm2niix(frames: Sequence[Frame]) -> list[tuple[npt.NDArray[Any], Affine]]:
    """All 3-D images that dcm2niix makes of the files."""
    program = require_dcm2niix()
    with tempfile.TemporaryDirectory(prefix="ipha-dicom-") as folder:
        put, out = Path(folder) / "in", Path(folder) / "out"
        put.mkdir()
        out.mkdir()
        for number, source in enumerate(dict.fromkeys(frame.source for frame in frames)):
            _place(source, put / f"{number:05}.dcm")
        subprocess.run([program, *_FLAGS, "-o", str(out), str(put)], capture_output=True, check=False, timeout=3600)
        return [image for path in sorted(out.glob("*.nii")) for image in _images(path)]


def _place(source: Source, target: Path) -> None:
    if not source.member and sys.platform != "win32":
        target.symlink_to(source.path.resolve())
    else:
        target.write_bytes(source.content())


def _images(path: Path) -> Iterator[tuple[npt.NDArray[Any], Affine]]:
    try:
        array, affine = nifti.read(path)
    except ReadError:  # colour, or a scale factor of zero
        return
    flat = array.reshape(*array.shape[:3], -1) if array.ndim >= 3 else array[:, :, None, None]
    yield from ((flat[..., n], affine) for n in range(flat.shape[3]))


def _onto(array: npt.NDArray[Any], affine: Affine, stack: Stack) -> tuple[npt.NDArray[Any] | None, str]:
    """The image with its axes ordered as the stack's, where every voxel lies at the place the headers give."""
    turn = np.linalg.inv(affine) @ stack.affine
    order = np.rint(turn[:3, :3]).astype(int)
    if not (np.abs(order).sum(axis=0) == 1).all() or not (np.abs(order).sum(axis=1) == 1).all():
        spacing = " x ".join(f"{step:.3g}" for step in np.linalg.norm(affine[:3, :3], axis=0))
        return None, f"its voxels of {spacing} mm are not those of the header"
    axes = [int(np.flatnonzero(order[:, axis])[0]) for axis in range(3)]
    placed = np.transpose(array, axes)
    flips = tuple(slice(None, None, int(order[axes[axis], axis])) for axis in range(3))
    placed = placed[flips]
    if placed.shape != stack.shape:
        return (
            None,
            f"it has {' x '.join(map(str, placed.shape))} voxels, the header {' x '.join(map(str, stack.shape))}",
        )
    start = [0 if flips[axis].step == 1 else placed.shape[axis] - 1 for axis in range(3)]
    origin = np.zeros(4)
    origin[axes], origin[3] = start, 1
    step = affine[:3, :3] @ order
    corners = [(stack.affine[:3, 3], affine[:3] @ origin)]
    corners.append((stack.affine[:3, :3] @ stack.shape, step @ stack.shape))
    moved = max(float(np.abs(one - other).max()) for one, other in corners)
    return (
        (placed, "") if moved < _MOVED_MM else (None, f"its voxels lie {moved:.2g} mm from where the header puts them")
    )


def _equal(array: npt.NDArray[Any], ours: npt.NDArray[np.float32]) -> bool:
    """Whether every voxel holds the same, but for the rounding of float32; padding is missing in ours."""
    known = np.isfinite(ours)
    apart = np.abs(array[known].astype(np.float32) - ours[known])
    return bool(apart.max(initial=0.0) <= _ROUNDING * max(1.0, float(np.abs(ours[known]).max(initial=0.0)) / 1000))
