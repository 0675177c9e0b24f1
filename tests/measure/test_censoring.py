import numpy as np
import pytest

from ipha_toolkit.measure.censoring import censored_quantile


@pytest.mark.parametrize("seed", range(4))
def test_median_and_interval_are_those_of_lifelines(seed):
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    rng = np.random.default_rng(seed)
    values = rng.exponential(10, 60).round(seed % 2)
    censored = rng.random(60) < 0.1 * seed
    theirs = KaplanMeierFitter().fit(values, ~censored)
    interval = median_survival_times(theirs.confidence_interval_).to_numpy().ravel()
    assert censored_quantile(values, censored) == pytest.approx((theirs.median_survival_time_, *interval))


def test_nothing_censored_gives_the_median_and_most_censored_gives_none():
    values = np.arange(1.0, 12)
    assert censored_quantile(values, np.zeros(11, bool))[0] == 6
    assert censored_quantile(values, np.zeros(11, bool), share=0.25)[0] == 3
    assert np.isnan(censored_quantile(values, values > 4)[0])
    assert censored_quantile(values, values > 4)[2] == np.inf
    assert np.isnan(censored_quantile(values, np.ones(11, bool))).all()


def test_values_that_are_none_are_refused():
    with pytest.raises(ValueError, match="values without NaN"):
        censored_quantile([1.0, np.nan], [False, False])
    with pytest.raises(ValueError, match="share lies between 0 and 1, got 50"):
        censored_quantile([1.0], [False], share=50)
