"""Files as they are found: what stands where an image should is named."""

import bz2
import gzip
import lzma
import zipfile

import nibabel as nib
import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import ReadError


def zipped(path, image):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a_ct.nii", image)


STAND_INS = {
    "pointer of Git LFS.*git lfs pull": lambda path, _: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
    "pointer of git-annex.*git annex get": lambda path, _: path.write_text("/annex/objects/MD5E-s1--0.nii.gz\n"),
    "a web page": lambda path, _: path.write_text("\n<!DOCTYPE HTML><html><body>Please log in</body></html>"),
    "an XML text": lambda path, _: path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    "compressed with xz": lambda path, image: path.write_bytes(lzma.compress(image)),
    "compressed with bzip2": lambda path, image: path.write_bytes(bz2.compress(image)),
    "a zip file": zipped,
}


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".png", ".dcm"])
@pytest.mark.parametrize("words", STAND_INS)
def test_what_stands_where_an_image_should_is_named_with_what_to_do(tmp_path, words, ending):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), tmp_path / "whole.nii.gz")
    path = tmp_path / f"a_{'dx' if ending in ('.png', '.dcm') else 'ct'}{ending}"
    STAND_INS[words](path, gzip.decompress((tmp_path / "whole.nii.gz").read_bytes()))
    with pytest.raises(ReadError, match=words) as caught:
        ipha.load(path)
    assert str(caught.value).startswith(f"{path}: is ") and "\n" not in str(caught.value)
