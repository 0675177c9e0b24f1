"""Pictures: plots and the slice viewer.

``ipha_toolkit.view`` is this folder and, as ``ipha_toolkit.view(volume)``, the call that opens the viewer,
:func:`ipha_toolkit.view.viewer.view`: importing any module of the folder puts the folder under that name, so the
folder itself has to be callable.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipha_toolkit.view.viewer import SliceViewer
    from ipha_toolkit.volume import Volume


class _CallableModule(ModuleType):
    def __call__(self, *volumes: "Volume", **options: Any) -> "SliceViewer":
        """Look at one to four images; see :func:`ipha_toolkit.view.viewer.view` for overlays and options."""
        from ipha_toolkit.view.viewer import view

        return view(*volumes, **options)


view = sys.modules[__name__]
view.__class__ = _CallableModule
