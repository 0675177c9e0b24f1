import numpy as np
import pandas as pd
import pytest

from ipha_toolkit.compare.controls import SessionHistogram, against_controls
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
    assert score(rows, "sub-p")["value"] == pytest.approx((-800 + 840) / 10)
    assert score(rows, "sub-p")["flag"] == "few_controls"
    assert score(rows, "sub-p")["unit"] == "SD"
    assert reference.controls == ("sub-a", "sub-b", "sub-c")


def test_a_control_is_left_out_of_its_own_reference():
    values = {"sub-a": -850, "sub-b": -840, "sub-c": -600}
    rows, _ = against_controls(rows_of(values), [], list(values))
    others = np.array([-850, -840])
    assert score(rows, "sub-c")["value"] == pytest.approx((-600 - others.mean()) / others.std(ddof=1))


def test_five_controls_are_enough():
    values = {f"sub-{n}": -850 + n for n in range(5)} | {"sub-p": -800}
    rows, _ = against_controls(rows_of(values), [], [f"sub-{n}" for n in range(5)])
    assert score(rows, "sub-p")["flag"] == ""
    assert score(rows, "sub-0")["flag"] == "few_controls"  # four are left when it is taken out


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
    assert fraction["sub-a"]["flag"] == "few_controls"


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
