import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.groups import compare_groups
from ipha_toolkit.errors import DataError
from ipha_toolkit.figures.cohort import plot_forest, plot_swimmer, plot_trend
from ipha_toolkit.figures.core import alt_text
from ipha_toolkit.measure.rows import row, table


def ct_rows(values, measure="attenuation_mean"):
    return table(
        row(measure, value, modality="ct", region="lung", n_voxels=9) | {"subject": subject, "session": session}
        for (subject, session), value in values.items()
    )


VISITS = pd.DataFrame({
    "subject": ["sub-1"] * 3 + ["sub-<script>"] * 2,
    "session": ["a", "b", "c", "a", "b"],
    "days": [0.0, 365.25, 730.5, 0.0, 365.25],
    "prednisone_mg_per_day": [40.0, 10.0, np.nan, 0.0, 0.0],
    "phase": ["acute", "subacute", "chronic", "none", "none"],
})  # fmt: skip
ROWS = ct_rows({("sub-1", "a"): -700.0, ("sub-1", "b"): -800.0, ("sub-1", "c"): -810.0})


def test_a_trend_shows_values_over_years_and_the_band_of_the_first():
    scatter = pd.DataFrame([
        {"modality": "ct", "region": "lung", "measure": "attenuation_mean", "repeatability_coefficient": 12.0}
    ])  # fmt: skip
    ax = plot_trend(ROWS, VISITS, measure="attenuation_mean", modality="ct", scatter=scatter)
    line = ax.get_lines()[0]
    assert line.get_xdata() == pytest.approx([0, 1, 2])
    assert line.get_ydata() == pytest.approx([-700, -800, -810])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (-712, -688)
    assert ax.get_ylabel() == "attenuation mean (HU)"
    assert "smallest detectable change, 12" in alt_text(ax)


def test_a_trend_names_the_range_of_controls():
    controls = ct_rows({("c1", "a"): -860.0, ("c2", "a"): -840.0})
    ax = plot_trend(ROWS, VISITS, measure="attenuation_mean", modality="ct", controls=controls)
    assert "range of 2 controls, −860 to −840" in alt_text(ax)


def test_a_trend_without_controls_of_the_measure_has_no_band():
    ax = plot_trend(ROWS, VISITS, measure="attenuation_mean", modality="ct", controls=ROWS.head(0))
    assert "Grey" not in alt_text(ax)


def test_a_clinic_that_knows_no_days_or_doses_is_told_so():
    with pytest.raises(DataError, match="sessions lack the columns days"):
        plot_trend(ROWS, VISITS[["subject", "session"]], measure="attenuation_mean", modality="ct")
    with pytest.raises(DataError, match="sessions lack the columns prednisone_mg_per_day"):
        plot_swimmer(VISITS.drop(columns="prednisone_mg_per_day"))
    with pytest.raises(DataError, match="prednisone_mg_per_day holds 'ten', which is no number"):
        plot_swimmer(VISITS.assign(prednisone_mg_per_day=["ten", "5", None, None, None]))
    ax = plot_swimmer(VISITS.assign(prednisone_mg_per_day=pd.Series([None] * len(VISITS), dtype=object)))
    assert {patch.get_facecolor() for patch in ax.patches} == {(1.0, 1.0, 1.0, 1.0)}


def test_a_trend_of_nobody_is_refused():
    with pytest.raises(ValueError, match="one to 6 subjects that have the measure and a day, got 0"):
        plot_trend(ROWS, VISITS, measure="lung_volume", modality="ct")


def test_a_forest_puts_the_largest_effect_on_top_and_fills_what_is_sure():
    rng = np.random.default_rng(0)
    labels = pd.Series({f"s{n}": "iph" if n < 15 else "control" for n in range(30)})
    values = {
        m: {(s, ""): rng.normal(d * (g == "iph")) for s, g in labels.items()}
        for m, d in (("attenuation_mean", 4), ("attenuation_sd", 0))
    }
    rows = pd.concat([ct_rows(each, measure) for measure, each in values.items()])
    ax = plot_forest(compare_groups(rows, labels))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ct attenuation sd", "ct attenuation mean"]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [dot.get_markerfacecolor() for dot in dots] == ["white", dots[1].get_color()]
    assert alt_text(ax).startswith("Standardized differences from control")
    with pytest.raises(ValueError, match="no measure has an effect size"):
        plot_forest(compare_groups(rows, labels).assign(hedges_g=np.nan))


def test_a_swimmer_draws_every_interval_and_marks_every_visit():
    ax = plot_swimmer(VISITS)
    assert len(ax.patches) == 3
    assert [line.get_marker() for line in ax.get_lines()] == ["|", "|", "v", "s", "o"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sub-<script>", "sub-1"]
    assert "sub-1: acute at 0.0, subacute at 1.0, chronic at 2.0 years" in alt_text(ax)
    assert ax.get_figure().axes[1].get_ylabel() == "prednisone (mg/day)"
    with pytest.raises(ValueError, match="sessions lack the columns phase"):
        plot_swimmer(VISITS.drop(columns="phase"))
