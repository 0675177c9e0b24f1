"""What a site shares: 20 identifiers planted where hospitals leave them, none in any byte of the archive."""

import json
import re
import zipfile

import pytest
from toys import put_session, toy_ct, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.errors import LayoutError, PrivacyError
from ipha_toolkit.io.ratings import add_ratings
from ipha_toolkit.io.shared import read_shared, write_archive
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.share import KEY, share
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.ratings import judged_hash

PLANTED = {
    "PatientName": "Mustermann^Erika", "PatientID": "MRN0047112", "PatientBirthDate": "19710203",
    "AccessionNumber": "ACC998877", "InstitutionName": "Charite Nord", "InstitutionAddress": "Ringstrasse 12",
    "StationName": "CTAWP66023", "DeviceSerialNumber": "SN778812", "ReferringPhysicianName": "Doktor^Anna",
    "OperatorsName": "Schwester Inessa", "StudyInstanceUID": "1.2.840.113619.2.55.3", "StudyID": "STUDY5512",
}  # fmt: skip
ELSEWHERE = [
    "kp4711x", "20190312", "Hausmann", "Seestadt", "note-by-weber", "2019-03-12", "Dr. Lehmann", "/home/weber/scans",
]  # fmt: skip
"""Subject label, session label, group, city, comment, date, source of a rule, path."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    root = folder / "cohort"
    for n, subject in enumerate(("sub-kp4711x", "sub-c2", "sub-c3")):
        session = "ses-20190312" if n == 0 else "ses-1"
        put_session(root, subject, session, [toy_ct(seed=n), toy_mr(seed=n)])
        for path in (root / subject).rglob("*.nii.gz"):
            facts = PLANTED | {"MagneticFieldStrength": 1.5, "ConvolutionKernel": "Lehmann" if n else "soft"}
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(facts))
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\tage\tsex\theight_cm\tcity\n"
        "sub-kp4711x\tHausmann\t91\tfemale\t165\tSeestadt\nsub-c2\tcontrol\t34\tM\tn/a\tSeestadt\n"
        "sub-c3\tcontrol\t7\tM\t120\t/home/weber/scans\n"
    )
    (root / "sub-kp4711x" / "sub-kp4711x_sessions.tsv").write_text(
        "session_id\tdate\tphase\themoglobin_g_dl\tcomment\nses-20190312\t2019-03-12\tacute\t9.5\tnote-by-weber\n"
    )
    run(root, folder / "out", progress=False)
    return folder / "out"


def everything(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info).decode("utf-8") for info in archive.infolist()}


def test_twenty_planted_identifiers_are_in_no_byte_of_the_archive(results, tmp_path):
    archive = share(results, tmp_path / "a.zip", site="north")
    texts = everything(archive)
    whole = "\n".join([*texts, *texts.values()])
    parts = {part for text in [*PLANTED.values(), *ELSEWHERE] for part in re.split(r"[\^ ]", text) if len(part) > 3}
    assert len(PLANTED) + len(ELSEWHERE) == 20
    assert [part for part in sorted(parts) if part.casefold() in whole.casefold()] == []
    assert b"Mustermann" not in archive.read_bytes() and str(results) not in whole


def test_what_is_shared_is_what_a_pooled_study_needs(results, tmp_path):
    shared = read_shared(share(results, tmp_path / "a.zip", site="north"))
    people = shared.participants.set_index("group")
    assert sorted(people.index) == ["control", "control", "other"]
    assert people.loc["other", ["age", "sex", "height_cm"]].tolist() == ["89+", "F", "165"]
    assert shared.visits.set_index("phase").loc["acute", ["days", "hemoglobin_g_dl"]].tolist() == ["0", "9.5"]
    assert not shared.rows["measure"].str.endswith("_vs_controls").any()
    assert set(shared.acquisitions["kernel"]) == {"n/a", "soft"}
    assert shared.rows["subject"].str.fullmatch(r"sub-north\d{4}").all()


def test_every_word_is_listed_and_the_same_results_give_the_same_bytes(results, tmp_path):
    first, again = (share(results, tmp_path / f"{n}.zip", site="north").read_bytes() for n in range(2))
    assert first == again
    texts = everything(tmp_path / "0.zip")
    listed = set(re.findall(r"<tr><td>([^<]+)</td>", texts["words.html"]))
    for name, text in texts.items():
        if name != "words.html":
            assert set(re.findall(r"[^\W\d][\w.+-]*", text)) <= listed, name
    assert (results / KEY).stat().st_mode & 0o077 == 0


def test_ages_come_in_bands_where_that_is_asked(results, tmp_path):
    shared = read_shared(ipha.share(results, tmp_path / "a.zip", site="north", age_bands=True))
    assert sorted(shared.participants["age"]) == ["18-39", "6-11", "89+"]


def test_an_identifier_in_a_setting_is_refused_by_name(results, tmp_path, monkeypatch, capsys):
    real = Protocol.changes
    monkeypatch.setattr(Protocol, "changes", lambda self: real(self) + "# as Mustermann^Erika has it\n")
    with pytest.raises(PrivacyError, match=r"PatientName of .*Mustermann"):
        share(results, tmp_path / "a.zip")
    assert main(["share", str(results), "--out", str(tmp_path / "a.zip")]) == 2
    assert "Mustermann" in capsys.readouterr().err and not (tmp_path / "a.zip").exists()


def test_an_archive_with_a_foreign_word_is_not_read(results, tmp_path):
    texts = everything(share(results, tmp_path / "a.zip", site="north"))
    texts["rows.tsv"] = texts["rows.tsv"].replace("\tlung\t", "\tErika Mustermann\t", 1)
    write_archive(tmp_path / "b.zip", texts)
    with pytest.raises(LayoutError, match="'Erika Mustermann' is no region that is shared"):
        read_shared(tmp_path / "b.zip")


def test_a_site_needs_a_plain_name(results, tmp_path):
    with pytest.raises(LayoutError, match=r"site 'St\. Anna'"):
        share(results, tmp_path / "a.zip", site="St. Anna")


def test_what_ratings_leave_out_is_not_shared(analyzed, tmp_path):
    """Whoever pools has no ratings: an image called unusable would count again."""
    whole = read_shared(share(analyzed / "out", tmp_path / "whole.zip", site="north"))
    label = judged_hash(analyzed / "out" / "sub-c2" / "ses-1", "sub-c2_ses-1", "T1w")
    about = {"subject": "sub-c2", "session": "ses-1", "image": "T1w", "rater": "AB", "verdict": "unusable"}
    add_ratings(analyzed, [about | {"hash": label}])
    run(analyzed / "cohort", analyzed / "out", ratings=analyzed, progress=False)
    less = read_shared(share(analyzed / "out", tmp_path / "less.zip", site="north"))
    both = (each.rows.groupby(["subject", "modality"]).size() for each in (whole, less))
    gone = set.difference(*(set(each.index) for each in both))
    assert {modality for _, modality in gone} >= {"T1w"} and len({subject for subject, _ in gone}) == 1
    assert all("T1w" in modality for _, modality in gone)
    assert set(whole.histograms) - set(less.histograms) and set(less.histograms) <= set(whole.histograms)
    assert "rated_unusable" not in " ".join(less.rows["flag"].unique())
