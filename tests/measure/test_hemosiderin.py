from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from toys import AFFINE, SHAPE, toy_masks, toy_mr

from ipha_toolkit.errors import DataError, GridError, ImageError
from ipha_toolkit.measure.hemosiderin import (
    SignatureReference,
    control_points,
    hemosiderin_signature,
    joint_histogram,
    ratio_pair,
    rician_amplitude,
    signature_reference,
    signature_rows,
)
from ipha_toolkit.measure.water import hidden_loss, water_curve
from ipha_toolkit.regions.zones import lung_regions
from ipha_toolkit.volume import Mask, Volume

LINE = SignatureReference(slope=1.0, spread=0.1, n_controls=9)
LUNGS, MUSCLE = toy_masks()


def signature(t1=40.0, t2=40.0, *, controls=LINE, seed=0, **given):
    """Toy lungs of a T1w and T2w level beside muscle of 80."""
    pair = toy_mr("T1w", lung=t1, seed=seed), toy_mr("T2w", lung=t2, seed=seed + 1)
    return of_pair(pair, controls=controls, **given)


def of_pair(pair, *, controls=LINE, **given):
    """Images without shading need no bias field removed."""
    pair = tuple(pair)
    return hemosiderin_signature(*pair, LUNGS, reference=MUSCLE, controls=controls, corrected=pair, **given)


def values_of(rows, region="lung"):
    return rows[rows["region"] == region].set_index("measure")["value"]


def test_distance_below_the_line_by_hand():
    assert LINE.predicted([0.5, 0.2]).tolist() == [0.5, 0.2]
    assert LINE.below([0.5, 0.5, 0.5], [0.25, 0.125, 1.0]) == pytest.approx([6.93, 13.86, -6.93], abs=0.01)
    assert LINE.below([0.5, 0.5, 0.5], [0.025, 0.0, -0.1]) == pytest.approx(3 * [29.96], abs=0.01)
    assert np.isfinite(LINE.below(-0.1, 0.1))


def test_twice_the_loss_of_r2_is_twice_the_distance():
    once, twice = (LINE.below(0.5, 0.5 * np.exp(-0.06 * r2)) for r2 in (10, 20))
    assert twice == pytest.approx(2 * once)


@pytest.mark.parametrize("true", [0.0, 0.5, 1.0, 3.0, 30.0])
def test_the_mean_of_rician_noise_tells_the_signal_under_it(true):
    noise = np.random.default_rng(0).normal(0, 1, (2, 2_000_000))
    mean = np.hypot(true + noise[0], noise[1]).mean()
    found = rician_amplitude(mean, 1.0)
    assert found == pytest.approx(true, abs=0.01 if true else 0.08)
    assert rician_amplitude(mean, 0.0) == pytest.approx(mean)


def test_water_lies_on_the_line_iron_below_and_edema_above():
    on, below, above = (values_of(signature(40, t2)[0]) for t2 in (40, 8, 72))
    assert abs(on["signature_strength"]) < 0.4 and on["signature_fraction"] < 3
    assert below["signature_strength"] > 5 and below["signature_fraction"] > 95
    assert above["signature_strength"] < -5 and above["signature_fraction"] == 0
    assert above["signature_load"] == pytest.approx(0, abs=0.02)


def test_the_darker_the_t2w_the_stronger_the_signature():
    found = [values_of(signature(40, t2)[0]) for t2 in (40, 32, 24, 16, 8, 0)]
    for measure in ("signature_strength", "signature_load"):
        series = [values[measure] for values in found]
        assert series == sorted(series)


def body(modality, lung, sigma, seed):
    """The toy chest with noise of one's own choice."""
    clean = np.zeros(SHAPE)
    clean[4:36, 4:26, 2:32] = 100
    clean[MUSCLE.array], clean[LUNGS.array] = 80, lung
    noise = np.random.default_rng(seed).normal(0, sigma, (2, *SHAPE))
    return Volume(np.hypot(clean + noise[0], noise[1]), AFFINE, modality=modality)


@pytest.mark.parametrize("lung_t2", [10.0, 25.0])
def test_neither_gain_nor_noise_moves_it(lung_t2):
    found = []
    for sigma, gain in ((2.0, 1.0), (2.0, 40.0), (4.0, 1.0), (6.0, 0.2)):
        pair = [body("T1w", 40, sigma, 1), body("T2w", lung_t2, sigma, 2)]
        rows, _ = of_pair([v.replace(array=v.array * gain) for v in pair])
        found.append(values_of(rows)["signature_strength"])
    assert found[1:] == pytest.approx([found[0]] * 3, rel=0.05)
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_lung_at_the_noise_floor_on_both_is_no_evidence():
    rows, maps = signature(0, 0)
    found = values_of(rows)
    assert found["signature_no_evidence"] > 90
    assert found["signature_fraction"] < 6
    assert np.isnan(maps["signature"].array[LUNGS.array]).mean() > 0.9
    assert rows.loc[rows["measure"] == "signature_fraction", "flag"].str.contains("no_evidence").all()


def test_maps_are_of_the_lungs_and_say_the_same_as_the_rows():
    rows, maps = signature(40, 30)
    assert set(maps) == {"signature", "t1w_ratio", "t2w_ratio"}
    assert maps["signature"].unit == "SD"
    for volume in maps.values():
        assert volume.same_grid(LUNGS) and np.isnan(volume.array[~LUNGS.array]).all()
    assert np.median(maps["t1w_ratio"].array[LUNGS.array]) == pytest.approx(0.5, rel=0.02)
    below = maps["signature"].array[LUNGS.array]
    assert np.nanmean(below) == pytest.approx(values_of(rows)["signature_strength"], rel=0.02)
    assert 100 * np.mean(below > 2) == pytest.approx(values_of(rows)["signature_fraction"], abs=6)


def test_a_dark_upper_third_has_a_higher_load_than_the_lower():
    t2w = toy_mr("T2w", lung=40, seed=1)
    array = t2w.array.copy()
    array[:, :, 21:] *= np.where(LUNGS.array[:, :, 21:], 0.3, 1)
    rows, _ = of_pair([toy_mr("T1w", lung=40), t2w.replace(array=array)])
    assert values_of(rows)["signature_upper_lower_ratio"] > 5
    assert values_of(rows, "upper")["signature_strength"] > values_of(rows, "lower")["signature_strength"] + 3


def test_the_interval_of_the_strength_comes_from_the_scatter_between_controls():
    one, other = (values_of(signature(40, 25, controls=replace(LINE, between=b))[0]) for b in (2.0, 6.0))
    for values in (one, other):
        assert values["signature_strength_lower"] < values["signature_strength"] < values["signature_strength_upper"]
    half = (one["signature_strength_upper"] - one["signature_strength_lower"]) / 2
    assert half == pytest.approx(t.ppf(0.975, 8) * 2.0 * np.sqrt(10 / 9))
    assert (other["signature_strength_upper"] - other["signature_strength_lower"]) / 2 == pytest.approx(3 * half)


def test_how_much_iron_would_not_show_grows_with_scatter_and_with_water():
    """Water of a tenth hides iron of 0.2 on the phantom: a strength near 0, at a T1w gain of 1.3."""
    line = replace(LINE, between=0.6, level=0.5)
    dry, scattered, wet = (
        values_of(signature(muscle_share, 40, controls=one)[0])["signature_hidden_loss"]
        for muscle_share, one in ((40, line), (40, replace(line, between=2.0)), (52, replace(line, slope=0.77)))
    )
    assert 0 < dry < scattered < 100 and dry < wet < 100
    known = replace(line, slope=0.77, curve=((1.0, 1.0), (2.0, 1.1)))
    assert values_of(signature(52, 40, controls=known)[0])["signature_hidden_loss"] < wet
    assert np.isnan(hidden_loss(np.nan, 0.13, 1.0, (), 1.5))


def test_no_iron_is_limited_where_much_would_not_show():
    quiet, loud = (replace(LINE, between=between, level=0.5) for between in (0.2, 3.0))
    flags = [
        signature(40, 40, controls=line)[0].query("measure == 'signature_strength'")["flag"] for line in (quiet, loud)
    ]
    assert not flags[0].str.contains("iron_may_hide").any() and flags[1].str.contains("iron_may_hide").all()
    seen = signature(40, 4, controls=loud)[0].query("measure == 'signature_strength' and region == 'lung'")["flag"]
    assert not seen.str.contains("iron_may_hide").any()


def test_the_interval_of_a_control_left_out_holds_zero_nearly_always():
    rng = np.random.default_rng(5)
    held = []
    for _ in range(30):
        people = [controls_histogram(1.2 * np.exp(rng.normal(0, 0.15)), seed=int(rng.integers(1e9))) for _ in range(6)]
        line = signature_reference(people[1:])
        found = {r["measure"]: r["value"] for r in signature_rows(people[0], line, 0.0)}
        held.append(found["signature_strength_lower"] <= 0 <= found["signature_strength_upper"])
    assert np.mean(held) >= 0.87


def controls_histogram(slope, seed, vessels=0.0):
    """Joint histogram of a lung on a line, a share of it vessels that are bright on T1w and dark on T2w."""
    rng = np.random.default_rng(seed)
    t1 = rng.uniform(0.05, 0.4, SHAPE)
    t2 = slope * t1 * (1 + 0.12 * rng.standard_normal(SHAPE)) + 0.01 * rng.standard_normal(SHAPE)
    vessel = rng.random(SHAPE) < vessels
    t1[vessel], t2[vessel] = 1.0, 0.1
    pair = type("Pair", (), {"t1w": Volume(t1, AFFINE), "t2w": Volume(t2, AFFINE)})
    return joint_histogram(pair, {"lung": LUNGS}, LUNGS)


def test_line_and_spread_are_recovered_from_controls_vessels_or_not():
    for vessels in (0.0, 0.06):
        line = signature_reference([controls_histogram(1.4, seed, vessels=vessels) for seed in range(6)])
        assert line.slope == pytest.approx(1.4, rel=0.03)
        assert line.spread == pytest.approx(0.13, abs=0.02)
        assert line.n_controls == 6 and line.flags() == []


def test_few_controls_and_none_are_flagged():
    few = signature_reference([controls_histogram(1.2, 0)])
    assert few.flags() == ["few_controls"]
    with pytest.raises(DataError, match="needs joint histograms of one control at least"):
        signature_reference([])


def test_without_controls_there_are_ratios_and_maps_but_no_strength():
    rows, maps = signature(40, 20, controls=None)
    assert set(rows["measure"]) == {"signature_floor", "t2w_over_t1w"}
    assert values_of(rows)["t2w_over_t1w"] == pytest.approx(0.5, rel=0.05)
    assert maps["signature"].unit == "1"
    assert np.nanmedian(maps["signature"].array[LUNGS.array]) == pytest.approx(np.log(2), abs=0.06)


def test_controls_may_be_given_as_their_images():
    images = [(toy_mr("T1w", lung=40, seed=s), toy_mr("T2w", lung=20, seed=s + 50), LUNGS, MUSCLE) for s in (1, 2)]
    line = signature_reference([joint_histogram(ratio_pair(*image), {"lung": LUNGS}, LUNGS) for image in images])
    one, other = signature(controls=images)[0], signature(controls=line)[0]
    pd.testing.assert_frame_equal(one, other)
    assert values_of(one)["signature_slope"] == pytest.approx(0.5, rel=0.05)


def test_rows_come_from_the_histogram_alone():
    pair = ratio_pair(toy_mr("T1w", lung=40), toy_mr("T2w", lung=20, seed=1), LUNGS, MUSCLE)
    histogram = joint_histogram(pair, lung_regions(LUNGS), LUNGS)
    assert histogram["lung"].sum() == LUNGS.n_voxels
    assert histogram.filter(like="block-").sum(axis=1).equals(histogram["lung"].rename(None))
    again = pd.read_csv(pd.io.common.StringIO(histogram.to_csv(index=False)))
    values = [pd.DataFrame(signature_rows(h, LINE, pair.floor))["value"] for h in (histogram, again)]
    assert values[0].tolist() == pytest.approx(values[1].tolist(), nan_ok=True)


def test_contrast_agent_is_flagged_in_every_row():
    t1w = toy_mr("T1w", lung=40).replace(meta={"ContrastBolusIngredient": "GADOLINIUM"})
    rows, _ = of_pair([t1w, toy_mr("T2w", lung=40)])
    assert rows["flag"].str.contains("contrast_enhanced").all()


def test_background_set_to_zero_gives_an_answer_without_a_floor():
    pair = [toy_mr(m, lung=40, seed=n) for n, m in enumerate(("T1w", "T2w"))]
    zeroed = [v.replace(array=np.where(v.array < 12, 0, v.array)) for v in pair]
    rows, _ = of_pair(zeroed)
    assert rows["flag"].str.contains("noise_not_estimable").all()
    assert abs(values_of(rows)["signature_strength"]) < 0.5
    assert np.isnan(values_of(rows)["signature_floor"])


def test_what_cannot_be_compared_is_refused():
    t1w, t2w = toy_mr("T1w"), toy_mr("T2w")
    with pytest.raises(ImageError, match="needs modality T2w, got T1w"):
        hemosiderin_signature(t1w, t1w, LUNGS, reference=MUSCLE)
    with pytest.raises(GridError, match="different grid"):
        hemosiderin_signature(t1w, t2w.replace(affine=np.diag([8.0, 8.0, 9.0, 1.0])), LUNGS, reference=MUSCLE)
    with pytest.raises(GridError, match="different grid"):
        hemosiderin_signature(t1w, t2w, Mask(LUNGS.array[1:], AFFINE), reference=MUSCLE)
    with pytest.raises(ImageError, match="needs magnitude images"):
        hemosiderin_signature(t1w, t2w.replace(array=t2w.array - 50), LUNGS, reference=MUSCLE)


def test_inputs_are_not_changed():
    t1w, t2w = toy_mr("T1w"), toy_mr("T2w")
    before = t1w.array.copy(), t2w.array.copy()
    of_pair([t1w, t2w])
    assert np.array_equal(before[0], t1w.array) and np.array_equal(before[1], t2w.array)


def lung_of(gain, rise, *, iron=0.0):
    """Joint histogram of an even lung: T1w over 0.1, T2w over T1w over 1, less what iron takes."""
    rng = np.random.default_rng(int(100 * gain))
    t1w = 0.1 * gain * np.exp(rng.normal(0, 0.1, 400))
    return pd.DataFrame({"t1w": t1w, "t2w": t1w * rise * np.exp(rng.normal(0, 0.1, 400) - iron), "lung": 1.0})


def strengths(histogram, line):
    rows = pd.DataFrame(signature_rows(histogram, line, 0.0))
    lung = rows[rows["region"] == "lung"].set_index("measure")
    return lung["value"], lung["flag"]


def test_iron_under_water_is_flagged_and_found_again_below_the_curve_of_edema():
    line = signature_reference([lung_of(g, 1.0) for g in (0.9, 1.0, 1.1)])
    wet = [control_points(lung_of(g, r)) for g, r in ((2.0, 2.5), (3.0, 3.2), (4.0, 3.6))]
    bent = replace(line, curve=water_curve(line.level, line.slope, wet))
    dry, flags = strengths(lung_of(1.0, 1.0, iron=0.6), line)
    assert dry["signature_strength"] > 3 and "iron_under_water" not in flags["signature_strength"]
    hidden, flags = strengths(lung_of(2.5, 2.85, iron=0.6), line)
    assert hidden["signature_strength"] < 0 and "iron_under_water" in flags["signature_strength"]
    assert "signature_strength_in_water" not in hidden
    found, water = (
        strengths(lung_of(2.5, 2.85, iron=iron), bent)[0]["signature_strength_in_water"] for iron in (0.6, 0)
    )
    assert found > 3 and abs(water) < 1.5
    assert water_curve(line.level, line.slope, wet[:2]) == ()
