"""`nas.confirm` with a training that is faked: who takes part, who wins, what is repeated and what is recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_search import Fake, small_search

import nas
from nas.confirming.randoms import limits_of
from nas.confirming.training import Trained
from nas.errors import NasError, RunError, Unfinished
from nas.training.recipe import Recipe
from nas.training.seeds import derive_seed
from searchspace import Architecture, Dimension, SearchSpace, Stage, Task, build
from searchspace.blocks import Conv
from searchspace.spaces import SPACES
from studies import StudyStore

Score = Callable[[Architecture, int], float]
TEN = "resnet20,random"


def body(choices: Any, task: Task) -> Architecture:
    stage = Stage(block=Conv(width=int(choices["width"])), depth=int(choices["depth"]))
    return Architecture(channels=task.channels, resolution=task.resolution, classes=task.classes, stages=(stage,))


SPACE = SearchSpace(
    "test-confirm",
    "networks near each other in cost",
    (Dimension("width", tuple(range(24, 44)), ordered=True), Dimension("depth", (2, 3), ordered=True)),
    body,
)


@dataclass
class FakeTrainer:
    """Scores an architecture by its width and a seed by its number; what it was asked stands in `trained`."""

    score: Score
    trained: list[tuple[str, int, int]] = field(default_factory=list)
    tested: list[str] = field(default_factory=list)
    forgotten: int = 0
    end: Callable[[int], str | None] = lambda number: None
    error: type[RunError] = RunError
    number: float | None = None  # of all weights
    meanwhile: Callable[[], object] = lambda: None

    def train(self, architecture: Architecture, recipe: Recipe, seed: int) -> Trained:
        self.trained.append((architecture.digest, recipe.epochs, seed))
        reason = self.end(len(self.trained))
        if reason is not None:
            raise self.error(reason)
        self.meanwhile()
        state = {name: value.clone() for name, value in build(architecture).state_dict().items()}
        for value in state.values() if self.number is not None else ():
            value.fill_(self.number)
        return Trained(self.score(architecture, seed), recipe.epochs, 1.0, state)

    def forget(self, architecture: Architecture, recipe: Recipe, seed: int) -> None:
        self.forgotten += 1

    def test(self, architecture: Architecture, weights: dict[str, torch.Tensor]) -> float | None:
        self.tested.append(architecture.digest)
        return 0.5


def width_of(architecture: Architecture) -> int:
    block = architecture.stages[0].block
    return block.width if isinstance(block, Conv) else 0


def by_width(architecture: Architecture, seed: int) -> float:
    """Wider is better, by more than the seeds differ."""
    return width_of(architecture) / 50 + seed % 7 / 10_000


def by_seed(architecture: Architecture, seed: int) -> float:
    """Nothing but noise."""
    return 0.5 + derive_seed(seed, architecture.digest) % 101 / 1000


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of six trials whose search scores are the reverse of the truth."""
    SPACES.setdefault(SPACE.name, SPACE)
    folder = tmp_path_factory.mktemp("study")
    fake = Fake(accuracy=lambda architecture: 0.9 - width_of(architecture) / 200)
    settings: dict[str, Any] = {"budget": 6, "evaluate": fake, "pruner": "none", "sampler": "random"}
    small_search(f"sqlite:///{folder}/nas.db", SPACE, max_params="30k", limit_train=None, **settings)
    return folder


@pytest.fixture
def storage(searched: Path, tmp_path: Path) -> str:
    (tmp_path / "nas.db").write_bytes((searched / "nas.db").read_bytes())
    return f"sqlite:///{tmp_path}/nas.db"


def confirmed(storage: str, trainer: FakeTrainer, **settings: Any) -> nas.Confirmation:
    given = {"top": 3, "seeds": 3, "epochs": 20, "baselines": "none", "device": "cpu"}
    return nas.confirm(storage=storage, trainer=lambda data: trainer, **{**given, **settings})


def test_the_mean_over_new_seeds_chooses_and_not_the_search(storage: str) -> None:
    trainer = FakeTrainer(by_width)
    found = confirmed(storage, trainer)
    widest = max(found.leaders, key=lambda one: width_of(one.contestant.architecture))
    assert found.winner is widest
    assert found.winner is not found.leaders[0], "the search's order is the reverse, or this shows nothing"
    assert len(trainer.trained) == len(set(trainer.trained)) == 9
    assert found.sure
    frame = found.table()
    assert frame["val_accuracy"].is_monotonic_decreasing
    assert frame["trial"][0] == found.winner.contestant.trial


def test_what_only_noise_orders_is_not_told_apart(storage: str) -> None:
    assert not confirmed(storage, FakeTrainer(by_seed)).sure
    one = confirmed(storage, FakeTrainer(by_width), seeds=1)
    assert not one.sure
    assert one.table()["half_width"].isna().all()


def test_the_test_split_is_for_the_winner_and_the_baselines_and_measured_once(storage: str) -> None:
    trainer = FakeTrainer(by_width)
    found = confirmed(storage, trainer, baselines=TEN)
    rivals = {one.contestant.architecture.digest for one in found.baselines}
    assert set(trainer.tested) == {found.winner.contestant.architecture.digest} | rivals
    assert len(trainer.tested) == 3 * (1 + len(rivals))
    again = FakeTrainer(by_width)
    assert confirmed(storage, again, baselines=TEN).lines == found.lines
    assert (again.trained, again.tested) == ([], [])


def test_baselines_cost_what_the_first_leader_does(storage: str) -> None:
    found = confirmed(storage, FakeTrainer(by_width), baselines=TEN)
    assert [one.contestant.role for one in found.baselines] == ["baseline", "random"]
    assert found.macs == found.leaders[0].contestant.cost.macs
    for one in found.baselines:
        assert abs(one.contestant.cost.macs / found.macs - 1) <= 0.15
    assert found.baselines[1].contestant.cost.params <= 30_000, "the study's limit"
    assert found.random_search is not None
    assert found.random_search.trained > 1


def test_the_studys_limits_are_known_from_its_trials(storage: str) -> None:
    with StudyStore(storage) as store:
        limits, unknown = limits_of(store, store.study("s"), batch_size=128, optimizer="muon")
    assert (limits.max_params, limits.max_macs, unknown) == (30_000, None, ())


def test_an_interrupted_confirmation_goes_on_and_repeats_nothing(storage: str) -> None:
    stopping: list[bool] = []

    def end(number: int) -> str | None:
        if number < 5:
            return None
        stopping.append(True)
        return "the training was interrupted"

    first = FakeTrainer(by_width, end=end)
    with pytest.raises(RunError, match="interrupted"):
        confirmed(storage, first, stop=lambda: bool(stopping))
    assert first.forgotten == 4, "the interrupted one's checkpoint stays"
    second = FakeTrainer(by_width)
    found = confirmed(storage, second)
    assert len(second.trained) == 5
    assert second.trained[0] == first.trained[-1]
    assert not set(second.trained) & set(first.trained[:4])
    assert all(len(one.scores) == 3 for one in found.leaders)


def test_a_failed_training_is_recorded_and_the_rest_goes_on(storage: str) -> None:
    failing = FakeTrainer(by_width, end=lambda number: "the training failed: the loss was nan" if number == 1 else None)
    found = confirmed(storage, failing)
    assert len(failing.trained) == 9
    assert [one.reason for one in found.leaders[0].failed] == ["the loss was nan"]
    assert found.winner.contestant != found.leaders[0].contestant
    again = FakeTrainer(by_width)
    confirmed(storage, again)
    assert again.trained == [], "it would fail again"


def test_where_every_leader_fails_nobody_wins(storage: str) -> None:
    with pytest.raises(RunError, match="no training of a leader completed: the loss was nan"):
        confirmed(storage, FakeTrainer(by_width, end=lambda number: "the training failed: the loss was nan"))


def kept_weights(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("nas-confirmed/*/*.safetensors")}


def test_all_weights_stay_but_those_of_the_published_baselines(storage: str, tmp_path: Path) -> None:
    found = confirmed(storage, FakeTrainer(by_width), baselines=TEN)
    own = [*found.leaders, *(one for one in found.baselines if one.contestant.role == "random")]
    assert kept_weights(tmp_path) == {one.id for each in own for one in each.trainings}
    best = found.winner.best
    assert best is not None
    with StudyStore(storage) as store:
        chosen = store.confirmations.chosen(found.study.id)
    assert chosen is not None
    assert chosen.id == best.id
    assert best.val_accuracy == max(found.winner.scores.values())


def test_with_fewer_seeds_later_the_winner_still_has_weights(storage: str, tmp_path: Path) -> None:
    found = confirmed(storage, FakeTrainer(by_width))
    best = found.winner.best
    assert best is not None
    seeds = list(found.winner.scores)
    assert seeds.index(best.seed) > 0, "the best seed is not the first, or this shows nothing"
    confirmed(storage, FakeTrainer(by_width), seeds=1)
    with StudyStore(storage) as store:
        chosen = store.confirmations.chosen(found.study.id)
    assert chosen is not None
    assert chosen.seed == seeds[0]
    assert chosen.id in kept_weights(tmp_path)


def test_a_random_network_that_becomes_a_trial_and_wins_is_a_leader(storage: str, tmp_path: Path) -> None:
    tried = set(nas.open_study(storage, "s").rank()["digest"])

    def untried(architecture: Architecture, seed: int) -> float:
        return float(architecture.digest not in tried)

    random = confirmed(storage, FakeTrainer(untried), baselines="random").baselines[0].contestant.architecture
    fake, settings = Fake(accuracy=lambda architecture: 0.1), {"pruner": "none", "sampler": "random"}
    small_search(
        storage, SPACE, max_params="30k", limit_train=None, budget=7, start_from=[random], evaluate=fake, **settings
    )
    found = confirmed(storage, FakeTrainer(untried), top=7)
    assert found.winner.contestant.architecture.digest == random.digest
    with StudyStore(storage) as store:
        chosen = store.confirmations.chosen(found.study.id)
    assert chosen is not None
    assert (chosen.role, chosen.trial_number) == ("leader", found.winner.contestant.trial)
    assert chosen.id in kept_weights(tmp_path)


def test_what_ran_out_of_memory_after_an_epoch_goes_on_with_the_same_command(storage: str) -> None:
    reason = "the training failed: out of memory; the same command resumes at epoch 4 of 20"
    first = FakeTrainer(by_width, end=lambda number: reason if number == 1 else None, error=Unfinished)
    found = confirmed(storage, first)
    assert [one.reason for one in found.leaders[0].failed] == [reason.removeprefix("the training failed: ")]
    assert first.forgotten == 8, "its checkpoint stays"
    second = FakeTrainer(by_width)
    assert all(len(one.scores) == 3 for one in confirmed(storage, second).leaders)
    assert second.trained == first.trained[:1]


def test_limits_that_were_lifted_hold_nobody(storage: str) -> None:
    settings = {"pruner": "none", "sampler": "random", "evaluate": Fake()}
    small_search(storage, SPACE, limit_train=None, budget=7, **settings)
    with StudyStore(storage) as store:
        limits, unknown = limits_of(store, store.study("s"), batch_size=128, optimizer="muon")
    assert (limits.given, unknown) == ({}, ())


def test_more_seeds_train_only_what_is_new(storage: str) -> None:
    confirmed(storage, FakeTrainer(by_width), seeds=2)
    more = FakeTrainer(by_width)
    found = confirmed(storage, more, seeds=3)
    assert len(more.trained) == 3
    assert all(len(one.scores) == 3 for one in found.leaders)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top": 0}, "top is a whole number of at least 1, given 0"),
        ({"seeds": -1}, "seeds is a whole number of at least 1"),
        ({"baselines": "resnet2"}, "no reference named 'resnet2'"),
        ({"baselines": "none,resnet20"}, "none stands alone"),
        ({"baselines": "inception_v3"}, "no baseline suits these images"),
    ],
)
def test_wrong_input_is_refused_before_any_training(storage: str, settings: dict[str, Any], message: str) -> None:
    trainer = FakeTrainer(by_width)
    with pytest.raises(NasError, match=message):
        confirmed(storage, trainer, **settings)
    assert trainer.trained == []


def test_fewer_trials_than_asked_for_are_all_taken(storage: str) -> None:
    assert len(confirmed(storage, FakeTrainer(by_width), top=50, seeds=1).leaders) == 6


def test_images_that_moved_under_another_name_repeat_nothing(tmp_path: Path) -> None:
    SPACES.setdefault(SPACE.name, SPACE)
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (80, 8, 8), dtype=np.uint8), "y_train": np.arange(80) % 4}
    np.savez(tmp_path / "old.npz", **arrays)
    given = {"space": SPACE.name, "budget": 2, "epochs": 3, "pruner": "none", "sampler": "random", "device": "cpu"}
    storage = f"sqlite:///{tmp_path}/nas.db"
    nas.search(str(tmp_path / "old.npz"), storage=storage, evaluate=Fake(), **given)
    confirmed(storage, first := FakeTrainer(by_width), top=1, seeds=2)
    assert len(first.trained) == 2
    (tmp_path / "old.npz").rename(tmp_path / "new.v2.npz")
    confirmed(storage, again := FakeTrainer(by_width), top=1, seeds=2, dataset=str(tmp_path / "new.v2.npz"))
    assert again.trained == []


def test_the_weights_that_are_kept_are_those_of_the_training_that_is_recorded(storage: str, tmp_path: Path) -> None:
    """Another confirmation completes the same training first, on another device, say."""
    other = FakeTrainer(lambda architecture, seed: 0.8, number=2.0)
    slow = FakeTrainer(
        lambda architecture, seed: 0.6, number=1.0, meanwhile=lambda: confirmed(storage, other, top=1, seeds=1)
    )
    one = confirmed(storage, slow, top=1, seeds=1).leaders[0].trainings[0]
    assert one.val_accuracy == 0.8
    weights = load_file(next(tmp_path.glob(f"nas-confirmed/*/{one.id}.safetensors")))
    assert {value.flatten()[0].item() for value in weights.values() if value.is_floating_point()} == {2.0}
