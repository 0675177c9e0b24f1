import json

import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.layout import read_cohort, read_participants, read_visits
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.series_lines import LAYOUT_CHOICE


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def messages(cohort, subject=None):
    return [str(problem) for problem in cohort.problems if subject in (None, problem.subject)]


def test_images_are_found_by_the_end_of_their_names(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_echo-2_MEGRE.nii",
        "sub-01/ses-a/anat/sub-01_ses-a_echo-1_MEGRE.nii",
        "sub-01/ses-a/anat/sub-01_ses-a_echo-10_MEGRE.nii",
        "sub-01/ses-b/ct/sub-01_ses-b_ct.nrrd",
    )
    first, second = read_cohort(tmp_path).sessions
    assert list(first.images) == ["T1w"]
    assert [path.name for path in first.echoes] == [f"sub-01_ses-a_echo-{n}_MEGRE.nii" for n in (1, 2, 10)]
    assert second.images["ct"].name == "sub-01_ses-b_ct.nrrd"
    assert (first.label, second.session) == ("sub-01_ses-a", "ses-b")


def test_a_subject_may_do_without_sessions(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (session,) = read_cohort(tmp_path).sessions
    assert (session.session, session.label) == ("", "sub-01")


def test_a_missing_participants_table_is_a_remark_that_stops_no_one(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    cohort = read_cohort(tmp_path)
    assert "participants.tsv: is missing" in messages(cohort)[0]
    assert cohort.stopped(cohort.sessions[0]) == []


def test_controls_and_covariates_come_from_participants(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-01\tcontrol\t9\nsub-02\tiph\tn/a\n")
    cohort = read_cohort(tmp_path)
    assert [cohort.is_control(name) for name in ("sub-01", "sub-02", "sub-03")] == [True, False, False]
    assert [cohort.covariate("sub-02", column) for column in ("age", "weight")] == ["", ""]


@pytest.mark.parametrize("name", ["sub-0 1", "sub-a.b", "sub-", "sub-a_b"])
def test_a_subject_folder_that_is_no_label_is_a_problem(tmp_path, name):
    touch(tmp_path, f"{name}/anat/{name}_T1w.nii.gz")
    cohort = read_cohort(tmp_path)
    assert any("letters or digits" in text for text in messages(cohort, name))
    assert cohort.stopped(cohort.sessions[0])


@pytest.mark.parametrize("name", ["sub-../../etc", "../sub-01", "sub-0 1", "01"])
def test_a_participant_id_that_is_no_label_is_a_problem(tmp_path, name):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text(f"participant_id\n{name}\nsub-01\n")
    cohort = read_cohort(tmp_path)
    assert any(repr(name) in text for text in messages(cohort, ""))
    assert cohort.stopped(cohort.sessions[0]) == []


def test_a_subject_in_two_rows_that_differ_keeps_its_images_and_loses_its_covariates(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tcontrol\nsub-01\tiph\nsub-02\tiph\n")
    cohort = read_cohort(tmp_path)
    assert not any(cohort.stopped(session) for session in cohort.sessions)
    assert [cohort.covariate(name, "group") for name in ("sub-01", "sub-02")] == ["", "iph"]
    assert "sub-01 stands in several rows that differ" in messages(cohort, "")[0]


def test_subjects_that_differ_by_case_only_are_duplicates(tmp_path):
    touch(tmp_path, "sub-a/anat/sub-a_T1w.nii.gz", "sub-A/anat/sub-A_T1w.nii.gz")
    cohort = read_cohort(tmp_path)
    assert all(cohort.stopped(session) for session in cohort.sessions)
    assert "duplicate subject" in messages(cohort, "sub-a")[0]


def test_of_two_images_of_one_role_that_no_rule_tells_apart_none_is_measured_and_the_rest_is(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_acq-a_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_acq-b_T1w.nii.gz",
        "sub-01/ses-1/ct/sub-01_ses-1_ct.nii.gz",
        "derivatives/hand/sub-01/ses-1/sub-01_ses-1_acq-a_T1w_desc-lung_mask.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_acq-a_T1w.nii.gz",
        "sub-01/ses-2/anat/old/sub-01_ses-2_acq-a_T1w.nii.gz",
    )
    cohort = read_cohort(tmp_path)
    first, second = cohort.sessions
    assert first.modalities == ["ct"] and cohort.stopped(first) == []
    claim = "2 images claim the role T1w: anat/sub-01_ses-1_acq-a_T1w.nii.gz, anat/sub-01_ses-1_acq-b_T1w.nii.gz; none"
    assert [claim in problem.message for problem in cohort.failed(first)] == [True]
    assert second.modalities == []
    assert ["anat/old/sub-01_ses-2" in problem.message for problem in cohort.stopped(second)] == [True]


@pytest.mark.parametrize(
    ("names", "taken", "why"),
    [
        (["T1w", "run-2_T1w"], "run-2_T1w", "most run"),
        (["ce-gd_T1w", "T1w"], "T1w", "ce !~ ."),
        (["acq-exp_ct", "acq-insp_ct"], "acq-insp_ct", "acq !~ ^(exp|exsp|ausatm)"),
        (["rec-sharp_ct", "rec-soft_ct"], "rec-soft_ct", "rec !~ (sharp|bone|lung)"),
        (["part-phase_T2w", "part-mag_T2w"], "part-mag_T2w", "part !~ phase|real|imag"),
        (["run-1_T1w", "run-10_T1w", "run-9_T1w"], "run-10_T1w", "most run"),
    ],
)
def test_of_several_images_for_a_role_the_protocols_rule_takes_one_and_says_which(tmp_path, names, taken, why):
    folder = "ct" if "ct" in names[0] else "anat"
    touch(tmp_path, *(f"sub-01/ses-1/{folder}/sub-01_ses-1_{name}.nii.gz" for name in names))
    cohort = read_cohort(tmp_path)
    (session,) = cohort.sessions
    assert [path.name for path in session.images.values()] == [f"sub-01_ses-1_{taken}.nii.gz"]
    assert cohort.stopped(session) == []
    (said,) = [problem.message for problem in cohort.problems if "takes the role" in problem.message]
    assert f"by the rule {why} of layout.choice; not analyzed: " in said and all(
        name in said for name in names if name != taken
    )


def test_another_rule_of_the_protocol_takes_another_image(tmp_path):
    touch(tmp_path, *(f"sub-01/ct/sub-01_acq-{name}_ct.nii.gz" for name in ("insp", "exp")))
    mine = Protocol.from_toml('[layout]\nchoice = ["ct: acq ~ ^exp -- I study air trapping"]')
    assert read_cohort(tmp_path, protocol=mine).sessions[0].images["ct"].name == "sub-01_acq-exp_ct.nii.gz"


def test_several_runs_of_echoes_are_refused_unless_the_protocol_has_a_rule_for_them(tmp_path):
    touch(
        tmp_path,
        *(f"sub-01/anat/sub-01_run-{run}_echo-{echo}_MEGRE.nii.gz" for run in (1, 2) for echo in (1, 2, 3)),
        *(f"sub-01/anat/sub-01_run-2_echo-{echo}_part-phase_MEGRE.nii.gz" for echo in (1, 2, 3)),
        "sub-01/anat/sub-01_T1w.nii.gz",
    )
    cohort = read_cohort(tmp_path)
    (session,) = cohort.sessions
    assert session.modalities == ["T1w"]
    claim = "2 series of echoes claim the role MEGRE: sub-01_run-1_MEGRE, sub-01_run-2_MEGRE; none is measured"
    assert [claim in problem.message for problem in cohort.failed(session)] == [True]
    lines = [*LAYOUT_CHOICE, "MEGRE: most run -- here a run is a repeat"]
    (session,) = read_cohort(tmp_path, protocol=Protocol.from_toml(f"[layout]\nchoice = {lines}")).sessions
    assert [path.name for path in session.echoes] == [f"sub-01_run-2_echo-{n}_MEGRE.nii.gz" for n in (1, 2, 3)]


def test_a_mask_finds_its_image_by_all_labels(tmp_path):
    touch(
        tmp_path,
        *(f"sub-01/ct/sub-01_acq-{name}_ct.nii.gz" for name in ("insp", "exp")),
        *(f"derivatives/pacs/sub-01/sub-01_acq-{name}_ct_desc-lung_mask.nii.gz" for name in ("insp", "exp")),
    )
    cohort = read_cohort(tmp_path)
    assert cohort.sessions[0].lungs["ct"].path.name == "sub-01_acq-insp_ct_desc-lung_mask.nii.gz"
    touch(tmp_path, "derivatives/hand/sub-01/sub-01_ct_desc-lung_mask.nii.gz")
    assert any("cannot tell which image" in text for text in messages(read_cohort(tmp_path), "sub-01"))


def test_a_mask_without_labels_belongs_to_the_only_image_of_its_role(tmp_path):
    touch(tmp_path, "sub-01/ct/sub-01_acq-insp_ct.nii.gz", "derivatives/hand/sub-01/sub-01_ct_desc-lung_mask.nii.gz")
    assert list(read_cohort(tmp_path).sessions[0].lungs) == ["ct"]


def test_an_image_in_another_subjects_folder_is_a_problem(tmp_path):
    touch(tmp_path, "sub-01/ses-1/anat/sub-02_ses-1_T1w.nii.gz")
    cohort = read_cohort(tmp_path)
    assert "does not begin with sub-01_ses-1" in messages(cohort, "sub-01")[0]


def test_a_file_of_unknown_role_is_a_remark(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_localizer.nii.gz")
    cohort = read_cohort(tmp_path)
    assert any(
        "sub-01_localizer.nii.gz: not read, because its name does not end" in text for text in messages(cohort, "")
    )
    assert cohort.stopped(cohort.sessions[0]) == []


def test_all_problems_come_at_once(tmp_path):
    touch(
        tmp_path,
        "sub-0 1/anat/sub-0 1_T1w.nii.gz",
        "sub-02/anat/sub-02_a_T1w.nii.gz",
        "sub-02/anat/sub-02_b_T1w.nii.gz",
        "sub-03/anat/sub-04_T1w.nii.gz",
    )
    text = "\n".join(messages(read_cohort(tmp_path)))
    assert all(part in text for part in ("sub-0 1", "claim the role", "does not begin with sub-03", "participants.tsv"))


def test_foreign_masks_are_found_by_name(tmp_path):
    touch(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-1/ct/sub-01_ses-1_ct.nii.gz",
        "derivatives/hand/sub-01/ses-1/sub-01_ses-1_T1w_desc-lung_mask.nii.gz",
        "derivatives/hand/sub-01/ses-1/sub-01_ses-1_T1w_desc-muscle_mask.nii.gz",
        "derivatives/ts/sub-01/ses-1/ct/sub-01_ses-1_ct_dseg.nii.gz",
    )
    (tmp_path / "derivatives/ts/sub-01/ses-1/ct/sub-01_ses-1_ct_dseg.tsv").write_text(
        "index\tname\n5\tliver\n10\tlung_upper_lobe_left\n11\tLung_right\n12\tlung_vessels\n"
    )
    (session,) = read_cohort(tmp_path).sessions
    assert session.lungs["T1w"].labels is None
    assert session.lungs["ct"].labels == (10, 11)
    assert list(session.muscle) == ["T1w"]


def test_a_mask_without_modality_belongs_to_an_only_image(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "derivatives/hand/sub-01/sub-01_desc-lung_mask.nii.gz")
    (session,) = read_cohort(tmp_path).sessions
    assert list(session.lungs) == ["T1w"]


@pytest.mark.parametrize(
    "names, text",
    [
        (["t/sub-01/sub-01_T1w_dseg.nii.gz"], "needs its label names in sub-01_T1w_dseg.tsv"),
        (
            ["a/sub-01/sub-01_T1w_desc-lung_mask.nii.gz", "b/sub-01/sub-01_T1w_desc-lung_mask.nii"],
            "2 masks claim the T1w image",
        ),
    ],
)
def test_a_mask_that_cannot_be_used_fails_its_image_alone(tmp_path, names, text):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    touch(tmp_path, *(f"derivatives/{name}" for name in names))
    (session,) = read_cohort(tmp_path).sessions
    assert list(session.lungs) == ["T1w"] and text in session.lungs["T1w"].why


def test_a_mask_of_no_image_is_a_failure_that_stops_no_image(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
    touch(tmp_path, "derivatives/a/sub-01/sub-01_T1w_T2w_desc-lung_mask.nii.gz")
    cohort = read_cohort(tmp_path)
    (problem,) = cohort.failed(cohort.sessions[0])
    assert "cannot tell which image the mask belongs to" in problem.message
    assert cohort.stopped(cohort.sessions[0]) == []


def test_a_label_table_without_lungs_fails_its_image(tmp_path):
    touch(tmp_path, "sub-01/ct/sub-01_ct.nii.gz", "derivatives/t/sub-01/sub-01_ct_dseg.nii.gz")
    (tmp_path / "derivatives/t/sub-01/sub-01_ct_dseg.tsv").write_text("index\tname\n5\tliver\n")
    (session,) = read_cohort(tmp_path).sessions
    assert "no label name holds 'lung'; has liver" in session.lungs["ct"].why


def test_our_own_results_are_not_read_as_masks(tmp_path):
    touch(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "derivatives/ipha/sub-01/sub-01_T1w_desc-lung_mask.nii.gz",
    )
    (tmp_path / "derivatives/ipha/dataset_description.json").write_text(
        json.dumps({"GeneratedBy": [{"Name": "ipha_toolkit"}]})
    )
    assert read_cohort(tmp_path).sessions[0].lungs == {}


@pytest.mark.parametrize(
    "content, text",
    [
        (b"name,group\nsub-01,control\n", "needs a column participant_id"),
        (b"\xff\xfe\x00\x01", "participants.tsv"),
        (b"", "not a tab-separated table"),
    ],
)
def test_a_participants_file_that_is_no_table_is_refused(tmp_path, content, text):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_bytes(content)
    with pytest.raises(LayoutError, match=text):
        read_cohort(tmp_path)


def test_a_folder_that_is_no_cohort_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="holds no sub-"):
        read_cohort(tmp_path)
    with pytest.raises(LayoutError, match="no such folder"):
        read_cohort(tmp_path / "nowhere")


def test_visits_of_all_subjects_are_one_table_with_numbers_as_numbers(tmp_path):
    for subject, cells in {"sub-1": "ses-a\t0\tacute\t40", "sub-2": "ses-a\t0\tnone\tn/a"}.items():
        (tmp_path / subject).mkdir()
        (tmp_path / subject / f"{subject}_sessions.tsv").write_text(
            f"session_id\tdays\tphase\tprednisone_mg_per_day\n{cells}\n"
        )
    visits = read_visits(tmp_path)
    assert list(visits.columns) == ["subject", "session", "days", "phase", "prednisone_mg_per_day"]
    assert visits["subject"].tolist() == ["sub-1", "sub-2"]
    assert visits["days"].tolist() == [0, 0]
    assert visits["prednisone_mg_per_day"].isna().tolist() == [False, True]
    assert visits["phase"].tolist() == ["acute", "none"]


def test_a_sessions_table_without_sessions_is_named(tmp_path):
    (tmp_path / "sub-1").mkdir()
    (tmp_path / "sub-1" / "sub-1_sessions.tsv").write_text("session,days\nses-a,0\n")
    touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    assert any("sub-1_sessions.tsv: needs a column session_id, has session,days" in text
               for text in messages(read_cohort(tmp_path), ""))  # fmt: skip
    assert read_visits(tmp_path).empty


def test_participants_are_read_with_ages_as_numbers(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-1\tcontrol\t7.5\nsub-2\tiph\tn/a\n")
    people = read_participants(tmp_path)
    assert people["age"].iloc[0] == 7.5 and people["age"].isna().iloc[1]
    assert people["participant_id"].tolist() == ["sub-1", "sub-2"]
