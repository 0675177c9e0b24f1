import pytest

from ipha_toolkit.io.packaged import read_packaged


def test_every_statement_of_the_differential_has_a_side_and_a_source():
    table = read_packaged("differential.tsv")
    assert set(table["weighs"]) == {"for", "against"}
    assert (table[["pattern", "alternative", "finding", "shown_by", "source"]] != "").all(axis=None)


def test_a_table_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no_such"):
        read_packaged("no_such.tsv")
