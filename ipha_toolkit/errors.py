"""The errors of the toolkit: each says what was given, what was needed, and how to mend it."""

from __future__ import annotations


class IphaError(Exception):
    """Base of every error the toolkit raises on purpose."""


class ReadError(IphaError):
    """A file cannot be read as what it claims to be; the message starts with the file's name."""


class LayoutError(IphaError):
    """A cohort folder is not laid out as it must be; the message names the file or folder."""


class GridError(IphaError, ValueError):
    """Two images that must share one grid do not."""


class ImageError(IphaError, ValueError):
    """An image's content rules the measurement out (empty, constant, no lung, wrong unit)."""


class DataError(IphaError, ValueError):
    """Tables do not hold what an answer needs; the message says what is missing."""


class ProtocolError(IphaError, ValueError):
    """A protocol file or value is not usable; the message names the key."""


class RoomError(IphaError, OSError):
    """A disk or quota is full; the message names the folder and the room needed."""


class RenderError(IphaError):
    """A notebook cannot be read, executed or written as a page; the message starts with the file's name."""


class PrivacyError(RenderError):
    """A page would publish what looks like a patient's identifier; the message lists what and in which cell."""


class DependencyError(IphaError, ImportError):
    """An optional package is needed; the message gives the command that installs it."""
