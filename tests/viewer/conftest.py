"""A live JupyterLab, and pages made of widgets without running a notebook."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

_TRIES = 6
_VIEW = Path(__file__).parents[2] / "ipha_toolkit" / "viewer"


@contextmanager
def jupyter_lab(folder: Path) -> Iterator[tuple[str, int]]:
    """A JupyterLab server on ``folder``, which is also its home; yields its address with %s for a file, and its pid.

    Widget state is saved with the notebook ("Save Widget State Automatically").
    """
    settings = folder / ".jupyter" / "lab" / "user-settings" / "@jupyter-widgets" / "jupyterlab-manager"
    settings.mkdir(parents=True)
    (settings / "plugin.jupyterlab-settings").write_text('{"saveState": true}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    root = str(Path(__file__).parents[2])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
    environment |= {"HOME": str(folder), "PYTHONPATH": root, "PYTHONWARNINGS": "ignore"}
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
    ]  # fmt: skip
    with (folder / "jupyterlab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api?token={token}", server)
        yield f"{address}/lab/tree/%s?token={token}", server.pid
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urlopen(url, timeout=2):
                return
        except OSError:
            if server.poll() is not None:
                raise RuntimeError("JupyterLab did not start") from None
            time.sleep(0.2)
    raise RuntimeError("JupyterLab did not answer within 120 s")


def open_notebook(page: Any, url: str) -> None:
    """Open a notebook in JupyterLab and wait for its kernel."""
    page.goto(url)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    idle = "() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'"
    page.wait_for_function(idle, timeout=60_000)
    page.wait_for_timeout(1000)


def run_cell(page: Any, number: int) -> None:
    """Run the ``number``-th cell, from 0, and wait until it is done."""
    prompt = f"document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')[{number}].textContent"
    before = page.evaluate(prompt)
    for _ in range(_TRIES):  # a busy JupyterLab loses what is run before its kernel is joined to the notebook
        page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        if _became(page, f"() => {prompt} !== {json.dumps(before)}"):
            break
        if page.locator(".jp-Dialog").count():  # that says so
            page.locator(".jp-Dialog .jp-mod-accept").first.click()
    page.wait_for_function(f"() => /\\d/.test({prompt})", timeout=60_000)


def _became(page: Any, condition: str) -> bool:
    """Whether a condition comes true within some seconds."""
    for _ in range(50):
        if page.evaluate(condition):
            return True
        page.wait_for_timeout(100)
    return False


def save_and_export(page: Any, url: str) -> bytes:
    """The page that JupyterLab's "Save and Export Notebook As" HTML gives, chosen from its menu."""
    page.locator(".lm-MenuBar-item", has_text="File").click()
    page.locator(".lm-Menu-item", has_text="Save and Export Notebook As").click()
    with page.context.expect_event("request", lambda r: "/nbconvert/html/" in r.url) as asked:
        page.locator(".lm-Menu").last.locator(".lm-Menu-item", has_text="HTML").click()
        page.wait_for_timeout(1500)
        sanitize = page.locator(".jp-Dialog input[type=checkbox]")
        if sanitize.count():  # newer JupyterLab asks, and would take all scripts out
            sanitize.uncheck()
            page.locator(".jp-Dialog .jp-mod-accept").click()
    with urlopen(f"{asked.value.url}&{url.partition('?')[2]}", timeout=60) as answer:
        return bytes(answer.read())


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
        script = (_VIEW / "js" / "export.js").read_text(encoding="utf-8")
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
