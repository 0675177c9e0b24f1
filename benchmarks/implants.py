"""Disease implanted into real scans, and what the measures make of it; a picture of every implant beside its scan.

Run ``python benchmarks/implants.py``; scans are looked for in ``../shared/data`` beside the project. Writes
``benchmarks/results/implants.md`` and, with ``--picture FILE``, the picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
HEADER = (
    "| scan | implant | measure | scan as it is | with the implant | truth |\n| --- | --- | --- | --- | --- | --- |"
)


def scans():
    """Chest MRI of three people with their lung masks, CT of one lung with its own."""
    import ipha_toolkit as ipha
    from ipha_toolkit.io.images import load_mask
    from ipha_toolkit.volume import Mask

    for number in ("0004", "0006", "0007"):
        t1w = ipha.load(DATA / "mri_lung_uva" / f"{number}H1.nii.gz", modality="T1w")
        labels = ipha.load(DATA / "mri_lung_uva" / f"{number}Mask.nii.gz", modality="T1w")
        yield t1w, Mask(labels.array > 0, labels.affine)
    folder = DATA / "ct_lung_pair_elastix"
    yield ipha.load(folder / "3DCT_lung.mha", modality="ct"), load_mask(folder / "3DCT_lung_baseline_mask.mha")


def diseases(modality):
    from ipha_toolkit import Disease

    if modality == "T1w":
        return {
            "T1w gain 30 %": Disease(t1w_gain=0.3),
            "T1w gain 60 %": Disease(t1w_gain=0.6),
            "nodules 8-12 mm": Disease(nodules_per_litre=8, nodule_mm=(8, 12)),
        }
    return {
        "ground glass 20 %": Disease(blood=0.2),
        "ground glass 35 %, patchy": Disease(blood=0.35, patchiness=0.8),
        "nodules 4-8 mm": Disease(nodules_per_litre=25, nodule_mm=(4, 8)),
        "miliary nodules 4-6 mm": Disease(nodules_per_litre=25, nodule_mm=(4, 6), nodule_place="random"),
    }


def rows(volume, lungs, name, disease, seed=1):
    """Lines of the table for one implant, and the image with it."""
    import ipha_toolkit as ipha

    new, truth = ipha.implant(volume, lungs, disease, seed=seed)
    label = f"| {volume.name} | {name} |"
    if disease.nodules_per_litre:
        return [f"{label} {line}" for line in nodule_lines(volume, new, lungs, truth)], new, truth
    if volume.modality == "T1w":
        before, after = (lung_ratio(image, volume, lungs) for image in (volume, new))
        expected = before * (1 + disease.t1w_gain)
        return [f"{label} signal_ratio_median, 1 | {before:.3f} | {after:.3f} | {expected:.3f} |"], new, truth
    return [f"{label} {line}" for line in attenuation_lines(volume, new, lungs, truth)], new, truth


def lung_ratio(image, scan, lungs):
    """Lung to muscle, the muscle found in the scan as it is."""
    import ipha_toolkit as ipha
    from ipha_toolkit.image.bias import correct_bias
    from ipha_toolkit.regions.muscle import reference_tissue

    corrected = correct_bias(image, exclude=lungs)
    muscle = reference_tissue(correct_bias(scan, exclude=lungs), lungs)
    table = ipha.measure_t1(corrected, lungs, muscle)
    return float(table.query("region == 'lung' and measure == 'signal_ratio_median'").value.iloc[0])


def attenuation_lines(scan, new, lungs, truth):
    """Mean attenuation, the ground-glass share, and whether it lies where it was put."""
    import ipha_toolkit as ipha

    tables = [ipha.measure_attenuation(image, lungs).query("region == 'lung'") for image in (scan, new)]
    mean, glass = (
        [float(table.loc[table.measure == name, "value"].iloc[0]) for table in tables]
        for name in ("attenuation_mean", "ground_glass_fraction")
    )
    added = truth.maps["change"].array[lungs.array].mean()
    share = 100 * truth.masks["ground_glass"].n_voxels / lungs.n_voxels
    seen = lungs.array & (new.array > -750) & (scan.array < -750)
    inside = 100 * np.mean(truth.masks["ground_glass"].array[seen])
    return [
        f"attenuation_mean, HU | {mean[0]:.0f} | {mean[1]:.0f} | {mean[0] + added:.0f} |",
        f"ground_glass_fraction, % | {glass[0]:.1f} | {glass[1]:.1f} | {glass[0] + share:.1f} at most |",
        f"newly above -750 HU inside the true ground glass, % | | {inside:.0f} | 100 |",
    ]


def nodule_lines(scan, new, lungs, truth):
    """Place and size of what was put in, read from the difference of the two images at known places."""
    lines = [f"nodules implanted | 0 | {len(truth.nodules)} | {len(truth.nodules)} |"]
    change = new.array - scan.array
    places = np.c_[truth.nodules[["x_mm", "y_mm", "z_mm"]], np.ones(len(truth.nodules))]
    at = np.linalg.solve(new.affine, places.T)[:3].T
    spacing = np.array(new.spacing_mm)
    off, contrast = [], []
    for place in at:
        low = np.maximum(np.round(place - 8 / spacing).astype(int), 0)
        box = tuple(slice(a, b) for a, b in zip(low, np.round(place + 8 / spacing).astype(int) + 1, strict=True))
        weight = np.clip(change[box], 0, None) ** 2
        centre = [
            np.sum(weight * axis) / weight.sum() + a for axis, a in zip(np.indices(weight.shape), low, strict=True)
        ]
        off.append(np.linalg.norm((centre - place) * spacing))
        contrast.append(change[tuple(np.round(place).astype(int))] / scan.array[lungs.array].std())
    lines.append(f"distance of the centre of change from the truth, mm, median | | {np.median(off):.1f} | 0 |")
    lines.append(f"contrast, SD of the lung, median (least) | | {np.median(contrast):.1f} ({min(contrast):.1f}) | |")
    return lines


def picture(panels, file):
    """Scan and implant side by side through the fullest coronal and axial slices of the implant."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(panels), 4, figsize=(11, 3 * len(panels)), facecolor="black")
    for row, (scan, new, name) in zip(axes, panels, strict=True):
        low, high = (-1150, 150) if scan.modality == "ct" else (0, 0.6 * np.quantile(scan.array, 0.98))
        weight = np.abs(new.array - scan.array)
        j, k = int(weight.sum((0, 2)).argmax()), int(weight.sum((0, 1)).argmax())
        for ax, (image, cut, tall) in zip(
            row, [(v, c, t) for c, t in ((np.s_[:, j, :], 2), (np.s_[:, :, k], 1)) for v in (scan, new)], strict=True
        ):
            aspect = image.spacing_mm[tall] / image.spacing_mm[0]
            ax.imshow(image.array[cut].T, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
            ax.axis("off")
        row[0].set_title(name, color="white", loc="left", fontsize=9)
    figure.tight_layout(pad=0.3)
    figure.savefig(file, dpi=90)


def main():
    if not DATA.is_dir():
        sys.exit(f"the real scans are not there: {DATA}")
    lines, panels = [HEADER], []
    for volume, lungs in scans():
        for name, disease in diseases(volume.modality).items():
            found, new, _ = rows(volume, lungs, name, disease)
            lines += found
            panels.append((volume, new, f"{volume.name}: {name}"))
    text = "# Disease implanted into real scans\n\n" + "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks" / "results" / "implants.md").write_text(text, "utf-8")
    if "--picture" in sys.argv:
        picture(panels[3:6] + panels[9:], sys.argv[sys.argv.index("--picture") + 1])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
