"""Hemosiderin signature on simulated patients of wide variety: does it tell the chronic phase, and does it follow iron?

    python benchmarks/signature.py [patients a group, default 16] [voxel size in mm, default 3.5] [true-masks]

Severity, body size, signal-to-noise ratio, coil shading and breathing blur are drawn at random, wider than what the
measure was written on, with other seeds. Beside it, on the same images: T1w ratio alone, T2w ratio alone, and both
without the line (linear discriminant, each patient left out). Controls are each left out of their own line. Lungs and
muscle are found by the toolkit; with true-masks they are the simulation's, which leaves the errors of lung masks out.
"""

import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.image.bias import correct_bias
from ipha_toolkit.measure.hemosiderin import joint_histogram, ratio_pair, signature_reference, signature_rows

RESULT = Path(__file__).parent / "results" / "signature.md"
GROUPS = {"control": ("none", 1.0), "chronic": ("chronic", 1.0), "edema": ("edema", 0.5), "subacute": ("subacute", 0.5)}
SEED = 20_000


def draw(rng):
    """Wider than a cohort of one scanner would be."""
    return {
        "severity": rng.uniform(0.05, 1.0), "size": rng.choice([0.62, 0.75, 0.9, 1.0, 1.05]),
        "snr": np.exp(rng.uniform(np.log(20), np.log(110))), "shading": rng.uniform(0, 0.7),
        "motion_mm": rng.uniform(0, 2.5),
    }  # fmt: skip


def measured(subject, spare=None):
    """Ratios, joint histogram and floor of one patient; masks of the truth where given as spare."""
    t1w, t2w = subject.volumes["T1w"], subject.volumes["T2w"]
    lungs = spare.masks["lung"] if spare else ipha.segment_lungs(t1w)
    even = tuple(correct_bias(image, exclude=lungs) for image in (t1w, t2w))
    muscle = spare.masks["muscle"] if spare else ipha.reference_tissue(even[0], lungs)
    pair = ratio_pair(t1w, t2w, lungs, muscle, corrected=even)
    level = [float(np.median(v.array[lungs.array]) / np.median(v.array[muscle.array])) for v in even]
    return {"histogram": joint_histogram(pair, {"lung": lungs}, lungs), "floor": pair.floor, "level": level}


def strength(case, line):
    rows = signature_rows(case["histogram"], line, case["floor"])
    return next(row["value"] for row in rows if row["measure"] == "signature_strength")


def auc(ill, well):
    ranks = rankdata(np.concatenate([ill, well]))
    return (ranks[: len(ill)].sum() - len(ill) * (len(ill) + 1) / 2) / (len(ill) * len(well))


def discriminant(ill, well):
    """Scores of a linear discriminant on both log ratios, each patient left out of its own."""
    points = np.log(np.concatenate([ill, well]))
    label = np.repeat([1, 0], [len(ill), len(well)])
    scores = []
    for n in range(len(points)):
        keep = np.arange(len(points)) != n
        one, other = points[keep & (label == 1)], points[keep & (label == 0)]
        spread = np.cov(one.T) + np.cov(other.T)
        weight = np.linalg.solve(spread, one.mean(0) - other.mean(0))
        scores.append((points[n] - (one.mean(0) + other.mean(0)) / 2) @ weight)
    return np.array(scores[: len(ill)]), np.array(scores[len(ill) :])


def simulated(count, spacing_mm, true_masks):
    cases, rng, failed = [], np.random.default_rng(SEED), 0
    for group, (phase, share) in GROUPS.items():
        for n in range(round(count * share)):
            seed = SEED + 1000 * list(GROUPS).index(group) + n
            subject = ipha.simulate_subject(
                phase, seed=seed, spacing_mm=spacing_mm, modalities=["T1w", "T2w"], **draw(rng)
            )
            iron = float(np.nanmean(subject.truth["T1w"].maps["iron"].array))
            try:
                spare = subject.truth["T1w"] if true_masks else None
                cases.append({"group": group, "iron": iron} | measured(subject, spare))
            except ImageError as error:
                failed += 1
                print(f"{group} {n}: {error}")
    return cases, failed


def invariance(spacing_mm, line):
    """Strength of one chronic patient under other gain, shading and noise."""
    found = {}
    for name, scanner in {
        "reference: SNR 50, shading 0.3": {}, "SNR 25": {"snr": 25}, "SNR 100": {"snr": 100},
        "no shading": {"shading": 0.0}, "shading 0.6": {"shading": 0.6},
    }.items():  # fmt: skip
        settings = {"snr": 50, "shading": 0.3} | scanner
        subject = ipha.simulate_subject(
            "chronic", seed=SEED + 99, spacing_mm=spacing_mm, modalities=["T1w", "T2w"], **settings
        )
        found[name] = strength(measured(subject, subject.truth["T1w"]), line)
        if not scanner:
            subject.volumes.update({k: v.replace(array=7 * v.array) for k, v in subject.volumes.items()})
            found["gain 7"] = strength(measured(subject, subject.truth["T1w"]), line)
    return found


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    spacing_mm = float(sys.argv[2]) if len(sys.argv) > 2 else 3.5
    true_masks = "true-masks" in sys.argv
    start = time.perf_counter()
    cases, failed = simulated(count, spacing_mm, true_masks)
    controls = [case for case in cases if case["group"] == "control"]
    for case in cases:
        others = [control["histogram"] for control in controls if control is not case]
        case["strength"] = strength(case, signature_reference(others))
    of = {group: [case for case in cases if case["group"] == group] for group in GROUPS}
    masks = ", true masks" if true_masks else ""
    lines = [f"{len(cases)} patients at {spacing_mm:g} mm{masks}, {failed} failed; area under the curve of chronic", ""]
    lines += ["| by | against control | against edema |", "| --- | --- | --- |"]
    level = {group: np.array([case["level"] for case in part]) for group, part in of.items()}
    scores = {
        "T1w ratio alone, higher": lambda other: (level["chronic"][:, 0], level[other][:, 0]),
        "T2w ratio alone, lower": lambda other: (-level["chronic"][:, 1], -level[other][:, 1]),
        "both without the line": lambda other: discriminant(level["chronic"], level[other]),
        "signature strength": lambda other: tuple(np.array([c["strength"] for c in of[g]]) for g in ("chronic", other)),
    }
    for name, score in scores.items():
        lines.append(f"| {name} | {auc(*score('control')):.3f} | {auc(*score('edema')):.3f} |")
    ill = [case for case in cases if case["group"] in ("chronic", "subacute")]
    groups = {"patients and controls": cases, "chronic and subacute patients": ill, "chronic alone": of["chronic"]}
    for name, part in groups.items():
        rho = spearmanr([case["iron"] for case in part], [case["strength"] for case in part])[0]
        lines += ["", f"Spearman correlation of strength with mean true iron, {len(part)} {name}: {rho:.3f}"]
    found = invariance(spacing_mm, signature_reference([case["histogram"] for case in controls]))
    lines += ["", "| one chronic patient | strength (SD) |", "| --- | --- |"]
    lines += [f"| {name} | {value:.2f} |" for name, value in found.items()]
    lines += ["", f"{time.perf_counter() - start:.0f} s"]
    text = "\n".join(lines) + "\n"
    RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
