"""The viewer with a mask to paint on: strokes come from the browser, the mask lives here, kept stroke by stroke."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import traitlets as t

from ipha_toolkit.catalogue import MEASURES
from ipha_toolkit.image.geometry import Box
from ipha_toolkit.io.names import without_files
from ipha_toolkit.io.results import SessionResults
from ipha_toolkit.io.strokes import Strokes
from ipha_toolkit.run.painting import Remeasured, measure_again, painted_file, save_painted, voxel_hash
from ipha_toolkit.terms import Modality
from ipha_toolkit.viewer.mask_editor import SIDES, Flip, MaskEditor
from ipha_toolkit.viewer.widget import TOOLS, SliceViewer
from ipha_toolkit.volume import Mask, Volume
from ipha_toolkit.wording import number, signed

_LARGEST_SENT = 4_000_000
"""Voxels of a changed box that are sent; of a larger one the browser asks for the slices it shows."""

_IDLE_S = 60.0
"""A longer pause is no time spent."""

_MOST_ROWS = 400

_SLOW = {"between": "Filling between slices", "islands": "Removing islands", "holes": "Filling holes"}
"""What takes a second or more on a large CT, and says so."""


def paint(
    session: SessionResults,
    modality: str,
    *,
    rater: str = "",
    ratings: str | os.PathLike[str] | None = None,
    **options: Any,
) -> PaintingSliceViewer:
    """Correct the lung mask of an image by hand, then measure its session again.

    Parameters
    ----------
    session : SessionResults
        ``results["001", "01"]``.
    modality : str
        Which image.
    rater : str
        Initials, which the saved mask's JSON file carries.
    ratings : path, optional
        As of :func:`ipha_toolkit.analyze`, for measuring again.
    **options
        Traits of :class:`ipha_toolkit.SliceViewer`.

    Returns
    -------
    PaintingSliceViewer
        What was painted before and not measured since is taken up.

    Raises
    ------
    KeyError
        Where there is no such image or mask.
    LayoutError
        Where the cohort folder has moved.

    Examples
    --------
    >>> painter = paint(results["001", "01"], "ct", rater="AB")     # doctest: +SKIP
    >>> painter.measure_again().changed     # doctest: +SKIP
    """
    return PaintingSliceViewer(session, modality, rater=rater, ratings=ratings, **options)


class PaintingSliceViewer(SliceViewer):
    """A viewer whose lung mask can be painted on; made by :func:`paint`.

    Attributes
    ----------
    editor : MaskEditor
        The mask, in plain Python.
    brush_mm : float
        Radius of brush and eraser.
    brush_3d : bool
        A ball in place of a disc on the slice shown.
    brush_low, brush_high : float or None
        Only voxels whose value lies between are painted.
    brush_side : {"both", "left", "right"}
        Only the patient's left or right is painted.
    numbers : list
        Volume and first measures, as they follow.
    """

    tool = t.Enum([*TOOLS, "brush", "erase", "polygon"], "brush").tag(sync=True)
    brush_mm = t.Float(8.0, min=0.1, max=200).tag(sync=True)
    brush_3d = t.Bool(False).tag(sync=True)
    brush_low = t.Float(None, allow_none=True).tag(sync=True)
    brush_high = t.Float(None, allow_none=True).tag(sync=True)
    brush_side = t.Enum(SIDES, "both").tag(sync=True)
    numbers = t.List().tag(sync=True)
    report = t.Dict().tag(sync=True)
    _painting = t.Dict().tag(sync=True)

    def __init__(
        self,
        session: SessionResults,
        modality: str,
        *,
        rater: str = "",
        ratings: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self.session, self.modality, self.rater, self._ratings = session, str(modality), rater, ratings
        image, mask = session.image(modality).to_ras(), session.mask(modality).to_ras()  # a film keeps its own axes
        mask = Mask(mask.array, image.affine, name="lung") if mask.same_grid(image) else mask
        self._values, self._measure = _measured(session, self.modality, image)
        self.editor = MaskEditor(mask, self._values)
        self.seconds, self._heard = 0.0, 0.0
        root = session.results.cohort.root
        place = painted_file(root, session.results.cohort[session.subject, session.session], self.modality)
        begun = {"image": place.name, "shape": list(mask.shape), "hash": voxel_hash(mask)}
        self.strokes = Strokes(place.with_name(f".{place.name.removesuffix('.nii.gz')}.strokes"), begun)
        self._take_up()
        shown: dict[str, Any] = {"visible": [True, False], "opacity": 0.5} | options
        super().__init__(image, overlays={"lung": mask, "lung before": mask}, embed_live=False, **shown)
        self._shown[1] = replace(self._shown[1], array=self.editor.array)
        self._painting = {"layer": 1, "before": 2}
        self._follow()

    # -- what callers use --

    @property
    def mask(self) -> Mask:
        """The mask as it is painted now."""
        return self.editor.mask

    def save(self) -> Path:
        """Write the mask into the cohort, as ``derivatives/manual/.../..._desc-lung_mask.nii.gz``; returns its path.

        Raises
        ------
        ValueError
            Where the mask is empty.
        """
        path = save_painted(
            self.editor.mask, self.editor.before, self.session, self.modality, rater=self.rater, seconds=self.seconds
        )
        at = path.parent.relative_to(self.session.results.cohort.root).as_posix()
        self.report = {"state": "saved", "text": f"Saved in {at}."}
        return path

    def measure_again(self) -> Remeasured:
        """Save, measure this session alone again, and set every number beside what it was before."""
        self.save()
        self.report = {"state": "busy", "text": f"Measuring {self.session.label} again…"}
        try:
            found = measure_again(self.session, ratings=self._ratings)
        except Exception as error:
            self.report = {"state": "failed", "text": f"{type(error).__name__}: {without_files(str(error))}"}
            raise
        self.report = _reported(found, self.session.label)
        return found

    # -- what the browser asks --

    def _answer(self, widget: Any, message: dict[str, Any], buffers: Any) -> None:
        if message.get("type") != "paint":
            super()._answer(widget, message, buffers)
            return
        self._count_time()
        did = str(message.get("did"))
        if did in ("save", "measure"):
            self._save_or_measure(did)
            return
        box = self._do(did, message)
        if box is not None:
            self._send_box(box)
        self._follow()

    def _save_or_measure(self, did: str) -> None:
        if did == "measure":
            threading.Thread(target=self._measure_quietly, daemon=True).start()
            return
        try:
            self.save()
        except (OSError, ValueError) as error:
            self.report = {"state": "failed", "text": without_files(str(error))}

    def _measure_quietly(self) -> None:
        """In a thread nobody waits for: what goes wrong stands in the report."""
        try:
            self.measure_again()
        except Exception as error:
            self.report = {"state": "failed", "text": f"{type(error).__name__}: {without_files(str(error))}"}

    def _do(self, did: str, message: dict[str, Any]) -> Box | None:
        """Do what a message says; what may have changed."""
        if did in ("undo", "redo"):
            box = getattr(self.editor, did)()
            if box is not None:
                self.strokes.add(did)
            return box  # type: ignore[no-any-return]
        depth = len(self.editor.done)
        box = self._repaired(did, message) if did in _SLOW else self._change(did, message)
        if len(self.editor.done) > depth:
            self.strokes.add("change", [(flip.box, flip.bits) for flip in self.editor.done[-1]])
        return box

    def _repaired(self, did: str, message: dict[str, Any]) -> Box | None:
        """Say that a repair of the whole mask is on its way, make it, and say what it did."""
        name, before = _SLOW[did], self.editor.numbers.volume_ml
        self.report = {"state": "busy", "text": f"{name}…"}
        box = self._change(did, message)
        moved = self.editor.numbers.volume_ml - before
        self.report = {"state": "said", "text": f"{name}: {f'{signed(moved)} mL' if box else 'nothing to change'}."}
        return box

    def _change(self, did: str, message: dict[str, Any]) -> Box | None:
        editor, plane = self.editor, message.get("plane")
        how = {"add": bool(message.get("add", True)), "limits": self._limits(), "side": self.brush_side}
        if did == "stroke":
            if message.get("begin"):
                editor.begin()
            box = editor.brush(message["places"], radius_mm=float(message["radius"]), plane=plane, **how)
            if message.get("end"):
                editor.end()
            return box
        if did == "polygon":
            return editor.polygon(message["places"], str(plane), **how)
        repairs: dict[str, Callable[[], Box | None]] = {
            "between": lambda: editor.fill_between(str(plane)), "islands": editor.remove_islands,
            "holes": lambda: editor.fill_holes(plane), "restart": editor.start_again,
            "clear": lambda: editor.clear_side(self.brush_side) if self.brush_side != "both" else None,
        }  # fmt: skip
        return repairs[did]() if did in repairs else None

    def _limits(self) -> tuple[float, float] | None:
        low, high = self.brush_low, self.brush_high
        return (
            None
            if low is None and high is None
            else (-np.inf if low is None else low, np.inf if high is None else high)
        )

    def _send_box(self, box: Box) -> None:
        part = self.editor.array[tuple(slice(first, last) for first, last in box)]
        if part.size > _LARGEST_SENT:
            self.send({"type": "stale", "layer": 1})
        else:
            packed = np.ascontiguousarray(part.transpose(2, 1, 0)).view(np.uint8)
            self.send({"type": "changed", "layer": 1, "box": [list(limits) for limits in box]}, [packed])

    def _follow(self) -> None:
        """Numbers as they are now."""
        found, unit = self.editor.numbers, self._values.unit
        self.numbers = [
            ["lung", number(found.volume_ml, "mL")], ["left", number(found.left_ml, "mL")],
            ["right", number(found.right_ml, "mL")], [f"mean {self._measure}", number(found.mean, unit)],
            [f"median {self._measure}", number(found.median, unit)],
            ["undo", len(self.editor.done)], ["redo", len(self.editor.undone)],
        ]  # fmt: skip

    def _count_time(self) -> None:
        now = time.monotonic()
        self.seconds += min(now - self._heard, _IDLE_S) if self._heard else 0.0
        self._heard = now

    def _take_up(self) -> None:
        """What was painted before the kernel ended."""
        for did, change in self.strokes.entries():
            if did == "change":
                self.editor.replay([Flip(_box(limits), bits) for limits, bits in change])
            elif did in ("undo", "redo"):
                getattr(self.editor, did)()


def _box(limits: Any) -> Box:
    i, j, k = ((int(first), int(last)) for first, last in limits)
    return i, j, k


def _measured(session: SessionResults, modality: str, image: Volume) -> tuple[Volume, str]:
    """What the numbers that follow are of: HU, the ratio to muscle where there is a map of it, or the signal."""
    if modality in (Modality.T1W, Modality.T2W) and session.has(modality, "ratio"):
        ratio = session.map(modality, "ratio")
        if ratio.same_grid(image):
            return ratio, "ratio to muscle"
    return image, "attenuation" if modality == Modality.CT else "signal"


def _as_read(changed: pd.DataFrame) -> pd.DataFrame:
    """Numbers of the whole lung first, in the catalogue's order, and their distances from controls after all of these.

    By the size of the relative change, a number near 0 would come before the volume.
    """
    places = {measure: n for n, measure in enumerate(MEASURES)}
    scored = changed["measure"].str.endswith("_vs_controls")
    keys = pd.DataFrame({
        "lung": changed["region"] != "lung", "scored": scored,
        "place": changed["measure"].str.removesuffix("_vs_controls").map(places).fillna(len(places)),
    })  # fmt: skip
    return changed.loc[keys.sort_values(["lung", "scored", "place"], kind="stable").index]


def _reported(found: Remeasured, label: str) -> dict[str, Any]:
    changed = _as_read(found.changed)
    rows = [
        [str(row["modality"]), str(row["region"]), str(row["measure"]).replace("_", " "), number(row["before"]),
         number(row["after"]), str(row["unit"])]
        for row in changed.head(_MOST_ROWS).to_dict("records")
    ]  # fmt: skip
    reading = [[str(when), str(row["phase"]), str(row["reasons"])] for when, row in found.reading.iterrows()]
    text = f"{label} measured again: {len(changed)} of {len(found.rows)} numbers changed"
    failed = [f"{row['modality']}: {row['error']}" for row in found.failures.to_dict("records")]
    return {"state": "done", "text": ". ".join([text, *failed]), "rows": rows, "reading": reading}
