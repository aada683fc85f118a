"""What learns: the network, and where asked the probes and scales of its scans, as one vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ptycho_core.networks import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ptycho_core.engine.arrays import Array, ArrayOps
    from ptycho_core.model import Model

__all__ = ["Parts", "Physics", "TrainableModel"]

PHYSICS = {"physics.probe": "train_probe", "physics.log_scale": "train_scale"}
"""What of the physics can learn, and the fact of a model that says whether it does."""


class Physics(NamedTuple):
    """What is known of the probes of all scans.

    Attributes:
        probe: real (scan, mode, N, N, 2), real and imaginary parts, over the unit.
        unit: real (scan, 1, 1, 1), root mean square of each probe: in units of it a probe shares the network's learning rate.
        log_scale: real (scan,), of a factor on the intensity.
    """

    probe: Array
    unit: Array
    log_scale: Array

    def of(self, xp: ArrayOps, scan: Any) -> Array:  # noqa: ANN401 - what `ArrayOps.index` gave
        """The probe of a scan, complex (mode, N, N), in counts."""
        pairs = xp.times_both(self.probe[scan], self.unit[scan][..., None], xp.exp(self.log_scale[scan] / 2))
        return xp.complex(pairs[..., 0], pairs[..., 1])


class Parts(NamedTuple):
    """The vector, taken apart: weights in the order of the description's tensors, and the physics."""

    weights: Sequence[Array]
    physics: Physics


class TrainableModel:
    """All that learns, in one real vector, and what of the physics does not.

    Attributes:
        vector: as it is now.
        physics: as it was at the start; what of it learns is in the vector.
        layout: of the network's weights.
        weights: how many values of the vector are the network's, which come first.
        probe_learns: whether a probe or its scale does.
    """

    def __init__(self, xp: ArrayOps, model: Model) -> None:
        self._xp, self.layout = xp, xp.layout(model.network)
        native = {name: self.layout.native(name, np.asarray(model.weights[name])) for name in tensor_shapes(model.network)}
        probes = xp.from_numpy(model.physics["probe"])
        unit = xp.sqrt(xp.mean(xp.sum(xp.abs2(probes), 1), (1, 2)))[:, None, None, None]
        probe = xp.reshape(xp.as_real(xp.over_real(probes, unit)), (*probes.shape, 2))
        self.physics = Physics(probe, unit, xp.from_numpy(model.physics["log_scale"]))
        self._learned = [name for name, fact in PHYSICS.items() if model.facts[fact]]
        self.probe_learns = bool(self._learned)
        vectors = [xp.from_numpy(np.concatenate([value.reshape(-1) for value in native.values()]))]
        vectors += [xp.reshape(self._held(name), (-1,)) for name in self._learned]
        self.vector = xp.concat(vectors)
        self._shapes = {f"network.{name}": value.shape for name, value in native.items()}
        self.weights = sum(map(math.prod, self._shapes.values()))
        self._shapes |= {name: tuple(self._held(name).shape) for name in self._learned}

    @property
    def size(self) -> int:
        """Values of the vector."""
        return sum(map(math.prod, self._shapes.values()))

    @property
    def network_vector(self) -> Array:
        """The part of the vector that is the network's."""
        return self.vector[: self.weights]

    def parts(self, xp: ArrayOps, vector: Array, physics: Physics) -> Parts:
        """A vector taken apart, with the rest of the physics."""
        pieces = xp.split(vector, [math.prod(shape) for shape in self._shapes.values()])
        named = {name: xp.reshape(one, shape) for one, (name, shape) in zip(pieces, self._shapes.items(), strict=True)}
        learned = {name.removeprefix("physics."): named.pop(name) for name in self._learned}
        return Parts(list(named.values()), physics._replace(**learned))

    def physics_as_learned(self) -> Physics:
        """The physics as it is now."""
        return self.parts(self._xp, self.vector, self.physics).physics

    def probe(self, scan: int) -> Array:
        """The probe of a scan as it is now, complex (mode, N, N)."""
        return self.physics_as_learned().of(self._xp, scan)

    def named(self, vector: Array) -> dict[str, NDArray[Any]]:
        """A vector by the names and in the shapes of ``specs/network.md``, in its own memory."""
        values, found = self._xp.to_numpy(vector), {}
        ends = np.cumsum([math.prod(shape) for shape in self._shapes.values()])[:-1]
        for one, (name, shape) in zip(np.split(values, ends), self._shapes.items(), strict=True):
            own = name.removeprefix("network.")
            value = one.reshape(shape)
            found[name] = np.array(value if own == name else self.layout.canonical(own, value))
        return found

    def vector_of(self, named: Mapping[str, NDArray[Any]]) -> Array:
        """The inverse of `named`; what is not named is zero.

        Raises:
            ValueError: a shape is not that of the model.
        """
        values = []
        for name, shape in self._shapes.items():
            own, value = name.removeprefix("network."), named.get(name)
            if value is None:
                value = np.zeros(shape)
            elif own != name:
                value = self.layout.native(own, value)
            if np.shape(value) != tuple(shape):
                raise ValueError(f"'{name}' has shape {np.shape(value)}, the model {tuple(shape)}")
            values.append(np.reshape(value, -1))
        return self._xp.from_numpy(np.concatenate(values))

    def exact(self) -> dict[str, NDArray[Any]]:
        """What a model file would round: probes, their unit and scales, and weights that are not float32."""
        named = {name: np.array(self._xp.to_numpy(one)) for name, one in self.physics_as_learned()._asdict().items()}
        if self._xp.real_dtype == np.float32:
            return named
        weights = {name: value for name, value in self.named(self.vector).items() if name.startswith("network.")}
        return named | {name.removeprefix("network."): value for name, value in weights.items()}

    def restore(self, exact: Mapping[str, NDArray[Any]]) -> None:
        """Take up what `exact` gave.

        Raises:
            LookupError: a part is missing.
            ValueError: a shape is not that of the model.
        """
        named = self.named(self.vector)
        named |= {name: exact[own] for name in named if (own := name.partition(".")[2]) in exact}
        for name, held in self.physics._asdict().items():
            if np.shape(exact[name]) != tuple(held.shape):
                raise ValueError(f"'{name}' has shape {np.shape(exact[name])}, the model {tuple(held.shape)}")
        self.vector = self.vector_of(named)
        self.physics = Physics(**{name: self._xp.from_numpy(np.array(exact[name])) for name in Physics._fields})

    def weights_now(self) -> dict[str, NDArray[np.float32]]:
        """The network's weights for a model file."""
        named = self.named(self.vector)
        return {name.removeprefix("network."): one.astype(np.float32) for name, one in named.items() if name not in PHYSICS}

    def physics_now(self) -> dict[str, NDArray[Any]]:
        """Probes and scales for a model file; the scale is not part of the probe."""
        xp, physics = self._xp, self.physics_as_learned()
        probe = xp.to_numpy(xp.times_real(xp.complex(physics.probe[..., 0], physics.probe[..., 1]), physics.unit))
        return {"probe": probe.astype(np.complex64), "log_scale": np.array(xp.to_numpy(physics.log_scale), np.float32)}

    def _held(self, name: str) -> Array:
        return getattr(self.physics, name.removeprefix("physics."))
