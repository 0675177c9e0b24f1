"""How far a run over a cohort is, from the results folder alone: done, running, failed, to do."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import marks, names, outputs
from ipha_toolkit.io.layout import SessionFiles, read_table
from ipha_toolkit.io.results import NOT_AS_WRITTEN, open_results

STATES = ("done", "running", "failed", "to do")
COLUMNS = ("subject", "session", "state", "since", "error")


def status(results: str | os.PathLike[str]) -> pd.DataFrame:
    """What has become of every session, while a run is at work or after it.

    Nothing but the results folder is read: an image that changed since it was measured is found by the next run.

    Parameters
    ----------
    results : path
        Results folder of :func:`ipha_toolkit.analyze`.

    Returns
    -------
    DataFrame
        ``subject, session, state, since, error``, one row a session of the cohort. ``state``: ``done``; ``running``, a
        process is at work on it, ``since`` then (UTC); ``failed``, an image of it or all could not be measured,
        ``error`` says why; ``to do``.

    Raises
    ------
    LayoutError
        Where the folder holds no results of this toolkit, or the plan of its sessions is missing or was edited.
    """
    out = open_results(results).path
    if not (out / names.PLAN).exists():
        raise LayoutError(f"{out / names.PLAN}: is missing; run ipha analyze again, which writes it first")
    if not marks.is_as_written(out, names.PLAN):
        raise LayoutError(f"{out / names.PLAN}: {NOT_AS_WRITTEN}")
    plan = read_table(out / names.PLAN)
    rows = [_row(out, SessionFiles(*key)) for key in zip(plan["subject"], plan["session"], strict=True)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(out: Path, files: SessionFiles) -> list[str]:
    key = [files.subject, files.session]
    if since := marks.since(out, files.label, outputs.session_folder(out, files)):
        return [*key, "running", since, ""]
    failures = outputs.read_failures(out, files)
    if failures is None:
        return [*key, "to do", "", ""]
    errors = "; ".join(str(each.get("error", "")) for each in failures)
    return [*key, "failed" if failures else "done", "", errors]
