"""The layers that take another way on CPUs give what torch's own give, in a form that other layers are fast at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searchspace import Architecture, Head, Stage, build
from searchspace.blocks import ConvLayer, Dense, Inception, MBConv, PoolLayer
from searchspace.cpu import AveragePool, Depthwise, GlobalAveragePool, Pointwise, concatenate
from searchspace.layers import convolution
from searchspace.narrow_maps import Convolution


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def gradients(module: nn.Module, x: Tensor, *, bfloat16: bool) -> list[Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        y = module(x)
    y.float().square().sum().backward()
    assert x.grad is not None
    return [y, x.grad, *(parameter.grad for parameter in module.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3), (7, 0), ((5, 1), (2, 0)), ((1, 4), (0, 1))])
@pytest.mark.parametrize("width", [6, 12])
def test_a_depthwise_convolution_gives_torchs_gradients(
    width: int, kernel: Any, padding: Any, stride: Any, dilation: int, bias: bool, bfloat16: bool
) -> None:
    arguments = (6, width, kernel, stride, padding, dilation, 6, bias)
    shape = (2, 6, 15, 14)  # the last columns of some kernels see nothing but padding
    check_gradients((Depthwise(*arguments), nn.Conv2d(*arguments)), shape, bfloat16=bfloat16)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (7, 3), (3, 2), ((5, 1), (2, 0))])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 3), (4, 4), (3, 6)])
def test_a_depthwise_kernel_that_is_larger_than_its_inputs_gets_torchs_gradients(
    shape: tuple[int, int], kernel: Any, padding: Any, stride: int, bfloat16: bool
) -> None:
    arguments = (6, 6, kernel, stride, padding, 1, 6, False)
    check_gradients((Depthwise(*arguments), nn.Conv2d(*arguments)), (2, 6, *shape), bfloat16=bfloat16)


def check_gradients(pair: tuple[nn.Module, nn.Module], shape: tuple[int, ...], *, bfloat16: bool) -> None:
    ours, torchs = pair
    torchs.load_state_dict(ours.state_dict())
    pairs = zip(
        gradients(ours, images(*shape), bfloat16=bfloat16),
        gradients(torchs, images(*shape), bfloat16=bfloat16),
        strict=True,
    )
    for mine, theirs in pairs:
        error = (mine.float() - theirs.float()).norm() / theirs.float().norm()
        assert error < (0.02 if bfloat16 else 1e-5)


def test_a_depthwise_convolution_is_torchs_own_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Depthwise(8, 8, 5, 2, 2, groups=8), images(2, 8, 8, 8)
    monkeypatch.delattr("searchspace.cpu._Depthwise")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer(x).grad_fn is None
    with pytest.raises(NameError):
        layer(x)


def test_a_frozen_depthwise_kernel_gets_no_gradient() -> None:
    layer, x = Depthwise(8, 8, 5, 2, 2, groups=8).requires_grad_(False), images(2, 8, 8, 8)
    layer(x).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is None


@pytest.mark.parametrize(("stride", "dtype"), [(1, torch.bfloat16), (2, torch.bfloat16), (3, torch.float32)])
def test_a_depthwise_convolution_of_a_large_stride_is_computed_in_float32(stride: int, dtype: torch.dtype) -> None:
    layer = Depthwise(8, 8, 3, stride, 1, groups=8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(images(2, 8, 8, 8, dtype=torch.bfloat16)).dtype == dtype


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
def test_a_strided_1x1_convolution_gives_torchs_gradients(stride: Any, bias: bool) -> None:
    arguments = (6, 10, 1, stride, 0, 1, 1, bias)
    check_gradients((Pointwise(*arguments), nn.Conv2d(*arguments)), (2, 6, 7, 10), bfloat16=False)


@pytest.mark.parametrize(
    ("in_channels", "kernel_size", "settings", "kind"),
    [
        (8, 1, {"stride": 2}, Pointwise),
        (8, 1, {"stride": 2, "padding": 0}, Pointwise),
        (8, 1, {}, nn.Conv2d),
        (8, 1, {"stride": 2, "padding": 1}, nn.Conv2d),
        (8, 1, {"stride": 2, "groups": 2}, nn.Conv2d),
        (8, 3, {"stride": 2}, nn.Conv2d),
        (16, 1, {"stride": 2}, nn.Conv2d),
        (16, 3, {"groups": 16}, Depthwise),
        (1, 3, {}, nn.Conv2d),
    ],
)
def test_convolutions_that_torch_is_right_and_fast_at_are_torchs(
    in_channels: int, kernel_size: int, settings: dict[str, int], kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("searchspace.cpu.AMX", False)
    assert type(convolution(in_channels, 16, kernel_size, **settings)[0]) is kind
    monkeypatch.setattr("searchspace.cpu.AMX", True)
    kind = Convolution if kind is nn.Conv2d else kind
    assert type(convolution(in_channels, 16, kernel_size, **settings)[0]) is kind


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("ours", "torchs"),
    [
        (GlobalAveragePool(), nn.AdaptiveAvgPool2d(1)),
        *(
            (AveragePool(*arguments), nn.AvgPool2d(*arguments))
            for arguments in [
                (2, 2),
                (3, 3),
                (4, 4, 0, True),
                (3, 1, 1),
                (5, 1, 2, False, False),
                (3, 1, 1, True, False),
                (3, 2, 1),
                (2, 1),
                (2, 2, 1),
            ]
        ),
    ],
    ids=str,
)
def test_means_have_torchs_values_and_gradients_that_lie_as_the_inputs_do(
    ours: nn.Module, torchs: nn.Module, last: bool
) -> None:
    kept: list[Tensor] = []

    def given(pool: nn.Module) -> tuple[Tensor, Tensor]:
        x = images(2, 8, 6, 9).detach()
        x = (x if last else x.contiguous()).requires_grad_()
        inner = x * 1
        inner.register_hook(kept.append)
        y = pool(inner)
        (y * torch.arange(float(y.numel())).view(y.shape)).sum().backward()
        assert x.grad is not None
        return y, x.grad

    for mine, theirs in zip(given(ours), given(torchs), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert kept[0].is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def test_parts_set_beside_each_other_get_dense_gradients() -> None:
    parts = [images(4, channels, 6, 6) for channels in (3, 5)]
    seen: list[Tensor] = []
    inner = [part * 1 for part in parts]
    joined = concatenate(inner)
    for part in inner:
        part.register_hook(lambda gradient: seen.append(gradient) or gradient)
    torch.testing.assert_close(joined, torch.cat(inner, 1))
    (joined * torch.arange(8.0)[:, None, None]).sum().backward()
    assert [gradient.is_contiguous(memory_format=torch.channels_last) for gradient in seen] == [True, True]
    for part, channels in zip(parts, (range(3), range(3, 8)), strict=True):
        expected = torch.tensor([float(channel) for channel in channels])[None, :, None, None].expand_as(part)
        assert torch.equal(part.grad, expected)


def test_networks_are_built_of_them() -> None:
    stages = (
        Stage(block=MBConv(width=8, squeeze_excite=0.25), stride=2),
        Stage(block=Dense(growth_rate=4)),
        Stage(block=Inception(width=8, branches=((ConvLayer(width=1),), (PoolLayer(operation="average"),)))),
    )
    network = build(Architecture(resolution=16, stages=stages, head=Head()))
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(Depthwise) == 1
    assert kinds.count(GlobalAveragePool) == 2, "squeeze-and-excitation's and the head's"
    assert kinds.count(AveragePool) == 1
    assert not {nn.AdaptiveAvgPool2d, nn.AvgPool2d} & set(kinds)
