"""The package as a whole: what importing it costs, and whether its public names are there."""

import subprocess
import sys

import pytest

import ipha_toolkit
from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.flags import FLAGS

HEAVY = ("matplotlib", "ipywidgets", "SimpleITK", "numba", "skimage", "nibabel", "scipy")


def test_importing_the_package_pulls_in_nothing_heavy():
    code = f"import sys, ipha_toolkit; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ipha_toolkit.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    thing = getattr(ipha_toolkit, name)
    assert name == "__version__" or len(thing.__doc__) > 20


NAMESPACES = {"plots": ipha_toolkit.plots, "compare": ipha_toolkit.compare}


@pytest.mark.parametrize(
    ("space", "name"), [(space, name) for space in NAMESPACES for name in NAMESPACES[space].__all__]
)
def test_every_name_of_a_namespace_is_there_and_says_what_it_is(space, name):
    thing = getattr(NAMESPACES[space], name)
    assert name in dir(NAMESPACES[space])
    assert name.isupper() or len(thing.__doc__) > 20


def test_an_unknown_name_is_an_attribute_error():
    for place in (ipha_toolkit, *NAMESPACES.values()):
        with pytest.raises(AttributeError, match="nonsense"):
            _ = place.nonsense


@pytest.mark.parametrize("measure", MEASURES.values(), ids=list(MEASURES))
def test_every_measure_has_definition_unit_and_source(measure):
    assert measure.definition
    assert measure.unit
    assert measure.source


def test_every_flag_is_explained():
    assert all(len(text) > 10 for text in FLAGS.values())
