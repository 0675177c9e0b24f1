"""Two dates of one simulated patient: nodules matched between MRI and CT, and change told from no change.

Run ``python benchmarks/change.py [--pairs N]``. Nodules: a chronic patient's CT, and a contrast-enhanced T1w moved by a
few mm and degrees; both are searched, the CT is aligned to the MRI, and each pair is right where both members lie on
the same true nodule. Change: each patient is scanned twice, unchanged or with a new state of disease, and read by
``read_change`` with the scatter of the package.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "change.md"


def turned(volume, degrees, shift_mm):
    """The volume as it lies after a turn about z and a shift, written into its affine, and resampled upright."""
    from ipha_toolkit.image.geometry import resample_to

    angle = np.deg2rad(degrees)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = shift_mm
    return resample_to(volume.replace(affine=motion @ volume.affine), volume, order=3), motion


def of_truth(points, truth, reach_mm):
    """Index of the true nodule each point lies on, -1 where none is near."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(truth).query(points)
    return np.where(distance <= reach_mm, index, -1)


def match_patient(seed: int, spacing_mm: float) -> dict:
    import ipha_toolkit as ipha
    from ipha_toolkit.compare.change import match_nodules, summarize_matches
    from ipha_toolkit.protocol import DEFAULT

    rng = np.random.default_rng([seed, 3])
    settings = {"seed": seed, "severity": 0.7, "spacing_mm": spacing_mm}
    ct = ipha.simulate_subject("chronic", **settings, modalities=["ct"])
    mri = ipha.simulate_subject("chronic", **settings, modalities=["T1w"], contrast=True, scan_seed=seed + 1)
    t1w, motion = turned(mri.volumes["T1w"], rng.uniform(-4, 4), rng.uniform(-6, 6, 3))
    volumes = {"ct": ct.volumes["ct"], "T1w": t1w}
    lungs = {name: ipha.segment_lungs(volume) for name, volume in volumes.items()}
    found = {name: ipha.detect_nodules(volumes[name], lungs[name]) for name in volumes}
    found = {name: table[table["score"] >= DEFAULT.nodules.nodule_score] for name, table in found.items()}
    alignment = ipha.align(volumes["ct"], t1w, moving_mask=lungs["ct"], fixed_mask=lungs["T1w"])
    moved = alignment.apply(found["ct"])
    matches = match_nodules(moved, found["T1w"], lung_volume_ml=lungs["T1w"].volume_ml)
    places = ct.truth["ct"].nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    there = (np.c_[places, np.ones(len(places))] @ motion.T)[:, :3]
    reach = 1.5 * spacing_mm
    on_ct = of_truth(found["ct"][["x_mm", "y_mm", "z_mm"]].to_numpy(), places, reach)
    on_mri = of_truth(found["T1w"][["x_mm", "y_mm", "z_mm"]].to_numpy(), there, reach)
    both = set(on_ct[on_ct >= 0]) & set(on_mri[on_mri >= 0])
    stable = matches[matches["status"] == "stable"]
    ct_of, mri_of = (dict(zip(found[n].index, on, strict=True)) for n, on in (("ct", on_ct), ("T1w", on_mri)))
    right = {ct_of[a] for a, b in zip(stable["before"], stable["after"], strict=True) if ct_of[a] == mri_of[b] >= 0}
    corner = np.array([0.0, 0, 0, 1])
    error = np.linalg.norm((alignment.matrix @ corner - motion @ corner)[:3])
    summary = summarize_matches(matches, lung_volume_ml=lungs["T1w"].volume_ml)
    return {
        "seed": seed,
        "true": len(places),
        "found in CT": len(on_ct),
        "found in MRI": len(on_mri),
        "seen in both": len(both),
        "matched rightly": len(right & both),
        "pairs": len(stable),
        "expected by chance": round(summary.expected_by_chance, 1),
        "alignment error, mm": round(float(error), 2),
    }


def session_rows(subject) -> pd.DataFrame:
    """Rows of the CT of one simulated subject."""
    import ipha_toolkit as ipha

    ct = subject.volumes["ct"]
    return ipha.measure_attenuation(ct, ipha.segment_lungs(ct))


def change_pair(number: int, changed: bool, spacing_mm: float) -> str:
    import ipha_toolkit as ipha
    from ipha_toolkit.compare.change import read_change
    from ipha_toolkit.phantom.disease import disease_of_phase

    rng = np.random.default_rng([number, 5])
    phase = ("none", "subacute", "chronic", "acute")[number % 4]
    severity = float(rng.uniform(0.2, 0.7))
    before = disease_of_phase(phase, severity, np.random.default_rng(number))
    after = disease_of_phase("subacute" if phase == "none" else phase, severity + 0.3, np.random.default_rng(number))
    size = "child" if number % 2 else "adult"
    rows = []
    for visit, disease in enumerate((before, after if changed else before)):
        subject = ipha.simulate_subject(
            phase, seed=5000 + number, disease=disease, spacing_mm=spacing_mm, size=size, modalities=["ct"],
            scan_seed=9000 + 2 * number + visit, shift_mm=tuple(rng.uniform(-5, 5, 3)),
        )  # fmt: skip
        rows.append(session_rows(subject))
    return read_change(*rows).verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument("--spacing", type=float, default=1.5, help="voxels of the nodule patients, mm")
    options = parser.parse_args()
    matched = pd.DataFrame([
        match_patient(seed, options.spacing) for seed in tqdm(range(31, 31 + options.patients), desc="Matching")
    ])  # fmt: skip
    share = 100 * matched["matched rightly"].sum() / max(matched["seen in both"].sum(), 1)
    lines = ["# Two dates of one simulated patient\n", f"## Nodules of MRI and CT, {options.spacing:g} mm voxels\n"]
    lines += ["| " + " | ".join(matched.columns) + " |", "| --- " * len(matched.columns) + "|"]
    lines += ["| " + " | ".join(f"{value:g}" for value in row) + " |" for row in matched.to_numpy()]
    lines += [f"\n{share:.0f} % of the nodules seen in both are matched rightly.\n", "## Changed or not, CT at 3 mm\n"]
    lines += ["| truth | read as unchanged | read as changed |", "| --- | --- | --- |"]
    for name, changed in (("unchanged", False), ("changed", True)):
        verdicts = [change_pair(n, changed, 3.0) for n in tqdm(range(options.pairs), desc=name.capitalize())]
        lines.append(f"| {name} | {verdicts.count('unchanged')} | {verdicts.count('changed')} |")
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
