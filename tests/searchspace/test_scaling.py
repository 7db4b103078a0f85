"""Scaling is a pure function that keeps an architecture buildable and a factor of 1 changes nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchspace import (
    EFFICIENTNET,
    REFERENCES,
    Architecture,
    ArchitectureError,
    Head,
    ScalingLaw,
    Stage,
    compound,
    cost,
    dollar,
    reference,
    scale,
)
from searchspace.blocks import Conv, ConvLayer, Dense, Inception, MBConv, Pool, PoolLayer, Residual, SplitLayer
from searchspace.references.efficientnet import VARIANTS
from searchspace.rounding import make_divisible, round_depth, round_width

PUBLISHED = {
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
}
SPLIT = SplitLayer(branches=((ConvLayer(width=12, kernel_size=(1, 3)),), (ConvLayer(width=20, kernel_size=(3, 1)),)))
BRANCHES = (
    (ConvLayer(width=12, kernel_size=(1, 1)),),
    (ConvLayer(width=20, kernel_size=(1, 1)), SPLIT),
    (PoolLayer(), ConvLayer(width=4, kernel_size=(1, 1))),
)
AWKWARD = {
    "resnext": (Stage(block=Residual(width=96, bottleneck=0.5, cardinality=12), depth=2, stride=2),),
    "grouped": (Stage(block=Conv(width=60)), Stage(block=Conv(width=90, groups=30), depth=1, stride=2)),
    "depthwise": (Stage(block=Conv(width=60)), Stage(block=Conv(width=60, groups=60), depth=2)),
    "inception": (Stage(block=Inception(branches=BRANCHES), depth=2, stride=2),),
    "proportional inception": (Stage(block=Inception(branches=BRANCHES, width=100), depth=2),),
    "dense, then grouped": (
        Stage(block=Dense(growth_rate=12), depth=3),
        Stage(block=Conv(width=39, groups=39)),
    ),
    "mixed": (
        Stage(block=MBConv(width=20), depth=2, stride=2),
        Stage(block=Pool(kernel_size=3)),
        Stage(block=Residual(width=36, preactivation=True)),
    ),
}
factors = st.floats(0.25, 4.0)


def awkward(name: str) -> Architecture:
    head = Head(blocks=(Stage(block=Conv(width=100, kernel_size=1)),), hidden=(30,))
    return Architecture(resolution=16, stages=AWKWARD[name], head=head)


@pytest.mark.parametrize("name", [*REFERENCES, *AWKWARD])
def test_factors_of_one_change_nothing(name: str) -> None:
    architecture = reference(name) if name in REFERENCES else awkward(name)
    assert scale(architecture) == architecture
    assert scale(architecture, width=1.0, depth=1, resolution=architecture.resolution) == architecture
    assert compound(architecture, 0.0) == architecture
    assert compound(architecture, 3.0, ScalingLaw(1.0, 1.0, 1.0)) == architecture
    assert dollar(architecture, 1.0) == architecture
    assert scale(architecture, width=1.5, depth=1.5) != architecture  # the control


def test_plain_rounding_would_change_widths_that_the_identity_keeps() -> None:
    assert make_divisible(12) == 16
    assert round_width(12, 1.0) == 12


@pytest.mark.parametrize("name", PUBLISHED)
def test_scaled_b0_has_the_published_parameter_count(name: str) -> None:
    variant = VARIANTS[name]
    b0 = reference("efficientnet_b0")
    scaled = scale(b0, width=variant.width, depth=variant.depth, resolution=variant.resolution)
    assert cost(scaled).params == PUBLISHED[name]
    built = reference(name)
    assert built.stages == scaled.stages
    assert (built.resolution, built.head.dropout) == (variant.resolution, variant.dropout)
    assert (built.norm_eps, built.norm_momentum) == ((1e-3, 0.01) if name[-1] in "567" else (1e-5, 0.1))
    assert cost(scale(b0, width=variant.width + 0.1, depth=variant.depth)).params != PUBLISHED[name]


@given(st.integers(1, 4096), st.floats(0.01, 100.0))
def test_widths_are_multiples_of_eight_and_never_ten_percent_below(width: int, factor: float) -> None:
    rounded = round_width(width, factor)
    if factor == 1:
        assert rounded == width
    else:
        assert rounded % 8 == 0
        assert rounded >= 0.9 * width * factor
        assert rounded <= max(8, width * factor + 8)


@given(st.floats(0.1, 1e5), st.floats(0.1, 1e5))
def test_rounding_is_monotone(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert make_divisible(low) <= make_divisible(high)


@given(st.integers(1, 200), st.floats(0.01, 20.0))
def test_depths_are_rounded_up(depth: int, factor: float) -> None:
    rounded = round_depth(depth, factor)
    assert rounded >= 1
    assert depth * factor - 1e-6 <= rounded < depth * factor + 1
    assert round_depth(depth, 1.0) == depth


def test_depth_is_not_rounded_up_for_the_error_of_a_float() -> None:
    assert 50 * 1.1 > 55
    assert round_depth(50, 1.1) == 55
    assert all(round_depth(n * 10, 1.1) == n * 11 for n in range(1, 50))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(AWKWARD)), factors, factors, st.integers(8, 32))
def test_groups_divide_widths_after_any_factor(name: str, width: float, depth: float, resolution: int) -> None:
    """Every scaled architecture is a valid record that builds, and round-trips."""
    scaled = scale(awkward(name), width=width, depth=depth, resolution=resolution)
    assert cost(scaled).macs > 0
    assert Architecture.from_json(scaled.to_json()) == scaled
    for stage, base in zip(scaled.stages, AWKWARD[name], strict=True):
        assert stage.depth == (round_depth(base.depth, depth) if base.block.repeatable else base.depth)
        assert stage.stride == base.stride


def test_a_depth_that_changes_channels_lowers_groups_behind_it() -> None:
    scaled = scale(awkward("dense, then grouped"), depth=2.0)
    assert scaled.stages[1].block == Conv(width=39, groups=3)  # 39 channels became 75


def test_groups_that_still_divide_are_kept() -> None:
    stages = (Stage(block=Conv(width=64)), Stage(block=Conv(width=64, groups=8)))
    scaled = scale(Architecture(stages=stages), width=2.0)
    assert scaled.stages[1].block == Conv(width=128, groups=8)


def test_stem_and_head_are_widened_but_not_deepened() -> None:
    scaled = scale(reference("efficientnet_b0"), width=2.0, depth=2.0)
    assert [stage.depth for stage in scaled.stem + scaled.head.blocks] == [1, 1]
    assert scaled.stem[0].block == Conv(width=64, activation="silu")
    assert scale(reference("vgg11_bn"), width=0.5).head.hidden == (2048, 2048)


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_fast_scaling_grows_macs_by_s_and_activations_by_its_power_of_0_6(factor: float) -> None:
    """Dollar et al. 2021: s^1 and s^0.6 before rounding; 64 blocks and widths of 256 leave 10 % to rounding."""
    stages = (Stage(block=Residual(width=256), depth=64),)
    base = Architecture(resolution=64, stem=(Stage(block=Conv(width=256)),), stages=stages)
    before, after = cost(base), cost(dollar(base, factor))
    assert after.macs / before.macs == pytest.approx(factor, rel=0.1)
    assert after.activations / before.activations == pytest.approx(factor**0.6, rel=0.1)
    assert after.params / before.params == pytest.approx(factor**0.9, rel=0.1)
    uniform = cost(dollar(base, factor, (1 / 3, 1 / 3, 1 / 3)))
    assert uniform.macs / before.macs == pytest.approx(factor, rel=0.1)
    assert uniform.activations / before.activations == pytest.approx(factor**0.83, rel=0.1)


def test_compound_scaling_grows_macs_by_the_laws_growth() -> None:
    assert EFFICIENTNET.growth == pytest.approx(1.92, abs=0.001)
    base = Architecture(resolution=64, stages=(Stage(block=Residual(width=256), depth=50),))
    for phi in (-1.0, 1.0, 2.0):
        grown = cost(compound(base, phi)).macs / cost(base).macs
        assert grown == pytest.approx(EFFICIENTNET.growth**phi, rel=0.1)


def test_scaling_leaves_its_input_alone() -> None:
    architecture = awkward("mixed")
    text = architecture.to_json()
    compound(architecture, 2.0)
    assert architecture.to_json() == text


BAD = [0, 0.0, -1.0, math.nan, math.inf, -math.inf, 1e308]


@pytest.mark.parametrize("factor", BAD)
def test_bad_factors_are_refused(factor: float) -> None:
    base = awkward("mixed")
    with pytest.raises(ArchitectureError, match="width factor must be a number above 0"):
        scale(base, width=factor)
    with pytest.raises(ArchitectureError, match="depth factor must be a number above 0"):
        scale(base, depth=factor)
    with pytest.raises(ArchitectureError, match="multiply-adds must be a number above 0"):
        dollar(base, factor)
    with pytest.raises(ArchitectureError, match="beta must be a number above 0"):
        ScalingLaw(1.0, factor, 1.0)


@pytest.mark.parametrize("phi", [math.nan, math.inf, -math.inf, 1e6, -1e6, 300.0])
def test_bad_phis_are_refused(phi: float) -> None:
    with pytest.raises(ArchitectureError):
        compound(awkward("mixed"), phi)


def test_results_beyond_the_limits_are_refused_at_once() -> None:
    for fields in ({"width": 5000.0}, {"depth": 1e6}, {"resolution": 0}, {"resolution": 5000}, {"resolution": 22.5}):
        with pytest.raises(ArchitectureError):
            scale(awkward("mixed"), **fields)
    for exponents in ((0.5, 0.5, 0.5), (math.nan, 0.5, 0.5)):
        with pytest.raises(ArchitectureError, match="sum to 1"):
            dollar(awkward("mixed"), 2.0, exponents)


def test_a_factor_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="too large"):
        dollar(awkward("mixed"), 1e6, (100.0, -99.0, 0.0))
