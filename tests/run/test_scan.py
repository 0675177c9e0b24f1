"""A Scan finds each part once, and T2w takes over what T1w found on the same grid."""

import numpy as np
import pytest
from toys import put_session, toy_ct, toy_mr

import ipha_toolkit as ipha
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


def test_flags_are_of_the_image_and_stand_on_all_its_rows(tmp_path):
    files = session(tmp_path, [toy_mr(), toy_ct()], masks=True)
    rows = measure_session(files, Context(flags=("child",))).rows
    assert rows["flag"].str.contains("child").all() and rows["flag"].str.contains("foreign_mask").all()


def test_parts_that_were_let_go_are_made_again(tmp_path):
    scan = Scan(session(tmp_path, [toy_ct()]), Modality.CT, Context())
    first = scan.lungs
    scan.forget("volume", "lungs")
    assert np.array_equal(scan.lungs.array, first.array)
