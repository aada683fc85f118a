"""Losses, networks, metrics and loggers of distributions: found by entry points, held against rules, left out where they fail.

An entry point in the group ``ptycho.losses`` names a class derived from `engine.losses.Loss`, one in ``ptycho.networks`` a class
derived from `networks.Architecture`, one in ``ptycho.metrics`` a class derived from `imaging.metrics.Metric`, and one in
``ptycho.observers`` whose name begins with ``logger.`` a class derived from `loggers.logger.Logger`; the entry point has the name
that the class states.  ptycho's loggers are found in the same way.  A class is imported where losses, networks, metrics or that
one logger are wanted, never to list it.  What is wrong with one is kept as its reason and named where it is asked for by name;
nothing else suffers from it.

A field of a loss that is made with ``setting(...)`` is a setting: ``weight`` is ``NAME_weight`` of the table ``[training]``,
any other ``FIELD`` is ``NAME_FIELD`` of the table ``[losses]``, where both jobs that use losses look for it.  A field of a
network is ``NAME_FIELD`` of the table ``[networks]``, which a training takes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from inspect import isabstract
from typing import TYPE_CHECKING, Any, Final

from ptycho_core.backends.discovery import LOGGER, OBSERVERS, EntryPointClaim, scan
from ptycho_core.engine.losses import BUILT_IN, OF_OBJECTS, Loss
from ptycho_core.errors import DataError, SettingsError
from ptycho_core.networks import BUILT_IN as BUILT_IN_NETWORKS
from ptycho_core.networks import NEAREST, Architecture, built_in, check_description, describe
from ptycho_core.settings.data import RECONSTRUCT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ptycho_core.contract import Value
    from ptycho_core.imaging.metrics import Metric
    from ptycho_core.loggers.logger import Logger
    from ptycho_core.settings.declare import Declaration

__all__ = [
    "COMMAND_FLAGS",
    "Component",
    "claimed",
    "components",
    "forget",
    "likelihoods",
    "logger",
    "logger_names",
    "loggers",
    "loss_declarations",
    "loss_weights",
    "losses",
    "losses_of",
    "metrics",
    "network_declarations",
    "network_names",
    "network_of",
    "networks",
    "resolved_weights",
    "why_left_out",
]

GROUPS: Final = {"loss": "ptycho.losses", "network": "ptycho.networks", "metric": "ptycho.metrics", "logger": OBSERVERS}
"""The group of entry points of each kind of component."""

_OURS: Final = "ptycho-core"

_USUAL_SIZE: Final = 64
"""Pixels across the patterns for which a network must give layers, with its settings at their defaults."""

COMMAND_FLAGS: Final = ("--allow-unsupported", "--dry-run", "--follow-links", "--json-events", "--output-dir", "--require-good")
"""Flags of the commands that take settings which no setting of a loss may be spelled as; every such setting has a hyphen."""


@dataclass(frozen=True)
class Component:
    """A component of another distribution.

    Attributes:
        kind: ``loss``, ``network``, ``metric`` or ``logger``.
        name: of its entry point.
        source: distribution and version that bring it.
        found: its class; None where it is left out.
        reason: why it is left out, a clause without a full stop; empty where it is not.
    """

    kind: str
    name: str
    source: str
    found: type | None = None
    reason: str = ""

    @property
    def said(self) -> str:
        """What it is and where it comes from, as sentences begin."""
        return f"{self.kind.capitalize()} '{self.name}' ({self.source})"

    @property
    def sentence(self) -> str:
        """Why it is left out, as a sentence."""
        return f"{self.said} is left out: {self.reason}."


class _LeftOut(Exception):  # noqa: N818 - a reason, not an error: it ends nothing
    """Why a component is left out."""


def claimed() -> tuple[tuple[str, EntryPointClaim], ...]:
    """Kind and entry point of each component of another distribution, usable or not; nothing is imported."""
    return tuple((kind, claim) for kind in GROUPS for claim in _claims(kind) if claim.distribution != _OURS)


@cache
def components(kind: str) -> tuple[Component, ...]:
    """The components of a kind that distributions bring, by name; each is imported, once in a process."""
    found: list[Component] = []
    for claim in _claims(kind):
        usable = [other.found for other in found if other.found is not None]
        found.append(_examined(kind, claim, usable))
    return tuple(found)


def _claims(kind: str) -> tuple[EntryPointClaim, ...]:
    """The entry points of a kind, each under the name of its component."""
    claims = scan(GROUPS[kind])
    if kind != "logger":
        return claims
    return tuple(replace(claim, name=claim.name.removeprefix(LOGGER)) for claim in claims if claim.name.startswith(LOGGER))


def _examined(kind: str, claim: EntryPointClaim, others: Iterable[type]) -> Component:
    """A component, imported, next to ``others`` of its kind that are already taken."""
    one = Component(kind, claim.name, claim.source)
    try:
        rivals = [other.source for other in _claims(kind) if other.name == claim.name]
        if len(rivals) > 1:
            raise _LeftOut(f"it is provided {len(rivals)} times: {', '.join(rivals)}")
        if kind in ("loss", "network"):
            return replace(one, found=_loss(claim, others) if kind == "loss" else _network(claim, others))
        return replace(one, found=_metric(claim) if kind == "metric" else _logger(claim))
    except _LeftOut as reason:
        return replace(one, reason=str(reason))


def forget() -> None:
    """Look again at the next call. For tests, which install while the process runs."""
    from ptycho_core.settings import groups

    for cached in (components, logger, groups.grouped, groups.declarations):
        cached.cache_clear()


def losses() -> dict[str, type[Loss]]:
    """The usable losses by name: the built-in ones in the order in which terms are summed, then others by name."""
    return {kind.name: kind for kind in (*BUILT_IN, *_usable("loss"))}


def networks() -> dict[str, type[Architecture]]:
    """The usable networks of other distributions by name."""
    return {kind.name: kind for kind in _usable("network")}


def network_names() -> dict[str, str]:
    """The words that other distributions add to ``--network``; each with the reason if it is left out, else empty.

    With them the names that networks have in other programs, each with what is nearest here for a reason.
    """
    return {**NEAREST, **{one.name: one.sentence if one.reason else "" for one in components("network")}}


def network_of(settings: Mapping[str, Mapping[str, Value]], size: int) -> Architecture | None:
    """The network that the settings of a training, by group, name, made with what they say of it.

    None where none of that name is installed: only a model file can have named it, which holds its layers.

    Args:
        settings: the groups *model* and, where other distributions bring networks, *networks*.
        size: N; the network must be one for such patterns.

    Raises:
        SettingsError: its settings make no network that can be built; the message says why.
    """
    model, given = settings["model"], settings.get("networks", {})
    name = str(model["network"])
    if name in {one.name for one in BUILT_IN_NETWORKS}:
        return built_in(model)
    kind = networks().get(name)
    if kind is None:
        return None
    one = next(one for one in components("network") if one.found is kind)
    try:
        return _built(kind(**{item.name: given[f"{kind.name}_{item.name}"] for item in fields(kind)}), size, model)
    except _LeftOut as reason:
        raise SettingsError(f"{one.said} cannot be built as it is asked for: {reason}.") from reason


def metrics() -> dict[str, type[Metric]]:
    """The usable metrics of other distributions by name."""
    return {kind.name: kind for kind in _usable("metric")}


def loggers() -> dict[str, type[Logger]]:
    """The usable loggers by name; each is imported."""
    return {kind.name: kind for kind in _usable("logger")}


def logger_names() -> list[str]:
    """The names of all loggers, usable or not; nothing is imported."""
    return sorted({claim.name for claim in _claims("logger")})


@cache
def logger(name: str) -> Component:
    """The logger of a name, usable or not; no other is imported."""
    claims = [claim for claim in _claims("logger") if claim.name == name]
    if not claims:
        return Component("logger", name, _OURS, reason=f"{_OURS} is installed without its entry point; install it again")
    return _examined("logger", claims[0], ())


def losses_of(settings: Mapping[str, Mapping[str, Value]]) -> dict[str, Loss]:
    """Each usable loss by name, made with what the settings of a job, by group, say of it."""
    given = {**settings.get("training", {}), **settings.get("losses", {})}
    made = {}
    for name, kind in losses().items():
        names = {item.name: f"{name}_{item.name}" for item in fields(kind)}
        made[name] = kind(**{item: given[full] for item, full in names.items() if full in given})
    return made


def loss_weights(training: Mapping[str, object], model_type: str) -> dict[str, float]:
    """The weight of each loss term by name, every auto resolved: losses that compare patterns, then ``tv`` and ``realspace``.

    Args:
        training: the *training* settings.
        model_type: ``physics-informed`` or ``supervised``.
    """
    labeled = model_type == "supervised" or training["labels"] == RECONSTRUCT
    auto = {"amplitude": 0.0 if labeled else 1.0, "realspace": 1.0 if labeled else 0.0}
    found = {}
    for name in (*losses(), *OF_OBJECTS):
        value = training[f"{name}_weight"]
        found[name] = auto[name] if value is None else float(str(value))
    return found


def resolved_weights(training: Mapping[str, Value], model_type: str) -> dict[str, Value]:
    """The *training* settings with a number for each weight; arguments as for `loss_weights`."""
    return {**training, **{f"{name}_weight": weight for name, weight in loss_weights(training, model_type).items()}}


def loss_declarations() -> tuple[Declaration, ...]:
    """The settings of the losses of other distributions."""
    return tuple(one for kind in _usable("loss") for one in _declarations(kind))


def network_declarations() -> tuple[Declaration, ...]:
    """The settings of the networks of other distributions."""
    return tuple(one for kind in _usable("network") for one in _declarations(kind))


def likelihoods() -> dict[str, str]:
    """The words that losses of other distributions add to ``--likelihood``; each with the reason if it is left out, else empty.

    The word of one that is left out may not be known: that is its name then.
    """
    words = {str(kind.likelihood): "" for kind in _usable("loss") if kind.likelihood is not None}
    return {one.name: one.sentence for one in components("loss") if one.reason} | words


def why_left_out(setting: str) -> str:
    """Why there is no such setting, as a sentence: it would be that of what is left out; empty where none would."""
    left_out = (one for kind in ("loss", "network") for one in components(kind) if one.reason)
    return next((one.sentence for one in left_out if setting.startswith(f"{one.name}_")), "")


def _usable(kind: str) -> list[Any]:
    return [one.found for one in components(kind) if one.found is not None]


def _declarations(kind: type[Loss | Architecture]) -> tuple[Declaration, ...]:
    """The settings of a network, or a loss; of it those that are no weight serve a reconstruction too where the loss does."""
    from ptycho_core.settings.declare import declaration_of

    if issubclass(kind, Architecture):
        made = (declaration_of(item, f"{kind.name}_{item.name}", "networks") for item in fields(kind))
        return tuple(replace(one, verbs=tuple(verb for verb in one.verbs if verb == "train")) for one in made)
    found = []
    for item in fields(kind):
        is_weight = item.name == "weight"
        one = declaration_of(item, f"{kind.name}_{item.name}", "training" if is_weight else "losses")
        jobs = ("train",) if is_weight or kind.likelihood is None else ("train", "reconstruct")
        found.append(replace(one, verbs=tuple(verb for verb in jobs if verb in one.verbs)))
    return tuple(found)


def _loss(claim: EntryPointClaim, others: Iterable[type[Loss]]) -> type[Loss]:
    """The class of a loss, next to ``others`` that are already taken.

    Raises:
        _LeftOut: it breaks a rule; the message says which.
    """
    if claim.name in {*OF_OBJECTS, *(kind.name for kind in BUILT_IN)}:
        raise _LeftOut("ptycho itself has a term of that name")
    kind: type[Loss] = _imported_alone(claim, Loss, "a loss computes on `ArrayOps` alone, and serves each backend")
    _check_fields(kind, "uses the loss")
    _check_weight(kind)
    _check_word(kind, [*BUILT_IN, *others])
    _check_settings(_declarations(kind), others)
    _check_made(kind, claim)
    return kind


def _network(claim: EntryPointClaim, others: Iterable[type[Architecture]]) -> type[Architecture]:
    """The class of a network, next to ``others`` that are already taken.

    Raises:
        _LeftOut: it breaks a rule; the message says which.
    """
    if claim.name in {"none", *(kind.name for kind in BUILT_IN_NETWORKS)}:
        raise _LeftOut("ptycho itself has a network of that name")
    expected = "a network is layers as data, and serves each backend"
    kind: type[Architecture] = _imported_alone(claim, Architecture, expected)
    _check_fields(kind, "makes a network")
    _check_settings(_declarations(kind), [*others, *losses().values()])
    _check_made(kind, claim)
    _built(kind(), _USUAL_SIZE, {"gridsize": 1})
    return kind


def _built(made: Architecture, size: int, model: Mapping[str, Value]) -> Architecture:
    """An architecture whose layers for patterns of a size, and *model* settings, are a network that can be built.

    Raises:
        _LeftOut: they are not; the message says why.
    """
    from ptycho_core.failures import in_one_line

    asked = {"update_steps": None, "output_form": "real-imaginary", "amplitude_activation": "none", **model}
    try:
        check_description(describe(size, asked, architecture=made))
    except KeyboardInterrupt:
        raise
    except DataError as error:
        raise _LeftOut(f"for patterns of {size} x {size} pixels it gives no network: {error.message.rstrip('.')}") from error
    except BaseException as error:
        what = in_one_line(error, type(made).__module__.partition(".")[0])
        raise _LeftOut(f"its layers for patterns of {size} x {size} pixels cannot be made: {what}") from error
    return made


def _metric(claim: EntryPointClaim) -> type[Metric]:
    """The class of a metric.

    Raises:
        _LeftOut: it breaks a rule; the message says which.
    """
    from ptycho_core.imaging.metrics import Metric, measures

    if claim.name in measures():
        raise _LeftOut("ptycho itself has a metric of that name")
    kind: type[Metric] = _imported(claim, Metric)
    if getattr(kind, "better", None) not in ("lower", "higher"):
        raise _LeftOut('its class states no \'better\', "lower" or "higher"')
    _check_made(kind, claim)
    return kind


def _logger(claim: EntryPointClaim) -> type[Logger]:
    """The class of a logger.

    Raises:
        _LeftOut: it breaks a rule; the message says which.
    """
    from ptycho_core.failures import in_one_line
    from ptycho_core.loggers.logger import Logger

    if claim.name == "none":
        raise _LeftOut("the word 'none' means that there is no log")
    found: type[Logger] = _imported(claim, Logger)
    requires: object = found.requires  # as it is declared, and as it may be
    if not isinstance(requires, Mapping) or not all(isinstance(one, str) for pair in requires.items() for one in pair):
        raise _LeftOut("its 'requires' is no mapping from a package to the distribution that holds it")
    try:
        names = [name for steps in (False, True) for name in found.writes(steps=steps)]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _LeftOut(f"its 'writes' fails: {in_one_line(error, claim.module.partition('.')[0])}") from error
    if not all(isinstance(name, str) for name in names):
        raise _LeftOut("its 'writes' gives something else than names")
    return found


def _imported(claim: EntryPointClaim, base: type) -> Any:  # noqa: ANN401 - a class derived from base
    """What an entry point names, if it is a class derived from ``base`` that states the name of the entry point."""
    from ptycho_core.backends.lists import NO_LISTS, AccessLists
    from ptycho_core.backends.registry import bad_name
    from ptycho_core.failures import in_one_line

    if bad_name(claim.name):
        raise _LeftOut(bad_name(claim.name).replace("for a backend", f"for a {base.__name__.lower()}"))
    blocked = AccessLists(block=NO_LISTS.below_environment().block).refusal(claim.name, claim.distribution)
    if blocked:
        raise _LeftOut(blocked)
    try:
        found: Any = claim.imported()
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise _LeftOut(f"it cannot be loaded: {in_one_line(error, claim.module.partition('.')[0])}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise _LeftOut(f"{claim.value} is no class derived from {base.__module__}.{base.__name__}")
    if isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise _LeftOut(f"its class lacks {missing}")
    if getattr(found, "name", None) != claim.name:
        raise _LeftOut(f"its entry point is called '{claim.name}', and its class {getattr(found, 'name', None)!r}")
    return found


def _imported_alone(claim: EntryPointClaim, base: type, why: str) -> Any:  # noqa: ANN401 - as `_imported`
    """As `_imported`, of a class whose module imports no framework; ``why`` says for what reason."""
    frameworks = _frameworks()
    kind = _imported(claim, base)
    brought = sorted(_frameworks() - frameworks)
    if brought:
        raise _LeftOut(f"it imports '{brought[0]}' when it is loaded; {why}")
    return kind


def _frameworks() -> set[str]:
    """The frameworks that are imported in this process."""
    from ptycho_core.backends.known import known_backends

    return {known.module for known in known_backends().values()} & sys.modules.keys()


def _check_fields(kind: type[Loss | Architecture], use: str) -> None:
    """That each field is a setting that can be checked, and serves a job that has ``use`` for it."""
    from ptycho_core.settings.declare import KINDS

    made = vars(kind).get("__dataclass_params__")
    if made is None or not made.frozen:
        raise _LeftOut("its class is no frozen dataclass")
    loose = [item.name for item in fields(kind) if "told" not in item.metadata]
    if loose:
        raise _LeftOut(f"its field '{loose[0]}' is not made with setting(...)")
    for one in _declarations(kind):
        if one.kind not in KINDS:
            raise _LeftOut(f"its setting '{one.name}' is a {one.kind}; there are {', '.join(KINDS)}")
        if not one.verbs:
            raise _LeftOut(f"its setting '{one.name}' serves no job that {use}")
        try:
            one.check(one.default, "its default")
        except SettingsError as error:
            raise _LeftOut(error.message.rstrip(".")) from error


def _check_weight(kind: type[Loss]) -> None:
    """That ``weight`` is a setting that leaves the loss out by itself."""
    weight = next((one for one in _declarations(kind) if one.name == f"{kind.name}_weight"), None)
    if weight is None or weight.kind not in ("float", "int") or weight.default != 0:
        raise _LeftOut("its class has no field 'weight', a number that is 0 by default")


def _check_word(kind: type[Loss], others: Iterable[type[Loss]]) -> None:
    """That its word in ``--likelihood`` is one, and no other's."""
    from ptycho_core.backends.registry import bad_name

    word = getattr(kind, "likelihood", None)
    if not hasattr(kind, "likelihood"):
        raise _LeftOut("its class states no 'likelihood', a word or None")
    if word is not None and (not isinstance(word, str) or bad_name(word)):
        raise _LeftOut(f"{word!r} cannot be a word for --likelihood: lower-case letters, digits and '_', a letter first")
    if word is not None and word in {other.likelihood for other in others}:
        raise _LeftOut(f"--likelihood {word} already means another loss")


def _check_settings(declared: Iterable[Declaration], others: Iterable[type[Loss | Architecture]]) -> None:
    """That no setting is spelled as one of ptycho, as a flag of a command, or as one of ``others``."""
    from ptycho_core.settings.declare import declarations_of
    from ptycho_core.settings.groups import GROUPS as SETTINGS
    from ptycho_core.settings.sources import NOT_SETTINGS, OPTION_VARIABLES

    core = [one for group in SETTINGS for one in declarations_of(group)]
    taken = [*core, *(one for other in others for one in _declarations(other))]
    spelled = {word: one.name for one in taken for word in one.spellings}
    spelled |= {word: word for word in (*COMMAND_FLAGS, *NOT_SETTINGS)}
    for one in declared:
        clash = next((word for word in one.spellings if word in spelled), None)
        if clash is not None:
            raise _LeftOut(f"its setting '{one.name}' would be written as '{spelled[clash]}' is, {clash}")
        if one.variable.startswith(OPTION_VARIABLES):
            raise _LeftOut(f"its setting '{one.name}' has the variable {one.variable}, as options of backends have")


def _check_made(kind: type, claim: EntryPointClaim) -> None:
    """That the class can be made with its defaults, and kept by its values."""
    from ptycho_core.failures import in_one_line

    try:
        hash(kind())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _LeftOut(f"it cannot be made: {in_one_line(error, claim.module.partition('.')[0])}") from error
