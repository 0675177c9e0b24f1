"""The campaign of faults: a short form in every test run, the long one by ``python -m pytest --faults``.

Every fault is tried in a process of its own, in the code of this tree; with ``--faults-before DIR`` in that of another
tree as well, for the table in ``benchmarks/results/faults.md``.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import folders
import images
import numpy as np
import processes
import pytest
import strange
from lab import BAD, SOON, Lab

ROOT = Path(__file__).parents[2]
BEFORE = Path(__file__).with_name("before.json")
KINDS = {
    "bit flipped or end cut in a compressed image": (images.damaged_bytes, 36, 900),
    "header field of nonsense (MetaImage, NRRD, NIfTI)": (images.lying_headers, 48, 1100),
    "bytes of any kind behind a header's beginning": (images.random_bytes, 24, 600),
    "pipe, socket, device, folder or broken link as a file": (folders.endless_files, 8, 48),
    "image, mask or sidecar mistaken or damaged as a whole": (strange.odd_bytes, 4, 75),
    "command with odd words, streams, limits, surroundings": (strange.odd_commands, 2, 57),
    "table of participants, oddly spelled": (folders.odd_tables, 3, 24),
    "file of the results damaged": (folders.damaged_results, 4, 176),
    "results of which a session is gone or another's, looked at": (folders.read_results, 3, 60),
    "what a run keeps for itself (locks, marks, folders) taken": (folders.runs_own, 2, 42),
    "file of the user's in the results": (folders.users_files, 1, 18),
    "image unreadable since, session gone, data behind a header changed": (folders.sessions_gone, 2, 24),
    "parent of two workers killed": (processes.killed, 2, 50),
    "killed while a session's results are written, not yet reaped": (processes.killed_writing, 40, 1500),
    "killed at any step that changes the results, not yet reaped": (processes.killed_at_steps, 4, 120),
    "one worker of two killed": (processes.worker_killed, 0, 10),
    "SIGTERM, Ctrl-C with two workers": (processes.stopped, 2, 24),
    "two runs at once into one folder": (processes.two_at_once, 1, 14),
    "full disk": (processes.full_disks, 2, 30),
    "read-only installation, no home": (processes.no_home, 0, 2),
}
"""What is tried, how often in the short form and in the long."""

HEAD = """# Faults: what ends badly, before and after

Written by `python -m pytest --faults`, which runs the campaign of `tests/faults/`. Before is commit 1875758.

- **silent**: damaged data measured or believed without a word.
- **killed**: the process ended by a signal nobody sent.
- **hung**: not over in time (5 s after a signal, 300 s for a command).
- **lost**: results or a user's file gone, or not the same after running again.
- **traceback**: an inner error shown in place of a refusal.
- **unheard**: something was left out or damaged, and nothing named it.

"""


@pytest.fixture(scope="module")
def lab():
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        made = Lab(ROOT, place)
        yield made
        made.close()


@pytest.mark.parametrize("kind", [kind for kind, (_, few, _) in KINDS.items() if few])
def test_no_fault_ends_badly(lab, kind, request):
    if request.config.getoption("--faults"):
        pytest.skip("the long form is run in its place")
    attempt, few, _ = KINDS[kind]
    tally = attempt(lab, np.random.default_rng([7, few]), few)
    assert not tally.bad, "\n".join(tally.cases)


def test_no_fault_of_the_long_form_ends_badly(request):
    """Hours where the machine is slow: ``--faults-share 0.1`` tries a tenth of the faults."""
    if not request.config.getoption("--faults"):
        pytest.skip("python -m pytest --faults runs the long form")
    share, before = request.config.getoption("--faults-share"), request.config.getoption("--faults-before")
    if before:
        BEFORE.write_text(json.dumps(campaign(Path(before), share)[0], indent=1) + "\n")
    known = json.loads(BEFORE.read_text()) if BEFORE.exists() else {}

    def keep(after, seconds):
        (ROOT / "benchmarks/results/faults.md").write_text(report(known, after, seconds))

    cases = campaign(ROOT, share, keep)[1]
    assert not cases, "\n".join(cases)


def campaign(code, share, keep=None):
    """Figures by kind, how many were tried and how many ended badly, by how; the cases.

    ``keep`` takes the figures and the seconds after every kind: what was found stays if the rest is stopped.
    """
    figures, cases, begun = {}, [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        lab = Lab(code, place, SOON)
        for number, (kind, (attempt, _, many)) in enumerate(KINDS.items()):
            tally = attempt(lab, np.random.default_rng([11, number]), max(1, round(share * many)))
            figures[kind] = {"tried": tally.tried, **{how: tally.bad[how] for how in BAD}}
            cases += [f"{kind}: {case}" for case in tally.cases]
            if keep:
                keep(figures, time.monotonic() - begun)
            print(kind, figures[kind], f"{time.monotonic() - begun:.0f} s", *tally.cases[:5], sep="\n  ", flush=True)
        lab.close()
    return figures, cases


def report(before, after, seconds):
    """The table of both."""
    columns = ["kind", "when", "tried", *BAD]
    lines = [f"| {' | '.join(columns)} |", f"| --- | --- | {' | '.join(['---:'] * (len(BAD) + 1))} |"]
    for kind, now in after.items():
        for when, figures in (("before", before.get(kind)), ("after", now)):
            cells = [kind, when, *(figures[how] for how in ("tried", *BAD))] if figures else []
            lines += [f"| {' | '.join(map(str, cells))} |"] if cells else []
    tried = sum(figures["tried"] for figures in after.values())
    bad = sum(figures[how] for figures in after.values() for how in BAD)
    run = f"{tried} faults of {len(after)} of {len(KINDS)} kinds in {seconds / 60:.0f} minutes"
    return f"{HEAD}After: {run}, {bad} ended badly.\n\n" + "\n".join(lines) + "\n"
