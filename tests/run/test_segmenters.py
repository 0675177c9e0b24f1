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

LUNGMASK = """
import argparse, nibabel, numpy, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("input", type=lambda path: path if os.path.exists(path) else sys.exit(f"File not found: {{path}}"))
parser.add_argument("output")
parser.add_argument("--modelname", choices=["R231", "LTRCLobes", "LTRCLobes_R231", "R231CovidWeb"], default="R231")
parser.add_argument("--version", action="version", version="0.2.22")
options = parser.parse_args()
image = nibabel.load(options.input)
assert numpy.isfinite(image.get_fdata()).all()
labels = numpy.load({truth!r}).astype("uint8")
labels[labels.shape[0] // 2 :] *= 2
nibabel.save(nibabel.Nifti1Image(labels, image.affine), options.output)
"""
TOTALSEGMENTATOR = """
import argparse, json, nibabel, numpy, os, pathlib, sys
CLASSES = {{
    "total": {{10: "lung_upper_lobe_left", 11: "lung_lower_lobe_left", 12: "lung_upper_lobe_right",
               13: "lung_middle_lobe_right", 14: "lung_lower_lobe_right", 51: "heart"}},
    "total_mr": {{10: "lung_left", 11: "lung_right", 22: "heart"}},
}}
parser = argparse.ArgumentParser()
parser.add_argument("-i", dest="input", type=lambda path: pathlib.Path(path).absolute())
parser.add_argument("-o", dest="output", type=lambda path: pathlib.Path(path).absolute())
parser.add_argument("-ml", "--ml", action="store_true")
parser.add_argument("-ta", "--task", choices=CLASSES, default="total")
parser.add_argument("-rs", "--roi_subset", type=str, nargs="+")
parser.add_argument("--version", action="version", version="2.18.0")
options = parser.parse_args()
settings = pathlib.Path(os.environ["TOTALSEG_HOME_DIR"]) / "config.json"
config = json.loads(settings.read_text())
config["prediction_counter"] += 1
settings.write_text(json.dumps(config))
assert not config["send_usage_stats"] and config["totalseg_id"]
assert os.environ["TOTALSEG_WEIGHTS_PATH"] == str(pathlib.Path.home() / ".totalsegmentator/nnunet/results")
assert options.input.suffixes[-2:] == [".nii", ".gz"]
image = nibabel.load(options.input)
assert numpy.isfinite(image.get_fdata()).all()
labels = numpy.load({truth!r})
options.output.mkdir(exist_ok=True, parents=True)
classes = [name for name in CLASSES[options.task].values() if name in options.roi_subset]
assert set(classes) == set(options.roi_subset)
for n, name in enumerate(classes):
    part = labels * (numpy.arange(labels.shape[0]) % len(classes) == n)[:, None, None]
    nibabel.save(nibabel.Nifti1Image(part.astype("uint8"), image.affine), options.output / (name + ".nii.gz"))
"""
"""What lungmask 0.2.22 (``__main__.py``) and TotalSegmentator 2.18.0 (``bin/TotalSegmentator.py``, ``config.py``,
``map_to_binary.py``, ``nnunet.py``) take, expect and write, as far as it is used here; any other argument is an error,
as it is to them."""


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


@pytest.mark.parametrize(
    ("name", "file", "text", "image", "version"),
    [
        ("lungmask", "lungmask", LUNGMASK, toy_ct, "0.2.22"),
        ("totalsegmentator", "TotalSegmentator", TOTALSEGMENTATOR, toy_ct, "2.18.0"),
        ("totalsegmentator", "TotalSegmentator", TOTALSEGMENTATOR, toy_mr, "2.18.0"),
    ],
)
def test_the_commands_own_output_is_read(command, truth, name, file, text, image, version):
    lungs, path = truth
    command(file, text.format(truth=path))
    volume = image()
    padded = np.array(volume.array)
    padded[:2] = np.nan  # outside the field of view, which no network may see
    segmenter = find_segmenter(name)
    found = segmenter(volume.replace(array=padded))
    assert np.array_equal(found.array, lungs.array) and found.same_grid(volume)
    assert segmenter == CommandSegmenter(name, version)


def test_another_version_of_the_command_measures_anew(command, truth, tmp_path):
    root = tmp_path / "cohort"
    put_session(root, "sub-01", "ses-01", [toy_ct()], masks=False)
    made = []
    for version in ("0.2.22", "0.2.22", "0.3.0"):
        command("lungmask", LUNGMASK.format(truth=truth[1]).replace("0.2.22", version))
        made.append(run(root, tmp_path / "out", segmenter="lungmask", progress=False).measured)
    assert made == [1, 0, 1]


def test_rows_name_the_segmenter_and_images_it_is_not_made_for_are_measured_as_ever(command, truth, tmp_path):
    lungs, path = truth
    command("lungmask", LUNGMASK.format(truth=path))
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
    command("lungmask", LUNGMASK.format(truth=truth[1]))
    with pytest.raises(ImageError, match="lungmask found no lung"):
        CommandSegmenter("lungmask")(toy_ct())
