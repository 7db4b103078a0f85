"""What a training of hours has beside the loop: a checkpoint, several processes, a compiled network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from nas.training.capture import Recorder
from nas.training.checkpoint import Checkpoint, Point
from nas.training.compiling import Forward, compiled
from nas.training.device import describe_kind, versions
from nas.training.distributed import ALONE, Group
from nas.training.learning_mode import learning_mode
from nas.training.optimizer import Optimizer
from nas.training.precision import Precision
from nas.training.score import EpochScore


@dataclass(frozen=True, eq=False)
class LongRun:
    """A training's surroundings, which the loop asks; by default there are none, as for a trial.

    `before` counts the epochs of phases that came before this one: the loop counts from 1 in each.
    """

    group: Group = ALONE
    checkpoint: Checkpoint | None = None
    compile: bool = False
    say: Callable[[str], None] = lambda text: None
    before: int = 0

    @property
    def point(self) -> Point | None:
        """Where the training goes on, None from its beginning."""
        return None if self.checkpoint is None else self.checkpoint.point

    def precision(self, choose: Callable[[], Precision]) -> Precision:
        """What the checkpoint was computed in, if it was here; otherwise what `choose` says, the same to all processes.

        Elsewhere that precision may be slow, or wrong: see `bfloat16_serves`.
        """
        # The first process decides for all: each sees its own device, and they must go the same way here.
        same = self.point is not None and self.checkpoint is not None and not self.checkpoint.changes
        if self.group.told(lambda: float(same)) and self.point is not None:
            return self.point.precision
        with self.group.first_alone():  # it is kept for the others
            return choose()

    def restore(self, optimizer: Optimizer) -> int:
        """The epochs of this phase that the checkpoint holds, after which the optimizer is as it was."""
        if self.point is None or self.point.epoch <= self.before:
            return 0
        optimizer.restore(self.point.optimizer)
        return self.point.epoch - self.before

    def forward(self, network: nn.Module, images: Tensor, bfloat16: bool) -> Forward:
        """What the loop calls in the network's place; `images` are a batch of it, prepared."""
        replica = self.group.replica(network)
        if not self.compile:
            return replica
        learning_mode(network)
        return compiled(replica, self.group.share(images), bfloat16, self.say)

    def recorder(self, recorder: Recorder | None) -> Recorder | None:
        """What records steps: nothing where processes wait for each other's gradients within them."""
        return recorder if self.group.size == 1 else None

    def keep(self, score: EpochScore, optimizer: Optimizer, precision: Precision) -> None:
        """Remember how the training stands after an epoch."""
        if self.checkpoint is not None:
            self.checkpoint.keep(replace(score, epoch=score.epoch + self.before), optimizer, precision)

    def begin(self, epochs: int) -> None:
        """Say where the training goes on, and that it does so elsewhere.

        Raises:
            RunError: several processes see different checkpoints.
        """
        epoch = 0 if self.point is None else self.point.epoch
        elsewhere = "the processes see different checkpoints: give --data-dir a folder that all machines share"
        self.group.require_equal(epoch, elsewhere)
        if self.checkpoint is None or self.point is None:
            return
        if epoch == epochs:
            self.say(f"all {epochs} epochs are done")
        else:
            self.say(f"resuming at epoch {epoch + 1} of {epochs}")
        if self.checkpoint.changes:
            self.say(f"so far it ran with {self.checkpoint.changes}: an unbroken run's last bits would be others")

    def kept(self, epochs: int) -> str:
        """Write what is remembered; what a person is told of it when the training ends before its time."""
        if self.checkpoint is None:
            return "nothing was written"
        if not self.group.first:
            return "the first process says where it resumes"
        self.checkpoint.flush()
        if not self.checkpoint.epoch:
            return "no epoch had ended, so nothing was written"
        if not self.checkpoint.written:
            return "no checkpoint could be written"
        if self.checkpoint.written == epochs:
            return "the training is kept: the same command, or one with another --out, writes it"
        return f"the same command resumes at epoch {self.checkpoint.written + 1} of {epochs}"

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Write what is remembered at the end, however the block ends."""
        try:
            yield
        finally:
            if self.checkpoint is not None:
                self.checkpoint.flush()

    def forget(self) -> None:
        """Remove the checkpoint: the result is written, or the training would fail again."""
        if self.checkpoint is not None:
            self.checkpoint.remove()


TRIAL = LongRun()


def here(device: torch.device, group: Group, compile: bool) -> dict[str, Any]:
    """What a training's last bits depend on beside what was asked for."""
    return {
        "torch": versions()["torch"],
        "device": describe_kind(device),
        "processes": group.size,
        "compile": compile,
    }
