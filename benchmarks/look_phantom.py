"""One picture: the simulated patient in every phase beside real scans, for the eye of a radiologist.

Run ``python benchmarks/look_phantom.py FILE [--small] [--seed N]``; real scans are looked for in ``../shared/data``
beside the project and left out where they are not there. ``--small`` makes the picture of the README, without them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
COLUMNS = ("T1w, coronal", "T2w, coronal", "T1w, axial", "CT, axial", "CT, coronal", "radiograph")


def real_row():
    """A chest MRI (twice), the same axial, a whole chest CT axial, one lung coronal, a radiograph."""
    import ipha_toolkit as ipha

    mri, other = (ipha.load(DATA / "mri_lung_uva" / f"{n}H1.nii.gz", modality="T1w") for n in ("0006", "0007"))
    chest = ipha.load(DATA / "ct_pyradiomics_lung1" / "lung1_image.nrrd", modality="ct")
    lung = ipha.load(DATA / "ct_lung_pair_elastix" / "3DCT_lung.mha", modality="ct")
    film = plt.imread(DATA / "cxr_jsrt_masks" / "1.jpg")
    film = film if film.ndim == 2 else film[..., 0]
    high = 0.75 * np.quantile(mri.array, 0.98)
    return [
        coronal(mri, (0, high)), coronal(other, (0, high), 0.42), axial(mri, (0, high), 0.62),
        axial(chest, (-1150, 250)), coronal(lung, (-1150, 250)), (film, {"cmap": "gray"}),
    ]  # fmt: skip


def simulated_row(phase, seed):
    import ipha_toolkit as ipha

    spacing = {"T1w": 2.0, "T2w": 2.0, "ct": 2.0, "dx": (1.5, 3.0, 1.5)}
    subject = ipha.simulate_subject(phase, seed=seed, spacing_mm=spacing, modalities=tuple(spacing))
    volumes = subject.volumes
    levels = {}
    for name, times in (("T1w", 2.8), ("T2w", 4.0)):
        muscle = volumes[name].array[subject.truth[name].masks["muscle"].array]
        levels[name] = (0, times * np.median(muscle))
    film = volumes["dx"].array[::-1, ::-1, 0].T
    return [
        coronal(volumes["T1w"], levels["T1w"], 0.6), coronal(volumes["T2w"], levels["T2w"], 0.6),
        axial(volumes["T1w"], levels["T1w"]), axial(volumes["ct"], (-1150, 250)), coronal(volumes["ct"], (-1150, 250)),
        (film, {"cmap": "gray", "vmin": 0, "vmax": np.quantile(film, 0.995)}),
    ]  # fmt: skip


def coronal(volume, window, at=0.5):
    """As the radiologist sees it: the patient's right on the left, head up."""
    cut = volume.array[::-1, int(at * volume.array.shape[1]), ::-1].T
    return cut, shown(window, volume.spacing_mm[2] / volume.spacing_mm[0])


def axial(volume, window, at=0.5):
    cut = volume.array[::-1, ::-1, int(at * volume.array.shape[2])].T
    return cut, shown(window, volume.spacing_mm[1] / volume.spacing_mm[0])


def shown(window, aspect):
    return {"cmap": "gray", "vmin": window[0], "vmax": window[1], "aspect": aspect}


def draw(rows, file, *, inches, dpi):
    figure, axes = plt.subplots(
        len(rows), len(COLUMNS), figsize=(inches * len(COLUMNS), inches * len(rows)), facecolor="black", squeeze=False
    )
    for row, (label, panels) in zip(axes, rows, strict=True):
        for ax, (image, options) in zip(row, panels, strict=True):
            ax.imshow(image, interpolation="bilinear", **options)
            ax.axis("off")
        row[0].text(0.02, 0.97, label, color="white", fontsize=7 * inches / 2, transform=row[0].transAxes, va="top")
    for ax, title in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(title, color="white", fontsize=7 * inches / 2)
    figure.tight_layout(pad=0.2)
    figure.savefig(file, dpi=dpi, facecolor="black")


def main():
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else sys.exit(__doc__)
    small = "--small" in sys.argv
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 3
    rows = [("real", real_row())] if DATA.is_dir() and not small else []
    phases = ("none", "acute", "subacute", "chronic") if small else ("none", "acute", "subacute", "chronic", "edema")
    rows += [(phase, simulated_row(phase, seed)) for phase in phases]
    draw(rows, file, inches=1.5 if small else 3, dpi=75)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
