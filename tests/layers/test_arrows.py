"""Arrows between the rooms of the core point one way.

A *place* is a room (a package or a module directly in ``ptycho_core``), or a module of a room that stands on another floor and
is named in the table by itself.  An *arrow* leads from one place to another whose name or content it imports: at the top of a
module or inside a function; what is imported for annotations alone (under ``TYPE_CHECKING``) does not count, nor does
``__version__``, which is a constant.  An arrow is *upward* if its end stands on a higher floor than its beginning.  A *circle*
is a way along arrows, those that are listed here aside, that comes back to its place.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import ptycho_core

CORE = Path(ptycho_core.__file__).parent

FLOORS = (
    ("__main__", "compatibility"),
    ("cli", "conformance", "numpy_backend"),
    ("__init__",),
    ("comparison", "conversion", "evaluation", "simulate"),
    ("reconstruction.find_convention", "reconstruction.halves", "reconstruction.verb"),
    ("inference.run", "reconstruction.run", "training.labels", "training.rival", "training.run"),
    ("jobs", "onnx"),
    ("settings",),
    ("backends",),
    ("engine",),
    ("inference", "training"),
    ("reconstruction",),
    ("loggers",),
    ("imaging", "simulation"),
    ("formats", "model"),
    ("modelfile", "scan"),
    ("checks", "networks", "settings.data", "settings.declare", "settings.reconstruction"),
    ("events", "failures", "files", "notes", "physics", "samples"),
    ("backends.discovery", "backends.known", "backends.lists"),
    ("contract", "errors", "hookspecs", "orientation", "spelling", "units"),
)
"""From the top of the house to its ground.

The ``run`` of a verb is a job, and so is what asks a backend meanwhile, though the pure functions that it uses share its room.
``settings.declare`` says what a setting
is, and losses declare theirs with it; groups of declarations that others take as types stand next to it.  What reads entry
points and lists of names serves formats too, and uses nothing else of the backends.
"""

UPWARD = {
    "backends > settings": "backends.plans, promised to backends, answers each setting by name; the codec carries typed values",
    "engine > backends": "a backend that is made from the engine states its capabilities by its manifest",
    "imaging > settings": "a score has the metrics of other distributions, which the door for components finds",
}
"""Arrows that point upward and stay, with the reason; at most three."""


def place(module: str) -> str:
    """Where a module stands; its name is without ``ptycho_core``."""
    placed = {one for floor in FLOORS for one in floor}
    return module if module in placed else module.partition(".")[0]


def modules() -> dict[str, Path]:
    files = [path for path in CORE.rglob("*.py") if "template" not in path.relative_to(CORE).parts]
    names = (".".join(path.relative_to(CORE).with_suffix("").parts) for path in files)
    return {re.sub(r"\.__init__$", "", name): path for name, path in zip(names, files, strict=True)}


def imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Module and name of each import inside a node, but for annotations."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for inside in node.orelse:
            yield from imported(inside)
        return
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((node.module or "", alias.name) for alias in node.names)
    for inside in ast.iter_child_nodes(node):
        yield from imported(inside)


def arrows(source: dict[str, str]) -> dict[tuple[str, str], set[str]]:
    """Each arrow, as beginning and end, with the modules that it is made of."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, text in source.items():
        for module, item in imported(ast.parse(text)):
            top, _, rest = module.partition(".")
            if top != "ptycho_core" or (not rest and item == "__version__"):
                continue
            full = f"{rest}.{item}".strip(".")
            end = place(full if full in source else rest or "__init__")
            if end != place(name):
                found[place(name), end].add(name)
    return found


def upward(found: dict[tuple[str, str], set[str]]) -> dict[str, set[str]]:
    height = {one: -number for number, floor in enumerate(FLOORS) for one in floor}
    return {f"{begin} > {end}": names for (begin, end), names in found.items() if height[end] > height[begin]}


def circle(found: dict[tuple[str, str], set[str]], without: set[str]) -> None:
    """Raises ``graphlib.CycleError`` where there is one."""
    graph: dict[str, set[str]] = defaultdict(set)
    for begin, end in found:
        if f"{begin} > {end}" not in without:
            graph[begin].add(end)
    TopologicalSorter(graph).prepare()


SOURCE = {name: path.read_text("utf-8") for name, path in modules().items()}


def test_every_room_has_its_floor_and_every_place_on_a_floor_is_there() -> None:
    placed = [one for floor in FLOORS for one in floor]
    assert len(placed) == len(set(placed))
    assert {place(name) for name in SOURCE} == set(placed)


def test_no_arrow_points_upward_but_those_that_are_listed() -> None:
    found = upward(arrows(SOURCE))
    assert {arrow: sorted(names) for arrow, names in found.items() if arrow not in UPWARD} == {}
    assert set(UPWARD) <= set(found), "an arrow that is listed is gone: take it off the list"
    assert len(UPWARD) <= 3


def test_rooms_form_no_circle() -> None:
    circle(arrows(SOURCE), without=set(UPWARD))


def test_an_arrow_is_seen_wherever_it_is_imported_and_only_there() -> None:
    inside = "def f():\n    from ptycho_core.cli import main\n"
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ptycho_core.cli import main\n"
    by_itself = (
        "from ptycho_core import settings\nfrom ptycho_core.settings import declare\nfrom ptycho_core import __version__\n"
    )
    source = {"cli": "", "settings": "", "settings.declare": "", "scan.a": inside, "files.b": types, "errors": by_itself}
    found = arrows(source)
    assert set(found) == {("scan", "cli"), ("errors", "settings"), ("errors", "settings.declare")}
    assert set(upward(found)) == {"scan > cli", "errors > settings", "errors > settings.declare"}
