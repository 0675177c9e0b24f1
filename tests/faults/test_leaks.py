"""Identifiers planted wherever a scan, a table, a path or a machine can hold one: none comes out."""

from __future__ import annotations

import gzip
import json
import os
import platform
import socket
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ipywidgets import Widget
from PIL import Image, PngImagePlugin
from toys import AFFINE, toy_cohort, toy_masks, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main

NAMES = ("Mustermann", "Geheimrat", "1980-02-29", "MRN4711", "Krankenhaus")
IN_FILES = ("Zauberberg", "Nachtigall", "PID0815", "Petersilie", "Castorp")
"""Names in names of files and folders within the cohort."""
NAME_FILES = {"failures.tsv", "log.txt", "provenance.json"}
"""Of the results, these name the cohort's files, as whoever mends one or measures it again needs that."""


ACQ = f"acq-{IN_FILES[0]}_ce-{IN_FILES[1]}"
"""What a name's free parts can hold."""


def plant(path, modality="T1w", lung=30):
    """An image with a name in every field that takes text, and behind the header."""
    volume = toy_mr(modality, lung=lung)
    image = nib.Nifti1Image(np.asarray(volume.array, np.float32), AFFINE)
    image.header["descrip"], image.header["aux_file"], image.header["intent_name"] = NAMES[0], NAMES[1], NAMES[3]
    image.header["db_name"] = NAMES[4]
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"{NAMES[0]} {NAMES[2]}".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    facts = {"PatientName": NAMES[0], "PatientBirthDate": NAMES[2], "PatientID": NAMES[3], "InstitutionName": NAMES[4]}
    path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(facts | {"FlipAngle": 5}))


def put_film(path):
    """A film as DICOM, a name in its header."""
    from ipha_toolkit.phantom.dicom import Study, film

    study = Study(NAMES[3], f"{NAMES[0]}^{NAMES[1]}", NAMES[2].replace("-", ""), "F", "20240110")
    rows = np.random.default_rng(5).integers(100, 3000, (300, 280, 1))
    picture = ipha.Volume(rows, np.diag([1.0, 1, 1, 1])[:, [0, 2, 1, 3]], modality="dx")
    tags = {"InstitutionName": NAMES[4], "StationName": NAMES[4], "ReferringPhysicianName": NAMES[1]}
    path.parent.mkdir(parents=True, exist_ok=True)
    film(picture, study, number=1, tags=tags).save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A cohort with names in headers, sidecars, tables, pictures and folders, its results and its page."""
    root = tmp_path_factory.mktemp("leaks")
    here = pytest.MonkeyPatch()
    here.setattr(socket, "gethostname", lambda: f"{NAMES[4]}-ws7")
    here.setattr(platform, "node", lambda: f"{NAMES[4]}-ws7")
    for name in ("USER", "LOGNAME", "HOSTNAME", "HOME"):
        here.setenv(name, f"/home/{NAMES[1]}" if name == "HOME" else NAMES[1])
    cohort = root / f"{NAMES[0]}_{NAMES[3]}" / "cohort"
    plant(cohort / f"sub-1/ses-1/anat/sub-1_ses-1_{ACQ}_T1w.nii.gz")
    plant(cohort / f"sub-2/ses-1/anat/sub-2_ses-1_{ACQ}_T1w.nii.gz", lung=20)
    broken = cohort / f"sub-2/ses-1/ct/sub-2_ses-1_{ACQ}_ct.nii.gz"
    plant(broken)
    broken.write_bytes(broken.read_bytes()[:3000])
    (cohort / f"sub-1/ses-1/anat/{IN_FILES[2]}.nii.gz").write_bytes(broken.read_bytes())
    (cohort / "sub-1" / IN_FILES[3]).mkdir()
    (cohort / "sub-1" / IN_FILES[3] / f"{IN_FILES[4]}_T1w.nii.gz").write_bytes(broken.read_bytes())
    tool = cohort / "derivatives" / IN_FILES[4]
    for subject in ("sub-1", "sub-2"):
        place = tool / subject / "ses-1"
        place.mkdir(parents=True)
        for name, mask in zip(("lung", "muscle"), toy_masks(), strict=True):
            ipha.save(mask, place / f"{subject}_ses-1_{ACQ}_T1w_desc-{name}_mask.nii.gz")
    comment = f"DHDR:={NAMES[0]}\nPatientID:={NAMES[3]}\n# {NAMES[1]}\n".encode()
    other = cohort / f"sub-1/ses-1/anat/sub-1_ses-1_{ACQ}_T2w.nrrd"
    ipha.save(toy_mr("T2w", lung=30), other)
    head, _, body = other.read_bytes().partition(b"\n\n")
    other.write_bytes(head + b"\n" + comment + b"\n" + body)
    put_film(cohort / "sub-2/ses-1/xray/sub-2_ses-1_dx.dcm")
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Patient", NAMES[0])
    (cohort / "sub-1/ses-1/xray").mkdir()
    film = Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 280)).astype(np.uint8))
    film.save(cohort / "sub-1/ses-1/xray/sub-1_ses-1_dx.png", pnginfo=notes)
    lines = [
        "participant_id\tgroup\tname\tborn",
        *(f"sub-{n}\t{g}\t{NAMES[0]}\t{NAMES[2]}" for n, g in ((1, "iph"), (2, "control"))),
    ]
    (cohort / "participants.tsv").write_text("\n".join(lines) + "\n")
    (cohort / "sub-1/sub-1_sessions.tsv").write_text(f"session_id\tdays\tnote\nses-1\t0\t{NAMES[0]}\n")
    out = cohort.parent / "out"
    main(["analyze", str(cohort), "--out", str(out), "--workers", "1", "-q"])
    main(["report", str(out), "--out", str(out.parent / "page.html")])
    yield out
    here.undo()


def texts(folder):
    """Every file, opened where it is packed, and every name."""
    for path in sorted(folder.rglob("*")):
        yield path.relative_to(folder).as_posix(), path.relative_to(folder).as_posix().encode()
        if path.is_file():
            content = path.read_bytes()
            yield path.relative_to(folder).as_posix(), gzip.decompress(content) if path.suffix == ".gz" else content


def test_no_identifier_is_in_the_results(leaky):
    found = [(where, name) for where, content in texts(leaky) for name in NAMES if name.encode() in content]
    assert not found


def test_names_of_files_stand_only_where_whoever_mends_one_looks(leaky):
    found = {where for where, content in texts(leaky) for name in IN_FILES if name.encode() in content}
    assert {where.rpartition("/")[2] for where in found} == NAME_FILES
    assert IN_FILES[0] in (leaky / "failures.tsv").read_text()


def test_no_identifier_is_on_the_page(leaky):
    page = (leaky.parent / "page.html").read_text()
    assert "What could not be measured" in page and named(page) == []


def test_no_absolute_path_or_user_is_in_the_results(leaky):
    import getpass
    import socket

    folder = str(leaky.parent.parent)
    words = [folder, str(ipha.__file__).rpartition("/")[0], f"user={getpass.getuser()}", socket.gethostname()]
    found = [(where, word) for where, content in texts(leaky) for word in words if word.encode() in content]
    assert not found


def named(text):
    """The identifiers that a text holds, packed or not."""
    return [name for name in (*NAMES, *IN_FILES) if name.casefold() in text.casefold()]


def explorer(out):
    return ipha.explore(out, full=["sub-1_ses-1"])


def viewer(out):
    return ipha.open_results(out)["1", "1"].view()


def plain_viewer(out):
    """Of an image of the cohort; one that is loaded by its path has the name that its user wrote there."""
    volume = ipha.open_cohort(out.parent / "cohort")["1", "1"].image("T1w")
    assert named(str(volume.meta))
    return ipha.view(volume)


def review(out):
    return ipha.review(out, ratings=out.parent / "ratings", rater="AB")


def painter(out):
    made = ipha.open_results(out)["1", "1"].paint("T1w")
    made.save()
    assert "derivatives/manual" in made.report["text"]
    return made


@pytest.mark.parametrize("made", [explorer, viewer, plain_viewer, review, painter], ids=lambda made: made.__name__)
def test_no_identifier_is_in_a_widget_or_what_is_exported_of_it(leaky, made):
    widget = made(leaky)
    if hasattr(widget, "embed"):
        widget.embed()
    state = json.dumps(Widget.get_manager_state(drop_defaults=False), default=str)
    exported = widget.to_html() if hasattr(widget, "to_html") else ""
    Widget.close_all()
    assert len(state) > 1000 and named(state) == [] and named(exported) == []
    assert str(leaky.parent.parent) not in state + exported


@pytest.mark.parametrize("command", ["share", "redcap", "checklist"])
def test_no_identifier_is_in_what_is_handed_on(leaky, tmp_path, command):
    path = tmp_path / "handed on"
    assert main([command, str(leaky), "--out", str(path)]) == 0
    whole = path.read_bytes().decode("latin-1")
    if command == "share":
        with zipfile.ZipFile(path) as archive:
            whole += "".join(f"{info.filename} {archive.read(info).decode()}" for info in archive.infolist())
    assert named(whole) == [] and str(leaky.parent.parent) not in whole


def test_no_identifier_of_a_header_is_in_a_log(leaky, tmp_path, capsys):
    """The log of a run names files where they lie, as the terminal does; what headers and tables hold, neither says."""
    cohort, log = leaky.parent / "cohort", tmp_path / "log.txt"
    linked = tmp_path / "cohort"
    linked.symlink_to(cohort)
    words = ["analyze", str(linked), "--out", str(tmp_path / "out"), "--workers", "1", "--log", str(log), "-v", "-v"]
    main(words)
    said = "".join(capsys.readouterr()) + log.read_text()
    assert len(said) > 1000
    assert [name for name in named(said.replace(str(cohort), "")) if name not in IN_FILES] == []


def test_a_rendered_page_of_the_cohort_is_clean_or_refused(leaky, tmp_path, capsys):
    import nbformat

    def page(code):
        cells = [nbformat.v4.new_code_cell(f"import ipha_toolkit as ipha\n{code}")]
        about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = leaky.parent / "look.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=about), path)
        status = main(["render", str(path), "--out", str(tmp_path), "-q"])
        text = (tmp_path / "look.html").read_text() if status == 0 else ""
        return status, text

    status, text = page("results = ipha.open_results('out')\ndisplay(ipha.explore(results))\nresults['1', '1'].view()")
    assert status == 0 and len(text) > 100_000 and named(text) == []
    status, text = page("ipha.open_cohort('cohort')['1', '1'].image('T1w').meta")
    assert status == 2 and not text and "PatientName" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
@pytest.mark.parametrize("rights, mask", [(0o700, 0o000), (0o750, 0o000), (0o755, 0o077)], ids=oct)
def test_results_have_the_rights_of_the_folder_they_are_made_in(tmp_path, rights, mask):
    toy_cohort(tmp_path / "cohort")
    out = tmp_path / "study" / "out"
    out.mkdir(parents=True)
    out.chmod(rights)
    before = os.umask(mask)
    try:
        words = ["analyze", str(tmp_path / "cohort"), "--out", str(out), "-q", "--workers", "1"]
        assert main([*words, "--participant-label", "c1", "p1"]) == 0
    finally:
        os.umask(before)
    wrong = {
        path.relative_to(out).as_posix(): oct(path.stat().st_mode & 0o777)
        for path in out.rglob("*")
        if path.stat().st_mode & 0o777 != (rights if path.is_dir() else rights & 0o666)
        and not path.name.endswith((".lock", ".token"))
    }
    assert wrong == {}
    assert not [path for path in out.rglob(".*") if path.stat().st_mode & 0o777 & ~rights]


def test_a_folder_of_a_cohort_runs_no_code(tmp_path):
    """Modules, settings and pickles that lie in it, and the working directory in it, as a terminal would have it."""
    import subprocess
    import sys

    root = toy_cohort(tmp_path / "cohort")
    touched = f"open({str(tmp_path / 'ran')!r}, 'w')"
    for name in ("numpy", "pandas", "sitecustomize", "usercustomize", "conftest", "setup", "ipha_toolkit", "tomllib"):
        (root / f"{name}.py").write_text(f"{touched}\nraise SystemExit(9)\n")
    (root / "protocol.toml").write_text(f"a = {touched!r}\n")
    (root / "a.pth").write_text(f"import builtins; builtins.{touched}\n")
    (root / "sub-c1/ses-1/anat/sub-c1_ses-1_T2w.npy").write_bytes(b"\x93NUMPY\x01\x00" + b"cbuiltins\nexec\n.")
    command = tmp_path / "ipha"
    start = "if __name__ == '__main__':\n    sys.exit(main())\n"
    command.write_text(f"import sys\nfrom ipha_toolkit.cli import main\n{start}")
    environment = os.environ | {"PYTHONPATH": str(Path(ipha.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(command), "analyze", ".", "--out", "../out", "--workers", "2", "-q"],
        cwd=root, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1) and (tmp_path / "out/measures.tsv").exists(), done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text", ["[phases]\nrules = [\"__import__('os').system('x')\"]\n", "a = !!python/object:os.system"]
)
def test_a_protocol_runs_no_code(tmp_path, text, capsys):
    toy_cohort(tmp_path / "cohort")
    (tmp_path / "p.toml").write_text(text)
    where = ["--out", str(tmp_path / "out"), "-q", "--protocol", str(tmp_path / "p.toml")]
    assert main(["analyze", str(tmp_path / "cohort"), *where]) == 2 and not (tmp_path / "out").exists()
    assert "Traceback" not in capsys.readouterr().err
