"""A hospital's archive made from the phantom: 12 studies, vendors' habits mixed, and what each series really is."""

import warnings

import numpy as np

from ipha_toolkit.phantom.dicom import Study, document, film, multiframe, slices
from ipha_toolkit.phantom.subject import simulate_subject
from ipha_toolkit.run.disk import GRE, TSE, mr_tags, save
from ipha_toolkit.volume import Volume

PEOPLE = (
    ("Sørensen^Åse", "20140302", "F"), ("García^Luis", "19900817", "M"), ("Müller^Jörg", "19710101", "M"),
    ("Dupont^Élise", "20110715", "F"), ("Okafor^Ada", "20160130", "F"), ("Rossi^Marco", "19280604", "M"),
)  # fmt: skip
WORDS = {
    "de": {"ct": "Thorax nativ {k}", "exp": "Thorax Exspiration {k}", "insp": "Thorax Einatmung {k}",
           "T1w": "t1_vibe_tra_Atemstopp", "T2w": "T2 HASTE Lunge koronar", "sub": "Subtraktion MIP",
           "scout": "Übersicht"},
    "en": {"ct": "Chest 1.25mm {k}", "exp": "CHEST EXPIRATION {k}", "insp": "CHEST INSP {k}", "T1w": "Ax LAVA BH",
           "T2w": "Cor SSFSE chest", "sub": "SUB post-pre", "scout": "3-pl loc"},
    "fr": {"ct": "Thorax sans injection {k}", "exp": "Poumons expiration {k}", "insp": "Thorax inspiration {k}",
           "T1w": "THRIVE apnée", "T2w": "T2 TSE thorax", "sub": "Soustraction", "scout": "Repérage"},
    "es": {"ct": "Tórax sin contraste {k}", "exp": "Tórax espiración {k}", "insp": "Tórax inspiración {k}",
           "T1w": "T1 FFE pulmón", "T2w": "T2 TSE tórax", "sub": "Sustracción", "scout": "Localizador"},
}  # fmt: skip
MAKERS = {"de": "SIEMENS", "en": "GE MEDICAL SYSTEMS", "fr": "Philips", "es": "Canon"}
KERNELS = {"de": ("B31f", "B70f"), "en": ("STANDARD", "LUNG"), "fr": ("B", "YC"), "es": ("FC08", "FC52")}
LANGUAGES = ("de", "en", "fr", "es")


def write_archive(root, *, spacing_mm=16.0):
    """Write all studies; returns role by (patient, date, series number), and the phantom's own images."""
    truth, images = {}, {}
    coarse = dict.fromkeys(("T1w", "T2w", "MEGRE", "ct"), spacing_mm) | {"dx": 10.0}
    patients = [simulate_subject(phase, seed=3, spacing_mm=coarse) for phase in ("none", "chronic")]
    for number in range(12):
        name, born, sex = PEOPLE[number % 6]
        study = Study(f"MRN-77{number % 6}1", name, born, sex, f"2023{1 + number // 6:02}{10 + number % 6}")
        seen = patients[number // 6]
        images[study.patient_id, study.date] = seen
        for objects, role in _series(seen, study, number):
            truth[study.patient_id, study.date, int(objects[0].SeriesNumber)] = role
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                save(root / f"D{number:02}", objects)
    return truth, images


def _series(seen, study, n):
    """Series of one study with their true roles."""
    language = LANGUAGES[n % 4]
    words, maker, (soft, sharp) = WORDS[language], {"Manufacturer": MAKERS[language]}, KERNELS[language]
    ct, t1w, t2w = (seen.volumes[name] for name in ("ct", "T1w", "T2w"))
    latin = {"SpecificCharacterSet": "ISO_IR 192"}
    chest = maker | latin | {"KVP": 120, **({"BodyPartExamined": "CHEST"} if n % 3 else {})}
    thick = {"SeriesDescription": words["ct"].format(k=soft), "ConvolutionKernel": soft}
    yield slices(_scout(ct), study, number=1, modality="CT", plane="coronal", tags=chest | {
        "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesDescription": words["scout"]}), "none"  # fmt: skip
    yield from _ct(ct, study, n, chest, words, soft, sharp, thick)
    yield from _mr(seen, t1w, t2w, study, n, maker | latin, words)
    yield from _others(seen, study, n, latin)


def _ct(ct, study, n, chest, words, soft, sharp, thick):
    plain = slices(ct, study, number=2, modality="CT", intercept=-1024, tags=chest | thick)
    if n % 4 == 1:  # reversed, and every file twice
        plain = [*reversed(plain), *plain]
    if n == 3:  # a slice is missing
        yield plain[:8] + plain[9:], "none"  # the sharp one is whole
    elif n == 7:  # two phases of contrast in one series
        later = slices(ct.replace(array=ct.array + 30), study, number=2, modality="CT", intercept=-1024,
                       tags=chest | thick | {"AcquisitionNumber": 2, "ContrastBolusAgent": "Iomeprol"},
                       uids={"instance": "late"})  # fmt: skip
        for data in plain:
            data.AcquisitionNumber = 1
        yield plain + later, "ct twice"
    elif n in (2, 6):  # breathed in and out
        tags = [
            chest | {"SeriesDescription": words[key].format(k=soft), "ConvolutionKernel": soft}
            for key in ("insp", "exp")
        ]
        yield slices(ct, study, number=2, modality="CT", intercept=-1024, tags=tags[0]), "ct insp"
        yield slices(ct, study, number=4, modality="CT", intercept=-1024, tags=tags[1]), "ct exp"
    else:
        yield plain, "ct"
    if n not in (2, 6):
        tags = chest | {"SeriesDescription": words["ct"].format(k=sharp), "ConvolutionKernel": sharp}
        yield slices(ct, study, number=3, modality="CT", intercept=-1024, tags=tags), "ct" if n == 3 else "none"


def _mr(seen, t1w, t2w, study, n, maker, words):
    slopes = [1.0] * t1w.shape[2] if n % 3 else list(np.linspace(0.5, 1.0, t1w.shape[2]))  # a slope a slice
    yield slices(t1w, study, number=11, modality="MR", slope=slopes,
                 tags=maker | mr_tags(t1w, words["T1w"], **GRE)), "T1w"  # fmt: skip
    coronal = "coronal" if "cor" in words["T2w"].lower() else "axial"
    yield slices(t2w, study, number=12, modality="MR", plane=coronal,
                 tags=maker | mr_tags(t2w, words["T2w"], **TSE)), "T2w"  # fmt: skip
    if n % 2 == 0:
        derived = {"ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]} if n % 4 else {}
        yield (
            slices(t1w, study, number=13, modality="MR", tags=maker | mr_tags(t1w, words["sub"], **GRE) | derived),
            "none",
        )
    else:  # after contrast agent
        tags = maker | mr_tags(t1w, words["T1w"] + " post", **GRE) | {"ContrastBolusAgent": "Gadobutrol"}
        yield slices(t1w, study, number=13, modality="MR", tags=tags), "none"
    yield from _echoes(seen, study, n, maker)


def _echoes(seen, study, n, maker):
    """Multi-echo gradient echo as five habits have it."""
    echoes = seen.echoes[:4]
    habit = n % 6
    tags = [maker | mr_tags(echo, "T2* multiecho lung" if habit % 2 else "R2star_me_gre", **GRE) for echo in echoes]
    times = [1000 * float(echo.meta["EchoTime"]) for echo in echoes]
    series = [slices(echo, study, number=20, modality="MR", tags=tag, uids={"instance": k})
              for k, (echo, tag) in enumerate(zip(echoes, tags, strict=True))]  # fmt: skip
    if habit == 0:  # echo after echo in one series
        yield [data for echo in series for data in echo], "MEGRE"
    elif habit == 1:  # interleaved, slice by slice
        yield [data for place in zip(*series, strict=True) for data in place], "MEGRE"
    elif habit == 2:  # enhanced multiframe
        further = {name: tags[0][name] for name in ("SeriesDescription", "Manufacturer", "FlipAngle", "RepetitionTime")}
        yield (
            [multiframe(echoes, study, number=20, te_ms=times, tags=further | {"EchoPulseSequence": "GRADIENT"})],
            "MEGRE",
        )
    elif habit == 3:  # a series an echo
        for k, (echo, tag) in enumerate(zip(echoes, tags, strict=True)):
            yield slices(echo, study, number=20 + k, modality="MR", tags=tag), "MEGRE"
    elif habit == 4:  # magnitude and phase in one series
        phase = [slices(echo, study, number=20, modality="MR", uids={"instance": f"p{k}"},
                        tags=tag | {"ImageType": ["ORIGINAL", "PRIMARY", "P", "NONE"]})
                 for k, (echo, tag) in enumerate(zip(echoes, tags, strict=True))]  # fmt: skip
        yield [data for echo in (*series, *phase) for data in echo], "MEGRE and phase"
    else:  # every slice a series of its own
        pieces = [slices(echo, study, number=20, modality="MR", tags=tag, uids={"instance": f"s{k}"})
                  for k, (echo, tag) in enumerate(zip(echoes[:1], tags[:1], strict=True))]  # fmt: skip
        for k, data in enumerate(pieces[0]):
            data.SeriesInstanceUID = study.uid("alone", k)
            data.SeriesDescription, data.EchoTime, data.SeriesNumber = "Localizer", times[0], 29
        yield pieces[0], "none"


def _others(seen, study, n, latin):
    yield [film(seen.volumes["dx"], study, number=31, modality=("DX", "CR")[n % 2],
                tags=latin | {"SeriesDescription": "Thorax pa"})], "dx"  # fmt: skip
    if n % 3 == 0:
        yield [film(seen.volumes["dx"], study, number=32,
                    tags=latin | {"SeriesDescription": "Thorax seitlich", "ViewPosition": "LL"})], "none"  # fmt: skip
    if n % 3 == 1:
        yield [document(study, number=99, tags=latin | {"SeriesDescription": f"Report {study.name}"})], "none"
    if n % 3 == 2:
        shot = latin | {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"], "ConversionType": "WSD"}
        yield [film(seen.volumes["dx"], study, number=98, modality="OT", tags=shot)], "none"


def _scout(ct):
    return Volume(ct.array.mean(axis=1, keepdims=True), ct.affine)
