"""Branches of any depth, averages with and without their padding, and branches as the residual of a shortcut."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation, StochasticDepth

from searchspace import Architecture, Stage, build, cost, scale
from searchspace.blocks import Block, ConvLayer, Inception, InceptionResidual, Pool, PoolLayer, SplitLayer

ONE = ConvLayer(width=8, kernel_size=(1, 1))
THREE = ConvLayer(width=8)
SPLIT = SplitLayer(branches=((ConvLayer(width=8, kernel_size=(1, 3)),), (ConvLayer(width=16, kernel_size=(3, 1)),)))
POINTS = SplitLayer(branches=((ONE,), (ConvLayer(width=16, kernel_size=(1, 1)),)))
BRANCHES = ((ONE,), (ONE, THREE), (ONE, ConvLayer(width=12), ConvLayer(width=16)))
RESIDUAL = InceptionResidual(width=8, branches=BRANCHES, residual_scale=0.17)


def network(*stages: Stage, **fields: Any) -> Architecture:
    return Architecture(**({"channels": 8, "resolution": 16, "classes": 3, "stages": stages} | fields))


def body(block: Block, stride: int = 1, **fields: Any) -> Any:
    """The block alone behind 8 channels, in eval mode and double precision."""
    torch.manual_seed(0)
    return build(network(Stage(block=block, stride=stride), **fields)).double().eval().stages[0][0]


def images(channels: int = 8, pixels: int = 9) -> Tensor:
    return torch.randn(2, channels, pixels, pixels, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def learns(architecture: Architecture) -> bool:
    torch.manual_seed(0)
    built = build(architecture).train()
    built(torch.randn(8, architecture.channels, 16, 16)).square().sum().backward()
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in built.parameters())


# --- Splits ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_layers_behind_a_split_read_its_concatenation() -> None:
    deep = SplitLayer(branches=((ONE, SPLIT, THREE), (SPLIT,), (PoolLayer(),)))
    block = Inception(branches=((ONE, deep, ConvLayer(width=12)), (ONE,)))
    assert block.out_channels(8) == 12 + 8
    built, x = body(block), images()
    first, split, last = built.branches[0]
    inner = first(x)
    joined = torch.cat([branch(inner) for branch in split.branches], 1)
    assert joined.shape[1] == 8 + (8 + 16) + 8
    assert torch.equal(built(x), torch.cat([last(joined), built.branches[1](x)], 1))


@pytest.mark.parametrize(
    ("branch", "strided"),
    [
        ((THREE, SPLIT, ONE), ["1x3", "3x1"]),
        ((SPLIT, THREE, ONE), ["3x3"]),
        ((THREE, SPLIT), ["1x3", "3x1"]),
        ((THREE, POINTS), ["1x1", "1x1"]),  # a split counts as spatial, whatever it holds
        ((SPLIT, PoolLayer()), ["pool"]),
        ((ONE, ONE), ["1x1"]),
    ],
)
def test_the_stride_is_in_the_last_spatial_layer(branch: Any, strided: list[str]) -> None:
    def name(module: Any) -> str:
        return "pool" if isinstance(module, nn.MaxPool2d) else "x".join(map(str, module.kernel_size))

    layers = [
        m for m in body(Inception(branches=(branch,)), stride=2).modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d)
    ]
    assert [name(layer) for layer in layers if layer.stride in (2, (2, 2))] == strided


def test_splits_are_counted_scaled_stored_and_made_normal_wherever_they_stand() -> None:
    said = SplitLayer(
        branches=((ConvLayer(width=8, padding=(1, 1)),), (PoolLayer(padding=1, count_include_pad=False),))
    )
    plain = SplitLayer(branches=((ConvLayer(width=8),), (PoolLayer(),)))
    given_, normal = (network(Stage(block=Inception(branches=((split, ONE),)))) for split in (said, plain))
    assert given_ != normal
    assert given_.digest == normal.digest
    assert Architecture.from_json(given_.to_json()) == given_
    architecture = network(Stage(block=Inception(branches=((SPLIT, ConvLayer(width=40)), (ONE,))), stride=2))
    larger = scale(architecture, width=1.5, depth=2.0)
    assert larger.stages[0].out_channels(8) == 64 + 16
    assert cost(larger).params == sum(p.numel() for p in build(larger).parameters())
    assert learns(architecture)


def test_splits_nest_to_their_bound_and_no_deeper() -> None:
    split: Any = ONE
    for _ in range(4):
        split = SplitLayer(branches=((split, ONE), (ONE,)))
    cost(network(Stage(block=Inception(branches=((split, ONE),)))))
    with pytest.raises(ValueError, match="splits may stand inside each other 4 deep"):
        SplitLayer(branches=((ONE, split), (ONE,)))


convolutions = st.builds(
    ConvLayer,
    width=st.just(2),
    kernel_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.none() | st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
pools = st.builds(PoolLayer, operation=st.sampled_from(["max", "average"]), padding=st.sampled_from([None, 0, 1]))


def branches_of(layers: Any, least: int) -> Any:
    return st.lists(st.lists(layers, min_size=1, max_size=3).map(tuple), min_size=least, max_size=3).map(tuple)


with_splits = st.recursive(
    convolutions | pools, lambda inner: st.builds(SplitLayer, branches=branches_of(inner, 2)), max_leaves=6
)


@settings(max_examples=60, deadline=None)
@given(branches_of(with_splits, 1), st.integers(1, 3), st.integers(17, 20))
def test_accepted_branches_with_splits_always_fit_together(branches: Any, stride: int, pixels: int) -> None:
    try:
        architecture = network(Stage(block=Inception(branches=branches), stride=stride), resolution=pixels)
    except ValueError as error:
        assert "must shrink the image equally" in str(error)  # noqa: PT017  # accepted ones go on below
        return
    cost(architecture)


# --- Averages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counted", [True, False])
def test_averages_count_their_padding_or_not(counted: bool) -> None:
    layer = PoolLayer(operation="average", count_include_pad=counted)
    pool = Pool(operation="average", kernel_size=3, count_include_pad=counted)
    for block in (pool, Inception(branches=((layer,),))):
        ones = body(block)(torch.ones_like(images()))
        corner, inside = ones[0, 0, 0, 0].item(), ones[0, 0, 4, 4].item()
        assert (corner, inside) == (pytest.approx(4 / 9 if counted else 1.0), pytest.approx(1.0))


@pytest.mark.parametrize(
    ("fields", "differ"),
    [
        ({"operation": "average", "kernel_size": 3}, True),
        ({"operation": "average", "kernel_size": 2, "padding": 1}, True),
        ({"operation": "average", "kernel_size": 3, "padding": 0}, False),
        ({"operation": "average", "kernel_size": 2}, False),
        ({"operation": "max", "kernel_size": 3}, False),
    ],
)
def test_counting_padding_counts_where_an_average_has_some(fields: Any, differ: bool) -> None:
    """The digests differ just where the outputs do, rounding up included."""
    for ceil_mode in (False, True):
        for kind in (partial(Pool, ceil_mode=ceil_mode), lambda **f: Inception(branches=((PoolLayer(**f),),))):
            blocks = [kind(**fields, count_include_pad=counted) for counted in (True, False)]
            first, second = (body(block, stride=2)(images()) for block in blocks)
            assert torch.equal(first, second) != differ
            digests = {network(Stage(block=block)).digest for block in blocks}
            assert len(digests) == 1 + differ


# --- Inception-residual ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_residual_is_concatenated_projected_scaled_and_added() -> None:
    built, x = body(RESIDUAL), images()
    residual = built.projection(torch.cat([branch(x) for branch in built.branches.branches], 1))
    assert torch.equal(built(x), (x + 0.17 * residual).relu())
    last = body(RESIDUAL.model_copy(update={"output_activation": False}))
    assert torch.equal(last(x), x + 0.17 * residual)
    assert len(built.projection) == 1
    assert isinstance(built.projection[0], nn.Conv2d)
    assert built.projection[0].bias is not None
    assert built.projection[0].in_channels == 8 + 8 + 16


@torch.no_grad()
@pytest.mark.parametrize(("width", "stride"), [(8, 2), (16, 1), (16, 2)])
def test_a_projection_stands_where_width_or_size_changes(width: int, stride: int) -> None:
    block = RESIDUAL.model_copy(update={"width": width})
    built, x = body(block, stride), images()
    projection, norm = built.shortcut
    assert isinstance(projection, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    output = built(x)
    assert output.shape == (2, width, -(-9 // stride), -(-9 // stride))
    residual = built.projection(built.branches(x))
    assert torch.equal(output, (built.shortcut(x) + 0.17 * residual).relu())


def test_drop_path_and_squeeze_excite_act_on_the_residual() -> None:
    block = RESIDUAL.model_copy(update={"squeeze_excite": 0.5})
    torch.manual_seed(0)
    built = build(network(Stage(block=block, depth=2), drop_path=0.8)).train()
    (drop,) = [module for module in built.modules() if isinstance(module, StochasticDepth)]
    assert drop.p == pytest.approx(0.4)
    second = built.stages[0][1]
    second.drop_path.p = 1.0
    x = images().float()
    assert torch.equal(second(x), x.relu())
    second.drop_path.p = 0.0
    excite = second.excite
    assert isinstance(excite, SqueezeExcitation)
    assert excite.fc1.out_channels == 4
    second.eval()
    residual = excite(second.projection(second.branches(x)))
    assert torch.equal(second(x), (x + 0.17 * residual).relu())
    plain = build(network(Stage(block=RESIDUAL)))
    assert not [module for module in plain.modules() if isinstance(module, SqueezeExcitation)]


def test_a_bottleneck_shares_its_part_of_the_width_among_the_branches() -> None:
    shared = InceptionResidual(width=320, branches=BRANCHES, bottleneck=0.4)
    widths = [
        [layer.width for layer in branch if isinstance(layer, ConvLayer)] for branch in shared.explicit().branches
    ]
    assert widths == [[32], [32, 32], [32, 48, 64]]  # the paper's 35x35 block
    assert scale(network(Stage(block=shared)), width=1.5).stages[0].block == shared.model_copy(update={"width": 480})
    explicit = scale(network(Stage(block=shared.explicit())), width=1.5).stages[0].block
    assert explicit.normal() == shared.model_copy(update={"width": 480}).normal()
    assert network(Stage(block=shared)).digest == network(Stage(block=shared.explicit())).digest


def test_every_parameter_of_a_residual_stage_learns_scaled_and_deepened() -> None:
    for block in (RESIDUAL, RESIDUAL.model_copy(update={"bottleneck": 0.5, "norm": "none"})):
        architecture = network(Stage(block=block, stride=2), drop_path=0.1)
        larger = scale(architecture, width=1.5, depth=2.0)
        assert larger.stages[0].depth == 2
        assert larger.stages[0].out_channels(8) == 16
        assert learns(architecture)
        assert learns(larger)
        assert Architecture.from_json(larger.to_json()) == larger
        assert cost(larger).params == sum(p.numel() for p in build(larger).parameters())


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ({"output_activation": False}, True),
        ({"residual_scale": 0.3}, True),
        ({"bottleneck": 0.5}, True),
        ({"branches": (*BRANCHES[:1], (ONE, ConvLayer(width=8, padding=(1, 1))), BRANCHES[2])}, False),
        ({"activation": "none"}, True),
    ],
)
def test_digests_know_which_fields_have_an_effect(change: dict[str, Any], differ: bool) -> None:
    first, second = network(Stage(block=RESIDUAL)), network(Stage(block=RESIDUAL.model_copy(update=change)))
    assert (first.digest != second.digest) == differ
    linear = RESIDUAL.model_copy(update={"activation": "none"})
    silent = linear.model_copy(update={"output_activation": False})
    assert network(Stage(block=linear)).digest == network(Stage(block=silent)).digest
    last = network(Stage(block=RESIDUAL), Stage(block=RESIDUAL.model_copy(update={"output_activation": False})))
    assert len(last.normal().stages) == 2
    assert len(network(Stage(block=RESIDUAL), Stage(block=RESIDUAL)).normal().stages) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"branches": ((ConvLayer(width=8, padding=(0, 0)),),)}, r"must keep the image's size .* take off 2x2 pixels"),
        ({"branches": ((ONE,), (ConvLayer(width=8, kernel_size=(2, 2)),))}, "take off 0x0, 1x1 pixels"),
        ({"residual_scale": 0.0}, "residual_scale"),
        ({"bottleneck": -1.0}, "bottleneck"),
        ({"branches": ()}, "branches"),
    ],
)
def test_residuals_that_could_not_be_added_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(Stage(block=InceptionResidual(**({"width": 8, "branches": BRANCHES} | fields))))
