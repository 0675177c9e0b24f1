"""The page of any results folder."""

import pytest
from toys import put_session, toy_ct, toy_mr, whole_box

import ipha_toolkit as ipha
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.protocol import Protocol
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


def test_it_says_how_it_was_made_and_what_the_flags_mean(toy_analysis, tmp_path):
    page = ipha.report(toy_analysis / "out", tmp_path / "page.html").read_text("utf-8")
    assert "ground glass was lung of \u2212750 to \u2212300 HU" in page and "All settings are the defaults." in page
    assert "measured in a lung mask made elsewhere" in page
    assert "ct ground glass fraction (%) by group. Grey: range of 2 controls" in page


def test_settings_other_than_the_defaults_are_named(toy_analysis, tmp_path):
    protocol = Protocol.from_toml("[attenuation]\nconsolidation_hu = -200\n")
    run(toy_analysis / "cohort", tmp_path / "out", protocol=protocol, progress=False)
    page = ipha.report(tmp_path / "out", tmp_path / "page.html").read_text("utf-8")
    assert "Settings other than the defaults: attenuation.consolidation_hu = \u2212200.0." in page


def test_without_the_cohort_folder_the_numbers_are_shown_and_what_is_missing_is_said(analyzed, tmp_path):
    (analyzed / "cohort").rename(analyzed / "elsewhere")
    page = ipha.report(analyzed / "out", tmp_path / "page.html").read_text("utf-8")
    assert "there are no pictures here" in page and "Measures by group" in page and "What the images show" not in page
    results = ipha.open_results(analyzed / "out", cohort=analyzed / "elsewhere")
    assert "What the images show" in ipha.report(results, tmp_path / "again.html").read_text("utf-8")


def test_text_from_the_cohort_cannot_become_markup(analyzed, tmp_path):
    table = analyzed / "cohort" / "participants.tsv"
    table.write_text(table.read_text().replace("iph", "<img src=x onerror=alert(1)>"))
    page = ipha.report(analyzed / "out", tmp_path / "page.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="holds no results"):
        ipha.report(tmp_path, tmp_path / "page.html")


def test_the_call_stays_callable_once_a_module_of_its_folder_is_imported():
    import ipha_toolkit.report.page

    assert callable(ipha_toolkit.report) and ipha_toolkit.report.page.RESEARCH
