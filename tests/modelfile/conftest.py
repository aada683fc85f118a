"""One small model, and ways to damage the file it is written to."""

from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest

from ptycho_core.model import Model, TrainingState, save_model
from ptycho_core.networks import describe, initial_weights

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
FACTS = {
    "size": 32, "model_type": "physics-informed", "gridsize": 2, "modes": 2, "merge": "batch", "update_steps": 2,
    "network": "compact", "network_depth": 2,
    "network_width": 4, "output_form": "real-imaginary", "amplitude_activation": "softplus", "train_probe": True,
    "train_scale": False, "probe_mask_diameter": None, "probe_mask_edge": 2.0, "probe_smoothing": 0.0, "probe_scale": 1.0,
}  # fmt: skip


def audit():
    def entry(value, origin, where):
        return {"value": value, "origin": origin, "where": where, "beat": []}

    settings = {
        "network_width": entry(4, "override", "--network-width"),
        "epochs": entry(3, "file", "run.toml: [training] epochs"),
        "batch_size": entry(32, "core default", "declaration"),
    }
    return {"verb": "train", "settings": settings}


@pytest.fixture
def make():
    """A function that makes the model, with any attribute replaced."""

    def make(**changes):
        rng = np.random.default_rng(3)
        network = describe(32, {name: value for name, value in FACTS.items() if name != "size"})
        probe = (rng.normal(size=(1, 2, 32, 32)) + 1j * rng.normal(size=(1, 2, 32, 32))).astype(np.complex64)
        values = {
            "network": network,
            "weights": initial_weights(network, 5),
            "physics": {"probe": probe, "log_scale": np.array([0.25], np.float32)},
            "facts": dict(FACTS),
            "scaling": {"mean_counts": 1234.5},
            "settings": audit(),
            "producer": {"ptycho-core": "0.1.0"},
            "history": ({"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.25}),
            "training": None,
        }
        return Model(**(values | changes))

    return make


@pytest.fixture
def state():
    """A training state with arrays of many types, a scalar and complex ones among them."""
    rng = np.random.default_rng(4)
    arrays = {
        "moment": rng.normal(size=(3, 4)),
        "probe.moment": (rng.normal(size=(2, 5)) + 1j * rng.normal(size=(2, 5))).astype(np.complex64),
        "double": np.array([1 + 2j, 3 - 4j]),
        "step": np.array(17, dtype=np.int64),
        "random": rng.integers(0, 255, 40).astype(np.uint8),
        "flags": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
        "one.complex": np.array(2 - 1j),
    }
    return TrainingState(arrays, {"epoch": 3, "batch": 7, "generator": {"state": 2**127 + 1}, "best": None})


@pytest.fixture
def file(tmp_path, make):
    return save_model(tmp_path / "a.ptycho", make())


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, members, *, sealed=True, hashed=True, extra=(), method=zipfile.ZIP_STORED):
    """Write an archive as a user who knows the format would: hashes and seal right unless told otherwise."""
    members = dict(members)
    manifest = members.get(MANIFEST)
    if hashed and manifest is not None:
        parsed = json.loads(manifest)
        known = parsed.get("hashes", {})
        parsed["hashes"] = {name: hashlib.sha256(members[name]).hexdigest() if name in members else known[name] for name in known}
        members[MANIFEST] = json.dumps(parsed).encode()
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in [*members.items(), *extra]:
            archive.writestr(name, data)
        if sealed and manifest is not None:
            archive.comment = b"ptycho model, manifest sha256 " + hashlib.sha256(members[MANIFEST]).hexdigest().encode()
    return path


def edit_manifest(path, change, **how):
    """Change the manifest in the file: ``change`` is given the parsed manifest."""
    members = members_of(path)
    manifest = json.loads(members[MANIFEST])
    change(manifest)
    return rewrite(path, members | {MANIFEST: json.dumps(manifest).encode()}, **how)


@pytest.fixture
def tamper():
    """The functions above for tests: modules next to this one cannot be imported by name."""
    from types import SimpleNamespace

    return SimpleNamespace(members_of=members_of, rewrite=rewrite, edit_manifest=edit_manifest)
