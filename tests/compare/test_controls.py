import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.controls import SessionHistogram, against_controls
from ipha_toolkit.compare.matching import acquisition_table
from ipha_toolkit.compare.single_case import single_case
from ipha_toolkit.measure.histogram import BIN_EDGES
from ipha_toolkit.measure.rows import row, table

FLAT = np.zeros(BIN_EDGES.size - 1, int)


def rows_of(values):
    made = [
        row("attenuation_mean", value, modality="ct", region="lung", n_voxels=10)
        | {"subject": subject, "session": "ses-1"}
        for subject, value in values.items()
    ]
    return table(made)


def histogram(subject, ratio, modality="T1w", n=100):
    """All voxels in the bin that begins at ratio."""
    counts = FLAT.copy()
    counts[round(ratio * 200)] = n
    return SessionHistogram(subject, "ses-1", modality, pd.DataFrame({"low": BIN_EDGES[:-1], "lung": counts}))


def score(rows, subject, measure="attenuation_mean_vs_controls"):
    return rows.loc[(rows["subject"] == subject) & (rows["measure"] == measure)].iloc[0]


def test_distance_from_controls_by_hand():
    values = {"sub-a": -850, "sub-b": -840, "sub-c": -830, "sub-p": -800}
    rows, reference = against_controls(rows_of(values), [], ["sub-a", "sub-b", "sub-c"])
    assert score(rows, "sub-p")["value"] == pytest.approx(single_case(-800, [-850, -840, -830]))
    assert score(rows, "sub-p")["flag"] == "few_controls;sequence_unknown"
    assert score(rows, "sub-p")["unit"] == "SD"
    assert reference.controls == ("sub-a", "sub-b", "sub-c")


def test_a_control_is_left_out_of_its_own_reference():
    values = {"sub-a": -850, "sub-b": -840, "sub-c": -600}
    rows, _ = against_controls(rows_of(values), [], list(values))
    assert score(rows, "sub-c")["value"] == pytest.approx(single_case(-600, [-850, -840]))


def test_five_controls_are_enough():
    values = {f"sub-{n}": -850 + n for n in range(5)} | {"sub-p": -800}
    rows, _ = against_controls(rows_of(values), [], [f"sub-{n}" for n in range(5)])
    assert score(rows, "sub-p")["flag"] == "sequence_unknown"
    assert score(rows, "sub-0")["flag"] == "few_controls;sequence_unknown"  # four are left when it is taken out


def test_one_control_or_none_gives_no_distance():
    rows, _ = against_controls(rows_of({"sub-a": -850, "sub-p": -800}), [], ["sub-a"])
    assert len(rows) == 0


def test_the_hyperintense_threshold_comes_from_the_other_controls():
    histograms = [histogram("sub-a", 0.2), histogram("sub-b", 0.2), histogram("sub-c", 0.6), histogram("sub-p", 0.4)]
    rows, reference = against_controls(rows_of(dict.fromkeys(("sub-a", "sub-b", "sub-c", "sub-p"), -800)), histograms,
                                       ["sub-a", "sub-b", "sub-c"])  # fmt: skip
    fraction = {s: score(rows, s, "hyperintense_fraction") for s in ("sub-a", "sub-c", "sub-p")}
    assert fraction["sub-c"]["value"] == pytest.approx(100)  # its own brightness does not excuse it
    assert fraction["sub-p"]["value"] == pytest.approx(0)
    assert 0.6 <= reference.thresholds["T1w"] <= 0.605
    assert fraction["sub-a"]["flag"] == "few_controls;sequence_unknown"


def test_without_controls_the_fallback_is_flagged():
    rows, reference = against_controls(rows_of({"sub-p": -800}), [histogram("sub-p", 0.7)], [])
    found = score(rows, "sub-p", "hyperintense_fraction")
    assert (found["value"], found["flag"]) == (100, "no_controls")
    assert reference.controls == ()


def test_t2w_counts_what_is_darker_than_controls():
    histograms = [histogram("sub-a", 0.3, "T2w"), histogram("sub-b", 0.3, "T2w"), histogram("sub-p", 0.1, "T2w")]
    rows, _ = against_controls(
        rows_of(dict.fromkeys(("sub-a", "sub-b", "sub-p"), -800)), histograms, ["sub-a", "sub-b"]
    )
    assert score(rows, "sub-p", "hypointense_fraction")["value"] == pytest.approx(100)


def test_the_digest_changes_with_the_controls_and_with_nothing_else():
    values = {"sub-a": -850, "sub-b": -840, "sub-p": -800}
    _, one = against_controls(rows_of(values), [], ["sub-a", "sub-b"])
    _, same = against_controls(rows_of(values | {"sub-p": -700}), [], ["sub-a", "sub-b"])
    _, other = against_controls(rows_of(values | {"sub-a": -851}), [], ["sub-a", "sub-b"])
    assert one.digest == same.digest != other.digest


def made(values, **facts):
    """Acquisitions of a CT of each subject; ``sub_p={...}`` in place of the common facts."""
    common = {"kernel": "soft", "kvp": 120.0, "breath": "inspiration", "thickness_mm": 1.0}
    own = {name.replace("_", "-"): given for name, given in facts.items()}
    return acquisition_table(
        {"subject": s, "session": "ses-1", "modality": "ct"} | common | own.get(s, {}) for s in values
    )  # fmt: skip


def test_a_control_scanned_otherwise_is_left_out_by_name():
    values = {"sub-a": -850, "sub-b": -840, "sub-c": -830, "sub-d": -500, "sub-p": -800}
    controls = ["sub-a", "sub-b", "sub-c", "sub-d"]
    told = made(values, sub_d={"breath": "expiration"})
    rows, reference = against_controls(rows_of(values), [], controls, acquisitions=told)
    assert score(rows, "sub-p")["value"] == pytest.approx(single_case(-800, [-850, -840, -830]))
    assert score(rows, "sub-p")["flag"] == "few_controls;controls_left_out"
    assert reference.left_out["sub-p ses-1 ct"] == "sub-d (breath expiration, not inspiration)"


def test_no_control_that_matches_gives_no_distance_and_says_so_beside_the_fallback():
    values = {"sub-a": -850, "sub-b": -840, "sub-p": -800}
    told = pd.DataFrame([
        {"subject": s, "session": "ses-1", "modality": "T1w", "field_t": 3.0 if s == "sub-p" else 1.5} for s in values
    ])  # fmt: skip
    histograms = [histogram(s, 0.2) for s in values]
    rows = rows_of(values).assign(modality="T1w")
    found, _ = against_controls(rows, histograms, ["sub-a", "sub-b"], acquisitions=told)
    assert "attenuation_mean_vs_controls" not in set(found["measure"])
    assert score(found, "sub-p", "hyperintense_fraction")["flag"] == "no_matching_controls"


def test_a_child_against_grown_controls_is_flagged_and_two_grown_ages_are_alike():
    values = {"sub-a": -850, "sub-b": -840, "sub-c": -830, "sub-p": -800, "sub-q": -800}
    ages = {"sub-a": 30, "sub-b": 40, "sub-c": 50, "sub-p": 8, "sub-q": 75}
    people = {name: {"age": float(age)} for name, age in ages.items()}
    rows, _ = against_controls(rows_of(values), [], ["sub-a", "sub-b", "sub-c"], people=people)
    assert "other_age" in score(rows, "sub-p")["flag"]
    assert "other_age" not in score(rows, "sub-q")["flag"]


def test_age_is_taken_out_where_there_are_enough_controls():
    ages = {f"sub-{n:02}": 5.0 + n for n in range(14)}
    rng = np.random.default_rng(0)
    values = {name: -600 - 10 * age + rng.normal(0, 3) for name, age in ages.items()} | {"sub-p": -600 - 10 * 6.0}
    people = {name: {"age": age} for name, age in (ages | {"sub-p": 6.0}).items()}
    rows, _ = against_controls(rows_of(values), [], list(ages), people=people)
    assert abs(score(rows, "sub-p")["value"]) < 2
    assert "adjusted" in score(rows, "sub-p")["flag"]
    plain, _ = against_controls(rows_of(values), [], list(ages))
    assert "adjusted" not in score(plain, "sub-p")["flag"]


def pair_of(subject, t1w, t2w):
    """Every voxel of the lung alike, with some scatter."""
    scatter = np.exp(np.linspace(-0.1, 0.1, 21))
    counts = pd.DataFrame({"t1w": t1w, "t2w": t2w * scatter, "lung": 1.0})
    return SessionHistogram(subject, "ses-1", "T1w+T2w", counts)


def test_patients_with_edema_bend_the_line_and_are_left_out_of_their_own_curve():
    lungs = {"sub-a": (0.1, 0.1), "sub-b": (0.1, 0.1), "sub-e1": (0.2, 0.5), "sub-e2": (0.3, 1.0), "sub-e3": (0.4, 1.6),
             "sub-e4": (0.4, 1.4), "sub-p": (0.2, 0.2)}  # fmt: skip
    rows = table([
        row("signature_floor", 0.0, modality="T1w+T2w", region="lung", n_voxels=21)
        | {"subject": name, "session": "ses-1"} for name in lungs
    ])  # fmt: skip
    pairs, edema = [pair_of(name, *both) for name, both in lungs.items()], [f"sub-e{n}" for n in range(1, 5)]
    plain, _ = against_controls(rows, pairs, ["sub-a", "sub-b"])
    bent, _ = against_controls(rows, pairs, ["sub-a", "sub-b"], edema=edema)
    three, _ = against_controls(rows, pairs, ["sub-a", "sub-b"], edema=edema[:3])
    assert "signature_strength_in_water" not in set(plain["measure"])
    assert "iron_under_water" in score(plain, "sub-p", "signature_strength")["flag"]
    assert score(bent, "sub-p", "signature_strength")["value"] == pytest.approx(0, abs=0.1)
    assert score(bent, "sub-p", "signature_strength_in_water")["value"] > 4
    assert "sub-e1" not in set(three.loc[three["measure"] == "signature_strength_in_water", "subject"])
