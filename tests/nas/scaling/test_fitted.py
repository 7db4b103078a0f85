"""Directions fitted to a network: a planted best is found, noise is called noise, nothing is trained twice."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import nas
from nas import NasError, RunError
from nas.scaling.candidates import shares_of
from nas.scaling.fitted import ScalingFit
from nas.scaling.ground import find_ground
from nas.scaling.members import train_family
from nas.scaling.records import Scaled
from nas.scaling.start import Start
from nas.training.score import Diverged, EpochScore, Stopped
from searchspace import Architecture, Stage, cost
from searchspace.blocks import Conv, Pool
from searchspace.directions import DIRECTIONS, Pixels
from studies import Scalings, StudyStore

Accuracy = Callable[[Architecture, int], float]


def network(resolution: int = 8, depth: int = 4) -> Architecture:
    """Deep enough that directions differ after rounding."""
    stages = tuple(
        Stage(block=Conv(width=width, kernel_size=3), depth=depth, stride=2 if width > 32 else 1) for width in (32, 48)
    )
    return Architecture(channels=1, resolution=resolution, classes=10, stages=stages)


def depth_share(architecture: Architecture, start: Architecture) -> float:
    growth = math.log(cost(architecture).macs / cost(start).macs)
    return math.log(architecture.depth / start.depth) / growth


@dataclass
class Fake:
    """A training of one epoch that only remembers what it was asked."""

    accuracy: Accuracy
    trained: list[Architecture] = field(default_factory=list)

    def __call__(self, architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        if stop():
            raise Stopped
        self.trained.append(architecture)
        yield EpochScore(1, 1.0, self.accuracy(architecture, seed), 0.01, 100.0, 128)


def planted(best: float, noise: float = 0.002) -> Accuracy:
    """Highest where depth has this share of the growth."""

    def accuracy(architecture: Architecture, seed: int) -> float:
        random_part = random.Random(f"{architecture.digest} {seed}").gauss(0, noise)
        return 0.8 - 0.5 * (depth_share(architecture, network()) - best) ** 2 + random_part

    return accuracy


def fit(tmp_path: Path, evaluate: Any, what: Architecture | None = None, **settings: Any) -> ScalingFit:
    given: dict[str, Any] = {"storage": f"sqlite:///{tmp_path}/nas.db", "limit_train": 600, "device": "cpu"}
    return nas.fit_scaling(what or network(), "digits", evaluate=evaluate, **given | settings)


@pytest.mark.parametrize("best", [0.0, 0.3, 0.9])
def test_a_planted_direction_is_recovered(tmp_path: Path, best: float) -> None:
    found = fit(tmp_path, Fake(planted(best)), seeds=3)
    share = found.chosen.candidate.shares[0]
    nearest = min(abs(row.candidate.shares[0] - best) for row in found.rows)
    assert abs(share - best) == pytest.approx(nearest, abs=0.06), [row.candidate.shares for row in found.rows]
    assert abs(share - best) < 0.15
    scores = [row.mean for row in found.rows]
    assert found.chosen.mean >= max(scores) - found.verdict.error


def test_the_quadratic_proposes_what_no_published_direction_gives(tmp_path: Path) -> None:
    found = fit(tmp_path, Fake(planted(0.6, noise=0.0003)), limit_train=1400)
    assert found.chosen.candidate.name == "fitted", found.refit
    assert found.chosen.candidate.digest not in {row.candidate.digest for row in found.rows[:-1]}
    assert found.direction.name == "fitted"
    assert found.verdict.sure


def test_the_exponents_are_those_of_the_network_that_was_measured(tmp_path: Path) -> None:
    """`even` asks for half of the growth in depth, and rounding makes it a third."""
    found = fit(tmp_path, Fake(planted(0.3, noise=0.0003)))
    assert found.chosen.candidate.name == "even"
    assert found.chosen.candidate.direction.exponents == pytest.approx((0.5, 0.5, 0))
    assert found.direction.exponents == pytest.approx(found.chosen.candidate.shares)
    macs = found.chosen.candidate.scaled.cost.macs
    again = nas.scale(found.start, max_macs=2 * found.cost.macs, direction=found.direction).best
    assert (again.cost.macs, again.architecture.digest) == (macs, found.chosen.candidate.digest)


def test_of_pure_noise_it_says_that_it_is_not_sure(tmp_path: Path) -> None:
    def noise(architecture: Architecture, seed: int) -> float:
        return 0.7 + random.Random(f"{architecture.digest} {seed}").gauss(0, 0.01)

    found = fit(tmp_path, Fake(noise))
    assert not found.verdict.sure
    assert "not sure" in found.why


def test_a_tie_goes_to_the_network_with_the_fewest_activations(tmp_path: Path) -> None:
    found = fit(tmp_path, Fake(lambda architecture, seed: 0.7))
    cheapest = min(found.rows, key=lambda row: row.candidate.scaled.cost.activations)
    assert found.chosen is cheapest
    assert found.chosen.candidate.name == "width"


def test_the_same_call_trains_nothing_again(tmp_path: Path) -> None:
    first, second, third = Fake(planted(0.3)), Fake(planted(0.3)), Fake(planted(0.3))
    found = fit(tmp_path, first)
    assert len(first.trained) == found.trainings == 2 * len(found.rows)
    said: list[str] = []
    again = fit(tmp_path, second, say=said.append)
    assert second.trained == []
    assert again == found
    assert any("nothing is trained" in line for line in said)
    fit(tmp_path, third, seeds=3)
    assert len(third.trained) == len(found.rows)  # the third seed alone
    with StudyStore(f"sqlite:///{tmp_path}/nas.db") as store:
        listed = Scalings(store).trainings()
    assert len(listed) == 3 * len(found.rows)
    assert set(listed["direction"]) == {row.candidate.name for row in found.rows}


def test_other_epochs_seeds_and_images_are_trained_for_themselves(tmp_path: Path) -> None:
    fit(tmp_path, Fake(planted(0.3)))
    others: tuple[dict[str, Any], ...] = ({"epochs": 3}, {"seed": 5}, {"limit_train": 500})
    for settings in others:
        fake = Fake(planted(0.3))
        fit(tmp_path, fake, **settings)
        assert fake.trained, settings


def test_an_interruption_loses_the_running_training_alone(tmp_path: Path) -> None:
    fake = Fake(planted(0.3))
    with pytest.raises(RunError, match="3 trainings of this run are in the database"):
        fit(tmp_path, fake, stop=lambda: len(fake.trained) == 3)
    later = Fake(planted(0.3))
    found = fit(tmp_path, later)
    assert len(later.trained) == found.trainings - 3


def test_a_direction_whose_training_fails_is_left_out_and_said(tmp_path: Path) -> None:
    def accuracy(architecture: Architecture, seed: int) -> float:
        if depth_share(architecture, network()) > 0.8:
            raise Diverged("the loss became NaN")
        return planted(0.0)(architecture, seed)

    said: list[str] = []
    fake = Fake(accuracy)
    found = fit(tmp_path, fake, say=said.append)
    failed = [each.digest for each in fake.trained if depth_share(each, network()) > 0.8]
    assert len(failed) == len(set(failed)), "what failed is not proposed again"
    assert "depth" not in [row.candidate.name for row in found.rows]
    assert {each.name: each.reason for each in found.left_out}["depth"] == "its training failed: the loss became NaN"
    assert any(line.startswith("depth, seed 1 of 2: failed") for line in said)
    with pytest.raises(RunError, match="fewer than two networks could be trained"):
        fit(tmp_path / "..", Fake(lambda architecture, seed: (_ for _ in ()).throw(Diverged("NaN"))), seed=9)


def test_a_second_size_follows_what_was_learnt_without_training(tmp_path: Path) -> None:
    found = fit(tmp_path, Fake(planted(0.3)))
    storage = f"sqlite:///{tmp_path}/nas.db"
    done = nas.scale(found.start, max_macs=5 * found.cost.macs, direction="fitted", storage=storage)
    assert done.direction == found.direction.name
    assert done.why.startswith("fitted on 20")
    assert found.why in done.why
    assert done.best.share >= 0.98
    assert (
        done.best.architecture.digest
        == nas.scale(found.start, max_macs=5 * found.cost.macs, direction=found.direction).best.architecture.digest
    )
    assert {row.law for row in done.laws} >= {*DIRECTIONS, done.direction}
    family = nas.scale_family(found.start, [1, 2], direction="fitted", storage=storage)
    assert family.members[0].architecture.digest == found.chosen.candidate.digest
    with pytest.raises(NasError, match=r"no direction was fitted to .* give --fit"):
        nas.scale(network(depth=3), max_macs="9M", direction="fitted", storage=storage)


def test_small_images_leave_resolution_out_and_larger_ones_do_not(tmp_path: Path) -> None:
    small = fit(tmp_path, Fake(planted(0.3)))
    assert "nothing is left to grow" in {each.name: each.reason for each in small.left_out}["resolution"]
    grown = fit(tmp_path, Fake(planted(0.3)), resolution_range=(8, 24))
    assert any(row.candidate.shares[2] > 0.5 for row in grown.rows)
    assert "resolution" not in [each.name for each in grown.left_out]


def test_shares_are_those_of_the_network_and_sum_to_one() -> None:
    start = Start(network(), Pixels(8, 24))
    for name in DIRECTIONS:
        row: Scaled = nas.scale(
            start.architecture, max_macs=2 * cost(start.architecture).macs, direction=name, resolution_range=(8, 24)
        ).best
        shares = shares_of(start, row)
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
        if name in ("width", "depth"):
            assert shares[("depth", "width", "resolution").index(name)] > 0.8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seeds": 0}, "1 to 100 seeds, given 0"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_wrong_input_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(NasError, match=words):
        fit(tmp_path, Fake(planted(0.3)), **settings)


def test_fewer_than_two_directions_are_refused_with_the_reasons(tmp_path: Path) -> None:
    """A body that pools has no blocks to repeat, so every direction widens the stem alone."""
    stem = (Stage(block=Conv(width=16, kernel_size=3)), Stage(block=Conv(width=24, kernel_size=3)))
    alone = Architecture(channels=1, resolution=8, classes=10, stem=stem, stages=(Stage(block=Pool(), stride=2),))
    with pytest.raises(NasError, match=r"two directions or more are compared, and 1 can double .* depth: it gives"):
        fit(tmp_path, Fake(planted(0.3)), alone)


def test_without_images_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NasError, match="give --dataset"):
        nas.fit_scaling("resnet20", storage=f"sqlite:///{tmp_path}/nas.db")


def test_a_network_that_two_sizes_share_is_trained_once(tmp_path: Path) -> None:
    trained: list[str] = []

    def evaluate(architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        trained.append(architecture.digest)
        facts = {"train_loss": 1.0, "seconds": 0.1, "images_per_second": 1.0, "batch_size": 2}
        yield EpochScore(epoch=1, val_accuracy=0.5 + len(trained) / 100, **facts)

    given: dict[str, Any] = dict.fromkeys(("resolution", "resolution_range", "study"))
    given |= {"dataset": "digits", "limit_train": 100, "seed": 0, "device": "cpu", "data_dir": tmp_path}
    ground = find_ground("resnet20", storage=f"sqlite:///{tmp_path}/nas.db", **given)
    family = nas.scale_family(ground.start.architecture, [1, 1.001])
    scored = train_family(family, ground, evaluate, say=lambda text: None)
    assert len(trained) == 1
    assert [member.val_accuracy for member in scored.members] == [0.51, 0.51]
