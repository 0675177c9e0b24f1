"""What may be said of a series: an allow-list of acquisition facts, numbers and words of known lists only.

Whatever a header holds in free text, only words that stand in the lists below are let through. So no name, number,
date or place can reach a table or a sidecar, wherever in the header it was hidden.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ipha_toolkit.io.dicom import Part, Stack, component
from ipha_toolkit.protocol import DEFAULT, Protocol

if TYPE_CHECKING:
    from pydicom import Dataset

_WORDS = """
ax axial tra trans transversal transverse cor coronal koronar sag sagittal obl oblique chest thorax torax thx thoracic
thoracique thoraxique lung lungs lunge lungen pulmonary pulmonaire pulmonar pulmo pulmon poumon poumons pulmones hrct
abdomen abd bauch head brain skull schaedel neck hals cou heart herz coeur spine tspine cspine lspine pelvis becken knee
liver leber kidney kidneys niere hand foot hip shoulder leg arm body whole mediastinum mediastin mediastino insp inspir
inspiration inspiracion inspiratory ins einatmung exp expir expiration exsp exspiration exspiratorisch expiratory espir
espiracion espiratoria end ausatmung breath breathhold hold bh bhold atemanhalten atemstopp apnee apnea free breathing fb
freie atmung freiatmend respiration respiracion libre gated trig trigger triggered nav navi navigator resp pre post
contrast kontrast contraste nativ native natif sin sans con avec mit ohne without with iv gd km pdc art arterial
arteriell arteriel ven venous venosa venoes portal portalvenous delayed late early tardif tardia spaet phase phases
dynamic dyn scout localizer localiser lokalisierer localizador reperage loc survey topogram topogramm surview scanogram
uebersicht plan test bolus premonitoring monitoring smartprep tracker surestart care mip minip mpr vrt sub subtr
subtraktion subtraction soustraction sustraccion adc dwi diff diffusion ep2d trace perf perfusion swi angio tof cine flow
bold fat fett graisse grasa water wasser eau agua fraction ff fettfraktion map karte carte mapa in inphase opp opposed
out outphase dixon mdixon qdixon q w f t1 t2 t1w t2w t2* t2star pd pdw stir tirm ir flair tse fse frfse haste ss ssh
ssfse ssfp bssfp single shot blade propeller multivane vibe lava flex thrive ethrive flash fl3d fl2d spgr fspgr tfe ffe
gre me multi echo echos echoes echo multiecho megre mgre ute zte star petra r2* r2star medic merge mffe mfe ideal iq trufi
fiesta bffe btfe balanced fs fatsat sat spair spir twist tricks 3d 2d 4d ct mr mri cr dx hr thin thick duenn dick fin
fins fines finos fino soft tissue weichteil weichteile fenster lungenfenster weichteilfenster parenchyme parenquima
ventana fenetre bone knochen os hueso sharp standard std smooth edge detail recon rec reko coupe coupes corte cortes
schicht schichten dose dosis report bericht rapport informe summary patient protocol protokoll protocole screen capture
save secondary ap pa ll rl lld rld lat lateral seitlich profil perfil face front frontal face supine prone liegend stehend
upright erect debout portable bedside film xray roentgen radio radiographie radiografia low ld repeat rpt wdh run
magnitude mag pha real imaginary segmentation mask
""".split()
_TOKEN = re.compile(r"\d{1,2}([.,]\d{1,2})?(mm|cm|ms)|[bh]\d{2}[a-z]?|b[rvfl]\d{2}[a-z]?|fc\d{2}")
_KERNEL = re.compile(
    r"[a-z]{1,2}\d{2}[a-z]?|fc\d{2}|standard|std|lung|bone|boneplus|soft|detail|chest|edge|sharp|smooth|body|"
    r"[a-ely]{1,2}|[1-5]", re.IGNORECASE
)  # fmt: skip
_IMAGE_TYPE = frozenset(
    """ORIGINAL DERIVED PRIMARY SECONDARY AXIAL LOCALIZER REFORMATTED AVERAGE MPR MIP MINIP MIN_IP PROJECTION IMAGE
    SUBTRACTION ADC FAT WATER W F IN_PHASE OUT_PHASE OPP_PHASE IP OP DIXON FAT_FRACTION FRACTION T1 T2 NONE M P R I M_FFE
    P_FFE R_FFE I_FFE M_SE P_SE FFE SE M_IR IR NORM ND DIS2D DIS3D MOSAIC MAGNITUDE PHASE REAL IMAGINARY MON SCREEN SAVE
    SEC_CAP SCREENSHOT OTHER VOLUME MULTI_ECHO RECON COMPOSED TSE GR MPR_CURVED CSA FM RESAMPLED""".split()
)
_SEQUENCE = frozenset("SE IR GR EP RM SK MTC SS TRSS SP MP OSP".split())
_BODY = frozenset(
    """CHEST LUNG THORAX ABDOMEN PELVIS HEAD BRAIN NECK HEART SPINE CSPINE TSPINE LSPINE STOMACH LIVER KIDNEY KNEE HAND FOOT
    HIP SHOULDER LEG ARM BREAST SKULL EXTREMITY WHOLEBODY PARTIALBODY TRUNK CHESTABDOMEN CHESTABDPELVIS ABDOMENPELVIS
    AORTA CARDIAC MEDIASTINUM""".split()
)
_VIEWS = frozenset("AP PA LL RL LLD RLD LLO RLO LATERAL LAT".split())
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
        name: round(float(told[fact]) * scale, 9) for name, (fact, scale) in _SIDECAR.items() if told.get(fact, "") != ""
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
    sequence = [word for word in str(told.get("sequence", "")).split() if word in _SEQUENCE]
    return found | ({"ScanningSequence": " ".join(sequence)} if sequence else {})


def known_words(*texts: Any) -> str:
    """Words of the lists above, in the order of the texts, each once; everything else is left out."""
    found = [
        token
        for text in texts
        for token in re.split(r"[^a-z0-9.,*]+", _plain(text))
        if token.strip(".,") in _known() or _TOKEN.fullmatch(token)
    ]
    return " ".join(dict.fromkeys(token.strip(".,") for token in found))


@cache
def _known() -> frozenset[str]:
    return frozenset(_WORDS)


def _plain(text: Any) -> str:
    """Lower case without accents."""
    spelled = str(text or "").lower().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    return unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()


def _listed(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [str(value)] if isinstance(value, str) else [str(item) for item in value]


def _among(words: Iterable[str], allowed: Iterable[str]) -> str:
    return " ".join(word for word in (str(word).upper().strip() for word in words) if word in allowed)


def _said(header: Dataset) -> dict[str, str | float]:
    modality = str(header.get("Modality", "")).upper()
    agent = str(header.get("ContrastBolusAgent") or header.get("ContrastBolusAgentSequence") or "").strip().lower()
    number = header.get("SeriesNumber")
    return {
        "modality": _ROLES_OF.get(modality, re.sub(r"[^a-z]", "", modality.lower())[:8]),
        "words": known_words(header.get("SeriesDescription"), header.get("ProtocolName"), header.get("SequenceName"),
                             header.get("PulseSequenceName")),
        "sequence": _sequence(header),
        "body_part": _among([str(header.get("BodyPartExamined") or "").replace(" ", "")], _BODY),
        "view": _among([str(header.get("ViewPosition") or "")], _VIEWS),
        "maker": _maker(header),
        "contrast": next((name for name, pattern in _AGENTS.items() if re.search(pattern, agent)), "YES" if agent else ""),
        "burned_in": "yes" if str(header.get("BurnedInAnnotation") or "").upper() == "YES" else "",
        "field_t": _number(header.get("MagneticFieldStrength")),
        "kvp": _number(header.get("KVP")),
        "number": float(number) if str(number or "").isdigit() else "",
    }  # fmt: skip


def _sequence(header: Dataset) -> str:
    """ScanningSequence and its variants; of enhanced objects what their own words say."""
    echo, inverted = str(header.get("EchoPulseSequence") or ""), str(header.get("InversionRecovery") or "")
    told = [*_listed(header.get("ScanningSequence")), *_listed(header.get("SequenceVariant"))]
    told += ["SE"] if echo == "SPIN" else ["GR"] if echo == "GRADIENT" else []
    return _among([*told, *(["IR"] if inverted == "YES" else [])], _SEQUENCE)


def _maker(header: Dataset) -> str:
    given = f"{header.get('Manufacturer') or ''} ".lower()
    return next((name for text, name in _MAKERS.items() if given.startswith(text)), "")


def _placed(part: Part, header: Dataset) -> dict[str, str | float]:
    stack = part.echoes[0]
    first, times = stack.frames[0], [echo.frames[0].te_ms for echo in part.echoes]
    mr = str(header.get("Modality", "")) == "MR"
    kind = {word for frame in part.frames for token in frame.kind for word in re.split(r"[ \\]", token.upper())}
    spacing = stack.spacing_mm if first.position is not None else (*(first.spacing or ()), "")[:3]
    return {
        "kind": _object(part),
        "image_type": _among(_ordered(first.kind, kind), _IMAGE_TYPE),
        "component": component(first),
        "matrix": f"{first.columns} x {first.rows}",
        "spacing_mm": " x ".join(f"{float(step):.4g}" for step in spacing if step != ""),
        "thickness_mm": _number(first.thickness),
        "slices": float(stack.shape[2]),
        "kernel": _kernel(first.kernel),
        "tr_ms": _number(first.tr_ms) if mr else "",
        "te_ms": _number(times[0]) if mr else "",
        "te_all_ms": ", ".join(f"{te:.4g}" for te in times if te is not None) if mr else "",
        "echoes": float(len(part.echoes)) if mr else "",
        "flip_deg": _number(first.flip_deg) if mr else "",
        "plane": _plane(stack),
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
    screen = words & {"SCREEN SAVE", "SCREENSHOT", "SEC_CAP", "CAPTURE"} or str(header.get("ConversionType")) in ("WSD", "SI")
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
