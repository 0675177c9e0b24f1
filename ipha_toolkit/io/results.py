"""A results folder in the hand: its tables, and each session's image, masks, maps, nodules, reading and flags.

Everything is read when it is asked for. Nothing is written here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from io import StringIO
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

import ipha_toolkit
from ipha_toolkit.catalogue import ROW_COLUMNS
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.flags import RATED_UNUSABLE
from ipha_toolkit.io import names
from ipha_toolkit.io.files import read_json, why_not_a_file
from ipha_toolkit.io.images import load_map, load_mask
from ipha_toolkit.io.layout import (
    Cohort,
    SessionFiles,
    is_own_result,
    read_cohort,
    read_participants,
    read_session,
    read_visits,
)
from ipha_toolkit.io.proof import FILES, WRITTEN, digest_of, read_sealed, session_folders, written
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

NOT_AS_WRITTEN = "is not as ipha analyze wrote it, it was edited or damaged since; run ipha analyze again"
_GONE = "is gone, though ipha analyze wrote it; run ipha analyze again"
_TOGETHER = 100
"""Tables parsed at once: most of the time that a small one takes is spent before its first line."""
_TEXT = ("subject", "session", "modality", "region", "measure", "unit", "flag")
_IMAGE = ("subject", "session", "modality")
_SHOWN_MAPS = ("ratio", "signature", "opacity", "r2star")


def open_results(path: str | os.PathLike[str], *, cohort: str | os.PathLike[str] | None = None) -> Results:
    """Open a results folder that :func:`ipha_toolkit.analyze` wrote.

    Parameters
    ----------
    path : path
        The results folder.
    cohort : path, optional
        The cohort folder it was made of, where that has moved. None means where it was, seen from the results.

    Returns
    -------
    Results

    Raises
    ------
    LayoutError
        Where the folder is missing or holds no results of this toolkit.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise LayoutError(f"{folder}: no such folder; give the results folder that ipha analyze wrote with --out")
    if not is_own_result(folder):
        raise LayoutError(
            f"{folder}: holds no results of {names.RESULTS_TOOL}; give the folder that ipha analyze wrote with --out"
        )
    return Results(folder, _source(folder) if cohort is None else Path(cohort))


def _source(folder: Path) -> Path:
    """The cohort folder that results were made of, as they say themselves."""
    sources = read_json(folder / names.DATASET).get("SourceDatasets")
    first = sources[0] if isinstance(sources, list) and sources else {}
    url = str(first.get("URL", "")) if isinstance(first, dict) else ""
    return folder / url if url.isprintable() else folder / "unknown"


class Results:
    """A results folder; made by :func:`open_results`.

    Examples
    --------
    >>> results = open_results("results")  # doctest: +SKIP
    >>> results["001", "01"].mask("ct").volume_ml  # doctest: +SKIP
    """

    def __init__(self, path: Path, cohort: Path) -> None:
        self.path, self._cohort = path, cohort

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The one table: ``subject, session, modality, region, measure, value, unit, n_voxels, flag``."""
        return read_rows(self.file(names.MEASURES))

    @cached_property
    def _places(self) -> Mapping[tuple[str, str], Sequence[int]]:
        """Which rows are of which session: asked again and again where sessions are looked through."""
        return self.rows.groupby(["subject", "session"], sort=False).indices  # type: ignore[return-value]

    @cached_property
    def readings(self) -> pd.DataFrame:
        """The phase that each session speaks for, with margin and reasons."""
        return _read(
            self.file(names.READINGS),
            text=("subject", "session", "phase", "verdict", "reasons", "missing", "limits", "flags"),
        )

    @cached_property
    def findings(self) -> pd.DataFrame:
        """The findings each reading rests on."""
        return _read(
            self.file(names.FINDINGS),
            text=("subject", "session", "finding", "grade_name", "carrier", "source", "verdict", "limits", "flag"),
        )

    @cached_property
    def acquisitions(self) -> pd.DataFrame:
        """How every image was made, as far as known: field, times, contrast agent, plane, kernel, breath."""
        return read_acquisitions(self.file(names.ACQUISITIONS))

    @cached_property
    def failures(self) -> pd.DataFrame:
        """What could not be measured, and why; every cell is text."""
        return _as_written(self.file(names.FAILURES), lambda path: pd.read_csv(
            path, sep="\t", dtype=str, keep_default_na=False
        ))  # fmt: skip

    @cached_property
    def participants(self) -> pd.DataFrame:
        """``participants.tsv`` of the cohort, numbers as numbers."""
        return read_participants(self._source)

    @cached_property
    def visits(self) -> pd.DataFrame:
        """What the clinic knows of every session, from ``sub-*_sessions.tsv``, with the participants' columns."""
        return read_visits(self._source)

    @property
    def has_cohort(self) -> bool:
        """Whether the cohort folder is where it was, so that images can be read."""
        return self._cohort.is_dir()

    @cached_property
    def cohort(self) -> Cohort:
        """The cohort folder that the results were made of.

        Raises
        ------
        LayoutError
            Where it is no longer where it was.
        """
        return read_cohort(self._source)

    @property
    def _source(self) -> Path:
        """Where the cohort folder is, or else LayoutError."""
        if not self._cohort.is_dir():
            raise LayoutError(
                f"{self.path}: was made of the cohort folder {self._cohort}, which is not there; "
                f"open_results({str(self.path)!r}, cohort=...) says where it is now"
            )
        return self._cohort

    @cached_property
    def sessions(self) -> list[SessionResults]:
        """Every session that was measured and is in the tables, in order of its label.

        Raises
        ------
        LayoutError
            Where the folder of one is gone.
        """
        keys = [names.session_key(*folder.relative_to(self.path).parts) for folder in session_folders(self.path)]
        found = {names.label_of(*key): SessionResults(self, *key) for key in keys}
        told = read_sealed(self.path / names.PROVENANCE, WRITTEN).get("sessions", dict.fromkeys(found))
        gone = sorted(set(told) - set(found))
        if gone:
            raise LayoutError(f"{self.path}: the folder of {gone[0]} {_GONE}")
        return [session for label, session in found.items() if label in told]

    def __getitem__(self, key: str | tuple[str, str]) -> SessionResults:
        """``results["001", "01"]``, ``results["sub-001", "ses-01"]`` or ``results["sub-001_ses-01"]``.

        Raises
        ------
        KeyError
            Where there is no such session; the message lists those there are.
        """
        wanted = names.label_of(*names.session_key(*(key if isinstance(key, tuple) else (key,))))
        for session in self.sessions:
            if session.label == wanted:
                return session
        listed = [session.label for session in self.sessions]
        shown = ", ".join(listed[:12]) + (f" and {len(listed) - 12} more" if len(listed) > 12 else "")
        raise KeyError(f"{self.path} has no results of {wanted}; there are {shown or 'none'}")

    def __iter__(self) -> Iterator[SessionResults]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def __repr__(self) -> str:
        if not (self.path / names.MEASURES).exists():
            return f"<Results {self.path.name}: {len(self)} sessions; the analysis did not end, run ipha analyze again>"
        failed = f", {len(self.failures)} failures" if len(self.failures) else ""
        modalities = sorted(set(self.rows["modality"]), key=str.lower)
        rows = f"{len(self.rows)} rows of {', '.join(modalities)}"
        return f"<Results {self.path.name}: {len(self)} sessions, {rows}{failed}>"

    @cached_property
    def protocol(self) -> Protocol:
        """The settings that the results were made with."""
        return Protocol.read(self.file(names.PROTOCOL))

    def file(self, name: str) -> Path:
        """A file of the whole cohort's, as it was written.

        Raises
        ------
        LayoutError
            Where it is missing, or not as it was written.
        """
        path = self.path / name
        if not path.exists():
            raise LayoutError(f"{path}: is missing; the analysis did not end, run ipha analyze again")
        if digest_of(path) != written(self.path).get(name):
            raise LayoutError(f"{path}: {NOT_AS_WRITTEN}")
        return path


class SessionResults:
    """What one session gave; made by ``results["001", "01"]``."""

    def __init__(self, results: Results, subject: str, session: str) -> None:
        self.results, self.subject, self.session = results, subject, session

    @property
    def label(self) -> str:
        """``sub-001_ses-01``."""
        return names.label_of(self.subject, self.session)

    @property
    def folder(self) -> Path:
        """Where the session's masks, maps and tables lie."""
        return self.results.path / self.subject / self.session

    @property
    def rows(self) -> pd.DataFrame:
        """The session's rows of the one table."""
        return self.results.rows.take(self.results._places.get((self.subject, self.session), ())).reset_index(drop=True)

    @property
    def modalities(self) -> list[str]:
        """Images that were measured."""
        found = set(self.rows["modality"])
        return [str(modality) for modality in Modality if modality in found]

    @property
    def flags(self) -> dict[str, set[str]]:
        """What is said of each image: flags that all its rows carry."""
        rows = self.rows
        return {
            str(modality): set.intersection(*(set(filter(None, cell.split(";"))) for cell in own["flag"]))
            for modality, own in rows.groupby("modality", sort=False)
        }

    def is_usable(self, modality: str) -> bool:
        """Whether no rater whose verdict the analysis was given called the image or its mask unusable."""
        return RATED_UNUSABLE not in self.flags.get(modality, ())

    @property
    def reading(self) -> pd.Series[Any] | None:
        """The session's row of ``readings.tsv``; None where it has none."""
        own = self._own(self.results.readings)
        return own.iloc[0] if len(own) else None

    @property
    def findings(self) -> pd.DataFrame:
        """The findings that the reading rests on."""
        return self._own(self.results.findings)

    @property
    def log(self) -> str:
        """The session's log: times, versions, and the whole traceback of what failed."""
        path = self.folder / names.LOG
        return path.read_text("utf-8") if path.exists() else ""

    def image(self, modality: str) -> Volume:
        """An image of the session, from the cohort folder; of several echoes the first, ``echo-2_MEGRE`` the second.

        Raises
        ------
        LayoutError
            Where the cohort folder has moved, or an image that was measured is no longer in it.
        KeyError
            Where the session has no such image.
        """
        try:
            return self._files.image(modality)
        except KeyError:
            if str(modality) not in self.modalities:
                raise
        place = self.results.cohort.root.joinpath(self.subject, self.session)
        raise LayoutError(
            f"{place}: the {modality} image that was measured is gone; put it back, or run ipha analyze again"
        )

    def mask(self, modality: str, kind: str = "lung") -> Mask:
        """The lung mask that an image was measured in, ours or one made elsewhere.

        Raises
        ------
        KeyError
            Where there is none; the message lists those there are.
        LayoutError
            Where it is not as it was written.
        """
        path = self._made(names.mask_file(self.label, modality, kind), f"{kind} mask of {modality}")
        return load_mask(path, image=self.image(modality) if modality == Modality.DX else None)

    def muscle(self, modality: str) -> Mask:
        """The muscle that an image's signal was divided by; errors as :meth:`mask`."""
        return self.mask(modality, "muscle")

    def map(self, modality: str, kind: str = "ratio") -> Volume:
        """A map: ``ratio`` or ``signature`` of T1w, ``ratio`` of T2w, ``r2star`` of MEGRE, ``opacity`` of ct.

        Raises
        ------
        KeyError
            Where there is none; the message lists those there are.
        LayoutError
            Where it is not as it was written.
        """
        path = self._made(names.map_file(self.label, modality, kind), f"{kind} map of {modality}")
        unit = {"r2star": "1/s", "opacity": "HU", "signature": "1", "ratio": "1"}.get(kind, "")
        modality = Modality.T1W if modality == names.PAIR else modality
        return load_map(path, modality=modality, unit=unit, name=f"{kind} of {modality}")

    def has(self, modality: str, kind: str) -> bool:
        """Whether there is a mask or map of this kind."""
        return self._has_mask(modality, kind) or self._has_map(modality, kind)

    def nodules(self, modality: str) -> pd.DataFrame:
        """The table of nodules, best first, of CT or T1w; errors as :meth:`mask`."""
        return _read(self._made(names.nodule_file(self.label, modality), f"nodules of {modality}"), text=("flag",))

    def histogram(self, modality: str) -> pd.DataFrame:
        """Counts of the ratio to muscle by region (``T1w``, ``T2w``), or of both ratios (``T1w+T2w``)."""
        made = self._made(names.histogram_file(self.label, modality), f"histogram of {modality}")
        return _as_written(made, lambda path: pd.read_csv(path, sep="\t"))

    def view(self, *modalities: str, **options: Any) -> Any:
        """Images side by side in the slice viewer, with their masks, maps and nodules laid on.

        Parameters
        ----------
        *modalities : str
            By default all that were measured but radiographs.
        **options
            As of :func:`ipha_toolkit.view`.
        """
        shown = modalities or [name for name in self.modalities if name != Modality.DX] or self.modalities
        volumes = [self.image(name) for name in shown]
        overlays = [self._overlays(name) for name in shown]
        with_nodules = [name for name in shown if self._has(names.nodule_file(self.label, name))]
        if with_nodules and "nodules" not in options:
            found = self.nodules(with_nodules[0])
            options["nodules"] = found[found["score"] >= self.nodule_score]
        return ipha_toolkit.view(*volumes, overlays=overlays, **options)

    def paint(self, modality: str, **options: Any) -> Any:
        """Correct the lung mask of an image by hand; see :func:`ipha_toolkit.paint`."""
        return ipha_toolkit.paint(self, modality, **options)

    @property
    def nodule_score(self) -> float:
        """Candidates from this score on count as nodules, by the protocol of the results."""
        return self.results.protocol.nodules.nodule_score

    def _overlays(self, modality: str) -> dict[str, Mask | Volume]:
        masks = {kind: self.mask(modality, kind) for kind in ("lung", "muscle") if self._has_mask(modality, kind)}
        maps = {kind: self.map(modality, kind) for kind in _SHOWN_MAPS if self._has_map(modality, kind)}
        return masks | maps

    def _has_mask(self, modality: str, kind: str) -> bool:
        return self._has(names.mask_file(self.label, modality, kind))

    def _has_map(self, modality: str, kind: str) -> bool:
        return self._has(names.map_file(self.label, modality, kind))

    def _has(self, name: str) -> bool:
        """Whether a file was made, be it there or no longer: reading one that is gone is refused."""
        return (self.folder / name).exists() or name in self._digests

    def __repr__(self) -> str:
        made = sorted(path.name.removeprefix(f"{self.label}_") for path in self.folder.iterdir())
        return f"<SessionResults {self.label}: {', '.join(self.modalities)}; files {', '.join(made)}>"

    @cached_property
    def _files(self) -> SessionFiles:
        return read_session(self.results._source, self.subject, self.session)

    def _own(self, table: pd.DataFrame) -> pd.DataFrame:
        mine = (table["subject"] == self.subject) & (table["session"] == self.session)
        return table[mine].reset_index(drop=True)

    def _made(self, name: str, what: str) -> Path:
        path = self.folder / name
        if not path.exists() and (name in self._digests or not self._is_its_own()):
            raise LayoutError(f"{path}: {_GONE}")
        if not path.exists():
            made = sorted(other.name for other in self.folder.iterdir())
            raise KeyError(f"{self.label} has no {what} ({name}); there are {', '.join(made)}")
        if digest_of(path) != self._digests.get(name):
            raise LayoutError(f"{path}: {NOT_AS_WRITTEN}")
        return path

    def _is_its_own(self) -> bool:
        """Whether what lies in the folder was made of this session, and not moved here from another's."""
        return any(name.startswith(f"{self.label}_") for name in self._digests)

    @property
    def _digests(self) -> dict[str, str]:
        """Of every file of the session, as it was written."""
        found: dict[str, str] = read_sealed(self.folder / names.PROVENANCE).get(FILES, {})
        return found


def read_rows(path: str | Path) -> pd.DataFrame:
    """A table of measures as written by this toolkit, with its column types.

    Raises
    ------
    LayoutError
        Where the table was cut, edited or damaged since.
    """
    return _as_written(Path(path), _rows) if isinstance(path, str | Path) else _rows(path)


def read_many_rows(paths: Sequence[Path]) -> pd.DataFrame:
    """As :func:`read_rows`, of one or more tables one after the other, a good many parsed at once.

    Raises
    ------
    LayoutError
        Where a table was cut, edited or damaged since.
    """
    return pd.concat(_together(paths, parse_rows, read_rows), ignore_index=True)


def read_many_acquisitions(paths: Sequence[Path]) -> list[dict[Any, Any]]:
    """Records of :func:`read_acquisitions` of tables one after the other."""
    frames = _together(paths, partial(_typed_text, text=_IMAGE), read_acquisitions)
    return [record for frame in frames for record in frame.to_dict("records")]


def _together(
    paths: Sequence[Path], parse: Callable[[str], pd.DataFrame], read: Callable[[Path], pd.DataFrame]
) -> list[pd.DataFrame]:
    """Tables, a good many parsed as one."""
    parts = [paths[at : at + _TOGETHER] for at in range(0, len(paths), _TOGETHER)]
    return [frame for part in parts for frame in _as_one(part, parse, read)]


def _as_one(
    paths: Sequence[Path], parse: Callable[[str], pd.DataFrame], read: Callable[[Path], pd.DataFrame]
) -> list[pd.DataFrame]:
    """Tables of the same columns as one; each by itself where they are not so, or one of them cannot be read."""
    try:
        texts = [path.read_text("utf-8") for path in paths if not why_not_a_file(path)]
        heads = {text.partition("\n")[0] for text in texts}
        if len(texts) == len(paths) and len(heads) == 1 and all(text.endswith("\n") for text in texts):
            return [parse("".join([*heads, "\n", *(text.partition("\n")[2] for text in texts)]))]
    except (ValueError, KeyError, TypeError, OSError):
        pass  # whose fault it is, is said below
    return [read(path) for path in paths]


def parse_rows(text: str) -> pd.DataFrame:
    """As :func:`read_rows`, of a table's text.

    Raises
    ------
    ValueError
        Where it lacks a column or holds text where numbers belong.
    """
    return _rows(StringIO(text))


def _as_written(path: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """What a reader makes of a table, or one line that says it is not as it was written."""
    if reason := why_not_a_file(path):
        raise LayoutError(f"{path}: {reason}")
    try:
        return read(path)
    except (ValueError, KeyError, TypeError, OSError) as error:  # pandas raises children of ValueError
        raise LayoutError(f"{path}: {NOT_AS_WRITTEN} ({' '.join(str(error).split())[:100]})") from None


def _rows(path: Path | TextIO) -> pd.DataFrame:
    text = dict.fromkeys(_TEXT, str)
    frame = pd.read_csv(path, sep="\t", dtype=text, keep_default_na=False, na_values={"value": ["n/a"]})
    if missing := [name for name in ROW_COLUMNS if name not in frame.columns]:
        raise ValueError(f"it has no column {', '.join(missing)}")
    return frame.astype({"value": "float64", "n_voxels": "int64"})


def read_acquisitions(path: str | Path) -> pd.DataFrame:
    """A table of how images were made as written by this toolkit, with its column types."""
    return _read(Path(path), text=_IMAGE)


def _read(path: Path, *, text: tuple[str, ...]) -> pd.DataFrame:
    """A table as written by this toolkit: the columns named as text, others as they look, ``n/a`` as missing."""
    return _as_written(path, partial(_typed, text=text))


def _typed(path: Path, text: tuple[str, ...]) -> pd.DataFrame:
    return _typed_text(path.read_text("utf-8"), text)


def _typed_text(content: str, text: tuple[str, ...]) -> pd.DataFrame:
    head = content.partition("\n")[0].split("\t")
    others = {name: ["n/a"] for name in head if name not in text}
    kinds = dict.fromkeys([name for name in text if name in head], str)
    return pd.read_csv(StringIO(content), sep="\t", dtype=kinds, keep_default_na=False, na_values=others)
