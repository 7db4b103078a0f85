"""The training loop: what an epoch yields, what depends on the seed and on nothing else, and when it gives up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.training.data import Dataset, Split, load_dataset
from nas.training.loop import train
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, make_recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.trial import train_architecture
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Residual


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Equal results are promised for an equal number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load_dataset("digits", limit_train=150)


def architecture(width: int = 8, **changes: Any) -> Architecture:
    stages = (Stage(block=Conv(width=width)), Stage(block=Residual(width=2 * width), stride=2))
    return Architecture(channels=1, resolution=8, classes=10, stages=stages, drop_path=0.1).changed(**changes)


def shapeless(dataset: Dataset, images: Tensor, labels: Tensor) -> Dataset:
    return replace(dataset, train=Split(images, labels))


def run(dataset: Dataset, recipe: Recipe, seed: int = 0, **changes: Any) -> tuple[list[EpochScore], dict[str, Tensor]]:
    scores = list(train_architecture(architecture(**changes), dataset, recipe, seed=seed))
    network = scores[-1].network
    assert network is not None
    return scores, {name: value.clone() for name, value in network.state_dict().items()}


# What it yields


def test_each_epoch_yields_its_score(few: Dataset) -> None:
    scores, _ = run(few, Recipe(epochs=3, batch_size=32))
    assert [score.epoch for score in scores] == [1, 2, 3]
    for score in scores:
        assert 0 <= score.val_accuracy <= 1
        assert score.train_loss > 0
        assert score.images_per_second > 0
        assert score.batch_size == 32
    assert scores[-1].train_loss < scores[0].train_loss


def test_it_learns_digits_and_does_not_learn_shuffled_ones(digits: Dataset) -> None:
    recipe = Recipe(epochs=8, batch_size=64)
    learnt, _ = run(digits, recipe, width=16)
    assert learnt[-1].val_accuracy > 0.9
    order = torch.randperm(len(digits.train), generator=torch.Generator().manual_seed(0))
    shuffled = shapeless(digits, digits.train.images, digits.train.labels[order])
    guessed, _ = run(shuffled, recipe, width=16)
    assert guessed[-1].val_accuracy < 0.3


@pytest.mark.parametrize("schedule", ["one_cycle", "plateau"])
@pytest.mark.parametrize("optimizer", ["muon", "sgd", "adam"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_each_recipe_learns_digits(digits: Dataset, optimizer: str, schedule: str, label_smoothing: float) -> None:
    settings = {"optimizer": optimizer, "schedule": schedule, "label_smoothing": label_smoothing}
    recipe = make_recipe(epochs=3, batch_size=64, crop_padding=0.0, **settings)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    scores = list(train(network, digits, recipe, seed=0, resolution=8))
    assert scores[-1].val_accuracy > 0.8


def test_without_smoothing_the_loss_is_the_plain_cross_entropy(few: Dataset) -> None:
    """A classifier that is sure and right has no loss, and some where labels are smoothed."""

    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: Tensor) -> Tensor:
            return torch.eye(10)[torch.zeros(len(x), dtype=torch.long)] * 30 * self.scale

    ones = shapeless(few, few.train.images, torch.zeros_like(few.train.labels))
    for smoothing, loss in ((0.0, 0.0), (0.1, 0.1 * 30 * 0.9)):
        recipe = Recipe(epochs=1, batch_size=128, label_smoothing=smoothing, bfloat16=False)
        scores = list(train(Sure(), ones, recipe, seed=0, resolution=8))
        assert scores[0].train_loss == pytest.approx(loss, abs=1e-3)


def test_a_batch_larger_than_the_data_is_all_of_them_at_their_own_rate(few: Dataset) -> None:
    size = len(few.train)
    large, weights = run(few, Recipe(epochs=2, batch_size=65536))
    exact, same = run(few, Recipe(epochs=2, batch_size=size))
    assert large[0].batch_size == exact[0].batch_size == size
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    by_loop = list(train(_linear(few), few, Recipe(epochs=2, batch_size=65536), seed=0, resolution=8))
    assert by_loop[-1].train_loss < 20, "the peak rate follows the batch that is used"


def _linear(dataset: Dataset) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_images_are_resized_to_the_networks_resolution(few: Dataset) -> None:
    seen: set[tuple[int, ...]] = set()

    class Shape(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(1, 10)

        def forward(self, x: Tensor) -> Tensor:
            seen.add(tuple(x.shape[1:]))
            return self.last(x.mean((1, 2, 3))[:, None])

    list(train(Shape(), few, Recipe(epochs=1, batch_size=32), seed=0, resolution=12))
    assert seen == {(1, 12, 12)}
    scores, _ = run(few, Recipe(epochs=1, batch_size=32), resolution=16)
    assert scores[0].epoch == 1


# Seeds


def test_equal_arguments_give_equal_weights_whatever_ran_before(few: Dataset) -> None:
    recipe = Recipe(epochs=2, batch_size=32, cutout=0.25)
    first, weights = run(few, recipe)
    torch.rand(7)
    run(few, recipe, seed=5)
    second, same = run(few, recipe)
    assert [score.val_accuracy for score in first] == [score.val_accuracy for score in second]
    assert [score.train_loss for score in first] == [score.train_loss for score in second]
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_another_seed_gives_other_weights(few: Dataset) -> None:
    recipe = Recipe(epochs=1, batch_size=32)
    (_, one), (_, other) = run(few, recipe), run(few, recipe, seed=1)
    assert not torch.equal(one["head.classifier.1.weight"], other["head.classifier.1.weight"])


def test_the_callers_random_numbers_are_left_alone(few: Dataset) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    seen = []
    for score in train_architecture(architecture(), few, Recipe(epochs=2, batch_size=32), seed=0):
        seen.append(score.epoch)
        if len(seen) == 1:
            assert torch.equal(torch.rand(2), expected[:2])
    assert torch.equal(torch.rand(2), expected[2:])


def test_what_the_caller_draws_between_epochs_changes_nothing(few: Dataset) -> None:
    recipe = Recipe(epochs=3, batch_size=32)
    _, expected = run(few, recipe)
    for score in train_architecture(architecture(), few, recipe, seed=0):
        torch.rand(100)
        network = score.network
    assert network is not None
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


# Ends


def test_a_loss_that_is_no_number_ends_the_training(few: Dataset) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x.flatten(1)) * float("nan" if self.training else 1)

    with pytest.raises(Diverged, match="the loss was nan in epoch 1"):
        list(train(Broken(), few, Recipe(epochs=3, batch_size=32), seed=0, resolution=8))


def test_a_rate_far_too_high_does_not_end_as_a_result(few: Dataset) -> None:
    recipe = Recipe(epochs=3, batch_size=32, learning_rate=100.0, gradient_clip=1e30, weight_decay=0.0)
    linear = _linear(few)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.mul_(1e37)
    with pytest.raises(Diverged):
        list(train(linear, few, recipe, seed=0, resolution=8))


def test_a_stop_is_heard_within_an_epoch(few: Dataset) -> None:
    calls: list[int] = []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 6

    scores = train(_linear(few), few, Recipe(epochs=9, batch_size=32), seed=0, resolution=8, stop=stop)
    assert next(scores).epoch == 1
    with pytest.raises(Stopped):
        next(scores)
    assert len(calls) == 7, "135 images are 4 batches: the seventh step is in the second epoch"


# The optimiser


class One(nn.Module):
    def __init__(self, value: float, ndim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,) * ndim, value))


def step(module: One, gradient: float, recipe: Recipe, steps: int = 10, batch_size: int = 256) -> float:
    optimizer = Optimizer(module, recipe, batch_size, steps)
    module.weight.grad = torch.full_like(module.weight, gradient)
    optimizer.step()
    return module.weight.item()


def test_weight_decay_is_decoupled_and_exact() -> None:
    recipe = Recipe(learning_rate=0.5, weight_decay=0.1, warmup=0.0, momentum=0.0)
    assert step(One(2.0, 2), 0.0, recipe) == pytest.approx(2.0 * (1 - 0.5 * 0.1))
    assert step(One(2.0, 2), 1.0, recipe) == pytest.approx(2.0 * (1 - 0.5 * 0.1) - 0.5 * 1.0)


def test_biases_and_norms_do_not_decay() -> None:
    recipe = Recipe(learning_rate=0.5, weight_decay=0.1, warmup=0.0, momentum=0.0)
    assert step(One(2.0, 1), 0.0, recipe) == 2.0


def test_gradients_are_clipped_to_a_norm() -> None:
    recipe = Recipe(learning_rate=1.0, weight_decay=0.0, warmup=0.0, momentum=0.0, gradient_clip=2.0)
    assert step(One(0.0, 2), 100.0, recipe) == pytest.approx(-2.0, rel=1e-5)
    assert step(One(0.0, 2), 0.5, recipe) == pytest.approx(-0.5, rel=1e-5)


def test_nesterov_momentum_looks_ahead() -> None:
    recipe = Recipe(learning_rate=1.0, weight_decay=0.0, warmup=0.0, momentum=0.5, gradient_clip=1e9)
    assert step(One(0.0, 2), 1.0, recipe) == pytest.approx(-1.5)


def test_adams_first_step_is_the_rate_whatever_the_gradient() -> None:
    recipe = Recipe(optimizer="adam", learning_rate=0.01, weight_decay=0.0, warmup=0.0)
    for gradient in (0.001, 1.0, -1.0):
        assert step(One(0.0, 2), gradient, recipe) == pytest.approx(-0.01 if gradient > 0 else 0.01, rel=1e-3)


def test_adams_weight_decay_is_decoupled_too() -> None:
    recipe = Recipe(optimizer="adam", learning_rate=0.01, weight_decay=0.1, warmup=0.0)
    assert step(One(2.0, 2), 0.0, recipe) == pytest.approx(2.0 * (1 - 0.01 * 0.1))
    assert step(One(2.0, 2), 1.0, recipe) == pytest.approx(2.0 * (1 - 0.01 * 0.1) - 0.01)


def moves(schedule: Any, losses: list[float], **settings: Any) -> list[float]:
    """How far plain SGD goes in each epoch of one step; `losses` are told after it."""
    recipe = Recipe(learning_rate=1.0, momentum=0.0, weight_decay=0.0, schedule=schedule, **settings)
    module = One(0.0, 2)
    optimizer = Optimizer(module, recipe, 256, len(losses))
    found = []
    for loss in losses:
        before = module.weight.item()
        module.weight.grad = torch.ones_like(module.weight)
        optimizer.step()
        optimizer.end_epoch(loss)
        found.append(before - module.weight.item())
    return found


def test_a_plateau_of_the_loss_lowers_the_rate() -> None:
    settings = {"warmup": 0.0, "plateau_factor": 0.5, "plateau_patience": 1}
    falling = moves("plateau", [5.0, 4.0, 3.0, 2.0, 1.0, 0.5], **settings)
    assert falling == pytest.approx([1.0] * 6)
    flat = moves("plateau", [5.0, 5.0, 5.0, 5.0, 5.0, 5.0], **settings)
    assert flat == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.5, 0.25])


def test_one_cycle_does_not_look_at_the_loss() -> None:
    assert moves("one_cycle", [5.0] * 6, plateau_patience=0) == moves("one_cycle", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


def test_a_plateau_while_the_rate_rises_does_not_end_the_rise() -> None:
    found = moves("plateau", [5.0] * 8, warmup=0.5, plateau_factor=0.5, plateau_patience=2)
    assert found == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.5, 0.5, 0.5, 0.25])


# Frozen parts


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5))
        self.last = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout(0.5), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.trunk(x))


def test_frozen_parts_keep_weights_and_statistics_and_others_do_not(few: Dataset) -> None:
    network = Halves()
    network.trunk.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    dropped: set[tuple[str, bool]] = set()
    network.trunk[1].register_forward_hook(lambda module, inputs, output: dropped.add(("trunk", module.training)))
    network.last[2].register_forward_hook(lambda module, inputs, output: dropped.add(("last", module.training)))
    list(train(network, few, Recipe(epochs=2, batch_size=32), seed=0, resolution=8))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("last.")}
    assert ("trunk", True) not in dropped, "a frozen trunk gives the features that it gives when used"
    assert ("last", True) in dropped


def test_the_rate_follows_the_batch() -> None:
    recipe = Recipe(learning_rate=1.0, weight_decay=0.0, warmup=0.0, momentum=0.0)
    assert step(One(0.0, 2), 1.0, recipe, batch_size=128) == pytest.approx(-0.5)


def test_statistics_follow_the_weights_faster_where_the_architecture_asks_for_nothing_else(few: Dataset) -> None:
    for asked, used in ((0.1, 0.3), (0.01, 0.01)):
        network = build(architecture(norm_momentum=asked))
        next(train(network, few, Recipe(epochs=2, batch_size=32), seed=0, resolution=8))
        momenta = {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
        assert momenta == {used}
