"""A training of the real command next to its replay, call by call; and what a network loses, for the replay."""

import csv
import json
import os
import signal

import numpy as np
import pytest
from replay import Replay, Scan, Seen

import ptycho_core
from ptycho_core.conformance.reference.batch import Batch
from ptycho_core.conformance.reference.flat import flat_loss
from ptycho_core.conformance.reference.losses import terms
from ptycho_core.conformance.reference.passes import before_merging, gradients, hold, intensities, merged
from ptycho_core.formats.plain_npz import write_plain_npz
from ptycho_core.model import load_model
from ptycho_core.networks import describe, initial_weights
from ptycho_core.physics import intensities as modelled
from ptycho_core.settings.resolution import resolve

N = 32
FRAMES = (15, 13, 12)

RATES = 1e-15
"""Relative. Measured 0."""

LOSSES = 1e-12
"""Relative, all figures of a history but times; what is summed in another order. Measured 4e-16."""

EXACT = 1e-12
"""Relative to the greatest value of a tensor that learns, in double precision. Measured 3e-15."""

LEARNED = 2e-7
"""Relative to the greatest value of a tensor: a model file holds single precision, whose steps are 6e-8."""


def write_scans(folder):
    """Three scans of their own probe (in counts, two modes) and object, with bad pixels; the last is for judging."""
    paths = []
    for number, frames in enumerate(FRAMES):
        random = np.random.default_rng(number)
        row, column = np.mgrid[:N, :N] - N / 2 + 0.3
        disc = 25 / (1 + np.exp(2 * (np.hypot(row, column) - 8))) * np.exp(0.015j * (row**2 + (2 + number) * column**2))
        probe = np.stack([disc, 0.4 * disc * column / 6]).astype(np.complex64)
        positions = random.uniform(3, 20, (frames, 2))
        r, c = np.mgrid[: N + 24, : N + 24]
        truth = (0.75 + 0.2 * np.sin(r / 2.5) * np.cos(c / 3)) * np.exp(0.8j * np.sin(r / 4 + c / 3 + number))
        mask = random.random((N, N)) > 0.05
        counts = random.poisson(modelled(truth, probe, positions)).astype(np.float32)
        counts[:, ~mask] = np.nan
        arrays = {"intensity": counts, "positions_px": positions, "probe_guess": probe, "probe_in_counts": np.array(True)}
        paths.append(folder / f"{number}.npz")
        write_plain_npz(paths[-1], {**arrays, "object_true": truth.astype(np.complex64), "mask": mask})
    return paths


BASE = {"batch_size": 5, "network_width": 4, "modes": 2, "learning_rate": 0.02}
"""What the trainings have in common."""


class Listener:
    """Keeps what is reported, and presses Ctrl-C when the first batch of an epoch is done."""

    def __init__(self, stop_in):
        self.stop_in, self.told, self.totals = stop_in, [], set()

    def __call__(self, event):
        if event.kind == "step" and event.epoch == self.stop_in:
            self.stop_in = None
            os.kill(os.getpid(), signal.SIGINT)
        if event.kind == "epoch":
            self.totals.add(event.total)
            self.told.append(("epoch", event.epoch))
        if event.kind == "checkpoint":
            self.told.append(("checkpoint", event.epoch, event.path))
        if event.kind == "message" and "The network has" in event.message:
            self.told.append(("collapse", self.told[-1][1]))


class Held:
    """A training in a folder and its replay, call by call."""

    def __init__(self, folder, scans, settings, make_learner):
        self.folder, self.settings, self.calls = folder, settings, 0
        self.paths, self.judging = scans[:2], [] if "validation_split" in settings else scans[2:]
        places = [Scan(positions_of(path)) for path in self.paths]
        places += [Scan(positions_of(path), teaches=False) for path in self.judging]
        groups = resolve("train", overrides=settings).groups()
        self.learner = make_learner([*self.paths, *self.judging], groups)
        self.replay = Replay(self.learner, places, groups)

    def go(self, stop_in=None, **changes):
        """One call of both."""
        self.settings |= changes
        before = len(self.replay.told)
        why = self.replay.go(resolve("train", overrides=self.settings).groups(), stop_in)
        listener = Listener(stop_in)
        rest = {"validation": self.judging, "observers": [listener], "progress": False, "log_every": 1}
        rest |= {"resume": True} | changes if self.calls else self.settings
        model = ptycho_core.train(self.paths, self.folder, **rest)
        self.calls += 1
        told = [(*one[:2], f"{self.folder}/{one[2]}") if len(one) == 3 else one for one in self.replay.told[before:]]
        assert [one for one in listener.told if one[0] != "checkpoint"] == [one for one in told if one[0] != "checkpoint"]
        assert {one for one in listener.told if one[0] == "checkpoint"} == {one for one in told if one[0] == "checkpoint"}
        assert listener.totals <= {self.settings["epochs"]}
        self.check_metrics(why, len(model.history))

    def check_metrics(self, why, taken):
        """``metrics.json``, and the epoch of the model that the call gave."""
        metrics, epochs = json.loads((self.folder / "metrics.json").read_text()), len(self.replay.history)
        assert (metrics["stopped_by"], metrics["interrupted"]) == (why, why == "interrupted")
        assert (metrics["epochs"], metrics["last"]["epoch"]) == (epochs, epochs)
        assert metrics["facts"]["steps"] == len(self.replay.steps)
        assert metrics["facts"]["flat_loss"] == pytest.approx(self.replay.trivial, rel=LOSSES)
        best = self.replay.files.get("best.ptycho")
        assert metrics["model"] == ("best.ptycho" if best else "last.ptycho")
        assert taken == (best or epochs)
        assert metrics.get("best", {}).get("epoch") == best
        assert len([note for note in metrics["notes"] if "The network has" in note]) == self.replay.collapsed

    def check(self, rates=RATES, losses=LOSSES, learned=LEARNED):
        """History, steps and files are those of the replay."""
        model = load_model(self.folder / "last.ptycho")
        assert len(model.history) == len(self.replay.history)
        seconds = 0.0
        for row, wanted, patterns in zip(model.history, self.replay.history, self.replay.patterns, strict=True):
            assert row.keys() == {*wanted, "seconds", "patterns_per_second"}
            assert row["learning_rate"] == pytest.approx(wanted["learning_rate"], rel=rates, abs=1e-300)
            assert {name: row[name] for name in wanted} == {
                name: one if one is None else pytest.approx(one, rel=losses) for name, one in wanted.items()
            }
            assert row["patterns_per_second"] * (row["seconds"] - seconds) >= patterns  # a part of the time is for something else
            seconds = row["seconds"]
        self.check_logs(rates, losses)
        files = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*.ptycho")}
        assert files == set(self.replay.files)
        for name, epoch in self.replay.files.items():
            model = load_model(self.folder / name)
            assert len(model.history) == epoch, name
            found, wanted = self.learner.of_model(model), self.learner.stored(self.replay.models[epoch])
            assert found.keys() == wanted.keys()
            for part, value in wanted.items():
                np.testing.assert_allclose(found[part], value, rtol=learned, atol=learned * np.abs(value).max(), err_msg=part)

    def check_exactly(self):
        """What continues, of which a model file holds single precision."""
        arrays = load_model(self.folder / "last.ptycho", training=True).training.arrays
        for name, value in self.replay.values.items():
            found = arrays[f"exact.{name.partition('.')[2]}"]
            np.testing.assert_allclose(found, value, rtol=0, atol=EXACT * np.abs(value).max(), err_msg=name)

    def check_logs(self, rates, losses):
        steps = list(csv.DictReader((self.folder / "steps.csv").read_text().splitlines()))
        assert [(int(row["step"]), int(row["epoch"])) for row in steps] == [step[:2] for step in self.replay.steps]
        found = np.array([[float(row["loss"]), float(row["learning_rate"])] for row in steps])
        wanted = np.array([step[2:] for step in self.replay.steps])
        np.testing.assert_allclose(found[:, 0], wanted[:, 0], rtol=losses)
        np.testing.assert_allclose(found[:, 1], wanted[:, 1], rtol=rates, atol=1e-300)
        log = list(csv.DictReader((self.folder / "log.csv").read_text().splitlines()))
        assert [(int(row["epoch"]), float(row["loss"])) for row in log] == [
            (row["epoch"], pytest.approx(row["loss"], rel=losses)) for row in self.replay.history
        ]


def positions_of(path):
    with np.load(path) as file:
        return file["positions_px"]


class Network:
    """What a network of the reference loses in a batch, and how that changes: in the units in which it learns."""

    def __init__(self, paths, groups):
        model, seed = groups["model"], groups["execution"]["seed"]
        self.description, self.merge = describe(N, model), model["merge"]
        files = [dict(np.load(path)) for path in paths]
        probes = np.stack([file["probe_guess"] for file in files]).astype(complex)
        self.unit = np.sqrt((np.abs(probes) ** 2).sum(axis=1).mean(axis=(1, 2)))
        q = probes / self.unit[:, None, None, None]
        weights = initial_weights(self.description, seed)
        self.values = {f"network.{name}": value.astype(float) for name, value in weights.items()}
        self.values |= {"physics.probe": np.stack([q.real, q.imag], axis=-1), "physics.log_scale": np.zeros(len(paths))}
        self.still = {
            name for name, fact in (("physics.probe", "train_probe"), ("physics.log_scale", "train_scale")) if not model[fact]
        }
        supervised = model["model_type"] == "supervised"
        auto = {"amplitude_weight": 0.0 if supervised else 1.0, "realspace_weight": 1.0 if supervised else 0.0}
        asked = {name: groups["training"][f"{name}_weight"] for name in ("nll", "amplitude", "mae", "tv", "realspace")}
        asked = {name: auto[f"{name}_weight"] if value is None else value for name, value in asked.items()}
        self.weights = {name: value for name, value in asked.items() if value > 0}
        self.scans = [self.of_file(file, labels=asked["realspace"] > 0) for file in files]

    @staticmethod
    def of_file(file, labels):
        corner = np.floor(file["positions_px"].min(axis=0)).astype(int)
        roots = np.sqrt(np.where(file["mask"], file["intensity"], 0).astype(float))
        return {
            "positions": file["positions_px"] - corner,
            "roots": np.fft.ifftshift(roots, axes=(1, 2)),
            "good": np.fft.ifftshift(file["mask"]),
            "labels": file["object_true"][corner[0] :, corner[1] :].astype(complex) if labels else None,
        }

    def probe(self, values, scan):
        q = values["physics.probe"][scan]
        return self.unit[scan] * (q[..., 0] + 1j * q[..., 1]) * np.exp(values["physics.log_scale"][scan] / 2)

    def batch(self, values, scan, groups):
        weights = {name.removeprefix("network."): value for name, value in values.items() if name.startswith("network.")}
        return Batch(self.description, weights, self.probe(values, scan), groups=groups, merge=self.merge, **self.scans[scan])

    def see(self, values, scan, groups, learns):
        batch = self.batch(values, scan, groups)
        held = hold(batch)
        patches = merged(batch, held)
        pattern = intensities(batch, patches)
        found, roots = terms(batch, held, patches, pattern, tuple(self.weights)), batch.roots[batch.frames]
        return Seen(
            loss=sum(weight * found[name] for name, weight in self.weights.items()),
            gradient=self.gradient(values, scan, batch, held) if learns else {},
            difference=np.abs(np.sqrt(pattern + 1e-6) - roots)[:, batch.good].sum(),
            amplitudes=roots[:, batch.good].sum(),
            deviations=self.deviations(before_merging(batch, held), batch.illumination),
        )

    def gradient(self, values, scan, batch, held):
        slopes = gradients(batch, held, self.weights)
        gradient = {f"network.{name}": value for name, value in slopes.weights.items()}
        gradient |= {"physics.probe": np.zeros_like(values["physics.probe"]), "physics.log_scale": np.zeros(len(self.scans))}
        of_q = slopes.probe * self.unit[scan] * np.exp(values["physics.log_scale"][scan] / 2)
        gradient["physics.probe"][scan] = np.stack([of_q.real, of_q.imag], axis=-1)
        gradient["physics.log_scale"][scan] = (batch.probe.conj() * slopes.probe).real.sum() / 2
        return gradient

    @staticmethod
    def deviations(patches, illumination):
        mean = np.array([np.average(one, weights=illumination) for one in patches])
        spread = [np.average(np.abs(one - own) ** 2, weights=illumination) for one, own in zip(patches, mean, strict=True)]
        return np.sqrt(spread) / [np.average(np.abs(one), weights=illumination) for one in patches]

    def flat(self, scan, frames):
        return flat_loss(self.batch(self.values, scan, frames[:, None]), self.weights)

    def stored(self, values):
        q, unit = values["physics.probe"], self.unit[:, None, None, None]
        found = {name: value for name, value in values.items() if name.startswith("network.")}
        return found | {"probe": unit * (q[..., 0] + 1j * q[..., 1]), "log_scale": values["physics.log_scale"]}

    @staticmethod
    def of_model(model):
        return {f"network.{name}": value for name, value in model.weights.items()} | dict(model.physics)
