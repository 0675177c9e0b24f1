"""Several sites as one cohort: what they shared becomes a results folder, compared in a second pass over all.

No image is read: there is none. Controls of every site serve patients of every site as far as their images were made
alike (:mod:`ipha_toolkit.compare.matching` names those that were not). What pooling cannot mend, a scanner that differs
in what no header says, is looked at by leaving one site out at a time (:mod:`ipha_toolkit.compare.sites`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from ipha_toolkit.compare.harmonize import COLUMNS, as_rows, combat
from ipha_toolkit.compare.matching import unlike
from ipha_toolkit.compare.sites import compare_sites
from ipha_toolkit.errors import DataError, LayoutError
from ipha_toolkit.io import outputs
from ipha_toolkit.io.layout import Cohort, SessionFiles
from ipha_toolkit.io.outputs import Part, SessionResult
from ipha_toolkit.io.results import Results, open_results
from ipha_toolkit.io.shared import Shared, read_shared
from ipha_toolkit.io.tables import with_numbers
from ipha_toolkit.measure.rows import table
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.run.cohort import second_pass
from ipha_toolkit.terms import Modality

_SAID = {"matching": "controls of all sites that match", "site": "each site against its own controls alone"}
_COHORT = "cohort"
_LEAST_VALUES = 10
"""Fewer numbers may be alike in two sessions by chance."""


def pool(
    files: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    controls: str = "matching",
    stratify: bool = False,
    harmonize: str = "",
) -> Results:
    """Make one results folder of what several sites shared.

    Parameters
    ----------
    files : iterable of path
        Archives of :func:`ipha_toolkit.share`, one a site.
    out : path
        New, empty, or of an earlier pooling.
    controls : {"matching", "site"}
        ``matching``: controls of all sites whose images were made alike. ``site``: each site against its own controls
        alone, which takes out what differs between scanners unsaid, and costs controls. ``pooling.json`` and the page
        of the results say which was used.
    stratify : bool
        Go on where sites measured with other settings or versions: then only controls measured alike count.
    harmonize : {"", "combat"}
        ``combat``: groups are compared over sites a second time, on values that ComBat made alike between sites
        (:func:`ipha_toolkit.compare.harmonize.combat`; needs the extra ``harmonize``). ``sites.tsv`` has both, told
        apart by its column ``values``; ``harmonized.tsv`` has the values. Rows and readings stay as measured.

    Returns
    -------
    Results
        With ``sites.tsv``: groups compared over sites, with what becomes of it when one is left out.

    Raises
    ------
    LayoutError
        Where a file is no such archive, two are of one site, or sites measured otherwise and ``stratify`` is not set;
        the message names sites and settings.
    DataError
        Where nothing can be harmonized, with the reason.
    DependencyError
        Where the library that harmonizes is not installed.
    """
    if harmonize not in ("", "combat"):
        raise ValueError(f"harmonize is combat or nothing, got {harmonize!r}")
    if controls not in _SAID:
        raise ValueError(f"controls is one of {', '.join(_SAID)}, got {controls!r}")
    named = [Path(file) for file in files]
    sites = [read_shared(file) for file in named]
    _require_apart(sites, named)
    strata = _strata(sites, stratify)
    if controls == "site":
        strata = {site.name: site.name for site in sites}
    place = outputs.results_folder(out, Path(out) / _COHORT)
    with outputs.run_lock(place, sha256(f"{controls} {[site.digest for site in sites]}".encode()).hexdigest()):
        cohort = _cohort(place, sites)
        outputs.write_plan(place, cohort.sessions)
        for site in sites:
            _write_sessions(place, site)
        with outputs.cohort_lock(place):
            outputs.remove_gone(place, outputs.gone(place, cohort.sessions))
            of_subject = {
                subject: strata[site.name] for site in sites for subject in site.participants["participant_id"]
            }
            rows = second_pass(place, cohort, _protocol(sites), strata=of_subject)[0]
            outputs.write_failures(place, [])
            compared, even, said = _over_sites(rows, cohort.participants, harmonize)
            about = _pooling(sites, strata, controls) | {"harmonized": said}
            outputs.write_pooling(place, about, compared, even)
    return open_results(place)


def _over_sites(
    rows: pd.DataFrame, people: pd.DataFrame, harmonize: str
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Groups over sites, as measured and, where asked for, by ComBat; its values; what is to be said of it."""
    measured = _compared(rows, people).assign(values="measured")
    if not harmonize:
        return measured, pd.DataFrame(columns=COLUMNS), []
    indexed = people.set_index("participant_id")
    even, said = combat(rows, indexed["group"], indexed["site"])
    both = [measured, _compared(as_rows(even), people).assign(values="combat")]
    return pd.concat([part for part in both if len(part)], ignore_index=True), even, said


def _require_apart(sites: Sequence[Shared], files: Sequence[Path]) -> None:
    """Refuse two archives of one site, by its name or by the rows of a session, which no two children have alike."""
    if not sites:
        raise LayoutError("no archive to pool; give the files that ipha share wrote")
    held = [_prints(site.rows) for site in sites]
    for (n, one), (m, other) in combinations(enumerate(sites), 2):
        both = f"{files[n]} and {files[m]}"
        if one.name == other.name:
            raise LayoutError(f"{both} are both of the site {one.name}; pool one of them, or share again with --site")
        if same := len(held[n] & held[m]):
            raise LayoutError(
                f"{both}: {same} sessions of {other.name} are those of {one.name}; pool each session once"
            )


def _prints(rows: pd.DataFrame) -> set[int]:
    """A number for all that was measured in a session, of each session with ten values or more."""
    known = rows[rows["value"].notna()]
    each = pd.util.hash_pandas_object(known[["modality", "region", "measure", "value"]], index=False)
    sums = each.groupby([known["subject"], known["session"]]).agg(["sum", "size"])
    return set(sums.loc[sums["size"] >= _LEAST_VALUES, "sum"])


def _strata(sites: Sequence[Shared], stratify: bool) -> dict[str, str]:
    """Which sites measured alike, each named by the first of them.

    Raises
    ------
    LayoutError
        Where they did not and that is not asked for.
    """
    groups: dict[str, list[Shared]] = {}
    for site in sites:
        groups.setdefault(str((site.site["settings"], sorted(site.site["versions"].items()))), []).append(site)
    found = {site.name: group[0].name for group in groups.values() for site in group}
    if len(groups) > 1 and not stratify:
        first, *others = (group[0] for group in groups.values())
        said = "; ".join(f"{other.name} from {first.name} in {_apart(first, other)}" for other in others)
        raise LayoutError(
            f"sites measured with other settings or versions differ in their rows: {said}; analyze them alike, or pool "
            "with --stratify, where controls count only for those measured alike"
        )
    return found


def _apart(one: Shared, other: Shared) -> str:
    """What two sites measured with that differs."""
    settings = [_of(site).first_pass() for site in (one, other)]
    differing = [
        f"{section}.{name} ({value} and {settings[1][section][name]})"
        for section, values in settings[0].items()
        for name, value in values.items()
        if value != settings[1][section][name]
    ]
    versions = [
        f"{name} {one.site['versions'].get(name)} and {version}"
        for name, version in other.site["versions"].items()
        if one.site["versions"].get(name) != version
    ]
    return ", ".join([*differing, *versions]) or "settings that this version does not know"


def _of(site: Shared) -> Protocol:
    return Protocol.from_toml(site.protocol, name=f"protocol of {site.name}")


def _protocol(sites: Sequence[Shared]) -> Protocol:
    """The settings that sites agree on; where they do not, those of the first."""
    return _of(sites[0])


def _cohort(out: Path, sites: Sequence[Shared]) -> Cohort:
    """Tables of a cohort folder without images, so that results find who is who; and the cohort they make."""
    people = pd.concat([site.participants.assign(site=site.name) for site in sites], ignore_index=True).fillna("n/a")
    people = people.sort_values("participant_id", ignore_index=True)
    root = out / _COHORT
    root.mkdir(exist_ok=True)
    outputs.write_tsv(root / "participants.tsv", people)
    visits = pd.concat([site.visits for site in sites], ignore_index=True).fillna("n/a")
    for subject, own in visits.groupby("participant_id"):
        folder = root / str(subject)
        folder.mkdir(exist_ok=True)
        known = own[own["session_id"] != ""].drop(columns="participant_id")
        outputs.write_tsv(folder / f"{subject}_sessions.tsv", known)
    pairs = sorted({pair for site in sites for pair in zip(site.rows["subject"], site.rows["session"], strict=True)})
    return Cohort(root, tuple(SessionFiles(*pair) for pair in pairs), people.replace("n/a", ""), ())


def _write_sessions(out: Path, site: Shared) -> None:
    """Every session of a site, as if measured here: rows, histograms, how images were made."""
    made = dict(iter(site.acquisitions.groupby(["subject", "session"])))
    for (subject, session), rows in site.rows.groupby(["subject", "session"], sort=False):
        files = SessionFiles(str(subject), str(session))
        source = {"site": site.name, "shared": site.digest}
        with outputs.session_lock(out, files):
            if outputs.is_done(out, files, source):
                continue
            parts = [Part("", rows)] + [
                Part(modality, rows.iloc[:0], histogram=counts)
                for (*key, modality), counts in site.histograms.items()
                if tuple(key) == (subject, session)
            ]
            facts = made.get((subject, session))
            records: list[Any] = [] if facts is None else facts.to_dict("records")
            result = SessionResult(files.subject, files.session, parts, [], records)
            outputs.write_session(out, files, result, source, f"{files.label} as shared by {site.name}\n")


def _compared(rows: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Groups over sites, where there are controls and others at all."""
    indexed = people.set_index("participant_id")
    try:
        return compare_sites(rows, indexed["group"], indexed["site"])
    except DataError:
        return compare_sites(table([]), pd.Series({"": "control"}), pd.Series({"": ""}))


def _pooling(sites: Sequence[Shared], strata: Mapping[str, str], controls: str) -> dict[str, Any]:
    """What was pooled with what, and how images of sites differ, for a reader."""
    return {
        "controls": controls,
        "said": _SAID[controls],
        "sites": {
            site.name: {
                "sessions": int(site.site["sessions"]), "participants": len(site.participants),
                "controls": int((site.participants["group"].isin(["control", "controls"])).sum()),
                "ages": site.site["ages"], "versions": site.site["versions"], "measured alike with": strata[site.name],
                "digest": site.digest,
            }
            for site in sites
        },
        "images made otherwise": _differences(sites),
    }  # fmt: skip


def _differences(sites: Sequence[Shared]) -> list[str]:
    """How the images of each two sites differ, by the first session of each."""
    said = []
    for n, one in enumerate(sites):
        for other in sites[n + 1 :]:
            for modality in map(str, Modality):
                first, second = (_facts(site, modality) for site in (one, other))
                if first and second:
                    apart = sorted({", ".join(unlike(a, b, modality)) for a in first for b in second} - {""})
                    said += [f"{modality} of {other.name} from {one.name}: {text}" for text in apart]
    return said


def _facts(site: Shared, modality: str) -> list[dict[Any, Any]]:
    """The ways in which a site made images of a modality, each once."""
    own = site.acquisitions[site.acquisitions["modality"] == modality].replace("n/a", "")
    facts = own.drop(columns=["subject", "session", "modality"]).drop_duplicates()
    return with_numbers(facts, []).to_dict("records")
