"""Every family does what its options say; families mix stage by stage, and a user can add one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation, StochasticDepth

from searchspace import Architecture, ArchitectureError, Head, Stage, build, cost
from searchspace.blocks import (
    BLOCKS,
    Block,
    BlockContext,
    Conv,
    ConvLayer,
    Dense,
    Inception,
    InceptionResidual,
    MBConv,
    Pool,
    PoolLayer,
    Residual,
    SplitLayer,
    register_block,
)
from searchspace.blocks.branches import BranchLayer
from searchspace.record import Width

ROOT = Path(__file__).parents[2]
ONE = ConvLayer(width=8, kernel_size=(1, 1))
V1: tuple[tuple[BranchLayer, ...], ...] = (
    (ONE,),
    (ONE, ConvLayer(width=16)),
    (ONE, ConvLayer(width=4, kernel_size=(5, 5))),
    (PoolLayer(), ONE),
)
SPLIT = SplitLayer(branches=((ConvLayer(width=8, kernel_size=(1, 3)),), (ConvLayer(width=8, kernel_size=(3, 1)),)))
FACTORISED: tuple[tuple[BranchLayer, ...], ...] = (
    (ONE,),
    (ONE, ConvLayer(width=8, kernel_size=(1, 7)), ConvLayer(width=8, kernel_size=(7, 1))),
    (ONE, ConvLayer(width=8), ConvLayer(width=8)),
    (ONE, SPLIT),
)
VARIANTS: dict[str, Block] = {
    "conv": Conv(width=16),
    "grouped": Conv(width=16, groups=4),
    "separable": Conv(width=16, separable=True),
    "dilated": Conv(width=16, dilation=3, kernel_size=5),
    "conv with excitation": Conv(width=16, squeeze_excite=0.25, bias=True),
    "max pool": Pool(kernel_size=3),
    "average pool": Pool(kernel_size=3, operation="average"),
    "inception v1": Inception(branches=V1),
    "factorised inception": Inception(branches=FACTORISED, squeeze_excite=0.25),
    "proportional inception": Inception(branches=V1, width=48),
    "layers behind a split": Inception(branches=((ONE, SPLIT, ConvLayer(width=8)), (SPLIT, ONE))),
    "inception residual": InceptionResidual(width=16, branches=FACTORISED, squeeze_excite=0.25),
    "proportional inception residual": InceptionResidual(width=16, branches=V1, bottleneck=0.5, residual_scale=1.0),
    "basic": Residual(width=16),
    "bottleneck": Residual(width=16, bottleneck=0.25),
    "preactivation": Residual(width=16, preactivation=True),
    "preactivation bottleneck": Residual(width=16, preactivation=True, bottleneck=0.5, squeeze_excite=0.5),
    "wide": Residual(width=16, bottleneck=2.0),
    "resnext": Residual(width=16, bottleneck=0.5, cardinality=4, squeeze_excite=0.25),
    "mbconv": MBConv(width=16),
    "mbconv without expansion": MBConv(width=16, expansion=1.0, squeeze_excite=0.0),
    "fused": MBConv(width=16, fused=True),
    "fused without expansion": MBConv(width=16, fused=True, expansion=1.0, squeeze_excite=0.0),
    "dense": Dense(growth_rate=8),
    "dense without bottleneck": Dense(growth_rate=8, bottleneck=0, dropout=0.2),
    "compressed dense": Dense(growth_rate=8, compression=0.5),
}
NORMED = [name for name in VARIANTS if "pool" not in name]


def network(*stages: Stage, channels: int = 8, **fields: Any) -> Architecture:
    return Architecture(**({"channels": channels, "resolution": 16, "classes": 3, "stages": stages} | fields))


def modules(architecture: Architecture, kind: type[nn.Module]) -> list[Any]:
    return [module for module in build(architecture).modules() if isinstance(module, kind)]


def kernels(block: Block, **fields: Any) -> list[nn.Conv2d]:
    """The convolutions of one block behind 8 channels."""
    return modules(network(Stage(block=block, **fields)), nn.Conv2d)


def run(architecture: Architecture, pixels: int = 16) -> Tensor:
    """What the body makes of images; in eval mode."""
    torch.manual_seed(0)
    built = build(architecture).eval()
    with torch.no_grad():
        return built.stages(built.stem(torch.randn(2, architecture.channels, pixels, pixels)))


# --- Shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("pixels", [16, 15])
def test_a_stride_divides_the_size_rounding_up(name: str, pixels: int) -> None:
    block = VARIANTS[name]
    for stride in (1, 2, 3):
        stage = Stage(block=block, stride=stride)
        expected = math.floor(pixels / stride) if isinstance(block, Dense) else math.ceil(pixels / stride)
        assert run(network(stage), pixels).shape == (2, stage.out_channels(8), expected, expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns(name: str) -> None:
    """Finite output, a gradient for every parameter, and the input left as it was, also without normalisation."""
    block = VARIANTS[name]
    norms = ("batch", "group", "none") if name in NORMED else ("",)
    for norm in norms:
        variant = block.model_copy(update={"norm": norm}) if norm else block
        torch.manual_seed(0)
        built = build(network(Stage(block=variant, depth=2 if block.repeatable else 1), drop_path=0.1))
        x = torch.randn(8, 8, 16, 16)
        kept = x.clone()
        logits = built.train()(x)
        assert logits.isfinite().all()
        nn.functional.cross_entropy(logits, torch.randint(3, (8,))).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())
        assert torch.equal(x, kept)


def test_a_map_of_one_pixel_survives_group_normalisation() -> None:
    stage = Stage(block=Conv(width=32, norm="group"), stride=8)
    output = run(network(stage, resolution=8), 8)
    assert output.shape[-1] == 1
    assert output.abs().max() > 0
    (norm,) = modules(network(stage, resolution=8), nn.GroupNorm)
    assert norm.num_channels // norm.num_groups >= 8


# --- Convolution and pooling -----------------------------------------------------------------------------------------


def test_a_separable_convolution_is_depthwise_then_pointwise() -> None:
    depthwise, pointwise = kernels(Conv(width=16, separable=True, kernel_size=5), stride=2)
    assert (depthwise.groups, depthwise.kernel_size, depthwise.stride) == (8, (5, 5), (2, 2))
    assert (pointwise.groups, pointwise.kernel_size, pointwise.stride) == (1, (1, 1), (1, 1))


def test_groups_dilation_and_bias_reach_the_convolution() -> None:
    (layer,) = kernels(Conv(width=16, groups=4, dilation=2, bias=True, kernel_size=5))
    assert (layer.groups, layer.dilation, layer.bias is not None) == (4, (2, 2), True)
    assert kernels(Conv(width=16))[0].bias is None


def test_pools_follow_their_record() -> None:
    pool = Pool(kernel_size=3, padding=0, ceil_mode=True)
    assert run(network(Stage(block=pool, stride=2)), 16).shape[-1] == 8
    assert run(network(Stage(block=pool.model_copy(update={"ceil_mode": False}), stride=2)), 16).shape[-1] == 7
    assert modules(network(Stage(block=Pool(operation="average"))), nn.AvgPool2d)
    with pytest.raises(ValueError, match="depth 1"):
        Stage(block=pool, depth=2)
    with pytest.raises(ValueError, match="padding 2 must not exceed half the kernel size 3"):
        network(Stage(block=Pool(kernel_size=3, padding=2)))


# --- Inception -------------------------------------------------------------------------------------------------------


def test_branches_are_concatenated_in_their_order() -> None:
    architecture = network(Stage(block=Inception(branches=V1)))
    assert architecture.stages[0].out_channels(8) == 8 + 16 + 4 + 8
    torch.manual_seed(0)
    block = build(architecture).eval().stages[0][0]
    x = torch.randn(2, 8, 9, 9)
    with torch.no_grad():
        assert torch.equal(block(x), torch.cat([branch(x) for branch in block.branches], 1))


def test_the_stride_of_a_branch_is_in_its_last_spatial_layer() -> None:
    strided = [layer.kernel_size for layer in kernels(Inception(branches=V1), stride=2) if layer.stride == (2, 2)]
    assert strided == [(1, 1), (3, 3), (5, 5)]  # the fourth branch strides in its pool
    (pool,) = modules(network(Stage(block=Inception(branches=V1), stride=2)), nn.MaxPool2d)
    assert pool.stride == 2
    factorised = kernels(Inception(branches=FACTORISED), stride=2)
    assert [c.kernel_size for c in factorised if c.stride == (2, 2)] == [(1, 1), (7, 1), (3, 3), (1, 3), (3, 1)]


def test_proportional_widths_sum_to_about_the_width() -> None:
    for width in (48, 96, 200):
        outputs = Inception(branches=V1, width=width).out_channels(8)
        assert outputs == pytest.approx(width, abs=8 * len(V1))
        assert outputs % 8 == 0
    assert Inception(branches=V1, width=48).explicit().width is None


@pytest.mark.parametrize(
    ("branches", "message"),
    [
        (((ConvLayer(width=8, kernel_size=(2, 2)),), (ONE,)), "take off 1x1, 0x0 pixels"),
        (((ConvLayer(width=8, padding=(0, 1)),), (ONE,)), "take off 2x0, 0x0 pixels"),
        (((ONE, SplitLayer(branches=((ONE,), (PoolLayer(kernel_size=2),)))),), "take off 0x0, 1x1 pixels"),
    ],
)
def test_branches_that_could_not_be_concatenated_are_refused(branches: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(Stage(block=Inception(branches=branches)))


layers = st.one_of(
    st.builds(
        ConvLayer,
        width=st.just(2),
        kernel_size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        padding=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
    ),
    st.builds(PoolLayer, kernel_size=st.integers(2, 4), padding=st.sampled_from([None, 0, 1])),
)
branches_ = st.lists(st.lists(layers, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple)


@settings(max_examples=80, deadline=None)
@given(branches_, st.integers(1, 3), st.integers(17, 20))
def test_accepted_branches_always_fit_together(branches: Any, stride: int, pixels: int) -> None:
    try:
        architecture = network(Stage(block=Inception(branches=branches), stride=stride), resolution=pixels)
    except ValueError as error:
        assert "must shrink the image equally" in str(error)  # noqa: PT017  # accepted ones go on below
        return
    cost(architecture)


# --- Residual, dense, MBConv -----------------------------------------------------------------------------------------


def test_bottleneck_width_and_cardinality() -> None:
    reduce, inner, expand = kernels(Residual(width=256, bottleneck=0.5, cardinality=32), stride=2)[:3]
    assert (reduce.out_channels, inner.out_channels, expand.out_channels) == (128, 128, 256)
    assert (reduce.groups, inner.groups, expand.groups) == (1, 32, 1)
    assert (reduce.stride, inner.stride) == ((1, 1), (2, 2))
    with pytest.raises(ValueError, match="cardinality needs a bottleneck"):
        network(Stage(block=Residual(width=16, cardinality=4)))


def test_a_residual_block_starts_as_the_identity() -> None:
    for block in (Residual(width=8), Residual(width=8, bottleneck=0.5), Residual(width=8, norm="group")):
        torch.manual_seed(0)
        built = build(network(Stage(block=block, depth=3))).eval()
        x = torch.randn(2, 8, 9, 9)
        with torch.no_grad():
            assert torch.equal(built.stages(x), x.relu())
            norm = [m for m in built.stages[0][0].branch.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)][-1]
            norm.weight.fill_(1.0)
            assert not torch.equal(built.stages(x), x.relu())


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_preactivation_normalises_and_activates_before_each_convolution(norm: Any) -> None:
    torch.manual_seed(0)
    block = build(network(Stage(block=Residual(width=8, preactivation=True, norm=norm)))).eval().stages[0][0]
    layers = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm | nn.ReLU | nn.Conv2d)]
    normal = {"batch": [nn.BatchNorm2d], "group": [nn.GroupNorm], "none": []}[norm]
    kinds = [*normal, nn.ReLU, nn.Conv2d] * 2
    assert all(isinstance(layer, kind) for layer, kind in zip(layers, kinds, strict=True))
    x = torch.randn(2, 8, 9, 9)
    with torch.no_grad():
        assert torch.equal(block(x), x + block.branch(block.activate(x)))  # x itself, not x activated in place
        assert (block(x) < 0).any()


def test_dense_concatenates_its_input_untouched() -> None:
    for norm in ("batch", "none"):
        architecture = network(Stage(block=Dense(growth_rate=4, norm=norm), depth=3))  # type: ignore[arg-type]
        torch.manual_seed(0)
        x = torch.randn(2, 8, 9, 9)
        with torch.no_grad():
            output = build(architecture).eval().stages(x.clone())
        assert output.shape[1] == 8 + 3 * 4
        assert torch.equal(output[:, :8], x)


def test_dense_transitions_compress_and_pool_once() -> None:
    stage = Stage(block=Dense(growth_rate=4, compression=0.5), depth=3, stride=2)
    assert stage.out_channels(8) == 4 + 3 * 4
    (pool,) = modules(network(stage), nn.AvgPool2d)
    assert pool.kernel_size == 2
    transition, reduce, spatial = kernels(stage.block, stride=2)
    assert (transition.out_channels, reduce.out_channels, spatial.out_channels) == (4, 16, 4)
    assert len(kernels(Dense(growth_rate=4, bottleneck=0))) == 1


def test_mbconv_has_a_shortcut_only_where_the_shape_is_kept() -> None:
    for width, stride, kept in ((8, 1, True), (8, 2, False), (16, 1, False)):
        built = build(network(Stage(block=MBConv(width=width), stride=stride)))
        assert built.stages[0][0].keeps_shape is kept
        nn.init.zeros_([m for m in built.stages.modules() if isinstance(m, nn.BatchNorm2d)][-1].weight)
        x = torch.randn(2, 8, 16, 16)
        with torch.no_grad():
            output = built.eval().stages(x)
        assert torch.equal(output, x if kept else torch.zeros_like(output))


def test_mbconv_expands_depthwise_and_fused() -> None:
    plain = kernels(MBConv(width=16, expansion=4.0, squeeze_excite=0.0, kernel_size=5), stride=2)
    assert [(c.out_channels, c.kernel_size[0], c.groups, c.stride[0]) for c in plain] == [
        (32, 1, 1, 1),
        (32, 5, 32, 2),
        (16, 1, 1, 1),
    ]
    fused = kernels(MBConv(width=16, expansion=4.0, squeeze_excite=0.0, fused=True), stride=2)
    assert [(c.out_channels, c.kernel_size[0], c.groups, c.stride[0]) for c in fused] == [(32, 3, 1, 2), (16, 1, 1, 1)]
    assert len(kernels(MBConv(width=16, expansion=1.0, squeeze_excite=0.0))) == 2
    assert len(kernels(MBConv(width=16, expansion=1.0, squeeze_excite=0.0, fused=True))) == 1


@pytest.mark.parametrize("block", [Residual(width=8, kernel_size=2), MBConv(width=8, kernel_size=4)])
def test_shortcuts_need_odd_kernels(block: Block) -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd"):
        network(Stage(block=block))


# --- Options of every family -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "squeezed"),
    [
        (Conv(width=32, squeeze_excite=0.25), 8),
        (Inception(branches=V1, squeeze_excite=0.25), 9),
        (Residual(width=32, squeeze_excite=0.25), 8),
        (Residual(width=32, squeeze_excite=0.25, preactivation=True), 8),
        (MBConv(width=32, squeeze_excite=0.25), 2),  # of the 8 input channels
        (MBConv(width=32, squeeze_excite=0.01), 1),
    ],
)
def test_squeeze_excite_squeezes_to_its_share(block: Block, squeezed: int) -> None:
    (layer,) = modules(network(Stage(block=block)), SqueezeExcitation)
    assert layer.fc1.out_channels == squeezed
    plain = block.model_copy(update={"squeeze_excite": 0.0})
    assert not modules(network(Stage(block=plain)), SqueezeExcitation)


def test_drop_path_grows_linearly_over_the_body() -> None:
    stages = (
        Stage(block=Residual(width=8), depth=2),
        Stage(block=Conv(width=8)),
        Stage(block=Residual(width=8, preactivation=True)),
        Stage(block=MBConv(width=8)),
    )
    architecture = network(*stages, stem=(Stage(block=Residual(width=8)),), drop_path=0.5)
    layers = modules(architecture, StochasticDepth)
    assert [layer.p for layer in layers] == pytest.approx([0.1, 0.3, 0.4])
    assert {layer.mode for layer in layers} == {"row"}
    assert not modules(architecture.changed(drop_path=0.0), StochasticDepth)


@pytest.mark.parametrize("name", NORMED)
def test_norms_take_the_networks_eps_and_momentum(name: str) -> None:
    stage = Stage(block=VARIANTS[name], depth=2, stride=2)
    head = Head(norm="batch", blocks=(Stage(block=Conv(width=8)),))
    architecture = network(stage, head=head, norm_eps=0.02, norm_momentum=0.03)
    layers = modules(architecture, nn.BatchNorm2d)
    assert len(layers) > 2
    assert {(layer.eps, layer.momentum) for layer in layers} == {(0.02, 0.03)}
    for norm, kind in (("group", nn.GroupNorm), ("none", nn.Identity)):
        other = Stage(block=VARIANTS[name].model_copy(update={"norm": norm}), depth=2, stride=2)
        built = network(other, norm_eps=0.02)
        assert not modules(built, nn.BatchNorm2d)
        assert {layer.eps for layer in modules(built, nn.GroupNorm)} == ({0.02} if kind is nn.GroupNorm else set())


@pytest.mark.parametrize("name", NORMED)
def test_the_activation_is_the_records(name: str) -> None:
    block = VARIANTS[name].model_copy(update={"activation": "hardswish"})
    architecture = network(Stage(block=block))
    assert modules(architecture, nn.Hardswish)
    assert not modules(architecture, nn.ReLU)
    assert not modules(architecture, nn.SiLU)


def test_heads_pool_norm_hide_and_drop() -> None:
    head = Head(norm="batch", activation="tanh", pool="max", pool_size=2, hidden=(12, 7), dropout=0.3)
    built = build(network(Stage(block=Conv(width=8)), head=head)).head
    kinds = [type(layer) for layer in built.classifier]
    assert kinds == [nn.Linear, nn.Tanh, nn.Dropout, nn.Linear, nn.Tanh, nn.Dropout, nn.Linear]
    assert [layer.in_features for layer in built.classifier if isinstance(layer, nn.Linear)] == [32, 12, 7]
    assert isinstance(built.pool, nn.AdaptiveMaxPool2d)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(VARIANTS)), min_size=1, max_size=5), st.integers(0, 2**16))
def test_families_mix_stage_by_stage(names: list[str], seed: int) -> None:
    stages = tuple(Stage(block=VARIANTS[name], stride=1 + (seed >> n) % 2) for n, name in enumerate(names))
    architecture = network(*stages, stem=(Stage(block=Conv(width=8)),), channels=3, resolution=32, drop_path=0.2)
    assert Architecture.from_json(architecture.to_json()) == architecture
    torch.manual_seed(seed)
    logits = build(architecture).train()(torch.randn(4, 3, 32, 32))
    assert logits.shape == (4, 3)
    assert logits.isfinite().all()
    logits.square().sum().backward()


# --- A family of one's own -------------------------------------------------------------------------------------------


@pytest.fixture
def own_table() -> Any:
    kept = dict(BLOCKS)
    yield
    BLOCKS.clear()
    BLOCKS.update(kept)
    register_block(Conv)  # refreshes the validators


def test_a_family_of_ones_own(own_table: None) -> None:
    """Round trip, digest, building with its own initial weights, cost and scaling, like any other."""
    text = '{"channels":8,"resolution":16,"stages":[{"block":{"kind":"shuffle_mine","width":8},"depth":2}]}'
    with pytest.raises(ArchitectureError, match=r"unknown kind 'shuffle_mine'.*--import MODULE.*nas\.blocks"):
        Architecture.from_json(text)

    @register_block
    class ShuffleMine(Block):
        kind: Literal["shuffle_mine"] = "shuffle_mine"
        width: Width
        drops_path: ClassVar[bool] = False

        def out_channels(self, in_channels: int, index: int = 0) -> int:
            if in_channels % 4:
                raise ArchitectureError(f"shuffle_mine: {in_channels} channels are no multiple of 4")
            return self.width

        def build(self, in_channels: int, context: BlockContext) -> nn.Module:
            layer = nn.Conv2d(in_channels, self.width, 1, context.stride)
            nn.init.constant_(layer.weight, 0.25)
            return nn.Sequential(nn.ChannelShuffle(4), layer)

    architecture = Architecture.from_json(text)
    assert isinstance(architecture.stages[0].block, ShuffleMine)
    assert Architecture.from_json(architecture.to_json()) == architecture
    twice = architecture.changed(stages=(Stage(block=ShuffleMine(width=8)),) * 2)
    assert twice.digest == architecture.digest
    assert cost(architecture).params == 2 * (8 * 8 + 8) + 8 * 10 + 10
    assert (build(architecture).stages[0][0][1].weight == 0.25).all()
    with pytest.raises(ArchitectureError, match=r"stages\.0: shuffle_mine: 3 channels are no multiple of 4"):
        architecture.changed(channels=3)
    register_block(ShuffleMine)  # a second time does nothing
    assert "shuffle_mine" in json.dumps(Architecture.model_json_schema())


def test_a_kind_that_is_taken_or_unusable_is_refused_and_changes_nothing(own_table: None) -> None:
    class Taken(Conv):
        pass

    class Loose(Conv):
        kind: str = "loose"  # type: ignore[assignment]

    class Half(Block):
        kind: Literal["half"] = "half"

    before = dict(BLOCKS)
    for family, message in (
        (Taken, "'conv' is taken by searchspace.blocks.conv.Conv"),
        (Loose, "needs a field such as kind"),
        (Half, "must be a subclass of Block"),
        (nn.Conv2d, "must be a subclass of Block"),
    ):
        with pytest.raises(ValueError, match=message):
            register_block(family)  # type: ignore[type-var]
    assert before == BLOCKS
    assert Architecture.from_json(network(Stage(block=Conv(width=8))).to_json())


# --- docs/blocks.md --------------------------------------------------------------------------------------------------

GUIDE = ROOT / "docs" / "blocks.md"


def documented() -> dict[str, dict[str, str]]:
    """{kind: {field: default}} as the guide's tables say."""
    tables: dict[str, dict[str, str]] = {}
    for section in re.split(r"^### ", GUIDE.read_text(), flags=re.MULTILINE)[1:]:
        kind = re.match(r"`(\w+)`", section)
        if kind:
            rows = re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", section, flags=re.MULTILINE)
            tables[kind[1]] = {field: default.strip() for field, default in rows}
    return tables


def test_the_guide_lists_every_field_with_its_default() -> None:
    records: dict[str, Any] = BLOCKS | {"Stage": Stage, "Head": Head, "Architecture": Architecture}
    tables = documented()
    assert tables.keys() == records.keys()
    for kind, record in records.items():
        fields = {name: field for name, field in record.model_fields.items() if name != "kind"}
        expected = {
            name: "required"
            if field.is_required()
            else "Head()"
            if name == "head"
            else json.dumps(field.default).strip('"')
            for name, field in fields.items()
        }
        assert tables[kind] == expected


def test_the_guides_examples_run(own_table: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    family = next(text for text in blocks if "register_block" in text)
    (tmp_path / "my_blocks_of_the_guide.py").write_text(family)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("my_blocks_of_the_guide")
    for text in blocks:
        if text is not family:
            exec(compile(text, str(GUIDE), "exec"), {})
