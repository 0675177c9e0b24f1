"""Runs that are killed while they write a session's results, not reaped, and cleared away after: a line for what stays.

``python dying.py PLACE SEED COUNT`` in the code under test; a process of its own, since it forks.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from ipha_toolkit.io import drafts, marks
from ipha_toolkit.io.locks import locked

LABEL = "sub-1_ses-1"


def write(out, target):
    """As a run does, with files that are made in no time."""
    with locked(drafts.lock_of(target), LABEL), marks.begun(out, LABEL), drafts.draft_of(target) as draft:
        for number in range(6):
            (draft / f"f{number}").write_text("x" * 2000)
        drafts.put(draft, target)


def killed(out, target, seconds):
    """Number of a process that writes again and again until it is killed, and keeps its number."""
    hears, says = os.pipe()
    if (number := os.fork()) == 0:
        os.write(says, b".")
        while True:
            write(out, target)
    os.read(hears, 1)
    time.sleep(seconds)
    os.kill(number, signal.SIGKILL)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    os.close(hears)
    os.close(says)
    return number


def left(out):
    """What a run leaves that was killed, of whichever kind."""
    hidden = [path for path in out.rglob(".*") if path.name != marks.FOLDER]
    return sorted(str(path.relative_to(out)) for path in [*hidden, *(out / marks.FOLDER).glob("*")])


def main(place, seed, count):
    """Kill, clear, look."""
    chance, out = random.Random(seed), Path(place)
    target = out / "sub-1" / "ses-1"
    for _ in range(count):
        number = killed(out, target, chance.uniform(0, 0.004))
        drafts.clear_leftovers(out)
        marks.clear_dead(out, [(LABEL, target)])
        stays = left(out)
        print(" ".join(stays), flush=True)
        os.waitpid(number, 0)
        if stays:
            shutil.rmtree(out / "sub-1", ignore_errors=True)
            shutil.rmtree(out / marks.FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
