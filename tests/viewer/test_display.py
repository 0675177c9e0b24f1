"""The one state of a viewer, read from its traits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.viewer.display import Display
from ipha_toolkit.viewer.widget import _TRAIT_OF, SliceViewer


@pytest.fixture(autouse=True)
def _close_widgets() -> Iterator[None]:
    yield
    from ipywidgets import Widget

    Widget.close_all()


def viewer_of_two(**state: object) -> SliceViewer:
    one = ipha.Volume(np.arange(60.0).reshape(3, 4, 5), np.eye(4), name="one")
    lung = ipha.Mask(one.array > 20, one.affine, name="lung")
    return ipha.view(one, one.replace(name="two"), overlays=[{"lung": lung}, {"lung": lung, "ratio": one}], **state)


def test_every_field_is_a_trait_that_browsers_share() -> None:
    traits = SliceViewer.class_traits(sync=True)
    assert {_TRAIT_OF[field.name] for field in fields(Display)} <= set(traits)


def test_a_display_is_what_is_shown_now_and_stays_so() -> None:
    viewer = viewer_of_two(plane="coronal", zoom=2)
    before = viewer.display
    viewer.plane = "axial"
    viewer.add_roi((1, 1, 1), 2)
    assert (before.plane, before.zoom, len(before.regions)) == ("coronal", 2, 0)
    assert (viewer.display.plane, len(viewer.display.regions)) == ("axial", 1)
    with pytest.raises(FrozenInstanceError):
        before.plane = "axial"  # type: ignore[misc]


def test_overlays_shown_on_an_image_are_its_own_and_visible() -> None:
    viewer = viewer_of_two(visible=[True, False, True])
    scene = viewer._scene()
    assert [[layer.name for layer, _ in scene.shown_overlays(image)] for image in (0, 1)] == [["lung"], ["ratio"]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plane": "all"}, "two, sagittal slice 2 of 3"),
        ({"position_mm": (0, 0, 4)}, "axial slice 5 of 5 at z 4.0 mm"),
        ({"threshold": 30.0}, "of lung at or above 30."),
        ({"visible": [False, False, False]}, ""),
        ({"window": (10, 20)}, "window level 10, width 20"),
    ],
)
def test_words_follow_the_state(change: dict[str, object], said: str) -> None:
    viewer = viewer_of_two()
    before = viewer.description
    for name, value in change.items():
        setattr(viewer, name, value)
    assert viewer.description != before
    assert said in viewer.description


def test_unlinked_images_are_each_shown_where_they_were_left() -> None:
    ramp = np.broadcast_to(np.arange(10.0), (8, 8, 10))
    volumes = [ipha.Volume(ramp, np.eye(4), name=name) for name in ("one", "two")]
    viewer = ipha.view(*volumes, position_mm=(4, 4, 2))
    viewer.linked = False
    assert viewer._places == [(4, 4, 2)] * 2
    viewer.position_mm = (4, 4, 7)  # of the active image, the first
    assert viewer.display.position_of(0) == (4, 4, 7)
    assert viewer.display.position_of(1) == (4, 4, 2)
    assert "one, axial slice 8 of 10" in viewer.description
    assert "two, axial slice 3 of 10" in viewer.description
    pixels = np.asarray(viewer.still()[0]).astype(int)
    first, second = (pixels[150, x].mean() for x in (200, 640))
    assert first > second + 50
    viewer.linked = True
    assert viewer._places == []
    assert "two, axial slice 8 of 10" in viewer.description
