"""From a trial to a bundle: train with the full recipe, write, read back, compare, record."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import Tensor

from nas.bundle import first_free, load, require_writable, write_bundle
from nas.confirming.kept import confirmed_folder
from nas.confirming.kept import read as read_confirmed
from nas.confirming.named import confirmation_facts, confirmed_training
from nas.errors import NasError, RunError
from nas.model_card import describe
from nas.quantities import show_duration
from nas.result import SearchResult, TrialResult
from nas.trained import TrainedNetwork
from nas.training.data import Dataset, Split, default_data_dir, load_dataset
from nas.training.device import pick_device, versions
from nas.training.evaluate import Preprocess, logits
from nas.training.mirrored import mirrored_accuracy
from nas.training.recipe import YOUNGER, Recipe, make_recipe
from nas.training.score import EpochScore
from nas.training.seeds import derive_seed
from nas.training.trial import train_to_the_end
from nas.weights import plain_state, weights_file, weights_folder
from searchspace import Architecture, Network, build, cost
from searchspace.network import outline
from studies import StoreError, StudyStore

FULL = 4  # the full recipe has this many times the search's epochs
COMPARED = 256  # images whose logits are compared after reading back


@dataclass(frozen=True)
class Export:
    """A written bundle: where, and the network read back from it."""

    folder: Path
    network: TrainedNetwork
    val_accuracy: float
    test_accuracy: float | None


def data_of(trial: TrialResult, data_dir: Path, dataset: str | None = None) -> Dataset:
    """The study's data, split as the trial saw it.

    Raises:
        NasError: the data moved or changed since.
    """
    origin = dict(trial.evaluation.recipe["data"])
    source = dataset or origin["dataset"]
    if dataset is None and os.path.isabs(source) and not os.path.exists(source):
        raise NasError(f"the study's images are no longer at {source!r}: say where they are now with --dataset")
    data = load_dataset(
        source,
        data_dir=data_dir,
        seed=origin["seed"],
        limit_train=origin["limit_train"],
        resolution=origin["resolution"],
    )
    if data.fingerprint != trial.evaluation.fingerprint:
        raise NasError(f"the images of {source!r} are not those of the study: they changed since trial {trial.number}")
    return data


def export_trial(
    result: SearchResult,
    out: str | Path,
    *,
    trial: int | None = None,
    weights: str = "full",
    epochs: int | None = None,
    dataset: str | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[EpochScore, int], None] = lambda score, epochs: None,
    stop: Callable[[], bool] = lambda: False,
) -> Export:
    """Write a trial (default: the best) as a bundle, tested once and read back.

    `weights="full"` trains it anew on the study's training split for `epochs` (default: four times the search's), and
    says first how long that takes; `weights="stored"` takes what the search trained, which it keeps for its best
    trials; `weights="confirmed"` takes the winner of `nas.confirm`, of its seeds the best by validation. The test split
    is measured once, on the network that was read back. All that can be refused is refused before the training: a
    folder that cannot be written, a damaged test image.

    Raises:
        NasError: the folder exists or cannot be made, no weights are stored, the data changed.
        RunError: the training failed.
    """
    folder = Path(out)
    _check_weights(weights, epochs)
    confirmed = confirmed_training(result, trial) if weights == "confirmed" else None
    if confirmed is not None:
        trial = confirmed.trial_number
    chosen = result.best if trial is None else result.trial(trial)
    place = Path(data_dir) if data_dir is not None else default_data_dir()
    target = pick_device(device)
    stored = stored_weights(result, chosen, place) if weights == "stored" else None
    data = data_of(chosen, place, dataset).to(target)
    test = data.read_test()
    require_writable(folder)
    recipe = _recipe(chosen, weights, epochs)
    seed = chosen.evaluation.seed if weights == "stored" else derive_seed(chosen.evaluation.seed, "export")
    state = stored
    if confirmed is not None:
        recipe, seed = make_recipe(**confirmed.recipe["training"]), confirmed.seed
        state = read_confirmed(
            confirmed_folder(result.store, place, result.study.id), confirmed.id, chosen.architecture
        )
    if state is None:
        say(_time_needed(chosen, recipe))
        state = plain_state(train_to_the_end(chosen.architecture, data, recipe, seed, stop, progress)[0])
        if (free := first_free(folder)) != folder:  # another export was as quick: the training is not lost for it
            say(f"{str(folder)!r} appeared meanwhile: this export is written to {str(free)!r}")
            folder = free
    facts = {
        "study": result.study.name,
        "trial": chosen.number,
        "search_val_accuracy": chosen.val_accuracy,
        "recipe": {
            "weights": weights,
            "training": recipe.model_dump(),
            # The folder travels; where the images lay on this machine is nobody's business.
            "data": {**chosen.evaluation.recipe["data"], "dataset": data.name},
            "seed": seed,
        }
        | ({} if confirmed is None else {"confirmation": confirmation_facts(result, confirmed)}),
    }
    written = write_network(folder, chosen.architecture, state, data, test, **facts)
    try:
        _record(result.store, chosen, written)
    except StoreError as error:  # a copy to read from may still be exported
        say(f"the export is whole, but the database does not know it: {error}")
    return written


def _check_weights(weights: str, epochs: int | None) -> None:
    if weights not in ("full", "stored", "confirmed"):
        raise NasError(
            f"weights are full (train anew), stored (as the search left them) or confirmed (the winner's of "
            f"nas confirm), given {weights!r}"
        )
    if weights != "full" and epochs is not None:
        raise NasError(f"{weights} weights are not trained on: leave out --epochs, or use --weights full")


def _recipe(trial: TrialResult, weights: str, epochs: int | None) -> Recipe:
    settings = YOUNGER | trial.evaluation.recipe["training"]
    if weights == "full":
        settings = settings | {"epochs": FULL * settings["epochs"] if epochs is None else epochs, "rungs": ()}
    return make_recipe(**settings)


def stored_weights(result: SearchResult, trial: TrialResult, data_dir: Path) -> dict[str, Tensor]:
    """What the search kept of a trial, which is its best trials' weights.

    Raises:
        NasError: none are kept, or they are damaged.
    """
    file = weights_file(weights_folder(result.store, data_dir, result.study.id), trial.evaluation.id)
    if not file.exists():
        raise NasError(f"no weights of trial {trial.number} are kept (only the best trials' are): use --weights full")
    skeleton = outline(trial.architecture)  # an unknown block is no damage of the weights
    try:
        state = read_tensors(file.read_bytes())
        skeleton.load_state_dict(state, assign=True)
        return state
    except OSError as error:
        reason = str(error.strerror)
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        reason = "they are damaged"
    raise NasError(f"cannot use the stored weights {str(file)!r}: {reason}; use --weights full")


def _record(store: StudyStore, trial: TrialResult, written: Export) -> None:
    card = written.network.card
    store.record_export(
        trial.evaluation.id,
        os.fsencode(written.folder.resolve()).decode(errors="backslashreplace"),
        val_accuracy=card.val_accuracy,
        test_accuracy=card.test_accuracy,
        architecture_sha256=card.architecture_sha256,
        weights_sha256=card.weights_sha256,
    )


def _time_needed(trial: TrialResult, recipe: Recipe) -> str:
    evaluation = trial.evaluation
    known = evaluation.seconds is not None and evaluation.epochs > 0
    time = show_duration((evaluation.seconds or 0) / evaluation.epochs * recipe.epochs) if known else "an unknown time"
    return f"training trial {trial.number} for {recipe.epochs} epochs takes about {time} (--weights stored skips it)"


def write_network(
    folder: Path,
    architecture: Architecture,
    state: dict[str, Tensor],
    data: Dataset,
    test: Split | None,
    *,
    flipped: bool = False,
    **facts: Any,
) -> Export:
    """Write a bundle whose card holds what the network read back from it measures, on validation and test split.

    `flipped` measures the test split once more, with test-time augmentation; see `mirrored_accuracy`.

    Raises:
        RunError: weights are not finite, or the network read back gives other logits than the trained one.
    """
    if not all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point()):
        raise RunError("the training left weights that are NaN or infinite; nothing was written")
    device = data.train.images.device
    counted = cost(architecture)
    facts |= {
        "classes": data.classes,
        "mean": data.mean,
        "std": data.std,
        "input_size": data.resolution,
        "dataset": data.name,
        "dataset_fingerprint": data.fingerprint,
        "params": counted.params,
        "macs": counted.macs,
        "activations": counted.activations,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    trained = build(architecture, device=device).eval()
    trained.load_state_dict(state)

    def measure(loaded: TrainedNetwork) -> dict[str, Any]:
        loaded.to(device)

        def as_it_predicts(images: Tensor) -> Tensor:
            return loaded(loaded.normalise(images)).float()

        return {
            "largest_logit_difference": _compare(trained, loaded, data),
            "val_accuracy": _accuracy(loaded, data.validation),
            "test_accuracy": None if test is None else _accuracy(loaded, test),
            "test_accuracy_flipped": mirrored_accuracy(as_it_predicts, test) if test and flipped else None,
            "test_images": None if test is None else len(test),
        }

    card = write_bundle(folder, architecture, state, facts, measure, describe)
    assert card.val_accuracy is not None
    return Export(folder, load(folder), card.val_accuracy, card.test_accuracy)


def _compare(trained: Network, loaded: TrainedNetwork, data: Dataset) -> float:
    """The largest difference in logits between the trained network and the one read back."""
    images = data.validation.images[:COMPARED]
    expected = logits(trained, images, Preprocess(data, trained.architecture.resolution, images.device))
    with torch.inference_mode():
        found = loaded(loaded.normalise(images)).float()
    difference = (found - expected).abs().max().item()
    if not difference <= 1e-3 * max(1.0, expected.abs().max().item()):
        raise RunError(
            f"the exported network's logits differ from the trained one's by {difference}; nothing was written"
        )
    return difference


def _accuracy(network: TrainedNetwork, split: Split) -> float:
    """Accuracy through the bundle's own preprocessing, as `predict` would see it."""
    right = 0
    with torch.inference_mode():
        for images, labels in zip(split.images.split(COMPARED), split.labels.split(COMPARED), strict=True):
            right += int((network(network.normalise(images)).argmax(1) == labels).sum())
    return right / len(split)
