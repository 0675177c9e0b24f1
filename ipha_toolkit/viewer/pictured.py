"""What every widget of ours has beside its live form: a still picture of itself, and words."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from typing import Any

import anywidget
import traitlets as t

from ipha_toolkit.viewer.page import attended, page_fragment
from ipha_toolkit.viewer.saved import show_saved


class Pictured(anywidget.AnyWidget):  # type: ignore[misc]
    """A widget that shows its picture, with words, wherever it cannot run.

    Attributes
    ----------
    description : str, read only
        What is shown, in words.
    """

    stands_alone = True
    """Whether it is shown by itself, not inside another widget that takes it along into exported pages."""
    called = ""
    """What plain text calls it."""

    description = t.Unicode().tag(sync=True)
    _picture = t.Unicode().tag(sync=True)

    def still(self) -> tuple[Any, str]:
        """What is shown as a Pillow image, and in words."""
        raise NotImplementedError

    def to_html(self) -> str:
        """This widget, alive, for a page of one's own: see :func:`ipha_toolkit.viewer.page.page_fragment`."""
        return page_fragment(self)

    def _keep_still(self) -> tuple[Any, str]:
        """Draw the picture and put it, with its words, into the widget's state, for pages; returns both."""
        shown, self.description = kept = self.still()
        buffer = BytesIO()
        shown.save(buffer, format="PNG")
        self._picture = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
        return kept

    def _refresh_still(self) -> tuple[Any, str] | None:
        """As :meth:`_keep_still`; of a widget inside another, which keeps a picture of all, the words alone."""
        return self._keep_still()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The live widget, and its picture with words for every place that cannot run it."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        kept = self._refresh_still() or self.still()
        if attended():
            show_saved([kept])
        picture = self._picture.partition(",")[2]
        data["text/plain"] = f"{self.called}: {self.description}"
        data["text/html"] = f'<img src="data:image/png;base64,{picture}" alt="{escape(self.description)}">'
        data["image/png"] = picture
        return data, {"image/png": {"alt": self.description}}
