"""Settings of what is seen as a pattern in the lungs: texture of CT, and small nodules. See ``settings.py``."""

from __future__ import annotations

from dataclasses import dataclass

from ipha_toolkit.settings import _setting


@dataclass(frozen=True)
class TextureSettings:
    """Patterns of CT, ``measure/texture.py``."""

    narrow_mm: float = _setting(
        3.0, "bright structures narrower than this are taken out of the opacity map, mm", "chosen"
    )
    neighborhood_mm: float = _setting(
        4.0,
        "SD of the Gaussian neighborhood of the opacity map, mm",
        "about the 15-voxel neighborhoods of Zavaletta 2007 (by name; no identifier confirmed)",
    )
    border_rise_hu: float = _setting(
        60.0,
        "rise of the clearest tenth of the lung towards its border above which the image is blurred, HU",
        "chosen: real and simulated CT -45 to 43, the same under a Gaussian of 3 mm 44 to 175; no hold-out",
    )
    opacity_hu: float = _setting(
        -700.0,
        "the opacity map is opaque from here on, HU",
        "chosen on the phantom: above lung that fibrosis alone makes denser",
    )
    consolidation_hu: float = _setting(
        -350.0,
        "the opacity map is consolidation from here on, HU",
        "chosen on the phantom: local means of -300 HU cuts",
    )
    normal_gradient_hu_per_cm: float = _setting(
        8.0, "a rise of density towards the back up to this is that of a healthy supine lung, HU/cm", "chosen"
    )
    patch_mm: tuple[float, float] = _setting(
        (8.0, 16.0), "sizes of the neighborhoods between which opacity may vary, mm", "chosen on the phantom"
    )
    clear_variation_hu: float = _setting(
        18.0,
        "variation between neighborhoods that clear lung has as well, from small vessels, HU",
        "chosen on the phantom",
    )
    faint_extent: float = _setting(
        2.0,
        "a larger share of opaque lung may be faint haze, too little to count as ground glass, %",
        "chosen on both generators: healthy, obese, miliary and stippled lungs 0.1 to 1.7, faint subacute 2.2 to 7.9",
    )
    clear_hu: float = _setting(
        -850.0, "density of clear lung, above which opacity is counted for patchiness, HU", "chosen"
    )
    least_excess_hu: float = _setting(
        60.0, "lungs less than this above clear lung have no opacity to be patchy, HU", "chosen on the phantom"
    )


@dataclass(frozen=True)
class NoduleSettings:
    """Small nodules in T1w and CT, ``measure/nodules.py``."""

    smoothing_mm: tuple[float, float] = _setting(
        (0.8, 1.6), "SD of the finer and wider Gaussian at which nodules are sought, mm", "chosen on the phantom"
    )
    reach_mm: tuple[float, float] = _setting(
        (4.0, 7.0), "how far from a peak, at each scale, one must get without descending for a vessel, mm",
        "chosen on the phantom; more than the radius of the largest nodules sought",
    )  # fmt: skip
    shallow_mm: float = _setting(
        2.0, "a peak nearer than this to the lung's border must not merge with it, mm", "chosen on the phantom"
    )
    unevenness: float = _setting(
        0.033, "noise is taken as at least this share of the vessels' contrast", "chosen on the phantom"
    )
    candidate_score: float = _setting(2.0, "candidates from this score on are listed", "chosen on the phantom")
    nodule_score: float = _setting(6.0, "candidates from this score on count as nodules", "chosen on the phantom")
    micronodule_mm: float = _setting(
        3.0,
        "a nodule under this diameter is a micronodule, mm",
        "Fleischner Society glossary, Hansell 2008, Radiology 246:697",
    )
    coarsest_mm: float = _setting(
        3.5,
        "side of a cube of a voxel's volume above which no nodules are counted, mm",
        "chosen: voxels of 3.9 mm showed 14 to 27 nodules per litre, all of 12 mm, in healthy volunteers",
    )
    few_nodules: int = _setting(10, "sizes and patterns of fewer nodules than this are not given", "chosen")
    subpleural_mm: float = _setting(
        5.0,
        "nearer to the pleura than this is subpleural, mm",
        "centrilobular nodules keep 5 to 10 mm from it: textbook",
    )
    null_implants: int = _setting(
        0,
        "nodules put into the image and sought again, to judge pleural avoidance; 0 withholds it, 200 costs one search",
        "chosen: off, for time",
    )
    avoidance_mm: float = _setting(
        1.75,
        "voxels with a longer side give no pleural avoidance, mm",
        "chosen on benchmarks/avoidance.py: at 2 mm random nodules reach +2.1, centrilobular ones +2.2",
    )
    random_patterns: int = _setting(199, "random patterns that nodules are set against", "chosen")
    least_voxels: float = _setting(
        1.5, "a nodule smaller than this many times the longest voxel side is flagged", "chosen on the phantom"
    )
