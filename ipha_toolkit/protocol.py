"""Every default of the analysis in one frozen dataclass, read from and written to TOML.

A setting carries its unit and its source, which are written beside it as a comment, so that a reader of the
file can disagree with one line, change it, and see what changes. "Chosen on the phantom" marks what no
publication settles.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_type_hints

from ipha_toolkit.errors import ProtocolError
from ipha_toolkit.settings import (
    AlignmentSettings,
    AttenuationSettings,
    ChangeSettings,
    CourseSettings,
    FilmSettings,
    FindingSettings,
    GateSettings,
    GroupSettings,
    LayoutSettings,
    LungSettings,
    PhaseSettings,
    ReadingSettings,
    RelaxometrySettings,
    SeriesSettings,
    SignalSettings,
    SignatureSettings,
)
from ipha_toolkit.settings_patterns import NoduleSettings, TextureSettings

SECOND_PASS = frozenset(
    {
        "findings", "phases", "groups", "courses", "change", "films.cleared_share", "films.least_rise",
        "signal.hyperintense_quantile", "signal.hypointense_quantile", "signal.hyperintense_ratio",
        "signal.hypointense_ratio", "signal.few_controls", "signature.threshold_sd", "gate.rules", "gate.field_t",
        "gate.te_share", "gate.te_ms", "gate.tr_share", "gate.flip_share", "gate.thickness_times", "gate.kvp",
        "gate.grown_years", "gate.age_years", "gate.covariate_controls",
    }
)  # fmt: skip
"""Sections and settings that are read only after all sessions are measured: to change one measures nothing anew."""

_LARGEST = 10_000_000
"""Bytes above which a file is not read as a protocol."""


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
    findings: FindingSettings = FindingSettings()
    phases: PhaseSettings = PhaseSettings()
    gate: GateSettings = GateSettings()
    groups: GroupSettings = GroupSettings()
    courses: CourseSettings = CourseSettings()
    change: ChangeSettings = ChangeSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    signature: SignatureSettings = SignatureSettings()
    nodules: NoduleSettings = NoduleSettings()
    texture: TextureSettings = TextureSettings()
    films: FilmSettings = FilmSettings()
    reading: ReadingSettings = ReadingSettings()
    series: SeriesSettings = SeriesSettings()
    layout: LayoutSettings = LayoutSettings()

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
            if not Path(path).is_file():
                raise ProtocolError(f"{path}: there is no such file; a protocol is a TOML file, see ipha protocol")
            if Path(path).stat().st_size > _LARGEST:
                raise ProtocolError(f"{path}: is no protocol, which has a few kB; see ipha protocol")
            text = Path(path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ProtocolError(f"{path}: is no text in UTF-8; a protocol is a TOML file, see ipha protocol") from None
        except OSError as error:
            raise ProtocolError(f"{path}: protocol cannot be read: {error.strerror or error}") from None
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
                table.add(setting.name, _listed(value) if isinstance(value, tuple) else value)
            document.add(section.name, table)
        return tomlkit.dumps(document)

    def first_pass(self) -> dict[str, Any]:
        """Settings that the measurement of a session may read, by section; those of :data:`SECOND_PASS` left out."""
        sections = {name: values for name, values in asdict(self).items() if name not in SECOND_PASS}
        return {
            name: {key: value for key, value in values.items() if f"{name}.{key}" not in SECOND_PASS}
            for name, values in sections.items()
        }

    def differences(self) -> list[str]:
        """Settings other than the defaults, each as ``section.name = value``."""
        return [
            f"{section.name}.{setting.name} = {_written(getattr(own, setting.name))}"
            for section in fields(self)
            for own, default in [(getattr(self, section.name), getattr(DEFAULT, section.name))]
            for setting in fields(own)
            if getattr(own, setting.name) != getattr(default, setting.name)
        ]

    def changes(self) -> str:
        """Settings that differ from the default, as TOML text; empty where none does."""
        import tomlkit

        document = tomlkit.document()
        for section in fields(self):
            values, usual = getattr(self, section.name), getattr(Protocol(), section.name)
            changed = {s.name: getattr(values, s.name) for s in fields(values)}
            changed = {name: value for name, value in changed.items() if value != getattr(usual, name)}
            if changed:
                table = tomlkit.table()
                for name, value in changed.items():
                    table.add(name, _listed(value) if isinstance(value, tuple) else value)
                document.add(section.name, table)
        return tomlkit.dumps(document)

    def first_pass_digest(self) -> str:
        """Hash of the settings that the measurement of a session may read."""
        return sha256(json.dumps(self.first_pass(), sort_keys=True).encode()).hexdigest()

    def digest(self) -> str:
        """Hash of all settings, for provenance."""
        return sha256(self.to_toml().encode()).hexdigest()


DEFAULT = Protocol()


def _written(value: Any) -> str:
    return "changed" if isinstance(value, tuple) and value and isinstance(value[0], str) else str(value)


def _listed(values: tuple[Any, ...]) -> Any:
    """A TOML array, names on lines of their own."""
    import tomlkit

    array = tomlkit.array()
    array.extend(values)
    return array.multiline(any(isinstance(value, str) for value in values))


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
    if isinstance(default, tuple) and default and isinstance(default[0], str):  # a list of names, of any length
        if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
            raise ProtocolError(f"{where}: needs a list of names like {list(default[:2])}, got {given!r}")
        return tuple(given)
    if isinstance(default, tuple):
        if not isinstance(given, list) or len(given) != len(default):
            raise ProtocolError(f"{where}: needs {len(default)} values like {list(default)}, got {given!r}")
        return tuple(_value(where, g, d) for g, d in zip(given, default, strict=True))
    if isinstance(default, float) and type(given) is int:
        return float(given)
    if type(given) is not type(default):
        raise ProtocolError(f"{where}: needs a {type(default).__name__} like {default!r}, got {given!r}")
    return given
