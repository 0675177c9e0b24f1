import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.io.names import (
    entities_of,
    files_beside,
    series_of,
    sidecars_of,
    unknown_parts,
    without_files,
)

ARRAY = np.arange(120).reshape(4, 5, 6).astype(np.int16)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(ARRAY, np.eye(4)), path)
    return path


def test_a_name_is_taken_apart_into_its_entities():
    path = Path("sub-01_ses-2_ce-gadolinium_run-1_T1w.nii.gz")
    assert entities_of(path) == {"sub": "01", "ses": "2", "ce": "gadolinium", "run": "1"}
    assert unknown_parts(Path("sub-01_foo-3_x_T1w.nii")) == ["foo-3", "x"]
    assert series_of(Path("sub-1_run-2_echo-3_MEGRE.nii.gz")) == "sub-1_run-2_MEGRE"


def test_sidecars_are_inherited_from_the_cohort_down_to_the_image(tmp_path):
    path = image(tmp_path / "sub-1" / "ses-1" / "anat" / "sub-1_ses-1_acq-x_T1w.nii.gz")
    facts = {
        "T1w.json": {"MagneticFieldStrength": 3, "EchoTime": 1},
        "sub-1/sub-1_T1w.json": {"EchoTime": 2, "FlipAngle": 5},
        "sub-1/ses-1/anat/sub-1_ses-1_T1w.json": {"FlipAngle": 6, "RepetitionTime": 1},
        "sub-1/ses-1/anat/sub-1_ses-1_acq-x_T1w.json": {"RepetitionTime": 2},
        "T2w.json": {"EchoTime": 99},
        "sub-1/sub-2_T1w.json": {"EchoTime": 99},
        "sub-1/ses-1/anat/sub-1_ses-1_acq-y_T1w.json": {"EchoTime": 99},
        "sub-1/ses-1/anat/sub-1_ses-1_acq-x_run-1_T1w.json": {"EchoTime": 99},
    }
    for name, content in facts.items():
        (tmp_path / name).write_text(json.dumps(content))
    meta = ipha.load(path).meta
    assert dict(meta) == {"MagneticFieldStrength": 3, "EchoTime": 2, "FlipAngle": 6, "RepetitionTime": 2}
    assert [other.name for other in sidecars_of(path)] == [Path(name).name for name in list(facts)[:4]]


def test_a_sidecar_of_all_echoes_serves_each(tmp_path):
    path = image(tmp_path / "sub-1" / "anat" / "sub-1_echo-1_MEGRE.nii.gz")
    (path.parent / "sub-1_MEGRE.json").write_text('{"FlipAngle": 8}')
    assert ipha.load(path).meta["FlipAngle"] == 8


def test_outside_a_cohort_only_the_folder_itself_is_searched(tmp_path):
    (tmp_path / "T1w.json").write_text('{"EchoTime": 1}')
    assert dict(ipha.load(image(tmp_path / "in" / "a_T1w.nii")).meta) == {}


@pytest.mark.parametrize(
    "sidecar, agent", [(None, "gadolinium"), ({"ContrastBolusIngredient": "none"}, "none"), ({"KVP": 1}, "gadolinium")]
)
def test_an_image_named_ce_carries_its_contrast_agent(tmp_path, sidecar, agent):
    path = image(tmp_path / "sub-1_ce-gadolinium_T1w.nii")
    if sidecar:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    assert ipha.load(path).meta["ContrastBolusIngredient"] == agent


@pytest.mark.parametrize("flags", ["abc", [3, "<script>"], {"a": 1}, None])
def test_flags_of_a_sidecar_are_codes_we_know_or_none(tmp_path, flags):
    path = image(tmp_path / "sub-1_T1w.nii")
    known = ["no_pixel_spacing"]
    path.with_suffix(".json").write_text(json.dumps({"ReadFlags": flags}))
    assert ipha.load(path).meta["ReadFlags"] == []
    path.with_suffix(".json").write_text(json.dumps({"ReadFlags": [*known, "no such flag"]}))
    assert ipha.load(path).meta["ReadFlags"] == known


def test_files_an_image_depends_on_are_its_data_and_its_sidecars(tmp_path):
    folder = tmp_path / "sub-1" / "ct"
    folder.mkdir(parents=True)
    (folder / "sub-1_ct.mhd").write_text(
        "NDims = 3\nDimSize = 1 1 1\nElementSpacing = 1 1 1\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    (folder / "sub-1_ct.json").write_text("{}")
    (tmp_path / "ct.json").write_text("{}")
    assert [path.name for path in files_beside(folder / "sub-1_ct.mhd")] == ["a.raw", "ct.json", "sub-1_ct.json"]
    assert [path.name for path in files_beside(folder / "sub-1_ct.hdr")] == ["sub-1_ct.img", "ct.json", "sub-1_ct.json"]
    (folder / "sub-1_ct.mhd").write_bytes(b"\0\1")
    assert files_beside(folder / "sub-1_ct.mhd")[0].name == "ct.json"


@pytest.mark.parametrize(
    "names, words",
    [
        (["acq-a_echo-1", "acq-a_echo-2", "acq-b_echo-1"], "2 series of echoes claim the role MEGRE"),
        (["flip-1_echo-1", "flip-1_echo-2", "flip-2_echo-1"], "2 series of echoes claim the role MEGRE"),
        (["echo-1", "echo-1", "echo-2"], "several files claim echo 1"),
        (["part-mag_echo-1", "part-phase_echo-1", "part-mag_echo-2"], ""),
        (["echo-1", "echo-2", "echo-10"], ""),
    ],
)
def test_echoes_of_one_session_are_one_series(tmp_path, names, words):
    for number, name in enumerate(names):
        ending = (".nii", ".nii.gz")[name in names[:number]]
        image(tmp_path / "sub-1" / "anat" / f"sub-1_{name}_MEGRE{ending}")
    cohort = read_cohort(tmp_path)
    (session,) = cohort.sessions
    assert [words in problem.message for problem in cohort.stopped(session)] == [True] * bool(words)
    assert not any("phase" in path.name for path in session.echoes)


@pytest.mark.parametrize(
    "reason, file, shown",
    [
        ("sub-1/anat/sub-1_acq-Max_T1w.nii.gz: is empty; mend it", "sub-1_acq-Max_T1w.nii.gz", "is empty; mend it"),
        ("/home/max/c/sub-1/a b_T1w.nii.gz: is empty", "", "is empty"),
        ("lungs in derivatives/Max M/sub-1/a_mask.nii.gz are empty", "a_T1w.nii.gz", "lungs in some file are empty"),
        ("needs Max.raw beside it; 3 mm/s and/or so", "", "needs some file beside it; 3 mm/s and/or so"),
        ("the lungs are cut off", "a_T1w.nii.gz", "the lungs are cut off"),
    ],
)  # fmt: skip
def test_a_page_says_why_without_names_of_files(reason, file, shown):
    assert without_files(reason, file) == shown
