"""Tables, texts and pages that come with the package."""

from __future__ import annotations

import json
import os
from importlib.resources import as_file, files
from pathlib import Path
from zipfile import ZipFile

import pandas as pd

from ipha_toolkit.errors import DataError, LayoutError
from ipha_toolkit.io import names, proof
from ipha_toolkit.io.drafts import in_place_of

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent

TEACHING = _PACKAGE / "tables" / "teaching.zip"
"""Tables of a simulated cohort, made by ``tools/teaching_cohort.py``."""
SITES = _PACKAGE / "tables" / "sites.zip"
"""What three simulated sites share, made by ``tools/teaching_sites.py``."""


def read_packaged(name: str) -> pd.DataFrame:
    """A tab-separated table of ``ipha_toolkit/tables``, text where it is text; empty cells stay empty strings.

    Raises
    ------
    FileNotFoundError
        Where the package has no such table.
    """
    with as_file(files("ipha_toolkit") / "tables" / name) as path:
        frame = pd.read_csv(path, sep="\t", comment="#", keep_default_na=False, na_values={"value": ["n/a"]})
    return frame


def layout_text() -> str:
    """How a cohort folder is laid out and named: ``data/README.md``, of the package or of the checkout it is used from.

    Raises
    ------
    DataError
        Where neither is there.
    """
    return _first([_PACKAGE / "tables" / "cohort_folder.md", _CHECKOUT / "data" / "README.md"]).read_text("utf-8")


def site_index() -> Path:
    """First page of the documentation: the copy the package ships, or the one built in the checkout it is used from.

    Raises
    ------
    DataError
        Where neither is there.
    """
    return _first([_PACKAGE / "site" / "index.html", _CHECKOUT / "docs" / "_build" / "html" / "index.html"])


def teaching_cohort(out: str | os.PathLike[str]) -> Path:
    """Unpack the tables of 40 simulated patients, followed over years, and 20 controls: rows to learn on, no images.

    Parameters
    ----------
    out : path
        Folder that gets ``cohort`` (who they are and their visits) and ``results`` (what was measured on CT).

    Returns
    -------
    Path
        The results folder, for :func:`ipha_toolkit.open_results`.

    Raises
    ------
    LayoutError
        Where one of the two is there already.
    """
    target = Path(out)
    for name in ("cohort", "results"):
        if (target / name).exists():
            raise LayoutError(f"{target / name}: is there already; give a new or empty folder")
    with ZipFile(TEACHING) as packed:
        packed.extractall(target)
    _seal(target / "results")
    return target / "results"


def _seal(results: Path) -> None:
    """Say of unpacked tables that they are as they were written, as every results folder does."""
    record = proof.sealed({proof.WRITTEN: proof.digests(results)})
    (results / names.PROVENANCE).write_text(json.dumps(record) + "\n", "utf-8")


def _first(places: list[Path]) -> Path:
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"{places[0].name}: not shipped with this installation; in a checkout `python tools/docs.py` builds the pages, "
        "`pip install .` installs them"
    )


def teaching_sites(out: str | os.PathLike[str]) -> list[Path]:
    """Unpack what three simulated hospitals share, for :func:`ipha_toolkit.pool`.

    North and west scan at 1.5 T and reconstruct CT with a soft kernel, south at 3 T and with a sharp one; each has four
    controls and three patients two days after a bleed.

    Parameters
    ----------
    out : path
        Folder that gets ``north.zip``, ``south.zip`` and ``west.zip``.
    """
    with ZipFile(SITES) as packed:
        Path(out).mkdir(parents=True, exist_ok=True)
        for name in packed.namelist():
            with in_place_of(Path(out) / name) as draft:
                draft.write_bytes(packed.read(name))
        return [Path(out) / name for name in sorted(packed.namelist())]
