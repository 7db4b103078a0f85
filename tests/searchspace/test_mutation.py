"""A mutation is one small change that leaves a network which can be built, of references and of anything else."""

from __future__ import annotations

import random

import pytest
import torch

from searchspace import (
    REFERENCES,
    SPACES,
    Architecture,
    ArchitectureError,
    Head,
    Stage,
    build,
    cifar_form,
    cost,
    mutate,
    reference,
)
from searchspace.blocks import Conv, Dense, MBConv, Pool, Residual

QUICK = ("lenet5", "vgg11", "googlenet", "resnet20", "mnasnet0_5", "efficientnet_b0")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFERENCES]


def at_32(name: str) -> Architecture:
    return cifar_form(reference(name, num_classes=4), 32)


def changed_places(before: Architecture, after: Architecture) -> list[int]:
    """The stages of the body that differ."""
    pairs = zip(before.stages, after.stages, strict=True)
    return [place for place, (old, new) in enumerate(pairs) if old != new]


def without_activations(architecture: Architecture) -> str:
    text = architecture.changed(name=None).to_json()
    for name in ("relu6", "relu", "silu", "gelu", "hardswish", "tanh"):
        text = text.replace(f'"activation":"{name}"', '"activation":"?"')
    return text


@pytest.mark.parametrize("name", EVERY)
def test_a_chain_of_mutations_of_a_reference_changes_one_thing_at_a_time(name: str) -> None:
    before, rng = at_32(name), random.Random(name)
    for _ in range(4):
        after = mutate(before, rng)
        assert after.digest != before.digest
        assert cost(after).params > 0
        assert [stage.stride for stage in after.all_stages()] == [stage.stride for stage in before.all_stages()]
        if without_activations(after) != without_activations(before):
            assert len(changed_places(before, after)) == 1
            assert after.stem == before.stem
        before = after
    assert before.name is None


@pytest.mark.parametrize(
    "name", ["lenet5", "resnet20", "mnasnet0_5", pytest.param("densenet_bc_100_12", marks=pytest.mark.slow)]
)
def test_a_mutated_reference_has_finite_logits_and_gradients(name: str) -> None:
    architecture, rng = at_32(name), random.Random(5)
    for _ in range(6):
        architecture = mutate(architecture, rng)
    torch.manual_seed(0)
    network = build(architecture)
    logits = network(torch.randn(2, architecture.channels, 32, 32))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("space", ["tiny", "cifar", "mobile"])
def test_networks_of_a_space_mutate_too(space: str) -> None:
    rng = random.Random(1)
    for _ in range(3):
        architecture = SPACES[space].decode(SPACES[space].random(rng))
        assert mutate(architecture, rng).digest != architecture.digest


MIXED = Architecture(
    resolution=16,
    stem=(Stage(block=Conv(width=24)),),
    stages=(
        Stage(block=Conv(width=24, groups=8), depth=2),
        Stage(block=Residual(width=48, bottleneck=0.5, cardinality=4), depth=2, stride=2),
        Stage(block=MBConv(width=32), stride=2),
        Stage(block=Conv(width=64, groups=16)),
        Stage(block=Dense(growth_rate=8), depth=3),
    ),
    head=Head(norm="batch", hidden=(32,)),
)


def test_every_kind_of_change_comes_and_groups_are_fitted_to_it() -> None:
    found: set[str] = set()
    for seed in range(80):
        after = mutate(MIXED, random.Random(seed))
        places = changed_places(MIXED, after)
        if len(places) > 1 and without_activations(after) == without_activations(MIXED):
            found.add("activation")
            assert after.head.activation != MIXED.head.activation
            continue
        old, new = MIXED.stages[places[0]], after.stages[places[0]]
        fields = {key for key, value in new.block if value != getattr(old.block, key)}
        assert len(fields - {"groups"}) + (new.depth != old.depth) == 1
        found |= {"groups behind it"} if places[1:] else set()
        for place in places[1:]:
            assert after.stages[place].block == MIXED.stages[place].block.model_copy(
                update={"groups": after.stages[place].block.groups}  # type: ignore[attr-defined]
            )
        found |= fields | ({"deeper" if new.depth > old.depth else "shallower"} if new.depth != old.depth else set())
    assert found >= {
        "deeper", "shallower", "width", "growth_rate", "kernel_size", "expansion", "squeeze_excite", "activation",
        "groups behind it",
    }  # fmt: skip


def test_the_same_seed_makes_the_same_change_and_others_make_others() -> None:
    assert mutate(MIXED, random.Random(3)) == mutate(MIXED, random.Random(3))
    assert len({mutate(MIXED, random.Random(seed)).digest for seed in range(20)}) > 10


def test_an_explicit_padding_keeps_its_kernel() -> None:
    """LeNet's 5x5 convolutions without padding would shrink the map by more or less."""
    block = Conv(width=8, kernel_size=5, padding=0, activation="none")
    architecture = Architecture(resolution=16, stages=(Stage(block=block),))
    for seed in range(30):
        after = mutate(architecture, random.Random(seed)).stages[0].block
        assert isinstance(after, Conv)
        assert after.kernel_size == 5


def test_what_would_not_fit_the_images_is_not_chosen() -> None:
    """One more convolution without padding would leave nothing of 5 pixels."""
    block = Conv(width=8, kernel_size=5, padding=0)
    architecture = Architecture(resolution=5, stages=(Stage(block=block),))
    assert {mutate(architecture, random.Random(seed)).depth for seed in range(40)} == {1}


def test_a_network_in_which_nothing_can_change_is_refused() -> None:
    pools = Architecture(resolution=16, stages=(Stage(block=Pool()),))
    with pytest.raises(ArchitectureError, match="nothing of this network can be mutated"):
        mutate(pools, random.Random(0))
