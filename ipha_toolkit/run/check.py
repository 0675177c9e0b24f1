"""What an analysis of a cohort would do, and every problem found, before anything is measured."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ipha_toolkit.errors import IphaError, LayoutError
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import Cohort, Problem, SessionFiles, read_cohort
from ipha_toolkit.terms import Modality


@dataclass(frozen=True)
class Check:
    """What an analysis of the cohort would do, and every problem found."""

    sessions: pd.DataFrame
    problems: list[Problem]

    @property
    def stopping(self) -> list[Problem]:
        """Problems that stop the analysis of a session or image."""
        return [problem for problem in self.problems if problem.subject]


def check(cohort_dir: str | os.PathLike[str], *, progress: bool = True) -> Check:
    """Read the whole cohort folder and every image in it, measure nothing, and report all problems at once.

    Returns
    -------
    Check
        ``sessions``: one row an image: subject, session, group, modality, file, size and spacing in mm, lungs from.

    Raises
    ------
    LayoutError
        Where the folder is no cohort folder.
    """
    cohort = read_cohort(cohort_dir)
    problems = list(cohort.problems)
    described = []
    for files in tqdm(cohort.sessions, desc="Checking", unit="session", disable=not progress, file=sys.stderr):
        for record, problem in _check_session(cohort, files):
            described.append(record)
            problems += [problem] if problem else []
    columns = ["subject", "session", "group", "modality", "file", "image", "lungs"]
    return Check(pd.DataFrame(described, columns=columns), problems)


def _check_session(cohort: Cohort, files: SessionFiles) -> Iterator[tuple[dict[str, str], Problem | None]]:
    group = cohort.covariate(files.subject, "group") or "?"
    jobs: list[tuple[Modality, Path]] = [*files.images.items()]
    jobs += [(Modality.MEGRE, files.echoes[0])] if files.echoes else []
    for modality, path in jobs:
        record = {"subject": files.subject, "session": files.session, "group": group, "modality": str(modality)}
        record |= {"file": str(path.relative_to(cohort.root)), "lungs": "found here"}
        problem = None
        try:
            volume = load_echoes(files.echoes)[0][0] if modality is Modality.MEGRE else load(path, modality=modality)
            shape = " x ".join(map(str, volume.shape))
            record["image"] = f"{shape}, {' x '.join(f'{step:.3g}' for step in volume.spacing_mm)} mm"
            if modality in files.lungs:
                mask = files.lungs[modality]
                record["lungs"] = str(mask.path.relative_to(cohort.root))
                if not load_mask(mask.path, labels=mask.labels, image=volume).same_grid(volume):
                    raise LayoutError(f"{mask.path}: mask is on a different grid than {path.name}; resample it")
        except (IphaError, ValueError) as error:
            record["image"] = "cannot be used"
            problem = Problem(path, str(error).removeprefix(f"{path}: "), files.subject, files.session)
        yield record, problem
