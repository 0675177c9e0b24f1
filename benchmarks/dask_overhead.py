"""Dask beside the process pool: what it costs on top, and what a second worker gains; one run, the same sessions.

python benchmarks/dask_overhead.py [--spacing 4.0] [--repeats 1]

The demo's 16 sessions and four more of its kind, at voxels of 4 mm (its own are 3 mm: with less to measure the cost on
top weighs more). Each way measures them into a folder of its own, from the start of its
workers to their end: the process pool with two workers, Dask's LocalCluster with two, with one. Wall time counts where
the machine does nothing else; CPU time of all processes and the machine's load say how far to trust it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from ipha_toolkit.demo.cohort import MODALITIES, SEED, demo_population
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.phantom.population import Participant, participant
from ipha_toolkit.run.cluster import connect
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.simulate import write_population

WAYS = {"process pool, 2 workers": ("pool", 2), "Dask, 2 workers": ("dask", 2), "Dask, 1 worker": ("dask", 1)}
TABLES = ("measures.tsv", "readings.tsv", "failures.tsv")


def measure(root: Path, out: Path, kind: str, workers: int) -> dict[str, float]:
    """One way, timed from the start of its workers to their end."""
    begun, before = time.perf_counter(), cpu_s()
    load = os.getloadavg()[0]
    if kind == "pool":
        run(root, out, workers=workers, progress=False)
    else:
        with connect("local", workers=workers) as client:
            run(root, out, client=client, progress=False)
    return {"wall": time.perf_counter() - begun, "cpu": cpu_s() - before, "load": load}


def cpu_s() -> float:
    """CPU time of this process and of all that have ended below it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def people() -> list[Participant]:
    """The demo's own, 16 sessions, and four more controls drawn as its are."""
    more = [participant(f"sub-{n:03}", "control", age=3.0 + 0.5 * n, seed=SEED * 100 + n) for n in range(9, 13)]
    return [*demo_population(), *more]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spacing", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ipha-dask-"))
    root = folder / "cohort"
    write_population(
        people(), root, about={"demo": SEED}, spacing_mm=options.spacing, modalities=MODALITIES, workers=2,
        progress=False,
    )  # fmt: skip
    run(root, folder / "warm", participant_label=read_cohort(root).sessions[0].subject, progress=False)  # fills caches
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    tables = set()
    for n in range(options.repeats):
        for name, (kind, workers) in WAYS.items():
            out = folder / f"{kind}-{workers}-{n}"
            found[name].append(measure(root, out, kind, workers))
            tables.add(tuple((out / table).read_bytes() for table in TABLES))
            print(name, found[name][-1], flush=True)
    sessions = len(read_cohort(root).sessions)
    text = report(found, sessions, options.spacing, len(tables) == 1)
    (Path(__file__).parent / "results" / "dask.md").write_text(text, "utf-8")
    print(text)


def report(found: dict[str, list[dict[str, float]]], sessions: int, spacing: float, same: bool) -> str:
    """The page of results."""
    lines = ["| way | wall s | CPU s | load before |", "| --- | ---: | ---: | ---: |"]
    for name, runs in found.items():
        cells = " | ".join(f"{statistics.median(one[key] for one in runs):.1f}" for key in ("wall", "cpu", "load"))
        lines.append(f"| {name} | {cells} |")
    wall, cpu = (
        {name: statistics.median(one[key] for one in runs) for name, runs in found.items()} for key in ("wall", "cpu")
    )
    pool, two, one = WAYS
    repeats = len(found[pool])
    return (
        f"# Dask beside the process pool\n\n{sessions} sessions of the demo's cohort at {spacing:g} mm, {repeats} "
        f"time(s) each, medians, in one run on {os.cpu_count()} cores; from the start of the workers to their end.\n\n"
        + "\n".join(lines)
        + f"\n\nDask over the pool, 2 workers: wall {100 * (wall[two] / wall[pool] - 1):+.0f} %, CPU "
        f"{100 * (cpu[two] / cpu[pool] - 1):+.0f} % (asked: at most +10 %). From 1 to 2 workers: "
        f"{wall[one] / wall[two]:.2f} times as fast (asked: 1.7). Tables of all runs the same, byte for byte: "
        f"{'yes' if same else 'NO'}.\n"
    )


if __name__ == "__main__":  # workers are new processes, which read this file
    main()
