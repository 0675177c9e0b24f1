import os
import struct

import nibabel as nib
import numpy as np
import pytest
from toys import put_participants, put_session, toy_ct

from ipha_toolkit.run.check import check
from ipha_toolkit.run.cohort import run

RNG = np.random.default_rng(2)
CT = RNG.integers(-1000, 100, (10, 11, 12)).astype(np.int16)
GRID = np.diag([8.0, 8, 8, 1])


def nifti(path, array=CT, *edits):
    nib.save(nib.Nifti1Image(array, GRID), path)
    content = bytearray(path.read_bytes())
    for offset, form, *values in edits:
        struct.pack_into(f"<{form}", content, offset, *values)
    path.write_bytes(bytes(content))


def damaged(path):
    nifti(path.with_name("whole.nii.gz"))
    content = bytearray(path.with_name("whole.nii.gz").read_bytes())
    content[len(content) // 2] ^= 16
    path.with_name("whole.nii.gz").unlink()
    path.write_bytes(bytes(content))


def header(text):
    return lambda path: path.write_bytes(text.encode())


def sidecar(content):
    def make(path):
        nifti(path)
        path.with_name(path.name.partition(".")[0] + ".json").write_bytes(content)

    return make


def pipe_beside(path):
    nifti(path)
    os.mkfifo(path.with_name(path.name.partition(".")[0] + ".json"))


def twice(path):
    nifti(path.with_name(path.name.replace("_ct", "_acq-a_ct")))
    nifti(path.with_name(path.name.replace("_ct", "_acq-b_ct")))


META = """NDims = {}
DimSize = 9 9 9
ElementSpacing = 1 1 1
TransformMatrix = 1 0 0 0 1 0 0 0 1
ElementType = MET_SHORT
"""
FAULTS = {
    "damaged.nii.gz": (damaged, "truncated or damaged"),
    "nocodes.nii": (lambda path: nifti(path, CT, (252, "hh", 0, 0)), "left and right are not known"),
    "metres.nii": (lambda path: nifti(path, CT, (123, "B", 1)), "voxels measure 8e+03 x 8e+03 x 8e+03 mm"),
    "unit.nii": (lambda path: nifti(path, CT, (123, "B", 15)), "lengths are in 'the unknown code 7'"),
    "datatype.nii": (lambda path: nifti(path, CT, (70, "h", 9999)), "datatype 9999 is not one of NIfTI"),
    "huge.nii": (lambda path: nifti(path, CT, (42, "3h", 32000, 32000, 32000)), "at most 4 GB are read"),
    "nohu.nii": (lambda path: nifti(path, CT + 1024), "so there is no air"),
    "spike.nii": (lambda path: nifti(path, (CT * 1e6).astype(np.float32)), "scanners write at most 32767 HU"),
    "dims.mha": (header(META.format(-1) + "ElementDataFile = LOCAL\n"), "NDims is -1"),
    "pattern.mhd": (header(META.format(3) + "ElementDataFile = %n%n%s%d.raw 1 9 1\n"), "needs one %d"),
    "outside.mhd": (header(META.format(3) + "ElementDataFile = ../../../x.raw\n"), "outside its folder"),
    "nospace.nrrd": (header("NRRD0004\ntype: short\ndimension: 3\nsizes: 9 9 9\nencoding: raw\n\n"), "no orientation"),
    "pipejson.nii": (pipe_beside, "is a pipe"),
    "deepjson.nii": (sidecar(b"[" * 30_000), "nested too deep"),
    "utf16json.nii": (sidecar("{}".encode("utf-16")), "not UTF-8"),
    "empty.nii.gz": (header(""), "the file is empty"),
    "twice.nii": (twice, "2 images claim the role ct"),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A subject for every fault, and one without."""
    root = tmp_path_factory.mktemp("faulty")
    for name, (make, _) in FAULTS.items():
        subject, ending = name.split(".", 1)
        place = root / f"sub-{subject}" / "ses-1" / "ct"
        place.mkdir(parents=True)
        make(place / f"sub-{subject}_ses-1_ct.{ending}")
    put_session(root, "sub-good", "ses-1", [toy_ct()])
    put_participants(root, {f"sub-{name.split('.')[0]}": "iph" for name in [*FAULTS, "good"]})
    return root


def test_check_names_every_fault_and_still_reads_who_has_none(faulty):
    report = check(faulty, progress=False)
    for name, (_, words) in FAULTS.items():
        subject = f"sub-{name.split('.')[0]}"
        found = [str(problem) for problem in report.stopping if problem.subject == subject]
        assert any(words in text for text in found), (name, found)
        assert all(subject in text and "\n" not in text for text in found)
        assert all(text.count(f"{subject}_ses-1_ct.{name.split('.', 1)[1]}: ") <= 1 for text in found)
    good = report.sessions[report.sessions["subject"] == "sub-good"]
    assert good["image"].tolist() == ["40 x 30 x 34, 8 x 8 x 8 mm"]
    assert not [problem for problem in report.stopping if problem.subject == "sub-good"]


def test_analyze_fails_what_check_named_and_measures_the_rest(faulty, tmp_path):
    analysis = run(faulty, tmp_path / "out", progress=False)
    assert set(analysis.rows["subject"]) == {"sub-good"}
    for name, (_, words) in FAULTS.items():
        subject = f"sub-{name.split('.')[0]}"
        assert any(words in each["error"] for each in analysis.failures if each["subject"] == subject), name


def test_a_mask_that_cannot_be_used_is_named_with_the_distance(tmp_path):
    put_session(tmp_path, "sub-1", "ses-1", [toy_ct()])
    path = next((tmp_path / "derivatives").rglob("*_ct_desc-lung_mask.nii.gz"))
    image = nib.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 2
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), path)
    (problem,) = check(tmp_path, progress=False).stopping
    assert "voxels lie up to 2 mm apart, 0.25 of a voxel (at most 0.05)" in problem.message
    moved[0, 3] -= 1.7
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), path)
    assert check(tmp_path, progress=False).stopping == []


def test_a_single_echo_is_told_before_it_is_measured(tmp_path):
    place = tmp_path / "sub-1" / "anat"
    place.mkdir(parents=True)
    nifti(place / "sub-1_echo-1_MEGRE.nii")
    (place / "sub-1_MEGRE.json").write_text('{"EchoTime": 0.001}')
    (problem,) = check(tmp_path, progress=False).stopping
    assert "is the only echo; R2* needs 2 or more" in problem.message
