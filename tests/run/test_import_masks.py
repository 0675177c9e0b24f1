import nibabel as nib
import numpy as np
import pytest
from toys import put_session, toy_ct, toy_masks, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import GridError, LayoutError, ReadError
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.phantom.dicom import Study, document, slices
from ipha_toolkit.run import import_
from ipha_toolkit.run.disk import save
from ipha_toolkit.run.import_masks import import_masks
from ipha_toolkit.run.plan import plan_import
from ipha_toolkit.volume import Mask

ANNA = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")


def ct_series():
    return slices(toy_ct(), ANNA, number=2, modality="CT", intercept=-1024,
                  tags={"BodyPartExamined": "CHEST", "SeriesDescription": "Thorax"})  # fmt: skip


def rtstruct(series, masks, *, uid=None):
    """Contours around every box of each mask, as a planning system draws them; a hole is a contour of its own."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    data = document(ANNA, number=50, modality="RTSTRUCT")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    names, contours = [], []
    for number, (name, polygons) in enumerate(masks.items(), 1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, items = number, []
        for points in polygons:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            item.ContourData = [f"{value:.6f}" for value in np.ravel(points)]
            items.append(item)
        drawn.ContourSequence = Sequence(items)
        names.append(roi)
        contours.append(drawn)
    data.StructureSetROISequence, data.ROIContourSequence = Sequence(names), Sequence(contours)
    series_item, study_item, frame_item = Dataset(), Dataset(), Dataset()
    series_item.SeriesInstanceUID = uid or series[0].SeriesInstanceUID
    study_item.RTReferencedSeriesSequence = Sequence([series_item])
    frame_item.RTReferencedStudySequence = Sequence([study_item])
    data.ReferencedFrameOfReferenceSequence = Sequence([frame_item])
    return data


def box(i, j, k, *, shift=0.0):
    """Corners of a rectangle around voxels i[0]..i[1]-1, j[0]..j[1]-1 of slice k, DICOM's LPS."""
    low, high = np.array([i[0], j[0]]) - 0.5, np.array([i[1], j[1]]) - 0.5
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    return [toy_ct().to_world([a, b, k + shift]) * [-1, -1, 1] for a, b in corners]


def imported(tmp_path, *further):
    series = ct_series()
    save(tmp_path / "d", [*series, *further])
    plan = plan_import(tmp_path / "d", progress=False)
    return import_.run_import(plan, tmp_path / "c", progress=False), tmp_path / "c"


@pytest.fixture(autouse=True)
def _needs_dcm2niix():
    pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")


def test_contours_become_the_voxels_they_enclose_with_holes_and_pieces(tmp_path):
    polygons = [polygon for k in range(6, 28) for polygon in (
        box((8, 17), (9, 22), k), box((11, 13), (12, 15), k), box((23, 32), (9, 22), k))]  # fmt: skip
    done, out = imported(tmp_path, rtstruct(ct_series(), {"Lunge bds.": polygons}))
    assert done.left_out == {}
    path = out / "derivatives/pacs/sub-001/ses-01/sub-001_ses-01_ct_desc-lung_mask.nii.gz"
    expected = np.array(toy_masks()[0].array)
    expected[11:13, 12:15, 6:28] = False
    np.testing.assert_array_equal(load_mask(path).array, expected)
    assert load_mask(path).same_grid(toy_ct())
    assert read_cohort(out).sessions[0].lungs["ct"].path == path
    rows = ipha.analyze(out, tmp_path / "out", progress=False)
    assert rows.loc[rows["region"] == "lung", "flag"].str.contains("foreign_mask").all()


def test_left_and_right_are_one_lung_and_other_segments_are_masks_of_their_own(tmp_path):
    lung = {
        "Lung R": [box((23, 32), (9, 22), 10)],
        "Lung L": [box((8, 17), (9, 22), 10)],
        "Dr. House nodule": [box((3, 5), (3, 5), 4)],
    }
    _, out = imported(tmp_path, rtstruct(ct_series(), lung))
    names = sorted(path.name for path in out.rglob("*_mask.nii.gz"))
    assert names == ["sub-001_ses-01_ct_desc-lung_mask.nii.gz", "sub-001_ses-01_ct_desc-nodule_mask.nii.gz"]
    assert load_mask(next(out.rglob("*desc-lung_mask*"))).n_voxels == 2 * 9 * 13
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    import_.run_import(plan_import(tmp_path / "d", out, progress=False), out, progress=False)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("polygons", "uid", "reason"),
    [
        ([box((8, 17), (9, 22), 10, shift=0.5)], None, "mask 'lung' has a contour between the slices of its image"),
        ([box((8, 17), (9, 22), 60)], None, "mask 'lung' has a contour outside of its image"),
        ([], None, "mask 'lung' is empty"),
        ([box((8, 17), (9, 22), 10)], "1.2.3.4", "was drawn on a series that is not converted"),
    ],
)
def test_contours_that_do_not_fit_are_refused_by_name(tmp_path, polygons, uid, reason):
    done, out = imported(tmp_path, rtstruct(ct_series(), {"Lung Dr. House": polygons}, uid=uid))
    assert b"House" not in (out / "import/converted.tsv").read_bytes() + (out / "import/privacy.html").read_bytes()
    assert reason in done.left_out["s002"]
    assert not (out / "derivatives").exists() or not list((out / "derivatives").rglob("*.nii.gz"))


def seg_of(series, arrays):
    hd = pytest.importorskip("highdicom", reason="reading SEG needs the extra [dicom]")
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1")
    kind = (codes.SCT.Organ, codes.SCT.Lung, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm)
    described = [
        hd.seg.SegmentDescription(number, name, *kind)
        for number, name in enumerate(arrays, 1)
    ]  # fmt: skip
    stack = np.stack([array[::-1, ::-1].transpose(2, 1, 0) for array in arrays.values()], axis=-1)
    return hd.seg.Segmentation(
        series, stack, "BINARY", described, ANNA.uid("seg"), 60, ANNA.uid("seg", 1), 1, "maker", "model", "1", "serial"
    )


@pytest.mark.filterwarnings("ignore")
def test_a_dicom_segmentation_lands_on_the_voxels_it_was_drawn_on(tmp_path):
    series = ct_series()
    for data in series:
        data.StudyID, data.AccessionNumber, data.ReferringPhysicianName = "1", "2", "Who^Dr"
        data.PositionReferenceIndicator, data.Manufacturer, data.StudyTime = "", "x", "101500"
    lungs = np.array(toy_masks()[0].array)
    right, left = lungs.copy(), lungs.copy()
    right[:20], left[20:] = False, False
    done, out = imported(tmp_path, seg_of(series, {"Right lung": right, "Left lung": left}))
    assert done.left_out == {}
    found = load_mask(out / "derivatives/pacs/sub-001/ses-01/sub-001_ses-01_ct_desc-lung_mask.nii.gz")
    np.testing.assert_array_equal(found.array, lungs)


# ------------------------------------------------------------------------------------- folders of other tools


@pytest.fixture
def cohort(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_ct()], masks=False)
    return tmp_path / "cohort"


def lobes():
    """Lungs cut into an upper and a lower half each, names as TotalSegmentator has them."""
    lungs = toy_masks()[0].array
    parts = {}
    for side, cut in (("right", slice(20, None)), ("left", slice(None, 20))):
        for name, height in (("upper", slice(17, None)), ("lower", slice(None, 17))):
            part = np.zeros_like(lungs)
            part[cut, :, height] = lungs[cut, :, height]
            parts[f"lung_{name}_lobe_{side}"] = part
    return parts


def test_totalsegmentators_folder_of_lobes_becomes_one_lung_mask(cohort, tmp_path, capsys):
    folder = tmp_path / "TotalSegmentator" / "sub-1_ses-1_ct"
    folder.mkdir(parents=True)
    for name, part in (
        lobes() | {"heart": np.ones_like(toy_masks()[0].array), "lung_vessels": lobes()["lung_upper_lobe_left"]}
    ).items():
        ipha.save(Mask(part, toy_ct().affine), folder / f"{name}.nii.gz")
    assert main(["import-masks", str(folder.parent), "--cohort", str(cohort)]) == 0
    path = cohort / "derivatives/TotalSegmentator/sub-1/ses-1/sub-1_ses-1_ct_desc-lung_mask.nii.gz"
    assert str(path) in capsys.readouterr().out
    np.testing.assert_array_equal(load_mask(path).array, toy_masks()[0].array)
    assert read_cohort(cohort).sessions[0].lungs["ct"].path == path


@pytest.mark.parametrize("labels", [(1, 2), (10, 14), (1, 5)])
def test_label_images_of_lungmask_and_totalsegmentator_are_read(cohort, tmp_path, labels):
    lungs = toy_masks()[0].array
    values = np.where(lungs, labels[0], 0)
    values[20:] = np.where(lungs[20:], labels[1], 0)
    values[0, 0, :10] = 25 if max(labels) > 5 else 0  # some other organ
    (tmp_path / "m").mkdir()
    from ipha_toolkit.io import nifti

    nifti.write(tmp_path / "m/sub-1_ses-1_ct.nii.gz", values.astype(np.uint8), toy_ct().affine)
    (path,) = import_masks(tmp_path / "m", cohort)
    np.testing.assert_array_equal(load_mask(path).array, lungs)


CARET = "<CaretExtension> <LabelTable>{}</LabelTable></CaretExtension>"
LABEL = '<Label Key="{}" Red="1.0" Green="0.5" Blue="0.0" Alpha="1"><![CDATA[{}]]></Label>\n'


def labelled(path, values, names=()):
    """A label image; with names as TotalSegmentator 2.18.0 writes them into the header of ``--ml`` images."""
    image = nib.Nifti1Image(values.astype(np.uint8), toy_ct().affine)
    if names:
        text = CARET.format("".join(LABEL.format(*pair) for pair in names))
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    path.parent.mkdir(exist_ok=True)
    nib.save(image, path)


TOTAL_MR = [(10, "lung_left"), (11, "lung_right"), (12, "esophagus"), (13, "small_bowel"), (14, "duodenum")]
"""From ``map_to_binary.py`` of TotalSegmentator 2.18.0, task ``total_mr``."""


@pytest.mark.parametrize("names", [TOTAL_MR, ()])
def test_bowel_that_has_a_lobes_number_in_mri_is_no_lung(tmp_path, names):
    put_session(tmp_path / "c", "sub-1", "ses-1", [toy_mr()], masks=False)
    lungs = toy_masks()[0].array
    values = np.where(lungs, 10, 0)
    values[20:] = np.where(lungs[20:], 11, 0)
    values[18, 5:9, 2:5], values[19, 5:9, 2:5] = 13, 14
    labelled(tmp_path / "m/sub-1_ses-1_T1w.nii.gz", values, names)
    (path,) = import_masks(tmp_path / "m", tmp_path / "c")
    np.testing.assert_array_equal(load_mask(path).array, lungs)


def test_names_in_the_header_tell_other_organs_from_lungmasks_numbers(cohort, tmp_path):
    names = [(1, "lung_airways"), (3, "lung_arteries")]
    labelled(tmp_path / "m/sub-1_ses-1_ct.nii.gz", np.where(toy_masks()[0].array, 3, 0), names)
    with pytest.raises(LayoutError, match="no label named in its header holds 'lung'; has lung_airways, lung_arteries"):
        import_masks(tmp_path / "m", cohort)


def test_a_label_image_in_derivatives_needs_no_table_where_its_header_names_the_labels(cohort):
    values = np.where(toy_masks()[0].array, 12, 0)
    path = cohort / "derivatives/ts/sub-1/ses-1/sub-1_ses-1_ct_dseg.nii.gz"
    path.parent.mkdir(parents=True)
    labelled(path, values, [(12, "lung_upper_lobe_right"), (51, "heart")])
    assert read_cohort(cohort).sessions[0].lungs["ct"].labels == (12,)


def shifted():
    lungs = toy_masks()[0]
    affine = np.array(lungs.affine)
    affine[0, 3] += 3.0
    return Mask(lungs.array, affine)


def mirrored():
    lungs = toy_masks()[0]
    affine = np.array(lungs.affine)
    affine[0, 0] *= -1
    return Mask(lungs.array, affine)


@pytest.mark.parametrize(
    ("mask", "error", "text"),
    [
        (mirrored, GridError, "lies outside of its image"),
        (shifted, GridError, "lies off the voxels of its image"),
        (lambda: Mask(np.zeros(toy_ct().shape, bool), toy_ct().affine), ReadError, "the mask is empty"),
    ],
)  # fmt: skip
def test_a_mask_off_the_grid_flipped_or_empty_is_refused_by_name(cohort, tmp_path, mask, error, text):
    (tmp_path / "m").mkdir()
    ipha.save(mask(), tmp_path / "m/sub-1_ses-1_ct.nii.gz")
    with pytest.raises(error, match=text) as caught:
        import_masks(tmp_path / "m", cohort)
    assert "sub-1_ses-1_ct.nii.gz" in str(caught.value)
    assert not list(cohort.rglob("*_mask.nii.gz"))


def test_masks_that_name_no_image_are_refused(cohort, tmp_path):
    (tmp_path / "m").mkdir()
    ipha.save(toy_masks()[0], tmp_path / "m/result.nii.gz")
    with pytest.raises(LayoutError, match="holds no lung mask that names an image"):
        import_masks(tmp_path / "m", cohort)
    (path,) = import_masks(tmp_path / "m", cohort, image="sub-1_ses-1_ct.nii.gz", tool="lungmask")
    assert path.parts[-4:-1] == ("lungmask", "sub-1", "ses-1")
