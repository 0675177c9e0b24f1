"""Images rated one after another, by Python and in an exported page."""

from pathlib import Path

import pytest
from browsing import barriers, opened, settle
from ipywidgets import Widget

import ipha_toolkit as ipha
from ipha_toolkit.io.ratings import read_ratings


@pytest.fixture
def results(toy_analysis):
    return ipha.open_results(toy_analysis / "out")


@pytest.fixture
def queue(results, tmp_path):
    yield ipha.review(results, ratings=tmp_path / "ratings", rater="AB")
    Widget.close_all()


def test_a_verdict_is_on_disk_as_soon_as_it_is_given_and_the_next_image_comes(queue, tmp_path):
    first, second = queue.viewer, queue._queue[1]
    queue.rate("unusable", reasons=["motion", "wrong mask"], note="breath")
    assert queue.current == 1
    assert queue.viewer is not first
    assert second["image"] in ("T1w", "ct")
    table = read_ratings(tmp_path / "ratings" / "ratings.tsv")
    assert table[["rater", "verdict", "reasons", "note"]].to_numpy().tolist() == [
        ["AB", "unusable", "motion; wrong mask", "breath"]
    ]
    assert table.loc[0, "hash"] == queue._queue[0]["hash"]
    queue.current = 0
    queue.rate("good")
    assert read_ratings(tmp_path / "ratings")["verdict"].tolist() == ["good"]
    assert queue.table["verdict"].tolist()[0] == "good"


def test_what_stands_on_disk_is_taken_up_by_its_rater_alone(results, queue, tmp_path):
    queue.rate("usable")
    again = ipha.review(results, ratings=tmp_path / "ratings", rater="CD")
    assert again.ratings == []
    again.rater = "AB"
    assert [row["verdict"] for row in again.ratings] == ["usable"]


def test_what_cannot_be_rated_is_refused(results, queue, tmp_path):
    with pytest.raises(ValueError, match="got 'fine'"):
        queue.rate("fine")
    queue.rater = ""
    with pytest.raises(ValueError, match="needs the rater's initials"):
        queue.rate("good")
    with pytest.raises(ValueError, match="the results hold masks of T1w, ct"):
        ipha.review(results, ratings=tmp_path, images=["dx"])


def test_few_viewers_are_held_at_once(queue):
    for number in range(6):
        queue.current = number
    assert len(queue._viewers) <= 2


def test_a_colleague_rates_offline_and_saves_the_table(results, offline_page, tmp_path):
    queue = ipha.review(results, ratings=tmp_path / "ratings")
    page_file = tmp_path / "review.html"
    page_file.write_text(f'<!DOCTYPE html><html data-ipha-page><meta charset="utf-8"><body>{queue.to_html()}', "utf-8")
    page = opened(offline_page, page_file.as_uri())
    assert page.locator("canvas.ipha-slice").count() == 1
    assert page.locator("img").count() == 0
    page.keyboard.press("Tab")
    page.locator("canvas.ipha-slice").focus()
    page.keyboard.press("g")  # without initials nothing is rated
    assert page.evaluate("document.activeElement.className") == "ipha-initials"
    page.keyboard.type("CD")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "ipha-slice"
    page.keyboard.press("Shift+Digit1")
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("t")
    page.keyboard.type('blurred "twice"')
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.wait_for_selector(".ipha-viewer[data-ready]")
    settle(page)
    assert page.locator(".ipha-review-head select").evaluate("(e) => e.selectedIndex") == 1
    page.keyboard.press("ArrowUp")  # keys of the viewer go on to work
    page.keyboard.press("u")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 2")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('.ipha-review-head select').selectedIndex === 3")
    page.keyboard.press("Backspace")
    with page.expect_download() as saved:
        page.keyboard.press("w")
    assert saved.value.suggested_filename == "ratings.tsv"
    saved.value.save_as(tmp_path / "back" / "ratings.tsv")
    table = read_ratings(tmp_path / "back")
    assert sorted(table["verdict"]) == ["unusable", "usable"]
    first = table[table["verdict"] == "unusable"].iloc[0]
    assert first["rater"] == "CD"
    assert first["reasons"] == "motion; wrong mask"
    assert first["note"] == 'blurred "twice"'
    assert first["hash"] == queue._queue[0]["hash"]
    page.keyboard.press("Backspace")
    assert page.locator(".ipha-unusable").get_attribute("aria-pressed") in ("true", "false")
    assert not Path(tmp_path / "ratings").exists()
    assert page.requests == []
    assert page.errors == []
    Widget.close_all()


@pytest.mark.parametrize("went", ["nowhere", ".ipha-note", "#cell"])
def test_an_image_that_comes_late_takes_no_focus_from_whoever_types(went, results, offline_page, tmp_path):
    queue = ipha.review(results, ratings=tmp_path / "ratings", rater="CD")
    page_file = tmp_path / "review.html"
    head = '<!DOCTYPE html><html data-ipha-page><meta charset="utf-8"><body><textarea id="cell"></textarea>'
    page_file.write_text(head + queue.to_html(), "utf-8")
    page = opened(offline_page, page_file.as_uri())
    page.locator("canvas.ipha-slice").focus()
    page.evaluate("""() => {
        const manager = [...document.querySelectorAll("*")].find((e) => e.iphaReview).iphaReview.model.widget_manager;
        const get = manager.get_model.bind(manager), until = new Promise((come) => { window.come = come; });
        manager.get_model = (id) => until.then(() => get(id));
    }""")
    page.keyboard.press("g")
    page.wait_for_selector(".ipha-review-wait")
    if went != "nowhere":
        page.locator(went).focus()
    page.evaluate("() => window.come()")
    page.wait_for_selector("canvas.ipha-slice")
    page.wait_for_selector(".ipha-viewer[data-ready]")
    page.keyboard.press("u")
    rated = page.evaluate("() => [...document.querySelectorAll('*')].find((e) => e.iphaReview).iphaReview.own().length")
    typed = "" if went == "nowhere" else page.locator(went).input_value()
    assert (rated, typed) == ((2, "") if went == "nowhere" else (1, "u"))
    Widget.close_all()


def test_a_page_says_how_many_images_it_holds_and_which(results, offline_page, tmp_path):
    queue = ipha.review(results, ratings=tmp_path / "ratings", rater="AB", export_first=2)
    doubts = queue.table["doubt"].tolist()
    assert doubts == sorted(doubts, reverse=True)
    page_file = tmp_path / "review.html"
    page_file.write_text(f'<!DOCTYPE html><html data-ipha-page><meta charset="utf-8"><body>{queue.to_html()}', "utf-8")
    page = opened(offline_page, page_file.as_uri())
    said = "This page holds the slices of 2 of 6 images, those most in doubt"
    assert page.locator(".ipha-review-carried").inner_text().startswith(said)
    page.locator(".ipha-review-head select").select_option(index=2)
    waiting = page.locator(".ipha-review-wait").inner_text()
    assert waiting.startswith(f"The slices of this image are not on this page. {said}")
    page.locator(".ipha-review-head select").select_option(index=1)
    page.wait_for_selector(".ipha-viewer[data-ready]")
    Widget.close_all()


def test_nothing_keeps_a_reader_out(results, offline_page, tmp_path):
    queue = ipha.review(results, ratings=tmp_path / "ratings", rater="AB")
    page_file = tmp_path / "review.html"
    page_file.write_text(f'<!DOCTYPE html><html data-ipha-page><meta charset="utf-8"><body>{queue.to_html()}', "utf-8")
    page = opened(offline_page, page_file.as_uri())
    assert barriers(page, ".ipha-review") == []
    page.locator("canvas.ipha-slice").focus()
    page.keyboard.press("g")
    page.wait_for_selector(".ipha-viewer[data-ready]")
    assert barriers(page, ".ipha-review") == []
    Widget.close_all()


def test_all_images_travel_where_that_is_asked_for(results, tmp_path):
    queue = ipha.review(results, ratings=tmp_path / "ratings", rater="AB", export_first=None)
    queue.embed()
    assert len(queue._viewers) == len(queue._queue) == 6
    assert queue._carried == "This page holds the slices of all 6 images."
    with pytest.raises(ValueError, match="export_first needs to be 1 or more, or None for all images, got 0"):
        ipha.review(results, ratings=tmp_path / "ratings", export_first=0)
    Widget.close_all()
