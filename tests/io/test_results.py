"""A results folder in the hand: everything by its name, read when asked for, and what is missing said in words."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from toys import break_file, put_echoes, put_participants, put_session, toy_ct, toy_masks, toy_mr, whole_box

import ipha_toolkit as ipha
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import names, proof
from ipha_toolkit.io.results import Results
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.run.cohort import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A patient with T1w, T2w, echoes and CT, and a control whose CT is broken, with the results in ``out``."""
    root = tmp_path_factory.mktemp("results")
    images = [toy_mr(lung=50), toy_mr("T2w", lung=30, seed=1), toy_ct()]
    put_session(root / "cohort", "sub-p1", "ses-1", images)
    put_echoes(root / "cohort", "sub-p1", "ses-1", [0.1, 0.5, 1.0, 2.0])
    put_session(root / "cohort", "sub-c1", "ses-1", [toy_mr(), toy_ct()])
    break_file(root / "cohort/sub-c1/ses-1/ct/sub-c1_ses-1_ct.nii.gz")
    put_participants(root / "cohort", {"sub-c1": "control", "sub-p1": "iph"})
    (root / "cohort/sub-p1/sub-p1_sessions.tsv").write_text("session_id\tdays\nses-1\t12\n")
    coarse = Protocol.from_toml("[nodules]\ncoarsest_mm = 9\n")
    run(root / "cohort", root / "out", segment=whole_box, protocol=coarse, progress=False)
    return root


@pytest.fixture(scope="module")
def results(folder):
    return ipha.open_results(folder / "out")


@pytest.fixture(scope="module")
def patient(results):
    return results["p1", "1"]


def test_tables_of_the_whole_cohort(results):
    assert set(results.rows["subject"]) == {"sub-c1", "sub-p1"} and results.rows["value"].dtype == float
    assert results.readings["subject"].tolist() == ["sub-c1", "sub-p1"]
    assert {"finding", "grade_name", "carrier"} <= set(results.findings.columns)
    assert results.failures[["subject", "modality"]].to_numpy().tolist() == [["sub-c1", "ct"]]
    assert results.participants["group"].tolist() == ["control", "iph"]
    assert results.visits[["subject", "session", "days"]].to_numpy().tolist() == [["sub-p1", "ses-1", 12]]


def test_a_session_is_found_by_any_spelling_of_its_name(results):
    assert [session.label for session in results] == ["sub-c1_ses-1", "sub-p1_ses-1"] and len(results) == 2
    for key in (("p1", "1"), ("sub-p1", "ses-1"), "sub-p1_ses-1"):
        assert results[key].label == "sub-p1_ses-1"


def test_what_a_session_says_of_itself(results, patient):
    assert patient.modalities == ["T1w", "T2w", "MEGRE", "ct"]
    assert set(patient.rows["subject"]) == {"sub-p1"} and len(patient.rows) < len(results.rows)
    assert patient.reading["phase"] == results.readings["phase"][1]
    assert set(patient.findings["subject"]) <= {"sub-p1"}
    assert "sub-p1_ses-1 begun" in patient.log


def test_flags_are_those_that_all_rows_of_an_image_carry(patient):
    assert "foreign_mask" in patient.flags["T1w"] and "foreign_mask" not in patient.flags["MEGRE"]
    assert not any("no_lung_density" in flags for flags in patient.flags.values())


def test_images_come_from_the_cohort_folder(patient, folder):
    t1w = ipha.load(folder / "cohort/sub-p1/ses-1/anat/sub-p1_ses-1_T1w.nii.gz")
    assert np.array_equal(patient.image("T1w").array, t1w.array)
    first, second = patient.image("MEGRE"), patient.image("echo-2_MEGRE")
    assert np.median(first.array) > np.median(second.array)
    assert np.array_equal(first.array, patient.image("echo-1_MEGRE").array)
    for wrong in ("dx", "echo-0_MEGRE", "echo-5_MEGRE"):
        with pytest.raises(KeyError, match=f"no {wrong} image; there are .*MEGRE"):
            patient.image(wrong)


def test_masks_maps_nodules_and_histograms(patient):
    lungs, muscle = toy_masks()
    assert np.array_equal(patient.mask("ct").array, lungs.array)
    assert np.array_equal(patient.muscle("T1w").array, muscle.array)
    ratio = patient.map("T1w")
    assert np.median(ratio.array[lungs.array]) == pytest.approx(50 / 80, rel=0.05)
    assert (ratio.unit, ratio.modality, ratio.name) == ("1", "T1w", "ratio of T1w")
    assert np.nanmedian(patient.map("MEGRE", "r2star").array) == pytest.approx(200, rel=0.05)
    assert patient.map("ct", "opacity").unit == "HU"
    both = patient.map(names.PAIR, "signature")
    assert np.array_equal(both.array, patient.map("T1w", "signature").array, equal_nan=True) and both.unit == "1"
    assert {"x_mm", "y_mm", "z_mm", "diameter_mm", "score"} <= set(patient.nodules("ct").columns)
    assert patient.histogram("T2w")["lung"].sum() == pytest.approx(lungs.n_voxels)
    assert len(patient.histogram(names.PAIR))


def test_what_is_there_can_be_asked_for_and_what_is_not_is_refused_with_what_there_is(patient):
    assert patient.has("T1w", "ratio") and patient.has("T1w", "muscle") and not patient.has("ct", "muscle")
    for ask, name in (
        (lambda: patient.map("ct", "ratio"), "no ratio map of ct"),
        (lambda: patient.muscle("ct"), "no muscle mask of ct"),
        (lambda: patient.nodules("T2w"), "no nodules of T2w"),
        (lambda: patient.histogram("ct"), "no histogram of ct"),
    ):
        with pytest.raises(KeyError, match=rf"sub-p1_ses-1 has {name} \(sub-p1_ses-1_.*\); there are .*log\.txt"):
            ask()


def test_an_unknown_session_is_refused_with_those_there_are(results):
    with pytest.raises(KeyError, match="has no results of sub-p1_ses-7; there are sub-c1_ses-1, sub-p1_ses-1"):
        results["p1", "7"]


def test_a_session_is_viewed_with_all_that_was_found_in_it(patient):
    viewer = patient.view("ct", "T1w")
    try:
        assert "ct" in viewer.description and "T1w" in viewer.description
        assert len(viewer.visible) >= 4  # lung and opacity of CT, lung and ratio of T1w
    finally:
        viewer.close()


def test_repr_says_what_is_there(results, patient, folder):
    text = repr(results)
    assert "<Results out:" in text and str(folder) not in text and "2 sessions" in text and "1 failures" in text
    assert "ct, MEGRE, T1w, T1w+T2w, T2w" in text
    assert repr(patient).startswith("<SessionResults sub-p1_ses-1: T1w, T2w, MEGRE, ct; files ")
    assert "T1w_desc-ratio_map.nii.gz" in repr(patient)


def test_nothing_is_read_before_it_is_asked_for(folder, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("read too early")

    with monkeypatch.context() as patch:
        patch.setattr(pd, "read_csv", refuse)
        results = ipha.open_results(folder / "out")
        session = results["p1", "1"]
        assert session.has("ct", "lung") and len(results) == 2
    assert session.modalities
    assert results.rows is results.rows


def test_a_cohort_that_has_moved_is_said_and_can_be_given(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    moved = ipha.open_results(tmp_path / "out")
    assert len(moved.rows) and moved["p1", "1"].mask("ct").n_voxels
    with pytest.raises(LayoutError, match=r"cohort folder .* is not there; open_results\(.*, cohort=\.\.\.\)"):
        moved["p1", "1"].image("ct")
    with pytest.raises(LayoutError, match="is not there"):
        _ = moved.participants
    assert ipha.open_results(tmp_path / "out", cohort=folder / "cohort")["p1", "1"].image("ct").modality == "ct"


def test_cohort_and_results_can_move_together(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert ipha.open_results(tmp_path / "elsewhere/out")["p1", "1"].image("ct").modality == "ct"


def test_what_is_no_results_folder_is_refused(folder, tmp_path):
    with pytest.raises(LayoutError, match="no such folder; give the results folder"):
        ipha.open_results(tmp_path / "nowhere")
    for other in (tmp_path, folder / "cohort"):
        with pytest.raises(LayoutError, match="holds no results of ipha_toolkit"):
            ipha.open_results(other)


def test_an_analysis_that_did_not_end_is_said(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / names.MEASURES).unlink()
    cut = ipha.open_results(tmp_path / "out")
    assert isinstance(cut, Results) and "did not end" in repr(cut)
    with pytest.raises(
        LayoutError, match=r"measures\.tsv: is missing; the analysis did not end, run ipha analyze again"
    ):
        _ = cut.rows


def test_a_map_that_is_nought_everywhere_is_read_as_it_was_written(analyzed):
    """No hemosiderin: the signature is the same in every voxel, which no image may be."""
    session = ipha.open_results(analyzed / "out")["p1", "1"]
    made = session.map("T1w")
    for values in (np.zeros(made.array.shape, np.float32), np.where(np.arange(made.array.size) == 9, 1e6, 1e-3)):
        path = session.folder / "sub-p1_ses-1_T1w_desc-ratio_map.nii.gz"
        ipha.save(made.replace(array=values.reshape(made.array.shape).astype(np.float32)), path)
        record = json.loads((session.folder / "provenance.json").read_text())
        record.pop("seal")
        record["files"] = proof.digests(session.folder)
        (session.folder / "provenance.json").write_text(json.dumps(proof.sealed(record)))
        assert np.array_equal(session.map("T1w").array.ravel(), values.ravel().astype(np.float32))
