"""Every network that a named space can say is sound: shown on samples, and on spaces and blocks broken on purpose."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from searchspace import SPACES, Architecture, SearchSpace, Task, build, cost
from searchspace.blocks import Conv
from searchspace.blocks.boost import BoostedChannels
from searchspace.network import Network, outline

LIMITS = {"tiny": (5_000, 300_000), "cifar": (50_000, 20_000_000), "mobile": (50_000, 8_000_000)}
TASKS = [Task(1, 8, 10), Task(3, 64, 100), Task(3, 224, 5)]
PIXELS = 16  # smaller than the task's 32, to save time: every stride still leaves 2 pixels

each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads and lose much to a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sampled(space: SearchSpace, count: int) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """`count` random choices and `count` mutants in a line of descent, each with its parent."""
    rng = random.Random(space.name)
    for _ in range(count):
        choices = space.random(rng)
        yield "random", choices, choices
    for _ in range(count):
        mutant = space.mutate(choices, rng)
        yield "mutant", choices, mutant
        choices = mutant


def examine(architecture: Architecture, limits: tuple[int, int]) -> None:
    """Everything that must hold of one network; one build, one pass forward and one back."""
    network = Network(architecture)
    network.train()
    images = torch.randn(4, architecture.channels, PIXELS, PIXELS)
    logits = network(images)
    assert logits.shape == (4, architecture.classes), "wrong shape of logits"
    assert torch.isfinite(logits).all(), "output is not finite"
    logits.square().sum().backward()
    learnt = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    frozen = params_of(network) - sum(parameter.numel() for _, parameter in learnt)
    assert frozen == sum(params_of(boost.learner) for boost in boosts(network)), "more is frozen than a boost's learner"
    without = [name for name, parameter in learnt if parameter.grad is None]
    assert not without, f"no gradient reaches {without}"
    params = params_of(network)
    assert cost(architecture).params == params, "cost differs from the built network"
    assert limits[0] <= params <= limits[1], f"{params:,} parameters are out of the space's range"
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture, "JSON round trip changed the record"
    assert again.digest == architecture.digest, "JSON round trip changed the digest"


def boosts(network: Network) -> list[BoostedChannels]:
    return [module for module in network.modules() if isinstance(module, BoostedChannels)]


def params_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def examine_mutation(space: SearchSpace, parent: dict[str, Any], mutant: dict[str, Any]) -> None:
    changed = [name for name in parent.keys() & mutant.keys() if parent[name] != mutant[name]]
    assert len(changed) == 1, f"a mutation changed {changed}"
    assert len(space.encode(parent)) == len(space.encode(mutant)), "encodings differ in length"
    assert space.encode(parent) != space.encode(mutant), "encoding does not tell a mutant from its parent"


def examine_space(space: SearchSpace, count: int) -> None:
    torch.manual_seed(0)
    for origin, parent, choices in sampled(space, count):
        architecture = space.decode(choices)
        assert architecture == space.decode(choices), "decoding is not pure"
        examine(architecture, LIMITS[space.name])
        if origin == "mutant":
            examine_mutation(space, parent, choices)


@each_space
def test_sampled_and_mutated_networks_are_sound(space):
    examine_space(space, 20)


@pytest.mark.slow
@each_space
def test_a_thousand_sampled_and_mutated_networks_are_sound(space):
    examine_space(space, 500)


class TestTheExaminationCanFail:
    """The controls: each breaks one thing on purpose and must be caught by the check that is meant for it."""

    @pytest.fixture
    def architecture(self) -> Architecture:
        return SPACES["tiny"].decode(SPACES["tiny"].random(random.Random(0)))

    def spoil(self, monkeypatch, change) -> None:
        """Have `change` applied to every convolution block as it is built."""
        sound = Conv.build

        def spoilt(block: Conv, in_channels: int, context) -> nn.Module:
            return change(sound(block, in_channels, context))

        monkeypatch.setattr(Conv, "build", spoilt)

    def test_passes_without_a_change(self, architecture, monkeypatch):
        self.spoil(monkeypatch, lambda module: module)
        examine(architecture, LIMITS["tiny"])

    def test_an_unused_parameter(self, architecture, monkeypatch):
        def add(module: nn.Module) -> nn.Module:
            module.register_parameter("unused", nn.Parameter(torch.zeros(3)))
            return module

        self.spoil(monkeypatch, add)
        with pytest.raises(AssertionError, match="no gradient reaches"):
            examine(architecture, LIMITS["tiny"])

    def test_a_frozen_parameter_that_is_no_learners(self, architecture, monkeypatch):
        self.spoil(monkeypatch, lambda module: module.requires_grad_(False))
        with pytest.raises(AssertionError, match="more is frozen"):
            examine(architecture, LIMITS["tiny"])

    def test_an_output_that_is_not_finite(self, architecture, monkeypatch):
        class Overflow(nn.Module):
            def forward(self, x):
                return x * float("inf")

        self.spoil(monkeypatch, lambda module: nn.Sequential(module, Overflow()))
        with pytest.raises(AssertionError, match="not finite"):
            examine(architecture, LIMITS["tiny"])

    def test_a_block_that_is_larger_in_earnest_than_on_the_meta_device(self, architecture, monkeypatch):
        def grow(module: nn.Module) -> nn.Module:
            real = not next(module.parameters()).is_meta
            return nn.Sequential(module, nn.LazyBatchNorm2d() if real else nn.Identity())

        self.spoil(monkeypatch, grow)
        with pytest.raises(AssertionError, match="cost differs"):
            examine(architecture, LIMITS["tiny"])

    def test_a_network_out_of_range(self, architecture):
        with pytest.raises(AssertionError, match="out of the space's range"):
            examine(architecture, (5_000, 6_000))

    def test_a_lossy_json(self, architecture, monkeypatch):
        monkeypatch.setattr(Architecture, "to_json", lambda self: self.changed(drop_path=0.5).model_dump_json())
        with pytest.raises(AssertionError, match="round trip changed the record"):
            examine(architecture, LIMITS["tiny"])

    def test_a_mutation_of_two_dimensions_or_none(self):
        space, rng = SPACES["tiny"], random.Random(0)
        parent = space.random(rng)
        twice = parent | {"stage1/width": 24 - int(parent["stage1/width"]), "stage1/depth": 3 - parent["stage1/depth"]}
        for mutant in (twice, parent):
            with pytest.raises(AssertionError, match="a mutation changed"):
                examine_mutation(space, parent, mutant)

    def test_a_body_that_is_not_pure(self):
        counter = iter(range(1, 99))
        tiny = SPACES["tiny"]
        drifting = SearchSpace(
            "tiny", "", tiny.dimensions, lambda choices, task: tiny.body(choices, task).changed(classes=next(counter))
        )
        with pytest.raises(AssertionError, match="not pure"):
            examine_space(drifting, 1)


@each_space
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.channels}x{task.resolution}-{task.classes}")
def test_other_tasks_fit(space, task):
    rng = random.Random(7)
    for _ in range(3):
        choices = space.random(rng)
        base, architecture = space.base(choices, task), space.decode(choices, task)
        assert (base.channels, base.resolution, base.classes) == (task.channels, task.resolution, task.classes)
        assert architecture.resolution >= task.resolution
        network = build(architecture)
        images = torch.randn(2, task.channels, task.resolution, task.resolution)
        with torch.no_grad():
            assert network(images).shape == (2, task.classes)
        sides = map_sides(network, images)
        assert min(sides) == sides[-1] >= {8: 2, 64: 4, 224: 4}[task.resolution]
        assert sides[0] == {8: 8, 64: 64, 224: 56}[task.resolution]


@pytest.mark.parametrize(
    ("resolution", "sides"),
    [
        (4, [4, 2, 1, 1]),
        (8, [8, 4, 2, 2]),
        (28, [28, 14, 7, 7]),
        (32, [32, 16, 8, 4]),
        (64, [64, 32, 16, 8]),
        (96, [48, 24, 12, 6]),
        (224, [56, 28, 14, 7]),
        (600, [38, 19, 10, 5]),
    ],
)
def test_strides_follow_the_documented_rule(resolution, sides):
    space, rng = SPACES["cifar"], random.Random(11)
    choices = space.random(rng)
    while choices["stages"] != 4 or "dense" in choices.values():  # average pooling rounds odd sides down
        choices = space.random(rng)
    network = outline(space.base(choices, Task(resolution=resolution)))
    assert map_sides(network, torch.empty(1, 3, resolution, resolution, device="meta")) == sides


def map_sides(network: Network, images: torch.Tensor) -> list[int]:
    sides: list[int] = []
    hooks = [stage.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1])) for stage in network.stages]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return sides


@each_space
def test_random_networks_hold_every_family_they_may(space):
    rng = random.Random(0)
    seen = Counter(
        (stage.block.kind, getattr(stage.block, "separable", False) or getattr(stage.block, "fused", False))
        for _ in range(100)
        for stage in space.base(space.random(rng)).stages
    )
    mobile = {("mbconv", False), ("mbconv", True), ("conv", True)}
    every = mobile | {("conv", False), ("residual", False), ("inception", False), ("dense", False)}
    of_cifar = every | {("inception_residual", False)}
    assert set(seen) == {"tiny": every - {("conv", True)}, "cifar": of_cifar, "mobile": mobile}[space.name]


def test_features_reach_the_classifier_normalised():
    """Dense, pre-activation and inverted-bottleneck endings are normalised and activated by the head."""
    for space in SPACES.values():
        rng = random.Random(5)
        for _ in range(60):
            architecture = space.decode(space.random(rng))
            last, head = architecture.stages[-1].block, architecture.head
            if last.kind == "dense" or getattr(last, "preactivation", False):
                assert head.norm == "batch"
            if last.kind == "mbconv":
                assert len(head.blocks) == 1


def test_dense_stages_end_near_their_width():
    space, rng = SPACES["tiny"], random.Random(8)
    for _ in range(200):
        choices = space.random(rng)
        architecture = space.base(choices)
        channels = architecture.stem[0].out_channels(architecture.channels)
        for number, stage in enumerate(architecture.stages, 1):
            channels = stage.out_channels(channels)
            if stage.block.kind == "dense":
                assert channels <= 1.5 * int(choices[f"stage{number}/width"]), choices


def test_tiny_holds_resnet20_and_resnet14():
    choices: dict[str, Any] = {"activation": "relu", "scaling/phi": 0.5, "scaling/law": "depth"}
    for number, width in enumerate((16, 32, 64), 1):
        choices |= {f"stage{number}/family": "residual", f"stage{number}/width": width, f"stage{number}/depth": 2}
    resnet14, resnet20 = SPACES["tiny"].base(choices), SPACES["tiny"].decode(choices)
    assert [stage.depth for stage in resnet14.stages] == [2, 2, 2]
    assert cost(resnet20).params == 272_474  # He et al.'s ResNet-20 with projections: 269,722 + 2,752
    assert cost(resnet20).macs == pytest.approx(41e6, rel=0.02)


@each_space
def test_most_networks_are_far_from_the_limits_and_of_many_sizes(space):
    rng = random.Random(2)
    params = sorted(count(space.decode(space.random(rng))) for _ in range(60))
    assert params[45] > 2 * params[15]


@pytest.mark.slow
@each_space
def test_climbing_to_the_corners_stays_within_the_limits(space):
    rng = random.Random(1)
    for _ in range(2):
        assert count(space.decode(climb(space, rng, 1))) <= LIMITS[space.name][1]
        assert count(space.decode(climb(space, rng, -1))) >= LIMITS[space.name][0]


def climb(space: SearchSpace, rng: random.Random, sign: int) -> dict[str, Any]:
    """Greedy steps over single dimensions until none makes the network larger (sign 1) or smaller (sign -1)."""
    best = max((space.random(rng) for _ in range(30)), key=lambda choices: sign * count(space.decode(choices)))
    size = sign * count(space.decode(best))
    without_params = ("activation", "drop_path", "dropout")
    moved = True
    while moved:
        moved = False
        for dimension in [item for item in space.dimensions if item.name not in without_params]:
            for option in dimension.options if dimension.name in best else ():
                near = {**best, dimension.name: option}
                known = {name: value for name, value in near.items() if name in best}
                candidate = space._fill(lambda item, known=known: known.get(item.name, item.options[-1]))
                if sign * count(space.decode(candidate)) > size:
                    best, size, moved = candidate, sign * count(space.decode(candidate)), True
    return best


def count(architecture: Architecture) -> int:
    return sum(parameter.numel() for parameter in outline(architecture).parameters())
