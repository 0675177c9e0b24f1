"""One simulated patient, seen by every modality, with the truth beside every image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from ipha_toolkit.grid import BoolArray, FloatArray, Grid
from ipha_toolkit.phantom import physics
from ipha_toolkit.phantom.anatomy import Body, Patient, build_body, grid_around
from ipha_toolkit.phantom.disease import (
    CONSOLIDATED,
    GROUND_GLASS,
    Bleed,
    Disease,
    DiseaseMaps,
    disease_maps,
    disease_of_phase,
    disease_on_day,
    phase_on_day,
    thinned,
    with_volume_loss,
)
from ipha_toolkit.phantom.film_pose import AS_USUAL, FilmPose, arms_hu, child_proportions, cut_off, turned
from ipha_toolkit.phantom.states import T1W, T2W_TE_MS, T2W_TR_MS
from ipha_toolkit.terms import Modality
from ipha_toolkit.volume import Mask, Volume

MODALITIES = ("T1w", "T2w", "MEGRE", "ct", "dx")
ECHO_TIMES_MS = (0.1, 0.4, 0.8, 1.4, 2.2, 3.2, 4.6, 6.5)
SCALES = {"adult": 1.0, "child": 0.68}

Spacing = float | tuple[float, float, float]
Scenes = dict[tuple[Grid, float, float], "Scene"]


@dataclass(frozen=True)
class Truth:
    """What is really there, on one image's grid.

    ``masks``: lung, left, right, airway, vessel, muscle, ground_glass, consolidation, nodule. ``maps``: blood and water
    (share of air space filled, 0 to 1), tissue_water (share of the voxel, 0 to 1), iron and methemoglobin (arbitrary
    unit), r2star (1/s). ``nodules``: x_mm, y_mm, z_mm (RAS+), diameter_mm.
    """

    phase: str
    disease: Disease
    masks: dict[str, Mask]
    maps: dict[str, Volume]
    nodules: pd.DataFrame


@dataclass(frozen=True)
class SimulatedSubject:
    """A simulated patient on one day.

    ``volumes``: image by modality; echoes are ``echo-1_MEGRE`` and on. ``truth``: by modality, on the grid of its
    image; echoes share ``MEGRE``, and the radiograph's is that of the body it was projected from.
    """

    phase: str
    patient: Patient
    disease: Disease
    volumes: dict[str, Volume] = field(default_factory=dict)
    truth: dict[str, Truth] = field(default_factory=dict)

    @property
    def echoes(self) -> list[Volume]:
        """Echoes of the multi-echo series in order, empty where it was not made."""
        return [volume for name, volume in self.volumes.items() if name.endswith("_MEGRE")]


@dataclass(frozen=True)
class Scanner:
    """How the images are taken; ``snr`` is that of muscle in T1w, ``shading`` the coil's peak change of sensitivity,
    ``breath`` how much fuller the lungs are than usual, as a share of their volume."""

    field_strength_t: float = 1.5
    snr: float = 45.0
    shading: float = 0.35
    motion_mm: float = 1.2
    contrast: bool = False
    kernel: str = "lung"
    ct_noise_hu: float = 25.0
    breath: float = 0.0
    film: FilmPose = AS_USUAL

    def __post_init__(self) -> None:
        if self.field_strength_t not in physics.FIELDS_T:
            raise ValueError(f"field_strength_t is 1.5 or 3.0, got {self.field_strength_t}")
        if self.kernel not in ("lung", "soft"):
            raise ValueError(f"kernel is lung or soft, got {self.kernel!r}")
        if self.snr <= 0 or self.ct_noise_hu < 0 or self.shading < 0 or self.motion_mm < 0:
            raise ValueError("snr needs to be above 0; ct_noise_hu, shading and motion_mm 0 or more")
        if not -0.3 <= self.breath <= 0.3:
            raise ValueError(f"breath is a share of lung volume from -0.3 to 0.3, got {self.breath}")


def simulate_subject(
    phase: str,
    *,
    seed: int,
    spacing_mm: Spacing | Mapping[str, Spacing] = 2.5,
    size: str | float = "adult",
    severity: float = 0.5,
    disease: Disease | None = None,
    modalities: Iterable[str] = MODALITIES,
    field_strength_t: float = 1.5,
    snr: float = 45.0,
    shading: float = 0.35,
    motion_mm: float = 1.2,
    contrast: bool = False,
    kernel: str = "lung",
    ct_noise_hu: float = 25.0,
    breath: float = 0.0,
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scan_seed: int | None = None,
    age_years: float | None = None,
    wetness: float = 1.0,
    film: FilmPose | None = None,
    scenes: Scenes | None = None,
) -> SimulatedSubject:
    """Simulate one patient in every modality.

    Parameters
    ----------
    phase : str
        ``none``, ``acute``, ``subacute``, ``chronic``, or ``edema`` (a differential: water without blood or iron).
    seed : int
        Anatomy, disease and noise; the same seed gives the same patient, on any grid and in any phase.
    spacing_mm : float, (float, float, float), or mapping of modality to either
        Voxel size along x, y, z, 1 to 15 mm. The radiograph's is that of its pixels.
    size : {"adult", "child"} or float
        Body size; a number scales an adult (child sizes and densities are chosen).
    severity : float
        0 to 1.
    disease : Disease, optional
        In place of the phase's typical one.
    modalities : iterable of str
        Which of ``T1w``, ``T2w``, ``MEGRE``, ``ct``, ``dx`` to make.
    field_strength_t : float
        1.5 or 3.0.
    snr : float
        Of muscle in T1w; T2w and MEGRE follow.
    shading : float
        Peak change of the receive coil's sensitivity, 0 for none.
    motion_mm : float
        SD of the respiratory blur along z, mm.
    contrast : bool
        T1w after gadolinium.
    kernel : {"lung", "soft"}
        CT reconstruction.
    ct_noise_hu : float
        SD of CT noise, HU.
    breath : float
        How much fuller the lungs are than usual, -0.3 to 0.3 of their volume: the chest grows in height, and what fills
        the lungs is thinned as much.
    shift_mm : (float, float, float)
        Where the patient lies on the table, mm.
    scan_seed : int, optional
        Noise and coil of this scan, for the same patient scanned again; None means ``seed``.
    age_years : float, optional
        1 or more: size and proportions of a child of that age, in place of ``size``.
    wetness : float
        Water and blood of the healthy lung over the usual, 0.3 to 3.
    film : FilmPose, optional
        How the radiograph is taken: turned, arms raised, cut close.
    scenes : dict, optional
        An empty dict that keeps the bodies built for this scan; given again for the next scan of the same patient on
        the same day, they are not built twice.

    Returns
    -------
    SimulatedSubject

    Raises
    ------
    ValueError
        Where a name or number is none of the above; the message says what is.

    Examples
    --------
    >>> subject = simulate_subject("chronic", seed=1, spacing_mm=8, modalities=["T1w"])
    >>> subject.volumes["T1w"].modality, subject.truth["T1w"].phase
    (<Modality.T1W: 'T1w'>, 'chronic')
    """
    state = disease or disease_of_phase(phase, severity, np.random.default_rng([seed, 7]))
    disease_of_phase(phase, severity, np.random.default_rng(0))  # refuses a wrong name also when a disease is given
    scanner = Scanner(
        field_strength_t, snr, shading, motion_mm, contrast, kernel, ct_noise_hu, breath, film or AS_USUAL
    )
    scale = _scale(size) if age_years is None else child_proportions(age_years)["scale"]
    if not 0.3 <= wetness <= 3:
        raise ValueError(f"wetness runs from 0.3 to 3, got {wetness}")
    patient = Patient(seed, scale, age_years=age_years, wetness=wetness)
    noise = seed if scan_seed is None else scan_seed
    return _simulate(phase, state, patient, spacing_mm, tuple(modalities), scanner, noise, shift_mm, scenes)


def simulate_course(
    bleeds: Iterable[Bleed],
    days: Iterable[float],
    *,
    seed: int,
    spacing_mm: Spacing | Mapping[str, Spacing] = 2.5,
    size: str | float = "adult",
    modalities: Iterable[str] = MODALITIES,
    **scanner: float | bool | str,
) -> list[SimulatedSubject]:
    """One patient over several dates: bleeds clear, leave iron, and the same anatomy carries them.

    Parameters
    ----------
    bleeds : iterable of Bleed
    days : iterable of float
        Dates of the scans, in days as the bleeds'.
    seed, spacing_mm, size, modalities
        As in :func:`simulate_subject`.
    **scanner
        Fields of :class:`Scanner`.

    Returns
    -------
    list of SimulatedSubject
        One a date; noise and position on the table differ, anatomy and places of disease do not.
    """
    history, patient, wanted = tuple(bleeds), Patient(seed, _scale(size)), tuple(modalities)
    device = Scanner(**scanner)  # type: ignore[arg-type]
    return [
        _simulate(phase_on_day(history, day), disease_on_day(history, day), patient, spacing_mm, wanted, device,
                  seed + 7919 * (number + 1))
        for number, day in enumerate(days)
    ]  # fmt: skip


def _simulate(
    phase: str,
    state: Disease,
    healthy: Patient,
    spacing_mm: Spacing | Mapping[str, Spacing],
    modalities: tuple[str, ...],
    scanner: Scanner,
    noise_seed: int,
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scenes: Scenes | None = None,
) -> SimulatedSubject:
    unknown = [name for name in modalities if name not in MODALITIES]
    if unknown or not modalities:
        raise ValueError(f"modalities are {', '.join(MODALITIES)}; got {', '.join(unknown) or 'none'}")
    patient = with_volume_loss(healthy, state)
    subject = SimulatedSubject(phase, patient, state)
    full = 1 + scanner.breath
    placed = np.diag([1.0, 1.0, full, 1.0])
    placed[:3, 3] = shift_mm
    scenes = {} if scenes is None else scenes
    truths: dict[Grid, Truth] = {}
    for name in modalities:
        x, y, z = _spacing(spacing_mm, name)
        grid = grid_around(patient, (x, y, z / full))
        place = (grid, scanner.field_strength_t, full)
        scene = scenes.get(place)
        if scene is None or (scene.body.patient, scene.disease) != (patient, state):
            body = build_body(patient, grid)
            maps = thinned(disease_maps(body, state, patient.seed), full)
            scene = scenes[place] = Scene(body, state, maps, scanner.field_strength_t, full)
        if grid not in truths:
            truths[grid] = _truth(phase, state, scene, placed)
        rng = np.random.default_rng([noise_seed, MODALITIES.index(name), 11])
        for key, volume in _IMAGE[name](scene, scanner, rng).items():
            subject.volumes[key] = volume.replace(affine=placed @ volume.affine)
        subject.truth[name] = truths[grid]
    return subject


@dataclass(frozen=True)
class Scene:
    """A body on a grid, and what the disease did to its lungs."""

    body: Body
    disease: Disease
    maps: DiseaseMaps
    field_t: float
    full: float = 1.0
    """Volume of the lungs over their usual one."""

    @cached_property
    def lung(self) -> physics.LungState:
        """The lung's state at the scanner's field strength."""
        return physics.lung_state(physics.healthy_water(self.body) / np.float32(self.full), self.maps, self.field_t)

    @cached_property
    def hu(self) -> FloatArray:
        """CT numbers without noise."""
        return physics.attenuation(self.body, self.lung)


def _t1w(scene: Scene, scanner: Scanner, rng: np.random.Generator) -> dict[str, Volume]:
    clean = physics.spoiled_gre(scene.body, scene.lung, field_t=scene.field_t, contrast=scanner.contrast, **T1W)
    meta = _gre_meta(scanner, **T1W)
    if scanner.contrast:
        meta["ContrastBolusIngredient"] = "GADOLINIUM"
    return {"T1w": _mr(scene, clean, scanner, rng, Modality.T1W, meta, scanner.snr)}


def _t2w(scene: Scene, scanner: Scanner, rng: np.random.Generator) -> dict[str, Volume]:
    clean = physics.spin_echo(scene.body, scene.lung, field_t=scene.field_t, te_ms=T2W_TE_MS, tr_ms=T2W_TR_MS)
    meta: dict[str, object] = {
        "EchoTime": T2W_TE_MS / 1000,
        "RepetitionTime": T2W_TR_MS / 1000,
        "MagneticFieldStrength": scanner.field_strength_t,
    }
    return {"T2w": _mr(scene, clean, scanner, rng, Modality.T2W, meta, 0.7 * scanner.snr)}


def _megre(scene: Scene, scanner: Scanner, rng: np.random.Generator) -> dict[str, Volume]:
    coil = np.random.default_rng(rng.integers(2**32))
    state = coil.bit_generator.state
    echoes, level = {}, 0.0
    for number, te_ms in enumerate(ECHO_TIMES_MS, 1):
        settings: physics.GreTimes = {"te_ms": te_ms, "tr_ms": 9.0, "flip_deg": 8.0}
        clean = physics.spoiled_gre(scene.body, scene.lung, field_t=scene.field_t, **settings)
        level = level or _muscle_level(scene.body, clean)
        coil.bit_generator.state = state  # one coil for all echoes, noise of its own for each
        image = physics.acquire_mr(
            clean, level, spacing=scene.body.grid.spacing_mm, snr=scanner.snr, shading=scanner.shading,
            motion_mm=scanner.motion_mm, coil_rng=coil, rng=rng,
        )  # fmt: skip
        meta = _gre_meta(scanner, **settings)
        echoes[f"echo-{number}_MEGRE"] = Volume(
            image, scene.body.grid.affine, modality=Modality.MEGRE, name=f"echo {number}", meta=meta
        )
    return echoes


def _ct(scene: Scene, scanner: Scanner, rng: np.random.Generator) -> dict[str, Volume]:
    image = physics.acquire_ct(
        scene.hu, spacing=scene.body.grid.spacing_mm, kernel=scanner.kernel,
        noise_hu=scanner.ct_noise_hu, rng=rng,
    )  # fmt: skip
    meta = {"ConvolutionKernel": scanner.kernel}
    return {"ct": Volume(image, scene.body.grid.affine, modality=Modality.CT, unit="HU", name="ct", meta=meta)}


def _dx(scene: Scene, scanner: Scanner, rng: np.random.Generator) -> dict[str, Volume]:
    grid, pose, hu = scene.body.grid, scanner.film, scene.hu
    hu = arms_hu(hu, grid.axes_mm(), scene.body.patient.scale) if pose.arms_up else hu
    film = physics.project_radiograph(turned(hu, pose.rotated_deg), grid.spacing_mm, photons=4e4, rng=rng)
    film, (i, k) = cut_off(film, pose.cut)
    affine = grid.affine[:, [0, 2, 1, 3]]  # a film's second axis runs up, its third through the patient
    affine[:3, 3] = (grid.affine @ [i, 0, k, 1])[:3]
    meta = {"PhotometricInterpretation": "MONOCHROME2", "ViewPosition": "PA"}
    return {"dx": Volume(film[:, :, None], affine, modality=Modality.DX, name="dx", meta=meta)}


_IMAGE = {"T1w": _t1w, "T2w": _t2w, "MEGRE": _megre, "ct": _ct, "dx": _dx}


def _mr(
    scene: Scene, clean: FloatArray, scanner: Scanner, rng: np.random.Generator, role: Modality,
    meta: dict[str, object], snr: float,
) -> Volume:  # fmt: skip
    image = physics.acquire_mr(
        clean, _muscle_level(scene.body, clean), spacing=scene.body.grid.spacing_mm, snr=snr, shading=scanner.shading,
        motion_mm=scanner.motion_mm, coil_rng=rng, rng=rng,
    )  # fmt: skip
    return Volume(image, scene.body.grid.affine, modality=role, name=str(role), meta=meta)


def _gre_meta(scanner: Scanner, *, te_ms: float, tr_ms: float, flip_deg: float) -> dict[str, object]:
    return {
        "EchoTime": te_ms / 1e3, "RepetitionTime": tr_ms / 1e3, "FlipAngle": flip_deg,
        "MagneticFieldStrength": scanner.field_strength_t,
    }  # fmt: skip


def _muscle_level(body: Body, clean: FloatArray) -> float:
    pure = body.masks["muscle"]
    return float(np.median(clean[pure])) if pure.any() else float(clean.max())


def lung_truth(
    phase: str, disease: Disease, masks: dict[str, BoolArray], maps: DiseaseMaps, state: physics.LungState,
    affine: npt.NDArray[np.float64], nodules: pd.DataFrame,
) -> Truth:  # fmt: skip
    """The truth on a grid, from masks (``lung`` among them), what the disease filled and what became of the lung."""
    lung = masks["lung"]
    filled = maps.blood + maps.water
    masks = masks | {
        "consolidation": lung & (filled >= CONSOLIDATED),
        "ground_glass": lung & (filled >= GROUND_GLASS) & (filled < CONSOLIDATED),
        "nodule": lung & (maps.nodule >= 0.5),
    }
    arrays: dict[str, tuple[npt.NDArray[np.floating], str]] = {
        "blood": (maps.blood, "1"), "water": (maps.water, "1"), "iron": (maps.iron, "a.u."),
        "methemoglobin": (maps.methemoglobin, "a.u."), "tissue_water": (state.water, "1"),
        "r2star": (state.r2star, "1/s"),
    }  # fmt: skip
    return Truth(
        phase,
        disease,
        {name: Mask(array, affine, name=f"true {name}") for name, array in masks.items()},
        {
            name: Volume(np.where(lung, a, np.float32(np.nan)), affine, unit=unit, name=f"true {name}")
            for name, (a, unit) in arrays.items()
        },
        nodules,
    )


def _truth(phase: str, disease: Disease, scene: Scene, placed: npt.NDArray[np.float64]) -> Truth:
    body, maps = scene.body, scene.maps
    nodules = maps.nodules.copy()
    places = nodules[["x_mm", "y_mm", "z_mm"]].to_numpy()
    nodules[["x_mm", "y_mm", "z_mm"]] = places * np.diag(placed)[:3] + placed[:3, 3]
    masks = {name: array for name, array in body.masks.items() if name != "body"}
    return lung_truth(phase, disease, masks, maps, scene.lung, placed @ body.grid.affine, nodules)


def _scale(size: str | float) -> float:
    scale = SCALES.get(size) if isinstance(size, str) else float(size)
    if scale is None or not 0.3 <= scale <= 1.3:
        raise ValueError(f"size is adult, child or a number from 0.3 to 1.3, got {size!r}")
    return scale


def _spacing(given: Spacing | Mapping[str, Spacing], modality: str) -> tuple[float, float, float]:
    chosen = given.get(modality, 2.5) if isinstance(given, Mapping) else given
    x, y, z = (float(step) for step in (chosen if isinstance(chosen, tuple | list) else (chosen,) * 3))
    if not all(0.5 <= step <= 20 for step in (x, y, z)):
        raise ValueError(f"spacing_mm needs voxel sizes from 0.5 to 20 mm, got {chosen}")
    return (x, 3.0 if y < 2.0 else y, z) if modality == "dx" else (x, y, z)
