"""Phases read on simulated patients against the truth: confusion matrices with CT, with MRI and with both.

Run ``python benchmarks/phases.py`` (24 patients and 8 controls) or with ``--patients 96`` for the longer run. Patients
are drawn from wider parameters than a typical phase: severity 0.15 to 1, adults and children, 1.5 and 3 T, voxels of
2.5 to 4 mm, noise, shading and motion. ``--keep FILE`` saves the rows, ``--rows FILE`` reads saved ones anew with the
rules as they are now.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "phases.md"
PHASES = ("acute", "subacute", "chronic")
CASES = {
    "CT and MRI": ("ct", "T1w", "T2w", "T1w+T2w"),
    "CT alone": ("ct",),
    "MRI alone": ("T1w", "T2w", "T1w+T2w"),
    "radiograph": ("dx",),
}


def draw(number: int, phase: str, seed: int) -> dict:
    """Parameters of one patient."""
    rng = np.random.default_rng([seed, number, 77])
    child = bool(rng.random() < 0.5)
    return {
        "phase": phase,
        "seed": 20_000 + 1000 * seed + number,
        "severity": float(rng.uniform(0.15, 1.0)),
        "size": float(rng.uniform(0.6, 0.8) if child else rng.uniform(0.92, 1.05)),
        "spacing_mm": float(rng.choice([2.5, 3.0, 3.5, 4.0])),
        "field_strength_t": float(rng.choice([1.5, 3.0])),
        "snr": float(rng.uniform(25, 70)),
        "shading": float(rng.uniform(0, 0.5)),
        "motion_mm": float(rng.uniform(0, 2.5)),
        "ct_noise_hu": float(rng.uniform(12, 40)),
        "shift_mm": tuple(rng.uniform(-8, 8, 3)),
    }


def write_cohort(root: Path, patients: int, controls: int, seed: int) -> dict[str, str]:
    """A cohort folder of drawn patients and controls; returns the true phase by subject."""
    import ipha_toolkit as ipha

    jobs = ["none"] * controls + [("none", *PHASES)[n % 4] for n in range(patients)]
    people, truth = ["participant_id\tgroup\tage"], {}
    for number, phase in enumerate(tqdm(jobs, desc="Simulating", unit="patient")):
        drawn = draw(number, phase, seed)
        name = f"sub-{number:03d}"
        subject = ipha.simulate_subject(**drawn, modalities=["T1w", "T2w", "ct", "dx"])
        for key, volume in subject.volumes.items():
            folder = root / name / "ses-1" / {"ct": "ct", "dx": "xray"}.get(key, "anat")
            folder.mkdir(parents=True, exist_ok=True)
            ipha.save(volume, folder / f"{name}_ses-1_{key}.nii.gz")
        people.append(f"{name}\t{'control' if number < controls else 'patient'}\t{30 if drawn['size'] > 0.9 else 8}")
        truth[name] = phase
    (root / "participants.tsv").write_text("\n".join(people) + "\n", "utf-8")
    return {name: phase for name, phase in truth.items() if int(name[4:]) >= controls}


def confusion(rows: pd.DataFrame, truth: dict[str, str], modalities: tuple[str, ...]) -> tuple[pd.DataFrame, float]:
    """True phase by read phase, and the share that is right."""
    from ipha_toolkit.compare.phases import read_sessions

    readings, _ = read_sessions(rows[rows["modality"].isin(modalities) & rows["subject"].isin(truth)])
    true = readings["subject"].map(truth)
    table = pd.crosstab(true.rename("truth"), readings["phase"].rename("read"))
    order = ["none", *PHASES, "indeterminate"]
    return table.reindex(index=order[:4], columns=order, fill_value=0), float((true == readings["phase"]).mean())


def report(rows: pd.DataFrame, truth: dict[str, str]) -> str:
    lines = [f"# Phases on {len(truth)} simulated patients\n"]
    for name, modalities in CASES.items():
        table, right = confusion(rows, truth, modalities)
        lines += [f"## {name}: {100 * right:.0f} % right\n", "| truth | " + " | ".join(table.columns) + " |"]
        lines += ["| --- " * (len(table.columns) + 1) + "|"]
        lines += [
            f"| {phase} | " + " | ".join(map(str, row)) + " |"
            for phase, row in zip(table.index, table.to_numpy(), strict=True)
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    import ipha_toolkit as ipha

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--controls", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()
    if options.rows:
        rows = pd.read_pickle(options.rows)
        truth = rows.attrs["truth"]
    else:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "cohort"
            truth = write_cohort(root, options.patients, options.controls, options.seed)
            rows = ipha.analyze(root, Path(folder) / "out", workers=options.workers)
        if options.keep:
            rows.attrs["truth"] = truth
            rows.to_pickle(options.keep)
    text = report(rows, truth)
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
