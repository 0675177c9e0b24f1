"""The cohort explorer: one widget on a results folder, live in Jupyter and alive in exported pages.

The browser gets the cohort once, as text (:mod:`ipha_toolkit.explorer.cohort`), and draws plot, table and timeline by
itself; of what is chosen, the traits are the one state. The slices are a
:class:`ipha_toolkit.viewer.widget.SliceViewer` made when a session is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import traitlets as t
from ipywidgets import widget_serialization

from ipha_toolkit.errors import IphaError
from ipha_toolkit.explorer.cohort import KEY, ExplorerCohort
from ipha_toolkit.io import names
from ipha_toolkit.io.results import Results, SessionResults, open_results
from ipha_toolkit.viewer.bundle import bundle
from ipha_toolkit.viewer.page import attended, show_export_script, unattended
from ipha_toolkit.viewer.pictured import Pictured
from ipha_toolkit.viewer.saved import save_boxes_too
from ipha_toolkit.viewer.widget import SliceViewer

if TYPE_CHECKING:
    from ipha_toolkit.explorer.slices import Shelf
    from ipha_toolkit.explorer.voxels import Parts

HERE = Path(__file__).parent

_LOG = logging.getLogger(__name__)
_BAR_FROM = 20

AGAINST = ("group", "phase", "reading", "days", "age", "measure")
COLUMNS = ("subject", "session", "group", "phase", "days", "value", "flags")


def explore(
    results: str | os.PathLike[str] | Results,
    *,
    full: Iterable[str] = (),
    tile_kb: float = 4.0,
    also: Iterable[str] = (),
    **state: Any,
) -> CohortExplorer:
    """Explore a cohort: a plot of any measure, a table, and the slices of the session chosen.

    Parameters
    ----------
    results : path or Results
        As of :func:`ipha_toolkit.open_results`.
    full : iterable of str
        Sessions, as ``sub-001_ses-01``, whose whole images exported pages take along; of all others these hold a small
        picture.
    tile_kb : float
        Size of a small picture in an exported page, in thousand bytes.
    also : iterable of str
        Columns of ``participants.tsv`` and ``sub-*_sessions.tsv`` to show although they might say who someone is.
        Others are shown, and travel with a page, only where they are known not to, hold yes and no, or numbers in a
        unit.
    **state
        Any trait of :class:`CohortExplorer`: ``modality="ct"``, ``measure="ground_glass_fraction"``,
        ``against="days"`` ...

    Returns
    -------
    CohortExplorer

    Raises
    ------
    LayoutError
        Where the folder holds no results.
    DataError
        Where the results hold no number.
    ValueError
        Where there is no such trait or choice.

    Examples
    --------
    >>> explorer = explore("results", measure="ground_glass_fraction", against="days")  # doctest: +SKIP
    >>> explorer.table()  # doctest: +SKIP
    """
    opened = results if isinstance(results, Results) else open_results(results)
    return CohortExplorer(opened, full=full, tile_kb=tile_kb, also=also, **state)


class CohortExplorer(Pictured):
    """A cohort to look through; see :func:`explore`. A DOMWidget: it goes in an HBox, links, is observed.

    Attributes
    ----------
    modality, measure, region : str
        The number that is plotted.
    against : {"group", "phase", "reading", "days", "age", "measure"}
        What it is plotted against: ``phase`` is the clinic's, ``reading`` what the rules read from the images.
    x_modality, x_measure, x_region : str
        The number across, where it is plotted against another measure.
    colour : {"group", "phase", "reading"}
    log_x, log_y : bool
        Logarithmic axes, where all numbers are above 0.
    filters : dict
        Who is shown: ``group``, ``phase``, ``modality`` (lists of those kept), ``without_flags`` (list of flags of the
        number plotted that leave it out), ``age`` (from, to; None is open).
    selection : list of str
        Sessions selected, as ``sub-001_ses-01``; :meth:`table` is their table.
    session : str
        The session whose slices are shown, empty where none.
    beside : str
        Another session of the subject, shown beside it.
    images : {"measure", "all"}
        Which images of the session are shown: those the number was measured in, or all.
    columns, sort, search
        Of the table: names of columns, (column, whether downwards), text.
    """

    _esm = bundle(HERE / "js" / "explorer.js")
    _css = (HERE / "explorer.css").read_text(encoding="utf-8")

    modality = t.Unicode().tag(sync=True)
    measure = t.Unicode().tag(sync=True)
    region = t.Unicode().tag(sync=True)
    against = t.Enum(AGAINST, "group").tag(sync=True)
    x_modality = t.Unicode().tag(sync=True)
    x_measure = t.Unicode().tag(sync=True)
    x_region = t.Unicode().tag(sync=True)
    colour = t.Enum(("group", "phase", "reading"), "group").tag(sync=True)
    log_x = t.Bool(False).tag(sync=True)
    log_y = t.Bool(False).tag(sync=True)
    filters = t.Dict().tag(sync=True)
    selection = t.List(t.Unicode()).tag(sync=True)
    session = t.Unicode().tag(sync=True)
    beside = t.Unicode().tag(sync=True)
    images = t.Enum(("measure", "all"), "measure").tag(sync=True)
    columns = t.List(t.Unicode(), list(COLUMNS)).tag(sync=True)
    sort = t.List().tag(sync=True)
    search = t.Unicode().tag(sync=True)

    called = "CohortExplorer"

    _cohort = t.Unicode().tag(sync=True)
    _viewer = t.Instance(SliceViewer, allow_none=True).tag(sync=True, **widget_serialization)
    _said = t.Unicode().tag(sync=True)
    _shown = t.Unicode().tag(sync=True)
    _carried = t.Unicode().tag(sync=True)
    _full = t.Dict().tag(sync=True, **widget_serialization)
    _codes = t.Dict().tag(sync=True)
    _tiles = t.Dict().tag(sync=True)

    def __init__(
        self,
        results: Results,
        *,
        full: Iterable[str] = (),
        tile_kb: float = 4.0,
        also: Iterable[str] = (),
        **state: Any,
    ) -> None:
        self.results = results
        self._known = ExplorerCohort(results, tuple(also))
        unknown = sorted(set(state) - set(self.trait_names()))
        if unknown:
            raise ValueError(f"explore has no option {', '.join(unknown)}; see help(ipha_toolkit.explore)")
        self._protocol = results.protocol
        self._shelf: Shelf | None = None
        self._tile_kb, self._wanted_full = tile_kb, self._known.labels(full, "full")
        self._opened: list[Callable[[SessionResults, SliceViewer], None]] = []
        self._shown_before: tuple[str, ...] = ()
        given = self._complete(state)
        opened = {name: given.pop(name) for name in ("session", "beside") if name in given}
        super().__init__(_cohort=self._known.to_json(), **given)
        self.observe(self._show, names=["session", "beside", "images", *KEY])
        self._reader, self._ahead = ThreadPoolExecutor(1), ""
        self.on_msg(self._heard)
        for name, label in opened.items():
            setattr(self, name, label)
        show_export_script()
        if attended():
            save_boxes_too()
        if unattended():
            self.embed()

    # -- what callers use --

    def table(self) -> pd.DataFrame:
        """The sessions selected, or all that the filters let through where none is.

        Returns
        -------
        DataFrame
            What is known of each session, its number as ``value`` (``x`` that of the other axis), and its ``flags``.
        """
        known = self._known.sessions
        wanted = set(self.selection) or set(self._let_through["label"])
        found = known[known["label"].isin(wanted)].drop(columns=["control"])
        found = found.assign(value=found["label"].map(self._known.values(self._key)))
        if self.against == "measure":
            found["x"] = found["label"].map(self._known.values(self._x_key))
        found["flags"] = found["label"].map(self._known.flags_of(self._key))
        return found.reset_index(drop=True)

    @property
    def viewer(self) -> SliceViewer | None:
        """The slice viewer of the session that is open; None where none is."""
        return self._viewer  # type: ignore[no-any-return]

    def on_open(self, call: Callable[[SessionResults, SliceViewer], None]) -> None:
        """Have a function called with the session and its viewer whenever slices are shown.

        Called anew where the same session is shown with other images or voxels, since the viewer is another.
        """
        self._opened.append(call)

    def still(self) -> tuple[Any, str]:
        """The number shown by group as a Pillow image, and in words."""
        from ipha_toolkit.explorer.still import picture, plot_groups
        from ipha_toolkit.figures.core import alt_text

        ax = plot_groups(self._known.sessions, self._known.values(self._key), self._key)
        return picture(ax), alt_text(ax)

    def embed(self) -> None:
        """Put into the widget's state what exported pages need: a small picture of every session, and the whole images
        of those asked for with ``full``. Reads every session's images; half a second each, or a few with large CT."""
        self._tiles = {**self._tiles, **self._made_tiles()}
        self._embed_full()
        small = sum(len(tile["picture"]) + len(tile["codes"]) for tile in self._tiles.values())
        packed = [part for viewer in self._full.values() for part in viewer._export]
        packed += [image["packed"] for codes in self._codes.values() for image in codes]
        large = sum(len(chunk) for part in packed for chunk in part["chunks"])
        self._carried = (
            f"With this page travel small pictures of {len(self._tiles)} of {len(self._known.sessions)} sessions "
            f"({small / 1e6:.1f} MB, {small / max(len(self._tiles), 1) / 1e3:.1f} kB each) and the images of "
            f"{len(self._full)} ({large / 1e6:.1f} MB)."
        )
        _LOG.info("%s", self._carried)
        self._refresh_still()

    # -- slices --

    def _show(self, change: Any = None) -> None:
        """Make the viewer of the session chosen; what stands in the way is said in its place."""
        wanted = (self.session, self.beside, self.images, *self._key)
        if wanted == self._shown_before:
            return
        old, before = self._viewer, self._shown_before
        self._shown_before = wanted
        here = bool(before) and before[0] == self.session
        viewer, said = self._made(old if before and self._same_subject(before[0]) else None, here=here)
        with self.hold_sync():
            self._viewer, self._said, self._shown = viewer, said, self.session
        if old is not None:
            old.close()
        if viewer is not None:
            for call in self._opened:
                call(self.results[self.session], viewer)

    def _heard(self, _: Any, message: dict[str, Any], __: Any) -> None:
        """The hand rests on a session, or another comes after the one shown: its images are read meanwhile."""
        if message.get("type") == "soon" and message.get("session") in set(self._known.sessions["label"]):
            self._ahead = message["session"]
            self._reader.submit(self._read_ahead, self._ahead, self._key, self.images == "all")

    def _read_ahead(self, label: str, key: tuple[str, str, str], everything: bool) -> None:
        if label == self._ahead:  # nothing else was asked for since
            self._held.read_ahead(self.results[label], key, everything=everything)

    @property
    def _held(self) -> Shelf:
        from ipha_toolkit.explorer.slices import Shelf

        self._shelf = self._shelf or Shelf(self._protocol)
        return self._shelf

    def _parts(self, label: str) -> Parts:
        return self._held.parts(self.results[label])

    def _made(self, before: SliceViewer | None, *, here: bool) -> tuple[SliceViewer | None, str]:
        labels = [label for label in (self.session, self.beside) if label]
        if not labels:
            return None, ""
        from ipha_toolkit.explorer.slices import session_viewer

        try:
            parts = [self._parts(label) for label in labels]
            return session_viewer(parts, *self._key, everything=self.images == "all", before=before, here=here)
        except (IphaError, KeyError, OSError) as error:
            said = str(error.args[0] if isinstance(error, KeyError) else error)
            return None, f"No slices: {names.without_files(said)}"

    def _made_tiles(self) -> dict[str, Any]:
        """Small pictures of the sessions that have none yet; those that cannot be read are left out, with a warning."""
        from tqdm.auto import tqdm

        from ipha_toolkit.explorer.tiles import tile_of
        from ipha_toolkit.explorer.voxels import Parts

        found: dict[str, Any] = {}
        missing = [label for label in self._known.sessions["label"] if label not in self._tiles]
        for label in tqdm(missing, desc="pictures", disable=len(missing) < _BAR_FROM, leave=False):
            try:
                tile = tile_of(Parts(self.results[label], self._protocol), budget_kb=self._tile_kb)
            except (IphaError, KeyError, OSError) as error:
                _LOG.warning("no picture of %s: %s", label, error)
                continue
            found |= {label: tile} if tile else {}
        return found

    def _embed_full(self) -> None:
        """Viewers of the sessions asked for, with all that exported pages need of them."""
        from ipha_toolkit.explorer.slices import full_viewer

        for label in self._wanted_full:
            if label not in self._full:
                viewer, codes = full_viewer(self._parts(label))
                self._full, self._codes = self._full | {label: viewer}, self._codes | {label: codes}

    def _same_subject(self, label: str) -> bool:
        return bool(label) and names.session_key(label)[0] == names.session_key(self.session or label)[0]

    # -- state --

    @property
    def _key(self) -> tuple[str, str, str]:
        return self._known.nearest(self.modality, self.measure, self.region)

    @property
    def _x_key(self) -> tuple[str, str, str]:
        return self._known.nearest(self.x_modality, self.x_measure, self.x_region)

    @property
    def _let_through(self) -> pd.DataFrame:
        """Sessions that the filters let through."""
        shown, kept = self._known.sessions, self.filters
        for name in ("group", "phase"):
            if kept.get(name):
                shown = shown[shown[name].isin(kept[name])]
        if kept.get("modality"):
            shown = shown[shown["modalities"].map(lambda own: bool(set(kept["modality"]) & set(own))).astype(bool)]
        flags = self._known.flags_of(self._key)
        hidden = set(kept.get("without_flags") or ())
        shown = shown[shown["label"].map(lambda label: not hidden & set(flags[label].split(";"))).astype(bool)]
        youngest, oldest = kept.get("age") or (None, None)
        shown = shown if youngest is None else shown[shown["age"] >= youngest]
        return shown if oldest is None else shown[shown["age"] <= oldest]

    @t.validate("session", "beside")
    def _valid_session(self, proposal: Any) -> str:
        found = self._known.labels([proposal["value"]] if proposal["value"] else [], proposal["trait"].name)
        return found[0] if found else ""

    @t.validate("selection")
    def _valid_selection(self, proposal: Any) -> list[str]:
        return self._known.labels(proposal["value"], "selection")

    def _get_embed_state(self, drop_defaults: bool = False) -> Any:
        """As for a page: without the viewer of the session open now, which needs the kernel."""
        found = super()._get_embed_state(drop_defaults=drop_defaults)
        found["state"].pop("_viewer", None)
        return found

    def _complete(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state given, with a number to plot, and one across, that the results hold."""
        found = dict(state)
        for prefix in ("", "x_"):
            wanted = {name: found.get(f"{prefix}{name}") for name in KEY}
            chosen = self._known.nearest(**wanted)
            found |= {f"{prefix}{name}": value for name, value in zip(KEY, chosen, strict=True)}
        return found
