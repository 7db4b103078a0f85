"""Convolutions over narrow maps give what torch's own give, with images beside each other as on a CPU with AMX."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_cpu import check_gradients, images
from torch import nn

from searchspace.narrow_maps import Convolution


@pytest.fixture
def no_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lays images beside each other, or takes maps for rows, raises."""
    monkeypatch.delattr("searchspace.narrow_maps._lay")
    monkeypatch.delattr("searchspace.narrow_maps._as_rows")


# kernel, dilation, strides; torch is wrong about dilated ones with strides in bfloat16, whatever the layout
KERNELS = [
    (1, 1, [1, 2]),
    (3, 1, [1, 2, (2, 1)]),
    (5, 1, [1, 2]),
    ((1, 7), 1, [1, 2]),
    ((7, 1), 1, [1, 2]),
    (3, 2, [1]),
]
CASES = [(kernel, dilation, stride) for kernel, dilation, strides in KERNELS for stride in strides]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "dilation", "stride"), CASES)
@pytest.mark.parametrize("batch", [5, 12, 128])
@pytest.mark.parametrize("sides", [(2, 2), (4, 4), (7, 3), (3, 7)])
def test_a_convolution_over_narrow_maps_gives_torchs_outputs_and_gradients(
    sides: tuple[int, int], batch: int, kernel: Any, dilation: int, stride: Any, bias: bool
) -> None:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2 * dilation, width // 2 * dilation)
    arguments = (48, 64, kernel, stride, padding, dilation, 1, bias)
    check_gradients((Convolution(*arguments), nn.Conv2d(*arguments)), (batch, 48, *sides), bfloat16=True)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_groups_give_torchs_outputs_and_gradients(kernel: int, stride: int) -> None:
    arguments = (48, 64, kernel, stride, kernel // 2, 1, 8)
    check_gradients((Convolution(*arguments), nn.Conv2d(*arguments)), (12, 48, 4, 4), bfloat16=True)


def test_maps_of_one_pixel_give_torchs_outputs_and_gradients() -> None:
    for kernel in (1, 3):
        arguments = (48, 64, kernel, 1, kernel // 2)
        check_gradients((Convolution(*arguments), nn.Conv2d(*arguments)), (128, 48, 1, 1), bfloat16=True)


@pytest.mark.parametrize("arguments", [(64, 64, 3, 1, 1), (64, 64, 1), (64, 64, 3, 2, 1)])
def test_images_stand_beside_each_other_in_bfloat16_alone(no_places: None, arguments: tuple[int, ...]) -> None:
    layer, x = Convolution(*arguments), images(4, 64, 4, 4)
    layer(x)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(NameError):
        layer(x)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ((16, 16, 3, 1, 1), (4, 16, 4, 4)),  # the copies would take as long as the products
        ((512, 512, 3, 1, 1), (4, 512, 11, 11)),
        ((512, 512, 1, 1, 0), (4, 512, 5, 5)),
        ((64, 64, 3, 1, 0), (4, 64, 4, 4)),
        ((64, 64, 2, 1, 1), (4, 64, 4, 4)),
    ],
)
def test_what_would_not_gain_is_torchs_own(no_places: None, arguments: tuple[int, ...], shape: tuple[int, ...]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        Convolution(*arguments)(images(*shape))


def test_what_has_no_gradients_is_torchs_own(no_places: None) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        Convolution(64, 64, 3, 1, 1)(images(4, 64, 4, 4))


def test_maps_that_are_not_channels_last_are_torchs_own(no_places: None) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        Convolution(64, 64, 3, 1, 1)(torch.randn(4, 64, 4, 4))


def test_a_frozen_kernel_gets_no_gradient() -> None:
    layer, x = Convolution(64, 64, 3, 1, 1).requires_grad_(False), images(4, 64, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None
