"""Pages: notebooks and results folders as self-contained HTML.

``ipha_toolkit.report`` is this folder and, as ``ipha_toolkit.report(results, "page.html")``, the call that writes the
page of a results folder, :func:`ipha_toolkit.report.cohort.report`: importing any module of the folder puts the folder
under that name, so the folder itself has to be callable.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    def __call__(self, results: Any, out: "str | Path") -> Path:
        """Write the page of a results folder; see :func:`ipha_toolkit.report.cohort.report`."""
        from ipha_toolkit.report.cohort import report

        return report(results, out)


sys.modules[__name__].__class__ = _CallableModule
