"""First-order statistics against the consensus values of the IBSI."""

from pathlib import Path

import pandas as pd
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.measure.statistics import attenuation_statistics

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "ct_ibsi1_phantom"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the IBSI phantom is not on this machine")

NAMES = {
    "stat_mean": "mean", "stat_var": "variance", "stat_skew": "skewness", "stat_kurt": "excess_kurtosis",
    "stat_median": "p50", "stat_min": "minimum", "stat_max": "maximum", "stat_p10": "p10", "stat_p90": "p90",
}  # fmt: skip


@pytest.mark.parametrize("tag", NAMES)
def test_config_a_of_the_ibsi_chest_phantom(tag):
    table = pd.read_csv(DATA / "reference_values" / "ibsi_1_chest_config_a.csv", sep=";").set_index("tag")
    ct = ipha.load(DATA / "phantom.nii.gz", modality="ct")
    mask = load_mask(DATA / "mask.nii.gz")
    found = attenuation_statistics(ct.array, mask.array, hu_range=(-500, 400))
    tolerance = float(table.loc[tag, "tolerance"])
    assert found[NAMES[tag]] == pytest.approx(float(table.loc[tag, "reference value"]), abs=max(tolerance, 1e-9))
