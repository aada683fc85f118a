"""Steps of the weights: the optimiser, bounds on the gradient, and its state as plain arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Optimiser"]


class Optimiser:
    """Adam (Kingma & Ba, ICLR 2015), AdamW or SGD with momentum over named tensors; weight decay acts on the network alone.

    ``specs/network.md`` gives the formulas. They are written out, since the libraries' differ in where they add an epsilon and in
    how they clip, and since loading PyTorch's own takes longer than many a first epoch.
    """

    def __init__(self, leaves: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> None:
        self._leaves, self._settings = dict(leaves), settings
        self._kind = str(settings["optimizer"])
        self._first, self._second = float(settings["adam_beta1"]), float(settings["adam_beta2"])
        self._epsilon = float(settings["adam_epsilon"])
        self._means: dict[str, torch.Tensor] = {}
        self._squares: dict[str, torch.Tensor] = {}
        self._steps = 0

    def is_finite(self) -> bool:
        """Whether the gradients, and their squares, are finite: an optimiser that met others would never recover."""
        squares = [gradient.square().sum() for gradient in self._gradients().values()]
        return not squares or bool(torch.isfinite(torch.stack(squares).sum()))

    @torch.no_grad()
    def step(self, learning_rate: float, batches: int) -> None:
        """Move the tensors by the mean of the gradients that ``batches`` backward passes have summed, and clear them."""
        gradients = self._gradients()
        if batches > 1:
            for gradient in gradients.values():
                gradient.div_(batches)
        self._clip(list(gradients.values()))
        self._steps += 1
        move = self._descend if self._kind == "sgd" else self._adapt
        for name, gradient in gradients.items():
            move(name, self._leaves[name], gradient, learning_rate)
            self._leaves[name].grad = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The state as arrays by name; empty before the first step."""
        named = {f"optimizer.{name}.mean": value for name, value in self._means.items()}
        named |= {f"optimizer.{name}.square": value for name, value in self._squares.items()}
        return {name: value.contiguous().cpu().numpy().copy() for name, value in named.items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int) -> None:
        """Take up the state that `arrays` gave after so many ``steps``."""
        self._steps = steps
        for name, leaf in self._leaves.items():
            for part, store in (("mean", self._means), ("square", self._squares)):
                if f"optimizer.{name}.{part}" in arrays:
                    store[name] = torch.empty_like(leaf, requires_grad=False)
                    store[name].copy_(torch.as_tensor(arrays[f"optimizer.{name}.{part}"]))

    def _gradients(self) -> dict[str, torch.Tensor]:
        return {name: leaf.grad for name, leaf in self._leaves.items() if leaf.grad is not None}

    def _clip(self, gradients: list[torch.Tensor]) -> None:
        bound = self._settings["gradient_clip_val"]
        if bound is None or not gradients:
            return
        if self._settings["gradient_clip_algorithm"] == "value":
            for gradient in gradients:
                gradient.clamp_(-float(bound), float(bound))
            return
        norm = float(torch.stack([gradient.double().square().sum() for gradient in gradients]).sum().sqrt())
        if norm > float(bound):
            for gradient in gradients:
                gradient.mul_(float(bound) / norm)

    def _adapt(self, name: str, leaf: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        """Adam; for AdamW the weights of the network shrink first."""
        if self._kind == "adamw" and name.startswith("network."):
            leaf.mul_(1 - rate * float(self._settings["weight_decay"]))
        if name not in self._means:
            self._means[name], self._squares[name] = torch.zeros_like(leaf), torch.zeros_like(leaf)
        mean = self._means[name].mul_(self._first).add_(gradient, alpha=1 - self._first)
        square = self._squares[name].mul_(self._second).addcmul_(gradient, gradient, value=1 - self._second)
        root = square.sqrt().div_(math.sqrt(1 - self._second**self._steps)).add_(self._epsilon)
        leaf.addcdiv_(mean, root, value=-rate / (1 - self._first**self._steps))

    def _descend(self, name: str, leaf: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
        """SGD with momentum."""
        if name not in self._means:
            self._means[name] = torch.zeros_like(leaf)
        leaf.add_(self._means[name].mul_(float(self._settings["momentum"])).add_(gradient), alpha=-rate)
