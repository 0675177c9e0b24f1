"""Values that cannot be what their modality measures are refused, those that can be are not."""

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.io.checks import require_measurable
from ipha_toolkit.settings import ReadingSettings

RNG = np.random.default_rng(7)
PLACES = RNG.random((30, 30, 30))
CHEST = np.select([PLACES < 0.4, PLACES < 0.6, PLACES < 0.95], [-1000, -820, 45], 900) + RNG.normal(0, 20, PLACES.shape)
SIGNAL = np.abs(np.select([PLACES < 0.4, PLACES < 0.6], [0, 60], 400) + RNG.normal(0, 15, PLACES.shape))


def refused(values, modality):
    volume = ipha.Volume(values, np.diag([3, 3, 3, 1]), modality=modality, name="a")
    with pytest.raises(ImageError) as caught:
        require_measurable(volume, ReadingSettings())
    return str(caught.value)


def taken(values, modality):
    require_measurable(ipha.Volume(values, np.diag([3, 3, 3, 1]), modality=modality, name="a"), ReadingSettings())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: -hu, "denser than any body"),
        (lambda hu: 2 * hu.clip(0), "there is no air"),
        (lambda hu: hu + 1024, "there is no air"),
        (lambda hu: hu / 1000, "there is no air"),
        (lambda hu: hu.clip(-1000, -200), "cut to a window"),
        (lambda hu: hu.clip(-850, 400), "cut to a window and clear lung is lost"),
        (lambda hu: hu.clip(-700, 300), "cut to a window and clear lung is lost"),
    ],
)
def test_a_ct_of_other_values_than_hu_is_refused(change, words):
    assert words in refused(change(CHEST), "ct")


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu,
        lambda hu: hu.clip(-1024, 3071),
        lambda hu: hu.clip(-1000, 150),
        lambda hu: np.where(PLACES < 0.2, np.nan, hu),
        lambda hu: np.where(PLACES < 0.02, 3000, hu),
    ],
    ids=["as it is", "12 bits", "soft tissue window", "padded", "metal"],
)
def test_a_ct_in_hu_is_taken(change):
    taken(change(CHEST), "ct")


@pytest.mark.parametrize("modality", ["T1w", "T2w", "MEGRE"])
@pytest.mark.parametrize(
    "change",
    [
        lambda signal: (signal - signal.mean()) / signal.std(),
        lambda signal: signal - np.median(signal),
        lambda signal: signal - np.abs(signal[::-1]),
        lambda signal: signal * np.cos(2 * np.pi * PLACES),
    ],
    ids=["standardized", "shifted", "subtracted", "real part"],
)
def test_mr_values_below_zero_are_no_magnitude(change, modality):
    assert "below zero" in refused(change(SIGNAL), modality)


@pytest.mark.parametrize(
    "change",
    [
        lambda signal: signal,
        lambda signal: signal * 1e-6,
        lambda signal: np.where(PLACES < 0.01, -0.2 * signal.max(), signal),
        lambda signal: np.where(PLACES < 0.3, np.nan, signal),
        lambda signal: (signal - signal.min()) / np.ptp(signal),
    ],
    ids=["as it is", "small numbers", "interpolated", "masked", "0 to 1"],
)
def test_a_magnitude_is_taken(change):
    taken(change(SIGNAL), "T1w")


def test_films_have_a_scale_of_their_own():
    taken(-SIGNAL[:, :, :1], "dx")


@pytest.mark.parametrize("seconds", [0.06, 0.1])
def test_a_t1w_with_the_echo_time_of_a_t2w_is_refused(seconds):
    with pytest.raises(ImageError, match=rf"is called T1w.*{1000 * seconds:g} ms.*name it _T2w"):
        require_measurable(signal_of("T1w", seconds), ReadingSettings())
    require_measurable(signal_of("T2w", seconds), ReadingSettings())


@pytest.mark.parametrize("seconds", [None, 0.00008, 0.0046, 0.02, 4.6, "0.06"])
def test_a_t1w_with_an_echo_time_of_its_own_or_none_that_can_be_believed_is_taken(seconds):
    require_measurable(signal_of("T1w", seconds), ReadingSettings())


def signal_of(modality, seconds):
    return ipha.Volume(SIGNAL, np.diag([3, 3, 3, 1]), modality=modality, name="a", meta={"EchoTime": seconds})
