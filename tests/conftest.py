"""How tests share the processes; toys importable everywhere; a headless Chromium for what pages really show."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

LONG = ("demo", "notebook ", "tests/run/test_cohort", "tests/test_notebooks_own", "tests/run/", "tests/viewer/")
"""Tests that go first, so that no process is left alone with a long one at the end."""


def _together(nodeid: str) -> str:
    """Name of the tests that run one after another in one process: a file's, or all that look at one costly thing."""
    notebook = re.match(r"tests/test_notebooks\.py::.*\[(\w+)", nodeid)
    if notebook:
        return f"notebook {notebook[1]}"
    if nodeid.startswith("tests/demo/"):
        return "demo"
    return "rendered" if nodeid.startswith("tests/report/test_render") else nodeid.split("::")[0]


def _turn(item: pytest.Item) -> int:
    name = _together(item.nodeid)
    return next((n for n, start in enumerate(LONG) if name.startswith(start)), len(LONG))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first; otherwise in the order found."""
    items.sort(key=_turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand tests out in that order, those that belong together to one process."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _together(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long form of the campaign of faults, see ``tests/faults/test_campaign.py``."""
    parser.addoption("--faults", action="store_true", help="try all faults; writes benchmarks/results/faults.md")
    parser.addoption("--faults-share", type=float, default=1.0, metavar="SHARE", help="of all faults, 0 to 1")
    parser.addoption("--faults-before", metavar="DIR", help="another tree to try them in first, for the table")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser; for a module only, as its event loop would disturb others that start one."""
    from browsing import FLAGS, find_chromium, patient

    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium found: install it or name it in IPHA_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield patient(started)
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


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo at coarse voxels, made once for all who look at it."""
    from ipha_toolkit.demo.cohort import FILMED, FOLLOWED, demo_population, run_demo

    everyone = {person.name: person for person in demo_population()}
    filmed = everyone[FILMED]
    films = tuple(visit for visit in filmed.visits if visit.images)[::2]
    people = [everyone["sub-001"], everyone["sub-002"], everyone[FOLLOWED], replace(filmed, visits=films)]
    return run_demo(tmp_path_factory.mktemp("demo"), people=people, spacing_mm=5.0, workers=1, progress=False)


@pytest.fixture(scope="session")
def toy_analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy ``cohort`` and its results in ``out``, analyzed once; to be looked at, not to be changed."""
    from toys import toy_cohort

    from ipha_toolkit.run.cohort import run

    folder = tmp_path_factory.mktemp("toys")
    run(toy_cohort(folder / "cohort"), folder / "out", progress=False)
    return folder


@pytest.fixture
def analyzed(toy_analysis: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own, to be changed."""
    import shutil

    shutil.copytree(toy_analysis, tmp_path, dirs_exist_ok=True)
    return tmp_path
