"""Images in and out: one door for every file format, with the checks each image has to pass."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipha_toolkit.errors import GridError, ReadError
from ipha_toolkit.grid import Affine, checked_affine, reorient_to_ras
from ipha_toolkit.io import itk, nifti, pixels
from ipha_toolkit.io.names import image_ending, is_image, sidecar_of, stem
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

CT_PADDING_BELOW_HU = -1500.0
"""CT values below this are padding outside the field of view (-2000, -2048, -3024, ...), not tissue: air is
-1000 HU by definition of the unit, and noise around it stays far above."""


def load(path: str | os.PathLike[str], *, modality: str | None = None) -> Volume:
    """Read one image as a Volume, its axes closest to right, anterior, superior.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; a radiograph also ``.png``, ``.jpg`` or
        ``.dcm``, a single slice ``.dcm``. A ``.json`` file of the same name beside it (BIDS sidecar) becomes ``meta``.
    modality : str, optional
        ``T1w``, ``T2w``, ``MEGRE``, ``ct`` or ``dx``. None infers it from the file name's BIDS suffix
        (``sub-001_ses-01_T1w.nii.gz``), or else from a DICOM file's own header.

    Returns
    -------
    Volume
        float32. NaN where the file has NaN or infinity and, in CT, outside the field of view
        (below -1500 HU). A radiograph and a single DICOM slice have shape (i, j, 1); a radiograph's first axis runs to
        the patient's right, its second up, dense is bright, and ``meta["ReadFlags"]`` holds codes of
        :data:`ipha_toolkit.terms.FLAGS`: ``no_pixel_spacing`` (taken as 1 mm), ``detector_spacing``,
        ``colour_converted``.

    Raises
    ------
    ReadError
        Where the file is missing, damaged, not an image, RGB, 2-D or 4-D, empty or constant, or its affine or
        scaling cannot be used; the message starts with the path. For echoes in one 4-D file: `load_echoes`.
        Pictures also where they are truncated, tiny or larger than 64 million pixels, DICOM files where
        they have no pixels, several frames, or a compression that cannot be decoded here.
    """
    path = Path(path)
    _require_file(path)
    role = Modality(modality) if modality in set(Modality) else _infer_modality(path, modality)
    if image_ending(path) in pixels.SUFFIXES:
        return _plane(path, role)
    array, affine = _read_canonical(path)
    if role is Modality.DX:
        array, affine = pixels.flat_last(np.atleast_3d(array), affine) if array.ndim in (2, 3) else (array, affine)
    if array.ndim != 3:
        raise ReadError(f"{path}: is {array.ndim}-D with shape {array.shape}; {_dimension_hint(array.ndim, role)}")
    return _volume(array, affine, path, role)


def load_echoes(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> tuple[list[Volume], list[float]]:
    """Read multi-echo gradient-echo images and their echo times.

    Parameters
    ----------
    paths : path or sequence of paths
        One 3-D file an echo (BIDS ``_echo-1_MEGRE.nii.gz`` ...), each with EchoTime (s) in its JSON sidecar,
        or one 4-D file, echo last, with a list of EchoTime.

    Returns
    -------
    echoes : list of Volume
        Ordered by echo time, on one grid.
    te_ms : list of float
        Echo times in ms.

    Raises
    ------
    ReadError
        Where a file cannot be read, or an echo time is missing.
    GridError
        Where the echoes are on different grids.
    """
    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    echoes = [volume for path in files for volume in _echoes_of(path)]
    for echo in echoes[1:]:
        if not echo.same_grid(echoes[0]):
            raise GridError(f"{echo.name}: on a different grid {echo.shape} than {echoes[0].name} {echoes[0].shape}")
    echoes.sort(key=lambda echo: float(echo.meta["EchoTime"]))
    return echoes, [1000 * float(echo.meta["EchoTime"]) for echo in echoes]


def load_mask(
    path: str | os.PathLike[str], *, labels: Iterable[int] | None = None, image: Volume | None = None
) -> Mask:
    """Read a mask made by hand or by another tool.

    Parameters
    ----------
    path : path
        An image of whole numbers. Without ``labels`` it must hold two values at most, zero and another.
    labels : iterable of int, optional
        Values that are inside, from a label image (``_dseg``).
    image : Volume, optional
        The image it belongs to. A mask in PNG or JPG takes its place from a radiograph of as many pixels; JPG, which
        blurs borders, is cut halfway.

    Raises
    ------
    ReadError
        Where the file cannot be read, the mask is empty, or several labels were found and none asked for.
    """
    path = Path(path)
    array, affine = _read_mask(path, image)
    if array.ndim != 3:
        raise ReadError(f"{path}: a mask needs 3 dimensions, this is {array.ndim}-D with shape {array.shape}")
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
    if ending not in (*nifti.SUFFIXES, ".nrrd", ".mha"):
        raise ValueError(f"{path}: writes .nii, .nii.gz, .nrrd and .mha, not {ending or 'a name without ending'!r}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
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
    suffix = stem(path).rpartition("_")[2]
    for modality in Modality:
        if suffix.lower() == modality.lower():
            return modality
    role = pixels.dicom_role(path) if image_ending(path) == ".dcm" else None
    if role is not None:
        return role
    raise ReadError(
        f"{path}: cannot tell the modality from the file name; end it with _{', _'.join(Modality)}, or pass modality="
    )


def _plane(path: Path, role: Modality) -> Volume:
    """A picture or single DICOM file in its role."""
    if image_ending(path) in pixels.PICTURES and role is not Modality.DX:
        raise ReadError(f"{path}: a picture holds gray levels, no {role} values; give the DICOM file or its NIfTI")
    header_role = pixels.dicom_role(path) if image_ending(path) == ".dcm" else None
    if header_role is not None and header_role is not role:
        raise ReadError(
            f"{path}: is to be {role}, but its DICOM header says it is {header_role}; check the file's name"
        )
    found = pixels.read(path, _read_sidecar(path))
    if role is Modality.DX and (kind := found.meta.get("Modality")) in pixels.NOT_FILMS:
        raise ReadError(f"{path}: is to be a radiograph, but its DICOM header says {kind}; check the file's name")
    volume = _volume(found.array, found.affine, path, role)
    flags = {"ReadFlags": list(found.flags)} if found.flags else {}
    return volume.replace(meta=found.meta | dict(volume.meta) | flags)


def _read_mask(path: Path, image: Volume | None) -> tuple[npt.NDArray[Any], Affine]:
    """Stored values of a mask and their affine, that of its radiograph where the file has none of its own."""
    if image_ending(path) not in pixels.SUFFIXES:
        array, affine = _read_canonical(path)
        film = image is not None and image.modality is Modality.DX and array.ndim == 3
        return pixels.flat_last(array, affine) if film else (array, affine)
    _require_file(path)
    found = pixels.read(path, _read_sidecar(path))
    lossy = image_ending(path) in (".jpg", ".jpeg")
    values = found.array > found.array.max() / 2 if lossy else found.array
    return values, image.affine if image is not None and image.shape == values.shape else found.affine


def _read_canonical(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    array, affine = _read(path)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    try:
        matrix = checked_affine(affine, str(path))
    except ValueError as error:
        raise ReadError(str(error)) from None
    return reorient_to_ras(array, matrix) if array.ndim >= 3 else (array, matrix)


def _read(path: Path) -> tuple[npt.NDArray[Any], Affine]:
    _require_file(path)
    return nifti.read(path) if image_ending(path) in nifti.SUFFIXES else itk.read(path)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise ReadError(f"{path}: no such file")
    if path.is_dir():
        raise ReadError(f"{path}: is a folder; give one image file (DICOM folders have to be converted to NIfTI)")
    if not is_image(path):
        known = ", ".join((*nifti.SUFFIXES, *itk.SUFFIXES, *pixels.SUFFIXES))
        raise ReadError(f"{path}: not an image format that can be read here; known endings: {known}")
    if path.stat().st_size == 0:
        raise ReadError(f"{path}: the file is empty; copy or export it again")


def _volume(array: npt.NDArray[Any], affine: Affine, path: Path, role: Modality) -> Volume:
    values = np.array(array, np.float32)
    values[~np.isfinite(values)] = np.nan
    if role is Modality.CT:
        values[values < CT_PADDING_BELOW_HU] = np.nan
    _require_content(values, path)
    unit = "HU" if role is Modality.CT else ""
    return Volume(values, affine, modality=role, unit=unit, name=path.name, meta=_read_sidecar(path))


def _require_content(values: npt.NDArray[np.float32], path: Path) -> None:
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    if np.isnan(low):
        raise ReadError(f"{path}: holds no finite value in {values.shape} voxels; export the image again")
    if low == high:
        raise ReadError(f"{path}: is constant, every voxel is {low:g}; export the image again")


def _read_sidecar(path: Path) -> dict[str, Any]:
    sidecar = sidecar_of(path)
    if not sidecar.exists():
        return {}
    try:
        content = json.loads(sidecar.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReadError(f"{sidecar}: not a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ReadError(f"{sidecar}: needs a JSON object of acquisition facts, got a {type(content).__name__}")
    return content


def _echoes_of(path: Path) -> list[Volume]:
    array, affine = _read_canonical(path)
    meta = _read_sidecar(path)
    times = meta.get("EchoTime")
    stack = array[..., None] if array.ndim == 3 else array
    listed = times if isinstance(times, list) else [times]
    if stack.ndim != 4 or len(listed) != stack.shape[3] or not all(_is_time(time) for time in listed):
        raise ReadError(
            f"{path}: holds {array.shape[3:] or 1} echo(es) and its JSON sidecar gives EchoTime = {times!r}; "
            f"needs one EchoTime in seconds for each echo in {sidecar_of(path).name}"
        )
    _require_content(np.asarray(stack, np.float32), path)
    return [
        Volume(stack[..., n], affine, modality=Modality.MEGRE, name=path.name, meta=meta | {"EchoTime": time})
        for n, time in enumerate(listed)
    ]


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


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
