"""Classical networks that torchvision lacks, in plain PyTorch, written from their papers to compare references with.

Nothing here comes from `searchspace`: convolutions start as He et al. 2015 (fan out), all else as torch starts it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; a shortcut without parameters: every other pixel, zeros for the new channels (option A)."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.new_channels = width - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(y + shortcut)


class CifarResNet(nn.Module):
    """The networks of section 4.2 of He et al. 2015: `6n + 2` layers, of n blocks with 16, 32 and 64 channels each."""

    def __init__(self, n: int, classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks: list[nn.Module] = []
        channels = 16
        for width in (16, 32, 64):
            for _ in range(n):
                blocks.append(BasicBlock(channels, width, 1 if width == channels else 2))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.conv(x))))
        return self.fc(x.mean((2, 3)))


class BottleneckLayer(nn.Module):
    """BN-ReLU-conv 1x1 to four growth rates, BN-ReLU-conv 3x3 to one, concatenated to the input."""

    def __init__(self, in_channels: int, growth_rate: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(F.relu(self.bn2(y)))], 1)


class Transition(nn.Module):
    """BN-ReLU-conv 1x1 to half of the channels, 2x2 average pooling."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, in_channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class CifarDenseNetBC(nn.Module):
    """DenseNet-BC of Huang et al. 2017 for CIFAR: three blocks of `(depth - 4) / 6` layers, without dropout."""

    def __init__(self, depth: int, growth_rate: int, classes: int = 10) -> None:
        super().__init__()
        channels = 2 * growth_rate
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
        for block in range(3):
            if block:
                layers.append(Transition(channels))
                channels //= 2
            for _ in range((depth - 4) // 6):
                layers.append(BottleneckLayer(channels, growth_rate))
                channels += growth_rate
        self.layers = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.layers(x)))
        return self.fc(x.mean((2, 3)))


class WideBlock(nn.Module):
    """BN-ReLU-conv twice; where the shape changes, the shortcut is a 1x1 convolution of the activated input."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = None if in_channels == width else nn.Conv2d(in_channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nn.Module):
    """WRN-depth-factor of Zagoruyko and Komodakis 2016 for CIFAR: three groups of `(depth - 4) / 6` blocks."""

    def __init__(self, depth: int, factor: int, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False)]
        channels = 16
        for group in range(3):
            width = 16 * factor * 2**group
            for block in range((depth - 4) // 6):
                layers.append(WideBlock(channels, width, 2 if group and block == 0 else 1))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.layers(x)))
        return self.fc(x.mean((2, 3)))


class AggregatedBlock(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolution; the shortcut is a 1x1 convolution where the width changes."""

    def __init__(self, in_channels: int, inner: int, width: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + self.shortcut(x))


class CifarResNeXt(nn.Module):
    """ResNeXt-29 of Xie et al. 2017 for CIFAR: three stages of three blocks, 256, 512 and 1024 channels wide."""

    def __init__(self, cardinality: int, group_width: int, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
        channels = 64
        for stage in range(3):
            inner, width = cardinality * group_width * 2**stage, 256 * 2**stage
            for block in range(3):
                stride = 2 if stage and block == 0 else 1
                layers.append(AggregatedBlock(channels, inner, width, cardinality, stride))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x).mean((2, 3)))


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def lenet5(classes: int = 10) -> nn.Module:
    """LeCun et al. 1998 in the modern form, for grey images of 32 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, classes),
    )


def resnet20(classes: int = 10) -> nn.Module:
    return CifarResNet(3, classes)


def densenet_bc_100_12(classes: int = 10) -> nn.Module:
    return CifarDenseNetBC(100, 12, classes)


# Each takes the number of classes.
PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "lenet5": lenet5,
    "resnet20": resnet20,
    "resnet56": partial(CifarResNet, 9),
    "resnet110": partial(CifarResNet, 18),
    "wrn_16_8": partial(WideResNet, 16, 8),
    "wrn_28_10": partial(WideResNet, 28, 10),
    "resnext29_8x64d": partial(CifarResNeXt, 8, 64),
    "densenet_bc_100_12": densenet_bc_100_12,
}
