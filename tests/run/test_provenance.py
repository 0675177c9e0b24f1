"""What is measured anew, and what is not, when settings, code or files change."""

import json
import shutil

import pytest
from toys import put_session, toy_mr

from ipha_toolkit.protocol import SECOND_PASS, Protocol
from ipha_toolkit.run import provenance
from ipha_toolkit.run.cohort import run


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def sessions_of(files):
    return {path: time for path, time in files.items() if "sub-" in str(path.parent)}


def test_with_nothing_to_do_no_file_of_a_session_or_table_is_touched(analyzed):
    before = times(analyzed / "out")
    again = run(analyzed / "cohort", analyzed / "out", progress=False)
    after = times(analyzed / "out")
    assert again.measured == 0
    changed = {path.name for path in after if after[path] != before[path]}
    assert changed <= {"dataset_description.json", "failures.tsv"}


def test_a_setting_of_the_second_pass_redoes_the_tables_alone(analyzed):
    before = times(analyzed / "out")
    other = Protocol.from_toml("[phases]\nmargin = 0.9\n")
    again = run(analyzed / "cohort", analyzed / "out", protocol=other, progress=False)
    after = times(analyzed / "out")
    assert again.measured == 0 and again.skipped == 3
    assert sessions_of(after) == sessions_of(before)
    readings = analyzed / "out" / "readings.tsv"
    assert after[readings] > before[readings]


def test_a_setting_of_the_first_pass_measures_all_anew(analyzed):
    other = Protocol.from_toml("[signal]\nnoise_floor_sigmas = 4.0\n")
    assert run(analyzed / "cohort", analyzed / "out", protocol=other, progress=False).measured == 3


def test_second_pass_settings_are_known_settings():
    known = {section.split(".")[0] for section in SECOND_PASS}
    assert known <= set(Protocol().__dataclass_fields__)
    for name in SECOND_PASS:
        section, _, setting = name.partition(".")
        assert not setting or setting in getattr(Protocol(), section).__dataclass_fields__


def test_settings_of_the_second_pass_do_not_change_what_is_measured(analyzed):
    text = "[signal]\nfew_controls = 50\nhyperintense_ratio = 0.2\n[signature]\nthreshold_sd = 9.0\n"
    before = {path: path.read_bytes() for path in (analyzed / "out").rglob("sub-*_measures.tsv")}
    shutil.rmtree(analyzed / "out")
    run(analyzed / "cohort", analyzed / "out", protocol=Protocol.from_toml(text), progress=False)
    assert {path: path.read_bytes() for path in (analyzed / "out").rglob("sub-*_measures.tsv")} == before


def test_a_table_that_was_edited_is_made_again(analyzed):
    table = analyzed / "out" / "measures.tsv"
    right = table.read_text()
    table.write_text(right.replace("lung_volume", "lung_value"))
    run(analyzed / "cohort", analyzed / "out", progress=False)
    assert table.read_text() == right


def test_what_a_session_was_made_of_is_told(tmp_path):
    put_session(tmp_path / "cohort", "sub-1", "ses-1", [toy_mr()])
    run(tmp_path / "cohort", tmp_path / "out", progress=False)
    told = json.loads((tmp_path / "out/sub-1/ses-1/provenance.json").read_text())
    assert {"inputs", "settings", "code", "versions", "segmenter", "flags"} <= set(told)
    assert "phases" not in told["settings"] and "texture" in told["settings"]
    assert str(tmp_path) not in json.dumps(told)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules in place of this one, read anew each time."""
    root = tmp_path / "toy_package"
    root.mkdir()
    kernel = '"""Doc."""\nLIMIT = 1\ndef f():\n    return LIMIT\n'
    texts = {"__init__": "", "step": "from toy_package.kernel import f\n", "kernel": kernel, "other": "X = 1\n"}
    for name, text in texts.items():
        (root / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(provenance, "_PACKAGE", "toy_package")

    def digest():
        provenance._read.cache_clear()
        return provenance.code_digest(["step"])

    yield root, digest
    provenance._read.cache_clear()


def test_code_counts_where_it_is_run_and_words_do_not(package):
    root, digest = package
    first = digest()
    (root / "kernel.py").write_text(
        '"""Other words."""\n# a comment\nLIMIT = 1\ndef f():\n    """Say so."""\n    return LIMIT\n'
    )
    (root / "other.py").write_text("X = 2\n")
    assert digest() == first
    (root / "kernel.py").write_text("LIMIT = 2\ndef f():\n    return LIMIT\n")
    assert digest() != first


def test_a_film_does_not_hang_on_the_patterns_of_ct():
    def modules(step):
        found, waiting = set(), ["run.scan", f"run.steps.{step}"]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += provenance._read(name)[1]
        return found

    assert "measure.texture" in modules("ct") and "measure.texture" not in modules("film")
