"""The CLAIM checklist for a paper, filled from a results folder as far as the folder knows.

What the folder cannot know (why the study was done, who read the images) is left for the authors, and says so.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from ipha_toolkit import __version__
from ipha_toolkit.io.drafts import in_place_of
from ipha_toolkit.io.names import PROTOCOL
from ipha_toolkit.io.results import Results
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.page import RESEARCH, page
from ipha_toolkit.report.pieces import html_table

AUTHORS = "for the authors to write"

ITEMS = (
    "title: that it is a study of artificial intelligence, and of which kind",
    "abstract: a structured summary of design, methods, results and conclusions",
    "background, what the method is meant for and its role in the clinic",
    "aims and hypotheses",
    "prospective or retrospective",
    "the study's goal: building a model, exploring, feasibility, non-inferiority",
    "where the data come from",
    "who was eligible: how, where and when participants or studies were found",
    "pre-processing of the data",
    "which part of the data was used, where not all was",
    "data elements defined, by common data elements where there are any",
    "how identities were removed",
    "how missing data were handled",
    "the reference standard (ground truth), so that it can be done again",
    "why this reference standard, where others exist",
    "who made the annotations, their qualification and preparation",
    "annotation tools",
    "variability between and within raters; how it was lessened and disagreements were settled",
    "the intended sample size and how it was determined",
    "how data were assigned to partitions, and in what proportions",
    "the level at which partitions are disjoint: image, study, patient, institution",
    "the model in detail: inputs, outputs, every layer and connection between",
    "software libraries, frameworks and packages",
    "how the model's parameters were initialized",
    "training: augmentation, hyperparameters, number of models",
    "how the final model was chosen",
    "ensembles, where used",
    "measures of the model's performance",
    "statistical significance and uncertainty",
    "robustness or sensitivity to what was chosen",
    "how results are explained or interpreted, and how that was validated",
    "validation or testing on external data",
    "flow of participants or cases, in a diagram: who was in and out",
    "demographic and clinical characteristics of each partition",
    "performance of the best models on all partitions",
    "diagnostic accuracy and its precision, such as 95 % intervals",
    "analysis of the cases that were read wrong",
    "limits: bias, uncertainty, generalizability",
    "what follows for practice: intended use and role in the clinic",
    "registration number and registry",
    "where the full study protocol can be seen",
    "funding and other support; the funders' role",
)
"""Items 1 to 42 of CLAIM, numbered as published, in our words: Mongan, Moy & Kahn, Radiol Artif Intell 2020;2:e200029,
doi 10.1148/ryai.2020200029. Numbers and contents were compared with two public copies of the published list."""


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
    rows = [(str(n), wanted, known.get(n, AUTHORS)) for n, wanted in enumerate(ITEMS, 1)]
    body = (
        f"<h1>CLAIM checklist</h1><p>{escape(RESEARCH)} Filled from the results folder as far as it knows: "
        f"{len(known)} of {len(ITEMS)} items, the others are {escape(AUTHORS)}. Items are numbered as in Mongan, Moy "
        "&amp; Kahn 2020, doi 10.1148/ryai.2020200029, and put in our words: hand in the journal's own form. The "
        "update of 2024 (doi 10.1148/ryai.240300) has 44 items, numbered otherwise from item 13 on.</p>"
        + html_table(("item", "what is asked", "answer"), rows)
    )
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_place_of(path) as draft:
        draft.write_text(page("CLAIM checklist", body), encoding="utf-8")
    return path


def _known(results: Results) -> dict[int, str]:
    """Answers that the folder holds, by item."""
    rows, failures = results.rows, results.failures
    protocol = results.protocol
    subjects, sessions = rows["subject"].nunique(), len(rows[["subject", "session"]].drop_duplicates())
    measures, missing = rows["measure"].nunique(), int(rows["value"].isna().sum())
    modalities = ", ".join(sorted(set(rows["modality"])))
    return {
        11: f"{measures} measures, each with unit, definition and source in measures.json",
        13: f"{missing} of {len(rows)} values are missing (NaN), the reason as a flag; none is imputed",
        22: f"rules and fits without a trained network; settings in {PROTOCOL}, digest {protocol.digest()[:8]}",
        23: f"ipha_toolkit {__version__}; what each session was made with stands in its provenance.json",
        26: "defaults of the package, each with its source or 'chosen on the phantom'"
        if protocol == Protocol()
        else f"settings changed from the package's defaults stand in {PROTOCOL}",
        33: f"{subjects} subjects, {sessions} sessions measured in {modalities}; "
        f"{len(failures)} failures, each with its reason in failures.tsv",
        37: f"{len(failures)} in failures.tsv; flags of {int((rows['flag'] != '').sum())} rows in measures.tsv",
    }
