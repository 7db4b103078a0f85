"""A network scaled to limits takes 98 to 100 % of the one that binds, or says why not; no run gives another network."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import nas
import nas.scaling.scaleup
from nas import NasError
from nas.limits import Limits
from nas.meter import Meter
from nas.scaling.fit import NothingFits, fit
from nas.training.score import EpochScore
from searchspace import REFERENCES, SPACES, Architecture, ArchitectureError, build, cost, reference
from searchspace.directions import DIRECTIONS, Direction, Pixels, along, default_direction, find_direction
from searchspace.scaling import ScalingLaw

ALL = pytest.mark.parametrize("direction", DIRECTIONS)
SMALL = ("resnet20", "lenet5", "densenet_bc_100_12", "wrn_16_8")
FACTORS = (0.3, 0.71, 1.9, 5.0)


def sampled(space: str, seed: int) -> Architecture:
    found = SPACES[space]
    return found.base(found.random(random.Random(seed)))


def check_promise(done: nas.Scaling) -> None:
    """What is promised of every law's network."""
    for row in done.laws:
        counted = cost(row.architecture)
        assert counted == row.cost
        amounts = done.limits.amounts(counted)
        assert row.share == pytest.approx(max(amounts[name] / limit for name, limit in done.limits.given.items()))
        assert row.within == all(amounts[name] <= limit for name, limit in done.limits.given.items())
        assert (0.98 <= row.share <= 1) or row.reason, row
        assert done.pixels.lowest <= row.architecture.resolution <= done.pixels.highest
        assert Architecture.from_json(row.architecture.to_json()) == row.architecture
    assert done.best.within


def check_scaled(net: Architecture, macs: int, direction: str | None = None) -> None:
    """The promise is kept, or this limit is below the smallest network of the direction."""
    chosen = find_direction(direction) if direction else default_direction(net)[0]
    smallest = cost(along(net, chosen.law, -20, Pixels(min(16, net.resolution), net.resolution))).macs
    if smallest > macs:
        with pytest.raises(NasError, match=f"the smallest along {chosen.name} has"):
            nas.scale(net, max_macs=macs, direction=direction)
    else:
        check_promise(nas.scale(net, max_macs=macs, direction=direction))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("factor", FACTORS)
def test_no_limit_is_exceeded_and_the_binding_one_is_used(name: str, factor: float) -> None:
    macs = round(cost(reference(name)).macs * factor)
    check_scaled(reference(name), macs, direction="width")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(2))
def test_networks_of_every_space_are_scaled_up_and_down(space: str, seed: int) -> None:
    net = sampled(space, seed)
    base = cost(net)
    for limits in (
        {"max_params": base.params * 3},
        {"max_macs": base.macs // 2},
        {"max_activations": base.activations * 2},
    ):
        done = nas.scale(net, **limits, direction="efficientnet")
        check_promise(done)
        build(done.best.architecture).eval()(torch.zeros(1, net.channels, *[done.best.architecture.resolution] * 2))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_references_are_scaled_to_the_limit_that_binds(name: str) -> None:
    base, direction = cost(reference(name)), default_direction(reference(name))[0]
    check_promise(nas.scale(name, max_params=base.params * 3, max_macs=base.macs * 3, direction=direction))


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", range(10, 12))
def test_samples_are_scaled_by_every_law(space: str, seed: int) -> None:
    net = sampled(space, seed)
    base = cost(net)
    for factor in FACTORS[::2]:
        check_scaled(net, round(base.macs * factor))


def test_all_laws_are_shown_and_the_one_for_the_images_is_chosen() -> None:
    done = nas.scale("resnet20", max_macs="100M", direction="all")
    laws = [row.law for row in done.laws]
    assert laws[: len(DIRECTIONS)] == list(DIRECTIONS)
    assert laws[len(DIRECTIONS) :] == ["efficientnet_b2", "tinynet_a", "regnet_x_800mf"]
    assert done.direction == "wide"
    assert done.best.binding == "macs"
    check_promise(done)
    wrong = done.best.architecture.changed(resolution=40)  # the control: a network beyond the limit would be noticed
    assert cost(wrong).macs > 100e6


@pytest.mark.parametrize("name", ["resnet20", pytest.param("wrn_16_8", marks=pytest.mark.slow)])
@ALL
def test_a_larger_limit_never_gives_less(name: str, direction: str) -> None:
    """The steps from one network to the next are passed in small strides."""
    base, law = reference(name), DIRECTIONS[direction].law
    found = []
    for stride in range(24):
        meter = Meter(Limits(max_macs=round(cost(base).macs * 0.6 * 1.07**stride)))
        try:
            found.append(meter.use(fit(base, law, meter, Pixels(16, 48)).architecture).cost.macs)
        except NothingFits:
            assert not found
    assert found == sorted(found)
    assert len(set(found)) > 4


def test_a_published_size_that_cannot_be_built_does_not_hide_larger_ones() -> None:
    rows = nas.scale("lenet5", resolution=28, max_macs="1M", direction="all").laws
    assert not [row.reason for row in rows if "inf" in row.reason]


def test_where_the_look_ends_the_reason_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.scaling.fit.DOUBLINGS", 2)
    network = cost(reference("lenet5"))
    done = nas.scale("lenet5", max_macs=1000 * network.macs, direction="wide")
    assert done.best.reason == "it is not looked further than phi 2"


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_trials_own_optimizer_counts_for_its_memory(optimizer: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nas.db"

    def fake(architecture: Architecture, *, seed: int, stop: Callable[[], bool]) -> Iterator[EpochScore]:
        yield EpochScore(1, 1.0, 0.5, 0.01, 100.0, 128)

    settings: dict[str, Any] = {"space": "tiny", "storage": storage, "data_dir": tmp_path, "optimizer": optimizer}
    nas.search("digits", budget=1, epochs=1, limit_train=300, device="cpu", evaluate=fake, **settings)
    done = nas.scale("trial:0", max_memory="40M", storage=storage)
    assert done.limits.optimizer == optimizer
    assert done.best.share <= 1
    assert done.limits.allow(cost(done.best.architecture))


def test_the_limit_that_binds_is_named() -> None:
    both = nas.scale("resnet20", max_macs="100M", max_params="400k", direction="width")
    assert both.best.binding == "params"
    wide = nas.scale("resnet20", max_macs="100M", max_params="40M", direction="width")
    assert wide.best.binding == "macs"
    assert (
        wide.best.architecture.digest
        == nas.scale("resnet20", max_macs="100M", direction="width").best.architecture.digest
    )


def test_memory_of_a_training_is_a_limit() -> None:
    small, large = (nas.scale("resnet20", max_memory="1G", batch_size=batch, direction="width") for batch in (512, 64))
    assert small.best.binding == "memory"
    assert 0.98 <= small.best.amounts["memory"] / 1e9 <= 1
    assert small.best.cost.activations < large.best.cost.activations


def test_scaling_up_and_down_again_comes_back_near() -> None:
    for name in ("resnet20", "wrn_16_8"):
        start = cost(reference(name))
        up = nas.scale(name, max_macs=start.macs * 3, direction="width").best.architecture
        back = nas.scale(up, max_macs=start.macs, direction="width").best
        assert back.cost.macs == pytest.approx(start.macs, rel=0.02)
        assert back.cost.params == pytest.approx(start.params, rel=0.2)
        assert [stage.depth for stage in back.architecture.stages] == [s.depth for s in reference(name).stages]


def test_the_same_input_gives_the_same_network() -> None:
    digests = {nas.scale("resnet20", max_macs="123M").best.architecture.digest for _ in range(2)}
    assert digests == {"fd33c24a571431ccd7874598d531df920e0fe1e00602035f88fabbafe622e9d5"}


@pytest.mark.parametrize(
    ("number", "macs", "params"), [(1, 0.687e9, 7.79e6), (2, 0.994e9, 9.11e6), (3, 1.827e9, 12.23e6)]
)
def test_b0_at_the_multiply_adds_of_b1_to_b3_has_about_their_parameters(
    number: int, macs: float, params: float
) -> None:
    best = nas.scale("efficientnet_b0", max_macs=round(macs), direction="efficientnet").best
    assert 0.98 * macs <= best.cost.macs <= macs
    assert best.cost.params == pytest.approx(params, rel=0.15), number


def test_dropout_follows_the_size_where_there_is_one() -> None:
    b0 = reference("efficientnet_b0")
    up, down = (
        nas.scale(b0, max_macs=round(cost(b0).macs * factor), direction="width").best.architecture
        for factor in (4, 0.5)
    )
    assert up.head.dropout == pytest.approx(0.3, abs=2e-3)
    assert down.head.dropout == pytest.approx(0.15, abs=2e-3)
    assert (up.drop_path, down.drop_path) == (0.2, 0.2)
    assert nas.scale("resnet20", max_macs="100M", direction="width").best.architecture.head.dropout == 0


def test_small_images_do_not_grow_unless_asked() -> None:
    assert {row.architecture.resolution <= 32 for row in nas.scale("resnet20", max_macs="100M").laws} == {True}
    grown = nas.scale("resnet20", max_macs="100M", direction="resolution", resolution_range=(24, 48)).best
    assert grown.architecture.resolution == 48
    assert "images stay within 48 pixels" in grown.reason
    assert nas.scale("resnet18", max_macs="3G", direction="resolution").best.architecture.resolution > 224
    small = nas.scale("resnet18", max_macs="3G", direction="efficientnet", resolution=32).best.architecture
    assert small.resolution == 32


def test_a_direction_of_ones_own_is_taken() -> None:
    own = Direction("mine", ScalingLaw(1.3, 1.2, 1.0), "fitted")
    done = nas.scale("resnet20", max_macs="100M", direction=own)
    assert [row.law for row in done.laws] == ["mine"]
    assert done.best.depth > nas.scale("resnet20", max_macs="100M", direction="width").best.depth


def test_latency_is_measured_only_when_asked_and_limits_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def of(device: str) -> Any:
        def latency(architecture: Architecture) -> float:
            measured.append(architecture.digest)
            return cost(architecture).activations / 1e5

        return latency

    monkeypatch.setattr(nas.scaling.scaleup, "_latency_on", of)
    nas.scale("resnet20", max_macs="100M", direction="width")
    assert not measured
    done = nas.scale("resnet20", max_macs="4G", max_latency="5ms")
    assert [row.law for row in done.laws] == ["wide"]
    assert done.best.binding == "latency"
    assert 0.98 <= done.best.amounts["latency"] / 5 <= 1
    assert len(measured) == len(set(measured)), "a network was measured twice"


def test_a_real_latency_is_measured() -> None:
    done = nas.scale("lenet5", max_macs="500k", max_latency="10s", direction="width", device="cpu")
    assert done.best.binding == "macs"
    assert 0 < done.best.amounts["latency"] < 10_000


def test_a_family_meets_its_targets() -> None:
    family = nas.scale_family("resnet20", [-1, 1, 2])
    base = cost(reference("resnet20"))
    assert family.direction == "wide"
    for member in family.members:
        assert member.target_macs == round(base.macs * 2**member.phi)
        assert -0.02 <= member.macs_error <= 0
        assert member.cost == cost(member.architecture)
    sizes = [member.cost.macs for member in family.members]
    assert sizes == sorted(sizes)
    deep = nas.scale_family("resnet20", [1], direction="depth").members[0]
    assert deep.architecture.depth > family.members[1].architecture.depth


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs a limit"),
        ({"max_macs": "10"}, "the smallest along wide has"),
        ({"max_macs": "100M", "max_params": "100"}, "the smallest along wide has .* params"),
        ({"max_macs": "100M", "direction": "widht"}, "did you mean 'width'"),
        ({"max_macs": "-5"}, "is not a count"),
        ({"max_latency": "fast"}, "is not a latency"),
        ({"max_macs": "100M", "resolution_range": (40, 20)}, "given 40 to 20"),
        ({"max_macs": "5M", "direction": "depth"}, "the smallest along depth has"),
    ],
)
def test_wrong_limits_are_refused_with_the_nearest(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(NasError, match=words):
        nas.scale("resnet20", **settings)


@pytest.mark.parametrize(
    ("phi", "direction", "words"),
    [
        ([], None, "one or more"),
        ([1, 1], None, "different"),
        ([float("nan")], None, "numbers from"),
        ([2.0], "resolution", "phi 2 along resolution cannot be met: 162M MACs are asked for, the nearest has 40.6M"),
        ([-9.0], "wide", "cannot be met"),
    ],
)
def test_a_phi_that_cannot_be_met_is_refused_with_the_nearest(phi: list[float], direction: str, words: str) -> None:
    with pytest.raises(NasError, match=words):
        nas.scale_family("resnet20", phi, direction=direction)


def test_a_network_that_cannot_be_built_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="too small"):
        nas.scale("vgg11_bn", max_macs="100M", resolution=8, direction="width")
