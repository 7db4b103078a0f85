"""Test-time augmentation: logits averaged with those of the mirrored image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.training.data import Split
from nas.training.evaluate import logits


@torch.inference_mode()
def mirrored_accuracy(network: nn.Module, split: Split, preprocess: Callable[[Tensor], Tensor]) -> float:
    """The share of images whose label has the largest sum of logits of the image and of its mirror image.

    It takes twice the time of one pass, and stands beside the plain accuracy, never in its place: published figures
    mix the two. Only for images that keep their class when mirrored. NaN logits are wrong.
    """
    both = logits(network, split.images, preprocess) + logits(network, split.images.flip(3), preprocess)
    right = (both.argmax(1) == split.labels) & both.isfinite().all(1)
    return int(right.sum()) / len(split)
