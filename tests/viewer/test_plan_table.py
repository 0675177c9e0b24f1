import pytest
from toys import toy_ct

import ipha_toolkit as ipha
from ipha_toolkit.figures.core import alt_text
from ipha_toolkit.figures.series import plot_plan
from ipha_toolkit.phantom.dicom import Study, document, slices
from ipha_toolkit.run.disk import save

ANNA = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    tags = {"BodyPartExamined": "CHEST", "SeriesDescription": "Thorax <b>"}
    save(
        folder, [*slices(toy_ct(), ANNA, number=2, modality="CT", intercept=-1024, tags=tags), document(ANNA, number=9)]
    )
    return ipha.plan_import(folder, progress=False)


def fields(table):
    return [cell for cell in table.children[0].children if hasattr(cell, "observe") and hasattr(cell, "tooltip")]


def test_what_is_chosen_and_typed_goes_into_the_plan(plan):
    table = ipha.edit_plan(plan)
    by_name = {cell.tooltip: cell for cell in fields(table) if cell.tooltip}
    by_name["role of s001"].value = "none"
    by_name["subject of s001"].value = " sub-anna "
    row = table.plan.table.set_index("series").loc["s001"]
    assert (row["role"], row["subject"]) == ("none", "sub-anna")
    assert plan.table.loc[0, "role"] == "ct", "the plan given stays as it was"
    assert table.children[1].value.startswith("0 of 2 series would be converted")


def test_every_series_has_a_row_with_its_reason(plan):
    table = ipha.edit_plan(plan)
    texts = [cell.value for cell in table.children[0].children if type(cell).__name__ == "HTML"]
    assert any("s002" in text for text in texts) and any("modality &#x27;ct&#x27;" in text for text in texts)


def test_the_contact_sheet_shows_middle_slices_and_says_what_they_are(plan):
    figure = plot_plan(plan)
    assert len(figure.axes) == 1 and figure.axes[0].images[0].get_array().shape == (30, 40)
    assert alt_text(figure).startswith("Middle slices of 1 series. s001: ct, thorax, 40 x 30 pixels.")


def test_a_plan_without_pictures_says_so(tmp_path):
    save(tmp_path, [document(ANNA, number=9)])
    assert "none of 1 series holds an image" in alt_text(plot_plan(ipha.plan_import(tmp_path, progress=False)))


def test_only_what_is_the_users_can_be_edited(plan):
    with pytest.raises(ValueError, match="reason is no column to edit; these are: subject"):
        plan.edit("s001", reason="because")
    with pytest.raises(ValueError, match="no series s9; there are s001, s002"):
        plan.edit("s9", role="ct")
