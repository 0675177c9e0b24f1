"""The command line: a thin layer over the functions of the package."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ipha_toolkit import __version__
from ipha_toolkit.errors import IphaError

if TYPE_CHECKING:
    from ipha_toolkit.run.plan import ImportPlan

EPILOG = "Exit status: 0 all done; 1 some sessions failed, the rest complete; 2 bad usage or input. Research only."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``ipha`` command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        _start_log(options)
        return int(options.run(options))
    except (IphaError, ValueError, OSError) as error:
        print(f"ipha {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nipha {options.command}: stopped; what was finished is kept, run it again to go on", file=sys.stderr)
        return 130


def _start_log(options: argparse.Namespace) -> None:
    """Send the log to the terminal and, with ``--log``, to a file; each session keeps one of its own as well."""
    logger = logging.getLogger("ipha_toolkit")
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel({0: logging.ERROR, 1: logging.INFO}.get(options.verbose, logging.DEBUG))
    handlers: list[logging.Handler] = [] if options.quiet or not options.verbose else [shown]
    if options.log:
        handlers.append(logging.FileHandler(options.log, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if options.verbose > 1 else logging.INFO)
    logger.propagate = False


def _logged() -> argparse.ArgumentParser:
    """Options that every command takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="count", default=0, help="say what is done; twice for more")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress bar, nothing but errors and the end")
    common.add_argument("--log", type=Path, metavar="FILE", help="write the log to FILE as well")
    return common


def _parser() -> argparse.ArgumentParser:
    common = _logged()
    parser = argparse.ArgumentParser(
        prog="ipha", description="Measure and show pulmonary hemosiderosis in MRI, CT and radiographs.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"ipha_toolkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "demo", parents=[common], help="simulate a small cohort, analyze it, and write OUT/report.html"
    )
    command.add_argument("--out", type=Path, default=Path("ipha-demo"), metavar="DIR", help="default: ipha-demo")
    command.set_defaults(run=_demo)

    command = commands.add_parser(
        "simulate", parents=[common], help="write a cohort of simulated patients, with the truth beside it"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the cohort")
    command.add_argument("--subjects", type=int, default=12, metavar="N", help="how many (default: 12)")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed, the same files (default: 0)")
    command.set_defaults(run=_simulate)

    command = commands.add_parser(
        "import", parents=[common], help="plan, then convert DICOM into a de-identified cohort folder", epilog=EPILOG
    )
    command.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="folder, disk or zip file of DICOM")
    command.add_argument("--out", type=Path, required=True, metavar="COHORT", help="cohort folder, new or grown")
    command.add_argument("--yes", action="store_true", help="convert what is proposed, without editing the table first")
    command.add_argument(
        "--allow-gaps", action="store_true", help="convert series with missing slices, every row flagged"
    )
    command.add_argument("--mend-tilt", action="store_true", help="resample a tilted gantry, every row flagged")
    command.add_argument("--protocol", type=Path, metavar="FILE", help="TOML file of settings (default: built in)")
    command.set_defaults(run=_import)

    command = commands.add_parser(
        "import-masks", parents=[common], help="take masks of TotalSegmentator or lungmask into a cohort"
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="masks, named like sub-001_ses-01_ct.nii.gz")
    command.add_argument("--cohort", type=Path, required=True, metavar="COHORT", help="cohort folder")
    command.add_argument(
        "--tool", default="", metavar="NAME", help="folder below derivatives/ (default: FOLDER's name)"
    )
    command.add_argument("--image", metavar="FILE", help="image that all masks of FOLDER belong to")
    command.set_defaults(run=_import_masks)

    command = commands.add_parser(
        "check", parents=[common], help="report what would be analyzed and every problem found", epilog=EPILOG
    )
    command.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    command.set_defaults(run=_check)

    command = commands.add_parser("analyze", parents=[common], help="measure every session of a cohort", epilog=EPILOG)
    command.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="local processes (default: 1)")
    command.add_argument("--protocol", type=Path, metavar="FILE", help="TOML file of settings (default: built in)")
    command.add_argument(
        "--ratings", type=Path, metavar="FILE", help="ratings.tsv of a review: leave out what is rated unusable"
    )
    command.set_defaults(run=_analyze)

    command = commands.add_parser("ratings", parents=[common], help="join ratings of several raters", epilog=EPILOG)
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    merge = actions.add_parser("merge", parents=[common], help="one table of all raters, and how far they agree")
    merge.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ratings.tsv of each rater")
    merge.add_argument("--out", type=Path, required=True, metavar="FILE", help="table of all ratings")
    merge.set_defaults(run=_merge_ratings)

    command = commands.add_parser("report", parents=[common], help="write the page of a results folder", epilog=EPILOG)
    command.add_argument("results", type=Path, metavar="RESULTS", help="results folder of ipha analyze")
    command.add_argument("--cohort", type=Path, metavar="DIR", help="cohort folder, where it has moved")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="HTML file")
    command.set_defaults(run=_report)

    command = commands.add_parser(
        "render", parents=[common], help="run notebooks and write them as self-contained pages", epilog=EPILOG
    )
    command.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK", help="several get an index page")
    command.add_argument(
        "--to", action="append", choices=["html", "slides"], help="default: html; give it twice for both"
    )
    command.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for the pages (default: here)")
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter"
    )
    command.add_argument(
        "--allow", action="append", default=[], metavar="TEXT", help="publish TEXT although it looks like an identifier"
    )
    command.set_defaults(run=_render)

    command = commands.add_parser(
        "protocol", parents=[common], help="print every setting of the analysis as TOML, to edit and pass back"
    )
    command.set_defaults(run=_protocol)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from ipha_toolkit.demo.cohort import run_demo
    from ipha_toolkit.demo.page import write_report

    demo = run_demo(options.out, progress=not options.quiet)
    print(f"open {write_report(demo, options.out / 'report.html')}")
    return 1 if demo.analysis.failures else 0


def _simulate(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.simulate import TRUTH_FOLDER, simulate_cohort

    out = simulate_cohort(options.out, subjects=options.subjects, seed=options.seed, progress=not options.quiet)
    print(f"{options.subjects} simulated patients in {out}, what is really there in {out / TRUTH_FOLDER}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT, Protocol
    from ipha_toolkit.run.import_ import key_warning, run_import
    from ipha_toolkit.run.plan import plan_import

    protocol = Protocol.read(options.protocol) if options.protocol else DEFAULT
    plan = plan_import(options.sources, options.out, protocol=protocol, progress=not options.quiet)
    for problem in plan.problems:
        print(f"- {problem}", file=sys.stderr)
    if plan.new and not options.yes:
        return _planned(plan, options.out)
    done = run_import(
        plan, options.out, allow_gaps=options.allow_gaps, mend_tilt=options.mend_tilt, protocol=protocol,
        progress=not options.quiet,
    )  # fmt: skip
    counts = f"{done.kept} series done before, {len(done.left_out)} left out"
    print(f"{len(done.made)} images written to {options.out}, {counts}")
    for series, reason in done.left_out.items():
        print(f"- {series}: {reason}", file=sys.stderr)
    undecided = plan.table.loc[plan.table["role"] == "open", "series"]
    if len(undecided):
        print(f"no rule settles the role of {', '.join(undecided)}; give them one, or none, in import/series.tsv")
    if done.to_sign:
        sheet = options.out / "import" / "contact.html"
        print(f"look at {', '.join(done.to_sign)} in {sheet} for burnt-in text, and sign them in the column seen")
    _warn(key_warning(options.out))
    return 1 if done.left_out else 0


def _import_masks(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.import_masks import import_masks

    for path in import_masks(options.folder, options.cohort, tool=options.tool, image=options.image):
        print(path)
    return 0


def _planned(plan: ImportPlan, out: Path) -> int:
    """Say what the plan proposes and what to do next."""
    from ipha_toolkit.run.import_ import key_warning

    table = plan.save(out)
    new = plan.table[plan.table["series"].isin(plan.new)]
    shown = ["series", "subject", "session", "role", "sure", "wrong", "reason"]
    print(new[shown].to_string(index=False, max_colwidth=60))
    print(f"\n{len(new)} series stand in {table} now. Edit role, subject and session there, and run this")
    print("again to convert; --yes converts what is proposed.")
    _warn(key_warning(out))
    return 0


def _warn(text: str) -> None:
    if text:
        print(f"warning: {text}", file=sys.stderr)


def _check(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.check import check

    report = check(options.cohort, progress=not options.quiet)
    print(report.sessions.to_string(index=False))
    found = f"{len(report.problems)} problems, {len(report.stopping)} of them stop a session"
    print(f"\n{len(report.sessions)} images, {found}")
    for problem in report.problems:
        print(f"- {problem}")
    return 1 if report.stopping else 0


def _analyze(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT, Protocol
    from ipha_toolkit.run.cohort import run

    protocol = Protocol.read(options.protocol) if options.protocol else DEFAULT
    analysis = run(
        options.cohort, options.out, workers=options.workers, protocol=protocol, ratings=options.ratings,
        progress=not options.quiet,
    )  # fmt: skip
    print(
        f"{analysis.measured} sessions measured, {analysis.skipped} done before, {len(analysis.failures)} failures; "
        f"{len(analysis.rows)} rows in {options.out / 'measures.tsv'}"
    )
    for remark in analysis.remarks:
        print(f"- {remark}", file=sys.stderr)
    for failure in analysis.failures:
        print(f"- {failure['error']}", file=sys.stderr)
    return 1 if analysis.failures else 0


def _merge_ratings(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.ratings import merge_ratings
    from ipha_toolkit.wording import number

    for row in merge_ratings(options.files, options.out).to_dict("records"):
        pair = f"{row['rater']} and {row['other']}: {row['n']} images rated by both"
        if row["note"]:
            print(f"{pair}; {row['note']}")
            continue
        interval = f"95 % interval {number(row['low'])} to {number(row['high'])}"
        print(
            f"{pair}, {100 * row['agree']:.0f} % alike; Cohen's kappa {number(row['kappa'])} ({interval}), "
            f"linearly weighted {number(row['weighted_kappa'])}"
        )
    print(f"all ratings are in {options.out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from ipha_toolkit.io.results import open_results
    from ipha_toolkit.report.cohort import report

    print(report(open_results(options.results, cohort=options.cohort), options.out))
    return 0


def _render(options: argparse.Namespace) -> int:
    from ipha_toolkit.report.render import render_all

    parameters = dict(options.parameter)  # text: each notebook's own default says what kind it is
    pages = render_all(
        options.notebooks, options.out, to=options.to or ["html"], parameters=parameters, allow=options.allow
    )
    for page in pages:
        print(page)
    return 0


def _protocol(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT

    print(DEFAULT.to_toml(), end="")
    return 0
