"""The still picture that a saved notebook shows where its viewer has no kernel any more.

JupyterLab draws the widget form of an output whenever it trusts the notebook, and where the widget's model is gone
it writes "Error displaying widget: model not found", although the same output holds a picture. So the picture is
saved once more, in a script (``js/saved.js``) that is an output of its own before the viewer's, and stays out of sight
until it is needed.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import Any

from ipha_toolkit.viewer.bundle import JS

_QUALITY = 85
_HINT = "Still picture, saved with the notebook. Run the cell again for the live viewer."


def show_saved(stills: Sequence[tuple[Any, str]]) -> None:
    """Display Pillow images with their descriptions, to be seen only when the notebook is opened again."""
    from IPython.display import display

    display({"application/javascript": saved_script(stills)}, raw=True)  # type: ignore[no-untyped-call]


def saved_script(stills: Sequence[tuple[Any, str]]) -> str:
    """The script with the pictures in it."""
    given = json.dumps([[_jpeg(picture), words] for picture, words in stills]).replace("<", "\\u003c")
    return f"{_function()}({given}, {json.dumps(_HINT)});"


def _jpeg(picture: Any) -> str:
    """A picture as an address that holds it: a third of the PNG that stands beside it."""
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"


def save_boxes_too() -> None:
    """Let boxes of ipywidgets, wherever they are displayed from now on, save the pictures of the viewers in them."""
    from IPython.core.getipython import get_ipython
    from ipywidgets import Box

    shell = get_ipython()
    if shell is not None:
        shell.display_formatter.mimebundle_formatter.for_type(Box, _box_bundle)


def _box_bundle(box: Any) -> Any:
    stills = [still for child in box.children for still in _stills(child)]
    if stills:
        show_saved(stills)
    return box._repr_mimebundle_()


def _stills(widget: Any) -> list[tuple[Any, str]]:
    """Picture and words of a widget that has them, or of those inside it."""
    if hasattr(widget, "still"):
        return [widget.still()]
    return [still for child in getattr(widget, "children", ()) for still in _stills(child)]


@cache
def _function() -> str:
    return (JS / "saved.js").read_text(encoding="utf-8").rstrip()
