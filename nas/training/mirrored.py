"""Test-time augmentation: logits averaged with those of the mirrored image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nas.training.data import Split

AT_ONCE = 256  # images


@torch.inference_mode()
def mirrored_accuracy(logits_of: Callable[[Tensor], Tensor], split: Split) -> float:
    """The share of images whose label has the largest sum of logits of the image and of its mirror image.

    `logits_of` gives logits (N, classes) of uint8 images (N, C, H, W). It stands beside the plain accuracy, never in
    its place: published figures mix the two. For images that keep their class when mirrored. NaN logits are wrong.
    """
    right = 0
    for images, labels in zip(split.images.split(AT_ONCE), split.labels.split(AT_ONCE), strict=True):
        both = logits_of(images) + logits_of(images.flip(3))
        right += int(((both.argmax(1) == labels) & both.isfinite().all(1)).sum())
    return right / len(split)
