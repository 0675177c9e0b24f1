import json
import os

import pytest

from ipha_toolkit.io import names, proof


@pytest.fixture
def folder(tmp_path):
    """A session's results as they are written, and a file of the user's."""
    made = tmp_path / "ses-1"
    made.mkdir()
    (made / "sub-1_ses-1_measures.tsv").write_text("a\tb\n1\t2\n")
    (made / "sub-1_ses-1_ct_desc-lung_mask.nii.gz").write_bytes(b"mask of lungs")
    (made / names.LOG).write_text(proof.sealed_log("begun\nended\n"))
    record = {"inputs": {"a": "b"}, "settings": {"x": 0.1}, proof.FILES: proof.digests(made)}
    (made / names.PROVENANCE).write_text(json.dumps(proof.sealed(record), indent=2))
    (made / "my notes.txt").write_text("years of work")
    return made


def test_what_is_as_it_was_written_is_ours_and_nothing_else(folder):
    assert proof.damage(folder) == []
    assert sorted(path.name for path in proof.ours(folder)) == [
        "log.txt", "provenance.json", "sub-1_ses-1_ct_desc-lung_mask.nii.gz", "sub-1_ses-1_measures.tsv",
    ]  # fmt: skip
    proof.remove_ours(folder)
    assert [path.name for path in folder.iterdir()] == ["my notes.txt"]


def cut(path):
    path.write_bytes(path.read_bytes()[:5])


def emptied(path):
    path.write_bytes(b"")


def zeroed(path):
    path.write_bytes(bytes(len(path.read_bytes())))


def edited(path):
    path.write_bytes(path.read_bytes().replace(b"1", b"7").replace(b"m", b"n"))


def renamed(path):
    path.rename(path.with_name("old " + path.name))


def gone(path):
    path.unlink()


def piped(path):
    path.unlink()
    os.mkfifo(path)


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("how", [cut, emptied, zeroed, edited, renamed, gone, piped, a_folder])
@pytest.mark.parametrize("name", ["sub-1_ses-1_measures.tsv", "sub-1_ses-1_ct_desc-lung_mask.nii.gz", names.PROVENANCE])
def test_any_damage_is_noticed_and_what_was_damaged_is_not_removed(folder, how, name):
    how(folder / name)
    assert proof.damage(folder) == [name]
    before = {path.name for path in folder.iterdir()}
    ours = {path.name for path in proof.ours(folder)}
    assert name not in ours and "my notes.txt" not in ours
    proof.remove_ours(folder)
    assert {path.name for path in folder.iterdir()} == before - ours


def test_a_log_is_ours_by_its_last_line(folder):
    log = folder / names.LOG
    log.write_text("NB\n" + log.read_text())
    assert log not in proof.ours(folder) and proof.damage(folder) == []  # it holds no results
    proof.remove_ours(folder)
    assert log.exists()


def test_a_provenance_cannot_name_files_elsewhere(folder):
    outside = folder.parent / "mine.txt"
    outside.write_text("mine")
    record = {proof.FILES: {"../mine.txt": proof.digest_of(outside)}}
    (folder / names.PROVENANCE).write_text(json.dumps(proof.sealed(record)))
    proof.remove_ours(folder)
    assert outside.exists()


def test_what_is_not_ours_moves_into_the_new_folder(folder, tmp_path):
    edited(folder / "sub-1_ses-1_measures.tsv")
    emptied(folder / "sub-1_ses-1_ct_desc-lung_mask.nii.gz")
    (folder / "figures").mkdir()
    (folder / "figures" / "a.png").write_bytes(b"png")
    new = tmp_path / "new"
    new.mkdir()
    (new / "sub-1_ses-1_measures.tsv").write_text("the new one")
    moved = proof.move_rest(folder, new)
    assert moved == ["figures", "my notes.txt", "sub-1_ses-1_measures.tsv.kept"]
    assert (new / "figures" / "a.png").read_bytes() == b"png" and not folder.exists()
    assert (new / "sub-1_ses-1_measures.tsv").read_text() == "the new one"


@pytest.mark.parametrize(
    "text, known, kept", [("old", "", "t.kept"), ("old", "old", ""), ("new", "", ""), ("", "", "")]
)
def test_a_table_is_kept_aside_unless_it_is_ours_or_the_same(tmp_path, text, known, kept):
    path = tmp_path / "t"
    path.write_text(text)
    other = tmp_path / "known"
    other.write_text(known)
    assert proof.keep_aside(path, proof.digest_of(other) if known else "", proof.sha256(b"new").hexdigest()) == kept
    assert not kept or (tmp_path / kept).read_text() == text


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"[]", b'{"files": 3, "seal": ""}', b"[" * 30_000, b"\xff\xfe"])
def test_what_is_no_record_is_none(tmp_path, content):
    (tmp_path / "p.json").write_bytes(content)
    assert proof.read_sealed(tmp_path / "p.json") == {}
