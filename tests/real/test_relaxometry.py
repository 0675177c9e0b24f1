"""R2* of a kidney series against published numbers of another package."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ipha_toolkit.measure.relaxometry import estimate_echo_noise, fit_r2star

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mri_t2star_ukat"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the kidney echoes of ukat are not on this machine")


def kidney(maker):
    """Echoes, echo last, and their times in ms."""
    files = {
        json.loads(path.read_text())["EchoTime"]: path.with_suffix(".nii.gz") for path in (DATA / maker).glob("*.json")
    }
    stored = [np.asarray(nib.load(files[te]).dataobj) for te in sorted(files)]
    return np.stack(stored, axis=-1), [1000 * te for te in sorted(files)]


def test_least_squares_gives_what_ukat_publishes_for_its_kidney():
    stored, te_ms = kidney("philips")
    fit = fit_r2star(stored[30:60, 50:90, 2], te_ms, method="least_squares")
    t2star = np.nan_to_num(1000 / fit.r2star)
    assert len(te_ms) == 12
    assert t2star.mean() == pytest.approx(30.724, rel=0.005)
    assert t2star.std() == pytest.approx(22.156, rel=0.005)


def test_noise_without_air_is_what_the_darkest_voxels_allow_or_is_called_uncertain():
    even = estimate_echo_noise(*kidney("siemens"))
    assert even.flags == () and even.sigma < 7  # residuals of one exponential say 11
    assert estimate_echo_noise(*kidney("philips")).flags == ("noise_uncertain",)
