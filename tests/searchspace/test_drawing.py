"""A picture says what the table says, keeps within its page, and stays readable for any network."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from torch import nn

from searchspace import BLOCKS, REFERENCES, Architecture, Head, Stage, build, draw, reference, register_block
from searchspace.architecture import _rebuild
from searchspace.blocks import Block, BlockContext, Conv, ConvLayer, Inception, PoolLayer, SplitLayer
from searchspace.drawing import AXIS, LONGEST, SHARE_WIDTH, TALLEST, TEXT, WIDTH
from searchspace.spaces import SPACES
from searchspace.svg import FAMILIES, FILLS, STROKES, fitted, folded, width_of
from searchspace.table import StageRow, stage_rows

IMAGES = Path(__file__).parents[2] / "docs/images"
Shape = dict[str, Any]


def elements(svg: str) -> list[tuple[str, Shape]]:
    """Every element in the order of the text: its name, and its attributes with numbers as numbers."""
    root = ElementTree.fromstring(svg)
    found = []
    for element in root.iter():
        attributes = {key: _number(value) for key, value in element.attrib.items()}
        found.append((element.tag.partition("}")[2], attributes | {"text": element.text or ""}))
    return found


def _number(value: str) -> float | str:
    return float(value) if re.fullmatch(r"-?[\d.]+", value) else value


def of_kind(svg: str, *kinds: str) -> list[Shape]:
    return [shape for _, shape in elements(svg) if shape.get("class") in kinds]


def texts(svg: str, kind: str) -> list[str]:
    return [shape["text"] for shape in of_kind(svg, kind)]


def maps(svg: str) -> list[Shape]:
    """What leaves each stage, as it is drawn, the input first."""
    return [
        shape
        for tag, shape in elements(svg)
        if tag == "rect" and shape["class"] in {"input", "other", *FAMILIES} and shape["x"] < TEXT
    ]


@cache
def drawn(name: str) -> tuple[str, list[StageRow]]:
    """A reference's picture and table, made once: counting a large network takes half a second."""
    return draw(reference(name)), stage_rows(reference(name))


def assert_readable(svg: str) -> None:
    """Everything lies within the page, every colour exists, no shape covers a shape of its kind, no text another."""
    shapes = elements(svg)
    height = shapes[0][1]["height"]
    assert shapes[0][1]["width"] == WIDTH
    classes = {*FILLS, *FAMILIES, *STROKES, "nas"}
    boxes: list[tuple[float, float, float, float]] = []
    for tag, shape in shapes:
        assert shape.get("class", "nas") in classes
        if tag == "rect" and shape["class"] != "page":
            assert 0 <= shape["x"] <= shape["x"] + shape["width"] <= WIDTH - 20
            assert 0 <= shape["y"] <= shape["y"] + shape["height"] <= height
        if tag == "text" and "x" in shape:
            boxes.append(_box(shape))
    sizes = sorted(boxes)
    for left, top, right, bottom in sizes:
        assert left >= 20
        assert right <= WIDTH - 20
        assert 0 < top < bottom < height
    for number, first in enumerate(sizes):
        for second in sizes[number + 1 :]:
            apart = first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]
            assert apart, (first, second)


def _box(shape: Shape) -> tuple[float, float, float, float]:
    """Where a text stands; letters are a little narrower than assumed for cutting texts off."""
    size = {"title": 22, "kind": 14, "subtitle": 13, "number": 13, "tiny": 10}.get(shape["class"], 11)
    width = width_of(shape["text"], size) * 0.9
    left = shape["x"] - {"middle": width / 2, "end": width}.get(shape.get("text-anchor", ""), 0)
    return left, shape["y"] - size * 0.75, left + width, shape["y"] + size * 0.2


def with_stages(*blocks: Block, **fields: Any) -> Architecture:
    return Architecture(stages=tuple(Stage(block=block) for block in blocks), **fields)


DRAWN = ("resnet18", "googlenet", "densenet121")


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_says_what_the_table_says(name: str) -> None:
    svg, rows = drawn(name)
    assert_readable(svg)
    kinds = [row.kind.replace("_", " ") + (f" × {row.depth}" if row.depth > 1 else "") for row in rows]
    assert texts(svg, "kind") == ["input", *kinds]
    assert texts(svg, "stride") == [f"stride {row.stride}" for row in rows if row.stride > 1]
    tips = [text for tag, text in ((tag, shape["text"]) for tag, shape in elements(svg)) if tag == "title"]
    assert tips[1:] == [
        f"{row.kind}: {row.params:,} parameters, {row.macs:,} multiply-adds for one image" for row in rows
    ]
    numbers = texts(svg, "number")
    assert numbers[:2] == ["3", "224"]
    assert numbers[2::4] == [str(row.channels) for row in rows]
    assert numbers[3::4] == [str(row.resolution) for row in rows]
    parts = list(dict.fromkeys(row.part for row in rows))
    assert texts(svg, "part") == parts


def test_maps_are_as_high_as_the_image_and_as_long_as_its_channels() -> None:
    svg, rows = drawn("densenet121")
    image, *outputs = maps(svg)
    for row, shape in zip(rows, outputs, strict=True):
        assert shape["width"] == pytest.approx(LONGEST * (row.channels / 1024) ** 0.5, abs=0.06)
        assert shape["height"] == pytest.approx(max(4, TALLEST * (row.resolution / 224) ** 0.5), abs=0.06)
        assert shape["x"] + shape["width"] / 2 == pytest.approx(AXIS, abs=0.11)
    assert image["height"] == TALLEST
    assert len(of_kind(svg, "cut")) == sum(row.depth - 1 for row in rows)


def test_bars_are_shares_of_the_whole() -> None:
    svg, rows = drawn("resnet18")
    shares = [row.params / sum(row.params for row in rows) for row in rows]
    bars = [shape["width"] for shape in of_kind(svg, "bar") if shape["x"] < 700]
    assert bars == [pytest.approx(max(2, SHARE_WIDTH * share), abs=0.06) for share in shares if share]
    words = [word for word in texts(svg, "small") if word.endswith("%")]
    assert f"{max(shares):.0%}" in words
    assert "<1%" in words


@pytest.mark.parametrize("name", SPACES)
def test_sampled_networks_are_readable(name: str) -> None:
    rng = random.Random(7)
    for _ in range(2):
        assert_readable(draw(SPACES[name].decode(SPACES[name].random(rng))))


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_every_reference_is_readable(name: str) -> None:
    assert_readable(draw(reference(name)))


def test_a_long_network_grows_in_height_alone() -> None:
    def tall(count: int) -> float:
        svg = draw(with_stages(*(Conv(width=8 * (number + 1), norm="none") for number in range(count))))
        assert_readable(svg)
        return elements(svg)[0][1]["height"]

    assert tall(60) - tall(40) == tall(40) - tall(20) == 20 * 50


def test_branches_are_sketched_path_by_path() -> None:
    """Inception v3's widest module: a split draws its paths on lines of their own, behind their fork."""
    split = SplitLayer(
        branches=((ConvLayer(width=24, kernel_size=(1, 3)),), (ConvLayer(width=32, kernel_size=(3, 1)),))
    )
    block = Inception(
        branches=(
            (ConvLayer(width=8, kernel_size=(1, 1)),),
            (ConvLayer(width=16, kernel_size=(1, 1)), split),
            (PoolLayer(operation="average"), ConvLayer(width=40, kernel_size=(1, 1))),
        )
    )
    svg = draw(with_stages(block))
    assert_readable(svg)
    layers = [shape for tag, shape in elements(svg) if tag == "text" and shape["class"] == "tiny"]
    assert [layer["text"] for layer in layers] == ["1×1 8", "1×1 16", "1×3 24", "3×1 32", "average 3×3", "1×1 40"]
    lines = [layer["y"] for layer in layers]
    assert [sorted(set(lines)).index(line) for line in lines] == [0, 1, 1, 2, 3, 3]
    assert layers[2]["x"] == layers[3]["x"] > layers[1]["x"]
    assert len(of_kind(svg, "layer-pool")) == 1
    assert "3 branches" not in svg


def test_what_stands_behind_a_split_is_joined_to_all_of_its_paths() -> None:
    split = SplitLayer(branches=((ConvLayer(width=8),), (ConvLayer(width=8), ConvLayer(width=16))))
    svg = draw(with_stages(Inception(branches=((split, ConvLayer(width=99, kernel_size=(1, 1))),))))
    layers = [shape for tag, shape in elements(svg) if tag == "text" and shape["class"] == "tiny"]
    last = layers[-1]
    assert last["text"] == "1×1 99"
    assert last["x"] > max(layer["x"] for layer in layers[:-1])
    meeting = max(joint["x1"] for joint in of_kind(svg, "joint"))
    assert len([joint for joint in of_kind(svg, "joint") if joint["x2"] == meeting != joint["x1"]]) == 2


def test_what_a_sketch_has_no_room_for_is_counted() -> None:
    def nested(depth: int) -> SplitLayer:
        inner = (ConvLayer(width=8),) if depth == 0 else (nested(depth - 1),)
        return SplitLayer(branches=(inner,) * 4)

    svg = draw(with_stages(Inception(branches=((nested(2),), (ConvLayer(width=8),) * 16))))
    assert_readable(svg)
    drawn = len([1 for tag, shape in elements(svg) if tag == "text" and shape["class"] == "tiny"])
    assert f"{64 + 16 - drawn} more layers" in svg
    assert 0 < drawn <= 12


NAMES = (
    '<script>alert("x")</script> & co',
    "emoji 🚀 and 漢字" * 8,
    "W" * 200,
    "a\x00b\x1b[31m\ufffe\u202e",
    "]]>",
    "--",
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_text_and_nothing_else(name: str) -> None:
    svg = draw(with_stages(Conv(width=8), name=name))
    assert_readable(svg)
    root = ElementTree.fromstring(svg)
    assert {element.tag.partition("}")[2] for element in root.iter()} == {
        "svg", "title", "desc", "style", "rect", "text", "line", "g",
    }  # fmt: skip
    assert all(character.isprintable() or character == "\n" for character in svg)
    assert (root[0].text or "").startswith(name[:1])


def test_it_needs_nothing_from_elsewhere_and_is_text_for_who_cannot_see() -> None:
    svg, rows = drawn("resnet18")
    assert not re.search(r"<script|href|url\(|@import|<image|on\w+=|<!", svg)
    assert svg.count("http") == 1  # the name of the format
    words = {tag: shape["text"] for tag, shape in reversed(elements(svg))}
    assert words["title"] == "resnet18"
    for row in rows:
        assert f"{row.part}: {row.kind}" in words["desc"]
    assert "prefers-color-scheme:dark" in words["style"]


def test_one_network_has_one_picture_whatever_it_is_called() -> None:
    one = Architecture(stages=(Stage(block=Conv(width=8), depth=3),), name="one")
    same = Architecture(stages=(Stage(block=Conv(width=8)), Stage(block=Conv(width=8), depth=2)), name="same")
    assert draw(one) == draw(one)
    assert draw(one).replace("one", "same", 2) != draw(one)
    assert draw(same) == draw(one.changed(name="same"))
    nameless = one.changed(name=None)
    assert one.digest[:12] in draw(nameless)


def test_a_deep_stage_of_a_narrow_map_is_not_cut_to_pieces() -> None:
    stages = (Stage(block=Conv(width=8, norm="none"), depth=20), Stage(block=Conv(width=512)))
    svg = draw(Architecture(stages=stages))
    assert of_kind(svg, "cut") == []
    assert "conv × 20" in svg


def test_the_head_says_its_hidden_layers() -> None:
    head = Head(hidden=(96, 84), dropout=0.5, pool_size=2, activation="tanh")
    assert "activation tanh, pool_size 2, hidden 96 84, dropout 0.5" in draw(with_stages(Conv(width=4), head=head))


@pytest.fixture
def strange() -> Iterator[type[Block]]:
    """A person's own family, forgotten afterwards."""

    class Strange(Block):
        kind: Literal["my_very_own_and_rather_long_block"] = "my_very_own_and_rather_long_block"
        note: str = ""

        def out_channels(self, in_channels: int, index: int = 0) -> int:
            return in_channels

        def build(self, in_channels: int, context: BlockContext) -> nn.Module:
            return nn.Identity()

    yield register_block(Strange)
    del BLOCKS["my_very_own_and_rather_long_block"]
    _rebuild()


def test_a_family_of_ones_own_is_drawn_in_a_neutral_colour(strange: Any) -> None:
    architecture = with_stages(Conv(width=8), strange(note='<&"' + "long words " * 40))
    build(architecture)
    svg = draw(architecture)
    assert_readable(svg)
    assert [shape["class"] for shape in maps(svg)] == ["input", "conv", "other", "classifier"]
    assert "my very own" in svg


def test_every_family_has_a_colour_of_its_own() -> None:
    assert set(BLOCKS) <= set(FAMILIES)
    for page in (0, 1):
        assert len({colours[page] for colours in FAMILIES.values()}) == len(FAMILIES)


def test_texts_are_cut_off_and_folded_by_their_width() -> None:
    assert fitted("short", 100, 10) == "short"
    cut = fitted("long" * 30, 100, 10)
    assert cut.endswith("…")
    assert 80 < width_of(cut, 10) <= 100
    assert len(fitted("漢" * 50, 100, 10)) < len(fitted("i" * 50, 100, 10))
    assert folded(["one 1", "two 2", "three 3"], 100, 10, 2) == ["one 1, two 2", "three 3"]
    assert folded(["one 1", "two 2", "three 3"], 100, 10, 1) == ["one 1, two 2, …"]
    assert folded([], 100, 10, 2) == []


def test_the_picture_of_the_docs_is_what_the_code_draws() -> None:
    assert (IMAGES / "densenet121.svg").read_text(encoding="utf-8") == drawn("densenet121")[0]
