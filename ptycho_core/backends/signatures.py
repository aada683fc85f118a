"""The contract as data: every hook, data class, word and code; and what of it may change within a major version.

``python -m ptycho_core.backends.signatures specs/contract`` writes the file of the present version. A file that is there already
is not replaced by another: a changed contract is a new version.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ptycho_core import contract, errors, hookspecs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["FUNCTIONS", "breaks", "file_name", "is_version", "signatures", "write_signatures"]

FUNCTIONS: Final = (
    "ptycho_core.backends.manifest:read_manifest",
    "ptycho_core.backends.plans:make_plan",
    "ptycho_core.backends.plans:without",
    "ptycho_core.engine:engine_hooks",
    "ptycho_core.imaging.metrics:frame_sums",
    "ptycho_core.inference.order:inference_order",
    "ptycho_core.inference.tiles:scan_tiles",
    "ptycho_core.model:load_model",
    "ptycho_core.model:save_model",
    "ptycho_core.networks:estimates_tiles",
    "ptycho_core.networks:tensor_shapes",
    "ptycho_core.physics:check_batch",
    "ptycho_core.physics:check_model",
    "ptycho_core.physics:intensities",
    "ptycho_core.reconstruction.modes:orthogonalise_modes",
    "ptycho_core.reconstruction.schedule:choose_held_out",
    "ptycho_core.reconstruction.schedule:choose_plan",
    "ptycho_core.reconstruction.schedule:keep_inside",
    "ptycho_core.reconstruction.stages:Run",
    "ptycho_core.scan.canvas:object_canvas",
    "ptycho_core.formats.opening:open_scan",
    "ptycho_core.scan.reading:Readers",
    "ptycho_core.training.data:training_data",
    "ptycho_core.training.groups:inference_groups",
    "ptycho_core.training.loop:TrainingLoop",
)
"""What a backend may call of the core besides the data classes; of a class the signature is that of its constructor."""

CLASSES: Final = (
    "ptycho_core.model:Model",
    "ptycho_core.model:TrainingState",
    "ptycho_core.scan.scan:Geometry",
    "ptycho_core.scan.scan:Scan",
    "ptycho_core.training.epoch:Batch",
    "ptycho_core.training.data:TrainingData",
    "ptycho_core.training.data:TrainingScan",
    "ptycho_core.training.loop:BatchStats",
)
"""Data classes outside of ``ptycho_core.contract`` whose fields are promised: what a job or a promised function holds."""

PROTOCOLS: Final = (
    "ptycho_core.contract:EventSink",
    "ptycho_core.engine:Layout",
    "ptycho_core.reconstruction.stages:Engine",
    "ptycho_core.scan.scan:Patterns",
    "ptycho_core.training.loop:Trainer",
)
"""What the core gives to a backend, or asks of it, as methods."""


def signatures() -> dict[str, Any]:
    """The present contract, ready for JSON, in an order that does not depend on that of the code."""
    from ptycho_core import engine
    from ptycho_core.backends import discovery, manifest, registry, states
    from ptycho_core.backends.loading import REQUIRED_HOOKS

    hooks = {name: one for name, one in vars(hookspecs).items() if name.startswith("ptycho_")}
    classes = {name: one for name, one in vars(contract).items() if isinstance(one, type) and is_dataclass(one)}
    classes |= {name.partition(":")[2]: cast("Any", _imported(name)) for name in CLASSES}
    keys: dict[str, Mapping[str, tuple[Any, bool]]] = {
        "": manifest.KEYS,
        "framework.": manifest.FRAMEWORK_KEYS,
        "options.": manifest.OPTION_KEYS,
    }
    return {
        "version": "{}.{}".format(*contract.CONTRACT),
        "hooks": {name: _called(one) | {"required": name in REQUIRED_HOOKS} for name, one in sorted(hooks.items())},
        "functions": {name: _called(_imported(name)) for name in FUNCTIONS},
        "classes": {name: dict(_fields(one)) for name, one in sorted(classes.items())},
        "protocols": {name.partition(":")[2]: _members(_imported(name)) for name in PROTOCOLS},
        "engine": sorted(engine.__all__),
        "operations": _operations(),
        "manifest": {prefix + key: _key(*one) for prefix, table in keys.items() for key, one in sorted(table.items())},
        "words": {
            "accelerators": sorted(contract.ACCELERATORS),
            "capabilities": sorted(contract.CAPABILITIES),
            "groups": sorted((discovery.GROUP, discovery.OBSERVERS)),
            "precisions": sorted(contract.PRECISIONS),
            "reserved": sorted(registry.RESERVED),
            "states": sorted(states.STATES),
            "verbs": sorted(contract.VERBS),
        },
        "values": str(contract.Value),
        "settings": {verb: _settings(verb) for verb in contract.VERBS},
        "errors": {
            name: {"code": one.code, "exit_status": one.exit_status}
            for name, one in inspect.getmembers(errors, inspect.isclass)
            if issubclass(one, errors.PtychoError)
        },
    }


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a backend written for the old contract could stumble over in the new one, a clause each; empty if it only grew."""
    found = []
    for part in ("hooks", "functions", "classes", "manifest", "errors"):
        for name, one in old[part].items():
            if name not in new[part]:
                found.append(f"{name} is gone")
            else:
                found += [f"{name}: {what}" for what in _changes(part, one, new[part][name])]
    for part in ("hooks", "manifest"):
        found += [f"{name} is new and required" for name in new[part].keys() - old[part] if new[part][name]["required"]]
    found += _lost_settings(old, new)
    for part in ("words", "protocols"):
        for name, words in old[part].items():
            found += [f"{name}: '{word}' is gone" for word in words if word not in new[part].get(name, ())]
    found += [f"engine: '{name}' is gone" for name in old["engine"] if name not in new["engine"]]
    found += _other_operations(old["operations"], new["operations"])
    found += [f"reserved: '{word}' is taken" for word in new["words"]["reserved"] if word not in old["words"]["reserved"]]
    if old["values"] != new["values"]:
        found.append(f"a setting holds {new['values']}, not {old['values']}")
    return sorted(found)


def _lost_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that a job no longer comes with as it did, a clause each. New ones may come at any time."""
    return [
        f"{verb}: the setting {name} ({kind}) is gone or another"
        for verb, known in old["settings"].items()
        for name, kind in known.items()
        if new["settings"][verb].get(name) != kind
    ]


def _other_operations(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Operations that an array class has otherwise, or has to bring now, a clause each."""
    found = [f"ArrayOps.{name} is new and must be written" for name in new if name not in old and new[name]["abstract"]]
    for name, one in old.items():
        if name not in new:
            found.append(f"ArrayOps.{name} is gone")
        elif new[name] != one:
            found.append(f"ArrayOps.{name} is another")
    return found


def write_signatures(folder: Path) -> Path:
    """Write the file of the present version into a folder.

    Raises:
        UsageError: it is there and says something else, or the contract breaks an earlier version of the same major.
    """
    present, path = signatures(), folder / file_name()
    text = json.dumps(present, indent=1) + "\n"
    if path.exists() and not is_version(json.loads(path.read_text("utf-8")), present):
        raise errors.UsageError(
            f"the contract differs from {path}.",
            remedy="Raise CONTRACT in ptycho_core/contract.py, the minor if it only grew, else the major; then write again.",
        )
    for before in sorted(folder.glob(f"{contract.CONTRACT[0]}.*.json")):
        broken = breaks(json.loads(before.read_text("utf-8")), present)
        if broken:
            listed = "; ".join(broken)
            raise errors.UsageError(
                f"the contract breaks {before.stem}: {listed}.", remedy="Raise the major version of CONTRACT."
            )
    path.write_text(text, "utf-8")
    return path


def is_version(written: Mapping[str, Any], present: Mapping[str, Any]) -> bool:
    """Whether a contract is what was written of its version; only settings may have been added since."""
    same = all(written[part] == present[part] for part in written.keys() | present if part != "settings")
    return same and not _lost_settings(written, present)


def file_name() -> str:
    """Name of the file of the present version."""
    return "{}.{}.json".format(*contract.CONTRACT)


def _called(function: Callable[..., Any]) -> dict[str, Any]:
    """Arguments and answer of a hook or a function."""
    signature = inspect.signature(function)
    arguments = {name: _typed(one.annotation, one.default, inspect.Parameter.empty) for name, one in signature.parameters.items()}
    made = function.__name__ if isinstance(function, type) else _plain(signature.return_annotation)
    return {"arguments": arguments, "returns": made}


def _members(cls: Any) -> list[str]:  # noqa: ANN401 - a protocol
    names = {*vars(cls), *vars(cls).get("__annotations__", {})}
    return sorted(name for name in names if not name.startswith("_"))


def _operations() -> dict[str, dict[str, Any]]:
    """The operations of an `ArrayOps`: the arguments by name, their kind, and whether a framework must bring them."""
    from ptycho_core.engine import ArrayOps

    found = {}
    for name, one in inspect.getmembers(ArrayOps, inspect.isfunction):
        if not name.startswith("_"):
            parameters = [item for item in inspect.signature(one).parameters.values() if item.name != "self"]
            found[name] = {
                "arguments": [str(item).partition(":")[0].partition("=")[0].strip() for item in parameters],
                "abstract": name in ArrayOps.__abstractmethods__,
            }
    return found


def _fields(cls: Any) -> Iterator[tuple[str, dict[str, str]]]:  # noqa: ANN401 - a data class
    if not is_dataclass(cls):  # a named tuple
        for name, annotation in cls.__annotations__.items():
            text = getattr(annotation, "__forward_arg__", annotation)
            yield name, _typed(text, cls._field_defaults.get(name, MISSING), MISSING)
        return
    for one in fields(cls):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        yield one.name, _typed(one.type, default, MISSING)


def _typed(annotation: object, default: object, nothing: object) -> dict[str, str]:
    found = {"type": _plain(annotation)}
    return found if default is nothing else found | {"default": repr(default)}


def _plain(annotation: object) -> str:
    """An annotation as it is written; the module of the contract need not be said."""
    return str(annotation).replace("contract.", "")


def _settings(verb: str) -> dict[str, str]:
    """The settings that a job of a verb comes with: ``GROUP.NAME`` and the type of its values."""
    from ptycho_core.settings.groups import declarations

    return {f"{one.group}.{name}": one.kind for name, one in sorted(declarations(verb).items())}


def _key(kind: type | tuple[type, ...], required: bool) -> dict[str, Any]:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return {"types": sorted(one.__name__ for one in kinds), "required": required}


def _imported(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def _changes(part: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if part == "errors":
        return [] if old == new else [f"it is {new}, not {old}"]
    if part == "manifest":
        lost = [] if set(old["types"]) <= set(new["types"]) else [f"it takes {new['types']}, not {old['types']}"]
        return lost + (["it is required now"] if new["required"] and not old["required"] else [])
    if part == "classes":
        return _slots(old, new, free=False)
    changed = [] if old["returns"] == new["returns"] else [f"it returns {new['returns']}, not {old['returns']}"]
    required = ["it is required now"] if part == "hooks" and new["required"] and not old["required"] else []
    # A hook may leave out arguments, so a new one disturbs no backend; a function that a backend calls must not ask for more.
    return changed + required + _slots(old["arguments"], new["arguments"], free=part == "hooks")


def _slots(old: Mapping[str, Any], new: Mapping[str, Any], *, free: bool) -> list[str]:
    """Changes of arguments or fields; ``free`` if new ones need no default."""
    found = [f"'{name}' is gone" for name in old if name not in new]
    for name, one in old.items():
        if name in new and not _wider(one["type"], new[name]["type"]):
            found.append(f"'{name}' is {new[name]['type']}, not {one['type']}")
        if name in new and one.get("default") != new[name].get("default"):
            found.append(f"the default of '{name}' is {new[name].get('default')}, not {one.get('default')}")
    kept = [name for name in new if name in old]
    if kept != [name for name in old if name in new] or (list(new)[: len(kept)] != kept and not free):
        found.append("the order has changed")
    if not free:
        found += [f"'{name}' is new and has no default" for name in new if name not in old and "default" not in new[name]]
    return found


def _wider(old: str, new: str) -> bool:
    """Whether a type is the same, or a list of words that only grew: all of them are words that a backend says."""
    literal = r"Literal\[(.*)\]"
    before, after = re.fullmatch(literal, old), re.fullmatch(literal, new)
    if before and after:
        return set(before[1].split(", ")) <= set(after[1].split(", "))
    return old == new


if __name__ == "__main__":
    try:
        print(write_signatures(Path(sys.argv[1])))
    except errors.PtychoError as refusal:
        sys.exit(f"ptycho: {refusal}")
