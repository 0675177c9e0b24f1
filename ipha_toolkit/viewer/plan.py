"""The plan of an import as a table to edit in JupyterLab."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as widgets

from ipha_toolkit.io.series_table import EDITED, MASK
from ipha_toolkit.run.plan import ImportPlan
from ipha_toolkit.series_rules import NONE, OPEN
from ipha_toolkit.terms import Modality

_WIDTHS = "4em 9em 7em 7em 8em 6em 12em 1fr"
_HEADS = ("series", "role", "subject", "session", "labels", "seen by", "words", "why, and what is wrong")


class PlanTable(widgets.VBox):  # type: ignore[misc]
    """One row a series; what is typed or chosen goes into :attr:`plan` at once.

    Made by :func:`edit_plan`.
    """

    def __init__(self, plan: ImportPlan) -> None:
        self.plan = plan
        self._note = widgets.HTML()
        cells: list[Any] = [widgets.HTML(f"<b>{head}</b>") for head in _HEADS]
        for row in plan.table.to_dict("records"):
            cells += self._cells({str(name): str(cell) for name, cell in row.items()})
        grid = widgets.GridBox(cells, layout=widgets.Layout(grid_template_columns=_WIDTHS, grid_gap="2px 8px"))
        super().__init__([grid, self._note])
        self.add_class("ipha-plan")
        self._count()

    def _cells(self, row: dict[str, str]) -> list[Any]:
        roles = [*Modality, MASK, NONE, OPEN]
        role = widgets.Dropdown(options=list(map(str, roles)), value=row["role"] if row["role"] in roles else OPEN)
        texts = {name: widgets.Text(row[name], continuous_update=False) for name in EDITED if name != "role"}
        for name, field in (("role", role), *texts.items()):
            field.layout.width = "auto"
            field.tooltip = f"{name} of {row['series']}"
            field.observe(lambda change, name=name: self._edit(row["series"], name, change["new"]), "value")
        why = f"<b>{escape(row['sure'])}</b> {escape(row['reason'])}"
        wrong = f"<br><span style='color:#b00020'>{escape(row['wrong'])}</span>" if row["wrong"] else ""
        typed = [texts[name] for name in ("subject", "session", "labels", "seen")]
        return [
            widgets.HTML(escape(row["series"])), role, *typed,
            widgets.HTML(escape(row["words"])), widgets.HTML(f"<div style='line-height:1.25'>{why}{wrong}</div>"),
        ]  # fmt: skip

    def _edit(self, series: str, name: str, value: str) -> None:
        self.plan = self.plan.edit(series, **{name: value.strip()})
        self._count()

    def _count(self) -> None:
        roles = self.plan.table["role"]
        taken = sum(role not in (NONE, OPEN, "") for role in roles)
        left = int((roles == OPEN).sum())
        self._note.value = f"{taken} of {len(roles)} series would be converted, {left} are open."


def edit_plan(plan: ImportPlan) -> PlanTable:
    """A table of the plan to edit in JupyterLab; its ``.plan`` is the plan as edited, for ``import_dicom(plan=...)``.

    Examples
    --------
    >>> table = edit_plan(plan_import("disk"))     # doctest: +SKIP
    >>> import_dicom("disk", "cohort", plan=table.plan)     # doctest: +SKIP
    """
    return PlanTable(plan)
