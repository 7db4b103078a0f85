"""Accuracy of a network on a split."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.training.augment import normalise
from nas.training.data import Dataset, Split
from nas.training.out_of_memory import is_out_of_memory

EVALUATION_BATCH = {"cpu": 512, "cuda": 4096}  # images of 32x32 at once, of larger ones fewer: as many pixels


class Preprocess:
    """uint8 images to what the network takes: normalised by the training split, resized, in its memory format.

    Computed in float32 and given as `dtype`.
    """

    def __init__(
        self,
        dataset: Dataset,
        resolution: int,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        self.mean = torch.tensor(dataset.mean, device=device)
        self.std = torch.tensor(dataset.std, device=device)
        self.resolution = resolution
        self.dtype = dtype
        self.memory_format = memory_format

    def __call__(self, images: Tensor) -> Tensor:
        resized = images.shape[-1] != self.resolution
        x = normalise(images, self.mean, self.std, torch.float32 if resized else self.dtype)
        if resized:
            size = (self.resolution, self.resolution)
            x = functional.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False).to(self.dtype)
        return x.contiguous(memory_format=self.memory_format)


def autocast(device: torch.device, bfloat16: bool) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor, preprocess: Preprocess, *, bfloat16: bool = False) -> Tensor:
    """Logits (N, classes) in float32 of uint8 images, in evaluation mode; the network's mode is restored.

    As many images at once as memory allows: where it runs out, half as many are tried, down to one.
    """
    training = network.training
    network.eval()
    at_once = max(1, EVALUATION_BATCH[images.device.type] * 32**2 // max(32, preprocess.resolution) ** 2)
    try:
        parts, done = [], 0
        while done < len(images):
            try:
                batch = preprocess(images[done : done + at_once])
                with autocast(batch.device, bfloat16):
                    parts.append(network(batch).float())
            except (RuntimeError, MemoryError) as error:
                if at_once == 1 or not is_out_of_memory(error):
                    raise
                at_once //= 2
            else:
                done += at_once
        return torch.cat(parts)
    finally:
        network.train(training)


def accuracy(network: nn.Module, split: Split, preprocess: Preprocess, *, bfloat16: bool = False) -> float:
    """The share of images whose largest logit is their label; NaN logits are wrong."""
    scores = logits(network, split.images, preprocess, bfloat16=bfloat16)
    right = (scores.argmax(1) == split.labels) & scores.isfinite().all(1)
    return int(right.sum()) / len(split)
