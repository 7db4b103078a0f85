"""Cost is counted on the network itself: exact, free, and the same as on a network that really runs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from searchspace import Architecture, ArchitectureError, Cost, Head, Stage, build, cost, reference
from searchspace.blocks import Block, Conv, ConvLayer, Dense, Inception, MBConv, Pool, PoolLayer, Residual

FAMILIES: dict[str, Block] = {
    "conv": Conv(width=16, groups=4),
    "separable": Conv(width=16, separable=True, bias=True, squeeze_excite=0.5),
    "pool": Pool(kernel_size=3),
    "inception": Inception(branches=((ConvLayer(width=8, kernel_size=(1, 3)),), (PoolLayer(), ConvLayer(width=4)))),
    "residual": Residual(width=16, bottleneck=0.5, cardinality=2, squeeze_excite=0.25),
    "dense": Dense(growth_rate=8, compression=0.5),
    "mbconv": MBConv(width=24),
}


def test_a_small_network_costs_what_a_hand_counts() -> None:
    architecture = Architecture(
        resolution=8,
        classes=10,
        stages=(Stage(block=Conv(width=4), stride=2), Stage(block=Conv(width=6, kernel_size=1, bias=True))),
        head=Head(hidden=(5,)),
    )
    params = (3 * 4 * 9 + 2 * 4) + (4 * 6 + 6 + 2 * 6) + (6 * 5 + 5) + (5 * 10 + 10)
    macs = 16 * 3 * 4 * 9 + 16 * 4 * 6 + 6 * 5 + 5 * 10  # 4x4 pixels behind stride 2
    assert cost(architecture) == Cost(params=params, macs=macs, activations=16 * 4 + 16 * 6 + 5 + 10)


def counted_while_running(architecture: Architecture) -> Cost:
    """The same three counts by other means: hooks on a real network with real images."""
    macs = activations = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal macs, activations
        activations += output.numel()
        assert isinstance(module, nn.Conv2d | nn.Linear)
        macs += output.numel() * module.weight[0].numel()

    network = build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, architecture.channels, architecture.resolution, architecture.resolution))
    return Cost(sum(p.numel() for p in network.parameters() if p.requires_grad), macs, activations)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(list(FAMILIES)), min_size=1, max_size=4), st.sampled_from([16, 19, 32]))
def test_cost_on_the_meta_device_is_that_of_a_network_that_runs(kinds: list[str], resolution: int) -> None:
    stem = (Stage(block=Conv(width=8)),)
    stages: list[Stage] = []
    channels = 8
    for number, kind in enumerate(kinds):
        # Fitted: a dense stage may leave channels that the groups do not divide.
        stages.append(Stage(block=FAMILIES[kind].fitted(channels), stride=1 + number % 2))
        channels = stages[-1].out_channels(channels)
    architecture = Architecture(resolution=resolution, stem=stem, stages=tuple(stages))
    assert cost(architecture) == counted_while_running(architecture)


def test_references_cost_what_they_cost_while_running() -> None:
    for name in ("googlenet", "densenet121", "efficientnet_b0"):
        architecture = reference(name, num_classes=10, resolution=64)
        assert cost(architecture) == counted_while_running(architecture)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_too_small_images_are_named_with_their_resolution(norm: str) -> None:
    block = Conv(width=8, kernel_size=5, padding=0, norm=norm)  # type: ignore[arg-type]
    architecture = Architecture(resolution=8, stages=(Stage(block=block, depth=2),))
    with pytest.raises(ArchitectureError, match="images of 8 pixels are too small") as caught:
        cost(architecture)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()
    assert cost(architecture.changed(resolution=9)).macs > 0


def test_macs_grow_with_the_square_of_width_and_of_resolution() -> None:
    def deep(width: int, resolution: int) -> Cost:
        return cost(Architecture(resolution=resolution, stages=(Stage(block=Residual(width=width), depth=8),)))

    base = deep(32, 32)
    assert deep(64, 32).macs / base.macs == pytest.approx(4, rel=0.02)
    assert deep(64, 32).activations / base.activations == pytest.approx(2, rel=0.001)
    assert deep(32, 64).macs / base.macs == pytest.approx(4, rel=0.001)
    assert deep(32, 64).params == base.params


def test_cost_draws_no_random_numbers_and_leaves_no_hooks() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    architecture = reference("resnet18", num_classes=3)
    cost(architecture)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(1)
    first = build(architecture).state_dict()
    torch.manual_seed(1)
    cost(reference("resnet18", num_classes=4))  # other classes: the first count is cached
    again = build(architecture).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
