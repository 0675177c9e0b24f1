"""What every figure shares: a block of a notebook that the data do not allow says why."""

import pandas as pd
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import DataError


def test_what_the_data_do_not_allow_is_said_in_words(capsys):
    with ipha.if_possible():
        raise DataError("no measure has an effect size")
    assert capsys.readouterr().out == "Not shown: no measure has an effect size\n"


def test_words_of_an_error_are_no_html(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda words: shown.append(words._repr_html_()))
    with ipha.if_possible():
        raise DataError("<b>bold</b>")
    assert shown == ["<p>Not shown: &lt;b&gt;bold&lt;/b&gt;</p>"]


def test_other_errors_stop_the_notebook_as_ever():
    with pytest.raises(KeyError), ipha.if_possible():
        raise KeyError("attenuation")


def test_a_wrapped_table_shows_long_texts_whole_and_as_text():
    words = "ground glass opacity absent (ct ground_glass_extent) " * 4 + "<script>"
    html = ipha.plots.wrapped(pd.DataFrame({"reasons": [words], "margin": [0.8333]})).to_html()
    assert words.replace("<script>", "&lt;script&gt;") in html and "0.83<" in html.replace(" ", "")


def figure(words):
    return ipha.plots.describe(ipha.plots.new_figure(2, 1).subplots(), words)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_choice_holds_every_figure_with_its_words(ordered):
    shown = ipha.plots.choose({"day 1": figure("of 1"), "day 2": figure('"2" <b>')}, by="day", ordered=ordered)
    control, pictures = shown.children
    assert control.options == ("day 1", "day 2") and control.description == "day"
    assert pictures.selected_index == 0
    assert [f'alt="{words}"' in one.value for words, one in zip(
        ["of 1", "&quot;2&quot; &lt;b&gt;"], pictures.children, strict=True)] == [True, True]  # fmt: skip


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(DataError, match="there is no figure to choose by day"):
        ipha.plots.choose({}, by="day")
