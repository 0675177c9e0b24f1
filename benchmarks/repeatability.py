"""Test-retest pairs on the phantom: how much every measure scatters between two scans of an unchanged lung.

Run ``python benchmarks/repeatability.py``; writes the table that comes with the package,
``ipha_toolkit/tables/repeatability.tsv``. Each patient is scanned twice: noise, coil, place on the table and
breathing blur differ, and so does the depth of breath, by an SD of 4 % of lung volume (chosen: breath-holds at full
inspiration that are coached, not gated); what is in the lung does not. One breath serves all images of a session.
``--only dx`` makes the rows of radiographs anew and keeps the others as they are; ``--only ct --measure reticulation``
those of one measure.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "ipha_toolkit" / "tables" / "repeatability.tsv"
PHASES = ("none", "acute", "none", "subacute", "none", "chronic", "none", "chronic") * 4
BREATH_SD = 0.04


def scan_twice(root: Path, number: int, phase: str, spacing_mm: float, *, only: str | None = None) -> None:
    """Write the two sessions of one patient into a cohort folder, all images or those of one modality."""
    import ipha_toolkit as ipha
    from ipha_toolkit.phantom.disease import disease_of_phase

    rng = np.random.default_rng([number, 41])
    disease = disease_of_phase(phase, float(rng.uniform(0.2, 0.9)), rng)
    for visit in ("test", "retest"):
        place = root / f"sub-{number:02d}" / f"ses-{visit}"
        subject = ipha.simulate_subject(
            phase,
            seed=900 + number,
            disease=disease,
            spacing_mm=spacing_mm,
            size="child" if number % 3 == 2 else "adult",
            field_strength_t=3.0 if number % 2 else 1.5,
            scan_seed=int(rng.integers(2**31)),
            breath=float(rng.normal(0, BREATH_SD)),
            motion_mm=float(rng.uniform(0.5, 2.0)),
            shift_mm=tuple(rng.uniform(-spacing_mm, spacing_mm, 3)),
            **({"modalities": [only]} if only else {}),
        )
        for name, volume in subject.volumes.items():
            folder = place / {"ct": "ct", "dx": "xray"}.get(name, "anat")
            folder.mkdir(parents=True, exist_ok=True)
            ipha.save(volume, folder / f"sub-{number:02d}_ses-{visit}_{name}.nii.gz")


def with_the_others(found: pd.DataFrame, modality: str, measure: str | None = None) -> pd.DataFrame:
    """The table as it stands, with the rows of one modality, or one measure of it, in the place of its old ones."""
    old = pd.read_csv(TABLE, sep="\t", comment="#")
    if measure:
        mine, theirs = ((rows["modality"] == modality) & (rows["measure"] == measure) for rows in (found, old))
        place = int(np.flatnonzero(theirs)[0]) if theirs.any() else len(old)
        before, after = (part[~theirs[part.index]] for part in (old[:place], old[place:]))
        return pd.concat([before, found[mine], after], ignore_index=True)
    first = first_row(old, modality)
    before, after = (part[part["modality"] != modality] for part in (old[:first], old[first:]))
    return pd.concat([before, found[found["modality"] == modality], after], ignore_index=True)


def first_row(rows: pd.DataFrame, modality: str) -> int:
    """Place of a modality's first row, or the end."""
    places = np.flatnonzero(rows["modality"] == modality)
    return int(places[0]) if places.size else len(rows)


def main() -> None:
    import ipha_toolkit as ipha
    from ipha_toolkit.compare.change import repeatability

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=len(PHASES))
    parser.add_argument("--spacing", type=float, default=3.0, help="voxel size, mm")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="one modality, whose rows take the place of its old ones in the table")
    parser.add_argument("--measure", help="with --only: one measure, whose rows alone are taken over")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, people = Path(folder) / "cohort", ["participant_id\tgroup"]
        for number in tqdm(range(options.patients), desc="Scanning twice", unit="patient"):
            phase = PHASES[number % len(PHASES)]
            scan_twice(root, number, phase, options.spacing, only=options.only)
            people.append(f"sub-{number:02d}\t{'control' if phase == 'none' else 'iph'}")
        (root / "participants.tsv").write_text("\n".join(people) + "\n", "utf-8")
        rows = ipha.analyze(root, Path(folder) / "out", workers=options.workers)
    rows = rows[~rows["measure"].str.endswith("_vs_controls")]
    test, retest = (rows[rows["session"] == f"ses-{visit}"] for visit in ("test", "retest"))
    found = repeatability(test, retest)
    if options.only:
        found = with_the_others(found, options.only, options.measure)
    header = (
        f"# {options.patients} phantom patients scanned twice at {options.spacing:g} mm, breath differing by an SD of "
        f"{100 * BREATH_SD:g} % each, benchmarks/repeatability.py\n"
    )
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(header + found.to_csv(sep="\t", index=False, float_format="%.4g"), "utf-8")
    print(found[found["region"] == "lung"].to_string(index=False))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
