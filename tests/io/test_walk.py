import os
from pathlib import Path

import pytest

from ipha_toolkit.io.layout import read_cohort
from ipha_toolkit.io.walk import Problem, unread, walk


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


IMAGE = "sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz"


def remarks(root):
    (root / "participants.tsv").write_text("participant_id\tgroup\nsub-1\tcontrol\n")
    cohort = read_cohort(root)
    return [str(problem).removeprefix(f"{root}/") for problem in cohort.problems if not problem.subject]


@pytest.mark.parametrize(
    "left, reason",
    [
        ("sub-1/ses-1/anat/sub-1_ses-1_T2w.nii.bz2", "its ending is none that is read"),
        ("sub-1/ses-1/anat/sub-1_ses-1_T2w.mgz", "its ending is none that is read"),
        ("sub-1/ses-1/ct/sub-1_ses-1_ct.img", "its ending is none that is read"),
        ("sub-1/ses-1/ct/IM0001", "its ending is none that is read"),
        ("sub-1/ses-1/anat/sub-1_ses-1_localizer.nii.gz", "its name does not end with _T1w"),
        ("sub-1/ses-1/anat/sub-1_ses-1_part-phase_T2w.nii.gz", "part-phase holds phase"),
        ("sub-1/ses-1/anat/sub-1_ses-1_part-imag_T2w.nii.gz", "part-imag holds imag"),
        ("sub-1/ct/sub-1_ct.nii.gz", "it lies beside the ses- folders"),
        ("sub-1_ct.nii.gz", "images lie in the folder of their subject"),
        ("SUB-2/ses-1/anat/SUB-2_ses-1_T1w.nii.gz", "begins with sub- in small letters"),
        ("derivatives/sub-1/ses-1/sub-1_ses-1_T1w_desc-lung_mask.nii", "the folder of a tool is missing"),
        ("derivatives/t/sub-9/sub-9_T1w_desc-lung_mask.nii", "there is no such subject"),
        ("derivatives/t/sub-1/SES-1/sub-1_ses-1_T1w_desc-lung_mask.nii", "no folder of a session of sub-1"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_lungs.nii", "ends neither with _mask nor with _dseg"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_desc-lung_mask.seg.nrrd", "ends neither with _mask nor with _dseg"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w.nii", "ends neither with _mask nor with _dseg"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_label-lung_probseg.nii", "ends neither with _mask nor with _dseg"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_mask.nii", "does not say that the mask shows lung"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_desc-liver_mask.nii", "does not say that the mask shows lung"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_desc-lungvessels_mask.nii", "does not say that the mask shows"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_acq-b_T1w_desc-lung_mask.nii", "its labels are not those of the image"),
        ("derivatives/t/sub-1/ses-1/sub-2_ses-1_T1w_desc-lung_mask.nii", "its name says sub-2, its folder sub-1"),
        ("derivatives/t/sub-1/ses-1/sub-1_ses-1_T1w_desc-lung_mask.mgz", "its ending is none that is read"),
    ],
)
def test_what_is_not_read_is_listed_with_the_reason_and_stops_no_one(tmp_path, left, reason):
    touch(tmp_path, IMAGE, left)
    found = [text for text in remarks(tmp_path) if f"not read, because {reason}" in text]
    assert found or any(reason in text and "not read" in text for text in remarks(tmp_path))
    cohort = read_cohort(tmp_path)
    assert [list(session.images) for session in cohort.sessions] == [["T1w"]]
    assert not cohort.stopped(cohort.sessions[0]) and not cohort.sessions[0].lungs


def test_an_entity_nobody_knows_is_said_and_the_image_read(tmp_path):
    touch(tmp_path, "sub-1/ses-1/anat/sub-1_ses-1_acq-fast_foo-7_T1w.nii.gz")
    assert any("'foo-7' in its name is not read" in text for text in remarks(tmp_path))
    assert list(read_cohort(tmp_path).sessions[0].images) == ["T1w"]


@pytest.mark.parametrize(
    "hidden", ["sub-1/ses-1/anat/._sub-1_ses-1_T1w.nii.gz", "sub-1/ses-1/.ipynb_checkpoints/sub-1_ses-1_T1w.nii.gz",
               "._sub-1", "sub-1/.DS_Store", "derivatives/t/sub-1/ses-1/._sub-1_ses-1_T1w_desc-lung_mask.nii"],
)  # fmt: skip
def test_hidden_files_are_passed_over_without_a_word(tmp_path, hidden):
    touch(tmp_path, IMAGE, hidden)
    assert remarks(tmp_path) == []


def test_a_session_folder_in_capitals_stops_its_subject_and_says_why(tmp_path):
    touch(tmp_path, "sub-1/Ses-1/anat/sub-1_ses-1_T1w.nii.gz")
    cohort = read_cohort(tmp_path)
    assert any("lies in no folder ses-1 of sub-1" in str(problem) for problem in cohort.stopped(cohort.sessions[0]))


def test_links_are_followed_to_folders_and_said_where_they_lead_nowhere(tmp_path):
    touch(tmp_path / "store", "ct/sub-1_ses-1_ct.nii.gz")
    touch(tmp_path / "c", IMAGE)
    session = tmp_path / "c" / "sub-1" / "ses-1"
    (session / "ct").symlink_to(tmp_path / "store" / "ct")
    (session / "anat" / "sub-1_ses-1_T2w.nii.gz").symlink_to("gone.nii.gz")
    (session / "anat" / "round").symlink_to(session)
    os.mkfifo(session / "anat" / "sub-1_ses-1_dx.png")
    (session / "anat" / "sub-1_ses-1_T2w.nrrd").mkdir()
    text = "\n".join(remarks(tmp_path / "c"))
    assert list(read_cohort(tmp_path / "c").sessions[0].images) == ["T1w", "ct"]
    assert "sub-1_ses-1_T2w.nii.gz: not read, because it is a link that leads nowhere" in text
    assert "round: not read, because it is a link to a folder it lies in" in text
    assert "sub-1_ses-1_dx.png: not read, because it is a pipe" in text
    assert "sub-1_ses-1_T2w.nrrd: not read, because it is a folder named like an image" in text


def test_a_name_that_no_table_can_hold_is_passed_over_and_written_with_escapes(tmp_path):
    touch(tmp_path, IMAGE)
    folder = tmp_path / "sub-1" / "ses-1" / "anat"
    for name in (b"sub-1_ses-1_\xff_T2w.nii", b"sub-1_ses-1_\x1b[31m_ct.nii", b"sub-1_ses-1_a\nb_ct.nii"):
        (folder / os.fsdecode(name)).touch()
    (tmp_path / os.fsdecode(b"sub-\xe9")).mkdir()
    text = remarks(tmp_path)
    assert sum("its name is not plain UTF-8 text" in line for line in text) == 2
    assert any("and 2 more beside it" in line for line in text)
    "\n".join(text).encode("utf-8")
    assert not any("\x1b" in line or "\n" in line for line in text)


def test_a_folder_of_many_slices_takes_one_line(tmp_path):
    touch(tmp_path, IMAGE, *(f"sub-1/ses-1/ct/IM{number:04d}" for number in range(300)))
    (line,) = remarks(tmp_path)
    assert "sub-1/ses-1/ct/IM0000: and 299 more beside it not read" in line


def test_files_of_an_image_are_no_strangers(tmp_path):
    touch(tmp_path, IMAGE, IMAGE.replace(".nii.gz", ".json"), "sub-1/ses-1/ct/sub-1_ses-1_ct.raw")
    (tmp_path / "sub-1/ses-1/ct/sub-1_ses-1_ct.mhd").write_text("NDims = 3\nDimSize = 1 1 1\nElementType = MET_UCHAR\n"
        "ElementSpacing = 1 1 1\nElementDataFile = sub-1_ses-1_ct.raw\n")  # fmt: skip
    touch(tmp_path, "sub-1/sub-1_sessions.json")
    assert remarks(tmp_path) == []


def test_problems_are_one_line_each(tmp_path):
    assert str(Problem(tmp_path / "a\nb", "two\nlines")) == f"{tmp_path}/a\\nb: two lines"
    assert unread([]) == []
    assert walk(tmp_path / "nowhere").unread[0][1].startswith("the folder cannot be opened")


def test_what_is_deeper_than_anybody_files_and_more_than_a_cohort_is_said_and_not_walked(tmp_path, monkeypatch):
    """A link to a whole disk, a folder in itself a thousand times: neither a traceback nor an hour."""
    (tmp_path / "/".join(["d"] * 150)).mkdir(parents=True)
    found = walk(tmp_path)
    assert [reason for _, reason in found.unread] == ["it lies 100 folders deep"]
    monkeypatch.setattr("ipha_toolkit.io.walk._MOST_FILES", 3)
    touch(tmp_path, "a/1", "a/2", "a/3", "b/4", "c/5")
    found = walk(tmp_path)
    assert len(found.files) == 3 and all("a link to a whole disk?" in reason for _, reason in found.unread)


def test_a_link_whose_place_may_not_be_reached_is_said(tmp_path, monkeypatch):
    touch(tmp_path, "a", "b")
    is_dir = Path.is_dir

    def no_rights(path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", no_rights)
    assert [path.name for path in walk(tmp_path).files] == ["a", "b"]
