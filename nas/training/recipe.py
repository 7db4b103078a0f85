"""How a network is trained: one frozen record, stored with every trial."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from searchspace.record import Fraction, Rate, Record


class Recipe(Record):
    """Stochastic gradient descent with Nesterov momentum and a one-cycle rate (Smith 2018), the same for every family.

    `learning_rate` is the peak for 256 images a batch; the rate used grows with the batch. `weight_decay` is decoupled
    (Loshchilov and Hutter 2019): each step multiplies weights of two and more dimensions by 1 - rate * weight_decay.
    Crop padding and cutout are shares of the image's side.
    """

    epochs: int = Field(default=10, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=2, le=65536)
    learning_rate: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    momentum: Rate = 0.9
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 5e-3
    label_smoothing: Rate = 0.1
    warmup: Fraction = 0.2
    gradient_clip: Annotated[float, Field(gt=0.0)] = 2.0
    crop_padding: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.125
    cutout: Fraction = 0.0
    bfloat16: bool = True

    def peak_rate(self, batch_size: int) -> float:
        """The peak rate for batches of this size, which is below `batch_size` where the data are fewer."""
        return self.learning_rate * batch_size / 256


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """The rate's share of its peak at `step` of `steps`: linearly up over `warmup` of them, then linearly to zero."""
    peak = max(1.0, warmup * steps)
    return min(1.0, (step + 1) / peak, (steps - step) / max(1.0, steps - peak))
