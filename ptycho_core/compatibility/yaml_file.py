"""A settings file of PtychoPINN: YAML, the keys of its TrainingConfig at the top, those of its ModelConfig under ``model``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ptycho_core.compatibility.parsing import ParsedFlag
from ptycho_core.compatibility.table import NONE, Entry, entries
from ptycho_core.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_yaml"]

_MODEL = "model"


def read_yaml(command: str, path: Path) -> list[ParsedFlag]:
    """Read a settings file by the table.

    A value that is PtychoPINN's own default is no request, as its programs write files that hold every field. A key that both
    commands have in different meanings is a training's.

    Raises:
        SettingsError: no PyYAML, no readable YAML, JSON, an unknown key, or a value that is no scalar.
    """
    loaded = _loaded(path)
    known = {one.name: one for one in [*entries(command).values(), *entries("train").values()] if one.field}
    found = []
    for key, value in loaded.items():
        inside = value if key == _MODEL and isinstance(value, dict) else None
        for name, one in {key: value}.items() if inside is None else inside.items():
            where = f"{path}: {name}" if inside is None else f"{path}: {_MODEL}.{name}"
            entry = _entry(known, str(name), where, inside=inside is not None)
            text = _text(one, where)
            if not entry.is_default(text, where):
                found.append(ParsedFlag(entry, text, str(name), f"{where}: {text}"))
    return found


def _entry(known: Mapping[str, Entry], name: str, where: str, *, inside: bool) -> Entry:
    right = [key for key, one in known.items() if (one.field == _MODEL) == inside]
    if name in right:
        return known[name]
    if name in known:
        place = "at the top" if inside else f"under '{_MODEL}:'"
        raise SettingsError(f"{where}: '{name}' stands {place}.", source=where)
    raise SettingsError(f"{where}: PtychoPINN has no setting '{name}'.{did_you_mean(name, right)}", source=where)


def _text(value: object, where: str) -> str:
    """A value as it would be typed; YAML reads ``1e-3`` as text, and that is what a number would be here too."""
    if value is None:
        return NONE
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise SettingsError(f"{where} is a {type(value).__name__}; a setting has one value.", source=where)


def _loaded(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".json":
        raise SettingsError(f"{path} is JSON, which PtychoPINN's legacy code reads.", remedy="Give YAML.", source=str(path))
    try:
        import yaml
    except ImportError as error:
        remedy = "Install it: pip install 'ptycho-core[compatibility]', or pip install 'PyYAML>=6'."
        raise SettingsError(f"{path} is YAML, and PyYAML is not installed.", remedy=remedy, source=str(path)) from error
    from ptycho_core.files.texts import MOST_OF_YAML, TextError, parsed, read_text

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Without aliases, of which a few lines can make any number of keys."""

        def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - the library's own
            if self.check_event(yaml.AliasEvent):
                raise ValueError("it has an alias (*NAME), which no settings file needs")
            return super().compose_node(parent, index)

    try:
        text = read_text(path, MOST_OF_YAML, no_yaml := "is no YAML")
        loaded = parsed(lambda text: yaml.load(text, Loader), text, no_yaml)  # noqa: S506 - a safe one
    except TextError as error:
        raise SettingsError(f"The settings file {path} {error}.", source=str(path)) from error
    if not isinstance(loaded, dict):
        raise SettingsError(f"The settings file {path} holds no keys with values.", source=str(path))
    return loaded
