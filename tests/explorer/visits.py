"""The toy cohort with a second visit of its patient, made by writing tables and copying files, not by analyzing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

from ipha_toolkit.io import proof

FORMULA, MARKUP = "=HYPERLINK(0)", "<img src=x onerror='window.hacked=1'>"


def _seal(folder: Path, key: str) -> None:
    """Make the files of a folder of results count as written."""
    path = folder / "provenance.json"
    record = json.loads(path.read_text())
    del record[proof.SEAL]
    digests = proof.digests(folder)
    if "sessions" in record:  # what the tables hold
        record["sessions"] |= {"sub-p1_ses-2": proof.digest_of(folder / "sub-p1/ses-2/provenance.json")}
    record[key] = digests if key == proof.FILES else {name: digests[name] for name in record[key]}
    path.write_text(json.dumps(proof.sealed(record)))


def add_visit(folder: Path) -> Path:
    """Give the patient of an analyzed toy cohort a second session; what the clinic says of it is nasty."""
    for part in ("cohort", "out"):
        home = folder / part / "sub-p1"
        shutil.copytree(home / "ses-1", home / "ses-2")
        for path in list((home / "ses-2").rglob("*ses-1*")):
            path.rename(path.with_name(path.name.replace("ses-1", "ses-2")))
    rows = pd.read_csv(folder / "out" / "measures.tsv", sep="\t", keep_default_na=False, dtype=str)
    again = rows[rows["subject"] == "sub-p1"].assign(session="ses-2")
    pd.concat([rows, again]).to_csv(folder / "out" / "measures.tsv", sep="\t", index=False)
    _seal(folder / "out" / "sub-p1" / "ses-2", proof.FILES)
    _seal(folder / "out", proof.WRITTEN)
    (folder / "cohort/sub-p1/sub-p1_sessions.tsv").write_text(
        "session_id\tdays\tphase\themoglobin_g_dl\tprednisone_mg_per_day\themoptysis\tremark\n"
        f"ses-1\t0\tacute\t8.1\t0\tyes\t{FORMULA}\n"
        f"ses-2\t40\tchronic\t11.2\t10\tno\t{MARKUP}\n"
        "ses-9\t12\tn/a\t9.9\t20\tno\tblood alone\n"
    )
    return folder / "out"
