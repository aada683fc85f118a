"""Sound files of other programs, from which the damaged ones are made."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.io

RNG = np.random.default_rng(11)
COUNTS = RNG.poisson(40.0, (4, 8, 8)).astype(np.uint16)
METRES = RNG.uniform(0, 1e-6, (4, 2))
PROBE = np.ones((1, 8, 8), np.complex64)
OBJECT = np.ones((1, 20, 21), np.complex64)


class Seed(NamedTuple):
    """A sound file, and the name under which damaged ones are read."""

    path: Path
    name: str


def seeds(folder: Path) -> dict[str, Seed]:
    """One file of each format, in ``folder``, with the companions of those that have some."""
    made = {}
    for name, (suffix, write) in WRITERS.items():
        path = folder / f"seed_{name}{suffix}"
        write(path)
        made[name] = Seed(path, f"{name}{suffix}")
    return made


def hdf5(path: Path, arrays: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


def ptyd(path: Path) -> None:
    chunk = {"data": COUNTS[:2], "positions": METRES[:2], "indices": [0, 1], "weights": np.ones((2, 8, 8))}
    meta = {"energy": 8.8, "distance": 1.9, "psize": [1e-4, 1e-4], "center": [4.0, 4.0], "num_frames": 4}
    with h5py.File(path, "w") as file:
        for key, value in meta.items():
            file[f"meta/{key}"] = value
        file["info/orientation"] = [0, 1, 0]
        file["info/positions_scan"] = METRES
        for number in (0, 1):
            for key, value in chunk.items():
                file[f"chunks/{number}/{key}"] = value


def ptyr(path: Path) -> None:
    hdf5(path, {
        "content/obj/S/data": OBJECT, "content/obj/S/_psize": [1e-7, 1e-7], "content/obj/S/_origin": [0.0, 0.0],
        "content/probe/S/data": PROBE, "content/positions/S": METRES, "content/pars/scans/S/data/source": "a.ptyd",
    })  # fmt: skip


def ptylab_result(path: Path) -> None:
    hdf5(path, {
        "object": OBJECT, "probe": PROBE[np.newaxis, np.newaxis], "dxp": 1e-7, "zo": 1.0, "encoder_corrected": METRES,
    })  # fmt: skip


def hxn(path: Path) -> None:
    hdf5(path, {"diffamp": np.sqrt(COUNTS), "points": METRES.T * 1e6, "lambda_nm": 0.1, "z_m": 1.0, "ccd_pixel_um": 75.0})


def foldslice(path: Path) -> None:
    """The frames, and positions under the name that belongs to the damaged frames."""
    hdf5(path, {"dp": COUNTS})
    para = {"ppX": METRES[:, 0], "ppY": METRES[:, 1], "lambda": [[1e-10]], "dx": [[1e-7]]}
    hdf5(path.parent / f"{os.getpid()}-foldslice_para.hdf5", para)


def para(path: Path) -> None:
    """The positions, and frames under the name that belongs to the damaged positions."""
    hdf5(path, {"ppX": METRES[:, 0], "ppY": METRES[:, 1], "lambda": [[1e-10]], "dx": [[1e-7]], "angle": [[3.0]]})
    hdf5(path.parent / f"{os.getpid()}-para_dp.hdf5", {"dp": COUNTS})


def mat(path: Path) -> None:
    scipy.io.savemat(path, {
        "object": OBJECT[0], "probe": PROBE[0], "p": {"dx_spec": [1e-7, 1e-7]}, "outputs": {"probe_positions": METRES * 1e6},
    })  # fmt: skip


def mat73(path: Path) -> None:
    pairs = np.zeros((8, 8), [("real", "f4"), ("imag", "f4")])
    pairs["real"] = 1
    hdf5(path, {
        "object": np.zeros((21, 20), pairs.dtype), "probe": pairs, "p/dx_spec": [[1e-7], [1e-7]],
        "outputs/probe_positions": METRES.T * 1e6,
    })  # fmt: skip


def tike(path: Path) -> None:
    np.savez(path, data=COUNTS, scan=METRES * 1e6, probe=PROBE[np.newaxis, np.newaxis], psi=OBJECT)


def prepared(path: Path) -> None:
    hdf5(path, {
        "measurement/n0/data": COUNTS, "measurement/n0/positions": [[0, 0], [0, 3], [3, 0], [3, 3]],
        "detector/n0/modules": [[8, 8, 0, 0]], "detector/n0/bad_pixels": [[1, 2]],
    })  # fmt: skip


WRITERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "ptyd": (".ptyd", ptyd), "ptyr": (".ptyr", ptyr), "ptylab_result": (".hdf5", ptylab_result), "hxn": (".h5", hxn),
    "foldslice": ("_dp.hdf5", foldslice), "para": ("_para.hdf5", para), "mat": (".mat", mat), "mat73": (".mat", mat73),
    "tike": (".npz", tike), "prepared": (".h5", prepared),
}  # fmt: skip
