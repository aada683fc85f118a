"""``specs/network.md`` in NumPy and double precision, with sums written out: it shares nothing with a backend.

Patterns and probes at the detector have zero frequency at ``[0, 0]``.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Batch:
    """What the loss of a batch is made of.

    ``network``: description; ``weights``: float64 by name; ``probe``: (mode, N, N), factor of the scale included; ``positions``:
    (frame, 2) on the canvas of ``labels``; ``groups``: (group, C); ``roots``: (frame, N, N), zero at bad pixels; ``good``:
    (N, N); ``merge``: how patches are merged.
    """

    network: dict[str, Any]
    weights: dict[str, np.ndarray]
    probe: np.ndarray
    positions: np.ndarray
    groups: np.ndarray
    roots: np.ndarray
    good: np.ndarray
    labels: np.ndarray
    merge: str

    @property
    def frames(self):
        """The frames of all patches, in order."""
        return self.groups.reshape(-1)

    @property
    def corners(self):
        """Whole-pixel corners of the windows of all frames."""
        return np.floor(self.positions).astype(int)

    @property
    def illumination(self):
        """W (N, N), greatest 1."""
        light = (np.abs(self.probe) ** 2).sum(0)
        return light / light.max()

    def shifted(self, frame):
        """The probe (mode, N, N) moved by what is left of a frame's position."""
        size = self.probe.shape[-1]
        frequency = (np.arange(size) + size // 2) % size - size // 2
        row, column = (np.exp(-2j * np.pi * frequency * rest / size) for rest in self.positions[frame] - self.corners[frame])
        return back(transform(self.probe) * row[:, None] * column)


@dataclass(frozen=True)
class Held:
    """What is a constant of the gradient: estimates (group, C, N, N) and steps, W, turns of merging, phases of the labels."""

    estimate: np.ndarray
    step: np.ndarray
    illumination: np.ndarray
    turns: list[np.ndarray]
    phases: np.ndarray


def matrix(size):
    """The orthonormal discrete Fourier transform."""
    index = np.arange(size)
    return np.exp(-2j * np.pi * np.outer(index, index) / size) / np.sqrt(size)


def transform(fields):
    """F, by its sum."""
    return matrix(fields.shape[-1]) @ fields @ matrix(fields.shape[-1])


def back(fields):
    """The inverse of F."""
    return matrix(fields.shape[-1]).conj() @ fields @ matrix(fields.shape[-1]).conj()


def phase(number):
    """``z / |z|``; 0 for 0."""
    return number / np.maximum(np.abs(number), np.finfo(float).tiny)


class Canvas:
    """Windows at whole-pixel corners, and the smallest canvas that holds them."""

    def __init__(self, corners, size):
        self.corners, self.size = corners - corners.min(axis=0), size
        self.shape = tuple(self.corners.max(axis=0) + size)

    def add(self, patches):
        """The sum of patches in their windows."""
        canvas = np.zeros(self.shape, dtype=np.result_type(*patches))
        for patch, (row, column) in zip(patches, self.corners, strict=True):
            canvas[row : row + self.size, column : column + self.size] += patch
        return canvas

    def cut(self, canvas):
        """The windows (frame, N, N)."""
        return np.stack([canvas[row : row + self.size, column : column + self.size] for row, column in self.corners])


def estimate(batch):
    """Estimates and the steps that would follow, turned: each (group, C, N, N)."""
    found = [estimate_of_group(batch, group) for group in batch.groups]
    return np.stack([one for one, _ in found]), np.stack([one for _, one in found])


def estimate_of_group(batch, group):
    """The estimate of one group on its own canvas."""
    asked, members = batch.network["estimate"], len(group)
    canvas = Canvas(batch.corners[group], batch.probe.shape[-1])
    probes = np.stack([batch.shifted(frame) for frame in group])
    lit = canvas.add((np.abs(probes) ** 2).sum(axis=1))
    empty = (np.abs(transform(batch.probe)) ** 2).sum(axis=0)[batch.good].sum()
    thing = np.full(canvas.shape, np.sqrt((batch.roots[group] ** 2).sum() / (members * empty)), dtype=complex)

    def step():
        parts = []
        for frame, probe, patch in zip(group, probes, canvas.cut(thing), strict=True):
            waves = transform(probe * patch)
            intensity = (np.abs(waves) ** 2).sum(axis=0) + 0.1
            bracket = np.where(batch.good, batch.roots[frame] / np.sqrt(intensity) - 1, 0)
            parts.append((probe.conj() * back(bracket * waves)).sum(axis=0))
        return canvas.add(parts) / (lit + asked["alpha"] * lit.max())

    change = np.zeros_like(thing)
    for _ in range(asked["steps"]):
        change = step() + asked["momentum"] * change
        thing = thing + change
    patches, following = canvas.cut(thing), canvas.cut(step())
    turn = phase((batch.illumination * patches).sum()).conj()
    return patches * turn, following * turn


def features(estimated, step, illumination):
    """(group, 5 C, N, N)."""
    root = np.broadcast_to(np.sqrt(illumination), estimated.shape)
    return np.concatenate([estimated.real - 1, estimated.imag, 4 * step.real, 4 * step.imag, root], axis=1)


def channels(network, weights, given, rounded=lambda value: value):
    """Output channels (group, 2 C, N, N); ``rounded`` is what a lower precision does to weights and to every layer's result."""
    values = {"input": given}
    for layer in network["layers"]:
        x = [values[name] for name in layer["from"]]
        if layer["op"] == "add":
            result = x[0] + x[1]
        elif layer["op"] == "silu":
            result = x[0] / (1 + np.exp(-x[0]))
        elif layer["op"] == "fold":
            number, depth, rows, columns = x[0].shape
            cells = x[0].reshape(number, depth, rows // 2, 2, columns // 2, 2)
            result = cells.transpose(0, 1, 3, 5, 2, 4).reshape(number, 4 * depth, rows // 2, columns // 2)
        elif layer["op"] == "unfold":
            number, depth, rows, columns = x[0].shape
            cells = x[0].reshape(number, depth // 4, 2, 2, rows, columns)
            result = cells.transpose(0, 1, 4, 2, 5, 3).reshape(number, depth // 4, 2 * rows, 2 * columns)
        else:
            weight, bias = (rounded(weights[f"{layer['name']}.{part}"]) for part in ("weight", "bias"))
            result = convolved(rounded(x[0]), weight, layer["stride"]) + bias[:, None, None]
        values[layer["name"]] = rounded(result)
    return values[network["layers"][-1]["name"]]


def convolved(given, weight, stride):
    """Cross-correlation, one place of the kernel after the other."""
    side = weight.shape[-1]
    margin = 1 if side == 3 else 0
    padded = np.pad(given, ((0, 0), (0, 0), (margin, margin), (margin, margin)))
    rows, columns = given.shape[2] // stride, given.shape[3] // stride
    total = 0.0
    for a in range(side):
        for b in range(side):
            seen = padded[:, :, a : a + stride * rows : stride, b : b + stride * columns : stride]
            total = total + np.einsum("oi,gixy->goxy", weight[:, :, a, b], seen, optimize=True)
    return total


def output(given, estimated, form, activation):
    """Patches (group, C, N, N) of output channels and estimates."""
    members = estimated.shape[1]
    u, v = given[:, :members], given[:, members:]
    if form == "real-imaginary":
        return estimated + u + 1j * v
    modulus = np.abs(estimated)
    if activation == "softplus":
        amplitude = np.log(1 + np.exp(np.log(np.exp(np.maximum(modulus, 1e-3)) - 1) + u))
    elif activation == "sigmoid":
        clipped = np.clip(modulus, 1e-3, 1 - 1e-3)
        amplitude = 1 / (1 + (1 - clipped) / clipped * np.exp(-u))
    else:
        amplitude = modulus + u
    return amplitude * estimated / np.maximum(modulus, 1e-3) * np.exp(1j * v)


def sets_to_merge(batch):
    """Canvas and numbers of the patches that are merged with each other; none where they stay as they are."""
    number, members = batch.groups.shape
    corners, size = batch.corners[batch.frames], batch.probe.shape[-1]
    places = np.arange(number * members)
    if batch.merge == "none" or (batch.merge == "group" and members == 1):
        return []
    sets = [places] if batch.merge == "batch" else np.split(places, number)
    return [(Canvas(corners[chosen], size), chosen) for chosen in sets]


def turns(batch, patches, illumination):
    """The turns of the patches (frame, N, N) of every set."""
    weight, found = illumination + 1e-3, []
    for canvas, chosen in sets_to_merge(batch):
        turn = np.ones(len(chosen), dtype=complex)
        for _ in range(4):
            merged = average(canvas, patches[chosen], turn, weight)
            turn = phase((weight * merged * patches[chosen].conj()).sum(axis=(1, 2)))
        found.append(turn)
    return found


def average(canvas, patches, turn, weight):
    """M, cut at every window."""
    total = canvas.add(np.broadcast_to(weight, patches.shape))
    summed = canvas.add(weight * turn[:, None, None] * patches)
    return canvas.cut(np.divide(summed, total, out=np.zeros_like(summed), where=total > 0))


def merged_with(batch, patches, illumination, found):
    """Patches (frame, N, N), merged with given turns."""
    result = patches.copy()
    for (canvas, chosen), turn in zip(sets_to_merge(batch), found, strict=True):
        result[chosen] = average(canvas, patches[chosen], turn, illumination + 1e-3)
    return result


def hold(batch):
    """The constants of the gradient as they are now."""
    estimated, step = estimate(batch)
    light = batch.illumination
    held = Held(estimated, step, light, [], np.ones(0))
    patches = before_merging(batch, held)
    held = replace(held, turns=turns(batch, patches, light))
    patches = merged_with(batch, patches, light, held.turns)
    return replace(held, phases=phase((light * labels(batch) * patches.conj()).sum(axis=(1, 2))))


def before_merging(batch, held):
    """Patches (frame, N, N) of the network."""
    given = channels(batch.network, batch.weights, features(held.estimate, held.step, held.illumination))
    asked = batch.network["output"]
    size = batch.probe.shape[-1]
    return output(given, held.estimate, asked["form"], asked["activation"]).reshape(-1, size, size)


def labels(batch):
    """True patches (frame, N, N)."""
    size = batch.probe.shape[-1]
    return np.stack([batch.labels[row : row + size, column : column + size] for row, column in batch.corners[batch.frames]])


def merged(batch, held):
    """Patches of the batch as the loss sees them (frame, N, N)."""
    return merged_with(batch, before_merging(batch, held), held.illumination, held.turns)


def losses(batch, held):
    """Every term by name."""
    patches, light = merged(batch, held), held.illumination
    probes = np.stack([batch.shifted(frame) for frame in batch.frames])
    intensity = (np.abs(transform(probes * patches[:, None])) ** 2).sum(axis=1)[:, batch.good] + 1e-6
    roots = batch.roots[batch.frames][:, batch.good]
    down, right = np.zeros_like(patches), np.zeros_like(patches)
    down[:, :-1] = patches[:, 1:] - patches[:, :-1]
    right[:, :, :-1] = patches[:, :, 1:] - patches[:, :, :-1]
    far = np.abs(patches * held.phases[:, None, None] - labels(batch)) ** 2
    return {
        "nll": np.mean(intensity - roots**2 * np.log(intensity)),
        "amplitude": np.mean((np.sqrt(intensity) - roots) ** 2),
        "mae": np.mean(np.abs(np.sqrt(intensity) - roots)),
        "tv": np.mean(np.sqrt(np.abs(down) ** 2 + np.abs(right) ** 2 + 1e-6) - 1e-3),
        "realspace": (light * (np.sqrt(far + 1e-12) - 1e-6)).sum() / (len(patches) * light.sum()),
    }
