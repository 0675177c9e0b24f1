"""Text out: tables of any length piece by piece, files whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pandas as pd

from ipha_toolkit.io.drafts import text_draft

_ROWS_AT_ONCE = 20_000


def tsv(content: pd.DataFrame) -> str:
    """A BIDS table as text; missing is ``n/a``."""
    return content.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.8g", lineterminator="\n")


def tsv_parts(content: pd.DataFrame) -> Iterator[str]:
    """The text that :func:`tsv` gives, piece by piece: that of a cohort's table takes more room than the table."""
    yield tsv(content.iloc[:0])
    for at in range(0, len(content), _ROWS_AT_ONCE):
        yield tsv(content.iloc[at : at + _ROWS_AT_ONCE]).partition("\n")[2]


@contextmanager
def drafted(path: Path, parts: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """A file beside ``path`` that holds the text, and the digest of its bytes; gone at the end unless it was moved."""
    draft, digest = text_draft(path), sha256()
    try:
        with draft.open("wb") as stream:
            for text in parts:
                stream.write(content := text.encode())
                digest.update(content)
        yield draft, digest.hexdigest()
    finally:
        draft.unlink(missing_ok=True)
