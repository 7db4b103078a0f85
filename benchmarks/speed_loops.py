"""The two loops that `speed.py` compares, each in a process of its own: ours, and the one that most people write."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

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
from nas.training.evaluate import Preprocess, accuracy
from nas.training.loop import train
from nas.training.memory import keep_memory
from nas.training.recipe import Recipe
from searchspace import Architecture, Head, Stage, build, cifar_form, reference
from searchspace.blocks import Conv, ConvLayer, Dense, Inception, MBConv, PoolLayer, Residual

ONE = (1, 1)
BRANCHES = (
    (ConvLayer(width=1, kernel_size=ONE),),
    (ConvLayer(width=1, kernel_size=ONE), ConvLayer(width=2)),
    (PoolLayer(), ConvLayer(width=1, kernel_size=ONE)),
)


def networks() -> dict[str, Architecture]:
    """A small network of each family for 32x32 images, and ResNet-18."""

    def body(*blocks, depth: int) -> tuple[Stage, ...]:
        return tuple(Stage(block=block, depth=depth, stride=1 + (place > 0)) for place, block in enumerate(blocks))

    stem = (Stage(block=Conv(width=16)),)
    halves = (1.0, 0.5, 0.5)
    return {
        "residual": Architecture(stem=stem, stages=body(*(Residual(width=w) for w in (16, 32, 64)), depth=2)),
        "resnet18": cifar_form(reference("resnet18", num_classes=10), 32),
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


@dataclass(frozen=True)
class Case:
    """What both loops train, and on what."""

    network: str
    batch_size: int
    images: str | None
    count: int
    device: str
    epochs: int
    seed: int = 0
    threads: int | None = None

    def data(self) -> Dataset:
        if "noise" not in nas.training.data.DATASETS:
            nas.register_dataset("noise", noise)
        return load_dataset(self.images or "noise", limit_train=self.count).to(self.device)

    def architecture(self) -> Architecture:
        return networks()[self.network]


@dataclass(frozen=True)
class Epoch:
    images_per_second: float
    seconds: float
    val_accuracy: float
    execution: str = ""


def ours(case: Case) -> Iterator[Epoch]:
    """The loop of every trial, over `case.epochs`."""
    architecture = case.architecture()
    data = case.data()
    keep_memory()
    torch.manual_seed(case.seed)
    network = build(architecture, device=case.device)
    recipe = Recipe(epochs=case.epochs, batch_size=case.batch_size)
    for score in train(network, data, recipe, seed=case.seed, resolution=architecture.resolution):
        yield Epoch(score.images_per_second, score.seconds, score.val_accuracy, score.execution)


def plain(case: Case) -> Iterator[Epoch]:
    """torchvision transforms through PIL, DataLoader with workers, float32, NCHW, Adam; without end."""
    device = torch.device(case.device)
    data = case.data()
    torch.manual_seed(case.seed)
    network = build(case.architecture(), device=device)
    loader = DataLoader(
        PlainImages(data),
        batch_size=case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    preprocess = Preprocess(data, data.resolution, device, memory_format=torch.contiguous_format)
    while True:
        network.train()
        started = now(device)
        for images, labels in loader:
            loss = nn.functional.cross_entropy(network(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trained = now(device) - started
        score = accuracy(network, data.validation, preprocess)
        yield Epoch(len(loader) * case.batch_size / trained, now(device) - started, score)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()


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


def noise(request: Any) -> Source:
    """Random images, for a machine without real ones: the speed is the same."""
    random = np.random.default_rng(0)
    return Source(
        classes=tuple("0123456789"),
        train=ArrayExamples(random.integers(0, 256, (60_000, 32, 32, 3), np.uint8), np.arange(60_000) % 10),
    )


class Elsewhere:
    """A loop's epochs in a new process, each when it is asked for: memory that one loop keeps, or threads that it
    starts, are not another's. A context manager.
    """

    def __init__(self, loop: Callable[[Case], Iterator[Epoch]], case: Case) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_answer, args=(there, loop, case))
        self.process.start()
        there.close()

    def __enter__(self) -> Self:
        return self

    def ask(self) -> None:
        """Let it train another epoch."""
        self.connection.send(None)

    def answer(self) -> Epoch:
        """Wait for the epoch that was asked for."""
        return self.connection.recv()

    def __next__(self) -> Epoch:
        self.ask()
        return self.answer()

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _answer(connection: Connection, loop: Any, case: Case) -> None:
    """An epoch for every question, until nobody asks."""
    if case.threads is not None:
        torch.set_num_threads(case.threads)
    epochs = loop(case)
    try:
        while True:
            connection.recv()
            connection.send(next(epochs))
    except (EOFError, BrokenPipeError):
        epochs.close()
