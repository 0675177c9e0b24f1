"""One step a modality: from a Scan to the rows, masks, maps and tables of its part of a session.

A new modality is a module here with a function from Scan to :class:`ipha_toolkit.io.outputs.Part`, and a line in
:data:`STEPS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from ipha_toolkit.terms import Modality


@dataclass(frozen=True)
class Step:
    """A step by the module it lives in and the name of its function: it is imported when a session needs it."""

    module: str
    function: str

    @cached_property
    def run(self) -> Callable[..., Any]:
        """The function."""
        return getattr(import_module(f"{__name__}.{self.module}"), self.function)  # type: ignore[no-any-return]


NODULES = Step("nodules", "find_nodules")

STEPS: dict[Modality, tuple[Step, ...]] = {
    Modality.T1W: (Step("mr", "measure_mr"), NODULES),
    Modality.T2W: (Step("mr", "measure_mr"),),
    Modality.MEGRE: (Step("echoes", "measure_echoes"),),
    Modality.CT: (Step("ct", "measure_ct"), NODULES),
    Modality.DX: (Step("film", "measure_film"),),
}
"""Steps of each modality, in the order of a session."""

PAIRS: dict[tuple[Modality, Modality], Step] = {(Modality.T1W, Modality.T2W): Step("pair", "measure_pair")}
"""Steps of two images of a session, taken where each of them was measured."""
