"""Whether MR images of chests are measured and others refused, on cases that the rule was not chosen on.

    python benchmarks/chests.py ROWS [--seed 6100] [--part phantoms]   # some four minutes of one core in all
    python benchmarks/chests.py ROWS --table                           # writes results/chests.md

ROWS is a scratch file that keeps what was measured, a part at a time.

Chests: the package's phantom with fresh seeds, children by age, the second generator (:mod:`other_generator`). Others:
bodies without lungs, made here by means that the rule has not met: abdomens with bowel gas and dark organs, a pelvis, a
pair of legs, a head, and noise of three kinds. "Refused" is any refusal by :func:`ipha_toolkit.segment_lungs`, which
says that no lung was found or that the image is no chest; "flagged" is measured with the flag ``perhaps_no_chest``.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "chests.md"
MM = 4.0


def phantoms(seed):
    import ipha_toolkit as ipha

    for number in range(12):
        rng = np.random.default_rng([seed, number])
        phase = ("none", "acute", "subacute", "chronic")[number % 4]
        role = "T1w" if number < 8 or phase == "acute" else "T2w"
        made = ipha.simulate_subject(
            phase, seed=seed + number, spacing_mm=MM, size=float(rng.uniform(0.6, 1.0)),
            severity=float(rng.uniform(0.2, 0.9)), modalities=[role], shading=float(rng.uniform(0.1, 0.6)),
            breath=float(rng.uniform(-0.2, 0.2)),
        )  # fmt: skip
        yield f"phantom, {role} {phase}", made.volumes[role], made.truth[role].masks["lung"]


def children(seed):
    from ipha_toolkit.phantom.disease import Bleed
    from ipha_toolkit.phantom.population import participant, scan

    for number, age in enumerate((1, 2, 3, 5, 7, 10, 13)):
        for group in ("control", "iph"):
            sick = {"bleeds": [Bleed(-2.0, 0.7)]} if group == "iph" else {}
            person = participant(f"sub-{number}", group, age=age, seed=seed + 100 + 2 * number + bool(sick), **sick)
            made = scan(person, person.visits[0], spacing_mm=MM, modalities=["T1w"])
            years, state = "1 to 3" if age < 4 else "5 to 13", "two days after a bleed" if sick else "healthy"
            yield f"children of {years} years, {state}", made.volumes["T1w"], made.truth["T1w"].masks["lung"]


def second(seed):
    import other_generator as other

    for condition in other.MR_CONDITIONS:
        case = other.make(condition, 0, seed)
        for role, image in case.images.items():
            yield f"second generator, {role}", image, case.lungs[role]


def axes(shape):
    return [((np.arange(n) - (n - 1) / 2) * MM)[(...,) + (None,) * (2 - k)] for k, n in enumerate(shape)]


def blob(xyz, center, radii, power=2.0, wave=0.0, rng=None):
    """A superellipsoid with a wavy surface."""
    u, v, w = ((p - c) / r for p, c, r in zip(xyz, center, radii, strict=True))
    turn = rng.uniform(0, 6.28, 3) if rng is not None else np.zeros(3)
    rough = wave * (np.sin(5 * u + turn[0]) + np.sin(5 * v + turn[1]) + np.sin(5 * w + turn[2]))
    return np.abs(u) ** power + np.abs(v) ** power + np.abs(w) ** power < 1 + rough


def image(clean, rng, role="T1w"):
    from scipy import ndimage

    from ipha_toolkit.volume import Volume

    x, y, z = axes(clean.shape)
    coil = np.exp(rng.uniform(-0.2, 0.2) * x / 200 + rng.uniform(-0.2, 0.2) * y / 150 + 0 * z)
    sigma = rng.uniform(1.5, 4.0)
    seen = ndimage.gaussian_filter(clean.astype(np.float32), 0.5) * coil
    array = np.hypot(seen + rng.normal(0, sigma, clean.shape), rng.normal(0, sigma, clean.shape))
    return Volume(array.astype(np.float32), np.diag([MM, MM, MM, 1.0]), modality=role, name="not a chest")


def trunk(rng, shape=(90, 66, 64)):
    xyz = axes(shape)
    x, y, z = xyz
    a, b = rng.uniform(130, 165), rng.uniform(90, 115)
    rim = rng.uniform(6, 25)
    power = rng.uniform(2.0, 2.6)
    clean = np.where((np.abs(x / a) ** power + np.abs(y / b) ** power + 0 * z) < 1, rng.uniform(140, 180), 0.0)
    clean[np.broadcast_to(np.abs(x / (a - rim)) ** power + np.abs(y / (b - rim)) ** power + 0 * z < 1, shape)] = 80
    spine = np.broadcast_to((x / 20) ** 2 + ((y + b - rim - 28) / 18) ** 2 + 0 * z < 1, shape)
    clean[spine] = rng.uniform(40, 100)
    return clean, xyz, a - rim, b - rim


def abdomens(seed):
    """Liver, spleen and kidneys, loops of bowel with gas, dark muscle beside the spine or a dark stomach."""
    for number in range(16):
        rng = np.random.default_rng([seed, 200, number])
        clean, xyz, a, b = trunk(rng)
        clean[blob(xyz, (a * 0.45, 0, 40), (a * 0.5, b * 0.7, 80), 2.3, 0.05, rng)] = rng.uniform(90, 120)
        clean[blob(xyz, (-a * 0.6, -b * 0.3, 50), (38, 30, 45), 2, 0.05, rng)] = rng.uniform(60, 90)
        for side in (-1, 1):
            clean[blob(xyz, (side * 60, -b * 0.5, rng.uniform(-20, 20)), (28, 25, 55), 2, 0.05, rng)] = rng.uniform(
                50, 110
            )
            if number % 4 == 1:
                clean[blob(xyz, (side * 42, -b * 0.55, -60), (22, 20, 90), 2, 0.1, rng)] = rng.uniform(8, 25)
        for _ in range(rng.integers(3, 14)):
            center = (rng.uniform(-0.7, 0.7) * a, rng.uniform(-0.2, 0.7) * b, rng.uniform(-110, 90))
            radii = rng.uniform([12, 10, 12], [45, 28, 45])
            clean[blob(xyz, center, radii, 2, 0.15, rng) & (clean > 0)] = rng.uniform(1, 15)
        if number % 4 == 2:  # gas in the flexures on both sides
            for side in (-1, 1):
                clean[blob(xyz, (side * 0.7 * a, 0.2 * b, rng.uniform(10, 60)), (30, 32, 50), 2, 0.15, rng)] = (
                    rng.uniform(1, 10)
                )
        if number % 4 == 3:  # a stomach full of gas
            clean[blob(xyz, (-0.4 * a, 0.3 * b, 50), (55, 40, 50), 2, 0.1, rng)] = 3
        yield "abdomens", image(clean, rng, ("T1w", "T2w")[number // 8])


def pelves(seed):
    for number in range(6):
        rng = np.random.default_rng([seed, 300, number])
        clean, xyz, a, b = trunk(rng)
        clean[blob(xyz, (0, 0.2 * b, -40), rng.uniform([25, 25, 25], [50, 40, 50]), 2, 0.05, rng)] = rng.uniform(8, 30)
        for side in (-1, 1):
            clean[blob(xyz, (side * 0.6 * a, 0, -70), (30, 30, 90), 2.4, 0.1, rng)] = rng.uniform(5, 50)
            clean[blob(xyz, (side * 0.55 * a, -0.4 * b, 30), (45, 14, 60), 2.4, 0.1, rng)] = rng.uniform(5, 60)
        yield "pelves", image(clean, rng)


def hips(seed):
    """Pelves full of muscle: glutei, iliopsoas, the plate of the iliac bone between them, hip joints, bladder, rectum.

    The rule of domes was chosen on other seeds of this one."""
    for number in range(12):
        rng = np.random.default_rng([seed, 77, number])
        clean, xyz, a, b = trunk(rng, (90, 66, (64, 80)[number % 2]))
        x, y, z = xyz
        shape, fat, muscle = clean.shape, rng.uniform(120, 170), rng.uniform(6, 45)
        inner = np.broadcast_to(np.abs(x / a) ** 2.3 + np.abs(y / b) ** 2.3 + 0 * z < 1, shape)
        clean[inner] = fat
        tall = rng.uniform(40, 70)
        for side in (-1, 1):
            radii = rng.uniform([38, 25, 70], [52, 36, 100])
            gluteus = blob(xyz, (side * 0.55 * a, -0.5 * b, -20), radii, 2.4, 0.05, rng)
            clean[gluteus & inner] = muscle * rng.uniform(0.8, 1.2)
            radii = rng.uniform([22, 25, 80], [34, 35, 110])
            psoas = blob(xyz, (side * 0.5 * a, 0.15 * b, rng.uniform(-20, 20)), radii, 2.4, 0.05, rng)
            clean[psoas & inner] = muscle
            away = np.abs(0.6 * (x - side * 0.62 * a) + 0.8 * side * (y + 0.15 * b))
            wing = (np.abs(x) < 0.95 * a) & (np.abs(x) > 0.25 * a)
            for thick, height, level in ((9, tall, 3.0), (5, tall - 4, 0.8 * fat)):
                clean[np.broadcast_to((away < thick) & wing & (np.abs(z - 10) < height), shape) & inner] = level
            clean[blob(xyz, (side * 0.62 * a, 0, -85), (26, 26, 26)) & inner] = 0.7 * fat
        bladder = blob(xyz, (0, 0.25 * b, -50), rng.uniform([25, 25, 25], [50, 40, 45]), 2, 0.05, rng)
        clean[bladder & inner] = rng.uniform(10, 60)
        clean[blob(xyz, (0, -0.35 * b, -40), (18, 18, 60), 2, 0.05, rng) & inner] = rng.uniform(2, 80)
        spine = np.broadcast_to(((x / 22) ** 2 + ((y + 0.6 * b) / 18) ** 2 < 1) & (z > -40), shape)
        clean[spine] = rng.uniform(60, 110)
        yield "hips", image(clean, rng, ("T1w", "T2w")[number % 4 == 3])


def legs(seed):
    for number in range(6):
        rng = np.random.default_rng([seed, 400, number])
        shape = (96, 50, 70)
        xyz = axes(shape)
        x, y, z = xyz
        clean = np.zeros(shape)
        for side in (-1, 1):
            radius, at = rng.uniform(65, 85) - 0.15 * (70 + z), side * rng.uniform(80, 95)
            inside = np.hypot(x - at, y) / radius
            clean = np.where(inside < 1, 165.0, clean)
            clean = np.where(inside < rng.uniform(0.75, 0.9), rng.uniform(15, 90), clean)
            bone = np.hypot(x - at, y)
            clean = np.where(bone < 17, 3.0, clean)
            clean = np.where(bone < 11, 150.0, clean)
        yield "legs", image(clean, rng)


def heads(seed):
    for number in range(6):
        rng = np.random.default_rng([seed, 500, number])
        shape = (56, 66, 66)
        xyz = axes(shape)
        clean = np.where(blob(xyz, (0, 0, 0), (82, 105, 110)), 160.0, 0.0)
        clean[blob(xyz, (0, 0, 0), (76, 99, 104))] = 5
        clean[blob(xyz, (0, 0, 5), (69, 92, 96))] = rng.uniform(10, 30)
        clean[blob(xyz, (0, 0, 6), (64, 86, 90), 2, 0.03, rng)] = rng.uniform(70, 110)
        for side in (-1, 1):
            clean[blob(xyz, (side * 16, 0, 15), (rng.uniform(8, 20), 45, 20), 2, 0.1, rng)] = rng.uniform(8, 25)
            clean[blob(xyz, (side * 24, 70, -50), (18, 20, 24), 2, 0.1, rng)] = 2
        yield "heads", image(clean, rng)


def noise(seed):
    from scipy import ndimage

    from ipha_toolkit.volume import Volume

    for number in range(9):
        rng = np.random.default_rng([seed, 600, number])
        white = rng.standard_normal((2, 80, 60, 60))
        smooth = [ndimage.gaussian_filter(part, rng.uniform(1, 6)) for part in white]
        array = (np.abs(white[0]), np.hypot(*smooth), np.exp(3 * smooth[0] / smooth[0].std()))[number % 3]
        yield "noise", Volume((100 * array).astype(np.float32), np.diag([MM] * 3 + [1.0]), modality="T1w", name="noise")


def measured(volume):
    """Lungs, or None and why not."""
    from ipha_toolkit.errors import ImageError
    from ipha_toolkit.regions.lungs import segment_lungs

    try:
        return segment_lungs(volume), ""
    except ImageError as error:
        return None, str(error)


PARTS = {
    "phantoms": (phantoms, True), "children": (children, True), "second": (second, True), "abdomens": (abdomens, False),
    "pelves": (pelves, False), "hips": (hips, False), "legs": (legs, False), "heads": (heads, False),
    "noise": (noise, False),
}  # fmt: skip


def measure(part, seed):
    """One row an image: whether it was measured, as it should, why not, and the overlap with the truth."""
    from ipha_toolkit.regions.lung_checks import lung_flags

    make, right = PARTS[part]
    for name, volume, *truth in make(seed):
        lungs, why = measured(volume)
        row = {"name": name, "right": right, "measured": lungs is not None, "why": why.partition(": ")[2][:160]}
        if lungs is not None:
            row["flagged"] = "perhaps_no_chest" in lung_flags(lungs, volume)
            row["ml"] = round(lungs.volume_ml)
            if truth:
                both = np.count_nonzero(lungs.array & truth[0].array)
                row["dice"] = 2 * both / (lungs.n_voxels + truth[0].n_voxels)
        print(row, flush=True)
        yield row


def table(rows, seed):
    lines = [
        f"# Chests measured, others refused (seed {seed}, looked at once)", "",
        "MRI at 4 mm (the second generator: its own voxels). Dice of those measured.", "",
        "| images | n | measured | of them flagged | refused | Dice, median (lowest) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name in dict.fromkeys(row["name"] for row in rows):
        part = [row for row in rows if row["name"] == name]
        dice = [row["dice"] for row in part if "dice" in row]
        found = sum(row["measured"] for row in part)
        overlap = f"{np.median(dice):.3f} ({min(dice):.3f})" if dice else ""
        flagged = sum(row.get("flagged", False) for row in part)
        lines.append(f"| {name} | {len(part)} | {found} | {flagged} | {len(part) - found} | {overlap} |")
    for right, words in ((True, "Chests refused"), (False, "Others measured")):
        part = [row for row in rows if row["right"] == right]
        lines += ["", f"{words}: {sum(row['measured'] != right for row in part)} of {len(part)}."]
    wrong = [row for row in rows if row["measured"] != row["right"]]
    said = [f"- {row['name']}: {row['why'] or str(row['ml']) + ' mL measured'}" for row in wrong]
    return "\n".join([*lines, *(["", "Wrong ones, and what was said:", "", *said] if said else [])]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--seed", type=int, default=6100)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    if not given.table:
        with given.rows.open("a", buffering=1, encoding="utf-8") as file:
            for part in [given.part] if given.part else PARTS:
                file.writelines(json.dumps(row) + "\n" for row in measure(part, given.seed))
    else:
        rows = [json.loads(line) for line in given.rows.read_text("utf-8").splitlines()]
        RESULT.write_text(table(rows, given.seed), "utf-8")
        print(RESULT.read_text("utf-8"))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.path.insert(0, str(Path(__file__).parent))
    main()
