import numpy as np
import pytest

from ipha_toolkit.errors import ImageError
from ipha_toolkit.measure.film_scale import film_scale
from ipha_toolkit.measure.radiograph import measure_opacity, measure_radiograph
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.volume import Mask, Volume

AFFINE = np.diag([2.0, 2, 2, 1])[:, [0, 2, 1, 3]]


def chest(*, air=10.0, lung=60.0, wall=150.0, mediastinum=200.0, abdomen=205.0):
    """A film of boxes: air beside, wall, two lungs, mediastinum between, abdomen below."""
    film = np.full((140, 130), float(air))
    film[14:126] = wall
    film[14:126, :24] = abdomen
    film[62:78, 24:] = mediastinum
    lungs = np.zeros(film.shape, bool)
    lungs[28:62, 24:110] = lungs[78:112, 24:110] = True
    film[lungs] = lung
    film += np.random.default_rng(3).normal(0, 0.5, film.shape)
    return film, lungs


def as_volume(film, lungs):
    return Volume(film[..., None], AFFINE, modality="dx", name="sub-9"), Mask(lungs[..., None], AFFINE)


def test_clear_lung_lies_near_0_and_soft_tissue_near_1():
    film, lungs = chest()
    scale = film_scale(film, lungs)
    assert scale.opacity(60) == pytest.approx(0, abs=0.1)
    assert scale.opacity(200) == pytest.approx(1, abs=0.1)
    assert {a.name for a in scale.anchors} >= {"air beside the patient", "chest wall", "heart", "below the diaphragm"}


@pytest.mark.parametrize("change", [lambda x: 5 * x - 300, lambda x: 4095 - 3 * x])
def test_gain_offset_and_polarity_fall_out(change):
    film, lungs = chest()
    plain, other = film_scale(film, lungs), film_scale(change(film), lungs)
    np.testing.assert_allclose(other.opacity(change(film)), plain.opacity(film), atol=1e-6)
    assert other.margin(0.4) == pytest.approx(plain.margin(0.4), rel=1e-6)


def test_a_wall_as_dense_as_the_mediastinum_breaks_no_scale():
    film, lungs = chest(wall=200.0)
    scale = film_scale(film, lungs)
    assert scale.opacity(60) == pytest.approx(0, abs=0.2)
    assert scale.opacity(200) == pytest.approx(1, abs=0.2)


def test_anchors_that_part_widen_the_interval():
    calm = film_scale(*chest()).margin(0.5)
    assert film_scale(*chest(abdomen=110.0)).margin(0.5) > 1.3 * calm


def test_lung_full_of_disease_is_denser_than_clear_lung_although_the_clearest_lung_is_an_anchor():
    means = []
    for lung in (60.0, 100.0, 140.0):
        film, lungs = chest(lung=lung)
        means.append(film_scale(film, lungs).opacity(lung))
    assert np.diff(means).min() > 0.05


@pytest.mark.parametrize(
    ("film", "why"),
    [
        ({"lung": 195.0, "wall": 196.0}, "sub-9: clear lung and the mediastinum lie 3 % of the film's gray range"),
        ({"wall": 20.0, "mediastinum": 100.0, "abdomen": 30.0}, "sub-9: its anchors contradict each other"),
    ],
)
def test_a_film_without_a_scale_is_refused_by_name(film, why):
    with pytest.raises(ImageError, match=why):
        measure_radiograph(*as_volume(*chest(**film)))


def test_a_film_whose_scale_breaks_is_refused_by_name():
    narrow = Protocol.from_toml(
        Protocol().to_toml().replace("possible_opacity = [-1.5, 2.0]", "possible_opacity = [0.5, 2.0]")
    )
    with pytest.raises(ImageError, match=r"sub-9: the scale of opacity breaks: mean opacity .* is .* 0\.5 to 2"):
        measure_opacity(*as_volume(*chest()), protocol=narrow)


def test_shapes_that_differ_are_refused():
    film, lungs = chest()
    with pytest.raises(ValueError, match="need one shape"):
        film_scale(film, lungs[1:])
