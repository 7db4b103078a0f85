"""Torchvision's weights under our names, and what is said about files that are not these."""

from __future__ import annotations

import random
import re

import pytest
import torch
from torch import Tensor
from torchvision.models import get_model

from searchspace import REFERENCES, ArchitectureError, SpaceError, reference
from searchspace.network import outline
from searchspace.references import load_torchvision
from searchspace.references.weights import TORCHVISION, WITH_AUXILIARY

OTHERS = [name for name in REFERENCES if name not in TORCHVISION]
QUICK = ("alexnet", "vgg11_bn", "googlenet", "inception_v3", "resnet18", "densenet121", "mobilenet_v2", "mnasnet0_5")


def meta_state(name: str, **arguments: object) -> dict[str, Tensor]:
    """The tensors' names and shapes; with auxiliary classifiers, as in torchvision's files."""
    auxiliary = {"aux_logits": True, "init_weights": False} if name in WITH_AUXILIARY else {}
    with torch.device("meta"):
        return get_model(name, weights=None, **auxiliary, **arguments).state_dict()


def refusal(name: str, state: dict) -> str:
    with pytest.raises(ArchitectureError) as caught:
        load_torchvision(name, state)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TORCHVISION]
)
def test_the_tensors_of_the_built_reference_are_named(name: str) -> None:
    state = meta_state(name, num_classes=12)
    loaded = load_torchvision(name, state)
    expected = outline(reference(name, num_classes=12)).state_dict()
    assert {key: value.shape for key, value in loaded.items()} == {k: v.shape for k, v in expected.items()}
    dropped = set(map(id, state.values())) - set(map(id, loaded.values()))
    auxiliary = {id(value) for key, value in state.items() if key.startswith(("aux1.", "aux2.", "AuxLogits."))}
    assert dropped == auxiliary
    assert bool(auxiliary) == (name in WITH_AUXILIARY)


def test_a_state_dict_in_any_order_loads_alike() -> None:
    state = meta_state("resnet18")
    shuffled = random.Random(0).sample(list(state.items()), len(state))
    given, expected = load_torchvision("resnet18", dict(shuffled)), load_torchvision("resnet18", state)
    assert list(given) == list(expected)
    assert all(given[key] is expected[key] for key in expected)


def test_published_files_of_old_torch_load() -> None:
    """They lack the batch counters, and DenseNet's name `norm.1` what the model calls `norm1`."""
    state = meta_state("densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert old.keys() - state.keys()
    loaded = load_torchvision("densenet121", old)
    assert loaded.keys() == load_torchvision("densenet121", state).keys()
    assert all(value.item() == 0 for key, value in loaded.items() if key.endswith("num_batches_tracked"))


def test_missing_and_unknown_names_are_listed() -> None:
    state = meta_state("resnet18")
    del state["conv1.weight"], state["fc.bias"], state["bn1.weight"], state["bn1.bias"]
    state["module.conv1.weight"] = torch.empty(1)
    assert refusal("resnet18", state) == (
        "these are not torchvision's weights of resnet18: 4 missing (conv1.weight, bn1.weight, bn1.bias, ...); "
        "1 unknown (module.conv1.weight)"
    )


def test_a_truncated_file_names_the_first_three_missing_tensors_whatever_its_order() -> None:
    state = list(meta_state("mnasnet0_5").items())[:-9]
    messages = {refusal("mnasnet0_5", dict(random.Random(seed).sample(state, len(state)))) for seed in range(3)}
    assert messages == {
        "these are not torchvision's weights of mnasnet0_5: "
        "7 missing (layers.14.weight, layers.15.weight, layers.15.bias, ...)"
    }


def test_other_shapes_are_listed_beside_missing_names() -> None:
    state = meta_state("resnet18")
    for key in list(state)[:5]:
        state[key] = torch.empty(2, device="meta")
    assert refusal("resnet18", state) == (
        "these are not torchvision's weights of resnet18: 5 of another shape (conv1.weight is (2,), expected "
        "(64, 3, 7, 7); bn1.weight is (2,), expected (64,); bn1.bias is (2,), expected (64,); ...)"
    )
    del state["layer1.0.conv1.weight"]
    assert "1 missing (layer1.0.conv1.weight); 5 of another shape (conv1.weight" in refusal("resnet18", state)
    for bias in (torch.tensor(1.0), torch.empty(0), torch.empty(3, 4)):
        refusal("resnet18", meta_state("resnet18") | {"fc.bias": bias})


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("resnet18", "resnet34"),
        ("resnet50", "wide_resnet50_2"),  # the same names, other shapes
        ("mobilenet_v2", "mnasnet0_5"),
        ("alexnet", "googlenet"),
        ("alexnet", "inception_v3"),
    ],
)
def test_published_weights_of_another_network_are_named(name: str, other: str) -> None:
    assert refusal(name, meta_state(other)).startswith(
        f"these are not torchvision's weights of {name}, but of {other}: "
    )


def test_fine_tuned_weights_of_another_network_are_refused() -> None:
    message = refusal("resnet50", meta_state("wide_resnet50_2", num_classes=3))
    assert message.startswith("these are not torchvision's weights of resnet50: 176 of another shape (layer1.0.conv1.")


@pytest.mark.parametrize("state", [{"epoch": 3, "state_dict": {}}, {"state_dict": {}}, {0: torch.ones(1)}, {"x": None}])
def test_what_is_no_state_dict_is_refused(state: dict) -> None:
    assert re.search(r"'.*' holds a \w+, not a tensor; give the state_dict alone", refusal("resnet18", state))


@pytest.mark.parametrize("name", OTHERS)
def test_networks_that_torchvision_lacks_are_refused_plainly(name: str) -> None:
    assert refusal(name, {}) == f"torchvision has no weights of {name!r}; docs/references.md says of which it has"


def test_an_unknown_reference_names_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"'alexnet_bn': did you mean 'alexnet'\? docs/references.md lists all 47$"):
        load_torchvision("alexnet_bn", {})
