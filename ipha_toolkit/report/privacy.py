"""Patient identifiers and private paths, searched for before a page is written.

What is looked for
------------------
- **Identifiers of the images at hand**: names, ids, dates of birth and the like, taken from the metadata of the
  volumes that the notebook loaded, and from JSON sidecars and DICOM headers at the paths that its cells and parameters
  name.
- **What looks like one**: a DICOM name (``DOE^JANE``), an identifying key with a value (``PatientID: 4711``), a date
  of birth.
- **Absolute paths** that tell of a person or machine: home folders, drives, the folder of the notebook.

Searched are the sources of cells, their outputs, errors and warnings, and the saved widget state. Pictures are not:
a name burnt into the pixels is not found. Pseudonyms of the cohort folder (``sub-001``) are meant to be published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from itertools import islice
from pathlib import Path
from typing import Any

from ipha_toolkit.errors import PrivacyError
from ipha_toolkit.io.files import home, real

NAMES = ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ResponsiblePerson")
DATES = ("PatientBirthDate",)
OTHERS = (
    "PatientID", "OtherPatientIDs", "IssuerOfPatientID", "PatientAddress", "PatientTelephoneNumbers",
    "AccessionNumber", "StudyID", "AdmissionID", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "RequestingPhysician",
    "NameOfPhysiciansReadingStudy", "StationName", "DeviceSerialNumber", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "FrameOfReferenceUID",
)  # fmt: skip
KEYS = frozenset({*NAMES, *DATES, *OTHERS})

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

_MIME = "application/vnd.ipha.identifiers+json"
_HEADERS = (".json", ".dcm", ".ima", "")
_MOST_FILES = 20_000
_EMPTY = {
    "",
    "none",
    "nan",
    "null",
    "n/a",
    "na",
    "unknown",
    "anonymous",
    "anonymized",
    "anonymised",
    "removed",
    "phantom",
}


@dataclass(frozen=True)
class Identifier:
    """A value that must not be published, the key it stands under, and where it was found."""

    key: str
    value: str
    source: str


@dataclass(frozen=True)
class Finding:
    """An identifier in a notebook: what it is, the text as it stands there, and the cell, counted from 1."""

    what: str
    text: str
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}: {self.text}"


def search(
    notebook: Any, path: Path, identifiers: Iterable[Identifier] = (), *, allow: Iterable[str] = ()
) -> list[Finding]:
    """Everything in an executed notebook that looks like an identifier or a private path.

    Parameters
    ----------
    notebook : NotebookNode
    path : Path
        Where the notebook lies; its folder is private.
    identifiers : iterable of Identifier
        Values known to be identifying, see :func:`beside` and :func:`heard`.
    allow : iterable of str
        A finding whose text is, or begins with, one of these is not reported.

    Returns
    -------
    list of Finding
        Each text once a cell, in order of the cells; widget state last.
    """
    return search_texts([("file name", path.stem), *_texts(notebook)], identifiers, place=path, allow=allow)


def search_texts(
    texts: Iterable[tuple[str, str]], identifiers: Iterable[Identifier] = (), *, place: Path, allow: Iterable[str] = ()
) -> list[Finding]:
    """As :func:`search`, of texts, each with the words for where it stands; the folder of ``place`` is private."""
    allowed = tuple(text.casefold() for text in allow if text)
    patterns = [*_known_patterns(identifiers), *_place_patterns(place), *_GENERAL]
    found: dict[tuple[str, str], Finding] = {}
    for where, text in texts:
        for what, pattern in patterns:
            for match in pattern.finditer(text):
                hit = match[match.lastgroup or 0].strip(" '\",;:.")
                if not _harmless(hit) and not (allowed and hit.casefold().startswith(allowed)):
                    found.setdefault((where, hit), Finding(what, hit, where))
    return list(found.values())


def require_none(findings: Sequence[Finding], name: str) -> None:
    """Stop where something was found.

    Raises
    ------
    PrivacyError
        Listing what and in which cell, and how to allow it.
    """
    if findings:
        listed = "".join(f"\n- {finding}" for finding in findings[:20])
        more = f"\n- and {len(findings) - 20} more" if len(findings) > 20 else ""
        raise PrivacyError(
            f"{name}: not written, it would publish:{listed}{more}\n"
            "Take it out, give paths relative to the notebook, or allow it by name: --allow TEXT"
        )


# -- identifiers of the images at hand --

# Run after the notebook's last cell: tells what the metadata of its volumes say of the patient.
PROBE = f"""\
try:
    from IPython.display import display as _display
    from ipha_toolkit.report.privacy import loaded as _loaded
    _display({{"{_MIME}": _loaded()}}, raw=True)
except ImportError:
    pass
"""


def loaded() -> list[list[str]]:
    """Key, value and image of every identifier in the metadata of the Volumes alive in this process."""
    import gc

    from ipha_toolkit.volume import Volume

    volumes = [thing for thing in gc.get_objects() if isinstance(thing, Volume)]
    found = {(i.key, i.value, i.source) for volume in volumes for i in _of(volume.meta, volume.name)}
    return sorted(map(list, found))


def heard(outputs: Iterable[Any]) -> tuple[Identifier, ...]:
    """Identifiers told by the outputs of :data:`PROBE`."""
    told = (row for output in outputs for row in output.get("data", {}).get(_MIME, []))
    return tuple(Identifier(*map(str, row)) for row in told)


def beside(places: Iterable[Path]) -> tuple[Identifier, ...]:
    """Identifiers in JSON sidecars and DICOM headers at, beside and below paths; what cannot be read is passed over."""
    found = dict.fromkeys(i for place in places for file in _files(place) for i in _of(_facts(file), str(file)))
    return tuple(found)


def named(notebook: Any, folder: Path) -> list[Path]:
    """Files and folders that texts in the notebook's cells name, seen from its folder."""
    texts = {text for cell in notebook.cells if cell.cell_type == "code" for text in _literals(cell.source)}
    places = (folder / text for text in sorted(texts) if 0 < len(text) < 400 and "\0" not in text)
    return [place for place in places if _within_reach(place, folder)]


def _within_reach(place: Path, folder: Path) -> bool:
    """Whether a place is there, and not a folder that holds the notebook's own folder and much besides."""
    try:
        return place.exists() and real(place) not in real(folder).parents
    except OSError:
        return False


def _literals(source: str) -> list[str]:
    import ast

    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # magics of IPython
        return re.findall(r"""["']([^"'\n]+)["']""", source)
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _files(place: Path) -> list[Path]:
    """Metadata files of a path: of an image those of the same name, of a folder all below it."""
    if place.is_dir():
        below = islice(place.rglob("*"), _MOST_FILES)
        return [path for path in below if path.suffix.lower() in _HEADERS and path.is_file()]
    if not place.is_file():
        return []
    sidecar = place.parent / (place.name.split(".")[0] + ".json")
    return [path for path in (place, sidecar) if path.is_file()]


def _facts(file: Path) -> dict[str, Any]:
    if file.suffix.lower() == ".json":
        try:
            content = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
    return _header(file)


def _header(file: Path) -> dict[str, Any]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=sorted(KEYS))
    except (InvalidDicomError, OSError, ValueError, AttributeError, KeyError):
        return {}
    return {key: str(header.get(key, "")) for key in KEYS if key in header}


def _of(facts: Any, source: str) -> Iterator[Identifier]:
    """Identifiers among facts; an id that is the pseudonym in the file's own name is none."""
    pseudonyms = {label.casefold() for label in re.findall(r"sub-([0-9a-zA-Z]+)", source)}
    for key, value in dict(facts or {}).items():
        if key not in KEYS:
            continue
        for text in value if isinstance(value, list | tuple) else [value]:
            text = " ".join(str(text).split())
            if not _harmless(text) and text.casefold().removeprefix("sub-") not in pseudonyms:
                yield Identifier(key, text, source)


# -- patterns --

_PLACES = "home|Users|root|mnt|media|Volumes|srv|scratch|nfs|net|data|work|tmp|var|private"
_STEP = r"[^\s/\\:\"'<>|,;)\]}]+"
_BEFORE = r"(?<![\w./\\~-])"
_KEY = "|".join(sorted(KEYS))
_DAY = r"\d{4}-?\d\d-?\d\d|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}"
_PATH = "an absolute path"
_GENERAL = [
    (what, re.compile(pattern))
    for what, pattern in (
        ("a name as DICOM writes it", r"\b[A-Z][A-Za-z'-]+\^[A-Z][A-Za-z'^-]*[A-Za-z]"),
        ("an identifying key with its value", rf"(?:{_KEY})\b[\"']?\]?\)?\s*[:=]+\s*[\"']?(?P<value>[^\s\"',;}}\]<]+)"),
        (
            "an identifying DICOM element",
            r"\(0010, ?(?:0010|0020|0030|1000|1001|1040|2154)\)[^:\n]*:\s*[\"']?(?P<value>[^\n\"']+)",
        ),
        ("a date of birth", rf"(?i:date of birth|birth ?date|born(?: on)?|\bDOB)\W{{0,4}}(?P<value>{_DAY})"),
        (_PATH, rf"{_BEFORE}/(?:{_PLACES})/(?!ipykernel_){_STEP}(?:/{_STEP})*"),
        (_PATH, rf"{_BEFORE}[A-Za-z]:(?:\\{{1,2}}|/)(?:Users|Documents and Settings|home)[^\s\"'<>|]*"),
        (_PATH, r"(?<![\w\\])\\\\{1,3}[A-Za-z][\w.-]+\\{1,2}[\w$.-]+(?:\\{1,2}[^\s\"'<>|]+)"),
    )
]


def _known_patterns(identifiers: Iterable[Identifier]) -> list[tuple[str, re.Pattern[str]]]:
    return [
        (f"{identifier.key} of {Path(identifier.source).name or 'an image'}", re.compile(spelling, flags))
        for identifier in dict.fromkeys(identifiers)
        for spelling, flags in _spellings(identifier)
    ]


def _spellings(identifier: Identifier) -> Iterator[tuple[str, int]]:
    """Patterns of the ways a value may be written."""
    value = identifier.value
    if identifier.key in DATES:
        digits = re.sub(r"\D", "", value)
        if len(digits) == 8:
            year, month, day = digits[:4], digits[4:6], digits[6:]
            short = f"0?{int(month)}", f"0?{int(day)}"
            yield rf"(?<!\d){year}\W?{month}\W?{day}(?!\d)", 0
            yield rf"(?<!\d)(?:{short[1]}\W{short[0]}|{short[0]}\W{short[1]})\W{year}(?!\d)", 0
            return
    parts = [re.escape(part) for part in re.split(r"[\^,\s]+", value) if len(part) > 1]
    if (identifier.key in NAMES or (identifier.key.endswith("Name") and "^" in value)) and len(parts) > 1:
        one, two = parts[:2]
        yield rf"\b(?:{one}[\W_]{{1,3}}{two}|{two}[\W_]{{1,3}}{one})\b", re.I
        if len(one) >= 3:  # the family name alone, where it is written as a name
            yield rf"\b(?:{one.upper()}|{one.capitalize()})\b", 0
    if len(value) >= 3:
        yield rf"(?<![\w.]){re.escape(value)}(?![\w]|\.\d)", re.I


def _place_patterns(path: Path) -> list[tuple[str, re.Pattern[str]]]:
    folders = {str(folder) for folder in (path.resolve().parent, *home(), Path.cwd()) if len(folder.parts) > 1}
    spelled = sorted({spelling for folder in folders for spelling in (folder, folder.replace("\\", "\\\\"))})
    return [(_PATH, re.compile(rf"{_BEFORE}{re.escape(spelling)}(?![\w-])(?:[/\\]{_STEP})*")) for spelling in spelled]


def _harmless(text: str) -> bool:
    return text.casefold().strip("*<>()'\" ") in _EMPTY


# -- what a page is made of --

_BASE64 = re.compile(r"[A-Za-z0-9+/]{120,}={0,2}")


def _texts(notebook: Any) -> Iterator[tuple[str, str]]:
    """Place and text of all that a page shows or carries, encoded pixels left out."""
    for number, cell in enumerate(notebook.cells, start=1):
        yield f"cell {number}, source", cell.source
        for output in cell.get("outputs", []):
            yield f"cell {number}, output", _BASE64.sub(" ", "\n".join(_strings(_shown(output))))
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {})
    yield "widget state", _BASE64.sub(" ", "\n".join(_strings(state)))


def _shown(output: Any) -> list[Any]:
    data = output.get("data", {})
    kept = {kind: value for kind, value in data.items() if not kind.startswith("image/") or kind == "image/svg+xml"}
    texts = [unescape(value) if kind == "text/html" else value for kind, value in kept.items()]
    return [
        output.get("text", ""),
        output.get("evalue", ""),
        output.get("traceback", []),
        texts,
        output.get("metadata", {}),
    ]


def _strings(thing: Any) -> Iterator[str]:
    """Every text in nested lists and dicts, ``key: value`` on one line."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            if isinstance(value, str | int | float):
                yield f"{key}: {value}"
            else:
                yield from _strings(value)
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from _strings(item)
    elif isinstance(thing, str):
        yield re.sub(r"\x1b\[[0-9;]*m", "", thing)
