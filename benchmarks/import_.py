"""Planning an import of many small DICOM files: time and memory, and dcm2niix beside it on the same folder.

    PYTHONPATH=. python benchmarks/import_.py [--files 10000]

What must hold: 10,000 files in at most 60 s and 0.5 GB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SLICES = 100
SIDE = 32


def write_files(root: Path, files: int) -> None:
    """Series of 100 small slices each, some of them MRI, four patients."""
    from ipha_toolkit.phantom.dicom import Study, slices
    from ipha_toolkit.run.disk import GRE, save
    from ipha_toolkit.volume import Volume

    values = np.random.default_rng(0).integers(-1000, 400, (SIDE, SIDE, SLICES))
    volume = Volume(values, np.diag([10.0, 10.0, 3.0, 1.0]))
    for number in range(files // SLICES):
        study = Study(
            f"P{number % 4}",
            f"Nobody^{number % 4}",
            "19800101",
            "F",
            f"2024{1 + number // 40 % 12:02}{1 + number % 28:02}",
        )
        mr = number % 3 == 0
        tags = {"SeriesDescription": "t1_vibe_tra" if mr else "Thorax 1.0 B31f", "BodyPartExamined": "CHEST"}
        tags |= GRE | {"EchoTime": 1.1, "RepetitionTime": 3.5} if mr else {"ConvolutionKernel": "B31f"}
        save(root / f"S{number:04}", slices(volume, study, number=number, modality="MR" if mr else "CT", tags=tags))


def planned(root: Path) -> tuple[float, float, int]:
    """Seconds, peak GB of a process of its own, and series of one plan."""
    code = (
        "import resource, sys, time; from ipha_toolkit.run.plan import plan_import; t = time.perf_counter();"
        "plan = plan_import(sys.argv[1], progress=False); s = time.perf_counter() - t;"
        "print(s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, len(plan.table))"
    )
    out = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True).stdout
    seconds, memory, series = out.split()
    return float(seconds), float(memory), int(series)


def by_dcm2niix(root: Path, out: Path) -> float:
    """Seconds in which dcm2niix looks through the same folder and writes sidecars only."""
    import dcm2niix

    start = time.perf_counter()
    command = [dcm2niix.bin, "-g", "i", "-b", "o", "-ba", "y", "-d", "9", "-f", "%s_%d_%j", "-o", str(out), str(root)]
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "disk", Path(folder) / "out"
        out.mkdir()
        write_files(root, files)
        seconds, memory, series = planned(root)
        other = by_dcm2niix(root, out)
    lines = [
        "| what | files | series | seconds | files a second | peak GB |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| ipha import, plan | {files} | {series} | {seconds:.1f} | {files / seconds:.0f} | {memory:.2f} |",
        f"| dcm2niix, sidecars only | {files} | | {other:.1f} | {files / other:.0f} | |",
    ]
    print("\n".join(lines))
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "import.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
