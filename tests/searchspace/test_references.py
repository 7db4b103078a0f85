"""The references are torchvision's networks: the same logits from the same weights, the same size and cost."""

from __future__ import annotations

import importlib.util
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from searchspace import REFERENCES, ArchitectureError, SpaceError, build, cost, reference
from searchspace.network import outline
from searchspace.references import load_torchvision

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("benchmark_of_references", ROOT / "benchmarks" / "references.py")
assert _spec is not None
assert _spec.loader is not None
proof = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(proof)

PROVEN = ("resnet18", "resnet50", "vgg11_bn", "googlenet", "densenet121", "mobilenet_v2", "efficientnet_b0")


def same_scale(tensor: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator) * tensor.std()


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def differences_with_one_convolution_overwritten(
    network: nn.Module, places: list[int], expected: Tensor
) -> Iterator[float]:
    for place in places:
        weight = convolutions(network)[place].weight
        kept = weight.detach().clone()
        weight.data.copy_(same_scale(kept))
        yield proof.relative_difference(proof.logits(network), expected)
        weight.data.copy_(kept)


@pytest.mark.parametrize("name", PROVEN)
def test_the_same_weights_give_the_same_logits(name: str) -> None:
    """Largest difference below 1e-6 of the largest logit in float64, and any overwritten convolution is noticed."""
    theirs = proof.random_torchvision(name, seed=1)
    network = proof.ours(name, theirs.state_dict())
    expected = proof.logits(theirs)
    assert proof.relative_difference(proof.logits(network), expected) < proof.LIMIT
    assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in theirs.parameters())
    count = len(convolutions(network))
    assert count == len(convolutions(theirs))
    spread = [0, count // 2, count - 1]
    for difference in differences_with_one_convolution_overwritten(network, spread, expected):
        assert difference > 1000 * proof.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVEN)
def test_every_overwritten_convolution_is_noticed(name: str) -> None:
    """Each convolution of torchvision's network in turn, and of ours."""
    theirs = proof.random_torchvision(name, seed=2)
    expected = proof.logits(theirs)
    network = proof.ours(name, theirs.state_dict())
    for whose in (theirs, network):
        places = list(range(len(convolutions(whose))))
        for place, difference in enumerate(differences_with_one_convolution_overwritten(whose, places, expected)):
            assert difference > 1000 * proof.LIMIT, f"convolution {place} of {name}"
        assert proof.relative_difference(proof.logits(whose), expected) < proof.LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REFERENCES if name not in PROVEN])
def test_scaled_efficientnets_give_torchvisions_logits(name: str) -> None:
    theirs = proof.random_torchvision(name, seed=1)
    network = proof.ours(name, theirs.state_dict())
    assert proof.relative_difference(proof.logits(network), proof.logits(theirs)) < proof.LIMIT


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    return proof.random_torchvision("resnet18", pixels=33, classes=7)


@pytest.mark.parametrize(
    "pair",
    [
        ("layer1.0.conv1.weight", "layer1.0.conv2.weight"),
        ("layer1.0.bn1.weight", "layer1.0.bn2.weight"),
        ("bn1.running_mean", "bn1.bias"),
        ("layer2.0.bn2.weight", "layer2.0.downsample.1.weight"),
    ],
)
def test_two_tensors_of_one_shape_in_each_others_place_are_noticed(resnet18: nn.Module, pair: tuple[str, str]) -> None:
    state = resnet18.state_dict()
    first, second = pair
    swapped = state | {first: state[second], second: state[first]}
    expected = proof.logits(resnet18, 33)
    assert proof.relative_difference(proof.logits(proof.ours("resnet18", state, 7), 33), expected) < proof.LIMIT
    assert proof.relative_difference(proof.logits(proof.ours("resnet18", swapped, 7), 33), expected) > 1e-3


def test_odd_sizes_agree_too() -> None:
    """DenseNet's transitions round down, its other strides up."""
    for name, pixels in (("densenet121", 43), ("googlenet", 71)):
        theirs = proof.random_torchvision(name, pixels=pixels, classes=5)
        network = proof.ours(name, theirs.state_dict(), 5)
        assert proof.relative_difference(proof.logits(network, pixels), proof.logits(theirs, pixels)) < proof.LIMIT


# --- load_torchvision ------------------------------------------------------------------------------------------------


def meta_state(name: str, **arguments: object) -> dict[str, Tensor]:
    with torch.device("meta"):
        return get_model(name, weights=None, **arguments).state_dict()


@pytest.mark.parametrize("name", REFERENCES)
def test_load_torchvision_names_the_tensors_of_the_built_reference(name: str) -> None:
    arguments = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    state = meta_state(name, num_classes=12, **arguments)
    loaded = load_torchvision(name, state)
    expected = outline(reference(name, num_classes=12)).state_dict()
    assert {key: value.shape for key, value in loaded.items()} == {k: v.shape for k, v in expected.items()}
    dropped = set(map(id, state.values())) - set(map(id, loaded.values()))
    auxiliary = {id(value) for key, value in state.items() if key.startswith(("aux1.", "aux2."))}
    assert dropped == auxiliary
    assert bool(auxiliary) == (name == "googlenet")


def test_a_state_dict_in_any_order_loads_alike(resnet18: nn.Module) -> None:
    state = resnet18.state_dict()
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
    with pytest.raises(ArchitectureError) as caught:
        load_torchvision("resnet18", state)
    assert str(caught.value) == (
        "these are not torchvision's weights of resnet18: 4 missing (conv1.weight, bn1.weight, bn1.bias, ...); "
        "1 unknown (module.conv1.weight)"
    )


def test_other_shapes_are_listed() -> None:
    state = meta_state("resnet18")
    for key in list(state)[:5]:
        state[key] = torch.empty(2, device="meta")
    with pytest.raises(ArchitectureError, match=r"5 tensors have other shapes: conv1.weight is \(2,\), expected \(64"):
        load_torchvision("resnet18", state)
    for bias in (torch.tensor(1.0), torch.empty(0), torch.empty(3, 4)):
        with pytest.raises(ArchitectureError):
            load_torchvision("resnet18", meta_state("resnet18") | {"fc.bias": bias})


@pytest.mark.parametrize(("name", "other"), [("resnet18", "resnet50"), ("efficientnet_b0", "mobilenet_v2")])
def test_another_networks_weights_are_refused(name: str, other: str) -> None:
    with pytest.raises(ArchitectureError, match=f"not torchvision's weights of {name}"):
        load_torchvision(name, meta_state(other))


def test_weights_of_another_width_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="tensors have other shapes"):
        load_torchvision("resnet50", meta_state("wide_resnet50_2"))


def test_an_unknown_reference_names_the_nearest() -> None:
    with pytest.raises(SpaceError, match="did you mean 'resnet18'"):
        reference("resnet19")
    with pytest.raises(SpaceError, match="no reference named"):
        load_torchvision("alexnet_bn", {})
    with pytest.raises(ArchitectureError, match="classes"):
        reference("resnet18", num_classes=0)


# --- Published numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
def test_params_and_macs_are_the_published_ones(name: str) -> None:
    weights = get_model_weights(name).DEFAULT
    architecture = reference(name)
    assert architecture.resolution == weights.transforms.keywords["crop_size"]
    counted = cost(architecture)
    assert counted.params == weights.meta["num_params"]
    assert counted.macs / 1e9 == pytest.approx(weights.meta["_ops"], rel=0.01)
    # The control: one more channel in a single layer, or another crop, is noticed.
    assert cost(architecture.changed(classes=1001)).params != weights.meta["num_params"]
    larger = architecture.changed(resolution=architecture.resolution + 32)
    assert cost(larger).macs / 1e9 != pytest.approx(weights.meta["_ops"], rel=0.01)


@pytest.mark.parametrize("name", PROVEN)
def test_references_take_other_classes_channels_and_sizes(name: str) -> None:
    architecture = reference(name, num_classes=4, channels=1, resolution=64)
    network = build(architecture).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 1, 64, 64)).shape == (2, 4)


def test_the_documented_table_is_the_current_one() -> None:
    """docs/references.md holds every reference with the counts of today; the logits are proven above."""
    text = (ROOT / "docs" / "references.md").read_text()
    assert text.startswith(proof.HEADER)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert lines.keys() - {"name"} == REFERENCES.keys()
    for name in REFERENCES:
        counted = cost(reference(name))
        cells = [cell.strip() for cell in lines[name].split("|")[1:-1]]
        assert cells[1] == cells[2] == f"{counted.params:,}"
        assert cells[3] == f"{counted.macs / 1e9:.3f}"
        assert float(cells[6]) < proof.LIMIT
