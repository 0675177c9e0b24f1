"""What a perfect measurement would have given, from the truth alone, and how far a measured table is from it.

Nothing of ``measure/`` or ``regions/`` is used: the definitions are applied anew, in a few lines each, to the true
masks and to the images without noise, coil or breathing. The cuts of the protocol are part of a measure's definition,
so they are the same on both sides; whether a cut means what it is meant to is another question, answered by the rows of
kind ``disease``, which hold the share of lung whose air space really is filled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.io import nifti
from ipha_toolkit.io.images import load
from ipha_toolkit.phantom.subject import SimulatedSubject
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

Array = npt.NDArray[np.float64]

DEFINITION, DISEASE = "definition", "disease"
_MASKS = ("lung", "vessel", "muscle", "ground_glass", "consolidation")
_SKETCH = np.linspace(0, 1, 4001)


@dataclass(frozen=True, eq=False)
class TrueSession:
    """One simulated session as it really is.

    ``values``: (modality, measure, kind) -> value. ``ratios``: modality -> quantiles of the lung's true ratio to
    muscle. ``lungs``: modality -> true lung mask.
    """

    subject: str
    session: str
    group: str
    phase: str
    values: dict[tuple[str, str, str], float] = field(default_factory=dict)
    ratios: dict[str, Array] = field(default_factory=dict)
    lungs: dict[str, Mask] = field(default_factory=dict)


def true_session(
    names: tuple[str, str],
    group: str,
    phase: str,
    masks: Mapping[str, Mapping[str, Mask]],
    clean: Mapping[str, Volume],
    *,
    protocol: Protocol = DEFAULT,
) -> TrueSession:
    """Apply the definitions to true masks and noise-free images, both by modality (T1w, T2w, ct)."""
    found = TrueSession(*names, group, phase)
    for modality, volume in clean.items():
        inside, lung = masks[modality], masks[modality]["lung"].array
        found.lungs[modality] = inside["lung"]
        if modality == "ct":
            found.values["ct", "lung_volume", DEFINITION] = inside["lung"].volume_ml
            found.values.update(_true_attenuation(volume.array, inside, protocol))
        else:
            ratio = volume.array[lung] / np.median(volume.array[inside["muscle"].array])
            found.ratios[modality] = np.quantile(ratio, _SKETCH)
            found.values[modality, "signal_ratio_median", DEFINITION] = float(np.median(ratio))
    return found


def true_session_of(
    names: tuple[str, str], group: str, seen: SimulatedSubject, clean: SimulatedSubject, *, protocol: Protocol = DEFAULT
) -> TrueSession:
    """As :func:`true_session`, of a subject in memory and its scan without noise."""
    masks = {modality: truth.masks for modality, truth in seen.truth.items()}
    return true_session(names, group, seen.phase, masks, clean.volumes, protocol=protocol)


def read_true_sessions(truth: Path, groups: Mapping[str, str], *, protocol: Protocol = DEFAULT) -> list[TrueSession]:
    """All sessions of the truth folder of a simulated cohort; ``groups`` by subject."""
    return [
        _read_true_session(path.parent, path.name.removesuffix("_truth.json"), groups, protocol)
        for path in sorted(truth.glob("sub-*/ses-*/*_truth.json"))
    ]


def true_table(sessions: Iterable[TrueSession], *, protocol: Protocol = DEFAULT) -> pd.DataFrame:
    """Every true value: subject, session, group, phase, modality, measure, kind, true.

    The fractions are set against the true ratios of the controls, each control left out of its own reference, as the
    measures' definition says; without any, they are left out.
    """
    sessions = list(sessions)
    records = []
    for one in sessions:
        head = (one.subject, one.session, one.group, one.phase)
        records += [(*head, *key, value) for key, value in one.values.items()]
        for modality, ratio in one.ratios.items():
            pool = [o.ratios[modality] for o in sessions
                    if o.group == "control" and o.subject != one.subject and modality in o.ratios]  # fmt: skip
            if pool:
                records.append((*head, modality, *_true_fraction(modality, ratio, np.concatenate(pool), protocol)))
    columns = ["subject", "session", "group", "phase", "modality", "measure", "kind", "true"]
    return pd.DataFrame(records, columns=columns)


def pair(rows: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Measured beside true, one row a value: the columns of ``true``, then measured, unit, flag."""
    whole = rows[rows["region"] == "lung"].rename(columns={"value": "measured"})
    keys = ["subject", "session", "modality", "measure"]
    return true.merge(whole[[*keys, "measured", "unit", "flag"]], on=keys, how="left")


def agreement(pairs: pd.DataFrame) -> pd.DataFrame:
    """Bias and limits of agreement (mean and 1.96 standard deviations of measured minus true; Bland & Altman 1986).

    Returns
    -------
    DataFrame
        One row a modality, measure and kind: n, missing, bias, low, high, rank (Spearman's correlation with the truth),
        unit.
    """
    records = []
    for key, group in pairs.groupby(["modality", "measure", "kind"], sort=False):
        known = group.dropna(subset=["measured", "true"])
        off = known["measured"] - known["true"]
        bias, spread = float(off.mean()), 1.96 * float(off.std())
        rank = (
            known["measured"].rank().corr(known["true"].rank()) if known["true"].min() < known["true"].max() else np.nan
        )
        records.append((*key, len(known), len(group) - len(known), bias, bias - spread, bias + spread, rank,
                        next(iter(known["unit"]), "")))  # fmt: skip
    columns = ["modality", "measure", "kind", "n", "missing", "bias", "low", "high", "rank", "unit"]
    return pd.DataFrame(records, columns=columns)


def dice(a: Mask, b: Mask) -> float:
    """Overlap of two masks on one grid: 0 none, 1 the same."""
    a.require_same_grid(b)
    return 2 * np.count_nonzero(a.array & b.array) / max(1, a.n_voxels + b.n_voxels)


def _true_attenuation(hu: npt.NDArray[np.float32], inside: Mapping[str, Mask], protocol: Protocol) -> dict[
    tuple[str, str, str], float
]:  # fmt: skip
    cuts, lung = protocol.attenuation, inside["lung"].array
    low, high = cuts.ground_glass_hu
    without = hu[lung & ~inside["vessel"].array]
    least, most = cuts.high_attenuation_hu
    return {
        ("ct", "attenuation_mean", DEFINITION): float(np.mean(hu[lung], dtype=float)),
        ("ct", "high_attenuation_area", DEFINITION): _percent((hu[lung] >= least) & (hu[lung] < most)),
        ("ct", "ground_glass_fraction", DEFINITION): _percent((without >= low) & (without < high)),
        ("ct", "consolidation_fraction", DEFINITION): _percent(without >= cuts.consolidation_hu),
        ("ct", "ground_glass_fraction", DISEASE): _percent(inside["ground_glass"].array[lung]),
        ("ct", "consolidation_fraction", DISEASE): _percent(inside["consolidation"].array[lung]),
    }


def _true_fraction(modality: str, ratio: Array, pool: Array, protocol: Protocol) -> tuple[str, str, float]:
    settings = protocol.signal
    if modality == "T1w":
        return "hyperintense_fraction", DEFINITION, _percent(ratio > np.quantile(pool, settings.hyperintense_quantile))
    return "hypointense_fraction", DEFINITION, _percent(ratio < np.quantile(pool, settings.hypointense_quantile))


def _percent(chosen: npt.NDArray[np.bool_]) -> float:
    return 100 * float(np.mean(chosen)) if chosen.size else np.nan


def _read_true_session(folder: Path, label: str, groups: Mapping[str, str], protocol: Protocol) -> TrueSession:
    facts = json.loads((folder / f"{label}_truth.json").read_text("utf-8"))
    subject, _, session = label.partition("_")
    clean = {path.name.rpartition("-clean_")[2].removesuffix(".nii.gz"): load(path)
             for path in sorted(folder.glob(f"{label}_desc-clean_*.nii.gz"))}  # fmt: skip
    kept: dict[str, dict[str, Mask]] = {}
    for grid in {facts["masks"][modality] for modality in clean}:
        kept[grid] = {name: _read_mask(folder / f"{label}_{grid}_desc-{name.replace('_', '')}_mask.nii.gz")
                      for name in _MASKS}  # fmt: skip
    masks = {modality: kept[facts["masks"][modality]] for modality in clean}
    return true_session((subject, session), groups.get(subject, ""), facts["phase"], masks, clean, protocol=protocol)


def _read_mask(path: Path) -> Mask:
    """A true mask, which may be empty: health has no ground glass."""
    array, affine = nifti.read(path)
    return Mask(array != 0, affine, name=path.name)
