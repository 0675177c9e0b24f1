"""Measured against true in simulated patients: bias, limits of agreement, order of severity, Dice of the lung masks.

Run ``python benchmarks/recovery.py [--workers N]``: 24 patients of four diseases at three severities, half of them
children, eight controls, and two more with consolidation against the pleura; T1w, T2w and CT at 3 mm. The truth comes
from :mod:`ipha_toolkit.run.recovery`, which shares no code with the measures.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

RESULT = Path(__file__).parent / "results" / "recovery.md"
SPACING_MM = 3.0
DISEASES = ("acute", "subacute", "chronic", "edema")
SEVERITIES = (0.2, 0.5, 0.8)
SIZES = {"child": 0.72, "adult": 1.0}
TARGETS = {("ct", "healthy"): 0.97, ("T1w", "healthy"): 0.95, ("T2w", "healthy"): 0.95, ("ct", "consolidation"): 0.95}
RISING = {
    "acute": (("T1w", "signal_ratio_median"), ("T1w", "hyperintense_fraction"), ("ct", "attenuation_mean"),
              ("ct", "ground_glass_fraction")),
    "subacute": (("T1w", "signal_ratio_median"), ("T1w", "hyperintense_fraction"), ("ct", "ground_glass_fraction")),
    "chronic": (("T2w", "hypointense_fraction"), ("ct", "attenuation_mean")),
    "edema": (("T1w", "signal_ratio_median"), ("T2w", "signal_ratio_median"), ("ct", "ground_glass_fraction")),
}  # fmt: skip


def patients():
    """Name, size, phase, severity, and whether the air space is consolidated up to the pleura."""
    for size in SIZES:
        yield from ((f"sub-{size}C{n}", size, "none", 0.0, False) for n in range(4))
        for disease in DISEASES:
            yield from ((f"sub-{size}{disease}{int(10 * s)}", size, disease, s, False) for s in SEVERITIES)
        yield f"sub-{size}consolidation", size, "acute", 0.8, True


def examine(number, patient):
    """One patient: what was measured, what is true, Dice by modality, seconds of CPU."""
    from ipha_toolkit.demo import truth as recovery
    from ipha_toolkit.phantom.disease import Disease
    from ipha_toolkit.phantom.subject import simulate_subject

    name, size, phase, severity, consolidated = patient
    seed = 500 + number if phase == "none" else {"child": 900, "adult": 901}[size]  # severities share their patient
    settings = {"seed": seed, "spacing_mm": SPACING_MM, "size": SIZES[size], "severity": severity, "scan_seed": number,
                "modalities": ["ct"] if consolidated else ["T1w", "T2w", "ct"]}  # fmt: skip
    if consolidated:
        settings["disease"] = Disease(blood=1.0, patchiness=0.85)
    subject = simulate_subject(phase, **settings)
    clean = simulate_subject(phase, **settings, snr=1e9, shading=0, motion_mm=0, ct_noise_hu=0, kernel="soft")
    names = (name, "ses-01")
    true = recovery.true_session_of(names, "control" if phase == "none" else "iph", subject, clean)
    start = time.process_time()
    rows, histograms, overlap = measure(subject, names, true)
    return rows, histograms, true, overlap, time.process_time() - start


def measure(subject, names, true):
    from ipha_toolkit.compare.controls import SessionHistogram
    from ipha_toolkit.demo.truth import dice
    from ipha_toolkit.image.bias import correct_bias
    from ipha_toolkit.measure.attenuation import measure_attenuation
    from ipha_toolkit.measure.signal import measure_signal
    from ipha_toolkit.regions.lungs import segment_lungs
    from ipha_toolkit.regions.muscle import reference_tissue

    frames, histograms, overlap = [], [], {}
    for modality, volume in subject.volumes.items():
        if modality != "T2w":  # on the grid of T1w, whose lungs and muscle a session takes for both
            lungs = segment_lungs(volume)
        overlap[modality] = dice(lungs, true.lungs[modality])
        if modality == "ct":
            frames.append(measure_attenuation(volume, lungs))
            continue
        corrected = correct_bias(volume, exclude=lungs)
        if modality != "T2w":
            reference = reference_tissue(corrected, lungs)
        found = measure_signal(volume, lungs, reference, corrected=corrected)
        frames.append(found.rows)
        histograms.append(SessionHistogram(*names, modality, found.histogram))
    rows = pd.concat(frames, ignore_index=True).assign(subject=names[0], session=names[1])
    return rows, histograms, overlap


def compared(results):
    """Measured beside true, children and adults each against their own controls."""
    from ipha_toolkit.compare.controls import against_controls
    from ipha_toolkit.demo import truth as recovery

    pairs = []
    for size in SIZES:
        mine = [r for r in results if r[2].subject.startswith(f"sub-{size}") and "consolidation" not in r[2].subject]
        rows = pd.concat([r[0] for r in mine], ignore_index=True)
        controls = [r[2].subject for r in mine if r[2].group == "control"]
        more, _ = against_controls(rows, [h for r in mine for h in r[1]], controls)
        pairs.append(recovery.pair(pd.concat([rows, more]), recovery.true_table([r[2] for r in mine])))
    return pd.concat(pairs, ignore_index=True)


def order(pairs):
    """Of each disease and size, whether a measure rises with severity, measured and true."""
    lines = []
    for disease, measures in RISING.items():
        for modality, name in measures:
            own = pairs[(pairs["phase"] == disease) & (pairs["modality"] == modality) & (pairs["measure"] == name)
                        & (pairs["kind"] == "definition")].sort_values("subject")  # fmt: skip
            cells = []
            for size in SIZES:
                part = own[own["subject"].str.startswith(f"sub-{size}")]
                values, truth = part["measured"].to_numpy(), part["true"].to_numpy()
                verdict = "rises" if (np.diff(values) > 0).all() else "**does not rise**"
                truly = "" if (np.diff(truth) > 0).all() else " (nor does the truth)"
                cells.append(f"{verdict}{truly}: " + ", ".join(f"{v:.3g}" for v in values))
            lines.append(f"| {disease} | {modality} | {name} | " + " | ".join(cells) + " |")
    return lines


def state(true):
    if "consolidation" in true.subject:
        return "consolidation"
    return "healthy" if true.phase == "none" else true.phase


def overlaps(results):
    found = pd.DataFrame(
        [(modality, state(r[2]), value) for r in results for modality, value in r[3].items()],
        columns=["modality", "phase", "dice"],
    )  # fmt: skip
    for (modality, phase), group in found.groupby(["modality", "phase"], sort=False):
        target = TARGETS.get((modality, phase))
        low = group["dice"].min()
        said = "" if target is None else f"{target} " + ("met" if low >= target else "**missed**")
        yield f"| {modality} | {phase} | {len(group)} | {group['dice'].mean():.3f} | {low:.3f} | {said} |"


def main():
    from ipha_toolkit.demo.truth import agreement

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    people = list(patients())
    with ProcessPoolExecutor(parser.parse_args().workers, get_context("spawn")) as pool:
        results = list(pool.map(examine, range(len(people)), people))
    pairs = compared(results)
    healthy = sum(r[2].phase == "none" for r in results)
    lines = [
        "# Recovery", "",
        f"{len(results) - healthy} patients and {healthy} controls at {SPACING_MM:g} mm; "
        f"{np.mean([r[4] for r in results]):.1f} s of CPU a patient to measure.", "",
        "## Bias and limits of agreement", "",
        "Measured minus true. `definition`: the measure's own definition on true lungs without noise. `disease`: share "
        "of lung whose air space is filled to 12 to 75 % (ground glass) or more (consolidation).", "",
        "| image | measure | truth | n | missing | bias | limits of agreement | rank correlation | unit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(f"| {r.modality} | {r.measure} | {r.kind} | {r.n} | {r.missing} | {r.bias:+.3g} | {r.low:+.3g} to "
          f"{r.high:+.3g} | {r.rank:.2f} | {r.unit} |" for r in agreement(pairs).itertuples()), "",
        "## Order of severity", "", "Measured at severity 0.2, 0.5, 0.8 in one child and one adult.", "",
        "| disease | image | measure | child | adult |", "| --- | --- | --- | --- | --- |", *order(pairs), "",
        "## Lung masks", "", "| image | phase | n | Dice, mean | lowest | to hold |",
        "| --- | --- | --- | --- | --- | --- |", *overlaps(results), "",
    ]  # fmt: skip
    text = "\n".join(lines)
    print(text)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
