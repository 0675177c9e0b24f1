"""Categories stay apart in the eyes of the colour-blind, and maps keep their order.

Colour blindness is simulated in linear RGB by the matrices of Machado, Oliveira & Fernandes 2009, severity 1
(doi 10.1109/TVCG.2009.113, table 1); distances are CIEDE2000, in which 1 is about the least that is seen side by side.
"""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from ipha_toolkit.figures.cohort import _PHASE_MARKERS
from ipha_toolkit.figures.core import CONTROL_INK, SERIES_COLOURS
from ipha_toolkit.viewer.windows import CHOICES, MASK_COLOURS, SIGNED_COLOURS, palette

SIGHT = {
    "as most see": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
APART = 10.0
"""Asked of any two categories. The colours of Okabe & Ito, made for this, come to 10.9 at their nearest."""

EXPLORER = Path(__file__).parents[1] / "ipha_toolkit" / "explorer" / "js"
CHART, TILES = ((EXPLORER / name).read_text("utf-8") for name in ("chart.js", "tiles.js"))
REVIEW = (EXPLORER.parents[1] / "viewer" / "review.css").read_text("utf-8")
GREY = re.search(r'GREY = "(#\w+)"', CHART).group(1)


def _listed(name):
    return re.findall(r"#\w{6}", re.search(rf"{name} = [\[{{](.*?)[\]}}];", CHART).group(1))


def _tile_colours():
    channels = re.findall(r"(FAINT|INSIDE) = \[(\d+), (\d+), (\d+)", TILES)
    return ["#" + "".join(f"{int(part):02x}" for part in rgb) for _, *rgb in channels]


PALETTES = {
    "masks": list(MASK_COLOURS),
    "series and controls": [*SERIES_COLOURS, CONTROL_INK],
    "phases in figures": [*(colour for _, colour in _PHASE_MARKERS.values()), CONTROL_INK],
    "groups of the explorer": [*_listed("COLOURS"), GREY],
    "phases of the explorer": [*_listed("OF_PHASE"), GREY],
    "voxels of a number": [*_tile_colours(), re.search(r'FOUND = "(#\w+)"', TILES).group(1)],
    "verdicts": re.findall(r"pressed=.true.\] \{ background: (#\w+)", REVIEW),
}


def seen(colours, sight):
    """CIELAB of colours (n, 3; 0 to 1) as they are seen."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    there = np.clip(linear @ np.transpose(SIGHT[sight]), 0, 1)
    return rgb2lab(np.where(there <= 0.0031308, 12.92 * there, 1.055 * there ** (1 / 2.4) - 0.055))


def rgb(text):
    return np.array([int(text[n : n + 2], 16) / 255 for n in (1, 3, 5)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", PALETTES)
def test_any_two_categories_stay_apart(name, sight):
    colours = PALETTES[name]
    assert len(colours) >= 3
    lab = seen(np.array([rgb(colour) for colour in colours]), sight)
    near = {
        (colours[a], colours[b]): float(deltaE_ciede2000(lab[a], lab[b]))
        for a, b in itertools.combinations(range(len(colours)), 2)
    }
    assert {pair: distance for pair, distance in near.items() if distance < APART} == {}


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", [name for name in CHOICES if name != SIGNED_COLOURS])
def test_maps_grow_lighter_all_along(name, sight):
    lightness = seen(palette(name)[::15] / 255, sight)[:, 0]
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize("sight", SIGHT)
def test_both_signs_are_told_apart(sight):
    lab = seen(palette(SIGNED_COLOURS) / 255, sight)
    away = deltaE_ciede2000(lab[:96], lab[::-1][:96])  # as far below zero as above
    assert away.min() > APART


def test_a_symbol_goes_with_each_colour():
    shapes = re.findall(r"\[(?:GREY|\"#\w+\"), \"(\w+)\"\]", re.search(r"OF_PHASE = (.*);", CHART).group(1))
    assert len(set(shapes)) == len(shapes) == 5
