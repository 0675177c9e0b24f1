"""Tables that come with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd


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
