"""A site's share of a pooled study: one zip file of text, no image, no path, no date, no label of the hospital's.

Everything in it is checked against what may be in it, when it is written and when it is read: numbers, codes of the
catalogue, labels of its own.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io import names
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.io.proof import FILES, SEAL, is_sealed, sealed
from ipha_toolkit.io.results import parse_rows
from ipha_toolkit.terms import Modality

FORMAT = 2
SITE, ROWS, PARTICIPANTS, SESSIONS = "site.json", "rows.tsv", "participants.tsv", "sessions.tsv"
HISTOGRAMS, WORDS = "histograms/", "words.html"
_NAMES = {SITE, ROWS, PARTICIPANTS, SESSIONS, names.ACQUISITIONS, names.PROTOCOL, WORDS}
LABEL = re.compile(r"sub-[A-Za-z0-9]+")
_SESSION = re.compile(r"ses-\d{2,4}|")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_MOST_BYTES = 2_000_000_000
_MODALITIES = {*map(str, Modality), names.PAIR}


@dataclass(frozen=True)
class Shared:
    """What a site shares: who it is, rows, people, visits, how images were made, histograms by session and modality,
    settings that differ from the default, a digest of the file."""

    site: dict[str, Any]
    rows: pd.DataFrame
    participants: pd.DataFrame
    visits: pd.DataFrame
    acquisitions: pd.DataFrame
    protocol: str
    histograms: Mapping[tuple[str, str, str], pd.DataFrame] = field(default_factory=dict)
    digest: str = ""

    @property
    def name(self) -> str:
        """The site's name."""
        return str(self.site["site"])

    def texts(self) -> dict[str, str]:
        """Files of the archive by name.

        Raises
        ------
        LayoutError
            Where something stands in a table that must not.
        """
        self.require_plain("the archive")
        found = {
            ROWS: _tsv(self.rows),
            PARTICIPANTS: _tsv(self.participants),
            SESSIONS: _tsv(self.visits),
            names.ACQUISITIONS: _tsv(self.acquisitions),
            names.PROTOCOL: self.protocol,
        }
        for (subject, session, modality), counts in sorted(self.histograms.items()):
            label = names.label_of(subject, session)
            found[f"{HISTOGRAMS}{names.histogram_file(label, modality)}"] = _tsv(counts)
        site = sealed(self.site | {FILES: _digests(found)})
        return {SITE: json.dumps(site, indent=2, sort_keys=True) + "\n"} | found

    def require_plain(self, where: str) -> None:
        """Refuse whatever is neither a number nor one of the words that may stand in its column."""
        rows, made = self.rows, self.acquisitions
        checks: list[tuple[str, set[Any], Callable[[str], Any]]] = [
            ("label", set(rows["subject"]) | set(self.participants["participant_id"]), LABEL.fullmatch),
            ("session", {*rows["session"], *self.visits["session_id"], *made["session"]}, _SESSION.fullmatch),
            ("modality", {*rows["modality"], *made["modality"]}, _MODALITIES.__contains__),
            ("measure", set(rows["measure"]), MEASURES.__contains__),
            ("region", set(rows["region"]), _WORD.fullmatch),
            ("flag", {code for cell in rows["flag"].unique() for code in filter(None, cell.split(";"))},
             FLAGS.__contains__),
            ("column", {str(c) for h in self.histograms.values() for c in h.columns}, _WORD.fullmatch),
        ]  # fmt: skip
        for what, cells, allowed in checks:
            for cell in sorted(map(str, cells)):
                if not allowed(cell):
                    raise LayoutError(f"{where}: {cell!r} is no {what} that is shared")


def write_archive(path: Path, texts: Mapping[str, str]) -> None:
    """A zip file whose bytes depend on the texts alone, whole or not at all."""
    with in_place_of(path) as draft, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)


def read_shared(path: Path) -> Shared:
    """Read what a site shared.

    Raises
    ------
    LayoutError
        Where the file is no such archive, of another version, holds what must not be in it, or was edited.
    """
    if not path.is_file():
        what = "is a folder; give the file that ipha share wrote" if path.is_dir() else "there is no such file"
        raise LayoutError(f"{path}: {what}")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
                raise LayoutError(f"{path}: holds more than {_MOST_BYTES / 1e9:.0f} GB; ask the site to share it again")
            texts = {name: archive.read(name).decode("utf-8") for name in archive.namelist() if _is_ours(name)}
        site = json.loads(texts[SITE])
        if site.get("format") != FORMAT:
            raise LayoutError(
                f"{path}: is of format {site.get('format')}, this version reads {FORMAT}; share and pool by one version"
            )
        about = {name: site[name] for name in site if name not in (FILES, SEAL)}
        shared = Shared(
            about, parse_rows(texts[ROWS]), _table(texts[PARTICIPANTS]), _table(texts[SESSIONS]),
            _table(texts[names.ACQUISITIONS]), texts[names.PROTOCOL], _histograms(texts),
            sha256("".join(map(texts.__getitem__, sorted(texts))).encode()).hexdigest(),
        )  # fmt: skip
        shared.require_plain(str(path))
        changed = "" if is_sealed(site) else SITE
        changed = changed or next((name for name, own in _digests(texts).items() if site[FILES].get(name) != own), "")
    except zipfile.BadZipFile as error:
        raise LayoutError(f"{path}: is no whole zip file ({error}); was it cut on its way? Get it again") from None
    except KeyError as error:
        raise LayoutError(f"{path}: is no archive of ipha share, it lacks {error}") from None
    except (OSError, ValueError, AttributeError, zlib.error) as error:
        raise LayoutError(f"{path}: is no archive of ipha share: {type(error).__name__}: {error}") from None
    if changed:
        raise LayoutError(f"{path}: {changed} in it is not as ipha share wrote it; have the site share it again")
    return shared


def _is_ours(name: str) -> bool:
    """Not what an operating system packs along."""
    return name in _NAMES or name.startswith(HISTOGRAMS)


def _digests(texts: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each file that is pooled; of the histograms, one."""
    kinds: dict[str, str] = {}
    for name in sorted(set(texts) - {SITE, WORDS}):
        kind = HISTOGRAMS if name.startswith(HISTOGRAMS) else name
        kinds[kind] = kinds.get(kind, "") + texts[name]
    return {kind: sha256(text.encode()).hexdigest() for kind, text in kinds.items()}


def _histograms(texts: Mapping[str, str]) -> dict[tuple[str, str, str], pd.DataFrame]:
    found = {}
    ending = re.compile(r"(sub-[A-Za-z0-9]+)(?:_(ses-\d+))?_(desc-signature|T1w|T2w)_histogram\.tsv")
    for name, text in texts.items():
        if name.startswith(HISTOGRAMS):
            parts = ending.fullmatch(name.removeprefix(HISTOGRAMS))
            if parts is None:
                raise ValueError(f"{name} is no histogram")
            modality = names.PAIR if parts[3] == "desc-signature" else parts[3]
            found[parts[1], parts[2] or "", modality] = pd.read_csv(io.StringIO(text), sep="\t", dtype=float)
    return found


def _table(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)


def _tsv(table: pd.DataFrame) -> str:
    ordered = table[list(ROW_COLUMNS)] if set(ROW_COLUMNS) <= set(table.columns) else table
    return ordered.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n")
