"""Runs in the code under test, whichever that is: a process a fault, forked from one that has imported everything.

A line of JSON in, ``{"argv": [...]}`` or ``{"load": path, "modality": ...}`` with ``timeout`` and ``cwd``; a line out.
``steps``, ``last`` and ``told`` are those of :func:`count_steps`; ``unreaped`` leaves the process as its parent had not
asked for its end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path


def load(path, modality):
    """Read an image; 0 and a digest of what was read, 3 and the refusal, 4 and any other exception."""
    from hashlib import sha256

    import numpy as np

    import ipha_toolkit as ipha
    from ipha_toolkit.errors import IphaError

    try:
        volume = ipha.load(path, modality=modality)
        print(sha256(np.ascontiguousarray(volume.array).tobytes()).hexdigest())
        return 0
    except IphaError as error:
        print(error)
        return 3
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        return 4


def explore(results):
    """Open results and make a page of them; 0, 3 and the refusal, 4 and any other exception."""
    import ipha_toolkit
    from ipha_toolkit.errors import IphaError
    from ipha_toolkit.io.results import open_results

    try:
        opened = open_results(results)
        made = ipha_toolkit.explore(opened)
        for label in made.table()["label"]:
            made.session = label
        print(len(made.to_html()))
        return 0
    except IphaError as error:
        print(error)
        return 3


def as_anybody():
    """Let go of root's right to open every file, where this is root; Linux only."""
    import ctypes

    libc = ctypes.CDLL(None)
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, right, 0, 0, 0)
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    libc.capget(head, held)
    for n in range(3):
        held[n] &= ~0b110
    libc.capset(head, held)


STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}


def count_steps(place, last, told):
    """End by signal 9 before the ``last`` step that changes a folder; the file ``told`` hears how many there were."""
    done = [0]

    def step(event, words):
        if event not in STEPS or not any(
            isinstance(word, str | os.PathLike) and str(word).startswith(place) for word in words[:2]
        ):
            return
        if event == "open" and not (isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        done[0] += 1
        if told:
            os.pwrite(told, f"{done[0]:9}".encode(), 0)
        if done[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)


def child(job, out, err):
    os.setsid()
    for number, path in ((1, out), (2, err)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    os.chdir(job.get("cwd", "/"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job.get("plain"):
        as_anybody()
    if "steps" in job:
        told = os.open(job["told"], os.O_WRONLY | os.O_CREAT) if "told" in job else 0
        count_steps(job["steps"], job.get("last", 0), told)
    code = 70
    try:
        if "load" in job:
            code = load(job["load"], job["modality"])
        elif "explore" in job:
            code = explore(job["explore"])
        else:
            from ipha_toolkit.cli import main

            sys.argv = ["ipha", *job["argv"]]
            code = main(job["argv"])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(job):
    with tempfile.TemporaryDirectory() as folder:
        out, err = f"{folder}/out", f"{folder}/err"
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(job, out, err)
        status = None
        while time.monotonic() - begun < job.get("timeout", 300):
            if job.get("unreaped"):  # has ended, and keeps its number as long as this server lives
                done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                killed = done and done.si_code != os.CLD_EXITED
                status = done and (done.si_status if killed else done.si_status << 8)
            else:
                done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            time.sleep(0.002)
        else:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = None
        texts = [Path(path).read_text(errors="replace") if Path(path).exists() else "" for path in (out, err)]
        code = "hung" if status is None else os.waitstatus_to_exitcode(status)
        return {"code": code, "out": texts[0][-20_000:], "err": texts[1][-20_000:], "seconds": time.monotonic() - begun}


def warm():
    """Import what every job needs, and compile nothing."""
    import ipha_toolkit

    for name in (
        "cli",
        "io.images",
        "run.check",
        "run.cohort",
        "cohort",
        "run.steps.mr",
        "run.steps.nodules",
        "run.machine",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"ipha_toolkit.{name}")
    others = (
        "nibabel", "SimpleITK", "tomlkit", "encodings.utf_8_sig", "scipy.ndimage", "scipy.stats", "scipy.interpolate",
        "skimage.measure", "skimage.morphology", "skimage.segmentation", "skimage.transform", "skimage.filters",
    )  # fmt: skip
    for name in others:
        importlib.import_module(name)
    with contextlib.suppress(ImportError, AttributeError):  # half a second of every process that measures
        registry = importlib.import_module("numba.core.registry").cpu_target
        registry.typing_context.refresh()
        registry.target_context.refresh()
    return ipha_toolkit.__version__


if __name__ == "__main__":
    print(json.dumps({"ready": warm()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)
