import json

import nibabel as nib
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.images import load_echoes

RNG = np.random.default_rng(3)
REAL, IMAGINARY = RNG.normal(0, 300, (2, 6, 7, 5))
MAGNITUDE = np.hypot(REAL, IMAGINARY)
NAMES = ["MAGNITUDE", "REAL", "IMAGINARY"]


def write(folder, images, facts=None, name="sub-1_T1w"):
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(np.stack(images, axis=-1).astype(np.float32), np.diag([2.0, 2, 3, 1])), path)
    if facts is not None:
        (folder / f"{name}.json").write_text(json.dumps(facts))
    return path


@pytest.mark.parametrize(
    ("order", "facts"),
    [
        ((0, 1, 2), {"ComplexImageComponent": NAMES}),
        ((1, 2, 0), {"ComplexImageComponent": ["real", "imaginary", "magnitude"]}),
        ((0, 1, 2), {"ImageType": ["ORIGINAL", "PRIMARY", "M", "R", "I"]}),
    ],
)
def test_magnitude_is_read_where_the_sidecar_says_which_it_is(tmp_path, order, facts):
    path = write(tmp_path, [(MAGNITUDE, REAL, IMAGINARY)[n] for n in order], facts)
    np.testing.assert_allclose(ipha.load(path).array, MAGNITUDE, rtol=1e-5)


def test_magnitude_of_every_echo_is_read_with_its_time(tmp_path):
    images = [MAGNITUDE, REAL, IMAGINARY, MAGNITUDE / 2, REAL / 2, IMAGINARY / 2]
    facts = {"ComplexImageComponent": NAMES * 2, "EchoTime": [0.001] * 3 + [0.002] * 3}
    echoes, te_ms = load_echoes(write(tmp_path, images, facts, "sub-1_MEGRE"))
    assert te_ms == pytest.approx([1, 2])
    np.testing.assert_allclose(echoes[1].array, MAGNITUDE / 2, rtol=1e-5)


def test_one_echo_of_three_components_is_one_echo(tmp_path):
    facts = {"ComplexImageComponent": NAMES, "EchoTime": 0.001}
    echoes, te_ms = load_echoes(write(tmp_path, [MAGNITUDE, REAL, IMAGINARY], facts, "sub-1_echo-1_MEGRE"))
    assert len(echoes) == 1 and te_ms == pytest.approx([1])


@pytest.mark.parametrize(
    ("images", "order"),
    [
        ([MAGNITUDE, REAL, IMAGINARY], "in turn"),
        ([MAGNITUDE, REAL, IMAGINARY, MAGNITUDE / 2, REAL / 2, IMAGINARY / 2], "in turn"),
        ([MAGNITUDE, MAGNITUDE / 2, REAL, REAL / 2, IMAGINARY, IMAGINARY / 2], "one after the other"),
    ],
)
@pytest.mark.parametrize("name", ["sub-1_T1w", "sub-1_MEGRE"])
def test_components_that_nobody_names_are_refused_by_name(tmp_path, images, order, name):
    path = write(tmp_path, images, {"EchoTime": [0.001 * (n + 1) for n in range(len(images))]}, name)
    read = load_echoes if "MEGRE" in name else ipha.load
    with pytest.raises(ReadError, match=rf"{name}\.nii\.gz: .*magnitude, real and imaginary {order}.*ComplexImage"):
        read(path)


def test_real_and_imaginary_alone_are_refused(tmp_path):
    path = write(tmp_path, [REAL, IMAGINARY], {"ComplexImageComponent": ["REAL", "IMAGINARY"]})
    with pytest.raises(ReadError, match="holds real, imaginary by its sidecar, and no magnitude"):
        ipha.load(path)


def test_three_echoes_of_magnitude_are_echoes(tmp_path):
    facts = {"EchoTime": [0.001, 0.002, 0.003], "ImageType": ["ORIGINAL", "PRIMARY", "M"]}
    echoes, _ = load_echoes(write(tmp_path, [MAGNITUDE, MAGNITUDE / 2, MAGNITUDE / 4], facts, "sub-1_MEGRE"))
    assert len(echoes) == 3
