"""Measure and show what idiopathic pulmonary hemosiderosis does to MRI, CT and radiographs.

For research, not for diagnosis. The names below are the public interface; each is imported when first used,
so ``import ipha_toolkit`` stays light. Three of them are namespaces: ``plots`` holds the figures, ``compare`` the
statistics, and ``report``, which is also a call, the pages.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ipha_toolkit import lazy

__version__ = "0.1.0"

_NAMESPACES = {"plots": "figures", "compare": "compare", "report": "report"}

_HOME = {
    "Volume": "volume",
    "Mask": "volume",
    "view": "viewer.widget",
    "SliceViewer": "viewer.widget",
    "explore": "explorer.widget",
    "CohortExplorer": "explorer.widget",
    "Protocol": "protocol",
    "load": "io.images",
    "save": "io.images",
    "load_echoes": "io.images",
    "load_mask": "io.images",
    "correct_bias": "image.bias",
    "align": "image.align",
    "resample_to": "image.geometry",
    "segment_lungs": "regions.lungs",
    "find_lung_fields": "regions.films",
    "lung_regions": "regions.zones",
    "reference_tissue": "regions.muscle",
    "check": "run.check",
    "analyze": "run.cohort",
    "status": "run.status",
    "share": "report.share",
    "pool": "run.pool",
    "plan_import": "run.plan",
    "edit_plan": "viewer.plan",
    "paint": "viewer.painter",
    "review": "viewer.review",
    "ReviewQueue": "viewer.review",
    "import_dicom": "run.import_",
    "open_cohort": "io.layout",
    "open_results": "io.results",
    "teaching_cohort": "io.packaged",
    "teaching_sites": "io.packaged",
    "report": "report.cohort",
    "to_redcap": "io.redcap",
    "from_redcap": "io.redcap",
    "simulate_subject": "phantom.subject",
    "simulate_course": "phantom.subject",
    "simulate_cohort": "run.simulate",
    "simulate_disk": "run.disk",
    "implant": "phantom.implant",
    "Disease": "phantom.disease",
    "lung_signal": "phantom.states",
    "Bleed": "phantom.disease",
    "measure_signal": "measure.signal",
    "measure_t1": "measure.signal",
    "measure_t2": "measure.signal",
    "measure_attenuation": "measure.attenuation",
    "measure_radiograph": "measure.radiograph",
    "measure_opacity": "measure.radiograph",
    "render": "report.render",
    "fit_r2star": "measure.relaxometry",
    "measure_r2star": "measure.relaxometry",
    "classify_phase": "compare.phases",
    "hemosiderin_signature": "measure.hemosiderin",
    "signature_reference": "measure.hemosiderin",
    "ratio_pair": "measure.hemosiderin",
    "joint_histogram": "measure.hemosiderin",
    "measure_texture": "measure.texture",
    "detect_nodules": "measure.nodules",
    "measure_nodules": "measure.nodules",
    "detectable_places": "measure.nodule_null",
    "if_possible": "figures.core",
}

__all__ = ["__version__", *_NAMESPACES, *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return import_module(f"ipha_toolkit.{_NAMESPACES[name]}")
    return lazy.find(__name__, _HOME, name)


def __dir__() -> list[str]:
    return sorted(__all__)
