import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.clearing import follow_radiographs, time_to_clear
from ipha_toolkit.measure.rows import row, table


def test_an_exponential_clears_when_four_tenths_are_left():
    days = np.arange(0, 9.0)
    found = time_to_clear(days, 0.9 * np.exp(-days / 1.5) - 0.3, clear=-0.3)
    assert found.days == pytest.approx(1.5 * np.log(2.5), abs=0.2)
    assert found.low <= found.days <= found.high
    assert not found.censored


def test_what_has_not_cleared_by_the_last_film_is_right_censored():
    found = time_to_clear([0, 1, 2], [0.8, 0.75, 0.7], clear=0.0)
    assert found.censored
    assert (found.days, found.low, found.high) == (2, 2, np.inf)


def test_time_runs_from_the_peak_and_missing_films_widen_the_interval():
    found = time_to_clear([-2, 0, 1, 2, 3], [0, 0.8, np.nan, np.nan, 0.0])
    assert (found.peak_day, found.low, found.high) == (0, 0, 3)


def test_a_course_that_stops_far_above_clear_has_not_cleared():
    for opacity in ([0.80, 0.72, 0.66], [0.80, 0.66, 0.66, 0.66]):
        found = time_to_clear(range(len(opacity)), opacity)
        assert found.censored and found.high == np.inf and found.days == len(opacity) - 1
    known = time_to_clear([0, 1, 2], [0.80, 0.72, 0.66], clear=0.64)
    assert not known.censored and known.days < 2
    assert not time_to_clear([0, 1, 2], [0.80, 0.4, 0.2]).censored
    assert not time_to_clear([-3, 0, 1, 2], [0.5, 0.80, 0.6, 0.52]).censored  # a film before the bleed


def test_where_nothing_rose_nothing_clears():
    found = time_to_clear([0, 1, 2], [0.01, 0.03, 0.02])
    assert np.isnan(found.days)
    assert not found.censored


def test_gain_of_the_scale_does_not_move_the_time():
    days, opacity = np.arange(6.0), np.array([0.1, 0.9, 0.5, 0.2, 0.1, 0.1])
    plain, doubled = time_to_clear(days, opacity), time_to_clear(days, 2 * opacity)
    assert plain.days == pytest.approx(doubled.days)


@pytest.mark.parametrize(
    ("days", "opacity", "reason"),
    [([0, 0], [1, 1], "increasing days"), ([0, 1], [1], "increasing days"), ([0], [np.nan], "no film")],
)
def test_a_series_that_is_none_is_refused(days, opacity, reason):
    with pytest.raises(ValueError, match=reason):
        time_to_clear(days, opacity)


def rows(opacity, lines):
    made = []
    for n, (dense, line) in enumerate(zip(opacity, lines, strict=True)):
        for name, value in (("film_opacity_mean", dense), ("film_reticular_score", line)):
            made.append(
                row(name, value, modality="dx", region="lung", n_voxels=9) | {"subject": "a", "session": f"s{n}"}
            )
    return table(made)


def test_a_reticular_pattern_that_follows_a_consolidation_is_seen():
    days = {f"s{n}": float(n) for n in range(4)}
    found = follow_radiographs(rows([0.0, 0.8, 0.3, 0.0], [1.0, 1.0, 1.5, 1.8]), days).iloc[0]
    assert found["reticular_rise"] == pytest.approx(0.8)
    assert found["days_to_clear"] == pytest.approx((0.8 - 0.32) / 0.5)


def test_rows_of_two_patients_or_without_a_day_are_refused():
    one = rows([0.0, 1.0], [1, 1])
    with pytest.raises(ValueError, match="no day given for session s1"):
        follow_radiographs(one, {"s0": 0.0})
    with pytest.raises(ValueError, match="rows of one subject, got a, b"):
        follow_radiographs(pd.concat([one, one.assign(subject="b")]), {"s0": 0.0, "s1": 1.0})
