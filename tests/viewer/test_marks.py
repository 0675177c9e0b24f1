"""What stands beside a slice is the same in Python and in the browser: both are held to one committed table."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import bundled

from ipha_toolkit.viewer import marks
from ipha_toolkit.viewer.layers import Layer

_spec = importlib.util.spec_from_file_location("slice_marks", Path(__file__).with_name("slice_marks.py"))
assert _spec is not None and _spec.loader is not None
slice_marks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slice_marks)

ANSWERS = """(js, table) => {
    const grids = new Map(table.grids.map(([name, shape, affine]) => [name, new js.Grid(shape, affine)]));
    return {
        numbers: table.numbers.map(([value]) => [value, js.number(value), js.number(value, "HU"), js.fixed(value, 1)]),
        scale_bars: table.scale_bars.map(([width]) => [width, js.scaleBar(width).mm, js.scaleBar(width).label]),
        slabs: table.slabs.map(([slab, mm]) => [slab, mm, js.slabText(slab, mm)]),
        grids: table.grids,
        slices: table.slices.map((s) => {
            const grid = grids.get(s.name), here = js.place(grid, s.plane, s.position_mm);
            return {
                name: s.name, plane: s.plane, position_mm: s.position_mm, window: s.window, unit: s.unit,
                letters: js.letters(grid, s.plane), place: [here.number, here.count, here.axis, js.placeText(here)],
                away_mm: here.away, window_text: js.windowText(s.window, s.unit), away_text: js.awayText(here.away),
                words: js.describeSlice(s.name, grid, s.plane, s.position_mm, s.window, s.unit),
            };
        }),
        shares: table.shares.map((s) => ({...s, words: js.shareText(s.table, s.threshold, s.unit)})),
        scenes: table.scenes.map((s) => {
            return {...s, words: js.describe(s.slices, s.overlays, s.nodules, s.regions, s.thresholds)};
        }),
    };
}"""


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(slice_marks.TABLE.read_text(encoding="utf-8"))
    return found


def differences(found: dict[str, Any], table: dict[str, Any]) -> list[Any]:
    """Cases answered otherwise, distances within a nanometre left alone."""
    different = []
    for name, cases in table.items():
        for expected, case in zip(cases, found[name], strict=True):
            one, other = ((dict(c) if isinstance(c, dict) else {"": c}) for c in (expected, case))
            near = one.pop("away_mm", 0) == pytest.approx(other.pop("away_mm", 0), abs=1e-6)
            if one != other or not near:
                different.append((expected, case))
    return different


def test_python_says_what_the_table_says(table: dict[str, Any]) -> None:
    assert differences(json.loads(json.dumps(slice_marks.table())), table) == []


def test_the_browser_says_what_the_table_says(offline_page: Any, table: dict[str, Any]) -> None:
    assert differences(bundled(offline_page, ANSWERS, table), table) == []


def test_letters_name_a_tilt_of_more_than_twelve_degrees(table: dict[str, Any]) -> None:
    sides = {case["name"]: case["letters"]["top"] for case in table["slices"] if case["plane"] == "axial"}
    assert sides["straight"] == sides["turned 8 about x"] == "A"
    assert sides["turned 35 about x"] in ("AS", "AI")


@pytest.mark.parametrize("shown", ["", "3 axial slices from z 0 to 9 mm"])
def test_a_slice_is_described_by_its_place_or_by_what_is_shown_instead(shown: str) -> None:
    layer = Layer(np.zeros((4, 4, 4), bool), np.eye(4), "image", "CT", "HU")
    words = marks.describe_slice(layer, "axial", (0, 0, 9), window=(40, 400), shown=shown)
    assert words == (
        f"CT, {shown or 'axial slice 4 of 4 at z 9.0 mm'}, patient's R on the left of the picture; "
        f"window level 40, width 400 HU{'' if shown else '; nearest slice, 6 mm away'}"
    )
