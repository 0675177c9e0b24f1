"""Who is in a simulated cohort: ages, courses of disease, and what the clinic would have written down on each visit.

Bleeds come first; phases, hemoglobin, ferritin, prednisone, hemoptysis and lavage follow from them, so that images
and tables tell one story. Amounts and times are chosen: bleeding lowers hemoglobin within a day and it recovers over
weeks, ferritin over a year; steroids are given from the first bleed seen, tapered to a low dose. Siderophages are found
in 92 % of lavages after a bleed (Ha & Palacio, SWJPCC 2020). A child does not grow between visits.

People differ as published: water of the healthy lung by 20 % at one inflation (SD; 0.10 +- 0.02 of water at full
inspiration, PMC3354915, ten volunteers). How deep a breath is held differs by 6 % of lung volume from person to person,
and coils shade by 0.1 to 0.6 at signal-to-noise ratios that differ by a fifth from visit to visit (chosen).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ipha_toolkit.phantom.disease import Bleed, Disease, disease_of_phase, disease_on_day, phase_on_day
from ipha_toolkit.phantom.subject import MODALITIES, Scenes, SimulatedSubject, Spacing, simulate_subject

Array = npt.NDArray[np.float64]

GROUPS = ("control", "iph", "edema")

_ADULT_YEARS, _ADULT_CM = 16.0, 172.0
_LAVAGE_SENSITIVITY = 0.92
_SEEN_SEVERITY = 0.2
_WATER_SD, _BREATH_SD = 0.2, 0.06


@dataclass(frozen=True)
class Visit:
    """A day on which a participant was scanned, and the clinic's findings.

    ``lavage`` is empty where none was done; ``images`` where all modalities asked for are made, else it names those
    that are.
    """

    session: str
    day: float
    phase: str
    hemoglobin_g_dl: float
    ferritin_ug_l: float
    prednisone_mg_per_day: float
    hemoptysis: bool
    lavage: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Participant:
    """One simulated person.

    ``bleeds`` and the visits' ``day`` count from the first visit; ``size`` as of
    :func:`ipha_toolkit.simulate_subject`; ``severity`` is that of edema, which has no course.
    """

    name: str
    group: str
    age: float
    sex: str
    seed: int
    bleeds: tuple[Bleed, ...] = ()
    severity: float = 0.5
    visits: tuple[Visit, ...] = ()

    @property
    def size(self) -> float:
        """Body size against an adult's, by age."""
        return float(np.clip((77 + 6 * self.age) / _ADULT_CM, 0.5, 1.0)) if self.age < _ADULT_YEARS else 1.0

    @property
    def wetness(self) -> float:
        """Water of the healthy lung over the usual; see the head of this module."""
        drawn = np.random.default_rng([self.seed, 104]).normal(0, _WATER_SD)
        return float(np.exp(np.clip(drawn, -2.2 * _WATER_SD, 2.2 * _WATER_SD)))

    @property
    def weight_kg(self) -> float:
        """By body size, for doses."""
        return float(68 * self.size**2.4)

    def disease(self, day: float) -> Disease:
        """State of the lungs on a day."""
        if self.group == "edema":
            return disease_of_phase("edema", self.severity, np.random.default_rng([self.seed, 7]))
        return disease_on_day(self.bleeds, day)


def draw_population(subjects: int, *, seed: int) -> list[Participant]:
    """Draw a cohort: controls of the patients' ages, IPH in all phases, and from six on some edema.

    Parameters
    ----------
    subjects : int
        1 or more. One alone is a patient; of more, two in five are controls.
    seed : int
        0 or more; the same gives the same cohort.

    Returns
    -------
    list of Participant
        ``sub-001`` and on, groups mixed.

    Raises
    ------
    ValueError
        Where subjects is below 1 or seed below 0.
    """
    if subjects < 1:
        raise ValueError(f"subjects needs to be 1 or more, got {subjects}")
    if seed < 0:
        raise ValueError(f"seed needs to be 0 or more, got {seed}")
    rng = np.random.default_rng([seed, 101])
    controls = 0 if subjects == 1 else max(1, round(0.4 * subjects))
    edema = subjects // 6 if subjects >= 6 else 0
    groups = ["control"] * controls + ["edema"] * edema + ["iph"] * (subjects - controls - edema)
    kinds = iter([_first_bleed, _recurrent, _longstanding] * subjects)
    order = rng.permutation(len(groups))
    width = max(3, len(str(subjects)))
    drawn = []
    for number, at in enumerate(order, 1):
        group = groups[at]
        bleeds, days = next(kinds)(rng) if group == "iph" else ((), (0.0,))
        drawn.append(
            participant(f"sub-{number:0{width}}", group, age=_age(rng), seed=1000 * (seed + 1) + number,
                        bleeds=bleeds, days=days)
        )  # fmt: skip
    return drawn


def participant(
    name: str,
    group: str,
    *,
    age: float,
    seed: int,
    bleeds: Iterable[Bleed] = (),
    days: Sequence[float] = (0.0,),
    film_days: Sequence[float] = (),
    sex: str | None = None,
) -> Participant:
    """A participant with findings drawn for every day of a visit; on ``film_days`` only a radiograph is made.

    Raises
    ------
    ValueError
        Where the group is none of control, iph, edema, or a participant without IPH bleeds.
    """
    history = tuple(bleeds)
    if group not in GROUPS:
        raise ValueError(f"group is one of {', '.join(GROUPS)}, got {group!r}")
    if history and group != "iph":
        raise ValueError(f"{name}: only group iph bleeds, this is {group}")
    rng = np.random.default_rng([seed, 102])
    drawn = str(rng.choice(["F", "M"]))
    person = Participant(name, group, round(age, 1), sex or drawn, seed, history, float(rng.uniform(0.3, 0.7)))
    base = {"hemoglobin": rng.normal(13.2, 0.6) + 0.9 * (age > _ADULT_YEARS and person.sex == "M"),
            "ferritin": rng.lognormal(np.log(45), 0.4)}  # fmt: skip
    visits = tuple(
        replace(_visit(person, f"ses-{n:02}", day, base, rng), images=() if day in days else ("dx",))
        for n, day in enumerate(sorted({*days, *film_days}), 1)
    )
    return Participant(name, group, person.age, person.sex, seed, history, person.severity, visits)


def scan(
    person: Participant,
    visit: Visit,
    *,
    spacing_mm: Spacing | Mapping[str, Spacing] = 2.5,
    modalities: Iterable[str] = MODALITIES,
    **scanner: float | bool | str | Scenes | None,
) -> SimulatedSubject:
    """All images of one visit, with their truth; noise and coil are the visit's own.

    Further keywords are those of :func:`ipha_toolkit.simulate_subject`.
    """
    number = int(visit.session.removeprefix("ses-"))
    return simulate_subject(
        visit.phase, seed=person.seed, disease=person.disease(visit.day), size=person.size, spacing_mm=spacing_mm,
        modalities=modalities, scan_seed=person.seed + 7919 * number, wetness=person.wetness,
        **(_circumstances(person, number) | scanner),  # type: ignore[arg-type]
    )  # fmt: skip


def _circumstances(person: Participant, number: int) -> dict[str, float | bool | str]:
    """A person's own breath, and the coil of one visit."""
    breath = float(np.clip(np.random.default_rng([person.seed, 105]).normal(0, _BREATH_SD), -0.15, 0.15))
    rng = np.random.default_rng([person.seed, number, 103])
    return {"breath": breath, "shading": float(rng.uniform(0.1, 0.6)), "snr": float(45 * np.exp(rng.normal(0, 0.2)))}


def scan_without_noise(
    person: Participant,
    visit: Visit,
    *,
    spacing_mm: Spacing | Mapping[str, Spacing] = 2.5,
    modalities: Iterable[str] = ("T1w", "T2w", "ct"),
    scenes: Scenes | None = None,
) -> SimulatedSubject:
    """The same visit as physics alone would show it: no noise, no coil shading, no breathing. The truth of a signal."""
    return scan(
        person, visit, spacing_mm=spacing_mm, modalities=modalities, snr=1e9, shading=0.0, motion_mm=0.0,
        ct_noise_hu=0.0, kernel="soft", scenes=scenes,
    )  # fmt: skip


def _age(rng: np.random.Generator) -> float:
    """IPH is mostly a disease of children: seven in ten are."""
    return float(rng.uniform(4, 14)) if rng.random() < 0.7 else float(rng.uniform(18, 45))


def _first_bleed(rng: np.random.Generator) -> tuple[tuple[Bleed, ...], tuple[float, ...]]:
    """Seen within a day or two, again while it clears, and when nothing is left."""
    bleed = Bleed(-float(rng.integers(0, 3)), float(rng.uniform(0.45, 0.95)))
    return (bleed,), (0.0, float(rng.integers(6, 11)), float(rng.integers(90, 150)))


def _recurrent(rng: np.random.Generator) -> tuple[tuple[Bleed, ...], tuple[float, ...]]:
    """From the first bleed over three years, with a bleed every few months."""
    days = np.cumsum([-1.0, *rng.integers(75, 150, 9)])
    bleeds = tuple(Bleed(float(day), float(rng.uniform(0.45, 0.95))) for day in days if day < 1060)
    return bleeds, (0.0, float(rng.integers(7, 11)), 1096.0)


def _longstanding(rng: np.random.Generator) -> tuple[tuple[Bleed, ...], tuple[float, ...]]:
    """Bled for years before the first visit; half of them bleed again."""
    before = -np.cumsum(rng.integers(60, 200, int(rng.integers(6, 11)))).astype(float)[::-1]
    bleeds = [Bleed(float(day), float(rng.uniform(0.5, 0.95))) for day in before]
    if rng.random() < 0.5:
        return tuple(bleeds), (0.0,)
    again = float(rng.integers(150, 400))
    return (*bleeds, Bleed(again, float(rng.uniform(0.5, 0.9)))), (0.0, again + 1)


def _visit(person: Participant, session: str, day: float, base: Mapping[str, float], rng: np.random.Generator) -> Visit:
    since = np.array([day - bleed.day for bleed in person.bleeds if bleed.day <= day])
    severity = np.array([bleed.severity for bleed in person.bleeds if bleed.day <= day])
    lost = float(np.sum(severity * (1 - np.exp(-since / 0.7)) * np.exp(-since / 25)))
    this_year = float(np.sum(severity * np.exp(-since / 300)))
    phase = "edema" if person.group == "edema" else phase_on_day(person.bleeds, day)
    return Visit(
        session, day, phase,
        hemoglobin_g_dl=round(max(4.5, base["hemoglobin"] - 5.0 * lost - 0.35 * this_year + rng.normal(0, 0.2)), 1),
        ferritin_ug_l=float(round(max(3.0, base["ferritin"] * np.exp(-0.55 * this_year)))),
        prednisone_mg_per_day=_prednisone(person, since, severity),
        hemoptysis=bool(since.size and since.min() <= 3 and rng.random() < (0.6 if person.size < 1 else 0.85)),
        lavage=_lavage(person, since, rng),
    )  # fmt: skip


def _prednisone(person: Participant, since: Array, severity: Array) -> float:
    """1 mg/kg from the second day of a bleed that is seen, for two weeks, then tapered to a low dose for two years."""
    treated = since[(severity >= _SEEN_SEVERITY) & (since >= 2)]
    if treated.size == 0 or treated.min() > 730:
        return 0.0
    taper = np.exp(-max(treated.min() - 14, 0) / 30)
    dose = person.weight_kg * max(0.1, float(taper))
    return float(min(60.0, 2.5 * round(dose / 2.5)))


def _lavage(person: Participant, since: Array, rng: np.random.Generator) -> str:
    """Done in patients once they have bled, and in edema to exclude bleeding."""
    if person.group == "control":
        return ""
    bled = since.size and since.max() >= 2
    return "positive" if bled and rng.random() < _LAVAGE_SENSITIVITY else "negative"
