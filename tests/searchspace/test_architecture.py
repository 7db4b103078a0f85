"""An architecture is frozen, strict, portable data; its digest says which records are the same network."""

from __future__ import annotations

import json
import resource
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from searchspace import Architecture, ArchitectureError, Head, Stage, TooLarge, build, cost, reference
from searchspace.blocks import BLOCKS, Conv, ConvLayer, Dense, Inception, MBConv, Pool, PoolLayer, Residual, SplitLayer
from searchspace.layers import norm_layer
from searchspace.network import _StageBuilder, outline

GOLDEN = Path(__file__).parents[1] / "golden" / "reference_digests.json"
ONE = ConvLayer(width=8, kernel_size=(1, 1))


def network(*stages: Stage, **fields: Any) -> Architecture:
    return Architecture(**({"resolution": 16, "stages": stages} | fields))


def conv(**fields: Any) -> Architecture:
    return network(Stage(block=Conv(**({"width": 8} | fields))))


def mixed() -> Architecture:
    """Every family and layer kind once."""
    split = SplitLayer(branches=((ConvLayer(width=8, kernel_size=(1, 3)),), (ConvLayer(width=8, kernel_size=(3, 1)),)))
    return network(
        Stage(block=Residual(width=16, bottleneck=0.5, cardinality=4, squeeze_excite=0.25), stride=2),
        Stage(block=Inception(branches=((ONE,), (ONE, split), (PoolLayer(), ONE)), norm="group")),
        Stage(block=Dense(growth_rate=8, compression=0.5, dropout=0.1), depth=2, stride=2),
        Stage(block=Pool(kernel_size=3)),
        Stage(block=MBConv(width=24, fused=True), depth=2),
        name='q"uo;--te ../ \n é 🙂',
        stem=(Stage(block=Conv(width=8, separable=True, dilation=2, bias=True)),),
        head=Head(blocks=(Stage(block=Conv(width=32, kernel_size=1)),), hidden=(12,), dropout=0.5, pool="max"),
        drop_path=0.1,
    )


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", "resnet50", "googlenet", "densenet121", "efficientnet_b7"])
def test_json_round_trip_keeps_record_hash_and_digest(name: str) -> None:
    architecture = mixed() if name == "mixed" else reference(name)
    for text in (architecture.to_json(), architecture.to_json(indent=2), architecture.to_json().encode()):
        again = Architecture.from_json(text)
        assert again == architecture
        assert hash(again) == hash(architecture)
        assert again.digest == architecture.digest
    assert architecture != architecture.changed(classes=11)


def altered(change: Any) -> str:
    data = json.loads(mixed().to_json())
    change(data)
    return json.dumps(data)


def nested(depth: int) -> str:
    layer: Any = {"layer": "conv", "width": 8}
    for _ in range(depth):
        layer = {"layer": "split", "branches": [[layer], [{"layer": "conv", "width": 8}]]}
    return altered(lambda d: d["stages"][1]["block"].update(branches=[[layer]]))


TEXT = mixed().to_json()
BAD = {
    "an unknown field": (altered(lambda d: d.update(foo=1)), "foo: Extra inputs"),
    "an unknown field in a block": (altered(lambda d: d["stages"][0]["block"].update(foo=1)), "stages.0.block.resid"),
    "a field name of 5,000 letters": (altered(lambda d: d.update({"k" * 5000: 1})), "kkk ... kkk"),
    "a field name with a newline": (altered(lambda d: d.update({"a\nb": 1})), r"a\nb: Extra"),
    "NaN": (TEXT.replace('"drop_path":0.1', '"drop_path":NaN'), "NaN"),
    "Infinity": (TEXT.replace('"drop_path":0.1', '"drop_path":-Infinity'), "-Infinity"),
    "1e999": (TEXT.replace('"drop_path":0.1', '"drop_path":1e999'), "finite"),
    "a duplicate key": (TEXT.replace('"drop_path":0.1', '"drop_path":0.1,"drop_path":0.1'), "'drop_path' stands twice"),
    "text for a number": (altered(lambda d: d.update(classes="10")), "classes: Input should be a valid integer"),
    "true for a number": (altered(lambda d: d.update(classes=True)), "classes: Input should be a valid integer"),
    "10.0 for a whole number": (altered(lambda d: d.update(classes=10.0)), "classes: Input should be a valid integer"),
    "a number for true": (
        altered(lambda d: d["stages"][4]["block"].update(fused=1)),
        "fused: Input should be a valid b",
    ),
    "no stages": (altered(lambda d: d.update(stages=[])), "stages: Tuple should have at least 1 item"),
    "missing stages": (altered(lambda d: d.pop("stages")), "stages: Field required"),
    "an unknown kind": (altered(lambda d: d["stages"][0]["block"].update(kind="mine")), "--import MODULE"),
    "a kind that is a list": (altered(lambda d: d["stages"][0]["block"].update(kind=["x" * 5000])), "--import MODULE"),
    "no kind": (altered(lambda d: d["stages"][0]["block"].pop("kind")), "discriminator 'kind'"),
    "text for a block": (altered(lambda d: d["stages"][0].update(block="x" * 5000)), "should be an object"),
    "another version": (altered(lambda d: d.update(version=2)), "version: Input should be 1"),
    "60 bad fields": (altered(lambda d: [d.update({f"f{n}": n}) for n in range(60)]), "and 57 more"),
    "a long name": (altered(lambda d: d.update(name="n" * 201)), "at most 200 characters"),
    "objects 100,000 deep": ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
    "lists 100,000 deep": ("[" * 100_000, "nested too deeply"),
    "splits 60 deep": (nested(60), "4 deep"),
    "splits 90 deep": (nested(90), "not JSON: recursion limit"),
    "splits 5 deep": (nested(5), "4 deep"),
    "2 MB": (" " * (2 << 20), "2,097,152 bytes"),
    "10,000 digits": ('{"classes":' + "9" * 10_000 + "}", "10,000 digits"),
    "a number of 400 digits": (altered(lambda d: d.update(norm_eps=10**399)), "norm_eps: Input should be"),
    "an escaped lone surrogate": ('{"name":"\\ud800"}', "not JSON"),
    "a lone surrogate": ('{"name":"\ud800"}', "unicode"),
    "a byte order mark": ("\ufeff" + TEXT, "BOM"),
    "UTF-16": (TEXT.encode("utf-16"), "not JSON"),
    "bytes that are no text": (b"\xff\xfe\xff", "not JSON"),
    "nothing": ("", "not JSON"),
    "null": ("null", "should be an object"),
    "a list": ("[]", "should be an object"),
    "half of it": (TEXT[: len(TEXT) // 2], "not JSON"),
}


@pytest.mark.parametrize("what", BAD)
def test_from_json_refuses_in_one_short_line(what: str) -> None:
    text, expected = BAD[what]
    with pytest.raises(ArchitectureError) as caught:
        Architecture.from_json(text)
    message = str(caught.value)
    assert expected in message
    assert len(message) < 300
    assert message.isprintable()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_wrong_items_of_a_tuple_are_not_also_reported_as_too_few() -> None:
    text = altered(lambda d: d["stages"][1]["block"].update(branches=[[{"layer": "conv", "width": 0}]]))
    with pytest.raises(ArchitectureError, match="width: Input should be greater") as caught:
        Architecture.from_json(text)
    assert "at least 1 item" not in str(caught.value)


def test_channels_that_do_not_fit_are_located() -> None:
    text = altered(lambda d: d["stages"][3].update(block={"kind": "conv", "width": 8, "groups": 5}))
    with pytest.raises(ArchitectureError, match=r"stages\.3: conv of .* groups 5 must divide both"):
        Architecture.from_json(text)


def test_python_values_are_as_strict_as_json() -> None:
    stage = Stage(block=Conv(width=8))
    for fields in (
        {"stages": [stage]},
        {"stages": (stage,), "classes": 10.0},
        {"stages": (stage,), "classes": True},
        {"stages": (stage,), "foo": 1},
        {"stages": (stage,), "drop_path": float("nan")},
        {"stages": (stage.model_copy(update={"depth": -1}),)},
        {"stages": (Stage(block=Pool()), stage.model_copy(update={"block": None}))},
    ):
        with pytest.raises(ValidationError):
            Architecture(**fields)  # type: ignore[arg-type]
    assert Architecture(stages=(stage,)) == Architecture(stages=(stage,))  # the control: these fields are right


def test_records_are_frozen_and_hashable() -> None:
    architecture = mixed()
    with pytest.raises(ValidationError, match="frozen"):
        architecture.classes = 3  # type: ignore[misc]
    assert len({architecture, mixed(), architecture.changed(classes=3)}) == 2


def test_changed_checks_like_a_new_record() -> None:
    for fields in ({"foo": 1}, {"classes": 0}, {"stages": ()}, {"channels": "3"}):
        with pytest.raises(ArchitectureError):
            mixed().changed(**fields)


def test_json_schema_names_what_from_json_accepts() -> None:
    schema = Architecture.model_json_schema()
    data = json.loads(mixed().to_json())
    assert schema["properties"].keys() == data.keys()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["stages"]
    block = schema["$defs"]["Stage"]["properties"]["block"]
    assert block["discriminator"]["mapping"].keys() == BLOCKS.keys()
    for kind, reference_ in block["discriminator"]["mapping"].items():
        described = schema["$defs"][reference_.rsplit("/", 1)[1]]
        assert described["properties"].keys() == BLOCKS[kind].model_fields.keys()
        assert described["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


# --- Digest ----------------------------------------------------------------------------------------------------------


def chain(*stages: Stage, **fields: Any) -> Architecture:
    return network(*stages, **fields)


def stage(depth: int = 1, stride: int = 1, **fields: Any) -> Stage:
    return Stage(block=Residual(**({"width": 8} | fields)), depth=depth, stride=stride)


def dense(depth: int, compression: float = 1.0, stride: int = 1) -> Stage:
    return Stage(block=Dense(growth_rate=8, compression=compression), depth=depth, stride=stride)


def inception(*widths: int, **fields: Any) -> Architecture:
    branches = tuple((ConvLayer(width=width),) for width in widths)
    return network(Stage(block=Inception(branches=branches, **fields)))


SAME = {
    "the name": (conv(), conv().changed(name="x")),
    "a default written out": (conv(), conv(kernel_size=3)),
    "-0.0": (conv(squeeze_excite=0.0), conv(squeeze_excite=-0.0)),
    "dilation of kernel 1": (conv(kernel_size=1), conv(kernel_size=1, dilation=4)),
    "groups of a separable convolution": (conv(separable=True), conv(separable=True, groups=3)),
    "the default padding": (conv(kernel_size=5), conv(kernel_size=5, padding=2)),
    "the default padding of a dilation": (conv(dilation=3), conv(dilation=3, padding=3)),
    "the default padding of a pool": (
        chain(Stage(block=Pool(kernel_size=3))),
        chain(Stage(block=Pool(kernel_size=3, padding=1))),
    ),
    "the default padding of a branch": (
        chain(Stage(block=Inception(branches=((ConvLayer(width=8), PoolLayer()),)))),
        chain(Stage(block=Inception(branches=((ConvLayer(width=8, padding=(1, 1)), PoolLayer(padding=1)),)))),
    ),
    "proportional widths": (inception(1, 3, width=32), inception(8, 24)),
    "proportional widths of another sum": (inception(1, 3, width=32), inception(2, 6, width=32)),
    "the activation of a head without layers": (conv(), conv().changed(head=Head(activation="tanh"))),
    "drop path where nothing is dropped": (conv(), conv().changed(drop_path=0.3)),
    "drop path of a single block": (chain(stage()), chain(stage(), drop_path=0.3)),
    "momentum without batch normalisation": (conv(norm="group"), conv(norm="group").changed(norm_momentum=0.5)),
    "epsilon without normalisation": (conv(norm="none"), conv(norm="none").changed(norm_eps=0.01)),
    "a stage told in two": (chain(stage(3)), chain(stage(1), stage(2))),
    "a strided stage told in two": (chain(stage(3, 2)), chain(stage(1, 2), stage(2))),
    "a stage told in two, once with its defaults": (chain(stage(2)), chain(stage(1), stage(1, kernel_size=3))),
    "a dense stage told in two": (chain(dense(3, 0.5, 2)), chain(dense(1, 0.5, 2), dense(2))),
    "a stem told in two": (
        chain(stage(), stem=(Stage(block=Conv(width=8), depth=2),)),
        chain(stage(), stem=(Stage(block=Conv(width=8)),) * 2),
    ),
}

DIFFERENT = {
    "input size": (conv(), conv().changed(resolution=17)),
    "classes": (conv(), conv().changed(classes=11)),
    "channels": (conv(), conv().changed(channels=1)),
    "a second stride": (chain(stage(2, 2)), chain(stage(1, 2), stage(1, 2))),
    "a second transition": (chain(dense(2, 0.5)), chain(dense(1, 0.5), dense(1, 0.5))),
    "a stage with another field": (chain(stage(2)), chain(stage(1), stage(1, kernel_size=5))),
    "a second pool": (chain(Stage(block=Pool(kernel_size=3))), chain(*[Stage(block=Pool(kernel_size=3))] * 2)),
    "stem and body": (chain(stage(2)), chain(stage(1), stem=(stage(1),))),
    "dilation": (conv(), conv(dilation=2)),
    "groups": (conv(width=9), conv(width=9, groups=3)),
    "padding": (conv(), conv(padding=0)),
    "the activation of a hidden layer": (
        conv().changed(head=Head(hidden=(8,))),
        conv().changed(head=Head(hidden=(8,), activation="tanh")),
    ),
    "the activation behind the final normalisation": (
        conv().changed(head=Head(norm="batch")),
        conv().changed(head=Head(norm="batch", activation="tanh")),
    ),
    "drop path": (chain(stage(2)), chain(stage(2), drop_path=0.3)),
    "epsilon": (conv(), conv().changed(norm_eps=0.01)),
    "epsilon of the head alone": (
        conv(norm="none").changed(head=Head(norm="group")),
        conv(norm="none").changed(head=Head(norm="group"), norm_eps=0.01),
    ),
    "momentum": (conv(), conv().changed(norm_momentum=0.5)),
    "the order of branches": (inception(8, 16), inception(16, 8)),
}


@pytest.mark.parametrize("what", SAME)
def test_digest_ignores_what_has_no_effect(what: str) -> None:
    first, second = SAME[what]
    assert first.digest == second.digest
    assert first.normal() == second.normal()
    assert_interchangeable(first, second)


@pytest.mark.parametrize("what", DIFFERENT)
def test_digest_keeps_what_has_an_effect(what: str) -> None:
    first, second = DIFFERENT[what]
    assert first.digest != second.digest


def assert_interchangeable(first: Architecture, second: Architecture) -> None:
    """The same state dict, and with equal weights the same outputs."""
    torch.manual_seed(0)
    one, other = build(first).eval(), build(second).eval()
    shapes = [[(name, tensor.shape) for name, tensor in n.state_dict().items()] for n in (one, other)]
    assert shapes[0] == shapes[1]
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, first.channels, first.resolution, first.resolution)
    with torch.no_grad():
        assert torch.equal(one(x), other(x))


widths = st.sampled_from([4, 8, 12])
kernels = st.sampled_from([1, 3, 5])
blocks = st.one_of(
    st.builds(
        Conv,
        width=widths,
        kernel_size=kernels,
        dilation=st.integers(1, 2),
        separable=st.booleans(),
        padding=st.sampled_from([None, None, 0, 1, 2]),
        squeeze_excite=st.sampled_from([0.0, 0.5]),
        norm=st.sampled_from(["batch", "group", "none"]),
    ),
    st.builds(Residual, width=widths, bottleneck=st.sampled_from([None, 0.5]), preactivation=st.booleans()),
    st.builds(Dense, growth_rate=widths, compression=st.sampled_from([0.5, 1.0]), bottleneck=st.integers(0, 1)),
    st.builds(MBConv, width=widths, expansion=st.sampled_from([1.0, 2.0]), fused=st.booleans()),
    st.builds(
        lambda widths, width: Inception(branches=tuple((ConvLayer(width=w),) for w in widths), width=width),
        st.lists(widths, min_size=1, max_size=3),
        st.sampled_from([None, 16]),
    ),
)
stages_ = st.lists(
    st.builds(Stage, block=blocks, depth=st.integers(1, 3), stride=st.integers(1, 2)), min_size=1, max_size=4
)


@settings(max_examples=15, deadline=None)
@given(stages_, st.data())
def test_the_normal_form_is_the_same_network_as_the_record(stages: list[Stage], data: st.DataObject) -> None:
    repeated = data.draw(st.integers(0, len(stages) - 1))
    again = stages[repeated].model_copy(update={"stride": 1})
    architecture = network(*stages[: repeated + 1], again, *stages[repeated + 1 :], resolution=48)
    try:
        cost(architecture)
    except ArchitectureError:
        reject()  # unpadded kernels leave nothing of 48 pixels
    torch.manual_seed(0)
    built = build(architecture).eval()
    layers = built_without_normal_form(architecture).eval()
    tensors = [t for part in (built.stem, built.stages) for t in part.state_dict().values()]
    assert [t.shape for t in tensors] == [t.shape for t in layers.state_dict().values()]
    layers.load_state_dict(dict(zip(layers.state_dict(), tensors, strict=True)))
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        assert torch.equal(built.stages(built.stem(x)), layers(x))
    assert architecture.normal().normal() == architecture.normal()
    assert Architecture.from_json(architecture.normal().to_json()) == architecture.normal()


def built_without_normal_form(architecture: Architecture) -> nn.Sequential:
    """Stem and body stage by stage from the record itself."""
    norm = partial(norm_layer, eps=architecture.norm_eps, momentum=architecture.norm_momentum)
    builder = _StageBuilder(architecture.channels, norm)
    return nn.Sequential(*(builder.stage(stage) for stage in (*architecture.stem, *architecture.stages)))


def test_digests_of_the_references_never_change() -> None:
    """Stored studies are keyed by them: a change here needs a migration, not a new file."""
    golden = json.loads(GOLDEN.read_text())
    assert {name: reference(name).digest for name in golden} == golden
    assert reference("resnet18").changed(classes=7).digest not in golden.values()


# --- Limits ----------------------------------------------------------------------------------------------------------


def test_a_billion_billion_parameters_are_refused_at_once_with_nothing_allocated() -> None:
    head = Head(pool_size=64, hidden=(65536, 65536))
    widest = Architecture(stages=(Stage(block=Conv(width=65536, kernel_size=31), depth=1000),), head=head)
    deep = Architecture(stages=(Stage(block=Residual(width=32768, kernel_size=31), depth=1000),))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for architecture in (widest, deep):
        for act in (build, cost, outline):
            with pytest.raises(TooLarge, match="more than 1,000,000,000 parameters"):
                act(architecture)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB; one of its layers has TB


def test_building_stops_where_the_limit_is_passed() -> None:
    made = 0

    class Counting(Conv):
        def build(self, in_channels: int, context: Any) -> nn.Module:
            nonlocal made
            made += 1
            return super().build(in_channels, context)

    block = Counting.model_construct(**dict(Conv(width=64)))
    stages = (Stage.model_construct(block=block, depth=100, stride=1),)
    architecture = Architecture.model_construct(**(dict(conv()) | {"stages": stages}))
    with pytest.raises(TooLarge):
        outline(architecture, max_params=200_000)  # 1,856 in the first block, 36,992 in each other
    assert made == 7


def test_the_limit_is_the_exact_parameter_count() -> None:
    architecture = mixed()
    params = sum(p.numel() for p in build(architecture).parameters())
    assert cost(architecture, max_params=params).params == params
    with pytest.raises(TooLarge):
        cost(architecture, max_params=params - 1)


def test_other_threads_modules_do_not_count_towards_the_limit() -> None:
    stop, started = threading.Event(), threading.Event()

    def register_elsewhere() -> None:
        while not stop.is_set():
            nn.Linear(1000, 1000, device="meta")
            started.set()

    thread = threading.Thread(target=register_elsewhere)
    thread.start()
    try:
        started.wait()
        for _ in range(20):
            outline(reference("resnet18"), max_params=11_689_512)
    finally:
        stop.set()
        thread.join()


def test_channels_cannot_grow_beyond_what_tensors_can_hold() -> None:
    pools = Inception(branches=((PoolLayer(),),) * 8)
    with pytest.raises(ValidationError, match="more than 1,048,576 channels"):
        network(Stage(block=pools, depth=100))


@pytest.mark.timeout(120)
def test_the_largest_legal_depth_is_built_and_counted() -> None:
    deep = network(Stage(block=Conv(width=8, norm="none"), depth=1000))
    assert cost(deep).params == 3 * 8 * 9 + 999 * 8 * 8 * 9 + 8 * 10 + 10
    assert Architecture.from_json(deep.to_json()).digest == deep.digest
    with pytest.raises(ValidationError, match="1001 blocks; at most 1000"):
        network(*deep.stages, Stage(block=Pool()))
