import numpy as np
import pytest

from ipha_toolkit.io.acquisition import acquisition_of, unbelieved
from ipha_toolkit.volume import Volume


def image(modality, spacing=(2.0, 2.0, 2.0), name="sub-1_x", **meta):
    return Volume(np.ones((4, 4, 4), np.float32), np.diag([*spacing, 1.0]), modality=modality, name=name, meta=meta)


def test_times_are_in_ms_and_what_nobody_says_is_left_out():
    found = acquisition_of(image("T1w", EchoTime=0.0014, RepetitionTime=0.004, FlipAngle=10, MagneticFieldStrength=3))
    assert found == {
        "te_ms": 1.4, "tr_ms": 4.0, "flip_deg": 10.0, "field_t": 3.0, "contrast": "no", "plane": "3-D",
        "thickness_mm": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize("value", ["4.6 ms", 4.6, float("nan"), float("inf"), 1e300, -1, 0, True, [], {}])
def test_a_number_of_another_unit_or_none_is_not_believed_and_said(value):
    given = image("T1w", EchoTime=value, FlipAngle=10)
    assert "te_ms" not in acquisition_of(given) and acquisition_of(given)["flip_deg"] == 10
    assert len(unbelieved(given)) == 1 and "EchoTime = " in unbelieved(given)[0] and "up to 2 s" in unbelieved(given)[0]


def test_facts_that_are_given_well_or_not_at_all_are_no_remark():
    assert unbelieved(image("T1w", EchoTime=0.0014, RepetitionTime=None)) == []


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1.5, 1.5, 6), "axial"), ((1.5, 8, 1.5), "coronal"), ((5, 1, 1), "sagittal"), ((2, 2, 3), "3-D")],
)
def test_the_plane_is_across_the_longest_side_of_a_voxel(spacing, plane):
    assert acquisition_of(image("T2w", spacing))["plane"] == plane


@pytest.mark.parametrize(
    ("name", "meta", "told"),
    [
        ("sub-1_acq-vibefs_T1w.nii.gz", {}, "yes"),
        ("sub-1_T1w.nii.gz", {"ScanOptions": ["PFP", "FS"]}, "yes"),
        ("sub-1_T1w.nii.gz", {"ScanOptions": "PFP"}, "no"),
        ("sub-1_T1w.nii.gz", {"FatSuppression": True}, "yes"),
        ("sub-1_T1w.nii.gz", {}, None),
    ],
)
def test_fat_suppression_is_said_by_options_or_label(name, meta, told):
    assert acquisition_of(image("T1w", name=name, **meta)).get("fat_suppressed") == told


def test_ct_has_kernel_voltage_and_breath():
    found = acquisition_of(image("ct", name="sub-1_acq-exp_ct.nii.gz", ConvolutionKernel="B70f", KVP=120))
    assert (found["kernel"], found["kvp"], found["breath"]) == ("lung", 120.0, "expiration")
    assert acquisition_of(image("T1w", ContrastBolusIngredient="GADOLINIUM"))["contrast"] == "yes"
