"""Every default of the analysis in one frozen dataclass, read from and written to TOML.

A setting carries its unit and its source, which are written beside it as a comment, so that a reader of the
file can disagree with one line, change it, and see what changes. "Chosen on the phantom" marks what no
publication settles.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_type_hints

from ipha_toolkit.errors import ProtocolError


def _setting(default: Any, meaning: str, source: str) -> Any:
    return field(default=default, metadata={"meaning": meaning, "source": source})


@dataclass(frozen=True)
class LungSettings:
    """Finding the lungs, ``regions/``."""

    vessels: bool = _setting(
        True, "keep pulmonary vessels inside the CT lung mask", "common practice of lung volume measurement"
    )
    child_age_years: float = _setting(
        16.0, "patients younger than this are flagged: adult norms do not hold", "chosen; IPH is mostly pediatric"
    )


@dataclass(frozen=True)
class AttenuationSettings:
    """CT attenuation, ``measure/attenuation.py``."""

    high_attenuation_hu: tuple[float, float] = _setting(
        (-600.0, -250.0), "high-attenuation area, low <= HU < high", "MESA Lung Study, PMID 26744025"
    )
    ground_glass_hu: tuple[float, float] = _setting(
        (-750.0, -300.0),
        "ground-glass attenuation, low <= HU < high",
        "common practice, no agreed cut; checked on the phantom",
    )
    consolidation_hu: float = _setting(
        -300.0, "consolidation at or above this HU", "common practice, no agreed cut; checked on the phantom"
    )


@dataclass(frozen=True)
class SignalSettings:
    """T1w and T2w signal against muscle, ``measure/signal.py``, and against controls, ``compare/reference.py``."""

    hyperintense_quantile: float = _setting(
        0.95, "T1w: a voxel above this quantile of the controls' pooled lung ratios is hyperintense", "chosen"
    )
    hypointense_quantile: float = _setting(
        0.05, "T2w: a voxel below this quantile of the controls' pooled lung ratios is hypointense", "chosen"
    )
    hyperintense_ratio: float = _setting(
        0.50, "T1w lung-to-muscle ratio above which a voxel is hyperintense where there are no controls", "chosen"
    )
    hypointense_ratio: float = _setting(
        0.10, "T2w lung-to-muscle ratio below which a voxel is hypointense where there are no controls", "chosen"
    )
    noise_floor_sigmas: float = _setting(
        3.0, "a voxel below this many noise sigmas is at the noise floor", "P(Rayleigh noise > 3 sigma) = 1.1 %"
    )
    few_controls: int = _setting(5, "fewer controls than this are flagged", "chosen")


@dataclass(frozen=True)
class RelaxometrySettings:
    """R2* of multi-echo images, ``measure/relaxometry.py``."""

    censored_share: float = _setting(
        0.5, "a region with a larger share of voxels that never rise above the noise floor is flagged", "chosen"
    )


@dataclass(frozen=True)
class Protocol:
    """All settings of an analysis, one section a room of the package.

    Examples
    --------
    >>> Protocol() == Protocol.from_toml(Protocol().to_toml())
    True
    """

    lungs: LungSettings = LungSettings()
    signal: SignalSettings = SignalSettings()
    attenuation: AttenuationSettings = AttenuationSettings()
    relaxometry: RelaxometrySettings = RelaxometrySettings()

    @classmethod
    def from_toml(cls, text: str, *, name: str = "protocol") -> Protocol:
        """Read settings from TOML text; what the text leaves out keeps its default.

        Raises
        ------
        ProtocolError
            Where the text is not TOML, or a section, key or value is not one the protocol knows.
        """
        import tomllib

        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ProtocolError(f"{name}: not a TOML file: {error}") from None
        sections = {section.name: getattr(cls(), section.name) for section in fields(cls)}
        changed = {key: _section(sections, key, values, name) for key, values in tables.items()}
        return cls(**(sections | changed))

    @classmethod
    def read(cls, path: str | Path) -> Protocol:
        """Read settings from a TOML file, see :meth:`from_toml`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{path}: protocol cannot be read: {error}") from None
        return cls.from_toml(text, name=str(path))

    def to_toml(self) -> str:
        """All settings as TOML text, meaning and source of each beside it."""
        import tomlkit

        document = tomlkit.document()
        for section in fields(self):
            values = getattr(self, section.name)
            table = tomlkit.table()
            for setting in fields(values):
                table.add(tomlkit.comment(f"{setting.metadata['meaning']}. Source: {setting.metadata['source']}"))
                value = getattr(values, setting.name)
                table.add(setting.name, list(value) if isinstance(value, tuple) else value)
            document.add(section.name, table)
        return tomlkit.dumps(document)

    def digest(self) -> str:
        """Hash of all settings, for provenance."""
        return sha256(self.to_toml().encode()).hexdigest()


DEFAULT = Protocol()


def _section(sections: dict[str, Any], key: str, values: Any, name: str) -> Any:
    if key not in sections or not isinstance(values, dict):
        raise ProtocolError(f"{name}: no section [{key}]; there are: {', '.join(sections)}")
    section = sections[key]
    types = get_type_hints(type(section))
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ProtocolError(f"{name}: [{key}] has no setting {', '.join(unknown)}; there are: {', '.join(types)}")
    return replace(section, **{k: _value(f"{name}: [{key}] {k}", v, getattr(section, k)) for k, v in values.items()})


def _value(where: str, given: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        if not isinstance(given, list) or len(given) != len(default):
            raise ProtocolError(f"{where}: needs {len(default)} values like {list(default)}, got {given!r}")
        return tuple(_value(where, g, d) for g, d in zip(given, default, strict=True))
    if isinstance(default, float) and type(given) is int:
        return float(given)
    if type(given) is not type(default):
        raise ProtocolError(f"{where}: needs a {type(default).__name__} like {default!r}, got {given!r}")
    return given
