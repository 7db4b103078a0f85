"""From data to torch: the one way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from searchspace.architecture import Architecture, Head, Stage
from searchspace.blocks import BlockContext
from searchspace.cpu import GlobalAveragePool
from searchspace.errors import TooLarge
from searchspace.layers import Normalised, activation, norm_layer
from searchspace.meta import Unfilled

MAX_PARAMS = 1_000_000_000


class Network(nn.Module):
    """The module of an architecture: images (N, channels, H, W) to logits (N, classes).

    It is built from the normal form, so equal digests mean interchangeable weights: `stages.2.0` is the first block of
    `architecture.normal().stages[2]`. Images of other sizes than `architecture.resolution` pass where strides allow it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        architecture = architecture.normal()
        norm = partial(norm_layer, eps=architecture.norm_eps, momentum=architecture.norm_momentum)
        builder = _StageBuilder(architecture.channels, norm)
        self.stem = nn.Sequential(*(builder.stage(stage) for stage in architecture.stem))
        rates = _drop_path_rates(architecture)
        self.stages = nn.Sequential(*(builder.stage(stage, rates) for stage in architecture.stages))
        self.head = Classifier(architecture.head, builder, architecture.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)))


def _drop_path_rates(architecture: Architecture) -> Iterator[float]:
    """0 at the first block of the body, growing linearly towards the network's rate, as torchvision counts it."""
    for index in range(architecture.depth):
        yield architecture.drop_path * index / architecture.depth


class _StageBuilder:
    """Builds stages one after the other, passing the channels on."""

    def __init__(self, channels: int, norm) -> None:
        self.channels = channels
        self.norm = norm

    def stage(self, stage: Stage, rates: Iterator[float] | None = None) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for index in range(stage.depth):
            context = BlockContext(
                stride=stage.stride if index == 0 else 1,
                index=index,
                drop_path=0.0 if rates is None else next(rates),
                norm=self.norm,
            )
            blocks.append(stage.block.build(self.channels, context))
            self.channels = stage.block.out_channels(self.channels, index)
        return nn.Sequential(*blocks)


class Classifier(nn.Module):
    """The head: blocks, final normalisation, pooling, hidden layers, classifier."""

    def __init__(self, head: Head, builder: _StageBuilder, classes: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(builder.stage(stage) for stage in head.blocks))
        norm = builder.norm(head.norm)
        self.norm = nn.Identity() if norm is None else Normalised(builder.channels, norm, head.activation)
        self.pool = _pool(head)
        self.classifier = nn.Sequential(*_linear_layers(head, builder.channels * head.pool_size**2, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.norm(self.blocks(x))), 1))


def _pool(head: Head) -> nn.Module:
    if head.pool != "average":
        return nn.AdaptiveMaxPool2d(head.pool_size)
    return GlobalAveragePool() if head.pool_size == 1 else nn.AdaptiveAvgPool2d(head.pool_size)


def _linear_layers(head: Head, features: int, classes: int) -> Iterator[nn.Module]:
    """Hidden layers and classifier; one of several linear layers has no dropout before it: the first or the last."""
    last = len(head.hidden)
    spared = {"after": 0, "before": last}[head.dropout_place] if last else None
    for number, width in enumerate((*head.hidden, classes)):
        if number != spared:
            yield nn.Dropout(head.dropout)
        yield nn.Linear(features, width)
        if number < last:
            yield activation(head.activation)
        features = width


@contextmanager
def _parameter_limit(limit: int) -> Iterator[None]:
    """Count parameters as modules register them and stop the building where they pass the limit."""
    count = 0

    owner = threading.get_ident()

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        if threading.get_ident() != owner:  # torch calls the hook for every thread's modules
            return
        count += 0 if parameter is None else parameter.numel()
        if count > limit:
            raise TooLarge(f"more than {limit:,} parameters: building stopped at {count:,}")

    handle = register_module_parameter_registration_hook(registered)
    try:
        yield
    finally:
        handle.remove()


def outline(architecture: Architecture, *, max_params: int = MAX_PARAMS) -> Network:
    """The network on the meta device: shapes and names without memory.

    Raises:
        TooLarge: it has more than `max_params` parameters; the building stops there.
    """
    with torch.device("meta"), Unfilled(), _parameter_limit(max_params):
        return Network(architecture)


def build(architecture: Architecture, *, device: torch.device | str = "cpu", max_params: int = MAX_PARAMS) -> Network:
    """A freshly initialised network of this architecture, its weights drawn from torch's global generator.

    Raises:
        TooLarge: it has more than `max_params` parameters; nothing was allocated.
    """
    outline(architecture, max_params=max_params)
    with torch.device(device):
        return Network(architecture)
