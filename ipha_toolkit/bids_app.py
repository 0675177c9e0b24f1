"""``ipha-bids INPUT OUTPUT {participant,group}``: ``ipha analyze`` under the names that BIDS-Apps are called by."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ipha_toolkit import __version__, cli
from ipha_toolkit.arguments import EPILOG
from ipha_toolkit.io.terminal import heard, is_somewhere, open_streams


@heard
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ``ipha-bids`` command; returns its exit status, that of ``ipha analyze``."""
    open_streams()
    if not is_somewhere():
        return 2
    options, further = _parser().parse_known_args(arguments)
    further = [_hyphened(each) for each in further]
    return cli.main(["analyze", options.input, "--out", options.output, "--level", options.level, *further])


def _hyphened(option: str) -> str:
    """An option as ``ipha analyze`` spells it: BIDS-Apps write ``--participant_label``."""
    name, equals, value = option.partition("=")
    return (name.replace("_", "-") if name.startswith("--") else name) + equals + value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipha-bids",
        description="Measure a BIDS dataset: ipha analyze INPUT --out OUTPUT --level LEVEL.",
        epilog="Every other option of ipha analyze is taken as well, such as --participant_label 001 002 or "
        f"--workers N. {EPILOG}",
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
