"""The learner of channel boosting: trained once for a data set, on its training split alone, and frozen ever after."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import nas
from nas.exporting import write_network
from nas.training import learner
from nas.training.data import Dataset, Split, load_dataset
from nas.training.learner import State, autoencoder, trained_encoder
from nas.training.recipe import Recipe
from nas.training.score import Diverged, EpochScore, Stopped
from nas.training.trial import train_architecture, train_to_the_end
from nas.weights import plain_state
from searchspace import Architecture, Network, Stage, boosted
from searchspace.blocks import Conv
from searchspace.blocks.boost import BoostedChannels

PLAIN = Architecture(channels=1, resolution=8, classes=10, stages=(Stage(block=Conv(width=8)),))
RECIPE = Recipe(epochs=2, batch_size=64, weight_decay=0.5)


@pytest.fixture(autouse=True)
def _one_thread_and_few_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(learner, "STEPS", 10)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def digits(tmp_path: Path) -> Dataset:
    return load_dataset("digits", limit_train=200, data_dir=tmp_path)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fingerprints of the data that an encoder was trained on, in order."""
    seen: list[str] = []

    def counted(dataset: Dataset, stop: Callable[[], bool]) -> State:
        seen.append(dataset.fingerprint)
        return trained_encoder(dataset, stop)

    monkeypatch.setattr(learner, "trained_encoder", counted)
    return seen


def run(dataset: Dataset, architecture: Architecture, **settings: Any) -> tuple[Network, list[EpochScore]]:
    scores = list(train_architecture(architecture, dataset, RECIPE, seed=0, **settings))
    network = scores[-1].network
    assert isinstance(network, Network)
    return network, scores


def learner_of(network: Network) -> State:
    (boost,) = (module for module in network.modules() if isinstance(module, BoostedChannels))
    return boost.learner.state_dict()


def same(first: State, second: State) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def only_file(dataset: Dataset) -> Path:
    (file,) = dataset.learners.iterdir()
    return file


# What it is trained on, and to what end


def test_it_learns_to_take_noise_away(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    real, losses = learner.functional.mse_loss, []

    def remembered(cleaned: Tensor, images: Tensor) -> Tensor:
        losses.append(real(cleaned, images))
        return losses[-1]

    monkeypatch.setattr(learner.functional, "mse_loss", remembered)
    monkeypatch.setattr(learner, "STEPS", 100)
    trained_encoder(digits)
    assert len(losses) == 100
    assert sum(losses[-10:]) / 10 < learner.NOISE**2 < losses[0]  # better than to leave the noise in


def test_validation_and_test_split_are_never_read(digits: Dataset) -> None:
    class Poison(Split):
        def __init__(self) -> None:
            pass

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"the validation split's {name} was read")

    def poisoned() -> Split:
        raise AssertionError("the test split was read")

    sealed = replace(digits, validation=Poison(), test_reader=poisoned)
    assert same(autoencoder(sealed), trained_encoder(digits))
    with pytest.raises(AssertionError, match=r"validation split's (images|labels) was read"):
        list(train_architecture(PLAIN, sealed, RECIPE, seed=0))


def test_it_depends_on_the_training_images(digits: Dataset) -> None:
    darker = replace(digits, train=Split(digits.train.images // 2, digits.train.labels))
    assert not same(trained_encoder(digits), trained_encoder(darker))


def test_large_images_are_seen_through_windows_and_odd_ones_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, shapes = learner.functional.mse_loss, set()

    def remembered(cleaned: Tensor, images: Tensor) -> Tensor:
        shapes.add((tuple(cleaned.shape[1:]), tuple(images.shape[1:])))
        return real(cleaned, images)

    monkeypatch.setattr(learner.functional, "mse_loss", remembered)
    for resolution, side in ((40, 32), (7, 7)):
        shapes.clear()
        trained_encoder(load_dataset("digits", limit_train=40, resolution=resolution, data_dir=tmp_path))
        assert shapes == {((1, side, side), (1, side, side))}


# In a training


def test_it_is_put_into_the_network_and_stays_as_it_is(digits: Dataset) -> None:
    first = next(train_architecture(boosted(PLAIN), digits, RECIPE, seed=0)).network
    assert isinstance(first, Network)
    adapter = {name: value.clone() for name, value in first.state_dict().items() if "adapter" in name}
    network, _ = run(digits, boosted(PLAIN))
    assert same(learner_of(network), autoencoder(digits))
    assert not torch.equal(network.state_dict()["stem.0.0.adapter.0.weight"], adapter["stem.0.0.adapter.0.weight"])


def test_the_control_trains_no_learner_and_keeps_its_own_start(digits: Dataset, trainings: list[str]) -> None:
    first = next(train_architecture(boosted(PLAIN, learner="random"), digits, RECIPE, seed=0)).network
    assert isinstance(first, Network)
    started = {name: value.clone() for name, value in learner_of(first).items()}
    network, _ = run(digits, boosted(PLAIN, learner="random"))
    assert same(learner_of(network), started)
    assert not same(learner_of(network), autoencoder(digits))
    assert len(trainings) == 1  # by the line above


def test_networks_without_a_boost_train_none(digits: Dataset, trainings: list[str]) -> None:
    run(digits, PLAIN)
    assert trainings == []
    assert not digits.learners.exists()


def test_a_training_is_the_same_whether_the_learner_was_kept_or_not(digits: Dataset, trainings: list[str]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    (first, new), (second, kept) = (run(digits, boosted(PLAIN)) for _ in range(2))
    assert torch.equal(torch.rand(2), expected), "the caller's random numbers are left alone"
    assert len(trainings) == 1
    assert [score.train_loss for score in new] == [score.train_loss for score in kept]
    assert same(first.state_dict(), second.state_dict())


def test_a_stop_ends_it_and_leaves_nothing(digits: Dataset) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        next(train_architecture(boosted(PLAIN), digits, RECIPE, seed=0, stop=lambda: next(asked)))
    assert not digits.learners.exists()


def test_fine_tuning_keeps_the_learner_that_the_weights_were_trained_with(
    digits: Dataset, tmp_path: Path, trainings: list[str]
) -> None:
    network, _ = run(digits, boosted(PLAIN))
    trunk = {name: tensor for name, tensor in plain_state(network).items() if "classifier" not in name}
    other = load_dataset("digits", limit_train=200, seed=1, data_dir=tmp_path)
    recipe = RECIPE.model_copy(update={"frozen_epochs": 1})
    tuned = list(train_architecture(boosted(PLAIN), other, recipe, seed=0, trunk=trunk))[-1].network
    assert isinstance(tuned, Network)
    assert same(learner_of(tuned), learner_of(network))
    assert not torch.equal(tuned.state_dict()["stem.0.0.adapter.0.weight"], trunk["stem.0.0.adapter.0.weight"])
    assert trainings == [digits.fingerprint]


def test_an_export_holds_it_and_needs_neither_data_nor_cache(digits: Dataset, tmp_path: Path) -> None:
    network, _ = train_to_the_end(boosted(PLAIN), digits, RECIPE, seed=0)
    state = plain_state(network)
    write_network(tmp_path / "net", boosted(PLAIN), state, digits, None)
    only_file(digits).unlink()
    loaded = nas.load(tmp_path / "net")
    x = torch.randn(5, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(x), network.eval()(x))  # exactly equal but for the memory format
    assert same(learner_of(loaded.network), trained_encoder(digits))
    assert not list(digits.learners.iterdir())


# Kept


def test_it_is_trained_once_for_a_data_set(digits: Dataset, trainings: list[str]) -> None:
    first = autoencoder(digits)
    assert same(first, autoencoder(replace(digits)))
    assert trainings == [digits.fingerprint]


def test_data_sets_and_splits_do_not_share_one(digits: Dataset, tmp_path: Path, trainings: list[str]) -> None:
    other = load_dataset("digits", limit_train=200, seed=1, data_dir=tmp_path)
    assert not same(autoencoder(digits), autoencoder(other))
    assert trainings == [digits.fingerprint, other.fingerprint]
    assert len(list(digits.learners.iterdir())) == 2


def damage_nothing(file: Path) -> None:
    """The control: an undamaged file is read."""


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1000] ^= 1
    file.write_bytes(data)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def another_shape(file: Path) -> None:
    from safetensors.torch import load, save

    state = {name: tensor[:1].contiguous() for name, tensor in load(file.read_bytes()).items()}
    file.write_bytes(save(state, {"sha256": learner._checksum(state)}))


@pytest.mark.parametrize(
    ("damage", "times"), [(damage_nothing, 1), (cut_off, 2), (flip_a_bit, 2), (empty, 2), (another_shape, 2)]
)
def test_a_damaged_file_is_made_anew(
    damage: Callable[[Path], None], times: int, digits: Dataset, trainings: list[str]
) -> None:
    first = autoencoder(digits)
    whole = only_file(digits).read_bytes()
    damage(only_file(digits))
    assert same(autoencoder(digits), first)
    assert len(trainings) == times
    assert only_file(digits).read_bytes() == whole


def test_where_it_cannot_be_kept_a_warning_says_so(digits: Dataset, tmp_path: Path, trainings: list[str]) -> None:
    (tmp_path / "file").touch()
    sealed = replace(digits, learners=tmp_path / "file" / "learners")
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"learners.*cannot be written, so every network trains it anew"):
            autoencoder(sealed)
    assert len(trainings) == 2


def test_a_learner_that_diverged_is_not_kept(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "RATE", 1e30)
    with pytest.raises(Diverged, match="channel boost's auto-encoder was"):
        autoencoder(digits)
    assert not digits.learners.exists()


# nas train --boost


def typed(tmp_path: Path, *arguments: str) -> Any:
    from click.testing import CliRunner

    from nas.cli import main

    file = tmp_path / "net.json"
    file.write_text(PLAIN.changed(name="net").to_json())
    words = ["train", str(file), "--dataset", "digits", "--limit-train", "100", "--epochs", "1", *arguments]
    return CliRunner().invoke(main, [*words, "--data-dir", str(tmp_path), "--json"], prog_name="nas")


def test_one_option_boosts_a_network_and_another_word_is_the_control(tmp_path: Path) -> None:
    plain, boost, control = (
        json.loads(typed(tmp_path, *option).stdout)
        for option in ([], ["--boost", "autoencoder"], ["--boost", "random"])
    )
    assert [each["architecture"] for each in (plain, boost, control)] == ["net", "net+autoencoder", "net+random"]
    assert plain["params"] < boost["params"] == control["params"]
    assert plain["macs"] < boost["macs"] == control["macs"]
    assert len(list((tmp_path / "learners").iterdir())) == 1


def test_a_learner_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    answer = typed(tmp_path, "--boost", "telepathy")
    assert answer.exit_code == 2
    assert "'telepathy' is not one of 'autoencoder', 'random'" in answer.stderr
