"""The explorer without a browser: what it knows of a cohort, from number to voxels, selection, slices, pictures."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.compare.change import change_limits, compare_sessions, phantom_repeatability
from ipha_toolkit.explorer.cohort import ExplorerCohort
from ipha_toolkit.explorer.tiles import tile_of
from ipha_toolkit.explorer.voxels import Parts, cuts_of, voxels_of
from ipha_toolkit.regions.zones import lung_region

_spec = importlib.util.spec_from_file_location("visits", Path(__file__).with_name("visits.py"))
assert _spec is not None and _spec.loader is not None
visits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(visits)

FIRST, SECOND = "sub-p1_ses-1", "sub-p1_ses-2"


@pytest.fixture(scope="module")
def results(toy_analysis: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("explored")
    shutil.copytree(toy_analysis, folder, dirs_exist_ok=True)
    return ipha.open_results(visits.add_visit(folder))


@pytest.fixture
def explorer(results: Any) -> Any:
    made = ipha.explore(results)
    yield made
    made.close_all()


def test_sessions_with_what_the_tables_say_of_them(results: Any) -> None:
    sessions = ExplorerCohort(results).sessions.set_index("label")
    assert sessions.index.tolist() == ["sub-c1_ses-1", "sub-c2_ses-1", FIRST, SECOND]
    assert sessions["group"].tolist() == ["control", "control", "iph", "iph"]
    assert sessions["control"].tolist() == [True, True, False, False]
    assert sessions.loc[SECOND, ["phase", "days", "age"]].tolist() == ["chronic", 40, 30]
    assert sessions.loc["sub-c1_ses-1", "phase"] == "not said" and np.isnan(sessions.loc["sub-c1_ses-1", "days"])
    assert sessions.loc[FIRST, "modalities"] == ["T1w", "ct"]


def test_the_browser_gets_every_number_of_the_table(results: Any) -> None:
    known = json.loads(ExplorerCohort(results).to_json())
    labels = [session["label"] for session in known["sessions"]]
    sent = {
        (column["modality"], column["measure"], column["region"], label): value
        for column in known["columns"]
        for label, value in zip(labels, column["v"], strict=True)
        if value is not None
    }
    rows = results.rows.dropna(subset="value")
    assert len(sent) == len(rows)
    for row in rows.itertuples():
        found = sent[row.modality, row.measure, row.region, f"{row.subject}_{row.session}"]
        assert found == pytest.approx(row.value, rel=1e-4, abs=1e-12)
    combinations = known["combinations"]
    flagged = next(c for c in known["columns"] if c["measure"] == "hyperintense_fraction" and c["region"] == "lung")
    assert combinations[flagged["f"][2]].split(";") == ["foreign_mask", "few_controls", "sequence_unknown"]
    assert set(known["flags"]) >= {"few_controls", "foreign_mask"}


def test_units_of_the_clinics_columns_and_dates_without_images(results: Any) -> None:
    known = json.loads(ExplorerCohort(results).to_json())
    clinic = {column["name"]: (column["label"], column["unit"], column["kind"]) for column in known["clinic"]}
    assert clinic["hemoglobin_g_dl"] == ("hemoglobin", "g/dL", "number")
    assert clinic["prednisone_mg_per_day"] == ("prednisone", "mg/day", "number")
    assert clinic["hemoptysis"] == ("hemoptysis", "", "yes")
    assert [visit["days"] for visit in known["courses"]["sub-p1"]] == [0, 12, 40]


def test_what_might_say_who_someone_is_stays_with_python(results: Any) -> None:
    text = ExplorerCohort(results).to_json()
    assert json.loads(text)["withheld"] == ["remark"] and "HYPERLINK" not in text and "blood alone" not in text
    assert "remark" in ipha.explore(results).table()
    assert "HYPERLINK" in ExplorerCohort(results, ("remark",)).to_json()
    with pytest.raises(ValueError, match="also: no column name; there are hemoglobin_g_dl, "):
        ipha.explore(results, also=["name"])


def test_limits_drawn_are_those_a_change_is_judged_by() -> None:
    rows = pd.DataFrame(
        [
            ["sub-1", f"ses-{n}", "ct", "lung", "ground_glass_fraction", value, ""]
            for n, value in ((1, 20.0), (2, 60.0))
        ],
        columns=["subject", "session", "modality", "region", "measure", "value", "flag"],
    )
    judged = compare_sessions(rows)["smallest_detectable_change"].iloc[0]
    pooled, at_zero, share = change_limits().loc[("ct", "lung", "ground_glass_fraction")]
    assert max(pooled, np.hypot(at_zero, share * 40.0)) == pytest.approx(judged)
    plain = phantom_repeatability().drop(columns=["sd_at_zero", "sd_share"])
    assert change_limits(plain)[["at_zero", "share"]].to_numpy().max() == 0


@pytest.mark.parametrize("name", ["lung", "left", "right", "upper", "middle", "lower", "dorsal", "ventral", "central"])
def test_one_part_of_the_lungs_is_that_of_all_parts(results: Any, name: str) -> None:
    lungs = results[FIRST].mask("ct")
    assert np.array_equal(lung_region(lungs, name).array, ipha.lung_regions(lungs)[name].array)


def test_a_part_that_is_not_shown_is_refused(results: Any) -> None:
    with pytest.raises(KeyError, match="no part right_upper; there are lung"):
        lung_region(results[FIRST].mask("ct"), "right_upper")


@pytest.mark.parametrize("modality", ["ct", "T1w"])
@pytest.mark.parametrize("region", ["lung", "lower"])
def test_the_share_of_voxels_shown_is_the_number_of_the_table(results: Any, modality: str, region: str) -> None:
    parts = Parts(results[FIRST])
    inside = parts.region(modality, region)
    for measure in cuts_of(modality):
        voxels = voxels_of(parts, modality, measure, region)
        assert voxels.cut and voxels.mask is not None
        assert not (voxels.mask.array & ~inside.array).any()
        among = inside.array & ~parts.vessels.array if "vessels" in voxels.words else inside.array
        if measure.startswith(("opacity", "ground_glass_extent", "consolidation_extent")):
            among = inside.array & np.isfinite(parts.opacity.array)
        share = 100 * np.count_nonzero(voxels.mask.array) / np.count_nonzero(among)
        assert share == pytest.approx(parts.value(modality, measure, region), abs=0.5), measure


def test_what_other_numbers_are_made_of(results: Any) -> None:
    parts = Parts(results[FIRST])
    lower = voxels_of(parts, "ct", "attenuation_mean", "lower")
    assert lower.mask is not None and np.array_equal(lower.mask.array, parts.region("ct", "lower").array)
    assert voxels_of(parts, "ct", "opacity_central_excess", "lung").words.startswith("Outlined: lung, central")
    assert voxels_of(parts, "T1w", "noise_sigma", "lung").mask is None
    muscle = voxels_of(parts, "T1w", "reference_level", "lung").mask
    assert muscle is not None and np.array_equal(muscle.array, parts.mask("T1w", "muscle").array)
    scored = voxels_of(parts, "ct", "ground_glass_fraction_vs_controls", "lung")
    plain = voxels_of(parts, "ct", "ground_glass_fraction", "lung")
    assert scored.mask is not None and plain.mask is not None and np.array_equal(scored.mask.array, plain.mask.array)


def test_a_number_is_found_by_part_of_its_name_or_refused_with_what_there_is(results: Any) -> None:
    explorer = ipha.explore(results, measure="lung_density")
    assert (explorer.modality, explorer.measure, explorer.region) == ("ct", "lung_density", "lung")
    assert ipha.explore(results).measure == "ground_glass_fraction"
    with pytest.raises(KeyError, match=r"measure is one of .*ground_glass_fraction"):
        ipha.explore(results, modality="ct", measure="iron")
    with pytest.raises(ValueError, match="no option colors"):
        ipha.explore(results, colors=1)


def test_table_of_the_selection_and_of_the_filters(explorer: Any) -> None:
    assert len(explorer.table()) == 4
    explorer.filters = {"group": ["iph"], "age": [20, None]}
    assert explorer.table()["label"].tolist() == [FIRST, SECOND]
    explorer.filters = {"without_flags": ["foreign_mask"]}
    assert explorer.table().empty
    explorer.selection = ["p1_2"]
    table = explorer.table()
    assert table["label"].tolist() == [SECOND] and table["hemoglobin_g_dl"].tolist() == [11.2]
    rows = explorer.results[SECOND].rows
    own = rows[(rows["measure"] == "ground_glass_fraction") & (rows["region"] == "lung")]
    assert table["value"].tolist() == own["value"].tolist()
    with pytest.raises(ValueError, match="selection: the results hold no session sub-x; there are sub-c1_ses-1, "):
        explorer.selection = ["x"]


def test_opening_a_session_shows_its_slices_and_tells_whoever_asked(explorer: Any) -> None:
    heard = []
    explorer.on_open(lambda session, viewer: heard.append((session.label, viewer)))
    explorer.session = FIRST
    assert heard == [(FIRST, explorer.viewer)]
    assert [layer["name"] for layer in explorer.viewer._layers] == [
        "CT",
        "lung",
        "ground glass fraction",
        "opacity map",
    ]
    assert "HU, vessels left out in the lung: " in explorer._said
    explorer.viewer.position_mm = (100.0, 90.0, 120.0)
    explorer.viewer.plane = "coronal"
    explorer.session = SECOND
    assert (explorer.viewer.position_mm, explorer.viewer.plane) == ((100.0, 90.0, 120.0), "coronal")
    explorer.session = "sub-c1_ses-1"
    assert explorer.viewer.position_mm != (100.0, 90.0, 120.0)
    explorer.session = ""
    assert explorer.viewer is None and len(heard) == 3


def test_two_sessions_side_by_side_and_all_images(explorer: Any) -> None:
    explorer.session = FIRST
    explorer.beside = SECOND
    assert [layer["name"] for layer in explorer.viewer._layers if layer["kind"] == "image"] == ["ses-1 CT", "ses-2 CT"]
    explorer.beside = ""
    explorer.images = "all"
    assert [layer["name"] for layer in explorer.viewer._layers if layer["kind"] == "image"] == ["CT", "T1w"]


def test_a_region_that_is_not_in_the_slice_is_gone_to(explorer: Any) -> None:
    explorer.region = "upper"
    explorer.session = FIRST
    high = explorer.viewer.position_mm[2]
    explorer.region = "lower"
    assert explorer.viewer.position_mm[2] < high
    assert "in lung, lower" in explorer._said


def test_what_stands_in_the_way_of_slices_is_said(results: Any, tmp_path: Path) -> None:
    moved = ipha.open_results(results.path, cohort=tmp_path / "gone")
    explorer = ipha.explore(moved, session=FIRST)
    assert explorer.viewer is None and "No slices: " in explorer._said and "which is not there" in explorer._said
    assert set(explorer._known.sessions["group"]) == {"not said"}


def test_tile_within_its_budget_with_parts_and_cuts(results: Any) -> None:
    tile = tile_of(Parts(results[FIRST]), budget_kb=4)
    assert tile is not None and len(tile["picture"]) <= 4000
    assert [(panel["modality"], panel["plane"]) for panel in tile["panels"]] == [
        ("T1w", "coronal"), ("ct", "coronal"), ("ct", "axial")
    ]  # fmt: skip
    parts, cuts = decoded(tile["codes"])
    ct = tile["panels"][1]
    columns = slice(ct["x"] // 2, (ct["x"] + ct["width"]) // 2)
    inside = parts[:, columns] & 1 > 0
    middle = inside.shape[1] // 2
    assert (parts[:, columns][:, middle:][inside[:, middle:]] & 2 > 0).all()  # the patient's left is on the right
    assert not (parts[:, columns][:, :middle][inside[:, :middle]] & 2).any()
    assert (parts[:20, columns][inside[:20]] & 12 == 4).all()  # and the upper third on top
    t1w = tile["panels"][0]
    shown = slice(0, t1w["width"] // 2)
    bright = (cuts[:, shown] >> t1w["cuts"].index("hyperintense_fraction")) & 1 > 0
    lung = parts[:, shown] & 1 > 0
    value = Parts(results[FIRST]).value("T1w", "hyperintense_fraction")
    assert 100 * (bright & lung).sum() / lung.sum() == pytest.approx(value, abs=5) and value > 50


def decoded(address: str) -> tuple[Any, Any]:
    """Red and green of a picture."""
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    picture = np.array(Image.open(BytesIO(b64decode(address.partition(",")[2]))))
    return picture[..., 0].astype(int), picture[..., 1].astype(int)


def test_still_picture_says_the_number_by_group(explorer: Any) -> None:
    picture, words = explorer.still()
    assert picture.size[0] > 300
    assert words.startswith("ct ground glass fraction (%) by group, 4 sessions. Gray: range of the controls, ")
    assert "iph: median" in words
    bundle, metadata = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == f"CohortExplorer: {words}" and metadata["image/png"]["alt"] == words


def test_plot_library_lives_under_the_policy() -> None:
    from ipha_toolkit.explorer.widget import HERE

    text = (HERE / "js" / "plot.js").read_text("utf-8")
    assert len(text) < 500_000
    assert not any(word in text for word in ("new Function", "eval(", "importScripts", "XMLHttpRequest", "fetch("))
    assert "ISC" not in text and "Copyright" in (HERE / "js" / "plot.LICENSE").read_text("utf-8")


def test_images_of_a_session_under_the_hand_are_read_ahead(explorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer.modality, explorer.measure = "ct", "ground_glass_fraction"
    for label in ("sub-nobody", FIRST):
        explorer._heard(explorer, {"type": "soon", "session": label}, [])
    explorer._reader.shutdown(wait=True)
    parts = explorer._held.parts(explorer.results[FIRST])
    assert {("image", "ct"), ("mask", "ct", "lung")} <= set(parts._read)
    monkeypatch.setattr(type(explorer.results[FIRST]), "image", None)  # nothing is left to be read
    explorer.session = FIRST
    assert explorer.viewer is not None
