"""Shortcuts without parameters, and where a head drops out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from searchspace import Architecture, Head, Stage, build, cost, scale
from searchspace.blocks import Conv, Dense, Residual

OPTION_A = (
    Residual(width=16, shortcut="padding"),
    Residual(width=16, shortcut="padding", bottleneck=0.5),
    Residual(width=16, shortcut="padding", preactivation=True),
    Residual(width=16, shortcut="padding", preactivation=True, bottleneck=0.5),
)


def network(*stages: Stage, **fields: Any) -> Architecture:
    return Architecture(**({"channels": 8, "resolution": 16, "classes": 3, "stages": stages} | fields))


def shortcut_alone(block: Residual, stride: int, x: Tensor) -> tuple[nn.Module, Tensor]:
    """The built block and its output when its branch gives nothing."""
    torch.manual_seed(0)
    module = build(network(Stage(block=block, stride=stride))).eval().stages[0][0]
    for parameter in module.branch.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        return module, module(x)


@pytest.mark.parametrize("block", OPTION_A, ids=str)
@pytest.mark.parametrize(("stride", "pixels"), [(1, 9), (2, 9), (2, 8), (3, 8)])
def test_padding_takes_every_strideth_pixel_and_adds_zeros_as_channels(
    block: Residual, stride: int, pixels: int
) -> None:
    x = torch.randn(2, 8, pixels, pixels)
    module, output = shortcut_alone(block, stride, x)
    with torch.no_grad():
        kept = module.activate(x) if block.preactivation else x.relu()
    assert torch.equal(output[:, :8], kept[:, :, ::stride, ::stride])
    assert output.shape == (2, 16, -(-pixels // stride), -(-pixels // stride))
    assert (output[:, 8:] == 0).all()
    assert not list(module.shortcut.parameters())


@pytest.mark.parametrize("block", OPTION_A, ids=str)
def test_every_parameter_beside_a_padding_shortcut_learns(block: Residual) -> None:
    for norm in ("batch", "group", "none"):
        variant = block.model_copy(update={"norm": norm})
        built = build(network(Stage(block=variant, depth=2, stride=2), drop_path=0.1)).train()
        built(torch.randn(8, 8, 16, 16)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


def test_padding_saves_the_projection_and_nothing_else() -> None:
    padded = network(Stage(block=OPTION_A[0], stride=2))
    projected = network(Stage(block=Residual(width=16), stride=2))
    assert cost(projected).params - cost(padded).params == 8 * 16 + 2 * 16
    assert Architecture.from_json(padded.to_json()) == padded
    assert padded.digest != projected.digest


def test_a_shortcut_of_padding_cannot_narrow() -> None:
    with pytest.raises(ValueError, match=r"cannot lead from 32 to 16: use a width of at least 32, or a projection"):
        network(Stage(block=Conv(width=32)), Stage(block=OPTION_A[0]))


def test_scaling_widens_padding_shortcuts_and_projects_where_the_input_outgrows_them() -> None:
    architecture = network(Stage(block=Dense(growth_rate=2), depth=4), Stage(block=OPTION_A[0], depth=2, stride=2))
    assert scale(architecture, width=1.5, depth=1.0).stages[1].block == Residual(width=24, shortcut="projection")
    deeper = scale(architecture, depth=2.0)
    assert deeper.stages[0].out_channels(8) == 24
    assert deeper.stages[1].block == Residual(width=16, shortcut="projection")
    fits = network(Stage(block=Conv(width=8)), Stage(block=OPTION_A[0], stride=2))
    larger = scale(fits, width=1.5, depth=2.0)
    assert larger.stages[1] == Stage(block=Residual(width=24, shortcut="padding"), depth=2, stride=2)
    for scaled in (deeper, larger):
        build(scaled)


def test_the_shortcut_of_a_block_that_keeps_its_shape_is_no_difference() -> None:
    """Behind the first block of a stage both kinds are the identity, so the stages merge; in the first they differ."""
    padded, projected = OPTION_A[0], Residual(width=16)
    whole = network(Stage(block=padded, depth=2, stride=2))
    parted = network(Stage(block=padded, stride=2), Stage(block=projected))
    other = network(Stage(block=projected, stride=2), Stage(block=padded))
    assert parted.digest == whole.digest != other.digest
    assert build(parted).state_dict().keys() == build(whole).state_dict().keys()
    strided = network(Stage(block=padded, stride=2), Stage(block=projected, stride=2))
    assert len(strided.normal().stages) == 2


# --- Dropout of the head ---------------------------------------------------------------------------------------------


def classifier_of(**fields: Any) -> list[type[nn.Module]]:
    architecture = network(Stage(block=Conv(width=8)), head=Head(**fields))
    assert Architecture.from_json(architecture.to_json()) == architecture
    built = build(architecture)
    with torch.no_grad():
        assert built.eval()(torch.randn(2, 8, 16, 16)).shape == (2, 3)
    return [type(layer) for layer in built.head.classifier]


def test_dropout_stands_before_or_after_each_hidden_layer() -> None:
    linear, relu, dropout = nn.Linear, nn.ReLU, nn.Dropout
    alexnet = classifier_of(hidden=(12, 7), dropout=0.5, dropout_place="before")
    assert alexnet == [dropout, linear, relu, dropout, linear, relu, linear]
    vgg = classifier_of(hidden=(12, 7), dropout=0.5)
    assert vgg == [linear, relu, dropout, linear, relu, dropout, linear]
    assert classifier_of(dropout=0.5, dropout_place="before") == classifier_of(dropout=0.5) == [dropout, linear]


@pytest.mark.parametrize(
    ("fields", "differ"),
    [
        ({"hidden": (12,), "dropout": 0.5}, True),
        ({"hidden": (12,)}, False),
        ({"dropout": 0.5}, False),
    ],
)
def test_the_place_of_dropout_counts_where_there_is_some_to_place(fields: Any, differ: bool) -> None:
    digests = {
        network(Stage(block=Conv(width=8)), head=Head(dropout_place=place, **fields)).digest
        for place in ("after", "before")
    }
    assert len(digests) == 1 + differ
