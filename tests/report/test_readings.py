"""The table of readings: phase and verdict in a line, reasons, limits and flags folded below it, all of it on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from browsing import FLAGS, find_chromium

from ipha_toolkit.protocol import DEFAULT
from ipha_toolkit.report.pieces import write_sections
from ipha_toolkit.report.readings import readings_table

LONG = "; ".join(f"for acute: finding {n} marked (ct some long measure {n} %) [someone 2020]" for n in range(9))
READINGS = pd.DataFrame({
    "subject": [f"sub-{n:03}" for n in range(16)], "session": "ses-01", "phase": "acute", "verdict": "limited",
    "margin": 0.5, "reasons": LONG, "limits": "child: cuts are of adults <b>", "flags": "few_controls; child",
})  # fmt: skip


def test_a_line_holds_phase_truth_and_verdict_and_folds_the_rest() -> None:
    true = {(row.subject, row.session): "acute" if n else "none" for n, row in enumerate(READINGS.itertuples())}
    html = readings_table(READINGS, true)
    assert html.count("acute ✓") == 15 and "<td>none</td><td>acute</td><td>limited</td>" in html
    assert html.count("<details>") == 16 and "few controls" in html
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_without_a_truth_there_is_no_column_of_it() -> None:
    assert "true phase" not in readings_table(READINGS) and "✓" not in readings_table(READINGS)


def test_a_reading_without_reasons_says_so() -> None:
    assert "no reason told" in readings_table(READINGS.head(1).assign(reasons="", limits="", flags=""))


@pytest.fixture
def page(tmp_path: Path) -> Any:
    if find_chromium() is None:
        pytest.skip("needs Chromium or Chrome")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = write_sections(tmp_path / "p.html", "Page", "", [("Readings", readings_table(READINGS))], protocol=DEFAULT)
    with sync.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 720})
        opened.goto(path.as_uri())
        yield opened
        browser.close()


def test_sixteen_sessions_are_seen_at_once_and_nothing_scrolls_sideways(page: Any) -> None:
    box = page.locator("table.readings").bounding_box()
    assert box["height"] < 560 and box["x"] + box["width"] <= 1280


def test_paper_unfolds_all_and_folds_again(page: Any) -> None:
    folded = "() => document.querySelectorAll('.readings details:not([open])').length"
    page.locator(".readings summary").first.click()
    assert page.evaluate(folded) == 15
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(folded) == 0
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) == 15
