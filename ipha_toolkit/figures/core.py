"""What every figure shares: making it, describing it in words, showing and saving it.

How the description travels
---------------------------
:func:`describe` puts the words on an Axes, :func:`alt_text` reads those of a whole figure. They go along wherever the
figure goes: :func:`show` displays it in a notebook (as the output's ``image/png`` metadata ``alt``, which
``ipha render`` reads, and as ``<img alt>`` for plain nbconvert), :func:`to_html` gives the ``<img>`` for a page,
:func:`to_png` the bytes of the file with the words as its ``Description``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ipha_toolkit.errors import DataError, IphaError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of bars and lines on white, told apart with every common colour blindness (Okabe & Ito 2008)."""

CONTROL_INK = "#6a6a6a"
"""Dark enough to be told from the pink and green of a series where red and green look alike."""

_DPI = 150


def new_figure(width: float = 6.4, height: float = 4.0) -> Figure:
    """An empty figure of a size in inches, unknown to pyplot, laid out so that no label is cut off."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def describe(ax: Axes, words: str) -> Axes:
    """Attach a description to an Axes, in place of an earlier one; returns the Axes."""
    ax.__dict__["_ipha_words"] = words
    return ax


def alt_text(drawn: Axes | Figure) -> str:
    """The description of a figure, or of the figure an Axes is part of: of all its Axes, in order.

    Raises
    ------
    ValueError
        Where no Axes of the figure carries one.
    """
    found = [ax.__dict__["_ipha_words"] for ax in _figure(drawn).axes if "_ipha_words" in ax.__dict__]
    if not found:
        raise ValueError("figure has no description: attach one with ipha_toolkit.plots.describe(ax, words)")
    return " ".join(found)


def to_png(drawn: Axes | Figure, *, dpi: int = _DPI) -> bytes:
    """The figure as bytes of a PNG file, its description in the file's ``Description``."""
    buffer = BytesIO()
    _figure(drawn).savefig(buffer, format="png", dpi=dpi, metadata={"Description": alt_text(drawn)})
    return buffer.getvalue()


def to_html(drawn: Axes | Figure, *, dpi: int = _DPI) -> str:
    """The figure as one ``<img>`` that holds its pixels and its description, for a self-contained page."""
    return _image_tag(b64encode(to_png(drawn, dpi=dpi)).decode(), drawn)


def show(drawn: Axes | Figure, *, dpi: int = 110) -> None:
    """Display the figure in a notebook with its description; a figure of pyplot is closed, not shown twice."""
    import sys

    from IPython.display import display

    picture = b64encode(to_png(drawn, dpi=dpi)).decode()
    data = {"image/png": picture, "text/html": _image_tag(picture, drawn), "text/plain": alt_text(drawn)}
    display(data, metadata={"image/png": {"alt": alt_text(drawn)}}, raw=True)  # type: ignore[no-untyped-call]
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(_figure(drawn))


def choose(figures: Mapping[str, Axes | Figure], *, by: str, ordered: bool = False, dpi: int = 110) -> Any:
    """Figures of which one is shown, chosen by a menu that works in exported pages too, without a kernel.

    Parameters
    ----------
    figures : mapping
        Name in the menu to figure, each with a description; the first is shown.
    by : str
        What tells them apart, beside the menu: ``"day"``, ``"measure"``.
    ordered : bool
        A slider in place of a menu, for names that follow each other, such as days.
    dpi : int
        Resolution of the pictures, which a page holds all of.

    Returns
    -------
    ipywidgets.VBox
        The control and the figures, joined in the browser.

    Raises
    ------
    DataError
        Where there is no figure to choose from.
    """
    import ipywidgets as widgets

    if not figures:
        raise DataError(f"there is no figure to choose by {by}")
    kind = widgets.SelectionSlider if ordered else widgets.Dropdown
    control = kind(options=list(figures), description=by, style={"description_width": "initial"})
    pictures = widgets.Stack([widgets.HTML(to_html(drawn, dpi=dpi)) for drawn in figures.values()], selected_index=0)
    widgets.jslink((control, "index"), (pictures, "selected_index"))
    return widgets.VBox([control, pictures])


def wrapped(table: pd.DataFrame, *, digits: int = 2) -> Any:
    """A table for a notebook whose long texts are shown whole, over several lines, and never as HTML.

    Parameters
    ----------
    table : DataFrame
    digits : int
        Of its numbers behind the point.

    Returns
    -------
    Styler
        Without the index.
    """
    shown = table.style.format(escape="html", precision=digits)
    return shown.set_properties(**{"white-space": "normal", "text-align": "left"}).hide()  # type: ignore[arg-type]


@contextmanager
def if_possible() -> Iterator[None]:
    """Run a block of a notebook; where the data do not allow it, display why in its place and go on.

    Only what the toolkit raises on purpose, a child of :class:`ipha_toolkit.errors.IphaError`, becomes words; any other
    error stops the notebook as ever.

    Examples
    --------
    >>> import ipha_toolkit as ipha
    >>> with ipha.if_possible():  # doctest: +SKIP
    ...     ipha.plots.show(ipha.plots.plot_forest(effects))
    Not shown: no measure has an effect size: each group needs two subjects or more
    """
    from IPython.display import display

    try:
        yield
    except IphaError as error:
        display(_Words(f"Not shown: {error}"))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Words:
    """A sentence among a notebook's outputs."""

    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.text)}</p>"


def _image_tag(picture: str, drawn: Axes | Figure) -> str:
    return f'<img src="data:image/png;base64,{picture}" alt="{escape(alt_text(drawn))}" style="max-width: 100%">'


def _figure(drawn: Axes | Figure) -> Figure:
    from matplotlib.figure import Figure

    figure = drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)
    if figure is None:
        raise ValueError("the Axes was removed from its figure")
    return figure


def colour_bars(ax: Axes, bars: Sequence[tuple[Any, str]]) -> None:
    for shown, label in bars:
        bar = _figure(ax).colorbar(shown, ax=ax, fraction=0.05, pad=0.02)
        bar.set_label(label, parse_math=False)
        if bar.solids is not None:
            bar.solids.set_alpha(1)


def plain(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def legend_above(ax: Axes, *, columns: int = 3) -> None:
    """A legend over the Axes, where no data can lie under it."""
    ax.legend(frameon=False, fontsize=8, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def literal(text: str) -> str:
    """Text from data as matplotlib is to print it: no mathematics, no hidden legend entry."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")
