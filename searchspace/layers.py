"""Layers by name: what torchvision.ops has comes from there."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.ops import SqueezeExcitation, StochasticDepth

from searchspace.cpu import GlobalAveragePool, convolution_class
from searchspace.record import ActivationName, NormName

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "relu6": partial(nn.ReLU6, inplace=True),
    "leaky_relu": partial(nn.LeakyReLU, 0.1, inplace=True),
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def activation_layer(name: ActivationName) -> Callable[[], nn.Module] | None:
    return None if name == "none" else ACTIVATIONS[name]


def activation(name: ActivationName) -> nn.Module:
    return nn.Identity() if name == "none" else ACTIVATIONS[name]()


def norm_layer(name: NormName, eps: float, momentum: float) -> Callable[[int], nn.Module] | None:
    """Batch normalisation, or group normalisation (Wu and He 2018) over at most 32 groups of at least 8 channels."""
    if name == "none":
        return None
    if name == "batch":
        return partial(nn.BatchNorm2d, eps=eps, momentum=momentum)
    return lambda channels: nn.GroupNorm(_groups(channels), channels, eps=eps)


def _groups(channels: int) -> int:
    """Groups of one channel would normalise a map of one pixel to nothing."""
    return math.gcd(32, channels // 8) if channels % 8 == 0 else 1


def convolution(
    in_channels: int,
    width: int,
    kernel_size: int | tuple[int, int] = 3,
    *,
    stride: int = 1,
    padding: int | tuple[int, int] | None = None,
    groups: int = 1,
    dilation: int = 1,
    bias: bool = False,
    norm: Callable[[int], nn.Module] | None = None,
    activation: ActivationName = "none",
) -> nn.Sequential:
    """Convolution, normalisation, activation; `padding=None` keeps the size at stride 1 for odd kernels."""
    height, breadth = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    if padding is None:
        padding = ((height - 1) // 2 * dilation, (breadth - 1) // 2 * dilation)
    kind = convolution_class(in_channels, (height, breadth), stride, padding, groups)
    layers = nn.Sequential(kind(in_channels, width, (height, breadth), stride, padding, dilation, groups, bias))
    if norm is not None:
        layers.append(norm(width))
    if (named := activation_layer(activation)) is not None:
        layers.append(named())
    initialise(layers)
    return layers


def squeeze_excite(channels: int, ratio: float, of: int, name: ActivationName) -> nn.Module:
    """Squeeze-and-excitation (Hu et al. 2018) with `ratio * of` squeezed channels; identity at ratio 0."""
    if ratio == 0:
        return nn.Identity()
    inner = nn.ReLU if name == "none" else ACTIVATIONS[name]
    layer = SqueezeExcitation(channels, max(1, int(ratio * of)), activation=inner)
    layer.avgpool = GlobalAveragePool()
    initialise(layer)
    return layer


def drop_path(rate: float) -> nn.Module:
    return StochasticDepth(rate, "row") if rate > 0 else nn.Identity()


class Normalised(nn.Sequential):
    """Normalisation and activation alone, as before a pre-activation convolution; leaves its input as it is."""

    def __init__(self, channels: int, norm: Callable[[int], nn.Module] | None, name: ActivationName) -> None:
        layer = activation(name)
        if norm is None and hasattr(layer, "inplace"):
            setattr(layer, "inplace", False)  # noqa: B010  # torch's stubs know no such field; the shortcut needs x
        super().__init__(*([] if norm is None else [norm(channels)]), layer)


def zero_last_norm(branch: nn.Module) -> None:
    """Start a residual branch at zero (Goyal et al. 2017), if it ends in a normalisation."""
    norms = [m for m in branch.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    if norms:
        nn.init.zeros_(norms[-1].weight)


def initialise(module: nn.Module) -> None:
    """Start convolutions as He et al. 2015 (fan out) with zero biases; other layers keep torch's own start."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
