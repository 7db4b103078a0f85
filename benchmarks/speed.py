"""Images per second of the training loop against the loop that most people write.

    python benchmarks/speed.py [--images FOLDER] [--batch-size 128] [--epochs 5]

The plain loop: torchvision transforms through PIL, DataLoader with workers, float32, NCHW, Adam. Both train the same
network on the same images, one epoch in turn, so that a change in the machine's speed meets both; the first epoch of
each is not counted. One JSON line a network: medians, the range, and the ratio of each pair of epochs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

import nas
from nas.training.data import Dataset, load_dataset
from nas.training.datasets import ArrayExamples, Source
from nas.training.device import describe_device, pick_device
from nas.training.loop import train
from nas.training.recipe import Recipe
from searchspace import Architecture, Head, Stage, build, cost
from searchspace.blocks import Conv, ConvLayer, Dense, Inception, MBConv, PoolLayer, Residual

ONE = (1, 1)
BRANCHES = (
    (ConvLayer(width=1, kernel_size=ONE),),
    (ConvLayer(width=1, kernel_size=ONE), ConvLayer(width=2)),
    (PoolLayer(), ConvLayer(width=1, kernel_size=ONE)),
)


def networks() -> dict[str, Architecture]:
    """A small network of each family for 32x32 images."""

    def body(*blocks, depth: int) -> tuple[Stage, ...]:
        return tuple(Stage(block=block, depth=depth, stride=1 + (place > 0)) for place, block in enumerate(blocks))

    stem = (Stage(block=Conv(width=16)),)
    halves = (1.0, 0.5, 0.5)
    return {
        "residual": Architecture(stem=stem, stages=body(*(Residual(width=w) for w in (16, 32, 64)), depth=2)),
        "dense": Architecture(
            stem=(Stage(block=Conv(width=24)),),
            stages=body(*(Dense(growth_rate=12, compression=c) for c in halves), depth=4),
            head=Head(norm="batch"),
        ),
        "inception": Architecture(
            stem=stem, stages=body(*(Inception(width=w, branches=BRANCHES) for w in (32, 64, 128)), depth=2)
        ),
        "mbconv": Architecture(
            stem=stem, stages=body(*(MBConv(width=w, expansion=4.0) for w in (16, 32, 64)), depth=2)
        ),
    }


class PlainImages(TorchDataset):
    """As torchvision's data sets: a stored array becomes a PIL image, then a transformed tensor."""

    def __init__(self, data: Dataset) -> None:
        self.images = data.train.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels = data.train.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(data.resolution, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(np.ascontiguousarray(self.images[index]))), self.labels[index]


def plain_epochs(network: nn.Module, data: Dataset, batch_size: int, device: torch.device) -> Iterator[float]:
    """Images per second of each epoch of the plain loop, without end."""
    loader = DataLoader(
        PlainImages(data),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    network.train()
    while True:
        started = time.monotonic()
        for images, labels in loader:
            loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield len(loader) * batch_size / (time.monotonic() - started)


def our_epochs(architecture: Architecture, data: Dataset, batch_size: int, epochs: int) -> Iterator[float]:
    network = build(architecture, device=data.train.images.device)
    recipe = Recipe(epochs=epochs, batch_size=batch_size)
    for score in train(network, data, recipe, seed=0, resolution=architecture.resolution):
        yield score.images_per_second


def compare(name: str, architecture: Architecture, data: Dataset, batch_size: int, epochs: int) -> dict:
    device = data.train.images.device
    plain = plain_epochs(build(architecture, device=device), data, batch_size, device)
    ours = our_epochs(architecture, data, batch_size, epochs + 1)
    pairs = [(next(ours), next(plain)) for _ in range(epochs + 1)][1:]
    plain.close()
    mine, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    ratios = [a / b for a, b in pairs]
    return {
        "network": name,
        "params": cost(architecture).params,
        "macs": cost(architecture).macs,
        "batch_size": batch_size,
        "epochs": epochs,
        "images": len(data.train),
        "ours_images_per_second": spread(mine),
        "plain_images_per_second": spread(theirs),
        "ratio": spread(ratios),
        "device": describe_device(device),
        "torch": torch.__version__,
    }


def spread(values: list[float]) -> dict[str, float]:
    digits = 2 if max(values) < 100 else 0
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }


def noise(request) -> Source:
    """Random images, for a machine without real ones: the speed is the same."""
    random = np.random.default_rng(0)
    return Source(
        classes=tuple("0123456789"),
        train=ArrayExamples(random.integers(0, 256, (60_000, 32, 32, 3), np.uint8), np.arange(60_000) % 10),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", help="folder with train/<class>/* (default: random images)")
    parser.add_argument("--count", type=int, default=2845, help="images, a tenth of them for validation")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--networks", default=",".join(networks()))
    arguments = parser.parse_args()
    nas.register_dataset("noise", noise)
    data = load_dataset(arguments.images or "noise", limit_train=arguments.count).to(pick_device(arguments.device))
    for name in arguments.networks.split(","):
        line = compare(name, networks()[name], data, arguments.batch_size, arguments.epochs)
        print(json.dumps({"case": "loop against plain loop", **line}), flush=True)


if __name__ == "__main__":
    main()
