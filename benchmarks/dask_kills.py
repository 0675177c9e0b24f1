"""kill -9 of a Dask worker, of the scheduler and of the client within a run: the same tables once it is resumed?

python benchmarks/dask_kills.py [--moments 20] [--kinds worker scheduler client]    # some ten minutes

A moment is when a random number of the 12 sessions (boxes of tests/toys.py) was done and some part of the next had
passed; one that came after the run's end is tried again earlier, and does not count. Scheduler, workers and client are
processes of their own. After a worker's death the run goes on with another worker; after the scheduler's or the
client's, one process takes it up.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))

from toys import put_participants, put_session, toy_ct

from ipha_toolkit.io import marks
from ipha_toolkit.run.cluster import ClusterError, connect
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.status import status

FORK = multiprocessing.get_context("fork")
TABLES = ("measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv")
SESSIONS = 12


def cohort(root: Path) -> Path:
    for n in range(SESSIONS):
        put_session(root, f"sub-{n:03}", "ses-1", [toy_ct(seed=n, lung=-850 + n)])
    put_participants(root, {f"sub-{n:03}": "control" if n % 2 else "iph" for n in range(SESSIONS)})
    (root / "sub-003/ses-1/ct/sub-003_ses-1_ct.nii.gz").write_bytes(b"cut short")
    return root


def scheduler(port: int) -> None:
    async def serve() -> None:
        from distributed import Scheduler

        async with Scheduler(port=port, dashboard_address=":0") as here:
            await here.finished()

    asyncio.run(serve())


def worker(address: str) -> None:
    async def serve() -> None:
        from distributed import Worker

        async with Worker(address, nthreads=1, dashboard_address=":0") as here:
            await here.finished()

    asyncio.run(serve())


def client(address: str, root: Path, out: Path) -> None:
    try:
        with connect(address) as found:
            run(root, out, client=found, progress=False)
    except ClusterError as error:
        print(f"client: {error}", flush=True)
        os._exit(2)
    os._exit(0)


def start(function: object, *arguments: object) -> multiprocessing.Process:
    process = FORK.Process(target=quiet, args=(function, *arguments), daemon=False)
    process.start()
    return process


def quiet(function, *arguments: object) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    function(*arguments)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def left_over(out: Path) -> set[str]:
    """Marks, locks, drafts and whatever else is hidden."""
    return {str(path.relative_to(out)) for path in (*out.rglob(".*"), *(out / marks.FOLDER).iterdir())}


def finished(out: Path) -> int:
    """Sessions that are done, -1 before the first is begun."""
    begun = (out / marks.FOLDER).is_dir() and any((out / marks.FOLDER).glob("*.running.json"))
    done = len(list(out.glob("sub-*/ses-*/provenance.json")))
    return done if begun or done else -1


def one(kind: str, after: int, moment_s: float, root: Path, out: Path, wanted: dict[str, bytes]) -> dict[str, object]:
    """One run, one kill some time after so many sessions were done, one resumption."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    processes = {"scheduler": start(scheduler, port)}
    time.sleep(1)
    workers = [start(worker, address), start(worker, address)]
    processes["client"] = start(client, address, root, out)
    begun = time.time()
    while finished(out) < after and processes["client"].is_alive() and time.time() - begun < 120:
        time.sleep(0.01)
    time.sleep(moment_s)
    victim = workers[0] if kind == "worker" else processes[kind]
    late = not processes["client"].is_alive()
    os.kill(victim.pid, signal.SIGKILL)
    done = int((status(out)["state"] == "done").sum())
    if kind == "worker":
        workers.append(start(worker, address))
    killed = time.time()
    processes["client"].join(120)
    ended = processes["client"].exitcode
    for process in [*workers, *processes.values()]:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    alone = kind == "worker" and ended == 0 and tables(out) == wanted
    run(root, out, progress=False)
    left = left_over(out) - left_over(root.parent / "one")
    return {
        "kind": kind, "after": after, "done": done, "exit": ended, "alone": alone, "same": tables(out) == wanted,
        "left": len(left), "wait_s": time.time() - killed, "late": late,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", default=["worker", "scheduler", "client"])
    options = parser.parse_args()
    importlib.import_module("distributed")  # once, before processes are forked
    folder = Path(tempfile.mkdtemp(prefix="ipha-kills-"))
    root = cohort(folder / "cohort")
    begun = time.time()
    run(root, folder / "one", progress=False)
    length_s = time.time() - begun
    wanted = tables(folder / "one")
    rng = np.random.default_rng(0)
    lines = ["| killed | moments | tables the same | run ended by itself | sessions done at the kill | leftovers |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for kind in options.kinds:
        found = []
        for n in range(options.moments):
            out = folder / f"{kind}-{n}"
            after, moment_s = int(rng.integers(0, SESSIONS - 3)), float(rng.uniform(0, length_s / SESSIONS))
            while (tried := one(kind, after, moment_s, root, out, wanted))["late"]:
                after //= 2  # the run had ended before it was killed: that is no kill
                shutil.rmtree(out)
            found.append(tried)
            print(found[-1], flush=True)
            shutil.rmtree(out)
        done = [one["done"] for one in found]
        same, alone, left = (sum(map(bool, (one[key] for one in found))) for key in ("same", "alone", "left"))
        ended = f"{alone}" if kind == "worker" else "taken up by one process"
        lines.append(
            f"| {kind} | {len(found)} | {same} | {ended} | {min(done)} to {max(done)} of {SESSIONS} | {left} |"
        )
    text = (
        f"# kill -9 of Dask's parts\n\n{SESSIONS} sessions, one of them broken; two workers.\n\n"
        + "\n".join(lines)
        + "\n"
    )
    (Path(__file__).parent / "results" / "dask_kills.md").write_text(text, "utf-8")
    print(text)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
