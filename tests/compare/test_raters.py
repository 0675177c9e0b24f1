import pandas as pd
import pytest

from ipha_toolkit.compare.raters import rater_agreement

VERDICTS = ("good", "usable", "unusable")


def ratings(one, other, hashes=None):
    rows = []
    for rater, verdicts in (("AB", one), ("CD", other)):
        for number, verdict in enumerate(verdicts):
            digest = (hashes or {}).get((rater, number), "h")
            rows.append(["sub-1", f"ses-{number}", "ct", rater, verdict, digest])
    return pd.DataFrame(rows, columns=["subject", "session", "image", "rater", "verdict", "hash"])


def test_kappa_is_that_counted_by_hand():
    # 20 alike of 25; by chance 0.6 * 0.6 + 0.4 * 0.4: the kappa of (0.8 - 0.52) / (1 - 0.52)
    one = ["good"] * 15 + ["unusable"] * 10
    other = ["good"] * 12 + ["unusable"] * 3 + ["good"] * 3 + ["unusable"] * 7
    found = rater_agreement(ratings(one, other), VERDICTS).iloc[0]
    same = (12 + 7) / 25
    chance = 0.6 * 0.6 + 0.4 * 0.4
    assert found["n"] == 25
    assert found["agree"] == pytest.approx(same)
    assert found["kappa"] == pytest.approx((same - chance) / (1 - chance))
    assert found["low"] < found["kappa"] < found["high"] <= 1


def test_neighbouring_verdicts_weigh_less():
    near = rater_agreement(ratings(["good", "usable", "unusable"] * 4, ["usable", "usable", "unusable"] * 4), VERDICTS)
    far = rater_agreement(ratings(["good", "usable", "unusable"] * 4, ["unusable", "usable", "unusable"] * 4), VERDICTS)
    assert near["weighted_kappa"].iloc[0] > far["weighted_kappa"].iloc[0]


def test_what_says_nothing_is_withheld_in_words():
    found = rater_agreement(ratings(["good"] * 5, ["good"] * 5), VERDICTS).iloc[0]
    assert found["agree"] == 1
    assert pd.isna(found["kappa"])
    assert "kappa says nothing" in found["note"]
    apart = rater_agreement(ratings(["good"], ["good"], {("AB", 0): "old"}), VERDICTS).iloc[0]
    assert apart["n"] == 0
    assert apart["note"] == "no image was rated by both"
