"""The demo's numbers: its cohort, the real analysis, and the truth beside it."""

from dataclasses import replace

from ipha_toolkit.demo.cohort import FILMED, FOLLOWED, demo_population, run_demo
from ipha_toolkit.phantom.population import participant


def test_the_cohort_has_controls_all_phases_and_a_patient_over_three_years_in_ten_whole_sessions_at_most():
    people = demo_population()
    assert sum(person.group == "control" for person in people) == 5
    assert {visit.phase for person in people for visit in person.visits} == {"none", "acute", "subacute", "chronic"}
    assert sum(not visit.images for person in people for visit in person.visits) <= 10
    assert next(person for person in people if person.name == FOLLOWED).visits[-1].day >= 3 * 365


def test_the_analysis_is_complete_and_paired_with_the_truth(small_demo):
    assert small_demo.analysis.failures == []
    assert set(small_demo.pairs["modality"]) == {"T1w", "T2w", "ct"}
    assert small_demo.pairs["measured"].notna().all()
    assert small_demo.masks["dice"].between(0, 1).all()
    ct = small_demo.masks.loc[small_demo.masks["modality"] == "ct", "dice"]
    assert (ct > 0.9).all()


def test_bleeding_raises_attenuation_in_truth_and_measurement_alike(small_demo):
    mean = (
        small_demo.pairs[small_demo.pairs["measure"] == "attenuation_mean"]
        .groupby("phase")[["true", "measured"]]
        .mean()
    )
    assert (mean.loc["acute"] > mean.loc["none"] + 50).all()
    assert (mean["true"] - mean["measured"]).abs().max() < 40


def test_images_masks_and_maps_are_in_the_results(small_demo):
    session = small_demo.results["001", "01"]
    assert session.mask("T1w").same_grid(session.image("T1w")) and session.map("T1w").same_grid(session.image("T1w"))
    assert not session.has("ct", "ratio")
    assert session.histogram("T2w")["lung"].sum() > 0


def test_a_bleed_is_followed_on_radiographs_alone_and_its_opacity_falls(small_demo):
    person = next(person for person in small_demo.people if person.name == FILMED)
    films = [visit.session for visit in person.visits if visit.images == ("dx",)]
    own = small_demo.rows[small_demo.rows["subject"] == FILMED]
    assert set(own[own["session"].isin(films)]["modality"]) == {"dx"}
    opacity = own[(own["measure"] == "film_opacity_mean") & (own["region"] == "lung")].set_index("session")["value"]
    assert opacity["ses-01"] > opacity[films[-1]] + 0.3
    filmed = small_demo.results[FILMED, films[0]]
    assert filmed.mask("dx").same_grid(filmed.image("dx"))


def test_lungs_full_of_blood_are_found_in_mri_and_t2w_takes_those_of_t1w(small_demo):
    found = small_demo.masks[small_demo.masks["phase"] == "acute"].set_index("modality")["dice"]
    assert found["T1w"] > 0.75
    assert found["T2w"] == found["T1w"]


def test_bright_lung_does_not_make_fat_the_reference_of_t2w(tmp_path, monkeypatch):
    monkeypatch.setattr("ipha_toolkit.demo.cohort.MODALITIES", ("T1w", "T2w"))
    person = replace(participant("sub-001", "edema", age=30, seed=901), severity=0.8)
    found = run_demo(tmp_path, people=[person], spacing_mm=4.0, workers=1, progress=False).pairs
    ratio = found[(found["modality"] == "T2w") & (found["measure"] == "signal_ratio_median")].iloc[0]
    assert ratio["true"] > 0.6 and abs(ratio["measured"] / ratio["true"] - 1) < 0.15
