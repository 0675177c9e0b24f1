"""Slides on paper: printed to PDF by the Chromium or Chrome that is there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from ipha_toolkit.errors import RenderError
from ipha_toolkit.run.machine import find_browser

_FLAGS = (
    "--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--window-size=1280,720",
    "--hide-scrollbars", "--no-pdf-header-footer", "--run-all-compositor-stages-before-draw",
)  # fmt: skip
_SECONDS = 600


def print_deck(deck: str, target: Path) -> None:
    """Print a presentation, a slide a page, without its controls.

    Raises
    ------
    RenderError
        Where no browser is found, or the one that is writes no PDF.
    """
    browser = find_browser()
    if browser is None:
        raise RenderError(
            "a handout needs Chromium or Chrome to print it, and none is on the path: install one, name it in the "
            "environment variable IPHA_CHROMIUM, or print the slides from your own browser"
        )
    with TemporaryDirectory() as scratch:
        source, printed = Path(scratch) / "deck.html", Path(scratch) / "deck.pdf"
        source.write_text(for_paper(deck), encoding="utf-8")
        root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        own = [f"--user-data-dir={scratch}/profile", f"--print-to-pdf={printed}"]
        _call([browser, *_FLAGS, *root, *own, source.as_uri()])
        if not printed.is_file():
            raise RenderError(f"{Path(browser).name} wrote no PDF; print the slides from your own browser")
        target.write_bytes(printed.read_bytes())


def for_paper(deck: str) -> str:
    """The presentation for paper: its loading ends when slides are laid out and viewers hold all their voxels."""
    return deck.replace('<body class="deck">', '<body class="deck handout">', 1)


def _call(command: list[str]) -> None:
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RenderError(f"{Path(command[0]).name} could not print the slides: {type(error).__name__}") from None
