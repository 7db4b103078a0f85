"""Published laws of scaling are the published ones: their exponents, their factors, their networks' counts."""

from __future__ import annotations

import pytest
import torchvision.models

from searchspace import (
    EFFICIENTNET,
    LAWS,
    REFERENCES,
    ArchitectureError,
    SpaceError,
    build,
    compound,
    cost,
    dollar,
    reference,
    scale,
)
from searchspace.directions import DIRECTIONS, FAMILIES, Pixels, along, default_direction, find_direction
from searchspace.regnet import LINES, Line, regnet

ANY = Pixels(1, 4096)
SMALL = Pixels(16, 32)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_each_direction_doubles_the_multiply_adds_with_phi(name: str) -> None:
    direction = DIRECTIONS[name]
    assert direction.law.growth == pytest.approx(2, rel=0.05)
    assert sum(direction.exponents) == pytest.approx(1)
    assert 1 <= direction.expected(2) <= 2 + 1e-9


def test_exponents_are_those_of_the_papers() -> None:
    assert find_direction("efficientnet").law == EFFICIENTNET
    assert DIRECTIONS["efficientnet"].exponents == pytest.approx((0.279, 0.292, 0.428), abs=1e-3)
    assert DIRECTIONS["fast"].exponents == pytest.approx((0.1, 0.8, 0.1))
    assert DIRECTIONS["uniform"].exponents == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert DIRECTIONS["wide"].exponents == pytest.approx((0.11, 0.89, 0))
    assert DIRECTIONS["wide"].law == LAWS["wide"]
    b0 = reference("efficientnet_b0")
    assert along(b0, DIRECTIONS["fast"].law, 2.0, ANY) == dollar(b0, 4.0)
    assert along(b0, EFFICIENTNET, 1.5, ANY) == compound(b0, 1.5)


def test_images_stay_within_their_range_while_the_rest_grows() -> None:
    net = reference("resnet20")
    grown = along(net, EFFICIENTNET, 3.0, SMALL)
    assert grown.resolution == 32
    assert grown == compound(net, 3.0).changed(resolution=32)
    assert along(net, EFFICIENTNET, -9.0, SMALL).resolution == 16
    assert along(net, EFFICIENTNET, 0.0, SMALL) == net
    with pytest.raises(ArchitectureError, match="given 32 to 16"):
        Pixels(32, 16)


@pytest.mark.parametrize("number", range(1, 8))
def test_the_family_of_efficientnet_gives_the_published_networks(number: int) -> None:
    member = FAMILIES["efficientnet"][number]
    assert member.name == f"efficientnet_b{number}"
    made, published = member.of(reference("efficientnet_b0"), ANY), reference(member.name)
    assert made.stages == published.stages
    assert made.resolution == (260 if number == 2 else published.resolution)  # the paper's, not torchvision's


def test_tinynets_grow_in_multiply_adds_from_e_to_a() -> None:
    """Published are 24, 52, 100, 202 and 339 M, with B0's own stem and head, which are scaled with the rest here."""
    b0 = reference("efficientnet_b0")
    macs = [cost(member.of(b0, ANY)).macs / 1e6 for member in FAMILIES["tinynet"]]
    assert macs == sorted(macs)
    assert [macs[0], macs[2]] == pytest.approx([24, 100], rel=0.15)


@pytest.mark.parametrize("name", LINES)
def test_the_line_of_a_regnet_gives_the_published_parameters_and_multiply_adds(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT.meta  # pyright: ignore
    counted = cost(regnet(LINES[name]))
    assert counted.params == published["num_params"]
    assert counted.macs / 1e9 == pytest.approx(published["_ops"], abs=1e-3)


def test_a_regnet_runs_and_other_lines_give_other_networks() -> None:
    import torch

    small = regnet(Line(6, 16, 12.0, 2.0, 8), resolution=32, classes=10)
    assert build(small).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert regnet(Line(6, 16, 20.0, 2.0, 8), resolution=32, classes=10).digest != small.digest
    assert scale(small, width=2.0) != small
    for wrong in (Line(6, 15, 12.0, 2.0, 8), Line(6, 16, -1.0, 2.0, 8), Line(6, 16, 12.0, 1.0, 8)):
        with pytest.raises(ArchitectureError, match="a RegNet needs"):
            regnet(wrong)


def test_small_images_grow_wide_and_large_ones_as_efficientnet() -> None:
    assert default_direction(reference("resnet20"))[0].name == "wide"
    assert default_direction(reference("efficientnet_b0"))[0].name == "efficientnet"
    assert {default_direction(reference(name))[0].name for name in REFERENCES} == {"wide", "efficientnet"}


def test_an_unknown_direction_is_told_the_nearest() -> None:
    with pytest.raises(SpaceError, match="did you mean 'efficientnet'"):
        find_direction("efficientnets")
