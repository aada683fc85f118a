"""Every reader, given files that are damaged by chance or made to deceive: it reads them, or says in a sentence why not.

A failure names target and seed: ``examine(TARGETS[name], folder, seed)`` repeats it.
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import tifffile
from electron_files import emd, hspy, nexus, py4dstem
from format_seeds import WRITERS, seeds
from mutations import JSON, ODD_LINES, Mutation, bytewise, npy, odd_hdf5, odd_npy, odd_npz, odd_text
from small_files import ONE_FILE, dectris
from small_scan import SmallScan

from ptycho_core.backends.manifest import read_manifest
from ptycho_core.cli.main import main
from ptycho_core.compatibility.yaml_file import read_yaml
from ptycho_core.errors import PtychoError
from ptycho_core.formats.opening import ScanFile, open_scan
from ptycho_core.formats.product import Reconstruction, load_reconstruction, read_object, read_probe
from ptycho_core.model import Model, load_model, save_model
from ptycho_core.scan.summary import summarise
from ptycho_core.settings.facts import inference_facts, resumption_facts, scan_facts
from ptycho_core.settings.sources import SettingsFile

SECONDS = 5.0
"""Of the processor, for all readers of a target; HDF5 itself takes some for a text whose length is damaged."""
MEGABYTES = 300.0
"""More than before, at most; above all what a file promises and does not hold must not be allocated."""
SHORT, LONG = 60, 500
"""Seeds of each target."""

RNG = np.random.default_rng(7)
PLAIN = {
    "intensity": RNG.poisson(40.0, (4, 8, 8)).astype(np.float32), "positions_px": RNG.uniform(0, 9, (4, 2)),
    "signal": np.array("counts"), "probe_guess": np.ones((8, 8), complex), "mask": np.ones((8, 8), bool),
    "photons": np.array(2560.0), "scan_index": np.zeros(4, int),
}  # fmt: skip
PINN = {
    "diffraction": RNG.uniform(0, 9, (4, 8, 8)).astype(np.float32), "xcoords": RNG.uniform(0, 9, 4),
    "ycoords": RNG.uniform(0, 9, 4), "probeGuess": np.ones((8, 8), np.complex64), "objectGuess": np.ones((20, 20), complex),
    "nphotons": np.array(1e4),
}  # fmt: skip
OBJECT = {"object": np.ones((20, 21), complex), "probe": np.ones((1, 8, 8), complex), "positions_px": np.zeros((4, 2))}
MASK = (np.arange(64).reshape(8, 8) > 3).astype(np.uint8)
SETTINGS = '[data]\nphotons = 1e5\nsize = 32\n[execution]\nbackend = "torch"\nseed = 3\n[backend.torch]\ncompile = true\n'
MANIFEST = (
    'name = "acme"\ncontract = "2.0"\ntitle = "Acme"\ncapabilities = ["reconstruct"]\n[framework]\nmodule = "a"\n'
    'distributions = ["a"]\nminimum = "2"\n'
    '[[options]]\nname = "level"\ntype = "int"\nhelp = "how much"\nminimum = 1\nmaximum = 3\n'
)
LAYOUT = (
    'title = "Mine"\nkeys = ["a"]\n[frames]\npath = "entry/measurement/*/frames"\nflag = "largest"\n[positions]\n'
    'x = "entry/measurement/pseudo/x"\ny = "entry/measurement/pseudo/y"\nunit = "um"\nsign = -1\n[geometry]\n'
    'energy = { path = "entry/snapshots/pre_scan/energy", unit = "eV" }\ndistance = { value = 1.9 }\n'
    'pixel = { detectors = { eiger = 75 }, unit = "um" }\n[[filter]]\npath = "entry/measurement/pseudo/x"\nminimum = -1e9\n'
)
NANOMAX = {
    "entry/measurement/eiger/frames": RNG.poisson(40.0, (4, 8, 8)).astype(np.uint32),
    "entry/measurement/pseudo/x": RNG.uniform(0, 2, 4), "entry/measurement/pseudo/y": RNG.uniform(0, 2, 4),
    "entry/snapshots/pre_scan/energy": [8800.0], "entry/snapshots/pre_scan/detector_distance": [1.9],
}  # fmt: skip
CUBE = RNG.poisson(40.0, (2, 3, 8, 8)).astype(np.uint16)
YAML = "epochs: 3\nbatch_size: 4\nmodel:\n  gridsize: 2\n"


class Target(NamedTuple):
    """A reader under test: how files for it are made, where they lie, and what reads them."""

    mutations: list[Mutation]
    name: str
    read: Callable[[Path], object]


def scan_reader(path: Path) -> None:
    for act in (
        lambda: scan_facts(ScanFile(path)),
        lambda: open_scan(path).patterns.read(slice(None)),
        lambda: summarise(open_scan(path)),
        lambda: read_object(path),
    ):
        documented(act)


def foreign_reader(path: Path) -> None:
    scan_reader(path)
    documented(lambda: read_probe(path))


def result_reader(path: Path) -> None:
    for read in (load_reconstruction, read_object, read_probe):
        documented(lambda read=read: read(path))
    assert main(["score", str(path), "--reference", str(path)]) != 1, "an unexpected error"


def settings_reader(path: Path) -> None:
    file = SettingsFile(path)
    for verb in ("train", "infer", "reconstruct"):
        documented(lambda verb=verb: file.settings(verb))
    documented(file.lists)


def documented(act: Callable[[], Any]) -> Any:
    """What an act gives; None where it says in a sentence why not."""
    try:
        return act()
    except PtychoError as error:
        told = str(error)
    assert 0 < len(told) < 20_000
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing")


@pytest.fixture(scope="module")
def targets(folder) -> dict[str, Target]:
    np.savez(folder / "sound.npz", **{name: values for name, values in PLAIN.items() if name != "mask"})
    sound, made = folder / "sound.npz", {}
    for name, arrays in (("plain", PLAIN), ("pinn", PINN)):
        np.savez_compressed(folder / "seed.npz", **arrays)
        made[name] = Target(
            [bytewise((folder / "seed.npz").read_bytes()), odd_npz(arrays), odd_npz(arrays)], "a.npz", scan_reader
        )
    made["object"] = Target(
        [odd_npz(OBJECT), odd_npy(npy(OBJECT["object"])), bytewise(npy(OBJECT["object"]))], "a.npy", read_object
    )
    made["probe"] = Target(
        [odd_npz(OBJECT), odd_npy(npy(OBJECT["probe"]))], "a.npz", lambda path: open_scan(sound, {"probe": str(path)})
    )
    tifffile.imwrite(folder / "seed.tif", MASK, compression="zlib")
    masks = [odd_npz({"mask": MASK}), odd_npy(npy(MASK)), bytewise((folder / "seed.tif").read_bytes())]
    made["mask"] = Target(masks, "a.tif", lambda path: open_scan(sound, {"mask": str(path)}))
    history = tuple({"epoch": one, "loss": 1.0 / one, "stage": "fit"} for one in (1, 2, 3))
    one = Reconstruction(OBJECT["object"], OBJECT["probe"], np.ones((4, 2)), history=history, stopped_by="", interrupted=False)
    result = one.save(folder / "seed.h5")
    made["result"] = Target(
        [odd_hdf5(result, folder), odd_hdf5(result, folder), bytewise(result.read_bytes())], "a.h5", result_reader
    )
    made["settings"] = Target([odd_text(SETTINGS, ODD_LINES)], "a.toml", settings_reader)
    made["manifest"] = Target([odd_text(MANIFEST, ODD_LINES)], "a.toml", lambda path: read_manifest(path, "acme"))
    made |= scans_of_others(folder)
    made |= scans_of_detectors(folder)
    made["YAML"] = Target([odd_text(YAML, ODD_LINES)], "a.yaml", lambda path: read_yaml("train", path))
    for name, seed in seeds(folder).items():
        ways = [bytewise(seed.path.read_bytes())]
        if h5py.is_hdf5(seed.path):
            ways += [odd_hdf5(seed.path, folder)] * 2
        elif seed.path.suffix == ".npz":
            with np.load(seed.path) as arrays:
                ways += [odd_npz(dict(arrays))] * 2
        made[name] = Target(ways, seed.name, foreign_reader)
    return made


FORMATS = (*ONE_FILE, "dectris", "table", "NanoMAX", "EMD", "py4DSTEM", "HyperSpy", "hspy", "layout", "TIFF")
NAMES = ("plain", "pinn", "object", "probe", "mask", "result", "settings", "manifest", "YAML", *FORMATS, *WRITERS)


def scans_of_others(folder: Path) -> dict[str, Target]:
    """The formats of other programs; what belongs to a file lies next to it, and is sound."""
    made, small = {}, SmallScan()
    for name, write in ONE_FILE.items():
        path = write(folder / f"{name}.h5", small)
        made[name] = Target([odd_hdf5(path, folder), odd_hdf5(path, folder), bytewise(path.read_bytes())], "a.h5", scan_reader)
    ONE_FILE["ptychodus"](folder / "diffraction.h5", small)
    ONE_FILE["product"](folder / "product.h5", small)
    master = dectris(folder, small)
    made["dectris"] = Target([odd_hdf5(master, folder), bytewise(master.read_bytes())], "a_master.h5", scan_reader)
    table = (folder / "scan_7_positions.csv").read_text()
    made["table"] = Target([odd_text(table, ODD_LINES)], "a.csv", lambda path: open_scan(master, {"positions": str(path)}))
    return made


def scans_of_detectors(folder: Path) -> dict[str, Target]:
    """Scans that a layout describes, those of electrons, and TIFF."""
    made = {}
    with h5py.File(folder / "nanomax.h5", "w") as file:
        for key, value in NANOMAX.items():
            file[key] = value
    written = {
        "NanoMAX": folder / "nanomax.h5", "EMD": emd(folder / "cube.emd", CUBE), "py4DSTEM": py4dstem(folder / "cube.h5", CUBE),
        "HyperSpy": nexus(folder / "cube.nxs", CUBE), "hspy": hspy(folder / "cube.hspy", CUBE),
    }  # fmt: skip
    for name, path in written.items():
        made[name] = Target([odd_hdf5(path, folder), odd_hdf5(path, folder), bytewise(path.read_bytes())], "a.h5", scan_reader)
    made["layout"] = Target(
        [odd_text(LAYOUT, ODD_LINES)], "a.toml", lambda path: open_scan(written["NanoMAX"], {"format": str(path)})
    )
    stacks = []
    for compression in (None, "zlib"):
        tifffile.imwrite(
            folder / "stack.tif", NANOMAX["entry/measurement/eiger/frames"], photometric="minisblack", compression=compression
        )
        stacks.append(bytewise((folder / "stack.tif").read_bytes()))
    table = folder / "where.csv"
    table.write_text("y_um,x_um\n0,0\n0,1\n1,0\n1,1\n")
    made["TIFF"] = Target(
        stacks, "a.tif",
        lambda path: open_scan(path, {"positions": str(table), "object_pixel_m": 1e-7}).patterns.read(slice(None)),
    )  # fmt: skip
    return made


def examine(target: Target, folder: Path, seed: int) -> None:
    """Make the file of a seed, and read it."""
    rng = random.Random(seed)
    path = folder / f"{os.getpid()}-{target.name}"
    with warnings.catch_warnings(action="ignore"):  # of what is made, not of what is read
        path.write_bytes(rng.choice(target.mutations)(rng))
    before, begun = memory_now(), time.process_time()
    documented(lambda: target.read(path))
    spent, taken = time.process_time() - begun, most_memory() - before
    assert spent < SECONDS, f"{spent:.1f} s"
    assert taken < MEGABYTES, f"{taken:.0f} MB"


def memory_now() -> float:
    """MB that this process holds; the peak is counted from here on, where the system allows that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return in_status("VmRSS")


def most_memory() -> float:
    """MB that this process held at most since `memory_now`."""
    return in_status("VmHWM")


def in_status(name: str) -> float:
    """A line of Linux about this process; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def examine_all(target: Target, folder: Path, seeds: range) -> None:
    for seed in seeds:
        try:
            examine(target, folder, seed)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", NAMES)
def test_each_reader_reads_or_says_why_not(targets, folder, name, capsys):
    examine_all(targets[name], folder, range(SHORT))


@pytest.mark.long
@pytest.mark.parametrize("part", range(1, 4))
@pytest.mark.parametrize("name", NAMES)
def test_each_reader_reads_or_says_why_not_for_long(targets, folder, name, part, capsys):
    examine_all(targets[name], folder, range(LONG * part, LONG * (part + 1)))


@pytest.fixture(scope="module")
def trained(folder) -> Path:
    assert main(["simulate", str(folder / "scan.npz"), "--size", "32", "--frames", "9", "--seed", "1"]) == 0
    words = ["--epochs", "1", "--network-width", "4", "--network", "compact", "--backend", "reference", "--quiet", "--no-figures"]
    assert main(["train", str(folder / "scan.npz"), "-o", str(folder / "run"), *words]) == 0
    return folder / "run" / "last.ptycho"


def odd_model(model: Model, rng: random.Random) -> Model:
    """A model with odd words in what is not a tensor; its hashes will be right."""
    part = rng.choice(["facts", "scaling", "settings", "settings", "settings"])
    table: dict[str, Any] = dict(getattr(model, part))
    inside = table
    if part == "settings" and rng.random() < 0.8:
        table["settings"] = inside = {name: dict(entry) for name, entry in table["settings"].items()}
        if rng.random() < 0.5:
            name = rng.choice(list(inside))
            inside[name] = inside = dict(inside[name])
    for _ in range(rng.choice([1, 1, 3])):
        inside[rng.choice([*inside, "a", "scans"])] = rng.choice(JSON)
    return replace(model, **{part: table})


def examine_model(trained: Path, folder: Path, seed: int, resumed: Model) -> None:
    rng, path = random.Random(seed), folder / "odd.ptycho"
    try:
        save_model(path, odd_model(resumed, rng))
    except PtychoError:
        return
    scan = folder / "scan.npz"
    words = ["infer", str(scan), "--model", str(path), "-o", str(folder / "out"), "--overwrite", "--backend", "reference"]
    for act in (
        lambda: inference_facts(ScanFile(scan), path),
        lambda: resumption_facts(path),
        lambda: main(["model", "inspect", str(path), "--all"]),
        lambda: main([*words, "--quiet", "--no-figures"]),
    ):
        assert documented(act) != 1, f"seed {seed}: an unexpected error"


def test_models_whose_hashes_are_right_are_used_or_refused(trained, folder, capsys):
    model = load_model(trained, training=True)
    for seed in range(SHORT // 6):
        examine_model(trained, folder, seed, model)


@pytest.mark.long
def test_models_whose_hashes_are_right_are_used_or_refused_for_long(trained, folder, capsys):
    model = load_model(trained, training=True)
    for seed in range(LONG, LONG + LONG // 4):
        examine_model(trained, folder, seed, model)
