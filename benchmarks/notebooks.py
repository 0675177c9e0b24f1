"""Every notebook executed and rendered to a page and slides: seconds, seconds of CPU, size of the pages.

Run ``python benchmarks/notebooks.py [NAME...] [--out DIR]``; with names, nothing is written to ``results/``. CPU is
that of the kernel and its workers; on two cores that are not shared, the time a reader waits lies between it and half.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "notebooks.md"


def measured(path: Path, out: Path) -> tuple[str, float, float, str]:
    from ipha_toolkit.report.render import render_all

    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    start, before = time.perf_counter(), cpu()
    pages = render_all([path], out, to=["html", "slides"], progress=False)
    wall = time.perf_counter() - start
    return path.stem, wall, cpu() - before, " and ".join(f"{page.stat().st_size / 1e6:.1f}" for page in pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of names; none means all")
    parser.add_argument("--out", type=Path, help="keep the pages here")
    options = parser.parse_args()
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    wanted = [path for path in paths if not options.names or path.name.startswith(tuple(options.names))]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for path in wanted:
            rows.append(measured(path, options.out or Path(scratch)))
            print("{}: {:.1f} s, CPU {:.1f} s, {} MB".format(*rows[-1]), flush=True)
    lines = ["| notebook | s | CPU s | page and slides, MB |", "| --- | --- | --- | --- |"]
    lines += ["| {} | {:.1f} | {:.1f} | {} |".format(*row) for row in rows]
    lines.append(f"| together | {sum(row[1] for row in rows):.0f} | {sum(row[2] for row in rows):.0f} | |")
    load = os.getloadavg()[1]
    lines.append(f"\nTwo cores, load average of the last five minutes {load:.1f}; rendering is part of the time.")
    print("\n".join(lines))
    if not options.names:
        RESULT.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    main()
