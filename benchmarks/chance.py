"""How often MRI reads health as disease by chance, and what it costs to prevent it: designs beside each other.

Run ``python benchmarks/chance.py [--people N]``: T1w, T2w and the signature of one person and some controls, drawn
without images, are read by the default rules. People differ in lung water by a log-normal SD of 20 % (PMC3354915), and
by 6 % in T1w and T2w each; disease multiplies T1w and, beyond that, T2w.

========================  =============================================================================================
old                       every finding by its own cut of 2 SD
together, p               withheld where none of the findings lies beyond p of healthy people (``gate.health_chance``)
cut of 3                  old, all cuts one SD farther
interval                  old, the distance being the lower 95 % limit of the true one (Crawford & Garthwaite 2002,
                          doi 10.1016/S0028-3932(01)00224-X)
logarithms, p             together, distances of logarithms
========================  =============================================================================================
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

RESULT = Path(__file__).parent / "results" / "chance.md"
DISEASES = {
    "healthy": (1.0, 1.0), "mild edema": (1.5, 1.15), "edema": (2.0, 1.4), "acute": (2.5, 1.8),
    "mild iron": (1.1, 0.85), "chronic": (1.15, 0.6),
}  # fmt: skip
"""T1w of the lung over that of the healthy one, and T2w beyond that."""
CONTROLS = (5, 8, 20)
DESIGNS = {
    "old": (1.0, 2, "distance"), "together, 1 %": (0.01, 2, "distance"), "together, 0.5 %": (0.005, 2, "distance"),
    "**together, 0.2 %**": (0.002, 2, "distance"), "together, 0.1 %": (0.001, 2, "distance"),
    "cut of 3": (1.0, 3, "distance"), "interval": (1.0, 2, "limit"), "logarithms, 100 %": (1.0, 2, "logarithm"),
    "logarithms, 0.2 %": (0.002, 2, "logarithm"),
}  # fmt: skip
"""``gate.health_chance``, first cut in SD, and what is taken for the distance."""


def draw(disease, n_controls, rng):
    """T1w and T2w of one person (first) and the controls, shape (n + 1, 2)."""
    shared, own = rng.standard_normal((n_controls + 1, 1)), rng.standard_normal((n_controls + 1, 2))
    signals = np.exp(0.2 * shared + 0.06 * own)
    gain, beyond = DISEASES[disease]
    signals[0] *= (gain, gain * beyond)
    return signals


def distances(signals, kind):
    """T1w, T2w and signature of the first from the others, in SD of many."""
    from ipha_toolkit.compare.single_case import single_case

    looked_at = np.column_stack([signals, np.log(signals[:, 0] / signals[:, 1])])
    if kind == "logarithm":
        looked_at[:, :2] = np.log(looked_at[:, :2])
    measure = lower_limit if kind == "limit" else single_case
    return [measure(column[0], column[1:]) for column in looked_at.T]


def lower_limit(value, controls):
    """The 95 % limit of the true distance that lies nearer to 0; 0 beyond it."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    n, away = controls.size, (value - controls.mean()) / controls.std(ddof=1)
    seen = abs(away) * np.sqrt(n)
    if nct.cdf(seen, n - 1, 0) < 0.95:
        return 0.0
    found = brentq(lambda true: nct.cdf(seen, n - 1, true) - 0.95, 0, seen + 1)
    return float(np.sign(away) * found / np.sqrt(n))


def rules(chance, cut):
    """The default protocol with another chance and other cuts of what is set against controls."""
    from ipha_toolkit.protocol import DEFAULT

    lines = [line.replace("> 2, 3, 4", f"> {cut}, {cut + 1}, {cut + 2}") for line in DEFAULT.findings.rules]
    lines = [line.replace("< -2, -3, -4", f"< -{cut}, -{cut + 1}, -{cut + 2}") for line in lines]
    findings, gate = replace(DEFAULT.findings, rules=tuple(lines)), replace(DEFAULT.gate, health_chance=chance)
    return replace(DEFAULT, findings=findings, gate=gate)


def answers(found, protocol):
    """Phases of people whose bleeding is not known, by their three distances."""
    from ipha_toolkit.compare.phases import read_sessions
    from ipha_toolkit.measure.rows import row, table

    names = [("T1w", "signal_ratio_median"), ("T2w", "signal_ratio_median"), ("T1w+T2w", "signature_strength")]
    rows = table(
        row(f"{measure}_vs_controls", value, modality=modality, region="lung", n_voxels=1)
        | {"subject": f"{n}", "session": "1"}
        for n, values in enumerate(found) for (modality, measure), value in zip(names, values, strict=True)
    )  # fmt: skip
    return Counter(read_sessions(rows, protocol=protocol)[0]["phase"])


def counts(disease, n_controls, people):
    """Answers of every design to the same people."""
    rng = np.random.default_rng([n_controls, *disease.encode()])
    drawn = [draw(disease, n_controls, rng) for _ in range(people)]
    found = {kind: [distances(signals, kind) for signals in drawn] for kind in ("distance", "limit", "logarithm")}
    return {name: answers(found[kind], rules(chance, cut)) for name, (chance, cut, kind) in DESIGNS.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--people", type=int, default=100, help="ill people a setting; of healthy ones five times as many"
    )
    people = parser.parse_args().people
    lines = [
        "# Readings of MRI that chance alone decides", "",
        f"{people} ill and {5 * people} healthy people a setting; %. \"None\" is right of health alone.", "",
        "| controls | person | design | none | withheld | disease |", "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for n_controls in CONTROLS:
        for disease in DISEASES:
            n = people * (5 if disease == "healthy" else 1)
            for name, found in counts(disease, n_controls, n).items():
                none, stopped = found["none"], found["withheld"] + found["indeterminate"]
                shares = " | ".join(f"{100 * part / n:.1f}" for part in (none, stopped, n - none - stopped))
                lines.append(f"| {n_controls} | {disease} | {name} | {shares} |")
    text = "\n".join(lines) + "\n"
    print(text)
    RESULT.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
