"""The simulated patient as users meet it."""

import os
import subprocess
import sys

import numpy as np
import pytest

import ipha_toolkit as ipha
from ipha_toolkit.phantom.disease import Bleed, Disease


def lung_values(subject, name):
    return subject.volumes[name].array[subject.truth[name].masks["lung"].array]


def ratio(subject, name):
    muscle = subject.volumes[name].array[subject.truth[name].masks["muscle"].array]
    return np.median(lung_values(subject, name)) / np.median(muscle)


def test_every_image_has_its_truth_on_its_own_grid():
    subject = ipha.simulate_subject("chronic", seed=1, spacing_mm={"ct": 5, "T1w": (5, 5, 8)}, modalities=("T1w", "ct"))
    for name, truth in subject.truth.items():
        image = subject.volumes[name]
        assert truth.phase == "chronic"
        assert all(part.same_grid(image) for part in [*truth.masks.values(), *truth.maps.values()])
        assert {"lung", "left", "right", "muscle", "nodule", "ground_glass", "consolidation"} <= set(truth.masks)
        assert {"blood", "iron", "r2star", "tissue_water"} <= set(truth.maps)
        assert list(truth.nodules) == ["x_mm", "y_mm", "z_mm", "diameter_mm"]
        outside = ~truth.masks["lung"].array
        assert all(np.isnan(part.array[outside]).all() for part in truth.maps.values())
    assert np.allclose(subject.volumes["T1w"].spacing_mm, (5, 5, 8))


def test_healthy_ct_lung_is_near_850_hu_with_a_dependent_gradient(by_phase):
    values = lung_values(by_phase["none"], "ct")
    assert -880 < values.mean() < -820
    truth, ct = by_phase["none"].truth["ct"], by_phase["none"].volumes["ct"]
    y = truth.masks["lung"].to_world(np.argwhere(truth.masks["lung"].array))[:, 1]
    back, front = (np.median(values[part]) for part in (y < np.quantile(y, 0.2), y > np.quantile(y, 0.8)))
    assert 15 < back - front < 120
    assert ct.unit == "HU"


def test_high_attenuation_area_of_healthy_adults_is_that_of_never_smokers():
    shares = []
    for seed in range(3):
        healthy = ipha.simulate_subject("none", seed=seed, spacing_mm=3.5, modalities=["ct"])
        values = lung_values(healthy, "ct")
        shares.append(100 * np.mean((values > -600) & (values < -250)))
    assert 2.7 < np.median(shares) < 9 and max(shares) < 17.8  # PMC8176866: median 4.3 %, 2.7 to 17.8


def test_signals_go_where_the_case_series_says(by_phase):
    t1w, t2w = ({phase: ratio(subject, name) for phase, subject in by_phase.items()} for name in ("T1w", "T2w"))
    assert t1w["none"] < min(t1w[phase] for phase in ("acute", "subacute", "chronic", "edema"))
    assert t2w["acute"] > t2w["none"] and t2w["edema"] > t2w["none"]
    per_gain = {phase: (t2w[phase] - t2w["none"]) / (t1w[phase] - t1w["none"]) for phase in t1w if phase != "none"}
    assert per_gain["chronic"] < 0.35 * per_gain["edema"]
    assert t1w["chronic"] > 1.25 * t1w["none"]


def test_severity_raises_what_it_should():
    hu = [
        lung_values(ipha.simulate_subject("acute", seed=2, spacing_mm=6, severity=s, modalities=["ct"]), "ct").mean()
        for s in (0.1, 0.5, 0.9)
    ]
    assert hu == sorted(hu) and hu[2] - hu[0] > 60


def test_course_keeps_the_anatomy_and_gathers_iron():
    bleeds = [Bleed(day, 0.8) for day in (0, 200, 400, 600, 800)]
    course = ipha.simulate_course(bleeds, (-5, 1, 210, 1000), seed=3, spacing_mm=6, modalities=["T1w"])
    assert [subject.phase for subject in course] == ["none", "acute", "subacute", "chronic"]
    iron = [np.nanmean(subject.truth["T1w"].maps["iron"].array) for subject in course]
    assert iron[0] == 0 and iron == sorted(iron)
    first, second = (subject.truth["T1w"].masks["lung"].array for subject in course[:2])
    assert np.array_equal(first, second)
    assert not np.array_equal(course[0].volumes["T1w"].array, course[1].volumes["T1w"].array)


def test_a_patient_shifted_on_the_table_carries_the_truth_along():
    here, there = (
        ipha.simulate_subject("chronic", seed=1, spacing_mm=8, modalities=["ct"], shift_mm=shift)
        for shift in ((0.0, 0.0, 0.0), (12.0, -7.0, 30.0))
    )
    assert np.array_equal(here.volumes["ct"].array, there.volumes["ct"].array)
    moved = there.truth["ct"].nodules - here.truth["ct"].nodules
    assert np.allclose(moved[["x_mm", "y_mm", "z_mm"]], (12, -7, 30)) and np.allclose(moved.diameter_mm, 0)
    assert there.truth["ct"].masks["lung"].same_grid(there.volumes["ct"])


def test_a_deeper_breath_fills_the_lungs_and_thins_what_is_in_them():
    usual, deep = (
        ipha.simulate_subject("subacute", seed=1, spacing_mm=5, modalities=["ct"], ct_noise_hu=0, breath=breath)
        for breath in (0.0, 0.1)
    )
    litres, mass = [], []
    for subject in (usual, deep):
        lung = subject.truth["ct"].masks["lung"]
        litres.append(lung.volume_ml)
        mass.append(lung.volume_ml * (1 + lung_values(subject, "ct").mean() / 1000))
    assert np.allclose(deep.volumes["ct"].spacing_mm, 5)
    assert litres[1] == pytest.approx(1.1 * litres[0], rel=0.01)
    assert mass[1] == pytest.approx(mass[0], rel=0.05)  # vessels and airway walls grow with the chest
    places = [subject.truth["ct"].nodules[["x_mm", "y_mm", "z_mm"]].to_numpy() for subject in (usual, deep)]
    assert np.allclose(places[1], places[0] * (1, 1, 1.1))
    with pytest.raises(ValueError, match=r"breath is a share of lung volume from -0\.3 to 0\.3, got 0\.5"):
        ipha.simulate_subject("none", seed=1, breath=0.5)


def test_multi_echo_series_has_times_in_its_headers_and_loses_signal():
    subject = ipha.simulate_subject("none", seed=1, spacing_mm=8, modalities=["MEGRE"], field_strength_t=3.0)
    times = [echo.meta["EchoTime"] for echo in subject.echoes]
    assert times == sorted(times) and times[0] <= 0.0002 and len(times) == 8
    assert all(echo.meta["MagneticFieldStrength"] == 3.0 for echo in subject.echoes)
    lung = subject.truth["MEGRE"].masks["lung"].array
    levels = [np.median(echo.array[lung]) for echo in subject.echoes]
    assert levels[0] > 2 * levels[3]


def test_radiograph_is_one_upright_frontal_slice():
    subject = ipha.simulate_subject("none", seed=1, spacing_mm=4, modalities=["dx"])
    film = subject.volumes["dx"]
    assert film.array.shape[2] == 1 and film.meta["PhotometricInterpretation"] == "MONOCHROME2"
    i, j = film.array.shape[:2]
    spine = film.array[int(0.47 * i) : int(0.53 * i), int(0.3 * j) : int(0.5 * j), 0].mean()
    lung = film.array[int(0.28 * i) : int(0.36 * i), int(0.6 * j) : int(0.75 * j), 0].mean()
    assert spine > 1.3 * lung


def test_same_seed_gives_the_same_bytes_in_another_process_and_with_one_thread():
    code = (
        "import hashlib, ipha_toolkit as ipha\n"
        "s = ipha.simulate_subject('subacute', seed=9, spacing_mm=8)\n"
        "h = hashlib.sha256()\n"
        "for name, v in s.volumes.items(): h.update(name.encode() + v.array.tobytes())\n"
        "print(h.hexdigest())"
    )
    path = os.pathsep.join(sys.path)
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=os.environ | {"NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONPATH": path},
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] and len(runs[0]) == 65


def test_a_disease_of_ones_own_and_the_miliary_variant():
    miliary = Disease(nodules_per_litre=40, nodule_mm=(2, 4), nodule_place="random")
    subject = ipha.simulate_subject("chronic", seed=1, spacing_mm=6, disease=miliary, modalities=["ct"])
    assert subject.disease == miliary
    assert subject.truth["ct"].nodules.diameter_mm.between(2, 4).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"phase": "old"}, "phase is one of"),
        ({"spacing_mm": 0.1}, "voxel sizes from"),
        ({"size": "giant"}, "adult, child or a number"),
        ({"modalities": ["pet"]}, "modalities are T1w.*got pet"),
        ({"field_strength_t": 7.0}, "1.5 or 3.0, got 7.0"),
        ({"kernel": "bone"}, "lung or soft"),
        ({"snr": 0}, "snr needs to be above 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        ipha.simulate_subject(**({"phase": "none", "seed": 1, "spacing_mm": 8} | wrong))
