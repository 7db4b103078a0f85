"""A data set in memory that several processes read: decoded once, kept once."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass, replace

import torch

from nas.training.data import Dataset, Split

ALIGNMENT = 64

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class SharedDataset:
    """A data set whose images and labels lie in a file without a name; the last process that holds it frees it.

    The descriptor is to be inherited under its number. `dataset` has empty splits; `shapes` are those of the images of
    the training and the validation split, (N, H, W, C).
    """

    dataset: Dataset
    shapes: tuple[Shape, ...]
    descriptor: int

    @classmethod
    def of(cls, dataset: Dataset) -> SharedDataset:
        """Copy a data set from the CPU; the test split stays behind.

        Raises:
            OSError: the memory does not suffice.
        """
        splits = (dataset.train, dataset.validation)
        shapes = tuple(_shape(split) for split in splits)
        nothing = Split(torch.empty(0), torch.empty(0))
        without = replace(dataset, train=nothing, validation=nothing, test_reader=None)
        shared = cls(without, shapes, _nameless_file())
        try:
            os.ftruncate(shared.descriptor, max(ALIGNMENT, _places(shapes)[-1][1]))
            for kept, split in zip(shared._splits(mmap.ACCESS_WRITE), splits, strict=True):
                kept.images.copy_(split.images)
                kept.labels.copy_(split.labels)
        except BaseException:
            os.close(shared.descriptor)
            raise
        return shared

    def open(self) -> Dataset:
        """The data set on the CPU. What is written into its tensors stays in this process."""
        train, validation = self._splits(mmap.ACCESS_COPY)
        return replace(self.dataset, train=train, validation=validation)

    def close(self) -> None:
        os.close(self.descriptor)

    def _splits(self, access: int) -> list[Split]:
        memory = mmap.mmap(self.descriptor, 0, access=access)
        splits = []
        for shape, (start, _) in zip(self.shapes, _places(self.shapes), strict=True):
            count = shape[0] * shape[1] * shape[2] * shape[3]
            labels = torch.frombuffer(memory, dtype=torch.int64, count=shape[0], offset=start)
            images = torch.frombuffer(memory, dtype=torch.uint8, count=count, offset=start + _aligned(8 * shape[0]))
            splits.append(Split(images.view(shape).permute(0, 3, 1, 2), labels))
        return splits


def _shape(split: Split) -> Shape:
    count, channels, height, width = split.images.shape
    return count, height, width, channels


def _places(shapes: tuple[Shape, ...]) -> list[tuple[int, int]]:
    """Where each split begins and ends: its labels, then its images."""
    places, end = [], 0
    for count, height, width, channels in shapes:
        start, end = end, end + _aligned(8 * count) + _aligned(count * height * width * channels)
        places.append((start, end))
    return places


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nas-dataset")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
