"""Measure and show what idiopathic pulmonary hemosiderosis does to MRI, CT and radiographs.

For research, not for diagnosis. The names below are the public interface; each is imported when first used,
so ``import ipha_toolkit`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Volume": "volume",
    "Mask": "volume",
    "view": "viewer.widget",
    "SliceViewer": "viewer.widget",
    "Protocol": "protocol",
    "load": "io.images",
    "save": "io.images",
    "align": "image.align",
    "segment_lungs": "regions.lungs",
    "lung_regions": "regions.zones",
    "reference_tissue": "regions.muscle",
    "analyze": "run.cohort",
    "plan_import": "run.plan",
    "edit_plan": "viewer.plan",
    "import_dicom": "run.import_",
    "open_cohort": "io.layout",
    "open_results": "io.results",
    "report": "report.cohort",
    "simulate_subject": "phantom.subject",
    "simulate_course": "phantom.subject",
    "simulate_cohort": "run.simulate",
    "implant": "phantom.implant",
    "Disease": "phantom.disease",
    "measure_t1": "measure.signal",
    "measure_t2": "measure.signal",
    "measure_attenuation": "measure.attenuation",
    "measure_radiograph": "measure.radiograph",
    "render": "report.render",
    "fit_r2star": "measure.relaxometry",
    "measure_r2star": "measure.relaxometry",
    "classify_phase": "compare.phases",
    "hemosiderin_signature": "measure.hemosiderin",
    "measure_texture": "measure.texture",
    "detect_nodules": "measure.nodules",
    "measure_nodules": "measure.nodules",
}

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ipha_toolkit' has no attribute {name!r}")
    value = getattr(import_module(f"ipha_toolkit.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
