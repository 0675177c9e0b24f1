"""Real DICOM folders: each ends as a right volume, or in one clear line."""

from pathlib import Path

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.run.import_ import run_import
from ipha_toolkit.run.plan import plan_import

DATA = Path(__file__).parents[3] / "shared" / "data"
AWKWARD = DATA / "dicom_awkward"
pytestmark = pytest.mark.skipif(not AWKWARD.exists(), reason="real scans are not in ../shared/data")
pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")


def imported(source, out, role=None, **options):
    plan = plan_import(source, progress=False)
    for series in plan.table["series"] if role else ():
        plan = plan.edit(series, role=role)
    return plan, run_import(plan, out, progress=False, **options)


def from_pydicom(folder, pattern="*"):
    """Pixels times rescale of single-slice files, shape (columns, rows, slices), and their corners in RAS."""
    import pydicom

    files = [pydicom.dcmread(path) for path in sorted(folder.glob(pattern)) if path.is_file()]
    normal = np.cross(*np.reshape(np.array(files[0].ImageOrientationPatient, float), (2, 3)))
    files.sort(key=lambda data: float(np.dot(np.array(data.ImagePositionPatient, float), normal)))
    values = [
        data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0)) for data in files
    ]
    return np.stack([each.T for each in values], axis=2), files


def require_equal(path, folder, role, pattern="*"):
    """Every voxel where the header puts it, and with pydicom's value."""
    values, files = from_pydicom(folder, pattern)
    found = ipha.load(path, modality=role)
    for k in (0, len(files) // 2, len(files) - 1):
        data = files[k]
        corner = np.array(data.ImagePositionPatient, float)
        across, down = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
        for c, r in ((0, 0), (data.Columns - 1, 3), (5, data.Rows - 1), (data.Columns // 2, data.Rows // 2)):
            place = (corner + across * data.PixelSpacing[1] * c + down * data.PixelSpacing[0] * r) * [-1, -1, 1]
            index = found.to_index(place)
            np.testing.assert_allclose(index, np.rint(index), atol=0.02)
            i, j, n = np.rint(index).astype(int)
            seen = found.array[i, j, n]
            if np.isfinite(seen):
                np.testing.assert_allclose(seen, values[c, r, k], rtol=1e-5, atol=1e-3)
            else:
                assert role == "ct" and values[c, r, k] < -1500
    known = np.isfinite(found.array)
    total = values[values >= -1500].sum() if role == "ct" else values.sum()
    np.testing.assert_allclose(found.array[known].astype(float).sum(), total, rtol=1e-5)


def test_slices_that_are_each_a_series_of_their_own_become_one_volume(tmp_path):
    folder = DATA / "mri_xe_proton_dicom" / "601_CPIR_Anatomical"
    plan, done = imported(folder, tmp_path / "c")
    assert plan.table[["role", "sure", "slices"]].to_numpy().tolist() == [["T1w", "likely", "18"]]
    assert done.left_out == {}
    require_equal(next((tmp_path / "c").rglob("*_T1w.nii.gz")), folder, "T1w")


def test_the_ibsi_phantom_comes_out_of_its_zip_file_as_its_nifti_says(tmp_path):
    plan, done = imported(DATA / "ct_ibsi1_phantom" / "dicom_zip", tmp_path / "c")
    assert sorted(plan.table["role"]) == ["ct", "mask"] and done.left_out == {}
    found = ipha.load(next((tmp_path / "c").rglob("*_ct.nii.gz")))
    published = ipha.load(DATA / "ct_ibsi1_phantom" / "phantom.nii.gz", modality="ct")
    np.testing.assert_allclose(found.affine, published.affine, atol=0.01)
    np.testing.assert_array_equal(found.array, published.array)
    drawn = load_mask(next((tmp_path / "c").rglob("derivatives/pacs/**/*_mask.nii.gz")))
    theirs = load_mask(DATA / "ct_ibsi1_phantom" / "mask.nii.gz")
    both = (drawn.array & theirs.array).sum()
    assert 2 * both / (drawn.n_voxels + theirs.n_voxels) > 0.98


@pytest.mark.parametrize(
    ("folder", "role", "pattern"),
    [
        ("ct_j2k_lossless_abdomen", "ct", "CT*"),
        ("generic/compressed/001", "T2w", "*"),
        ("generic/compressed_j2k/001", "T2w", "*"),
        ("generic/compressed_rle/001", "T2w", "*"),
        ("failing/slicecount/001", "T2w", "*"),
    ],
)
def test_what_is_a_volume_comes_out_voxel_for_voxel(tmp_path, folder, role, pattern):
    _, done = imported(AWKWARD / folder, tmp_path / "c", role)
    assert done.left_out == {}
    require_equal(next((tmp_path / "c").rglob("*.nii.gz")), AWKWARD / folder, role, pattern)


@pytest.mark.parametrize("folder", ["generic/compressed_jpeg/001", "generic/compressed_jpegls/001"])
def test_compressions_that_pydicom_refuses_come_out_like_the_others(tmp_path, folder):
    found = []
    for name in (folder, "generic/compressed_rle/001"):
        _, done = imported(AWKWARD / name, tmp_path / name, "T2w")
        assert done.left_out == {}
        found.append(ipha.load(next((tmp_path / name).rglob("*.nii.gz"))).array)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("folder", ["philips_enhanced", "siemens_multiframe"])
def test_enhanced_objects_come_out_frame_by_frame(tmp_path, folder):
    import pydicom

    (file,) = (AWKWARD / folder / "anatomical/001").iterdir()
    data = pydicom.dcmread(file)
    _, done = imported(file, tmp_path / "c", "T1w")
    assert done.left_out == {}
    found = ipha.load(next((tmp_path / "c").rglob("*.nii.gz")))
    values = data.pixel_array.astype(float)
    group = data.PerFrameFunctionalGroupsSequence[0].get("PixelValueTransformationSequence")
    values = values * float(group[0].RescaleSlope) + float(group[0].RescaleIntercept) if group else values
    np.testing.assert_allclose(np.sort(found.array.ravel())[::997], np.sort(values.ravel())[::997], rtol=1e-5)


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("failing/gantrytilting", "the gantry was tilted by 14.0 degrees; use --mend-tilt"),
        ("failing/notavolume", "4 of 4 images lie at one place"),
        ("failing/sliceincrement/001", "1 of 5 slices are missing; export it again, or use --allow-gaps"),
        ("failing/sliceincrement/002", "1 of 5 slices are missing"),
        ("failing/sliceorientation", "mixed orientation, its 4 slices lie in 2 directions"),
        ("pydicom_emri/emri_small.dcm", "10 images without positions"),
        ("scout_and_cine/MR_Explicit_Little_MultiFrame.dcm", "16 images without positions"),
    ],
)
def test_what_is_no_volume_is_left_out_in_one_clear_line(tmp_path, folder, reason):
    _, done = imported(
        AWKWARD / folder, tmp_path / "c", "ct" if "failing" in folder and "orientation" not in folder else "T1w"
    )
    assert len(done.left_out) == 1 and done.left_out["s001"].startswith(reason)
    assert not list((tmp_path / "c").rglob("*.nii.gz"))


def test_gaps_and_tilt_are_mended_on_request_and_flagged(tmp_path):
    _, done = imported(AWKWARD / "failing/sliceincrement/002", tmp_path / "c", "ct", allow_gaps=True, mend_tilt=True)
    assert done.left_out == {}
    found = ipha.load(next((tmp_path / "c").rglob("*.nii.gz")))
    assert found.meta["ReadFlags"] == ["slices_missing", "tilt_resampled"] and found.shape[2] == 5
    np.testing.assert_allclose(found.spacing_mm[2], 0.778 * np.cos(np.radians(15.5)), atol=1e-3)


def test_a_scout_is_known_by_its_header():
    plan = plan_import(AWKWARD / "scout_and_cine" / "CT_JPEG70.dcm", progress=False)
    assert plan.table[["role", "sure"]].to_numpy().tolist() == [["none", "sure"]]


def test_a_radiograph_sent_twice_is_not_dropped_in_silence():
    plan = plan_import(DATA / "cxr_misc", progress=False)
    assert "Fake_MONOHR1.dcm: has the UID of" in plan.problems[0] and "but not its content" in plan.problems[0]


def test_no_text_of_the_headers_is_left(tmp_path):
    import gzip

    imported(DATA / "ct_covid_prior_current_slices", tmp_path / "c")
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file() and path.name != "key.tsv"]
    content = b"".join(gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes() for p in files).lower()
    for word in (b"trauma", b"a046441", b"a072894", b"19001111", b"19010103", b"1900-"):
        assert word not in content
