import numpy as np
import pytest
from scipy import ndimage

import ipha_toolkit as ipha
from ipha_toolkit.measure.quality import estimate_noise, image_flags
from ipha_toolkit.volume import Mask, Volume

AFFINE = np.diag([2.0, 2, 5, 1])
SHAPE = (160, 160, 24)
LUNGS = np.zeros(SHAPE, bool)
LUNGS[20:50, 50:110, 4:20] = True


def tissue(*, sigma=5.0, shading=0.0, grain=1.5, seed=0):
    """A field of view full of tissue: smooth organs with edges, dark lungs, no air."""
    rng = np.random.default_rng(seed)
    organs = ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), (12, 12, 3)) > 0
    clean = np.where(LUNGS, 10, 100 + 60 * organs) * np.exp(shading * np.linspace(-1, 1, SHAPE[0]))[:, None, None]
    clean = ndimage.gaussian_filter(clean, (grain, grain, 0))
    noise = rng.normal(0, sigma, (2, *SHAPE))
    return np.hypot(clean + noise[0], noise[1])


def noise_of(array):
    return estimate_noise(Volume(array, AFFINE, modality="T1w"), Mask(LUNGS, AFFINE))


@pytest.mark.parametrize("shading", [0.0, 0.6])
@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_noise_is_recovered_from_tissue_where_there_is_no_air(sigma, shading):
    noise = noise_of(tissue(sigma=sigma, shading=shading))
    assert noise.sigma == pytest.approx(sigma, rel=0.1)
    assert noise.flags == ("noise_from_tissue",)


def test_noise_of_an_interpolated_image_is_withheld():
    noise = noise_of(ndimage.gaussian_filter(tissue(), (0.6, 0.6, 0)))
    assert np.isnan(noise.sigma) and "noise_not_estimable" in noise.flags


def test_noise_is_withheld_where_all_tissue_has_structure():
    grain = ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 120, SHAPE), (1.0, 1.0, 0))
    noise = noise_of(np.abs(tissue() + grain))
    assert np.isnan(noise.sigma) and "noise_not_estimable" in noise.flags


def test_noise_that_the_darkest_voxels_do_not_allow_is_uncertain():
    array = tissue(sigma=8.0)
    shut_in = (slice(70, 150), slice(10, 150), slice(2, 22))
    array[shut_in] = np.random.default_rng(6).uniform(1, 3, array[shut_in].shape)
    noise = noise_of(array)
    assert np.isnan(noise.sigma)
    assert noise.flags == ("noise_not_estimable", "noise_uncertain")


def test_a_phantom_cropped_to_the_body_keeps_its_noise():
    subject = ipha.simulate_subject("none", seed=3, spacing_mm=2.5, snr=15, shading=0.6, modalities=["T1w"])
    t1w, truth = subject.volumes["T1w"], subject.truth["T1w"].masks["lung"]
    known = estimate_noise(t1w, truth)
    sides = zip(t1w.shape, (0.2, 0.3, 0.25), (0.8, 0.65, 0.75), strict=True)
    crop = tuple(slice(int(low * n), int(high * n)) for n, low, high in sides)
    inner = Volume(t1w.array[crop], t1w.affine, modality="T1w")
    found = estimate_noise(inner, Mask(truth.array[crop], t1w.affine))
    assert known.flags == () and found.flags == ("noise_from_tissue",)
    assert found.sigma == pytest.approx(known.sigma, rel=0.12)


CHEST = (60, 50, 40)
BODY, CHEST_LUNGS = np.zeros(CHEST, bool), np.zeros(CHEST, bool)
BODY[12:48, 12:38] = True
CHEST_LUNGS[16:28, 18:32, 6:34] = CHEST_LUNGS[32:44, 18:32, 6:34] = True
RAMP = np.linspace(1, 2, CHEST[0])[:, None, None]


def flags_of_chest(gain=1.0, *, lung=15.0, empty=0.0):
    """Flags of a chest of 100 with lungs, air around it, and noise of 4 that differs from place to place."""
    rng = np.random.default_rng(8)
    clean = np.where(CHEST_LUNGS, lung, np.where(BODY, 100.0, 0.0))
    noise = 4 * gain * rng.normal(0, 1, (2, *CHEST))
    image = np.where(CHEST_LUNGS & (rng.random(CHEST) < empty), 0, np.hypot(clean + noise[0], noise[1]))
    volume, lungs = Volume(image, np.diag([4.0, 4, 4, 1]), modality="T1w"), Mask(CHEST_LUNGS, np.diag([4.0, 4, 4, 1]))
    return image_flags(estimate_noise(volume, lungs), volume, lungs, 100.0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, set()),
        ({"gain": RAMP}, {"uneven_noise"}),  # seen in the air
        ({"gain": RAMP, "lung": 60.0}, set()),  # the lung stands far above it
        ({"empty": 0.1}, set()),
        ({"empty": 0.5}, {"emptied_lung"}),
    ],
    ids=["even", "uneven", "uneven under a bright lung", "a tenth empty", "half empty"],
)
def test_noise_that_differs_between_places_and_lung_set_to_zero_are_found(given, expected):
    assert flags_of_chest(**given) == expected


def test_noise_stronger_inside_the_body_than_beside_it_is_found():
    """As of parallel imaging: nothing in the air tells."""
    subject = ipha.simulate_subject("none", seed=71, spacing_mm=4.0, snr=1e9, modalities=["T1w"])
    volume, lungs = subject.volumes["T1w"], subject.truth["T1w"].masks["lung"]
    x, y = (((np.arange(n) - (n - 1) / 2) / n)[:, None] for n in volume.shape[:2])
    middle = np.exp(-(x**2 + y.T**2) / 0.08)[:, :, None]
    rng, level = np.random.default_rng(5), float(np.percentile(volume.array, 90))
    found = []
    for rise in (0.0, 1.0):
        noise = level / 40 * (1 + rise * middle) * rng.normal(0, 1, (2, *volume.shape))
        noisy = volume.replace(array=np.hypot(volume.array + noise[0], noise[1]))
        found.append(image_flags(estimate_noise(noisy, lungs), noisy, lungs, level))
    assert found == [set(), {"uneven_noise"}]
