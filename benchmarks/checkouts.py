"""Checkouts of commits, each with its own environment in which only that checkout's packages are found."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

NOT_INSTALLED = {"tests", "examples", "docs", "build", "benchmarks"}
"""Folders in which what looks like a distribution is not part of the program."""

FIXED = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
    "PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "TF_CPP_MIN_LOG_LEVEL": "2",
}  # fmt: skip
"""Variables of every command. PYTHONSAFEPATH keeps the folder that a command runs in off the path."""

METADATA = """
import os, sys
from setuptools import build_meta
_, place, folder = sys.argv
os.chdir(folder)
build_meta.prepare_metadata_for_build_wheel(place)
"""

FOUND = """
import importlib.util, json
from importlib import metadata
import ptycho_core
files = {"ptycho_core": ptycho_core.__file__}
for entry in metadata.entry_points(group="ptycho.backends"):
    spec = importlib.util.find_spec(entry.module)
    files[f"backend {entry.name}"] = spec and spec.origin
for entry in metadata.entry_points(group="console_scripts"):
    if entry.name.startswith("ptycho"):
        spec = importlib.util.find_spec(entry.module)
        files[f"command {entry.name}"] = spec and spec.origin
print(json.dumps(files))
"""

SCRIPT = """
import sys
from importlib import metadata
(entry,) = metadata.entry_points(group="console_scripts", name=sys.argv.pop(1))
sys.argv[0] = entry.name
sys.exit(entry.load()())
"""


class CannotRunError(Exception):
    """A commit, its packages or a command of it cannot be used; the message says why."""


@dataclass(frozen=True)
class Cost:
    """What a command came to: exit status, CPU seconds with those of its children, peak memory of a process in MB."""

    status: int
    cpu: float
    mb: float


@dataclass(frozen=True)
class Checkout:
    """The code of one commit, ready to run.

    Attributes:
        said: how it was asked for: a commit or a folder.
        root: folder with the code.
        python: interpreter of the environment in which the code is installed.
        backends: names of the backends that it provides.
    """

    said: str
    root: Path
    python: Path
    backends: tuple[str, ...]

    def run(self, words, folder, log):
        """Run a command line in a folder; what it prints goes to ``log``.out and ``log``.err there."""
        start = ["-m", "ptycho_core"] if words[0] == "ptycho" else ["-c", SCRIPT, words[0]]
        with (folder / f"{log}.out").open("wb") as out, (folder / f"{log}.err").open("wb") as err:
            process = subprocess.Popen(
                [self.python, *start, *words[1:]], stdout=out, stderr=err, cwd=folder, env=variables(), start_new_session=True
            )
            try:
                _, status, used = os.wait4(process.pid, 0)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        process.returncode = os.waitstatus_to_exitcode(status)
        return Cost(process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def variables():
    """The environment of a command: nothing of it changes what ptycho or Python does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PTYCHO_", "PYTHON", "MPL"))}
    return kept | FIXED


@contextmanager
def checkout(said, place):
    """A commit, or a folder with a checkout, ready to run.

    Args:
        said: a commit as git names it, or a folder.
        place: folder to put the environment and the code in; a worktree there is removed at the end.

    Raises:
        CannotRunError: there is no such commit or folder, or its packages cannot be found.
    """
    place.mkdir()
    if Path(said).is_dir():
        yield installed(said, Path(said).resolve(), place)
        return
    repository, tree = Path(__file__).parents[1], place / "tree"
    git = ["git", "-C", str(repository), "worktree"]
    done = subprocess.run([*git, "add", "--detach", str(tree), said], capture_output=True, text=True)
    try:
        if done.returncode:
            last = (done.stderr.strip() or "git says nothing").splitlines()[-1]
            raise CannotRunError(f"'{said}' is neither a folder nor a commit that git can check out: {last}")
        yield installed(said, tree, place)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], capture_output=True)


def installed(said, root, place):
    """Make the environment of a checkout and make sure that its code is what runs there."""
    python = place / "env" / "bin" / "python"
    venv.EnvBuilder(symlinks=True).create(place / "env")
    site = next((place / "env" / "lib").glob("python*")) / "site-packages"
    names = set()
    for folder in distributions(root):
        names.add(canonical(install(folder, site)))
    link_the_rest(site, names)
    done = subprocess.run([python, "-c", FOUND], capture_output=True, text=True, env=variables(), cwd=place)
    if done.returncode:
        raise CannotRunError(f"{said}: its packages cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    files = json.loads(done.stdout)
    for what, file in files.items():
        if file is None or not Path(file).resolve().is_relative_to(root.resolve()):
            raise CannotRunError(f"{said}: {what} would come from {file}, not from {root}.")
    return Checkout(said, root, python, tuple(what.removeprefix("backend ") for what in files if what.startswith("backend ")))


def distributions(root):
    """Folders of the distributions of a checkout: its root, and what lies at most two folders down."""
    below = [path for pattern in ("*/", "*/*/") for path in sorted(root.glob(pattern))]
    shown = [path for path in below if not {part for part in path.relative_to(root).parts if hidden(part)}]
    found = [path for path in (root, *shown) if is_distribution(path)]
    if not found:
        raise CannotRunError(f"{root} holds no distribution: there is no setup.cfg or pyproject.toml that states a name.")
    return found


def hidden(part):
    """Whether nothing is installed from below a folder of this name."""
    return part.startswith(".") or part in NOT_INSTALLED


def is_distribution(folder):
    """Whether a folder states the name of a distribution, in setup.cfg or pyproject.toml."""
    config = ConfigParser(interpolation=None)
    config.read(folder / "setup.cfg", encoding="utf-8")
    if config.has_option("metadata", "name"):
        return True
    project = folder / "pyproject.toml"
    return project.is_file() and "name" in tomllib.loads(project.read_text("utf-8")).get("project", {})


def install(folder, site):
    """Put the metadata of a distribution, and links to its packages, into an environment; its name."""
    place = site / "metadata"
    place.mkdir()
    done = subprocess.run([sys.executable, "-c", METADATA, place, folder], capture_output=True, text=True)
    made = next(place.glob("*.dist-info"), None)
    if done.returncode or made is None:
        raise CannotRunError(f"{folder}: setuptools cannot make its metadata: {(done.stderr.strip() or '-').splitlines()[-1]}")
    for package in (made / "top_level.txt").read_text().split():
        sources = [path for path in (folder / package, folder / "src" / package) if path.is_dir()]
        if not sources:
            raise CannotRunError(f"{folder} states the package '{package}', but there is no such folder.")
        (site / package).symlink_to(sources[0])
    made.rename(site / made.name)
    shutil.rmtree(place)
    return re.search(r"^Name: *(.+)$", (site / made.name / "METADATA").read_text("utf-8"), re.MULTILINE)[1]


def link_the_rest(site, names):
    """Link every package that this interpreter has, but for those of the checkouts and whatever is installed as editable."""
    for source in dict.fromkeys(path for path in sys.path if path.endswith("-packages")):
        left_out = set()
        for one in metadata.distributions(path=[source]):
            if canonical(one.name) in names or re.search(r'"editable": *true', one.read_text("direct_url.json") or ""):
                left_out |= {file.parts[0] for file in one.files or ()}
        for path in Path(source).iterdir():
            target = site / path.name
            if path.name not in left_out | {"__pycache__"} and not os.path.lexists(target):
                target.symlink_to(path)


def canonical(name):
    """A distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
