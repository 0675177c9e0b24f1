"""Images in and out: one door for every file format, with the checks each image has to pass."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import GridError, ReadError
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.grid import Affine, reorient_to_ras
from ipha_toolkit.io import itk, nifti, pixels
from ipha_toolkit.io.checks import require_place, require_plausible
from ipha_toolkit.io.components import magnitude_only
from ipha_toolkit.io.files import read_json, require_no_stand_in, require_regular
from ipha_toolkit.io.names import entities_of, image_ending, is_image, role_of, sidecar_of, sidecars_of
from ipha_toolkit.io.room import room
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.settings import ReadingSettings
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume, handed_over

CT_PADDING_BELOW_HU = -1500.0
"""CT values below this are padding outside the field of view (-2000, -2048, -3024, ...), not tissue: air is
-1000 HU by definition of the unit, and noise around it stays far above."""

_WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")

_LATEST_ECHO_S = 0.5
"""A later EchoTime is in milliseconds; that of spin echoes ends at 0.3 s."""

_LABEL_ROUNDING = 0.1
"""A label may lie this far from a whole number, and be that number: half a step of 255 gray levels over 50 labels."""


def load(
    path: str | os.PathLike[str], *, modality: str | None = None, settings: ReadingSettings = DEFAULT.reading
) -> Volume:
    """Read one image as a Volume, its axes closest to right, anterior, superior.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.hdr`` (with ``.img``), ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; a radiograph also
        ``.png``, ``.jpg`` or ``.dcm``, a single slice ``.dcm``. JSON files (BIDS sidecars) of the same name, and those
        further up that it inherits, become ``meta``; a ``ce-`` in its name becomes ContrastBolusIngredient.
    modality : str, optional
        ``T1w``, ``T2w``, ``MEGRE``, ``ct`` or ``dx``. None infers it from the file name's BIDS suffix
        (``sub-001_ses-01_T1w.nii.gz``), or else from a DICOM file's own header.
    settings : ReadingSettings
        What is still read: size, spacing, HU.

    Returns
    -------
    Volume
        float32. NaN where the file has NaN or infinity, in CT outside the field of view (below -1500 HU), in MR where
        a voxel is a thousand times brighter than the others. A radiograph and a single DICOM slice have
        shape (i, j, 1); a radiograph's first axis runs to the patient's right, its second up, dense is bright.
        ``meta["ReadFlags"]`` holds codes of :data:`ipha_toolkit.flags.FLAGS`: ``no_pixel_spacing`` (taken as
        1 mm), ``detector_spacing``, ``colour_converted``, ``hot_voxels``.

    Raises
    ------
    ReadError
        Where the file is missing, damaged (also by its checksum), not an image, RGB, 2-D or 4-D, empty or constant, has
        no orientation, or its affine, unit or scaling cannot be used; a CT with values beyond HU; the message
        starts with the path. For echoes in one 4-D file: `load_echoes`.
        Pictures also where they are truncated, tiny or larger than 64 million pixels, DICOM files where
        they have no pixels, several frames, or a compression that cannot be decoded here.
    """
    path = Path(path)
    with _as_refusals(path):
        return _loaded(path, modality, settings)


def _loaded(path: Path, modality: str | None, settings: ReadingSettings) -> Volume:
    _require_file(path, settings)
    role = Modality(modality) if modality in set(Modality) else _infer_modality(path, modality)
    if image_ending(path) in pixels.SUFFIXES:
        return _plane(path, role, settings)
    array, affine = _read_canonical(path, settings)
    if role is Modality.DX:
        array, affine = pixels.flat_last(np.atleast_3d(array), affine) if array.ndim in (2, 3) else (array, affine)
    elif role is not Modality.CT:
        array, _ = magnitude_only(array, _read_sidecars(path), path)
    if array.ndim != 3:
        raise ReadError(f"{path}: is {array.ndim}-D with shape {array.shape}; {_dimension_hint(array.ndim, role)}")
    return _volume(array, affine, path, role, settings)


def load_echoes(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, settings: ReadingSettings = DEFAULT.reading
) -> tuple[list[Volume], list[float]]:
    """Read multi-echo gradient-echo images and their echo times.

    Parameters
    ----------
    paths : path or sequence of paths
        One 3-D file an echo (BIDS ``_echo-1_MEGRE.nii.gz`` ...), each with EchoTime (s) in its JSON sidecar,
        or one 4-D file, echo last, with a list of EchoTime. Of magnitude, real and imaginary images in the fourth axis
        the magnitude is read where the sidecar says which is which (``ComplexImageComponent``).

    Returns
    -------
    echoes : list of Volume
        Ordered by echo time, on one grid.
    te_ms : list of float
        Echo times in ms.

    Raises
    ------
    ReadError
        Where a file cannot be read, or an echo time is missing, given twice, or not in seconds.
    GridError
        Where the echoes are on different grids.
    """
    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    echoes = []
    for path in files:
        with _as_refusals(path):
            echoes += _echoes_of(path, settings)
    for echo in echoes[1:]:
        if not echo.same_grid(echoes[0]):
            raise GridError(
                f"{echo.name}: on a different grid than {echoes[0].name}: {echoes[0].grid.how_apart(echo.grid)}"
            )
    echoes.sort(key=lambda echo: float(echo.meta["EchoTime"]))
    for earlier, later in itertools.pairwise(echoes):
        if earlier.meta["EchoTime"] == later.meta["EchoTime"]:
            raise ReadError(
                f"{files[0].with_name(later.name)}: has the EchoTime of {earlier.name}, {later.meta['EchoTime']:g} s; "
                "one image an echo time is needed, of magnitude and of one series"
            )
    return echoes, [1000 * float(echo.meta["EchoTime"]) for echo in echoes]


def load_map(path: Path, *, modality: str, unit: str, name: str) -> Volume:
    """Read a map that was made here: unlike an image it may be the same everywhere, or far brighter in one place.

    Raises
    ------
    ReadError
        Where the file cannot be read.
    """
    with _as_refusals(path):
        array, affine = _read_canonical(path, DEFAULT.reading)
    return Volume(np.asarray(array, np.float32), affine, modality=Modality(modality), unit=unit, name=name)


def load_mask(
    path: str | os.PathLike[str],
    *,
    labels: Iterable[int] | None = None,
    image: Volume | None = None,
    settings: ReadingSettings = DEFAULT.reading,
) -> Mask:
    """Read a mask made by hand or by another tool.

    Parameters
    ----------
    path : path
        An image of whole numbers, also where they were stored as real numbers or with a scale factor that leaves
        10.00006 for 10. Without ``labels`` it must hold two values at most, zero and another.
    labels : iterable of int, optional
        Values that are inside, from a label image (``_dseg``).
    image : Volume, optional
        The image it belongs to. A mask in PNG or JPG takes its place from a radiograph of as many pixels; JPG, which
        blurs borders, is cut halfway.

    Raises
    ------
    ReadError
        Where the file cannot be read, the mask is empty, several labels were found and none asked for, or its values
        are no whole numbers (probabilities, a mask resampled with interpolation, NaN).
    """
    path = Path(path)
    with _as_refusals(path):
        array, affine = _read_mask(path, image, settings)
    if array.ndim != 3:
        raise ReadError(f"{path}: a mask needs 3 dimensions, this is {array.ndim}-D with shape {array.shape}")
    array = _whole_numbers(array, path)
    if labels is None:
        values = np.unique(array)
        others = values[values != 0]
        if others.size > 1:
            raise ReadError(
                f"{path}: a mask holds 0 and one other value, this holds {_listing(values)}; a label image is "
                "named _dseg.nii.gz and comes with a .tsv of columns index, name"
            )
        inside = array != 0
    else:
        inside = np.isin(array, list(labels))
    if not inside.any():
        what = "" if labels is None else f" with labels {_listing(labels)}"
        raise ReadError(f"{path}: the mask is empty, no voxel{what}; remove the file or draw the mask again")
    return Mask(inside, affine, name=path.name)


def label_values(path: Path, *, settings: ReadingSettings = DEFAULT.reading) -> list[int]:
    """Whole numbers that a label image holds, in ascending order.

    Raises
    ------
    ReadError
        Where the file cannot be read, or holds no whole numbers.
    """
    with _as_refusals(path):
        array = _read_mask(path, None, settings)[0]
    return [int(value) for value in np.unique(_whole_numbers(array, path))]


def save(image: Volume | Mask, path: str | os.PathLike[str]) -> None:
    """Write a Volume (float32) or Mask (uint8); ``meta`` goes to a JSON sidecar. Whole or not at all.

    Parameters
    ----------
    image : Volume or Mask
    path : path
        Ends with ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``; the same content gives the same bytes.

    Raises
    ------
    ValueError
        Where the file name's ending is none of these.
    OSError
        Where the folder is missing or cannot be written.
    """
    path = Path(path)
    ending = image_ending(path)
    array = image.array.astype(np.uint8) if isinstance(image, Mask) else image.array
    if ending not in _WRITTEN:
        raise ValueError(f"{path}: writes .nii, .nii.gz, .nrrd and .mha, not {ending or 'a name without ending'!r}")
    with room(path.parent, array.nbytes), tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
        draft = Path(folder) / f"image{ending}"
        if ending in nifti.SUFFIXES:
            nifti.write(draft, array, image.affine)
        else:
            itk.write(draft, array, image.affine)
        draft.replace(path)
        if isinstance(image, Volume) and image.meta:
            sidecar = Path(folder) / "image.json"
            sidecar.write_text(json.dumps(dict(image.meta), indent=2, sort_keys=True, default=_plain) + "\n", "utf-8")
            sidecar.replace(sidecar_of(path))


def _infer_modality(path: Path, given: str | None) -> Modality:
    if given is not None:
        raise ValueError(f"{path}: modality {given!r} is not one of {', '.join(Modality)}")
    role = role_of(path) or (pixels.dicom_role(path) if image_ending(path) == ".dcm" else None)
    if role is not None:
        return role
    raise ReadError(
        f"{path}: cannot tell the modality from the file name; end it with _{', _'.join(Modality)}, or pass modality="
    )


def _plane(path: Path, role: Modality, settings: ReadingSettings) -> Volume:
    """A picture or single DICOM file in its role."""
    if image_ending(path) in pixels.PICTURES and role is not Modality.DX:
        raise ReadError(f"{path}: a picture holds gray levels, no {role} values; give the DICOM file or its NIfTI")
    found = pixels.read(path, _read_sidecars(path))
    kind = str(found.meta.get("Modality", ""))
    if not pixels.may_be(kind, role):
        raise ReadError(f"{path}: is to be {role}, but its DICOM header says {kind}; check the file's name")
    volume = _volume(found.array, found.affine, path, role, settings)
    flags = {"ReadFlags": [*found.flags, *volume.meta.get("ReadFlags", [])]} if found.flags else {}
    return volume.replace(meta=found.meta | dict(volume.meta) | flags)


def _read_mask(path: Path, image: Volume | None, settings: ReadingSettings) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values of a mask and their affine, that of its radiograph where the file has none of its own."""
    if image_ending(path) not in pixels.SUFFIXES:
        array, affine = _read_canonical(path, settings)
        film = image is not None and image.modality is Modality.DX and array.ndim == 3
        return pixels.flat_last(array, affine) if film else (array, affine)
    _require_file(path, settings)
    found = pixels.read(path, _read_sidecars(path))
    lossy = image_ending(path) in (".jpg", ".jpeg")
    values = found.array > found.array.max() / 2 if lossy else found.array
    return values, image.affine if image is not None and image.shape == values.shape else found.affine


def _whole_numbers(array: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """Labels as they were meant, where a scale factor or a real type left 10.00006 for 10."""
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise ReadError(f"{path}: a mask needs whole numbers, this holds NaN or infinity; save 0 where nothing is")
    rounded: npt.NDArray[Any] = np.rint(array)
    if np.abs(array - rounded).max() <= _LABEL_ROUNDING and rounded.any():
        return rounded
    values = np.unique(array)
    if values.size <= 2 and 0 in values:
        return array
    raise ReadError(
        f"{path}: a mask needs whole numbers, this holds {_listing(values)}: probabilities, or resampled with "
        "interpolation; cut it at a half, or resample with nearest neighbor"
    )


def _read_canonical(path: Path, settings: ReadingSettings) -> tuple[npt.NDArray[Any], Affine]:
    array, affine = _read(path, settings)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    matrix = require_place(path, affine, array.shape, settings)
    return reorient_to_ras(array, matrix) if array.ndim >= 3 else (array, matrix)


def _read(path: Path, settings: ReadingSettings) -> tuple[npt.NDArray[Any], Affine]:
    _require_file(path, settings)
    return nifti.read(path, settings) if image_ending(path) in nifti.SUFFIXES else itk.read(path, settings)


@contextmanager
def _as_refusals(path: Path) -> Iterator[None]:
    """What the system says of a file while it is read, as a refusal that names it."""
    try:
        yield
    except OSError as error:
        raise ReadError(f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise ReadError(
            f"{path}: does not fit into memory; crop or resample the image, or close other programs"
        ) from None


def _require_file(path: Path, settings: ReadingSettings) -> None:
    if path.is_dir():
        raise ReadError(f"{path}: is a folder; give one image file (DICOM folders have to be converted to NIfTI)")
    if path.exists() and not is_image(path):
        known = ", ".join((*nifti.SUFFIXES, *itk.SUFFIXES, *pixels.SUFFIXES))
        raise ReadError(f"{path}: not an image format that can be read here; known endings: {known}")
    require_regular(path, settings.largest_gb * 1e9)
    require_no_stand_in(path)


def _volume(array: npt.NDArray[Any], affine: Affine, path: Path, role: Modality, settings: ReadingSettings) -> Volume:
    with np.errstate(over="ignore"):
        values = np.require(array, np.float32, ["C", "W", "O"])
    for slab in values:  # slab by slab, as a CT is large
        slab[~np.isfinite(slab)] = np.nan
        if role is Modality.CT:
            slab[slab < CT_PADDING_BELOW_HU] = np.nan
    meta = _read_sidecars(path)
    if role not in (Modality.CT, Modality.DX):
        meta |= _without_hot_voxels(values, meta, settings)
    require_plausible(path, values, role, settings)
    require_place(path, affine, values.shape, settings)
    unit = "HU" if role is Modality.CT else ""
    return Volume(handed_over(values), affine, modality=role, unit=unit, name=path.name, meta=meta)


def _without_hot_voxels(
    values: npt.NDArray[np.float32], meta: dict[str, Any], settings: ReadingSettings
) -> dict[str, Any]:
    """Take voxels far above all others for missing, in place; the flag that says so."""
    known = values[np.isfinite(values) & (values != 0)]
    if known.size == 0:
        return {}
    sample = np.abs(known[:: max(1, known.size // 1_000_000)])
    bright = np.count_nonzero(sample > 1.0001 / settings.hot_times * known.max())
    if bright > 0.001 * sample.size + 1:  # so many that the quantile lies above this, and no voxel above its limit
        return {}
    hot = values > settings.hot_times * np.quantile(sample, 0.999, method="lower")
    if not hot.any():
        return {}
    values[hot] = np.nan
    return {"ReadFlags": [*meta.get("ReadFlags", []), "hot_voxels"]}


def _read_sidecars(path: Path) -> dict[str, Any]:
    """Facts from the image's JSON sidecars, the nearest last, and the contrast agent its name gives."""
    facts: dict[str, Any] = {}
    for sidecar in sidecars_of(path):
        facts |= read_json(sidecar)
    if "ReadFlags" in facts:  # written by us, but anybody may have edited it since
        flags = facts["ReadFlags"] if isinstance(facts["ReadFlags"], list) else []
        facts["ReadFlags"] = [code for code in flags if isinstance(code, str) and code in FLAGS]
    agent = entities_of(path).get("ce")
    return {"ContrastBolusIngredient": agent} | facts if agent else facts


def _echoes_of(path: Path, settings: ReadingSettings) -> list[Volume]:
    array, affine = _read_canonical(path, settings)
    array, meta = magnitude_only(array, _read_sidecars(path), path)
    times = meta.get("EchoTime")
    stack = array[..., None] if array.ndim == 3 else array
    listed = times if isinstance(times, list) else [times]
    if stack.ndim != 4 or len(listed) != stack.shape[3] or not all(_is_time(time) for time in listed):
        raise ReadError(
            f"{path}: holds {array.shape[3:] or 1} echo(es) and its JSON sidecar gives EchoTime = {times!r}; "
            f"needs one EchoTime in seconds for each echo in {sidecar_of(path).name}"
        )
    values = np.array(stack, np.float32)
    require_plausible(path, values, Modality.MEGRE, settings)
    meta |= _without_hot_voxels(values, meta, settings)
    return [
        Volume(values[..., n], affine, modality=Modality.MEGRE, name=path.name, meta=meta | {"EchoTime": time})
        for n, time in enumerate(listed)
    ]


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LATEST_ECHO_S


def _dimension_hint(ndim: int, role: Modality) -> str:
    if ndim > 3:
        return f"a {role} image is 3-D; choose one volume, or read echoes with load_echoes"
    return f"a {role} image is 3-D; a single slice is stored as (i, j, 1) with its slice thickness"


def _listing(values: Iterable[Any]) -> str:
    shown = [f"{value:g}" for value in values]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written to JSON")
