"""A whole archive made from the phantom: roles proposed, and voxels that come out."""

import numpy as np
import pandas as pd
import pytest
from hospital import write_archive

import ipha_toolkit as ipha
from ipha_toolkit.run.import_ import run_import
from ipha_toolkit.run.plan import plan_import

MORE_THAN_ONE = {"ct twice": "ct", "MEGRE and phase": "MEGRE", "ct insp": "ct", "ct exp": "ct"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    truth, images = write_archive(root)
    return root, truth, images


@pytest.fixture(scope="module")
def plan(archive):
    return plan_import(archive[0], progress=False)


@pytest.fixture(scope="module")
def judged(archive, plan):
    """A row an image: true role, proposed role, how sure."""
    _, truth, _ = archive
    rows, met = [], {}
    for series, row in plan.table.set_index("series").iterrows():
        header = plan.parts[series].series.header
        at = (str(header.PatientID), str(header.StudyDate), int(header.SeriesNumber))
        met[at] = met.get(at, 0) + 1
        real = truth[at]
        second = real in ("ct twice", "MEGRE and phase") and met[at] == 2  # after contrast agent; phase
        rows.append((series, real, "none" if second else MORE_THAN_ONE.get(real, real), row["role"], row["sure"]))
    return pd.DataFrame(rows, columns=["series", "kind", "true", "proposed", "sure"])


def test_the_archive_has_what_an_archive_has(judged, plan):
    assert len(judged) >= 60 and len(set(zip(plan.key["patient"], plan.key["study_date"], strict=True))) == 12
    assert plan.problems == ()


def test_roles_are_right_in_at_least_95_of_100_and_never_wrong_where_sure(judged):
    right = judged["true"] == judged["proposed"]
    assert right.mean() >= 0.95, judged[~right]
    assert right[judged["sure"] == "sure"].all(), judged[~right & (judged["sure"] == "sure")]


def test_every_row_has_a_reason_and_says_what_is_wrong(plan):
    assert (plan.table["reason"].str.len() > 10).all()
    wrong = plan.table.loc[plan.table["wrong"] != "", "wrong"]
    assert sorted(set(wrong)) == ["1 of 22 slices missing between others", "phase image"]


def test_breathing_in_and_out_are_kept_apart(plan, judged):
    table = plan.table.set_index("series")
    for kind, label in (("ct insp", "acq-insp"), ("ct exp", "acq-exp")):
        assert set(table.loc[judged.loc[judged["kind"] == kind, "series"], "labels"]) == {label}


def test_no_name_and_no_number_of_a_patient_stands_in_the_table(plan):
    text = plan.table.to_csv(sep="\t").lower()
    for word in ("sørensen", "sorensen", "garcía", "müller", "okafor", "mrn", "2023"):
        assert word not in text


def test_voxels_come_out_as_the_phantom_made_them(archive, plan, tmp_path_factory):
    pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")
    out = tmp_path_factory.mktemp("cohort") / "c"
    done = run_import(plan, out, progress=False)
    assert done.left_out == {}
    who = plan.key.drop_duplicates(["subject", "session"]).to_dict("records")
    compared = 0
    for row in who:
        seen = archive[2][row["patient"].split("|")[0], row["study_date"]]
        place = out / row["subject"] / row["session"]
        for path in sorted(place.rglob("*.nii.gz")):
            role = path.name.split("_")[-1].removesuffix(".nii.gz")
            name = f"echo-{path.name.split('echo-')[1][0]}_MEGRE" if role == "MEGRE" else role
            found, true = ipha.load(path), seen.volumes[name]
            np.testing.assert_allclose(found.array, np.rint(true.array), atol=0.51)
            if role != "dx":
                assert found.same_grid(true)
            compared += 1
    assert compared == len(done.made) > 60
