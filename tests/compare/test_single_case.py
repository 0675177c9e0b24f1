import numpy as np
import pytest
from scipy.stats import t

from ipha_toolkit.compare.single_case import single_case, without_covariates


def test_the_tail_probability_is_that_of_crawford_and_howell():
    others = np.array([8.0, 10.0, 12.0, 11.0])
    expected = t.sf((15 - others.mean()) / (others.std(ddof=1) * np.sqrt(5 / 4)), 3)
    from scipy.stats import norm

    assert norm.sf(single_case(15.0, others)) == pytest.approx(expected)
    assert single_case(2 * others.mean() - 15, others) == pytest.approx(-single_case(15.0, others))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_healthy_people_lie_beyond_two_as_rarely_with_few_controls_as_with_many(n):
    rng = np.random.default_rng(n)
    found = [single_case(rng.normal(), rng.normal(size=n)) for _ in range(4000)]
    assert np.mean(np.array(found) > 2) == pytest.approx(0.0228, abs=0.007)


def test_a_line_of_age_is_taken_out_and_a_person_beyond_it_is_less_sure():
    age = np.linspace(5, 15, 14)
    values = 100 - 3 * age + np.random.default_rng(1).normal(0, 1, 14)
    design = age[:, None]
    assert abs(without_covariates(100 - 3 * 10.0, values, [10.0], design)) < 1.5
    near = without_covariates(100 - 3 * 10.0 + 4, values, [10.0], design)
    far = without_covariates(100 - 3 * 30.0 + 4, values, [30.0], design)
    assert near > 2.5 and abs(far) < near


def test_refusals():
    with pytest.raises(ValueError, match="needs two controls or more, got 1"):
        single_case(1.0, [2.0])
    with pytest.raises(ValueError, match="3 controls are too few for 2 covariates"):
        without_covariates(1.0, [1.0, 2.0, 3.0], [1.0, 2.0], [[1.0, 2], [2.0, 1], [3.0, 5]])
    assert np.isnan(single_case(1.0, [2.0, 2.0]))
