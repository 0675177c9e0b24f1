"""A simulated cohort on disk: the same bytes for the same seed, whole or not at all, its truth never read."""

import json
import shutil
from hashlib import sha256

import pandas as pd
import pytest

from ipha_toolkit.cli import main
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.images import load, load_echoes, load_mask
from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.phantom.population import draw_population
from ipha_toolkit.run.cohort import analyze
from ipha_toolkit.run.simulate import TRUTH_FOLDER, simulate_cohort, write_population

SETTINGS = {"subjects": 2, "seed": 2, "spacing_mm": 8.0, "progress": False}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return simulate_cohort(tmp_path_factory.mktemp("simulated") / "cohort", workers=2, **SETTINGS)


def hashes(folder):
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads(cohort, tmp_path):
    again = simulate_cohort(tmp_path / "elsewhere", workers=1, **SETTINGS)
    assert hashes(again) == hashes(cohort)


def test_another_seed_gives_other_images(cohort, tmp_path):
    other = simulate_cohort(tmp_path / "other", **(SETTINGS | {"seed": 3, "subjects": 1, "modalities": ["ct"]}))
    image = "sub-001/ses-01/ct/sub-001_ses-01_ct.nii.gz"
    assert hashes(other)[image] != hashes(cohort)[image]


def test_no_file_tells_where_or_when_it_was_made(cohort):
    for path in cohort.rglob("*"):
        if path.suffix in (".json", ".tsv") or path.name == "README":
            assert str(cohort.parent) not in path.read_text()
        elif path.name.endswith(".gz"):
            assert path.read_bytes()[3:8] == b"\0\0\0\0\0"  # no name, no time in the gzip header


def test_the_layout_is_read_without_a_problem_and_every_image_loads(cohort):
    found = read_cohort(cohort)
    assert found.problems == ()
    assert sorted({files.subject for files in found.sessions}) == ["sub-001", "sub-002"]
    for files in found.sessions:
        assert set(files.images) == {"T1w", "T2w", "ct", "dx"} and len(files.echoes) == 8
        for modality, path in files.images.items():
            assert load(path).modality == modality
        assert load_echoes(files.echoes)[1] == sorted(load_echoes(files.echoes)[1])


def test_the_tables_say_what_each_column_is(cohort):
    people = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert list(people.columns) == list(json.loads((cohort / "participants.json").read_text()))
    assert sorted(people["group"]) == ["control", "iph"]
    for name in people["participant_id"]:
        visits = pd.read_csv(cohort / name / f"{name}_sessions.tsv", sep="\t")
        assert list(visits.columns) == list(json.loads((cohort / "sessions.json").read_text()))
        assert [f"{name}/{s}" for s in visits["session_id"]] == [
            f"{name}/{p.name}" for p in sorted((cohort / name).glob("ses-*"))
        ]


def test_the_truth_lies_on_the_images_grid(cohort):
    for files in read_cohort(cohort).sessions:
        place = cohort / TRUTH_FOLDER / files.subject / files.session
        facts = json.loads((place / f"{files.label}_truth.json").read_text())
        for modality in ("T1w", "ct"):
            name = f"{files.label}_{facts['masks'][modality]}_desc-lung_mask.nii.gz"
            assert load_mask(place / name).same_grid(load(files.images[modality]))


def test_an_analysis_never_reads_the_truth(tmp_path):
    settings = SETTINGS | {"subjects": 1, "spacing_mm": 5.0, "modalities": ["ct"]}
    cohort, blind = simulate_cohort(tmp_path / "cohort", **settings), tmp_path / "blind"
    shutil.copytree(cohort, blind)
    for path in (blind / TRUTH_FOLDER).rglob("*.*"):
        path.write_bytes(b"unreadable")
    seeing = analyze(cohort, tmp_path / "a", progress=False)
    assert len(seeing) and not seeing["flag"].str.contains("foreign_mask").any()
    assert analyze(blind, tmp_path / "b", progress=False).equals(seeing)
    used = [json.loads(path.read_text())["inputs"] for path in (tmp_path / "a").rglob("sub-*/**/provenance.json")]
    assert used and not [name for inputs in used for name in inputs if TRUTH_FOLDER in name]


def test_an_earlier_simulation_is_not_replaced(cohort, tmp_path):
    target = tmp_path / "cohort"
    shutil.copytree(cohort, target)
    with pytest.raises(LayoutError, match="holds a simulated cohort; remove it, or give a new or empty folder"):
        simulate_cohort(target, **(SETTINGS | {"subjects": 1}))
    assert hashes(target) == hashes(cohort)


def replace(target, **changed):
    people = draw_population(1, seed=2)
    settings = {"about": {}, "spacing_mm": 8.0, "progress": False, "replace": True} | changed
    return write_population(people, target, **settings)


def test_the_demo_replaces_its_own_simulation_whole(tmp_path):
    target = tmp_path / "cohort"
    replace(target, modalities=["ct"])
    again = replace(target, modalities=["T1w"])
    assert not list(again.rglob("*_ct.nii.gz")) and list(again.rglob("*_T1w.nii.gz"))
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


def test_what_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="modalities are"):
        simulate_cohort(tmp_path / "cohort", **(SETTINGS | {"modalities": ["pet"]}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_others_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LayoutError, match="holds files that are not a simulated cohort; give a new or empty folder"):
        simulate_cohort(tmp_path, **SETTINGS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_was_added_to_a_simulation_is_not_lost(cohort, tmp_path):
    target = tmp_path / "cohort"
    shutil.copytree(cohort, target)
    (target / "derivatives" / "hand").mkdir(parents=True)
    with pytest.raises(LayoutError, match="holds derivatives, which would be lost"):
        replace(target)
    assert hashes(target) == hashes(cohort)


@pytest.mark.parametrize("arguments, text", [
    (["--subjects", "0"], "subjects needs to be 1 or more, got 0"),
    (["--seed", "-1"], "seed needs to be 0 or more, got -1"),
])  # fmt: skip
def test_the_command_refuses_with_status_2(arguments, text, tmp_path, capsys):
    assert main(["simulate", "--out", str(tmp_path / "x"), *arguments]) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
