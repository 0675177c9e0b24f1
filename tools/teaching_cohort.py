"""Make ``ipha_toolkit/tables/teaching.zip``: tables of 40 simulated patients and 20 controls over years.

    python tools/teaching_cohort.py            # some ten minutes; the same seed gives the same tables
    python tools/teaching_cohort.py --work DIR # in a folder that is kept: a stopped run goes on there
    python tools/teaching_cohort.py --check    # the package's tables are of today's measures, flags and columns

Only CT is simulated, at coarse voxels, and only rows of the whole lung are kept: what the notebook shows.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ipha_toolkit.catalogue import MEASURES, ROW_COLUMNS
from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io.images import save
from ipha_toolkit.io.packaged import TEACHING, teaching_cohort
from ipha_toolkit.io.results import open_results
from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import Participant, Visit, participant, scan
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.simulate import _write_tables

SEED, SPACING_MM, PROCESSES = 6, 8.0, 5
PATIENTS, CONTROLS = 40, 20
_TABLES = ("measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv", "dataset_description.json")


def population(patients: int = PATIENTS, controls: int = CONTROLS) -> list[Participant]:
    """Patients from day two of their first bleed on: treated, the dose lowered after three months, seen again in a
    further bleed, as three in five are, or after some three years; controls seen once."""
    rng = np.random.default_rng(SEED)
    people = []
    for number in range(1, patients + controls + 1):
        name, seed, age = f"sub-{number:03}", 1000 * SEED + number, float(rng.uniform(4, 14))
        if number > patients:
            people.append(participant(name, "control", age=age, seed=seed))
            continue
        again = float(rng.integers(120, 900)) if rng.random() < 0.6 else None
        bleeds = [Bleed(-2.0, float(rng.uniform(0.5, 0.95)))]
        bleeds += [Bleed(again, float(rng.uniform(0.5, 0.95)))] if again else []
        days = [0.0, float(rng.integers(70, 110)), again + 1 if again else float(rng.integers(1000, 1300))]
        people.append(participant(name, "iph", age=age, seed=seed, bleeds=bleeds, days=days))
    return people


def scan_visit(root: Path, person: Participant, visit: Visit) -> None:
    """The CT of one visit, as a scanner would store it; no truth beside it."""
    path = root / person.name / visit.session / "ct" / f"{person.name}_{visit.session}_ct.nii.gz"
    if path.exists():
        return
    (ct,) = scan(person, visit, spacing_mm=SPACING_MM, modalities=["ct"]).volumes.values()
    path.parent.mkdir(parents=True, exist_ok=True)
    save(ct.replace(array=np.rint(ct.array)), path)


def make(target: Path, folder: Path) -> None:
    """Simulate, analyze and pack."""
    people, cohort = population(), folder / "cohort"
    if not cohort.exists():
        cohort.mkdir(parents=True)
        _write_tables(cohort, people, {"teaching": SEED})
    with ProcessPoolExecutor(PROCESSES) as pool:
        jobs = [pool.submit(scan_visit, cohort, person, visit) for person in people for visit in person.visits]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="Simulating"):
            job.result()
    run(cohort, folder / "results", workers=PROCESSES)
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
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for images and results, kept")
    options = parser.parse_args()
    if options.check:
        problems = check()
        print(*problems, sep="\n") if problems else print("the teaching cohort fits")
        return 1 if problems else 0
    with tempfile.TemporaryDirectory() as scratch:
        make(TEACHING, options.work or Path(scratch))
    print(f"{TEACHING.stat().st_size / 1e3:.0f} kB in {TEACHING}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
