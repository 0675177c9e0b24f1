"""R2* by region against the simulated lung's truth: within 10 % or withheld, and rising with iron.

Run ``python benchmarks/r2star_regions.py [--workers N]``. Beside each value stands what was given before: the median of
the voxels that survive the noise floor. Lungs are the true ones, so that only the relaxometry is judged; gates were
chosen on seed 1, the table is of others.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

RESULT = Path(__file__).parent / "results" / "r2star_regions.md"
USUAL = (0.1, 0.4, 0.8, 1.4, 2.2, 3.2, 4.6, 6.5)
IRON = (0.0, 0.3, 1.0, 2.0)
SETTINGS = {
    "default": {},
    "first echo 0.5 ms": {"te_ms": (0.5, 1.0, 1.5, 2.2, 3.2, 4.6, 6.5)},
    "first echo 1.1 ms": {"te_ms": (1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8)},
    "three echoes": {"te_ms": (0.1, 0.8, 2.2)},
    "3 T": {"field_strength_t": 3.0},
    "SNR 20": {"snr": 20.0},
    "SNR 90": {"snr": 90.0},
    "voxels of 2.5 mm": {"spacing_mm": 2.5},
    "child": {"size": "child", "spacing_mm": 3.0},
    "water 0.4": {"water": 0.4},
    "water 0.8": {"water": 0.8},
    "clipped at the lung's 30th percentile": {"clip": 30},
}


def examine(task):
    """Rows (setting, seed, iron, region, true, surviving voxels, now, low, high, flag) of one simulated patient."""
    from ipha_toolkit.measure.relaxometry import measure_r2star
    from ipha_toolkit.phantom import subject as phantom
    from ipha_toolkit.phantom.disease import Disease
    from ipha_toolkit.regions.zones import lung_regions

    name, seed, iron = task
    options = {"spacing_mm": 4.0} | SETTINGS[name]
    te_ms, water, clip = options.pop("te_ms", USUAL), options.pop("water", 0.0), options.pop("clip", None)
    phantom.ECHO_TIMES_MS = te_ms
    options["disease"] = Disease(iron=iron, water=water)
    patient = phantom.simulate_subject("chronic", seed=seed, modalities=["MEGRE"], **options)
    truth, echoes = patient.truth["MEGRE"], patient.echoes
    lungs = truth.masks["lung"]
    if clip:
        top = np.percentile(echoes[0].array[lungs.array], clip)
        echoes = [echo.replace(array=np.minimum(echo.array, top)) for echo in echoes]
    rows, fit = measure_r2star(echoes, te_ms, lungs)
    regions, found = lung_regions(lungs), []
    for region, part in rows[rows["region"].isin(regions)].groupby("region", sort=False):
        values = part.set_index("measure")
        if "r2star_median" not in values.index:
            continue
        inside = regions[region].array
        true, voxels = np.median(truth.maps["r2star"].array[inside]), np.nanmedian(fit.r2star.array[inside])
        given = [values.loc[f"r2star_median{end}", "value"] for end in ("", "_lower", "_upper")]
        found.append((name, seed, iron, region, true, voxels, *given, values.loc["r2star_median", "flag"]))
    return found


def risen(values):
    """Whether what is given rises with iron."""
    return bool((np.diff(values.dropna()) > 0).all())


def lines(table):
    for name, part in table.groupby("setting", sort=False):
        whole = part[part["region"] == "lung"].groupby("iron").mean(numeric_only=True)
        cells = [
            f"{r.true:.0f}: {r.before:.0f}, " + ("withheld" if np.isnan(r.now) else f"**{r.now:.0f}**")
            for r in whole.itertuples()
        ]
        given = part[part["now"].notna()]
        error, old = given["now"] / given["true"] - 1, part["before"] / part["true"] - 1
        ranks = part.groupby(["seed", "region"])[["before", "now"]].agg(risen)
        why = sorted({flag for cell in part.loc[part["now"].isna(), "flag"] for flag in cell.split(";") if flag})
        worst = f"{100 * error.abs().max():.0f} %" if len(given) else "-"
        within = f"{(error.abs() <= 0.1).sum()} of {len(given)}"
        yield (
            f"| {name} | {' / '.join(cells)} | {100 * old.abs().max():.0f} % | {worst} | {within} | "
            f"{len(part) - len(given)} of {len(part)} ({', '.join(why)}) | {ranks['before'].mean():.2f} | "
            f"{ranks['now'].mean():.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    given = parser.parse_args()
    tasks = [(name, seed, iron) for name in SETTINGS for seed in given.seeds for iron in IRON]
    with ProcessPoolExecutor(given.workers, get_context("spawn")) as pool:
        found = [row for rows in pool.map(examine, tasks) for row in rows]
    columns = ["setting", "seed", "iron", "region", "true", "before", "now", "low", "high", "flag"]
    table = pd.DataFrame(found, columns=columns)
    text = "\n".join([
        "# R2* by region", "",
        f"Iron {', '.join(map(str, IRON))}; patients {', '.join(map(str, given.seeds))}; "
        f"{table['region'].nunique()} regions each.",
        "Whole lung in 1/s, true: median of surviving voxels (before), **now**.", "",
        "| setting | whole lung | worst error before | now | within 10 % | withheld | rank kept before | now |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |", *lines(table), "",
    ])  # fmt: skip
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
