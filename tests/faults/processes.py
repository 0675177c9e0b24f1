"""Faults of processes and disks: killed, stopped, two at once, no room, no home."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import ALONE, Tally, contents, end, fell, same

WORKERS = ("--workers", "2")


def _begun(lab, folder, rng, latest=6.0):
    """An analysis with two workers, somewhere in its work: any moment of ``latest`` seconds."""
    process = lab.start("analyze", folder / "cohort", "--out", folder / "out", *WORKERS)
    until = time.monotonic() + float(rng.uniform(0.05, latest))
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    return process


def _resumed(lab, folder):
    """How running again ended: empty where the results are what they have to be."""
    answer = lab.analyze(folder, *ALONE)
    known = (".lock", ".state")  # what runs are at work, and which sessions there are
    left = [path for path in (folder / "out").rglob(".*") if not path.name.endswith(known)]
    if fell(answer):
        return fell(answer), answer["err"]
    good = same(contents(folder / "out"), lab.reference) and not left
    return "" if good else "lost", f"{answer['err']} {left}"


@contextlib.contextmanager
def unreaped():
    """Processes that lose their parent keep their numbers when they have ended, as in a container without an init."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    groups = []
    try:
        yield groups
    finally:
        ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)
        for number in groups:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-number, os.WNOHANG)[0]:
                    pass


def _writing(lab, folder, rng):
    """An analysis with two workers, of which one has begun to write."""
    process = _begun(lab, folder, rng, 0.05)
    while process.poll() is None and not any((folder / "out").glob("sub-*/.draft-*")):
        time.sleep(0.001)
    time.sleep(float(rng.uniform(0, 0.05)))
    return process


def killed(lab, rng, count):
    """The parent of two workers killed at any moment, or while one writes: they end, and the next run goes on."""
    tally = Tally()
    for n in range(count):
        folder = lab.cohort()
        with unreaped() as groups:
            process = (_begun, _writing)[n % 2](lab, folder, rng)
            groups.append(process.pid)
            process.send_signal(signal.SIGKILL)
            _, ended = end(process, lab.soon)
            outcome, words = _resumed(lab, folder)
        tally.count(words[-300:], outcome if ended else "hung")
    return tally


def killed_writing(lab, rng, count):
    """Killed while it writes a session, and not yet reaped: what the next run clears away, it clears whole."""
    tally = Tally()
    command = [sys.executable, str(Path(__file__).with_name("dying.py")), lab.new(), rng.integers(1000), count]
    done = subprocess.run(map(str, command), env=lab.environment, capture_output=True, text=True)
    for stays in done.stdout.splitlines():
        tally.count(stays, "lost" if stays else "")
    if tally.tried != count:
        tally.count(done.stderr[-400:], "traceback")
    return tally


def killed_at_steps(lab, rng, count):
    """A run killed before any step that changes its folder, and not yet reaped: the next run leaves what it has to."""
    tally, folder = Tally(), lab.cohort()
    told = folder / "told"
    lab.analyze(folder, *ALONE, steps=str(folder / "out"), told=str(told))
    steps = int(told.read_text())
    for last in sorted(rng.permutation(steps)[:count] + 1):
        folder = lab.cohort()
        fallen = lab.analyze(folder, *ALONE, steps=str(folder / "out"), last=int(last), unreaped=True)
        outcome, words = _resumed(lab, folder)
        tally.count(f"step {last} of {steps}: {words[-300:]}", outcome if fallen["code"] == -9 else "unheard")
    return tally


def _worker_of(process):
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words, line = path.read_text().rpartition(")")[2].split(), (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == process.pid and b"spawn_main" in line:
            return int(path.parent.name)
    return 0


def worker_killed(lab, rng, count):
    """One worker of two killed: the run ends with what it could measure, and the next with all."""
    tally = Tally()
    for _ in range(count):
        folder = lab.cohort()
        process = _begun(lab, folder, rng)
        pid = _worker_of(process)
        if pid:
            os.kill(pid, signal.SIGKILL)
        words, ended = end(process)
        outcome = fell({"code": process.returncode, "out": words, "err": ""}) if ended else "hung"
        again, more = _resumed(lab, folder)
        tally.count((words + more)[-300:], outcome or again)
    return tally


def stopped(lab, rng, count):
    """SIGTERM, or Ctrl-C as a terminal sends it, to all: soon over, no traceback, and the next run goes on."""
    tally = Tally()
    for n in range(count):
        folder = lab.cohort()
        process = _begun(lab, folder, rng)
        if n % 2:
            os.killpg(process.pid, signal.SIGINT) if process.poll() is None else None
        else:
            process.send_signal(signal.SIGTERM)
        words, ended = end(process, lab.soon)
        outcome = "" if ended else "hung"
        if "Traceback" in words or "Exception ignored" in words:
            outcome = "traceback"
        again, more = _resumed(lab, folder)
        tally.count(f"{'INT' if n % 2 else 'TERM'} {(words + more)[-600:]}", outcome or again)
    return tally


def two_at_once(lab, rng, count):
    """Two runs begun at once into one folder, with workers and without: both end well, with the results of one."""
    tally = Tally()
    for n in range(count):
        folder = lab.cohort()
        words = ("analyze", folder / "cohort", "--out", folder / "out", *(WORKERS if n % 2 else ALONE))
        first = lab.start(*words)
        time.sleep(float(rng.uniform(0, 1.5)))
        second = lab.start(*words)
        found = [end(process) for process in (first, second)]
        words = "".join(text for text, _ in found)
        outcome = "" if all(ended for _, ended in found) else "hung"
        outcome = outcome or fell({"code": 0, "out": words, "err": ""})
        if not outcome and (first.returncode or second.returncode):
            outcome = "lost"
        if not outcome and not same(contents(folder / "out"), lab.reference):
            outcome = "silent"
        tally.count(words[-400:], outcome)
    return tally


def can_mount():
    """Whether a small disk can be made here."""
    if os.getuid() or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
        if made.returncode == 0:
            subprocess.run(["umount", place], check=True)
        return made.returncode == 0


def full_disks(lab, rng, count):
    """Disks too small, from no room at all: said with the room needed; once there is room, all is there."""
    tally = Tally()
    if not can_mount():
        return tally
    needed = sum(map(len, lab.reference.values())) + 200_000
    sizes = [0, *sorted(int(size) for size in rng.integers(1, needed // 4096, count - 1))]
    for n, pages in enumerate(sizes):
        folder = lab.cohort()
        disk = folder / "disk"
        disk.mkdir()
        size = f"size={max(pages, 1) * 4096}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
        try:
            if not pages:
                (disk / "fill").write_bytes(bytes(4096))
            (folder / "out").symlink_to(disk / "out")
            target = disk / "out"
            answer = lab.cli("analyze", folder / "cohort", "--out", target, *(WORKERS if n % 2 else ALONE))
            outcome = fell(answer)
            words = answer["err"] + answer["out"]
            if not outcome and answer["code"] != 0 and not (str(disk) in words and "needed" in words):
                outcome = "unheard"
            subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
            again = lab.cli("analyze", folder / "cohort", "--out", target, *ALONE)
            outcome = outcome or fell(again)
            if not outcome and not same(contents(target), lab.reference | {}):
                outcome = "lost" if _differs(contents(target), lab.reference) else ""
            tally.count(f"{pages} pages: {words[-300:]} then {again['err'][-300:]}", outcome)
        finally:
            subprocess.run(["umount", disk], check=False)
    return tally


def _differs(found, reference):
    """Whether more differs than the place of the cohort, which a results folder elsewhere names otherwise."""
    return not same(_without_place(found), _without_place(reference))


def _without_place(found):
    """Less the file that names the cohort's place, and its digest."""
    rest = {name: text for name, text in found.items() if name != "dataset_description.json"}
    if "provenance.json" in rest:
        record = json.loads(rest["provenance.json"])
        record.pop("seal", None)
        record.get("written", {}).pop("dataset_description.json", None)
        rest["provenance.json"] = record
    return rest


def no_home(lab, rng, count):
    """An installation that may only be read, of a user whose home is not known."""
    tally = Tally()
    for _ in range(count):
        folder = lab.cohort()
        code = folder / "installed"
        kept = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
        shutil.copytree(lab.code / "ipha_toolkit", code / "ipha_toolkit", ignore=kept)
        _may_only_be_read(code)
        start = (
            f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
            f"import server; server.as_anybody(); {lab.main}"
        )
        words = {name: lab.environment[name] for name in ("PATH", "LANG") if name in lab.environment}
        environment = words | {"PYTHONPATH": str(code), "HOME": "/dev/null/home", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [
            sys.executable,
            "-c",
            start,
            "analyze",
            str(folder / "cohort"),
            "--out",
            str(folder / "out"),
            *lab.quiet,
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder, timeout=300)
        answer = {"code": done.returncode, "out": done.stdout, "err": done.stderr}
        good = done.returncode == 0 and not _differs(contents(folder / "out"), lab.reference)
        tally.count(done.stderr[-400:], fell(answer) or ("" if good else "unheard"))
        _may_only_be_read(code, 0o700)
    return tally


def _may_only_be_read(code, mode=0o500):
    for path in [code, *code.rglob("*")]:
        path.chmod(mode if path.is_dir() else mode & 0o600)
