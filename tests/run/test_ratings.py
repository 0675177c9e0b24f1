import numpy as np
import pandas as pd
import pytest
from toys import toy_masks

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.compare.groups import compare_groups
from ipha_toolkit.io.ratings import add_ratings
from ipha_toolkit.measure.rows import usable
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.ratings import judged_hash, review_queue


@pytest.fixture
def folder(analyzed):
    """Two controls and a patient, with results."""
    return analyzed


def rate(folder, image, subject, verdict="unusable", rater="AB", **more):
    digest = judged_hash(folder / "out" / subject / "ses-1", f"{subject}_ses-1", image)
    row = {"subject": subject, "session": "ses-1", "image": image, "rater": rater, "verdict": verdict, "hash": digest}
    add_ratings(folder, [row | more])


def test_what_is_unusable_stays_flagged_and_leaves_references_groups_and_readings(folder):
    first = ipha.open_results(folder / "out").rows
    rate(folder, "T1w", "sub-c2", reasons="motion")
    rate(folder, "ct", "sub-p1", verdict="usable")
    analysis = run(folder / "cohort", folder / "out", ratings=folder, progress=False)
    assert analysis.measured == 0  # nothing is measured anew
    rows = analysis.rows
    out = rows[rows["flag"].str.contains("rated_unusable")]
    assert set(zip(out["subject"], out["modality"], strict=True)) == {("sub-c2", "T1w")}
    measured = first.query("subject == 'sub-c2' and modality == 'T1w'")
    assert set(out["measure"]) == set(measured["measure"][~measured["measure"].str.contains("_vs_controls|intense")])
    said = [str(remark) for remark in analysis.remarks]
    assert any("sub-c2_ses-1 T1w is left out, rated unusable by AB: motion" in text for text in said)
    labels = pd.Series({"sub-c1": "control", "sub-c2": "control", "sub-p1": "iph"})
    table = compare_groups(rows, labels)
    counts = table.groupby("modality")["n_reference"].max()
    assert counts["T1w"] == 1
    assert counts["ct"] == 2
    scores = [r.query("measure == 'signal_ratio_median_vs_controls' and subject == 'sub-p1'") for r in (first, rows)]
    assert scores[0]["value"].notna().any()
    assert not scores[1]["value"].notna().any()  # one control has no spread
    assert not ipha.open_results(folder / "out")["c2", "1"].is_usable("T1w")
    assert not usable(rows)["flag"].str.contains("rated_unusable").any()
    again = run(folder / "cohort", folder / "out", progress=False)  # without the ratings all is as before
    pd.testing.assert_frame_equal(again.rows, first)


def test_a_rating_of_a_changed_mask_counts_no_more_and_says_so(folder, capsys):
    rate(folder, "ct", "sub-p1")
    lungs, _ = toy_masks()
    smaller = np.array(lungs.array)
    smaller[:10] = False
    place = folder / "cohort" / "derivatives" / "hand" / "sub-p1" / "ses-1"
    ipha.save(lungs.replace(array=smaller), place / "sub-p1_ses-1_ct_desc-lung_mask.nii.gz")
    arguments = ["analyze", str(folder / "cohort"), "--out", str(folder / "out"), "-q"]
    assert main([*arguments, "--ratings", str(folder / "ratings.tsv")]) == 0
    said = capsys.readouterr().err
    assert "the rating of sub-p1_ses-1 ct by AB counts no more: the mask changed since; look again" in said
    assert not ipha.open_results(folder / "out").rows["flag"].str.contains("rated_unusable").any()


def test_of_several_raters_half_are_enough(folder):
    rate(folder, "ct", "sub-p1")
    rate(folder, "ct", "sub-p1", rater="CD", verdict="good")
    rate(folder, "ct", "sub-c1")
    for rater in ("CD", "EF"):
        rate(folder, "ct", "sub-c1", rater=rater, verdict="usable")
    rows = run(folder / "cohort", folder / "out", ratings=folder, progress=False).rows
    assert set(rows[rows["flag"].str.contains("rated_unusable")]["subject"]) == {"sub-p1"}


def test_raters_are_joined_and_their_agreement_said(folder, capsys):
    for subject, verdicts in {
        "sub-c1": ("good", "good"),
        "sub-c2": ("good", "usable"),
        "sub-p1": ("unusable",) * 2,
    }.items():
        for rater, verdict in zip(("AB", "CD"), verdicts, strict=True):
            rate(folder, "ct", subject, verdict=verdict, rater=rater)
    table = pd.read_csv(folder / "ratings.tsv", sep="\t", keep_default_na=False)
    files = []
    for rater in ("AB", "CD"):
        files.append(str(folder / f"{rater}.tsv"))
        table[table["rater"] == rater].to_csv(files[-1], sep="\t", index=False)
    assert main(["ratings", "merge", *files, "--out", str(folder / "all.tsv")]) == 0
    said = capsys.readouterr().out
    assert "AB and CD: 3 images rated by both, 67 % alike; Cohen's kappa 0.5" in said
    assert len(pd.read_csv(folder / "all.tsv", sep="\t")) == 6


def test_the_queue_begins_where_doubt_is_greatest(folder):
    queue = review_queue(ipha.open_results(folder / "out"))
    assert len(queue) == 6
    assert queue["doubt"].is_monotonic_decreasing
    assert queue["hash"].str.fullmatch("[0-9a-f]{16}-[0-9a-f]{16}").all()
    lungs, _ = toy_masks()
    half = np.array(lungs.array)
    half[:, :, :16] = False
    place = folder / "cohort" / "derivatives" / "hand" / "sub-c2" / "ses-1"
    ipha.save(lungs.replace(array=half), place / "sub-c2_ses-1_T1w_desc-lung_mask.nii.gz")
    run(folder / "cohort", folder / "out", progress=False)
    first = review_queue(ipha.open_results(folder / "out")).iloc[0]
    assert (first["subject"], first["image"]) == ("sub-c2", "T1w")
    assert "mL in ct" in first["why"]
