"""What was painted, kept stroke by stroke, so that a kernel that ends loses none.

A line of JSON an entry: the first says what was painted on, each other a change (the voxels flipped, by box), ``undo``
or ``redo``. A line that was cut off is passed over.
"""

from __future__ import annotations

import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipha_toolkit.io.proof import free_name

Change = Sequence[tuple[Sequence[Sequence[int]], bytes]]
"""Boxes and packed bits of the voxels that were flipped in them."""


class Strokes:
    """The journal of one mask.

    Parameters
    ----------
    path : Path
        Its folder is made when the first entry is written.
    begun : mapping
        What is painted on: a journal that began otherwise is moved aside, its name ending with ``.old``.
    """

    def __init__(self, path: Path, begun: Mapping[str, Any]) -> None:
        self.path, self.begun = path, dict(begun)
        if path.exists() and self._first() != self.begun:
            path.rename(free_name(path.with_name(path.name + ".old")))

    def entries(self) -> Iterator[tuple[str, Change]]:
        """What was done, in order: ``change`` with what it flipped, ``undo``, ``redo``."""
        for line in self._lines()[1:]:
            entry = _parsed(line)
            if entry is None:
                return
            flips = [(box, zlib.decompress(b64decode(bits))) for box, bits in entry.get("flips", [])]
            yield str(entry["did"]), flips

    def add(self, did: str, change: Change = ()) -> None:
        """Write an entry; it is on disk when this returns."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(json.dumps(self.begun, sort_keys=True))
        flips = [[box, b64encode(zlib.compress(bits, 1)).decode()] for box, bits in change]
        self._write(json.dumps({"did": did} | ({"flips": flips} if flips else {})))

    def _write(self, line: str) -> None:
        # Its name can be known, so that a link may have been laid there: it is not followed
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> list[str]:
        return self.path.read_text("utf-8").splitlines() if self.path.exists() else []

    def _first(self) -> Any:
        lines = self._lines()
        return _parsed(lines[0]) if lines else None


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
