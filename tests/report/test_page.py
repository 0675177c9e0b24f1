"""The frame of every page: whole, closed to the network, texts escaped."""

import re

from ipha_toolkit import __version__
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.report.page import POLICY, Heading, deck, gallery, in_script, page
from ipha_toolkit.settings import SignalSettings


def test_page_forbids_the_network_and_names_no_address():
    for text in (page("T", "<p>hello</p>"), deck("T", [["<p>hello</p>"]])):
        assert "default-src 'none'" in POLICY
        assert re.search(r'http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;', text)
        assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)


def test_footer_holds_title_date_version_and_protocol():
    footer = page("Iron", "").partition("<footer>")[2]
    assert "<b>Iron</b>" in footer
    assert re.search(r"20\d\d-\d\d-\d\d", footer)
    assert f"ipha_toolkit {__version__}" in footer
    assert f"default ({DEFAULT.digest()[:8]})" in footer


def test_another_protocol_is_named_with_its_settings():
    mine = Protocol(signal=SignalSettings(hyperintense_ratio=0.77))
    footer = page("Iron", "", protocol=mine).partition("<footer>")[2]
    assert f"custom ({mine.digest()[:8]})" in footer
    assert "hyperintense_ratio = 0.77" in footer


def test_research_note_stands_once():
    for body in ("", "<p>For research, not for diagnosis.</p>"):
        assert page("T", body).lower().count("for research, not for diagnosis") == 1
        assert deck("T", [[body]]).lower().count("for research, not for diagnosis") == 1


def test_titles_and_headings_are_escaped():
    hostile = "<script>alert(1)</script>"
    text = page(hostile, "", contents=[Heading(2, "a", hostile)])
    assert hostile not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 3
    card = {"title": hostile, "summary": hostile, "thumbnail": "", "links": [("page", "a.html")]}
    assert hostile not in gallery("T", [card])


def test_json_cannot_end_its_script():
    assert "<" not in in_script({"name": "</script><!--"})
