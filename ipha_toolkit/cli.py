"""The command line: a thin layer over the functions of the package."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ipha_toolkit import __version__
from ipha_toolkit.errors import IphaError

EPILOG = "Exit status: 0 all done; 1 some sessions failed, the rest complete; 2 bad usage or input. Research only."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``ipha`` command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (IphaError, ValueError, OSError) as error:
        print(f"ipha {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nipha {options.command}: stopped; what was finished is kept, run it again to go on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipha", description="Measure and show pulmonary hemosiderosis in MRI, CT and radiographs.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"ipha_toolkit {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="simulate a small cohort, analyze it, and write OUT/report.html")
    command.add_argument("--out", type=Path, default=Path("ipha-demo"), metavar="DIR", help="default: ipha-demo")
    command.set_defaults(run=_demo)

    command = commands.add_parser("simulate", help="write a cohort of simulated patients, with the truth beside it")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the cohort")
    command.add_argument("--subjects", type=int, default=12, metavar="N", help="how many (default: 12)")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed, the same files (default: 0)")
    command.set_defaults(run=_simulate)

    command = commands.add_parser("check", help="report what would be analyzed and every problem found", epilog=EPILOG)
    command.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    command.set_defaults(run=_check)

    command = commands.add_parser("analyze", help="measure every session of a cohort", epilog=EPILOG)
    command.add_argument("cohort", type=Path, metavar="COHORT", help="cohort folder")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument("--workers", type=int, default=1, metavar="N", help="local processes (default: 1)")
    command.add_argument("--protocol", type=Path, metavar="FILE", help="TOML file of settings (default: built in)")
    command.set_defaults(run=_analyze)

    command = commands.add_parser("render", help="run notebooks and write them as self-contained pages", epilog=EPILOG)
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

    command = commands.add_parser("protocol", help="print every setting of the analysis as TOML, to edit and pass back")
    command.set_defaults(run=_protocol)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from ipha_toolkit.demo.cohort import run_demo
    from ipha_toolkit.demo.page import write_report

    demo = run_demo(options.out)
    print(f"open {write_report(demo, options.out / 'report.html')}")
    return 1 if demo.analysis.failures else 0


def _simulate(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.simulate import TRUTH_FOLDER, simulate_cohort

    out = simulate_cohort(options.out, subjects=options.subjects, seed=options.seed)
    print(f"{options.subjects} simulated patients in {out}, what is really there in {out / TRUTH_FOLDER}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from ipha_toolkit.run.check import check

    report = check(options.cohort)
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
    analysis = run(options.cohort, options.out, workers=options.workers, protocol=protocol)
    print(
        f"{analysis.measured} sessions measured, {analysis.skipped} done before, {len(analysis.failures)} failures; "
        f"{len(analysis.rows)} rows in {options.out / 'measures.tsv'}"
    )
    for failure in analysis.failures:
        print(f"- {failure['error']}", file=sys.stderr)
    return 1 if analysis.failures else 0


def _render(options: argparse.Namespace) -> int:
    from ipha_toolkit.report.render import render_all

    parameters = {name: _literal(value) for name, value in options.parameter}
    pages = render_all(
        options.notebooks, options.out, to=options.to or ["html"], parameters=parameters, allow=options.allow
    )
    for page in pages:
        print(page)
    return 0


def _literal(text: str) -> object:
    """A number, list or the like where the text is one as Python writes it, else the text."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _protocol(options: argparse.Namespace) -> int:
    from ipha_toolkit.protocol import DEFAULT

    print(DEFAULT.to_toml(), end="")
    return 0
