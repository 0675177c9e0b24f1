"""The wheel ships the documentation of exactly its own code: built with it, never committed, so it cannot be stale.

An editable installation ships none; `ipha docs` then opens what tools/docs.py built in the checkout. Where Sphinx is
absent (a build without isolation) or stumbles, the wheel is built without, with a word about it: nobody should be kept
from the toolkit by its pages. CI builds them with warnings as errors. IPHA_NO_DOCS=1 leaves them out.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DocsHook(BuildHookInterface):  # type: ignore[misc, type-arg]
    """Adds ``ipha_toolkit/site`` to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the pages before the wheel is packed."""
        if version == "editable" or os.environ.get("IPHA_NO_DOCS"):
            return
        sys.path.insert(0, str(Path(self.root) / "tools"))
        try:
            from docs import build

            site = Path(mkdtemp(prefix="ipha-site-"))
            build(site / "html", strict=False)
        except (
            Exception
        ) as error:  # whatever keeps the pages from being built must not keep the toolkit from being installed
            self.app.display_warning(f"the wheel ships no documentation: {type(error).__name__}: {error}")
            return
        finally:
            sys.path.pop(0)
        build_data["force_include"][str(site / "html")] = "ipha_toolkit/site"
