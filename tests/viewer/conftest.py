"""A live JupyterLab, and pages made of widgets without running a notebook."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from browsing import LIMIT_MS, becomes

_START_S = 600
"""Longest that a server is waited for; no test is to end by it."""
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
    environment["JUPYTER_RUNTIME_DIR"] = str(folder / ".runtime")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
        f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=",
        "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with (folder / "jupyterlab.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        address = _started(server, folder / ".runtime" / f"jpserver-{server.pid}.json", token)
        yield f"{address}lab/tree/%s?token={token}", server.pid
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _started(server: subprocess.Popen[bytes], facts: Path, token: str) -> str:
    """Address of a server, once it answers; it may have found its port taken and have chosen another."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        with suppress(OSError, ValueError):
            address = str(json.loads(facts.read_text())["url"])
            urlopen(f"{address}api?token={token}", timeout=60).close()
            return address
        if server.poll() is not None:
            raise RuntimeError("JupyterLab did not start")
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer within {_START_S} s")


def open_notebook(page: Any, url: str) -> None:
    """Open a notebook in JupyterLab and wait until its kernel is joined to it and rests."""
    page.goto(url)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.wait_for_function(
        f"() => {{ const {{isReady, session}} = {_CONTEXT} ?? {{}}, kernel = session?.kernel;"
        " return isReady && kernel?.connectionStatus === 'connected' && kernel.status === 'idle'; }"
    )


_CONTEXT = "window.jupyterapp?.shell.currentWidget?.sessionContext"
_MODEL = """((number) => window.jupyterapp.shell.currentWidget.content.widgets
    .filter(({model}) => model.type === "code")[number].model)"""


def run_cell(page: Any, number: int) -> None:
    """Run the ``number``-th cell, from 0, and wait until it is done: it has a number again."""
    page.evaluate(f"(number) => {{ {_MODEL}(number).executionCount = null; }}", number)
    page.locator(".jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_function(
        f"(number) => {_MODEL}(number).executionCount && {_CONTEXT}.session.kernel.status === 'idle'", arg=number
    )


def run_until(page: Any, number: int, said: str) -> str:
    """Run a cell until it prints what a pattern finds: a kernel hears late of what was done in the browser."""
    until, text = time.monotonic() + LIMIT_MS / 1000, ""
    while time.monotonic() < until and not re.search(said, text):
        run_cell(page, number)
        text = str(page.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea-output").last.inner_text())
    assert re.search(said, text), text
    return text


def save_and_export(page: Any, url: str) -> bytes:
    """The page that JupyterLab's "Save and Export Notebook As" HTML gives, chosen from its menu."""
    page.locator(".lm-MenuBar-item", has_text="File").click()
    page.locator(".lm-Menu-item", has_text="Save and Export Notebook As").click()
    asked: list[str] = []
    page.context.on("request", lambda r: asked.append(r.url) if "/nbconvert/html/" in r.url else None)
    page.locator(".lm-Menu").last.locator(".lm-Menu-item", has_text="HTML").click()
    sanitize = page.locator(".jp-Dialog input[type=checkbox]")
    becomes(page, lambda: bool(asked or sanitize.count()), True)
    if sanitize.count():  # newer JupyterLab asks, and would take all scripts out
        sanitize.uncheck()
        page.locator(".jp-Dialog .jp-mod-accept").click()
    becomes(page, lambda: len(asked) > 0, True)
    with urlopen(f"{asked[0]}&{url.partition('?')[2]}", timeout=600) as answer:
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
