import numpy as np
import pytest
from scipy import ndimage
from skimage import data

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.phantom.film_pose import FilmPose, turned
from ipha_toolkit.phantom.physics import project_radiograph
from ipha_toolkit.regions import film_borders
from ipha_toolkit.regions.film_tissue import lung_likeness
from ipha_toolkit.regions.films import (
    _flattened,
    _working_picture,
    as_picture,
    burned_in,
    exposed_area,
    film_flags,
    film_zones,
    find_lung_fields,
    from_picture,
)
from ipha_toolkit.regions.lungs import segment_lungs
from ipha_toolkit.volume import Mask, Volume

AFFINE = np.eye(4)[:, [0, 2, 1, 3]]


@pytest.fixture(scope="module")
def subject():
    return ipha.simulate_subject("acute", seed=4, severity=0.3, spacing_mm=3, modalities=["dx"])


@pytest.fixture(scope="module")
def fields(subject):
    return find_lung_fields(subject.volumes["dx"])


def test_lung_fields_lie_where_the_body_has_lung_and_little_else(subject, fields):
    projected = subject.truth["dx"].masks["lung"].array.sum(axis=1) * 3.0
    found = fields.lungs.array[..., 0]
    assert (projected[found] > 5).mean() > 0.95
    clear = projected > 0.7 * np.quantile(projected[projected > 0], 0.95)
    assert found[clear].mean() > 0.9


def test_six_zones_share_out_the_lungs_and_left_is_the_patients(subject, fields):
    zones = film_zones(fields.lungs)
    assert list(zones) == [f"{s}_{t}" for s in ("right", "left") for t in ("upper", "middle", "lower")]
    np.testing.assert_array_equal(sum(zone.array.astype(int) for zone in zones.values()), fields.lungs.array)
    left = subject.truth["dx"].masks["left"].array.any(axis=1)
    right = subject.truth["dx"].masks["right"].array.any(axis=1)
    place = zones["left_upper"].array[..., 0]
    assert left[place].mean() > 0.85 > 0.15 > right[place].mean()


def test_an_inverted_film_gives_the_same_fields_and_says_so(subject, fields):
    film = subject.volumes["dx"]
    other = find_lung_fields(film.replace(array=4095 - film.array))
    assert other.inverted
    assert not fields.inverted
    both = (other.lungs.array & fields.lungs.array).sum()
    assert 2 * both / (other.lungs.n_voxels + fields.lungs.n_voxels) > 0.99
    assert "inverted_film" in film_flags(film, other)


def test_gain_and_offset_do_not_move_the_fields(subject, fields):
    film = subject.volumes["dx"]
    other = segment_lungs(film.replace(array=film.array * 3.5 - 700))
    assert np.mean(other.array != fields.lungs.array) < 0.001


def test_a_lateral_view_is_refused_by_its_header(subject):
    film = subject.volumes["dx"]
    with pytest.raises(ImageError, match="lateral view"):
        find_lung_fields(film.replace(meta={"ViewPosition": "LL"}))


def test_a_lateral_view_is_refused_by_what_it_shows():
    ct = ipha.simulate_subject("none", seed=11, spacing_mm=4, modalities=["ct"]).volumes["ct"]
    sideways = np.swapaxes(ct.array, 0, 1)
    film = project_radiograph(sideways, ct.spacing_mm, photons=4e4, rng=np.random.default_rng(2))
    for view in (film, film[::-1]):
        with pytest.raises(ImageError, match=r"lateral view|no two lung fields found.*give a frontal one"):
            find_lung_fields(Volume(view[..., None], AFFINE, modality="dx", name="from the side"))


def test_a_picture_without_a_chest_is_refused_and_says_what_to_do():
    noise = np.random.default_rng(1).normal(size=(120, 130, 1))
    pictures = {"noise": noise, "coins": data.coins().astype(float)[..., None], "camera": data.camera()[..., None]}
    for name, picture in pictures.items():
        with pytest.raises(
            ImageError, match=rf"{name}: (does not look like a chest radiograph.*Give|no two lung.*give)"
        ):
            find_lung_fields(Volume(picture.astype(float), AFFINE, modality="dx", name=name))


def test_a_slice_saved_as_a_picture_is_refused():
    ct = ipha.simulate_subject("none", seed=11, spacing_mm=4, modalities=["ct"]).volumes["ct"]
    window = np.clip(ct.array / 1500 + 0.9, 0, 1)
    for cut in (window[:, :, 40], window[:, window.shape[1] // 3, :]):
        try:
            flags = film_flags(ct, find_lung_fields(Volume(cut[..., None], AFFINE, modality="dx", name="slice")))
        except ImageError as error:
            assert "does not look like" in str(error) or "no two lung fields" in str(error)
        else:
            assert "perhaps_no_radiograph" in flags


def test_a_tilted_or_cut_off_film_is_not_refused(subject):
    film = subject.volumes["dx"].array[..., 0]
    tilted = ndimage.rotate(film, 7, reshape=False, order=1, cval=float(film.min()))
    for one in (tilted, film[8:-8, 6:]):
        fields = find_lung_fields(Volume(one[..., None], AFFINE, modality="dx", name="portable"))
        assert not {"perhaps_not_frontal", "perhaps_no_radiograph"} & set(film_flags(subject.volumes["dx"], fields))


def test_lungs_full_of_blood_are_found_or_flagged():
    subject = ipha.simulate_subject("acute", seed=301, severity=1.0, size="child", spacing_mm=3, modalities=["dx"])
    film, projected = subject.volumes["dx"], subject.truth["dx"].masks["lung"].array.sum(axis=1) * 3.0
    fields = find_lung_fields(film)
    found = fields.lungs.array[..., 0]
    dense = projected > 0.7 * np.quantile(projected[projected > 0], 0.95)
    assert found[dense].mean() > 0.8 or "uncertain_lung_field" in film_flags(film, fields)
    assert (projected[found] > 5).mean() > 0.9


@pytest.mark.parametrize(
    ("age", "pose"),
    [
        (1.0, FilmPose(arms_up=True)),
        (2.0, FilmPose(rotated_deg=8, arms_up=True)),
        (4.0, FilmPose(cut=(0.05, 0.05, 0.12, 0.05))),
    ],
)
def test_lung_fields_of_children_end_below_clavicles_and_shoulders(age, pose):
    subject = ipha.simulate_subject(
        "none", seed=41, age_years=age, film=pose, breath=-0.2, spacing_mm=2.5, modalities=["dx"]
    )
    film, truth = subject.volumes["dx"], subject.truth["dx"].masks["lung"]
    lung = turned(np.where(truth.array, 0.0, -1000.0), pose.rotated_deg) > -500
    projected = lung.sum(axis=1) * truth.spacing_mm[1]
    (i, k), shape = np.round((film.affine - truth.affine[:, [0, 2, 1, 3]])[[0, 2], 3] / 2.5).astype(int), film.shape
    projected = projected[i : i + shape[0], k : k + shape[1]]
    found = find_lung_fields(film).lungs.array[..., 0]
    assert (projected[found] > 5).mean() > 0.93
    clear = projected > 0.7 * np.quantile(projected[projected > 0], 0.95)
    assert found[clear].mean() > 0.88


def test_a_frame_is_left_out_and_letters_are_found():
    picture = np.random.default_rng(2).uniform(100, 150, (80, 90)).astype(np.float32)
    picture[:6] = picture[:, -9:] = 0
    picture[20:24, 10:13] = 255
    area = exposed_area(picture)
    assert not area[:2].any()
    assert not area[:, -5:].any()
    assert area[8:, :-11].all()
    letters = burned_in(picture)
    assert letters[20:24, 10:13].all()
    assert letters[8:, :-11].sum() < 60


def test_a_box_with_a_letter_pasted_into_a_corner_is_no_part_of_the_film(subject, fields):
    film = subject.volumes["dx"]
    picture = as_picture(film).copy()
    rows, columns = (length // 6 for length in picture.shape)
    box = np.full((rows, columns), 3.0 * picture.max())
    box[rows // 3 : -rows // 3, columns // 3 : -columns // 3] = picture.min()
    picture[-rows:, :columns] = box
    assert not exposed_area(picture)[-rows:, :columns].any()
    assert exposed_area(picture)[:-rows].any(axis=1).all()
    found = find_lung_fields(film.replace(array=from_picture(picture))).lungs
    both = (found.array & fields.lungs.array).sum()
    assert 2 * both / (found.n_voxels + fields.lungs.n_voxels) > 0.96


def test_what_is_very_bright_but_no_box_stays_part_of_the_film():
    picture = np.random.default_rng(3).uniform(100, 150, (80, 90)).astype(np.float32)
    rows, columns = np.indices(picture.shape)
    picture[(80 - rows) + columns < 30] = 255  # a bright corner, as an abdomen's, has no straight edges
    assert exposed_area(picture).all()


def test_gas_of_the_stomach_taken_for_lung_is_flagged(subject, fields):
    film, lungs = subject.volumes["dx"], fields.lungs.array[..., 0]
    picture, field = as_picture(film).copy(), lungs[::-1, ::-1].T
    rows, columns = np.indices(picture.shape)
    left = np.flatnonzero(field.any(axis=0))[-1]
    bottom, height = np.flatnonzero(field.any(axis=1))[-1], np.ptp(np.flatnonzero(field.any(axis=1)))
    middle = (columns > left - 0.28 * height) & (columns < left - 0.02 * height)
    gas = (
        middle & (rows > bottom - 0.25 * height) & (rows < bottom + 0.22 * height)
    )  # a gastric bubble against the dome
    picture[gas] = np.quantile(film.array[lungs], 0.1)
    changed = find_lung_fields(film.replace(array=from_picture(picture)))
    assert abs(fields.domes) < 0.15
    assert "uncertain_lung_field" not in film_flags(film, fields)
    assert changed.domes > 0.15
    assert "uncertain_lung_field" in film_flags(film, changed)


def test_a_left_base_cut_off_at_the_heart_is_sought_below_the_right_dome(subject):
    film = subject.volumes["dx"]
    picture, _ = _working_picture(film)
    area = exposed_area(picture)
    flat, lung_like = _flattened(picture, area), lung_likeness(picture, area)
    search, image = film_borders._search(flat, lung_like, area), ndimage.gaussian_filter(flat, 2.5)
    pose = film_borders._one_fit(search, 0, higher=0.0)
    assert film_borders._left_base(search, image, lung_like, pose) is pose  # where it is right it stays
    high = pose.copy()
    high[14] -= 0.2 * (pose[14] - pose[13])
    mended = film_borders._left_base(search, image, lung_like, high)
    assert abs(mended[14] - pose[14]) < 0.3 * abs(high[14] - pose[14])
    np.testing.assert_allclose(mended[:13], high[:13], atol=0.1)  # the right lung is held


def test_zones_of_one_lung_are_those_shown():
    mask = np.zeros((40, 60, 1), bool)
    mask[25:35, 10:50] = True
    assert all("right" in name or "left" in name for name in film_zones(Mask(mask, AFFINE)))
    assert len(film_zones(Mask(mask, AFFINE))) == 3
