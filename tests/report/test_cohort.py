"""The page of any results folder."""

import re

import numpy as np
import pytest
from toys import put_session, toy_ct, toy_mr, whole_box

import ipha_toolkit as ipha
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report import pictures
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
    assert "1 participant, 1 session, 1 image." in page and "T1w and T2w together" not in page


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
    assert "Look for yourself" not in page and "Masks for checking" not in page
    results = ipha.open_results(analyzed / "out", cohort=analyzed / "elsewhere")
    assert "What the images show" in ipha.report(results, tmp_path / "again.html").read_text("utf-8")


def test_text_from_the_cohort_cannot_become_markup(analyzed, tmp_path):
    table = analyzed / "cohort" / "participants.tsv"
    table.write_text(table.read_text().replace("iph", "<img src=x onerror=alert(1)>"))
    page = ipha.report(analyzed / "out", tmp_path / "page.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_the_explorer_is_on_the_page_with_a_picture_of_every_session_and_whole_images_of_few(toy_analysis, tmp_path):
    page = ipha.report(toy_analysis / "out", tmp_path / "page.html").read_text("utf-8")
    assert "some as whole images: sub-c1_ses-1, sub-p1_ses-1" in page
    assert "small pictures of 3 of 3 sessions" in page and "the images of 2" in page
    assert len(page) < 8e6


def test_columns_that_may_say_who_someone_is_do_not_travel_with_the_explorer(analyzed, tmp_path):
    table = analyzed / "cohort" / "participants.tsv"
    head, *rows = table.read_text().splitlines()
    secret = [f"{row}\tDoe, Jane {n}" for n, row in enumerate(rows)]
    table.write_text("\n".join([f"{head}\tmother", *secret]) + "\n")
    page = ipha.report(analyzed / "out", tmp_path / "page.html").read_text("utf-8")
    assert "Look for yourself" in page and "Doe, Jane" not in page


def test_every_mask_is_outlined_on_a_small_picture_that_says_where_it_was_cut(toy_analysis, tmp_path):
    page = ipha.report(toy_analysis / "out", tmp_path / "page.html").read_text("utf-8")
    masks = page[page.index('<h2 id="part-', page.index("Masks for checking</h2>") - 40) :]
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="([^"]+)">', masks)
    assert len(pictures) == 6 and max(len(address) for address, _ in pictures) < 5000
    assert all("mL: the lung mask outlined on 3 slices, coronal at y" in words for _, words in pictures)
    assert "sub-p1_ses-1 ct, " in masks


def test_the_outline_lies_just_outside_the_mask(toy_analysis):
    results = ipha.open_results(toy_analysis / "out")
    session = results["sub-p1_ses-1"]
    image, lungs = session.image("ct"), session.mask("ct")
    view = pictures._views(image, lungs)[1]
    inside = view.nearest(lungs.array, view.shape) > 0
    gray = view.gray((-600.0, 1500.0))
    drawn = pictures._outlined(gray, inside)
    outline = (drawn == pictures._OUTLINE).all(axis=-1)
    assert outline.any() and not (outline & inside).any()
    assert np.array_equal(drawn[inside], np.repeat(gray[inside][:, np.newaxis], 3, axis=1))


def test_what_is_in_doubt_stands_first_with_its_reason():
    html = pictures._laid_out(["<figure>doubt</figure>"], ["<figure>fine</figure>"] * 2, 3)
    assert html.index("doubt</figure>") < html.index("2 images that nothing speaks against")
    assert "Of 3 images, 1 are in doubt" in html and "3 more masks are not shown" in html
    assert pictures._laid_out([], [], 0) == ""


def test_small_pictures_of_many_sessions_get_smaller():
    assert (pictures._each_kb(200), pictures._each_kb(3000), pictures._each_kb(10**6)) == (4.0, 2.0, 1.5)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="holds no results"):
        ipha.report(tmp_path, tmp_path / "page.html")


def test_the_call_stays_callable_once_a_module_of_its_folder_is_imported():
    import ipha_toolkit.report.page

    assert callable(ipha_toolkit.report) and ipha_toolkit.report.page.RESEARCH
