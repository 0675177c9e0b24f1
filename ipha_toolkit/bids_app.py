"""``ipha-bids INPUT OUTPUT {participant,group}``: ``ipha analyze`` under the names that BIDS-Apps are called by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ipha_toolkit import __version__, cli
from ipha_toolkit.__main__ import is_somewhere, open_streams
from ipha_toolkit.arguments import EPILOG
from ipha_toolkit.io.terminal import heard


@heard
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``ipha-bids`` command; returns its exit status, that of ``ipha analyze``."""
    open_streams()
    if not is_somewhere():
        return 2
    options, further = _parser().parse_known_args(arguments)
    return cli.main(["analyze", options.input, "--out", options.output, "--level", options.level, *further])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipha-bids",
        description="Measure a BIDS dataset: ipha analyze INPUT --out OUTPUT --level LEVEL.",
        epilog=f"Every other option of ipha analyze is taken as well, such as --workers N. {EPILOG}",
    )
    parser.add_argument("--version", action="version", version=f"ipha_toolkit {__version__}")
    parser.add_argument("input", metavar="INPUT", help="the dataset: a cohort folder")
    parser.add_argument("output", metavar="OUTPUT", help="folder for the results")
    parser.add_argument(
        "level",
        choices=["participant", "group"],
        help="participant: measure the sessions; group: compare what was measured, reading no image",
    )
    return parser
