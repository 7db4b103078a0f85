"""Controls of the comparison that proves the references: what a wrong network would show."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import references as proof
from searchspace import Head, reference


class Compared:
    """Torchvision's network, and ours with its weights."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pixels = 96 if name == "alexnet" else 33
        self.theirs = proof.counterpart(name, seed=1, pixels=self.pixels, classes=7)
        self.state = {key: value.clone() for key, value in self.theirs.state_dict().items()}

    def ours(self, **changes: object) -> Any:
        return proof.ours(self.name, self.state, 7, **changes)

    def differences(self, network: nn.Module) -> proof.Differences:
        theirs = copy.deepcopy(self.theirs)  # the comparison trains it
        return proof.compare(self.name, network, theirs, self.pixels)


def only(differences: proof.Differences, *fields: str) -> None:
    """These differ plainly, the others not at all."""
    for field, value in differences._asdict().items():
        assert (value > 1000 * proof.LIMIT) if field in fields else (value < proof.LIMIT), (field, value)


@pytest.fixture(scope="module")
def resnet18() -> Compared:
    return Compared("resnet18")


def test_equal_networks_differ_in_nothing(resnet18: Compared) -> None:
    only(resnet18.differences(resnet18.ours()))


def test_a_shortcut_without_gradient_shows_in_the_gradients_alone(resnet18: Compared) -> None:
    network = resnet18.ours()
    network.stages[2][1].shortcut.register_forward_hook(lambda module, inputs, output: output.detach())
    only(resnet18.differences(network), "gradient")


def test_another_activation_shows(resnet18: Compared) -> None:
    network = resnet18.ours()
    network.stages[3][0].activation = nn.LeakyReLU(0.01)
    only(resnet18.differences(network), "logits", "gradient", "chance", "statistics")


def test_a_stride_in_another_convolution_shows(resnet18: Compared) -> None:
    network = resnet18.ours()
    first, second = (layer[0] for layer in network.stages[1][0].branch)
    assert (first.stride, second.stride) == ((2, 2), (1, 1))
    first.stride, second.stride = second.stride, first.stride
    only(resnet18.differences(network), "logits", "gradient", "chance", "statistics")


def test_two_gradients_in_each_others_place_show(resnet18: Compared, monkeypatch: pytest.MonkeyPatch) -> None:
    network, paired = resnet18.ours(), proof.paired
    first, second = "stages.0.0.branch.0.0.weight", "stages.0.0.branch.1.0.weight"

    def swapped(*arguments: Any) -> dict[str, Tensor]:
        pairs = paired(*arguments)
        return pairs | {first: pairs[second], second: pairs[first]}

    monkeypatch.setattr(proof, "paired", swapped)
    only(resnet18.differences(network), "gradient")


@pytest.mark.parametrize(
    ("name", "changes", "shows"),
    [
        ("efficientnet_b0", {"drop_path": 0.1}, ["chance", "statistics"]),
        ("mobilenet_v2", {"norm_eps": 1e-3}, ["logits", "gradient", "chance", "statistics"]),
        ("mobilenet_v2", {"norm_momentum": 0.01}, ["statistics"]),
        ("mobilenet_v2", {"head": {"dropout": 0.25}}, ["chance"]),
        pytest.param("alexnet", {"head": {"dropout_place": "after"}}, ["chance"], marks=pytest.mark.slow),
        pytest.param("vgg11", {"head": {"dropout_place": "before"}}, ["chance"], marks=pytest.mark.slow),
    ],
)
def test_another_setting_shows_where_it_acts(name: str, changes: dict, shows: list[str]) -> None:
    compared = Compared(name)
    if "head" in changes:
        head = reference(name).head
        changes = {"head": Head(**(dict(head) | changes["head"]))}
    only(compared.differences(compared.ours(**changes)), *shows)


@pytest.mark.parametrize(
    "pair",
    [
        ("layer1.0.conv1.weight", "layer1.0.conv2.weight"),
        ("layer1.0.bn1.weight", "layer1.0.bn2.weight"),
        ("bn1.running_mean", "bn1.bias"),
        ("layer2.0.bn2.weight", "layer2.0.downsample.1.weight"),
    ],
)
def test_two_tensors_of_one_shape_in_each_others_place_are_noticed(resnet18: Compared, pair: tuple[str, str]) -> None:
    first, second = pair
    swapped = resnet18.state | {first: resnet18.state[second], second: resnet18.state[first]}
    x = proof.images("resnet18", 2, 33)
    expected = proof.logits(resnet18.ours(), x)
    assert proof.relative_difference(proof.logits(proof.ours("resnet18", swapped, 7), x), expected) > 1e-3


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def differences_with_one_convolution_overwritten(
    network: nn.Module, places: list[int], x: Tensor, expected: Tensor
) -> Iterator[float]:
    generator = torch.Generator().manual_seed(3)
    for place in places:
        weight = convolutions(network)[place].weight
        kept = weight.detach().clone()
        weight.data.copy_(torch.randn(kept.shape, dtype=kept.dtype, generator=generator) * kept.std())
        yield proof.relative_difference(proof.logits(network, x), expected)
        weight.data.copy_(kept)


@pytest.mark.parametrize("name", ["googlenet", "mobilenet_v2", "resnet20"])
def test_an_overwritten_convolution_is_noticed(name: str) -> None:
    """The first, the middle and the last."""
    theirs = proof.counterpart(name)
    network, x = proof.ours(name, theirs.state_dict()), proof.images(name, 2)
    count = len(convolutions(network))
    assert count == len(convolutions(theirs))
    expected = proof.logits(theirs, x)
    for difference in differences_with_one_convolution_overwritten(network, [0, count // 2, count - 1], x, expected):
        assert difference > 1000 * proof.LIMIT
    assert proof.relative_difference(proof.logits(network, x), expected) < proof.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["googlenet", "resnet18", "resnet20", "densenet121", "mobilenet_v2", "mnasnet0_5", "efficientnet_b0"]
)
def test_every_overwritten_convolution_is_noticed(name: str) -> None:
    """Each convolution of the other network in turn, and of ours."""
    theirs = proof.counterpart(name, seed=2)
    network, x = proof.ours(name, theirs.state_dict()), proof.images(name, 2)
    expected = proof.logits(theirs, x)
    for whose in (theirs, network):
        places = list(range(len(convolutions(whose))))
        for place, difference in enumerate(differences_with_one_convolution_overwritten(whose, places, x, expected)):
            assert difference > 1000 * proof.LIMIT, f"convolution {place} of {name}"
        assert proof.relative_difference(proof.logits(whose, x), expected) < proof.LIMIT
