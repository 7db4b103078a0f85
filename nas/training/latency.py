"""Measured inference latency."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nas.errors import NasError
from nas.training.device import describe_device, fast_bfloat16
from nas.training.evaluate import autocast
from searchspace import Architecture, build

FEWEST = 7  # passes of which a median is taken
QUICK = 0.5  # seconds for each of many networks


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one forward pass of `batch_size` images: median and interquartile range of `runs` passes."""

    median_ms: float
    spread_ms: float
    batch_size: int
    runs: int
    device: str


@torch.inference_mode()
def measure_latency(
    network: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    batch_size: int = 1,
    runs: int = 30,
    warmup: int = 5,
    seconds: float = math.inf,
) -> Latency:
    """Time forward passes on the network's own device and in the precision that evaluation uses there.

    `input_shape` is (channels, height, width). Once `seconds` are over, `FEWEST` passes are enough. The
    network's mode is restored.

    Raises:
        NasError: fewer than two runs, of which there is no spread, or no image.
    """
    if runs < 2 or batch_size < 1:
        raise NasError(f"a latency needs 2 runs or more of 1 image or more, given {runs} of {batch_size}")
    device = next(network.parameters()).device
    random = torch.Generator(device).manual_seed(0)
    images = torch.randn(batch_size, *input_shape, device=device, generator=random)
    images = images.contiguous(memory_format=torch.channels_last)
    training = network.training
    network.eval()
    times = []
    try:
        with autocast(device, fast_bfloat16(device)):
            for run in range(warmup + runs):
                started = _now(device)
                network(images)
                if run >= warmup:
                    times.append((_now(device) - started) * 1000)
                if len(times) >= FEWEST and sum(times) > seconds * 1000:
                    break
    finally:
        network.train(training)
    low, median, high = statistics.quantiles(times, n=4)
    return Latency(median, high - low, batch_size, len(times), describe_device(device))


def latency_on(device: torch.device) -> Callable[[Architecture], float]:
    """A measure of architectures: the median milliseconds of one image on the device."""

    def median(architecture: Architecture) -> float:
        shape = (architecture.channels, architecture.resolution, architecture.resolution)
        return measure_latency(build(architecture, device=device), shape, seconds=QUICK).median_ms

    return median


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
