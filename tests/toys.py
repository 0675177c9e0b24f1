"""Toy cohorts: boxes for lungs, written as files, small enough to see through."""

import json

import numpy as np

import ipha_toolkit as ipha
from ipha_toolkit.volume import Mask, Volume

AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
SHAPE = (40, 30, 34)


def toy_masks():
    """Two boxes of lung and two of paraspinal muscle, in RAS axes (right is high i)."""
    lungs, muscle = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    lungs[8:17, 9:22, 6:28] = lungs[23:32, 9:22, 6:28] = True
    muscle[13:18, 5:8, 6:28] = muscle[22:27, 5:8, 6:28] = True
    return Mask(lungs, AFFINE), Mask(muscle, AFFINE)


def toy_mr(modality="T1w", *, lung=20.0, muscle=80.0, seed=0):
    """Body of 100, muscle, lung, air; Rician noise of sigma 3."""
    lungs, reference = toy_masks()
    signal = np.zeros(SHAPE)
    signal[4:36, 4:26, 2:32] = 100
    signal[reference.array], signal[lungs.array] = muscle, lung
    noise = np.random.default_rng(seed).normal(0, 3, (2, *SHAPE))
    return Volume(np.hypot(signal + noise[0], noise[1]), AFFINE, modality=modality)


def toy_ct(*, lung=-850.0, seed=0):
    """Body of 40 HU, lung, air."""
    lungs, _ = toy_masks()
    values = np.full(SHAPE, -1000.0)
    values[4:36, 4:26, 2:32] = 40
    values[lungs.array] = lung
    return Volume(values + np.random.default_rng(seed).normal(0, 20, SHAPE), AFFINE, modality="ct", unit="HU")


def put_session(root, subject, session, images, *, masks=True):
    """Write the images of one session into a cohort folder, with lung and muscle masks as of another tool."""
    label = f"{subject}_{session}"
    for volume in images:
        folder = root / subject / session / ("ct" if volume.modality == "ct" else "anat")
        folder.mkdir(parents=True, exist_ok=True)
        ipha.save(volume, folder / f"{label}_{volume.modality}.nii.gz")
        if masks:
            made = root / "derivatives" / "hand" / subject / session
            made.mkdir(parents=True, exist_ok=True)
            for name, mask in zip(("lung", "muscle"), toy_masks(), strict=True):
                if name == "lung" or volume.modality != "ct":
                    ipha.save(mask, made / f"{label}_{volume.modality}_desc-{name}_mask.nii.gz")


def put_participants(root, groups):
    """Write participants.tsv from subject -> group."""
    lines = ["participant_id\tgroup\tage", *(f"{subject}\t{group}\t30" for subject, group in groups.items())]
    root.mkdir(parents=True, exist_ok=True)
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")


def put_echoes(root, subject, session, te_ms, r2star=200.0):
    """Write a multi-echo gradient-echo series that decays at one rate everywhere."""
    folder = root / subject / session / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    base = toy_mr("MEGRE", lung=300, muscle=800)
    for number, te in enumerate(te_ms, 1):
        path = folder / f"{subject}_{session}_echo-{number}_MEGRE.nii.gz"
        ipha.save(base.replace(array=base.array * np.exp(-te / 1000 * r2star)), path)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps({"EchoTime": te / 1000}))


def toy_cohort(root):
    """Two controls and a patient, T1w and CT each, masks as of another tool."""
    for seed, (subject, lung) in enumerate({"sub-c1": 20, "sub-c2": 22, "sub-p1": 50}.items()):
        put_session(root, subject, "ses-1", [toy_mr(lung=lung, seed=seed), toy_ct(lung=-870 + lung, seed=seed)])
    put_participants(root, {"sub-c1": "control", "sub-c2": "control", "sub-p1": "iph"})
    return root


def whole_box(volume):
    """A segmenter: the lungs of the toys."""
    return Mask(np.asarray(toy_masks()[0].array), AFFINE)


def break_file(path):
    """Cut an image short."""
    path.write_bytes(path.read_bytes()[:1000])
