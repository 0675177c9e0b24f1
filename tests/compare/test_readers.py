import numpy as np
import pytest
from toys import AFFINE

from ipha_toolkit.compare.readers import (
    bland_altman,
    cohens_kappa,
    compare_masks,
    icc,
    subjects_needed,
    trend_power,
)
from ipha_toolkit.volume import Mask

JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_intraclass_correlations_are_those_of_shrout_and_fleiss():
    absolute, consistent = icc(JUDGES), icc(JUDGES, fixed=True)
    assert (absolute.value, absolute.low, absolute.high) == pytest.approx((0.29, 0.02, 0.76), abs=0.006)
    assert (consistent.value, consistent.low, consistent.high) == pytest.approx((0.71, 0.34, 0.95), abs=0.006)
    assert icc([*JUDGES, [np.nan, 1, 2, 3]]) == absolute
    with pytest.raises(ValueError, match="needs 3 subjects rated by 2 readers, got 2 rated by 4"):
        icc(JUDGES[:2])


def test_limits_of_agreement_by_hand():
    found = bland_altman([1, 2, 3, 4, np.nan], [2, 2, 5, 5, 1])
    assert found.loc["bias", "value"] == 1 and (found["n"] == 4).all()
    sd = np.std([1, 0, 2, 1], ddof=1)
    assert found.loc["upper limit", "value"] == pytest.approx(1 + 1.96 * sd, abs=1e-3)
    assert found.loc["upper limit", "high"] == pytest.approx(1 + 1.96 * sd + 3.182 * sd * np.sqrt(3 / 4), abs=2e-3)
    with pytest.raises(ValueError, match="at least 3 pairs"):
        bland_altman([1, 2], [1, 2])


def test_kappa_is_that_of_the_textbook_and_counts_near_misses_less_where_there_is_an_order():
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = cohens_kappa(first, second)
    assert found.value == pytest.approx(0.4) and found.low < 0.4 < found.high and found.n == 50
    grades = ["none", "mild", "marked"]
    near = cohens_kappa(["none", "mild", "marked"] * 5, ["none", "mild", "mild"] * 5, order=grades)
    assert near.value > cohens_kappa(["none", "mild", "marked"] * 5, ["none", "mild", "mild"] * 5).value
    with pytest.raises(ValueError, match="got severe as well"):
        cohens_kappa(["none"], ["severe"], order=grades)


def test_masks_of_two_readers():
    one = np.zeros((4, 4, 4), bool)
    one[:2] = True
    other = np.roll(one, 1, axis=0)
    found = compare_masks(Mask(one, AFFINE), Mask(other, AFFINE))
    assert found == {"dice": 0.5, "volume_difference_ml": 0.0}


def test_planned_studies():
    assert subjects_needed(0.5) == (64, 64)  # Cohen 1988, table 2.4.1
    assert subjects_needed(1.0, ratio=2) == (13, 25)
    rng = np.random.default_rng(0)
    days = np.array([0, 180, 365, 730])
    years = days / 365.25
    hits = []
    for _ in range(1500):
        values = (2 + rng.normal(0, 3, (8, 1))) * years + rng.normal(0, 2, (8, 4))
        slopes = np.polyfit(years, values.T, 1)[0]
        hits.append(abs(slopes.mean() / slopes.std(ddof=1) * np.sqrt(8)) > 2.3646)
    power = trend_power(2, days, 8, sd_pace=3, sd_within=2)
    assert power == pytest.approx(np.mean(hits), abs=0.04)
    with pytest.raises(ValueError, match="2 subjects seen on 2 days"):
        trend_power(1, [0], 8, sd_pace=1, sd_within=1)
