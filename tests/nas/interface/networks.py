"""Networks that look trained, without training: normalisations have statistics and weights of their own."""

from __future__ import annotations

import torch
from torch import nn

from nas.trained import Card, TrainedNetwork
from searchspace import Architecture, build, cost


def trained_network(architecture: Architecture, *, input_size: int | None = None, seed: int = 0) -> TrainedNetwork:
    """A network with random weights that no normalisation hides, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture)
        with torch.no_grad():
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm):
                    layer.weight.uniform_(0.5, 1.5)
                    layer.bias.normal_(0, 0.1)
                if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
                    layer.running_mean.normal_(0, 0.1)
                    layer.running_var.uniform_(0.5, 1.5)  # pyright: ignore[reportOptionalMemberAccess]
    return TrainedNetwork(network, card_of(architecture, input_size)).eval()


def card_of(architecture: Architecture, input_size: int | None = None) -> Card:
    counted = cost(architecture)
    return Card(
        classes=tuple(f"class {number}" for number in range(architecture.classes)),
        mean=(0.5, 0.4, 0.3)[: architecture.channels],
        std=(0.2, 0.25, 0.3)[: architecture.channels],
        input_size=input_size or architecture.resolution,
        architecture_sha256="0" * 64,
        weights_sha256="0" * 64,
        dataset="nothing",
        dataset_fingerprint="0" * 64,
        params=counted.params,
        macs=counted.macs,
        activations=counted.activations,
    )
