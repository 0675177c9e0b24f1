import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.measure.nodule_null import detectable_places
from ipha_toolkit.measure.nodules import (
    NODULE_COLUMNS,
    _diameter,
    detect_nodules,
    measure_nodules,
    nodule_candidates,
    pleural_avoidance,
    random_pattern_test,
    too_coarse_for_nodules,
)
from ipha_toolkit.protocol import DEFAULT, Protocol
from ipha_toolkit.volume import Mask, Volume

SURE = DEFAULT.nodules.nodule_score
OBLIQUE = np.array([[0.96, -0.28, 0, 0], [0.28, 0.96, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def distance_to_segment(places, first, last):
    along = np.subtract(last, first)
    t = np.clip((places - first) @ along / max(along @ along, 1e-9), 0, 1)
    return np.linalg.norm(places - (first + t[..., None] * along), axis=-1)


def chest(*shapes, step=(1.0, 1.0, 1.0), size_mm=(46, 46, 46), noise=3.0, seed=0):
    """Signal 20, capsules (first, last, radius; mm from the corner) of 200, wall of 300, a lung 6 mm off the border."""
    step = np.array(step)
    shape = np.round(np.array(size_mm) / step).astype(int)
    fine = 3
    index = np.stack(np.meshgrid(*[(np.arange(n * fine) + 0.5) / fine - 0.5 for n in shape], indexing="ij"), axis=-1)
    places = index * step
    signal = np.full(places.shape[:3], 20.0)
    for first, last, radius in shapes:
        signal[distance_to_segment(places, np.array(first, float), np.array(last, float)) < radius] = 200
    signal = signal.reshape(shape[0], fine, shape[1], fine, shape[2], fine).mean(axis=(1, 3, 5))
    inside = np.zeros(shape, bool)
    inside[tuple(slice(int(np.ceil(6 / s)), n - int(np.ceil(6 / s))) for s, n in zip(step, shape, strict=True))] = True
    signal[~inside] = 300
    signal = ndimage.gaussian_filter(signal, 0.4) + np.random.default_rng(seed).normal(0, noise, shape)
    affine = np.diag([*step, 1.0])
    return Volume(signal, affine, modality="T1w", name="chest"), Mask(inside, affine, name="lungs")


def ball(center, diameter):
    return center, center, diameter / 2


def tube(first, last, diameter):
    return first, last, diameter / 2


def surely(found):
    return found[found["score"] >= SURE]


def places(found):
    return found[["x_mm", "y_mm", "z_mm"]].to_numpy()


def test_a_ball_is_found_where_it_is_and_as_large_as_it_is():
    for diameter in (3.0, 4.0, 6.0, 8.0):
        found = surely(detect_nodules(*chest(ball((20, 24, 22), diameter))))
        assert tuple(found.columns) == NODULE_COLUMNS and len(found) == 1
        np.testing.assert_allclose(places(found)[0], [20, 24, 22], atol=0.4)
        assert found["diameter_mm"].iloc[0] == pytest.approx(diameter, abs=0.8)
        assert 40 < found["contrast"].iloc[0] < 190


@pytest.mark.parametrize(
    "vessels",
    [
        [tube((0, 20, 22), (46, 26, 24), 3)],
        [tube((0, 20, 22), (23, 23, 23), 4), tube((23, 23, 23), (46, 32, 20), 2.5), tube((23, 23, 23), (40, 8, 40), 3)],
        [tube((0, 20, 22), (26, 25, 24), 3)],
    ],
    ids=["passing through", "branching", "ending"],
)
def test_vessels_are_no_nodules(vessels):
    assert len(surely(detect_nodules(*chest(*vessels)))) == 0


def test_a_nodule_beside_a_vessel_outscores_the_vessel():
    found = detect_nodules(*chest(tube((0, 20, 22), (46, 20, 22), 3), ball((23, 26, 22), 4)))
    np.testing.assert_allclose(places(found)[0], [23, 26, 22], atol=0.6)
    assert found["score"].iloc[0] > 2 * found["score"].iloc[1:].max()


def test_less_noise_scores_higher_and_best_comes_first():
    scores = []
    for noise in (3.0, 60.0):
        found = detect_nodules(*chest(ball((16, 16, 16), 4), ball((30, 30, 30), 2.5), noise=noise))
        assert found["score"].is_monotonic_decreasing
        scores.append(found["score"].iloc[0])
    assert scores[0] > 1.5 * scores[1]


def test_voxels_of_any_shape_and_order_give_the_same_millimetres():
    nodules = [ball((16, 18, 20), 5), ball((30, 26, 30), 6)]
    volume, lungs = chest(*nodules, step=(1.0, 0.8, 2.0))
    found = surely(detect_nodules(volume, lungs))
    assert len(found) == 2
    for center, _, radius in nodules:
        nearest = np.linalg.norm(places(found) - center, axis=1).argmin()
        np.testing.assert_allclose(places(found)[nearest], center, atol=0.7)
        assert found["diameter_mm"].iloc[nearest] == pytest.approx(2 * radius, abs=1.2)
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, volume.shape[0] - 1
    swap = np.eye(4)[[2, 0, 1, 3]]
    for image, mask in [
        (volume.replace(affine=OBLIQUE @ volume.affine), lungs.replace(affine=OBLIQUE @ lungs.affine)),
        tuple(
            image.replace(array=image.array[::-1].transpose(2, 0, 1), affine=OBLIQUE @ image.affine @ flip @ swap.T)
            for image in (volume, lungs)
        ),
    ]:
        again = surely(detect_nodules(image, mask))
        np.testing.assert_allclose(places(again), places(found) @ OBLIQUE[:3, :3].T, atol=0.05)
        np.testing.assert_allclose(again["score"], found["score"], rtol=0.05)


def test_gain_and_offset_change_neither_scores_nor_places():
    volume, lungs = chest(ball((20, 24, 22), 3), tube((0, 20, 32), (46, 20, 32), 3))
    found = detect_nodules(volume, lungs)
    again = detect_nodules(volume.replace(array=volume.array * 7 + 50), lungs)
    np.testing.assert_allclose(places(again), places(found), atol=1e-3)
    np.testing.assert_allclose(again["score"], found["score"], rtol=1e-3)
    np.testing.assert_allclose(again["contrast"], 7 * found["contrast"], rtol=1e-3)


def test_nothing_is_found_outside_the_lungs_or_in_their_wall():
    volume, lungs = chest(ball((23, 23, 3), 4), ball((23, 23, 23), 4))
    found = detect_nodules(volume, lungs)
    index = np.round(volume.to_index(places(found))).astype(int)
    assert lungs.array[tuple(index.T)].all()
    assert len(surely(found)) == 1


def test_missing_voxels_are_passed_over_and_the_input_is_unchanged():
    volume, lungs = chest(ball((20, 24, 22), 4))
    holed = volume.array.copy()
    holed[30:33, 30:33, 30:33] = np.nan
    before = holed.copy()
    found = surely(detect_nodules(volume.replace(array=holed), lungs))
    assert len(found) == 1
    np.testing.assert_array_equal(holed, before)


def test_a_nodule_small_for_the_voxels_is_said_to_be_so():
    shapes = [ball((16, 16, 16), 2.2), ball((30, 30, 30), 7)]
    found = surely(detect_nodules(*chest(*shapes, step=(1.8, 1.8, 1.8)))).set_index("flag")["diameter_mm"]
    assert found[""] > 2.7
    small = found.drop("")
    assert set(small.index) <= {"below_voxel_size", "size_unknown"} and not (small >= 2.7).any()


def test_noise_alone_gives_no_sure_nodule():
    assert len(surely(detect_nodules(*chest(noise=20.0)))) == 0


def test_no_candidate_is_an_empty_table():
    found = nodule_candidates(np.zeros((9, 9, 9)), np.ones((9, 9, 9), bool), (1, 1, 1))
    assert len(found) == 0 and "diameter_mm" in found


def test_images_that_cannot_show_nodules_are_refused():
    volume, lungs = chest(size_mm=(30, 30, 30))
    with pytest.raises(ImageError, match=r"sought in T1w and ct.*got T2w"):
        detect_nodules(volume.replace(modality="T2w"), lungs)
    with pytest.raises(ImageError, match="at least 3 slices"):
        detect_nodules(volume.replace(array=volume.array[:, :, :1]), lungs.replace(array=lungs.array[:, :, :1]))
    with pytest.raises(ImageError, match="no lung to search"):
        detect_nodules(volume, lungs.replace(array=np.zeros(lungs.shape, bool)))
    with pytest.raises(GridError, match="different grid"):
        detect_nodules(volume, lungs.replace(affine=2 * np.eye(4) - np.diag([0, 0, 0, 1.0])))
    with pytest.raises(ValueError, match="mask of its shape"):
        nodule_candidates(np.zeros((3, 3, 3)), np.ones((3, 3, 4), bool), (1, 1, 1))
    with pytest.raises(ValueError, match="no number inside"):
        nodule_candidates(np.full((3, 3, 3), np.nan), np.ones((3, 3, 3), bool), (1, 1, 1))


LUNGS = Mask(
    np.pad(np.ones((45, 45, 45), bool), 2), np.array([[2.0, 0, 0, 1.5], [0, 2, 0, 1.5], [0, 0, 2, 1.5], [0, 0, 0, 1]])
)
GRID = np.stack(np.meshgrid(*[np.arange(18.0, 88, 12)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

PERFECT = Protocol.from_toml("[nodules]\navoidance_mm = 2.0\n")
"""Places that no detector blurs tell at 2 mm as well."""


def table_of(points, diameter=2.5):
    columns = dict(zip(("x_mm", "y_mm", "z_mm"), np.asarray(points, float).T, strict=True))
    return pd.DataFrame(columns | {"diameter_mm": diameter})


def thrown(n, seed=5):
    return np.random.default_rng(seed).uniform(4.5, 94.5, (n, 3))


def values(rows, region="lung"):
    return rows[rows["region"] == region].set_index("measure")["value"]


def test_density_and_sizes_by_hand():
    nodules = pd.concat([table_of(GRID[:108], 2.5), table_of(GRID[108:], 4.0)])
    rows = measure_nodules(nodules, LUNGS, modality="ct")
    assert values(rows)["nodule_count"] == len(GRID) == 216
    assert values(rows)["nodules_per_litre"] == pytest.approx(216 / 0.729)
    assert values(rows)["micronodule_share"] == pytest.approx(50)
    assert values(rows)["nodule_spacing"] == pytest.approx(12)
    upper, lower = (values(rows, part)["nodule_count"] for part in ("upper", "lower"))
    assert upper + lower + values(rows, "middle")["nodule_count"] == 216


def test_points_on_a_lattice_off_the_pleura_are_centrilobular_and_random_ones_are_not():
    null = thrown(400, 99)
    lattice = values(measure_nodules(table_of(GRID + 0.5), LUNGS, modality="ct", null=null, protocol=PERFECT))
    assert lattice["nodule_pleural_avoidance"] > 3 and lattice["nodule_spacing_z"] > 3
    assert lattice["nodule_spacing_ratio"] > 1.2 and lattice["nodule_subpleural_share"] == 0
    random = [
        values(measure_nodules(table_of(thrown(200, seed)), LUNGS, modality="ct", null=null, protocol=PERFECT))
        for seed in range(5)
    ]
    for measure in ("nodule_pleural_avoidance", "nodule_spacing_z"):
        assert max(abs(found[measure]) for found in random) < 3
        assert abs(np.mean([found[measure] for found in random])) < 1.5


def test_clustered_points_are_nearer_than_random_ones():
    centers = np.repeat(thrown(20), 10, axis=0)
    clusters = centers + np.random.default_rng(1).normal(0, 2, centers.shape)
    assert values(measure_nodules(table_of(clusters.clip(12, 87)), LUNGS, modality="ct"))["nodule_spacing_ratio"] < 0.7


def test_few_nodules_have_no_pattern_and_say_so():
    rows = measure_nodules(table_of(GRID[:4]), LUNGS, modality="T1w", flags=["child"])
    lung = rows[rows["region"] == "lung"].set_index("measure")
    assert lung.loc["nodule_count", "value"] == 4 and lung.loc["nodule_count", "flag"] == "child"
    assert np.isnan(lung.loc["nodule_spacing", "value"]) and lung.loc["nodule_spacing", "flag"] == "child;few_nodules"


def test_coarse_voxels_give_no_share_of_micronodules():
    coarse = LUNGS.replace(affine=np.diag([2.0, 2.0, 3.0, 1]))
    rows = measure_nodules(table_of(GRID), coarse, modality="ct")
    assert np.isnan(values(rows)["micronodule_share"])
    assert rows["flag"].str.contains("coarse_for_micronodules").all()


def test_voxels_too_large_for_nodules_give_the_reason_and_no_count():
    coarse = LUNGS.replace(affine=np.diag([3.9, 3.9, 3.9, 1]))
    rows = measure_nodules(table_of(GRID), coarse, modality="T1w")
    assert rows["value"].isna().all() and set(rows["measure"]) == {"nodule_count", "nodules_per_litre"}
    assert rows["flag"].str.contains("too_coarse_for_nodules").all()


def test_thick_slices_of_fine_voxels_are_counted():
    thick = LUNGS.replace(affine=np.diag([0.7, 0.7, 5.0, 1]))
    assert not too_coarse_for_nodules(thick)


def test_only_sure_candidates_count():
    nodules = table_of(GRID).assign(score=np.where(np.arange(216) < 30, SURE, SURE - 0.1))
    assert values(measure_nodules(nodules, LUNGS, modality="ct"))["nodule_count"] == 30


def test_random_pattern_test_by_hand():
    domain = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = [[0.0, 0, 0], [3, 3, 3]]
    found = random_pattern_test(
        points, domain, np.full(66, 9.0), subpleural_mm=5, patterns=50, rng=np.random.default_rng(0)
    )
    assert found["spacing"] == pytest.approx(np.sqrt(27)) and found["spacing_z"] > 1
    assert found["subpleural_share"] == 0 and np.isnan(found["pleural_avoidance"])


def test_pleural_avoidance_is_withheld_without_a_null_that_knows_the_detector():
    rows = measure_nodules(table_of(thrown(200)), LUNGS, modality="ct").set_index("measure")
    found = rows.loc["nodule_pleural_avoidance"]
    assert np.isnan(found["value"]) and found["flag"] == "no_detector_null"
    assert np.isfinite(rows.loc["nodule_spacing_z", "value"])


@pytest.mark.parametrize(("side_mm", "flag"), [(1.5, ""), (2.0, "coarse_for_avoidance")])
def test_pleural_avoidance_is_withheld_on_voxels_that_cannot_tell_random_from_centrilobular(side_mm, flag):
    lungs = Mask(LUNGS.array, np.diag([side_mm, side_mm, side_mm, 1.0]))
    nodules, null = (table_of((thrown(n, n) - 1.5) / 2 * side_mm) for n in (200, 300))
    rows = measure_nodules(nodules, lungs, modality="ct", null=null[["x_mm", "y_mm", "z_mm"]], regions={"lung": lungs})
    found = rows.set_index("measure").loc["nodule_pleural_avoidance"]
    assert (found["flag"], np.isfinite(found["value"])) == (flag, not flag)


def test_random_nodules_found_again_tell_what_the_detector_misses():
    balls = [ball(center, 4) for center in np.random.default_rng(2).uniform(9, 51, (25, 3))]
    volume, lungs = chest(*balls, size_mm=(60, 60, 60))
    before = volume.array.copy()
    found = detect_nodules(volume, lungs)
    null = detectable_places(volume, lungs, found, implants=40)
    assert 10 < len(null) <= 40 and np.array_equal(volume.array, before)
    index = np.round(lungs.to_index(null)).astype(int)
    assert lungs.array[tuple(index.T)].all()
    assert len(detectable_places(volume, lungs, found.iloc[:0])) == 0


def test_what_no_ball_explains_has_no_diameter():
    fine = np.array([10.0, 10.0, 10.0])
    sizes = _diameter(fine, np.array([0.1, 5.0, 10.0]), [0.8, 1.6], 1.0)
    assert np.isnan(sizes[[0, 2]]).all() and 2 < sizes[1] < 8


def test_vessels_taken_for_nodules_do_not_avoid_the_pleura_more_than_vessels_do():
    deep = thrown(150, 1) * 0.6 + 20
    null, vessels = thrown(200, 2), thrown(200, 3) * 0.6 + 20
    assert pleural_avoidance(deep, null, LUNGS) > 2
    assert not pleural_avoidance(deep, null, LUNGS, vessels=vessels) >= 2
    assert np.isnan(pleural_avoidance(deep, None, LUNGS))
