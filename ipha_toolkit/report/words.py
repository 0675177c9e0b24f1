"""What a page says of how its numbers were made: the methods ready for a paper, and what the flags mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from ipha_toolkit.flags import FLAGS
from ipha_toolkit.io.names import PAIR, PROVENANCE
from ipha_toolkit.io.proof import read_sealed
from ipha_toolkit.protocol import Protocol
from ipha_toolkit.report.pieces import html_table
from ipha_toolkit.wording import minus

if TYPE_CHECKING:
    from ipha_toolkit.report.cohort import Shown

_CITED = ("numpy", "scipy", "scikit-image", "SimpleITK", "nibabel", "numba")


def methods(shown: Shown) -> str:
    """A methods paragraph from what was measured, with what, and with which settings."""
    rows, protocol = shown.results.rows, shown.protocol
    there = set(rows["modality"])
    said = [_who(shown), *(words(protocol) for kinds, words in _SAID.items() if there & set(kinds)), _controls(rows)]
    versions = _versions(shown)
    made = versions.pop("ipha-toolkit", "")
    tools = ", ".join(f"{name} {versions[name]}" for name in _CITED if name in versions)
    said.append(f"Software: ipha_toolkit {made}{f' with {tools}' if tools else ''}.")
    other = protocol.differences()
    changed = f"Settings other than the defaults: {', '.join(other)}." if other else "All settings are the defaults."
    return (
        "<p>Ready to be edited for a paper; the numbers are those of the protocol used.</p>"
        f"<blockquote><p>{escape(minus(' '.join(filter(None, [*said, changed]))))}</p></blockquote>"
    )


def flags(shown: Shown) -> str:
    """Every flag that a row of these results carries: what it means, and how many images carry it."""
    rows = shown.results.rows[["subject", "session", "modality", "flag"]].drop_duplicates()
    rows = rows.assign(flag=rows["flag"].fillna("").str.split(";")).explode("flag")
    counts = rows[rows["flag"] != ""].drop_duplicates().groupby("flag").size().sort_values(ascending=False)
    cells = [[str(name).replace("_", " "), FLAGS.get(str(name), "not known"), str(n)] for name, n in counts.items()]
    if not cells:
        return ""
    return "<p>A flag says what limits the numbers of an image.</p>" + html_table(
        ["flag", "what it means", "images"], cells, numbers_from=2
    )


def _who(shown: Shown) -> str:
    subjects = {one.subject for one in shown.results}
    controls = {one.subject for one in shown.controls}
    apart = f", {len(controls)} of them controls" if controls else ""
    images = sum(len(one.modalities) for one in shown.results)
    return f"{images} images of {len(subjects)} participants{apart}, from {len(shown.results)} sessions, were measured."


def _ct(protocol: Protocol) -> str:
    cuts = protocol.attenuation
    low, high = cuts.ground_glass_hu
    dense = " to ".join(f"{v:.0f}" for v in cuts.high_attenuation_hu)
    vessels = "with" if protocol.lungs.vessels else "without"
    return (
        f"In CT the lungs were segmented {vessels} their vessels; ground glass was lung of {low:.0f} to {high:.0f} HU, "
        f"consolidation lung above {cuts.consolidation_hu:.0f} HU, high attenuation area lung of {dense} HU."
    )


def _mr(protocol: Protocol) -> str:
    return (
        "In MRI the coil's shading was corrected (N4) and the signal of the lung divided by that of paraspinal muscle; "
        f"voxels below {protocol.signal.noise_floor_sigmas:g} standard deviations of the noise count as floor."
    )


def _pair(protocol: Protocol) -> str:
    return (
        "T1w and T2w of a session were compared voxel by voxel, averaged over "
        f"{protocol.signature.smoothing_mm:g} mm, against the line that the controls give."
    )


def _echoes(protocol: Protocol) -> str:
    return "R2* was fitted to the gradient echoes voxel by voxel by maximum likelihood with Rician noise."


def _films(protocol: Protocol) -> str:
    cuts = protocol.films
    return (
        "In radiographs opacity was measured on a scale set by the film's own tissues, each value with an interval; "
        f"{cuts.ground_glass_opacity:g} of it counted as hazy, {cuts.consolidation_opacity:g} as consolidation."
    )


_SAID: dict[tuple[str, ...], Callable[[Protocol], str]] = {
    ("ct",): _ct, ("T1w", "T2w"): _mr, (PAIR,): _pair, ("MEGRE",): _echoes, ("dx",): _films,
}  # fmt: skip


def _controls(rows: pd.DataFrame) -> str:
    if not rows["measure"].str.endswith("_vs_controls").any():
        return ""
    return "Measures were set against those of the controls, each control left out of its own reference."


def _versions(shown: Shown) -> dict[str, str]:
    """Versions that the sessions were measured with; several of one package are joined."""
    found: dict[str, set[str]] = {}
    for one in shown.results:
        for name, version in read_sealed(one.folder / PROVENANCE).get("versions", {}).items():
            found.setdefault(name, set()).add(str(version))
    return {name: _joined(several) for name, several in found.items()}


def _joined(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))
