"""The page of any results folder."""

import pytest
from toys import put_session, toy_ct, toy_mr, whole_box

import ipha_toolkit as ipha
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.run.cohort import run


def test_a_cohort_with_controls_shows_patients_beside_them(toy_analysis, tmp_path):
    page = ipha.report(toy_analysis / "out", tmp_path / "page.html").read_text("utf-8")
    for title in ("Who was measured", "What the images show", "Measures by group against controls", "Readings"):
        assert title in page
    assert "sub-c1, a control, and sub-p1" in page
    assert page.lower().count("for research, not for diagnosis") == 1


def test_one_ct_without_participants_makes_a_page(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "", [toy_ct()], masks=False)
    run(tmp_path / "cohort", tmp_path / "out", segment=whole_box, progress=False)
    page = ipha.report(tmp_path / "out", tmp_path / "page.html").read_text("utf-8")
    assert "1 participants, 1 sessions, 1 images" in page and "T1w and T2w together" not in page


def test_what_failed_is_told_with_its_reason(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_mr(), toy_ct()])
    (tmp_path / "cohort/sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz").write_bytes(b"no image")
    run(tmp_path / "cohort", tmp_path / "out", progress=False)
    page = ipha.report(ipha.open_results(tmp_path / "out"), tmp_path / "page.html").read_text("utf-8")
    assert "1 could not be measured" in page and "What could not be measured" in page


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="holds no results"):
        ipha.report(tmp_path, tmp_path / "page.html")


def test_the_call_stays_callable_once_a_module_of_its_folder_is_imported():
    import ipha_toolkit.report.page

    assert callable(ipha_toolkit.report) and ipha_toolkit.report.page.RESEARCH
