import json

import nibabel as nib
import numpy as np
import pytest

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.io.masks import is_own_result, shows

LABELS = np.zeros((12, 10, 8), np.int16)
for number, value in enumerate((10, 11, 12, 13, 14)):
    LABELS[2 * number : 2 * number + 2] = value
GRID = np.diag([3.0, 3, 3, 1])


@pytest.mark.parametrize("stored", [np.int16, np.uint8, np.int32])
def test_labels_saved_as_float_under_an_integer_header_are_all_found(tmp_path, stored):
    image = nib.Nifti1Image(LABELS.astype(np.float64), GRID)
    image.set_data_dtype(stored)
    nib.save(image, tmp_path / "m_dseg.nii")
    assert load_mask(tmp_path / "m_dseg.nii", labels=(10, 11, 12, 13, 14)).n_voxels == np.count_nonzero(LABELS)


@pytest.mark.parametrize(
    "array, words",
    [
        (np.where(LABELS > 0, 0.0, np.nan), "holds NaN or infinity"),
        (LABELS / 20.0, "holds 0, 0.5, .*cut it at a half"),
        (np.where(LABELS > 0, 0.7, 0.2), "cut it at a half"),
        (LABELS.astype(np.float32), "a mask holds 0 and one other value, this holds 0, 10, 11"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, array, words):
    nib.save(nib.Nifti1Image(array.astype(np.float32), GRID), tmp_path / "m_mask.nii")
    with pytest.raises(ReadError, match=words):
        load_mask(tmp_path / "m_mask.nii")


@pytest.mark.parametrize("inside, outside", [(0.99999, 0), (0.9999, 1e-7), (0.004, 0), (255, 0), (1, 0)])
def test_two_values_are_a_mask_whatever_they_are(tmp_path, inside, outside):
    array = np.where(LABELS > 0, inside, outside).astype(np.float32)
    nib.save(nib.Nifti1Image(array, GRID), tmp_path / "m_mask.nii")
    assert load_mask(tmp_path / "m_mask.nii").n_voxels == np.count_nonzero(LABELS)


@pytest.mark.parametrize(
    "name, seen",
    [
        ("a_T1w_desc-lung_mask.nii", "lung"),
        ("a_T1w_label-lung_mask.nii", "lung"),
        ("a_T1w_desc-lungs_mask.nii", "lung"),
        ("a_T1w_lung_mask.nii", "lung"),
        ("a_ct_dseg.nii.gz", "lung"),
        ("a_T1w_desc-muscle_mask.nii", "muscle"),
        ("a_T1w_mask.nii", ""),
        ("a_T1w_desc-brain_mask.nii", ""),
        ("a_T1w_desc-lungnodule_mask.nii", ""),
    ],
)
def test_a_mask_shows_what_its_name_says(tmp_path, name, seen):
    assert shows(tmp_path / name) == seen


@pytest.mark.parametrize(
    "table, labels, words",
    [
        ("index\tname\n10.0\tlung_left\n11\tlung_right\n", (10, 11), ""),
        ("\ufeffindex\tname\r\n10\tLUNG left\t\r\n5\tliver\r\n", (10,), ""),
        ("index\tname\nn/a\tliver\n10\tlung\n", (10,), ""),
        ("index\tname\n10\tlung\nn/a\tlung_right\n", None, "index of 'lung_right' is ''"),
        ("index\tname\n0x0A\tlung\n", None, "index of 'lung' is '0x0A'; needs a whole number"),
        ("IDX\tLABEL\n10\tlung\n", None, "needs columns index and name, has IDX, LABEL"),
        ('index\tname\n10\t"lung\n', None, "mend its quotes"),
    ],
)
def test_a_label_table_is_read_or_fails_its_own_image_only(tmp_path, table, labels, words):
    for subject in ("sub-1", "sub-2"):
        (tmp_path / subject).mkdir()
        (tmp_path / subject / f"{subject}_ct.nii").write_bytes(b"x")
    place = tmp_path / "derivatives" / "t" / "sub-1"
    place.mkdir(parents=True)
    (place / "sub-1_ct_dseg.nii").write_bytes(b"x")
    (place / "sub-1_ct_dseg.tsv").write_bytes(table.encode())
    cohort = read_cohort(tmp_path)
    first, second = cohort.sessions
    assert not cohort.stopped(second)
    assert not cohort.stopped(first)
    mask = first.lungs["ct"]
    assert mask.labels == labels and words in mask.why and bool(words) == bool(mask.why)


@pytest.mark.parametrize(
    "content", [b"", b"null", b'{"GeneratedBy": null}', b'{"GeneratedBy": [3]}', b"\xff", b"[" * 30_000]
)
def test_a_description_of_any_kind_is_just_not_ours(tmp_path, content):
    (tmp_path / "dataset_description.json").write_bytes(content)
    assert not is_own_result(tmp_path)
    (tmp_path / "dataset_description.json").write_text(json.dumps({"GeneratedBy": [{"Name": "ipha_toolkit"}]}))
    assert is_own_result(tmp_path)
