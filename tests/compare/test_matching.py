import pandas as pd
import pytest

from ipha_toolkit.compare.matching import Matching, acquisition_table, unknown, unlike

VIBE = {"field_t": 1.5, "te_ms": 1.4, "tr_ms": 4.0, "flip_deg": 10.0, "contrast": "no", "plane": "3-D"}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"field_t": 3.0}, "field 1.5 T, not 3 T"),
        ({"te_ms": 0.05}, "TE 1.4 ms, not 0.05 ms"),
        ({"te_ms": 1.45}, None),
        ({"tr_ms": 8.0}, "TR 4 ms, not 8 ms"),
        ({"flip_deg": 5.0}, "flip angle 10 degrees, not 5 degrees"),
        ({"contrast": "yes"}, "contrast agent no, not yes"),
        ({"plane": "coronal"}, "plane 3-D, not coronal"),
        ({"fat_suppressed": "yes"}, None),
    ],
)
def test_each_fact_is_compared_with_its_own_tolerance(other, said):
    assert unlike(VIBE | other, VIBE, "T1w") == ((said,) if said else ())


def test_ct_is_compared_by_kernel_voltage_and_breath():
    one = {"kernel": "soft", "kvp": 120.0, "breath": "inspiration", "field_t": 1.5}
    assert unlike(one, one | {"kernel": "lung", "breath": "expiration", "field_t": 3.0}, "ct") == (
        "kernel lung, not soft", "breath expiration, not inspiration",
    )  # fmt: skip


def test_what_nobody_says_parts_no_one_and_is_named():
    assert unlike({}, VIBE, "T1w") == ()
    assert unknown({}, VIBE, "T1w") == ("field", "TE", "TR")


def table(**facts):
    return acquisition_table(
        {"subject": name, "session": "1", "modality": role} | fact
        for name, roles in facts.items() for role, fact in roles.items()
    )  # fmt: skip


def test_a_pair_matches_where_both_images_do():
    t2w = {"field_t": 1.5, "te_ms": 60.0, "tr_ms": 1200.0}
    told = table(
        p={"T1w": VIBE, "T2w": t2w}, a={"T1w": VIBE, "T2w": t2w}, b={"T1w": VIBE, "T2w": t2w | {"te_ms": 90.0}}
    )
    matching = Matching([("a", "1"), ("b", "1")], told)
    assert matching.of("p", "1", "T1w").subjects == {"a", "b"}
    pair = matching.of("p", "1", "T1w+T2w")
    assert (pair.subjects, str(pair), set(pair.flags)) == ({"a"}, "b (T2w TE 90 ms, not 60 ms)", {"controls_left_out"})


def test_a_control_is_left_out_of_its_own_controls():
    matching = Matching([("a", "1"), ("b", "1")], pd.DataFrame(columns=["subject", "session", "modality"]))
    assert matching.of("a", "1", "T1w").subjects == {"b"}
    assert set(matching.of("a", "1", "T1w").flags) == {"sequence_unknown"}
