import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.measure.radiograph import measure_opacity, measure_radiograph, texture
from ipha_toolkit.regions.films import find_lung_fields
from ipha_toolkit.volume import Mask, Volume

AFFINE = np.diag([2.0, 2, 2, 1])[:, [0, 2, 1, 3]]
RNG = np.random.default_rng(8)


def toy(lung=40.0, *, patch=0.0):
    """Wall 100, mediastinum and abdomen 200, two boxes of lung (right is high i); ``patch`` is added to right lower."""
    film = np.full((110, 120, 1), 100.0)
    lungs = np.zeros(film.shape, bool)
    lungs[15:45, 20:100] = lungs[65:95, 20:100] = True
    film[45:65] = film[15:95, :20] = 200
    film[lungs] = lung
    film[65:95, 20:45] += patch
    film = film + RNG.normal(0, 0.2, film.shape)
    return Volume(film, AFFINE, modality="dx", name="toy"), Mask(lungs, AFFINE)


def values(film, lungs):
    return measure_radiograph(film, lungs).set_index(["region", "measure"])["value"]


def test_opacity_runs_from_clear_lung_to_the_mediastinum():
    film, lungs = toy(lung=40)
    found = measure_opacity(film, lungs).map.array[..., 0]
    assert np.median(found[lungs.array[..., 0]]) == pytest.approx(0, abs=0.25)
    assert np.median(found[45:65]) == pytest.approx(1, abs=0.15)
    assert 0.2 < np.median(found[:12]) < 0.8


def test_a_mean_lies_between_its_ends_and_a_share_falls_from_high_to_low():
    found = values(*toy(patch=100)).unstack()
    assert (found["film_opacity_mean_low"] < found["film_opacity_mean"]).all()
    assert (found["film_opacity_mean"] < found["film_opacity_mean_high"]).all()
    for share in ("film_consolidation_fraction", "film_opaque_fraction"):
        ends = found[[f"{share}_low", share, f"{share}_high"]].dropna().to_numpy()
        assert (np.diff(ends, axis=1) >= 0).all()
    assert 0 < found.loc["lung", "film_scale_error"] < 60


@pytest.mark.parametrize("change", [lambda x: 3 * x + 50, lambda x: 4095 - 2 * x])
def test_gain_offset_and_inversion_move_no_measure(change):
    film, lungs = toy(patch=70)
    plain, other = values(film, lungs), values(film.replace(array=change(film.array)), lungs)
    np.testing.assert_allclose(other, plain, atol=2e-4)


@pytest.mark.parametrize("gamma", [0.7, 1.4])
def test_gamma_leaves_areas_and_opacity_within_the_interval(gamma):
    film = ipha.simulate_subject("acute", seed=5, spacing_mm=3, modalities=["dx"]).volumes["dx"]
    low, high = film.array.min(), film.array.max()
    bent = film.replace(array=((film.array - low) / (high - low)) ** gamma)
    fields = [find_lung_fields(one).lungs for one in (film, bent)]
    assert 2 * (fields[0].array & fields[1].array).sum() / (fields[0].n_voxels + fields[1].n_voxels) > 0.97
    plain, other = (values(one, fields[0]).xs("lung") for one in (film, bent))
    for name in ("film_opacity_mean", "film_consolidation_fraction", "film_opaque_fraction"):
        assert plain[f"{name}_low"] <= other[name] <= plain[f"{name}_high"]


def test_a_denser_zone_raises_its_own_opacity_and_the_predominance_of_its_side_and_height():
    clear, dense = values(*toy()), values(*toy(patch=120))
    rise = (dense - clear).xs("film_opacity_mean", level="measure")
    assert rise["right_lower"] > 0.4
    assert abs(rise["left_lower"]) < 0.02
    assert abs(rise["right_upper"]) < 0.02
    assert dense["lung", "film_opacity_asymmetry"] > 0.1 > abs(clear["lung", "film_opacity_asymmetry"])
    assert dense["lung", "film_opacity_lower"] > 0.15
    assert dense["right_lower", "film_consolidation_fraction"] > 80
    assert clear["lung", "film_consolidation_fraction"] == 0


def test_lines_and_dots_are_told_apart():
    i, j = np.indices((120, 120))
    field = np.ones((120, 120), bool)
    stripes = ((i // 3) % 8 == 0).astype(float)
    dots = ((i % 20 < 3) & (j % 20 < 3)).astype(float)
    lines_of, dots_of = (texture(image, field, scale=1.5) for image in (stripes, dots))
    inner = np.s_[20:-20, 20:-20]
    assert lines_of[0][inner].mean() > 20 * lines_of[1][inner].mean()
    shares = [dots[inner].mean() / lines[inner].mean() for lines, dots in (lines_of, dots_of)]
    assert shares[1] > 5 * shares[0]


def test_a_ramp_has_no_texture():
    ramp = np.add.outer(np.arange(80.0), 2 * np.arange(90.0))
    lines, dots = texture(ramp, np.ones(ramp.shape, bool), scale=1.5)
    assert max(lines[20:-20, 20:-20].max(), dots[20:-20, 20:-20].max()) < 1e-6


def test_a_mask_on_another_grid_is_refused():
    film, lungs = toy()
    with pytest.raises(GridError, match="different grid"):
        measure_radiograph(film, Mask(lungs.array[1:], AFFINE))


def test_a_film_without_mediastinum_is_refused():
    film, lungs = toy()
    one = np.zeros(lungs.shape, bool)
    one[65:95, 20:100] = True
    with pytest.raises(ImageError, match="toy: the film does not show what lies between"):
        measure_radiograph(film, lungs.replace(array=one))


def test_burned_in_letters_are_left_out():
    film, lungs = toy()
    lettered = film.array.copy()
    lettered[80:84, 60:64] = 4000
    count = measure_radiograph(film.replace(array=lettered), lungs).set_index(["region", "measure"])["n_voxels"]
    assert count["lung", "film_opacity_mean"] < lungs.n_voxels
    plain, other = (values(one, lungs)["lung", "film_opacity_mean"] for one in (film, film.replace(array=lettered)))
    assert other == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("patch", [0.0, 100.0])
def test_specks_of_noise_are_no_letters_and_change_no_share(patch):
    film, lungs = toy(patch=patch)
    grain = RNG.normal(0, 25, film.shape)
    noisy = film.replace(array=(film.array + grain).clip(0, 160))  # specks at both ends of the gray scale
    clean = film.replace(array=film.array.clip(0, 160))
    for share in ("film_opaque_fraction", "film_consolidation_fraction"):
        found, true = (values(one, lungs)["lung", share] for one in (noisy, clean))
        assert found == pytest.approx(true, abs=6)
