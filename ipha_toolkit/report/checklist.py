"""The CLAIM checklist for a paper, filled from a results folder as far as the folder knows.

What the folder cannot know (why the study was done, who read the images) is left for the authors, and says so.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from ipha_toolkit import __version__
from ipha_toolkit.io.names import PROTOCOL
from ipha_toolkit.io.results import Results
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.page import RESEARCH, page
from ipha_toolkit.report.pieces import html_table

AUTHORS = "for the authors to write"

ITEMS = (
    ("title and abstract", "the method named in the title; a structured summary"),
    ("introduction", "background, aims and hypotheses"),
    ("study design", "prospective or retrospective; the aim of the study"),
    ("data sources", "where images and clinical data come from"),
    ("eligibility", "who was included, who was left out and why"),
    ("pre-processing", "what was done to the images before measuring"),
    ("selection of data", "which images were used of those there were"),
    ("data elements", "each variable, its unit and definition"),
    ("de-identification", "how identities were removed"),
    ("missing data", "how missing data were handled"),
    ("ground truth", "the reference standard and who set it"),
    ("sample size", "how many were planned, and how that was determined"),
    ("partitions", "how data were split for choosing and for testing"),
    ("model", "the method, its inputs, outputs and settings"),
    ("software", "versions, libraries and where the code can be had"),
    ("training", "how settings were chosen"),
    ("metrics of performance", "measures of performance"),
    ("statistics", "statistical measures, uncertainty and significance"),
    ("robustness", "sensitivity to settings; test and retest"),
    ("external testing", "performance on data from elsewhere"),
    ("flow of participants", "how many entered, were left out, and were measured"),
    ("demographics", "demographic and clinical characteristics"),
    ("results", "performance and estimates with intervals"),
    ("failures", "analysis of what failed or was wrong"),
    ("discussion", "limits, bias, generalizability; what it means for practice"),
    ("registration, protocol, funding", "where they can be seen"),
)
"""Topics of CLAIM (Mongan, Moy & Kahn 2020, doi 10.1148/ryai.2020200029, not confirmed), in our words; the published
list holds the numbered items."""


def checklist(results: Results, out: str | Path) -> Path:
    """Write the checklist page of a results folder.

    Parameters
    ----------
    results : Results
        As of :func:`ipha_toolkit.open_results`.
    out : str or Path
        HTML file to write.

    Returns
    -------
    Path
    """
    known = _known(results)
    rows = [(topic, wanted, known.get(topic, AUTHORS)) for topic, wanted in ITEMS]
    body = (
        f"<h1>CLAIM checklist</h1><p>{escape(RESEARCH)} Filled from {escape(results.path.name)} as far as it knows: "
        f"{len(known)} of {len(ITEMS)} topics, the others are {escape(AUTHORS)}. Topics are those of Mongan, Moy &amp; "
        "Kahn 2020, doi 10.1148/ryai.2020200029, in our words: hand in the numbered list of the journal.</p>"
        + html_table(("topic", "what is asked", "answer"), rows)
    )
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page("CLAIM checklist", body), encoding="utf-8")
    return path


def _known(results: Results) -> dict[str, str]:
    """Answers that the folder holds, by topic."""
    rows, failures = results.rows, results.failures
    protocol = results.protocol
    subjects, sessions = rows["subject"].nunique(), len(rows[["subject", "session"]].drop_duplicates())
    measures, missing = rows["measure"].nunique(), int(rows["value"].isna().sum())
    modalities = ", ".join(sorted(set(rows["modality"])))
    return {
        "data elements": f"{measures} measures, each with unit, definition and source in measures.json",
        "missing data": f"{missing} of {len(rows)} values are missing (NaN), the reason as a flag; none is imputed",
        "model": f"rules and fits without a trained network; settings in {PROTOCOL}, digest {protocol.digest()[:8]}",
        "software": f"ipha_toolkit {__version__}; what each session was made with stands in its provenance.json",
        "training": "defaults of the package, each with its source or 'chosen on the phantom'"
        if protocol == Protocol()
        else f"settings changed from the package's defaults stand in {PROTOCOL}",
        "flow of participants": f"{subjects} subjects, {sessions} sessions measured in {modalities}; "
        f"{len(failures)} failures, each with its reason in failures.tsv",
        "failures": f"{len(failures)} in failures.tsv; flags of {int((rows['flag'] != '').sum())} rows in measures.tsv",
    }
