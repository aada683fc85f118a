"""What learns: the network, and where asked the probes and scales of its scans; its loss on a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ptycho_backend_tensorflow.arrays import fft2_ortho, gather, mode_sum, shift_ramps, squared_modulus
from ptycho_backend_tensorflow.compiled import Compiled
from ptycho_backend_tensorflow.devices import complex_dtype
from ptycho_backend_tensorflow.estimate import (
    Estimate,
    Illumination,
    canvas_zeros,
    estimate_object,
    group_canvases,
    group_windows,
    shifted_probe,
    unit_phase,
)
from ptycho_backend_tensorflow.losses import data_sums, total_variation
from ptycho_backend_tensorflow.merging import merge_patches
from ptycho_backend_tensorflow.networks import build_network
from ptycho_backend_tensorflow.patches import predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ptycho_backend_tensorflow.sample import Sample
    from ptycho_core.model import Model

__all__ = ["Learner", "Outcome"]

FLAT_SHARES = tuple(0.7 + 0.025 * step for step in range(17))
"""Amplitudes of the flat object that are tried, over the one that keeps the counts."""


class Outcome(NamedTuple):
    """A batch's loss, and what else is told of it.

    Attributes:
        loss: weighted sum of the loss terms, a float64 scalar.
        difference: Σ|√I − √n| over good pixels.
        amplitudes: Σ√n over good pixels.
        deviation: mean over the patches of their standard deviation within the illumination, over their mean modulus there.
        terms: the unweighted loss terms by name, float64 scalars.
        modelled: real (frame, N, N), modelled counts in the order of the FFT.
        patches: complex (frame, N, N), merged as the loss sees them.
        gradient: of the loss, all elements of all leaves one after another; None if it was not wanted.
    """

    loss: float
    difference: float
    amplitudes: float
    deviation: float
    terms: Mapping[str, float]
    modelled: tf.Tensor
    patches: tf.Tensor
    gradient: tf.Tensor | None


class _Batch(NamedTuple):
    """What a compiled step is given: tensors, so that one graph serves every batch.

    Attributes:
        scan: its place, int32 scalar.
        amplitudes: real (frame, N, N).
        corners: int64 (group, C, 2).
        remainders: float64 (frame, 2).
        mask: real (N, N), or None for all good.
        estimate: patches and step that are remembered, or None.
        beside: real zeros with the shape of the canvases of all groups, or None.
        canvas: real zeros with the shape of the canvas to merge on, or None.
        labels: complex (rows, columns), or None.
    """

    scan: tf.Tensor
    amplitudes: tf.Tensor
    corners: tf.Tensor
    remainders: tf.Tensor
    mask: tf.Tensor | None
    estimate: tuple[tf.Tensor, tf.Tensor] | None
    beside: tf.Tensor | None
    canvas: tf.Tensor | None
    labels: tf.Tensor | None


class Learner:
    """The trained tensors of a model on the device that is set, and the loss that they minimise."""

    def __init__(self, model: Model, weights: Mapping[str, float], dtype: tf.DType, *, mixed: bool, jit: bool = False) -> None:
        self.description, self.facts, self.mixed, self.jit = model.network, model.facts, mixed, jit
        self.loss_weights = {name: value for name, value in weights.items() if value > 0}
        self.network = build_network(model.network, model.weights, dtype)
        probes = model.physics["probe"].astype(complex_dtype(dtype).as_numpy_dtype)
        # In units of its own root mean square a probe can share the network's learning rate.
        unit = np.sqrt((np.abs(probes) ** 2).sum(axis=1).mean(axis=(1, 2)))[:, None, None, None]
        self.unit = tf.Variable(unit, dtype=dtype)
        self.probe = tf.Variable(np.stack([probes.real / unit, probes.imag / unit], axis=-1), dtype=dtype)
        self.log_scale = tf.Variable(model.physics["log_scale"], dtype=dtype)
        self.step = Compiled(self._learned)
        self.estimate = Compiled(self._estimated)

    def leaves(self) -> dict[str, tf.Variable]:
        """The variables that learn, by name: those of the network, then of the physics."""
        found = {f"network.{name}": value for name, value in self.network.weights.items()}
        if self.facts["train_probe"]:
            found["physics.probe"] = self.probe
        if self.facts["train_scale"]:
            found["physics.log_scale"] = self.log_scale
        return found

    def named_gradients(self, gradient: tf.Tensor) -> dict[str, npt.NDArray[Any]]:
        """The gradients of the leaves that the loss reaches, by name and in the shapes of ``specs/network.md``."""
        leaves = self.leaves()
        parts = np.split(gradient.numpy(), np.cumsum([math.prod(leaf.shape) for leaf in leaves.values()])[:-1])
        named = {name: part.reshape(leaf.shape) for (name, leaf), part in zip(leaves.items(), parts, strict=True)}
        reached = {name: value for name, value in named.items() if name.startswith("network.") or self._physical()}
        return {name: self.canonical(name, value) for name, value in reached.items()}

    def canonical(self, leaf: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array as the variable ``leaf`` holds it, in the shape of ``specs/network.md``."""
        group, _, own = leaf.partition(".")
        return self.network.canonical(own, value) if group == "network" else value

    def native(self, leaf: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The inverse of `canonical`."""
        group, _, own = leaf.partition(".")
        return self.network.native(own, value) if group == "network" else value

    def exact(self) -> dict[str, npt.NDArray[Any]]:
        """What a model file would round: probes, their unit and scales, and weights that are not float32."""
        named = {name: value.numpy() for name, value in self._physics().items()}
        return named if self.unit.dtype == tf.float32 else named | self.network.named_weights()

    def restore(self, exact: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take up what `exact` gave."""
        physics = self._physics()
        for name, value in exact.items():
            if name in physics:
                physics[name].assign(value)
            else:
                self.network.weights[name].assign(self.network.native(name, value))

    def probes(self, scan: int | tf.Tensor) -> tf.Tensor:
        """The probe (mode, N, N) of a scan, as it is now."""
        pairs = self.probe[scan] * (self.unit[scan] * tf.exp(self.log_scale[scan] / 2))[..., None]
        return tf.complex(pairs[..., 0], pairs[..., 1])

    def weights_now(self) -> dict[str, npt.NDArray[np.float32]]:
        """The network's weights for a model file."""
        return {name: value.astype(np.float32) for name, value in self.network.named_weights().items()}

    def physics_now(self) -> dict[str, npt.NDArray[Any]]:
        """Probes and scales for a model file; the scale is not part of the probe."""
        probe = (self.probe * self.unit[..., None]).numpy()
        complete = (probe[..., 0] + 1j * probe[..., 1]).astype(np.complex64)
        return {"probe": complete, "log_scale": self.log_scale.numpy().astype(np.float32)}

    def outcome(
        self,
        sample: Sample,
        scan: int,
        groups: npt.NDArray[np.int64],
        read: npt.NDArray[np.float32] | None = None,
        *,
        learn: bool = False,
    ) -> Outcome:
        """The loss of a batch of groups (group, C) of a scan, and its gradient if it is to ``learn``.

        ``read`` is what `DevicePatterns.read` gave for it, where that was ahead.
        """
        amplitudes = sample.frames.amplitudes(groups.reshape(-1), read)
        told, gradient = self.step(self._batch(sample, scan, groups, amplitudes), learn=learn)
        terms = {name: float(value) for name, value in told["terms"].items()}
        summed = float(sample.frames.amplitude_sums[groups.reshape(-1)].sum())
        numbers = (float(told["loss"]), float(told["difference"]), summed, float(told["deviation"]))
        return Outcome(*numbers, terms, told["modelled"], told["patches"], gradient)

    def flat_loss(self, sample: Sample, scan: int, frames: npt.NDArray[np.int64]) -> float:
        """The loss of the best flat object: what a collapsed network reaches."""
        probe, amplitudes = self.probes(scan), sample.frames.amplitudes(frames)
        far = tf.reduce_sum(squared_modulus(fft2_ortho(probe)), 0)
        power = float(tf.reduce_sum(tf.cast(far if sample.good is None else far[sample.good], tf.float64)))
        weight = tf.reduce_sum(squared_modulus(probe), 0)
        pixels = len(frames) * _good_pixels(sample)
        physical = self._physical()
        found = []
        for share in FLAT_SHARES:
            factor = share**2 * float(sample.frames.counts[frames].mean()) / power
            flat = tf.broadcast_to(far * tf.constant(factor, far.dtype), amplitudes.shape)
            sums = data_sums(flat, tf.square(amplitudes), sample.good, names=physical)
            total = sum(self.loss_weights[name] * float(value) / pixels for name, value in sums.items())
            if "realspace" in self.loss_weights:
                patches = tf.fill(amplitudes.shape, tf.constant(math.sqrt(factor), probe.dtype))
                labels = gather(sample.labels, tf.constant(sample.corners[frames]), sample.frames.size)
                total += self.loss_weights["realspace"] * float(_realspace(patches, labels, weight / tf.reduce_max(weight)))
            found.append(total)
        return min(found)

    def _physics(self) -> dict[str, tf.Variable]:
        return {"probe": self.probe, "unit": self.unit, "log_scale": self.log_scale}

    def _physical(self) -> tuple[str, ...]:
        """The terms that compare patterns."""
        return tuple(name for name in ("nll", "amplitude", "mae") if name in self.loss_weights)

    @property
    def _probe_learns(self) -> bool:
        return bool(self.facts["train_probe"] or self.facts["train_scale"])

    def _batch(self, sample: Sample, scan: int, groups: npt.NDArray[np.int64], amplitudes: tf.Tensor) -> _Batch:
        """The batch as the compiled step takes it."""
        frames, corners = groups.reshape(-1), sample.corners[groups]
        remainders = sample.positions[frames] - sample.corners[frames]
        known = None
        if groups.shape[1] == 1 and not self._probe_learns and sample.remembers():
            found = sample.remembered(frames, lambda *given: self._estimate_of(sample, scan, *given), self.probes(scan))
            known = (found.patches, found.step)
        canvases = self._canvases(corners, amplitudes.dtype)
        labels = sample.labels if "realspace" in self.loss_weights else None
        place = tf.constant(scan, tf.int32)
        return _Batch(place, amplitudes, corners, remainders, sample.frames.mask, known, *canvases, labels)

    def _estimate_of(self, sample: Sample, scan: int, amplitudes: tf.Tensor, *places: npt.NDArray[Any]) -> Estimate:
        corners, remainders = places
        return self.estimate(tf.constant(scan, tf.int32), amplitudes, corners, remainders, sample.frames.mask)

    def _canvases(self, corners: npt.NDArray[np.int64], dtype: tf.DType) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """Zeros that give the canvases of the groups, each on its own, and the one to merge on their shapes, where needed."""
        how, size = self.facts["merge"], int(self.description["size"])
        beside = None if corners.shape[1] == 1 else group_canvases(corners, size, dtype, few=self.jit)
        if how != "batch":
            return beside, beside if how == "group" else None
        return beside, canvas_zeros(np.ptp(corners.reshape(-1, 2), axis=0).tolist(), size, dtype, few=self.jit)

    def _estimated(
        self, scan: tf.Tensor, amplitudes: tf.Tensor, corners: tf.Tensor, remainders: tf.Tensor, mask: tf.Tensor | None
    ) -> Estimate:
        """The estimate of single frames."""
        light = Illumination.at(self.probes(scan), remainders, mask)
        return estimate_object(amplitudes, corners, None, light, mask, self.description)

    def _learned(self, batch: _Batch, *, learn: bool) -> tuple[dict[str, Any], tf.Tensor | None]:
        """What `outcome` tells of a batch, and the gradient."""
        leaves = list(self.leaves().values())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            if learn:
                tape.watch(leaves)
            told = self._told(batch)
        if not learn:
            return told, None
        gradients = tape.gradient(told["loss"], leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return told, tf.concat([tf.reshape(one, [-1]) for one in gradients], 0)

    def _told(self, batch: _Batch) -> dict[str, Any]:
        size, mask = int(self.description["size"]), batch.mask
        amplitudes = tf.ensure_shape(batch.amplitudes, (None, size, size))
        light = Illumination.at(tf.stop_gradient(self.probes(batch.scan)), batch.remainders, mask)
        if batch.estimate is None:
            estimate = estimate_object(amplitudes, batch.corners, batch.beside, light, mask, self.description)
        else:
            estimate = Estimate(*batch.estimate, light.weight)
        patches = predict(self.network, estimate, self.description, mixed=self.mixed)
        patches = tf.reshape(patches, (-1, size, size))
        deviation = _deviation(tf.stop_gradient(patches), light.weight)
        patches = self._merged(patches, batch, light.weight)
        modelled = _intensities(patches, self._shifted(batch, light))
        good = None if mask is None else mask > 0
        physical = self._physical()
        sums = data_sums(modelled, tf.square(amplitudes), good, names=dict.fromkeys((*physical, "mae")))
        pixels = tf.cast(tf.size(amplitudes) if good is None else tf.shape(amplitudes)[0] * _count(good), tf.float64)
        terms = {name: sums[name] / pixels for name in physical}
        if "tv" in self.loss_weights:
            terms["tv"] = total_variation(patches)
        if "realspace" in self.loss_weights:
            labels = gather(batch.labels, tf.reshape(batch.corners, (-1, 2)), size)
            terms["realspace"] = _realspace(patches, labels, light.weight)
        loss = tf.add_n([self.loss_weights[name] * value for name, value in terms.items()])
        told = {"loss": loss, "difference": sums["mae"], "deviation": deviation, "terms": terms}
        return told | {"modelled": modelled, "patches": patches}

    def _shifted(self, batch: _Batch, light: Illumination) -> tf.Tensor:
        """The illumination with a gradient, where probe or scale learn."""
        if not self._probe_learns:
            return light.shifted
        probe = self.probes(batch.scan)
        return shifted_probe(probe, shift_ramps(tf.cast(batch.remainders, light.weight.dtype), tf.shape(probe)[-1]))

    def _merged(self, patches: tf.Tensor, batch: _Batch, weight: tf.Tensor) -> tf.Tensor:
        if batch.canvas is None:
            return patches
        if self.facts["merge"] == "group":
            windows = group_windows(batch.corners, tf.shape(batch.canvas)[1])
        else:
            places = tf.reshape(batch.corners, (-1, 2))
            windows = places - tf.reduce_min(places, 0)
        return merge_patches(patches, weight, windows, batch.canvas)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _intensities(patches: tf.Tensor, probes: tf.Tensor) -> Any:  # noqa: ANN401 - a tensor and the function of its gradient
    """``Σ_m |F(P_m O)|²``, real (frame, N, N), of patches (frame, N, N) and probes (frame, mode, N, N).

    The gradient is written out (``specs/forward-model.md``): what TensorFlow makes of it passes twice as often over the waves.
    """
    side = tf.cast(tf.shape(patches)[-1], probes.dtype.real_dtype)
    # TensorFlow's transform has no factor, its inverse 1 / N².
    scaled = probes * tf.cast(1 / side, probes.dtype)
    waves = tf.signal.fft2d(scaled * patches[:, None])

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        factor = tf.cast((2 * side**2) * upstream, waves.dtype)[:, None]
        back = tf.signal.ifft2d(factor * waves)
        return mode_sum(tf.math.conj(scaled) * back), tf.math.conj(patches)[:, None] * back * tf.cast(1 / side, probes.dtype)

    return mode_sum(squared_modulus(waves)), gradient


def _realspace(patches: tf.Tensor, labels: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Mean of ``|O e^{iφ} − label|`` under the illumination, φ the best phase of each patch, taken as a constant; float64."""
    lit = tf.cast(weight, patches.dtype)
    turn = unit_phase(tf.reduce_sum(labels * tf.math.conj(tf.stop_gradient(patches)) * lit, (1, 2)))
    distance = squared_modulus(patches * turn[:, None, None] - labels)
    rounded = tf.sqrt(distance + ROUNDING**2) - ROUNDING
    total = tf.reduce_sum(tf.cast(weight, tf.float64)) * tf.cast(tf.shape(patches)[0], tf.float64)
    return tf.reduce_sum(tf.cast(rounded * weight, tf.float64)) / total


ROUNDING = 1e-6
"""Below this a distance of two complex numbers counts as its square, so that its gradient at zero is zero."""


def _deviation(patches: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    share = weight / tf.reduce_sum(weight)
    mean = tf.reduce_sum(patches * tf.cast(share, patches.dtype), (1, 2), keepdims=True)
    spread = tf.sqrt(tf.reduce_sum(squared_modulus(patches - mean) * share, (1, 2)))
    modulus = tf.reduce_sum(tf.sqrt(squared_modulus(patches)) * share, (1, 2))
    return tf.reduce_mean(spread / tf.maximum(modulus, np.finfo(modulus.dtype.as_numpy_dtype).tiny))


def _count(good: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(good, dtype=tf.int32)


def _good_pixels(sample: Sample) -> int:
    return sample.frames.size**2 if sample.good is None else int(_count(sample.good))
