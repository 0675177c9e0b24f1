"""Identifiers planted wherever a scan can hold one, text that would run wherever text can stand: neither comes out."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from toys import AFFINE, put_session, toy_masks, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main

NAMES = ("Mustermann", "Geheimrat", "1980-02-29", "MRN4711", "Krankenhaus")
RUNS = (
    '<img src=x onerror="window.pwned=1">', "<script>window.pwned=1</script>", '"><svg onload=window.pwned=1>',
    "{{ 7*191 }}", "=cmd|'/C calc'!A0", "[a](javascript:window.pwned=1)", "\x1b[31mred\x1b[0m", "${window.pwned=1}",
)  # fmt: skip


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


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A cohort with names in headers, sidecars, tables, pictures and folders, its results and its page."""
    root = tmp_path_factory.mktemp("leaks")
    cohort = root / f"{NAMES[0]}_{NAMES[3]}" / "cohort"
    plant(cohort / "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz")
    plant(cohort / "sub-2/ses-1/anat/sub-2_ses-1_T1w.nii.gz", lung=20)
    broken = cohort / "sub-2/ses-1/ct/sub-2_ses-1_ct.nii.gz"
    plant(broken)
    broken.write_bytes(broken.read_bytes()[:3000])
    tool = cohort / "derivatives" / "hand"
    for subject in ("sub-1", "sub-2"):
        place = tool / subject / "ses-1"
        place.mkdir(parents=True)
        for name, mask in zip(("lung", "muscle"), toy_masks(), strict=True):
            ipha.save(mask, place / f"{subject}_ses-1_T1w_desc-{name}_mask.nii.gz")
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
    main(["analyze", str(cohort), "--out", str(out), "-q"])
    main(["report", str(out), "--out", str(out.parent / "page.html")])
    return out


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


def test_no_identifier_is_on_the_page(leaky):
    page = (leaky.parent / "page.html").read_text()
    assert not [name for name in NAMES if name in page]


def test_no_absolute_path_or_user_is_in_the_results(leaky):
    import getpass
    import socket

    folder = str(leaky.parent.parent)
    words = [folder, str(ipha.__file__).rpartition("/")[0], f"user={getpass.getuser()}", socket.gethostname()]
    found = [(where, word) for where, content in texts(leaky) for word in words if word.encode() in content]
    assert not found


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A cohort whose tables, sidecars, masks and protocol hold text that would run."""
    root = tmp_path_factory.mktemp("hostile")
    cohort = root / "cohort"
    for n in range(3):
        put_session(cohort, f"sub-{n}", "ses-1", [toy_mr(lung=20 + n, seed=n)])
        path = cohort / f"sub-{n}/ses-1/anat/sub-{n}_ses-1_T1w.json"
        path.write_text(
            json.dumps({"ContrastBolusIngredient": RUNS[0], "SeriesDescription": RUNS[1], RUNS[2]: RUNS[3]})
        )
        visits = f"session_id\tdays\tphase\tnote\nses-1\t{n}\t{RUNS[1]}\t{RUNS[5]}\n"
        (cohort / f"sub-{n}/sub-{n}_sessions.tsv").write_text(visits)
    strange = cohort / "sub-1/ses-1/anat/sub-1_ses-1_acq-<img src=x onerror=pwned=1>_T2w.nii.gz"
    strange.write_bytes(b"no image")
    lines = [
        "participant_id\tgroup\tsite",
        *(f"sub-{n}\t{RUNS[n].lstrip(chr(34))}\t{RUNS[n + 3]}" for n in range(3)),
        f"{RUNS[6]}\tx\ty",
    ]
    (cohort / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root


def test_nothing_colours_the_terminal(hostile, capsys):
    main(["check", str(hostile / "cohort"), "-q"])
    main(["analyze", str(hostile / "cohort"), "--out", str(hostile / "out"), "-q"])
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "participant_id" in shown


def test_tables_of_results_hold_no_formula(hostile):
    main(["analyze", str(hostile / "cohort"), "--out", str(hostile / "out"), "-q"])
    cells = [
        cell
        for path in (hostile / "out").rglob("*.tsv")
        for line in path.read_text().splitlines()
        for cell in line.split("\t")
    ]
    assert len(cells) > 100
    assert not [cell for cell in cells if cell[:1] in "=@" and cell] and "\x1b" not in "".join(cells)


def test_nothing_runs_on_the_page(hostile, offline_page):
    main(["analyze", str(hostile / "cohort"), "--out", str(hostile / "out"), "-q"])
    assert main(["report", str(hostile / "out"), "--out", str(hostile / "page.html")]) == 0
    offline_page.goto((hostile / "page.html").as_uri())
    offline_page.wait_for_timeout(300)
    assert offline_page.evaluate("window.pwned") is None and offline_page.requests == []
    assert "1337" not in offline_page.inner_text("body")
    assert not offline_page.locator("img[src=x], svg[onload], a[href^=javascript]").count()


def test_nothing_runs_in_a_viewer(hostile, offline_page):
    viewers = [ipha.view(toy_mr().replace(name=text), overlays={text: toy_masks()[0]}) for text in RUNS[:3]]
    page = "".join(viewer.to_html() for viewer in viewers)
    (hostile / "viewer.html").write_text(page)
    offline_page.goto((hostile / "viewer.html").as_uri())
    offline_page.wait_for_timeout(500)
    assert offline_page.evaluate("window.pwned") is None
    assert not offline_page.locator("img[src=x], svg[onload]").count()


@pytest.mark.parametrize(
    "text", ["[phases]\nrules = [\"__import__('os').system('x')\"]\n", "a = !!python/object:os.system"]
)
def test_a_protocol_runs_no_code(hostile, tmp_path, text, capsys):
    (tmp_path / "p.toml").write_text(text)
    words = [
        "analyze",
        str(hostile / "cohort"),
        "--out",
        str(tmp_path / "out"),
        "-q",
        "--protocol",
        str(tmp_path / "p.toml"),
    ]
    assert main(words) == 2 and not (tmp_path / "out").exists()
    assert "Traceback" not in capsys.readouterr().err
