"""What a training tells: a score an epoch, and two ways to end early."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


class Diverged(Exception):
    """The loss became NaN or infinite."""


class Stopped(Exception):
    """The caller asked for an end between two steps."""


@dataclass(frozen=True)
class EpochScore:
    """What an epoch brought. `epoch` counts from 1; seconds include the validation, images per second do not.

    `execution` says how it was computed: precision, memory format, and on CUDA whether a graph was replayed or why not.
    """

    epoch: int
    train_loss: float
    val_accuracy: float
    seconds: float
    images_per_second: float
    batch_size: int
    network: nn.Module | None = None
    execution: str = ""
