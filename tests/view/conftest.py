"""A headless Chromium for tests of what pages really show, and pages made of widgets without running a notebook."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_VIEW = Path(__file__).parents[2] / "ipha_toolkit" / "view"


def find_chromium() -> str | None:
    """Path of the browser: environment variable IPHA_CHROMIUM, or the first that is installed."""
    return os.environ.get("IPHA_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless browser for the whole test session."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install it or name it in IPHA_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=path, args=flags)
        yield started
        started.close()


@pytest.fixture
def offline_page(browser: Any) -> Iterator[Any]:
    """A browser page without network; ``page.requests`` lists the addresses it asked for all the same."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.requests = []
    page.errors = []
    page.on("request", lambda r: page.requests.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda e: page.errors.append(str(e)))
    yield page
    context.close()


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., str]:
    """Write an exported page of widgets the way nbconvert does; returns its file:// address."""

    def write(*widgets: Any) -> str:
        from ipywidgets import Widget

        # All widgets alive: what is linked or nested is among them.
        state = Widget.get_manager_state(drop_defaults=False)["state"]
        views = "".join(
            f'<div><script type="application/vnd.jupyter.widget-view+json">{json.dumps({"model_id": w.model_id})}'
            "</script></div>"
            for w in widgets
        )
        text = json.dumps({"version_major": 2, "version_minor": 0, "state": state}).replace("</", "<\\/")
        script = (_VIEW / "export.js").read_text(encoding="utf-8")
        path = tmp_path / "page.html"
        path.write_text(
            f'<!DOCTYPE html><meta charset="utf-8"><script>{script}</script><body>{views}'
            f'<script type="application/vnd.jupyter.widget-state+json">{text}</script>',
            encoding="utf-8",
        )
        return path.as_uri()

    yield write
    from ipywidgets import Widget

    Widget.close_all()
