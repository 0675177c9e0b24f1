"""The catalogue: every measure, with unit, direction, definition and source."""

from __future__ import annotations

from ipha_toolkit.catalogue_entry import Measure, Worse
from ipha_toolkit.catalogue_mr import MR_MEASURES

__all__ = ["MEASURES", "ROW_COLUMNS", "Measure", "Worse", "versus_controls"]

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
    Measure(
        "lung_missing_volume",
        "dense tissue beside ribs, rests of air or the other lung that is perhaps lung the CT mask lacks, or fluid",
        "mL",
        Worse.HIGHER,
        "chosen; regions/lacking.py",
    ),
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
    *MR_MEASURES,
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
