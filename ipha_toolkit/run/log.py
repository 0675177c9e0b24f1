"""The log of a session: times, versions, warnings, the whole traceback of what failed. No path but the cohort's own."""

from __future__ import annotations

import logging
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipha_toolkit import __version__
from ipha_toolkit.io.files import home
from ipha_toolkit.io.outputs import package_version
from ipha_toolkit.io.terminal import PlainFormatter

LOGGER = "ipha_toolkit"
_LINE = "%(asctime)s %(levelname)s %(message)s"
_FOLDERS = re.compile(r"""(?<![\w.:/\\])(?:[A-Za-z]:[/\\]|/)(?:[^\s"'<>|:/\\]+[/\\])+""")
"""The folders of an absolute path."""
_NAMED = ("numpy", "scipy", "SimpleITK", "scikit-image", "nibabel", "numba")


class SessionLog(logging.Handler):
    """Keeps what is logged as text; paths are written relative to the cohort, others without their folders."""

    def __init__(self, root: Path) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(PlainFormatter(_LINE))
        self._hidden = {f"{root}/": "", f"{root.resolve()}/": "", f"{Path(__file__).parents[1]}/": "ipha_toolkit/"}
        self._hidden |= {f"{folder}/": "" for folder in _library_folders()}
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take down one record."""
        text = self.format(record)
        for folder, name in self._hidden.items():
            text = text.replace(folder, name)
        self._lines.append(_FOLDERS.sub("", text))

    def text(self) -> str:
        """Everything so far."""
        return "".join(f"{line}\n" for line in self._lines)


def _library_folders() -> list[str]:
    import sysconfig

    paths = sysconfig.get_paths()
    return sorted({paths["purelib"], paths["platlib"], paths["stdlib"], *map(str, home())}, key=len, reverse=True)


@contextmanager
def recorded(root: Path, label: str) -> Iterator[SessionLog]:
    """Record what this package logs while a session is measured.

    Parameters
    ----------
    root : Path
        The cohort folder, which is left out of paths.
    label : str
        The session, for the first line.
    """
    log, logger = SessionLog(root), logging.getLogger(LOGGER)
    level, started = logger.level, time.perf_counter()
    logger.addHandler(log)
    logger.setLevel(min(level or logging.INFO, logging.INFO))
    try:
        versions = ", ".join(f"{name} {package_version(name)}" for name in _NAMED)
        logger.info("%s begun; ipha_toolkit %s, Python %s, %s", label, __version__, platform.python_version(), versions)
        yield log
        logger.info("%s ended after %.1f s", label, time.perf_counter() - started)
    finally:
        logger.setLevel(level)
        logger.removeHandler(log)
