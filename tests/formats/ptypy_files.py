"""Files in the layout of ptypy 0.9, as its ``io.h5rw`` writes them: each item has an attribute ``type``, None is a zero."""

import h5py
import numpy as np
from small_scan import DISTANCE, ENERGY, FRAMES, PITCH, PIXEL, SIZE

ENDS = (5, 10, FRAMES)
"""Where the chunks of `write_ptyd` end."""


def put(group, key, value, kind="array"):
    """A value with its type; None as ptypy writes it."""
    data = group.create_dataset(key, data=np.zeros(1) if value is None else value)
    data.attrs["type"] = "None" if value is None else kind


def write_ptyd(path, small, *, meta=None, info=None, chunk=None, link=False):
    """A prepared scan of three chunks.

    ``meta`` and ``info`` change values, ``chunk(number, values)`` those of a chunk; ``link`` puts chunks in their own files.
    """
    weights = np.ones((FRAMES, SIZE, SIZE))
    weights[:, 2, 3] = 0
    common = {"energy": ENERGY / 1e3, "distance": DISTANCE, "psize": [PITCH, PITCH], "center": [SIZE / 2, SIZE / 2],
              "num_frames": FRAMES, "shape": [SIZE, SIZE], "label": None, "version": 0.1}  # fmt: skip
    rest = {"orientation": None, "positions_theory": None, "positions_scan": small.metres, "weight2d": True}
    with h5py.File(path, "w") as file:
        file.attrs["h5rw_version"] = "0.1"
        for name, values in (("meta", common | (meta or {})), ("info", rest | (info or {}))):
            for key, value in values.items():
                put(file, f"{name}/{key}", value)
        first = 0
        for number, end in enumerate(ENDS):
            mine = slice(first, end)
            values = {"data": small.counts[mine].astype(np.int32), "positions": small.metres[mine],
                      "indices": np.arange(first, end), "weights": weights[mine]}  # fmt: skip
            values = values if chunk is None else chunk(number, values)
            where = f"{path.name}.part{number:03d}"
            if link:
                with h5py.File(path.parent / where, "w") as part:
                    for key, value in values.items():
                        put(part, key, value)
                file[f"chunks/{number}"] = h5py.ExternalLink(where, "/")
            else:
                for key, value in values.items():
                    put(file, f"chunks/{number}/{key}", value)
            first = end
    return path


def write_ptyr(path, small, image, probe, *, positions=True, source=None, **changes):
    """A result; positions are written where they were refined."""
    origin = np.array([-4e-6, -3e-6])
    values = {"obj/S0/data": image, "obj/S0/_psize": [PIXEL, PIXEL], "obj/S0/_origin": origin, "probe/S0/data": probe,
              "probe/S0/_psize": [PIXEL, PIXEL]}  # fmt: skip
    if positions:
        values["positions/S0"] = (small.positions + SIZE // 2) * PIXEL + origin
    with h5py.File(path, "w") as file:
        for key, value in (values | changes).items():
            put(file, f"content/{key}", value)
        if source is not None:
            put(file, "content/pars/scans/S/data/dfile", None)
            put(file, "content/pars/scans/S/data/source", source, "string")
    return path
