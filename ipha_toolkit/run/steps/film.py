"""The step of radiographs."""

from __future__ import annotations

from ipha_toolkit.io.layout import SessionFiles
from ipha_toolkit.io.results import SessionResult
from ipha_toolkit.run.scan import Context, foreign
from ipha_toolkit.volume import Volume


def measure_film(files: SessionFiles, film: Volume, context: Context, single: SessionResult) -> SessionResult:
    from ipha_toolkit.measure.radiograph import measure_radiograph
    from ipha_toolkit.regions.films import film_flags, find_lung_fields

    given = foreign(files.lungs, film)
    flags = list(context.flags)
    if given is not None:
        lungs = given
        flags += [*film.meta.get("ReadFlags", ()), "foreign_mask"]
    elif context.segment:
        lungs = context.segment(film)
        flags += film.meta.get("ReadFlags", ())
    else:
        fields = find_lung_fields(film, protocol=context.protocol)
        lungs = fields.lungs
        flags += film_flags(film, fields, protocol=context.protocol)
    rows = measure_radiograph(film, lungs, flags=flags, protocol=context.protocol)
    return SessionResult(rows, {"dx_desc-lung_mask.nii.gz": lungs})
