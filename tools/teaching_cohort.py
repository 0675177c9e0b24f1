"""Make ``ipha_toolkit/tables/teaching.zip``: tables of 40 simulated patients and 20 controls over years.

    python tools/teaching_cohort.py            # some ten minutes; the same seed gives the same tables
    python tools/teaching_cohort.py --check    # the package's tables are of today's measures, flags and columns

Only CT is simulated, at coarse voxels, and only rows of the whole lung are kept: what the notebook shows.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io.packaged import TEACHING, teaching_cohort
from ipha_toolkit.io.results import open_results
from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import Participant, participant
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.simulate import write_population

SEED, SPACING_MM = 6, 6.0
PATIENTS, CONTROLS = 40, 20
_TABLES = ("measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv", "dataset_description.json")


def population(patients: int = PATIENTS, controls: int = CONTROLS) -> list[Participant]:
    """Patients from their first bleed on: treated, the dose lowered, three in five bleed again; controls seen once."""
    rng = np.random.default_rng(SEED)
    people = []
    for number in range(1, patients + controls + 1):
        name, seed, age = f"sub-{number:03}", 1000 * SEED + number, float(rng.uniform(4, 14))
        if number > patients:
            people.append(participant(name, "control", age=age, seed=seed))
            continue
        again = float(rng.integers(120, 900)) if rng.random() < 0.6 else None
        bleeds = [Bleed(-1.0, float(rng.uniform(0.5, 0.95)))]
        bleeds += [Bleed(again, float(rng.uniform(0.5, 0.95)))] if again else []
        days = {0.0, 14.0, float(rng.integers(70, 110)), float(rng.integers(1000, 1300))} | (
            {again + 1} if again else set()
        )
        people.append(participant(name, "iph", age=age, seed=seed, bleeds=bleeds, days=sorted(days)))
    return people


def make(target: Path) -> None:
    """Simulate, analyze and pack."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cohort = write_population(
            population(), folder / "cohort", about={"teaching": SEED}, spacing_mm=SPACING_MM, modalities=["ct"]
        )  # fmt: skip
        run(cohort, folder / "results", workers=2)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted([*cohort.glob("*.tsv"), *cohort.glob("*.json"), *cohort.glob("sub-*/*.tsv")]):
                _put(packed, f"cohort/{path.relative_to(cohort).as_posix()}", path.read_bytes())
            for name in _TABLES:
                _put(packed, f"results/{name}", _slim(folder / "results" / name))
            for path in sorted((folder / "results").glob("sub-*/ses-*/provenance.json")):
                _put(packed, f"results/{path.relative_to(folder / 'results').as_posix()}", b"{}\n")


def _slim(path: Path) -> bytes:
    """A table of the results; of the measures only what is of the whole lung, to five digits."""
    if path.name != "measures.tsv":
        return path.read_bytes()
    rows = pd.read_csv(path, sep="\t", keep_default_na=False, na_values={"value": ["n/a"]})
    kept = rows[(rows["region"] == "lung") & rows["value"].notna()]
    buffer = io.StringIO()
    kept.to_csv(buffer, sep="\t", index=False, float_format="%.5g", lineterminator="\n")
    return buffer.getvalue().encode()


def _put(packed: zipfile.ZipFile, name: str, content: bytes) -> None:
    """A file without the time it was made."""
    entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    packed.writestr(entry, content)


def check() -> list[str]:
    """What no longer fits in the package's tables; empty where all does."""
    with tempfile.TemporaryDirectory() as scratch:
        found = open_results(teaching_cohort(scratch))
        rows = found.rows
        flags = {code for cell in rows["flag"] for code in str(cell).split(";") if code}
        problems = [f"measure {name} is not in the catalogue" for name in set(rows["measure"]) - set(MEASURES)]
        problems += [f"flag {code} is unknown" for code in flags - set(FLAGS)]
        problems += [] if tuple(rows.columns) == ROW_COLUMNS else [f"columns are {tuple(rows.columns)}"]
        people = found.participants["group"].value_counts().to_dict()
        return problems + ([] if people == {"iph": PATIENTS, "control": CONTROLS} else [f"groups are {people}"])


def main() -> int:
    """Make the file, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="check the package's file instead of making it")
    if parser.parse_args().check:
        problems = check()
        print(*problems, sep="\n") if problems else print("the teaching cohort fits")
        return 1 if problems else 0
    make(TEACHING)
    print(f"{TEACHING.stat().st_size / 1e3:.0f} kB in {TEACHING}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
