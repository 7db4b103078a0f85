"""Fine-tuning: the last layer alone first, with the trunk as it came, then everything that learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nas.training.data import Dataset, load_dataset
from nas.training.recipe import Recipe, fine_tuning
from nas.training.score import EpochScore
from nas.training.trial import train_architecture, train_to_the_end
from searchspace import Architecture, Stage, boosted, build
from searchspace.blocks import Conv, Residual

ARCHITECTURE = Architecture(
    channels=1,
    resolution=8,
    classes=10,
    stages=(Stage(block=Conv(width=8)), Stage(block=Residual(width=16), stride=2)),
    drop_path=0.5,
)
CLASSIFIER = ("head.classifier.1.weight", "head.classifier.1.bias")


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load_dataset("digits", limit_train=150)


def learnt(architecture: Architecture = ARCHITECTURE, seed: int = 7) -> dict[str, Tensor]:
    """A network's weights but the classifier's, none of them as in a fresh network, statistics included."""
    torch.manual_seed(seed)
    state = build(architecture).state_dict()
    for tensor in state.values():
        if tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5)
    return {name: tensor for name, tensor in state.items() if name not in CLASSIFIER}


def run(
    few: Dataset, trunk: dict[str, Tensor], architecture: Architecture = ARCHITECTURE, **settings: Any
) -> list[tuple[EpochScore, dict[str, Tensor]]]:
    """The scores of a fine-tuning and the weights after each epoch."""
    recipe = fine_tuning(Recipe(epochs=4, batch_size=32)).model_copy(update=settings)
    epochs = []
    for score in train_architecture(architecture, few, recipe, seed=0, trunk=trunk):
        assert score.network is not None
        epochs.append((score, {name: tensor.clone() for name, tensor in score.network.state_dict().items()}))
    return epochs


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_last_layer_learns_alone_and_then_all_do(few: Dataset) -> None:
    trunk = learnt()
    epochs = run(few, trunk, frozen_epochs=2, learning_rate=0.5)
    assert [score.epoch for score, _ in epochs] == [1, 2, 3, 4]
    states = [state for _, state in epochs]
    assert changed(trunk, states[0]) == changed(trunk, states[1]) == set(), "weights and statistics are as they came"
    assert changed(states[0], states[1]) == set(CLASSIFIER)
    assert changed(states[1], states[2]) == changed(states[2], states[3]) == set(states[0])


def test_each_phase_shuffles_and_augments_anew(few: Dataset) -> None:
    """Nothing is learnt or normalised, so equal batches would give the first epochs of both phases equal losses."""
    plain = ARCHITECTURE.changed(stages=(Stage(block=Conv(width=8, norm="none")),), drop_path=0.0)
    epochs = run(few, learnt(plain), plain, frozen_epochs=1, epochs=2, learning_rate=1e-9, bfloat16=False)
    assert epochs[0][0].train_loss != epochs[1][0].train_loss


def test_a_single_epoch_trains_the_last_layer(few: Dataset) -> None:
    trunk = learnt()
    ((score, state),) = run(few, trunk, epochs=1)
    assert score.epoch == 1
    assert changed(trunk, state) == set()


def test_the_classifier_is_fresh_and_depends_on_the_seed_alone(few: Dataset) -> None:
    still = {"frozen_epochs": 0, "epochs": 1, "learning_rate": 1e-9}
    one, other = run(few, learnt(seed=1), **still)[0][1], run(few, learnt(seed=2), **still)[0][1]
    for name in CLASSIFIER:
        assert torch.allclose(one[name], other[name], atol=1e-6)
    assert not torch.allclose(one["stages.1.0.branch.0.0.weight"], other["stages.1.0.branch.0.0.weight"], atol=1e-3)


def test_a_frozen_learner_stays_frozen_when_the_trunk_learns(few: Dataset) -> None:
    architecture = boosted(ARCHITECTURE, learner="random")
    trunk = learnt(architecture)
    learner = {name for name in trunk if "learner" in name}
    assert learner
    states = [state for _, state in run(few, trunk, architecture, frozen_epochs=1)]
    unchanged = set(states[0]) - changed(states[0], states[-1])
    assert unchanged == learner


def test_progress_counts_all_epochs(few: Dataset) -> None:
    heard: list[tuple[int, int]] = []
    recipe = fine_tuning(Recipe(epochs=3, batch_size=64))
    train_to_the_end(
        ARCHITECTURE, few, recipe, 0, progress=lambda score, epochs: heard.append((score.epoch, epochs)), trunk=learnt()
    )
    assert heard == [(1, 3), (2, 3), (3, 3)]
