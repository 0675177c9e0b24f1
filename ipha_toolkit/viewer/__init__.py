"""The slice viewer: the widget, what it sends to the browser, and its stand-ins in pages without a kernel."""
