import numpy as np
import SimpleITK as sitk
from toys import put_participants, put_session, toy_ct

from ipha_toolkit.run.cohort import run


def test_voxels_changed_behind_their_header_are_measured_anew(tmp_path):
    root = tmp_path / "cohort"
    put_session(root, "sub-1", "ses-1", [toy_ct()])
    path = next((root / "sub-1").rglob("*_ct.nii.gz"))
    sitk.WriteImage(sitk.ReadImage(str(path)), str(path.with_name("sub-1_ses-1_ct.nhdr")))
    path.unlink()
    assert run(root, tmp_path / "out", progress=False).measured == 1
    assert run(root, tmp_path / "out", progress=False).measured == 0
    raw = next(path.parent.glob("*.raw*"))
    raw.write_bytes((np.frombuffer(raw.read_bytes(), np.float32) + np.float32(20)).tobytes())
    assert run(root, tmp_path / "out", progress=False).measured == 1


def test_a_sidecar_further_up_is_an_input(tmp_path):
    root = tmp_path / "cohort"
    put_session(root, "sub-1", "ses-1", [toy_ct()])
    run(root, tmp_path / "out", progress=False)
    (root / "ct.json").write_text('{"KVP": 120}')
    assert run(root, tmp_path / "out", progress=False).measured == 1


def test_controls_lost_are_said_by_the_analysis(tmp_path):
    root = tmp_path / "cohort"
    put_session(root, "sub-1", "ses-1", [toy_ct()])
    put_participants(root, {"sub-7": "control"})
    remarks = [str(remark) for remark in run(root, tmp_path / "out", progress=False).remarks]
    assert any("'sub-7' has no folder here" in text for text in remarks)
    assert any("has no row for sub-1" in text for text in remarks)
