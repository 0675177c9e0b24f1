"""Viewers in pages without a notebook, and the script that keeps them alive in exported ones."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def page_fragment(*widgets: Any) -> str:
    """HTML that brings viewers to life in any page, without a notebook, a kernel or the network.

    Parameters
    ----------
    *widgets : SliceViewer, CohortExplorer, or HBox, VBox, slider, menu ... of ipywidgets
        Drawn in this order. Links made with ``ipywidgets.jslink`` hold among all widgets of one call, children of boxes
        included. Viewers take the state they have now.

    Returns
    -------
    str
        Copies of the images within their byte budgets, state, script, and of each viewer a still picture with its
        description, which stands in until a script runs, or where none may. Any number of fragments may lie on one
        page, anywhere in its body.

    Notes
    -----
    The page makes no request. A content security policy has to allow this much:
    ``default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src data:``.

    Raises
    ------
    ValueError
        Where no widget given is or holds a viewer or an explorer.
    """
    from ipywidgets import widget_serialization
    from ipywidgets.embed import dependency_state, embed_data

    widget_of = widget_serialization["from_json"]
    found = [widget_of(f"IPY_MODEL_{key}", None) for key in dependency_state(widgets, drop_defaults=False)]
    alive = [widget for widget in found if getattr(widget, "stands_alone", False)]
    if not alive:
        raise ValueError(
            "page_fragment needs at least one SliceViewer, as of ipha_toolkit.view(volume), or an explorer"
        )
    for widget in alive:
        widget.embed()
    state = dependency_state(widgets, drop_defaults=False)
    stills = "".join(_stand_in(widget, state[widget.model_id]["state"].pop("_picture")) for widget in alive)
    saved = embed_data(widgets, state=state)
    views = "".join(_json_script("view", view) for view in saved["view_specs"])
    return (
        f"<div>{views}{stills}</div>{_json_script('state', saved['manager_state'])}<script>{_export_script()}</script>"
    )


def _stand_in(widget: Any, picture: str) -> str:
    words = escape(widget.description)
    return f'<img data-ipha-model="{widget.model_id}" src="{picture}" alt="{words}" style="max-width: 100%">'


def _json_script(kind: str, content: Any) -> str:
    text = json.dumps(content).replace("<", "\\u003c")
    return f'<script type="application/vnd.jupyter.widget-{kind}+json">{text}</script>'


def _kernel() -> Any:
    """The Jupyter kernel this runs in, or None."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    return getattr(get_ipython(), "kernel", None)


def unattended() -> bool:
    """Whether the cell is run by nbconvert, papermill or nbclient: they switch standard input off."""
    kernel = _kernel()
    return kernel is not None and not getattr(kernel, "_allow_stdin", True)


def attended() -> bool:
    """Whether this runs in a notebook with a person at it."""
    return _kernel() is not None and not unattended()


@cache
def _export_script() -> str:
    return (HERE / "js" / "export.js").read_text(encoding="utf-8")


def show_export_script() -> None:
    """Put the script for exported pages into the cell's output, inside a notebook only.

    As JavaScript rather than HTML, which an export with "Sanitize HTML output" would print as text.
    """
    if _kernel() is not None:
        from IPython.display import display

        display({"application/javascript": _export_script()}, raw=True)  # type: ignore[no-untyped-call]
