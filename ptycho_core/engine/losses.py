"""Loss terms that compare patterns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar


class Loss(ABC):
    name: ClassVar[str]

    @abstractmethod
    def values(self, xp, modelled, amplitudes): ...

    @abstractmethod
    def derivative(self, xp, modelled, amplitudes): ...


class Nll(Loss):
    name = "nll"

    def values(self, xp, modelled, amplitudes):
        return modelled - amplitudes * amplitudes * xp.log(modelled)

    def derivative(self, xp, modelled, amplitudes):
        return 1 - amplitudes * amplitudes / modelled


class Amplitude(Loss):
    name = "amplitude"

    def values(self, xp, modelled, amplitudes):
        difference = xp.sqrt(modelled) - amplitudes
        return difference * difference

    def derivative(self, xp, modelled, amplitudes):
        return 1 - amplitudes / xp.sqrt(modelled)


class Mae(Loss):
    name = "mae"

    def values(self, xp, modelled, amplitudes):
        return xp.abs(xp.sqrt(modelled) - amplitudes)

    def derivative(self, xp, modelled, amplitudes):
        root = xp.sqrt(modelled)
        return xp.sign(root - amplitudes) / (2 * root)


LOSSES = {loss.name: loss for loss in (Nll(), Amplitude(), Mae())}
