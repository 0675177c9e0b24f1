"""Entries of the catalogue: what is measured in MRI, the signal of lungs, the signature of hemosiderin, R2*."""

from __future__ import annotations

from ipha_toolkit.catalogue_entry import Measure, Worse

MR_MEASURES: tuple[Measure, ...] = (
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
        "signature_strength_in_water",
        "as signature_strength, of the curve that patients of group edema follow; given with three of them",
        "voxel SD",
        Worse.HIGHER,
        "definition",
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
        "signature_hidden_loss",
        "most of its T2w signal that a lung may have lost to iron: upper limit of signature_strength and what water "
        "may add at its T1w",
        "%",
        Worse.NEITHER,
        "definition; how far water lifts T2w is known from patients of group edema, else from the phantom",
        compared=False,
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
)
"""In the order in which the catalogue lists them."""
