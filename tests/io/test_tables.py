import pandas as pd
import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.tables import matched, parse_table, read_table, whole_number, with_numbers

PLAIN = "id\tgroup\tage\nsub-1\tcontrol\t7.5\nsub-2\tiph\tn/a\n"
CELLS = [["sub-1", "control", "7.5"], ["sub-2", "iph", ""]]


def written(folder, content):
    path = folder / "t.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\t\n"),
        PLAIN.replace("n\t7.5\n", "n\t7.5\t\t\n").replace("control", "control "),
        PLAIN.replace("sub-1", '"sub-1"').replace("control", '"control"').replace("group", ' "group"'.strip()),
        PLAIN.replace("7.5", "7,5"),
        PLAIN.replace("\tn/a", ""),
        PLAIN.replace("n/a", "NaN") + "\n\t\t\n",
        PLAIN.replace("sub-2", "\u00a0sub-2 "),
    ],
)
def test_what_spreadsheets_leave_is_read_as_they_mean_it(tmp_path, content):
    table = read_table(written(tmp_path, content))
    assert table.columns.tolist() == ["id", "group", "age"]
    assert table.to_numpy().tolist() == CELLS


@pytest.mark.parametrize(
    "content, words",
    [
        (PLAIN.replace("7.5", "7.5\tleft over"), "line 2 has 4 cells, the header names 3 columns"),
        (PLAIN.replace("age", "group"), "names the column 'group' twice"),
        (PLAIN.replace("group", ""), "has a column without a name"),
        (PLAIN.replace("sub-2", '"sub-2'), "line 3.*mend its quotes"),
        (PLAIN.encode("utf-16"), "is not UTF-8"),
        (PLAIN.replace("iph", "für").encode("cp1252"), "line 3 is not UTF-8"),
        (b"id\tgroup\n\0\0\t\n", "holds zero bytes"),
        (b"", "the file is empty"),
        (b"\n\n", "holds no text"),
    ],
)
def test_what_no_spreadsheet_could_mean_is_refused_with_the_line(tmp_path, content, words):
    with pytest.raises(LayoutError, match=words) as caught:
        parse_table(written(tmp_path, content))
    assert "t.tsv" in str(caught.value) and "\n" not in str(caught.value)


def test_short_rows_and_surplus_tabs_are_said(tmp_path):
    assert parse_table(written(tmp_path, PLAIN.replace("\tn/a", "")))[1] == [
        "line 3 has 2 cells of 3; the others count as empty"
    ]
    assert (
        "2 rows end in tabs"
        in parse_table(written(tmp_path, PLAIN.replace("5\n", "5\t\n").replace("a\n", "a\t\n")))[1][0]
    )


@pytest.mark.parametrize(
    "cells, read", [(["1,5", "2"], ["1.5", "2"]), (["1,234", "2"], ["1,234", "2"]), (["1,5", "a"], ["1,5", "a"])]
)
def test_decimal_commas_are_read_where_nothing_else_can_be_meant(tmp_path, cells, read):
    assert read_table(written(tmp_path, "x\n" + "\n".join(cells)))["x"].tolist() == read


def test_a_column_of_numbers_becomes_numbers_and_names_stay_text():
    table = with_numbers(pd.DataFrame({"age": ["7.5", ""], "id": ["1", "2"]}), ["id"])
    assert table.columns.tolist() == ["id", "age"] and table["age"].iloc[0] == 7.5 and table["age"].isna().iloc[1]
    assert table["id"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    "name, folder",
    [("sub-001", "sub-001"), ("001", "sub-001"), ("1", "sub-001"), ("SUB-001", "sub-001"), ("sub-1", "sub-001"),
     ("A7", "sub-a7"), ("9", ""), ("", ""), ("02", "")],
)  # fmt: skip
def test_a_name_is_matched_to_the_one_folder_it_can_mean(name, folder):
    assert matched(name, ["sub-001", "sub-a7", "sub-2", "sub-002"], "sub-") == folder


def test_a_name_that_could_be_two_folders_is_matched_to_none():
    assert matched("2", ["sub-02", "sub-002"], "sub-") == ""
    assert matched("002", ["sub-02", "sub-002"], "sub-") == "sub-002"


@pytest.mark.parametrize(
    "cell, label", [("10", 10), ("10.0", 10), ("10,00", 10), ("0x0A", None), ("", None), ("10.5", None), ("-1", None)]
)
def test_a_label_is_a_whole_number_also_with_a_point(cell, label):
    assert whole_number(cell) == label


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_signs_that_programs_put_between_lines_of_a_note_end_no_row(tmp_path, sign):
    path = tmp_path / "a.tsv"
    path.write_text(f"participant_id\tnote\tgroup\nsub-1\tfirst{sign}second\tcontrol\n", "utf-8")
    table, remarks = parse_table(path)
    assert table.to_numpy().tolist() == [["sub-1", "first second", "control"]] and remarks == []
