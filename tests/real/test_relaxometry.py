"""R2* of a kidney series against published numbers of another package."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ipha_toolkit.measure.relaxometry import fit_r2star

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mri_t2star_ukat" / "philips"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the kidney echoes of ukat are not on this machine")


def test_least_squares_gives_what_ukat_publishes_for_its_kidney():
    files = {json.loads(path.read_text())["EchoTime"]: path.with_suffix(".nii.gz") for path in DATA.glob("*.json")}
    te_ms = [1000 * te for te in sorted(files)]
    stored = np.stack([np.asarray(nib.load(files[te]).dataobj) for te in sorted(files)], axis=-1)
    fit = fit_r2star(stored[30:60, 50:90, 2], te_ms, method="least_squares")
    t2star = np.nan_to_num(1000 / fit.r2star)
    assert len(te_ms) == 12
    assert t2star.mean() == pytest.approx(30.724, rel=0.005)
    assert t2star.std() == pytest.approx(22.156, rel=0.005)
