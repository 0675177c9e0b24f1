"""Public names that are imported when first used, so that importing a package stays light."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def find(package: str, homes: Mapping[str, str], name: str) -> Any:
    """What a public name of a package stands for; the package keeps it for the next time.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    homes : mapping of str to str
        Module of the package that each public name is in.
    name : str

    Raises
    ------
    AttributeError
        Where the package has no such public name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(import_module(f"{package}.{homes[name]}"), name)
    setattr(sys.modules[package], name, value)
    return value
