"""Toys on the path, and the demo at coarse voxels, made once for all who look at it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory):
    from ipha_toolkit.run.demo import FOLLOWED, demo_population, run_demo

    people = [person for person in demo_population() if person.name in ("sub-001", "sub-002", FOLLOWED)]
    return run_demo(tmp_path_factory.mktemp("demo"), people=people, spacing_mm=4.0, workers=1, progress=False)
