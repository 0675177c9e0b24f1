import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.ratings import COLUMNS, add_ratings, ratings_path, read_ratings


def rating(**given):
    row = dict(zip(COLUMNS, ("sub-1", "ses-1", "ct", "AB", "good", "", "", "a-b"), strict=True))
    return row | given


def test_a_rating_is_on_disk_as_it_was_given(tmp_path):
    note = 'dense "glass"\tright\nbase'
    add_ratings(tmp_path / "new", [rating(note=note, reasons="motion; wrong mask", verdict="usable")])
    table = read_ratings(tmp_path / "new" / "ratings.tsv")
    assert tuple(table.columns) == COLUMNS
    assert table.loc[0, "note"] == 'dense "glass" right base'
    assert table.loc[0, "reasons"] == "motion; wrong mask"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ratings.tsv"]


def test_the_same_raters_later_word_counts_and_others_stay(tmp_path):
    add_ratings(tmp_path, [rating(), rating(rater="CD", verdict="unusable")])
    table = add_ratings(tmp_path, [rating(verdict="usable")])
    assert table[["rater", "verdict"]].to_numpy().tolist() == [["AB", "usable"], ["CD", "unusable"]]


def test_what_is_no_table_of_ratings_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="no such file; give the ratings"):
        read_ratings(tmp_path)
    path = tmp_path / "ratings.tsv"
    path.write_text("subject\tverdict\nsub-1\tgood\n")
    with pytest.raises(LayoutError, match="lacks the columns session, image, rater"):
        read_ratings(path)
    path.write_text(
        "\t".join(COLUMNS) + "\n" + "\t".join(rating(verdict="fine", note="x", reasons="y").values()) + "\n"
    )
    with pytest.raises(LayoutError, match="'fine' is none of good, usable, unusable"):
        read_ratings(path)
    with pytest.raises(ValueError, match="got 'fine'"):
        add_ratings(tmp_path / "other", [rating(verdict="fine")])
    assert ratings_path("a/b").name == "ratings.tsv"
