"""Masks drawn elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ipha_toolkit.io.series_table import Row
from ipha_toolkit.run.import_ import Imported
from ipha_toolkit.run.plan import ImportPlan


def import_drawn(
    plan: ImportPlan, rows: Sequence[Row], root: Path, record: dict[str, dict[str, str]], done: Imported
) -> None:
    for row in rows:
        done.left_out[row.series] = "not yet"
