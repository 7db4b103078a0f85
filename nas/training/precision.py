"""Whether a network is trained in bfloat16 on its device."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.training.device import fast_bfloat16


def bfloat16_serves(network: nn.Module, images: Tensor) -> bool:
    """Whether bfloat16 is fast on the network's device and right for this network; `images` are one batch of one.

    On CPUs the weight gradient of a convolution with a stride and a kernel above 1 over maps of 1x1 pixels comes from
    memory that was never written (torch 2.15, oneDNN 3.13: other numbers each time, NaN among them). Networks that have
    one, such as ImageNet's on images of 8 pixels, are trained in float32 there.
    """
    if not fast_bfloat16(images.device):
        return False
    return images.device.type != "cpu" or not _strides_over_points(network, images)


@torch.no_grad()
def _strides_over_points(network: nn.Module, images: Tensor) -> bool:
    found = False

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal found
        if isinstance(module, nn.Conv2d) and tuple(inputs[0].shape[-2:]) == (1, 1):
            found = found or (max(module.stride) > 1 and max(module.kernel_size) > 1)

    handles = [module.register_forward_pre_hook(look) for module in network.modules()]
    training = network.training
    try:
        network.eval()(images)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    return found
