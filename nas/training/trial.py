"""One trial's training: build, train, and make do with less memory once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.errors import RunError, Unfinished
from nas.training.data import Dataset
from nas.training.learner import install_learner
from nas.training.long_run import TRIAL, LongRun
from nas.training.loop import train
from nas.training.out_of_memory import is_out_of_memory
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
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
    run: LongRun = TRIAL,
) -> Iterator[EpochScore]:
    """Build and train an architecture on the dataset's device, yielding a score per epoch.

    `trunk` holds weights to start from, all but the classifier's. A recipe with frozen epochs is trained in two phases.
    One with rungs has a schedule for each, and goes on from the weights that the one before left.
    Out of memory starts over once with half the batch, and so with half the rate: epochs count from 1 again. Not so
    where a checkpoint holds an epoch, which had memory enough, nor among several processes, of which one alone may lack
    it. A `run` that goes on from a checkpoint yields the checkpoint's last score first.

    Raises:
        OutOfMemory: half the batch did not fit either.
        Diverged, Stopped: see `nas.training.loop.train`, and `nas.training.learner` for channel boosting.
    """
    device = dataset.train.images.device
    sizes = _batch_sizes(recipe, dataset, run)
    reason = ""
    for batch_size in sizes:
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type=device.type):
                torch.manual_seed(derive_seed(seed, "weights"))
                network = build(architecture, device=device)
            if run.point is not None:
                network.load_state_dict(run.point.network)
                yield replace(run.point.scores[-1], network=network)
            elif trunk is not None:  # with the learner that it was trained with
                network.load_state_dict(trunk, strict=False)
            else:
                with run.group.first_alone():
                    install_learner(network, dataset, stop)
            sized = recipe.model_copy(update={"batch_size": batch_size})
            yield from _schedules(network, dataset, sized, seed, run.group.agreed(stop), run)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
        if run.checkpoint is not None and run.checkpoint.epoch:
            sizes = (batch_size,)
            break
        # Only behind the except block are the frames freed that hold the tensors.
        network = None
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    tried = " and with ".join(map(str, sizes))
    raise OutOfMemory(f"out of memory with {tried} images a batch: {reason}")


def _batch_sizes(recipe: Recipe, dataset: Dataset, run: LongRun) -> tuple[int, ...]:
    """The sizes of a batch to be tried, the second if memory does not suffice for the first."""
    if run.point is not None:
        return (run.point.scores[-1].batch_size,)
    size = min(recipe.batch_size, len(dataset.train))
    return (size, size // 2) if size >= 4 and run.group.size == 1 else (size,)  # batch normalisation takes two or more


def _schedules(
    network: Network, dataset: Dataset, recipe: Recipe, seed: int, stop: Callable[[], bool], run: LongRun
) -> Iterator[EpochScore]:
    """One schedule after the other; epochs count on. The first has the seed that it would have without rungs."""
    before = 0
    for number, epochs in enumerate(recipe.schedules):
        own = derive_seed(seed, "rung", number) if number else seed
        once = recipe.model_copy(update={"epochs": epochs, "rungs": ()})
        for score in _phases(network, dataset, once, own, stop, run):
            yield replace(score, epoch=score.epoch + before)
        before += epochs


def _phases(
    network: Network, dataset: Dataset, recipe: Recipe, seed: int, stop: Callable[[], bool], run: LongRun
) -> Iterator[EpochScore]:
    """One training, or two for fine-tuning: of the last layer alone, then of all that learns; epochs count on."""
    resolution = network.architecture.resolution
    done = 0 if run.point is None else run.point.epoch
    if recipe.frozen_epochs > done:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        network.requires_grad_(False)
        network.head.classifier[-1].requires_grad_(True)
        once = recipe.frozen_phase()
        frozen = derive_seed(seed, "frozen")
        yield from train(network, dataset, once, seed=frozen, resolution=resolution, stop=stop, run=run)
        for parameter in learning:
            parameter.requires_grad_(True)
    if recipe.epochs > max(recipe.frozen_epochs, done):
        later = replace(run, before=recipe.frozen_epochs)
        once = recipe.open_phase()
        for score in train(network, dataset, once, seed=seed, resolution=resolution, stop=stop, run=later):
            yield replace(score, epoch=score.epoch + recipe.frozen_epochs)


def train_to_the_end(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
    trunk: Mapping[str, Tensor] | None = None,
    run: LongRun = TRIAL,
) -> tuple[nn.Module, list[EpochScore]]:
    """Train outside a search; the trained network and its scores, each of which `progress` was told.

    Raises:
        RunError: it diverged, ran out of memory or was stopped; what is to be done if a `run` keeps a checkpoint.
    """
    run.begin(recipe.epochs)
    scores = [] if run.point is None else list(run.point.scores[:-1])
    try:
        with run.guarded():
            for score in train_architecture(architecture, dataset, recipe, seed=seed, stop=stop, trunk=trunk, run=run):
                scores.append(score)
                progress(score, recipe.epochs)
    except Diverged as error:
        run.forget()  # it would diverge again
        raise RunError(f"the training failed: {error}") from None
    except OutOfMemory as error:
        kept = run.kept(recipe.epochs)
        resumes = run.checkpoint is not None and run.checkpoint.written
        raise (Unfinished if resumes else RunError)(f"the training failed: {error}; {kept}") from None
    except Stopped:
        raise RunError(f"the training was interrupted; {run.kept(recipe.epochs)}") from None
    network = scores[-1].network
    assert network is not None
    return network, scores
