"""Make ``ipha_toolkit/tables/sites.zip``: what three simulated hospitals would share, rows and histograms, no image.

    python tools/teaching_sites.py            # some five minutes; sites are simulated at the same time
    python tools/teaching_sites.py --work DIR # in a folder that is kept: a stopped run goes on there

North and west scan at 1.5 T and with a soft CT kernel, south at 3 T and with a sharp one. All three examine the same
kind of children: what differs between them is the scanner alone, so that notebook 06 can show what pooling mends.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from ipha_toolkit.io.images import save
from ipha_toolkit.io.outputs import write_json
from ipha_toolkit.io.packaged import SITES
from ipha_toolkit.phantom.disease import Bleed
from ipha_toolkit.phantom.population import Participant, participant, scan
from ipha_toolkit.report.share import share
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.simulate import _write_tables

SEED, SPACING_MM = 18, {"T1w": 4.0, "ct": 8.0}
"""Of T1w finer: at 8 mm no muscle is found beside the spine."""
CONTROLS, PATIENTS = 4, 3
SCANNERS = {"north": (1.5, "soft"), "south": (3.0, "lung"), "west": (1.5, "soft")}


def population(site: str) -> list[Participant]:
    """Controls, and patients two days after a bleed, of like ages at every site."""
    first = 1000 * SEED + 100 * list(SCANNERS).index(site)
    rng = np.random.default_rng(first)
    people = []
    for n in range(CONTROLS + PATIENTS):
        name, age = f"sub-{n:02}", float(rng.uniform(8, 13))
        sick = {"bleeds": [Bleed(-2.0, float(rng.uniform(0.5, 0.9)))]} if n >= CONTROLS else {}
        people.append(participant(name, "iph" if sick else "control", age=age, seed=first + n, **sick))
    return people


def make_site(site: str, folder: Path) -> Path:
    """Simulate, analyze and share one site."""
    people, cohort, (field_t, kernel) = population(site), folder / site, SCANNERS[site]
    cohort.mkdir(parents=True, exist_ok=True)
    if not (cohort / "participants.tsv").exists():
        _write_tables(cohort, people, {"teaching": SEED})
    for person in people:
        for visit in person.visits:
            if not (cohort / person.name / visit.session / "ct").exists():
                made = scan(
                    person, visit, spacing_mm=SPACING_MM, modalities=["T1w", "ct"], field_strength_t=field_t,
                    kernel=kernel,
                )  # fmt: skip
                for role, image in made.volumes.items():
                    place = cohort / person.name / visit.session / ("ct" if role == "ct" else "anat")
                    place.mkdir(parents=True, exist_ok=True)
                    stem = f"{person.name}_{visit.session}_{role}"
                    save(image.replace(array=np.rint(image.array)) if role == "ct" else image, place / f"{stem}.nii.gz")
                    write_json(place / f"{stem}.json", dict(image.meta))
    run(cohort, folder / f"{site}-results", workers=1, progress=False)
    return share(folder / f"{site}-results", folder / f"{site}.zip", site=site)


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(len(SCANNERS)) as pool:
        folder = options.work or Path(scratch)
        archives = list(pool.map(make_site, SCANNERS, [folder] * len(SCANNERS)))
        with zipfile.ZipFile(SITES, "w", zipfile.ZIP_STORED) as packed:
            for path in archives:
                packed.writestr(zipfile.ZipInfo(path.name, (2020, 1, 1, 0, 0, 0)), path.read_bytes())
    print(f"{SITES}: {SITES.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
