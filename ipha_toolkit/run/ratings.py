"""Ratings and the results they are of: what was judged, in which order to look, and what an analysis leaves out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from ipha_toolkit.compare.raters import rater_agreement
from ipha_toolkit.flags import RATED_UNUSABLE
from ipha_toolkit.grid import Grid
from ipha_toolkit.io import names
from ipha_toolkit.io.nifti import place
from ipha_toolkit.io.ratings import (
    COLUMNS,
    UNUSABLE,
    VERDICTS,
    joined_ratings,
    ratings_path,
    read_ratings,
    write_ratings,
)
from ipha_toolkit.io.results import Results, SessionResults
from ipha_toolkit.io.walk import Problem
from ipha_toolkit.measure.rows import flags_of, with_flags
from ipha_toolkit.terms import Modality, Region
from ipha_toolkit.wording import number

_DIGITS = 16

_TRAILER = 8
"""Last bytes of a gzip file: checksum and size of what is packed in it, whichever program packed it. To unpack the
masks of 300 CTs would take minutes."""

_DOUBTFUL: dict[str, float] = {
    "implausible_lung_volume": 3, "perhaps_no_chest": 3, "lungs_partly_missing": 3, "uncertain_lung_field": 2,
    "perhaps_no_radiograph": 3, "perhaps_not_frontal": 2, "one_lung": 2, "lung_voxels_missing": 2,
    "cut_field_of_view": 1, "asymmetric_reference": 1, "small_reference": 1, "single_slice": 1, "suppressed_fat": 1,
    "airway_perhaps_inside": 1, "hot_voxels": 1, "slices_missing": 1, "contrast_enhanced": 1,
    "noise_not_estimable": 0.5, "noise_uncertain": 0.5,
}  # fmt: skip
"""How much each flag makes an image worth a look, those of the lung mask most. Chosen."""

_VOLUMES_APART = 1.3
"""Lung volumes of one session that differ by more than this factor are worth a look: breath-holds explain less in most
patients. Chosen."""

_OUTLYING = 3.5
"""Robust standard deviations from the cohort's median of the logarithm of lung volume (Iglewicz & Hoaglin 1993)."""

_OF_ALL_VOXELS = ("lung_volume", "signal_ratio_median", "r2star_median")
"""Measures whose ``n_voxels`` are those of the lung mask."""

_ENOUGH = 5
"""Images of a modality from which on a lung volume is held against the cohort's. Chosen."""

_CLOSE_MARGIN = 0.15
"""A reading decided by less is worth a look at its images. Chosen: the protocol's own limit is 0.1."""


def judged_hash(folder: Path, label: str, modality: str) -> str:
    """What a rating is of: digits of the hashes of the image file and of its lung mask; empty where either is missing.

    Parameters
    ----------
    folder : Path
        Folder of the session's results.
    label : str
        ``sub-001_ses-01``.
    modality : str
    """
    try:
        inputs = json.loads((folder / names.PROVENANCE).read_text("utf-8"))["inputs"]
        with (folder / names.mask_file(label, modality, "lung")).open("rb") as file:
            file.seek(-_TRAILER, os.SEEK_END)
            mask = file.read()
    except (OSError, ValueError, KeyError):
        return ""
    image = "".join(digest for file, digest in sorted(inputs.items()) if _is_image_of(Path(file), modality))
    return f"{sha256(image.encode()).hexdigest()[:_DIGITS]}-{sha256(mask).hexdigest()[:_DIGITS]}" if image else ""


def _is_image_of(path: Path, modality: str) -> bool:
    return path.parts[0] != "derivatives" and names.is_image(path) and names.role_of(path) == modality


@dataclass(frozen=True)
class Standing:
    """Which images ratings leave out of an analysis, by label and modality, with the words why; and what is to say."""

    unusable: Mapping[tuple[str, str], str] = field(default_factory=dict)
    remarks: tuple[Problem, ...] = ()

    def leaves_out(self, label: str, modality: str) -> bool:
        """Whether rows of a modality, or of a pair it is one of, are left out."""
        return any((label, part) in self.unusable for part in modality.split("+"))

    def flagged(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows, those of images left out flagged ``rated_unusable``."""
        out = self._out(rows)
        return pd.concat([rows[~out], with_flags(rows[out], [RATED_UNUSABLE])]).sort_index() if out.any() else rows

    def kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of all other images."""
        return rows[~self._out(rows)] if self.unusable else rows

    def _out(self, rows: pd.DataFrame) -> pd.Series[bool]:
        if not self.unusable:
            return pd.Series(False, index=rows.index, dtype=bool)
        keys = zip(rows["subject"], rows["session"], rows["modality"], strict=True)
        out = [self.leaves_out(names.label_of(subject, session), str(modality)) for subject, session, modality in keys]
        return pd.Series(out, index=rows.index, dtype=bool)


NONE_RATED = Standing()


def standing(place: str | os.PathLike[str] | None, out: Path) -> Standing:
    """Ratings that count for the results of a folder.

    An image is left out where at least half of the raters whose rating counts call it unusable. A rating whose image or
    mask has changed since counts no more, and is said.

    Raises
    ------
    LayoutError
        Where the table of ratings cannot be read.
    """
    if place is None:
        return NONE_RATED
    ratings, path = read_ratings(place), ratings_path(place)
    remarks, count = [], []
    for row in ratings.to_dict("records"):
        reason = _why_it_counts_no_more({str(name): str(cell) for name, cell in row.items()}, out)
        count.append(not reason)
        if reason:
            who = f"{names.label_of(row['subject'], row['session'])} {row['image']} by {row['rater']}"
            remarks.append(Problem(path, f"the rating of {who} counts no more: {reason}"))
    unusable = {}
    for (subject, session, image), part in ratings[count].groupby(["subject", "session", "image"], sort=False):
        against = part[part["verdict"] == UNUSABLE]
        if len(against) * 2 >= len(part):
            key = names.label_of(str(subject), str(session)), str(image)
            said = [
                f"{row['rater']}{': ' * bool(row['reasons'])}{row['reasons']}" for row in against.to_dict("records")
            ]
            unusable[key] = " and ".join(said)
            remarks.append(
                Problem(path, f"{' '.join(key)} is left out, rated unusable by {unusable[key]}; its rows stay, flagged")
            )
    return Standing(unusable, tuple(remarks))


def _why_it_counts_no_more(row: Mapping[str, str], out: Path) -> str:
    folder = out / row["subject"] / row["session"]
    now = judged_hash(folder, names.label_of(row["subject"], row["session"]), row["image"])
    if not now:
        return "there is no such image and mask in the results"
    changed = [
        what
        for what, was, is_now in zip(("image", "mask"), row["hash"].split("-"), now.split("-"), strict=False)
        if was != is_now
    ]
    if not changed and row["hash"] != now:
        return "its hash is not whole"
    return f"the {' and the '.join(changed)} changed since; look again" if changed else ""


def merge_ratings(files: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> pd.DataFrame:
    """Join tables of ratings into one file; returns how far each pair of raters agrees.

    See :func:`ipha_toolkit.compare.raters.rater_agreement` for the columns. Of ratings of one image by one rater, that
    of the file named last counts.

    Raises
    ------
    LayoutError
        Where a table cannot be read.
    """
    whole = joined_ratings([read_ratings(file) for file in files])
    write_ratings(Path(out), whole)
    return rater_agreement(whole, list(VERDICTS))


def review_queue(results: Results) -> pd.DataFrame:
    """Every image with a lung mask, those most in doubt first.

    Returns
    -------
    DataFrame
        ``subject, session, image, doubt, why, hash``: ``doubt`` is a sum of weights, 0 where nothing speaks against the
        image; ``why`` says in words what does.
    """
    volumes = _lung_volumes(results)
    margins = results.readings.set_index(["subject", "session"])["margin"].astype(float)
    found = []
    for one in results:
        doubts = _of_session(one, volumes, float(margins.get((one.subject, one.session), np.nan)))
        for modality in one.modalities:
            digest = judged_hash(one.folder, one.label, modality)
            if digest:
                own = doubts[modality]
                cells = (
                    one.subject,
                    one.session,
                    modality,
                    sum(w for w, _ in own),
                    "; ".join(t for _, t in own),
                    digest,
                )
                found.append(dict(zip(QUEUE_COLUMNS, cells, strict=True)))
    table = pd.DataFrame(found, columns=list(QUEUE_COLUMNS))
    return table.sort_values("doubt", ascending=False, kind="stable").reset_index(drop=True)


QUEUE_COLUMNS = ("subject", "session", "image", "doubt", "why", "hash")


def _lung_volumes(results: Results) -> pd.DataFrame:
    """Lung volume in mL of each image, by its rows and its mask's voxels, and its distance from the cohort's median."""
    found = []
    for one in results:
        lung = one.rows[(one.rows["region"] == Region.LUNG) & one.rows["measure"].isin(_OF_ALL_VOXELS)]
        counts = lung.groupby("modality")["n_voxels"].max()
        for modality in one.modalities:
            path = one.folder / names.mask_file(one.label, modality, "lung")
            if modality in counts and path.exists():
                volume = float(counts[modality]) * Grid((1, 1, 1), place(path)[1]).voxel_volume_ml
                found.append((one.subject, one.session, modality, volume))
    table = pd.DataFrame(found, columns=["subject", "session", "modality", "volume"])
    logs = np.log(table["volume"].clip(lower=1e-6))
    middle = logs.groupby(table["modality"]).transform("median")
    spread = (logs - middle).abs().groupby(table["modality"]).transform("median")
    many = table.groupby("modality")["volume"].transform("size") >= _ENOUGH
    away = np.where(many & (spread > 0), 0.6745 * (logs - middle) / spread.where(spread > 0), 0.0)
    return table.assign(away=away)


def _of_session(one: SessionResults, volumes: pd.DataFrame, margin: float) -> dict[str, list[tuple[float, str]]]:
    own = volumes[(volumes["subject"] == one.subject) & (volumes["session"] == one.session)].set_index("modality")
    close = [(1.0, f"the reading is close: margin {margin:.2f}")] if margin < _CLOSE_MARGIN else []
    doubts: dict[str, list[tuple[float, str]]] = {}
    for modality in one.modalities:
        flags = {code for cell in one.rows.loc[one.rows["modality"] == modality, "flag"] for code in flags_of(cell)}
        found = [(w, code.replace("_", " ")) for code, w in _DOUBTFUL.items() if code in flags]
        if modality in own.index:
            volume, away = (float(own[name].to_dict()[modality]) for name in ("volume", "away"))
            if abs(away) > _OUTLYING:
                found.append((2.0, f"lung volume {number(volume)} mL, far from the cohort's"))
            found += _against_others(modality, volume, own)
        doubts[modality] = sorted(found, reverse=True) + (close if modality != Modality.DX else [])
    return doubts


def _against_others(modality: str, volume: float, own: pd.DataFrame) -> list[tuple[float, str]]:
    """The lung volume against those of the session's other scans."""
    for other, there in own["volume"].items():
        if other != modality and volume > 0 and there > 0 and max(volume / there, there / volume) > _VOLUMES_APART:
            return [(2.0, f"lung volume {number(volume)} mL, {number(there)} mL in {other}")]
    return []


def rated(ratings: pd.DataFrame, queue: pd.DataFrame, rater: str) -> list[dict[str, str]]:
    """Ratings of one rater that are of what the queue holds now."""
    own = ratings[ratings["rater"] == rater] if len(ratings) else ratings
    keys = set(zip(queue["subject"], queue["session"], queue["image"], queue["hash"], strict=True))
    return [row for row in _records(own) if (row["subject"], row["session"], row["image"], row["hash"]) in keys]


def _records(table: pd.DataFrame) -> Iterable[dict[str, str]]:
    return ({name: str(row[name]) for name in COLUMNS} for row in table.to_dict("records"))
