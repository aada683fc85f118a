"""A backend that learns two numbers and a third for each scan, in the core's loop: a training of a few milliseconds an epoch.

Its loss is worked out by hand in `see`, which the replay is given too.
"""

from dataclasses import replace

import numpy as np
from replay import Seen

from ptycho_core.backends.plans import make_plan
from ptycho_core.conformance.reference.optimizer import Optimizer
from ptycho_core.contract import BackendSpec, Device, ProbeReport
from ptycho_core.hookspecs import hookimpl
from ptycho_core.training.loop import BatchStats, TrainingLoop

SPEC = BackendSpec("toy", "Toy", (2, 0), None, ("train",), precisions=("float32", "float64"), options=())


class Lesson:
    """A loss that differs with scan, frames and their order in a group, and how it changes with what learns.

    Args:
        scans: their number.
        still: what stays as it is.
        flatness: factor on the deviation of patches.
        trivial: factor on the loss of a flat object.
    """

    def __init__(self, scans, *, still=(), flatness=1.0, trivial=1.0):
        self.values = {"network.pair": np.array([0.5, -0.3]), "physics.each": np.full(scans, 0.2)}
        self.still, self.flatness, self.trivial = frozenset(still), flatness, trivial

    def see(self, values, scan, groups, learns=True):
        pair, each = values["network.pair"], values["physics.each"][scan]
        share = 1 / np.arange(1, groups.shape[1] + 1)
        share /= share.sum()
        targets = np.stack([np.sin(1.3 * groups + scan), np.cos(0.7 * groups - scan)], axis=-1)  # (group, C, 2)
        wanted = (share[:, None] * targets).sum(axis=1)
        apart, off = pair - wanted, each - 0.5 * np.sin(groups[:, 0])
        of_each = np.zeros_like(values["physics.each"])
        of_each[scan] = (off**3).mean()
        return Seen(
            # The last part is no one's gradient: it tells who was in a batch with whom.
            loss=float((0.5 * (apart**2).sum(axis=1) + 0.25 * off**4).mean() + 0.05 * (wanted.mean(axis=0) ** 2).sum()),
            gradient={"network.pair": apart.mean(axis=0), "physics.each": of_each},
            difference=float(np.abs(apart).sum()),
            amplitudes=float((2 + targets[..., 0] ** 2).sum()),
            deviations=self.flatness * (1 + np.abs(apart).sum(axis=1, keepdims=True)) * np.ones(groups.shape),
        )

    def stored(self, values):
        """What a model file holds of it."""
        return {"pair": values["network.pair"][:1]}

    @staticmethod
    def of_model(model):
        return {"pair": model.weights["exit.bias"][:1]}

    def flat(self, scan, frames):
        return self.trivial * float((1 + 0.5 * np.sin(frames + scan)).mean())


class _Trainer:
    def __init__(self, lesson, settings):
        self.lesson, self.values = lesson, dict(lesson.values)
        self.optimizer, self.summed = Optimizer(settings), {}

    def begin(self, batches):
        """Nothing is read."""

    def train_batch(self, batch):
        seen = self.lesson.see(self.values, batch.scan, batch.groups)
        for name in seen.gradient.keys() - self.lesson.still:
            self.summed[name] = self.summed.get(name, 0.0) + seen.gradient[name]
        return BatchStats(seen.loss, seen.difference, seen.amplitudes, float(seen.deviations.mean()))

    def validate_batch(self, batch):
        seen = self.lesson.see(self.values, batch.scan, batch.groups)
        return BatchStats(seen.loss, seen.difference, seen.amplitudes, float(seen.deviations.mean()))

    def is_finite(self):
        return bool(np.isfinite(sum((value**2).sum() for value in self.summed.values())))

    def step(self, rate, batches):
        mean = {name: value / batches for name, value in self.summed.items()}
        self.values, self.summed = self.optimizer.step(self.values, mean, rate), {}

    def flat_loss(self, scan, frames):
        return self.lesson.flat(scan, frames)

    def arrays(self):
        return self.optimizer.arrays() | {f"exact.{name}": value for name, value in self.values.items()}

    def restore(self, arrays, steps):
        self.values = {name: arrays[f"exact.{name}"] for name in self.values}
        self.optimizer.restore(arrays, steps)

    def trained(self, model):
        bias = np.full_like(model.weights["exit.bias"], self.values["network.pair"][0])
        return replace(model, weights={**model.weights, "exit.bias": bias})

    def facts(self):
        return {}


class Toy:
    """The hooks; ``lesson`` is what it learns next."""

    lesson: Lesson

    @hookimpl
    def ptycho_backend_spec(self):
        return SPEC

    @hookimpl
    def ptycho_probe(self):
        return ProbeReport("1.0", (Device("cpu", "cpu"),), SPEC.precisions)

    @hookimpl
    def ptycho_plan(self, request, probe):
        honoured = [name for group in request.settings.values() for name in group]
        return make_plan(request, probe, "Toy", {}, honours=honoured)

    @hookimpl
    def ptycho_train(self, job, plan, events):
        return TrainingLoop(job, events, _Trainer(self.lesson, job.settings["training"])).run(plan)
