"""Every figure of ``ipha.plots`` can be read: no text over text, nothing cut off, no legend over the data."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from legible import faults
from matplotlib.figure import Figure

import ipha_toolkit as ipha
from ipha_toolkit.figures.agreement import scatter
from ipha_toolkit.measure.hemosiderin import SignatureReference
from ipha_toolkit.measure.rows import row, table

plots = ipha.plots
NOISE = np.random.default_rng(0)
ZONES = ["left", "right", "upper", "middle", "lower", "central", "peripheral", "dorsal", "ventral"]


def image(modality: str = "ct", shape: tuple[int, int, int] = (90, 60, 80), spacing: float = 4.0) -> ipha.Volume:
    """Noise the size of a child's chest."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    values = NOISE.normal(-500, 300, shape) if modality == "ct" else NOISE.normal(400, 90, shape)
    unit = {"ct": "HU"}.get(modality, "")
    return ipha.Volume(values, affine, modality=modality, unit=unit, name={"dx": "radiograph"}.get(modality, modality))


def film() -> ipha.Volume:
    return image("dx", (120, 1, 140), 2.0)


def lungs(volume: ipha.Volume) -> ipha.Mask:
    inside = np.zeros(volume.shape, bool)
    middle = tuple(slice(n // 4, 3 * n // 4) for n in volume.shape)
    inside[middle] = True
    return ipha.Mask(inside, volume.affine, name="lung")


def signature(volume: ipha.Volume) -> ipha.Volume:
    return volume.replace(array=NOISE.normal(1, 2, volume.shape), name="signature", unit="SD", modality=None)


def zonal(measure: str, modality: str, value: float, sessions: int = 2) -> pd.DataFrame:
    return table(
        row(measure, value * (1 + 0.05 * n + 0.1 * s), modality=modality, region=zone, n_voxels=9)
        | {"subject": "sub-001", "session": f"ses-{s}"}
        for s in range(sessions)
        for n, zone in enumerate(ZONES)
    )


def histogram() -> Any:
    counts = [np.histogram(NOISE.normal(m, 0.1, 4000), np.linspace(0, 2, 201))[0] for m in (0.5, *[0.3] * 5)]
    return plots.plot_histogram(counts[0], controls=counts[1:], edges=np.linspace(0, 2, 201), threshold=0.45)


def joint() -> Any:
    t1, t2 = (np.round(NOISE.gamma(4, 0.08, 4000), 2) for _ in range(2))
    counted = pd.DataFrame({"t1w": t1, "t2w": t2, "lung": 1.0}).groupby(["t1w", "t2w"], as_index=False).sum()
    return plots.plot_signature(counted, SignatureReference(1.2, 0.2, 5), floor=0.1, name="sub-001 ses-01")


def course(measure: str = "attenuation_mean", subjects: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    visits = [(f"sub-{n:03}", f"ses-{s}", 200.0 * s) for n in range(subjects) for s in range(6)]
    rows = table(
        row(measure, -700 - 20 * s + 9 * n, modality="ct", region="lung", n_voxels=9)
        | {"subject": who, "session": when}
        for n, (who, when, s) in enumerate(visits)
    )
    sessions = pd.DataFrame(visits, columns=["subject", "session", "days"])
    phases = ["acute", "subacute", "chronic", "none"]
    return rows, sessions.assign(phase=[phases[n % 4] for n in range(len(visits))],
                                 prednisone_mg_per_day=[10.0 * (n % 5) for n in range(len(visits))])  # fmt: skip


def trend() -> Any:
    rows, sessions = course()
    scatter = pd.DataFrame(
        [{"modality": "ct", "region": "lung", "measure": "attenuation_mean", "repeatability_coefficient": 30}]
    )
    return plots.plot_trend(
        rows, sessions, measure="attenuation_mean", modality="ct", scatter=scatter, controls=rows.head(5)
    )  # fmt: skip


def groups() -> Any:
    names = ["control", "acute", "subacute", "chronic"]
    sessions = pd.DataFrame(
        [[f"sub-{n}", "ses-1", names[n % 4]] for n in range(16)], columns=["subject", "session", "group"]
    )
    rows = table(
        row("ground_glass_fraction", 10.0 + 5 * (n % 4) + n, modality="ct", region="lung", n_voxels=9)
        | {"subject": f"sub-{n}", "session": "ses-1"}
        for n in range(16)
    )
    return plots.plot_groups(rows, sessions, measure="ground_glass_fraction", modality="ct")


def forest() -> Any:
    names = ["attenuation_mean", "ground_glass_extent", "consolidation_extent", "lung_volume", "reticulation"]
    effects = pd.DataFrame({
        "modality": "ct", "region": "lung", "measure": names, "group": ["iph", "edema", "iph", "iph", "edema"],
        "reference": "control", "hedges_g": [2.1, 0.4, -0.3, 1.1, 0.2], "g_low": [1.2, -0.4, -1, 0.2, -0.5],
        "g_high": [3.0, 1.2, 0.4, 2, 0.9], "p_corrected": [0.001, 0.4, 0.6, 0.03, 0.8], "n": 20, "n_reference": 12,
    })  # fmt: skip
    return plots.plot_forest(effects)


def films() -> Any:
    zones = ["right_upper", "right_middle", "right_lower", "left_upper", "left_middle", "left_lower"]
    rows = table(
        row("film_opacity_mean", value + 0.05 * n, modality="dx", region=zone, n_voxels=9) | {"session": f"s{day}"}
        for day, value in enumerate([-0.6, 0.6, 0.5, 0.3, -0.2, -0.5, -0.6])
        for n, zone in enumerate(["lung", *zones])
    )
    return plots.plot_opacity_series(rows, {f"s{n}": float(n) for n in range(7)})


def agreement() -> Any:
    pairs = pd.DataFrame({
        "modality": "ct", "measure": "attenuation_mean", "phase": ["none", "acute", "subacute", "chronic"] * 4,
        "true": np.linspace(-850, -500, 16), "measured": np.linspace(-840, -520, 16),
    })  # fmt: skip
    return scatter(pd.concat([pairs, pairs.assign(measure="ground_glass_extent")]),
                   [("ct", "attenuation_mean"), ("ct", "ground_glass_extent")])  # fmt: skip


def plan(series: int = 9) -> Any:
    """What ``plot_plan`` asks of an import plan, with words as long as they come."""
    names = [f"s{n:03}" for n in range(series)]
    told = pd.DataFrame({"series": names, "role": "T1w", "words": "thorax nativ weichteil lunge b70f 1.5 mm"})
    return SimpleNamespace(parts=names, table=told, picture=lambda _: NOISE.normal(0, 1, (64, 64)))


def many(n: int) -> pd.DataFrame:
    names = [f"opacity_costophrenic_sparing_{k}" for k in range(n)]
    return pd.DataFrame({
        "modality": "ct", "region": "lung", "measure": names, "group": "iph", "reference": "control",
        "hedges_g": 1.0, "g_low": 0.5, "g_high": 1.5, "p_corrected": 0.01, "n": 20, "n_reference": 12,
    })  # fmt: skip


CT, T1 = image(), image("T1w")
NODULES = pd.DataFrame(
    {"x_mm": [20.0, -40], "y_mm": [0.0, 20], "z_mm": [0.0, 2], "diameter_mm": [4.0, 6], "score": 9.0}
)

FIGURES = {
    "states": lambda: plots.plot_states(courses()),
    "slice": lambda: plots.plot_slice(CT, overlays=lungs(CT)),
    "slice, narrow": lambda: plots.plot_slice(image("T1w", (30, 60, 80)), plane="coronal"),
    "slice, sagittal": lambda: plots.plot_slice(CT, plane="sagittal"),
    "slice with a map": lambda: plots.plot_slice(T1, plane="coronal", overlays={"signature": signature(T1)}),
    "radiograph": lambda: plots.plot_slice(film()),
    "comparison": lambda: plots.plot_comparison(CT, T1, image("T2w"), titles=["CT", "T1w", "T2w"], plane="coronal"),
    "comparison of two": lambda: plots.plot_comparison(CT, CT, titles=["healthy", "patient"], plane="coronal"),
    "comparison of four": lambda: plots.plot_comparison(*[CT] * 4, titles=[f"day {n}" for n in range(4)]),
    "comparison of radiographs": lambda: plots.plot_comparison(film(), film(), titles=["healthy", "patient"]),
    "mosaic": lambda: plots.plot_mosaic(CT, n=12, overlays=lungs(CT)),
    "mosaic, coronal, with a map": lambda: plots.plot_mosaic(
        T1, plane="coronal", n=8, overlays={"lung-to-muscle ratio": signature(T1).replace(name="ratio")}
    ),
    "groups": groups,
    "mosaic of one": lambda: plots.plot_mosaic(CT, n=1),
    "nodules": lambda: plots.plot_nodules(CT, NODULES),
    "histogram": histogram,
    "signature": joint,
    "zones": lambda: plots.plot_zones(zonal("signal_ratio_median", "T1w", 0.2), "signal_ratio_median"),
    "zones in HU": lambda: plots.plot_zones(
        zonal("attenuation_mean", "ct", -600, 3), "attenuation_mean", controls=zonal("attenuation_mean", "ct", -800)
    ),
    "films over days": films,
    "forest": forest,
    "swimmer": lambda: plots.plot_swimmer(course(subjects=9)[1]),
    "trend": trend,
    "measured against true": agreement,
    "plan": lambda: plots.plot_plan(plan()),
    "forest of many": lambda: plots.plot_forest(many(30)),
    "swimmer of many": lambda: plots.plot_swimmer(course(subjects=40)[1]),
    "slice with two masks": lambda: plots.plot_slice(
        CT, overlays={"lung before": lungs(CT), "lung now": lungs(CT)}, plane="coronal"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_on_a_figure_is_covered_or_cut(name: str) -> None:
    drawn = FIGURES[name]()
    drawn = drawn[0] if isinstance(drawn, list) else drawn
    assert faults(drawn if isinstance(drawn, Figure) else drawn.get_figure(root=True)) == []


def courses():
    amounts = [0, 0.1, 0.3, 0.6]
    made = {
        "water": ipha.lung_signal(water=amounts), "iron": ipha.lung_signal(iron=amounts),
        "iron 0.3 under water": ipha.lung_signal(iron=0.3, water=amounts),
        "methemoglobin": ipha.lung_signal(methemoglobin=amounts),
    }  # fmt: skip
    return {name: states.assign(amount=amounts) for name, states in made.items()}


def test_every_figure_is_among_them() -> None:
    drawing = {name for name in plots.__all__ if name.startswith("plot_")}
    told = {word.partition(",")[0] for word in FIGURES}
    known = {"plot_opacity_series": "films over days", "plot_nodules": "nodules"}
    assert all(known.get(name, name.removeprefix("plot_").split("_")[0]) in told for name in drawing)


def test_the_checker_finds_what_it_is_for() -> None:
    figure = Figure()
    ax = figure.subplots()
    ax.plot([0, 1], [0, 1], label="line")
    ax.legend(loc="center")
    for at in (0.5, 0.51):
        ax.text(at, 0.2, "words")
    figure.text(0.99, 0.99, "outside")
    found = " ".join(faults(figure))
    assert "'words' lies over 'words'" in found and "'outside' is cut off" in found and "lies over the data" in found


def test_values_in_hu_do_not_hang_from_zero() -> None:
    ax = plots.plot_zones(zonal("attenuation_mean", "ct", -600), "attenuation_mean")
    assert not ax.patches and ax.get_ylim()[1] < -300
    assert len(ax.lines) == 2


def test_a_quantity_has_one_colour_map_everywhere() -> None:
    from ipha_toolkit.viewer.layers import layers_of
    from ipha_toolkit.viewer.windows import looks_of

    both = signature(T1)
    low = both.replace(array=np.abs(both.array))
    shown = [
        looks_of(layers_of([T1], {"signature": each})[1:], limits=limits)[0]
        for each, limits in ((both, None), (low, None), (both, (0.5, 4)))
    ]
    assert len({each["name"] for each in shown}) == 1
    assert all(each["limits"][0] == -each["limits"][1] for each in shown)


def test_a_radiograph_is_not_named_a_coronal_slice() -> None:
    assert plots.plot_slice(film()).get_title() == "radiograph"
