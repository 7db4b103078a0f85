"""Free scores: defined for every network, the same every time, and what their formulas say."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.free_scores import FREE_SCORES, free_scores, scoring_images
from nas.free_scores.preparation import activations, wide_awake
from nas.training.data import Dataset
from nas.training.evaluate import Preprocess
from nas.training.seeds import derive_seed
from searchspace import Architecture, Head, Network, Stage, build, cost
from searchspace.blocks import Block, ChannelBoost, Conv, InceptionResidual, MBConv, Residual
from searchspace.blocks.branches import ConvLayer
from searchspace.references import REFERENCES
from searchspace.space import Task
from searchspace.spaces import SPACES

VALUES = {"synflow", "nwot", "jacov", "zen", "params", "macs"} | {
    f"az_nas_{value}" for value in ("expressivity", "progressivity", "trainability")
}


def network_of(*blocks: Block, channels: int = 3, resolution: int = 16, classes: int = 10) -> Architecture:
    stages = tuple(Stage(block=block) for block in blocks)
    return Architecture(channels=channels, resolution=resolution, classes=classes, stages=stages)


PLAIN = network_of(Conv(width=8), Conv(width=16))


# Every network


@pytest.mark.parametrize("space", ["tiny", "cifar", "mobile"])
def test_every_score_is_finite_for_networks_of_the_named_spaces(space: str, images: Tensor) -> None:
    rng = random.Random(7)
    task = Task(channels=3, resolution=16, classes=10)
    seen: set[str] = set()
    for _ in range(4):
        architecture = SPACES[space].decode(SPACES[space].random(rng), task)
        side = architecture.resolution  # a law may raise it
        given = nn.functional.interpolate(images[:8], (side, side))
        found = free_scores(architecture, given)
        assert found.keys() == VALUES, VALUES - found.keys()
        assert all(math.isfinite(value) for value in found.values())
        seen |= {stage.block.kind for stage in architecture.stages}
    assert len(seen) > 1


@pytest.mark.slow
@pytest.mark.parametrize("space", ["tiny", "cifar", "mobile"])
def test_every_score_is_finite_for_many_networks(space: str, images: Tensor) -> None:
    rng = random.Random(1)
    for _ in range(25):
        architecture = SPACES[space].decode(SPACES[space].random(rng), Task(channels=3, resolution=16, classes=7))
        given = nn.functional.interpolate(images, (architecture.resolution, architecture.resolution))
        assert free_scores(architecture, given).keys() == VALUES


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_networks_without_normalisation_are_scored(activation: str, digits: Dataset) -> None:
    lenet = Architecture(
        channels=1,
        resolution=28,
        classes=10,
        stages=(
            Stage(block=Conv(width=6, kernel_size=5, norm="none", activation=activation)),  # type: ignore[arg-type]
            Stage(block=Conv(width=16, kernel_size=5, norm="none", activation=activation), stride=2),  # type: ignore[arg-type]
        ),
        head=Head(pool="max", hidden=(120, 84), activation=activation),  # type: ignore[arg-type]
    )
    assert free_scores(lenet, scoring_images(digits, 28)).keys() == VALUES


def test_lenet_is_scored(digits: Dataset) -> None:
    lenet = REFERENCES["lenet5"]().model_copy(update={"channels": 1})
    assert free_scores(lenet, scoring_images(digits, lenet.resolution)).keys() >= VALUES - {"zen"}


def test_what_a_network_does_not_have_is_left_out(images: Tensor) -> None:
    one_block = network_of(Conv(width=8, activation="none"))
    found = free_scores(one_block, images)
    assert not {name for name in found if name.startswith("az_nas")}  # of one block there is no progress
    assert "nwot" not in found  # nothing is activated
    assert {"synflow", "jacov", "params", "macs"} <= found.keys()


def test_equal_images_have_no_jacov_and_no_nwot(images: Tensor) -> None:
    found = free_scores(PLAIN, images[:1].expand(4, -1, -1, -1).contiguous())
    assert "nwot" not in found
    assert all(math.isfinite(value) for value in found.values())


# The same every time


def test_equal_seeds_score_alike_and_names_do_not_matter(images: Tensor) -> None:
    residual = network_of(Residual(width=8), Residual(width=16))
    all_of_them = free_scores(residual, images, seed=3)
    assert free_scores(residual, images, seed=3) == all_of_them
    for name in FREE_SCORES:
        alone = free_scores(residual, images, names=[name], seed=3)
        assert alone == {key: all_of_them[key] for key in alone}
        assert alone
    other = free_scores(residual, images, seed=4)
    assert all(other[name] != all_of_them[name] for name in VALUES - {"params", "macs"})


def test_the_global_random_numbers_stay_as_they_were(images: Tensor) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    free_scores(PLAIN, images)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_images_stay_as_they_were(images: Tensor) -> None:
    given = images.clone()
    free_scores(PLAIN, given)
    assert torch.equal(given, images)
    assert not given.requires_grad


def test_scoring_images_are_training_images_as_the_training_sees_them(digits: Dataset) -> None:
    given = scoring_images(digits, 8, seed=1)
    assert given.shape == (64, 1, 8, 8)
    assert torch.equal(scoring_images(digits, 8, seed=1), given)
    assert not torch.equal(scoring_images(digits, 8, seed=2), given)
    every = Preprocess(digits, 8, torch.device("cpu"))(digits.train.images)
    assert all(any(torch.equal(image, other) for other in every) for image in given)
    assert scoring_images(digits, 12).shape == (64, 1, 12, 12)


def test_unknown_names_and_too_many_images_are_refused(images: Tensor) -> None:
    with pytest.raises(NasError, match="did you mean 'synflow'"):
        free_scores(PLAIN, images, names=["synflo"])
    with pytest.raises(NasError, match="2 to 64 images, given 65"):
        free_scores(PLAIN, images[:1].expand(65, -1, -1, -1))
    with pytest.raises(NasError, match="given 1"):
        free_scores(PLAIN, images[:1])


# What they say


def test_sizes_are_those_of_cost(images: Tensor) -> None:
    counted = cost(PLAIN)
    assert free_scores(PLAIN, images, names=["params", "macs"]) == {"params": counted.params, "macs": counted.macs}


def test_synflow_is_the_formula_for_a_plain_network(images: Tensor) -> None:
    """Each layer's flow equals the output for absolute weights, so the score is the log of layers times output."""
    plain = network_of(Conv(width=8), Conv(width=16))
    network = _weights_of(plain)
    x = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers[:-1]:
        assert layer.bias is None
        x = nn.functional.conv2d(x, layer.weight.abs().double(), padding=1)
    last = layers[-1]
    assert last.bias is not None
    output = nn.functional.linear(x.mean((2, 3)), last.weight.abs().double())
    expected = math.log(len(layers) * float(output.detach().sum()))
    assert free_scores(plain, images, names=["synflow"])["synflow"] == pytest.approx(expected, rel=1e-9)


def test_nwot_counts_the_activations_that_two_images_share(images: Tensor) -> None:
    one = network_of(Conv(width=4))
    network = _weights_of(one)
    with torch.no_grad():
        convolved = network.stages[0][0]  # type: ignore[index]
        norm_and_before = convolved[:2] if isinstance(convolved, nn.Sequential) else None
        assert norm_and_before is not None
        on = (norm_and_before(images) > 0).flatten(1)
    shared = (on[:, None] == on[None]).sum(-1).double()
    expected = float(torch.linalg.slogdet(shared).logabsdet)
    assert free_scores(one, images, names=["nwot"])["nwot"] == pytest.approx(expected, rel=1e-6)


def test_jacov_prefers_a_network_that_reacts_differently_to_different_images(images: Tensor) -> None:
    linear = network_of(Conv(width=16, norm="none", activation="none"), Conv(width=16, norm="none", activation="none"))
    bent = network_of(Conv(width=16), Conv(width=16))
    scores = [free_scores(each, images, names=["jacov"])["jacov"] for each in (linear, bent)]
    assert scores[1] > scores[0] + 100  # a linear one has the same gradient everywhere


@pytest.mark.parametrize("name", ["zen", "synflow", "nwot"])
def test_depth_counts_where_nothing_is_blind(name: str, images: Tensor) -> None:
    few, many = network_of(*[Conv(width=8)] * 2), network_of(*[Conv(width=8)] * 5)
    scores = [free_scores(each, images, names=[name])[name] for each in (few, many)]
    assert scores[1] > scores[0]


BRANCHES = ((ConvLayer(width=8),),)
WITH_SHORTCUT: list[Callable[[int], Block]] = [
    lambda width: Residual(width=width),
    lambda width: Residual(width=width, bottleneck=0.5),
    lambda width: Residual(width=width, preactivation=True),
    lambda width: InceptionResidual(width=width, branches=BRANCHES),
    lambda width: MBConv(width=width),
]


@pytest.mark.parametrize("make", WITH_SHORTCUT)
@pytest.mark.parametrize("name", ["jacov", "nwot", "synflow"])
def test_residual_branches_are_seen(make: Callable[[int], Block], name: str, images: Tensor) -> None:
    """Other weights in the last block's branch, and there alone, give another score."""
    network = wide_awake(build(network_of(Conv(width=16), make(16), Conv(width=16))))
    other = deepcopy(network)
    branch = [module for module in other.stages[1].modules() if isinstance(module, nn.Conv2d)]
    with torch.no_grad():
        branch[0].weight.normal_()
    assert FREE_SCORES[name](network, images) != FREE_SCORES[name](other, images)


def test_branches_that_start_at_zero_are_awake() -> None:
    network = build(network_of(Conv(width=8), Residual(width=8)))
    branch = network.stages[1][0].branch  # type: ignore[index]
    x = torch.randn(4, 8, 16, 16)
    assert not branch(x).any()
    assert wide_awake(network).stages[1][0].branch(x).any()  # type: ignore[index]


def test_nothing_is_dropped_while_scoring(images: Tensor) -> None:
    dropping = network_of(Residual(width=8), Residual(width=8)).model_copy(update={"drop_path": 0.9})
    network = wide_awake(build(dropping))
    assert torch.equal(network(images), network(images))


def test_gates_are_no_activations() -> None:
    network = build(network_of(Conv(width=8, squeeze_excite=0.25, activation="silu")))
    assert [type(module) for module in activations(network)] == [nn.SiLU]


def test_a_channel_boost_is_scored_without_training_a_learner(images: Tensor) -> None:
    boosted = Architecture(
        channels=3,
        resolution=16,
        classes=10,
        stem=(Stage(block=ChannelBoost(width=8)),),
        stages=(Stage(block=Conv(width=8)),),
    )
    assert free_scores(boosted, images).keys() == VALUES


def _weights_of(architecture: Architecture) -> Network:
    """The network that is scored with seed 0: its weights depend on nothing but the seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(derive_seed(0, "free scores"))
        return wide_awake(build(architecture))
