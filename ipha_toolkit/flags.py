"""What is said in one word: the flags that a row of the table can carry, and the findings of a session."""

from __future__ import annotations

RATED_UNUSABLE = "rated_unusable"

FLAGS: dict[str, str] = {
    # lungs
    "one_lung": "only one lung was found",
    "cut_field_of_view": "the lungs reach the border of the image: volumes and zones are of what is shown",
    "implausible_lung_volume": "the lung volume is outside what a child or adult can have; look at the mask",
    "perhaps_no_chest": "MRI mask hardly as deep as lungs and without a diaphragm's domes: a pelvis? Look at the image",
    "suppressed_fat": "T1w with fat darker than muscle: fat beside the lungs may be in the mask; look at it",
    "lungs_partly_missing": "MRI mask far smaller than another scan's: lung as bright as muscle is lost; pass a mask",
    "lungs_from_t1w": "T2w measured in the lungs of T1w, moved by position alone: its own were not told from tissue",
    "lungs_by_lungmask": "lungs found by the lungmask command installed here, not by this package",
    "lungs_by_totalsegmentator": "lungs found by the TotalSegmentator command installed here, not by this package",
    "lung_perhaps_missing": "CT mask lacks 7 % or more, by ribs or the other lung, or a slice's ends in dense lung",
    "airway_perhaps_inside": "a coronal or sagittal CT slice whose mask may hold trachea or bronchi: look at it",
    "too_coarse_for_nodules": "voxels too large for nodules of this size: none are counted",
    "single_slice": "measured on one slice: no volume, no zones along the missing axis",
    "child": "under 16 years by participants.tsv: norms of adults at full inspiration do not hold",
    "young_child": "so young by participants.tsv that healthy lung is as dense as the cuts of ground glass (gate)",
    "foreign_mask": "measured in a lung mask made elsewhere",
    "expiration": "CT in expiration, by its name: lungs are denser than in inspiration, for which norms are given",
    "slices_missing": "slices missing between others were filled in from their neighbours: nothing was seen there",
    "hot_voxels": "MR voxels a thousand times above the others, of a damaged file or receiver, count as missing",
    "lung_voxels_missing": "over 1 % of the lung's voxels have no value in the file: what lies there was not measured",
    "facts_not_believed": "a time, angle, field or voltage in the sidecar is no number of its unit: see ipha check",
    "tilt_resampled": "slices of a tilted gantry, resampled to upright ones: values are interpolated",
    RATED_UNUSABLE: "a rater called image or mask unusable: in no reference, group or plot, and in no reading",
    # radiographs
    "no_pixel_spacing": "the file gives no pixel spacing: one pixel is taken as 1 mm, lengths are in pixels",
    "detector_spacing": "pixel spacing is that of the detector: the patient is magnified on it",
    "colour_converted": "a colour picture, converted to gray levels",
    "inverted_film": "the film was stored with dense dark and was turned round",
    "uncertain_lung_field": "a border of a lung field hardly stands out, or one base lies far lower: look at the mask",
    "perhaps_not_frontal": "right and left half of the film are unlike: another view, or one lung opaque; look at it",
    "perhaps_no_radiograph": "the lower middle is not the densest: a slice of CT or MRI, or a film cut off; look at it",
    "small_zone": "the zone holds under 300 pixels",
    # noise
    "noise_not_estimable": "no air of five distinct values, nor tissue smooth enough: noise cannot be estimated",
    "noise_from_tissue": "no air outside the body: noise read from smooth tissue, within 15 % on cropped phantoms",
    "noise_uncertain": "noise estimates part: it is not the same all over; what depends on it is withheld",
    "uneven_noise": "noise differs between places by a quarter or more, and lung signal lies near it: lifted unevenly",
    "emptied_lung": "a fifth or more of the lung holds exactly 0: dark signal was set to zero when the image was made",
    "ghosts": "structured signal in the air outside the body: ghosts lie over the lungs as well",
    # controls
    "no_controls": "no control in participants.tsv: the protocol's fallback threshold was used",
    "no_matching_controls": "there are controls, but none was scanned as this image was: they are left out",
    "few_controls": "fewer controls than the protocol asks for",
    "controls_left_out": "some controls were scanned otherwise and are left out; readings.tsv names them",
    "sequence_unknown": "sidecars do not say how the image or its controls were made: whether they match is not known",
    "other_age": "no control of the patient's age, and too few controls to take age out",
    "adjusted": "age, height and lung volume, as far as known, were taken out by regression over the controls",
    "contrast_enhanced": "T1w after contrast agent: enhancement mimics signal gain",
    # signature
    "no_evidence": "T1w predicts no T2w above the noise floor in most voxels: the signature cannot be judged there",
    "iron_under_water": "T1w so far above the controls that water may hide what iron takes from T2w",
    "iron_may_hide": "no T2w deficit, but signature_hidden_loss of T2w could be lost to iron without showing",
    "realigned": "T2w was moved onto the grid of T1w",
    # R2*
    "mostly_censored": "R2* withheld: most of the region never rises above the noise floor",
    "late_first_echo": "R2* withheld: too much of the signal is gone by the first echo; a shorter first echo is needed",
    "low_echo_signal": "R2* withheld: what decays in the lung hardly stands above the noise at the first echo",
    "uncertain_r2star": "R2* withheld: half its interval is wider than relaxometry.widest_interval of it",
    "few_blocks": "R2* withheld: the region is too small to pool signal in enough blocks",
    "few_echoes": "R2* withheld: fewer than 4 echoes do not tell the lung's decay from the blood in its vessels",
    "saturated": "R2* withheld: echoes are clipped at the top of the image's scale within the lung",
    "no_lung_density": "no CT in the session: R2* cannot tell iron from aeration",
    # texture
    "no_opacity": "too little opacity to be patchy or homogeneous",
    "faint_haze": "more lung is opaque than a clear lung has, perhaps too little to count as ground glass",
    "septa_as_patches": "opacity varies more over 8 than over 16 mm, as between septa: no patches of haze",
    "blurred_border": "the lungs' border is blurred over several mm: tissue beside it adds to their density",
    "blurred_slices": "thin structures hardly face one axis: slices thicker than they are apart, which hides a net",
    # nodules
    "few_nodules": "too few nodules for a size or pattern",
    "no_detector_null": "pleural avoidance withheld: not set against nodules put into this image at random and found",
    "coarse_for_avoidance": "pleural avoidance withheld: voxels too large to tell random from centrilobular nodules",
    "coarse_for_micronodules": "voxels too large for micronodules: only larger nodules are counted",
    # reference tissue
    "small_reference": "under 2 mL of reference muscle",
    "asymmetric_reference": "reference muscle differs by more than 25 % between left and right",
}
"""What each flag on a row means."""

FINDINGS: dict[str, str] = {
    "ground_glass_opacity": "hazy opacity through which vessels are still seen: air space partly filled",
    "air_space_opacity": "ground glass or consolidation",
    "consolidation": "opacity that hides the vessels: air space filled",
    "patchy_opacity": "opacity in patches with clear lung between them",
    "lower_zone_predominance": "more opacity in the lower than in the upper third, the normal gradient taken off",
    "micronodules": "innumerable small nodules",
    "reticulation": "a net of thin dense sheets: thickened septa, fibrosis",
    "interstitial_pattern": "reticulation, or innumerable small nodules",
    "t1w_signal_gain": "T1w: lung brighter than that of controls: more water, protein, methemoglobin or contrast agent",
    "t2w_signal_gain": "T2w: lung brighter than that of controls: water, fresh blood",
    "dark_t2w": "T2w: lung no brighter than that of controls, which says something only where T1w is brighter",
    "hemosiderin_signature": "T2w deficit relative to T1w: T2w darker than the T1w signal predicts",
    "marked_t2w_deficit": "T2w darker than the T1w signal predicts by much more than the controls' voxels scatter",
    "free_water": "T2w brighter than the T1w signal predicts: fresh blood, edema",
    "film_opacity": "radiograph: air-space opacity of a lung field",
    "film_haze": "radiograph: ground glass or more over much of the lung fields",
}
"""What a reader would call seen, in the order of a report."""
