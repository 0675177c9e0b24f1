"""A simulated cohort as a folder: images, tables as a clinic would keep them, and the truth apart from both."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ipha_toolkit import __version__
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.drafts import clear_leftovers, draft_of, forget_owner, swap
from ipha_toolkit.io.images import save
from ipha_toolkit.io.names import FOLDERS
from ipha_toolkit.io.outputs import write_json, write_tsv
from ipha_toolkit.phantom.population import Participant, Visit, draw_population, scan, scan_without_noise
from ipha_toolkit.phantom.subject import MODALITIES, Scenes, SimulatedSubject, Spacing, Truth
from ipha_toolkit.volume import Volume

SIMULATOR = "ipha_toolkit phantom"
"""``GeneratedBy`` name in a simulated cohort's ``dataset_description.json``."""

TRUTH_FOLDER = "truth"
"""Holds what is really there; no part of the cohort folder that an analysis reads."""

_WRITTEN = ("dataset_description.json", "README", ".bidsignore", "participants.tsv", "participants.json",
            "sessions.json", TRUTH_FOLDER)  # fmt: skip

_PARTICIPANT_COLUMNS = {
    "participant_id": {"Description": "sub-<label>"},
    "group": {
        "Description": "why the participant is in the cohort",
        "Levels": {"control": "healthy", "iph": "idiopathic pulmonary hemosiderosis", "edema": "pulmonary edema"},
    },
    "age": {"Description": "age at the first visit", "Units": "year"},
    "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male"}},
}

_SESSION_COLUMNS = {
    "session_id": {"Description": "ses-<label>"},
    "days": {"Description": "days since the first visit", "Units": "day"},
    "phase": {
        "Description": "phase of hemosiderosis at the visit",
        "Levels": {
            "none": "none",
            "acute": "to day 2 of a bleed",
            "subacute": "day 3 to 14 of a bleed",
            "chronic": "iron stays behind, no bleed within 14 days",
        },
    },
    "hemoglobin_g_dl": {"Description": "hemoglobin in blood", "Units": "g/dL"},
    "ferritin_ug_l": {"Description": "ferritin in serum", "Units": "ug/L"},
    "prednisone_mg_per_day": {"Description": "prednisone dose", "Units": "mg/day"},
    "hemoptysis": {"Description": "coughed up blood in the last three days", "Levels": {"yes": "yes", "no": "no"}},
    "lavage": {
        "Description": "hemosiderin-laden macrophages in bronchoalveolar lavage",
        "Levels": {"positive": "found", "negative": "not found", "n/a": "not done"},
    },
}

_README = """Simulated patients: every image and number here is made up, none is of a person. Research, not diagnosis.
participants.tsv and sub-*/ are laid out as a cohort folder; truth/ holds what is really there and is never analyzed.
"""


def simulate_cohort(
    out: str | os.PathLike[str],
    *,
    subjects: int = 12,
    seed: int = 0,
    spacing_mm: Spacing | Mapping[str, Spacing] = 3.0,
    modalities: Iterable[str] = MODALITIES,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a simulated cohort: controls, IPH in all phases and some edema, with the truth beside it.

    The same arguments give the same files, byte for byte.

    Parameters
    ----------
    out : path
        New or empty. Appears whole or not at all.
    subjects : int
        1 or more; about two in five are controls.
    seed : int
        0 or more.
    spacing_mm : float, (float, float, float), or mapping of modality to either
    modalities : iterable of str
    workers : int, optional
        Threads; None means one a core. The result does not depend on it.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        The cohort folder, ready for :func:`ipha_toolkit.analyze`.

    Raises
    ------
    ValueError
        Where a number is out of range or a modality unknown.
    LayoutError
        Where the folder holds something, be it an earlier simulation.
    """
    people = draw_population(subjects, seed=seed)
    about = {"subjects": subjects, "seed": seed}
    return write_population(
        people, out, about=about, spacing_mm=spacing_mm, modalities=modalities, workers=workers, progress=progress
    )


def write_population(
    people: Sequence[Participant],
    out: str | os.PathLike[str],
    *,
    about: Mapping[str, Any],
    spacing_mm: Spacing | Mapping[str, Spacing] = 3.0,
    modalities: Iterable[str] = MODALITIES,
    workers: int | None = None,
    progress: bool = True,
    replace: bool = False,
) -> Path:
    """As :func:`simulate_cohort`, for given participants; ``about`` goes into ``dataset_description.json``.

    ``replace``: an earlier simulation that nothing was added to gives way, as the demo's own does.
    """
    target, wanted = Path(out), tuple(modalities)
    forget_owner(target)
    _refuse_held(target, replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    with draft_of(target) as draft:
        _write_tables(draft, people, about)
        jobs = [(person, visit) for person in people for visit in person.visits]
        _write_visits(draft, jobs, spacing_mm, wanted, workers or os.cpu_count() or 1, progress)
        swap(draft, target)
    return target


def is_simulated(folder: Path) -> bool:
    """Whether a folder is a simulated cohort, by its dataset_description.json."""
    try:
        described = json.loads((folder / "dataset_description.json").read_text("utf-8"))
        return any(tool.get("Name") == SIMULATOR for tool in described.get("GeneratedBy", []))
    except (OSError, ValueError, AttributeError):
        return False


def _refuse_held(folder: Path, replace: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise LayoutError(f"{folder}: is a file; a simulated cohort needs a folder")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and not replace and is_simulated(folder):
        raise LayoutError(f"{folder}: holds a simulated cohort; remove it, or give a new or empty folder")
    if held and not is_simulated(folder):
        raise LayoutError(f"{folder}: holds files that are not a simulated cohort; give a new or empty folder")
    added = [name for name in held if name not in _WRITTEN and not name.startswith("sub-")]
    if added:
        raise LayoutError(f"{folder}: holds {', '.join(added)}, which would be lost; move it, or give a new folder")


def _write_visits(
    root: Path,
    jobs: list[tuple[Participant, Visit]],
    spacing_mm: Spacing | Mapping[str, Spacing],
    modalities: tuple[str, ...],
    workers: int,
    progress: bool,
) -> None:
    with (
        tqdm(total=len(jobs), desc="Simulating", unit="session", disable=not progress, file=sys.stderr) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        running = [pool.submit(_write_visit, root, *job, spacing_mm, modalities) for job in jobs]
        try:
            for job in running:
                job.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _write_visit(
    root: Path,
    person: Participant,
    visit: Visit,
    spacing_mm: Spacing | Mapping[str, Spacing],
    modalities: tuple[str, ...],
) -> None:
    modalities = tuple(name for name in modalities if not visit.images or name in visit.images)
    if not modalities:
        return
    scenes: Scenes = {}
    subject = scan(person, visit, spacing_mm=spacing_mm, modalities=modalities, scenes=scenes)
    for name, volume in subject.volumes.items():
        folder = root / person.name / visit.session / FOLDERS.get(name, "anat")
        folder.mkdir(parents=True, exist_ok=True)
        save(_as_stored(volume), folder / f"{person.name}_{visit.session}_{name}.nii.gz")
    clean = [name for name in modalities if name in ("T1w", "T2w", "ct")]
    free: Mapping[str, Volume] = {}
    if clean:
        free = scan_without_noise(person, visit, spacing_mm=spacing_mm, modalities=clean, scenes=scenes).volumes
    _write_truth(root / TRUTH_FOLDER / person.name / visit.session, f"{person.name}_{visit.session}", subject, free)


def _write_truth(folder: Path, label: str, subject: SimulatedSubject, clean: Mapping[str, Volume]) -> None:
    """Masks and maps once a grid, images without noise, nodules, and the disease in numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    grids: dict[str, Truth] = {}
    serves = {}
    for name, truth in subject.truth.items():
        lung = truth.masks["lung"]
        serves[name] = next((other for other, known in grids.items() if known.masks["lung"].same_grid(lung)), name)
        grids.setdefault(serves[name], truth)
    for name, truth in grids.items():
        for kind, mask in truth.masks.items():
            save(mask, folder / f"{label}_{name}_desc-{kind.replace('_', '')}_mask.nii.gz")
        for kind, volume in truth.maps.items():
            save(volume, folder / f"{label}_{name}_desc-{kind.replace('_', '')}_map.nii.gz")
    for name, volume in clean.items():
        save(volume.replace(meta={}), folder / f"{label}_desc-clean_{name}.nii.gz")
    any_truth = next(iter(subject.truth.values()))
    write_tsv(folder / f"{label}_nodules.tsv", any_truth.nodules)
    write_json(
        folder / f"{label}_truth.json", {"phase": subject.phase, "disease": asdict(subject.disease), "masks": serves}
    )


def _as_stored(volume: Volume) -> Volume:
    """Whole numbers, as scanners store them."""
    return volume.replace(array=np.rint(volume.array))


def _write_tables(root: Path, people: Sequence[Participant], about: Mapping[str, Any]) -> None:
    described = {
        "Name": "Simulated cohort of pulmonary hemosiderosis",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": SIMULATOR, "Version": __version__, "Parameters": dict(about)}],
    }
    write_json(root / "dataset_description.json", described)
    (root / "README").write_text(_README, "utf-8")
    (root / ".bidsignore").write_text(f"{TRUTH_FOLDER}\nct\nxray\n", "utf-8")
    table = pd.DataFrame([[p.name, p.group, p.age, p.sex] for p in people], columns=list(_PARTICIPANT_COLUMNS))
    write_tsv(root / "participants.tsv", table)
    write_json(root / "participants.json", _PARTICIPANT_COLUMNS)
    write_json(root / "sessions.json", _SESSION_COLUMNS)
    for person in people:
        (root / person.name).mkdir()
        visits = pd.DataFrame(list(_session_rows(person)), columns=list(_SESSION_COLUMNS))
        write_tsv(root / person.name / f"{person.name}_sessions.tsv", visits)


def _session_rows(person: Participant) -> Iterator[list[object]]:
    for visit in person.visits:
        phase = "none" if visit.phase == "edema" else visit.phase
        yield [
            visit.session, round(visit.day), phase, visit.hemoglobin_g_dl, visit.ferritin_ug_l,
            visit.prednisone_mg_per_day, "yes" if visit.hemoptysis else "no", visit.lavage or "n/a",
        ]  # fmt: skip
