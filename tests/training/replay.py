"""A training as ``specs/training.md`` and *Learning* of ``specs/network.md`` say it, written anew: a second opinion.

Nothing here is taken from ``ptycho_core.training``. What a batch loses, and how that changes with what learns, is a function that
is given (`TrainableModel`): the rest is frames, groups, batches, rates, steps, history, stopping and checkpoints, in plain loops.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

NEIGHBORS, CUTTING, ORDER, SUBSAMPLE, VALIDATION, GROUPS = 1, 2, 3, 4, 5, 6


class Seen(NamedTuple):
    """What one batch gives: weighted loss, its gradient if it learns, Σ|√I − √n|, Σ√n, and the deviation of each patch."""

    loss: float
    gradient: Mapping[str, np.ndarray]
    difference: float
    amplitudes: float
    deviations: np.ndarray


class TrainableModel(Protocol):
    """``values`` at the start, by name; names that begin with ``network.`` are the network's. ``still``: those that stay."""

    values: Mapping[str, np.ndarray]
    still: frozenset[str]

    def see(self, values: Mapping[str, np.ndarray], scan: int, groups: np.ndarray, learns: bool) -> Seen: ...

    def flat(self, scan: int, frames: np.ndarray) -> float: ...


class Scan(NamedTuple):
    """Positions (frame, 2), pixels, and whether it is learned from (else it only judges)."""

    positions: np.ndarray
    teaches: bool = True


def stream(purpose: int, seed: int, scan: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose, scan, epoch])))


def random_order(number: int, draws: np.random.Generator) -> list[int]:
    drawn = [draws.random() for _ in range(number)]
    return sorted(range(number), key=lambda one: (drawn[one], one))


# ---- which frames, in which groups, in which batches


def parts(scan: Scan, place: int, training: Mapping[str, Any], seed: int) -> tuple[list[int], list[int]]:
    """The frames to learn from and the validation frames, ascending."""
    number, frames = training["n_subsample"], list(range(len(scan.positions)))
    if number is not None and training["sequential_sampling"]:
        frames = frames[:number]
    elif number is not None:
        own = seed if training["subsample_seed"] is None else training["subsample_seed"]
        frames = sorted(random_order(len(frames), stream(SUBSAMPLE, own, place, 0))[:number])
    if not scan.teaches:
        return [], frames
    if not training["validation_split"]:
        return frames, []
    angle = 2 * math.pi * stream(VALIDATION, seed, place, 0).random()
    row, column = scan.positions.T
    along = {one: row[one] * math.cos(angle) + column[one] * math.sin(angle) for one in frames}
    ordered = sorted(frames, key=lambda one: (along[one], one))
    judging = max(1, round(training["validation_split"] * len(frames)))
    return sorted(ordered[:-judging]), sorted(ordered[-judging:])


def by_distance(positions: np.ndarray, frame: int, among: Sequence[int]) -> list[int]:
    """The frame itself, then the others of its part from near to far."""
    step = positions - positions[frame]
    far = np.rint(1e6 * np.sqrt((step**2).sum(axis=1)))
    return sorted(among, key=lambda other: (other != frame, far[other], other))


def neighbor_count(model: Mapping[str, Any], frames: int) -> int:
    members = model["gridsize"] ** 2
    return min(4 * members, frames) if model["neighbor_count"] is None else model["neighbor_count"]


def epoch_groups(
    positions: np.ndarray,
    frames: Sequence[int],
    model: Mapping[str, Any],
    training: Mapping[str, Any],
    seed: int,
    place: int,
    epoch: int,
) -> list[list[int]]:
    members, among = model["gridsize"] ** 2, neighbor_count(model, len(frames))
    near = {frame: by_distance(positions, frame, frames)[:among] for frame in frames}
    asked = training["n_groups"]
    rounds = training["oversampling"] if asked is None else math.ceil(asked / len(frames))
    draws, found = stream(NEIGHBORS, seed, place, epoch), []
    for _ in range(rounds):
        for frame in frames:
            ranks = list(range(1, members))
            if among > members > 1:
                drawn = [draws.random() for _ in range(among - 1)]
                ranks = sorted(sorted(range(1, among), key=lambda rank: (drawn[rank - 1], rank))[: members - 1])
            found.append([frame, *(near[frame][rank] for rank in ranks)])
    if asked is None or asked == len(found):
        return found
    whole = (rounds - 1) * len(frames)
    kept = random_order(len(frames), stream(GROUPS, seed, place, epoch))[: asked - whole]
    return found[:whole] + [found[whole + one] for one in sorted(kept)]


def judging_groups(positions: np.ndarray, frames: Sequence[int], model: Mapping[str, Any]) -> list[list[int]]:
    members, among = model["gridsize"] ** 2, neighbor_count(model, len(frames))
    ranks = [math.floor(k * (among - 1) / (members - 1) + 0.5) for k in range(members)] if members > 1 else [0]
    return [[by_distance(positions, frame, frames)[rank] for rank in ranks] for frame in frames]


def cut(
    groups: list[list[int]], positions: np.ndarray, batch_size: int, merge: str, seed: int, place: int, epoch: int
) -> list[list[list[int]]]:
    number, draws = math.ceil(len(groups) / batch_size), stream(CUTTING, seed, place, epoch)
    if merge != "batch":
        order, found = random_order(len(groups), draws), []
        for size in sizes(len(groups), number):
            found.append(sorted(order[:size]))
            order = order[size:]
    else:
        angle = 2 * math.pi * draws.random()
        row, column = np.array([positions[group[0]] for group in groups]).T
        turned = (math.cos(angle) * row - math.sin(angle) * column, math.sin(angle) * row + math.cos(angle) * column)
        found = cut_apart(list(range(len(groups))), turned, number, draws)
    return [[groups[one] for one in batch] for batch in found]


def sizes(groups: int, batches: int) -> list[int]:
    size, larger = divmod(groups, batches)
    return [size + 1] * larger + [size] * (batches - larger)


def cut_apart(numbers: list[int], turned: Sequence[np.ndarray], batches: int, draws: np.random.Generator) -> list[list[int]]:
    if batches == 1:
        return [sorted(numbers)]
    extents = [np.ptp(axis[numbers]) for axis in turned]
    axis = turned[0] if extents[0] >= extents[1] else turned[1]
    ordered = sorted(numbers, key=lambda one: (axis[one], one))
    low = math.ceil(batches / 3)
    lower = low + math.floor(draws.random() * (batches - 2 * low + 1))
    border = sum(sizes(len(numbers), batches)[:lower])
    below, above = ordered[:border], ordered[border:]
    return cut_apart(below, turned, lower, draws) + cut_apart(above, turned, batches - lower, draws)


# ---- how fast, how far


def figure(row: Mapping[str, Any], execution: Mapping[str, Any]) -> float:
    """The monitored figure, such that lower is better."""
    name = execution["checkpoint_monitor"]
    if name is None:
        name = "loss" if row["validation_loss"] is None else "validation_loss"
    if row[name] is None or not math.isfinite(row[name]):
        return math.inf
    return -row[name] if execution["checkpoint_mode"] == "max" else row[name]


def rate(training: Mapping[str, Any], step: int, steps: int, figures: Sequence[float]) -> float:
    """η of step t = ``step`` with S = ``steps`` in an epoch, after epochs with these monitored figures."""
    top, least, epochs = training["learning_rate"], training["min_learning_rate"], training["epochs"]
    if training["scheduler"] == "constant":
        return top
    if training["scheduler"] == "exponential":
        return max(least, top * training["decay"] ** (step // steps))
    if training["scheduler"] == "warmup-cosine":
        warm = steps * training["warmup_epochs"]
        if step < warm:
            return max(least, top * min(1, (step + 1) / warm))
        if epochs * steps <= warm:
            return max(least, top)
        done = min(1, (step - warm) / (epochs * steps - warm))
        return max(least, least + (top - least) * (1 + math.cos(math.pi * done)) / 2)
    best, waited, fallen = math.inf, 0, 0
    for one in figures:
        if one < best - (1e-4 * abs(best) if best < math.inf else 0):
            best, waited = one, 0
            continue
        waited += 1
        if waited == training["plateau_patience"]:
            fallen, waited = fallen + 1, 0
    return max(least, top * training["plateau_factor"] ** fallen)


def since_the_lowest(figures: Sequence[float]) -> int:
    """How many epochs in a row have not been lower than the lowest before them."""
    lowest, since = math.inf, 0
    for one in figures:
        lowest, since = (one, 0) if one < lowest else (lowest, since + 1)
    return since


class Optimizer:
    """Steps of what learns."""

    def __init__(self, training: Mapping[str, Any]) -> None:
        self.training, self.steps, self.bounded = training, 0, 0
        self.mean: dict[str, np.ndarray] = {}
        self.square: dict[str, np.ndarray] = {}

    def clipped(self, gradient: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        bound = self.training["gradient_clip_val"]
        if bound is None:
            return dict(gradient)
        if self.training["gradient_clip_algorithm"] == "value":
            self.bounded += any(np.abs(one).max() > bound for one in gradient.values())
            return {name: np.minimum(np.maximum(one, -bound), bound) for name, one in gradient.items()}
        norm = math.sqrt(sum(float((one**2).sum()) for one in gradient.values()))
        self.bounded += norm > bound
        return {name: one * (bound / norm if norm > bound else 1.0) for name, one in gradient.items()}

    def step(self, values: dict[str, np.ndarray], gradient: Mapping[str, np.ndarray], eta: float) -> None:
        self.steps += 1
        asked = self.training
        for name, g in self.clipped(gradient).items():
            if asked["optimizer"] == "sgd":
                self.mean[name] = asked["momentum"] * self.mean[name] + g if name in self.mean else g
                values[name] = values[name] - eta * self.mean[name]
                continue
            if asked["optimizer"] == "adamw" and name.startswith("network."):
                values[name] = values[name] * (1 - eta * asked["weight_decay"])
            first, second = asked["adam_beta1"], asked["adam_beta2"]
            self.mean[name] = first * self.mean.get(name, 0) + (1 - first) * g
            self.square[name] = second * self.square.get(name, 0) + (1 - second) * g**2
            mean, square = self.mean[name] / (1 - first**self.steps), self.square[name] / (1 - second**self.steps)
            values[name] = values[name] - eta * mean / (np.sqrt(square) + asked["adam_epsilon"])


# ---- the training


class Replay:
    """A training and all that it leaves. `go` is one call of the command; a second one continues, with other settings if allowed.

    Attributes:
        values: what learns, as it is now.
        history: its rows, without times.
        steps: (step, epoch, loss, rate) of each step.
        files: for each model file the epoch that it holds.
        models: the values after each epoch, from epoch 0.
        patterns: how many each epoch learned from.
        told: what is reported, in order: ``("epoch", number)``, ``("checkpoint", number, name)``, ``("collapse", number)``.
    """

    def __init__(self, learner: TrainableModel, scans: Sequence[Scan], settings: Mapping[str, Mapping[str, Any]]) -> None:
        self.learner, self.model, self.seed = learner, settings["model"], settings["execution"]["seed"]
        self.positions = [scan.positions - np.floor(scan.positions.min(axis=0)) for scan in scans]
        training = settings["training"]
        self.parts = [parts(scan, place, training, self.seed) for place, scan in enumerate(scans)]
        self.values = dict(learner.values)
        self.optimizer = Optimizer(training)
        flat = [learner.flat(place, np.array(frames)) for place, (frames, _) in enumerate(self.parts) if frames]
        self.trivial = sum(flat) / len(flat)
        self.history: list[dict[str, Any]] = []
        self.steps: list[tuple[int, int, float, float]] = []
        self.files: dict[str, int] = {}
        self.models, self.patterns = [dict(self.values)], list[int]()
        self.told: list[tuple[Any, ...]] = []
        self.collapsed = False

    def go(self, settings: Mapping[str, Mapping[str, Any]], stop_in: int | None = None) -> str:
        """Train on, up to a Ctrl-C in epoch ``stop_in``; why it ended."""
        training, execution = settings["training"], settings["execution"]
        self.optimizer.training = training
        writes = execution["enable_checkpointing"] and execution["checkpoint_save_top_k"] != 0
        if self.history and writes:
            self.keep_best(execution)
        why = ""
        while not why:
            epoch, patience = len(self.history) + 1, execution["early_stop_patience"]
            if epoch > training["epochs"]:
                why = f"{training['epochs']} epochs done"
            elif patience is not None and since_the_lowest([figure(row, execution) for row in self.history]) >= patience:
                why = f"no better for {patience} epochs"
            elif stop_in is not None and epoch > stop_in:
                why = "interrupted"
            else:
                self.epoch(epoch, training, execution)
                written = self.keep(execution) if writes else []
                self.told += [("epoch", epoch), *(("checkpoint", epoch, name) for name in written)]
                self.watch(epoch)
        if not writes:
            better = "best.ptycho" in self.files and self.keep_best(execution)
            self.files["last.ptycho"] = len(self.history)
            self.told += [("checkpoint", len(self.history), f"{name}.ptycho") for name in ("last", *["best"] * better)]
        return why

    def epoch(self, epoch: int, training: Mapping[str, Any], execution: Mapping[str, Any]) -> None:
        batches = self.batches(epoch, training)
        gathered = training["accumulate_grad_batches"]
        steps, seen = math.ceil(len(batches) / gathered), []
        figures = [figure(row, execution) for row in self.history]
        for first in range(0, len(batches), gathered):
            eta = rate(training, len(self.steps), steps, figures)
            own = [self.learner.see(self.values, *batch, learns=True) for batch in batches[first : first + gathered]]
            names = self.values.keys() - self.learner.still
            gradient = {name: sum(one.gradient[name] for one in own) / len(own) for name in names}
            self.optimizer.step(self.values, gradient, eta)
            self.steps.append((len(self.steps) + 1, epoch, sum(one.loss for one in own) / len(own), eta))
            seen += own
        judging = self.judging_batches(training)
        judged = [self.learner.see(self.values, *batch, learns=False) for batch in judging]
        row = {"epoch": epoch, "loss": mean_loss(seen, batches), "misfit": misfit(seen), "learning_rate": eta}
        row |= {
            "validation_loss": mean_loss(judged, judging) if judged else None,
            "validation_misfit": misfit(judged) if judged else None,
            "output_deviation": float(np.concatenate([one.deviations for one in seen]).mean()),
            "trivial_loss": self.trivial,
        }
        self.history.append(row)
        self.models.append(dict(self.values))
        self.patterns.append(sum(batch.size for _, batch in batches))

    def batches(self, epoch: int, training: Mapping[str, Any]) -> list[tuple[int, np.ndarray]]:
        found = []
        for place, (frames, _) in enumerate(self.parts):
            if frames:
                positions = self.positions[place]
                groups = epoch_groups(positions, frames, self.model, training, self.seed, place, epoch)
                own = cut(groups, positions, training["batch_size"], self.model["merge"], self.seed, place, epoch)
                found += [(place, np.array(batch)) for batch in own]
        return [found[one] for one in random_order(len(found), stream(ORDER, self.seed, 0, epoch))]

    def judging_batches(self, training: Mapping[str, Any]) -> list[tuple[int, np.ndarray]]:
        found = []
        for place, (_, frames) in enumerate(self.parts):
            if frames:
                groups = judging_groups(self.positions[place], frames, self.model)
                own = cut(groups, self.positions[place], training["batch_size"], self.model["merge"], 0, place, 0)
                found += [(place, np.array(batch)) for batch in own]
        return found

    def keep_best(self, execution: Mapping[str, Any]) -> bool:
        """Whether the last epoch's model becomes ``best.ptycho``."""
        now, before = figure(self.history[-1], execution), self.files.get("best.ptycho")
        if not now < (math.inf if before is None else figure(self.history[before - 1], execution)):
            return False
        self.files["best.ptycho"] = len(self.history)
        return True

    def keep(self, execution: Mapping[str, Any]) -> list[str]:
        """Write what belongs to the last epoch, and delete what does no longer; the names written."""
        epoch, most = len(self.history), execution["checkpoint_save_top_k"]
        written = ["last.ptycho", *(["best.ptycho"] if self.keep_best(execution) else [])]
        self.files["last.ptycho"] = epoch
        if most == 1:
            return written
        own = {int(name[-11:-7]): name for name in self.files if "/" in name} | {epoch: f"checkpoints/epoch-{epoch:04d}.ptycho"}
        figures = {number: figure(self.history[number - 1], execution) for number in own}
        kept = sorted((number for number in own if figures[number] < math.inf), key=lambda number: (figures[number], number))
        kept = list(own) if most < 0 else kept[:most]
        for number, name in own.items():
            self.files.pop(name, None)
            if number in kept:
                self.files[name] = number
        return written + ([own[epoch]] if epoch in kept else [])

    def watch(self, epoch: int) -> None:
        """Say once that the network collapsed."""
        flat = [row["output_deviation"] < 1e-3 for row in self.history[-3:]]
        losses = [row["loss"] for row in self.history]
        idle = since_the_lowest(losses) >= 5 and not losses[-1] < self.trivial - 0.02 * abs(self.trivial)
        if not self.collapsed and ((len(flat) == 3 and all(flat)) or idle):
            self.collapsed = True
            self.told.append(("collapse", epoch))


def mean_loss(seen: Sequence[Seen], batches: Sequence[tuple[int, np.ndarray]]) -> float:
    groups = [len(batch) for _, batch in batches]
    return sum(one.loss * number for one, number in zip(seen, groups, strict=True)) / sum(groups)


def misfit(seen: Sequence[Seen]) -> float:
    return sum(one.difference for one in seen) / sum(one.amplitudes for one in seen)
