"""The command line: a thin layer over the functions of the package."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ipha_toolkit.arguments import parser
from ipha_toolkit.errors import IphaError, LayoutError, in_words
from ipha_toolkit.io.room import is_full, no_room
from ipha_toolkit.io.terminal import AboveBar, PlainFormatter, heard, say, warn
from ipha_toolkit.run.stopping import STOPPED, stopped_by_ctrl_c, words

if TYPE_CHECKING:
    from distributed import Client

    from ipha_toolkit.run.plan import ImportPlan


_STAMP = "%(asctime)s %(levelname)s"
_LOG_BEGINS = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@heard
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``ipha`` command; returns its exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not given:
        parser().print_help(sys.stderr)
        return 2
    options = parser().parse_args(given)
    try:
        with stopped_by_ctrl_c(f"ipha {options.command}"):
            _start_log(options)
            return _RUN[options.command](options)
    except (IphaError, ValueError, OSError) as error:
        full = isinstance(error, OSError) and not isinstance(error, IphaError) and is_full(error)
        warn(f"ipha {options.command}: {no_room(_written_to(options)) if full else in_words(error)}")
        return 2
    except MemoryError:
        warn(f"ipha {options.command}: no memory is left; give fewer --workers, or use a machine with more")
        return 2
    except KeyboardInterrupt as stop:
        if not stop.args:  # not by Ctrl-C here, which has said so
            warn(f"\n{words(f'ipha {options.command}')}")
        return STOPPED


def _written_to(options: argparse.Namespace) -> Path:
    """The folder that a command writes into."""
    out = Path(getattr(options, "out", None) or getattr(options, "cohort", None) or ".")
    return out.parent if out.suffix else out


def _start_log(options: argparse.Namespace) -> None:
    """Send the log to the terminal and, with ``--log``, to a file; each session keeps one of its own as well."""
    logging.raiseExceptions = False  # a log that cannot be written is no reason for a traceback
    logger = logging.getLogger("ipha_toolkit")
    loud = 0 if options.quiet else options.verbose
    shown, line = AboveBar({0: logging.WARNING, 1: logging.INFO}.get(loud, logging.DEBUG)), "%(message)s"
    if not loud:  # what is said of an image stands in its session's log, and as a flag of its rows
        shown.addFilter(lambda record: record.name != "ipha_toolkit.run.session")
    handlers: list[tuple[logging.Handler, str]] = [(shown, f"{_STAMP} {line}" if loud else line)]
    if options.log:
        _require_log(options.log)
        handlers.append((logging.FileHandler(options.log, encoding="utf-8"), f"{_STAMP} {line}"))
    for handler, text in handlers:
        handler.setFormatter(PlainFormatter(text))
    logger.handlers = [each for each in logger.handlers if not isinstance(each, AboveBar)]  # of a call before
    logger.handlers += [handler for handler, _ in handlers]
    logger.setLevel(logging.DEBUG if options.verbose > 1 else logging.INFO)
    logger.propagate = False


def _require_log(path: Path) -> None:
    """Refuse to write a log behind what is no log: an image would be damaged by it."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        if not _LOG_BEGINS.match(file.read(20)):
            raise LayoutError(f"{path}: is there already and is no log of this command; give --log another name")


def _demo(options: argparse.Namespace) -> int:
    from ipha_toolkit.demo.cohort import run_demo
    from ipha_toolkit.demo.page import write_report

    demo = run_demo(options.out, progress=not options.quiet)
    say(f"open {write_report(demo, options.out / 'report.html', workers=os.cpu_count() or 1)}")
    return 1 if demo.analysis.failures else 0


def _simulate(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.simulate import TRUTH_FOLDER, simulate_cohort

    out = simulate_cohort(options.out, subjects=options.subjects, seed=options.seed, progress=not options.quiet)
    say(f"{options.subjects} simulated patients in {out}, what is really there in {out / TRUTH_FOLDER}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT, Protocol
    from ipha_toolkit.run.import_ import key_warning, run_import
    from ipha_toolkit.run.plan import plan_import

    protocol = Protocol.read(options.protocol) if options.protocol else DEFAULT
    plan = plan_import(options.sources, options.out, protocol=protocol, progress=not options.quiet)
    for problem in plan.problems:
        warn(f"- {problem}")
    if plan.new and not options.yes:
        return _planned(plan, options.out)
    done = run_import(
        plan, options.out, allow_gaps=options.allow_gaps, mend_tilt=options.mend_tilt, protocol=protocol,
        progress=not options.quiet,
    )  # fmt: skip
    counts = f"{done.kept} series done before, {len(done.left_out)} left out"
    say(f"{len(done.made)} images written to {options.out}, {counts}")
    for series, reason in done.left_out.items():
        warn(f"- {series}: {reason}")
    undecided = plan.table.loc[plan.table["role"] == "open", "series"]
    if len(undecided):
        say(f"no rule settles the role of {', '.join(undecided)}; give them one, or none, in import/series.tsv")
    if done.to_sign:
        sheet = options.out / "import" / "contact.html"
        say(f"look at {', '.join(done.to_sign)} in {sheet} for burnt-in text, and sign them in the column seen")
    _warn(key_warning(options.out))
    say(f"next: ipha check {options.out}")
    return 1 if done.left_out else 0


def _import_masks(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.import_masks import import_masks

    for path in import_masks(options.folder, options.cohort, tool=options.tool, image=options.image):
        say(path)
    return 0


def _planned(plan: ImportPlan, out: Path) -> int:
    """Say what the plan proposes and what to do next."""
    from ipha_toolkit.run.import_ import key_warning

    table = plan.save(out)
    new = plan.table[plan.table["series"].isin(plan.new)]
    shown = ["series", "subject", "session", "role", "sure", "wrong", "reason"]
    say(new[shown].to_string(index=False, max_colwidth=60))
    say(f"\n{len(new)} series stand in {table} now. Edit role, subject and session there, and run this")
    say("again to convert; --yes converts what is proposed.")
    _warn(key_warning(out))
    return 0


def _warn(text: str) -> None:
    if text:
        warn(f"warning: {text}")


def _check(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT, Protocol
    from ipha_toolkit.run.check import check

    protocol = Protocol.read(options.protocol) if options.protocol else DEFAULT
    report = check(options.cohort, protocol=protocol, progress=not options.quiet)
    say(report.sessions.to_string(index=False))
    found = f"{len(report.problems)} problems, {len(report.stopping)} of them stop a session or an image"
    say(f"\n{len(report.sessions)} images, {found}")
    for problem in report.problems:
        say(f"- {problem}")
    return 1 if report.stopping else 0


def _analyze(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT, Protocol
    from ipha_toolkit.run.cohort import run
    from ipha_toolkit.run.machine import default_workers

    protocol = Protocol.read(options.protocol) if options.protocol else DEFAULT
    workers = default_workers() if options.workers is None and not options.scheduler else options.workers
    with _cluster(options) as client:
        analysis = run(
            options.cohort, options.out, workers=None if client else workers, client=client,
            participant_label=options.participant_label, session_label=options.session_label, level=options.level,
            protocol=protocol, segmenter=options.segmenter, ratings=options.ratings, progress=not options.quiet,
            remove_stale=options.remove_stale,
        )  # fmt: skip
    counts = f"{analysis.measured} sessions measured, {analysis.skipped} done before, {len(analysis.failures)} failures"
    whole = f"; {len(analysis.rows)} rows in {options.out / 'measures.tsv'}" if options.level != "participant" else ""
    say(counts + whole)
    for remark in analysis.remarks:
        warn(f"- {remark}")
    for failure in analysis.failures:
        warn(f"- {failure['error']}")
    if analysis.missing:
        some = ", ".join(analysis.missing[:12]) + (" ..." if len(analysis.missing) > 12 else "")
        warn(f"- {len(analysis.missing)} sessions are not measured yet and not in the tables: {some}")
    return 1 if analysis.failures or (analysis.missing and options.level == "group") else 0


def _cluster(options: argparse.Namespace) -> AbstractContextManager[Client | None]:
    if not options.scheduler:
        if options.memory_limit:
            raise ValueError("--memory-limit is of the workers of --scheduler local; give that as well, or neither")
        return nullcontext()
    from ipha_toolkit.run.cluster import connect

    return connect(options.scheduler, workers=options.workers, memory_limit=options.memory_limit)


def _status(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.status import STATES, status

    table = status(options.results)
    shown = table if options.verbose else table[table["state"] != "done"]
    for row in shown.to_dict("records"):
        label = f"{row['subject']}_{row['session']}".rstrip("_")
        since = f" since {row['since']}" if row["since"] else ""
        say(f"{label}\t{row['state']}{since}\t{row['error']}".rstrip())
    say(", ".join(f"{int((table['state'] == state).sum())} {state}" for state in STATES))
    return 1 if (table["state"] == "failed").any() else 0


def _share(options: argparse.Namespace) -> int:
    from ipha_toolkit.io.results import open_results
    from ipha_toolkit.report.share import KEY, share

    found = open_results(options.results, cohort=options.cohort)
    path = share(found, options.out, site=options.site, age_bands=options.age_bands, allow=options.allow)
    say(f"{path}: read words.html in it before you send it; {options.results / KEY} never leaves")
    return 0


def _pool(options: argparse.Namespace) -> int:
    import json

    from ipha_toolkit.io.names import POOLING
    from ipha_toolkit.run.pool import pool

    found = pool(
        options.files, options.out, controls=options.controls, stratify=options.stratify, harmonize=options.harmonize
    )
    about = json.loads((found.path / POOLING).read_text("utf-8"))
    say(f"{len(found)} sessions of {len(about['sites'])} sites in {found.path}; {about['said']}")
    for text in about["images made otherwise"]:
        say(f"- {text}")
    for text in about["harmonized"]:
        say(f"- sites.tsv compares groups harmonized as well: {text}")
    return 0


def _merge_ratings(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.ratings import merge_ratings
    from ipha_toolkit.wording import number

    for row in merge_ratings(options.files, options.out).to_dict("records"):
        pair = f"{row['rater']} and {row['other']}: {row['n']} images rated by both"
        if row["note"]:
            say(f"{pair}; {row['note']}")
            continue
        interval = f"95 % interval {number(row['low'])} to {number(row['high'])}"
        say(
            f"{pair}, {100 * row['agree']:.0f} % alike; Cohen's kappa {number(row['kappa'])} ({interval}), "
            f"linearly weighted {number(row['weighted_kappa'])}"
        )
    say(f"all ratings are in {options.out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from ipha_toolkit.io.results import open_results
    from ipha_toolkit.report.cohort import report

    say(report(open_results(options.results, cohort=options.cohort), options.out))
    return 0


def _checklist(options: argparse.Namespace) -> int:
    from ipha_toolkit.io.results import open_results
    from ipha_toolkit.report.checklist import checklist

    say(checklist(open_results(options.results), options.out))
    return 0


def _redcap(options: argparse.Namespace) -> int:
    from ipha_toolkit.io.drafts import in_place_of
    from ipha_toolkit.io.redcap import to_redcap
    from ipha_toolkit.io.results import open_results

    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with in_place_of(Path(options.out)) as draft:
        to_redcap(open_results(options.results).rows).to_csv(draft, index=False)
    say(options.out)
    return 0


def _render(options: argparse.Namespace) -> int:
    from ipha_toolkit.report.render import render_all

    parameters = dict(options.parameter)  # text: each notebook's own default says what kind it is
    pages = render_all(
        options.notebooks, options.out, to=options.to or ["html"], parameters=parameters, allow=options.allow,
        code=options.code,
    )  # fmt: skip
    for page in pages:
        say(page)
    return 0


def _protocol(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT

    say(DEFAULT.to_toml(), end="")
    return 0


def _info(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.machine import about

    facts = about()
    width = max(map(len, facts))
    for name, said in facts.items():
        say(f"{name:{width}}  {said}")
    return 0


def _docs(options: argparse.Namespace) -> int:
    import webbrowser

    from ipha_toolkit.io.packaged import layout_text, site_index

    if options.topic == "layout":
        say(layout_text(), end="")
        return 0
    index = site_index()
    say(index)
    if not options.no_browser:
        webbrowser.open(index.as_uri())
    return 0


def _completion(options: argparse.Namespace) -> int:
    import shtab

    whole = parser()
    for action in _paths_of(whole):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    say(shtab.complete(whole, shell=options.shell))
    return 0


def _paths_of(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """Every argument of the command and its subcommands that is a path."""
    found = [action for action in command._actions if action.type is Path]
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [path for inner in action.choices.values() for path in _paths_of(inner)]
    return found


_RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "demo": _demo,
    "simulate": _simulate,
    "import": _import,
    "import-masks": _import_masks,
    "checklist": _checklist,
    "redcap": _redcap,
    "check": _check,
    "analyze": _analyze,
    "ratings": _merge_ratings,
    "status": _status,
    "share": _share,
    "pool": _pool,
    "report": _report,
    "render": _render,
    "protocol": _protocol,
    "info": _info,
    "docs": _docs,
    "completion": _completion,
}
"""What each command does; ``arguments.py`` says what it takes."""
