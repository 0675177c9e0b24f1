"""The tables to learn on fit today's catalogue, where they are shipped."""

import json
from pathlib import Path

import pytest

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.names import POOLING
from ipha_toolkit.io.packaged import SITES, TEACHING, teaching_cohort, teaching_sites
from ipha_toolkit.io.results import open_results
from ipha_toolkit.run.pool import pool

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


@pytest.mark.skipif(not SITES.is_file(), reason="tools/teaching_sites.py has not been run")
def test_the_shipped_sites_pool_and_say_how_their_field_and_kernel_differ(tmp_path):
    pooled = pool(teaching_sites(tmp_path), tmp_path / "pooled")
    said = json.loads((pooled.path / POOLING).read_text("utf-8"))["images made otherwise"]
    assert any("ct of south from north: kernel" in text for text in said)
    assert any("T1w of south from north: field 3 T, not 1.5 T" in text for text in said)
    assert not any("west from north" in text for text in said)
    ratio = pooled.rows[(pooled.rows["measure"] == "signal_ratio_median") & (pooled.rows["region"] == "lung")]
    assert ratio["value"].notna().sum() == 21  # every T1w is measured: muscle is found
    assert pooled.participants.groupby(["site", "group"]).size().to_dict() == {
        (site, group): n for site in ("north", "south", "west") for group, n in (("control", 4), ("iph", 3))
    }
    assert SITES.stat().st_size < 600e3
