"""Time and memory of simulating one patient: a 256x256x60 MRI, a CT chest of 1.5 mm, every modality at 2.5 and 3 mm.

Run ``python benchmarks/phantom.py``; kernels are compiled beforehand. Writes ``benchmarks/results/phantom.md``.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TASKS = {
    "T1w of 256x256x60": {"spacing_mm": (404 / 256, 296 / 256, 346 / 60), "modalities": ["T1w"]},
    "CT chest of 1.5 mm": {"spacing_mm": 1.5, "modalities": ["ct"]},
    "every modality, 2.5 mm": {"spacing_mm": 2.5},
    "every modality, 3 mm": {"spacing_mm": 3.0},
}


def main():
    from ipha_toolkit import simulate_subject

    simulate_subject("chronic", seed=1, spacing_mm=12)
    lines = ["| task | voxels | seconds | of them computing | peak so far, MB |", "| --- | --- | --- | --- | --- |"]
    for name, settings in TASKS.items():
        wall, busy = time.perf_counter(), time.process_time()
        subject = simulate_subject("chronic", seed=2, **settings)
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        shape = "x".join(map(str, next(iter(subject.volumes.values())).array.shape))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(f"| {name} | {shape} | {wall:.1f} | {busy:.1f} | {peak:.0f} |")
    text = "# Simulating one chronic patient\n\n" + "\n".join(lines) + "\n"
    print(text)
    (ROOT / "benchmarks" / "results" / "phantom.md").write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
