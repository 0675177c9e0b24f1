"""The script that shows a still picture where a saved notebook has lost its viewer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from browsing import hacked, past
from PIL import Image

from ipha_toolkit.viewer import saved

HOSTILE = "</script><script>window.hacked = 1</script>"
LAB = """<div class="jp-OutputArea">
  <div class="jp-OutputArea-child"><div id="script" class="jp-OutputArea-output"></div></div>
  <div class="jp-OutputArea-child"><div id="viewer" class="jp-OutputArea-output">%s</div></div>
</div>"""


def run(page: Any, text: str) -> None:
    """As JupyterLab: the script with its output as ``element``, beside an output of a viewer that says ``text``."""
    page.set_content(LAB % text)
    script = saved.saved_script([(Image.new("RGB", (30, 20)), HOSTILE), (Image.new("RGB", (40, 20)), "second")])
    assert "</script" not in script
    page.evaluate(f"() => {{ const element = document.getElementById('script'); {script} }}")


@pytest.mark.parametrize("text", ["Error displaying widget: model not found", "Loading widget..."])
def test_pictures_and_words_stand_where_the_viewer_is_lost_until_it_is_back(offline_page: Any, text: str) -> None:
    run(offline_page, text)
    offline_page.wait_for_selector(".ipha-saved img")
    assert not offline_page.locator("#viewer").is_visible()
    assert offline_page.locator(".ipha-saved p").all_inner_texts()[:2] == [HOSTILE, "second"]
    offline_page.wait_for_function("() => [...document.images].every((i) => i.complete)")
    assert offline_page.evaluate("[...document.images].map((i) => i.naturalWidth)") == [30, 40]
    assert hacked(offline_page) is None
    offline_page.evaluate("document.getElementById('viewer').replaceChildren(document.createElement('canvas'))")
    offline_page.wait_for_selector(".ipha-saved", state="detached")
    assert offline_page.locator("#viewer").is_visible()


def test_nothing_is_shown_beside_a_living_viewer(offline_page: Any) -> None:
    run(offline_page, "<div class='ipha-viewer'>Plane</div>")
    past(offline_page, 2100)  # it is given two seconds
    assert offline_page.locator(".ipha-saved").count() == 0


def test_words_travel_as_data() -> None:
    script = saved.saved_script([(Image.new("RGB", (3, 2)), 'a "quoted" \\ name')])
    given = script[script.rindex("})(") + 3 : -2]
    (_, words), hint = json.loads(f"[{given}]")[0][0], json.loads(f"[{given}]")[1]
    assert words == 'a "quoted" \\ name'
    assert hint.startswith("Still picture")
