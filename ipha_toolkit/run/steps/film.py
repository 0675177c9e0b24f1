"""The step of radiographs: opacity and texture of the lung fields."""

from __future__ import annotations

from ipha_toolkit.io.outputs import Part
from ipha_toolkit.measure.radiograph import measure_radiograph
from ipha_toolkit.regions.films import film_flags, find_lung_fields
from ipha_toolkit.run.scan import Scan


def measure_film(scan: Scan) -> Part:
    """Opacity and texture by zone, with the lung fields."""
    film, lungs = scan.volume, scan.given_lungs
    if lungs is not None:
        scan.flags.add("foreign_mask")
    elif scan.context.segment is not None:
        lungs = scan.context.segment(film)
    else:
        fields = find_lung_fields(film, protocol=scan.protocol)
        lungs = fields.lungs
        scan.flags |= set(film_flags(film, fields, protocol=scan.protocol))
    rows = measure_radiograph(film, lungs, flags=scan.flags, protocol=scan.protocol)
    return Part(scan.role, rows, masks={"lung": lungs})
