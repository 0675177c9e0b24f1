"""A Scan finds each part once, and T2w takes over what T1w found on the same grid."""

import numpy as np
import pytest
from toys import put_session, toy_ct, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.errors import ImageError
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.run import scan as module
from ipha_toolkit.run.scan import Context, Scan
from ipha_toolkit.run.session import measure_session
from ipha_toolkit.terms import Modality

FOUND = (
    "load",
    "segment_lungs",
    "split_left_right",
    "lung_regions",
    "estimate_noise",
    "correct_bias",
    "reference_tissue",
)


@pytest.fixture
def counted(monkeypatch):
    """How often each finder of the module was called."""
    counts = dict.fromkeys(FOUND, 0)

    def count(name, real):
        def called(*args, **options):
            counts[name] += 1
            return real(*args, **options)

        return called

    for name in FOUND:
        monkeypatch.setattr(module, name, count(name, getattr(module, name)))
    return counts


def session(root, images, masks=False):
    put_session(root, "sub-1", "ses-1", images, masks=masks)
    return read_cohort(root).sessions[0]


@pytest.fixture(scope="module")
def pair():
    """T1w and T2w of one simulated chest, coarse."""
    volumes = ipha.simulate_subject("none", seed=5, spacing_mm=5.0, modalities=("T1w", "T2w")).volumes
    return volumes["T1w"], volumes["T2w"]


def test_an_mri_session_finds_everything_once(tmp_path, counted, pair):
    files = session(tmp_path, pair)
    result = measure_session(files, Context())
    assert not result.failures and [part.modality for part in result.parts].count("T1w+T2w") == 1
    assert counted == {
        "load": 2, "segment_lungs": 1, "split_left_right": 1, "lung_regions": 1, "estimate_noise": 2,
        "correct_bias": 2, "reference_tissue": 1,
    }  # fmt: skip


def test_t2w_on_another_grid_finds_its_own_lungs(tmp_path, counted, pair):
    t1w, t2w = pair
    affine = t2w.affine.copy()
    affine[0, 3] += 30
    measure_session(session(tmp_path, [t1w, t2w.replace(affine=affine)]), Context())
    assert counted["segment_lungs"] == counted["split_left_right"] == counted["reference_tissue"] == 2


def coronal(t2w):
    """The image in slabs of two voxels, front to back."""
    n = t2w.shape[1] // 2
    array = t2w.array[:, : 2 * n].reshape(t2w.shape[0], n, 2, t2w.shape[2]).mean(axis=2)
    affine = t2w.affine.copy()
    affine[:3, 3] = t2w.to_world([0, 0.5, 0])
    affine[:3, 1] *= 2
    return ipha.Volume(array, affine, modality="T2w", name="coronal T2w")


def test_a_bleed_in_t2w_on_another_grid_is_measured_in_the_lungs_of_t1w(tmp_path):
    bled = ipha.simulate_subject("acute", seed=5, spacing_mm=4.0, modalities=("T1w", "T2w"))
    files = session(tmp_path, (bled.volumes["T1w"], coronal(bled.volumes["T2w"])))
    with pytest.raises(ImageError, match="far more"):
        _ = Scan(files, Modality.T2W, Context()).lungs
    t1w = Scan(files, Modality.T1W, Context())
    truth = bled.truth["T1w"].masks["lung"]
    assert t1w.lungs.volume_ml == pytest.approx(truth.volume_ml, rel=0.12)
    t2w = Scan(files, Modality.T2W, Context(), before=t1w)
    assert t2w.lungs.volume_ml == pytest.approx(t1w.lungs.volume_ml, rel=0.05)
    assert t2w.lungs.same_grid(t2w.volume)
    assert "lungs_from_t1w" in t2w.flags
    assert np.median(t2w.ratio.array[t2w.lungs.array]) > 0.3  # of the lung left dark: 0.16


def test_flags_are_of_the_image_and_stand_on_all_its_rows(tmp_path):
    files = session(tmp_path, [toy_mr(), toy_ct()], masks=True)
    rows = measure_session(files, Context(flags=("child",))).rows
    assert rows["flag"].str.contains("child").all() and rows["flag"].str.contains("foreign_mask").all()


def test_parts_that_were_let_go_are_made_again(tmp_path):
    scan = Scan(session(tmp_path, [toy_ct()]), Modality.CT, Context())
    first = scan.lungs
    scan.forget("volume", "lungs")
    assert np.array_equal(scan.lungs.array, first.array)
