"""The manifest ``ptycho-backend.toml``: found next to a plugin's code without importing it, and checked key by key."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ptycho_core import contract
from ptycho_core.errors import BackendUnusableError, did_you_mean
from ptycho_core.files.plain import why_not_plain
from ptycho_core.files.texts import MOST_OF_MANIFEST, TextError, decoded, parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ptycho_core.backends.discovery import EntryPointClaim

__all__ = ["FRAMEWORK_KEYS", "KEYS", "MANIFEST", "OPTION_KEYS", "check_contract", "check_spec", "find_manifest", "read_manifest"]

MANIFEST = "ptycho-backend.toml"

KEYS: dict[str, tuple[type, bool]] = {  # key: (type, required)
    "name": (str, True),
    "contract": (str, True),
    "title": (str, True),
    "capabilities": (list, True),
    "accelerators": (list, False),
    "precisions": (list, False),
    "issues_url": (str, False),
    "only_by_name": (bool, False),
    "only_alone": (bool, False),
    "framework": (dict, False),
    "environment": (dict, False),
    "options": (list, False),
}
FRAMEWORK_KEYS: dict[str, tuple[type, bool]] = {
    "module": (str, True),
    "distributions": (list, True),
    "minimum": (str, False),
    "below": (str, False),
    "builds_on": (str, False),
    "title": (str, False),
    "requires": (list, False),
}
OPTION_KEYS: dict[str, tuple[type | tuple[type, ...], bool]] = {
    "name": (str, True),
    "type": (str, True),
    "default": ((bool, int, float, str), False),
    "help": (str, True),
    "choices": (list, False),
    "minimum": ((int, float), False),
    "maximum": ((int, float), False),
    "verbs": (list, False),
    "network": (bool, False),
}
_OPTION_TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
_WORDS = {str: "text", list: "a list", dict: "a table", bool: "true or false", int: "a whole number", float: "a number"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")
_LARGEST = 1e300
_OPTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def find_manifest(claim: EntryPointClaim) -> contract.BackendSpec:
    """Read the manifest next to a claim's module, or else in its top package; nothing is imported.

    Raises:
        BackendUnusableError: state ``undeclared`` (no manifest), ``incompatible`` (contract) or ``broken`` (anything else).
    """
    from importlib.util import find_spec

    if not claim.module:
        _refuse(claim.name, f"its entry point '{claim.name} = {claim.value}' names no module")
    top = claim.module.partition(".")[0]  # a dotted name would import the parents
    try:
        spec = find_spec(top)
    except Exception as error:  # noqa: BLE001 - finders of other distributions take part
        _refuse(claim.name, f"its package '{top}' cannot be looked up: {error}")
    if spec is None:
        _refuse(claim.name, f"its package '{top}' is not there although {claim.source} is installed")
    if spec.origin is None:
        _refuse(claim.name, f"its package '{top}' is a namespace package (a folder without __init__.py)")
    places = spec.submodule_search_locations
    if not places:
        _refuse(claim.name, f"'{top}' is a single module, and a manifest {MANIFEST} needs a package", state="undeclared")
    own = claim.module.rpartition(".")[0] or top
    for package in (own, top):
        path = os.path.join(places[0], *package.split(".")[1:], MANIFEST)  # noqa: PTH118 - may be in a zip
        if (why := why_not_plain(path)) and why != "does not exist":
            _refuse(claim.name, f"its manifest {path} {why}")
        if not why and os.stat(path).st_size > MOST_OF_MANIFEST:  # noqa: PTH116 - may be in a zip
            _refuse(claim.name, f"its manifest {path} has more than {MOST_OF_MANIFEST} bytes")
        with suppress(OSError, AttributeError):
            return _parse(cast("Any", spec.loader).get_data(path), claim.name, path)
    lacking = f"its package '{top}' has no" if own == top else f"neither its package '{own}' nor '{top}' has a"
    return _refuse(claim.name, f"{lacking} manifest {MANIFEST}", state="undeclared")


def read_manifest(path: Path, name: str) -> contract.BackendSpec:
    """Read the manifest at a path; a plugin answers ``ptycho_backend_spec`` with it.

    Args:
        path: the file.
        name: the backend's name, which the manifest must repeat.

    Raises:
        BackendUnusableError: state ``incompatible`` for another contract, else ``broken``; the message says which key and why.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_OF_MANIFEST + 1)
    except OSError as error:
        _refuse(name, f"its manifest {path} cannot be read: {error.strerror}", state="undeclared")
    return _parse(data, name, str(path))


def _parse(data: bytes, name: str, where: str) -> contract.BackendSpec:
    try:
        table = _table(data)
    except TextError as error:
        _refuse(name, f"its manifest {where} {error}")
    return _Reader(name, where).spec(table)


@lru_cache(maxsize=64)
def _table(data: bytes) -> dict[str, Any]:
    """What a manifest says; kept by its content, so that a manifest that changes is read anew. Not to be changed."""
    return parse_toml(decoded(data, MOST_OF_MANIFEST))


def check_contract(name: str, version: tuple[int, int]) -> None:
    """Refuse a contract that this core does not speak: another major, or a newer minor.

    Raises:
        BackendUnusableError: state ``incompatible``.
    """
    major, minor = contract.CONTRACT
    if version[0] != major or version[1] > minor:
        supported = f"{major}.0" if minor == 0 else f"{major}.0 to {major}.{minor}"
        newer = version > contract.CONTRACT
        remedy = "Upgrade ptycho, or install an older version of the backend." if newer else "Install a newer backend."
        reason = f"it implements contract {version[0]}.{version[1]}, and this core supports {supported}"
        _refuse(name, reason, state="incompatible", remedy=remedy)


def check_spec(spec: contract.BackendSpec) -> None:
    """Apply the rules of a manifest to a specification that was made in Python.

    Raises:
        BackendUnusableError: as ``read_manifest``.
    """
    check_contract(spec.name, spec.contract)
    reader = _Reader(spec.name, "the given BackendSpec")
    reader.words(spec)
    for option in spec.options:
        reader.check_option(option)


def _is_requirement(text: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def _refuse(name: str, reason: str, *, state: str = "broken", remedy: str = "") -> NoReturn:
    raise BackendUnusableError(reason, state=state, remedy=remedy, backend=name)


class _Reader:
    """Checks of one manifest; every refusal names the file."""

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        self._where = where

    def refuse(self, reason: str) -> NoReturn:
        _refuse(self._name, f"in {self._where}, {reason}")

    def spec(self, table: Mapping[str, Any]) -> contract.BackendSpec:
        version = self._contract(table)  # first: the keys of another contract may be others
        self._keys(table, KEYS, "")
        if table["name"] != self._name:
            self.refuse(f"'name' is '{table['name']}', but the entry point is called '{self._name}'")
        environment = table.get("environment", {})
        for key, value in environment.items():
            if not _VARIABLE.fullmatch(key) or "\0" in self._typed(value, str, f"environment.{key}"):
                self.refuse(f"'environment' has {key!r} = {value!r}, which no process can have in its environment")
        spec = contract.BackendSpec(
            name=self._name,
            title=table["title"],
            contract=version,
            framework=self._framework(table["framework"]) if "framework" in table else None,
            capabilities=self._texts(table, "capabilities"),
            accelerators=self._texts(table, "accelerators") or ("cpu",),
            precisions=self._texts(table, "precisions") or ("float32",),
            options=tuple(self._option(item, number) for number, item in enumerate(table.get("options", []), 1)),
            environment=dict(environment),
            issues_url=table.get("issues_url", ""),
            only_by_name=table.get("only_by_name", False),
            only_alone=table.get("only_alone", False),
        )
        self.words(spec)
        return spec

    def words(self, spec: contract.BackendSpec) -> None:
        """Closed vocabularies, and what must be there at least."""
        if not spec.title.strip():
            self.refuse("'title' is empty")
        for word in spec.capabilities:
            if word not in contract.CAPABILITIES and not word.startswith("x-"):
                self._unknown("capability", word, contract.CAPABILITIES)
        if not set(spec.capabilities) & set(contract.VERBS):
            self.refuse(f"'capabilities' names none of the verbs {', '.join(contract.VERBS)}")
        for word in spec.accelerators:
            if word not in contract.ACCELERATORS:
                self._unknown("accelerator", word, contract.ACCELERATORS)
        for word in spec.precisions:
            if word not in contract.PRECISIONS:
                self._unknown("precision", word, contract.PRECISIONS)
        for option in spec.options:
            for verb in option.verbs:
                if verb not in contract.VERBS or verb not in spec.capabilities:
                    self.refuse(f"the option '{option.name}' acts in '{verb}', which is no verb that 'capabilities' names")
        names = [option.name for option in spec.options]
        for name in names:
            if names.count(name) > 1:
                self.refuse(f"the option '{name}' is declared twice")

    def check_option(self, option: contract.OptionSpec) -> None:
        """Name, type, default, choices and range of one option belong together."""
        what = f"the option '{option.name}'"
        if not _OPTION_NAME.fullmatch(option.name):
            self.refuse(f"{what} is not a name of lower-case letters, digits and '_' that starts with a letter")
        if option.type not in _OPTION_TYPES:
            self._unknown(f"type of {what}", option.type, _OPTION_TYPES)
        if option.choices and option.type != "str":
            self.refuse(f"{what} has choices, which only an option of type 'str' can have")
        if (option.minimum is not None or option.maximum is not None) and option.type not in ("int", "float"):
            self.refuse(f"{what} has a range, which only an option of type 'int' or 'float' can have")
        self._check_range(option, what)
        default = option.default
        if default is None:
            return
        if not isinstance(default, _OPTION_TYPES[option.type]) or (isinstance(default, bool) and option.type != "bool"):
            self.refuse(f"{what} is of type '{option.type}', but its default is {default!r}")
        if option.choices and default not in option.choices:
            self.refuse(f"{what} has the default {default!r}, which is none of its choices {', '.join(option.choices)}")
        if isinstance(default, int | float) and not isinstance(default, bool):
            low, high = option.minimum, option.maximum
            if (low is not None and default < low) or (high is not None and default > high):
                self.refuse(f"{what} has the default {default!r}, which is outside its own range")

    def _check_range(self, option: contract.OptionSpec, what: str) -> None:
        """Numbers are finite and of a size that a job can work with, and the range holds some."""
        for key in ("minimum", "maximum", "default"):
            value = getattr(option, key)
            if isinstance(value, int | float) and not -_LARGEST < value < _LARGEST:
                self.refuse(f"{what} has a {key} that is not finite or beyond {_LARGEST:g}")
        if option.minimum is not None and option.maximum is not None and option.minimum > option.maximum:
            self.refuse(f"{what} has a minimum above its maximum")

    def _contract(self, table: Mapping[str, Any]) -> tuple[int, int]:
        if "contract" not in table:
            self.refuse("the key 'contract' is missing")
        text = self._typed(table["contract"], str, "contract")
        match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text)
        if match is None:
            self.refuse(f"'contract' must be 'MAJOR.MINOR', not '{text}'")
        version = (int(match[1]), int(match[2]))
        check_contract(self._name, version)
        return version

    def _framework(self, table: Mapping[str, Any]) -> contract.Framework:
        self._keys(table, FRAMEWORK_KEYS, "framework.")
        for key in ("minimum", "below"):
            if table.get(key) and not _VERSION.fullmatch(table[key]):
                self.refuse(f"'framework.{key}' must be a version such as '2.2', not '{table[key]}'")
        distributions = self._texts(table, "distributions", "framework.")
        if not distributions or not all(distributions) or not table["module"]:
            self.refuse("'framework' must name a module and at least one distribution")
        requires = self._texts(table, "requires", "framework.")
        for text in requires:
            if not _is_requirement(text):
                self.refuse(f"'framework.requires' has {text!r}, which no installer takes; write it as 'optax>=0.2'")
        texts = {key: table.get(key, "") for key in ("minimum", "below", "builds_on", "title")}
        return contract.Framework(table["module"], distributions, **texts, requires=requires)

    def _option(self, table: Any, number: int) -> contract.OptionSpec:  # noqa: ANN401 - whatever the file holds
        self._typed(table, dict, f"options[{number}]")
        self._keys(table, OPTION_KEYS, f"options[{number}].")
        lists = {key: self._texts(table, key, f"options[{number}].") for key in ("choices", "verbs")}
        option = contract.OptionSpec(**{"default": None, **table, **lists})
        self.check_option(option)
        return option

    def _keys(self, table: Mapping[str, Any], keys: Mapping[str, tuple[Any, bool]], prefix: str) -> None:
        for key, value in table.items():
            if key not in keys:
                self.refuse(f"the key '{prefix}{key}' is not known.{did_you_mean(key, keys)}".rstrip("."))
            self._typed(value, keys[key][0], f"{prefix}{key}")
        for key, (_, required) in keys.items():
            if required and key not in table:
                self.refuse(f"the key '{prefix}{key}' is missing")

    def _typed(self, value: Any, kind: type | tuple[type, ...], key: str) -> Any:  # noqa: ANN401
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(dict.fromkeys(_WORDS[item] for item in kinds))
            self.refuse(f"'{key}' must be {wanted}, not {_WORDS.get(type(value), type(value).__name__)}")
        return value

    def _texts(self, table: Mapping[str, Any], key: str, prefix: str = "") -> tuple[str, ...]:
        return tuple(self._typed(item, str, f"{prefix}{key}[{number}]") for number, item in enumerate(table.get(key, []), 1))

    def _unknown(self, what: str, word: str, known: Any) -> NoReturn:  # noqa: ANN401 - any iterable of words
        words = ", ".join(sorted(known))
        self.refuse(f"the {what} '{word}' is not known (known: {words}).{did_you_mean(word, known)}".rstrip("."))
