"""The catalogue: every measure, with unit, direction, definition and source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Worse(StrEnum):
    """Direction in which a measure is worse."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


@dataclass(frozen=True)
class Measure:
    """One entry of the catalogue."""

    name: str
    definition: str
    unit: str
    worse: Worse
    source: str
    compared: bool = True
    """Whether it is set against controls; false for what describes the scan rather than the lung."""


ROW_COLUMNS = ("subject", "session", "modality", "region", "measure", "value", "unit", "n_voxels", "flag")
"""Columns of the one long table. ``flag`` holds codes of :data:`FLAGS`, joined by ``;``, or is empty."""


def versus_controls(measure: str) -> str:
    """Name of a measure's distance from the controls."""
    return f"{measure}_vs_controls"


def _catalogue(*measures: Measure) -> dict[str, Measure]:
    compared = [
        Measure(
            versus_controls(measure.name),
            f"{measure.name}: how far outside the controls, in standard deviations of many: Crawford and Howell's t on "
            "the scale of a normal distribution",
            "SD",
            measure.worse,
            "Crawford & Howell 1998, doi 10.1076/clin.12.4.482.7241; each control is left out of its own reference",
            compared=False,
        )
        for measure in measures
        if measure.compared
    ]
    return {measure.name: measure for measure in [*measures, *compared]}


_IBSI = "IBSI, doi 10.1148/radiol.2020191145"

MEASURES: dict[str, Measure] = _catalogue(
    # lungs
    Measure("lung_volume", "volume of the lung mask", "mL", Worse.LOWER, "voxel count times voxel volume"),
    # CT attenuation
    Measure("attenuation_mean", "mean attenuation", "HU", Worse.HIGHER, _IBSI),
    Measure("attenuation_sd", "standard deviation of attenuation, population", "HU", Worse.HIGHER, _IBSI),
    Measure("attenuation_skewness", "skewness of attenuation", "1", Worse.LOWER, _IBSI),
    Measure("attenuation_excess_kurtosis", "excess kurtosis of attenuation (normal = 0)", "1", Worse.LOWER, _IBSI),
    *(
        Measure(f"attenuation_p{p}", f"percentile {p} of attenuation", "HU", Worse.HIGHER, _IBSI)
        for p in (5, 10, 25, 50, 75, 90, 95)
    ),
    Measure(
        "high_attenuation_area",
        "share of lung voxels between -600 and -250 HU (protocol attenuation.high_attenuation_hu)",
        "%",
        Worse.HIGHER,
        "definition: MESA Lung Study, PMID 26744025 (cardiac CT); healthy never-smokers of 54 to 93 years, full "
        "inspiration, median 4.3 %, full range 2.7 to 17.8: PMC8176866",
    ),
    Measure(
        "ground_glass_fraction",
        "share of lung voxels, vessels left out, in the ground-glass range (protocol attenuation.ground_glass_hu)",
        "%",
        Worse.HIGHER,
        "common practice, no agreed cut",
    ),
    Measure(
        "consolidation_fraction",
        "share of lung voxels, vessels left out, at or above the consolidation cut (attenuation.consolidation_hu)",
        "%",
        Worse.HIGHER,
        "common practice, no agreed cut",
    ),
    Measure(
        "attenuation_dorsal_gradient",
        "rise of median attenuation per cm towards the back (supine: dependent), line through 1 cm slabs",
        "HU/cm",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "lung_density", "mean of 1 + HU/1000: tissue, blood and water per volume", "g/mL", Worse.HIGHER, "definition"
    ),
    # signature
    Measure(
        "signature_fraction",
        "share of lung voxels whose T2w lies more than signature.threshold_sd below what their T1w predicts",
        "%",
        Worse.HIGHER,
        "definition; water raises T1w and T2w together, hemosiderin takes T2w away, but so does flow in vessels",
    ),
    Measure(
        "signature_strength",
        "T2w deficit relative to T1w: ln(T2w that T1w predicts / T2w) in SD of the controls' voxels about the line, "
        "mean of the middle half of voxels that are evidence",
        "voxel SD",
        Worse.HIGHER,
        "definition; not a concentration of iron, which water hides; methemoglobin raises it as well",
    ),
    Measure(
        "signature_load",
        "mean over all voxels of the region of the distance below the line, 0 where above it or no evidence",
        "voxel SD",
        Worse.HIGHER,
        "definition",
    ),
    Measure(
        "signature_no_evidence",
        "share of lung voxels whose T1w predicts a T2w at the noise floor: dark there proves nothing",
        "%",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    Measure("signature_upper_lower_ratio", "signature_load, upper over lower third", "1", Worse.NEITHER, "definition"),
    Measure(
        "signature_central_peripheral_ratio",
        "signature_load, central over peripheral",
        "1",
        Worse.NEITHER,
        "definition",
    ),
    *(
        Measure(
            f"signature_{name}_{end}",
            f"{end} limit of the 95 % interval of signature_{name}, {how}",
            unit,
            Worse.NEITHER,
            source,
            compared=False,
        )
        for name, unit, how, source in (
            ("fraction", "%", "blocks of lung drawn anew", "percentile bootstrap over blocks; of this scan alone"),
            ("strength", "voxel SD", "by the scatter between controls or of repeated scans, the larger", "definition"),
        )
        for end in ("lower", "upper")
    ),
    Measure(
        "t2w_over_t1w",
        "median of the T2w over the T1w ratio to muscle, voxels whose T1w ratio is in the noise of T2w left out",
        "1",
        Worse.NEITHER,
        "definition; of one pair of sequences, lower with hemosiderin, higher with water",
    ),
    Measure(
        "signature_slope",
        "slope of the line: T2w over T1w ratio of lung that holds water only",
        "1",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    Measure(
        "signature_floor",
        "T2w ratio below which smoothed signal is not told from noise (signal.noise_floor_sigmas)",
        "1",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    # R2*
    Measure(
        "r2star_median",
        "median R2* of blocks of lung, those gone by the first echo counted as above; withheld where not supported",
        "1/s",
        Worse.NEITHER,
        "definition; iron raises it, filling of air space lowers it: read with lung density. No calibration to iron is "
        "known for lung",
    ),
    *(
        Measure(
            f"r2star_median_{end}",
            f"{end} limit of the 95 % interval of r2star_median",
            "1/s",
            Worse.NEITHER,
            "Kaplan-Meier median over blocks, Brookmeyer & Crowley 1982",
            compared=False,
        )
        for end in ("lower", "upper")
    ),
    Measure("r2star_iqr", "interquartile range of R2* between blocks of lung", "1/s", Worse.NEITHER, "definition"),
    Measure(
        "r2star_censored_share",
        "share of lung voxels that no echo lifts above the noise floor: they have no R2*",
        "%",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    # MRI signal
    Measure(
        "signal_ratio_median",
        "median of lung signal over the level of skeletal muscle, bias field removed; depends on coil and sequence",
        "1",
        Worse.NEITHER,
        "definition; T1w: higher = signal gain, which is not T1 shortening",
    ),
    Measure("signal_ratio_iqr", "interquartile range of lung-to-muscle ratio", "1", Worse.NEITHER, "definition"),
    Measure(
        "hyperintense_fraction",
        "T1w: share of lung voxels above the controls' upper quantile (protocol signal.hyperintense_quantile)",
        "%",
        Worse.HIGHER,
        "definition",
    ),
    Measure(
        "hypointense_fraction",
        "T2w: share of lung voxels below the controls' lower quantile (protocol signal.hypointense_quantile)",
        "%",
        Worse.HIGHER,
        "definition; a dark T2w lung alone proves nothing",
    ),
    Measure(
        "noise_floor_share",
        "share of lung voxels at the noise floor, where the image is no evidence",
        "%",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    Measure(
        "signal_dorsal_gradient",
        "rise of median lung-to-muscle ratio per cm towards the back, line through 1 cm slabs",
        "1/cm",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "noise_sigma",
        "noise of one channel, from air, without it from smooth tissue; MEGRE: from late echoes that are noise alone",
        "a.u.",
        Worse.HIGHER,
        "Rayleigh distribution of magnitude noise, Gudbjartsson 1995, doi 10.1002/mrm.1910340618",
        compared=False,
    ),
    Measure("snr_muscle", "muscle level over noise_sigma", "1", Worse.LOWER, "definition", compared=False),
    Measure("snr_lung", "median lung signal over noise_sigma", "1", Worse.LOWER, "definition", compared=False),
    Measure(
        "reference_volume", "volume of the muscle used as reference", "mL", Worse.NEITHER, "definition", compared=False
    ),
    Measure(
        "reference_level",
        "signal level of the muscle used as reference",
        "a.u.",
        Worse.NEITHER,
        "definition",
        compared=False,
    ),
    # small nodules
    Measure(
        "nodule_count",
        "number of small nodules found, score at or above protocol nodules.nodule_score",
        "1",
        Worse.HIGHER,
        "definition; holds false positives of vessels",
        compared=False,
    ),
    Measure("nodules_per_litre", "small nodules found per litre of lung", "1/L", Worse.HIGHER, "definition"),
    Measure("nodule_diameter", "median diameter of the nodules found", "mm", Worse.NEITHER, "definition"),
    Measure(
        "micronodule_share",
        "share of nodules under 3 mm (nodules.micronodule_mm)",
        "%",
        Worse.NEITHER,
        "Fleischner Society glossary, Hansell 2008, Radiology 246:697",
    ),
    Measure(
        "nodule_pleural_distance", "median distance of nodules to the lungs' surface", "mm", Worse.NEITHER, "definition"
    ),
    Measure(
        "nodule_subpleural_share",
        "share of nodules nearer to the lungs' surface than nodules.subpleural_mm, those within shallow_mm left out",
        "%",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "nodule_pleural_avoidance",
        "how far the subpleural share lies below that of nodules put into this image at random and found again: "
        "positive is centrilobular, near 0 random",
        "SD",
        Worse.NEITHER,
        "definition; withheld unless protocol nodules.null_implants is set",
        compared=False,
    ),
    Measure("nodule_spacing", "median distance of a nodule to the nearest other", "mm", Worse.NEITHER, "definition"),
    Measure(
        "nodule_spacing_ratio",
        "mean distance to the nearest nodule over that of random points in the same lung: above 1 spaced out, below 1 "
        "clustered",
        "1",
        Worse.NEITHER,
        "Clark & Evans 1954, Monte Carlo reference",
        compared=False,
    ),
    Measure(
        "nodule_spacing_z",
        "mean distance to the nearest nodule, in SD of random points in the same lung from their mean",
        "SD",
        Worse.NEITHER,
        "Monte Carlo against complete spatial randomness",
        compared=False,
    ),
    # CT patterns
    Measure(
        "opacity_mean",
        "mean of the opacity map: density of the lung around each voxel, vessels and the normal gradient taken out",
        "HU",
        Worse.HIGHER,
        "definition; neighborhoods about as large as those of Zavaletta 2007 (by name; no identifier confirmed)",
    ),
    *(
        Measure(name, f"share of lung where the opacity map is {where}", "%", Worse.HIGHER, "definition")
        for name, where in (
            ("opacity_fraction", "at or above texture.opacity_hu"),
            ("ground_glass_extent", "from texture.opacity_hu to below texture.consolidation_hu"),
            ("consolidation_extent", "at or above texture.consolidation_hu"),
        )
    ),
    *(
        Measure(
            f"opacity_variation_{mm}mm",
            f"SD of the opacity map between neighborhoods of {mm} mm, coarser variation left out",
            "HU",
            Worse.NEITHER,
            "definition",
        )
        for mm in (8, 16)
    ),
    Measure(
        "patchiness",
        "opacity's variation between neighborhoods of 8 and 16 mm, less that of clear lung, over its mean above clear "
        "lung: 0 homogeneous",
        "1",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "reticulation",
        "outer lung: mean sheetness (septa, facing all ways) less mean tubeness (vessels, noise); about 0 in health",
        "HU",
        Worse.HIGHER,
        "definition",
    ),
    *(
        Measure(name, f"mean of the opacity map in {where}", "HU", Worse.NEITHER, "definition")
        for name, where in (
            ("opacity_central_excess", "the central less the peripheral lung"),
            ("opacity_lower_excess", "the lower less the upper third"),
            ("opacity_dorsal_excess", "the dorsal less the ventral half, normal gradient taken off"),
            ("opacity_right_excess", "the right less the left lung"),
            ("opacity_apical_sparing", "the rest of the lungs less the uppermost tenth"),
            ("opacity_costophrenic_sparing", "the rest of the lungs less the lowest tenth of the periphery"),
        )
    ),
    # radiographs
    Measure(
        "film_opacity_mean",
        "mean opacity: 0 clear lung, 1 soft tissue of the body's whole depth (mediastinum, heart, below the diaphragm)",
        "1",
        Worse.HIGHER,
        "definition",
    ),
    Measure(
        "film_opacity_over_clear",
        "mean opacity over that of the film's clearest 5 % of lung",
        "1",
        Worse.HIGHER,
        "definition",
    ),
    Measure("film_opacity_sd", "standard deviation of opacity", "1", Worse.NEITHER, "definition"),
    Measure(
        "film_consolidation_fraction",
        "radiograph: share of the inner lung field as opaque as consolidation (protocol films.consolidation_opacity)",
        "%",
        Worse.HIGHER,
        "definition; cut chosen on the phantom",
    ),
    Measure(
        "film_ground_glass_fraction",
        "radiograph: share of the inner lung field as opaque as ground glass (protocol films.ground_glass_opacity)",
        "%",
        Worse.HIGHER,
        "definition; cut chosen on the phantom",
    ),
    Measure(
        "film_reticular_score", "radiograph: mean strength of dense lines, in opacity", "1", Worse.HIGHER, "definition"
    ),
    Measure(
        "film_miliary_score", "radiograph: mean strength of dense dots, in opacity", "1", Worse.HIGHER, "definition"
    ),
    Measure(
        "film_opaque_fraction",
        "radiograph: share of the inner lung field at least as opaque as ground glass",
        "%",
        Worse.HIGHER,
        "definition; cut chosen on the phantom",
    ),
    *(
        Measure(
            f"{name}_{end}",
            f"{name} at the {words} end of the 95 % interval of the film's scale",
            unit,
            Worse.NEITHER,
            "definition",
        )
        for name, unit in (
            ("film_opacity_mean", "1"),
            ("film_consolidation_fraction", "%"),
            ("film_opaque_fraction", "%"),
        )
        for end, words in (("low", "lower"), ("high", "upper"))
    ),
    Measure(
        "film_scale_error",
        "half the 95 % interval of the film's scale: by so much may differences of opacity and texture scores be off",
        "%",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "film_opacity_perihilar",
        "opacity of the central less that of the peripheral lung",
        "1",
        Worse.NEITHER,
        "definition",
    ),
    Measure(
        "film_opacity_lower", "opacity of the lower less that of the upper third", "1", Worse.NEITHER, "definition"
    ),
    Measure(
        "film_opacity_asymmetry", "opacity of the right less that of the left lung", "1", Worse.NEITHER, "definition"
    ),
)
"""Catalogue of measures by name."""
