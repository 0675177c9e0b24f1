"""Which files of a results folder this toolkit wrote, and whether they are still as it wrote them.

A session's ``provenance.json`` lists a digest of every file beside it and one of itself, that of the whole cohort
likewise; a session's log ends in one of its own, as it holds times and is no result. Nothing that cannot be proved so
is ever removed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from ipha_toolkit.errors import ReadError
from ipha_toolkit.io import names
from ipha_toolkit.io.files import read_json, why_not_a_file

FILES, WRITTEN, SEAL = "files", "written", "seal"
"""Keys of a provenance: digests of a session's files, of the files of the whole cohort, and of the record itself."""

LARGEST, _LONGEST_LOG = 4_000_000_000, 50_000_000
"""Bytes of any file of results, and of a session's log, at most: what is larger was not written here, and not read."""
_LOG_SEAL = re.compile(r"sha256 of the lines above: ([0-9a-f]{64})\n\Z")


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with a digest of itself."""
    return dict(record) | {SEAL: _seal(record)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a record is as :func:`sealed` gave it."""
    return record.get(SEAL) == _seal({name: value for name, value in record.items() if name != SEAL})


def read_sealed(path: Path, holds: str = FILES) -> dict[str, Any]:
    """A record as it was written, less its seal; empty where there is none, or it is not as it was written.

    ``holds`` is the key of what it is read for.
    """
    try:
        record = read_json(path)
        whole = is_sealed(record) and isinstance(record.get(holds), dict | list)
        return {name: value for name, value in record.items() if name != SEAL} if whole else {}
    except (ReadError, OSError, ValueError, TypeError, RecursionError):
        return {}


def sealed_log(text: str) -> str:
    """A log with a last line that proves the lines above it."""
    return f"{text}sha256 of the lines above: {sha256(text.encode('utf-8', 'replace')).hexdigest()}\n"


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder by its name, the log and the provenance left out."""
    files = [path for path in sorted(folder.iterdir()) if path.name not in (names.LOG, names.PROVENANCE)]
    return {path.name: digest for path in files if not is_hidden(path) and (digest := digest_of(path))}


def digest_of(path: Path) -> str:
    """SHA-256 of a file, empty where it is none, cannot be read, or is larger than any that is written here."""
    try:
        if why_not_a_file(path) or path.stat().st_size > LARGEST:
            return ""
        with path.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""


def session_folders(out: Path) -> list[Path]:
    """Folders of sessions in a results folder, in order; not the drafts of a run, living or killed."""
    found = [path.parent for depth in ("", "*/") for path in out.glob(f"sub-*/{depth}{names.PROVENANCE}")]
    return sorted(folder for folder in found if not any(part[0] == "." for part in folder.relative_to(out).parts))


def is_hidden(path: Path) -> bool:
    """Whether a file is one of the system's or a tool's own."""
    return path.name.startswith(".")


def damage(folder: Path, record: Mapping[str, Any] | None = None) -> list[str]:
    """Files of a session that are not as they were written; empty too where nothing was written there.

    ``record`` is what :func:`read_sealed` gives of its provenance, where that was read already.
    """
    record = read_sealed(folder / names.PROVENANCE) if record is None else record
    if not record:
        if not folder.is_dir():
            return []
        written = [path for path in folder.iterdir() if path.name == names.PROVENANCE or _is_made(path)]
        return [names.PROVENANCE] if written else []
    return [name for name, digest in record[FILES].items() if digest_of(folder / name) != digest]


def ours(folder: Path) -> list[Path]:
    """Files of a session's folder that are as this toolkit wrote them."""
    record = read_sealed(folder / names.PROVENANCE)
    proven = [folder / name for name, digest in record.get(FILES, {}).items() if _is_plain(name)
              and digest_of(folder / name) == digest]  # fmt: skip
    log = [folder / names.LOG] if _is_our_log(folder / names.LOG) else []
    return [*proven, *log, *([folder / names.PROVENANCE] if record else [])]


def remove_ours(folder: Path) -> None:
    """Take away what this toolkit wrote into a session's folder, and the folder where nothing else is left in it."""
    for path in ours(folder):
        path.unlink(missing_ok=True)
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Take away a folder that holds nothing."""
    try:
        folder.rmdir()
    except OSError:
        return


def move_rest(old: Path, new: Path) -> list[str]:
    """Take away an old folder of results; what was not written here, or was changed since, moves into the new one.

    Returns
    -------
    list of str
        Names of what was moved, as they are in the new folder.
    """
    remove_ours(old)
    moved = []
    for path in sorted(old.iterdir()) if old.is_dir() else []:
        if _is_worthless(path, new / path.name):
            path.unlink()
            continue
        place = free_name(new / path.name)
        path.rename(place)
        moved.append(place.name)
    remove_empty(old)
    return moved


def written(out: Path) -> dict[str, str]:
    """Digests of the files of the whole cohort as they were written; empty where that is not known."""
    found = read_sealed(out / names.PROVENANCE, WRITTEN).get(WRITTEN, {})
    return {str(name): str(digest) for name, digest in found.items()}


def changed(out: Path) -> list[str]:
    """Files of the whole cohort that are not as they were written; the record of them alone where that is damaged."""
    if not written(out):
        there = any(os.path.lexists(out / name) for name in (names.PROVENANCE, names.MEASURES))
        return [names.PROVENANCE] if there else []
    return [name for name, digest in written(out).items() if digest_of(out / name) != digest]


def keep_aside(path: Path, digest: str, coming: str) -> str:
    """Before a table is written over: put it aside where it is neither as we wrote it nor as it will be.

    Parameters
    ----------
    path : Path
    digest : str
        Of what this toolkit wrote there, empty where that is not known.
    coming : str
        Digest of what will be written.

    Returns
    -------
    str
        The name it was kept under, empty where there was nothing to keep.
    """
    if not os.path.lexists(path):
        return ""
    found = digest_of(path)
    same = found and found in (digest, coming)
    if same or (found and path.stat().st_size == 0):
        return ""
    place = free_name(path)
    path.rename(place)
    return place.name


def free_name(path: Path) -> Path:
    """The path where nothing is there, else ``name.kept``, ``name.kept-2`` ..."""
    number, place = 1, path
    while os.path.lexists(place):
        place = path.with_name(f"{path.name}.kept" + (f"-{number}" if number > 1 else ""))
        number += 1
    return place


def _is_worthless(path: Path, there: Path) -> bool:
    """Whether nothing is lost with a file: it is empty, or the same lies in the new folder."""
    digest = digest_of(path)
    if not digest or path.is_symlink():
        return False
    return path.stat().st_size == 0 or digest == digest_of(there) or _is_our_log(path)


def _is_our_log(path: Path) -> bool:
    if path.name != names.LOG or why_not_a_file(path):
        return False
    try:
        if path.stat().st_size > _LONGEST_LOG:
            return False
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    found = _LOG_SEAL.search(text)
    return found is not None and sha256(text[: found.start()].encode()).hexdigest() == found[1]


def _is_made(path: Path) -> bool:
    """Whether a file is named as results of a session are."""
    return path.name.startswith("sub-") and path.name.endswith((names.MEASURES, "_map.nii.gz", "_mask.nii.gz"))


def _is_plain(name: str) -> bool:
    return name == Path(name).name and name not in ("", ".", "..")


def _seal(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(record, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()
