"""Channel boosting adds a frozen learner's channels to the images, counts all of it, and stands first or nowhere."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searchspace import (
    Architecture,
    ArchitectureError,
    Head,
    Stage,
    Task,
    boosted,
    build,
    cost,
    find_space,
    reference,
    scale,
)
from searchspace.blocks import ChannelBoost, Conv, Residual
from searchspace.blocks.boost import BoostedChannels
from searchspace.table import stage_rows

BOOST = Stage(block=ChannelBoost(width=8))
LEARNER = (27 * 32 + 32) + (288 * 64 + 64) + (576 * 64 + 64)  # weights and biases of 3-32-64-64


def network(**changes: Any) -> Architecture:
    fields = {"resolution": 16, "classes": 3, "stages": (Stage(block=Residual(width=16)),)}
    return Architecture(**(fields | changes))


def built(architecture: Architecture, seed: int = 0) -> tuple[nn.Module, BoostedChannels]:
    """A network, and the module of its channel boost."""
    torch.manual_seed(seed)
    made = build(architecture)
    (boost,) = (module for module in made.modules() if isinstance(module, BoostedChannels))
    return made, boost


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [(1, 1), (2, 3), (8, 8), (31, 33), (32, 32)])
def test_channels_are_added_behind_the_untouched_images(channels: int, pixels: tuple[int, int]) -> None:
    _, boost = built(boosted(network(channels=channels), width=5))
    x = torch.randn(2, channels, *pixels)
    kept = x.clone()
    output = boost.eval()(x)
    assert output.shape == (2, channels + 5, *pixels)
    assert torch.equal(output[:, :channels], kept)
    assert torch.equal(x, kept)


def test_added_channels_follow_the_image_where_it_changes() -> None:
    """The features are laid back over the pixels that they come from: a change at the left stays at the left."""
    _, boost = built(boosted(network()))
    boost.eval()
    x = torch.randn(1, 3, 32, 32)
    other = x.clone()
    other[..., :4] += 1
    changed = (boost(x)[:, 3:] != boost(other)[:, 3:]).any(dim=(0, 1, 2))
    assert changed[:4].all()
    assert not changed[16:].any()


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_all_but_the_learner_gets_a_gradient(norm: Any) -> None:
    stem = (Stage(block=ChannelBoost(width=8, norm=norm, activation="silu")),)
    made, boost = built(network(stem=stem))
    nn.functional.cross_entropy(made(torch.randn(4, 3, 16, 16)), torch.tensor([0, 1, 2, 0])).backward()
    frozen = {name for name, parameter in made.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"stem.0.0.learner.{n}.0.{kind}" for n in range(3) for kind in ("weight", "bias")}
    for name, parameter in made.named_parameters():
        assert (parameter.grad is None) == (name in frozen), name
    assert isinstance(boost.adapter[-1], nn.SiLU)


def test_the_control_differs_in_nothing_but_who_trains_the_learner() -> None:
    first, second = boosted(network(name="net")), boosted(network(name="net"), learner="random")
    (one, wants), (other, does_not) = built(first), built(second)
    assert (wants.wants_autoencoder, does_not.wants_autoencoder) == (True, False)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert cost(first) == cost(second)
    assert first.digest != second.digest != network().digest
    assert (first.name, second.name) == ("net+autoencoder", "net+random")
    for architecture in (first, second):
        assert Architecture.from_json(architecture.to_json()) == architecture


def test_the_frozen_learner_is_counted() -> None:
    plain, boost = network(resolution=32), boosted(network(resolution=32))
    macs = 16**2 * 27 * 32 + 8**2 * (288 * 64 + 576 * 64) + 32**2 * 64 * 8
    row = stage_rows(boost)[0]
    assert (row.part, row.kind, row.channels, row.resolution) == ("stem", "channel_boost", 11, 32)
    assert (row.params, row.macs) == (LEARNER + 64 * 8 + 2 * 8, macs)
    assert stage_rows(boosted(plain, learner="random"))[0].settings == "learner random"
    wider = 8 * (16 * 9 + 16)  # convolution and shortcut of the first block see 8 channels more
    assert cost(boost).params == cost(plain).params + row.params + wider
    assert cost(boost).macs == cost(plain).macs + macs + 32**2 * wider


def test_cost_is_that_of_a_network_that_runs() -> None:
    architecture = boosted(network(resolution=19))
    made, _ = built(architecture)
    macs = 0

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        macs += output.numel() * module.weight[0].numel()

    for module in made.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    made.eval()(torch.zeros(1, 3, 19, 19))
    assert cost(architecture).params == sum(parameter.numel() for parameter in made.parameters())
    assert cost(architecture).macs == macs


def test_scaling_widens_the_added_channels_and_leaves_the_learner() -> None:
    wide = scale(boosted(network(), width=16), width=2.0, depth=2.0, resolution=24)
    assert wide.stem[0] == Stage(block=ChannelBoost(width=32))
    before, after = (built(each)[1].learner.state_dict() for each in (boosted(network()), wide))
    assert {name: tensor.shape for name, tensor in before.items()} == {
        name: tensor.shape for name, tensor in after.items()
    }


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"stem": (Stage(block=Conv(width=8)), BOOST)}, "stem.1"),
        ({"stem": (BOOST, BOOST)}, "stem.1"),
        ({"stages": (BOOST, Stage(block=Conv(width=8)))}, "stages.0"),
        ({"head": Head(blocks=(BOOST,))}, "head.blocks.0"),
    ],
)
def test_it_stands_first_or_nowhere(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(ArchitectureError, match=f"{place}: channel_boost reads the images: it may only be the stem's"):
        network().changed(**fields)


@pytest.mark.parametrize(("field", "given"), [("depth", 2), ("stride", 2)])
def test_it_is_neither_repeated_nor_strided(field: str, given: int) -> None:
    with pytest.raises(ValueError, match=f"a channel_boost stage has {field} 1, given {given}"):
        Stage(block=ChannelBoost(width=8), **{field: given})


def test_a_network_is_boosted_once() -> None:
    with pytest.raises(ArchitectureError, match="boosted already"):
        boosted(boosted(network(), learner="random"))
    with pytest.raises(ArchitectureError, match="learner: Input should be 'autoencoder' or 'random'"):
        boosted(network(), learner="guessed")  # type: ignore[arg-type]
    grouped = network(stages=(Stage(block=Conv(width=9, groups=3)),))
    with pytest.raises(ArchitectureError, match="groups 3 must divide both"):
        boosted(grouped)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_references_can_be_boosted(name: str) -> None:
    plain = reference(name, num_classes=10, resolution=32)
    assert boosted(plain).stem[1:] == plain.stem
    assert cost(boosted(plain)).params > cost(plain).params + LEARNER


@pytest.mark.parametrize("task", [Task(), Task(1, 8, 10), Task(3, 96, 5)])
def test_cifar_samples_it_as_one_choice_among_others(task: Task) -> None:
    space, rng = find_space("cifar"), random.Random(0)
    seen = set()
    for _ in range(8):
        choices = space.random(rng)
        seen.add(choices["channel_boosting"])
        plain = space.base({**choices, "channel_boosting": "none"}, task)
        boost = space.base({**choices, "channel_boosting": "autoencoder"}, task)
        block = ChannelBoost(width=8, activation=choices["activation"])  # type: ignore[arg-type]
        assert boost == plain.changed(stem=(Stage(block=block), *plain.stem))
    assert seen == {"none", "autoencoder"}
