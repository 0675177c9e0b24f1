"""How many workers a machine can feed."""

import pytest

from ipha_toolkit.run.machine import about, default_workers, usable_cores, usable_gb


@pytest.mark.parametrize(
    "cores, gb, workers", [(8, 100.0, 8), (8, 12.0, 4), (8, 0.5, 1), (1, 100.0, 1), (4, float("nan"), 4)]
)
def test_workers_are_what_cores_and_memory_allow(cores, gb, workers):
    assert default_workers(cores, gb) == workers


def test_this_machine_has_a_core_and_some_memory():
    assert usable_cores() >= 1
    assert usable_gb() > 0.1
    assert about()["workers by default"] == str(default_workers())
