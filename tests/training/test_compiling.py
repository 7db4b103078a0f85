"""torch.compile for a final training: tried before the first epoch, done without where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.training.compiling import compiled


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()


class Wrong(torch.autograd.Function):
    """Fails backwards, as a compiled graph may that was right forwards."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        raise RuntimeError("the gradient has no kernel")


def compiler_that(does: Callable[[nn.Module, Tensor], Tensor]) -> Callable[[nn.Module], Any]:
    return lambda module: lambda images: does(module, images)


def fails(module: nn.Module, images: Tensor) -> Tensor:
    raise ValueError("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found\n\nSet TORCH_LOGS")


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (fails, "InvalidCxxCompiler: No working C++ compiler found"),
        (lambda module, images: Wrong.apply(module(images)), "the gradient has no kernel"),
    ],
)
def test_a_failure_is_told_in_a_line_and_the_network_trains_as_it_is(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[nn.Module, Tensor], Tensor], words: str
) -> None:
    monkeypatch.setattr(torch, "compile", compiler_that(does))
    said: list[str] = []
    given = network()
    assert compiled(given, torch.ones(4, 1, 4, 4), False, said.append) is given
    assert said == [f"torch.compile failed, and the training goes on without it: {words}"]


@pytest.mark.parametrize("does", [fails, lambda module, images: module(images)])
def test_the_trial_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    monkeypatch.setattr(torch, "compile", compiler_that(does))
    given, fresh = network(), network()
    random = torch.random.get_rng_state()
    compiled(given, torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), False, lambda text: None)
    expected = fresh.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in given.state_dict().items())
    assert all(parameter.grad is None for parameter in given.parameters())
    assert given.training
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.slow
def test_a_final_training_goes_through_the_compiler(tmp_path: Path) -> None:
    """With a compiler and, for the other half of the promise, without one."""
    command = [sys.executable, "-m", "nas", "train", "lenet5", "--dataset", "digits", "--resolution", "16"]
    command += ["--limit-train", "150", "--recipe", "final", "--epochs", "2", "--compile", "--device", "cpu"]
    for compiler, failed in ((None, False), ("/not/there/c++", True)):
        own = {
            "OMP_NUM_THREADS": "1",
            "NAS_DATA_DIR": str(tmp_path),
            "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / str(failed)),
        }
        env = {**os.environ, **own, **({} if compiler is None else {"CXX": compiler})}
        answer = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert answer.returncode == 0, answer.stderr
        assert ("torch.compile failed" in answer.stderr) == failed, answer.stderr
        assert "2 epochs" in answer.stdout
