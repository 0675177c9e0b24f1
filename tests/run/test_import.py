import gzip
import io
import json
import re
import shutil
import stat
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from toys import toy_ct, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import DependencyError, LayoutError
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.phantom.dicom import Study, document, film, slices
from ipha_toolkit.run import import_
from ipha_toolkit.run.disk import GRE, TSE, mr_tags, save
from ipha_toolkit.run.plan import plan_import

pytest.importorskip("dcm2niix", reason="converting DICOM needs the extra [dicom]")

ANNA = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")
LATER = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240620")
JUAN = Study("0815", "Ejemplo^Juan", "19310521", "M", "20240305")
CHEST = {"BodyPartExamined": "CHEST", "SeriesDescription": "Thorax nativ", "ConvolutionKernel": "B31f"}


def whole(volume):
    return volume.replace(array=np.rint(volume.array))


def mr_series(study, number=11, kind="T1w", words="t1_vibe_tra", *, volume=None, **further):
    volume = volume or toy_mr(kind)
    times = (
        {"EchoTime": 0.0008, "RepetitionTime": 0.004} if kind == "T1w" else {"EchoTime": 0.08, "RepetitionTime": 1.5}
    )
    meta = times | {"FlipAngle": 12.0, "MagneticFieldStrength": 1.5}
    sequence = GRE if kind == "T1w" else TSE
    tags = mr_tags(volume.replace(meta=meta), words, **sequence) | further
    return slices(volume, study, number=number, modality="MR", tags=tags)


def ct_series(study, number=2, *, volume=None, **further):
    return slices(volume or toy_ct(), study, number=number, modality="CT", intercept=-1024, tags=CHEST | further)


def one_film(study, number=31, **further):
    rows = np.random.default_rng(5).integers(100, 3000, (48, 60, 1))
    picture = ipha.Volume(rows, np.diag([4.0, 4.0, 1.0, 1.0])[:, [0, 2, 1, 3]], modality="dx")
    return film(picture, study, number=number, tags={"SeriesDescription": "Thorax pa"} | further)


def put_disk(root):
    """Two patients, three visits."""
    save(root / "A", [*ct_series(ANNA), *mr_series(ANNA), *mr_series(ANNA, 12, "T2w", "T2 HASTE tra"), one_film(ANNA)])
    save(root / "B", [*ct_series(LATER), document(LATER, number=99)])
    save(root / "C", [*ct_series(JUAN)])
    return root


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return put_disk(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def cohort(disk, tmp_path_factory):
    return ipha.import_dicom(disk, tmp_path_factory.mktemp("cohort") / "c", progress=False)


def tree(root):
    """Bytes of every file of a cohort, by name."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# ------------------------------------------------------------------------------------------------- what comes out


def test_a_disk_becomes_a_cohort_that_is_read_without_a_complaint_that_stops(cohort):
    read = read_cohort(cohort)
    assert [(s.label, list(map(str, s.images))) for s in read.sessions] == [
        ("sub-001_ses-01", ["T1w", "T2w", "ct", "dx"]), ("sub-001_ses-02", ["ct"]), ("sub-002_ses-01", ["ct"])
    ]  # fmt: skip
    assert [problem for problem in read.problems if problem.subject] == []


def test_every_voxel_is_where_it_was_and_what_it_was(cohort):
    found = ipha.load(cohort / "sub-001/ses-01/ct/sub-001_ses-01_ct.nii.gz")
    assert found.same_grid(toy_ct())
    np.testing.assert_array_equal(found.array, np.rint(toy_ct().array))
    t1w = ipha.load(cohort / "sub-001/ses-01/anat/sub-001_ses-01_T1w.nii.gz")
    np.testing.assert_array_equal(t1w.array, np.rint(toy_mr("T1w").array))


def test_left_stays_left(tmp_path):
    volume = toy_ct()
    array = np.array(volume.array)
    array[30:34, 10:20, 20:30] = 300  # high i is the patient's right
    for name, plane in (("axial", "axial"), ("coronal", "coronal")):
        objects = slices(
            volume.replace(array=array), ANNA, number=2, modality="CT", intercept=-1024, plane=plane, tags=CHEST
        )
        save(tmp_path / name, objects)
        plan = plan_import(tmp_path / name, progress=False).edit("s001", role="ct")
        out = ipha.import_dicom(tmp_path / name, tmp_path / f"c-{name}", plan=plan, progress=False)
        found = ipha.load(out / "sub-001/ses-01/ct/sub-001_ses-01_ct.nii.gz")
        right = found.to_world(np.argwhere(found.array == 300))[:, 0]
        assert right.min() > found.to_world([20, 0, 0])[0]


def test_sidecars_hold_acquisition_facts_in_bids_spelling(cohort):
    meta = json.loads((cohort / "sub-001/ses-01/anat/sub-001_ses-01_T1w.json").read_text())
    assert meta == {
        "BodyPartExamined": "CHEST", "EchoTime": 0.0008, "FlipAngle": 12.0, "MagneticFieldStrength": 1.5,
        "RepetitionTime": 0.004, "ScanningSequence": "GR SP", "SliceThickness": 8.0,
    }  # fmt: skip


def test_tables_hold_age_sex_and_days_and_no_date(cohort):
    people = pd.read_csv(cohort / "participants.tsv", sep="\t", dtype=str)
    assert people[["participant_id", "age", "sex"]].to_numpy().tolist() == [
        ["sub-001", "8", "F"],
        ["sub-002", "89+", "M"],
    ]
    visits = pd.read_csv(cohort / "sub-001/sub-001_sessions.tsv", sep="\t")
    assert visits.to_numpy().tolist() == [["ses-01", 0], ["ses-02", 162]]


def test_the_key_is_for_its_owner_alone(cohort):
    path = cohort / "import/key.tsv"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Beispiel^Anna" in path.read_text()


def test_the_imported_cohort_measures_as_the_same_images_saved(disk, cohort, tmp_path):
    plain = tmp_path / "plain"
    for session, volumes in {"ses-01": [toy_ct(), toy_mr("T1w"), toy_mr("T2w")], "ses-02": [toy_ct()]}.items():
        for volume in volumes:
            folder = plain / "sub-001" / session / ("ct" if volume.modality == "ct" else "anat")
            folder.mkdir(parents=True, exist_ok=True)
            ipha.save(whole(volume), folder / f"sub-001_{session}_{volume.modality}.nii.gz")
    rows = {}
    for name, root in (("imported", cohort), ("saved", plain)):
        found = ipha.analyze(root, tmp_path / f"out-{name}", progress=False)
        found = found[(found["subject"] == "sub-001") & (found["modality"] != "dx")]
        rows[name] = found.set_index(["session", "modality", "region", "measure"])["value"].sort_index()
    assert len(rows["saved"]) > 50
    pd.testing.assert_series_equal(rows["imported"], rows["saved"], rtol=1e-5, atol=1e-6)


def test_the_cohort_passes_the_bids_validator(cohort):
    validator = shutil.which("bids-validator-deno")
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    said = subprocess.run([validator, str(cohort), "--ignoreWarnings"], capture_output=True, text=True, check=False)
    assert said.returncode == 0 and "[ERROR]" not in said.stdout, said.stdout[-2000:]


def test_ct_in_expiration_alone_is_measured_and_flagged(tmp_path):
    save(tmp_path / "d", ct_series(ANNA, SeriesDescription="Thorax Exspiration"))
    out = ipha.import_dicom(tmp_path / "d", tmp_path / "c", progress=False)
    assert [path.name for path in out.rglob("*.nii.gz")] == ["sub-001_ses-01_acq-exp_ct.nii.gz"]
    rows = ipha.analyze(out, tmp_path / "out", progress=False)
    assert len(rows) and rows["flag"].str.contains("expiration").all()


# ------------------------------------------------------------------------------------------------ twice, and halfway


def test_a_second_run_changes_not_a_byte(disk, cohort):
    before = tree(cohort)
    times = {path: path.stat().st_mtime_ns for path in cohort.rglob("*") if path.is_file()}
    ipha.import_dicom(disk, cohort, progress=False)
    assert tree(cohort) == before
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*") if path.is_file()} == times


def test_an_interrupted_import_goes_on_where_it_stopped(disk, cohort, tmp_path, monkeypatch):
    written, write = [], import_._write

    def stops_after_two(root, outputs):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(outputs)
        return write(root, outputs)

    with monkeypatch.context() as patch:
        patch.setattr(import_, "_write", stops_after_two)
        with pytest.raises(KeyboardInterrupt):
            ipha.import_dicom(disk, tmp_path / "c", progress=False)
    images = sorted((tmp_path / "c").rglob("*.nii.gz"))
    assert len(images) == 2 and all(ipha.load(path).array.size for path in images)
    monkeypatch.setattr(import_, "_write", lambda root, outputs: written.append(outputs) or write(root, outputs))
    ipha.import_dicom(disk, tmp_path / "c", progress=False)
    assert len(written) == 6, "two before, four after"
    assert tree(tmp_path / "c") == tree(cohort)


def test_new_files_later_add_rows_and_labels_stay(disk, tmp_path):
    out = tmp_path / "c"
    ipha.import_dicom(disk / "B", out, progress=False)  # the later visit first
    first = (out / "import/series.tsv").read_text().splitlines()
    plan = plan_import(disk, out, progress=False)
    assert set(plan.new) == set(plan.table["series"]) - {"s001", "s002"}
    ipha.import_dicom(disk, out, plan=plan, progress=False)
    second = (out / "import/series.tsv").read_text().splitlines()
    assert second[: len(first)] == first
    visits = pd.read_csv(out / "sub-001/sub-001_sessions.tsv", sep="\t")
    assert visits.to_numpy().tolist() == [["ses-01", 162], ["ses-02", 0]]


def test_what_the_table_says_is_done_and_what_it_no_longer_says_is_removed(disk, tmp_path):
    out = ipha.import_dicom(disk, tmp_path / "c", progress=False)
    people = (out / "participants.tsv").read_text().replace("\t8\tF\tn/a", "\t8\tF\tiph")
    (out / "participants.tsv").write_text(people)
    table = (out / "import/series.tsv").read_text()
    table = table.replace("sub-001\tses-02\tct", "sub-001\tses-later\tct").replace(
        "sub-001\tses-01\tT2w", "sub-001\tses-01\tnone"
    )
    cells = pd.read_csv(io.StringIO(table), sep="\t", dtype=str, keep_default_na=False)
    cells.to_csv(out / "import/series.tsv", sep=";", index=False)  # a spreadsheet's doing
    ipha.import_dicom(disk, out, progress=False)
    images = {path.name for path in out.rglob("*.nii.gz")}
    assert "sub-001_ses-later_ct.nii.gz" in images
    assert not {"sub-001_ses-02_ct.nii.gz", "sub-001_ses-01_T2w.nii.gz"} & images
    assert not (out / "sub-001/ses-02").exists()
    assert "iph" in (out / "participants.tsv").read_text()


# ---------------------------------------------------------------------------------------------------------- privacy

SECRETS = [f"Geheim{n:02}xQ" for n in range(1, 21)]


def with_secrets(objects):
    """Twenty identifiers where headers hide them."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    for data in objects:
        s = iter(SECRETS)
        data.PatientName, data.PatientID, data.AccessionNumber = f"{next(s)}^Ida", next(s), next(s)
        data.InstitutionName, data.InstitutionAddress, data.StationName = next(s), next(s), next(s)
        data.DeviceSerialNumber, data.ReferringPhysicianName, data.OperatorsName = next(s), next(s), next(s)
        data.SeriesDescription, data.ProtocolName = f"Thorax nativ {next(s)}", f"t1_vibe_{next(s)}"
        data.StudyDescription, data.ImageComments, data.PatientComments = next(s), next(s), next(s)
        item = Dataset()
        item.RequestedProcedureDescription = item.ScheduledProcedureStepID = next(s)
        data.RequestAttributesSequence = Sequence([item])
        block = data.private_block(0x0029, next(s), create=True)
        block.add_new(0x10, "LO", next(s))
        data.add_new(0x60000010, "US", 16)
        data.add_new(0x60000022, "LO", next(s))
        data.add_new(0x60003000, "OW", next(s).encode() * 4)
        data.ContrastBolusAgent = data.Manufacturer = data.ManufacturerModelName = next(s)
        data.ConvolutionKernel = [SECRETS[0], "B31f"]
        data.ImageType = [*data.ImageType, SECRETS[1]]
    return objects


def test_of_twenty_planted_identifiers_none_is_left_in_any_byte(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them break DICOM's rules for the place they hide in
        objects = with_secrets([*ct_series(ANNA), *mr_series(ANNA), one_film(ANNA)])
    folder = tmp_path / f"disk {SECRETS[3]}" / SECRETS[4]
    folder.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n, data in enumerate(objects):
            data.save_as(folder / f"{SECRETS[5]}_{n}.dcm", enforce_file_format=True)
    plan = plan_import(folder, progress=False)
    for series, role in zip(plan.table["series"], ("ct", "T1w", "dx"), strict=True):
        plan = plan.edit(series, role=role)
    out = ipha.import_dicom(folder, tmp_path / "c", plan=plan, progress=False)
    assert len(list(out.rglob("*.nii.gz"))) == 3
    forbidden = [secret.lower().encode() for secret in SECRETS]
    forbidden += [str(objects[0][name].value).encode() for name in ("StudyInstanceUID", "SeriesInstanceUID")]
    forbidden += [ANNA.date.encode(), ANNA.birth_date.encode(), b"2024-01-10", b"beispiel"]
    searched = 0
    for path in [path for path in out.rglob("*") if path.is_file() and path.name != "key.tsv"]:
        content = path.read_bytes()
        plain = gzip.decompress(content) if path.suffix == ".gz" else content
        for text in (str(path.relative_to(out)).encode(), content.lower(), plain.lower()):
            assert [secret for secret in forbidden if secret in text] == [], path.name
            searched += 1
    assert searched > 40
    key = (out / "import/key.tsv").read_text()
    assert SECRETS[0] in key


def test_image_headers_hold_nothing_but_numbers(cohort):
    for path in cohort.rglob("*.nii.gz"):
        head = gzip.decompress(path.read_bytes())[:348]
        assert (
            head[4:32].strip(b"\0r") == b"" and head[148:252].strip(b"\0") == b"" and head[328:344].strip(b"\0") == b""
        )


def test_screenshots_and_documents_are_kept_out_and_films_ask_to_be_signed(tmp_path):
    shot = one_film(ANNA, 98, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    marked = one_film(ANNA, 32, BurnedInAnnotation="YES")
    save(tmp_path / "d", [one_film(ANNA), shot, marked, document(ANNA, number=99)])
    plan = plan_import(tmp_path / "d", progress=False)
    assert plan.table["role"].tolist() == ["dx", "none", "none", "none"]
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert done.to_sign == ["s001"]
    assert "not signed yet" in (tmp_path / "c/import/contact.html").read_text()
    done = import_.run_import(plan.edit("s001", seen="AB"), tmp_path / "c", progress=False)
    assert done.to_sign == [] and "looked at by AB" in (tmp_path / "c/import/contact.html").read_text()


def test_frontal_and_lateral_film_of_one_series_are_told_apart(tmp_path):
    lateral = one_film(ANNA, 32, ViewPosition="LL")
    lateral.SeriesInstanceUID, lateral.SeriesNumber, lateral.InstanceNumber = ANNA.uid("series", 31), 31, 2
    save(tmp_path / "d", [lateral, one_film(ANNA)])
    plan = plan_import(tmp_path / "d", progress=False)
    assert plan.table[["role", "view"]].to_numpy().tolist() == [["dx", "PA"], ["none", "LL"]]
    assert plan.table["reason"].str.startswith(("1 of 2 images", "2 of 2 images")).all()
    out = ipha.import_dicom(tmp_path / "d", tmp_path / "c", plan=plan, progress=False)
    assert len(list(out.rglob("*_dx.nii.gz"))) == 1


def test_all_text_left_is_listed_with_its_place(cohort):
    page = (cohort / "import/privacy.html").read_text()
    for text in ("BodyPartExamined", "CHEST", "sub-001_ses-01_T1w.json", "participant_id"):
        assert text in page
    assert "Beispiel" not in page


@pytest.mark.parametrize("name", ["Dropbox", "OneDrive - Clinic", "plain"])
def test_a_key_in_a_synchronised_folder_is_warned_of(tmp_path, name):
    folder = tmp_path / name / "cohort" / "import"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    warning = import_.key_warning(folder.parent)
    assert ("synchronised" in warning) == (name != "plain") or "network" in warning


# ------------------------------------------------------------------------------------------ series that are no volume


def test_missing_slices_are_left_out_by_name_or_flagged_on_request(tmp_path):
    objects = ct_series(ANNA)
    save(tmp_path / "d", objects[:12] + objects[13:])
    plan = plan_import(tmp_path / "d", progress=False)
    assert plan.table.loc[0, "wrong"] == "1 of 34 slices missing between others"
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert done.left_out == {
        "s001": "1 of 34 slices are missing; export it again, or use --allow-gaps, which flags every row"
    }
    assert not list((tmp_path / "c").rglob("*.nii.gz"))
    done = import_.run_import(plan, tmp_path / "c", allow_gaps=True, progress=False)
    found = ipha.load(next((tmp_path / "c").rglob("*.nii.gz")))
    assert found.shape == toy_ct().shape
    np.testing.assert_allclose(found.array[:, :, 12], found.array[:, :, [11, 13]].mean(axis=2), atol=1e-3)
    np.testing.assert_array_equal(found.array[:, :, 13], np.rint(toy_ct().array[:, :, 13]))
    rows = ipha.analyze(tmp_path / "c", tmp_path / "out", progress=False)
    assert len(rows) and rows["flag"].str.contains("slices_missing").all()


def test_a_tilted_gantry_is_left_out_or_resampled_upright_and_flagged(tmp_path):
    volume = toy_ct()
    objects = slices(volume, ANNA, number=2, modality="CT", intercept=-1024, tags=CHEST)
    for n, data in enumerate(objects):
        x, y, z = (float(value) for value in data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y + 2.0 * n, z]
    save(tmp_path / "d", objects)
    plan = plan_import(tmp_path / "d", progress=False)
    assert "gantry tilted by 14.0 degrees" in plan.table.loc[0, "wrong"]
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert "use --mend-tilt" in done.left_out["s001"]
    import_.run_import(plan, tmp_path / "c", mend_tilt=True, progress=False)
    found = ipha.load(next((tmp_path / "c").rglob("*.nii.gz")))
    assert found.meta["ReadFlags"] == ["tilt_resampled"]
    axes = found.affine[:3, :3] / np.linalg.norm(found.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    for k in (0, 20, 33):  # each slice lies where its header put it: 2 mm further back (DICOM's +y) a slice
        expected = volume.array[20, 10, k]
        x, y, z = volume.to_world([20, 10, k])
        i, j, n = np.rint(found.to_index([x, y - 2.0 * k, z])).astype(int)
        assert abs(found.array[i, j, n] - expected) < 80


def test_two_echoes_of_one_series_are_no_single_image(tmp_path):
    series = mr_series(ANNA)
    later = mr_series(ANNA, EchoTime=4.0)
    for n, data in enumerate(later):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = ANNA.uid("later", n)
    save(tmp_path / "d", [*series, *later])
    plan = plan_import(tmp_path / "d", progress=False).edit("s001", role="T1w")
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert done.left_out == {"s001": "holds 2 echoes; its role is MEGRE, or none"}


def test_slices_tiled_in_one_picture_are_named(tmp_path):
    save(tmp_path / "d", mr_series(ANNA, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]))
    plan = plan_import(tmp_path / "d", progress=False).edit("s001", role="T1w")
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert done.left_out == {"s001": "its slices are tiled in one picture (MOSAIC), which is not read here"}


# ---------------------------------------------------------------------------------------------------------- refusals


def test_two_patients_under_one_label_are_refused(disk, tmp_path):
    plan = plan_import(disk, progress=False)
    juan = plan.table.loc[plan.table["subject"] == "sub-002", "series"].iloc[0]
    with pytest.raises(LayoutError, match="sub-001: two patients under one label"):
        ipha.import_dicom(
            disk, tmp_path / "c", plan=plan.edit(juan, subject="sub-001", session="ses-09"), progress=False
        )


def test_one_number_given_to_two_people_makes_two_subjects_that_only_the_key_can_join(tmp_path):
    other = Study("4711-08", "Muster^Max", "19770101", "M", "20240620")
    save(tmp_path / "d", [*ct_series(ANNA)[:4], *ct_series(other, 3)[:4]])
    plan = plan_import(tmp_path / "d", progress=False).edit("s001", role="ct").edit("s002", role="ct")
    assert plan.table["subject"].tolist() == ["sub-001", "sub-002"]
    joined = plan.edit("s002", subject="sub-001", session="ses-02")
    with pytest.raises(LayoutError, match=r"or, where they are one person, the same patient in key\.tsv"):
        ipha.import_dicom(tmp_path / "d", tmp_path / "c", plan=joined, progress=False)
    joined.save(tmp_path / "c")
    key = (tmp_path / "c/import/key.tsv").read_text()
    (tmp_path / "c/import/key.tsv").write_text(key.replace("\t4711-08|19770101\t", "\t4711-08|20150314\t"))
    out = ipha.import_dicom(tmp_path / "d", tmp_path / "c", progress=False)
    assert sorted(path.name for path in out.glob("sub-*")) == ["sub-001"]


def test_a_subject_that_is_in_the_cohort_already_is_refused(disk, tmp_path):
    (tmp_path / "c/sub-001/anat").mkdir(parents=True)
    plan = plan_import(disk, tmp_path / "c", progress=False)
    assert "sub-001" not in set(plan.table["subject"]), "the proposal steps aside"
    for series in plan.table.loc[plan.table["subject"] == "sub-003", "series"]:
        plan = plan.edit(series, subject="sub-001")
    with pytest.raises(LayoutError, match="sub-001: is in the cohort already and was not imported"):
        ipha.import_dicom(disk, tmp_path / "c", plan=plan, progress=False)


def test_two_series_for_one_file_are_refused(disk, tmp_path):
    plan = plan_import(disk, progress=False).edit("s003", role="T1w")
    with pytest.raises(LayoutError, match=r"both become sub-001_ses-01_T1w\.nii\.gz"):
        ipha.import_dicom(disk, tmp_path / "c", plan=plan, progress=False)
    ipha.import_dicom(disk, tmp_path / "d", plan=plan.edit("s003", labels="run-2"), progress=False)
    assert (tmp_path / "d/sub-001/ses-01/anat/sub-001_ses-01_run-2_T1w.nii.gz").exists()


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ({"role": "T3w"}, "has the role 'T3w'; needs one of T1w"),
        ({"subject": "Anna B."}, "has 'Anna B.'; needs sub- and letters or digits"),
        ({"labels": "kernel=soft"}, "needs one like acq-exp"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_by_series(disk, tmp_path, cells, text):
    plan = plan_import(disk, progress=False)
    with pytest.raises(LayoutError, match=re.escape(text)):
        ipha.import_dicom(disk, tmp_path / "c", plan=plan.edit("s001", **cells), progress=False)


def test_without_the_extra_the_command_that_installs_it_is_named(disk, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dcm2niix", None)
    with pytest.raises(DependencyError, match=r"python -m pip install 'ipha-toolkit\[dicom\]'"):
        ipha.import_dicom(disk, tmp_path / "c", progress=False)
    save(tmp_path / "films", [one_film(ANNA)])
    out = ipha.import_dicom(tmp_path / "films", tmp_path / "f", progress=False)
    assert len(list(out.rglob("*_dx.nii.gz"))) == 1, "films do without"


# ------------------------------------------------------------------------------------------------------- command line


def test_the_command_plans_first_and_converts_when_run_again(disk, tmp_path, capsys):
    out = tmp_path / "c"
    assert main(["import", str(disk), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "stand in" in said and "--yes converts what is proposed" in said
    assert not list(out.rglob("*.nii.gz")) and (out / "import/series.tsv").exists()
    assert main(["import", str(disk), "--out", str(out)]) == 0
    assert "6 images written" in capsys.readouterr().out


def test_a_zip_file_is_a_source_like_a_folder(disk, cohort, tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in sorted(path for path in disk.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(disk))
    out = ipha.import_dicom(tmp_path / "export.zip", tmp_path / "c", progress=False)
    images = {name: data for name, data in tree(out).items() if name.startswith("sub-")}
    assert images == {name: data for name, data in tree(cohort).items() if name.startswith("sub-")}


def test_series_left_out_end_with_1_and_bad_input_with_2(tmp_path, capsys):
    objects = ct_series(ANNA)
    save(tmp_path / "d", objects[:12] + objects[13:])
    assert main(["import", str(tmp_path / "d"), "--out", str(tmp_path / "c"), "--yes"]) == 1
    assert "slices are missing" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["import", str(tmp_path / "empty"), "--out", str(tmp_path / "e"), "--yes"]) == 2
    assert "no DICOM image found" in capsys.readouterr().err


def test_a_truncated_file_is_named_and_its_series_left_out(tmp_path):
    save(tmp_path / "d", ct_series(ANNA))
    path = sorted((tmp_path / "d").iterdir())[5]
    path.write_bytes(path.read_bytes()[:-1000])
    plan = plan_import(tmp_path / "d", progress=False)
    assert "is truncated, the header promises more pixels" in plan.problems[0] and path.name in plan.problems[0]
    done = import_.run_import(plan, tmp_path / "c", progress=False)
    assert done.left_out == {"s001": "1 of its 34 files are damaged or truncated"}


def test_a_source_that_is_gone_keeps_what_was_made(disk, tmp_path):
    out = ipha.import_dicom(disk, tmp_path / "c", progress=False)
    before = tree(out)
    done = import_.run_import(plan_import(disk / "C", out, progress=False), out, progress=False)
    assert done.left_out == {} and done.kept == 6
    assert {n: b for n, b in tree(out).items() if n.startswith("sub-")} == {
        n: b for n, b in before.items() if n.startswith("sub-")
    }
