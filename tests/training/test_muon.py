"""Muon: kernels keep their norms and go equally far in every direction; the rest is SGD's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nas.training.muon import LARGE, Muon, kernels_of, orthogonalised
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, MBConv


def matrices(rows: int, columns: int, count: int = 3) -> Tensor:
    """With singular values over two orders of magnitude, as gradients have."""
    random = torch.Generator().manual_seed(0)
    scale = torch.logspace(0, -2, columns)
    return torch.randn(count, rows, columns, generator=random) * scale


def by_the_definition(matrix: Tensor) -> Tensor:
    """Newton and Schulz's iteration as it is written down."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    x = x.T if len(matrix) > matrix.shape[1] else x
    for _ in range(3):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if len(matrix) > matrix.shape[1] else x


@pytest.mark.parametrize("shape", [(8, 27), (27, 8), (16, 16), (1, 9), (64, 80), (80, 64)])
@pytest.mark.parametrize("fast", [False, True])
def test_directions_are_those_of_newton_and_schulz(
    shape: tuple[int, int], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.training.muon.fast_bfloat16", lambda device: fast)
    given = matrices(*shape)
    for found, matrix in zip(orthogonalised(list(given)), given, strict=True):
        expected = by_the_definition(matrix)
        alike = (found * expected).sum() / (found.norm() * expected.norm())
        assert alike > (0.99 if fast and min(shape) >= LARGE else 0.99999)


def test_singular_values_come_near_to_one_another() -> None:
    given = matrices(8, 8)
    before, after = torch.linalg.svdvals(given), torch.linalg.svdvals(torch.stack(orthogonalised(list(given))))
    assert (before[:, 0] / before[:, -1]).min() > 20
    assert (after[:, 0] / after[:, -3]).max() < 5


def convolution(width: int = 8) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, width, 3, bias=False)


def test_a_step_has_the_size_that_was_asked_for_and_keeps_the_norm() -> None:
    layer = convolution()
    before = layer.weight.detach().clone()
    optimizer = Muon([layer.weight], torch.tensor(2.0), step=0.05)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    assert layer.weight.norm().item() == pytest.approx(before.norm().item(), rel=1e-5)
    moved = ((layer.weight - before).norm() / before.norm()).item()
    assert moved == pytest.approx(0.1, rel=0.1)


def test_momentum_carries_on_where_the_gradient_has_gone() -> None:
    layer = convolution()
    optimizer = Muon([layer.weight], torch.tensor(1.0), step=0.05)
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_kernels_of_convolutions_without_groups_and_bias_are_its_own() -> None:
    network = build(Architecture(stages=(Stage(block=Conv(width=8)), Stage(block=MBConv(width=8)))))
    kernels = {id(kernel) for kernel in kernels_of(network)}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            assert (id(module.weight) in kernels) == (module.groups == 1 and module.bias is None), name
        elif isinstance(module, nn.Linear | nn.BatchNorm2d):
            assert id(module.weight) not in kernels
    network.stages[0].requires_grad_(False)
    assert len(kernels_of(network)) < len(kernels)


def test_all_other_parameters_move_as_with_sgd() -> None:
    def step(optimizer: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = nn.Sequential(convolution(), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))
        for number, parameter in enumerate(network.parameters()):
            parameter.grad = torch.full_like(parameter, 0.01 * (number + 1))
        recipe = Recipe(optimizer=optimizer, gradient_clip=1e9)  # pyright: ignore[reportArgumentType]
        Optimizer(network, recipe, 128, 10).step()
        return dict(network.named_parameters())

    muon, sgd = step("muon"), step("sgd")
    assert {name for name in muon if not torch.equal(muon[name], sgd[name])} == {"0.weight"}


def test_steps_grow_with_the_third_root_of_the_batch() -> None:
    recipe = Recipe()
    assert recipe.kernel_step(128) == pytest.approx(0.1)
    assert recipe.kernel_step(1024) == pytest.approx(0.2)
    assert Recipe(learning_rate=0.5).kernel_step(128) == pytest.approx(0.05)


def test_a_kernel_of_nothing_is_no_number_to_divide_by() -> None:
    layer = convolution()
    nn.init.zeros_(layer.weight)
    optimizer = Muon([layer.weight], torch.tensor(1.0), step=0.1)
    layer.weight.grad = torch.zeros_like(layer.weight)
    optimizer.step()
    assert torch.isfinite(layer.weight).all()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_goes_along_the_direction_however_it_lies_in_memory(memory_format: torch.memory_format) -> None:
    random = torch.Generator().manual_seed(0)
    before, gradient = torch.randn(2, 8, 4, 3, 3, generator=random)
    kernel = nn.Parameter(before.clone(memory_format=memory_format))
    kernel.grad = gradient.clone(memory_format=memory_format)
    Muon([kernel], torch.tensor(1.0), step=0.001).step()
    moved, direction = (before - kernel.detach()).flatten(1), by_the_definition(gradient.flatten(1))
    assert (moved * direction).sum() / (moved.norm() * direction.norm()) > 0.99
    assert kernel.is_contiguous(memory_format=memory_format)
