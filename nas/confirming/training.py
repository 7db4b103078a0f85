"""The seam to what trains in a confirmation: one architecture with one seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from nas.training.checkpoint import Checkpoint, checkpoint_file
from nas.training.data import Dataset, Split
from nas.training.distributed import ALONE
from nas.training.evaluate import Preprocess, accuracy
from nas.training.long_run import LongRun, here
from nas.training.memory import give_back
from nas.training.recipe import Recipe
from nas.training.score import EpochScore
from nas.training.trial import train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, build


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gave; the accuracy is that of its last epoch on the validation split."""

    val_accuracy: float
    epochs: int
    seconds: float
    weights: dict[str, Tensor]


class Trainer(Protocol):
    """Trains and measures. Equal arguments give equal results; an interrupted training goes on where it was."""

    def train(self, architecture: Architecture, recipe: Recipe, seed: int) -> Trained:
        """Raises RunError: it diverged, ran out of memory, or was stopped."""
        ...

    def forget(self, architecture: Architecture, recipe: Recipe, seed: int) -> None:
        """The training's end is recorded: nothing of it need be kept."""
        ...

    def test(self, architecture: Architecture, weights: dict[str, Tensor]) -> float | None:
        """Accuracy on the test split; None where the data have none."""
        ...


@dataclass(frozen=True, eq=False)
class FinalTrainer:
    """Trains as `nas train --recipe final` does, from a checkpoint in `data_dir`, on the data's device."""

    data: Dataset
    test_split: Split | None
    data_dir: Path
    say: Callable[[str], None]
    progress: Callable[[EpochScore, int], None]
    stop: Callable[[], bool]

    def train(self, architecture: Architecture, recipe: Recipe, seed: int) -> Trained:
        place = here(self.data.train.images.device, ALONE, False)
        checkpoint = Checkpoint(self._file(architecture, recipe, seed), place, self.say)
        run = LongRun(checkpoint=checkpoint, say=self.say)
        try:
            network, scores = train_to_the_end(architecture, self.data, recipe, seed, self.stop, self.progress, run=run)
            seconds = sum(score.seconds for score in scores)
            return Trained(scores[-1].val_accuracy, scores[-1].epoch, seconds, plain_state(network))
        finally:
            give_back()

    def forget(self, architecture: Architecture, recipe: Recipe, seed: int) -> None:
        self._file(architecture, recipe, seed).unlink(missing_ok=True)

    def test(self, architecture: Architecture, weights: dict[str, Tensor]) -> float | None:
        if self.test_split is None:
            return None
        device = self.data.train.images.device
        network = build(architecture, device=device)
        network.load_state_dict(weights)
        return accuracy(network, self.test_split, Preprocess(self.data, architecture.resolution, device))

    def _file(self, architecture: Architecture, recipe: Recipe, seed: int) -> Path:
        return checkpoint_file(
            self.data_dir,
            architecture=architecture.digest,
            data=[self.data.fingerprint, self.data.mean, self.data.std],
            recipe=recipe.model_dump(),
            seed=seed,
            start=None,
        )
