"""The references are the published networks: what another implementation computes from the same weights, they do."""

from __future__ import annotations

import pytest

from benchmarks import references as proof
from searchspace import REFERENCES

# One or two of each lineage; the others differ from these in numbers, and take longer.
QUICK = (
    "lenet5",
    "alexnet",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet20",
    "wrn_16_8",
    "densenet_bc_100_12",
    "mobilenet_v2",
    "mnasnet0_5",
    "efficientnet_b0",
)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFERENCES]
)
def test_a_reference_is_the_published_network(name: str) -> None:
    """Logits, gradients, what chance drops, statistics, parameters, multiply-adds; in float64, below 1e-6."""
    row = proof.row(name)
    assert proof.problems(row) == []
    # The control: any of these numbers being off is a problem.
    for field, value in row.items():
        if field.endswith("_difference") or field == "params" or (field == "macs" and row["macs_published"]):
            assert proof.problems(row | {field: value * 1.02 + 2e-6}) != [], field


@pytest.mark.parametrize(("name", "pixels"), [("densenet121", 43), ("googlenet", 71), ("resnet20", 31)])
def test_odd_sizes_agree_too(name: str, pixels: int) -> None:
    """DenseNet's transitions round down, other strides up."""
    theirs = proof.counterpart(name, pixels=pixels, classes=5)
    network, x = proof.ours(name, theirs.state_dict(), 5), proof.images(name, 2, pixels)
    assert proof.relative_difference(proof.logits(network, x), proof.logits(theirs, x)) < proof.LIMIT
