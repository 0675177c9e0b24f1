"""Segmentations from PACS: what is said where the package that reads them is not to be had."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from ipha_toolkit.errors import DependencyError
from ipha_toolkit.io import segmentations


def test_the_extra_leaves_highdicom_out_where_the_refusal_says_so():
    told = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    lines = [told["project"]["optional-dependencies"]["dicom"], told["dependency-groups"]["dicom"]]
    first = "{}.{}".format(*segmentations._WITHOUT_WHEELS)
    for (line,) in [[line for line in each if line.startswith("highdicom")] for each in lines]:
        assert re.fullmatch(rf"highdicom>=[\d.]+; python_version < '{re.escape(first)}'", line)


@pytest.mark.parametrize(
    ("python", "said"),
    [((3, 13), r"install it with python -m pip install 'ipha"), ((3, 14), "Use Python 3.13 or older")],
)
def test_without_highdicom_the_way_to_it_is_said(monkeypatch, python, said):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setattr(sys, "version_info", (*python, 0, "final", 0))
    with pytest.raises(DependencyError, match=said):
        list(segmentations._segments(None, (1, 1, 1), None))
