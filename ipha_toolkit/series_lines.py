"""Rules of series that are used by default, a line each with its source, for :mod:`ipha_toolkit.series_rules`."""

_T1_NAMES = r"\b(e?thrive|vibe|lava|flash|fl3d|fl2d|f?spgr|t1(w|_?ffe)?|3d_?tfe|tfe|star|ute|petra|zte)\b"
_T2_NAMES = r"\b(t2w?|haste|ss-?fse|ssh|tse|fse|frfse|blade|propeller|multivane)\b"
_ECHO_NAMES = r"(\bt2\*|\bt2star|\br2\*|\br2star|multi-?echo|megre|\bmffe\b|\bmfe\b|ideal|q-?dixon|\bme\b)"
_CHEST = r"\b(chest|thorax|torax|lungs?|lunge(n)?|poumons?|pulm\w*|pulmon(es)?|thorac\w*|hrct|thx)\b"
_FAR = r"\b(head|brain|skull|schaedel|knee|pelvis|becken|hand|foot|hip|shoulder|extremity|[lct]?spine|leg|arm|breast)\b"
_NEAR = r"\b(abdomen|abd|bauch|stomach|kidneys?|niere|liver|leber|heart|herz|aorta|trunk|partialbody|wholebody)\b"
_SCOUT = r"(scout|locali[sz]\w*|\bloc\b|survey|topogram\w*|surview|scano\w*|reperage|uebersicht|\bplan\b)"
_DERIVED = (
    r"(\bmip\b|minip|\bvrt\b|\bmpr\b|subtra\w*|\bsub\b|soustr\w*|sustr\w*|\badc\b|\btrace\b|fraction\w*|fettfraktion"
    r"|\bff\b|\bmap\b|karte|carte|mapa|segment\w*)"
)
_PAPER = r"(dose|dosis|report|bericht|rapport|informe|summary|screen|capture|protocol(l|e)?$|\bpatient protocol)"
_WATCH = r"(bolus|monitor\w*|smartprep|tracker|surestart|care ?bolus)"
_EXPIRED = r"\b(exs?p|exs?pir\w*|ausatm\w*|espir\w*|end-?exp\w*)\b"
_INSPIRED = r"\b(ins|insp|inspir\w*|einatm\w*)\b"
_LATERAL = r"\b(lat|lateral|seitlich|profil|ll|rl|lld|rld|decub\w*)\b"

ROLES: tuple[str, ...] = (
    "+20 none: image_type ~ localizer -- DICOM PS3.3 C.8.2.1.1.1, ImageType of CT and MR",
    f"+20 none: words ~ {_SCOUT} -- chosen: names of planning views",
    "+20 none: component ~ phase|real|imaginary -- definition: roles are magnitude images",
    "+20 none: image_type ~ projection|mip|minip|subtraction|adc|fat_fraction|composed|dixon_f|screen|sec_cap"
    " -- DICOM PS3.3 C.8.13.3.1.4, images computed from others",
    f"+20 none: words ~ {_DERIVED} -- chosen: names of images computed from others",
    f"+20 none: words ~ {_PAPER} -- chosen: names of documents and screenshots",
    "+20 none: kind = document -- DICOM PS3.4 B.5, objects that are no images",
    "+20 none: kind = secondary -- DICOM PS3.3 A.8: a copy of the screen may show a name",
    "+20 none: burned_in = yes -- DICOM PS3.3 C.7.6.1: text in the pixels",
    f"+20 none: words ~ {_WATCH} -- chosen: one slice watched until the contrast agent comes",
    "+20 none: image_type ~ \\bmon\\b -- Siemens: one slice watched until the contrast agent comes",
    "+20 none: modality = mr"
    " and words ~ \\b(dwi|ep2d|diff\\w*|perf\\w*|swi|angio|tof|cine|phase ?contrast|flow|bold|spectro\\w*)\\b"
    " -- chosen",
    "+20 none: modality ~ us|xa|rf|pt|nm|mg|ot|sr|pr|ko|doc -- no role is of this modality",
    "+4 ct: modality = ct -- definition",
    "+2 ct: modality = ct and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 ct: modality = ct and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+2 ct: modality = ct and slices >= 20 -- chosen: a scan of the lungs and not a few slices",
    "-1 ct: modality = ct and slices < 20 -- chosen: a few slices only",
    f"-8 ct: modality = ct and body_part ~ ({_FAR}|{_NEAR}) and words !~ {_CHEST}"
    " -- chosen: another part of the body",
    f"-8 ct: modality = ct and words ~ ({_FAR}|{_NEAR}) and words !~ {_CHEST} and body_part !~ chest"
    " -- chosen: another part of the body",
    "-2 ct: modality = ct and image_type ~ derived|reformatted"
    " -- DICOM PS3.3 C.7.6.1.1.2: computed from other images",
    "-2 ct: modality = ct and plane ~ coronal|sagittal -- chosen: CT is scanned in axial slices, others are computed",
    "+4 T1w: modality = mr and sequence ~ gr and te_ms < 6 and tr_ms < 20"
    " -- spoiled gradient echo of the chest: short TE, short TR",
    f"+2 T1w: modality = mr and words ~ {_T1_NAMES} -- vendors' names of T1-weighted gradient echo",
    "+1 T1w: modality = mr and flip_deg >= 5 and sequence ~ gr and tr_ms < 20"
    " -- chosen: flip angles of proton density are smaller",
    "-8 T1w: modality = mr and echoes >= 3 -- definition: that is a multi-echo series",
    "-8 T1w: modality = mr and image_type ~ \\b(fat|opp_phase|out_phase|w?_?opp)\\b"
    " -- Dixon images without the water of the lung",
    "-8 T1w: modality = mr and words ~ \\b(opp|opposed|outphase|out|fat only|fett|f)$"
    " -- Siemens: Dixon images end so",
    "-8 T1w: modality = mr and words ~ \\b(trufi|fiesta|b-?ffe|btfe|bssfp|balanced|ssfp)\\b"
    " -- balanced sequences are not T1-weighted",
    "-4 T1w: modality = mr and words ~ \\bt2\\*?\\b -- chosen: called T2",
    "-1 T1w: modality = mr and slices < 6 -- chosen: a few slices only",
    f"-8 T1w: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 T1w: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 T1w: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST}"
    " -- chosen: scanners keep the part of the last patient",
    f"-2 T1w: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 T1w: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 T1w: modality = mr and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+4 T2w: modality = mr and sequence ~ \\bse\\b and te_ms >= 35 and tr_ms >= 500"
    " -- fast spin echo: long TE, long TR",
    f"+2 T2w: modality = mr and words ~ {_T2_NAMES} and sequence ~ \\bse\\b -- vendors' names of fast spin echo",
    "+1 T2w: modality = mr and words ~ \\bt2w?\\b and sequence ~ \\bse\\b -- called T2",
    "-4 T2w: modality = mr and words ~ \\bt1w?\\b -- called T1",
    "-4 T2w: modality = mr and sequence ~ \\bir\\b -- inversion recovery changes the contrast",
    "-1 T2w: modality = mr and slices < 6 -- chosen: a few slices only",
    f"-8 T2w: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 T2w: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 T2w: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST}"
    " -- chosen: scanners keep the part of the last patient",
    f"-2 T2w: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 T2w: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 T2w: modality = mr and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    "+5 MEGRE: modality = mr and sequence ~ gr and echoes >= 3 -- definition: three echoes make a decay",
    f"+1 MEGRE: modality = mr and words ~ {_ECHO_NAMES} and echoes >= 3"
    " -- vendors' names of multi-echo gradient echo",
    "+1 MEGRE: modality = mr and echoes >= 3 and te_ms < 3 -- chosen: lung has lost its signal after a few ms",
    f"-8 MEGRE: modality = mr and body_part ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-8 MEGRE: modality = mr and words ~ {_FAR} and words !~ {_CHEST} -- chosen: another part of the body",
    f"-1 MEGRE: modality = mr and body_part ~ {_NEAR} and words !~ {_CHEST}"
    " -- chosen: scanners keep the part of the last patient",
    f"-2 MEGRE: modality = mr and words ~ {_NEAR} and words !~ {_CHEST} -- chosen: called another part of the body",
    "+2 MEGRE: modality = mr and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+2 MEGRE: modality = mr and body_part !~ . and words ~ {_CHEST}"
    " -- chosen: names of the chest in four languages",
    "+4 dx: modality = dx -- definition",
    "+2 dx: modality = dx and view ~ ^(ap|pa)$ -- DICOM PS3.3 C.8.11.5: view position",
    "+1 dx: modality = dx and view !~ . and words ~ \\b(ap|pa|frontal|face|front)\\b -- chosen: called frontal",
    "+2 dx: modality = dx and body_part ~ chest|thorax|lung -- DICOM PS3.16 annex L",
    f"+1 dx: modality = dx and body_part !~ . and words ~ {_CHEST} -- chosen: names of the chest in four languages",
    f"+20 none: modality = dx and view ~ {_LATERAL} -- definition: films are measured in frontal view",
    f"+20 none: modality = dx and view !~ . and words ~ {_LATERAL} -- definition: films are measured in frontal view",
    "+20 none: modality = dx and body_part ~ [a-z] and body_part !~ chest|thorax|lung|trunk"
    " -- another part of the body",
)  # fmt: skip

LABELS: tuple[str, ...] = (
    f"acq-exp ct: words ~ {_EXPIRED} -- chosen: names of expiration in four languages",
    f"acq-insp ct: words ~ {_INSPIRED} -- chosen: names of inspiration in four languages",
)

CHOICE: tuple[str, ...] = (
    f"ct: words !~ {_EXPIRED} -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    f"ct: words ~ {_INSPIRED} -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "*: body_part ~ chest|thorax|lung -- definition",
    "*: wrong !~ . -- chosen: a whole series before one with missing or tilted slices",
    "ct: image_type !~ derived|reformatted -- chosen: what was scanned before what was computed from it",
    "ct: plane = axial -- chosen: CT is scanned in axial slices",
    "ct: slices >= 20 -- chosen: a whole lung",
    "ct: thickness_mm <= 3 -- chosen: thin enough for micronodules",
    "ct: kernel_kind = soft"
    " -- chosen: sharp kernels raise the noise that shares of density take in; write lung to ask for it",
    "*: contrast !~ . -- chosen: T1w ratios and densities are read without contrast agent",
    "ct: least thickness_mm -- chosen",
    "MEGRE: most echoes -- chosen",
    "MEGRE: least te_ms -- chosen: lung has lost its signal after a few ms",
    "T1w: image_type ~ in_phase|\\bw\\b|water -- chosen: Dixon in phase or water",
    "dx: view = pa -- chosen: the heart is less enlarged than in AP",
    "*: most slices -- chosen",
    "*: least thickness_mm -- chosen",
    "*: most number -- chosen: a scan is repeated where the first failed",
)

LAYOUT_CHOICE: tuple[str, ...] = (
    "ct: acq !~ ^(exp|exsp|ausatm) -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "ct: acq ~ ^insp -- densities are those of full inspiration, Fleischner Society, Hansell 2008",
    "*: part !~ phase|real|imag -- definition: roles are magnitude images",
    "*: ce !~ . -- chosen: T1w ratios and densities are read without contrast agent",
    "*: rec !~ (sharp|bone|lung) -- chosen: sharp kernels raise the noise that shares of density take in",
    *(
        f"{role}: most run -- BIDS names repeats by run; chosen: a scan is repeated where the first failed"
        for role in ("T1w", "T2w", "ct", "dx")
    ),  # of echoes a run can also be the other half of an interleaved train, so none is taken
)

SOFT_KERNELS = (
    r"^(b[0-4]\d|br[34]\d|bv[34]\d|bf[34]\d|qr[34]\d|i[23]\d|fc0\d|fc1[0-9]|standard|std|soft|body|[abc]$|smooth)"
)
LUNG_KERNELS = (
    r"^(b[5-9]\d|br[56789]\d|bl[4-9]\d|bf5\d|i[5-9]\d|fc[358]\d|lung|bone|edge|detail|sharp|yc|[dle]$|y[abd])"
)
