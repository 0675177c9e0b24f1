"""ComBat over sites: what it takes away, what it keeps, what it refuses."""

import sys

import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.harmonize import as_rows, combat
from ipha_toolkit.compare.sites import compare_sites
from ipha_toolkit.errors import DataError, DependencyError
from ipha_toolkit.measure.rows import row, table

MEASURES = ("attenuation_mean", "ground_glass_fraction", "reticulation", "patchiness")


def cohort(n=8, *, offset=3.0, effect=2.0, alone=False):
    """Three sites, one of them off by an offset in every measure; patients differ by an effect."""
    rng, rows, group, site = np.random.default_rng(1), [], {}, {}
    for s, name in enumerate("abc"):
        for k in range(2 * n):
            subject = f"sub-{name}{k:02}"
            sick = (k >= n and not (alone and name != "c")) or (alone and name == "c")
            group[subject], site[subject] = ("iph" if sick else "control"), name
            for m, measure in enumerate(MEASURES):
                value = 10 + m + rng.normal() + (offset if s == 2 else 0) + (effect if sick else 0)
                rows.append(row(measure, value, modality="ct", region="lung", n_voxels=9) | {"subject": subject})
    return table(rows), pd.Series(group), pd.Series(site)


def spread_of_sites(values, column):
    controls = values[values["group"] == "control"]
    return controls.groupby(["measure", "site"])[column].mean().groupby("measure").std().mean()


def test_an_offset_of_a_site_goes_and_the_groups_difference_stays():
    pytest.importorskip("combatlearn", reason="the extra harmonize is not installed")
    rows, group, site = cohort()
    values, said = combat(rows, group, site)
    assert spread_of_sites(values, "harmonized") < 0.3 * spread_of_sites(values, "measured")
    found = compare_sites(as_rows(values), group, site)
    assert found["difference"].between(1.3, 2.7).all()
    assert "combatlearn" in said[0] and "group kept" in said[0]
    assert values["measured"].equals(combat(rows, group, site)[0]["measured"])


def test_sites_that_cannot_be_told_from_the_disease_are_refused():
    pytest.importorskip("combatlearn", reason="the extra harmonize is not installed")
    rows, group, site = cohort(alone=True)
    with pytest.raises(DataError, match=r"ct is left as measured: every site needs 3 of group control, c has 0"):
        combat(rows, group, site)
    with pytest.raises(DataError, match="all are of one site"):
        combat(rows, group, site.map(lambda _: "a"))


def test_a_measure_that_someone_lacks_is_left_as_measured_by_name():
    pytest.importorskip("combatlearn", reason="the extra harmonize is not installed")
    rows, group, site = cohort()
    rows.loc[0, "value"] = float("nan")
    values, said = combat(rows, group, site)
    assert MEASURES[0] not in set(values["measure"]) and said[1].endswith(f"everywhere: {MEASURES[0]}")


def test_the_library_is_asked_for_by_the_name_of_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "combatlearn", None)
    with pytest.raises(DependencyError, match=r"ipha-toolkit\[harmonize\]"):
        combat(*cohort(3))
