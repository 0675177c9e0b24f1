import os

import pytest
from pydicom import Dataset

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.dicom_facts import known_words
from ipha_toolkit.io.identifiers import KEY_COLUMNS, age, days_between, next_label, read_key, write_key


def header(**elements):
    data = Dataset()
    for name, value in elements.items():
        setattr(data, name, value)
    return data


@pytest.mark.parametrize(
    ("elements", "years"),
    [
        ({"PatientBirthDate": "20150314", "StudyDate": "20240313"}, "8"),
        ({"PatientBirthDate": "20150314", "StudyDate": "20240314"}, "9"),
        ({"PatientBirthDate": "19331231", "StudyDate": "20231231"}, "89+"),
        ({"PatientBirthDate": "19341231", "StudyDate": "20231231"}, "89"),
        ({"PatientAge": "045Y"}, "45"),
        ({"PatientAge": "018M"}, "1"),
        ({"PatientAge": "095Y"}, "89+"),
        ({"PatientBirthDate": "20250101", "StudyDate": "20240101"}, ""),
        ({}, ""),
    ],
)
def test_age_is_in_whole_years_and_above_89_says_no_more(elements, years):
    assert age(header(**elements)) == years


def test_days_and_labels():
    assert (days_between("20240110", "20240620"), days_between("20240110", "20231231")) == ("162", "-10")
    assert days_between("", "20240110") == days_between("20240199", "20240110") == ""
    assert next_label("sub", ["sub-001", "sub-017", "sub-anna"], 3) == "sub-018"


def test_only_known_words_are_let_through():
    assert known_words("Thorax nativ 1,5 mm B31f Müller 12.03.1974", "T1_VIBE ID4711") == "thorax nativ b31f t1 vibe"
    assert known_words("Poumon sans injection Ø Élise", None) == "poumon sans injection"


def test_the_key_is_never_readable_by_others_not_even_while_it_is_written(tmp_path, monkeypatch):
    import pandas as pd

    key = pd.DataFrame([dict.fromkeys(KEY_COLUMNS, "x")])
    old = os.umask(0)
    try:
        write_key(tmp_path / "key.tsv", key)
    finally:
        os.umask(old)
    assert (tmp_path / "key.tsv").stat().st_mode & 0o077 == 0
    assert read_key(tmp_path / "key.tsv").equals(key)
    (tmp_path / "key.tsv").write_text("series\tsubject\n")
    with pytest.raises(LayoutError, match=r"key\.tsv: lacks the column session"):
        read_key(tmp_path / "key.tsv")
