"""A hospital's disk, simulated: DICOM files with opaque names, fictitious people, and what nobody asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ipha_toolkit.phantom.dicom import Study, document, film, slices
from ipha_toolkit.phantom.subject import SimulatedSubject, Spacing, simulate_subject
from ipha_toolkit.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

GRE = {"ScanningSequence": "GR", "SequenceVariant": "SP"}
TSE = {"ScanningSequence": "SE", "SequenceVariant": "SK"}


def simulate_disk(out: str | os.PathLike[str], *, seed: int = 0, spacing_mm: Spacing = 5.0) -> Path:
    """Write a disk with two fictitious patients, one of them seen twice, as a hospital would send it.

    Parameters
    ----------
    out : path
        New folder.
    seed : int
    spacing_mm : float, or (x, y, z)

    Returns
    -------
    Path
        The folder, ready for ``ipha import`` or :func:`ipha_toolkit.plan_import`.
    """
    child = {"patient_id": "4711-08", "name": "Beispiel^Anna", "birth_date": "20150314", "sex": "F"}
    adult = {"patient_id": "0815", "name": "Ejemplo^Juan", "birth_date": "19840521", "sex": "M"}
    visits = (
        (Study(**child, date="20240110"), "acute", "child", 1),
        (Study(**child, date="20240620"), "chronic", "child", 1),
        (Study(**adult, date="20240305"), "none", "adult", 2),
    )
    root = Path(out)
    for number, (study, phase, size, person) in enumerate(visits):
        seen = simulate_subject(
            phase, seed=100 * seed + person, scan_seed=number, size=size, spacing_mm=spacing_mm,
            modalities=("T1w", "T2w", "ct", "dx"),
        )  # fmt: skip
        save(root / f"PA{person:06}" / f"ST{number:06}", _visit(seen, study))
    return root


def save(folder: Path, objects: Iterable[Dataset]) -> None:
    """Write DICOM objects under opaque names, ``IM000001`` and on."""
    folder.mkdir(parents=True, exist_ok=True)
    start = sum(1 for _ in folder.iterdir())
    for number, data in enumerate(objects, start + 1):
        data.save_as(folder / f"IM{number:06}", enforce_file_format=True)


def mr_tags(volume: Volume, words: str, **further: Any) -> dict[str, Any]:
    """Elements of a simulated MR image, from its acquisition facts."""
    meta = volume.meta
    times = {"EchoTime": 1000 * float(meta["EchoTime"]), "RepetitionTime": 1000 * float(meta["RepetitionTime"])}
    flip = {"FlipAngle": meta["FlipAngle"]} if "FlipAngle" in meta else {}
    field = {"MagneticFieldStrength": meta["MagneticFieldStrength"]}
    return times | flip | field | {"SeriesDescription": words, "BodyPartExamined": "CHEST"} | further


def _visit(seen: SimulatedSubject, study: Study) -> list[Dataset]:
    """Two reconstructions of one CT, MRI, localizers, a film, a report."""
    ct, t1w, t2w = (seen.volumes[name] for name in ("ct", "T1w", "T2w"))
    chest = {"BodyPartExamined": "CHEST", "KVP": 120, "Manufacturer": "SIEMENS"}
    scout = Volume(ct.array.mean(axis=1, keepdims=True), ct.affine)
    sharp = ct.replace(array=ct.array + np.random.default_rng(1).normal(0, 40, ct.shape))
    siemens = {"Manufacturer": "SIEMENS"}
    scout_tags = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": "Topogramm 0.6 T20s"}
    return [
        *slices(scout, study, number=1, modality="CT", plane="coronal", tags=chest | scout_tags),
        *slices(ct, study, number=2, modality="CT", intercept=-1024,
                tags=chest | {"SeriesDescription": "Thorax nativ 1.0 B31f", "ConvolutionKernel": "B31f"}),
        *slices(sharp, study, number=3, modality="CT", intercept=-1024,
                tags=chest | {"SeriesDescription": "Lunge nativ 1.0 B70f", "ConvolutionKernel": "B70f"}),
        *slices(t1w, study, number=11, modality="MR", plane="coronal",
                tags=mr_tags(t1w, "t1_vibe_cor_bh", **GRE, **siemens)),
        *slices(t2w, study, number=12, modality="MR", tags=mr_tags(t2w, "T2 HASTE tra Atemstopp", **TSE, **siemens)),
        film(seen.volumes["dx"], study, number=21, tags={"SeriesDescription": "Thorax pa"}),
        document(study, number=99, tags={"SeriesDescription": f"Befund {study.name}"}),
    ]  # fmt: skip
