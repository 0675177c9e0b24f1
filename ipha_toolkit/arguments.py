"""What the ``ipha`` command takes: its commands and their options, each with its help."""

from __future__ import annotations

import argparse
from pathlib import Path

from ipha_toolkit import __version__

EPILOG = "Exit status: 0 all done; 1 some sessions failed, the rest complete; 2 bad usage or input. Research only."


def _logged() -> argparse.ArgumentParser:
    """Options that every command takes."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="count", default=0, help="say what is done; twice for more")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress bar, nothing but errors and the end")
    common.add_argument("--log", type=_path, metavar="FILE", help="write the log to FILE as well")
    return common


def _path(text: str) -> Path:
    """A path; none of no letters, which would mean the folder that one happens to be in."""
    if not text:
        raise argparse.ArgumentTypeError("nothing was given; is a variable of the shell not set?")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """The parser of the ``ipha`` command: what each command takes. What it does stands in ``cli.py``."""
    common = _logged()
    whole = argparse.ArgumentParser(
        prog="ipha", description="Measure and show pulmonary hemosiderosis in MRI, CT and radiographs.", epilog=EPILOG
    )
    whole.add_argument("--version", action="version", version=f"ipha_toolkit {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "demo", parents=[common], help="simulate a small cohort, analyze it, and write OUT/report.html"
    )
    command.add_argument("--out", type=_path, default=Path("ipha-demo"), metavar="DIR", help="default: ipha-demo")

    command = commands.add_parser(
        "simulate", parents=[common], help="write a cohort of simulated patients, with the truth beside it"
    )
    command.add_argument("--out", type=_path, required=True, metavar="DIR", help="new folder for the cohort")
    command.add_argument("--subjects", type=int, default=12, metavar="N", help="how many (default: 12)")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed, the same files (default: 0)")

    command = commands.add_parser(
        "import", parents=[common], help="plan, then convert DICOM into a de-identified cohort folder", epilog=EPILOG
    )
    command.add_argument("sources", nargs="+", type=_path, metavar="SOURCE", help="folder, disk or zip file of DICOM")
    command.add_argument("--out", type=_path, required=True, metavar="COHORT", help="cohort folder, new or grown")
    command.add_argument("--yes", action="store_true", help="convert what is proposed, without editing the table first")
    command.add_argument(
        "--allow-gaps", action="store_true", help="convert series with missing slices, every row flagged"
    )
    command.add_argument("--mend-tilt", action="store_true", help="resample a tilted gantry, every row flagged")
    command.add_argument("--protocol", type=_path, metavar="FILE", help="TOML file of settings (default: built in)")

    command = commands.add_parser(
        "import-masks", parents=[common], help="take masks of TotalSegmentator or lungmask into a cohort"
    )
    command.add_argument("folder", type=_path, metavar="FOLDER", help="masks, named like sub-001_ses-01_ct.nii.gz")
    command.add_argument("--cohort", type=_path, required=True, metavar="COHORT", help="cohort folder")
    command.add_argument(
        "--tool", default="", metavar="NAME", help="folder below derivatives/ (default: FOLDER's name)"
    )
    command.add_argument("--image", metavar="FILE", help="image that all masks of FOLDER belong to")

    command = commands.add_parser(
        "checklist", parents=[common], help="write the CLAIM checklist of a results folder, filled as far as it knows"
    )
    command.add_argument("results", type=_path, metavar="RESULTS", help="results folder")
    command.add_argument("--out", type=_path, required=True, metavar="FILE", help="HTML file to write")

    command = commands.add_parser(
        "redcap", parents=[common], help="write the measures of a results folder as REDCap takes them"
    )
    command.add_argument("results", type=_path, metavar="RESULTS", help="results folder")
    command.add_argument("--out", type=_path, required=True, metavar="FILE", help="CSV file to write")

    command = commands.add_parser(
        "check", parents=[common], help="report what would be analyzed and every problem found", epilog=EPILOG
    )
    command.add_argument("cohort", type=_path, metavar="COHORT", help="cohort folder")
    command.add_argument("--protocol", type=_path, metavar="FILE", help="TOML file of settings (default: built in)")

    command = commands.add_parser("analyze", parents=[common], help="measure every session of a cohort", epilog=EPILOG)
    command.add_argument("cohort", type=_path, metavar="COHORT", help="cohort folder")
    command.add_argument("--out", type=_path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument(
        "--workers", type=int, metavar="N", help="local processes (default: what cores and free memory allow)"
    )
    command.add_argument(
        "--remove-stale", action="store_true", help="take away results of sessions that are no longer in the cohort"
    )
    command.add_argument("--protocol", type=_path, metavar="FILE", help="TOML file of settings (default: built in)")
    command.add_argument(
        "--participant-label", nargs="+", default=[], metavar="LABEL", help="measure these alone, with or without sub-"
    )
    command.add_argument("--session-label", nargs="+", default=[], metavar="LABEL", help="likewise of sessions")
    command.add_argument(
        "--level", choices=["both", "participant", "group"], default="both",
        help="participant: measure only; group: make the tables of what was measured (default: both)",
    )  # fmt: skip
    command.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="Dask scheduler whose workers measure; local starts one here"
    )
    command.add_argument("--memory-limit", metavar="SIZE", help="of each worker of --scheduler local, as 4GB")
    command.add_argument(
        "--segmenter",
        choices=("lungmask", "totalsegmentator"),
        default="",
        help="find lungs with this command, installed with its weights by you (default: built in)",
    )
    command.add_argument(
        "--ratings", type=_path, metavar="FILE", help="ratings.tsv of a review: leave out what is rated unusable"
    )

    command = commands.add_parser("ratings", parents=[common], help="join ratings of several raters", epilog=EPILOG)
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    merge = actions.add_parser("merge", parents=[common], help="one table of all raters, and how far they agree")
    merge.add_argument("files", nargs="+", type=_path, metavar="FILE", help="ratings.tsv of each rater")
    merge.add_argument("--out", type=_path, required=True, metavar="FILE", help="table of all ratings")

    command = commands.add_parser(
        "status", parents=[common], help="how far an analysis is, by session, from its results folder", epilog=EPILOG
    )
    command.add_argument("results", type=_path, metavar="RESULTS", help="results folder of ipha analyze")

    command = commands.add_parser(
        "share", parents=[common], help="pack rows and histograms, without names, dates and images, for a pooled study"
    )
    command.add_argument("results", type=_path, metavar="RESULTS", help="results folder of ipha analyze")
    command.add_argument("--out", type=_path, required=True, metavar="FILE", help="zip file")
    command.add_argument("--cohort", type=_path, metavar="DIR", help="cohort folder, where it has moved")
    command.add_argument("--site", default="", metavar="NAME", help="of the site in the study (default: drawn)")
    command.add_argument("--age-bands", action="store_true", help="ages as bands; controls are not matched by age then")
    command.add_argument("--allow", action="append", default=[], metavar="TEXT", help="share TEXT although it looks "
                         "like an identifier")  # fmt: skip

    command = commands.add_parser("pool", parents=[common], help="compare what several sites shared as one cohort")
    command.add_argument("files", nargs="+", type=_path, metavar="FILE", help="of ipha share, one a site")
    command.add_argument("--out", type=_path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument(
        "--controls", choices=["matching", "site"], default="matching",
        help="site: each site against its own controls alone (default: all that match)",
    )  # fmt: skip
    command.add_argument(
        "--stratify", action="store_true", help="go on where sites measured with other settings or versions"
    )
    command.add_argument(
        "--harmonize", choices=["combat"], default="",
        help="compare groups over sites once more on values that ComBat made alike (default: as measured alone)",
    )  # fmt: skip

    command = commands.add_parser("report", parents=[common], help="write the page of a results folder", epilog=EPILOG)
    command.add_argument("results", type=_path, metavar="RESULTS", help="results folder of ipha analyze")
    command.add_argument("--cohort", type=_path, metavar="DIR", help="cohort folder, where it has moved")
    command.add_argument("--out", type=_path, required=True, metavar="FILE", help="HTML file")

    command = commands.add_parser(
        "render", parents=[common], help="run notebooks and write them as self-contained pages", epilog=EPILOG
    )
    command.add_argument("notebooks", nargs="+", type=_path, metavar="NOTEBOOK", help="several get an index page")
    command.add_argument(
        "--to",
        action="append",
        choices=["html", "slides", "handout"],
        help="default: html; give it again for more; handout is the slides as PDF, by Chromium or Chrome",
    )
    command.add_argument(
        "--out", type=_path, default=Path(), metavar="DIR", help="folder for the pages (default: here)"
    )
    command.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a parameter; author, place and date make a title slide",
    )  # fmt: skip
    command.add_argument(
        "--allow", action="append", default=[], metavar="TEXT", help="publish TEXT although it looks like an identifier"
    )
    command.add_argument(
        "--code", action=argparse.BooleanOptionalAction, help="show code (default: on pages, not on slides)"
    )

    command = commands.add_parser(
        "protocol", parents=[common], help="print every setting of the analysis as TOML, to edit and pass back"
    )

    command = commands.add_parser(
        "info", parents=[common], help="print versions, cores, memory and extras, for a bug report"
    )

    command = commands.add_parser("docs", parents=[common], help="open the documentation that came with the package")
    command.add_argument(
        "topic", nargs="?", choices=["layout"], help="layout: print how a cohort folder is laid out, and open nothing"
    )
    command.add_argument("--no-browser", action="store_true", help="print where it lies, and open nothing")

    command = commands.add_parser(
        "completion", parents=[common], help="print the script that lets a shell complete ipha's commands and options"
    )
    command.add_argument("shell", choices=["bash", "zsh"], help="source <(ipha completion bash)")
    return whole
