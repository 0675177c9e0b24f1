"""Segmenters of a person's own, with commands on the path that stand in for them."""

import os
import sys

import numpy as np
import pytest
from toys import put_session, toy_ct, toy_masks, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.errors import DependencyError, ImageError
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.segmenters import CommandSegmenter, find_segmenter

COPY = """
import json, os, pathlib, sys, nibabel, numpy
arguments = sys.argv[1:]
total = "-i" in arguments
image = nibabel.load(arguments[1] if total else arguments[0])
labels = (numpy.load({truth!r})).astype("uint8")
if total:
    home = pathlib.Path(os.environ["TOTALSEG_HOME_DIR"])
    assert json.loads((home / "config.json").read_text())["send_usage_stats"] is False
    assert os.environ["TOTALSEG_WEIGHTS_PATH"].endswith("nnunet/results")
    out = pathlib.Path(arguments[3])
    out.mkdir()
    names = arguments[arguments.index("--roi_subset") + 1:]
    for n, name in enumerate(names):
        part = labels * (numpy.arange(labels.shape[0]) % len(names) == n)[:, None, None]
        nibabel.save(nibabel.Nifti1Image(part.astype("uint8"), image.affine), out / (name + ".nii.gz"))
else:
    labels[labels.shape[0] // 2 :] *= 2
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), arguments[1])
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Put a command on the path that runs a Python text."""

    def put(name, text):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{text}")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("TOTALSEG_HOME_DIR", raising=False)
        monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH", raising=False)

    return put


@pytest.fixture
def truth(tmp_path):
    lungs = toy_masks()[0]
    np.save(tmp_path / "truth.npy", lungs.array)
    return lungs, str(tmp_path / "truth.npy")


@pytest.mark.parametrize(("name", "file"), [("lungmask", "lungmask"), ("totalsegmentator", "TotalSegmentator")])
def test_the_commands_own_output_is_read(command, truth, name, file):
    lungs, path = truth
    command(file, COPY.format(truth=path))
    found = find_segmenter(name)(toy_ct())
    assert np.array_equal(found.array, lungs.array) and found.same_grid(toy_ct())


def test_rows_name_the_segmenter_and_images_it_is_not_made_for_are_measured_as_ever(command, truth, tmp_path):
    lungs, path = truth
    command("lungmask", COPY.format(truth=path))
    root = tmp_path / "cohort"
    put_session(root, "sub-01", "ses-01", [toy_mr("T1w"), toy_ct()])
    for mask in root.rglob("*_ct_desc-lung_mask.nii.gz"):
        mask.unlink()
    rows = run(root, tmp_path / "out", segmenter="lungmask", progress=False).rows
    by_name = rows["flag"].str.contains("lungs_by_lungmask")
    assert set(rows.loc[by_name, "modality"]) == {"ct"}
    volume = rows.query("modality == 'ct' and measure == 'lung_volume' and region == 'lung'")["value"]
    assert volume.tolist() == pytest.approx([lungs.volume_ml])


def test_a_command_that_is_not_installed_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DependencyError, match=r"lungmask: the command lungmask is not on the path; install"):
        ipha.analyze(tmp_path, tmp_path / "out", segmenter="lungmask")
    with pytest.raises(ValueError, match="one of lungmask, totalsegmentator, got 'unet'"):
        find_segmenter("unet")
    with pytest.raises(ValueError, match="both given"):
        ipha.analyze(tmp_path, tmp_path / "out", segmenter="lungmask", segment=lambda volume: volume)


def test_a_command_that_fails_or_finds_nothing_is_an_error_with_its_own_words(command, truth):
    command("lungmask", "import sys; sys.exit('no weights here')")
    with pytest.raises(ImageError, match=r"lungmask failed \(exit 1\): no weights here"):
        CommandSegmenter("lungmask")(toy_ct())
    np.save(truth[1], np.zeros_like(truth[0].array))
    command("lungmask", COPY.format(truth=truth[1]))
    with pytest.raises(ImageError, match="lungmask found no lung"):
        CommandSegmenter("lungmask")(toy_ct())
