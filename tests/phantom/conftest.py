import pytest

import ipha_toolkit as ipha
from ipha_toolkit.phantom.disease import PHASES


@pytest.fixture(scope="session")
def by_phase():
    """One patient in every phase, T1w, T2w and CT on one grid of 4 mm."""
    return {
        phase: ipha.simulate_subject(phase, seed=5, spacing_mm=4, modalities=("T1w", "T2w", "ct")) for phase in PHASES
    }
