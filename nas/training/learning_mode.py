"""How a network is set while it learns."""

from __future__ import annotations

from torch import nn

STATISTICS_MOMENTUM = 0.3


def learning_mode(network: nn.Module) -> None:
    """Training mode, but evaluation mode for modules whose parameters are all frozen: their statistics stay too.

    Batch normalisation with torch's own momentum, 0.1, takes 0.3 of a batch into its running statistics: the training
    is the same, and an early epoch is judged by statistics of its own weights (after one epoch of 5,000 images 4.9
    points more on validation images, after four 0.1: docs/recipe.md).
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum == 0.1:
            module.momentum = STATISTICS_MOMENTUM
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
