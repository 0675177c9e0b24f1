"""The demo's page: whole, closed to the network, every picture described, all text escaped."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ipha_toolkit.demo import page
from ipha_toolkit.demo.page import SECTIONS, write_report


@pytest.fixture(scope="module")
def report(small_demo, tmp_path_factory):
    return write_report(small_demo, tmp_path_factory.mktemp("page") / "report.html").read_text("utf-8")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def test_every_section_is_there_and_in_the_contents(report):
    for title, *_ in SECTIONS:
        assert report.count(title) >= 2


def test_nothing_on_the_page_points_outside_it(report):
    tags = Page(report).tags
    for _, attributes in tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    policies = [a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1 and policies[0].startswith("default-src 'none'")


def test_every_picture_has_a_description_with_numbers(report):
    pictures = [attributes for tag, attributes in Page(report).tags if tag == "img"]
    assert len(pictures) > 8
    for picture in pictures:
        assert re.search(r"\d", picture["alt"])


def test_pictures_made_in_a_process_of_their_own_are_the_same(report, small_demo, tmp_path, monkeypatch):
    chosen = [section for section in SECTIONS if section[0] in ("Who was analyzed", "Masks for checking")]
    monkeypatch.setattr(page, "SECTIONS", chosen)
    text = write_report(small_demo, tmp_path / "report.html", workers=2).read_text("utf-8")
    made = [attributes["src"] for tag, attributes in Page(text).tags if tag == "img"]
    assert len(made) > 8 and all(src in report for src in made)


def test_it_says_once_that_it_is_research(report):
    assert report.lower().count("for research, not for diagnosis") == 1


def test_the_table_holds_the_measured_numbers(report, small_demo):
    rows = small_demo.rows
    acute = rows[(rows["session"] == "ses-01") & (rows["subject"] == "sub-006") & (rows["region"] == "lung")]
    value = acute.loc[(acute["measure"] == "attenuation_mean"), "value"].iloc[0]
    assert f"{value:.0f}".replace("-", "−") in report


def test_text_from_data_is_escaped(small_demo, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "SECTIONS", [section for section in SECTIONS if section[1]])  # others: tests/report
    evil = "<script>alert(1)</script>"
    people = (replace(small_demo.people[0], sex=evil), *small_demo.people[1:])
    failure = {"subject": evil, "session": "ses-01", "modality": "ct", "file": "", "error": evil}
    broken = replace(small_demo, people=people, analysis=replace(small_demo.analysis, failures=[failure]))
    text = write_report(broken, tmp_path / "report.html").read_text("utf-8")
    assert evil not in text and text.count("&lt;script&gt;alert(1)") >= 3


def test_sessions_whose_masks_are_gone_still_make_a_page_that_says_so(small_demo, tmp_path):
    shutil.copytree(small_demo.analysis.out, tmp_path / "results")
    shutil.copytree(small_demo.out / "cohort", tmp_path / "cohort")
    films = set((tmp_path / "results").rglob("sub-*/**/*_dx_desc-lung_mask.nii.gz"))
    for path in set((tmp_path / "results").rglob("sub-*/**/*_m[ap]*.nii.gz")) - films:
        path.unlink()
    for path in films:
        path.write_bytes(path.read_bytes() + b"edited")
    bare = replace(small_demo, analysis=replace(small_demo.analysis, out=tmp_path / "results"))
    page = write_report(bare, tmp_path / "report.html").read_text("utf-8")
    assert "Measures by phase" in page and "though ipha analyze wrote it" in page
    assert "Not shown, as image or mask can no longer be read: sub-00" in page
