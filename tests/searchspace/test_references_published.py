"""Published numbers, the table of references, and the documented one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torchvision.models import get_model_weights

from benchmarks import references as proof
from searchspace import REFERENCES, ArchitectureError, SpaceError, build, cost, reference
from searchspace.references import SOURCES
from searchspace.references.weights import TORCHVISION

# Without the auxiliary classifier that torchvision's count holds.
INCEPTION_V3 = 23_834_568
# One of each lineage; others take longer to be counted.
QUICK = (
    *("lenet5", "alexnet", "vgg11_bn", "googlenet", "inception_v3", "resnet18", "resnet20", "wrn_16_8"),
    *("densenet121", "mobilenet_v2", "mnasnet0_5", "efficientnet_b0"),
)


def quick_or_slow(names: Iterable[str]) -> list[Any]:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", quick_or_slow(TORCHVISION))
def test_params_and_macs_are_those_of_torchvisions_weights(name: str) -> None:
    weights = get_model_weights(name)["DEFAULT"]
    architecture = reference(name)
    assert architecture.resolution == weights.transforms.keywords["crop_size"]
    counted = cost(architecture)
    assert counted.params == (INCEPTION_V3 if name == "inception_v3" else weights.meta["num_params"])
    assert counted.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mnasnet0_5"])
def test_another_class_or_crop_is_noticed(name: str) -> None:
    meta, architecture = get_model_weights(name)["DEFAULT"].meta, reference(name)
    assert cost(architecture.changed(classes=1001)).params != meta["num_params"]
    larger = architecture.changed(resolution=architecture.resolution + 32)
    assert cost(larger).macs / 1e9 != pytest.approx(meta["_ops"], rel=0.01)


@pytest.mark.parametrize("name", quick_or_slow([name for name in REFERENCES if name not in TORCHVISION]))
def test_params_and_macs_are_those_of_other_public_code(name: str) -> None:
    counted, source = cost(reference(name)), SOURCES[name]
    assert counted.params == source.params
    if source.macs is not None:
        assert counted.macs == pytest.approx(source.macs, rel=0.01)


def test_every_reference_has_a_source_and_published_numbers() -> None:
    assert SOURCES.keys() == REFERENCES.keys()
    assert {name for name, source in SOURCES.items() if source.params is None} == set(TORCHVISION)


@pytest.mark.parametrize(
    ("name", "classes", "channels", "resolution"),
    [("lenet5", 10, 1, 32), ("resnet20", 10, 3, 32), ("efficientnet_b2", 1000, 3, 288), ("inception_v3", 1000, 3, 299)],
)
def test_a_reference_is_as_published_unless_told_otherwise(
    name: str, classes: int, channels: int, resolution: int
) -> None:
    published = reference(name)
    assert (published.classes, published.channels, published.resolution) == (classes, channels, resolution)
    other = reference(name, num_classes=7, channels=2, resolution=96)
    assert (other.classes, other.channels, other.resolution) == (7, 2, 96)
    assert reference(name, num_classes=7) == published.changed(classes=7)


@pytest.mark.parametrize(
    "name", ["lenet5", "alexnet", "googlenet", "resnet20", "wrn_16_8", "densenet_bc_100_12", "mnasnet0_5"]
)
def test_references_take_other_classes_channels_and_sizes(name: str) -> None:
    network = build(reference(name, num_classes=4, channels=1, resolution=64)).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, 64, 64)).shape == (2, 4)


def test_unknown_names_and_numbers_are_refused() -> None:
    with pytest.raises(SpaceError, match="did you mean 'resnet18'"):
        reference("resnet19")
    for wrong in ({"num_classes": 0}, {"channels": 0}, {"resolution": 0}):
        with pytest.raises(ArchitectureError):
            reference("resnet18", **wrong)


def documented() -> dict[str, list[str]]:
    """The cells of docs/references.md by name."""
    lines = [line.split("|")[1:-1] for line in proof.DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return {line[0].strip(): [cell.strip() for cell in line] for line in lines[1:]}


def test_the_documented_table_has_every_reference_and_its_published_numbers() -> None:
    assert proof.DOCUMENT.read_text().startswith(proof.HEADER)
    table = documented()
    assert list(table) == list(REFERENCES)
    for name, cells in table.items():
        params, macs = proof.published(name)
        assert (cells[2], cells[4]) == (f"{params:,}", proof.gigas(macs))
        assert float(cells[6]) < proof.LIMIT
        assert float(cells[7]) < proof.LIMIT
        assert cells[9] == SOURCES[name].paper


@pytest.mark.parametrize("name", quick_or_slow(REFERENCES))
def test_the_documented_counts_are_those_of_today(name: str) -> None:
    counted, cells = cost(reference(name)), documented()[name]
    assert (cells[1], cells[3]) == (f"{counted.params:,}", proof.gigas(counted.macs))
