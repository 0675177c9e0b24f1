"""Identifiers and private paths are found wherever a page would show them, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from toys import toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.report.privacy import WIDGET_STATE, Identifier, beside, loaded, named, search

HERE = Path("toy.ipynb")


def book(*outputs: Any, source: str = "", state: Any = None) -> Any:
    """A notebook of one code cell with outputs."""
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    if state is not None:
        notebook.metadata["widgets"] = {WIDGET_STATE: {"state": state}}
    return notebook


def said(text: str, name: str = "stdout") -> Any:
    return nbformat.v4.new_output("stream", text=text, name=name)


def shown(kind: str, content: Any, **metadata: Any) -> Any:
    return nbformat.v4.new_output("display_data", data={kind: content}, metadata=metadata)


@pytest.mark.parametrize(
    "text, hit",
    [
        ("Patient DOE^JANE was scanned", "DOE^JANE"),
        ("Müller^Änne".replace("ü", "u").replace("Ä", "A"), "Muller^Anne"),
        ("PatientName: Doe", "Doe"),
        ('{"PatientID": "4711"}', "4711"),
        ("AccessionNumber=A123", "A123"),
        ("(0010,0030) Patient's Birth Date  DA: '19800102'", "19800102"),
        ("(0010, 0020) Patient ID                LO: 'X99'", "X99"),
        ("date of birth: 1980-01-02", "1980-01-02"),
        ("born on 2.1.1980", "2.1.1980"),
        ("read from /home/jane/scans/a.nii.gz now", "/home/jane/scans/a.nii.gz"),
        ('File "/Users/jane/code.py", line 3', "/Users/jane/code.py"),
        ("/mnt/archive/4711", "/mnt/archive/4711"),
        (r"C:\Users\jane\scan.nii", r"C:\Users\jane\scan.nii"),
        (r"'D:\\Users\\jane'", r"D:\\Users\\jane"),
        (r"\\server\share\jane", r"\\server\share\jane"),
    ],
)
def test_what_looks_like_an_identifier_is_found(text: str, hit: str) -> None:
    for notebook in (book(said(text)), book(shown("text/plain", text)), book(source=text)):
        assert [finding.text for finding in search(notebook, HERE)] == [hit]


@pytest.mark.parametrize(
    "text",
    [
        "sub-001 ses-01 sub-001_ses-01_T1w.nii.gz",
        "see https://doi.org/10.1000/182 and https://example.org/home/data/a",
        "T1w/T2w ratio, and/or, mg/kg/day, /usr/lib/python3/dist-packages/x.py",
        "/tmp/ipykernel_123/4711.py:3: UserWarning",
        "volume.meta['PatientName']; drop PatientName, PatientID",
        "PatientName: anonymous, PatientID: None",
        r"$R_2^* = e^{-t}$, SNR^2, x^TE, 10^3 mm",
        "data/README.md ../data/cohort ./home/x",
        "ratio 3:4, at 12:30 on 2026-01-02; C: drive",
        "'/path/to/scan.nii.gz'",
    ],
)
def test_ordinary_words_are_no_findings(text: str) -> None:
    assert search(book(said(text), source=text), HERE) == []


def test_every_place_of_a_page_is_searched_and_named() -> None:
    path = "/home/jane/x"
    error = nbformat.v4.new_output("error", ename="E", evalue="", traceback=[f"\x1b[31mFile {path}\x1b[0m"])
    places = [
        (book(said(path, "stderr")), "cell 1, output"),
        (book(error), "cell 1, output"),
        (book(shown("image/png", "AAAA", **{"image/png": {"alt": path}})), "cell 1, output"),
        (book(shown("text/html", "<b>&#47;home/jane/x</b>")), "cell 1, output"),
        (book(state={"1": {"state": {"_layers": [{"name": path}]}}}), "widget state"),
        (book(source=f"load('{path}')"), "cell 1, source"),
    ]
    for notebook, where in places:
        assert [(finding.text, finding.where) for finding in search(notebook, HERE)] == [(path, where)]


def test_encoded_pixels_are_not_searched() -> None:
    encoded = "QUJD" * 100 + "/home/jane" + "QUJD" * 100
    assert search(book(state={"1": {"state": {"_export": encoded}}}), HERE) == []


def test_folder_of_the_notebook_is_private_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "toy.ipynb"
    odd = Path("/opt/clinic/study/toy.ipynb")
    for place in (path, odd):
        (finding,) = search(book(said(f"in {place.parent}/scan.nii.gz!")), place)
        assert finding.text.startswith(str(place.parent))
    assert search(book(said("in /opt/clinic/study-two")), odd) == []


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("PatientName", "DOE^JANE^M", "Jane Doe came back"),
        ("PatientName", "DOE^JANE^M", "doe_jane.nii"),
        ("PatientName", "Doe, Jane", "the lungs of Doe."),
        ("PatientID", "A-4711", "scan a-4711, T1w"),
        ("PatientBirthDate", "19800102", "born 1980-01-02"),
        ("PatientBirthDate", "1980-01-02", "2.1.1980"),
        ("PatientBirthDate", "19800102", "01/02/1980"),
        ("InstitutionName", "City Hospital", "taken at City  hospital".replace("  ", " ")),
    ],
)
def test_values_of_the_metadata_are_found_however_they_are_written(key: str, value: str, text: str) -> None:
    assert search(book(said(text)), HERE, [Identifier(key, value, "a.json")])
    assert search(book(said("the lungs of nobody, 1981, T1w 47110")), HERE, [Identifier(key, value, "a.json")]) == []


def test_what_is_allowed_by_name_stays() -> None:
    notebook = book(said("/home/jane/a and /home/jane/b and DOE^JANE"))
    assert len(search(notebook, HERE)) == 3
    assert [f.text for f in search(notebook, HERE, allow=["/home/jane"])] == ["DOE^JANE"]
    assert search(notebook, HERE, allow=["/HOME/jane", "doe^jane"]) == []
    assert len(search(notebook, HERE, allow=["jane", ""])) == 3


def test_sidecars_and_dicom_headers_at_the_paths_are_read(tmp_path: Path) -> None:
    import pydicom

    facts = {"PatientName": "DOE^JANE", "EchoTime": 0.002, "InstitutionName": "", "OtherPatientIDs": ["A1B2", "none"]}
    (tmp_path / "sub-7_T1w.json").write_text(json.dumps(facts))
    (tmp_path / "sub-7_T1w.nii.gz").write_bytes(b"")
    (tmp_path / "broken.json").write_text("{")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header = pydicom.dataset.FileDataset(str(tmp_path), {}, preamble=bytes(128), file_meta=meta)
    header.PatientID, header.PatientBirthDate, header.Modality = "4711", "19800102", "MR"
    header.save_as(tmp_path / "IM0001", enforce_file_format=False)
    found = {(i.key, i.value) for i in beside([tmp_path / "sub-7_T1w.nii.gz", tmp_path / "absent"])}
    assert found == {("PatientName", "DOE^JANE"), ("OtherPatientIDs", "A1B2")}
    found |= {(i.key, i.value) for i in beside([tmp_path])}
    assert {("PatientID", "4711"), ("PatientBirthDate", "19800102")} <= found


def test_paths_that_cells_name_are_within_reach(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "one.dcm").write_bytes(b"")
    source = "x = read('one.dcm', f'{n}', mode='..', root='/')\nfor p in Path(\"scans\").glob('*'): pass"
    assert named(book(source=source), tmp_path) == [tmp_path / "one.dcm", tmp_path / "scans"]
    assert named(book(source="%ls 'scans'\nopen('one.dcm')"), tmp_path) == [tmp_path / "one.dcm", tmp_path / "scans"]


def test_a_pseudonym_in_the_name_of_the_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "sub-007_T1w.json").write_text('{"PatientID": "sub-007"}')
    assert beside([tmp_path]) == ()


def test_volumes_tell_what_their_metadata_hold() -> None:
    volume = toy_mr().replace(meta={"PatientID": "Q-99", "EchoTime": 0.1})
    assert ["PatientID", "Q-99", volume.name] in loaded()


def test_the_phantom_raises_no_alarm() -> None:
    for volume in ipha.simulate_subject("acute", seed=1, spacing_mm=8).volumes.values():
        assert search(book(said(repr(volume)), said(json.dumps(dict(volume.meta), default=str))), HERE) == []


def test_a_finding_stops_the_page_until_it_is_allowed(
    notebook: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = ipha.Volume(np.random.default_rng(0).random((9, 9, 9)), np.eye(4), modality="T1w")
    ipha.save(volume, tmp_path / "scan_T1w.nii.gz")
    (tmp_path / "scan_T1w.json").write_text('{"PatientName": "Roe^Ann", "PatientID": "ID-5150"}')
    path = notebook(
        [
            ["import ipha_toolkit as ipha"],
            ["volume = ipha.load('scan_T1w.nii.gz')\nprint('this is', 'Ann', 'Roe,', volume.meta['PatientID'])"],
        ]
    )
    arguments = ["render", str(path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "toy.ipynb: not written, it would publish:" in error
    assert "- cell 2, output: PatientName of scan_T1w.nii.gz: Ann Roe" in error
    assert "ID-5150" in error and "--allow" in error
    assert list((tmp_path / "out").iterdir()) == []
    assert main([*arguments, "--allow", "Ann Roe", "--allow", "Roe", "--allow", "ID-5150"]) == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["toy.html"]
