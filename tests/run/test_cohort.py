import json
import os
import shutil
import subprocess
import sys
from errno import EACCES
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from toys import (
    AFFINE,
    break_file,
    put_echoes,
    put_participants,
    put_session,
    toy_cohort,
    toy_ct,
    toy_masks,
    toy_mr,
    whole_box,
)

import ipha_toolkit as ipha
from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.errors import LayoutError, ProtocolError
from ipha_toolkit.io import drafts
from ipha_toolkit.io.results import read_rows
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.run.check import check
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.stopping import begin_worker
from ipha_toolkit.volume import Mask, Volume


@pytest.fixture
def cohort(tmp_path):
    """Two controls and a patient, T1w and CT each, masks as of another tool; the same as in ``analyzed``."""
    return toy_cohort(tmp_path / "cohort")


def contents(folder):
    """Every file but the logs, which hold times."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "log.txt"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def value(rows, subject, measure, modality="T1w", region="lung"):
    chosen = rows.query("subject == @subject and measure == @measure and modality == @modality and region == @region")
    return float(chosen["value"].iloc[0])


def test_a_cohort_becomes_one_table(analyzed):
    out = analyzed / "out"
    rows = ipha.analyze(analyzed / "cohort", out, progress=False)
    assert tuple(rows.columns) == ROW_COLUMNS
    assert set(rows["subject"]) == {"sub-c1", "sub-c2", "sub-p1"}
    assert set(rows["measure"]) <= set(MEASURES)
    assert (rows["unit"] == rows["measure"].map(lambda name: MEASURES[name].unit)).all()
    assert value(rows, "sub-p1", "signal_ratio_median") == pytest.approx(50 / 80, rel=0.05)
    assert value(rows, "sub-p1", "attenuation_mean", "ct") == pytest.approx(-820, abs=2)
    assert value(rows, "sub-p1", "hyperintense_fraction") > 95
    assert not rows.duplicated(["subject", "session", "modality", "region", "measure"]).any()
    pd.testing.assert_frame_equal(read_rows(out / "measures.tsv"), rows, rtol=1e-6)
    assert (out / "failures.tsv").read_text() == "subject\tsession\tmodality\tfile\terror\tlog\n"
    described = json.loads((out / "measures.json").read_text())
    assert set(described["measures"]) == set(rows["measure"])
    assert described["flags"].keys() >= {"foreign_mask", "few_controls"}


def test_every_session_is_read_with_reasons(analyzed):
    analysis = run(analyzed / "cohort", analyzed / "out", progress=False)
    readings = pd.read_csv(analyzed / "out" / "readings.tsv", sep="\t")
    assert readings["subject"].tolist() == ["sub-c1", "sub-c2", "sub-p1"]
    assert readings["reasons"].str.len().min() > 10
    findings = pd.read_csv(analyzed / "out" / "findings.tsv", sep="\t")
    assert len(findings) == len(analysis.findings) > 0


def test_a_rule_that_cannot_be_read_stops_before_anything_is_measured(cohort, tmp_path):
    broken = Protocol.from_toml('[phases]\nrules = ["acute if white"]\n')
    with pytest.raises(ProtocolError, match="acute if white"):
        run(cohort, tmp_path / "out", protocol=broken, progress=False)
    assert not (tmp_path / "out").exists()


def test_masks_maps_and_provenance_are_kept(toy_analysis):
    place = toy_analysis / "out" / "sub-p1" / "ses-1"
    ratio = ipha.load(place / "sub-p1_ses-1_T1w_desc-ratio_map.nii.gz", modality="T1w")
    assert np.median(ratio.array[toy_masks()[0].array]) == pytest.approx(50 / 80, rel=0.05)
    source = json.loads((place / "provenance.json").read_text())
    assert "sub-p1/ses-1/anat/sub-p1_ses-1_T1w.nii.gz" in source["inputs"]
    assert all(len(digest) == 64 for digest in source["inputs"].values())
    assert source["versions"]["numpy"] == np.__version__
    assert source["settings"]["attenuation"]["consolidation_hu"] == -300


def test_running_again_measures_nothing_and_changes_nothing(analyzed):
    before = contents(analyzed / "out")
    again = run(analyzed / "cohort", analyzed / "out", progress=False)
    assert (again.measured, again.skipped) == (0, 3)
    assert contents(analyzed / "out") == before


def test_what_changed_is_measured_anew_and_nothing_else(analyzed):
    cohort, out = analyzed / "cohort", analyzed / "out"
    put_session(cohort, "sub-p1", "ses-1", [toy_mr(lung=40, seed=9)])
    again = run(cohort, out, progress=False)
    assert (again.measured, again.skipped) == (1, 2)
    assert value(again.rows, "sub-p1", "signal_ratio_median") == pytest.approx(0.5, rel=0.05)
    other = Protocol.from_toml("[attenuation]\nconsolidation_hu = -200\n")
    assert run(cohort, out, protocol=other, progress=False).measured == 3


def test_adding_a_control_redoes_the_second_pass_only(analyzed):
    cohort, out = analyzed / "cohort", analyzed / "out"
    before = json.loads((out / "reference.json").read_text())
    put_session(cohort, "sub-c3", "ses-1", [toy_mr(lung=30, seed=7)])
    put_participants(cohort, {"sub-c1": "control", "sub-c2": "control", "sub-c3": "control", "sub-p1": "iph"})
    again = run(cohort, out, progress=False)
    after = json.loads((out / "reference.json").read_text())
    assert (again.measured, again.skipped) == (1, 3)
    assert after["controls"] == ["sub-c1", "sub-c2", "sub-c3"]
    assert after["digest"] != before["digest"]
    assert after["thresholds"]["T1w"] > before["thresholds"]["T1w"]


def test_one_broken_image_stops_neither_its_session_nor_the_cohort(cohort, tmp_path):
    break_file(cohort / "sub-c2/ses-1/anat/sub-c2_ses-1_T1w.nii.gz")
    analysis = run(cohort, tmp_path / "out", progress=False)
    assert [(f["subject"], f["modality"]) for f in analysis.failures] == [("sub-c2", "T1w")]
    assert "sub-c2_ses-1_T1w.nii.gz: " in analysis.failures[0]["error"]
    rows = analysis.rows
    assert set(rows["subject"]) == {"sub-c1", "sub-c2", "sub-p1"}
    assert set(rows.loc[rows["subject"] == "sub-c2", "modality"]) == {"ct"}
    listed = pd.read_csv(tmp_path / "out" / "failures.tsv", sep="\t")
    assert len(listed) == 1
    assert str(tmp_path) not in (tmp_path / "out" / "failures.tsv").read_text()  # paths of one machine say too much


def test_a_mended_file_is_taken_up_by_the_next_run(cohort, tmp_path):
    path = cohort / "sub-c2/ses-1/anat/sub-c2_ses-1_T1w.nii.gz"
    whole = path.read_bytes()
    break_file(path)
    run(cohort, tmp_path / "out", progress=False)
    path.write_bytes(whole)
    again = run(cohort, tmp_path / "out", progress=False)
    assert (again.measured, again.skipped, again.failures) == (1, 2, [])


def test_a_session_that_broke_leaves_no_old_results(analyzed):
    for path in (analyzed / "cohort/sub-p1/ses-1").rglob("*.nii.gz"):
        break_file(path)
    again = run(analyzed / "cohort", analyzed / "out", progress=False)
    assert "sub-p1" not in set(again.rows["subject"])
    assert len(again.failures) == 2


def test_workers_give_the_same_results(toy_analysis, cohort, tmp_path):
    run(cohort, tmp_path / "out", workers=2, progress=False)
    assert contents(tmp_path / "out") == contents(toy_analysis / "out")


def test_workers_share_the_cores_when_they_fit_echoes(tmp_path):
    for subject in ("sub-1", "sub-2"):
        put_echoes(tmp_path / "in", subject, "ses-1", [0.1, 0.5, 1.0, 2.0], r2star=400)
    analysis = run(tmp_path / "in", tmp_path / "out", workers=2, segment=whole_box, progress=False)
    assert analysis.failures == [] and set(analysis.rows["subject"]) == {"sub-1", "sub-2"}


def dies(volume):
    """A segmenter that takes its whole process down, as running out of memory does."""
    if volume.array.max() > 3000:
        os._exit(9)
    return toy_masks()[0]


def test_a_worker_that_dies_fails_its_session_only(cohort, tmp_path):
    for path in (cohort / "derivatives").rglob("*ct_desc-lung_mask.nii.gz"):
        path.unlink()
    ct = toy_ct()
    array = ct.array.copy()
    array[0, 0, 0] = 5000
    put_session(cohort, "sub-c1", "ses-1", [ct.replace(array=array)], masks=False)
    analysis = run(cohort, tmp_path / "out", workers=2, segment=dies, progress=False)
    assert [failure["subject"] for failure in analysis.failures] == ["sub-c1"]
    assert "worker process died" in analysis.failures[0]["error"]
    assert set(analysis.rows["subject"]) == {"sub-c2", "sub-p1"}


def test_a_callable_finds_the_lungs_where_no_mask_is_given(cohort, tmp_path):
    for path in (cohort / "derivatives").rglob("*_ct_desc-lung_mask.nii.gz"):
        path.unlink()
    rows = run(cohort, tmp_path / "out", segment=whole_box, progress=False).rows
    found = rows.query("modality == 'ct' and measure == 'lung_volume' and region == 'lung'")
    assert found["value"].tolist() == pytest.approx([toy_masks()[0].volume_ml] * 3)
    assert not found["flag"].str.contains("foreign").any()


def test_a_scan_that_shows_much_less_lung_than_its_session_is_flagged(tmp_path):
    root = tmp_path / "cohort"
    put_session(root, "sub-01", "ses-01", [toy_mr("T1w"), toy_mr("T2w"), toy_ct()])
    lungs, _ = toy_masks()
    top = lungs.replace(array=lungs.array & (np.arange(lungs.shape[2]) > 18))
    ipha.save(top, next(root.rglob("*_T2w_desc-lung_mask.nii.gz")))

    rows = run(root, tmp_path / "out", progress=False).rows
    flagged = rows["flag"].str.contains("lungs_partly_missing")
    assert set(rows.loc[flagged, "modality"]) == {"T2w", "T1w+T2w"}
    assert flagged[rows["modality"] == "T2w"].all()


def test_a_segmenter_that_answers_on_another_grid_is_a_failure(cohort, tmp_path):
    for path in (cohort / "derivatives").rglob("*_ct_desc-lung_mask.nii.gz"):
        path.unlink()
    analysis = run(cohort, tmp_path / "out", segment=lambda v: Mask(np.ones((2, 2, 2), bool), AFFINE), progress=False)
    assert len(analysis.failures) == 3
    assert "different grid" in analysis.failures[0]["error"]


def test_a_foreign_mask_on_another_grid_is_a_failure_that_names_it(cohort, tmp_path):
    path = cohort / "derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_ct_desc-lung_mask.nii.gz"
    ipha.save(Mask(np.ones((4, 4, 4), bool), AFFINE), path)
    analysis = run(cohort, tmp_path / "out", progress=False)
    assert "sub-p1_ses-1_ct_desc-lung_mask.nii.gz: mask is on a different grid than" in analysis.failures[0]["error"]


def test_t2w_without_t1w_and_no_participants_are_fine(tmp_path):
    put_session(tmp_path / "in", "sub-1", "ses-1", [toy_mr("T2w")])
    analysis = run(tmp_path / "in", tmp_path / "out", progress=False)
    assert analysis.failures == []
    fraction = analysis.rows.query("measure == 'hypointense_fraction'")
    assert set(fraction["flag"].str.contains("no_controls")) == {True}


def test_some_missing_voxels_do_not_matter(tmp_path):
    volume = toy_mr()
    array = volume.array.copy()
    array[::7, ::5, ::3] = np.nan
    put_session(tmp_path / "in", "sub-1", "ses-1", [volume.replace(array=array)])
    rows = run(tmp_path / "in", tmp_path / "out", progress=False).rows
    assert value(rows, "sub-1", "signal_ratio_median") == pytest.approx(0.25, rel=0.06)


def test_children_are_flagged(tmp_path):
    put_session(tmp_path / "in", "sub-1", "ses-1", [toy_ct()])
    (tmp_path / "in" / "participants.tsv").write_text("participant_id\tage\nsub-1\t7\n")
    rows = run(tmp_path / "in", tmp_path / "out", progress=False).rows
    assert rows["flag"].str.contains("child").all()


def test_results_do_not_go_where_other_files_are(cohort, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(LayoutError, match="holds files that are not results"):
        run(cohort, tmp_path / "mine", progress=False)
    with pytest.raises(LayoutError, match="is the cohort folder itself"):
        run(cohort, cohort, progress=False)
    with pytest.raises(LayoutError, match="is a file"):
        run(cohort, tmp_path / "mine" / "thesis.txt", progress=False)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_results_that_cannot_be_taken_away_cost_their_session_alone(tmp_path, monkeypatch):
    """A subject's folder of results without rights: its old rows stay in no table, and the others are measured."""
    for seed, subject in enumerate(("sub-1", "sub-2")):
        put_session(tmp_path / "in", subject, "ses-1", [toy_mr(seed=seed)])
    run(tmp_path / "in", tmp_path / "out", progress=False)
    for subject in ("sub-1", "sub-2"):
        (tmp_path / "in" / subject / "ses-1" / "anat" / f"{subject}_ses-1_T1w.json").write_text('{"FlipAngle": 5}')
    lock_of, unlink = drafts.lock_of, Path.unlink

    def of(target):
        if target.parent.name == "sub-2":
            raise PermissionError(EACCES, "Permission denied", str(target))
        return lock_of(target)

    def no_rights(path, missing_ok=False):
        if path.parent.parent.name == "sub-2":
            raise PermissionError(EACCES, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr("ipha_toolkit.io.outputs.lock_of", of)
    monkeypatch.setattr(Path, "unlink", no_rights)
    again = run(tmp_path / "in", tmp_path / "out", progress=False)
    assert set(again.rows["subject"]) == {"sub-1"}
    assert len(again.failures) == 1 and "may not read or write" in again.failures[0]["error"]


def test_an_out_that_is_a_link_to_itself_is_refused(cohort, tmp_path):
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(LayoutError, match="is no folder"):
        run(cohort, tmp_path / "out", progress=False)


@pytest.mark.parametrize("place", ["sub-c1", "sub-c1/ses-1/out", "sub-new", "linked/out"])
def test_results_do_not_go_where_images_of_a_subject_are_looked_for(cohort, tmp_path, place):
    """Results are named as images are: a mask there would be a subject's at the next run."""
    (tmp_path / "elsewhere").mkdir()
    subject = next(cohort.glob("sub-*"))
    subject.rename(tmp_path / "elsewhere" / "a")
    subject.symlink_to(tmp_path / "elsewhere" / "a")
    out = tmp_path / "elsewhere" / "a" / "out" if place == "linked/out" else cohort / place
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LayoutError, match="where the cohort keeps a subject's images; give a folder outside it"):
        run(cohort, out, progress=False)
    assert sorted(tmp_path.rglob("*")) == before


def test_results_may_lie_in_the_cohorts_derivatives(cohort):
    out = cohort / "derivatives" / "ipha"
    first = run(cohort, out, progress=False)
    assert run(cohort, out, progress=False).skipped == 3
    assert len(first.failures) == 0


def test_a_run_that_was_cut_short_leaves_no_half_session(cohort, tmp_path, monkeypatch):
    from ipha_toolkit.io import outputs

    out = tmp_path / "out"
    real = outputs.save

    def stops(image, path):
        if "ratio" in Path(path).name and "sub-c2" in str(path):
            raise KeyboardInterrupt
        real(image, path)

    monkeypatch.setattr(outputs, "save", stops)
    with pytest.raises(KeyboardInterrupt):
        run(cohort, out, progress=False)
    assert not (out / "sub-c2" / "ses-1").exists()
    monkeypatch.undo()
    again = run(cohort, out, progress=False)
    assert (again.measured, again.skipped) == (2, 1)
    assert not list(out.rglob(".draft*"))


def test_a_disk_that_is_full_is_a_failure_of_that_session(cohort, tmp_path, monkeypatch):
    from ipha_toolkit.io import outputs

    real = outputs.save

    def full(image, path):
        if "sub-c2" in str(path):
            raise OSError(28, "No space left on device")
        real(image, path)

    monkeypatch.setattr(outputs, "save", full)
    analysis = run(cohort, tmp_path / "out", progress=False)
    error = analysis.failures[0]["error"]
    assert "out/sub-c2/ses-1: the disk or the quota is full: up to" in error and "MB are needed" in error
    assert set(analysis.rows["subject"]) == {"sub-c1", "sub-p1"}


@pytest.mark.parametrize("workers", [0, -2])
def test_workers_need_to_be_one_or_more(cohort, tmp_path, workers):
    with pytest.raises(ValueError, match="1 or more"):
        run(cohort, tmp_path / "out", workers=workers)


def test_check_reports_images_and_every_problem_at_once(cohort):
    break_file(cohort / "sub-c2/ses-1/anat/sub-c2_ses-1_T1w.nii.gz")
    ipha.save(
        Mask(np.ones((4, 4, 4), bool), AFFINE),
        cohort / "derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_ct_desc-lung_mask.nii.gz",
    )
    ipha.save(
        Volume(np.arange(8.0).reshape(2, 2, 2), AFFINE), cohort / "sub-c1/ses-1/anat/sub-c1_ses-1_acq-b_T1w.nii.gz"
    )
    report = check(cohort, progress=False)
    text = "\n".join(map(str, report.problems))
    assert len(report.sessions) == 5  # sub-c1 has two T1w, so none
    assert len(report.stopping) == 3
    for part in ("sub-c2_ses-1_T1w.nii.gz: not a NIfTI|truncated", "different grid", "claim the role T1w"):
        assert any(option in text for option in part.split("|")), part
    assert (report.sessions["image"] == "cannot be used").sum() == 2


def test_a_scan_with_contrast_agent_beside_the_plain_one_changes_no_row(tmp_path):
    put_session(tmp_path / "in", "sub-1", "ses-1", [toy_mr()])
    plain = run(tmp_path / "in", tmp_path / "plain", progress=False)
    ipha.save(toy_mr(lung=60), tmp_path / "in/sub-1/ses-1/anat/sub-1_ses-1_ce-gadolinium_T1w.nii.gz")
    for mask in sorted((tmp_path / "in/derivatives").rglob("*_T1w_desc-*")):  # two images: masks say whose they are
        shutil.copy(mask, mask.with_name(mask.name.replace("_T1w", "_ce-gadolinium_T1w")))
    both = run(tmp_path / "in", tmp_path / "both", progress=False)
    pd.testing.assert_frame_equal(plain.rows, both.rows)
    said = [str(remark) for remark in both.remarks]
    assert any("T1w, by the rule ce !~ ." in text and "sub-1_ses-1_ce-gadolinium_T1w" in text for text in said)


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """Six controls on a line of water and a patient dark on T2w, T1w and T2w each; analyzed, not to be changed."""
    folder = tmp_path_factory.mktemp("paired")
    root = folder / "in"
    for n in range(6):
        pair = [toy_mr("T1w", lung=38 + n, seed=n), toy_mr("T2w", lung=48 + n, seed=9 + n)]
        put_session(root, f"sub-c{n}", "ses-1", pair)
    put_session(root, "sub-p1", "ses-1", [toy_mr("T1w", lung=45, seed=30), toy_mr("T2w", lung=12, seed=31)])
    put_participants(root, {f"sub-c{n}": "control" for n in range(6)} | {"sub-p1": "iph"})
    run(root, folder / "out", progress=False)
    return folder


def test_the_signature_is_set_against_the_controls_line(paired):
    rows = read_rows(paired / "out" / "measures.tsv")
    strength = rows.query("measure == 'signature_strength' and region == 'lung'").set_index("subject")["value"]
    assert strength["sub-p1"] > 5
    assert strength.drop("sub-p1").abs().max() < 1.5
    slopes = rows.query("measure == 'signature_slope'").set_index("subject")["value"]
    assert slopes["sub-p1"] == pytest.approx(50.5 / 40.5, rel=0.03)
    assert slopes.nunique() == 7  # each control left out of its own line
    found = rows.query("modality == 'T1w+T2w' and subject == 'sub-p1'")
    assert {"signature_fraction", "signature_no_evidence", "signature_strength_vs_controls"} <= set(found["measure"])
    reference = json.loads((paired / "out" / "reference.json").read_text())
    assert reference["thresholds"]["T1w+T2w"] == pytest.approx(slopes["sub-p1"])
    signature = ipha.load(paired / "out/sub-p1/ses-1/sub-p1_ses-1_T1w_desc-signature_map.nii.gz", modality="T1w")
    assert np.nanmedian(signature.array[toy_masks()[0].array]) == pytest.approx(np.log(45 / 12), abs=0.1)


@pytest.fixture
def shifted(paired, tmp_path):
    """The same, with one T2w 3 mm off the grid of its T1w."""
    shutil.copytree(paired, tmp_path, dirs_exist_ok=True)
    root, shifted = tmp_path / "in", AFFINE.copy()
    shifted[:3, 3] = 3
    for name, mask in zip(("lung", "muscle"), toy_masks(), strict=True):
        path = root / f"derivatives/hand/sub-p1/ses-1/sub-p1_ses-1_T2w_desc-{name}_mask.nii.gz"
        ipha.save(mask.replace(affine=shifted), path)
    moved = toy_mr("T2w", lung=12, seed=31).replace(affine=shifted)
    ipha.save(moved, root / "sub-p1/ses-1/anat/sub-p1_ses-1_T2w.nii.gz")
    return root


def test_t2w_on_another_grid_is_moved_onto_t1w(shifted, tmp_path):
    analysis = run(shifted, tmp_path / "out", progress=False)
    assert analysis.failures == []
    found = analysis.rows.query("subject == 'sub-p1' and measure == 'signature_strength'")
    assert len(found) and found["flag"].str.contains("realigned").all()


def test_t1w_and_t2w_that_cannot_be_aligned_are_a_failure_of_the_pair_alone(shifted, tmp_path):
    for control in shifted.glob("sub-c*"):
        shutil.rmtree(control)
    strict = Protocol.from_toml("[alignment]\nquality_least = 0.999\n")
    analysis = run(shifted, tmp_path / "out", protocol=strict, progress=False)
    assert [failure["modality"] for failure in analysis.failures] == ["T1w+T2w"]
    assert "sub-p1_ses-1_T2w.nii.gz cannot be aligned to sub-p1_ses-1_T1w.nii.gz" in analysis.failures[0]["error"]
    mine = analysis.rows[analysis.rows["subject"] == "sub-p1"]
    assert {"T1w", "T2w"} <= set(mine["modality"]) and "T1w+T2w" not in set(mine["modality"])


def test_echoes_give_r2star_rows_that_say_whether_density_is_known(cohort, tmp_path):
    put_echoes(cohort, "sub-p1", "ses-1", [0.1, 0.5, 1.0, 2.0], r2star=400)
    put_echoes(cohort, "sub-c9", "ses-1", [0.1, 0.5, 1.0, 2.0], r2star=400)
    rows = run(cohort, tmp_path / "out", segment=whole_box, progress=False).rows
    found = rows.query("measure == 'r2star_median' and region == 'lung'").set_index("subject")
    assert found["value"].tolist() == pytest.approx([400, 400], rel=0.02)
    assert "no_lung_density" in found.loc["sub-c9", "flag"] and "no_lung_density" not in found.loc["sub-p1", "flag"]
    density = rows.query("measure == 'lung_density' and region == 'lung' and subject == 'sub-p1'")["value"]
    assert 0.05 < density.item() < 0.6
    assert (tmp_path / "out/sub-c9/ses-1/sub-c9_ses-1_MEGRE_desc-r2star_map.nii.gz").exists()


def test_results_lie_on_the_images_own_axes_and_measure_the_same(tmp_path):
    upright, turned = tmp_path / "upright", tmp_path / "turned"
    put_session(upright, "sub-1", "ses-1", [toy_mr(), toy_mr("T2w", seed=1), toy_ct()])
    for path in upright.rglob("*.nii.gz"):
        image = nib.load(path)
        other = turned / path.relative_to(upright)
        other.parent.mkdir(parents=True, exist_ok=True)
        codes = "PIL" if "T1w" in path.name else "LPS"
        order = nib.orientations.axcodes2ornt(codes)
        nib.save(image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), order)), other)
    rows = [run(root, tmp_path / f"{root.name}-out", progress=False).rows for root in (upright, turned)]
    pd.testing.assert_frame_equal(*rows)
    made = sorted((tmp_path / "turned-out" / "sub-1" / "ses-1").glob("*.nii.gz"))
    assert {"lung_mask", "muscle_mask", "ratio_map", "signature_map", "opacity_map"} == {
        path.name.split("desc-")[1].removesuffix(".nii.gz") for path in made
    }
    for path in made:
        kind = path.name.split("_")[2]
        source = nib.load(next(turned.rglob(f"*_{kind}.nii.gz")))
        mask = nib.load(path)
        assert mask.shape == source.shape
        assert np.array_equal(mask.affine, source.affine)


def test_what_a_worker_imports_before_it_listens_is_light():
    """Workers whose parent is killed end as soon as they listen: not after importing all that measures, which takes
    half a minute on a busy machine."""
    heavy = "('numpy', 'pandas', 'numba', 'SimpleITK')"
    code = f"import sys, ipha_toolkit.run.stopping; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert begin_worker.__module__ == "ipha_toolkit.run.stopping"
