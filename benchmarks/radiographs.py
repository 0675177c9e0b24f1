"""Radiographs: lung fields beside masks drawn by others, opacity beside the projected blood, textures, days to clear.

    python benchmarks/radiographs.py [--bodies 6] [--parts films opacity textures] [--data ../shared/data]
                                     [--keep FOLDER] [--out FILE]

Prints each line as it is known. Bodies, severities, noise, polarity, gain and offset of phantom films are drawn wider
than while the method was written, from seeds not used then; a film that is refused is counted and left out. One body's
course serves opacity and days to clear, and one patient's vessels serve all of its films. Intervals (95 %) draw whole
bodies again, as films of one body are alike; shares have Wilson's. ``--keep`` stores simulated films, so that another
version of the package can be measured on the very same. Real radiographs are left out where the folder is absent.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest, rankdata, spearmanr

import ipha_toolkit as ipha
from ipha_toolkit.compare.clearing import time_to_clear
from ipha_toolkit.errors import ImageError
from ipha_toolkit.io.images import load_mask
from ipha_toolkit.measure.radiograph import measure_radiograph
from ipha_toolkit.phantom.disease import Bleed, Disease
from ipha_toolkit.regions.films import film_flags, film_zones, find_lung_fields
from ipha_toolkit.volume import Volume

DRAWN = {
    "cxr_jsrt_masks/1.jpg": "cxr_jsrt_masks/1-mask.png",
    "cxr_jsrt_masks/2.jpg": "cxr_jsrt_masks/2-mask.png",
    "cxr_misc/16747_3_1.jpg": "cxr_misc/16747_3_1_lungmask.jpg",
}
TEXTURES = {
    "clear": Disease(),
    "reticular": Disease(septal=0.8),
    "miliary": Disease(nodules_per_litre=1500, nodule_mm=(2.0, 4.0), nodule_place="random"),
}
DAYS = (-2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
HELD_OUT = 4000
"""First seed; those below 1000 were used while writing."""
SPACING_MM, FINE_MM = 3.0, 1.5
"""Of films whose opacity counts, and of those whose lines and dots do."""
DEEP = 0.15
"""Lung projected less deep than this share of its deepest is behind heart and diaphragm, or the very rim."""
RESAMPLED = 400


def fields(data: Path) -> Iterator[str]:
    """Every film: borders, agreement with a drawn mask where there is one, opacity with its interval, flags, time."""
    yield "| radiograph | border contrast R, L | Dice | opacity (95 % interval) | consolidation % | flags | CPU s |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for path in sorted(path for kind in ("jpg", "jpeg", "png", "dcm") for path in data.glob(f"cxr_*/*.{kind}")):
        if "mask" not in path.name:
            yield f"| {path.parent.name}/{path.name[-28:]} | {' | '.join(_film(path, data))} |"


def _film(path: Path, data: Path) -> list[str]:
    film, start, dice = ipha.load(path, modality="dx"), time.process_time(), ""
    try:
        found = find_lung_fields(film)
        seconds, key = time.process_time() - start, str(path.relative_to(data))
        if key in DRAWN:
            drawn = load_mask(data / DRAWN[key], image=film)
            dice = f"{2 * (drawn.array & found.lungs.array).sum() / (drawn.n_voxels + found.lungs.n_voxels):.3f}"
        rows = measure_radiograph(film, found.lungs)
    except ImageError as error:
        return [f"refused: {str(error).split(': ', 1)[1][:90]}", "", "", "", "", ""]
    whole = rows[rows["region"] == "lung"].set_index("measure")["value"]
    low, mean, high = (whole[f"film_opacity_mean{ending}"] for ending in ("_low", "", "_high"))
    flags = [flag for flag in film_flags(film, found) if flag != "no_pixel_spacing"]
    return [
        f"{found.contrast[0]:.2f}, {found.contrast[1]:.2f}", dice, f"{mean:.2f} ({low:.2f} to {high:.2f})",
        f"{whole['film_consolidation_fraction']:.0f}", ", ".join(flags), f"{seconds:.1f}",
    ]  # fmt: skip


@dataclass(frozen=True)
class Simulated:
    """A film of a phantom, exposed at random, and what was projected onto it.

    ``blood``, ``depth``, shape (i, j): mm of blood and of lung along each ray.
    """

    body: int
    kind: str
    film: Volume
    blood: np.ndarray
    depth: np.ndarray


def exposed(subject: ipha.SimulatedSubject, body: int, kind: str, rng: np.random.Generator) -> Simulated:
    """A film of random gain, offset and polarity."""
    film, truth = subject.volumes["dx"], subject.truth["dx"]
    gain = np.exp(rng.uniform(-1.5, 1.5)) * rng.choice([-1.0, 1.0], p=[0.2, 0.8])
    film = film.replace(array=film.array * gain + rng.uniform(-1000, 1000))
    blood, lung = truth.maps["blood"], truth.masks["lung"].array
    step = blood.spacing_mm[1]
    return Simulated(body, kind, film, np.nansum(blood.array, axis=1) * step, lung.sum(axis=1) * step)


def size_of(body: int) -> float:
    """Body size, from a young child to a large adult: the same patient in every part."""
    return float(np.random.default_rng([HELD_OUT, body]).uniform(0.6, 1.1))


def courses(body: int) -> Iterator[Simulated]:
    """A bleed that clears, and two films of less blood: ``day ...`` and ``less``."""
    rng, wanted = np.random.default_rng([HELD_OUT, body, 1]), {"spacing_mm": SPACING_MM, "modalities": ["dx"]}
    severity = float(rng.uniform(0.4, 1.0))
    course = ipha.simulate_course([Bleed(0.0, severity)], DAYS, seed=body, size=size_of(body), **wanted)
    for day, subject in zip(DAYS, course, strict=True):
        yield exposed(subject, body, f"day {day:g}", rng)
    for less in severity * rng.uniform(0.1, 1.0, 2):
        subject = ipha.simulate_subject("acute", seed=body, severity=less, size=size_of(body), **wanted)
        yield exposed(subject, body, "less", rng)


def patterns(body: int) -> Iterator[Simulated]:
    """A film of each texture."""
    rng, wanted = np.random.default_rng([HELD_OUT, body, 2]), {"spacing_mm": FINE_MM, "modalities": ["dx"]}
    for kind, disease in TEXTURES.items():
        subject = ipha.simulate_subject("none", seed=body, disease=disease, size=size_of(body), **wanted)
        yield exposed(subject, body, kind, rng)


def measured(one: Simulated) -> pd.DataFrame:
    """The rows of a film, one a region, beside what was projected onto it; Dice of the fields with lung that is deep.

    Raises
    ------
    ImageError
        Where the film is refused.
    """
    fields = find_lung_fields(one.film)
    lungs = fields.lungs
    rows = measure_radiograph(one.film, lungs).set_index(["region", "measure"])["value"].unstack()  # noqa: PD010
    zones = film_zones(lungs) | {"lung": lungs}
    inside = [zone.array[..., 0] for zone in zones.values()]
    deep, found = one.depth > DEEP * one.depth.max(), lungs.array[..., 0]
    flags = [flag for flag in film_flags(one.film, fields) if flag not in ("no_pixel_spacing", "inverted_film")]
    return (
        rows.loc[list(zones)]
        .assign(
            blood=[float(one.blood[zone].mean()) for zone in inside],
            share=[float(one.blood[zone].sum() / max(one.depth[zone].sum(), 1)) for zone in inside],
            body=one.body, kind=one.kind, flagged=bool(flags),
            dice=2 * (found & deep).sum() / (found.sum() + deep.sum()),
        )
        .reset_index()
    )  # fmt: skip


def gathered(
    films: Callable[[int], Iterator[Simulated]], bodies: int, keep: Path | None
) -> tuple[pd.DataFrame, int, int]:
    """Rows of all films, how many films were refused, and how many there were."""
    tables, refused, count = [], 0, 0
    for body in range(HELD_OUT, HELD_OUT + bodies):
        for one in _kept(films, body, keep):
            count += 1
            try:
                tables.append(measured(one))
            except ImageError:
                refused += 1
    return pd.concat(tables, ignore_index=True), refused, count


def _kept(films: Callable[[int], Iterator[Simulated]], body: int, keep: Path | None) -> list[Simulated]:
    path = keep / f"{films.__name__}-{body}.pickle" if keep else None
    if path and path.is_file():
        return pickle.loads(path.read_bytes())  # our own file, asked for
    simulated = list(films(body))
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(simulated))
    return simulated


def with_interval(table: pd.DataFrame, figure: Callable[[pd.DataFrame], float]) -> str:
    """A figure and its 95 % interval over bodies drawn again."""
    rng, groups = np.random.default_rng(0), [group for _, group in table.groupby("body")]
    again = []
    for _ in range(RESAMPLED):
        drawn = rng.integers(0, len(groups), len(groups))
        again.append(figure(pd.concat([groups[n].assign(body=k) for k, n in enumerate(drawn)])))
    low, high = np.nanquantile(again, (0.025, 0.975))
    return f"{figure(table):.3f} ({low:.3f} to {high:.3f})"


def beside(one: str, other: str) -> Callable[[pd.DataFrame], float]:
    """Spearman of two columns."""
    return lambda table: float(spearmanr(table[one], table[other], nan_policy="omit")[0])


def opacity(bodies: int, keep: Path | None) -> Iterator[str]:
    """Opacity beside blood, then days to clear, on the same films."""
    table, refused, count = gathered(courses, bodies, keep)
    whole, zones = table[table["region"] == "lung"].copy(), table[table["region"] != "lung"]
    own = whole[whole["kind"] == "day -2"].set_index("body")["film_opacity_mean"]
    whole["rise"] = whole["film_opacity_mean"] - whole["body"].map(own)
    yield f"| films of {bodies} bodies | {count}, {refused} refused, {int(whole['flagged'].sum())} flagged |"
    yield f"| Dice with lung projected {100 * DEEP:.0f} % deep or more, mean | {with_interval(whole, _mean('dice'))} |"
    yield f"| least | {whole['dice'].min():.3f} |"
    yield f"| opacity beside mm of blood, Spearman | {with_interval(whole, beside('blood', 'film_opacity_mean'))} |"
    yield f"| beside the share of depth that is blood | {with_interval(whole, beside('share', 'film_opacity_mean'))} |"
    yield f"| rise above the own clear film beside the share | {with_interval(whole, beside('share', 'rise'))} |"
    yield f"| rise beside mm of blood | {with_interval(whole, beside('blood', 'rise'))} |"
    within = [spearmanr(g["blood"], g["film_opacity_mean"])[0] for _, g in zones.groupby(["body", "region"])]
    yield f"| a patient's zone over its films: median, least | {np.nanmedian(within):.2f}, {np.nanmin(within):.2f} |"
    yield f"| all zones of all films together | {with_interval(zones, beside('blood', 'film_opacity_mean'))} |"
    yield from clearing(whole)


def _mean(column: str) -> Callable[[pd.DataFrame], float]:
    return lambda table: float(table[column].mean())


def clearing(whole: pd.DataFrame) -> Iterator[str]:
    """Errors in days with a film before the bleed, as ``clear``, and without; days are a bound where none is clear."""
    errors: dict[str, list[float]] = {"with a film before the bleed": [], "without": []}
    bounds = dict.fromkeys(errors, 0)
    for _, films in whole[whole["kind"] != "less"].groupby("body"):
        if len(films) < len(DAYS):
            continue  # a film of the course was refused
        seen = films["film_opacity_mean"].to_numpy()
        true = time_to_clear(DAYS, films["blood"], clear=0.0).days
        before, without = time_to_clear(DAYS, seen, clear=seen[0]), time_to_clear(DAYS[1:], seen[1:])
        for name, found in zip(errors, (before, without), strict=True):
            bounds[name] += found.censored
            errors[name] += [] if found.censored else [found.days - true]
    for name, found in errors.items():
        near = sum(abs(error) <= 1 for error in found)
        low, high = binomtest(near, len(found)).proportion_ci(method="wilson") if found else (0.0, 1.0)
        listed = ", ".join(f"{error:+.2f}" for error in found)
        yield (
            f"| days to clear {name}: within one day | {near} of {len(found)} ({100 * low:.0f} to {100 * high:.0f} %); "
            f"{listed}; a bound only: {bounds[name]} |"
        )


def area_under_curve(positive: np.ndarray, score: np.ndarray) -> float:
    """Chance that a film of one kind scores higher than one of the other, 0 to 1."""
    ranks, n = rankdata(score), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def textures(bodies: int, keep: Path | None) -> Iterator[str]:
    """Lines and dots of clear, reticular and miliary films."""
    table, refused, count = gathered(patterns, bodies, keep)
    whole = table[table["region"] == "lung"].rename(
        columns={"film_reticular_score": "lines", "film_miliary_score": "dots"}
    )
    whole["dots over lines"] = whole["dots"] / whole["lines"]
    yield f"| films of textures | {count}, {refused} refused, {int(whole['flagged'].sum())} flagged |"
    for one, other, score in (
        ("reticular", "clear", "lines"), ("miliary", "clear", "dots"), ("miliary", "reticular", "dots over lines"),
    ):  # fmt: skip
        chosen = whole[whole["kind"].isin([one, other])]
        area = with_interval(chosen, lambda t, one=one, score=score: area_under_curve(t["kind"] == one, t[score]))
        yield f"| {one} from {other} by {score}, area | {area} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bodies", type=int, default=6)
    parser.add_argument("--parts", nargs="+", choices=("films", "opacity", "textures"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    start, lines = time.process_time(), []
    for part in args.parts or ("films", "opacity", "textures"):
        found = {
            "films": lambda: fields(args.data) if args.data.is_dir() else (),
            "opacity": lambda: ("", "| phantom | |", "| --- | --- |", *opacity(args.bodies, args.keep)),
            "textures": lambda: textures(args.bodies, args.keep),
        }[part]()
        for line in found:
            print(line, flush=True)
            lines.append(line)
    print(f"\n{time.process_time() - start:.0f} CPU s")
    if args.out:
        args.out.write_text("\n".join(["# Radiographs", "", *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
