"""Every notebook on a person's own scans: one kind of image, one subject, no controls, no tables, any file format.

Code cells run in this process, one kernel less for each combination; what they display is kept as text.
"""

import ast
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.errors import DataError
from ipha_toolkit.phantom.dicom import Study, slices

NOTEBOOKS = {path.stem[:2]: path for path in sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))}
SPACING_MM = 5.0
FORMATS = [("ct", ".nii.gz"), ("T1w", ".nii"), ("T2w", ".nrrd"), ("dx", ".mha")]
BESIDE = {"numpy", "pandas", "matplotlib", "ipywidgets", "pathlib", "tempfile"}


@pytest.mark.parametrize("path", NOTEBOOKS.values(), ids=NOTEBOOKS)
def test_what_it_needs_of_the_package_is_public(path):
    source = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    imported = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(node.module)
    assert set(imported) <= {"ipha_toolkit", *BESIDE}
    assert len(imported) <= 4
    for name in ("measures.tsv", "readings", "_desc-", "_mask.nii", "failures.tsv"):
        assert f'{name}"' not in source.replace(".readings", "")


@pytest.fixture
def run(monkeypatch):
    """Runs a notebook by its number with settings in place of its own; gives what it showed, as text, and its names."""
    shown = []

    def display(*things, raw=False, **_):
        for thing in things:
            html = thing._repr_html_() if hasattr(thing, "_repr_html_") else ""
            shown.append(thing["text/plain"] if raw else unescape(html) or str(thing))

    def run(number, **settings):
        space = {"display": display, "print": lambda *words, sep=" ": shown.append(sep.join(map(str, words)))}
        for cell in nbformat.read(NOTEBOOKS[number], as_version=4).cells:
            if cell.cell_type == "code":
                value = _run_cell(cell.source, space)
                display(*[] if value is None else [value])
            if "parameters" in cell.metadata.get("tags", []):
                assert set(settings) <= set(space), "settings that the notebook does not have"
                space |= settings
        return SimpleNamespace(text="\n".join(shown), **space)

    monkeypatch.setattr("IPython.display.display", display)
    return run


def _run_cell(source, space):
    """Execute a cell; its last expression is its value, as in a kernel."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "<cell>", "exec"), space)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), space) if last else None


@pytest.fixture(scope="module")
def people():
    """Two simulated children, coarse: one ill, one healthy."""
    child = {"size": "child", "spacing_mm": SPACING_MM, "modalities": ("T1w", "T2w", "ct", "dx", "MEGRE")}
    phases = {"ill": "subacute", "well": "none"}
    return {name: ipha.simulate_subject(phase, seed=seed, **child) for seed, (name, phase) in enumerate(phases.items())}


@pytest.fixture
def file_of(people, tmp_path):
    """Writes one of the images to a file of a format; gives its path as a person would put it into a notebook."""

    def file_of(kind, ending=".nii.gz", who="ill"):
        path = tmp_path / f"{who}_{kind}{ending}"
        ipha.save(people[who].volumes[kind], path)
        return str(path)

    return file_of


def words_of(shown, *wanted):
    for words in wanted:
        assert words in shown.text


@pytest.mark.parametrize(("kind", "ending"), FORMATS)
def test_quickstart_on_one_image(run, file_of, kind, ending):
    shown = run("00", paths=[file_of(kind, ending)])
    assert set(shown.rows["modality"]) == {kind}
    words_of(shown, "Bars of", f"ill_{kind}")


@pytest.mark.parametrize("kind", ["ct", "T1w", "T2w", "dx"])
def test_acute_phase_on_one_kind_of_image(run, file_of, kind):
    shown = run("01", **{f"{kind.lower()}_path": file_of(kind, ".nrrd")}, spacing_mm=SPACING_MM)
    assert set(shown.scans) == {kind}
    words_of(shown, "Not among the scans, so left out below:")
    assert ("No CT here" in shown.text, "No T1w or T2w here" in shown.text) == (kind != "ct", kind[0] != "T")


def test_subacute_phase_on_one_healthy_ct(run, file_of):
    shown = run("02", ct_paths=[file_of("ct", ".mha", "well")], days=[3])
    words_of(shown, "Not drawn: patchiness", "Not drawn: ground glass extent")


def test_subacute_phase_on_scans_without_days(run, file_of):
    shown = run("02", ct_paths=[file_of("ct", ".nii"), file_of("ct", ".nii", "well")])
    words_of(shown, "they are numbered", "day 1", "day 2", "CT measures over 2 days")


def test_chronic_phase_on_one_patient_without_echoes(run, file_of):
    shown = run("03", scans={"mine": (file_of("T1w", ".nrrd"), file_of("T2w", ".nrrd"))})
    assert list(shown.pairs) == ["mine"]
    words_of(shown, "No echoes here")


def test_chronic_phase_on_echoes_of_ones_own(run, people, file_of, tmp_path):
    paths = [str(tmp_path / f"echo-{number}_MEGRE.nii") for number, _ in enumerate(people["ill"].echoes, 1)]
    for path, echo in zip(paths, people["ill"].echoes, strict=True):
        ipha.save(echo, path)
    shown = run("03", scans={"mine": (file_of("T1w", ".mha"), file_of("T2w", ".nii"))}, echo_paths=paths)
    assert "No echoes here" not in shown.text and "r2star_median" in set(shown.r2star["measure"])


@pytest.mark.parametrize("kind", ["ct", "T1w"])
def test_mri_and_ct_with_one_of_them(run, file_of, kind):
    shown = run("04", **{f"{kind.lower()}_path": file_of(kind, ".mha")})
    words_of(shown, f"Only {kind}: all that compares is left out.")
    assert list(shown.scans) == [kind]


def test_radiographs_with_one_film(run, file_of):
    shown = run("05", films={0: file_of("dx")})
    words_of(shown, "1 of 1 films measured", "there are not two")


def test_radiographs_with_a_film_that_shows_no_lungs(run, file_of, tmp_path, people):
    film = people["ill"].volumes["dx"]
    ipha.save(film.replace(array=film.array * 0 + film.array[:1]), tmp_path / "stripes_dx.nii.gz")
    shown = run("05", films={0: file_of("dx"), 1: str(tmp_path / "stripes_dx.nii.gz"), 2: file_of("dx", ".mha")})
    words_of(shown, "Not shown: stripes_dx", "2 of 3 films measured")


@pytest.mark.parametrize(("kind", "ending"), FORMATS)
def test_viewer_shows_the_one_image_given_and_no_phantom(run, file_of, kind, ending):
    shown = run("08", **{f"{kind.lower()}_path": file_of(kind, ending)})
    assert list(shown.volumes) == [kind]
    words_of(shown, "Left out below, as it is not here:")
    assert ("No T1w here" in shown.text, "No radiograph here" in shown.text) == (kind != "T1w", kind != "dx")


COHORTS = {
    "one subject, CT, no tables": {"ill": {"ses-01": ["ct"]}},
    "MRI, no controls": {"ill": {"": ["T1w", "T2w"]}, "well": {"": ["T1w"]}},
    "films, days in words": {"ill": {"ses-01": ["dx"], "ses-02": ["dx"]}},
    "echoes": {"ill": {"ses-01": ["MEGRE"]}},
}
"""Who has which images at which visit; each cohort takes the next file format."""


@pytest.fixture(scope="module", params=COHORTS)
def own_cohort(request, people, tmp_path_factory):
    """A cohort folder as someone might have it, what is in it, and a place for its results."""
    root, who = tmp_path_factory.mktemp("own") / "cohort", COHORTS[request.param]
    ending = dict(zip(COHORTS, (".nrrd", ".mha", ".nii", ".nii.gz"), strict=True))[request.param]
    for name, visits in who.items():
        for session, kinds in visits.items():
            for kind in kinds:
                _put(people[name], root, f"sub-{name}", session, kind, ending)
    if "days" in request.param:
        (root / "sub-ill" / "sub-ill_sessions.tsv").write_text("session_id\tdays\nses-01\t0\nses-02\tlater\n")
    return SimpleNamespace(kind=request.param, root=root, results=root.parent / "results")


def _put(person, root, subject, session, kind, ending):
    folder = root / subject / session / {"ct": "ct", "dx": "xray"}.get(kind, "anat")
    folder.mkdir(parents=True, exist_ok=True)
    label = f"{subject}_{session}".rstrip("_")
    if kind != "MEGRE":
        ipha.save(person.volumes[kind], folder / f"{label}_{kind}{ending}")
    for number, echo in enumerate(person.echoes if kind == "MEGRE" else [], 1):
        ipha.save(echo, folder / f"{label}_echo-{number}_MEGRE{ending}")


def test_own_cohort_is_measured_and_compared_as_far_as_it_goes(run, own_cohort):
    given = {"cohort": str(own_cohort.root), "results": str(own_cohort.results), "workers": 1}
    measured = run("07", **given)
    words_of(measured, "nothing is imported", "0 failures", "images with lungs are shown", "is missing")
    compared = run("06", **given | {"cohort": ""})
    words_of(compared, "No participants.tsv", "What the clinic knew is not said")
    words_of(compared, "Not shown: no measured subject is labelled", "Not shown: sessions lack the columns")
    files = {path: path.stat().st_mtime_ns for path in own_cohort.root.parent.rglob("*")}
    explored = run("09", **{name: given[name] for name in ("cohort", "results")})
    words_of(explored, "Looked at below: sub-ill", "nothing is written from here", "page.html: ")
    assert files == {path: path.stat().st_mtime_ns for path in own_cohort.root.parent.rglob("*")}
    if "days" in own_cohort.kind:
        words_of(compared, "Not shown: sessions: days holds 'later', which is no number")


def test_patients_without_controls_dose_or_a_third_visit(run, people, tmp_path):
    root = tmp_path / "cohort"
    for session in ("ses-01", "ses-02"):
        _put(people["ill"], root, "sub-ill", session, "ct", ".nrrd")
    (root / "participants.tsv").write_text("participant_id\tgroup\tage\nsub-ill\tiph\t7\n")
    (root / "sub-ill/sub-ill_sessions.tsv").write_text("session_id\tdays\nses-01\t0\nses-02\t31\n")
    given = {"cohort": str(root), "results": str(tmp_path / "results")}
    ipha.analyze(root, tmp_path / "results", workers=1, progress=False)
    compared = run("06", **given)
    words_of(compared, "What the clinic knew is not said", "Not shown: ")
    assert compared.patient == "sub-ill" and "No participants.tsv" not in compared.text
    words_of(run("09", **given), "Looked at below: sub-ill_ses-0")


def test_results_in_which_nothing_could_be_measured(run, tmp_path):
    place = tmp_path / "cohort/sub-01/anat"
    place.mkdir(parents=True)
    (place / "sub-01_T1w.nii.gz").write_bytes(b"no image")
    given = {"cohort": str(tmp_path / "cohort"), "results": str(tmp_path / "results")}
    words_of(run("07", **given, workers=1), "1 failures", "Nothing could be measured")
    words_of(run("06", **given), "0 subjects", "Not shown: ")
    with pytest.raises(DataError, match=r"results: holds no number; see what failed in failures\.tsv"):
        run("09", **given)


def test_a_disk_of_ones_own_with_one_ct(run, people, tmp_path):
    pytest.importorskip("dcm2niix")
    disk = tmp_path / "disk"
    disk.mkdir()
    study = Study("4711-08", "Beispiel^Anna", "20150314", "F", "20240110")
    words = {"BodyPartExamined": "CHEST", "SeriesDescription": "Thorax"}
    series = slices(people["ill"].volumes["ct"], study, number=2, modality="CT", intercept=-1024, tags=words)
    for number, file in enumerate(series):
        file.save_as(disk / f"I{number}", enforce_file_format=True)
    shown = run("07", dicom=str(disk), results=str(tmp_path / "results"), workers=1)
    words_of(shown, "1 sessions measured, 0 failures", "1 of 1 images with lungs are shown")
