"""Training mode for networks of which a part is frozen."""

from __future__ import annotations

from torch import nn


def learning_mode(network: nn.Module) -> None:
    """Training mode, but evaluation mode for modules whose parameters are all frozen: their statistics stay too."""
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
