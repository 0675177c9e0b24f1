"""The documentation: built with warnings as errors, no broken link, every public name in it, nothing fetched."""

import re
import warnings
from pathlib import Path

import pytest

import ipha_toolkit
from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.flags import FINDINGS, FLAGS

for needed in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(needed, reason="the group docs is not installed")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs(tool):
    return tool("docs")


@pytest.fixture(scope="module")
def site(docs, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own of Sphinx and its extensions; those of the build are errors
        return docs.build(tmp_path_factory.mktemp("site") / "html").parent


def text(site, name):
    return (site / f"{name}.html").read_text("utf-8")


def test_every_public_name_is_described(site):
    api = text(site, "reference/api")
    spaces = {"ipha": ipha_toolkit, "ipha.plots": ipha_toolkit.plots, "ipha.compare": ipha_toolkit.compare}
    names = [f"{space}.{name}" for space, module in spaces.items() for name in module.__all__]
    left_out = {"ipha.__version__", "ipha.plots", "ipha.compare"}
    assert [name for name in names if name not in left_out and f'id="{name}"' not in api] == []


def test_no_public_name_is_without_words(docs):
    empty = [
        f"{space}.{name}"
        for space in docs.SPACES
        for name, node, constant in docs.public(space)
        if not (constant or docs.ast.get_docstring(node))
    ]
    assert empty == []


def test_every_measure_flag_and_finding_is_in_the_tables(site):
    measures, flags = text(site, "reference/measures"), text(site, "reference/flags")
    assert [name for name in MEASURES if not name.endswith("_vs_controls") and f">{name}<" not in measures] == []
    assert [code for code in (*FLAGS, *FINDINGS) if f">{code}<" not in flags] == []


def test_every_notebook_is_in_the_tutorial(site):
    page = text(site, "tutorial")
    assert all(path.name in page for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_a_broken_link_is_found_and_so_is_whatever_is_fetched(docs, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a><a href="#here">h</a><a href="#gone">g</a><p id="here"></p><a href="https://x.org">x</a>'
        '<script src="https://x.org/x.js"></script>'
    )
    assert docs.broken_links(tmp_path) == [
        "a.html: #gone leads nowhere", "a.html: b.html leads nowhere", "a.html: would fetch https://x.org/x.js",
    ]  # fmt: skip


def test_the_site_is_small_enough_for_the_wheel(site):
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert size < 4e6
    assert (site / "searchindex.js").exists()


def test_every_identifier_that_is_cited_stands_in_the_table_of_sources():
    pattern = re.compile(r"10\.\d{4,}/[\w./()-]*\w|PMC\d{6,}|PMID \d+")
    table = (ROOT / "docs" / "explanation" / "sources.md").read_text("utf-8")
    listed = set(pattern.findall(table))
    kinds = ("ipha_toolkit/**/*.py", "ipha_toolkit/tables/differential.tsv", "notebooks/*.ipynb", "benchmarks/*.py")
    cited = {found for kind in kinds for path in ROOT.glob(kind) for found in pattern.findall(path.read_text("utf-8"))}
    assert sorted(cited - listed) == []
