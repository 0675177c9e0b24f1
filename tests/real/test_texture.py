"""Opacity on real CT slices: against lesion masks, and between patients."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import rankdata

import ipha_toolkit as ipha
from ipha_toolkit.compare.phases import read_findings
from ipha_toolkit.measure.texture import measure_texture, opacity_map
from ipha_toolkit.regions.lungs import segment_lungs

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real scans are not on this machine")


def area(score, yes):
    """Area under the curve from ranks."""
    n = np.count_nonzero(yes)
    return (rankdata(score)[yes].sum() - n * (n + 1) / 2) / (n * (len(yes) - n))


def test_opacity_map_finds_the_lesions_that_readers_drew():
    folder = DATA / "ct_covid_png_masks"
    areas = []
    for path in sorted((folder / "ct").glob("*.png")):
        image, lung, lesion = (np.asarray(Image.open(folder / kind / path.name)) for kind in ("ct", "lungs", "covid"))
        inside = lung > 0
        areas.append(area(opacity_map(image, inside, (1.4, 1.4))[inside], lesion[inside] > 0))
    assert len(areas) == 20 and np.mean(areas) >= 0.78


def texture_rows(path, **options):
    ct = ipha.load(path, modality="ct")
    return measure_texture(ct, segment_lungs(ct), **options).rows


def lung_values(path, **options):
    rows = texture_rows(path, **options)
    return rows[rows["region"] == "lung"].set_index("measure")["value"]


def test_ground_glass_scores_above_an_aerated_lung_on_axial_slices():
    folder = DATA / "ct_covid_prior_current_slices"
    ground_glass, aerated = (
        [lung_values(path, flags=["single_slice"]) for path in sorted((folder / patient / "axial").glob("*.dcm"))]
        for patient in ("A046441", "A072894")
    )
    for measure in ("opacity_mean", "opacity_fraction", "ground_glass_extent"):
        assert min(found[measure] for found in ground_glass) > max(found[measure] for found in aerated)


@pytest.mark.parametrize("scan", ["ct_pyradiomics_lung1/lung1_image.nrrd", "ct_lung_pair_elastix/3DCT_lung.mha"])
def test_lungs_without_diffuse_disease_are_clear(scan):
    rows = texture_rows(DATA / scan)
    found = {finding.finding: finding.grade for finding in read_findings(rows)}
    for name in ("ground_glass_opacity", "consolidation", "lower_zone_predominance", "reticulation"):
        assert found[name] == 0, name
    assert all(grade <= 0 for grade in found.values()), found  # absent, or withheld
    values = rows[rows["region"] == "lung"].set_index("measure")["value"]
    assert values["opacity_fraction"] < 5 and np.isnan(values["patchiness"])
