import numpy as np
import pytest
from scipy import ndimage
from toys import AFFINE, toy_ct, toy_masks

from ipha_toolkit.errors import GridError, ImageError
from ipha_toolkit.measure.texture import local_variation, measure_texture, opacity_map, reticulation
from ipha_toolkit.volume import Mask, Volume

NOTHING = Mask(np.zeros(toy_ct().shape, bool), AFFINE)
RNG = np.random.default_rng(3)


def values(rows, region="lung"):
    return rows[rows["region"] == region].set_index("measure")["value"]


def measured(array=None, lung=-850.0, **options):
    ct, (lungs, _) = toy_ct(lung=lung), toy_masks()
    ct = ct if array is None else ct.replace(array=array)
    return measure_texture(ct, lungs, vessels=NOTHING, **options)


def patient_space():
    lungs, _ = toy_masks()
    return toy_ct().array.copy(), lungs.array, lungs.to_world(np.moveaxis(np.indices(lungs.shape), 0, -1))


def test_a_uniform_lung_is_as_opaque_as_it_is_and_nothing_outside_comes_in():
    density = opacity_map(np.where(toy_masks()[0].array, -800.0, 40.0), toy_masks()[0].array, (1, 1, 1))
    assert np.nanmin(density) == pytest.approx(-800, abs=0.1) and np.nanmax(density) == pytest.approx(-800, abs=0.1)
    np.testing.assert_array_equal(np.isnan(density), ~toy_masks()[0].array)


def test_narrow_vessels_do_not_make_lung_opaque_but_ground_glass_does():
    image = np.full((60, 60, 40), -850.0)
    image[::10, 30, :] = image[::10, 12, :] = 40
    inside = np.ones(image.shape, bool)
    assert opacity_map(image, inside, (1, 1, 1)).max() < -845
    image[20:40, 20:40, 10:30] = -600
    assert opacity_map(image, inside, (1, 1, 1))[30, 30, 20] == pytest.approx(-600, abs=15)


def test_voxels_left_out_count_for_nothing():
    image = np.full((30, 30, 30), -850.0)
    image[10:20] = 40
    left_out = image > 0
    density = opacity_map(image, np.ones(image.shape, bool), (1, 1, 1), left_out=left_out)
    assert np.nanmax(density[left_out == 0]) < -845


def test_opacity_follows_voxel_sizes_in_mm_and_works_in_a_slice():
    fine = np.full((80, 80), -850.0)
    fine[30:50, 30:50] = -500
    coarse = fine.reshape(40, 2, 40, 2).mean(axis=(1, 3))
    maps = [opacity_map(image, np.ones(image.shape, bool), [s, s]) for image, s in ((fine, 1.0), (coarse, 2.0))]
    assert np.abs(maps[0].reshape(40, 2, 40, 2).mean(axis=(1, 3)) - maps[1]).max() < 40
    one = opacity_map(fine[:, :, None], np.ones((80, 80, 1), bool), (1, 1, 5))[:, :, 0]
    np.testing.assert_allclose(one, maps[0], atol=0.1)


def test_more_filling_is_more_opaque_and_moves_from_ground_glass_to_consolidation():
    found = [values(measured(lung=hu).rows) for hu in (-850, -600, -200)]
    assert found[0]["opacity_mean"] < found[1]["opacity_mean"] < found[2]["opacity_mean"]
    assert [f["ground_glass_extent"] for f in found] == [0, 100, 0]
    assert [f["consolidation_extent"] for f in found] == [0, 0, 100]


def test_the_gradient_of_a_healthy_supine_lung_is_no_opacity():
    array, inside, world = patient_space()
    array[inside] -= 6.0 * (world[..., 1] - world[..., 1][inside].mean())[inside] / 10
    rows = measured(array).rows
    assert values(rows)["opacity_fraction"] == 0
    assert abs(values(rows)["opacity_dorsal_excess"]) < 15
    array[inside & (world[..., 1] < world[..., 1][inside].mean())] = -500
    assert values(measured(array).rows)["opacity_dorsal_excess"] > 200


def test_where_opacity_lies_is_told():
    array, inside, world = patient_space()
    z = world[..., 2]
    low = inside & (z < np.quantile(z[inside], 0.33))
    array[low] = -400
    found = values(measured(array).rows)
    assert found["opacity_lower_excess"] > 250 and abs(found["opacity_right_excess"]) < 10
    assert found["opacity_apical_sparing"] > 100 > -100 > found["opacity_costophrenic_sparing"]
    lungs = toy_masks()[0]
    right = inside & (np.arange(lungs.shape[0])[:, None, None] > lungs.shape[0] // 2)
    array = np.where(right, -400, toy_ct().array)
    assert values(measured(array).rows)["opacity_right_excess"] > 300


def test_patches_are_patchy_and_an_even_filling_is_not():
    array, inside, _ = patient_space()
    noise = ndimage.gaussian_filter(RNG.normal(size=array.shape), 1.5)
    patches = np.where(inside, np.where(noise > 0, -450.0, -850.0), array)
    even = np.where(inside, -650.0, array)
    patchy, homogeneous = (values(measured(image).rows)["patchiness"] for image in (patches, even))
    assert patchy > 3 * homogeneous + 0.1
    clear = measured().rows.set_index("measure")
    assert np.isnan(clear.loc["patchiness", "value"]) and "no_opacity" in clear.loc["patchiness", "flag"]


def test_what_varies_over_small_sizes_is_between_septa_and_over_large_ones_haze():
    array, inside, _ = patient_space()
    places = np.indices(array.shape) * 8.0
    for half_wave_mm, patches, faint in ((40.0, "", "faint_haze"), (10.0, "septa_as_patches", "")):
        waves = np.prod(np.sin(places * np.pi / half_wave_mm + 0.7), axis=0)
        rows = measured(np.where(inside, -780 + 220 * waves, array)).rows
        rows = rows[rows["region"] == "lung"].set_index("measure")
        assert rows.loc["patchiness", "flag"] == patches
        assert rows.loc["ground_glass_extent", "value"] > 2 or not faint
        assert rows.loc["ground_glass_extent", "flag"] == faint
    assert measured().rows.set_index("measure").loc["ground_glass_extent", "flag"].eq("").all()


def test_variation_is_that_of_its_scale():
    inside = np.ones((60, 60, 60), bool)
    waves = {mm: 100 * np.sin(np.arange(60) * np.pi / mm)[:, None, None] * inside for mm in (14, 60)}
    assert local_variation(waves[14], inside, (1, 1, 1), 8) > 4 * local_variation(waves[60], inside, (1, 1, 1), 8)
    assert local_variation(np.full(inside.shape, 5.0), inside, (1, 1, 1), 8) == pytest.approx(0, abs=1e-3)
    assert np.isnan(local_variation(waves[14], ~inside, (1, 1, 1), 8))


def found_net(image, inside=None):
    lung = np.ones(image.shape, bool) if inside is None else inside
    return reticulation(image, lung, (1, 1, 1), rng=np.random.default_rng(0))


def with_net(image, apart, level):
    net = image.copy()
    for axis in range(3):
        np.moveaxis(net, axis, 0)[::apart] = level
    return net


def test_a_net_is_reticulation_tubes_and_noise_are_not():
    noise = RNG.normal(-850, 15, (48, 48, 48))
    tubes = noise.copy()
    tubes[::12, ::12] += 600
    net = found_net(with_net(noise, 12, -550))
    assert found_net(noise).strength < 0.1 and found_net(tubes).strength < 0
    assert net.strength > 3 and net.evenness > 0.9
    assert np.isnan(found_net(noise, np.zeros(noise.shape, bool)).strength)


def test_neither_a_fissure_nor_vessels_in_slices_thicker_than_they_are_apart_are_a_net():
    image = RNG.normal(-850, 15, (48, 48, 48))
    fissure, vessels = image.copy(), image.copy()
    fissure[20:22] += 300
    for at in range(4, 48, 12):  # two ways in the slice, never across it
        vessels[at, :, at] = vessels[:, at, at] = 600
    vessels = ndimage.uniform_filter1d(vessels, 7, axis=2)
    for ribbons in (fissure, vessels):
        assert found_net(ribbons).strength < 0.3 and found_net(ribbons).evenness < 0.3


def test_septa_right_under_the_pleura_count_though_they_look_like_vessels():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    ct, lungs = toy_ct().replace(affine=affine), toy_masks()[0].replace(affine=affine)
    array = np.where(lungs.array, with_net(ct.array, 5, -300), ct.array)
    taken = lungs.replace(array=lungs.array & (array > -600))
    clear, net = (
        measure_texture(ct.replace(array=image), lungs, vessels=vessels).rows
        for image, vessels in ((ct.array, lungs.replace(array=np.zeros(lungs.shape, bool))), (array, taken))
    )
    assert abs(values(clear)["reticulation"]) < 0.3 and values(net)["reticulation"] > 3


def test_a_slice_has_no_reticulation_and_no_zones_it_cannot_show():
    ct, (lungs, _) = toy_ct(), toy_masks()
    ct, lungs = ct.replace(array=ct.array[:, :, 15:16]), lungs.replace(array=lungs.array[:, :, 15:16])
    rows = measure_texture(ct, lungs, vessels=lungs.replace(array=~lungs.array), flags=["single_slice"]).rows
    assert set(rows["flag"]) <= {"single_slice", "single_slice;no_opacity", "single_slice;no_opacity;septa_as_patches"}
    assert not {"reticulation", "opacity_lower_excess", "opacity_apical_sparing"} & set(rows["measure"])
    assert "upper" not in set(rows["region"]) and "opacity_dorsal_excess" in set(rows["measure"])


def test_refusals():
    ct, (lungs, _) = toy_ct(), toy_masks()
    with pytest.raises(ImageError, match="cannot be Hounsfield units"):
        measure_texture(ct.replace(array=ct.array + 2000), lungs, vessels=NOTHING)
    with pytest.raises(GridError, match="different grid"):
        measure_texture(ct, lungs.replace(affine=np.eye(4)), vessels=NOTHING)
    with pytest.raises(ValueError, match="as many spacings"):
        opacity_map(ct.array, lungs.array, (1, 1))
    with pytest.raises(ValueError, match="holds voxels"):
        opacity_map(ct.array, np.zeros(ct.shape, bool), (1, 1, 1))


@pytest.mark.parametrize(("sd_mm", "blurred"), [(0.0, False), (1.0, False), (5.0, True)])
@pytest.mark.parametrize("level", [-850.0, -600.0])
def test_a_blurred_border_of_the_lungs_is_told(level, sd_mm, blurred):
    inside = np.zeros((50, 44, 40), bool)
    inside[5:22, 6:38, 6:34] = inside[28:45, 6:38, 6:34] = True
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    hu = np.where(inside, level, 40.0) + RNG.normal(0, 20, inside.shape)
    ct = Volume(ndimage.gaussian_filter(hu, sd_mm / 2), affine, modality="ct")
    rows = measure_texture(ct, Mask(inside, affine), vessels=Mask(np.zeros(inside.shape, bool), affine)).rows
    told = rows.loc[rows["measure"] == "ground_glass_extent", "flag"].str.contains("blurred_border")
    assert told.all() if blurred else not told.any()
