"""Every default of the analysis, by section: a setting with its unit, what it means, and its source.

"Chosen on the phantom" marks what no publication settles. :class:`ipha_toolkit.protocol.Protocol` holds all sections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ipha_toolkit import series_lines
from ipha_toolkit.rules import FINDING_LINES, GATE_LINES, PHASE_LINES


def _setting(default: Any, meaning: str, source: str) -> Any:
    return field(default=default, metadata={"meaning": meaning, "source": source})


@dataclass(frozen=True)
class ReadingSettings:
    """Reading images, ``io/``."""

    largest_gb: float = _setting(
        4.0,
        "an image whose header promises more is refused before memory is asked for, GB",
        "chosen: a chest CT of 2 GB",
    )
    spacing_mm: tuple[float, float] = _setting(
        (0.05, 30.0), "a voxel smaller or larger than this is a header in another unit, mm", "chosen"
    )
    ct_highest_hu: float = _setting(
        32767.0, "a CT with a higher value is damaged or not in HU", "largest of the 16 bits scanners store"
    )
    mr_peak: tuple[float, float] = _setting(
        (1e-9, 1e9),
        "an MR image whose largest value is less or more has a wrong scale factor",
        "chosen: 16 bits, scaled",
    )
    film_highest: float = _setting(4294967295.0, "a radiograph with a higher value is damaged", "largest of 32 bits")
    ct_air_hu: float = _setting(
        -600.0,
        "a CT without a value this low is not in HU, or shows no lung",
        "chosen: air is -1000 HU, lung -900 to -700",
    )
    ct_tissue_hu: float = _setting(
        0.0,
        "a CT without a value this high shows no chest, or was cut to a window",
        "chosen: muscle and blood are 10 to 60 HU, bone 200 and more",
    )
    ct_median_hu: float = _setting(
        300.0,
        "a CT of which half is denser is not in HU",
        "chosen: a body is water, fat and air but for its bones; a negated one lies at 100 to 1000",
    )
    ct_clipped_share: float = _setting(
        0.01, "a CT that holds its lowest value, of denser than -950 HU, in a larger share is cut to a window", "chosen"
    )
    t1w_longest_echo_s: float = _setting(
        0.04,
        "a T1w with a longer echo time is none, s",
        "chosen: T1 weighting takes 1 to 20 ms, T2w of lung 30 to 100 ms",
    )
    mr_negative_share: float = _setting(
        0.05,
        "an MR image with a larger share of values below zero, by over a fiftieth of its 99th percentile, is none of "
        "magnitude",
        "chosen: interpolation leaves a few below zero at edges, standardization and subtraction a third and more",
    )
    hot_times: float = _setting(
        1000.0,
        "an MR voxel this many times above 999 of 1000 others holds no signal and counts as missing",
        "chosen: fat and vessels at a surface coil are some ten times as bright as muscle",
    )
    data_elsewhere: bool = _setting(
        False, "headers may name data files outside their folder", "chosen: a header should not choose what is opened"
    )


@dataclass(frozen=True)
class LungSettings:
    """Finding the lungs, ``regions/``."""

    vessels: bool = _setting(
        True, "keep pulmonary vessels inside the CT lung mask", "common practice of lung volume measurement"
    )
    mr_to_mr_least: float = _setting(
        0.7, "MRI lung volume over the largest of the session's MRI below which lung is said to be missing", "chosen"
    )
    t2w_to_t1w_least: float = _setting(
        0.8,
        "lungs found in T2w over those of T1w on another grid below which the latter are taken",
        "chosen: on the phantom 0.95 in health, 0.2 or none in a bleed; breathing may take a fifth",
    )
    mr_to_ct_least: float = _setting(
        0.45, "MRI lung volume over that in CT below which lung is said to be missing", "chosen: breathing may halve it"
    )
    child_age_years: float = _setting(
        16.0, "patients younger than this are flagged: adult norms do not hold", "chosen; IPH is mostly pediatric"
    )


@dataclass(frozen=True)
class AttenuationSettings:
    """CT attenuation, ``measure/attenuation.py``."""

    high_attenuation_hu: tuple[float, float] = _setting(
        (-600.0, -250.0), "high-attenuation area, low <= HU < high", "MESA Lung Study, PMID 26744025 (cardiac CT)"
    )
    ground_glass_hu: tuple[float, float] = _setting(
        (-750.0, -300.0),
        "ground-glass attenuation, low <= HU < high",
        "common practice, no agreed cut; checked on the phantom",
    )
    consolidation_hu: float = _setting(
        -300.0, "consolidation at or above this HU", "common practice, no agreed cut; checked on the phantom"
    )


@dataclass(frozen=True)
class SignalSettings:
    """T1w and T2w signal against muscle, ``measure/signal.py``, and against controls, ``compare/reference.py``."""

    hyperintense_quantile: float = _setting(
        0.95, "T1w: a voxel above this quantile of the controls' pooled lung ratios is hyperintense", "chosen"
    )
    hypointense_quantile: float = _setting(
        0.05, "T2w: a voxel below this quantile of the controls' pooled lung ratios is hypointense", "chosen"
    )
    hyperintense_ratio: float = _setting(
        0.50, "T1w lung-to-muscle ratio above which a voxel is hyperintense where there are no controls", "chosen"
    )
    hypointense_ratio: float = _setting(
        0.10, "T2w lung-to-muscle ratio below which a voxel is hypointense where there are no controls", "chosen"
    )
    noise_floor_sigmas: float = _setting(
        3.0, "a voxel below this many noise sigmas is at the noise floor", "P(Rayleigh noise > 3 sigma) = 1.1 %"
    )
    few_controls: int = _setting(5, "fewer controls than this are flagged", "chosen")


@dataclass(frozen=True)
class RelaxometrySettings:
    """R2* of multi-echo images, ``measure/relaxometry.py``."""

    censored_share: float = _setting(
        0.5, "no R2* of a region of which a larger share never rises above the noise floor", "its median is not seen"
    )
    block_mm: float = _setting(10.0, "side of the blocks in which signal is pooled, mm", "chosen on the phantom")
    fewest_blocks: int = _setting(10, "no R2* of a region of fewer blocks", "chosen")
    most_first_decay: float = _setting(
        0.7, "no R2* where R2* times the first echo time is above this: too much is gone", "chosen on the phantom"
    )
    least_signal_sigmas: float = _setting(
        3.0, "no R2* where the lung's decaying signal at the first echo is fewer sigmas", "chosen on the phantom"
    )
    widest_interval: float = _setting(
        0.1, "no R2* where half its 95 % interval is a larger share of it", "chosen: what is asked of the recovery"
    )
    most_noise_effect: float = _setting(
        0.05, "no R2* that differs by a larger share between noise as where signal is and as in the dark", "chosen"
    )
    most_saturated: float = _setting(
        0.01, "no R2* where a larger share of the lung has an echo at the top of the image's scale", "chosen"
    )


@dataclass(frozen=True)
class FindingSettings:
    """Findings, ``compare/phases.py``: one line a rule, in the forms of ``rules.py``."""

    rules: tuple[str, ...] = _setting(
        FINDING_LINES,
        "where a measure of the whole lung passes a cut, the finding is mild, moderate or marked; the highest counts",
        "each rule names its own",
    )


@dataclass(frozen=True)
class PhaseSettings:
    """Phases, ``compare/phases.py``: one line a rule, in the forms of ``rules.py``."""

    margin: float = _setting(
        0.15, "where the best phase's support is not this far above the next, the reading is indeterminate", "chosen"
    )
    deciding: tuple[str, ...] = _setting(
        (
            "ct: ground_glass_opacity consolidation",
            "T1w T2w: t1w_signal_gain free_water",
            "dx: film_opacity",
        ),
        "modalities of which one (or one set) is needed, best first, each with the findings that the gate must give: a "
        "film is read only without those before it",
        "chosen",
    )
    bleeding_groups: tuple[str, ...] = _setting(
        ("iph", "hemosiderosis", "dah", "patient", "patients", "case", "cases"),
        "groups of participants.tsv who are known to bleed into the lungs; of others the cause is left open",
        "chosen: images alone do not tell the cause of filled air space",
    )
    rules: tuple[str, ...] = _setting(
        PHASE_LINES,
        "what speaks for (+) and against (-) a phase, and how much",
        "each rule names its own",
    )


@dataclass(frozen=True)
class GateSettings:
    """What an answer needs before it is given, ``compare/gate.py``: one line a need, in the form of ``rules.py``; and
    which controls match a patient, ``compare/matching.py``."""

    rules: tuple[str, ...] = _setting(
        GATE_LINES, "what withholds an answer, and what limits it, by the flags of the rows it rests on", "chosen"
    )
    beyond_controls: float = _setting(
        2.0, "a child's mild finding counts so far beyond controls, SD", "2.3 % of healthy people lie beyond"
    )
    health_chance: float = _setting(
        0.002,
        "where healthy people lie as far beyond the controls by chance more often than this, in one of the findings "
        "looked at, these findings are withheld",
        "chosen on both generators",
    )
    field_t: float = _setting(0.2, "fields further apart than this do not match, T", "chosen: 2.89 T is a 3 T scanner")
    te_share: float = _setting(
        0.1, "nor echo times by more than this share", "chosen: e-fold of a T2* of 1.4 ms moves the lung by a tenth"
    )
    te_ms: float = _setting(0.1, "or by this where that is more, ms", "chosen: lung T2* 0.7 to 2.4 ms")
    tr_share: float = _setting(0.25, "nor repetition times by more than this share", "chosen")
    flip_share: float = _setting(0.2, "nor flip angles by more than this share", "chosen")
    thickness_times: float = _setting(1.7, "nor slices more times as thick as this", "chosen")
    kvp: float = _setting(25.0, "nor tube voltages further apart than this, kV", "chosen: 100 and 120 kV match")
    grown_years: float = _setting(
        18.0, "from this age on lungs count as grown: ages above it are alike", "chosen; see PMC5116406 for children"
    )
    age_years: float = _setting(
        2.0, "a growing patient further than this outside the ages of the controls has none of its age, years", "chosen"
    )
    covariate_controls: int = _setting(
        12, "from this many controls on, age, height and lung volume are taken out by regression", "chosen"
    )
    ghost_share: float = _setting(
        0.03, "structured signal outside the body above this share of muscle is ghosts", "chosen on the phantom"
    )
    uneven_noise: float = _setting(
        1.25,
        "noise that differs between places by more than this factor is uneven",
        "chosen on both generators: even noise at most 1.08, parallel imaging from 1.3",
    )
    near_noise: float = _setting(
        5.0,
        "and lifts a lung whose median lies below so many sigmas of the noisiest place",
        "Rician mean: 2 % at 5 sigmas, 6 % at 3",
    )
    emptied_share: float = _setting(
        0.2,
        "a lung of which a larger share holds exactly 0 was emptied",
        "noise of one gray level leaves 12 % at 0 where nothing else is",
    )
    young_years: float = _setting(
        7.0,
        "under this age the lung is denser than cuts of CT suppose, years",
        "PMC5116406: -650 HU at two years, slowly falling to 7; median lung is as dense as ground glass",
    )


@dataclass(frozen=True)
class GroupSettings:
    """Groups and trends, ``compare/groups.py``."""

    few_subjects: int = _setting(10, "fewer subjects in a group than this are flagged small_sample", "chosen")
    least_df: float = _setting(
        2.0,
        "a trend's term with fewer degrees of freedom has no interval and no p value",
        "chosen on benchmarks/trends.py",
    )


@dataclass(frozen=True)
class CourseSettings:
    """Tapers and bleeds, ``compare/recurrence.py``."""

    taper_share: float = _setting(
        0.75, "a taper begins where the dose is this share, or less, of the highest before", "chosen"
    )
    taper_days: float = _setting(
        28.0, "and no dose within so many days after is higher than that share, days", "chosen: shorter is a pause"
    )
    few_bleeds: int = _setting(
        5, "fewer bleeds, or subjects that bled, give no hazard ratio of the dose", "chosen; errors do not hold below"
    )


@dataclass(frozen=True)
class ChangeSettings:
    """Change between two dates, ``compare/change.py``."""

    confidence: float = _setting(
        0.95, "how sure a change has to be to count", "Bland & Altman 1999, doi 10.1177/096228029900800204"
    )
    deciding: tuple[str, ...] = _setting(
        (
            "ct lung_density", "ct nodules_per_litre", "T1w signal_ratio_median", "T2w signal_ratio_median",
            "T1w+T2w signature_strength",
        ),
        "modality and measure of the whole lung that decide whether a patient changed",
        "chosen",
    )  # fmt: skip
    match_mm: float = _setting(
        5.0, "two nodules further apart than this after alignment are not the same", "chosen on the phantom"
    )


@dataclass(frozen=True)
class AlignmentSettings:
    """Aligning two images of one patient, ``image/align.py``."""

    quality_least: float = _setting(
        0.12, "entropy correlation below which an alignment has failed", "chosen on the phantom"
    )
    overlap_least: float = _setting(
        0.5, "share of the smaller field of view, covered by both, below which an alignment has failed", "chosen"
    )
    lung_dice_least: float = _setting(
        0.5, "overlap of two given lung masks below which an alignment has failed", "chosen; breathing leaves more"
    )
    turn_most_deg: float = _setting(
        35.0, "turn, in degrees, beyond which an alignment has failed", "chosen; a patient on a table turns less"
    )
    stretch_most: float = _setting(
        1.5, "stretch along any direction, or its inverse, beyond which an affine alignment has failed", "chosen"
    )


@dataclass(frozen=True)
class SignatureSettings:
    """T2w below what T1w predicts, ``measure/hemosiderin.py``."""

    smoothing_mm: float = _setting(
        8.0, "full width at half maximum, in mm, over which signal is averaged inside the lungs", "chosen"
    )
    threshold_sd: float = _setting(
        2.0, "a voxel this many SD of the controls' voxels below the line carries the signature", "chosen"
    )
    blocks: int = _setting(
        30, "into about this many blocks the lungs are cut, which are drawn again and again for intervals", "chosen"
    )
    wet_gain: float = _setting(
        1.5,
        "median T1w ratio over that of the controls from which water may hide iron",
        "chosen on the second generator: iron that scores 6.3 in dry lung scores 3.0 at 1.4 and 1.6 at 1.8",
    )
    water_rise: float = _setting(
        1.5,
        "below that, water is taken to raise T2w over T1w by this power of the gain in T1w",
        "measured on the phantom: 1.6 at a gain of 1.2, 1.4 at 1.35, 1.2 at 1.8",
    )
    hidden_loss: float = _setting(
        40.0,
        "'no iron' is limited where a larger share of T2w could be lost to iron unseen, %",
        "chosen on the second generator: dry healthy lungs 15 to 33",
    )


@dataclass(frozen=True)
class FilmSettings:
    """Radiographs: lung fields, ``regions/films.py``, and what is measured in them, ``measure/radiograph.py``."""

    least_contrast: float = _setting(
        -0.1,
        "no lung field where its faintest border (ribs, diaphragm, medial) is less dense outside than this, -1 to 1",
        "chosen: one lung opaque 0.1 to 0.2, others 0.3 to 0.9",
    )
    least_mediastinum: float = _setting(
        0.55,
        "no chest where the middle is denser than both lungs in a smaller share of the rows",
        "chosen: radiographs and phantom 0.6 to 1, lateral views and other pictures 0 to 0.5",
    )
    least_base: float = _setting(
        0.75,
        "no radiograph where the lower middle, spine, heart and liver, is denser than a smaller share of the picture",
        "chosen: radiographs and phantom 0.90 to 0.96, nine in ten photographs and slices of CT and MRI below",
    )
    uncertain_base: float = _setting(
        0.88, "flagged below this share as perhaps no radiograph, unless its lung fields are sure", "chosen"
    )
    tallest: float = _setting(
        1.2,
        "a lateral view where lungs are more times as high as wide than this, and the halves unlike",
        "chosen: radiographs and phantom 0.6 to 1.14, lateral views of the phantom 1.16 to 1.7",
    )
    least_likeness: float = _setting(
        0.65,
        "and the correlation of the film's halves is below this",
        "chosen: lateral views of the phantom 0.4 to 0.6",
    )
    lateral_likeness: float = _setting(
        0.5, "a lateral view as well where the halves correlate less than this", "chosen: lateral films 0.31 to 0.53"
    )
    lateral_contrast: float = _setting(
        0.35, "and the faintest border has less contrast than this", "chosen: lateral films -0.05 to 0.32"
    )
    uncertain_likeness: float = _setting(
        0.55, "flagged below this correlation as perhaps not frontal", "chosen: radiographs and phantom 0.60 to 0.97"
    )
    uncertain_contrast: float = _setting(0.45, "a lung field is flagged uncertain below this contrast", "chosen")
    uncertain_inside: float = _setting(
        0.0, "and where its inside looks like lung less than this, -1 to 1", "chosen: a lung that is opaque"
    )
    uncertain_domes: float = _setting(
        0.15,
        "and where the domes of the diaphragm lie further apart in height than this share of the lungs' height: gas of "
        "the stomach taken for lung, or one base opaque",
        "chosen: 3 cm, the most usual in health, of lungs 25 cm high, and 0.03 for the fit",
    )
    least_step: float = _setting(
        0.15,
        "a film is refused where clear lung and mediastinum lie a smaller share of its gray range apart",
        "chosen: a white film of a child with pneumonia 0.2, others 0.3 to 0.8",
    )
    least_sure_slope: float = _setting(
        2.5, "and where the slope of the scale of opacity is fewer standard errors from 0", "chosen"
    )
    possible_opacity: tuple[float, ...] = _setting(
        (-1.5, 2.0), "a film is refused where the mean opacity of its lung fields lies outside", "chosen"
    )
    consolidation_opacity: float = _setting(
        0.65, "consolidation at or above this opacity, 0 clear lung, 1 soft tissue", "chosen on the phantom"
    )
    ground_glass_opacity: float = _setting(
        0.45, "ground glass from this opacity to that of consolidation", "chosen on the phantom"
    )
    cleared_share: float = _setting(
        0.40,
        "an opacity has cleared when no more than this share of its rise is left",
        "chosen on the phantom: the film flattens what is dense, and septa thicken as blood clears",
    )
    least_rise: float = _setting(0.06, "a rise of opacity smaller than this is none", "chosen on the phantom")


@dataclass(frozen=True)
class SeriesSettings:
    """What a DICOM series is, ``series_rules.py`` and ``run/import_.py``: one line a rule."""

    roles: tuple[str, ...] = _setting(
        series_lines.ROLES,
        "what speaks for (+) and against (-) a role, and how much; none gathers what speaks against any use",
        "each rule names its own",
    )
    labels: tuple[str, ...] = _setting(
        series_lines.LABELS, "labels that file names carry, as acq-exp", "each rule names its own"
    )
    choice: tuple[str, ...] = _setting(
        series_lines.CHOICE,
        "of several series for one role, the first line that tells them apart decides",
        "each rule names its own",
    )
    least: float = _setting(4.0, "a role with less support than this is not proposed", "chosen")
    sure: float = _setting(8.0, "a role with less support than this is not sure", "chosen")
    margin: float = _setting(4.0, "nor is one that is not this far above the next", "chosen")
    soft_kernels: str = _setting(series_lines.SOFT_KERNELS, "kernels of CT called soft", "vendors' names")
    lung_kernels: str = _setting(series_lines.LUNG_KERNELS, "kernels of CT called lung", "vendors' names")


@dataclass(frozen=True)
class LayoutSettings:
    """Reading a cohort folder, ``io/layout.py``."""

    choice: tuple[str, ...] = _setting(
        series_lines.LAYOUT_CHOICE,
        "of several images for one role, the first line on the labels of their names that tells them apart decides",
        "each rule names its own",
    )
