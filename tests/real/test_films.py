from pathlib import Path

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.measure.radiograph import measure_radiograph
from ipha_toolkit.regions.films import film_flags, find_lung_fields

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "cxr_misc").exists(), reason="real scans are not in ../shared/data")


def films(folder):
    return sorted(path for path in (DATA / folder).glob("*") if path.suffix in (".png", ".jpg", ".jpeg", ".dcm"))


def opacity(path):
    film = ipha.load(path, modality="dx")
    rows = measure_radiograph(film, find_lung_fields(film).lungs)
    return rows[rows["region"] == "lung"].set_index("measure")["value"]


@pytest.mark.parametrize(
    ("film", "mask", "least"),
    [
        ("cxr_jsrt_masks/1.jpg", "cxr_jsrt_masks/1-mask.png", 0.92),
        ("cxr_jsrt_masks/2.jpg", "cxr_jsrt_masks/2-mask.png", 0.93),
        ("cxr_misc/16747_3_1.jpg", "cxr_misc/16747_3_1_lungmask.jpg", 0.90),  # its mask takes in the heart
    ],
)
def test_lung_fields_agree_with_masks_drawn_by_others(film, mask, least):
    image = ipha.load(DATA / film, modality="dx")
    drawn = load_mask(DATA / mask, image=image)
    found = find_lung_fields(image).lungs
    both = (found.array & drawn.array).sum()
    assert 2 * both / (found.n_voxels + drawn.n_voxels) >= least


def test_a_film_whose_tag_says_the_opposite_is_turned_round():
    assert find_lung_fields(ipha.load(DATA / "cxr_misc" / "Fake_MONOHR1.dcm")).inverted


def test_stomach_gas_taken_for_lung_is_flagged_on_a_film_and_its_inverse():
    for path in [*(DATA / "cxr_misc").glob("*850819.dcm"), DATA / "cxr_misc" / "Fake_MONOHR1.dcm"]:
        film = ipha.load(path, modality="dx")
        assert "uncertain_lung_field" in film_flags(film, find_lung_fields(film))


@pytest.mark.parametrize("path", films("cxr_lateral"), ids=lambda path: path.name[:12])
def test_a_lateral_film_is_refused(path):
    with pytest.raises(ImageError, match=r"lateral view|no two lung fields|does not look like a chest radiograph"):
        find_lung_fields(ipha.load(path, modality="dx"))


@pytest.mark.parametrize("path", films("cxr_child_normal")[::3], ids=lambda path: path.name[:12])
def test_a_clear_film_of_a_child_is_measured_unflagged_and_is_not_opaque(path):
    film = ipha.load(path, modality="dx")
    fields = find_lung_fields(film)
    assert set(film_flags(film, fields)) <= {"no_pixel_spacing", "colour_converted"}
    last = np.flatnonzero(fields.lungs.array.any(axis=(0, 2)))[-1]
    assert last < 0.92 * film.shape[1]  # neither shoulder nor neck
    found = opacity(path)
    assert 0.2 < found["film_opacity_mean"] < 0.6
    assert found["film_consolidation_fraction_low"] < 12


def test_opacity_rises_over_the_course_of_sars():
    course = [opacity(path)["film_opacity_mean"] for path in films("cxr_serial") if path.name.startswith("SARS")]
    first, last = course[0], course[-1]
    assert len(course) == 3
    assert last == max(course)
    assert last > first + 0.05


@pytest.mark.parametrize("path", films("cxr_misc"), ids=lambda path: path.name[:12])
def test_no_film_lies_far_outside_the_scale(path):
    if "mask" not in path.name:
        found = opacity(path)
        assert -0.5 < found["film_opacity_mean"] < 1.2
        assert found["film_opacity_mean_high"] - found["film_opacity_mean_low"] < 0.8
