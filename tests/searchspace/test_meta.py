"""What is spared on the meta device changes no count and hides no mistake."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import searchspace
from searchspace import Task
from searchspace.cost import _count
from searchspace.meta import MacCounter, ShapesAlone, Unfilled
from searchspace.network import Network, outline
from searchspace.spaces import SPACES

TASK = Task(channels=3, resolution=32, classes=10)


def plain_counts(architecture: searchspace.Architecture) -> tuple[int, int, int]:
    """Parameters, MACs and activations by torch alone."""
    with torch.device("meta"):
        network = Network(architecture).eval()
    activations = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal activations
        activations += output.numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(add)
    side = architecture.resolution
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(2, architecture.channels, side, side, device="meta"))
    params = sum(parameter.numel() for parameter in network.parameters())
    return params, counter.get_total_flops() // 4, activations // 2


@pytest.mark.parametrize("space", ["tiny", "cifar", "mobile"])
def test_samples_cost_what_torch_counts(space: str) -> None:
    rng = random.Random(1)
    for _ in range(6):
        architecture = SPACES[space].decode(SPACES[space].random(rng), TASK)
        cost = _count.__wrapped__(architecture, 10**9)
        assert (cost.params, cost.macs, cost.activations) == plain_counts(architecture)


@pytest.mark.parametrize("name", ["lenet5", "densenet121", "efficientnet_b0", "inception_v3"])
def test_references_cost_what_torch_counts(name: str) -> None:
    architecture = searchspace.reference(name)
    cost = searchspace.cost(architecture)
    assert (cost.params, cost.macs, cost.activations) == plain_counts(architecture)


def test_operations_beside_layers_are_counted_too() -> None:
    x = torch.empty(1, 8, 4, 4, device="meta")
    with MacCounter() as counter:
        torch.matmul(x, x)
        functional.scaled_dot_product_attention(x, x, x)
    assert counter.macs == 3 * 8 * 4 * 4 * 4


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(16), nn.GroupNorm(2, 16)])
def test_a_norm_of_other_channels_still_fails(norm: nn.Module) -> None:
    with torch.no_grad(), ShapesAlone():
        assert norm.eval().to("meta")(torch.empty(1, 16, 4, 4, device="meta")).shape == (1, 16, 4, 4)
        with pytest.raises(RuntimeError):
            norm(torch.empty(1, 8, 4, 4, device="meta"))


def test_an_outline_has_the_names_and_shapes_of_the_network() -> None:
    architecture = SPACES["cifar"].decode(SPACES["cifar"].random(random.Random(2)), TASK)
    built = searchspace.build(architecture).state_dict()
    assert {name: value.shape for name, value in outline(architecture).state_dict().items()} == {
        name: value.shape for name, value in built.items()
    }


def test_nothing_is_filled_inside_and_everything_outside() -> None:
    with Unfilled():
        kept = nn.init.constant_(torch.zeros(3), 7.0)
    assert kept.tolist() == [0.0, 0.0, 0.0]
    assert nn.init.constant_(kept, 7.0).tolist() == [7.0, 7.0, 7.0]
