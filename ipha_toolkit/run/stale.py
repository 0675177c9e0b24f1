"""Results of sessions that the cohort does not have any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from ipha_toolkit.io import names, outputs
from ipha_toolkit.io.layout import Problem, SessionFiles


def stale_folders(out: Path, sessions: Iterable[SessionFiles]) -> list[Path]:
    """Folders of sessions below a results folder that belong to none of the sessions, in order of their names."""
    wanted = {outputs.session_folder(out, files) for files in sessions}
    held = {path.parent for name in (names.PROVENANCE, names.LOG) for path in out.glob(f"sub-*/**/{name}")}
    return sorted(held - wanted)


def sort_out_stale(out: Path, sessions: Iterable[SessionFiles], *, remove: bool) -> list[Problem]:
    """Say which results belong to sessions that are gone, and take them away where that was asked for."""
    remarks = []
    for folder in stale_folders(out, sessions):
        if remove:
            _remove(folder, out)
        told = "taken away" if remove else "left as they are and in no table; --remove-stale takes them away"
        where = Path(folder.relative_to(out).as_posix())
        remarks.append(Problem(where, f"results of a session that is no longer in the cohort: {told}"))
    return remarks


def _remove(folder: Path, out: Path) -> None:
    """A session's own files; a folder that other sessions lie in stays."""
    for path in folder.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink()
        elif not path.name.startswith("ses-"):
            shutil.rmtree(path)
    while folder != out and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
