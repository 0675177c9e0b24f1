"""What may be said of a series: an allow-list of acquisition facts, numbers and words of known lists only.

Whatever a header holds in free text, only words of ``tables/series_words.tsv`` are let through. So no name, number,
date or place can reach a table or a sidecar, wherever in the header it was hidden.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ipha_toolkit.io.acquisition import FAT_WORDS
from ipha_toolkit.io.dicom import Part, Stack, component
from ipha_toolkit.io.packaged import read_packaged
from ipha_toolkit.protocol import DEFAULT, Protocol

if TYPE_CHECKING:
    from pydicom import Dataset

_TOKEN = re.compile(r"\d{1,2}([.,]\d{1,2})?(mm|cm|ms)|[bh]\d{2}[a-z]?|b[rvfl]\d{2}[a-z]?|fc\d{2}")
_KERNEL = re.compile(
    r"[a-z]{1,2}\d{2}[a-z]?|fc\d{2}|standard|std|lung|bone|boneplus|soft|detail|chest|edge|sharp|smooth|body|"
    r"[a-ely]{1,2}|[1-5]", re.IGNORECASE
)  # fmt: skip
_MAKERS = {
    "siemens": "Siemens", "ge ": "GE", "ge medical": "GE", "philips": "Philips", "canon": "Canon", "toshiba": "Toshiba",
    "hitachi": "Hitachi", "fuji": "Fujifilm", "united imaging": "UIH", "uih": "UIH", "agfa": "Agfa",
    "carestream": "Carestream", "kodak": "Kodak", "konica": "Konica Minolta", "samsung": "Samsung",
}  # fmt: skip
_AGENTS = {
    "GADOLINIUM": r"gad|gd\b|dota|magnevist|primovist|eovist|prohance|omniscan|multihance",
    "IODINE": r"io[dhmpv]|omnipaque|visipaque|ultravist|isovue|imeron|xenetix|accupaque|solutrast",
}
_ROLES_OF = {"CT": "ct", "MR": "mr", "CR": "dx", "DX": "dx", "RG": "dx", "XC": "dx"}
_DOCUMENTS = ("SR", "PR", "KO", "DOC", "REG", "FID", "RTPLAN", "RTDOSE", "RTRECORD", "AU", "PLAN", "SMR", "ECG")
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
_SIDECAR = {
    "RepetitionTime": ("tr_ms", 1e-3), "FlipAngle": ("flip_deg", 1.0), "MagneticFieldStrength": ("field_t", 1.0),
    "SliceThickness": ("thickness_mm", 1.0), "KVP": ("kvp", 1.0),
}  # fmt: skip


def facts(part: Part, *, protocol: Protocol = DEFAULT) -> dict[str, str | float]:
    """Everything the rules and the table may know of an image; what the header does not give is empty.

    Times in ms, lengths in mm, field strength in T.
    """
    header = part.series.header
    told = _said(header) | (_placed(part, header) if part.echoes else {"kind": _object(part)})
    kernel = str(told.get("kernel", ""))
    told["kernel_kind"] = next(
        (
            kind
            for kind, pattern in (("soft", protocol.series.soft_kernels), ("lung", protocol.series.lung_kernels))
            if kernel and re.search(pattern, kernel, re.IGNORECASE)
        ),
        "",
    )
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in told.items()}


def sidecar(part: Part, stack: Stack, told: dict[str, str | float]) -> dict[str, Any]:
    """The JSON file beside an image, BIDS spelling: times in s, angles in degrees, field in T."""
    found: dict[str, Any] = {
        name: round(float(told[fact]) * scale, 9)
        for name, (fact, scale) in _SIDECAR.items()
        if told.get(fact, "") != ""
    }
    te_ms = stack.frames[0].te_ms
    if te_ms is not None and told["modality"] == "mr":
        found["EchoTime"] = round(te_ms / 1000, 9)
    words = {
        "Manufacturer": "maker", "ConvolutionKernel": "kernel", "ContrastBolusIngredient": "contrast",
        "BodyPartExamined": "body_part", "ViewPosition": "view",
    }  # fmt: skip
    found |= {name: told[fact] for name, fact in words.items() if told.get(fact)}
    if told["modality"] == "dx":
        found["PhotometricInterpretation"] = "MONOCHROME2"
    if set(str(told.get("words", "")).split()) & FAT_WORDS:
        found["FatSuppression"] = True
    sequence = [word for word in str(told.get("sequence", "")).split() if word in _known("sequence")]
    return found | ({"ScanningSequence": " ".join(sequence)} if sequence else {})


def known_words(*texts: Any) -> str:
    """Words of the lists above, in the order of the texts, each once; everything else is left out."""
    found = [
        token
        for text in texts
        for token in re.split(r"[^a-z0-9.,*]+", _plain(text))
        if token.strip(".,") in _known("words") or _TOKEN.fullmatch(token)
    ]
    return " ".join(dict.fromkeys(token.strip(".,") for token in found))


@cache
def _known(fact: str) -> frozenset[str]:
    """Words that may be said of a fact, from ``tables/series_words.tsv``."""
    table = read_packaged("series_words.tsv")
    return frozenset(table.loc[table["fact"] == fact, "word"])


def _plain(text: Any) -> str:
    """Lower case without accents."""
    spelled = str(text or "").lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    return unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()


def _listed(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(value)] if isinstance(value, str) else [str(item) for item in value]


def _among(words: Iterable[str], fact: str) -> str:
    return " ".join(word for word in (str(word).upper().strip() for word in words) if word in _known(fact))


def _said(header: Dataset) -> dict[str, str | float]:
    modality = str(header.get("Modality", "")).upper()
    number = header.get("SeriesNumber")
    return {
        "modality": _ROLES_OF.get(modality, re.sub(r"[^a-z]", "", modality.lower())[:8]),
        "words": known_words(header.get("SeriesDescription"), header.get("ProtocolName"), header.get("SequenceName"),
                             header.get("PulseSequenceName")),
        "sequence": _sequence(header),
        "body_part": _among([str(header.get("BodyPartExamined") or "").replace(" ", "")], "body_part"),
        "maker": _maker(header),
        "burned_in": "yes" if str(header.get("BurnedInAnnotation") or "").upper() == "YES" else "",
        "field_t": _number(header.get("MagneticFieldStrength")),
        "kvp": _number(header.get("KVP")),
        "number": float(number) if str(number or "").isdigit() else "",
    }  # fmt: skip


def _agent(text: str) -> str:
    agent = text.strip().lower()
    return next((name for name, pattern in _AGENTS.items() if re.search(pattern, agent)), "YES" if agent else "")


def _sequence(header: Dataset) -> str:
    """ScanningSequence and its variants; of enhanced objects what their own words say."""
    echo, inverted = str(header.get("EchoPulseSequence") or ""), str(header.get("InversionRecovery") or "")
    told = [*_listed(header.get("ScanningSequence")), *_listed(header.get("SequenceVariant"))]
    told += ["SE"] if echo == "SPIN" else ["GR"] if echo == "GRADIENT" else []
    return _among([*told, *(["IR"] if inverted == "YES" else [])], "sequence")


def _maker(header: Dataset) -> str:
    given = f"{header.get('Manufacturer') or ''} ".lower()
    return next((name for text, name in _MAKERS.items() if given.startswith(text)), "")


def _placed(part: Part, header: Dataset) -> dict[str, str | float]:
    stack = part.echoes[0]
    first, times = stack.frames[0], [echo.frames[0].te_ms for echo in part.echoes]
    mr = str(header.get("Modality", "")) == "MR"
    kind = {word for frame in part.frames for token in frame.kind for word in re.split(r"[ \\]", token.upper())}
    spacing = stack.spacing_mm if first.position is not None else first.spacing or ()
    return {
        "kind": _object(part),
        "image_type": _among(_ordered(first.kind, kind), "image_type"),
        "component": component(first),
        "matrix": f"{first.columns} x {first.rows}",
        "spacing_mm": " x ".join(f"{step:.4g}" for step in spacing),
        "thickness_mm": _number(first.thickness),
        "slices": float(stack.shape[2]),
        "kernel": _kernel(first.kernel),
        "tr_ms": _number(first.tr_ms) if mr else "",
        "te_ms": _number(times[0]) if mr else "",
        "te_all_ms": ", ".join(f"{te:.4g}" for te in times if te is not None) if mr else "",
        "echoes": float(len(part.echoes)) if mr else "",
        "flip_deg": _number(first.flip_deg) if mr else "",
        "plane": _plane(stack),
        "contrast": _agent(first.agent),
        "view": _among([first.view], "view"),
        "wrong": "; ".join(wrong_with(part)),
    }


def _ordered(first: Iterable[str], words: set[str]) -> list[str]:
    told = [word for token in first for word in re.split(r"[ \\]", token.upper())]
    return [*dict.fromkeys(told), *sorted(words - set(told))]


def wrong_with(part: Part) -> list[str]:
    """What keeps an image from being a volume, or from being taken as it is, in words."""
    wrong = list(part.wrong)
    for stack in part.echoes:
        wrong += [stack.wrong] if stack.wrong and not part.is_film else []
        if stack.gaps:
            wrong.append(f"{stack.gaps} of {stack.shape[2]} slices missing between others")
        if stack.tilt_deg:
            wrong.append(f"gantry tilted by {stack.tilt_deg:.1f} degrees")
    return list(dict.fromkeys(wrong))


def _kernel(text: str) -> str:
    names = [name for name in re.split(r"[\\ ]", text) if _KERNEL.fullmatch(name)]
    return "-".join(names)


def _object(part: Part) -> str:
    """``image``, ``secondary`` (a screenshot or scanned paper), ``document``, ``segmentation`` or ``contours``."""
    header = part.series.header
    modality, kind = str(header.get("Modality", "")), str(header.get("SOPClassUID", ""))
    if modality in ("SEG", "RTSTRUCT"):
        return "segmentation" if modality == "SEG" else "contours"
    if not part.echoes or modality in _DOCUMENTS:
        return "document"
    words = {word.upper() for word in part.frames[0].kind}
    screen = words & {"SCREEN SAVE", "SCREENSHOT", "SEC_CAP", "CAPTURE"} or str(header.get("ConversionType")) in (
        "WSD",
        "SI",
    )
    return "secondary" if screen or (kind.startswith(_SECONDARY) and not part.is_film) else "image"


def _plane(stack: Stack) -> str:
    if stack.frames[0].orientation is None:
        return ""
    orientation = np.array(stack.frames[0].orientation)
    normal = np.abs(np.cross(orientation[:3], orientation[3:]))
    name = ("sagittal", "coronal", "axial")[int(normal.argmax())]
    return name if normal.max() > 0.9 else f"oblique {name}"


def _number(value: Any) -> str | float:
    try:
        return float(value) if value not in (None, "") and abs(float(value)) < 1e7 else ""
    except (TypeError, ValueError):
        return ""
