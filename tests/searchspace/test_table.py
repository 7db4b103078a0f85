"""The table of a network accounts for all of it."""

from __future__ import annotations

import json
import random

import pytest

from searchspace import REFERENCES, Architecture, cost, reference
from searchspace.spaces import SPACES
from searchspace.table import stage_rows


def assert_accounts_for(architecture: Architecture) -> None:
    rows, counted = stage_rows(architecture), cost(architecture)
    assert sum(row.params for row in rows) == counted.params
    assert sum(row.macs for row in rows) == counted.macs
    assert rows[-1].kind == "classifier"
    assert rows[-1].channels == architecture.classes
    assert all(row.resolution <= architecture.resolution for row in rows)


# One of each lineage; the others differ from these in numbers.
QUICK = (
    "lenet5",
    "alexnet",
    "vgg11_bn",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet20",
    "densenet121",
    "mnasnet0_5",
)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFERENCES]
)
def test_the_rows_of_a_reference_sum_to_its_cost(name: str) -> None:
    assert_accounts_for(reference(name))


@pytest.mark.parametrize("name", SPACES)
def test_the_rows_of_sampled_networks_sum_to_their_cost(name: str) -> None:
    rng = random.Random(0)
    for _ in range(10):
        assert_accounts_for(SPACES[name].decode(SPACES[name].random(rng)))


def test_a_network_that_is_not_in_normal_form_has_the_table_of_its_normal_form() -> None:
    whole = reference("resnet18", num_classes=10, resolution=32)
    stages = [stage.model_dump() for stage in whole.stages]
    parted = [*stages[:1], stages[0] | {"depth": 1, "stride": 1}, *stages[1:]]
    network = Architecture.model_validate_json(
        whole.model_copy(update={"stages": ()})
        .model_dump_json()
        .replace('"stages":[]', f'"stages":{json.dumps(parted)}')
    )
    assert len(network.normal().stages) < len(network.stages)
    assert_accounts_for(network)


def test_rows_say_what_differs_from_the_defaults() -> None:
    first = stage_rows(reference("efficientnet_b0"))[1]
    assert (first.part, first.kind, first.channels) == ("body", "mbconv", 16)
    assert first.settings == "expansion 1"
    assert "kernel_size 5" in stage_rows(reference("efficientnet_b0"))[3].settings
