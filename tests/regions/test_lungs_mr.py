import numpy as np
import pytest
from scipy import ndimage

from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import participant, scan
from ipha_toolkit.regions.lungs import segment_lungs


@pytest.mark.parametrize("seed", [807])
def test_an_organ_in_the_fat_below_the_diaphragm_is_no_lung_full_of_blood(overlap, seed):
    person = participant("sub-1", "iph", age=9.0, seed=seed, bleeds=(Bleed(0.0, 0.9),), days=(6,), film_days=range(5))
    made = scan(person, person.visits[-1], spacing_mm=3.5, modalities=["T1w"])
    lungs, truth = segment_lungs(made.volumes["T1w"]), made.truth["T1w"].masks["lung"]
    pieces, _ = ndimage.label(ndimage.binary_opening(lungs.array & ~truth.array))
    assert np.bincount(pieces.ravel())[1:].max(initial=0) * np.prod(lungs.spacing_mm) / 1000 < 15
    assert overlap(lungs, truth) > 0.95
