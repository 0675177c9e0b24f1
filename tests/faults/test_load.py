"""Load: memory stays flat over a large cohort and over days of a viewer's messages; many viewers fit into one page."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from lab import end, small_cohort
from toys import put_session, toy_masks, toy_mr

import ipha_toolkit as ipha


@pytest.fixture
def share(request):
    """1 in the long form, a small part of it in the tests."""
    return request.config.getoption("--faults-share") if request.config.getoption("--faults") else 0.0


def test_memory_is_flat_over_many_sessions(share, tmp_path, request):
    if not share:
        pytest.skip("python -m pytest --faults runs 200 sessions")
    import sys
    import time
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from lab import Lab

    lab = Lab(Path(__file__).parents[2], tmp_path)
    small_cohort(tmp_path / "cohort")
    sessions = max(20, round(200 * share))
    for n in range(sessions):
        put_session(tmp_path / "cohort", f"sub-x{n:03}", "ses-1", [toy_mr(lung=20 + n % 30, seed=n)])
    process = lab.start("analyze", tmp_path / "cohort", "--out", tmp_path / "out")
    seen = []
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        held = [int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")]
        done = len(list((tmp_path / "out").glob("sub-*/ses-1/provenance.json")))
        seen += [(done, held[0])] if held else []
        time.sleep(0.2)
    words, ended = end(process)
    lab.close()
    assert ended and process.returncode == 0, words
    early = max(mb for done, mb in seen if done <= sessions // 4)
    late = max(mb for _, mb in seen)
    print(f"{sessions} sessions: {early:.0f} MB in the first quarter, {late:.0f} MB at most")
    assert late < early + 60


def test_a_viewers_messages_leave_nothing_behind(share):
    count = max(400, round(100_000 * share))
    viewer = ipha.view(toy_mr(), overlays={"lung": toy_masks()[0]})
    rng = np.random.default_rng(3)

    def turn(times):
        for n in range(times):
            x, y, z = rng.uniform(0, 200, 3)
            viewer.set_state({"x_mm": x, "y_mm": y, "z_mm": z, "zoom": 1 + n % 3})
            viewer._answer(None, {"kind": "nothing known", "id": n}, [])
        gc.collect()

    turn(200)
    tracemalloc.start()
    turn(count // 4)
    before = tracemalloc.get_traced_memory()[0]
    turn(count)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000


def test_many_viewers_fit_into_one_page(share, offline_page, tmp_path):
    many = 50 if share else 6
    viewers = [ipha.view(toy_mr(seed=n), overlays={"lung": toy_masks()[0]}) for n in range(many)]
    path = tmp_path / "page.html"
    path.write_text("".join(viewer.to_html() for viewer in viewers))
    offline_page.goto(path.as_uri())
    offline_page.wait_for_function(f"document.querySelectorAll('.ipha-viewer[data-ready]').length == {many}")
    assert offline_page.errors == []


def test_a_step_makes_no_element_anew(offline_page, tmp_path):
    """What a step replaces, the browser may hold until it rests: thirty nodes of a menu after some thousand steps."""
    path = tmp_path / "page.html"
    path.write_text(ipha.view(toy_mr(), overlays={"lung": toy_masks()[0]}).to_html())
    offline_page.goto(path.as_uri())
    offline_page.wait_for_selector(".ipha-viewer[data-ready]")
    made = offline_page.evaluate(
        """async () => {
          const made = [], watch = new MutationObserver((found) => made.push(...found));
          watch.observe(document.querySelector(".ipha-viewer"), {childList: true, subtree: true});
          const slice = document.querySelector("canvas.ipha-slice");
          for (let n = 0; n < 20; n += 1) {
            slice.dispatchEvent(new WheelEvent("wheel", {deltaY: 100, bubbles: true, cancelable: true}));
            await new Promise(requestAnimationFrame);
          }
          return made.flatMap(({addedNodes}) => [...addedNodes]).map((node) => node.nodeName);
        }"""
    )
    assert made == []


def test_a_page_does_not_grow_with_what_is_done_on_it(share, offline_page, tmp_path):
    turns = max(100, round(100_000 * share))
    path = tmp_path / "page.html"
    path.write_text(ipha.view(toy_mr(), overlays={"lung": toy_masks()[0]}).to_html())
    offline_page.goto(path.as_uri())
    offline_page.wait_for_selector(".ipha-viewer[data-ready]")
    client = offline_page.context.new_cdp_session(offline_page)

    def turn(times):
        """Wheel steps over the first slice, a frame every hundred."""
        offline_page.evaluate(
            """async times => {
              const slice = document.querySelector("canvas.ipha-slice");
              for (let n = 0; n < times; n += 1) {
                const step = {deltaY: n % 7 < 3 ? 100 : -100, bubbles: true, cancelable: true};
                slice.dispatchEvent(new WheelEvent("wheel", step));
                if (n % 100 === 0) await new Promise(requestAnimationFrame);
              }
            }""",
            times,
        )
        client.send("HeapProfiler.collectGarbage")
        found = {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}
        return found["JSHeapUsedSize"], found["Nodes"], found["JSEventListeners"]

    client.send("Performance.enable")
    turn(200)
    heap, nodes, listeners = turn(200)
    after = turn(turns)
    assert after[0] < heap + 1_500_000 and after[1] <= nodes + 5 and after[2] <= listeners
