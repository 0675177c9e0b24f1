from pathlib import Path

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ReadError

DATA = Path(__file__).parents[3] / "shared" / "data"
FILMS, SLICES, AWKWARD = DATA / "cxr_misc", DATA / "ct_covid_prior_current_slices", DATA / "dicom_awkward"

pytestmark = pytest.mark.skipif(not FILMS.exists(), reason="real scans are not in ../shared/data")


def test_a_film_retagged_monochrome1_is_the_inverse_of_the_original():
    plain = ipha.load(FILMS / "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm")
    inverse = ipha.load(FILMS / "Fake_MONOHR1.dcm")
    np.testing.assert_array_equal(plain.array + inverse.array, 255)
    np.testing.assert_allclose(plain.spacing_mm[:2], 0.168)


@pytest.mark.parametrize("path", sorted(SLICES.glob("*/*/*.dcm")), ids=lambda path: path.stem)
def test_single_ct_slices_are_one_plane_in_hounsfield_units(path):
    ct = ipha.load(path)
    assert (ct.shape, ct.unit) == ((512, 512, 1), "HU")
    np.testing.assert_allclose(abs(np.linalg.norm(ct.affine[:3, 0])), ct.spacing_mm[0])
    lung = (ct.array > -950) & (ct.array < -500)
    assert 0.02 < lung.mean() < 0.5
    soft = (ct.array > 20) & (ct.array < 80)
    assert soft.mean() > 0.04, "muscle and blood"


@pytest.mark.parametrize(
    ("path", "role", "reason"),
    [
        ("pydicom_emri/emri_small.dcm", "T1w", "multi-frame, 10 frames"),
        ("scout_and_cine/MR_Explicit_Little_MultiFrame.dcm", "T1w", "multi-frame"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_reason(path, role, reason):
    with pytest.raises(ReadError, match=reason):
        ipha.load(AWKWARD / path, modality=role)


def test_compressions_that_pydicom_refuses_are_read_all_the_same():
    plain = ipha.load(AWKWARD / "generic/compressed/001/IM-0001-0001-0001.dcm", modality="T1w")
    for folder in ("compressed_jpegls", "compressed_jpeg", "compressed_rle"):
        other = ipha.load(AWKWARD / f"generic/{folder}/001/IM-0001-0001-0001.dcm", modality="T1w")
        np.testing.assert_array_equal(other.array, plain.array)
    scout = ipha.load(AWKWARD / "scout_and_cine/CT_JPEG70.dcm", modality="ct")
    assert scout.array.size == 400 * 512 and np.nanstd(scout.array) > 10


def test_a_screenshot_in_colour_dicom_reads_as_gray():
    film = ipha.load(FILMS / "ex-covid.dcm", modality="dx")
    assert film.shape == (651, 659, 1)
    assert "no_pixel_spacing" in film.meta["ReadFlags"]
