"""Whether pleural avoidance tells random, centrilobular and subpleural nodules apart, on the second generator.

Run ``python benchmarks/avoidance.py [--seeds N]``. Lungs of :mod:`other_generator` (choosing half) at 1, 1.5 and 2 mm
hold no nodules, nodules anywhere, nodules 6 mm and more off the pleura (centrilobular), or within 4 mm of it
(perilymphatic). Beside what is given (implants and vessels) stand designs that were tried: the shares compared with
implants alone, the ranks of all depths in place of the share within 5 mm, and points thrown into the lung without the
detector (the old null).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
RESULT = Path(__file__).parent / "results" / "avoidance.md"
KINDS = ("no nodules", "random", "centrilobular", "perilymphatic")
SPACINGS_MM = (1.0, 1.5, 2.0)


def image(kind, spacing_mm, seed):
    """A CT of a small lung, its mask, and how many nodules were put in."""
    import other_generator as other
    from scipy import ndimage

    rng, stamp, put = np.random.default_rng([11, seed, 31]), other.stamp_nodules, []

    def near_pleura(shape, lungs, rng, spacing_mm, *, per_litre, size_mm, off_pleura_mm=0.0):
        depth = ndimage.distance_transform_edt(lungs) * spacing_mm
        allowed = lungs & (depth < 4) if kind == "perilymphatic" else lungs
        put.append(int(per_litre * lungs.sum() * spacing_mm**3 / 1e6))
        scaled = per_litre * lungs.sum() / max(allowed.sum(), 1)
        return stamp(shape, allowed, rng, spacing_mm, per_litre=scaled, size_mm=size_mm, off_pleura_mm=off_pleura_mm)

    other.CT_MM, other.stamp_nodules = spacing_mm, near_pleura
    nodules = [] if kind == "no nodules" else [(150.0, (3.2, 4.8), 6.0 if kind == "centrilobular" else 0.0, 1.0)]
    try:
        ct, lungs = other.ct(rng, base=-850.0, scale=0.8, noise=18.0, nodules=nodules)
    finally:
        other.CT_MM, other.stamp_nodules = 2.0, stamp
    return ct, lungs, sum(put)


def ranks(own, null, lungs):
    """Mann and Whitney's z of the depths: positive where nodules lie deeper than the null."""
    from ipha_toolkit.measure.nodules import _depths

    a, b = (_depths(places, lungs, np.random.default_rng(0))[2] for places in (own, null))
    a, b = (depth[depth >= 2] for depth in (a, b))
    if min(len(a), len(b)) < 10:
        return np.nan
    wins = (a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean()
    return float((wins - 0.5) * np.sqrt(12 * len(a) * len(b) / (len(a) + len(b) + 1)))


def judge(kind, spacing_mm, seed):
    """What each design says of one image."""
    from ipha_toolkit.measure.nodule_null import detectable_places
    from ipha_toolkit.measure.nodules import _weak, detect_nodules, pleural_avoidance
    from ipha_toolkit.protocol import DEFAULT

    ct, lungs, put = image(kind, spacing_mm, seed)
    found = detect_nodules(ct, lungs)
    null = detectable_places(ct, lungs, found)
    own = found.loc[found["score"] >= 6, ["x_mm", "y_mm", "z_mm"]].to_numpy(float)
    thrown = np.argwhere(lungs.array)
    thrown = lungs.to_world(thrown[np.random.default_rng(1).integers(0, len(thrown), 400)].astype(float))
    return {
        "put": put, "found": len(own),
        "with vessels": pleural_avoidance(own, null, lungs, vessels=_weak(found, DEFAULT.nodules)),
        "implants alone": pleural_avoidance(own, null, lungs), "ranks": ranks(own, null, lungs),
        "no detector": pleural_avoidance(own, thrown, lungs),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    warnings.simplefilter("ignore")
    designs = ("with vessels", "implants alone", "ranks", "no detector")
    lines = [
        "# Pleural avoidance by design",
        "",
        "z of each lung; - is withheld. What is given is the column with vessels, up to voxels of 1.75 mm.",
        "",
    ]
    lines += [f"| voxels, mm | nodules | put in | found | {' | '.join(designs)} |", "| --- " * 8 + "|"]
    for spacing in SPACINGS_MM:
        for kind in KINDS:
            rows = [judge(kind, spacing, seed) for seed in seeds]
            cells = [" ".join("-" if np.isnan(r[name]) else f"{r[name]:+.1f}" for r in rows) for name in designs]
            counts = [" ".join(str(r[name]) for r in rows) for name in ("put", "found")]
            lines.append(f"| {spacing:g} | {kind} | {' | '.join([*counts, *cells])} |")
            print(lines[-1], flush=True)
    RESULT.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
