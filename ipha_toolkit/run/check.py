"""What an analysis of a cohort would do, and every problem found, before anything is measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ipha_toolkit.errors import GridError, IphaError, LayoutError
from ipha_toolkit.io.acquisition import unbelieved
from ipha_toolkit.io.checks import require_measurable
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import Cohort, Problem, SessionFiles, read_cohort
from ipha_toolkit.io.masks import MaskFile
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Volume


@dataclass(frozen=True)
class Check:
    """What an analysis of the cohort would do, and every problem found."""

    sessions: pd.DataFrame
    problems: list[Problem]

    @property
    def stopping(self) -> list[Problem]:
        """Problems that stop the analysis of a session or image."""
        return [problem for problem in self.problems if problem.subject]


def check(cohort_dir: str | os.PathLike[str], *, protocol: Protocol = DEFAULT, progress: bool = True) -> Check:
    """Read the whole cohort folder and every image and mask in it, measure nothing, and report all problems at once.

    Parameters
    ----------
    cohort_dir : path
    protocol : Protocol
        Its section ``reading`` says what is still read.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Check
        ``sessions``: one row an image: subject, session, group, modality, file, size and spacing in mm, lungs from.

    Raises
    ------
    LayoutError
        Where the folder is no cohort folder.
    """
    cohort = read_cohort(cohort_dir, protocol=protocol)
    problems = list(cohort.problems)
    described = []
    for files in tqdm(cohort.sessions, desc="Checking", unit="session", disable=not progress, file=sys.stderr):
        for record, found in _check_session(cohort, files, protocol):
            described.append(record)
            problems += found
    columns = ["subject", "session", "group", "modality", "file", "image", "lungs"]
    return Check(pd.DataFrame(described, columns=columns), problems)


def _check_session(
    cohort: Cohort, files: SessionFiles, protocol: Protocol
) -> Iterator[tuple[dict[str, str], list[Problem]]]:
    group = cohort.covariate(files.subject, "group") or "?"
    jobs: list[tuple[Modality, Path]] = [*files.images.items()]
    jobs += [(Modality.MEGRE, files.echoes[0])] if files.echoes else []
    for modality, path in jobs:
        record = {"subject": files.subject, "session": files.session, "group": group, "modality": str(modality)}
        record |= {"file": str(path.relative_to(cohort.root)), "lungs": "", "image": "cannot be used"}
        problems = []
        try:
            volume = _read(files, modality, protocol)
            shape = " x ".join(map(str, volume.shape))
            record["image"] = f"{shape}, {' x '.join(f'{step:.3g}' for step in volume.spacing_mm)} mm"
        except Exception as error:  # any file, of anybody's: no image ends the check of the others
            yield record, [_problem(files, path, error)]
            continue
        remarks = [Problem(path, text) for text in unbelieved(volume)]
        given = files.lungs.get(modality)
        record["lungs"] = str(given.path.relative_to(cohort.root)) if given else "found here"
        for masks in (files.lungs, files.muscle):
            if modality in masks:
                problems += _check_mask(files, masks[modality], volume, protocol)
        record["image"] = "cannot be used" if problems else record["image"]
        yield record, [*problems, *remarks]


def _read(files: SessionFiles, modality: Modality, protocol: Protocol) -> Volume:
    if modality is Modality.MEGRE:
        if len(files.echoes) == 1 and len(load_echoes(files.echoes)[0]) == 1:
            raise LayoutError(f"{files.echoes[0]}: is the only echo; R2* needs 2 or more, in files _echo-1_MEGRE ...")
        echoes, _ = load_echoes(files.echoes, settings=protocol.reading)
        for echo in echoes:
            require_measurable(echo, protocol.reading)
        return echoes[0]
    volume = load(files.images[modality], modality=modality, settings=protocol.reading)
    require_measurable(volume, protocol.reading)
    return volume


def _check_mask(files: SessionFiles, mask: MaskFile, volume: Volume, protocol: Protocol) -> list[Problem]:
    if mask.why:
        return [Problem(mask.path, mask.why, files.subject, files.session)]
    try:
        found = load_mask(mask.path, labels=mask.labels, image=volume, settings=protocol.reading)
        if not found.same_grid(volume):
            apart = volume.grid.how_apart(found.grid)
            raise GridError(f"{mask.path}: mask is on a different grid than {volume.name}: {apart}; resample it")
    except Exception as error:  # as above
        return [_problem(files, mask.path, error)]
    return []


def _problem(files: SessionFiles, path: Path, error: Exception) -> Problem:
    text = str(error) if isinstance(error, IphaError) else f"{type(error).__name__}: {error}"
    text = text.removeprefix(f"{path}: ").removeprefix(f"{path.name}: ")
    return Problem(path, text, files.subject, files.session)
