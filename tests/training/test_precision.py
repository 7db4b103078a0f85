"""bfloat16 is used where it is fast and right."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.training import precision
from nas.training.precision import bfloat16_serves


@pytest.fixture(autouse=True)
def a_device_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: True)


def strided(kernel_size: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, kernel_size, stride, kernel_size // 2), nn.BatchNorm2d(2)).train()


@pytest.mark.parametrize(
    ("kernel_size", "stride", "pixels", "serves"),
    [(3, 2, 1, False), (5, 2, 1, False), (3, 1, 1, True), (1, 2, 1, True), (3, 2, 2, True), (3, 2, 8, True)],
)
def test_a_strided_convolution_over_single_pixels_is_trained_in_float32_on_the_cpu(
    kernel_size: int, stride: int, pixels: int, serves: bool
) -> None:
    network = strided(kernel_size, stride)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert bfloat16_serves(network, torch.ones(1, 1, pixels, pixels)) is serves
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_device_that_is_slow_at_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: False)
    assert not bfloat16_serves(strided(3, 1), torch.ones(1, 1, 8, 8))
