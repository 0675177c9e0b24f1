"""Where faults are tried: the code under test behind a server, a small cohort, its results, and the tally."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from toys import put_participants, put_session, toy_mr

HERE = Path(__file__).parent
BAD = ("silent", "killed", "hung", "lost", "traceback", "unheard")
LONG = 300.0
"""Seconds after which something hangs, on whatever machine; no test is to end by it."""
SOON = 5.0
"""Seconds within which a run that is told to stop is over, on a machine that does nothing else."""
ALONE = ("--workers", "1")
"""For runs of which no more is asked than what they give: no process is started that has to import everything."""
MAIN = "import sys; from ipha_toolkit.__main__ import main; sys.exit(main())"
OLD_MAIN = "import sys; from ipha_toolkit.cli import main; sys.exit(main())"
"""Of trees before ``ipha`` began there."""


@dataclass
class Tally:
    """How many faults were tried, and how many ended badly, by how."""

    tried: int = 0
    bad: Counter = field(default_factory=Counter)
    cases: list[str] = field(default_factory=list)

    def count(self, case, outcome=""):
        """One fault: ``outcome`` is empty where all was well."""
        self.tried += 1
        if outcome:
            self.bad[outcome] += 1
            self.cases.append(f"{outcome}: {case}")


class Lab:
    """A copy of the code under test with everything a fault needs.

    Parameters
    ----------
    code : Path
        Folder that holds ``ipha_toolkit``.
    place : Path
        For what is made.
    soon : float, optional
        Seconds within which a run that is told to stop is over: the long form measures that on a machine of its own.
    """

    def __init__(self, code, place, soon=LONG):
        self.code, self.place, self.soon = Path(code), Path(place), soon
        self.main = MAIN if (self.code / "ipha_toolkit/__main__.py").exists() else OLD_MAIN
        self.environment = os.environ | {"PYTHONPATH": str(self.code), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(HERE / "server.py")]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment, cwd=self.place
        )
        assert "ready" in json.loads(self._server.stdout.readline())
        self._numbered = 0

    def close(self):
        """End the server."""
        self._server.stdin.close()
        self._server.wait(LONG)
        self._server.stdout.close()

    def ask(self, **job):
        """What came of a job; see ``server.py``."""
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def cli(self, *argv, **job):
        """Run a command, without a progress bar where this version knows the option."""
        return self.ask(argv=[*(str(word) for word in argv), *self.quiet], **job)

    @property
    def quiet(self):
        """``-q`` where it is known."""
        if not hasattr(self, "_quiet"):
            self._quiet = ["-q"] if "--quiet" in self.ask(argv=["analyze", "--help"])["out"] else []
        return self._quiet

    def analyze(self, folder, *argv, **job):
        """Analyze ``folder/cohort`` into ``folder/out``."""
        return self.cli("analyze", folder / "cohort", "--out", folder / "out", *argv, **job)

    def start(self, *argv, **options):
        """Start a command in a process group of its own."""
        command = [sys.executable, "-c", self.main, *map(str, argv), *self.quiet]
        return subprocess.Popen(
            command, env=self.environment, cwd=self.place, start_new_session=True, text=True, preexec_fn=_hears_ctrl_c,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip

    def new(self):
        """A new folder."""
        self._numbered += 1
        folder = self.place / f"f{self._numbered}"
        folder.mkdir()
        return folder

    def cohort(self):
        """A new folder with the small cohort, not analyzed."""
        folder = self.new()
        small_cohort(folder / "cohort")
        return folder

    def analyzed(self):
        """A new folder with the small cohort and its results."""
        first = self.place / "analyzed"
        if not first.exists():
            small_cohort(first / "cohort")
            done = self.analyze(first, *ALONE)
            assert done["code"] == 0, done
        folder = self.new()
        shutil.copytree(first, folder, dirs_exist_ok=True)
        return folder

    @property
    def reference(self):
        """What the results have to be."""
        if not hasattr(self, "_reference"):
            self._reference = contents(self.analyzed() / "out")
        return self._reference


def _hears_ctrl_c():
    """As a terminal's process does: one started in the background would pass on that it does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def small_cohort(root):
    """A control and a patient with T1w, masks as of another tool."""
    for seed, (subject, lung) in enumerate({"sub-c1": 20, "sub-p1": 50}.items()):
        put_session(root, subject, "ses-1", [toy_mr(lung=lung, seed=seed)])
    put_participants(root, {"sub-c1": "control", "sub-p1": "iph"})


def contents(out):
    """Every file of a results folder but logs, which hold times."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "log.txt"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def fell(answer):
    """How a process ended badly, whatever it was to do; empty where it did not."""
    if answer["code"] == "hung":
        return "hung"
    if answer["code"] < 0:
        return "killed"
    words = answer["out"] + answer["err"]
    bad = ("Traceback (most recent call last)", "Exception ignored", "During handling")
    return "traceback" if any(text in words for text in bad) or answer["code"] in (70,) else ""


def same(found, reference):
    """Whether results are those of the reference; what was kept aside does not count."""
    return {name: content for name, content in found.items() if ".kept" not in name} == reference


def group(process):
    """Processes of a process's group that are alive."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == process.pid and words[0] != "Z":
            alive.append(int(path.parent.name))
    return alive


def end(process, seconds=LONG):
    """Wait for a process and all of its group; text of both streams, and whether all ended in time."""
    begun, texts = time.monotonic(), ("", "")
    with contextlib.suppress(subprocess.TimeoutExpired):
        texts = process.communicate(timeout=seconds)
    while group(process) and time.monotonic() - begun < seconds:
        time.sleep(0.02)
    left = group(process)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left or process.poll() is None:
        texts = process.communicate()
    return "".join(texts), not left
