"""What a training sees: shuffled, augmented, prepared batches, made on the device that trains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nas.training.augment import augment
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess
from nas.training.recipe import Recipe
from nas.training.seeds import generator

PREPARED = {"cpu": 0, "cuda": 256 << 20}  # bytes of float32 images made at once; at least a batch


def batches(
    dataset: Dataset, recipe: Recipe, preprocess: Preprocess, batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of one epoch, batch by batch; what is left of the order at its end is left out.

    On CUDA many batches are made at once, in a few launches and without waiting; on a CPU one, which the cache holds.
    """
    device = dataset.train.images.device
    order = torch.randperm(len(dataset.train), generator=generator(device, seed, "shuffle", epoch), device=device)
    random = generator(device, seed, "augment", epoch)
    padding = round(recipe.crop_padding * dataset.resolution)
    cutout = round(recipe.cutout * dataset.resolution)
    image_bytes = 4 * dataset.channels * max(dataset.resolution, preprocess.resolution) ** 2
    at_once = max(1, PREPARED[device.type] // (image_bytes * batch_size)) * batch_size
    for chosen in order[: len(order) // batch_size * batch_size].split(at_once):
        images, labels = dataset.train.take(chosen)
        images = preprocess(augment(images, random, padding=padding, mirror=dataset.mirror, cutout=cutout))
        yield from zip(images.split(batch_size), labels.split(batch_size), strict=True)
