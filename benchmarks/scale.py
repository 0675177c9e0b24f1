"""Two thousand sessions: a run with nothing to measure, the second pass, memory, and the cost a session.

python benchmarks/scale.py [--sessions 20 200 2000]

Four small sessions (boxes of tests/toys.py: T1w, T2w and CT) are measured; all others are copies of them under other
labels, images linked, results as if measured. One in ten is a control. Every step runs in a process of its own, whose
CPU time, wall time and peak memory are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

STEPS = {"second pass, nothing measured": "both", "nothing to do": "both", "status": "status"}


def small(root: Path, out: Path) -> None:
    """Four sessions, measured."""
    from toys import put_participants, put_session, toy_ct, toy_mr

    from ipha_toolkit.run.cohort import run

    for n in range(4):
        lung = 20 + 3 * n
        images = [toy_mr(lung=lung, seed=n), toy_mr("T2w", lung=lung + 8, seed=9 + n), toy_ct(lung=-870 + lung, seed=n)]
        put_session(root, f"sub-{n}", "ses-1", images)
    put_participants(root, {f"sub-{n}": "control" for n in range(4)})
    run(root, out, progress=False)


def copies(small_root: Path, small_out: Path, root: Path, out: Path, n_sessions: int) -> None:
    """Sessions under other labels, as if measured."""
    from toys import put_participants

    from ipha_toolkit.io import proof

    labels = [f"sub-{n:05}" for n in range(n_sessions)]
    put_participants(root, {label: "iph" if n % 10 else "control" for n, label in enumerate(labels)})
    for n, label in enumerate(labels):
        of = f"sub-{n % 4}"
        for top in (Path(), Path("derivatives/hand")):
            for path in (small_root / top / of).rglob("*"):
                if path.is_file():
                    new = root / top / str(path.relative_to(small_root / top)).replace(of, label)
                    new.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, new)
        for path in (small_out / of).rglob("*"):
            if path.is_file():
                new = out / str(path.relative_to(small_out)).replace(of, label)
                new.parent.mkdir(parents=True, exist_ok=True)
                if path.name.endswith(".gz"):
                    os.link(path, new)
                else:
                    new.write_text(path.read_text("utf-8").replace(of, label), "utf-8")
        for path in (out / label).rglob("provenance.json"):
            record = json.loads(path.read_text("utf-8")) | {proof.FILES: proof.digests(path.parent)}
            record.pop(proof.SEAL)
            path.write_text(json.dumps(proof.sealed(record)), "utf-8")
    shutil.copy(small_out / "dataset_description.json", out)


def step(name: str, root: Path, out: Path) -> None:
    """One step in this process; its figures as a line of JSON."""
    import ipha_toolkit as ipha
    from ipha_toolkit.run.cohort import run

    begun = time.perf_counter()
    if name == "status":
        rows = len(ipha.status(out))
    else:
        analysis = run(root, out, progress=False)
        rows = len(analysis.rows)
        assert analysis.measured == 0, analysis.measured
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "wall": time.perf_counter() - begun, "cpu": used.ru_utime + used.ru_stime, "gb": peak_gb(), "rows": rows,
    }))  # fmt: skip


def peak_gb() -> float:
    """Most memory this process held; what getrusage says may be its parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--step", nargs=3)
    options = parser.parse_args()
    if options.step:
        name, root, out = options.step
        return step(name, Path(root), Path(out))
    folder = Path(tempfile.mkdtemp(prefix="ipha-scale-"))
    small(folder / "small", folder / "small-out")
    lines = ["| sessions | step | rows | wall s | CPU s | peak GB | CPU ms a session |",
             "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for n in options.sessions:
        root, out = folder / f"c{n}", folder / f"o{n}"
        copies(folder / "small", folder / "small-out", root, out, n)
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, str(root), str(out)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            own = f"{1000 * found['cpu'] / n:.1f}"
            lines.append(f"| {n} | {name} | {found['rows']} | {found['wall']:.1f} | {found['cpu']:.1f} | "
                         f"{found['gb']:.2f} | {own} |")  # fmt: skip
            print(lines[-1], flush=True)
        shutil.rmtree(root)
        shutil.rmtree(out)
    shutil.rmtree(folder)
    text = "# Many sessions\n\nOne in ten is a control; 2 cores shared with other jobs.\n\n" + "\n".join(lines) + "\n"
    (Path(__file__).parent / "results" / "scale.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
