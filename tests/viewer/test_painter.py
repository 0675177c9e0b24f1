"""The widget that a mask is painted in: messages in, the mask on disk, the session measured again."""

import json
from hashlib import sha256

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from ipywidgets import Widget

import ipha_toolkit as ipha
from ipha_toolkit.errors import DataError
from ipha_toolkit.io.names import PROVENANCE
from ipha_toolkit.run.painting import measure_again, voxel_hash


@pytest.fixture
def session(analyzed):
    yield ipha.open_results(analyzed / "out")["p1", "1"]
    Widget.close_all()


def stroke(painter, *places, radius=20.0, plane="axial", add=True):
    """What the browser sends of a stroke: its first piece, and the rest."""
    sent = {"type": "paint", "did": "stroke", "radius": radius, "plane": plane, "add": add}
    painter._answer(painter, sent | {"places": [list(places[0])], "begin": True, "end": False}, [])
    painter._answer(painter, sent | {"places": [list(p) for p in places], "begin": False, "end": True}, [])


def do(painter, did, **more):
    painter._answer(painter, {"type": "paint", "did": did} | more, [])


def test_only_the_changed_box_travels(session, monkeypatch):
    painter = session.paint("ct")
    sent = []
    monkeypatch.setattr(painter, "send", lambda message, buffers=(): sent.append((message, list(buffers))))
    stroke(painter, (19.0, 14.0, 12.0))
    kinds = [message["type"] for message, _ in sent]
    assert set(kinds) == {"changed"}
    message, (part,) = sent[0]
    box = message["box"]
    assert [last - first for first, last in box][2] == 1
    assert part.shape == tuple(last - first for first, last in reversed(box))
    here = painter.editor.array[tuple(slice(first, last) for first, last in box)]
    assert np.array_equal(part.transpose(2, 1, 0), here)
    assert np.array_equal(painter._shown[1].array, painter.editor.array)  # what the viewer shows is what is painted


def test_a_kernel_that_ends_loses_no_stroke(session):
    painter = session.paint("ct", rater="AB")
    first = painter.mask
    stroke(painter, (19.0, 14.0, 12.0), (19.0, 18.0, 12.0))
    stroke(painter, (12.0, 14.0, 12.0), add=False)
    do(painter, "islands")
    assert painter.report["state"] == "said"
    assert painter.report["text"].startswith("Removing islands: ")
    do(painter, "undo")
    painted = painter.editor.array.copy()
    with painter.strokes.path.open("a") as file:
        file.write('{"did": "change", "fl')  # cut off while it was written
    again = session.paint("ct", rater="AB")
    assert np.array_equal(again.editor.array, painted)
    assert again.numbers == painter.numbers
    for _ in range(3):
        do(again, "undo")
    assert again.mask.array.tobytes() == first.array.tobytes()
    do(again, "redo")
    do(again, "redo")
    do(again, "save")
    assert again.report["state"] == "saved"


def test_a_painted_mask_is_measured_and_only_its_session(session, analyzed):
    root, out = analyzed / "cohort", analyzed / "out"
    painter = session.paint("ct", rater="AB")
    for z in range(6, 28):
        stroke(painter, (12.0, 15.0, float(z)), radius=30.0, add=False)
    painter.seconds = 75.4
    others = {path: sha256(path.read_bytes()).digest() for path in out.rglob("sub-c*/**/*") if path.is_file()}
    found = painter.measure_again()
    path = root / "derivatives" / "manual" / "sub-p1" / "ses-1" / "sub-p1_ses-1_ct_desc-lung_mask.nii.gz"
    saved = nib.load(path)
    assert np.array_equal(saved.get_fdata() > 0, painter.mask.array)
    facts = json.loads(path.with_name("sub-p1_ses-1_ct_desc-lung_mask.json").read_text())
    assert facts["Manual"] is True
    assert facts["Sources"] == ["bids::sub-p1/ses-1/ct/sub-p1_ses-1_ct.nii.gz"]
    assert facts["Rater"] == "AB"
    assert facts["SecondsSpent"] == 75
    assert facts["VoxelsChanged"] == painter.editor.changed_voxels > 0
    assert facts["BegunFromHash"] == voxel_hash(painter.editor.before)
    assert {p: sha256(p.read_bytes()).digest() for p in others} == others
    volume = found.rows.query("modality == 'ct' and region == 'lung' and measure == 'lung_volume'").iloc[0]
    assert volume["after"] == pytest.approx(painter.mask.volume_ml)
    assert volume["before"] > volume["after"]
    assert set(found.changed["modality"]) >= {"ct"}
    assert list(found.reading.index) == ["before", "after"]
    assert painter.report["state"] == "done"
    assert [row[1:3] for row in painter.report["rows"][:2]] == [["lung", "lung volume"], ["lung", "attenuation mean"]]
    fresh = ipha.open_results(out)
    assert np.array_equal(fresh["p1", "1"].mask("ct").array, painter.mask.array)
    assert len(fresh) == 3
    whole = ipha.analyze(root, out, progress=False)  # nothing is left to do: a run over all gives the same
    pd.testing.assert_frame_equal(whole, fresh.rows)
    assert fresh["p1", "1"].paint("ct").editor.done == []  # the measured mask is what is painted on next


def test_results_of_a_segmenter_of_ones_own_are_not_measured_without_it(session):
    path = session.folder / PROVENANCE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"segmenter": "mine.segment"}))
    with pytest.raises(DataError, match="measured with the segmenter mine"):
        measure_again(session)


def test_an_empty_mask_is_not_saved(session):
    painter = session.paint("ct")
    painter.brush_side = "left"
    do(painter, "clear")
    painter.brush_side = "right"
    do(painter, "clear")
    do(painter, "save")
    assert painter.report["state"] == "failed"
    assert "empty" in painter.report["text"]
    with pytest.raises(ValueError, match="painted mask is empty"):
        painter.save()


def test_mri_shows_the_ratio_to_muscle_as_it_follows(session):
    painter = session.paint("T1w")
    assert [name for name, _ in painter.numbers[3:5]] == ["mean ratio to muscle", "median ratio to muscle"]
    ratio = session.map("T1w", "ratio").array[session.mask("T1w").array]
    measured = session.rows.query("modality == 'T1w' and region == 'lung' and measure == 'signal_ratio_median'")[
        "value"
    ]
    assert painter.editor.numbers.median == pytest.approx(float(np.median(ratio)), rel=0.01)
    assert painter.editor.numbers.median == pytest.approx(measured.iloc[0], rel=0.01)


def test_the_mask_of_a_film_is_painted_and_read_back_where_it_was_painted(tmp_path):
    folder = tmp_path / "cohort" / "sub-1" / "xray"
    folder.mkdir(parents=True)
    film = ipha.simulate_subject("none", seed=1, spacing_mm=5, modalities=("dx",)).volumes["dx"]
    ipha.save(film, folder / "sub-1_dx.nii")
    ipha.analyze(tmp_path / "cohort", tmp_path / "out", workers=1, progress=False)
    session = ipha.open_results(tmp_path / "out")["sub-1"]
    painter = session.paint("dx", rater="AB")
    before = painter.editor.array.copy()
    stroke(painter, np.argwhere(before).mean(axis=0), plane="coronal", add=False)
    assert 0 < painter.editor.array.sum() < before.sum()
    painter.measure_again()
    saved = ipha.open_results(tmp_path / "out")["sub-1"].mask("dx").to_ras()
    assert np.array_equal(saved.array, painter.editor.array)
    Widget.close_all()
