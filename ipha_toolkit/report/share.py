"""What a site gives to a pooled study: rows and histograms without names, dates, paths or images, every word listed.

Numbers and codes go in by a list of what may; labels are drawn anew, and the table that ties them to the site's own
stays with the results, readable by its owner alone. What comes out is searched for the identifiers that the cohort's
headers hold, as pages are (:mod:`ipha_toolkit.report.privacy`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from random import SystemRandom
from secrets import token_hex
from typing import Any

import pandas as pd

from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io import names, shared
from ipha_toolkit.io.acquisition import ACQUISITION_COLUMNS
from ipha_toolkit.io.identifiers import OLDEST_YEARS, read_key, write_key
from ipha_toolkit.io.layout import read_table
from ipha_toolkit.io.people import CONTROL_GROUPS
from ipha_toolkit.io.proof import damage, read_sealed
from ipha_toolkit.io.results import NOT_AS_WRITTEN, Results, SessionResults, open_results, read_acquisitions, read_rows
from ipha_toolkit.io.shared import Shared
from ipha_toolkit.report.privacy import Identifier, beside, require_none, search_texts
from ipha_toolkit.terms import Modality, Phase

KEY = "share_key.tsv"
"""Own labels beside shared ones, in the results folder; it never leaves."""
_KEY_COLUMNS = ("subject", "session", "shared_subject", "shared_session", "site")
_BANDS = (0, 2, 6, 12, 18, 40, 65, OLDEST_YEARS + 1)
_NUMBERS = ("height_cm", "weight_kg")
_VISIT_NUMBERS = ("prednisone_mg_per_day", "hemoglobin_g_dl", "ferritin_ug_l")
_GROUPS = {*CONTROL_GROUPS, "iph", "patient", "patients", "case", "cases"}
_KERNEL = re.compile(r"[A-Za-z]{1,4}\d{1,3}[a-z]{0,2}|soft|lung|standard|bone|detail|sharp|smooth")
_FACT_WORDS = {"yes", "no", "axial", "coronal", "sagittal", "3-D", "inspiration", "expiration"}
_SITE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,11}")


def share(
    results: str | os.PathLike[str] | Results,
    out: str | os.PathLike[str],
    *,
    site: str = "",
    age_bands: bool = False,
    allow: Iterable[str] = (),
) -> Path:
    """Pack what a pooled study needs of a results folder into one zip file of text.

    Labels are replaced, days count from each subject's first session, ages above 89 are 89+. There is no image, path
    or date, no free text of tables, no row of an image that ratings call unusable, and no result of the second pass.
    ``words.html`` in the archive lists every word in it: read it before you send the file.

    Parameters
    ----------
    results : path or Results
        Of :func:`ipha_toolkit.analyze`, with its cohort folder at hand.
    out : path
        The zip file, replaced where it exists.
    site : str
        Name of the site in the pooled study, letters and digits; drawn at random where none is given, and kept.
    age_bands : bool
        Ages as bands of years. Controls are then not matched by age.
    allow : iterable of str
        Share this text although it looks like an identifier.

    Returns
    -------
    Path

    Raises
    ------
    LayoutError
        Where there are no results, sessions were measured with different settings or code, or the site's name is none.
    PrivacyError
        Where the archive would hold what looks like an identifier.
    """
    found = results if isinstance(results, Results) else open_results(results)
    if site and not _SITE.fullmatch(site):
        raise LayoutError(f"site {site!r}: needs letters and digits, a letter first, 12 at most")
    key = _key(found, site)
    content = _content(found, key, age_bands)
    texts = content.texts()
    texts[shared.WORDS] = _words(texts)
    searched = [(name, text) for name, text in texts.items() if not _is_numbers(name)]  # of those, words.html has all
    findings = search_texts(searched, identifiers_of(found, key), place=found.path, allow=allow)
    require_none(findings, str(out))
    shared.write_archive(Path(out), texts)
    return Path(out)


def _is_numbers(name: str) -> bool:
    return name == shared.ROWS or name.startswith(shared.HISTOGRAMS)


def _key(found: Results, site: str) -> pd.DataFrame:
    """Own and shared label of every session; labels given once are kept."""
    path = found.path / KEY
    known = read_table(path) if path.exists() else pd.DataFrame(columns=list(_KEY_COLUMNS), dtype=str)
    site = site or (str(known["site"].iloc[0]) if len(known) else f"s{token_hex(2)}")
    subjects = dict(zip(known["subject"], known["shared_subject"], strict=True)) if site in set(known["site"]) else {}
    pairs = list(zip(known["subject"], known["session"], strict=True))
    sessions = dict(zip(pairs, known["shared_session"], strict=True)) if subjects else {}
    order = _days(found)
    own = sorted({(one.subject, one.session) for one in found}, key=lambda pair: (pair[0], order.get(pair, 0), pair[1]))
    free = [f"sub-{site}{n:04}" for n in range(1, 10_000) if f"sub-{site}{n:04}" not in subjects.values()]
    SystemRandom().shuffle(free)
    for subject, session in own:
        subjects.setdefault(subject, free.pop() if subject not in subjects else "")
        taken = sum(1 for other, _ in sessions if other == subject)
        sessions.setdefault((subject, session), f"ses-{taken + 1:02}" if session else "")
    rows = [[subject, session, subjects[subject], label, site] for (subject, session), label in sessions.items()]
    key = pd.DataFrame(rows, columns=list(_KEY_COLUMNS))
    write_key(path, key)
    return key


def _content(found: Results, key: pd.DataFrame, age_bands: bool) -> Shared:
    rows, made, sources = list[pd.DataFrame](), list[pd.DataFrame](), list[dict[str, Any]]()
    histograms: dict[tuple[str, str, str], pd.DataFrame] = {}
    cells = ([str(cell) for cell in row] for row in key.itertuples(index=False))
    new = {(own, session): (label, name) for own, session, label, name, _ in cells}
    for one in found:
        if bad := damage(one.folder):
            raise LayoutError(f"{one.folder / bad[0]}: {NOT_AS_WRITTEN}")
        source = read_sealed(one.folder / names.PROVENANCE)
        subject, session = new[one.subject, one.session]
        for table, name, read in (
            (rows, names.rows_file(one.label), read_rows),
            (made, names.acquisition_file(one.label), read_acquisitions),
        ):
            own = read(one.folder / name)
            table.append(own[_usable(own, one)].assign(subject=subject, session=session))
        for modality in (Modality.T1W, Modality.T2W, names.PAIR):
            path = one.folder / names.histogram_file(one.label, modality)
            if path.exists() and _is_usable(one, str(modality)):
                histograms[subject, session, str(modality)] = pd.read_csv(path, sep="\t")
        sources.append({name: source.get(name) for name in ("settings", "versions")})
    if not rows:
        raise LayoutError(f"{found.path}: has no measured session; run ipha analyze first")
    if any(source != sources[0] for source in sources):
        raise LayoutError(f"{found.path}: sessions were measured with different settings or code; analyze all again")
    protocol = found.protocol
    site = {
        "format": shared.FORMAT, "site": key["site"].iloc[0], "settings": protocol.first_pass_digest(),
        "versions": sources[0]["versions"], "ages": "bands" if age_bands else "years", "sessions": len(rows),
    }  # fmt: skip
    subjects = {own: label for (own, _), (label, _) in new.items()}
    return Shared(
        site, pd.concat(rows, ignore_index=True), _people(found, subjects, age_bands), _visits(found, new),
        _facts(pd.concat(made, ignore_index=True)), protocol.changes(), histograms,
    )  # fmt: skip


def _usable(table: pd.DataFrame, session: SessionResults) -> pd.Series[bool]:
    """Rows of images that no rating leaves out: whoever pools them has no ratings."""
    usable = {name: _is_usable(session, str(name)) for name in table["modality"].unique()}
    return table["modality"].map(usable).astype(bool)


def _is_usable(session: SessionResults, modality: str) -> bool:
    return all(session.is_usable(part) for part in modality.split("+"))


def _people(found: Results, subjects: Mapping[str, str], age_bands: bool) -> pd.DataFrame:
    own = found.participants.set_index("participant_id").reindex(list(subjects))
    table = pd.DataFrame({"participant_id": list(subjects.values())})
    groups = own["group"].map(lambda cell: str(cell).strip().lower()) if "group" in own else pd.Series("", own.index)
    common = {name for name, n in groups.value_counts().items() if n > 1 and re.fullmatch(r"[a-z]{2,12}", str(name))}
    table["group"] = [name if name in _GROUPS | {*map(str, Phase)} | common else "other" for name in groups]
    table["age"] = [_age(cell, age_bands) for cell in own["age"]] if "age" in own else "n/a"
    table["sex"] = [
        c if (c := str(cell).upper()[:1]) in ("F", "M", "O") else "n/a" for cell in own.get("sex", groups.index)
    ]
    for name in _NUMBERS:
        if name in own:
            table[name] = [_number(cell) for cell in own[name]]
    return table.sort_values("participant_id", ignore_index=True)


def _age(cell: object, bands: bool) -> str:
    years = pd.to_numeric(str(cell).replace("89+", "90"), errors="coerce")
    if not years >= 0:
        return "n/a"
    if years > OLDEST_YEARS:
        return f"{OLDEST_YEARS}+"
    above = next((n for n, limit in enumerate(_BANDS) if years < limit), len(_BANDS) - 1)
    return f"{_BANDS[above - 1]}-{_BANDS[above] - 1}" if bands else f"{years:g}"


def _number(cell: object) -> str:
    value = pd.to_numeric(str(cell), errors="coerce")
    return f"{value:g}" if pd.notna(value) else "n/a"


def _days(found: Results) -> dict[tuple[str, str], float]:
    """Days of each session since its subject's first, from the days or the dates of the sessions' tables."""
    visits = found.visits
    name = next((n for n in ("days", "date", "acq_time", "scan_date", "session_date") if n in visits.columns), None)
    if name is None:
        return {}
    at = visits[name]
    if name != "days":
        at = (pd.to_datetime(at, errors="coerce") - pd.Timestamp(2000, 1, 1)).dt.days
    first = pd.to_numeric(at, errors="coerce").groupby(visits["subject"]).transform("min")
    since = pd.to_numeric(at, errors="coerce") - first
    pairs = zip(visits["subject"], visits["session"], strict=True)
    return {pair: float(value) for pair, value in zip(pairs, since, strict=True) if value == value}


def _visits(found: Results, new: Mapping[tuple[str, str], tuple[str, str]]) -> pd.DataFrame:
    table, days = found.visits, _days(found)
    visits = {(str(r["subject"]), str(r["session"])): r for r in table.to_dict("records")}
    lines = []
    for own, (subject, session) in new.items():
        known = visits.get(own, {})
        phase = str(known.get("phase", "")).strip().lower()
        line = {"participant_id": subject, "session_id": session, "days": _number(days.get(own))}
        line["phase"] = phase if phase in set(map(str, Phase)) else "n/a"
        lines.append(line | {name: _number(known.get(name)) for name in _VISIT_NUMBERS if name in table})
    return pd.DataFrame(lines).sort_values(["participant_id", "session_id"], ignore_index=True)


def _facts(made: pd.DataFrame) -> pd.DataFrame:
    """How images were made; words that could be anything are left out."""
    table = made[list(ACQUISITION_COLUMNS)].copy()
    for name in ("fat_suppressed", "contrast", "plane", "kernel", "breath"):
        allowed = _KERNEL.fullmatch if name == "kernel" else _FACT_WORDS.__contains__
        table[name] = [str(cell) if isinstance(cell, str) and allowed(cell) else None for cell in table[name]]
    return table


def identifiers_of(found: Results, key: pd.DataFrame) -> list[Identifier]:
    """What must not be in the archive: identifiers of the cohort's headers and of its import key, and its labels."""
    root = found.cohort.root
    known = list(beside([root]))
    path = root / "import" / "key.tsv"
    if path.exists():
        kinds = {"patient": "PatientID", "patient_name": "PatientName", "birth_date": "PatientBirthDate",
                 "study_date": "PatientBirthDate", "study_uid": "StudyInstanceUID", "folder": "folder",
                 "description": "SeriesDescription"}  # fmt: skip
        table = read_key(path)
        known += [Identifier(kind, cell, KEY) for name, kind in kinds.items() for cell in set(table[name]) if cell]
    labels = {*key["subject"], *(label for label in key["session"] if len(label) > 6)}
    known += [Identifier("label", label.partition("-")[2], "own label") for label in labels if len(label) > 6]
    return known


def _words(texts: Mapping[str, str]) -> str:
    """A page of every word in the archive, how often and where it stands."""
    counts: dict[str, dict[str, int]] = {}
    for name, text in texts.items():
        kind = shared.HISTOGRAMS if name.startswith(shared.HISTOGRAMS) else name
        for word in re.findall(r"[^\W\d][\w.+-]*", f"{name if kind == name else ''} {text}"):
            counts.setdefault(word, {}).setdefault(kind, 0)
            counts[word][kind] += 1
    lines = [
        f"<tr><td>{escape(word)}</td><td>{escape(', '.join(f'{kind} ({n})' for kind, n in places.items()))}</td></tr>"
        for word, places in sorted(counts.items(), key=lambda each: each[0].lower())
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Every word of this archive</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<style>body{font:15px sans-serif;margin:2em}td{padding:.1em 1em .1em 0;vertical-align:top}</style></head>"
        f"<body><h1>Every word of this archive</h1><p>{len(counts)} words; all else is numbers. Look through them "
        "before you send the file: no name, no date, no place may be among them.</p>"
        f"<table><tr><th>word</th><th>where (how often)</th></tr>{''.join(lines)}</table></body></html>\n"
    )
