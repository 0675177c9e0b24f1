"""Nodules implanted into a real CT are found among its vessels."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

import ipha_toolkit as ipha
from ipha_toolkit.phantom.disease import Disease

SCAN = Path(__file__).parents[2].parent / "shared" / "data" / "ct_lung_pair_elastix" / "3DCT_lung.mha"
pytestmark = pytest.mark.skipif(not SCAN.exists(), reason="the real scan is not on this machine")


def test_implants_of_4_to_8_mm_are_found_with_few_false_positives():
    ct = ipha.load(SCAN, modality="ct")
    lungs = ipha.segment_lungs(ct)
    disease = Disease(nodules_per_litre=12, nodule_mm=(4.0, 8.0))
    planted, truth = ipha.implant(ct, lungs, disease, seed=11)
    found = ipha.detect_nodules(planted, lungs)
    axes = ["x_mm", "y_mm", "z_mm"]
    distance, which = cKDTree(truth.nodules[axes]).query(found[axes])
    hits = distance <= np.maximum(truth.nodules["diameter_mm"].to_numpy()[which] / 2, 2.4)
    until_16 = np.cumsum(~hits) <= 16
    assert len(set(which[hits & until_16])) >= 0.85 * len(truth.nodules)
    size = found["diameter_mm"].to_numpy()[hits] - truth.nodules["diameter_mm"].to_numpy()[which[hits]]
    assert abs(np.median(size)) < 1
