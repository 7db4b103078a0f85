"""One trial: it makes do with half the batch once, and takes everything but a lack of memory as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.training import loop
from nas.training.data import Dataset, load_dataset
from nas.training.evaluate import Preprocess, logits
from nas.training.out_of_memory import is_out_of_memory
from nas.training.recipe import Recipe
from nas.training.score import EpochScore
from nas.training.trial import OutOfMemory, train_architecture
from searchspace import Architecture, Stage
from searchspace.blocks import Conv

ARCHITECTURE = Architecture(channels=1, resolution=8, classes=10, stages=(Stage(block=Conv(width=8)),))
RECIPE = Recipe(epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def few() -> Dataset:
    return load_dataset("digits", limit_train=150)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[int]]:
    """Make steps with more than `most` images fail, from the step numbered `first` on; the sizes that were tried."""

    def install(most: int, first: int = 1) -> list[int]:
        real, sizes = loop.functional.cross_entropy, []

        def cross_entropy(output: Any, labels: Any, **settings: Any) -> Any:
            sizes.append(len(labels))
            if len(labels) > most and len(sizes) >= first:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB\nGPU 0 has ...")
            return real(output, labels, **settings)

        monkeypatch.setattr(loop.functional, "cross_entropy", cross_entropy)
        return sizes

    return install


def scores(few: Dataset, recipe: Recipe = RECIPE) -> list[EpochScore]:
    return list(train_architecture(ARCHITECTURE, few, recipe, seed=0))


def test_out_of_memory_halves_the_batch_once_and_the_rate_follows(few: Dataset, full: Any) -> None:
    halved = scores(few, RECIPE.model_copy(update={"batch_size": 32}))
    sizes = full(most=32)
    trained = scores(few)
    assert sizes[:2] == [64, 32]
    assert [score.epoch for score in trained] == [1, 2]
    assert {score.batch_size for score in trained} == {32}
    assert [score.train_loss for score in trained] == [score.train_loss for score in halved]


def test_out_of_memory_in_a_later_epoch_begins_again(few: Dataset, full: Any) -> None:
    full(most=32, first=4)  # two batches of 64 in each epoch of 135 images
    assert [(score.epoch, score.batch_size) for score in scores(few)] == [(1, 64), (1, 32), (2, 32)]


def test_out_of_memory_twice_fails_and_names_the_sizes(few: Dataset, full: Any) -> None:
    sizes = full(most=16)
    with pytest.raises(OutOfMemory) as failed:
        scores(few)
    assert str(failed.value) == (
        "out of memory with 64 and with 32 images a batch: CUDA out of memory. Tried to allocate 20.00 MiB"
    )
    assert sizes == [64, 32]


def test_the_smallest_batch_is_not_halved(few: Dataset, full: Any) -> None:
    sizes = full(most=1)
    with pytest.raises(OutOfMemory, match="out of memory with 2 images a batch"):
        scores(few, RECIPE.model_copy(update={"batch_size": 2}))
    assert sizes == [2]


def test_a_search_records_the_batch_that_was_used_and_goes_on_after_a_second_lack(
    tmp_path: Any, full: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nas

    monkeypatch.chdir(tmp_path)
    full(most=32)
    settings: dict[str, Any] = {"epochs": 1, "limit_train": 150, "space": "tiny", "device": "cpu", "pruner": "none"}
    result = nas.search("digits", budget=1, batch_size=64, **settings)
    assert result.best.evaluation.batch_size == 32
    result = nas.search("digits", budget=2, batch_size=128, study="larger", **settings)
    rows = result.dataframe()
    assert list(rows["status"]) == ["FAIL", "FAIL"]
    assert all(reason.startswith("out of memory with 128 and with 64 images a batch") for reason in rows["reason"])


def test_other_errors_are_not_taken_for_it(few: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(loop.functional, "cross_entropy", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        scores(few)


def test_what_counts_as_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(10**15)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("device-side assert triggered"))
    assert not is_out_of_memory(ValueError("CUDA out of memory"))


@pytest.mark.parametrize("fit", [1, 100, 600])
def test_an_evaluation_that_runs_out_of_memory_takes_fewer_images_at_once(fit: int) -> None:
    """Validation batches are larger than those of the training, which a smaller batch of training cannot help."""
    taken: list[int] = []

    class Wide(nn.Flatten):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > fit:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            taken.append(len(images))
            return super().forward(images)

    data = load_dataset("digits", limit_train=700)
    images = data.train.images
    preprocess = Preprocess(data, data.resolution, torch.device("cpu"))
    found = logits(Wide(), images, preprocess)
    assert torch.equal(found, preprocess(images).flatten(1))
    assert sum(taken) == len(images)
    with pytest.raises(torch.OutOfMemoryError):
        logits(Failing(), images, preprocess)


class Failing(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
