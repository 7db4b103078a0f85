"""Published networks that torchvision lacks, or that need every field: their sizes, and timm's logits."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import timm
import torch
from timm.layers.conv_bn_act import ConvNormAct
from timm.models.inception_resnet_v2 import Block8, Block17, Block35, Mixed_5b, Mixed_6a, Mixed_7a
from torch import Tensor, nn

from searchspace import build, cost, scale
from searchspace.blocks import BlockContext
from searchspace.layers import norm_layer
from searchspace.network import outline
from searchspace.references.inception import inception_v3
from searchspace.references.inception_resnet import inception_resnet_v2
from searchspace.references.resnet import RESNETS

PUBLISHED = {
    "inception_v3": (inception_v3, 23_834_568),
    "inception_resnet_v2": (inception_resnet_v2, 55_843_464),
    "resnet20": (RESNETS["resnet20"], 269_722),
    "resnet56": (RESNETS["resnet56"], 853_018),
    "resnet110": (RESNETS["resnet110"], 1_727_962),
    "wrn_16_8": (RESNETS["wrn_16_8"], 10_961_370),
    "wrn_28_10": (RESNETS["wrn_28_10"], 36_479_194),
    "resnext29_8x64d": (RESNETS["resnext29_8x64d"], 34_426_698),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_number_of_parameters(name: str) -> None:
    make, params = PUBLISHED[name]
    assert sum(parameter.numel() for parameter in outline(make()).parameters()) == params


@pytest.mark.parametrize("name", ["inception_v3", "resnet20", "wrn_16_8", "resnext29_8x64d"])
def test_published_networks_scale(name: str) -> None:
    architecture = PUBLISHED[name][0]()
    assert cost(scale(architecture, width=1.5, depth=2.0)).params > 3 * cost(architecture).params


def randomise_norms(module: nn.Module) -> None:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.running_mean, -0.2, 0.2),
                (norm.running_var, 0.5, 1.5),
                (norm.weight, 0.5, 1.5),
                (norm.bias, -0.2, 0.2),
            ):
                assert tensor is not None
                nn.init.uniform_(tensor, low, high)


@torch.no_grad()
def difference(ours: nn.Module, other: nn.Module, x: Tensor, *, load: bool = True) -> float:
    """Largest difference of the outputs as a share of the largest, with the other's tensors in our module, in order."""
    if load:
        ours.load_state_dict(dict(zip(ours.state_dict(), other.state_dict().values(), strict=True)))
    expected = other(x)
    return ((ours(x) - expected).abs().max() / expected.abs().max()).item()


def overwritten(ours: nn.Module, other: nn.Module, x: Tensor, places: list[int]) -> list[float]:
    """The differences when single convolutions of ours have other weights of the same scale."""
    differences = []
    for place in places:
        weight = [module for module in ours.modules() if isinstance(module, nn.Conv2d)][place].weight
        kept = weight.detach().clone()
        weight.data = torch.randn_like(kept) * kept.std()
        differences.append(difference(ours, other, x, load=False))
        weight.data = kept
    return differences


timms_layer = partial(ConvNormAct, padding=0, norm_kwargs={"eps": 1e-3})


@pytest.mark.parametrize(
    ("stage", "make", "channels"),
    [
        (0, Mixed_5b, 192),
        (1, partial(Block35, 0.17), 320),
        (2, Mixed_6a, 320),
        (3, partial(Block17, 0.1), 1088),
        (4, Mixed_7a, 1088),
        (5, partial(Block8, 0.2), 2080),
        (6, partial(Block8, no_relu=True), 2080),
    ],
)
def test_every_module_of_inception_resnet_v2_is_timms(stage: int, make: Any, channels: int) -> None:
    torch.manual_seed(0)
    record = inception_resnet_v2().stages[stage]
    context = BlockContext(record.stride, 0, 0.0, partial(norm_layer, eps=1e-3, momentum=0.1))
    ours = record.block.build(channels, context).double().eval()
    other = make(conv_block=timms_layer).double().eval()
    randomise_norms(other)
    x = torch.randn(2, channels, 9, 9, dtype=torch.float64)
    assert difference(ours, other, x) < 1e-12
    count = sum(isinstance(module, nn.Conv2d) for module in ours.modules())
    assert min(overwritten(ours, other, x, list(range(count)))) > 1e-4


@pytest.mark.slow
def test_inception_resnet_v2_gives_timms_logits() -> None:
    """From timm's random weights, paired in order; float64, 80 pixels. Any 20 convolutions overwritten are noticed."""
    torch.manual_seed(0)
    other = timm.create_model("inception_resnet_v2", pretrained=False).double().eval()
    randomise_norms(other)
    ours = build(inception_resnet_v2()).double().eval()
    x = torch.randn(1, 3, 80, 80, dtype=torch.float64)
    assert difference(ours, other, x) < 1e-6
    count = sum(isinstance(module, nn.Conv2d) for module in ours.modules())
    assert count == sum(isinstance(module, nn.Conv2d) for module in other.modules())
    assert min(overwritten(ours, other, x, list(range(0, count, count // 20)))) > 1e-4
