"""What is said of dependencies more than once says the same; the wheelhouse asks for what holds for its Python."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOLD = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CORE = TOLD["project"]["dependencies"]
CALLED_BY_CONDA = {"matplotlib": "matplotlib-base", "nbconvert": "nbconvert-core"}


@pytest.fixture(scope="module")
def wheelhouse(tool):
    return tool("wheelhouse")


def test_the_worker_needs_no_other_versions_than_the_whole():
    assert set(TOLD["dependency-groups"]["worker"]) < set(CORE)


EXTRAS = TOLD["project"]["optional-dependencies"]


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) & set(TOLD["dependency-groups"])))
def test_an_extra_is_the_group_of_its_name(extra):
    assert EXTRAS[extra] == TOLD["dependency-groups"][extra]


def test_the_conda_recipe_asks_for_the_same_versions():
    recipe = (ROOT / "packaging/conda/meta.yaml").read_text("utf-8")
    wanted = {CALLED_BY_CONDA.get(name, name): least for name, least in (line.split(">=") for line in CORE)}
    run = recipe.partition("  run:\n")[2].partition("test:\n")[0]
    found = dict(re.findall(r"- (\S+) >=(\S+)", run))
    assert found.pop("python") == TOLD["project"]["requires-python"].lstrip(">=")
    assert found == {name.lower(): least for name, least in wanted.items()}


def test_the_wheelhouse_of_a_python_asks_for_what_holds_for_it(wheelhouse):
    names = {python: wheelhouse._wanted("worker", ["dicom"], python)[-2:] for python in ("3.13", "3.14")}
    assert [line.partition(">")[0] for line in names["3.13"]] == ["dcm2niix", "highdicom"]
    assert [line.partition(">")[0] for line in names["3.14"]] == ["tqdm", "dcm2niix"]


def test_the_wheelhouse_knows_every_condition_of_the_project(wheelhouse):
    lines = [line for extra in EXTRAS.values() for line in extra]
    assert len(wheelhouse._wanted(None, list(EXTRAS), "3.11")) == len(CORE) + len(lines)
    with pytest.raises(ValueError, match=r"'sys_platform' is not a condition that this script reads"):
        wheelhouse._holds("sys_platform", (3, 11))
