"""Images rated one after another: a widget of the images most in doubt, a verdict by one key, a table on disk.

The browser holds what is rated in the trait ``ratings``; the kernel writes every change to ``ratings.tsv`` at once. In
an exported page there is no kernel: the page gives the table to save, and a colleague mails it back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import anywidget
import numpy as np
import pandas as pd
import traitlets as t
from ipywidgets import widget_serialization

from ipha_toolkit.io.ratings import COLUMNS, REASONS, VERDICTS, add_ratings, ratings_path, read_ratings
from ipha_toolkit.io.results import Results, SessionResults, open_results
from ipha_toolkit.run.ratings import rated, review_queue
from ipha_toolkit.viewer.bundle import JS, bundle
from ipha_toolkit.viewer.page import HERE, attended, page_fragment, show_export_script, unattended
from ipha_toolkit.viewer.saved import show_saved
from ipha_toolkit.viewer.widget import SliceViewer
from ipha_toolkit.volume import Mask, Volume

_SHOWN = ("lung", "muscle")
_AT_HAND = 2

EXPORT_FIRST = 24
"""Images that an exported page takes along unless told otherwise: about 24 MB."""


def review(
    results: Results | str | os.PathLike[str],
    *,
    ratings: str | os.PathLike[str],
    rater: str = "",
    images: Sequence[str] | None = None,
    reasons: Sequence[str] = REASONS,
    **options: Any,
) -> ReviewQueue:
    """Rate the images of a results folder and their lung masks, those most in doubt first.

    Parameters
    ----------
    results : Results or path
        As of :func:`ipha_toolkit.open_results`.
    ratings : path
        Folder in which ``ratings.tsv`` is kept, or a ``.tsv`` file. Written as each verdict is given; what stands there
        already is taken up.
    rater : str
        Initials of the rater; can be typed in the widget.
    images : sequence of str, optional
        Modalities to rate; None means all.
    reasons : sequence of str
        Offered for a verdict, the first nine by Shift and their number.
    **options
        ``export_first``, how many images an exported page takes along, those most in doubt first (24; None is all),
        which the page says; ``export_mb``, the size of each (1); and options of the viewer such as ``height_px`` and
        ``plane``.

    Returns
    -------
    ReviewQueue

    Raises
    ------
    LayoutError
        Where the results folder, or a table of ratings that is there, cannot be read.
    ValueError
        Where there is no image to rate.
    """
    return ReviewQueue(results, ratings=ratings, rater=rater, images=images, reasons=reasons, **options)


class InnerSliceViewer(SliceViewer):
    """A viewer inside another widget, whose JavaScript and styles serve it too."""

    _esm = "export default {render() {}}"
    _css = ""
    stands_alone = False

    def let_go(self) -> None:
        """Keep the packed copy for exported pages and forget the voxels."""
        self.embed()
        self._shown = [
            replace(layer, array=np.broadcast_to(layer.array.ravel()[:1], layer.array.shape)) for layer in self._shown
        ]
        self._packed_already = True

    def _refresh_still(self) -> None:
        """What holds the viewer has the picture."""
        self._describe()

    def embed(self) -> None:
        """Put the copy for exported pages into the widget's state, once."""
        if not getattr(self, "_packed_already", False):
            super().embed()


class ReviewQueue(anywidget.AnyWidget):  # type: ignore[misc]
    """The queue of images to rate; made by :func:`review`.

    Attributes
    ----------
    current : int
        Number of the image shown, from 0.
    rater : str
        Initials, which every row carries.
    ratings : list of dict
        What the rater has said of the images as they are now; columns of :data:`ipha_toolkit.io.ratings.COLUMNS`.

    Examples
    --------
    >>> queue = review("results", ratings="ratings", rater="AB")     # doctest: +SKIP
    >>> queue.rate("unusable", reasons=["motion"])     # doctest: +SKIP
    >>> queue.table     # doctest: +SKIP
    """

    stands_alone = True
    """Whether it is shown by itself, see :class:`ipha_toolkit.viewer.widget.SliceViewer`."""

    _esm = bundle(JS / "review.js")
    _css = (HERE / "viewer.css").read_text("utf-8") + (HERE / "review.css").read_text("utf-8")

    current = t.Int(0, min=0).tag(sync=True)
    rater = t.Unicode().tag(sync=True)
    reasons = t.List(t.Unicode()).tag(sync=True)
    ratings = t.List(t.Dict()).tag(sync=True)
    _queue = t.List().tag(sync=True)
    _viewers = t.Dict().tag(sync=True, **widget_serialization)
    _saved = t.Unicode().tag(sync=True)
    _carried = t.Unicode().tag(sync=True)
    description = t.Unicode().tag(sync=True)
    _picture = t.Unicode().tag(sync=True)

    def __init__(
        self,
        results: Results | str | os.PathLike[str],
        *,
        ratings: str | os.PathLike[str],
        rater: str = "",
        images: Sequence[str] | None = None,
        reasons: Sequence[str] = REASONS,
        export_first: int | None = EXPORT_FIRST,
        export_mb: float = 1.0,
        **viewer: Any,
    ) -> None:
        self.results = results if isinstance(results, Results) else open_results(results)
        self.path = ratings_path(ratings)
        self._order = _chosen(review_queue(self.results), images)
        self._options = {"height_px": 420, "embed_live": False} | viewer
        if export_first is not None and export_first < 1:
            raise ValueError(f"export_first needs to be 1 or more, or None for all images, got {export_first}")
        self._export_first, self._export_mb = export_first, export_mb
        self._loading: dict[int, Future[tuple[Volume, dict[str, Mask]]]] = {}
        self._loader = ThreadPoolExecutor(1)
        self._on_disk = read_ratings(self.path) if self.path.exists() else pd.DataFrame(columns=list(COLUMNS))
        known = rated(self._on_disk, self._order, rater)
        super().__init__(
            rater=rater, reasons=list(reasons), ratings=known, _saved=f"Kept in {self.path.name}.",
            _queue=[{name: str(cell) for name, cell in row.items()} for row in self._order.to_dict("records")],
        )  # fmt: skip
        self._bring(0)
        self.observe(lambda change: self._bring(change["new"]), "current")
        self.observe(self._write, "ratings")
        self.observe(self._take_up, "rater")
        show_export_script()
        if unattended():
            self.embed()

    # -- what callers use --

    @property
    def table(self) -> pd.DataFrame:
        """The queue with this rater's verdicts: ``subject, session, image, doubt, why, verdict, reasons, note``."""
        keys = ["subject", "session", "image"]
        given = pd.DataFrame(self._own(), columns=list(COLUMNS))[[*keys, "verdict", "reasons", "note"]]
        return self._order.drop(columns="hash").merge(given, on=keys, how="left").fillna("")

    @property
    def viewer(self) -> SliceViewer:
        """The viewer of the image shown."""
        found: SliceViewer = self._viewers[str(self.current)]
        return found

    def rate(self, verdict: str, *, reasons: Iterable[str] = (), note: str = "") -> None:
        """Rate the image shown, write it to disk, and go on to the next.

        Raises
        ------
        ValueError
            Where the verdict is none of good, usable and unusable, or there are no initials.
        """
        if verdict not in VERDICTS:
            raise ValueError(f"verdict needs to be one of {', '.join(VERDICTS)}, got {verdict!r}")
        if not self.rater:
            raise ValueError("a rating needs the rater's initials; set review(..., rater='AB') or .rater")
        item = self._queue[self.current]
        row = {name: item[name] for name in ("subject", "session", "image")}
        row |= {"rater": self.rater, "verdict": verdict, "reasons": "; ".join(reasons), "note": note}
        row |= {"hash": item["hash"]}
        others = [old for old in self.ratings if any(old[name] != row[name] for name in (*_ITEM, "rater"))]
        self.ratings = [*others, row]
        self.current = min(self.current + 1, len(self._queue) - 1)

    def embed(self) -> None:
        """Put copies of the images most in doubt into the widget's state, for exported pages.

        How many, ``export_first`` says; the page tells its reader.
        """
        if not self._picture:
            self._picture, self.description = _as_address(self.viewer)
        wanted = len(self._queue) if self._export_first is None else min(self._export_first, len(self._queue))
        for number in range(wanted):
            viewer = self._viewers.get(str(number)) or self._made(number)
            viewer.let_go()
            self._viewers = self._viewers | {str(number): viewer}
        self._carried = _carried_text(wanted, len(self._queue))

    def to_html(self) -> str:
        """This queue as a fragment of a page, in which a colleague rates offline and saves the table."""
        html = page_fragment(self)
        hollow, self._viewers, self._picture = list(self._viewers.values()), {}, ""
        self._bring(self.current)  # those on the page have forgotten their voxels
        for viewer in hollow:
            viewer.close()
        return html

    def still(self) -> tuple[Any, str]:
        """The image shown as a picture, and in words."""
        return self.viewer.still()

    # -- wiring --

    def _own(self) -> list[dict[str, str]]:
        return [row for row in self.ratings if row["rater"] == self.rater]

    @t.validate("current")
    def _valid_current(self, proposal: Any) -> int:
        return min(int(proposal["value"]), len(self._order) - 1)

    def _bring(self, number: int) -> None:
        """Show an image, and read the next one meanwhile."""
        if str(number) not in self._viewers:
            kept = {key: viewer for key, viewer in self._viewers.items() if abs(int(key) - number) < _AT_HAND}
            gone = [viewer for key, viewer in self._viewers.items() if key not in kept]
            self._viewers = kept | {str(number): self._made(number)}
            for viewer in gone:
                viewer.close()
        self._ask(number + 1)

    def _ask(self, number: int) -> None:
        if number < len(self._order) and number not in self._loading and str(number) not in self._viewers:
            self._loading = {n: job for n, job in self._loading.items() if abs(n - number) <= _AT_HAND}
            self._loading[number] = self._loader.submit(self._read, number)

    def _read(self, number: int) -> tuple[Volume, dict[str, Mask]]:
        session, modality = self._item(number)
        masks = {kind: session.mask(modality, kind) for kind in _SHOWN if session.has(modality, kind)}
        return session.image(modality), masks

    def _made(self, number: int) -> InnerSliceViewer:
        job = self._loading.pop(number, None)
        image, masks = job.result() if job is not None else self._read(number)
        state = self._options | {"position_mm": _middle_of(masks)} if masks else self._options
        return InnerSliceViewer(image, overlays=masks, export_mb=self._export_mb, **state)

    def _item(self, number: int) -> tuple[SessionResults, str]:
        row = self._queue[number]
        return self.results[f"{row['subject']}_{row['session']}".rstrip("_")], row["image"]

    def _write(self, change: Any) -> None:
        """Write what is new to disk."""
        before = change["old"] or []
        new = [row for row in change["new"] if row not in before and row["rater"] == self.rater]
        if new:
            try:
                self._on_disk = add_ratings(self.path, new)
                self._saved = f"Kept in {self.path.name}."
            except OSError as error:
                self._saved = f"NOT kept in {self.path.name}: {error.strerror or error}. Save it from here."

    def _take_up(self, change: Any) -> None:
        """Another rater: what stands on disk of theirs."""
        known = rated(self._on_disk, self._order, change["new"])
        there = {tuple(row[name] for name in (*_ITEM, "rater")) for row in self.ratings}
        more = [row for row in known if tuple(row[name] for name in (*_ITEM, "rater")) not in there]
        if more:
            self.ratings = [*self.ratings, *more]

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        found = super()._repr_mimebundle_(**kwargs)
        data = dict(found[0] if isinstance(found, tuple) else found or {})
        if attended():
            show_saved([self.still()])
        data["text/plain"] = f"ReviewQueue: {len(self._own())} of {len(self._queue)} images rated by {self.rater}"
        return data, {}


_ITEM = ("subject", "session", "image", "hash")


def _chosen(queue: pd.DataFrame, images: Sequence[str] | None) -> pd.DataFrame:
    chosen = queue if images is None else queue[queue["image"].isin(list(images))].reset_index(drop=True)
    if chosen.empty:
        there = ", ".join(sorted(set(queue["image"]))) or "none"
        raise ValueError(f"no image with a lung mask to rate (images={images!r}); the results hold masks of {there}")
    return chosen


def _carried_text(carried: int, all_of_them: int) -> str:
    if carried == all_of_them:
        return f"This page holds the slices of all {all_of_them} images."
    return (
        f"This page holds the slices of {carried} of {all_of_them} images, those most in doubt; the rest can be asked "
        "for from whoever made it (export_first)."
    )


def _as_address(viewer: SliceViewer) -> tuple[str, str]:
    """The picture of a viewer as an address that holds it, and its words."""
    return f"data:image/png;base64,{viewer._png()}", viewer.description


def _middle_of(masks: dict[str, Mask]) -> tuple[float, float, float]:
    """The middle of the first mask, in mm."""
    mask = next(iter(masks.values()))
    x, y, z = mask.to_world(np.argwhere(mask.array).mean(axis=0).round())
    return float(x), float(y), float(z)
