"""One whole session as ``ipha analyze`` measures it, no masks given: CPU time and memory of MRI and of CT, old and new.

``python benchmarks/session.py --old CHECKOUT`` measures each session with this code and with an older checkout, in
turn, in one run. Each measurement runs in a process of its own, so that imports and peak memory are its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "session.md"
SESSIONS = {
    "MRI, T1w and T2w of about 256x256x60": (("T1w", "T2w"), (1.58, 1.16, 5.27), "0.5 of the CPU time, 0.6 GB"),
    "CT of about 300x512x512": (("ct",), (0.79, 0.58, 1.05), "0.55 of the CPU time, 1.6 GB"),
}
MEASURE = """
import json, sys, time
from pathlib import Path
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.run.session import measure_session
try:
    from ipha_toolkit.run.scan import Context
except ImportError:
    from ipha_toolkit.run.session import Context
files = read_cohort(sys.argv[1]).sessions[0]
wall, cpu = time.perf_counter(), time.process_time()
result = measure_session(files, Context())
print(json.dumps({
    "seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "rows": len(result.rows),
    "gb": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20,
    "failures": [f["error"] for f in result.failures],
}))
"""


def write(root: str, modalities: tuple[str, ...], spacing_mm: tuple[float, ...]) -> str:
    sys.path.insert(0, str(ROOT))
    import ipha_toolkit as ipha

    subject = ipha.simulate_subject("subacute", seed=6, spacing_mm=spacing_mm, modalities=modalities)
    for name, volume in subject.volumes.items():
        folder = Path(root) / "sub-1" / ("ct" if name == "ct" else "anat")
        folder.mkdir(parents=True, exist_ok=True)
        ipha.save(volume, folder / f"sub-1_{name}.nii.gz")
    return ", ".join("x".join(map(str, volume.shape)) for volume in subject.volumes.values())


def measure(code: Path, cohort: str) -> dict:
    """One measurement with the code of a checkout."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, cohort]
    done = subprocess.run(command, cwd=code, env=_environment(code), capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _environment(code: Path) -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(code)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--old", type=Path, help="an older checkout to measure beside")
    options.add_argument("--runs", type=int, default=3)
    given = options.parse_args()
    codes = {"new": ROOT} | ({"old": given.old.resolve()} if given.old else {})
    lines = [
        "# One session, as analyzed\n",
        f"Medians of {given.runs} runs after one that fills compiled caches; CPU seconds include imports.\n",
        "| session | voxels | code | CPU s | s | peak GB | rows | asked |",
        "| --- " * 8 + "|",
    ]
    for name, (modalities, spacing, asked) in SESSIONS.items():
        with tempfile.TemporaryDirectory() as root:
            shapes = write(root, modalities, spacing)
            found: dict[str, list[dict]] = {code: [] for code in codes}
            for run in range(given.runs + 1):
                for code, path in codes.items():
                    one = measure(path, root)
                    found[code] += [one] if run else []
        for code, runs in found.items():
            cpu, seconds, gb = (median(run[key] for run in runs) for key in ("cpu", "seconds", "gb"))
            what = asked if code == "new" else ""
            lines.append(
                f"| {name} | {shapes} | {code} | {cpu:.1f} | {seconds:.1f} | {gb:.2f} | {runs[0]['rows']} | {what} |"
            )
            lines += [f"- failed: {failure}" for failure in runs[0]["failures"]]
        if len(found) > 1:
            pairs = zip(found["new"], found["old"], strict=True)
            lines.append(f"- CPU time new over old: {median(new['cpu'] / old['cpu'] for new, old in pairs):.2f}")
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
