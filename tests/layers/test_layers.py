"""Arrows point one way: the core knows no framework and no backend, and what only lists or helps loads next to nothing."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ptycho_core
from ptycho_core.cli.main import COMMANDS

CORE = Path(ptycho_core.__file__).parent
ROOT = CORE.parent
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "cupy"}
BACKENDS = {"torch", "tensorflow", "pytorch", "tf", "ptychi"}
HEAVY = {"numpy", "scipy", "skimage", "h5py", "matplotlib", "rich"} | FRAMEWORKS
CORE_MODULES = sorted(CORE.rglob("*.py"))
BACKEND_MODULES = sorted((ROOT / "backends").rglob("ptycho_*/*.py"))
FROM_THE_ENGINE = [
    *BACKEND_MODULES,
    *sorted((CORE / "numpy_backend").glob("*.py")),
    *sorted((ROOT / "examples" / "plugins" / "jax").glob("ptycho_*/*.py")),
]


def test_there_are_modules_to_look_at() -> None:
    """An empty list would make the tests below none, not failures."""
    assert {"contract.py", "model.py", "__main__.py"} <= {path.name for path in CORE_MODULES}
    assert {path.parent.name for path in CORE_MODULES} >= {"training", "settings", "cli", "reconstruction", "imaging"}
    assert {path.parent.name for path in BACKEND_MODULES} == {"ptycho_backend_torch", "ptycho_backend_tensorflow"}
    for name in ("ptycho_backend_torch", "ptycho_backend_tensorflow"):
        assert {"arrays.py", "devices.py", "network.py", "planning.py", "plugin.py"} <= {
            path.name for path in BACKEND_MODULES if path.parent.name == name
        }


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", CORE_MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_core_module_imports_a_framework_or_a_backend(path: Path) -> None:
    tops = {name.partition(".")[0] for name in imports(path)}
    assert not tops & FRAMEWORKS
    assert not {top for top in tops if top.startswith("ptycho_") and top != "ptycho_core"}


@pytest.mark.parametrize("path", CORE_MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_core_module_compares_with_the_name_of_a_backend(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare | ast.MatchValue | ast.Subscript):
            named = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)}
            assert not named & BACKENDS, f"{path}:{node.lineno} branches on the name of a backend"


def test_no_core_file_names_a_backend_of_a_third_party() -> None:
    names = set()
    for path in (ROOT / "examples" / "plugins").glob("*/setup.cfg"):
        setup = configparser.ConfigParser()
        setup.read(path)
        claims = setup["options.entry_points"].get("ptycho.backends", "")  # a host has none
        names |= {line.partition("=")[0].strip() for line in claims.split("\n") if line}
    assert "template" in names
    files = [path for path in CORE.rglob("*") if path.suffix in (".py", ".toml", ".in")]
    for name in names - {"template"} - FRAMEWORKS:  # words that are also something else
        found = [str(path) for path in files if re.search(rf"\b{name}\b", path.read_text("utf-8"))]
        assert not found, f"'{name}' stands in the core"


def test_backends_from_the_engine_have_the_same_rooms() -> None:
    rooms = {path.parent for path in FROM_THE_ENGINE}
    assert len(rooms) == 4
    for room in rooms:
        assert {"__init__.py", "arrays.py", "devices.py", "network.py", "planning.py", "plugin.py"} <= {
            one.name for one in room.iterdir()
        }


@pytest.mark.parametrize("path", FROM_THE_ENGINE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_backend_imports_only_the_contract_and_the_neutral_core(path: Path) -> None:
    own = path.parent.name
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top.startswith("ptycho_") and top != own and not rest.startswith(own):
            assert top == "ptycho_core", f"{path} imports another backend"
            assert rest in ("", "contract", "errors", "hookspecs", "backends.plans", "engine") or rest.startswith("physics")


def test_what_proves_backends_shares_nothing_with_the_engine() -> None:
    judges = [*(CORE / "conformance").rglob("*.py"), *(ROOT / "tests" / "second_opinion").glob("*.py")]
    assert len(judges) > 20
    for path in judges:
        assert not {name for name in imports(path) if name.startswith("ptycho_core.engine")}, f"{path} imports what it judges"


def test_what_counts_as_nobodys_framework_is_what_the_core_itself_depends_on() -> None:
    from ptycho_core.backends.loading import NEUTRAL

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    wanted = {line.partition(">")[0] for line in setup["options"]["install_requires"].split()}
    assert {name.replace("scikit-image", "skimage") for name in wanted} == NEUTRAL


def fresh(*arguments: str, path: Path | None = None) -> dict[str, object]:
    """Run the command in a fresh process; what was loaded and what it cost."""
    code = (
        "import json, os, sys\n"
        "from ptycho_core.cli.main import main\n"
        "sys.stdout = open(os.devnull, 'w')\n"
        f"status = main({list(arguments)!r})\n"
        "spent = os.times()\n"
        "sys.__stdout__.write(json.dumps({'status': status, 'modules': sorted(sys.modules), 'cpu': spent.user + spent.system}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=path or ROOT, env=dict(os.environ)
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("arguments", [("--help",), ("backends", "list"), ("backends", "list", "--json")])
def test_help_and_list_load_neither_numpy_nor_a_framework_nor_a_plugin(arguments: tuple[str, ...]) -> None:
    found = fresh(*arguments)
    assert found["status"] == 0
    tops = {name.partition(".")[0] for name in found["modules"]}
    assert not tops & HEAVY
    assert not {top for top in tops if top.startswith("ptycho_") and top != "ptycho_core"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_loads_neither_numpy_nor_a_plugin(command: str) -> None:
    found = fresh(command, "--help")
    assert found["status"] == 0
    tops = {name.partition(".")[0] for name in found["modules"]}
    assert not tops & HEAVY
    assert not {top for top in tops if top.startswith("ptycho_") and top != "ptycho_core"}


@pytest.mark.parametrize("path", CORE_MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_module_imports_at_its_top_what_is_loaded_only_for_figures_files_and_metrics(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name.partition(".")[0] for node in at_top if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module or "").partition(".")[0] for node in at_top if isinstance(node, ast.ImportFrom)}
    assert not names & {"matplotlib", "skimage", "rich"}
    if "cli" in path.parts or "settings" in path.parts or "backends" in path.parts:
        assert not names & HEAVY
