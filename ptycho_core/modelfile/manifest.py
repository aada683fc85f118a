"""The manifest of a model file: its fields, and whether the tensors are those that network and facts ask for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_core.modelfile.tensors import Layout

__all__ = [
    "FIELDS",
    "FORMAT",
    "VERSION",
    "as_table",
    "check_contents",
    "check_fields",
    "check_hashes",
    "check_layouts",
    "check_version",
    "manifest_layouts",
]

FORMAT: Final = "ptycho model"
VERSION: Final = 2

FIELDS: Final[dict[str, type]] = {
    "format": str, "version": int, "network": dict, "tensors": dict, "facts": dict, "scaling": dict, "settings": dict,
    "producer": dict, "history": list, "untrained": dict, "hashes": dict,
}  # fmt: skip
"""Every field of the manifest with its type; each is required and there is no other."""

_SINCE: Final = {"untrained": 2}
"""The version that brought a field; what is older is read as if the field were empty."""

_UNTRAINED: Final[dict[str, tuple[type, ...]]] = {
    "scans": (list,), "frames": (int,), "compared_with": (str,), "network": (int, float), "same_steps": (int, float, type(None)),
    "untrained": (int, float), "steps": (int,), "better": (bool,),
}  # fmt: skip

_FACTS = ("size", "gridsize", "modes")
"""Facts that every model states: pixels across a pattern, side of a group of frames, modes of the probe."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOUNS = {str: "text", int: "a whole number", dict: "an object", list: "a list"}


def check_version(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse a manifest of something else, or of a version that is not known here. Nothing else of it is looked at.

    Raises:
        DataError: it is.
    """
    if manifest.get("format") != FORMAT:
        raise DataError(f"{where}: the field 'format' is {manifest.get('format')!r}, not '{FORMAT}'; it is of another program.")
    version = manifest.get("version")
    if type(version) is not int or version < 1:
        raise DataError(f"{where}: the field 'version' is {version!r}; a whole number from 1 is expected.")
    if version > VERSION:
        raise DataError(
            f"{where}: the file is of version {version}; this ptycho reads up to version {VERSION}.", remedy="Update ptycho-core."
        )


def check_fields(manifest: dict[str, Any], where: str) -> None:
    """Refuse a manifest whose fields are not those of its version, each of its type; fields of later ones become empty.

    Raises:
        DataError: a field is missing, unknown or of another type.
    """
    version = manifest["version"]
    unknown = sorted(name for name in manifest if name not in FIELDS or _SINCE.get(name, 1) > version)
    for name, kind in FIELDS.items():
        if name not in unknown and _SINCE.get(name, 1) > version:
            manifest[name] = kind()
        if name not in manifest:
            raise DataError(f"{where} lacks the field '{name}'; it has {', '.join(sorted(manifest)) or 'none'}.")
        if not isinstance(manifest[name], kind):
            raise DataError(f"{where}: the field '{name}' must be {_NOUNS[kind]}; it is {_short(manifest[name])}.")
    if unknown:
        raise DataError(f"{where} has the field '{unknown[0]}', which version {version} does not know.")


def check_contents(manifest: Mapping[str, Any], where: str) -> None:
    """Refuse facts, scaling, producer, history and figures next to the untrained pass whose values are not of their types.

    Raises:
        DataError: a value is not, or one of the facts that every model states is missing.
    """
    facts = manifest["facts"]
    for name in _FACTS:
        if type(facts.get(name)) is not int or facts[name] < 1:
            raise DataError(f"{where}: the fact '{name}' must be a whole number from 1; it is {_short(facts.get(name))}.")
    for number, row in enumerate(manifest["history"]):
        if not isinstance(row, dict):
            raise DataError(f"{where}: row {number} of 'history' must be an object; it is {_short(row)}.")
    scalar, noun = (bool, int, float, str, type(None)), "a number, a truth, text or null"
    _check_values("facts", facts, scalar, noun, where)
    _check_values("scaling", manifest["scaling"], (int, float), "a number", where)
    _check_values("producer", manifest["producer"], (str,), "text", where)
    _check_untrained(manifest["untrained"], where)


def _check_untrained(found: Mapping[str, Any], where: str) -> None:
    """Either nothing, or every figure of its type."""
    for name in sorted({*found, *_UNTRAINED}) if found else ():
        value = found.get(name)
        if name not in _UNTRAINED or name not in found or type(value) not in _UNTRAINED[name]:
            raise DataError(f"{where}: '{name}' in 'untrained' is {_short(value)}; that is no figure of version {VERSION}.")
    names = found.get("scans", [])
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: 'scans' in 'untrained' is {_short(names)}; a list of text is expected.")


def check_hashes(hashes: Mapping[str, Any], members: list[str], where: str) -> None:
    """Refuse hashes that are not those of the members, one each.

    Args:
        hashes: field of the manifest.
        members: names of the archive's members but the manifest.
        where: file and member, for messages.

    Raises:
        DataError: a member without hash, a hash without member, or something that is no sha256.
    """
    for name in sorted({*members, *hashes}):
        if name not in hashes:
            raise DataError(f"{where}: member '{name}' is in the file, but 'hashes' does not list it.")
        if name not in members:
            raise DataError(f"{where}: 'hashes' lists the member '{name}', which is missing in the file.")
        if not isinstance(hashes[name], str) or not _SHA256.fullmatch(hashes[name]):
            raise DataError(f"{where}: 'hashes' gives {_short(hashes[name])} for '{name}', which is no sha256.")


def as_table(layouts: Mapping[str, Layout]) -> dict[str, Any]:
    """Layouts as they stand in a table of tensors; the reverse of `manifest_layouts`."""
    return {name: {"dtype": layout.dtype, "shape": list(layout.shape)} for name, layout in layouts.items()}


def manifest_layouts(table: Mapping[str, Any], where: str) -> dict[str, Layout]:
    """The layouts that a table of tensors states.

    Raises:
        DataError: an entry is not a type and a shape.
    """
    from ptycho_core.modelfile.tensors import Layout

    found = {}
    for name, entry in table.items():
        kind, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        whole = isinstance(shape, list) and len(shape) <= 16 and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
        if not whole or not isinstance(kind, str) or not Layout.known(kind) or set(entry) != {"dtype", "shape"}:
            raise DataError(f"{where}: tensor '{name}' is described as {_short(entry)}; a type and a shape are expected.")
        assert shape is not None
        found[name] = Layout(kind, tuple(shape))
    return found


def check_layouts(found: Mapping[str, Layout], network: Mapping[str, Any], facts: Mapping[str, Any], where: str) -> None:
    """Refuse tensors that are not exactly those which the network's description and the facts ask for.

    Args:
        found: layout of each tensor: ``network.<tensor>``, ``physics.<name>``.
        network: description of the network.
        facts: checked facts.
        where: file and member, or what is to be written.

    Raises:
        DataError: a tensor is missing, extra, of another shape or type, or network and facts differ in size or gridsize; both
            sides are named.
    """
    from ptycho_core.modelfile.tensors import Layout

    for name in ("size", "gridsize"):
        if network.get(name, facts[name]) != facts[name]:
            raise DataError(f"{where}: the network's '{name}' is {_short(network[name])}, the fact '{name}' is {facts[name]}.")
    asked = {f"network.{name}": Layout("float32", shape) for name, shape in _shapes(network, where).items()}
    asked |= _physics(found, facts)
    for name in sorted({*found, *asked}):
        if name not in found:
            raise DataError(f"{where}: tensor '{name}' is missing; {_asking(name)} asks for {asked[name]}.")
        if name not in asked:
            raise DataError(f"{where}: tensor '{name}', {found[name]}, is extra; {_asking(name)} has none of that name.")
        if found[name] != asked[name]:
            raise DataError(f"{where}: tensor '{name}' is {found[name]}; {_asking(name)} asks for {asked[name]}.")


def _physics(found: Mapping[str, Layout], facts: Mapping[str, Any]) -> dict[str, Layout]:
    """Probe and logarithm of the intensity's scale for each scan; the number of scans is the probe's own."""
    from ptycho_core.modelfile.tensors import Layout

    probe = found.get("physics.probe")
    scans = max(1, probe.shape[0]) if probe is not None and probe.shape else 1
    size = facts["size"]
    return {
        "physics.probe": Layout("complex64", (scans, facts["modes"], size, size)),
        "physics.log_scale": Layout("float32", (scans,)),
    }


def _shapes(network: Mapping[str, Any], where: str) -> dict[str, tuple[int, ...]]:
    from ptycho_core.networks import check_description, tensor_shapes

    try:
        check_description(network)
        return tensor_shapes(network)
    except DataError as error:
        raise DataError(f"{where}: the network cannot be built: {error}") from error
    except (TypeError, ValueError, LookupError) as error:  # what a description could not hold but JSON can
        raise DataError(f"{where}: the network cannot be built from its description: {error}.") from error


def _check_values(field: str, values: Mapping[str, Any], kinds: tuple[type, ...], noun: str, where: str) -> None:
    for name, value in values.items():
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise DataError(f"{where}: '{name}' in '{field}' must be {noun}; it is {_short(value)}.")


def _asking(name: str) -> str:
    return "the network's description" if name.startswith("network.") else "the physics of the model"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
