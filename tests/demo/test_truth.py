"""Definitions applied anew to what is known, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.demo.truth import TrueSession, agreement, dice, pair, true_session, true_table
from ipha_toolkit.volume import Mask, Volume

GRID = np.eye(4) * [10, 10, 10, 1]


def row_of(values, modality):
    return Volume(np.array(values, float)[:, None, None], GRID, modality=modality)


def mask_of(text):
    return Mask(np.array([c == "x" for c in text])[:, None, None], GRID)


def masks(lung, *, vessel="", muscle="", ground_glass="", consolidation=""):
    given = {
        "lung": lung,
        "vessel": vessel,
        "muscle": muscle,
        "ground_glass": ground_glass,
        "consolidation": consolidation,
    }
    return {name: mask_of(text.ljust(len(lung), ".")) for name, text in given.items()}


def test_ct_classes_are_shares_of_true_lung_without_true_vessels():
    hu = row_of([-850, -700, -500, 0, -100, 40], "ct")
    inside = masks("xxxxx.", vessel="....x.", ground_glass=".xx...", consolidation="...x..")
    found = true_session(("sub-001", "ses-01"), "iph", "acute", {"ct": inside}, {"ct": hu}).values
    assert found["ct", "ground_glass_fraction", "definition"] == 50
    assert found["ct", "consolidation_fraction", "definition"] == 25
    assert found["ct", "ground_glass_fraction", "disease"] == 40
    assert found["ct", "consolidation_fraction", "disease"] == 20
    assert found["ct", "high_attenuation_area", "definition"] == 20
    assert found["ct", "attenuation_mean", "definition"] == pytest.approx(-430)
    assert found["ct", "lung_volume", "definition"] == pytest.approx(5)


def test_a_true_ratio_is_over_the_median_of_true_muscle():
    signal = row_of([10, 20, 30, 90, 100, 110], "T1w")
    found = true_session(
        ("sub-001", "ses-01"), "iph", "acute", {"T1w": masks("xxx...", muscle="...xxx")}, {"T1w": signal}
    )
    assert found.values["T1w", "signal_ratio_median", "definition"] == pytest.approx(0.2)


def session(subject, group, ratios):
    quantiles = np.quantile(ratios, np.linspace(0, 1, 4001))
    return TrueSession(subject, "ses-01", group, "none", ratios={"T1w": quantiles, "T2w": quantiles})


def test_true_fractions_are_against_the_controls_and_a_control_is_not_its_own_reference():
    even = np.linspace(0, 1, 1001)
    found = true_table(
        [session("a", "control", even), session("b", "control", even / 2), session("c", "iph", even + 0.5)]
    )
    value = found.set_index(["subject", "measure"])["true"]
    assert value["c", "hyperintense_fraction"] == pytest.approx(60, abs=0.5)  # pooled 95th percentile is 0.9
    assert value["a", "hyperintense_fraction"] == pytest.approx(52.5, abs=0.5)  # that of b alone is 0.475
    assert value["c", "hypointense_fraction"] == 0


def test_without_controls_there_is_no_true_fraction():
    assert true_table([session("c", "iph", [0.1, 0.2])]).empty


def test_bias_limits_and_missing_by_hand():
    true = pd.DataFrame(
        {"subject": list("abc"), "session": "", "group": "iph", "phase": "acute", "modality": "ct", "measure": "x",
         "kind": "definition", "true": [1.0, 2.0, 3.0]}
    )  # fmt: skip
    rows = pd.DataFrame(
        {"subject": ["a", "b", "b"], "session": "", "modality": "ct", "measure": "x",
         "region": ["lung", "lung", "left"],
         "value": [2.0, 5.0, 99.0], "unit": "%", "flag": ""}
    )  # fmt: skip
    found = agreement(pair(rows, true)).iloc[0]
    assert (found["n"], found["missing"], found["bias"], found["unit"]) == (2, 1, 2.0, "%")
    assert found["high"] - found["bias"] == pytest.approx(1.96 * np.sqrt(2))
    assert found["rank"] == pytest.approx(1)


def test_dice_of_half_overlapping_masks():
    assert dice(mask_of("xx.."), mask_of(".xx.")) == 0.5
