"""`ipha analyze` on real scans, laid out as a cohort folder."""

import shutil
from pathlib import Path

import pytest

from ipha_toolkit.run.cohort import run

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not on this machine")

SCANS = {
    "sub-0004": "mri_lung_uva/0004H1.nii.gz",
    "sub-0005": "mri_lung_uva/0005Proton.nii.gz",
    "sub-0006": "mri_lung_uva/0006H1.nii.gz",
    "sub-0007": "mri_lung_uva/0007H1.nii.gz",
    "sub-lung1": "ct_pyradiomics_lung1/lung1_image.nrrd",
    "sub-ibsi1": "ct_ibsi1_phantom/phantom.nii.gz",
}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    for subject, source in SCANS.items():
        kind, role = ("ct", "ct") if source.startswith("ct") else ("anat", "T1w")
        target = folder / "cohort" / subject / "ses-01" / kind
        target.mkdir(parents=True)
        ending = "".join(Path(source).suffixes)
        shutil.copy(DATA / source, target / f"{subject}_ses-01_{role}{ending}")
    return run(folder / "cohort", folder / "out", progress=False)


def values(analysis, measure, region="lung"):
    rows = analysis.rows
    return rows[(rows["measure"] == measure) & (rows["region"] == region)].set_index("subject")["value"]


def test_every_scan_is_measured(analysis):
    assert analysis.failures == []
    assert set(analysis.rows["subject"]) == set(SCANS)


def test_mri_ratios_are_those_of_dark_lungs_against_muscle(analysis):
    ratios = values(analysis, "signal_ratio_median")
    assert ratios.between(0.05, 0.25).all(), ratios  # lung 7 to 10, muscle about 80
    levels = values(analysis, "reference_level")
    assert levels.between(50, 120).all(), levels


def test_coarse_backgrounds_give_no_noise_figure(analysis):
    assert values(analysis, "noise_sigma").isna().all()


def test_ct_rows_are_plausible(analysis):
    assert -900 < values(analysis, "attenuation_mean")["sub-lung1"] < -650
    volumes = values(analysis, "lung_volume")
    assert 2000 < volumes["sub-lung1"] < 9000


def test_the_crop_with_one_lung_is_flagged(analysis):
    rows = analysis.rows
    flags = rows.loc[(rows["subject"] == "sub-ibsi1") & (rows["region"] == "lung"), "flag"]
    assert flags.str.contains("one_lung").all()


def test_what_a_ct_mask_perhaps_lacks_is_told_in_millilitres(analysis):
    lacks = values(analysis, "lung_missing_volume")
    assert lacks["sub-lung1"] < 30  # clear lungs
    assert lacks["sub-ibsi1"] > 100  # a tumour of some 350 mL lies against the ribs
    flags = analysis.rows.query("subject == 'sub-ibsi1' and region == 'lung'")["flag"]
    assert flags.str.contains("lung_perhaps_missing").all()
