"""One whole session as ``ipha analyze`` measures it, no masks given: time and memory of MRI and of CT.

Run ``python benchmarks/session.py``. Each session runs in a process of its own, so that its peak memory is its own.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "session.md"
SESSIONS = {
    "MRI, T1w and T2w of about 256x256x60": (("T1w", "T2w"), (1.58, 1.16, 5.27), "15 s, 1 GB"),
    "CT of about 300x512x512": (("ct",), (0.79, 0.58, 1.05), "30 s, 2.5 GB"),
}


def write(root: str, modalities: tuple[str, ...], spacing_mm: tuple[float, ...]) -> None:
    import ipha_toolkit as ipha

    subject = ipha.simulate_subject("subacute", seed=6, spacing_mm=spacing_mm, modalities=modalities)
    for name, volume in subject.volumes.items():
        folder = Path(root) / "sub-1" / ("ct" if name == "ct" else "anat")
        folder.mkdir(parents=True, exist_ok=True)
        ipha.save(volume, folder / f"sub-1_{name}.nii.gz")


def measure(root: str, send) -> None:
    from ipha_toolkit.io.images import load
    from ipha_toolkit.io.layout import read_cohort
    from ipha_toolkit.run.scan import Context
    from ipha_toolkit.run.session import measure_session

    files = read_cohort(root).sessions[0]
    shapes = ", ".join("x".join(map(str, load(path).shape)) for path in files.images.values())
    start = time.perf_counter()
    result = measure_session(files, Context())
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    send.send((shapes, seconds, peak, len(result.rows), [failure["error"] for failure in result.failures]))


def apart(function, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def main() -> None:
    lines = [
        "# One session, as analyzed\n",
        "| session | voxels | seconds | peak GB | rows | asked |",
        "| --- " * 6 + "|",
    ]
    for name, (modalities, spacing, asked) in SESSIONS.items():
        with tempfile.TemporaryDirectory() as root:
            apart(write, root, modalities, spacing)
            receive, send = multiprocessing.Pipe(False)
            apart(measure, root, send)
            shapes, seconds, peak, rows, failures = receive.recv()
        lines.append(f"| {name} | {shapes} | {seconds:.1f} | {peak:.2f} | {rows} | {asked} |")
        lines += [f"- failed: {failure}" for failure in failures]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
