"""Two dates of one simulated patient: nodules matched between MRI and CT, and change told from no change.

Run ``python benchmarks/change.py``. Nodules: a chronic patient's CT, and a contrast-enhanced T1w in another breath,
moved by a few mm and degrees; both are searched, the CT is aligned to the MRI, and each pair is right where both
members lie on the same true nodule. Change: each patient is scanned twice, unchanged or with one kind of change, and
read by ``read_change`` with the scatter of the package. Iron does not show in CT, nor do a few more nodules in T1w of
3 mm: these cells are no misses. ``--keep DIR`` saves the rows, or reads saved ones anew.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "change.md"
KINDS = {"none": 20, "new bleed": 5, "bleed cleared": 5, "more iron": 5, "more nodules": 5}
PHASES = {
    "none": ("none", "acute", "subacute", "chronic"), "new bleed": ("none", "chronic"), "bleed cleared": ("acute",),
    "more iron": ("none", "subacute", "chronic"), "more nodules": ("none", "chronic"),
}  # fmt: skip
READ_BY = {"CT": ("ct",), "MRI": ("T1w", "T2w", "T1w+T2w"), "both": ("ct", "T1w", "T2w", "T1w+T2w")}


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


def matched_lines(patients: int, spacing_mm: float) -> list[str]:
    seeds = tqdm(range(31, 31 + patients), desc="Matching")
    matched = pd.DataFrame([match_patient(seed, spacing_mm) for seed in seeds])
    share = 100 * matched["matched rightly"].sum() / max(matched["seen in both"].sum(), 1)
    lines = [f"## Nodules of MRI and CT, {spacing_mm:g} mm voxels\n", "| " + " | ".join(matched.columns) + " |"]
    lines += ["| --- " * len(matched.columns) + "|"]
    lines += ["| " + " | ".join(f"{value:g}" for value in row) + " |" for row in matched.to_numpy()]
    return [*lines, f"\n{share:.0f} % of the nodules seen in both are matched rightly."]


def match_patient(seed: int, spacing_mm: float) -> dict:
    import ipha_toolkit as ipha
    from ipha_toolkit.compare.nodules import match_nodules, summarize_matches
    from ipha_toolkit.protocol import DEFAULT

    rng = np.random.default_rng([seed, 3])
    settings = {"seed": seed, "severity": 0.7, "spacing_mm": spacing_mm}
    ct = ipha.simulate_subject("chronic", **settings, modalities=["ct"])
    later = {"contrast": True, "scan_seed": seed + 1, "breath": float(rng.normal(0, 0.04))}
    mri = ipha.simulate_subject("chronic", **settings, modalities=["T1w"], **later)
    t1w, motion = turned(mri.volumes["T1w"], rng.uniform(-4, 4), rng.uniform(-6, 6, 3))
    volumes = {"ct": ct.volumes["ct"], "T1w": t1w}
    lungs = {name: ipha.segment_lungs(volume) for name, volume in volumes.items()}
    found = {name: ipha.detect_nodules(volumes[name], lungs[name]) for name in volumes}
    found = {name: table[table["score"] >= DEFAULT.nodules.nodule_score] for name, table in found.items()}
    alignment = ipha.align(volumes["ct"], t1w, kind="affine", moving_mask=lungs["ct"], fixed_mask=lungs["T1w"])
    moved = alignment.apply(found["ct"])
    matches = match_nodules(moved, found["T1w"], lung_volume_ml=lungs["T1w"].volume_ml)
    places = ct.truth["ct"].nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    breathed = mri.truth["T1w"].nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    there = (np.c_[breathed, np.ones(len(breathed))] @ motion.T)[:, :3]
    reach = 1.5 * spacing_mm
    on_ct = of_truth(found["ct"][["x_mm", "y_mm", "z_mm"]].to_numpy(), places, reach)
    on_mri = of_truth(found["T1w"][["x_mm", "y_mm", "z_mm"]].to_numpy(), there, reach)
    both = set(on_ct[on_ct >= 0]) & set(on_mri[on_mri >= 0])
    stable = matches[matches["status"] == "stable"]
    ct_of, mri_of = (dict(zip(found[n].index, on, strict=True)) for n, on in (("ct", on_ct), ("T1w", on_mri)))
    right = {ct_of[a] for a, b in zip(stable["before"], stable["after"], strict=True) if ct_of[a] == mri_of[b] >= 0}
    carried = (np.c_[places, np.ones(len(places))] @ alignment.matrix.T)[:, :3]
    error = np.linalg.norm(carried - there, axis=1).mean()
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
        "breath, %": round(100 * later["breath"], 1),
        "mean alignment error at nodules, mm": round(float(error), 2),
    }


def disease_pairs():
    """Kind of change, phase, and the disease before and after: alike where nothing changed."""
    from ipha_toolkit.phantom.disease import disease_of_phase

    for number, kind in enumerate(kind for kind, count in KINDS.items() for _ in range(count)):
        rng = np.random.default_rng([number, 5])
        phase = PHASES[kind][number % len(PHASES[kind])]
        before = disease_of_phase(phase, float(rng.uniform(0.2, 0.7)), rng)
        more = float(rng.uniform(0.8, 1.4))
        yield kind, phase, before, {
            "none": before,
            "new bleed": replace(before, blood=min(1.0, before.blood + 0.25 * more), methemoglobin=0.3 * more),
            "bleed cleared": replace(before, blood=0.15 * before.blood, septal=0.3, iron=before.iron + 0.03),
            "more iron": replace(before, iron=before.iron + 0.4 * more),
            "more nodules": replace(before, nodules_per_litre=before.nodules_per_litre + 70 * more),
        }[kind]  # fmt: skip


def write_pairs(root: Path, spacing_mm: float) -> pd.DataFrame:
    """A cohort folder of two sessions a patient, scanned anew each time, and what is true of each patient."""
    import ipha_toolkit as ipha

    truth = []
    for number, (kind, phase, *states) in enumerate(tqdm(list(disease_pairs()), desc="Scanning twice")):
        subject, rng = f"sub-{number:02d}", np.random.default_rng([number, 6])
        for session, state in zip(("ses-1", "ses-2"), states, strict=True):
            scan = ipha.simulate_subject(
                phase, seed=5000 + number, disease=state, spacing_mm=spacing_mm, modalities=["ct", "T1w", "T2w"],
                size="child" if number % 2 else "adult", field_strength_t=3.0 if number % 4 > 1 else 1.5,
                breath=float(rng.normal(0, 0.04)), motion_mm=float(rng.uniform(0.5, 2)),
                scan_seed=int(rng.integers(2**31)), shift_mm=tuple(rng.uniform(-5, 5, 3)),
            )  # fmt: skip
            for name, volume in scan.volumes.items():
                folder = root / subject / session / ("ct" if name == "ct" else "anat")
                folder.mkdir(parents=True, exist_ok=True)
                ipha.save(volume, folder / f"{subject}_{session}_{name}.nii.gz")
        truth.append((subject, kind, phase))
    return pd.DataFrame(truth, columns=["subject", "kind", "phase"])


def read_pairs(rows: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Verdict of every patient, by what was scanned."""
    from ipha_toolkit.compare.change import read_change

    found = []
    for subject, kind, _ in truth.itertuples(index=False):
        of = rows[rows["subject"] == subject]
        for name, modalities in READ_BY.items():
            seen = of[of["modality"].isin(modalities)]
            reading = read_change(*(seen[seen["session"] == session] for session in ("ses-1", "ses-2")))
            found.append((subject, kind, name, reading.verdict, reading.reasons))
    return pd.DataFrame(found, columns=["subject", "kind", "by", "verdict", "reasons"])


def verdict_table(read: pd.DataFrame) -> list[str]:
    lines = ["| what changed | pairs | " + " | ".join(f"changed by {name}" for name in READ_BY) + " |"]
    lines += ["| --- " * (len(READ_BY) + 2) + "|"]
    for kind, count in KINDS.items():
        of = read[(read["kind"] == kind) & (read["verdict"] == "changed")]
        cells = [str(int((of["by"] == name).sum())) for name in READ_BY]
        lines.append(f"| {kind} | {count} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    import ipha_toolkit as ipha

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=4, help="patients whose nodules are matched")
    parser.add_argument("--spacing", type=float, default=1.5, help="voxels of the nodule patients, mm")
    parser.add_argument("--keep", type=Path, help="folder to keep the rows of the pairs in, or to read them from")
    options = parser.parse_args()
    lines = ["# Two dates of one simulated patient\n"]
    if options.patients:
        lines += matched_lines(options.patients, options.spacing)
    with tempfile.TemporaryDirectory() as scratch:
        kept = options.keep or Path(scratch)
        if not (kept / "truth.tsv").is_file():
            truth = write_pairs(Path(scratch) / "cohort", 3.0)
            ipha.analyze(Path(scratch) / "cohort", kept / "out", workers=2)
            truth.to_csv(kept / "truth.tsv", sep="\t", index=False)
        read = read_pairs(
            pd.read_csv(kept / "out" / "measures.tsv", sep="\t", keep_default_na=False, na_values={"value": ["n/a"]}),
            pd.read_csv(kept / "truth.tsv", sep="\t", keep_default_na=False),
        )
    lines += ["\n## Changed or not: CT, T1w and T2w at 3 mm, each scan with a breath, place and noise of its own\n"]
    lines += verdict_table(read)
    text = "\n".join(lines) + "\n"
    print(text)
    wrong = read[(read["verdict"] == "changed") == (read["kind"] == "none")]
    print(wrong.explode("reasons").to_string(max_colwidth=160))
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
