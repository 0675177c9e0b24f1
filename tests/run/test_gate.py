"""What an audit saw go wrong, end to end: healthy lungs that the images cannot judge are withheld, in words."""

import numpy as np
import pandas as pd
import pytest
from toys import put_session, toy_ct, toy_mr

from ipha_toolkit.run.cohort import run

GRE = {"EchoTime": 0.0013, "RepetitionTime": 0.004, "FlipAngle": 10, "MagneticFieldStrength": 1.5}
TSE = {"EchoTime": 0.08, "RepetitionTime": 2.0, "MagneticFieldStrength": 1.5}


def with_ghosts(array, rng):
    """Twelve hundredths of the image, shifted by half along the phase direction."""
    return np.abs(array + 0.12 * np.roll(array, 15, axis=1))


def with_uneven_noise(array, rng):
    """As of parallel imaging: from sigma 0 on the left to 10 on the right, above that of the image."""
    sigma = np.linspace(0, 10, array.shape[0])[:, None, None]
    return np.hypot(array + sigma * rng.normal(0, 1, array.shape), sigma * rng.normal(0, 1, array.shape))


def emptied(array, rng):
    """Dark signal set to zero, that of the lungs as well."""
    return np.where(array < 55, 0, array)


def pair(seed, *, lung=40.0, t1w=(), t2w=(), spoiled=None):
    """T1w and T2w of a healthy lung, with sidecars."""
    levels = {"T1w": lung, "T2w": 1.2 * lung}
    facts = {"T1w": GRE | dict(t1w), "T2w": TSE | dict(t2w)}
    found = []
    for n, (role, level) in enumerate(levels.items()):
        volume = toy_mr(role, lung=level, seed=10 * seed + n)
        spoil = spoiled or (lambda array, rng: array)
        array = np.asarray(spoil(volume.array, np.random.default_rng(seed + n)), np.float32)
        found.append(volume.replace(array=array, meta=facts[role]))
    return found


CASES = {
    "sub-plain": {},
    "sub-contrast": {"lung": 60.0, "t1w": {"ContrastBolusIngredient": "GADOLINIUM"}},
    "sub-three": {"lung": 55.0, "t1w": {"MagneticFieldStrength": 3.0}, "t2w": {"MagneticFieldStrength": 3.0}},
    "sub-child": {"lung": 60.0},
    "sub-iron": {},
    "sub-ghosts": {"spoiled": with_ghosts},
    "sub-uneven": {"spoiled": with_uneven_noise},
    "sub-emptied": {"spoiled": emptied},
}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    root, lines = folder / "cohort", ["participant_id\tgroup\tage"]
    for n in range(6):
        put_session(root, f"sub-c{n}", "ses-1", pair(n, lung=38.0 + 1.2 * n))
        lines.append(f"sub-c{n}\tcontrol\t{30 + n}")
    for n, (name, case) in enumerate(CASES.items(), 20):
        images = pair(n, **case)
        if name == "sub-iron":
            images[1] = toy_mr("T2w", lung=12, seed=77).replace(meta=TSE)
        put_session(root, name, "ses-1", images)
        lines.append(f"{name}\tiph\t{8 if name == 'sub-child' else 30}")
    empty = root / "sub-emptylungs" / "ses-1" / "ct"
    put_session(root, "sub-emptylungs", "ses-1", [toy_ct(lung=-650)])
    (empty / "sub-emptylungs_ses-1_ct.nii.gz").rename(empty / "sub-emptylungs_ses-1_acq-expiration_ct.nii.gz")
    lines.append("sub-emptylungs\tiph\t30")
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return run(root, folder / "out", progress=False)


@pytest.fixture
def readings(analysis):
    return analysis.readings.set_index("subject")


def test_what_the_controls_match_is_read(readings):
    assert readings.loc["sub-plain", ["phase", "verdict"]].tolist()[0] == "none"
    assert readings.loc["sub-iron", "phase"] == "chronic"


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("sub-contrast", "no control of a matching sequence"),
        ("sub-three", "no control of a matching sequence"),
        ("sub-child", "lungs dry as they grow"),
        ("sub-ghosts", "noise lifts dark lung by another amount"),  # too coarse to tell ghosts from uneven noise
        ("sub-uneven", "noise lifts dark lung by another amount"),
        ("sub-emptied", "the lung's dark signal was set to zero"),
        ("sub-emptylungs", "empty lung is dense"),
    ],
)
def test_healthy_lungs_that_cannot_be_judged_are_withheld_with_the_reason(readings, subject, words):
    reading = readings.loc[subject]
    assert (reading["phase"], reading["verdict"]) == ("withheld", "withheld")
    assert words in reading["reasons"]
    assert reading["flags"]


def test_controls_left_out_are_named_with_what_differs(readings):
    assert "sub-c0, sub-c1" in readings.loc["sub-three", "limits"]
    assert "field 1.5 T, not 3 T" in readings.loc["sub-three", "limits"]
    assert "contrast agent no, not yes" in readings.loc["sub-contrast", "limits"]


def test_without_matching_controls_there_are_ratios_and_no_strength(analysis):
    own = analysis.rows[(analysis.rows["subject"] == "sub-three") & (analysis.rows["modality"] == "T1w+T2w")]
    assert set(own["measure"]) == {"signature_floor", "t2w_over_t1w"}
    assert not analysis.rows.query("subject == 'sub-three'")["measure"].str.endswith("_vs_controls").any()


def test_tables_carry_verdicts_flags_and_how_images_were_made(analysis):
    findings = pd.read_csv(analysis.out / "findings.tsv", sep="\t")
    stopped = findings[(findings["subject"] == "sub-child") & (findings["verdict"] == "withheld")]
    assert {"t1w_signal_gain", "hemosiderin_signature"} <= set(stopped["finding"])
    assert stopped["grade_name"].eq("withheld").all() and stopped["grade"].isna().all()
    made = pd.read_csv(analysis.out / "acquisitions.tsv", sep="\t").set_index(["subject", "modality"])
    assert made.loc[("sub-three", "T1w"), "field_t"] == 3.0


def test_four_healthy_people_without_controls_are_withheld(tmp_path):
    for n in range(4):
        put_session(tmp_path / "in", f"sub-{n}", "ses-1", pair(40 + n))
    readings = run(tmp_path / "in", tmp_path / "out", progress=False).readings
    assert set(readings["phase"]) == {"withheld"}
    assert readings["reasons"].str.contains("no controls, which").all()
