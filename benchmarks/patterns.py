"""CT patterns on phantom patients: area under the curve of each finding's measure against the truth.

Run ``python benchmarks/patterns.py [PATIENTS]``. Patients are drawn over all phases, sizes, severities, voxel sizes,
kernels and noise levels; lungs are found, not given.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
PHASES = ("none", "acute", "subacute", "chronic", "edema")
FINDINGS = {
    "ground glass": ("ground_glass_extent", lambda truth: truth["ground_glass"] > 0.1),
    "consolidation": ("consolidation_extent", lambda truth: truth["consolidation"] > 0.02),
    "reticulation": ("reticulation", lambda truth: truth["septal"] > 0.1),
    "nodules of any size": ("nodules_per_litre", lambda truth: truth["nodules"] > 10),
    "nodules of 3 mm and more": ("nodules_per_litre", lambda truth: truth["large_nodules"] > 10),
    "patchy opacity (of those with opacity)": ("patchiness", lambda truth: truth["patchiness"] > 0.6),
}


def patient(number):
    import ipha_toolkit as ipha
    from ipha_toolkit.measure.nodules import detect_nodules, measure_nodules
    from ipha_toolkit.measure.texture import measure_texture
    from ipha_toolkit.regions.lungs import segment_lungs

    rng = np.random.default_rng([7, number])
    subject = ipha.simulate_subject(
        PHASES[number % len(PHASES)], seed=5000 + number, modalities=["ct"], spacing_mm=rng.uniform(1.2, 2.0),
        size=rng.uniform(0.6, 1.0), severity=rng.uniform(0.15, 0.95), kernel=rng.choice(["lung", "soft"]),
        ct_noise_hu=rng.uniform(15, 40),
    )  # fmt: skip
    ct, truth, state = subject.volumes["ct"], subject.truth["ct"], subject.disease
    lungs = segment_lungs(ct)
    rows = pd.concat(
        [measure_texture(ct, lungs).rows, measure_nodules(detect_nodules(ct, lungs), lungs, modality="ct")]
    )
    found = rows[rows["region"] == "lung"].set_index("measure")["value"]
    inside = truth.masks["lung"]
    real = {name: truth.masks[name].n_voxels / inside.n_voxels for name in ("ground_glass", "consolidation")}
    real |= {"septal": state.septal, "patchiness": state.patchiness, "phase": subject.phase}
    real["nodules"] = len(truth.nodules) / inside.volume_ml * 1000
    real["large_nodules"] = int((truth.nodules["diameter_mm"] >= 3).sum()) / inside.volume_ml * 1000
    return real, found


def area(values, yes):
    """Share of pairs in which the one with the finding has the higher value."""
    high, low = values[yes], values[~yes]
    if not len(high) or not len(low):
        return np.nan
    return float(np.mean([(a > b) + 0.5 * (a == b) for a in high for b in low]))


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    patients = [patient(number) for number in range(count)]
    lines = ["| finding | measure | patients with, without | area under the curve |", "| --- | --- | --- | --- |"]
    for name, (measure, is_true) in FINDINGS.items():
        pairs = [(found[measure], is_true(truth)) for truth, found in patients if np.isfinite(found[measure])]
        values, yes = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs], bool)
        lines.append(f"| {name} | {measure} | {yes.sum()}, {(~yes).sum()} | {area(values, yes):.3f} |")
    text = f"# CT patterns, {count} phantom patients\n\n" + "\n".join(lines) + "\n"
    print(text)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "patterns.md").write_text(text, "utf-8")
    measures = sorted({measure for measure, _ in FINDINGS.values()})
    for truth, found in patients:
        print({key: round(value, 2) if key != "phase" else value for key, value in truth.items()},
              found[measures].round(2).to_dict())  # fmt: skip


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
