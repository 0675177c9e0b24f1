"""Dask beside the process pool. The long form, kill -9 at random moments, is benchmarks/dask_kills.py."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from toys import put_participants, put_session, toy_ct, toy_masks

from ipha_toolkit.cli import main
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import drafts, marks
from ipha_toolkit.io.locks import locked
from ipha_toolkit.run import cluster
from ipha_toolkit.run.cluster import ClusterError, connect
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.status import status

distributed = pytest.importorskip("distributed", reason="Dask is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*Sending large graph.*")
LONG = 600
"""Seconds; no test is to end by it."""
TABLES = ("measures.tsv", "readings.tsv", "findings.tsv", "failures.tsv")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Five sessions, the second of them broken."""
    root = tmp_path_factory.mktemp("dask") / "cohort"
    for n in range(5):
        put_session(root, f"sub-{n}", "ses-1", [toy_ct(seed=n, lung=-850 + n)])
    put_participants(root, {f"sub-{n}": "control" if n % 2 else "iph" for n in range(5)})
    (root / "sub-1/ses-1/ct/sub-1_ses-1_ct.nii.gz").write_bytes(b"cut short")
    return root


@pytest.fixture(scope="module")
def wanted(cohort, tmp_path_factory):
    """What one process gives."""
    return tables(run(cohort, tmp_path_factory.mktemp("one"), progress=False).out)


@pytest.fixture(scope="module")
def threads():
    """A cluster within this process, which costs next to nothing."""
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client


def tables(out):
    return {name: (out / name).read_bytes() for name in TABLES}


def test_a_client_gives_the_tables_of_one_process(cohort, tmp_path, threads, wanted):
    analysis = run(os.path.relpath(cohort), os.path.relpath(tmp_path / "out"), client=threads, progress=False)
    assert (analysis.measured, len(analysis.failures)) == (5, 1)
    assert tables(tmp_path / "out") == wanted
    assert run(cohort, tmp_path / "out", client=threads, progress=False).skipped == 4
    left = [path.name for path in (tmp_path / "out" / marks.FOLDER).iterdir()]
    assert left == ["plan.tsv.json"]  # the digest of the plan; neither mark nor token


def test_workers_that_see_other_folders_are_refused_before_anything_is_measured(cohort, tmp_path, threads, monkeypatch):
    monkeypatch.setattr(marks, "has_token", lambda out, run: False)
    with pytest.raises(LayoutError, match=r"Dask worker inproc.*out: is not the same folder here.*shared"):
        run(cohort, tmp_path / "out", client=threads, progress=False)
    assert set(status(tmp_path / "out")["state"]) == {"to do"}


def test_a_worker_that_comes_later_and_sees_others_stops_the_run_as_well(cohort, tmp_path, threads, monkeypatch):
    monkeypatch.setattr(cluster, "_require_same", lambda *_: None)
    monkeypatch.setattr(marks, "has_token", lambda out, run: False)
    with pytest.raises(LayoutError, match="is not the same folder here"):
        run(cohort, tmp_path / "out", client=threads, progress=False)


def test_a_worker_that_leaves_while_it_is_asked_is_no_unlike_one(cohort, tmp_path, threads, wanted, monkeypatch):
    gone = distributed.comm.CommClosedError("in <TCP (closed)>: Stream is closed")
    monkeypatch.setattr(threads, "run", lambda *_, **__: {"tcp://127.0.0.1:9": gone})
    run(cohort, tmp_path / "out", client=threads, progress=False)
    assert tables(tmp_path / "out") == wanted


def test_workers_of_another_installation_are_refused_by_name(cohort, tmp_path, threads, monkeypatch):
    from ipha_toolkit.run import provenance, worker

    monkeypatch.setattr(worker, "_TRUSTED", set())
    real = provenance.first_pass
    calls = []

    def other(files, root, context):
        calls.append(files.label)
        found = real(files, root, context)
        late = len(calls) > 5  # the five of the client come first
        return found | {"versions": found["versions"] | {"numpy": "1.0"}} if late else found

    monkeypatch.setattr(provenance, "first_pass", other)
    with pytest.raises(LayoutError, match=r"another installation than the client's: numpy 1\.0 for "):
        run(cohort, tmp_path / "out", client=threads, progress=False)


def test_workers_beside_a_client_are_refused(cohort, tmp_path, threads):
    with pytest.raises(ValueError, match="give workers or a client"):
        run(cohort, tmp_path / "out", client=threads, workers=2)


def test_no_scheduler_is_one_clear_line(cohort, tmp_path, capsys, monkeypatch):
    def no_answer(*_, **__):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", no_answer)
    assert main(["analyze", str(cohort), "--out", str(tmp_path / "o"), "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "--scheduler tcp://127.0.0.1:1: no Dask scheduler answers there" in capsys.readouterr().err
    with pytest.raises(ValueError, match="has workers of its own"), connect("tcp://127.0.0.1:1", workers=2):
        pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--memory-limit", "4GB"], "--memory-limit is of the workers of --scheduler local"),
        (["--scheduler", "local", "--memory-limit", "lots"], "--memory-limit lots: is a size of memory"),
        (["--scheduler", "local", "--memory-limit", "0.5"], "--memory-limit 0.5: is a size of memory"),
        (["--scheduler", "locl"], "--scheduler locl: no Dask scheduler answers there: missing port number"),
    ],
)
def test_options_that_cannot_be_meant_are_one_line(cohort, tmp_path, capsys, given, said):
    assert main(["analyze", str(cohort), "--out", str(tmp_path / "o"), *given]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "o").exists()


def test_a_worker_that_cannot_open_what_it_is_sent_is_told_to_share_the_environment(
    cohort, tmp_path, threads, monkeypatch
):
    def no_such_module(*_):
        raise ModuleNotFoundError("No module named 'pathlib._local'")

    monkeypatch.setattr(cluster, "look", no_such_module)
    said = r"No module named 'pathlib\._local'; use one environment for client, scheduler and workers \(here: Python 3"
    with pytest.raises(LayoutError, match=f"Dask worker inproc.*{said}"):
        run(cohort, tmp_path / "out", client=threads, progress=False)
    monkeypatch.setattr(cluster, "_require_same", lambda *_: None)
    monkeypatch.setattr(cluster, "measure_packed", no_such_module)
    with pytest.raises(ClusterError, match=f"sub-.*_ses-1: a Dask worker could not begin it: .*{said}"):
        run(cohort, tmp_path / "out", client=threads, progress=False)


def test_what_is_said_meanwhile_stands_above_the_bar(cohort, tmp_path, capsys):
    """Each on a line of its own, and a run with nothing to measure draws no bar."""
    arguments = ["analyze", str(cohort), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--participant-label", "2", "--workers", "1", "-v"]) == 0
    said = capsys.readouterr().err
    begun = next(line for line in said.replace("\r", "\n").splitlines() if "INFO sub-2_ses-1 begun" in line)
    assert "Measuring" in said and "Measuring" not in begun
    assert main([*arguments, "--participant-label", "2", "--workers", "1"]) == 0
    assert "Measuring" not in capsys.readouterr().err


def test_without_dask_the_command_says_how_to_get_it(cohort, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["analyze", str(cohort), "--out", str(tmp_path / "o"), "--scheduler", "local"]) == 2
    assert "pip install 'ipha-toolkit[dask]'" in capsys.readouterr().err


def dies(volume):
    """A segmenter that takes its process down, as running out of memory does."""
    if volume.array.max() > 3000:
        os.kill(os.getpid(), signal.SIGKILL)
    return toy_masks()[0]


def test_a_session_that_kills_its_worker_twice_is_a_failure_and_takes_no_other_with_it(tmp_path):
    for n in range(4):
        ct = toy_ct(seed=n)
        array = ct.array.copy()
        array[0, 0, 0] = 5000 if n == 1 else -1000
        put_session(tmp_path / "in", f"sub-{n}", "ses-1", [ct.replace(array=array)], masks=False)
    with connect("local", workers=1, memory_limit="2GB") as client:
        analysis = run(tmp_path / "in", tmp_path / "out", client=client, segment=dies, progress=False)
    assert [failure["subject"] for failure in analysis.failures] == ["sub-1"]
    text = analysis.failures[0]["error"]
    assert "sub-1_ses-1: the worker process died" in text and "2 times, with 2.0 GB of memory a worker" in text
    assert set(analysis.rows["subject"]) == {"sub-0", "sub-2", "sub-3"}
    assert status(tmp_path / "out")["state"].tolist() == ["done", "failed", "done", "done"]


def address_in(file, scheduler):
    """What a scheduler writes once it is there."""
    until = time.monotonic() + LONG
    while time.monotonic() < until and scheduler.poll() is None:
        with suppress(OSError, ValueError):
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    pytest.fail("the scheduler did not start")


@pytest.fixture
def by_hand(tmp_path):
    """A scheduler and a worker started by their commands; yields the address and a way to start more."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "dask", *arguments]
        there = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # segmenters of these tests
        started.append(subprocess.Popen(command, env=there, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return started[-1]

    file = tmp_path / "scheduler.json"
    scheduler = start("scheduler", "--scheduler-file", str(file), "--port", "0", "--no-dashboard")
    yield address_in(file, scheduler), start, scheduler
    for process in started:
        process.kill()
        process.wait()


def test_two_workers_started_by_hand_and_a_scheduler_that_is_killed(cohort, tmp_path, by_hand, wanted, monkeypatch):
    address, start, scheduler = by_hand
    send = cluster._send
    for _ in range(2):
        start("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
    with connect(address) as client:
        client.wait_for_workers(2, timeout=LONG)
        run(cohort, tmp_path / "whole", client=client, progress=False)
        assert tables(tmp_path / "whole") == wanted
        monkeypatch.setattr(cluster, "_send", lambda *given: (scheduler.kill(), send(*given))[1])
        with pytest.raises(ClusterError, match="went away"):
            run(cohort, tmp_path / "out", client=client, progress=False)
    assert run(cohort, tmp_path / "out", progress=False).measured >= 1
    assert tables(tmp_path / "out") == wanted


def hungry(volume):
    """A segmenter that takes more memory than a worker has."""
    held = np.ones(1_200_000_000, np.uint8)
    time.sleep(LONG)  # it is killed long before
    return toy_masks()[held[0] - 1]


def test_a_session_that_passes_the_memory_of_a_worker_is_named_with_the_limit(tmp_path):
    put_session(tmp_path / "in", "sub-0", "ses-1", [toy_ct()], masks=False)
    with connect("local", workers=1, memory_limit="1GB") as client:
        analysis = run(tmp_path / "in", tmp_path / "out", client=client, segment=hungry, progress=False)
    assert "sub-0_ses-1: the worker process died: out of memory" in analysis.failures[0]["error"]
    assert "with 1.0 GB of memory a worker" in analysis.failures[0]["error"]


def slow(volume):
    time.sleep(1.5)
    return toy_masks()[0]


def test_a_worker_whose_time_is_over_loses_nothing(tmp_path, by_hand):
    address, start, _ = by_hand
    for n in range(4):
        put_session(tmp_path / "in", f"sub-{n}", "ses-1", [toy_ct(seed=n)], masks=False)
    wanted = tables(run(tmp_path / "in", tmp_path / "one", segment=lambda _: toy_masks()[0], progress=False).out)
    plain = ("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
    short = start(*plain, "--lifetime", "4s")
    with connect(address) as client:
        after = threading.Thread(target=lambda: (short.wait(), start(*plain)))
        after.start()
        client.wait_for_workers(1, timeout=LONG)  # on a slow machine the time of the first may be over by now
        found = run(tmp_path / "in", tmp_path / "out", client=client, segment=slow, progress=False)
        after.join()
    assert (found.measured, found.failures) == (4, []) and short.returncode is not None
    assert tables(tmp_path / "out") == wanted


def test_what_a_client_killed_mid_run_leaves_is_taken_up_by_the_next_run(cohort, tmp_path, by_hand, wanted):
    address, start, _ = by_hand
    start("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ipha_toolkit", "analyze", str(cohort), "--out", str(out), "--scheduler", address]
    run(cohort, out, participant_label="0", level="participant", progress=False)
    with locked(drafts.lock_of(out / "sub-2" / "ses-1"), "one session, so that the run cannot end before it is killed"):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as client:
            while client.poll() is None and not any((out / marks.FOLDER).glob("*.running.json")):
                time.sleep(0.01)
            client.kill()
        assert client.returncode < 0
        assert (status(out)["state"] == "done").sum() < 4 and not (out / "measures.tsv").exists()
    assert run(cohort, out, progress=False).measured >= 1
    assert tables(out) == wanted
