from dataclasses import replace

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.phantom import physics
from ipha_toolkit.regions.lung_checks import lung_flags
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.regions.mr_levels import suppressed_fat


def with_fat(make_chest, level, **kind):
    """A chest whose fat under the skin, of 170 in T1w, has another level."""
    t1w, truth = make_chest("T1w", spacing=(4.0, 4.0, 4.0), **kind)
    x, y, _ = np.moveaxis(t1w.to_world(np.moveaxis(np.indices(t1w.shape), 0, -1)), -1, 0)
    fat = (np.hypot(x / 165, y / 115) < 1) & (np.hypot(x / 152, y / 102) >= 1)
    return t1w.replace(array=np.where(fat, t1w.array * level / 170, t1w.array)), truth


@pytest.mark.parametrize(("level", "dark"), [(170, False), (80, False), (35, True), (20, True)])
def test_fat_darker_than_muscle_is_suppressed(make_chest, level, dark):
    t1w, truth = with_fat(make_chest, level, shading=0.2)
    assert suppressed_fat(truth, t1w) == dark
    assert ("suppressed_fat" in lung_flags(truth, t1w)) == dark


def test_only_t1w_with_air_around_the_body_is_asked(make_chest):
    t1w, truth = with_fat(make_chest, 20)
    t2w, _ = make_chest("T2w", spacing=(4.0, 4.0, 4.0))
    assert not suppressed_fat(truth, t2w)
    close = slice(18, -18), slice(12, -12)
    assert not suppressed_fat(truth.replace(array=truth.array[close]), t1w.replace(array=t1w.array[close]))
    assert not suppressed_fat(truth.replace(array=truth.array[:, 30:31]), t1w.replace(array=t1w.array[:, 30:31]))


def test_lungs_full_of_blood_beside_dark_fat_are_refused(monkeypatch):
    fat = physics.TISSUES["fat"]
    monkeypatch.setitem(physics.TISSUES, "fat", replace(fat, pd=0.08))
    made = ipha.simulate_subject("acute", seed=8902, spacing_mm=4.0, size=0.7, severity=0.35, modalities=["T1w"])
    with pytest.raises(ImageError, match=r"its fat is suppressed and its lungs are partly filled.*T1w with bright fat"):
        segment_lungs(made.volumes["T1w"])
