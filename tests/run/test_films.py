import numpy as np
import pytest
from PIL import Image

import ipha_toolkit as ipha
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.run.scan import Context
from ipha_toolkit.run.session import measure_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A radiograph as PNG in one session, a picture of noise in the next."""
    root = tmp_path_factory.mktemp("cohort")
    film = ipha.simulate_subject("none", seed=3, spacing_mm=3, modalities=["dx"]).volumes["dx"]
    pictures = [film.array[::-1, ::-1, 0].T / 4095 * 255, np.random.default_rng(0).uniform(0, 255, (90, 90))]
    for number, picture in enumerate(pictures, 1):
        place = root / "sub-001" / f"ses-0{number}" / "xray"
        place.mkdir(parents=True)
        Image.fromarray(picture.astype(np.uint8)).save(place / f"sub-001_ses-0{number}_dx.png")
    return root


def test_a_radiograph_in_the_cohort_folder_gives_rows_zones_and_a_mask(folder):
    result = measure_session(read_cohort(folder).sessions[0], Context())
    rows = result.rows.set_index(["region", "measure"])
    assert not result.failures
    assert set(result.rows["modality"]) == {"dx"}
    assert rows.loc[("lung", "film_opacity_mean"), "value"] < 0.4, "clear lung is far from soft tissue, which is 1"
    assert "no_pixel_spacing" in rows.loc[("left_lower", "film_opacity_mean"), "flag"]
    assert [part.masks["lung"].shape[2] for part in result.parts] == [1]


def test_a_picture_without_lungs_is_a_failure_not_a_row(folder):
    result = measure_session(read_cohort(folder).sessions[1], Context())
    assert result.rows.empty
    assert "does not look like a chest radiograph" in str(result.failures[0])
