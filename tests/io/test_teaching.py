"""The tables to learn on fit today's catalogue, where they are shipped."""

from pathlib import Path

import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.packaged import TEACHING, teaching_cohort
from ipha_toolkit.io.results import open_results

pytestmark = pytest.mark.skipif(not TEACHING.is_file(), reason="tools/teaching_cohort.py has not been run")


def test_the_shipped_tables_are_of_todays_measures_and_flags(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "tools")
    from teaching_cohort import check

    assert check() == []
    assert TEACHING.stat().st_size < 600e3


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "results").mkdir()
    with pytest.raises(LayoutError, match="is there already"):
        teaching_cohort(tmp_path)


def test_its_results_open_as_those_of_an_analysis(tmp_path):
    found = open_results(teaching_cohort(tmp_path))
    assert len(found) == 140 and not len(found.failures)
    assert {"control", "iph"} == set(found.participants["group"])
    assert len(found.rows) > 1000 and len(found.readings) == 140 and len(found.findings)
