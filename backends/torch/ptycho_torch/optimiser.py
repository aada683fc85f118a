"""Steps of the weights: the optimiser, bounds on the gradient, and its state as plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["Optimiser"]

_STATE = {"adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}


class Optimiser:
    """One of the optimisers over named tensors; weight decay acts on the network alone.

    ``specs/network.md`` gives the formulas. The libraries' own clipping adds 1e-6 to the norm; this one does not.
    """

    def __init__(self, leaves: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> None:
        self._leaves, self._settings = dict(leaves), settings
        network = [value for name, value in leaves.items() if name.startswith("network.")]
        physics = [value for name, value in leaves.items() if not name.startswith("network.")]
        rate, decay = float(settings["learning_rate"]), float(settings["weight_decay"])
        groups = [{"params": network, "weight_decay": decay}] + [{"params": physics, "weight_decay": 0.0}] * bool(physics)
        self._kind = str(settings["optimizer"])
        self._optimiser: torch.optim.Optimizer
        if self._kind == "adam":
            self._optimiser = torch.optim.Adam([group | {"weight_decay": 0.0} for group in groups], lr=rate)
        elif self._kind == "adamw":
            self._optimiser = torch.optim.AdamW(groups, lr=rate)
        else:
            momentum = float(settings["momentum"])
            self._optimiser = torch.optim.SGD([group | {"weight_decay": 0.0} for group in groups], lr=rate, momentum=momentum)

    def is_finite(self) -> bool:
        """Whether the gradients, and their squares, are finite: an optimiser that met others would never recover."""
        squares = [value.grad.square().sum() for value in self._leaves.values() if value.grad is not None]
        return not squares or bool(torch.isfinite(torch.stack(squares).sum()))

    def step(self, learning_rate: float, batches: int) -> None:
        """Move the tensors by the mean of the gradients that ``batches`` backward passes have summed, and clear them."""
        gradients = [value.grad for value in self._leaves.values() if value.grad is not None]
        if batches > 1:
            for gradient in gradients:
                gradient.div_(batches)
        self._clip(gradients)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def _clip(self, gradients: list[torch.Tensor]) -> None:
        bound = self._settings["gradient_clip_val"]
        if bound is None or not gradients:
            return
        if self._settings["gradient_clip_algorithm"] == "value":
            for gradient in gradients:
                gradient.clamp_(-float(bound), float(bound))
            return
        norm = torch.stack([gradient.double().square().sum() for gradient in gradients]).sum().sqrt()
        if float(norm) > float(bound):
            for gradient in gradients:
                gradient.mul_(float(bound) / float(norm))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The state as arrays by name; empty before the first step."""
        found = {}
        for name, value in self._leaves.items():
            state = self._optimiser.state.get(value, {})
            for part in _STATE[self._kind]:
                if state.get(part) is not None:
                    found[f"optimizer.{name}.{part}"] = state[part].detach().contiguous().cpu().numpy().copy()
        return found

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], steps: int) -> None:
        """Take up the state that `arrays` gave after so many ``steps``."""
        for name, value in self._leaves.items():
            parts = {
                part: arrays[f"optimizer.{name}.{part}"] for part in _STATE[self._kind] if f"optimizer.{name}.{part}" in arrays
            }
            if not parts:
                continue
            state = {part: torch.as_tensor(array).to(value).clone() for part, array in parts.items()}
            if value.ndim == 4:
                state = {part: array.contiguous(memory_format=torch.channels_last) for part, array in state.items()}
            if self._kind != "sgd":
                state["step"] = torch.tensor(float(steps))
            self._optimiser.state[value] = state
