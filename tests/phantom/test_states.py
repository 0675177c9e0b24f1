import numpy as np
import pytest

import ipha_toolkit as ipha


def slopes(**state):
    found = ipha.lung_signal(**state)
    return (found["t2w"] / found["t1w"]).to_numpy()


def test_water_bends_the_line_upwards_and_iron_and_methemoglobin_lie_below():
    """The slopes that the docstring of the signature and notebook 03 name."""
    assert slopes(water=[0, 0.1, 0.3, 0.6]) == pytest.approx([1.08, 1.85, 2.78, 3.89], abs=0.01)
    healthy = slopes()[0]
    assert slopes(iron=0.3)[0] < 0.5 * healthy and slopes(methemoglobin=0.6)[0] < 0.6 * healthy


def test_a_tenth_of_water_hides_iron_of_a_fifth_and_more_water_hides_more():
    assert slopes(iron=0.2, water=0.1)[0] == pytest.approx(slopes()[0], rel=0.05)
    dry, damp, wet = slopes(iron=0.3, water=[0, 0.1, 0.2])
    assert dry < damp < slopes()[0] < wet


def test_signals_are_those_of_a_simulated_image():
    subject = ipha.simulate_subject(
        "none",
        seed=3,
        spacing_mm=8.0,
        disease=ipha.Disease(water=0.3),
        modalities=["T1w"],
        snr=1e9,
        shading=0.0,
        motion_mm=0.0,
    )
    t1w, masks = subject.volumes["T1w"].array, subject.truth["T1w"].masks
    lung, muscle = (np.median(t1w[masks[name].array]) for name in ("lung", "muscle"))
    found = ipha.lung_signal(water=[0.1, 0.6])["t1w"]
    assert found[0] < lung / muscle < found[1]


@pytest.mark.parametrize("wrong", [{"water": 1.2}, {"iron": -1}, {"methemoglobin": [0, -0.1]}])
def test_impossible_states_are_refused(wrong):
    with pytest.raises(ValueError, match="share from 0 to 1"):
        ipha.lung_signal(**wrong)
