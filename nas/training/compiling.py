"""`torch.compile` for trainings that are long enough to pay for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.training.evaluate import autocast

Forward = Callable[[Tensor], Tensor]


def compiled(network: nn.Module, images: Tensor, bfloat16: bool, say: Callable[[str], None]) -> Forward:
    """The network's forward pass through torch.compile, or as it is where that fails, which `say` is told.

    It is tried forwards and backwards on `images`, a batch as the network will be given, already prepared: compilers
    fail at first use. The network is in the mode in which it learns, and is left without gradients and with the
    statistics it had. On a CPU it needs a C++ compiler.
    """
    statistics = [buffer.clone() for buffer in network.buffers()]
    try:
        forward = torch.compile(network)
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices, device_type=images.device.type):
            with autocast(images.device, bfloat16):
                output = forward(images)
            output.float().sum().backward()
        return forward
    except Exception as error:  # a compiler's errors are of no family
        say(f"torch.compile failed, and the training goes on without it: {_reason(error)}")
        return network
    finally:
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.data.copy_(before)
        network.zero_grad(set_to_none=True)


def _reason(error: Exception) -> str:
    """The first line that says what is wrong: torch's messages begin with the names of its own parts."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "compiler" in line.lower()), lines[0] if lines else type(error).__name__)
