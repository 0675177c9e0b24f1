"""The step of multi-echo images."""

from __future__ import annotations

from ipha_toolkit.io.images import load_echoes
from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.run.scan import Context, find_lungs
from ipha_toolkit.terms import Modality

_LATEST_MS = 10.0


def measure_echoes(files: SessionFiles, context: Context) -> SessionResult:
    from ipha_toolkit.measure.relaxometry import measure_r2star

    echoes, te_ms = load_echoes(files.echoes)
    late = max([n for n, te in enumerate(te_ms) if te <= _LATEST_MS], default=0)  # lung is gone by then, muscle is not
    lungs, flags = find_lungs(files, echoes[late], context)
    if Modality.CT not in files.images:
        flags = (*flags, "no_lung_density")
    rows, fit = measure_r2star(echoes, te_ms, lungs, flags=flags, protocol=context.protocol)
    return SessionResult(rows, {"MEGRE_desc-lung_mask.nii.gz": lungs, "MEGRE_desc-r2star_map.nii.gz": fit.r2star})
