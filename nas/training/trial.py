"""One trial's training: build, train, and make do with less memory once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.errors import RunError
from nas.training.data import Dataset
from nas.training.learner import install_learner
from nas.training.loop import Diverged, EpochScore, Stopped, train
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed
from searchspace import Architecture, Network, build


class OutOfMemory(Exception):
    """The device's memory did not suffice, not even for half the batch."""


def train_architecture(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    stop: Callable[[], bool] = lambda: False,
    trunk: Mapping[str, Tensor] | None = None,
) -> Iterator[EpochScore]:
    """Build and train an architecture on the dataset's device, yielding a score per epoch.

    `trunk` holds weights to start from, all but the classifier's. A recipe with frozen epochs is trained in two phases.
    Out of memory starts over once with half the batch, and so with half the rate: epochs count from 1 again.

    Raises:
        OutOfMemory: half the batch did not fit either.
        Diverged, Stopped: see `nas.training.loop.train`, and `nas.training.learner` for channel boosting.
    """
    device = dataset.train.images.device
    size = min(recipe.batch_size, len(dataset.train))
    sizes = (size, size // 2) if size >= 4 else (size,)  # batch normalisation takes two images or more
    reason = ""
    for batch_size in sizes:
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
                torch.manual_seed(derive_seed(seed, "weights"))
                network = build(architecture, device=device)
            if trunk is None:
                install_learner(network, dataset, stop)
            else:  # with the learner that it was trained with
                network.load_state_dict(trunk, strict=False)
            yield from _phases(network, dataset, recipe.model_copy(update={"batch_size": batch_size}), seed, stop)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        # Only behind the except block are the frames freed that hold the tensors.
        network = None
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    tried = " and with ".join(map(str, sizes))
    raise OutOfMemory(f"out of memory with {tried} images a batch: {reason}")


def _phases(
    network: Network, dataset: Dataset, recipe: Recipe, seed: int, stop: Callable[[], bool]
) -> Iterator[EpochScore]:
    """One training, or two for fine-tuning: of the last layer alone, then of all that learns; epochs count on."""
    resolution = network.architecture.resolution
    if recipe.frozen_epochs:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        network.requires_grad_(False)
        network.head.classifier[-1].requires_grad_(True)
        once = recipe.frozen_phase()
        yield from train(network, dataset, once, seed=derive_seed(seed, "frozen"), resolution=resolution, stop=stop)
        for parameter in learning:
            parameter.requires_grad_(True)
    if recipe.epochs > recipe.frozen_epochs:
        for score in train(network, dataset, recipe.open_phase(), seed=seed, resolution=resolution, stop=stop):
            yield replace(score, epoch=score.epoch + recipe.frozen_epochs)


def train_to_the_end(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
    trunk: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, list[EpochScore]]:
    """Train outside a search; the trained network and its scores, each of which `progress` was told.

    Raises:
        RunError: it diverged, ran out of memory or was stopped.
    """
    scores: list[EpochScore] = []
    try:
        for score in train_architecture(architecture, dataset, recipe, seed=seed, stop=stop, trunk=trunk):
            scores.append(score)
            progress(score, recipe.epochs)
    except (Diverged, OutOfMemory) as error:
        raise RunError(f"the training failed: {error}") from None
    except Stopped:
        raise RunError("the training was interrupted; nothing was written") from None
    network = scores[-1].network
    assert network is not None
    return network, scores


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a device's or the host's lack of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
