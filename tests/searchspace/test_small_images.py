"""References on images smaller than those they were published for, and images too small for a network."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from searchspace import (
    REFERENCES,
    Architecture,
    ArchitectureError,
    Head,
    Stage,
    build,
    cifar_form,
    cost,
    reference,
)
from searchspace.blocks import Conv, Pool
from searchspace.cost import smallest_resolution
from searchspace.network import outline

LARGE = [name for name in REFERENCES if reference(name).resolution > 64]
SHRINKING = [name for name in LARGE if any(stage.stride > 1 for stage in reference(name).stem)]
EIGHTFOLD = ("googlenet", "alexnet", "inception_v3", "inception_resnet_v2")
"""Their stems shrink images eightfold: without them a 32-pixel image is about as large as theirs of 224 and more."""
QUICK = (
    "lenet5", "alexnet", "vgg11_bn", "googlenet", "resnet18", "mobilenet_v2", "mnasnet0_5",
    "efficientnet_b0", "resnet20",
)  # fmt: skip
"""One of each lineage; the others are of the same stems."""
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFERENCES]


def shapes(architecture: Architecture) -> list[torch.Size]:
    return [tensor.shape for tensor in outline(architecture).state_dict().values()]


@pytest.mark.parametrize("name", EVERY)
def test_every_reference_takes_32_pixels_with_its_own_weights(name: str) -> None:
    """The same parameters and tensors as published, and, but for the eightfold stems, a third of the work at most."""
    published = reference(name, num_classes=10)
    adapted = cifar_form(published, 32)
    small, large = cost(adapted), cost(published)
    assert small.params == large.params
    assert shapes(adapted) == shapes(published)
    if name in LARGE:
        assert small.macs < large.macs * (1 if name in EIGHTFOLD else 0.35)
    assert adapted.stages == published.stages
    assert adapted.head == published.head


def test_the_list_of_references_that_need_the_form_is_not_empty() -> None:
    assert {"resnet18", "densenet121", "mobilenet_v2", "efficientnet_b0", "googlenet"} <= set(SHRINKING)
    assert not set(SHRINKING) & {"vgg11", "vgg19_bn", "lenet5"}


@pytest.mark.parametrize("name", SHRINKING)
def test_the_stem_neither_strides_nor_pools_and_the_name_says_so(name: str) -> None:
    adapted = cifar_form(reference(name), 64)
    assert adapted.name == f"{name} (CIFAR form)"
    assert [stage.stride for stage in adapted.stem] == [1] * len(adapted.stem)
    assert not any(isinstance(stage.block, Pool) for stage in adapted.stem)
    assert cifar_form(reference(name), 65) == reference(name, resolution=65)
    assert cifar_form(adapted, 32) == adapted.changed(resolution=32)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name not in SHRINKING])
def test_a_reference_for_small_images_and_one_without_such_a_stem_are_left_alone(name: str) -> None:
    assert cifar_form(reference(name), 48) == reference(name, resolution=48)


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg11_bn"])
def test_the_form_gives_finite_logits(name: str) -> None:
    """VGG's head asks for 7x7 pixels and gets one, repeated."""
    network = build(cifar_form(reference(name, num_classes=4), 32)).eval()
    with torch.no_grad():
        logits = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_the_documented_costs_are_the_current_ones() -> None:
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    documented = {row[0]: row[1:] for row in rows if row[0] in QUICK}
    assert len(documented) >= 5
    for name, (resolution, there, at_32, smallest) in documented.items():
        published = reference(name, num_classes=10)
        assert published.resolution == int(resolution)
        assert f"{cost(published).macs / 1e6:,.0f}" == there
        assert f"{cost(cifar_form(published, 32)).macs / 1e6:,.0f}" == at_32
        assert cost(cifar_form(published, int(smallest))).macs > 0
        if smallest != "1":
            with pytest.raises(ArchitectureError):
                cost(cifar_form(published, int(smallest) - 1))


def test_a_name_is_not_made_up() -> None:
    nameless = Architecture(resolution=224, stem=(Stage(block=Conv(width=8), stride=4),), stages=(Stage(block=Pool()),))
    assert cifar_form(nameless, 32).name is None


# Too small


@pytest.mark.parametrize(("name", "smallest"), [("lenet5", 16), ("vgg11", 32)])
def test_images_too_small_are_told_the_smallest_that_work(name: str, smallest: int) -> None:
    with pytest.raises(ArchitectureError) as refused:
        cost(reference(name, resolution=7))
    assert str(refused.value) == (
        f"images of 7 pixels are too small for this network's strides and kernels: it takes {smallest} pixels or more"
    )
    assert cost(reference(name, resolution=smallest)).macs > 0
    with pytest.raises(ArchitectureError):
        cost(reference(name, resolution=smallest - 1))


def test_what_no_resolution_mends_says_what_torch_said() -> None:
    architecture = Architecture(resolution=8, stages=(Stage(block=Pool(kernel_size=31, padding=0)),) * 40)
    with pytest.raises(ArchitectureError, match=r"nor do those of 1024 pixels .*[Oo]utput size is too small"):
        raise_as_text(architecture)


def raise_as_text(architecture: Architecture) -> None:
    try:
        cost(architecture)
    except ArchitectureError as error:
        raise ArchitectureError(str(error)) from None


def test_the_smallest_resolution_is_that_of_trying_each() -> None:
    stages = (Stage(block=Conv(width=4, kernel_size=5, padding=0), stride=2), Stage(block=Pool(), stride=3)) * 2
    architecture = Architecture(resolution=3, stages=stages, head=Head(pool_size=2))

    def works(resolution: int) -> bool:
        try:
            return cost(architecture.changed(resolution=resolution)).macs > 0
        except ArchitectureError:
            return False

    smallest = next(filter(works, range(1, 200)))
    for failing in range(1, smallest):
        assert smallest_resolution(outline(architecture.changed(resolution=failing)).eval()) == smallest


def test_a_search_that_passes_by_does_not_look_for_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("searchspace.cost")  # the package's attribute is the function
    monkeypatch.setattr(module, "smallest_resolution", lambda network: pytest.fail("looked for"))
    with pytest.raises(ArchitectureError):
        cost(reference("lenet5", resolution=5))
