"""The still picture that a saved notebook shows where its viewer has no kernel any more.

JupyterLab draws the widget form of an output whenever it trusts the notebook, and where the widget's model is gone
it writes "Error displaying widget: model not found", although the same output holds a picture. So the picture is
saved once more, in a script (``js/saved.js``) that is an output of its own before the viewer's, and stays out of sight
until it is needed.
"""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from io import BytesIO
from typing import Any

from ipha_toolkit.viewer.bundle import JS

_QUALITY = 85
_HINT = "Still picture, saved with the notebook. Run the cell again for the live viewer."


def show_saved(picture: Any, words: str) -> None:
    """Display a Pillow image with its description, to be seen only when the notebook is opened again."""
    from IPython.display import display

    display({"application/javascript": saved_script(picture, words)}, raw=True)  # type: ignore[no-untyped-call]


def saved_script(picture: Any, words: str) -> str:
    """The script with the picture in it, as JPEG: a third of the PNG that stands beside it."""
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    shown = f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
    given = ", ".join(json.dumps(text).replace("<", "\\u003c") for text in (shown, words, _HINT))
    return f"{_function()}({given});"


@cache
def _function() -> str:
    return (JS / "saved.js").read_text(encoding="utf-8").rstrip()
