"""An architecture: a function from settings to the layers of a network, which the core completes and every backend runs.

A class is one architecture.  It gives layers as data (``specs/network.md`` has the operations) and computes nothing.  A field
that is made with ``setting(...)`` is a setting.  Other distributions add architectures by the entry points in
``ptycho.networks``; `ptycho_core.settings.components` finds them and names the rules.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Architecture", "Layers", "Pictures"]


class Pictures(NamedTuple):
    """What a network takes and gives: real (batch, channel, row, column).

    Attributes:
        size: N, pixels across a pattern, a multiple of 16.
        gridsize: a network sees ``gridsize²`` neighboring patterns at once.
        inputs: channels that it takes.
        outputs: channels that it gives, at full size.
    """

    size: int
    gridsize: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Architecture(ABC):
    """A kind of network; a frozen dataclass, so that its settings are all that its layers depend on.

    Attributes:
        name: its word in ``--network``, and its entry point's.
    """

    name: ClassVar[str]

    @abstractmethod
    def layers(self, pictures: Pictures) -> Sequence[Mapping[str, Any]]:
        """The layers in order, as `Layers` makes them; the first takes ``input``, the last gives ``outputs`` at full size.

        A network corrects an estimate: give the last layer the gain 0, and a training starts at the estimate.
        """


class Layers(list[dict[str, Any]]):
    """A list of layers that grows by calls; each gives the name of the layer, which later ones take.

    ``layers("silu", "bright", "input")`` adds the operation ``silu`` by the name ``bright``.
    """

    def __call__(self, operation: str, name: str, *given: str, **fields: Any) -> str:  # noqa: ANN401 - JSON
        """Add a layer.

        Args:
            operation: as in ``specs/network.md``.
            name: an identifier, given once.
            given: names of the layers that it takes, or ``input``.
            fields: of the operation.
        """
        self.append({"name": name, "op": operation, "from": list(given), **fields})
        return name

    def convolution(self, name: str, given: str, channels: int, kernel: int = 3, stride: int = 1, gain: float = 1.0) -> str:
        """Add a convolution."""
        return self("convolution", name, given, channels=channels, kernel=kernel, stride=stride, gain=gain)
