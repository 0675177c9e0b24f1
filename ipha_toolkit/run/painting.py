"""Painted masks: saved into the cohort as any mask made by hand, and their session measured again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipha_toolkit.errors import DataError
from ipha_toolkit.io import names
from ipha_toolkit.io.axes import on_axes, stored_grid
from ipha_toolkit.io.files import read_json
from ipha_toolkit.io.images import save
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.outputs import write_json
from ipha_toolkit.io.results import SessionResults, open_results
from ipha_toolkit.run.cohort import run
from ipha_toolkit.volume import Mask

_KEY = ["modality", "region", "measure"]


@dataclass(frozen=True)
class Remeasured:
    """A session before and after it was measured again.

    ``rows``: every number, ``modality, region, measure, before, after, change, unit``; ``reading``: phase and margin,
    before and after; ``failures``: what could not be measured this time.
    """

    rows: pd.DataFrame
    reading: pd.DataFrame
    failures: pd.DataFrame

    @property
    def changed(self) -> pd.DataFrame:
        """The numbers that are not what they were, those of the whole lung first, the largest relative change first."""
        rows = self.rows[~np.isclose(self.rows["before"], self.rows["after"], rtol=1e-9, atol=0, equal_nan=True)]
        size = (rows["change"] / rows["before"].where(rows["before"] != 0)).abs()
        order = rows.assign(lung=rows["region"] != "lung", size=-size.fillna(0)).sort_values(["lung", "size"])
        return rows.loc[order.index].reset_index(drop=True)


def voxel_hash(mask: Mask) -> str:
    """SHA-256 of a mask's voxels and their shape."""
    return sha256(str(mask.shape).encode() + np.packbits(mask.array).tobytes()).hexdigest()


def painted_file(root: Path, files: SessionFiles, modality: str, kind: str = "lung") -> Path:
    """Where a painted mask of a session's image lies in a cohort folder."""
    folder = root / "derivatives" / names.MANUAL / files.subject / files.session
    return folder / f"{names.stem(files.source(modality))}_desc-{kind}_mask.nii.gz"


def save_painted(
    mask: Mask, before: Mask, session: SessionResults, modality: str, *, rater: str, seconds: float
) -> Path:
    """Write a painted lung mask on its image's own axes, with a JSON file of who made it of what.

    Parameters
    ----------
    mask, before : Mask
        As painted, and as it was before.
    session : SessionResults
    modality : str
    rater : str
        Initials.
    seconds : float
        Time spent.

    Returns
    -------
    Path
        ``derivatives/manual/sub-*/ses-*/..._desc-lung_mask.nii.gz`` of the cohort; the next analysis takes it.

    Raises
    ------
    ValueError
        Where the mask is empty.
    LayoutError
        Where the cohort folder has moved.
    """
    if not mask.array.any():
        raise ValueError(f"{session.label} {modality}: the painted mask is empty; the analysis needs lung to measure")
    cohort = session.results.cohort
    files = cohort[session.subject, session.session]
    path, source = painted_file(cohort.root, files, modality), files.source(modality)
    path.parent.mkdir(parents=True, exist_ok=True)
    describe_tool(cohort.root / "derivatives" / names.MANUAL, "Painted by hand")
    grid = stored_grid(source)
    facts: dict[str, Any] = {
        "Manual": True,
        "Sources": [f"bids::{source.relative_to(cohort.root).as_posix()}"],
        "Rater": rater,
        "SecondsSpent": round(seconds),
        "VoxelsChanged": int(np.count_nonzero(mask.array != before.array)),
        "VoxelsAdded": int(np.count_nonzero(mask.array & ~before.array)),
        "BegunFromHash": voxel_hash(before),
        "Hash": voxel_hash(mask),
    }
    save(mask if grid is None else on_axes(mask, grid), path)
    write_json(names.sidecar_of(path), facts)
    return path


def describe_tool(folder: Path, name: str) -> None:
    """The ``dataset_description.json`` that a folder of ``derivatives/`` needs."""
    if not (folder / names.DATASET).exists():
        described = {"Name": f"{name}: masks", "BIDSVersion": "1.10.0", "DatasetType": "derivative"}
        write_json(folder / names.DATASET, described | {"GeneratedBy": [{"Name": name}]})


def measure_again(session: SessionResults, *, ratings: str | os.PathLike[str] | None = None) -> Remeasured:
    """Measure one session again, with the masks that lie in the cohort now, and compare the whole cohort anew.

    No other session's images are read. Settings are those of the results.

    Raises
    ------
    DataError
        Where the results were made with a lung segmenter of one's own, which has to be passed again to ``analyze``.
    LayoutError
        Where the cohort folder has moved.
    """
    results = session.results
    made_by = read_json(session.folder / names.PROVENANCE).get("segmenter", "")
    if made_by:
        raise DataError(
            f"{session.label} was measured with the segmenter {made_by}; call analyze(..., segment=...) again"
        )
    before, reading = session.rows, session.reading
    protocol = results.protocol
    run(
        results.cohort.root, results.path, protocol=protocol, ratings=ratings, participant_label=[session.subject],
        session_label=[session.session] if session.session else (), progress=False,
    )  # fmt: skip
    after = open_results(results.path, cohort=results.cohort.root)[session.subject, session.session]
    rows = before[[*_KEY, "value", "unit"]].merge(
        after.rows[[*_KEY, "value", "unit"]], on=_KEY, how="outer", suffixes=("_before", "_after"), sort=False
    )
    compared = rows[_KEY].assign(
        before=rows["value_before"], after=rows["value_after"], change=rows["value_after"] - rows["value_before"],
        unit=rows["unit_after"].fillna(rows["unit_before"]),
    )  # fmt: skip
    failures = after.results.failures
    own = failures[(failures["subject"] == session.subject) & (failures["session"] == session.session)]
    return Remeasured(compared, _readings(reading, after.reading), own.reset_index(drop=True))


def _readings(before: Any, after: Any) -> pd.DataFrame:
    kept = ["phase", "margin", "reasons"]
    found = {when: [None] * 3 if row is None else [row[name] for name in kept] for when, row in _named(before, after)}
    return pd.DataFrame(found, index=kept).T


def _named(before: Any, after: Any) -> list[tuple[str, Any]]:
    return [("before", before), ("after", after)]
