"""Three sites shared and pooled against the undivided cohort; what is refused, stratified and said."""

import json
import shutil
import sys
import zipfile

import pandas as pd
import pytest
from toys import put_session, toy_ct, toy_mr

import ipha_toolkit as ipha
from ipha_toolkit.cli import main
from ipha_toolkit.compare import harmonize
from ipha_toolkit.errors import LayoutError
from ipha_toolkit.io.layout import read_table
from ipha_toolkit.io.names import POOLING, SITES
from ipha_toolkit.io.results import open_results
from ipha_toolkit.io.shared import write_archive
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.share import KEY, share
from ipha_toolkit.run.cohort import run
from ipha_toolkit.run.pool import pool

FACTS = {"MagneticFieldStrength": 1.5, "EchoTime": 0.002, "RepetitionTime": 0.01}
SITE_OF = {f"sub-{n}": "abc"[n % 3] for n in range(9)}


def put(root, subject, n, *, kernel="soft", field=1.5):
    """A control, or from the seventh on a patient: T1w and T2w for some, CT for all."""
    lung = 20 + n if n < 6 else 50
    images = [toy_ct(seed=n, lung=-870 + lung)]
    images += [toy_mr(lung=lung, seed=n), toy_mr("T2w", lung=lung + 9, seed=20 + n)] if n % 3 == 0 else []
    put_session(root, subject, "ses-1", images)
    for path in (root / subject).rglob("*.nii.gz"):
        facts = {"ConvolutionKernel": kernel} if "_ct" in path.name else FACTS | {"MagneticFieldStrength": field}
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(facts))


def people(root, subjects):
    lines = ["participant_id\tgroup\tage\tsex"]
    lines += [f"{s}\t{'control' if int(s[4:]) < 6 else 'iph'}\t{20 + int(s[4:])}\tF" for s in subjects]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The whole cohort, and the same in three sites, all analyzed and shared."""
    folder = tmp_path_factory.mktemp("sites")
    whole = folder / "whole"
    for n, subject in enumerate(SITE_OF):
        put(whole, subject, n)
    people(whole, SITE_OF)
    run(whole, folder / "out", progress=False)
    for site in "abc":
        own = [subject for subject, of in SITE_OF.items() if of == site]
        for subject in own:
            shutil.copytree(whole / subject, folder / site / subject)
            shutil.copytree(whole / "derivatives/hand" / subject, folder / site / "derivatives/hand" / subject)
        people(folder / site, own)
        run(folder / site, folder / f"out-{site}", progress=False)
        share(folder / f"out-{site}", folder / f"{site}.zip", site=site)
    return folder


@pytest.fixture(scope="module")
def pooled(folder):
    return pool([folder / f"{site}.zip" for site in "abc"], folder / "pooled")


def test_a_cohort_split_over_three_sites_gives_the_rows_of_the_whole(folder, pooled):
    keys = pd.concat([read_table(folder / f"out-{site}" / KEY) for site in "abc"])
    own = dict(zip(keys["shared_subject"], keys["subject"], strict=True))
    columns = ["subject", "session", "modality", "region", "measure"]
    back = pooled.rows.assign(subject=pooled.rows["subject"].map(own), session="ses-1")
    one = open_results(folder / "out").rows.sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(back.sort_values(columns, ignore_index=True), one, check_exact=True)
    readings = pooled.readings.assign(subject=pooled.readings["subject"].map(own)).set_index("subject")["phase"]
    assert readings.to_dict() == open_results(folder / "out").readings.set_index("subject")["phase"].to_dict()


def test_pooled_results_are_opened_reported_and_say_how_they_came_about(folder, pooled):
    assert set(pooled.participants["site"]) == {"a", "b", "c"} and len(pooled) == 9 and len(pooled.failures) == 0
    about = json.loads((pooled.path / POOLING).read_text())
    assert about["said"] == "controls of all sites that match" and about["images made otherwise"] == []
    sites = pd.read_csv(pooled.path / SITES, sep="\t")
    assert {"random site", "fixed site"} >= set(sites["model"].dropna()) and set(sites["n_sites"]) <= {1, 2, 3}
    page = ipha.report(pooled, folder / "page.html").read_text("utf-8")
    assert "Sites" in page and "controls of all sites that match" in page


def test_pooling_again_changes_nothing(folder, pooled):
    before = {path: path.read_bytes() for path in pooled.path.rglob("*") if path.is_file()}
    pool([folder / f"{site}.zip" for site in "abc"], folder / "pooled")
    assert {path: path.read_bytes() for path in pooled.path.rglob("*") if path.is_file()} == before


def test_two_archives_of_one_site_are_refused_under_whatever_name(folder, tmp_path):
    again = tmp_path / "again.zip"
    shutil.copy(folder / "a.zip", again)
    with pytest.raises(LayoutError, match=r"a\.zip and .*again\.zip are both of the site a; pool one of them"):
        pool([folder / "a.zip", again], tmp_path / "out")
    shutil.copytree(folder / "out-a", tmp_path / "out-a")
    (tmp_path / "out-a" / KEY).unlink()
    share(open_results(tmp_path / "out-a", cohort=folder / "a"), again, site="other")
    with pytest.raises(LayoutError, match=r"again\.zip: 3 sessions of other are those of a; pool each session once"):
        pool([folder / "a.zip", folder / "b.zip", again], tmp_path / "out")


def test_archives_that_are_none_cut_or_edited_are_refused_by_name(folder, tmp_path):
    bad, whole = tmp_path / "bad.zip", (folder / "a.zip").read_bytes()

    def refused(match):
        with pytest.raises(LayoutError, match=rf"bad\.zip: .*{match}"):
            pool([bad, folder / "b.zip"], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused("there is no such file")
    for content in (b"words", whole[: len(whole) // 2]):
        bad.write_bytes(content)
        refused("is no whole zip file .* was it cut on its way")
    with zipfile.ZipFile(folder / "a.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    for name, old, new in (
        ("rows.tsv", "\t0.", "\t1."),
        ("participants.tsv", "control", "iph"),
        ("site.json", "3", "4"),
    ):
        assert old in texts[name]
        write_archive(bad, texts | {name: texts[name].replace(old, new, 1)})
        refused(f"{name} in it is not as ipha share wrote it; have the site share it again")
    write_archive(bad, {name: text for name, text in texts.items() if name != "sessions.tsv"})
    refused("it lacks 'sessions.tsv'")
    write_archive(bad, dict(reversed(texts.items())) | {"__MACOSX/.DS_Store": "x"})
    assert len(pool([bad, folder / "b.zip"], tmp_path / "out")) == 6  # packed anew by a mail program
    bad.unlink()
    bad.mkdir()
    with pytest.raises(LayoutError, match="is a folder; give the file that ipha share wrote"):
        pool([bad], tmp_path / "none")


@pytest.fixture
def other(folder, tmp_path):
    """A fourth site with CT of a sharp kernel and other settings, where they are asked for."""

    def make(protocol, kernel):
        for n in (0, 1, 7):
            put_session(tmp_path / "d", f"sub-{n}", "ses-1", [toy_ct(seed=40 + n)])
            path = tmp_path / f"d/sub-{n}/ses-1/ct/sub-{n}_ses-1_ct.json"
            path.write_text(json.dumps({"ConvolutionKernel": kernel}))
        people(tmp_path / "d", ["sub-0", "sub-1", "sub-7"])
        run(tmp_path / "d", tmp_path / "out-d", protocol=protocol, progress=False)
        return share(tmp_path / "out-d", tmp_path / "d.zip", site="d")

    return make


def test_other_settings_are_refused_by_name_or_stratified(folder, tmp_path, other, capsys):
    archive = other(Protocol.from_toml("[attenuation]\nconsolidation_hu = -200\n"), "soft")
    arguments = ["pool", str(folder / "a.zip"), str(archive), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "d from a in attenuation.consolidation_hu (-300.0 and -200.0)" in capsys.readouterr().err
    assert main([*arguments, "--stratify"]) == 0
    reference = json.loads((tmp_path / "out" / "reference.json").read_text())
    assert len(reference["controls"]) == 4
    rows = open_results(tmp_path / "out").rows
    own = rows[rows["subject"].str.startswith("sub-d")]
    assert (
        own["measure"].str.endswith("_vs_controls").sum()
        == rows[rows["subject"].str.startswith("sub-d")]["flag"][own["measure"].str.endswith("_vs_controls")]
        .str.contains("few_controls")
        .sum()
    )


def test_another_kernel_leaves_controls_out_by_name(folder, tmp_path, other, capsys):
    archive = other(Protocol(), "B70f")
    assert main(["pool", str(folder / "a.zip"), str(archive), "--out", str(tmp_path / "out")]) == 0
    assert "- ct of d from a: kernel" in capsys.readouterr().out
    reference = json.loads((tmp_path / "out" / "reference.json").read_text())
    assert any("kernel" in text for text in reference["left_out"].values())


def test_each_site_against_its_own_controls_is_never_silent(folder, tmp_path, capsys):
    files = [str(folder / f"{site}.zip") for site in "ab"]
    assert main(["pool", *files, "--out", str(tmp_path / "out"), "--controls", "site"]) == 0
    assert "each site against its own controls alone" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / POOLING).read_text())["controls"] == "site"


def test_harmonizing_needs_controls_at_every_site_or_is_refused_in_words(folder, tmp_path, capsys):
    pytest.importorskip("combatlearn", reason="the extra harmonize is not installed")
    files = [str(folder / f"{site}.zip") for site in "abc"]
    assert main(["pool", *files, "--out", str(tmp_path / "out"), "--harmonize", "combat"]) == 2
    assert "every site needs 3 of group control, a has 2, b has 2, c has 2" in capsys.readouterr().err


def test_harmonized_values_stand_beside_the_measured_and_are_said(folder, tmp_path, capsys, monkeypatch):
    pytest.importorskip("combatlearn", reason="the extra harmonize is not installed")
    monkeypatch.setattr(harmonize, "_LEAST", 2)
    files = [str(folder / f"{site}.zip") for site in "abc"]
    assert main(["pool", *files, "--out", str(tmp_path / "out"), "--harmonize", "combat"]) == 0
    assert "- sites.tsv compares groups harmonized as well: by combatlearn" in capsys.readouterr().out
    assert set(pd.read_csv(tmp_path / "out" / SITES, sep="\t")["values"]) == {"measured", "combat"}
    assert "harmonized by ComBat" in ipha.report(tmp_path / "out", tmp_path / "page.html").read_text("utf-8")


def test_without_its_library_harmonizing_says_how_to_get_it(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "combatlearn", None)
    files = [str(folder / f"{site}.zip") for site in "ab"]
    assert main(["pool", *files, "--out", str(tmp_path / "out"), "--harmonize", "combat"]) == 2
    assert "pip install 'ipha-toolkit[harmonize]'" in capsys.readouterr().err
