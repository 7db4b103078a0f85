"""Convolutions of any shape that a search can draw are computed rightly on this CPU, in what they are trained in."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from nas.training.device import fast_bfloat16
from nas.training.precision import wrong_in_bfloat16
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Residual
from searchspace.layers import convolution

CHANNELS = [1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 224]
KERNELS = [1, 1, 2, 3, 3, 4, 5, 7, 11, (1, 3), (7, 1)]
SIDES = [1, 2, 4, 7, 8, 14, 16, 24, 28, 32, 33, 48, 56, 64]
MOST = 500_000  # numbers of a map, or a hundredth of its multiplications


def shapes(count: int, seed: int) -> list[tuple[nn.Conv2d, tuple[int, ...]]]:
    """Random convolutions, as blocks make them, each with the shape of its inputs."""
    draw, drawn = random.Random(seed), []
    while len(drawn) < count:
        inputs, outputs, kernel, side = (draw.choice(options) for options in (CHANNELS, CHANNELS, KERNELS, SIDES))
        groups, stride, dilation = draw.choice([1, 1, 1, 4, inputs]), draw.choice([1, 2, 2, 4]), draw.choice([1, 1, 2])
        if groups == inputs:
            outputs = inputs
        images = draw.choice([1, 2, 3, 8])
        area = images * side**2
        if kernel in (2, 4) and side < dilation * kernel:  # which have too little padding
            continue
        if inputs % groups or outputs % groups or area * max(inputs, outputs) > MOST:
            continue
        if area * inputs * outputs // groups // stride**2 > 100 * MOST:
            continue
        layer = convolution(inputs, outputs, kernel, stride=stride, groups=groups, dilation=dilation)[0]
        assert isinstance(layer, nn.Conv2d)
        drawn.append((layer, (images, inputs, side, side)))
    return drawn


def results(
    forward: Callable[[Tensor], Tensor],
    layer: nn.Conv2d,
    shape: tuple[int, ...],
    form: torch.memory_format,
    *,
    bfloat16: bool,
) -> list[Tensor]:
    """The outputs, and the gradients of the inputs and of the weights."""
    layer.zero_grad()
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=numbers).bfloat16().float().contiguous(memory_format=form).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = forward(x)
    towards = torch.randn(y.shape, generator=numbers).bfloat16().float().contiguous(memory_format=form)
    (y.float() * towards).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    return [y.detach().float(), x.grad, layer.weight.grad.clone()]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_convolutions_are_computed_rightly_in_every_precision_that_serves_them(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchspace.cpu.AMX", True)  # narrow maps beside each other are right on any CPU
    for layer, shape in shapes(200, seed):
        right = results(partial(nn.Conv2d.forward, layer), layer, shape, torch.contiguous_format, bfloat16=False)
        layer.to(memory_format=torch.channels_last)
        for bfloat16 in (False, True):
            if bfloat16 and (not fast_bfloat16(torch.device("cpu")) or wrong_in_bfloat16(layer, shape[2:])):
                continue
            for mine, theirs in zip(
                results(layer, layer, shape, torch.channels_last, bfloat16=bfloat16), right, strict=True
            ):
                error = (mine - theirs).norm() / (theirs.norm() + theirs.numel() ** 0.5 / 10)
                assert error < (0.03 if bfloat16 else 1e-4), (layer, shape, bfloat16)


@pytest.mark.slow
def test_a_shortcut_of_few_channels_over_large_maps_leaves_memory_alone() -> None:
    """With torch's own, the process ends after some steps."""
    stages = (Stage(block=Residual(width=16), stride=2),)
    architecture = Architecture(resolution=64, stem=(Stage(block=Conv(width=8)),), stages=stages)
    network = build(architecture).to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    for _ in range(60):
        network(x).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
