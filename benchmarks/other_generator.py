"""A second generator of lungs, which the rules have not met: other anatomy, other texture, disease by the literature.

Nothing is shared with ``ipha_toolkit.phantom``: lungs are bent superellipsoids, vessels a random tree, texture a random
field with a power-law spectrum, septa the zero sets of random fields, nodules tilted ellipsoids. Images are built as
arrays, with the lung mask known: segmentation is not what is tested. CT at 2 mm of a small chest, MRI at 3 mm, so that
a case costs a second or two.

Ranges, drawn evenly unless said otherwise:

* healthy density: -850 HU, SD 25 between people (chosen; Fromson & Denison, Thorax 1988;43:120, give 25 HU for slices,
  once their area is taken into account); children over 7 years -792 HU,
  95 % -702 to -882 (doi 10.1097/00004424-198708000-00002); two years old -630 to -680 HU (PMC5116406);
  expiration 158 HU denser (same as children); lung water by MRI varies by 20 % between people (PMC3354915);
* acute: diffuse homogeneous ground glass; subacute: diffuse nodules and patchy ground glass; chronic: reticulation or
  miliary stippling, micronodules (Ha & Palacio, SWJPCC 2020); ground glass adds 120 to 350 HU (-750 to -300 HU in all,
  common practice); nodules of 2 to 4 mm (a 1 mm one is not in a 2 mm voxel);
* look-alikes as in Webb, Muller & Naidich, High-Resolution CT of the Lung, and the Fleischner glossary (Hansell 2008,
  doi 10.1148/radiol.2462070712): edema central or dependent with septal lines; pneumonia one lobe, consolidated;
  Pneumocystis diffuse, perihilar, in part geographic; hypersensitivity pneumonitis faint centrilobular nodules, patchy
  ground glass and trapped air; miliary infection random nodules of 2 to 3 mm, 60 to 250 a litre; alveolar proteinosis
  crazy paving; usual interstitial pneumonia basal and subpleural reticulation; emphysema holes of -970 HU. Where no
  number is given it is chosen;
* MRI: lung T1 1200/1281 ms, T2* 1.4 (1.2 to 2.1)/0.74 ms at 1.5/3 T (Yu 2011, doi 10.1002/mrm.22829; PMC3354915),
  muscle T1 856/898, T2 27/29 (de Bazelaire 2004); blood that fills air space T1 1400, T2 130 ms; iron as loss of T2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ipha_toolkit.volume import Mask, Volume

CT_MM, MR_MM = 2.0, 3.0


@dataclass(frozen=True)
class Case:
    """One case: its condition, what would be right, images, lungs, muscle, and what the cohort folder would say."""

    condition: str
    kind: str
    right: frozenset
    known: bool
    images: dict
    lungs: dict
    muscle: dict
    age: float = 30.0
    flags: tuple = ()
    clean: bool = True


OPEN, SCAR = "air-space filling, cause open", "fibrosis, cause open"


# --- CT -------------------------------------------------------------------------------------------------------------


def field(shape, rng, *, size_mm, spacing_mm, slope=0.0):
    """A Gaussian random field of unit variance by its spectrum: flat up to a size, or falling by a power."""
    axes = [np.fft.fftfreq(n, spacing_mm)[(...,) + (None,) * (2 - k)] for k, n in enumerate(shape)]
    f = np.sqrt(sum(a**2 for a in axes)).astype(np.float32)
    shaping = (f + 1e-3) ** (-slope) * np.exp(-((f * size_mm) ** 2)) if slope else np.exp(-((f * size_mm) ** 2) / 0.3)
    noise = np.fft.fftn(rng.standard_normal(shape).astype(np.float32))
    out = np.fft.ifftn(noise * shaping).real.astype(np.float32)
    return (out - out.mean()) / out.std()


def chest(rng, spacing_mm, *, scale=1.0, loss=0.0, thick=1.0):
    """Lungs, body and coordinates: two superellipsoids, flat below, cut by a heart on the left; an oval of tissue."""
    half = np.array([112.0, 78.0, 108.0]) * scale
    wall = np.array([24.0, 24.0, 2.0]) * thick * scale + np.array([12.0, 12.0, 4.0])
    shape = np.ceil(2 * (half + wall) / spacing_mm).astype(int)
    x, y, z = (
        ((np.arange(n) - (n - 1) / 2) * s)[(...,) + (None,) * (2 - k)]
        for k, (n, s) in enumerate(zip(shape, np.broadcast_to(spacing_mm, 3), strict=True))
    )
    p = rng.uniform(2.1, 2.9)
    lungs = np.zeros(shape, bool)
    for side in (-1, 1):
        a, b, c = np.array([48.0, 70.0, 100.0 * (1 - 0.25 * loss)]) * scale * rng.uniform(0.94, 1.06, 3)
        cx = side * 58.0 * scale
        bend = 10.0 * scale * (z / (100 * scale)) ** 2
        u, v, w = (x - cx + side * bend) / a, (y + 4 * (z / (100 * scale))) / b, (z + 8 * scale) / c
        lungs |= (np.abs(u) ** p + np.abs(v) ** p + np.abs(w) ** 2.0) < 1
    dome = -58 * scale + 26 * scale * np.exp(-((np.abs(x) - 58 * scale) ** 2 + y**2) / (2 * (40 * scale) ** 2))
    lungs &= z > dome
    heart = ((x + 18 * scale) / (40 * scale)) ** 2 + ((y - 22 * scale) / (34 * scale)) ** 2
    lungs &= heart + ((z + 34 * scale) / (44 * scale)) ** 2 > 1
    oval = (np.abs(x) / (half[0] + wall[0] - 10)) ** 2.4 + (np.abs(y) / (half[1] + wall[1] - 10)) ** 2.4
    body = oval + 0 * z < 1
    body = np.broadcast_to(body, shape)
    return lungs & body, body, (x, y, z)


def vessels(shape, lungs, rng, spacing_mm, *, scale=1.0):
    """Share of each voxel that is vessel: a tree that forks at random from each hilum, thinner at every fork."""
    origin = [(n - 1) / 2 for n in shape]
    points, radii, steps = [], [], []
    for side in (-1, 1):
        hilum = np.array([side * 24.0, -4.0, 0.0]) * scale
        ways = rng.normal(0, 1, (5, 3)) + np.array([side * 0.9, 0, 0])
        tips = [(hilum, way, rng.uniform(3.4, 4.8) * scale, rng.uniform(26, 36) * scale) for way in ways]
        while tips:
            at, way, radius, length = tips.pop()
            if radius < 0.38:
                continue
            way = way / np.linalg.norm(way)
            end = at + way * length
            count = max(2, int(np.ceil(length / spacing_mm * 2)))
            points.append(at + (end - at) * ((np.arange(count) + 0.5) / count)[:, None])
            radii.append(np.full(count, radius))
            steps.append(np.full(count, length / count))
            for _ in range(2 if radius > 3 or rng.random() < 0.9 else 1):
                turn = rng.normal(0, 0.62, 3)
                tips.append((end, way + turn, radius * rng.uniform(0.66, 0.8), length * rng.uniform(0.68, 0.86)))
    radii, steps = np.concatenate(radii), np.concatenate(steps)
    places = np.concatenate(points) / spacing_mm + origin
    index = np.rint(places).astype(int)
    keep = ((index >= 0) & (index < shape)).all(axis=1)
    index, radii, steps, places = index[keep], radii[keep], steps[keep], places[keep]
    share = np.zeros(shape, np.float32)
    for low, high in ((3.5, 9), (2.2, 3.5), (1.3, 2.2)):
        chosen = (radii >= low * scale**0.5) & (radii < high * scale**0.5)
        if chosen.any():
            seed = np.ones(shape, bool)
            seed[tuple(index[chosen].T)] = False
            reach = ndimage.distance_transform_edt(seed) * spacing_mm
            share = np.maximum(share, np.clip((radii[chosen].mean() - reach) / spacing_mm + 0.5, 0, 1))
    thin = radii < 1.3 * scale**0.5
    line = _splat(shape, places[thin], np.pi * radii[thin] ** 2 * steps[thin] / spacing_mm**3)
    return np.clip(np.maximum(share, line), 0, 1) * lungs


def _splat(shape, places, amounts):
    """Amounts shared out among the eight voxels around each place, so that a thin line has no steps."""
    low = np.floor(places).astype(int)
    part = places - low
    found = np.zeros(shape, np.float32)
    for corner in np.ndindex(2, 2, 2):
        at = low + corner
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        np.add.at(found, tuple(at[inside].T), (amounts * weight)[inside])
    return found


def stamp_nodules(shape, lungs, rng, spacing_mm, *, per_litre, size_mm, off_pleura_mm=0.0):
    """Share of each voxel that is nodule: tilted ellipsoids at random, or away from the pleura."""
    share = np.zeros(shape, np.float32)
    depth = ndimage.distance_transform_edt(lungs) * spacing_mm
    allowed = np.argwhere(depth > max(off_pleura_mm, 1.0))
    count = int(per_litre * lungs.sum() * spacing_mm**3 / 1e6)
    for centre in allowed[rng.integers(len(allowed), size=count)]:
        radius = rng.uniform(*size_mm) / 2 * rng.uniform(0.85, 1.2, 3)
        at = centre + rng.uniform(-0.5, 0.5, 3)
        reach = int(np.ceil(radius.max() / spacing_mm + 1))
        low = np.maximum(centre - reach, 0)
        high = np.minimum(centre + reach + 1, shape)
        fine = 3
        grids = [np.arange(a, b, 1 / fine) + 0.5 / fine - 0.5 for a, b in zip(low, high, strict=True)]
        u, v, w = (
            ((g - c) * spacing_mm / r)[(...,) + (None,) * (2 - k)]
            for k, (g, c, r) in enumerate(zip(grids, at, radius, strict=True))
        )
        inside = (u * u + v * v + w * w < 1).astype(np.float32)
        n = high - low
        part = inside.reshape(n[0], fine, n[1], fine, n[2], fine).mean(axis=(1, 3, 5))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        share[box] = np.maximum(share[box], part)
    return share * lungs


def net(shape, rng, spacing_mm, *, mesh_mm, width):
    """Share of each voxel that is septum: where either of two random fields crosses 0."""
    fields = (field(shape, rng, size_mm=mesh_mm, spacing_mm=spacing_mm) for _ in range(2))
    return np.maximum(*(np.clip(1 - np.abs(one) / width, 0, 1) for one in fields))


def where(kind, lungs, xyz, rng, spacing_mm, scale):
    """Weight from 0 to 1 of a distribution over the lungs."""
    x, y, z = xyz
    if kind == "diffuse":  # apices and costophrenic angles spared
        spared = 1 / (1 + np.exp((z - 62 * scale) / (6 * scale))) * 1 / (1 + np.exp((-52 * scale - z) / (5 * scale)))
        return np.broadcast_to(spared, lungs.shape) * np.ones(lungs.shape, np.float32)
    if kind == "central":
        away = np.sqrt((np.abs(x) - 26 * scale) ** 2 + y**2 + (z * 0.8) ** 2)
        return np.exp(-((away / (85 * scale)) ** 2)) + 0.0 * z
    if kind == "dependent":
        return np.clip(0.5 - y / (130 * scale) - 0.3 * z / (100 * scale), 0, 1) + 0.0 * x
    if kind == "basal rim":
        depth = ndimage.distance_transform_edt(lungs) * spacing_mm
        return np.exp(-depth / (14 * scale)) / (1 + np.exp((z + 5 * scale) / (16 * scale)))
    if kind == "lobe":
        side = rng.choice([-1, 1])
        lower = rng.random() < 0.6
        return ((np.sign(x) == side) & ((z < -5 * scale) if lower else (z > 15 * scale)) & (y == y)).astype(np.float32)
    if kind == "one side":
        side = rng.choice([-1, 1])
        return ((np.sign(x) == side) & (y == y) & (z == z)).astype(np.float32)
    raise ValueError(kind)


def patches(shape, rng, spacing_mm, *, size_mm, share):
    """1 in patches that cover a share, 0 between them."""
    f = field(shape, rng, size_mm=size_mm, spacing_mm=spacing_mm)
    cut = np.quantile(f[::3, ::3, ::3], 1 - share)
    return 1 / (1 + np.exp(-(f - cut) * 7))


def ct(rng, *, base, scale=1.0, thick=1.0, noise=None, loss=0.0, holes=0.0, ggo=None, consolidation=None, nodules=None,
       septa=None, cut=False, trapping=0.0):  # fmt: skip
    """A CT and its lungs. ``ggo``: (rise in HU, where, patch size mm or 0, share of patches)."""
    s, scale = CT_MM, 0.75 * scale  # a small chest, so that a case is cheap
    lungs, body, xyz = chest(rng, s, scale=scale, loss=loss, thick=thick)
    shape = lungs.shape
    hu = np.where(body, np.float32(45), np.float32(-1000))
    texture = field(shape, rng, size_mm=1.0, spacing_mm=s, slope=1.2)
    lung = base + 14 * texture - rng.uniform(0.2, 0.6) * xyz[1] / scale
    if trapping:
        lung = lung - 70 * patches(shape, rng, s, size_mm=14, share=trapping)
    if holes:
        lung = np.where(field(shape, rng, size_mm=7, spacing_mm=s) > np.quantile(texture[::5], 1 - holes), -970, lung)
    if ggo:
        rise, kind, patch, share = ggo
        weight = where(kind, lungs, xyz, rng, s, scale)
        weight = weight * patches(shape, rng, s, size_mm=patch, share=share) if patch else weight * (1 + 0.04 * texture)
        lung = lung + rise * weight
    if consolidation:
        kind, share = consolidation
        solid = where(kind, lungs, xyz, rng, s, scale) * patches(shape, rng, s, size_mm=22, share=share)
        lung = lung + (30 - lung) * np.clip(solid * 1.1, 0, 1)
    if septa:
        width, mesh, kind = septa
        weight = where(kind, lungs, xyz, rng, s, scale) if kind else 1.0
        lung = lung + (0 - lung) * np.clip(net(shape, rng, s, mesh_mm=mesh, width=width) * 0.75 * weight, 0, 0.9)
    for per_litre, size, off, contrast in nodules or ():
        drawn = stamp_nodules(shape, lungs, rng, s, per_litre=per_litre, size_mm=size, off_pleura_mm=off)
        lung = lung + (contrast * (30 - lung)) * drawn
    lung = lung + (40 - lung) * vessels(shape, lungs, rng, s, scale=scale)
    hu = np.where(lungs, lung, hu)
    hu = ndimage.gaussian_filter(hu, 0.35)
    level = rng.uniform(14, 30) if noise is None else noise
    hu = hu + level * field(shape, rng, size_mm=1.6, spacing_mm=s, slope=0.0)
    affine = np.diag([s, s, s, 1.0])
    if cut:
        top = int(shape[2] * 0.72)
        hu, lungs = hu[:, :, :top], lungs[:, :, :top]
    volume = Volume(
        hu.astype(np.float32), affine, modality="ct", unit="HU", name="ct", meta={"ConvolutionKernel": "soft"}
    )
    return volume, Mask(lungs, affine)


def _adult(rng):
    return float(rng.normal(-850, 25))


def ct_case(condition, rng):
    """One CT case of a condition."""
    base, u = _adult(rng), rng.uniform
    kw, right, known, flags, age, clean = {}, {"none"}, False, (), 30.0, True
    nodules = [(u(90, 200), (2.2, 4.2), 4.0, 1.0)]
    ggo_acute = (u(180, 380), str(rng.choice(["diffuse", "diffuse", "central"])), 0, 0)
    if condition in ("healthy child of 8 to 14", "healthy child, children as controls"):
        base, kw, age, flags = float(rng.normal(-792, 40)), {"scale": u(0.72, 0.9)}, 10.0, ("child",)
    elif condition == "healthy, two years":
        base, kw, age, clean = u(-680, -630), {"scale": 0.55}, 2.0, False
        flags = ("child", "young_child")
    elif condition == "healthy, expiration":
        base, kw, flags, clean = base + 158 * u(0.8, 1.1), {"scale": 0.85}, ("expiration",), False
    elif condition == "obesity":
        base, kw = base + u(20, 60), {"thick": 2.0, "noise": u(35, 55), "scale": 0.9}
    elif condition == "emphysema":
        base, kw = base - 30, {"holes": u(0.08, 0.25)}
    elif condition == "cut field of view":
        kw, flags, clean = {"cut": True}, ("cut_field_of_view",), False
    elif condition.startswith("acute"):
        solid = ("central", u(0.1, 0.4)) if rng.random() < 0.5 else None
        kw, right = {"ggo": ggo_acute, "consolidation": solid}, {"acute", OPEN}
    elif condition.startswith("subacute"):
        kw = {"ggo": (u(120, 260), "diffuse", u(12, 22), u(0.3, 0.6)), "nodules": nodules}
        right = {"subacute", OPEN}
        kw |= {"septa": (u(0.05, 0.1), u(16, 24), None)} if rng.random() < 0.5 else {}
    elif condition.startswith("chronic"):
        kind = rng.choice(["stippling", "reticulation", "both"])
        kw = {} if kind == "reticulation" else {"nodules": nodules}
        kw |= {} if kind == "stippling" else {"septa": (u(0.2, 0.35), u(10, 15), None), "loss": u(0.1, 0.5)}
        right = {"chronic", SCAR}
    elif condition == "unilateral bleed, known":
        kw, right = {"ggo": (u(200, 350), "one side", 0, 0)}, {"acute", OPEN}
    elif condition == "edema":
        kw = {"ggo": (u(120, 300), str(rng.choice(["central", "dependent"])), 0, 0), "septa": (u(0.1, 0.2), 20, None)}
        right = {OPEN}
    elif condition == "pneumonia":
        kw, right = {"consolidation": ("lobe", u(0.5, 0.9)), "ggo": (u(80, 200), "lobe", 0, 0)}, {OPEN}
    elif condition == "Pneumocystis":
        patch = rng.random() < 0.5
        kw = {"ggo": (u(150, 320), "central" if patch else "diffuse", 18 if patch else 0, 0.6)}
        right = {OPEN}
    elif condition == "hypersensitivity pneumonitis":
        kw = {"ggo": (u(100, 220), "diffuse", u(14, 24), u(0.3, 0.6)), "trapping": u(0.15, 0.3),
              "nodules": [(u(80, 160), (3.0, 5.0), 5.0, 0.45)]}  # fmt: skip
        right = {OPEN}
    elif condition == "miliary infection":
        kw, right = {"nodules": [(u(60, 250), (2.0, 3.2), 0.0, 1.0)]}, set()
    elif condition == "alveolar proteinosis":
        kw = {"ggo": (u(200, 350), "diffuse", u(20, 35), u(0.4, 0.7)), "septa": (u(0.12, 0.22), 18, None)}
        right = {OPEN}
    elif condition == "usual interstitial pneumonia":
        kw, right = {"septa": (u(0.3, 0.5), u(8, 12), "basal rim"), "loss": u(0.3, 0.8)}, {SCAR}
    if "known" in condition:
        known = True
    if condition == "acute child, known, children as controls":
        base, age, flags = float(rng.normal(-792, 40)), 10.0, ("child",)
        kw["scale"] = u(0.72, 0.9)
    volume, lungs = ct(rng, base=base, **kw)
    return Case(condition, "CT", frozenset(right), known, {"ct": volume}, {"ct": lungs}, {}, age, flags, clean)


CT_CONDITIONS = (
    "healthy adult", "healthy child of 8 to 14", "healthy, two years", "healthy, expiration", "obesity", "emphysema",
    "cut field of view", "acute, known", "acute, images alone", "subacute, known", "subacute, images alone",
    "chronic, known", "chronic, images alone", "unilateral bleed, known", "edema", "pneumonia", "Pneumocystis",
    "hypersensitivity pneumonitis", "miliary infection", "alveolar proteinosis", "usual interstitial pneumonia",
)  # fmt: skip


# --- MRI ------------------------------------------------------------------------------------------------------------

SEQUENCES = {
    "VIBE and TSE": ({"te": 1.3, "tr": 4.1, "flip": 9.0}, {"te": 82.0, "tr": 2000.0}, {}),
    "VIBE and TSE, fat suppressed": ({"te": 1.3, "tr": 4.1, "flip": 9.0}, {"te": 82.0, "tr": 2000.0}, {"fat": True}),
    "coronal single shot of 8 mm": ({"te": 1.3, "tr": 4.1, "flip": 9.0}, {"te": 64.0, "tr": 1500.0}, {"thick": True}),
    "ultra-short TE": ({"te": 0.07, "tr": 4.0, "flip": 5.0}, {"te": 82.0, "tr": 2000.0}, {}),
}


def mri(rng, *, sequence="VIBE and TSE", field_t=1.5, wet=None, water=0.0, met=0.0, iron=0.0, patch=0.0, ghosts=0.0,
        uneven=False, masked=False, contrast=False, scale=1.0):  # fmt: skip
    """T1w and T2w, lungs and muscle. ``water``: share of air space filled; ``met`` and ``iron`` as rates added, 1/s."""
    t1, t2, how = SEQUENCES[sequence]
    spacing = np.array([MR_MM, 8.0, MR_MM]) if how.get("thick") else np.array([MR_MM] * 3)
    # a thick coronal slice is the mean of thin ones
    lungs, body, xyz = chest(rng, MR_MM, scale=scale)
    shape = lungs.shape
    three = field_t > 2
    wet = float(np.exp(np.clip(rng.normal(0, 0.2), -0.45, 0.45))) if wet is None else wet
    texture = field(shape, rng, size_mm=4.0, spacing_mm=MR_MM, slope=0.8)
    tissue = np.clip(0.15 * wet * (1 + 0.1 * texture - 0.15 * xyz[1] / (70 * scale)), 0.03, 0.6)
    spread = where("diffuse", lungs, xyz, rng, MR_MM, scale)
    spread = spread * patches(shape, rng, MR_MM, size_mm=16, share=patch) * 1.4 if patch else spread
    fluid = (1 - tissue) * np.clip(water * spread, 0, 1)
    w = tissue + fluid
    share = fluid / w
    air = (1 - w) / 0.85
    r1 = (1 - share) * (1e3 / (1281 if three else 1200)) + share * (1e3 / (1700 if three else 1400)) + met
    r1 = r1 + (1.4 if contrast else 0.0)
    r2 = (1 - share) * 25 + share * 7.7 + 20 * air + iron
    star = (1351 if three else 1e3 / rng.uniform(1.2, 1.6)) * air + r2 + 7 * iron
    muscle_r1, muscle_r2 = (1e3 / 898, 34.5) if three else (1e3 / 856, 37.0)
    fat_pd = 0.12 if how.get("fat") else 0.95

    def gre(pd, a, b):
        e = np.exp(-t1["tr"] / 1e3 * a)
        flip = np.deg2rad(t1["flip"])
        return pd * np.sin(flip) * (1 - e) / (1 - np.cos(flip) * e) * np.exp(-t1["te"] / 1e3 * b)

    def se(pd, a, b):
        return pd * (1 - np.exp(-t2["tr"] / 1e3 * a)) * np.exp(-t2["te"] / 1e3 * b)

    x, y, z = xyz
    muscle = body & ~lungs & (np.abs(np.abs(x) - 26 * scale) < 12) & (y < -72 * scale) & (y > -90 * scale)
    muscle = muscle & ~ndimage.binary_dilation(lungs, iterations=2) & (z == z)
    rim = body & ~ndimage.binary_erosion(body, iterations=3)
    vessel = vessels(shape, lungs, rng, MR_MM, scale=scale)
    images, kept = {}, {}
    for role, (signal, blood) in {"T1w": (gre, 0.9), "T2w": (se, 0.1)}.items():
        level = signal(0.79, muscle_r1, muscle_r2 * (1.6 if role == "T1w" else 1))
        clean = np.where(body, np.float32(level), 0)
        clean = np.where(rim, signal(fat_pd, 1e3 / 350, 1e3 / 60) if fat_pd > 0.5 else 0.15 * level, clean)
        lung = signal(w, r1, star if role == "T1w" else r2)
        clean = np.where(lungs, lung * (1 - vessel) + blood * level * vessel, clean)
        clean = clean / level
        if ghosts:
            shift = rng.integers(clean.shape[1] // 3, clean.shape[1] // 2)
            clean = clean + ghosts * np.roll(clean, shift, axis=1)
        box = np.pad(clean, ((8, 8), (8, 8), (0, 0)))
        here_lungs, here_muscle = (np.pad(m, ((8, 8), (8, 8), (0, 0))) for m in (lungs, muscle))
        if ghosts:
            box = box + ghosts * np.roll(box, box.shape[1] // 2, axis=1) * (box < 0.02)
        if how.get("thick"):
            n = box.shape[1] // 3 * 3
            box = box[:, :n].reshape(box.shape[0], -1, 3, box.shape[2]).mean(axis=2)
            here_lungs, here_muscle = (
                m[:, :n].reshape(m.shape[0], -1, 3, m.shape[2]).mean(axis=2) > 0.7 for m in (here_lungs, here_muscle)
            )
        sigma = 1 / rng.uniform(35, 65) / (1 if role == "T1w" else 0.8)
        if uneven:
            sigma = sigma * (1 + np.linspace(0, 1.5, box.shape[0]))[:, None, None]
        noise = rng.standard_normal((2, *box.shape))
        image = np.hypot(box + sigma * noise[0], sigma * noise[1])
        if masked:
            seen = ndimage.gaussian_filter(box, 1.5) > 0.03
            image = image * seen if masked == "air" else np.where(image < 0.1, 0, image) * seen
        step = MR_MM * 3 if how.get("thick") else MR_MM
        affine = np.diag([MR_MM, step, MR_MM, 1.0])
        meta = {"MagneticFieldStrength": field_t, "ScanOptions": "FS" if how.get("fat") else "PFP"}
        meta |= {
            "EchoTime": (t1 if role == "T1w" else t2)["te"] / 1e3,
            "RepetitionTime": (t1 if role == "T1w" else t2)["tr"] / 1e3,
        }
        meta |= {"FlipAngle": t1["flip"]} if role == "T1w" else {}
        meta |= {"ContrastBolusIngredient": "GADOLINIUM"} if contrast and role == "T1w" else {}
        images[role] = Volume((400 * image).astype(np.float32), affine, modality=role, name=f"{role}", meta=meta)
        kept[role] = (Mask(here_lungs, affine), Mask(here_muscle, affine))
    del spacing
    return images, {r: k[0] for r, k in kept.items()}, {r: k[1] for r, k in kept.items()}


DISEASE = {
    "healthy": ({}, {"none"}),
    "acute": (lambda u: {"water": u(0.25, 0.7), "met": u(0, 0.2), "iron": u(0, 3)}, {"acute", OPEN}),
    "subacute": (
        lambda u: {"water": u(0.1, 0.25), "met": u(0.8, 1.6), "iron": u(8, 18), "patch": 0.6},
        {"subacute", OPEN},
    ),
    "chronic": (lambda u: {"water": u(0.0, 0.06), "met": u(0.4, 1.0), "iron": u(25, 60)}, {"chronic", SCAR}),
    "edema": (lambda u: {"water": u(0.15, 0.5)}, {OPEN}),
}

MR_CONDITIONS = (
    *(f"MRI {d}, {s}" for s in SEQUENCES for d in ("healthy", "acute", "subacute", "chronic", "edema")
      if s == "VIBE and TSE" or d in ("healthy", "acute", "chronic")),
    "MRI healthy, ghosts of 6 %", "MRI healthy, uneven noise", "MRI healthy, masked background",
    "MRI chronic, masked background", "MRI healthy, contrast agent", "MRI subacute, contrast agent",
    "MRI healthy, child of other controls", "MRI healthy, 3 T against 1.5 T", "MRI healthy, no controls",
)  # fmt: skip

MORE_CONDITIONS = (
    "healthy child, children as controls", "acute child, known, children as controls",
    "MRI healthy, background alone masked", "MRI acute, background alone masked", "MRI acute, uneven noise",
)  # fmt: skip
"""Added later, at the end, so that the others keep their cases."""


def mr_case(condition, rng):
    """One MRI case of a condition."""
    disease, variant = condition.removeprefix("MRI ").split(", ", 1)
    made, right = DISEASE[disease]
    kw = made(rng.uniform) if callable(made) else {}
    kw["sequence"] = variant if variant in SEQUENCES else "VIBE and TSE"
    clean, age, flags = variant in SEQUENCES, 30.0, ()
    if variant.startswith("ghosts"):
        kw["ghosts"] = 0.06
    elif variant.startswith("uneven"):
        kw["uneven"] = True
    elif variant.startswith("masked"):
        kw["masked"] = True
    elif variant.startswith("background"):
        kw["masked"] = "air"
    elif variant.startswith("contrast"):
        kw["contrast"] = True
    elif variant.startswith("child"):
        kw |= {"scale": 0.75, "wet": float(np.exp(rng.normal(0.35, 0.15)))}
        age, flags = 8.0, ("child",)
    elif variant.startswith("3 T"):
        kw["field_t"] = 3.0
    images, lungs, muscle = mri(rng, **kw)
    known = disease in ("acute", "subacute", "chronic")
    return Case(condition, "MRI", frozenset(right), known, images, lungs, muscle, age, flags, clean)


def make(condition, number, seed):
    """Case ``number`` of a condition; cases of one seed and number differ between conditions."""
    names = (*CT_CONDITIONS, *MR_CONDITIONS, *MORE_CONDITIONS)
    rng = np.random.default_rng([seed, names.index(condition), number, 4242])
    return (mr_case if condition.startswith("MRI") else ct_case)(condition, rng)


CT_CONTROLS = "CT of children"


def control(sequence, number, seed):
    """A healthy adult scanned with a sequence, or a child by CT."""
    if sequence == CT_CONTROLS:
        rng = np.random.default_rng([seed, 99, number, 777])
        volume, lungs = ct(rng, base=float(rng.normal(-792, 40)), scale=rng.uniform(0.72, 0.9))
        about = f"control, {sequence}", "CT", frozenset({"none"}), False
        return Case(*about, {"ct": volume}, {"ct": lungs}, {}, 8.0 + 0.75 * number, ("child",))
    rng = np.random.default_rng([seed, list(SEQUENCES).index(sequence), number, 777])
    images, lungs, muscle = mri(rng, sequence=sequence)
    return Case(f"control, {sequence}", "MRI", frozenset({"none"}), False, images, lungs, muscle, 25.0 + number)
