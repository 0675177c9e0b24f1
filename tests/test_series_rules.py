import pytest

from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.series_rules import choice_rules, choose, label_rules, labels_of, propose_role, role_rules
from ipha_toolkit.terms import Modality

ROLES = [*Modality, "none"]
TWO = ("+5 ct: modality = ct -- definition", "+4 ct: words ~ chest -- chosen", "+20 none: words ~ dose -- chosen",
       "-3 ct: slices < 20 -- chosen")  # fmt: skip


def propose(facts, rules=TWO, **settings):
    return propose_role(facts, rules, roles=list(Modality), **({"least": 4, "sure": 8, "margin": 4} | settings))


def test_support_is_summed_and_the_reason_says_from_what():
    found = propose({"modality": "ct", "words": "chest thin", "slices": 300.0})
    assert (found.role, found.sure) == ("ct", "sure")
    assert found.reason == "modality 'ct' (+5); words 'chest' (+4)"


def test_what_speaks_against_makes_it_likely_only_and_more_leaves_it_open():
    assert propose({"modality": "ct", "words": "chest", "slices": 4.0}).sure == "likely"
    found = propose({"modality": "ct", "slices": 4.0})
    assert (found.role, found.sure) == ("open", "open") and found.reason.startswith("no rule settles it: ")


def test_none_is_a_role_like_others():
    assert propose({"modality": "ct", "words": "chest dose report"}).role == "none"


def test_a_fact_that_is_missing_fulfils_no_test_but_not_alike():
    assert propose({"modality": "ct"}, ("+9 ct: te_ms < 6 -- x",)).role == "open"
    assert propose({"modality": "ct"}, ("+9 ct: contrast !~ . -- x",)).role == "ct"


def test_labels_come_from_the_first_line_that_holds():
    rules = ("acq-exp ct: words ~ exp -- x", "acq-insp ct: words ~ insp -- x")
    assert labels_of({"words": "thorax exp"}, "ct", rules) == {"acq": "exp"}
    assert labels_of({"words": "thorax exp"}, "T1w", rules) == {}


def test_the_first_line_that_tells_candidates_apart_decides():
    thin, thick = {"kernel": "sharp", "mm": 1.0}, {"kernel": "soft", "mm": 5.0}
    assert choose([thin, thick], "ct", ("ct: kernel = soft -- x", "ct: least mm -- x")) == ([1], "kernel = soft")
    assert choose([thin, thick], "ct", ("T1w: kernel = soft -- x", "*: least mm -- x")) == ([0], "least mm")
    assert choose([thin, thin], "ct", ("*: least mm -- x",)) == ([0, 1], "")


@pytest.mark.parametrize(
    ("parse", "line", "text"),
    [
        (
            lambda lines: role_rules(lines, tuple(ROLES)),
            "ct: modality = ct -- x",
            "cannot read 'ct: modality = ct -- x'",
        ),
        (lambda lines: role_rules(lines, tuple(ROLES)), "+3 T3w: te_ms < 6 -- x", "with one of T1w, T2w"),
        (lambda lines: role_rules(lines, tuple(ROLES)), "+3 ct: te_ms < soon -- x", "cannot read 'te_ms < soon'"),
        (lambda lines: role_rules(lines, tuple(ROLES)), "+3 ct: words ~ (a -- x", "cannot read"),
        (label_rules, "exp ct: words ~ exp -- x", "needs a line like 'acq-exp ct"),
        (choice_rules, "ct least mm", "needs a line like 'ct: least thickness_mm"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(parse, line, text):
    with pytest.raises(ProtocolError) as caught:
        parse((line,))
    assert text in str(caught.value)


def test_every_default_line_is_read_and_names_its_source():
    settings = DEFAULT.series
    assert all(rule.source for rule in role_rules(settings.roles, tuple(ROLES)))
    assert label_rules(settings.labels) and choice_rules(settings.choice) and choice_rules(DEFAULT.layout.choice)


@pytest.mark.parametrize(
    ("facts", "role"),
    [
        (
            {
                "modality": "mr",
                "words": "t1 vibe tra",
                "sequence": "GR SP",
                "te_ms": 1.2,
                "tr_ms": 3.5,
                "flip_deg": 10.0,
            },
            "T1w",
        ),
        ({"modality": "mr", "words": "t1 vibe opp", "sequence": "GR SP", "te_ms": 1.2, "tr_ms": 3.5}, "open"),
        (
            {"modality": "mr", "words": "trufi cor", "sequence": "GR SP", "te_ms": 1.5, "tr_ms": 3.5, "flip_deg": 60.0},
            "open",
        ),
        ({"modality": "mr", "words": "t2 haste", "sequence": "SE SK", "te_ms": 60.0, "tr_ms": 1000.0}, "T2w"),
        ({"modality": "mr", "words": "dwi b50 adc", "sequence": "EP SE", "te_ms": 60.0, "tr_ms": 5000.0}, "none"),
        ({"modality": "ct", "words": "head", "body_part": "HEAD", "slices": 200.0}, "open"),
        ({"modality": "ct", "words": "thorax mip", "slices": 200.0}, "none"),
        ({"modality": "dx", "view": "LL", "body_part": "CHEST"}, "none"),
        ({"modality": "dx", "view": "AP", "body_part": "CHEST"}, "dx"),
        ({"modality": "dx", "view": "AP", "body_part": "HAND"}, "none"),
        ({"modality": "us", "words": "lung"}, "none"),
    ],
)
def test_the_default_rules_on_headers_written_by_hand(facts, role):
    s = DEFAULT.series
    found = propose_role(facts, s.roles, roles=list(Modality), least=s.least, sure=s.sure, margin=s.margin)
    assert found.role == role, found
